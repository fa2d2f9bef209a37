# amaranth: UnusedElaboratable=no
"""The front of the engine between units that take as long as their instructions say."""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from thresher.hdl.nm_array.dispatch import Dispatch
from thresher.models.nm.program import BITS, Fence, Gemm, Load, Store, Update, pack
from thresher.models.nm.program_cycles import DeadlockError, schedule
from thresher.sim import stalls
from thresher.sim.beats import pack as words_of
from thresher.sim.verilator import run

KINDS = {"load": "base", "gemm": "left", "store": "sums", "update": "sums"}
"""Units, and the field that says how long they take."""


class Between(wiring.Component):
    """:class:`Dispatch` between units that take one instruction at a time, and tell when."""

    def __init__(self):
        told = [f"{name}_{what}" for name in KINDS for what in ("starts", "ends")]
        super().__init__(
            {
                "program": In(stream.Signature(BITS)),
                "done": Out(stream.Signature(16)),
                **{name: Out(stream.Signature(16)) for name in told},
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dispatch = dispatch = Dispatch()
        wiring.connect(m, wiring.flipped(self.program), dispatch.program)
        wiring.connect(m, dispatch.done, wiring.flipped(self.done))
        for name, field in KINDS.items():
            i, left, busy = getattr(dispatch, name), Signal(16), Signal(name=f"{name}_busy")
            starts, ends = getattr(self, f"{name}_starts"), getattr(self, f"{name}_ends")
            m.d.comb += [
                ends.valid.eq(busy & (left == 0)),
                i.ready.eq(~busy | ends.valid),
                starts.valid.eq(i.valid & i.ready),
                starts.payload.eq(i.p[field]),
                dispatch.finished[name].eq(ends.valid),
            ]
            m.d.sync += left.eq(left - 1)
            with m.If(i.ready):
                m.d.sync += [busy.eq(i.valid), left.eq(i.p[field])]
        return m


class Busy:
    """The cycles of such a unit."""

    ready = 0

    def __init__(self, field):
        self._field = field

    def run(self, instruction, cycle, /):
        self.ready = cycle + 1 + getattr(instruction, self._field)
        return self.ready


def random_program(rng, count):
    """Instructions that would run one at a time; unit u alone waits for semaphores u mod 3."""
    levels, program = np.zeros(8, int), []
    longest = int(rng.choice([2, 10, 60]))
    for k in range(count):
        unit = int(rng.choice(3, p=[0.4, 0.3, 0.3]))
        mine = np.arange(8) % 3 == unit
        chosen = rng.random(8) < 0.5
        wait = mine & (levels > 0) & chosen
        levels -= wait
        signal = (rng.random(8) < 0.3) & (levels < 3)
        levels += signal
        masks = {
            name: int((mask << np.arange(8)).sum())
            for name, mask in (("wait", wait), ("signal", signal))
        }
        kind = (Load, Gemm, (Store, Update, Fence)[rng.choice(3, p=[0.5, 0.3, 0.2])])[unit]
        if kind is Fence:
            program.append(Fence(**masks, tag=k))
        else:
            length = {KINDS[kind.__name__.lower()]: int(rng.integers(longest))}
            program.append(kind(**masks, **length))
    return program


@pytest.mark.parametrize("seed", range(12))
def test_programs_run_when_they_must(seed):
    program = random_program(np.random.default_rng(seed), 200)
    names = [type(instruction).__name__.lower() for instruction in program]
    want = schedule(program, {name: Busy(field) for name, field in KINDS.items()})
    tags = [instruction.tag for instruction in program if isinstance(instruction, Fence)]
    lengths = {
        name: [getattr(i, field) for i in program if type(i).__name__.lower() == name]
        for name, field in KINDS.items()
    }
    counts = {f"{name}_{x}": len(n) for name, n in lengths.items() for x in ("starts", "ends")}
    for kind in ("none", "random"):
        result = run(
            Between(),
            {"program": words_of(BITS, np.array([pack(i) for i in program], object))},
            {"done": len(tags)} | counts,
            stalls={port: stalls.pattern(kind, port, seed) for port in ("program", "done")},
        )
        assert result.outputs["done"][:, 0].tolist() == tags
        for name, length in lengths.items():
            assert result.outputs[f"{name}_starts"][:, 0].tolist() == length
        cycles = {name: iter(values.tolist()) for name, values in result.output_cycles.items()}
        starts = [next(cycles["done" if n == "fence" else f"{n}_starts"]) for n in names]
        ends = [
            start if name == "fence" else next(cycles[f"{name}_ends"])
            for name, start in zip(names, starts, strict=True)
        ]
        hold_semaphores(program, starts, ends)
        if kind == "none":
            assert starts == [times.start for times in want]
            assert ends == [times.end for times in want]


def hold_semaphores(program, starts, ends):
    """None is ever below 0, although signals count when instructions end."""
    moments = sorted(
        [(end, 0, i.signal, 1) for end, i in zip(ends, program, strict=True)]
        + [(start, 1, i.wait, -1) for start, i in zip(starts, program, strict=True)]
    )
    levels = np.zeros(8, int)
    for _, _, mask, change in moments:
        levels += change * (mask >> np.arange(8) & 1)
        assert levels.min() >= 0


def test_fences_come_after_all_before_them():
    program = [Store(sums=9), Store(sums=30), Fence(), Update(sums=5), Fence()]
    times = schedule(program, {name: Busy(field) for name, field in KINDS.items()})
    assert times[2].start > times[1].end > times[0].end
    assert times[3].start > times[1].end
    assert times[4].start > times[3].end


def test_a_program_that_waits_for_ever_is_refused():
    with pytest.raises(DeadlockError, match="2 instructions never end"):
        schedule(
            [Load(), Gemm(wait=1), Load(), Gemm()], {"load": Busy("base"), "gemm": Busy("left")}
        )
