"""Every wrapper of every engine passes the linters of those who take it away."""

import itertools
import operator
import os
import re
import shutil
import subprocess
from typing import get_args

import numpy as np
import pytest
from amaranth.hdl import Array, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from thresher.hdl.engine import ENGINES, engine
from thresher.hdl.generate import Bus, describe_top
from thresher.hdl.verilog import emit
from thresher.sim.amaranth import run as amaranth_run
from thresher.sim.toolchain import ToolMissing, verilator
from thresher.sim.verilator import run as verilator_run

BUSES = get_args(Bus)

TOPS = [
    # By default every engine on one bus, in turn: the buses are the same for all.
    pytest.param(
        name,
        preset,
        bus,
        marks=[] if (preset, bus) == ("small", BUSES[n % len(BUSES)]) else pytest.mark.slow,
    )
    for n, name in enumerate(ENGINES)
    for preset in engine(name).config.presets
    for bus in BUSES
]


def verilate(path, *options):
    """What Verilator says of a file; empty where it is content."""
    try:
        tool = verilator()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    done = subprocess.run(
        [tool.binary, "--lint-only", *options, path],
        env={**os.environ, "VERILATOR_ROOT": str(tool.root)},
        capture_output=True,
        text=True,
    )
    return done.stderr + "".join(re.findall(r"^%.*\n", done.stdout, re.M))


def icarus(path):
    """What Icarus says of a file as Verilog-2005."""
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    command = ["iverilog", "-g2005", "-Wall", "-t", "null", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def hold(text, folder, name):
    path = folder / f"{name}.v"
    path.write_text(text)
    assert verilate(path, "-Wall") == ""
    assert icarus(path) == ""
    # The text waives no error and none of the warnings that everybody gets.
    waived = re.findall(r"lint_off (\w+)", text)
    assert waived == ["DECLFILENAME", "UNUSEDSIGNAL", "UNOPTFLAT"]
    path.write_text(re.sub(r"/\* verilator .*? \*/", "", text))
    assert verilate(path, "-Wno-UNOPTFLAT") == ""


@pytest.mark.parametrize(("name", "preset", "bus"), TOPS)
def test_presets(name, preset, bus, tmp_path):
    chosen = engine(name)
    top = describe_top(chosen, chosen.config.preset(preset), bus)
    hold(emit(top.component, top.name), tmp_path, top.name)


@pytest.mark.parametrize("seed", range(1))
@pytest.mark.parametrize("name", ENGINES)
def test_random_configurations(name, seed, tmp_path):
    chosen = engine(name)
    config = chosen.random_config(np.random.default_rng(seed))
    hold(emit(chosen.component(config)), tmp_path, "top")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 40))
@pytest.mark.parametrize("name", ENGINES)
def test_more_random_configurations(name, seed, tmp_path):
    test_random_configurations(name, seed, tmp_path)


class Zoo(wiring.Component):
    """Every operator on operands of every signedness, alike and unlike in width; not division,
    which no engine does in one cycle."""

    OPERATORS = (
        operator.add, operator.sub, operator.mul, operator.lt, operator.le, operator.gt,
        operator.ge, operator.eq, operator.ne, operator.and_, operator.or_, operator.xor,
        lambda a, b: a << (b.as_unsigned() & 7), lambda a, b: a >> (b.as_unsigned() & 7),
        lambda a, b: Mux(a > 0, a, b), lambda a, b: Array([a, b, 5, -3])[a[:2]],
        lambda a, b: (a + b)[:5].bit_select(b.as_unsigned()[:3], 2),
        lambda a, b: (a - b)[:3].word_select(b[0], 2),
        lambda a, b: -a, lambda a, b: abs(a) + (~b).any(),
    )  # fmt: skip

    def __init__(self):
        self.fields = {"a": signed(7), "b": unsigned(4), "c": signed(3), "d": unsigned(9)}
        values = [Signal(shape) for shape in self.fields.values()]
        results = {
            f"r{k}": made.shape() for k, made in enumerate(self.expressions(values)) if len(made)
        }
        layouts = data.StructLayout(self.fields), data.StructLayout(results)
        super().__init__(
            {"i": In(stream.Signature(layouts[0])), "o": Out(stream.Signature(layouts[1]))}
        )

    def expressions(self, values):
        pairs = itertools.permutations([*values, Const(-3, 3), Const(5, 6)], 2)
        return [Value.cast(f(a, b)) for (a, b), f in itertools.product(pairs, self.OPERATORS)]

    def elaborate(self, platform):
        m = Module()
        for k, made in enumerate(self.expressions([self.i.payload[name] for name in self.fields])):
            if len(made):
                m.d.comb += self.o.payload[f"r{k}"].eq(made)
        m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]
        return m


def test_every_operator(tmp_path):
    """Passes, and means what Amaranth's own simulator says."""
    zoo = Zoo()
    hold(emit(zoo), tmp_path, "top")
    words = np.random.default_rng(0).integers(0, 1 << 23, (100, 1), dtype=np.uint32)
    runs = (run(zoo, {"i": words}, {"o": len(words)}) for run in (verilator_run, amaranth_run))
    np.testing.assert_array_equal(*(each.outputs["o"] for each in runs))


def test_the_linters_would_complain(tmp_path):
    path = tmp_path / "top.v"
    path.write_text("module top(input [3:0] a, output [7:0] o); assign o = {a, 2'd1}; endmodule")
    assert "WIDTHEXPAND" in verilate(path)
    path.write_text("module top(input a, output o); other part(); endmodule")
    with pytest.raises(AssertionError, match="other"):
        icarus(path)
