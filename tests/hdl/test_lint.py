"""Every wrapper of every engine passes the linters of those who take it away."""

import os
import re
import shutil
import subprocess
from typing import get_args

import numpy as np
import pytest
from thresher.hdl.engine import ENGINES, engine
from thresher.hdl.generate import Bus, describe_top
from thresher.hdl.verilog import emit
from thresher.sim.toolchain import ToolMissing, verilator

TOPS = [
    pytest.param(
        name,
        preset,
        bus,
        marks=[] if preset == "small" or (preset, bus) == ("default", "axi") else pytest.mark.slow,
    )
    for name in ENGINES
    for preset in engine(name).config.presets
    for bus in get_args(Bus)
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


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ENGINES)
def test_random_configurations(name, seed, tmp_path):
    chosen = engine(name)
    config = chosen.random_config(np.random.default_rng(seed))
    hold(emit(chosen.component(config)), tmp_path, "top")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 40))
@pytest.mark.parametrize("name", ENGINES)
def test_more_random_configurations(name, seed, tmp_path):
    test_random_configurations(name, seed, tmp_path)


def test_the_linters_would_complain(tmp_path):
    path = tmp_path / "top.v"
    path.write_text("module top(input [3:0] a, output [7:0] o); assign o = {a, 2'd1}; endmodule")
    assert "WIDTHEXPAND" in verilate(path)
    path.write_text("module top(input a, output o); other part(); endmodule")
    with pytest.raises(AssertionError, match="other"):
        icarus(path)
