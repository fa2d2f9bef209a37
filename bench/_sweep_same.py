"""Results that must not depend on what executed a sweep, nor on what interrupted it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..fpga import tools
from ._sweep_execution import empty_cache
from .report import Bar, Progress, Row
from .sweeps.cluster import Ray
from .sweeps.local import Local
from .sweeps.space import Space
from .sweeps.sweep import Sweep
from .sweeps.task import Executor
from .sweeps.tools import Simulate, Synthesise

SPEC = """
engine = "sore"
objectives = { lut = "min", pace = "max" }
derived = { pace = "lanes / cycles" }
[space]
presets = ["small"]
[space.axes]
lanes = [4, 8, 16]
kept = [1, 2]
[[stages]]
kind = "simulate"
samples = 3
[[stages]]
kind = "synthesise"
device = "xc7"
"""
CUT = 5
"""Records after which the driver is killed."""


def resume_rows(progress: Progress) -> Iterator[Row]:
    """The command, killed on the way and resumed, against the command left alone."""
    what = "trials that differ in a sweep that was killed and resumed"
    try:
        tools.version("pyosys")
    except ModuleNotFoundError as missing:
        yield Row.skip(what, str(missing), Bar("==", 0))
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.toml").write_text(SPEC, encoding="utf-8")
        progress("a sweep that is left alone")
        _drive(folder, "whole").wait()
        progress("a sweep that is killed, and resumed")
        driver, journal = _drive(folder, "cut"), folder / "cut" / "journal.jsonl"
        while driver.poll() is None and _lines(journal) <= CUT:
            time.sleep(0.02)
        driver.kill()
        driver.wait()
        done = _lines(journal) - 1
        _drive(folder, "cut", "--resume").wait()
        whole, cut = (_trials(folder / kind / "trials.jsonl") for kind in ("whole", "cut"))
        front = [trial["trial"] for trial in whole if trial["front"]]
        yield Row(
            what, _differ(whole, cut), Bar("==", 0),
            f"killed after {done} of {_lines(journal) - 1} records; trials {front} in both fronts",
        )  # fmt: skip


def _drive(folder: Path, name: str, *more: str) -> subprocess.Popen[bytes]:
    """The sweep's command, with a cache of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", "from thresher.cli import main; main()", "sweep", "spec.toml", "-o",
         name, *more],
        cwd=folder, env={**os.environ, "THRESHER_CACHE": str(folder / f"{name}.cache")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n") if path.exists() else 0


def _trials(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _differ(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> int | str:
    """Trials whose figures are not the same; seconds are nobody's figures."""
    if not one or len(one) != len(other):
        return f"{len(one)} and {len(other)} trials"
    return sum(
        {**a, "seconds": None} != {**b, "seconds": None} for a, b in zip(one, other, strict=True)
    )


def executor_rows(progress: Progress) -> Iterator[Row]:
    """Worker processes and a Ray cluster of two workers, each with an empty cache."""
    what = "trials that differ between worker processes and Ray"
    space = Space({"lanes": [4, 8, 16], "kept": [1, 2]}, presets=("small",))
    stages = (Simulate(samples=3), Synthesise("xc7"))
    sweep = Sweep(
        "sore", space, stages, {"lut": "min", "pace": "max"}, derived={"pace": "lanes / cycles"}
    )

    def found(executor: Executor) -> list[dict[str, Any]]:
        try:
            return sweep.run(executor=executor).rows()
        finally:
            executor.close()

    try:
        rows = []
        for make in (Local, Ray):
            progress(f"the same sweep by {make.__name__}")
            with empty_cache():
                rows.append(found(make(2)))
    except ModuleNotFoundError as missing:
        yield Row.skip(what, str(missing), Bar("==", 0))
        return
    front = sum(row["front"] for row in rows[0])
    yield Row(what, _differ(*rows), Bar("==", 0), f"{len(rows[0])} trials, {front} in front")
