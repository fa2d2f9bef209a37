"""A simulated component under the hand: poke, peek, tick, push and pop.

    with Session(component) as sim:
        sim["gain"] = 3
        sim.push("i", np.arange(10))
        print(sim.pop("o", 10), sim["count"])

Pins have their Verilog names (``x__payload``, ``x__valid``, ``x__ready``, a register's
name), ``clk`` and ``rst`` included.  Some 500,000 cycles/s of plain ticks and 20,000
with streams pushed and popped; whole workloads belong in :func:`thresher.sim.simulate`.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from amaranth.lib.wiring import Component

from . import beats
from .build import build
from .run import Wave, status, trace_format
from .verilator import Instance


class Session:
    """A component on Verilator, out of reset, with no stream offered or ready."""

    def __init__(self, component: Component, wave: Wave | None = None) -> None:
        self._instance = Instance(build(component, trace_format(wave)))
        if wave is not None:
            self._instance.trace(wave)
        built = self._instance.build
        self.ports = built.ports
        self._pins = {pin.name: (number, pin) for number, pin in enumerate(built.pins)}
        self._queues: dict[str, deque[int]] = {name: deque() for name in self.ports.inputs}
        for name, port in self.ports.controls.items():
            if port.width:
                self[name] = port.init
        self.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self._pins)

    def __getitem__(self, pin: str) -> int:
        """The pin's value now.  Raises :class:`KeyError` for a pin that is not there."""
        number, what = self._pin(pin)
        return status(self._instance.peek(number), what.width, what.signed)

    def __setitem__(self, pin: str, value: int) -> None:
        """Drive a pin; what follows from it combinationally follows at once.

        Raises :class:`ValueError` for an output or a value that does not fit.
        """
        number, what = self._pin(pin)
        if not what.driven:
            raise ValueError(f"{pin} is driven by the component; it can only be read")
        low = -(1 << (what.width - 1)) if what.signed else 0
        high = (1 << (what.width - what.signed)) - 1
        if not low <= value <= high:
            raise ValueError(f"{pin} = {value} is outside {low}..{high}")
        self._instance.poke(number, value)
        self._instance.eval()

    @property
    def cycle(self) -> int:
        """Cycles since reset was released."""
        return self._instance.cycle

    def reset(self) -> None:
        """Hold reset for a few cycles; drops what was pushed and not yet taken."""
        for queue in self._queues.values():
            queue.clear()
        self._instance.reset()
        self._instance.eval()

    def tick(self, cycles: int = 1) -> None:
        """Clock the component; pushed beats are offered on the way."""
        while cycles > 0 and any(self._queues.values()):
            self._step()
            cycles -= 1
        self._instance.tick(cycles)

    def push(self, port: str, data: beats.Beats) -> None:
        """Queue beats on an input stream; they are offered from the next tick on."""
        if port not in self._queues:
            raise KeyError(f"{port!r} is not an input: {', '.join(self._queues) or 'none'}")
        words = beats.pack(self.ports.inputs[port].shape, data)
        self._queues[port].extend(int.from_bytes(row.tobytes(), "little") for row in words)

    def pop(self, port: str, count: int = 1, timeout: int = 10_000) -> beats.Beats:
        """Clock the component until output ``port`` delivered ``count`` beats; returns them.

        Raises :class:`TimeoutError` after ``timeout`` cycles without one.
        """
        if port not in self.ports.outputs:
            raise KeyError(f"{port!r} is not an output: {', '.join(self.ports.outputs) or 'none'}")
        shape = self.ports.outputs[port].shape
        found = np.zeros((count, -(-beats.width(shape) // 32)), dtype=np.uint32)
        done = idle = 0
        self[f"{port}__ready"] = 1
        try:
            while done < count:
                came = self._step(port)
                idle = 0 if came is not None else idle + 1
                if idle > timeout:
                    raise TimeoutError(
                        f"output {port} delivered {done} of {count} beats, then none "
                        f"in {timeout} cycles (cycle {self.cycle})"
                    )
                if came is not None:
                    found[done] = np.frombuffer(
                        came.to_bytes(4 * found.shape[1], "little"), dtype="<u4"
                    )
                    done += 1
        finally:
            self[f"{port}__ready"] = 0
        return beats.unpack(shape, found)

    def close(self) -> None:
        """End the session and complete its waveform."""
        self._instance.close()

    def _pin(self, name: str) -> tuple[int, Any]:
        if name not in self._pins:
            raise KeyError(f"no pin called {name!r}; there are: {', '.join(self._pins)}")
        return self._pins[name]

    def _step(self, output: str | None = None) -> int | None:
        """One cycle; returns the payload's bits if ``output`` delivered a beat in it."""
        offered = [name for name, queue in self._queues.items() if queue]
        for name in offered:
            if self.ports.inputs[name].width:
                self._instance.poke(self._pins[f"{name}__payload"][0], self._queues[name][0])
            self._instance.poke(self._pins[f"{name}__valid"][0], 1)
        self._instance.eval()
        came = None
        if output is not None and self[f"{output}__valid"]:
            width = self.ports.outputs[output].width
            came = self._instance.peek(self._pins[f"{output}__payload"][0]) if width else 0
        taken = [name for name in offered if self[f"{name}__ready"]]
        self._instance.tick()
        for name in taken:
            self._queues[name].popleft()
            if not self._queues[name]:
                self[f"{name}__valid"] = 0
        return came
