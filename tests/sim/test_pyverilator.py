"""PyVerilator: its own interface on our components, and its scripts unchanged."""

import subprocess
import sys

import pytest
from thresher.hdl.verilog import emit

pytest.importorskip("pyverilator")

SCRIPT = """\
import sys
import pyverilator

sim = pyverilator.PyVerilator.build(sys.argv[1], build_dir=sys.argv[2])
sim.io.rst = 1
sim.clock.tick()
sim.io.rst = 0
sim.io.offset = 3
sim.io.taps__valid = 1
while sim.io.taps__ready:
    sim.io.taps__payload = 5
    sim.clock.tick()
sim.io.taps__valid = 0
sim.io.x__payload = 7 << 1
sim.io.x__valid = 1
sim.io.y__ready = 1
sim.clock.tick()
print("products", sim.io.y__payload >> 70)
again = pyverilator.PyVerilator(sys.argv[2] + "/Vblend")
again.clock.tick()
print("again", int(again.io.y__valid), int(sim.io.y__valid))
"""


def test_a_script_runs_unchanged(blend, tmp_path):
    config = blend.config(depth=2, lanes=1)
    (tmp_path / "blend.v").write_text(emit(blend.component(config), "blend"))
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "thresher.sim.pyverilator", "script.py", "blend.v", "obj"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [f"products {5 * 7 + 3}", "again 0 1"]


def test_a_component_as_a_session(blend):
    from thresher.sim import pyverilator

    config = blend.config(depth=2, lanes=1)
    first, second = (pyverilator.build(blend.component(config)) for _ in range(2))
    first.io.rst = 1
    first.clock.tick()
    assert first.io.taps__ready == 1
    assert first.io.x__ready == 0
    assert [name for name, _ in second.outputs if name == "beats"] == ["beats"]
