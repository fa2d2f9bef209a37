"""A small component with everything that a register table or a bus adapter must carry; a design of
several units; and a bench for pipelines without streams."""

from typing import ClassVar

import numpy as np
import pytest
from amaranth.hdl import Module, Shape, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator


class Accumulator(wiring.Component):
    """Adds up the values of a packet that reach ``threshold``, starting from ``start``."""

    i: In(stream.Signature(data.StructLayout({"value": signed(11), "last": 1, "tag": 2})))
    o: Out(stream.Signature(signed(45)))
    threshold: In(signed(11), init=-5)
    start: In(signed(45), init=-(1 << 40))
    flags: Out(data.StructLayout({"busy": 1, "tag": 2}))
    beats: Out(72)
    lowest: Out(signed(11))

    TEXTS: ClassVar = {
        "threshold": "Values below it do not count.",
        "start": "What the sum of a packet starts from.",
        "flags": "Whether a packet is open, and the last tag.",
        "beats": "Values taken, times 2**34 + 1. */",
        "lowest": "Least value so far.",
    }

    def elaborate(self, platform):
        m = Module()
        total = Signal(signed(45))
        value = self.i.payload.value
        added = Signal(signed(45))
        before = Signal(signed(45))
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            before.eq(self.start),
            added.eq(before),
        ]
        with m.If(self.flags.busy):
            m.d.comb += before.eq(total)
        with m.If(value >= self.threshold):
            m.d.comb += added.eq(before + value)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                total.eq(added),
                self.flags.busy.eq(~self.i.payload.last),
                self.flags.tag.eq(self.i.payload.tag),
                self.beats.eq(self.beats + (1 << 34) + 1),
                self.o.payload.eq(added),
                self.o.valid.eq(self.i.payload.last),
            ]
            with m.If(value < self.lowest):
                m.d.sync += self.lowest.eq(value)
        return m


@pytest.fixture
def accumulator():
    """The class :class:`Accumulator`."""
    return Accumulator


class SideBySide(wiring.Component):
    """Units with a stream ``i`` and a stream ``o``, in one design that is built once: those of
    unit k are ``i_k`` and ``o_k``."""

    def __init__(self, units):
        self._units = units
        super().__init__(
            {
                f"{port}_{k}": unit.signature.members[port]
                for k, unit in enumerate(units)
                for port in "io"
            }
        )

    def elaborate(self, platform):
        m = Module()
        for k, unit in enumerate(self._units):
            m.submodules[f"unit_{k}"] = unit
            for port in "io":
                outside = wiring.flipped(getattr(self, f"{port}_{k}"))
                wiring.connect(m, getattr(unit, port), outside)
        return m


@pytest.fixture(scope="session")
def side_by_side():
    """The class :class:`SideBySide`."""
    return SideBySide


@pytest.fixture
def hold_pipeline():
    """The function :func:`follow_rows`."""
    return follow_rows


def follow_rows(
    component: wiring.Component, source: str, rows: np.ndarray, result: str, wanted: np.ndarray
) -> None:
    """Gives ``rows`` to the port ``source`` of a component with ``en`` and ``latency``, and holds
    the port ``result`` to what is ``wanted``, while ``en`` goes up and down."""
    rng = np.random.default_rng(len(rows))
    source, result = Value.cast(getattr(component, source)), getattr(component, result)
    inputs = [_packed(row, len(source) // row.size) for row in rows]
    element = Shape.cast(result.shape().elem_shape)

    async def bench(ctx):
        done = 0
        while done < len(rows) + component.latency:
            en = int(rng.random() < 0.8)
            number = done if en and done < len(rows) else rng.integers(len(rows))
            ctx.set(component.en, en)
            ctx.set(source, inputs[number])
            await ctx.tick()
            done += en
            if 0 <= done - component.latency < len(rows):
                got = _unpacked(ctx.get(Value.cast(result)), element, wanted.shape[1])
                assert got == wanted[done - component.latency].tolist()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def _packed(numbers: np.ndarray, width: int) -> int:
    mask = (1 << width) - 1
    return sum((n & mask) << width * i for i, n in enumerate(numbers.ravel().tolist()))


def _unpacked(word: int, element: Shape, count: int) -> list[int]:
    sign = 1 << element.width - 1 if element.signed else 0
    numbers = (word >> element.width * i & (1 << element.width) - 1 for i in range(count))
    return [(number ^ sign) - sign for number in numbers]
