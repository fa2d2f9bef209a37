"""Toggles of registers: circuits that are counted by hand, engines, and Amaranth's simulator."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from thresher.hdl.engine import engine
from thresher.hdl.verilog import emit
from thresher.sim import simulate
from thresher.sim.activity import activity
from thresher.sim.run import RESET_CYCLES, Wave
from thresher.sim.verilator import run


class Inside(wiring.Component):
    """Counts words, and remembers the last two, also in registers with brackets in their names; a
    keyword as a submodule's name."""

    def __init__(self):
        super().__init__({"enable": In(1), "word": In(6), "out": Out(6)})

    def elaborate(self, platform):
        m = Module()
        last, before = Signal(6), Signal(6)  # the first has no name of its own
        count = Signal(8, init=3)
        past = Signal(data.ArrayLayout(6, 2))
        with m.If(self.enable):
            m.d.sync += [past[0].eq(~self.word), past[1].eq(past[0])]
            m.d.sync += [count.eq(count + 1), last.eq(self.word), before.eq(last)]
        m.d.comb += self.out.eq(
            before ^ count[:6] ^ past[1]
        )  # no register, though it changes as often
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


def flips(numbers, init=0) -> int:
    """Bits that change from ``init`` to the first, from there to the second, and so on."""
    numbers = [init, *map(int, numbers)]
    return sum((a ^ b).bit_count() for a, b in pairwise(numbers))


@pytest.mark.parametrize("stalls", [{}, {"o": np.array([True, False, False])}])
def test_registers_by_hand(stalls, tmp_path: Path) -> None:
    words = np.random.default_rng(1).integers(0, 64, (200, 1)).astype(np.uint32)
    path = tmp_path / "run.saif"
    done = run(Outside(), {"i": words}, {"o": 200}, stalls=stalls, wave=Wave(path))
    found = activity(path, emit(Outside()))
    sent = words[:, 0]
    count, last, before = flips(range(1, 201)), flips(sent), flips(sent[:-1])
    inside = flips(range(4, 204), init=3)  # ones from the start are no changes
    past = flips(63 - sent) + flips(63 - sent[:-1])
    assert found.by_register["words"] == (count, 16)
    assert found.by_register["cell.before"] == (before, 6)
    assert found.parts() == {
        "cell": (inside + last + before + past, 8 + 4 * 6),
        "": (count, 16),
    }
    assert (found.toggles, found.bits) == (count + inside + last + before + past, 48)
    assert found.cycles == done.cycles + RESET_CYCLES
    assert found.per_cycle == found.toggles / found.cycles


def test_a_counter_toggles_twice_a_word(tmp_path: Path) -> None:
    """Bit k of a counter changes every 2**k-th word."""
    words = np.zeros((256, 1), np.uint32)
    run(Outside(), {"i": words}, {"o": 256}, wave=Wave(tmp_path / "run.saif"))
    found = activity(tmp_path / "run.saif", emit(Outside()))
    # 256 + 128 + … + 1 from 0 to 256; eight bits have no ninth to set, wherever they begin.
    assert found.by_register["cell.count"] == (2 * 256 - 2, 8)
    assert found.by_register["words"] == (2 * 256 - 1, 16)


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
    counts = {f"bench.top.dut.{path}": c for path, c in counted.activity.by_register.items()}
    both = [path for path in counts if path in toggles]  # some have other names there
    assert {path: counts[path][0] for path in both} == {path: toggles[path] for path in both}
    assert sum(counts[path][1] for path in both) >= 0.7 * counted.activity.bits
    assert sum(toggles[path] for path in both) > 100


@pytest.mark.parametrize("name", ["amu", "sore"])
def test_every_register_of_an_engine_is_counted(name) -> None:
    chosen = engine(name)
    config = chosen.config.preset("small")
    report = simulate(chosen, config, samples=1, activity=True)
    text = emit(chosen.component(report.config))
    modules = {m[1]: m[0] for m in re.finditer(r"^module (\S+)\(.*?^endmodule", text, re.M | re.S)}

    def bits(module: str) -> int:
        body = modules[module]
        own = re.findall(r"^  reg (?:signed )?(?:\[(\d+):0\] )?\S+ ?;$", body, re.M)
        inside = re.findall(r"^  (\S+) \S+ +\($", body, re.M)
        return sum(int(high or 0) + 1 for high in own) + sum(map(bits, inside))

    assert report.activity is not None
    assert report.activity.bits == bits("top")
    assert report.activity.to_json()["register_bits"] == bits("top")


def vcd_toggles(text: str) -> dict[str, int]:
    """By a signal's path: bits that change."""
    scope: list[str] = []
    codes: dict[str, str] = {}
    head, _, body = text.partition("$enddefinitions")
    for line in head.splitlines():
        match line.split():
            case ["$scope", _, name, _]:
                scope.append(name)
            case ["$upscope", _]:
                scope.pop()
            case ["$var", _, _, code, name, *_]:
                codes[".".join([*scope, name])] = code
    before: dict[str, int] = {}
    found: dict[str, int] = {}
    for line in body.splitlines():
        if match := re.fullmatch(r"b([01]+) (\S+)|([01])(\S+)", line):
            code, value = match[2] or match[4], int(match[1] or match[3], 2)
            found[code] = found.get(code, 0) + (before.get(code, value) ^ value).bit_count()
            before[code] = value
    return {path: found.get(code, 0) for path, code in codes.items()}


def test_what_has_no_activity() -> None:
    config = engine("sore").config.preset("small")
    with pytest.raises(ValueError, match='by backend "verilator"'):
        simulate("sore", config, backend="amaranth", activity=True)
    assert simulate("sore", config, samples=1).activity is None
