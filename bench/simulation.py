"""Simulation: the harness against a hand-written loop, cocotb and Amaranth; start-up."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..hdl.engine import Workload, engine
from ..hdl.verilog import emit, ports
from ..sim import beats
from ..sim.build import call, verilate
from ..sim.interactive import Session
from ..sim.simulate import simulate
from ..sim.toolchain import compiler, verilator
from .report import Bar, Progress, Row

_ENGINE = engine("sparse_lstm")
_HANDWRITTEN = Path(__file__).with_name("handwritten.cpp")
_ROUNDS = 5
"""Harness and hand-written loop take turns; of each the fastest counts."""

_FIRST_RUN = """
import time
begin = time.perf_counter()
import torch  # the golden models need it, and load it when first called
from thresher.hdl.engine import engine
from thresher.sim import simulate
chosen = engine("sparse_lstm")
imported = time.perf_counter()
report = simulate(chosen, chosen.config.preset("small"), "random", samples=2)
assert report.holds, report.failures()
print(imported - begin, time.perf_counter() - imported)
"""


def rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Speeds on the LSTM engine's default and small presets, random weights and input."""
    yield from _start(progress)
    for preset in ("default",) if quick else ("default", "small"):
        yield from _speed(preset, 400, progress)
    progress("interactive session")
    yield Row(
        "interactive session, cycles/s with one Python call a cycle", _interactive(),
        reference="PyVerilator: 20,000 to 130,000",
    )  # fmt: skip


def _start(progress: Progress) -> Iterator[Row]:
    """First simulations, each in a process of its own."""
    with TemporaryDirectory() as cache:
        progress("first simulation, cache empty")
        imports, first = _first_run(cache)
        yield Row(
            "first simulation, cache empty, imports included, s", imports + first, Bar("<=", 15)
        )
        progress("first simulation, cache warm")
        fastest = min(_first_run(cache)[1] for _ in range(3))
        yield Row("first simulation, cache warm, after imports, s", fastest, Bar("<=", 1.5))


def _first_run(cache: str) -> tuple[float, float]:
    """Seconds of the imports and of the simulation."""
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_RUN], capture_output=True, text=True, check=True,
        env={**os.environ, "THRESHER_CACHE": cache},
    )  # fmt: skip
    imports, first = map(float, done.stdout.split())
    return imports, first


def _speed(preset: str, samples: int, progress: Progress) -> Iterator[Row]:
    config = _ENGINE.config.preset(preset)
    progress(f"{preset} preset: golden model, builds")
    task = _ENGINE.workloads["random"].build(config, samples, 0)
    simulate(_ENGINE, workload=task)
    harness = hand = 0.0
    with TemporaryDirectory() as folder:
        binary, stimulus = _build_handwritten(task, Path(folder))
        progress(f"{preset} preset: harness and hand-written loop")
        for _ in range(_ROUNDS):
            report = simulate(_ENGINE, workload=task)
            assert report.holds, report.failures()
            harness = max(harness, report.cycles_per_second)
            hand = max(hand, _run_handwritten(binary, stimulus))
    name = f"sparse_lstm {preset}"
    yield Row(f"{name}, harness, cycles/s", harness)
    yield Row(f"{name}, hand-written C++ loop, cycles/s", hand)
    yield Row(f"{name}, harness over hand-written loop", harness / hand, Bar(">=", 0.8))
    for backend, bound, steps in (("cocotb", 20, 20), ("amaranth", 200, 2)):
        progress(f"{preset} preset: {backend}")
        report = simulate(_ENGINE, config, "random", backend=backend, samples=steps)
        assert report.holds, report.failures()
        yield Row(f"{name}, {backend}, cycles/s", report.cycles_per_second)
        ratio = harness / report.cycles_per_second
        yield Row(f"{name}, harness over {backend}", ratio, Bar(">=", bound))


def _build_handwritten(task: Workload, folder: Path) -> tuple[Path, Path]:
    """The hand-written simulation of the task's engine, and its stimulus file."""
    component = _ENGINE.component(task.config)
    sources = verilate(emit(component), folder)
    root = verilator().root / "include"
    sources += [_HANDWRITTEN, root / "verilated.cpp", root / "verilated_threads.cpp"]
    include = [f"-I{folder}", f"-I{root}", f"-I{root / 'vltstd'}"]
    binary, stimulus = folder / "handwritten", folder / "stimulus"
    flags = ["-std=c++17", "-O2", "-w", "-pthread", "-DVM_TRACE=0"]
    call([compiler()[0], *flags, *include, *sources, "-o", binary])
    known = ports(component).streams
    table, data = [], []
    for name in ("weights", "biases", "x", "h"):
        words = beats.pack(known[name].shape, {**task.inputs, **task.outputs}[name])
        size = _c_size(known[name].width)
        table += [len(words), size]
        data.append(np.pad(words, ((0, 0), (0, 1))).view(np.uint8)[:, :size].tobytes())
    stimulus.write_bytes(np.array(table, dtype=np.int64).tobytes() + b"".join(data))
    return binary, stimulus


def _c_size(width: int) -> int:
    """Bytes of the C++ type that Verilator gives a port."""
    return next((size for size in (1, 2, 4, 8) if width <= 8 * size), -(-width // 32) * 4)


def _run_handwritten(binary: Path, stimulus: Path) -> float:
    """Cycles a second."""
    done = subprocess.run([binary, stimulus, "1"], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"the hand-written simulation failed: {done.stderr.strip()}")
    cycles, seconds = done.stdout.split()
    return int(cycles) / float(seconds)


def _interactive(cycles: int = 20_000) -> float:
    with Session(_ENGINE.component(_ENGINE.config.preset("small"))) as session:
        began = time.perf_counter()
        for _ in range(cycles):
            session.tick()
        return cycles / (time.perf_counter() - began)
