"""What the generated lookup engines do in simulation, as rows."""

from collections.abc import Iterator

import numpy as np

from ..hdl.engine import engine
from ..models import data
from ..models.amu.config import AmuConfig
from ..sim.simulate import Report, simulate
from ..sim.stalls import Kind
from .report import Bar, Progress, Row

NAME = "amu"
HALUT = {"halut_16x8": (16, 8), "halut_32x32": (32, 32)}
"""Codebooks and outputs.  Halut's RTL, simulated, gives a row every C cycles, the first result in
cycle C + 8."""
_SHAPES = (  # codebooks, levels, outputs; codebooks and outputs at once
    (16, 4, 32, 16, 32), (16, 4, 32, 4, 8), (13, 5, 21, 5, 4), (16, 2, 32, 3, 32), (8, 6, 24, 8, 1),
)  # fmt: skip
_RUNS: tuple[tuple[str, Kind], ...] = (
    ("random", "none"), ("ties", "random"), ("extremes", "random"),
)  # fmt: skip
"""Workloads and stalls."""


def rtl_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Cycles beside halut's and beside the work there is; equality with the golden model."""
    yield from _halut(progress)
    yield from _folds(quick, progress)


def _halut(progress: Progress) -> Iterator[Row]:
    """One codebook in a cycle, all outputs at once."""
    source = engine(NAME).workloads
    for name, (codebooks, outputs) in HALUT.items():
        what = f"halut's vectors, C = {codebooks}, M = {outputs}, a codebook in a cycle"
        try:
            config = source[name].configure(
                AmuConfig(codebooks=codebooks, outputs=outputs, parallel_codebooks=1,
                          parallel_outputs=outputs)
            )  # fmt: skip
            progress(what)
            report = simulate(NAME, config, name)
        except data.MissingData as missing:
            yield Row.skip(what, str(missing))
            continue
        wrong = "; ".join(report.failures()) or report.metrics["wrong_sums"]
        yield Row(f"{what}: sums that differ", wrong, Bar("==", 0))
        yield from halut_cycles(what, report, codebooks)
        for port in (outputs, 1):
            progress(f"{what}: {port} table entries a beat")
            loaded = simulate(NAME, config.replace(load_port=port), name, samples=1)
            yield Row(
                f"{what}: cycles to load, entries of tables in a cycle: {port}",
                loaded.registers["load_cycles"], Bar("<=", codebooks * 16 * outputs),
                f"{codebooks * 16 * outputs:,}, and {codebooks * 4} of thresholds (halut)",
            )  # fmt: skip
    progress("halut's corner cases")
    try:
        corner = simulate(NAME, source["halut_corner"].configure(AmuConfig()), "halut_corner")
    except data.MissingData as missing:
        yield Row.skip("halut's corner cases: sums that differ from IEEE's", str(missing))
        return
    yield Row("halut's corner cases, zeros of either sign and subnormals: sums that differ from "
              "IEEE's", corner.metrics.get("wrong_sums"), Bar("==", 0),
              "8, all of a row (halut's RTL, where +0 exceeds -0)")  # fmt: skip


def halut_cycles(what: str, report: Report, codebooks: int) -> Iterator[Row]:
    """When results come, counted from the cycle of the first input, which is 1."""
    taken, given = report.run.input_cycles["x"], report.run.output_cycles["y"]
    first = codebooks + 8
    yield Row(f"{what}: cycle of the first results, all at once", int(given[0] - taken[0]) + 1,
              Bar("<=", first), f"{first}, the others one by one (halut)")  # fmt: skip
    yield Row(f"{what}: cycles of a row, at most", int(np.diff(given).max()),
              Bar("<=", codebooks), f"{codebooks} (halut)")  # fmt: skip


def _folds(quick: bool, progress: Progress) -> Iterator[Row]:
    """Random layers on engines folded in several ways."""
    rows, count, wrong = 256 if quick else 2048, 0, []
    for codebooks, levels, outputs, lanes, across in _SHAPES:
        config = AmuConfig(codebooks=codebooks, levels=levels, outputs=outputs, output_bits=8,
                           shift=4, parallel_codebooks=lanes, parallel_outputs=across)  # fmt: skip
        what = (f"C = {codebooks}, K = {1 << levels}, M = {outputs}, {lanes} codebooks and "
                f"{across} outputs at once")  # fmt: skip
        for workload, stall in _RUNS:
            progress(f"{what}: {workload}, stalls {stall}")
            report = simulate(NAME, config, workload, samples=rows, stall=stall)
            count += report.registers["rows"]
            wrong += [f"{what}, {workload}: {failure}" for failure in report.failures()]
            if stall != "none":
                continue
            if (lanes, across) == (codebooks, outputs):
                yield from unrolled(what, report, levels + 3 + (codebooks - 1).bit_length())
            else:
                yield Row(f"{what}: cycles of {rows} rows, over those of their look-ups",
                          1 / report.utilisation, Bar("<=", 1.02))  # fmt: skip
    yield Row(
        "rows through RTL, bit for bit the golden model's (ties, extremes, stalls)",
        0 if wrong else count, Bar(">=", 3 * rows * len(_SHAPES)), "; ".join(wrong),
    )  # fmt: skip


def unrolled(what: str, report: Report, most: int) -> Iterator[Row]:
    """Of an engine that does all at once."""
    taken, given = report.run.input_cycles["x"], report.run.output_cycles["y"]
    yield Row(f"{what}: cycles of a row, at most", int(np.diff(given).max()), Bar("==", 1))
    yield Row(f"{what}: cycles from a row to its results", int(given[0] - taken[0]),
              Bar("<=", most), "levels + 3 + ceil(log2 C)")  # fmt: skip
