"""Toggles of registers: circuits that are counted by hand, engines, and Amaranth's simulator."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from thresher.hdl.engine import engine
from thresher.hdl.verilog import emit
from thresher.sim import simulate
from thresher.sim.activity import activity
from thresher.sim.run import Wave
from thresher.sim.verilator import run


class Inside(wiring.Component):
    """Counts words, and remembers the last two; a keyword as a submodule's name."""

    def __init__(self):
        super().__init__({"enable": In(1), "word": In(6), "out": Out(6)})

    def elaborate(self, platform):
        m = Module()
        count, last, before = Signal(8), Signal(6), Signal(6)
        with m.If(self.enable):
            m.d.sync += [count.eq(count + 1), last.eq(self.word), before.eq(last)]
        m.d.comb += self.out.eq(before ^ count[:6])  # no register, though it changes as often
        return m


class Outside(wiring.Component):
    def __init__(self):
        super().__init__(
            {"i": In(stream.Signature(6)), "o": Out(stream.Signature(6)), "words": Out(16)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.cell = inside = Inside()
        moved = self.i.valid & self.o.ready
        m.d.sync += self.words.eq(self.words + moved)
        m.d.comb += [
            inside.enable.eq(moved),
            inside.word.eq(self.i.payload),
            self.o.payload.eq(inside.out),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready),
        ]
        return m


def flips(numbers) -> int:
    """Bits that change from 0 to the first, from there to the second, and so on."""
    numbers = [0, *map(int, numbers)]
    return sum((a ^ b).bit_count() for a, b in pairwise(numbers))


@pytest.mark.parametrize("stalls", [{}, {"o": np.array([True, False, False])}])
def test_registers_by_hand(stalls, tmp_path: Path) -> None:
    words = np.random.default_rng(1).integers(0, 64, (200, 1)).astype(np.uint32)
    path = tmp_path / "run.saif"
    done = run(Outside(), {"i": words}, {"o": 200}, stalls=stalls, wave=Wave(path))
    found = activity(path, emit(Outside()), done.cycles)
    sent = words[:, 0]
    inside = flips(range(1, 201)) + flips(sent) + flips(sent[:-1])
    assert found.by_register["words"] == (flips(range(1, 201)), 16)
    assert found.by_register["cell.before"] == (flips(sent[:-1]), 6)
    assert found.parts() == {"cell": (inside, 8 + 6 + 6), "": found.by_register["words"]}
    assert (found.toggles, found.bits) == (inside + flips(range(1, 201)), 36)


@pytest.mark.parametrize("name", ["sore", "amu"])
def test_engines_against_another_simulator(name, tmp_path: Path) -> None:
    """Every register's toggles in Amaranth's own simulator, from its waveform."""
    chosen = engine(name)
    config = chosen.config.preset("small")
    counted = simulate(chosen, config, "random", samples=3, activity=True)
    assert counted.holds
    assert counted.activity is not None
    wave = tmp_path / "run.vcd"
    simulate(chosen, config, "random", samples=3, backend="amaranth", wave=wave)
    toggles = vcd_toggles(wave.read_text())
    found: dict[str, list[int]] = {}
    for path, (count, _) in counted.activity.by_register.items():
        found.setdefault(path.rpartition(".")[2], []).append(count)
    alone = [name for name in found if len(found[name]) == 1 and name in toggles]
    assert len(alone) >= 3
    assert {n: found[n][0] for n in alone} == {n: toggles[n] for n in alone}
    assert sum(toggles[n] for n in alone) > 100


def vcd_toggles(text: str) -> dict[str, int]:
    """By a signal's name, where but one has it: bits that change."""
    names: dict[str, list[str]] = {}
    for code, name in re.findall(r"\$var \S+ \d+ (\S+) (\S+)", text):
        names.setdefault(name, []).append(code)
    before: dict[str, int] = {}
    found: dict[str, int] = {}
    for line in text.partition("$enddefinitions")[2].splitlines():
        if match := re.fullmatch(r"b([01]+) (\S+)|([01])(\S+)", line):
            code, value = match[2] or match[4], int(match[1] or match[3], 2)
            found[code] = found.get(code, 0) + (before.get(code, value) ^ value).bit_count()
            before[code] = value
    return {n: found.get(c[0], 0) for n, c in names.items() if len(set(c)) == 1}


def test_what_has_no_activity() -> None:
    config = engine("sore").config.preset("small")
    with pytest.raises(ValueError, match='by backend "verilator"'):
        simulate("sore", config, backend="amaranth", activity=True)
    assert simulate("sore", config, samples=1).activity is None
