"""The sparse-state LSTM engine: utilisation, speed-up on real traces, accuracy, cost."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..fpga.devices import device
from ..fpga.results import measure
from ..fpga.yosys import synthesise
from ..hdl.engine import Workload
from ..hdl.sparse_lstm import ENGINE
from ..hdl.sparse_lstm.cycles import timing
from ..hdl.sparse_lstm.engine import random_config
from ..hdl.sparse_lstm.workloads import workload
from ..models.data import MissingData
from ..models.sparse_lstm import golden, workloads
from ..models.sparse_lstm.char_model import CharModel, evaluate
from ..models.sparse_lstm.config import SparseLstmConfig
from ..models.sparse_lstm.task import Task
from ..sim.simulate import Report, simulate
from ._cost import cost_rows
from .report import Bar, Progress, Row

PAPER = "DATE 2019"
SILICON = "FINN-L on a Zynq-7020"


@dataclass
class _Runs:
    """Simulated workloads, and how many were as golden model and formula say."""

    progress: Progress
    total: int = 0
    good: int = 0
    worst_sparse: float = 0.0
    """Largest of (cycles - 8 a step) / ideal over the runs that skip."""
    worst_bubble: float = 0.0
    """Most cycles a step in which no pass advanced, from the first step's end on."""
    failures: list[str] = field(default_factory=list)

    def __call__(self, what: str, task: Task, config: SparseLstmConfig, **registers: int) -> Report:
        self.progress(what)
        return self.run(workload(what, task, config, **registers))

    def run(self, work: Workload, stall: Any = "none", seed: int = 0) -> Report:
        report = simulate(ENGINE, workload=work, stall=stall, seed=seed)
        self.total += 1
        self.good += report.holds
        self.failures += [f"{work.name}: {failure}" for failure in report.failures()]
        return report

    def sparse(self, what: str, task: Task, config: SparseLstmConfig, **registers: int) -> Report:
        """A run that skips, judged against the ideal of its nonzero columns."""
        report = self(what, task, config, **registers)
        steps = len(task.steps)
        ideal = report.utilisation * report.cycles
        self.worst_sparse = max(self.worst_sparse, (report.cycles - 8 * steps) / ideal)
        trace = golden.run(config.replace(**registers), task.parameters, task.steps)
        ends = report.run.output_cycles["h"][report.outputs["h"]["last"] == 1]
        busy = sum(timing(trace).passes[1:]) * config.groups
        bubble = float(ends[-1] - ends[0] - busy) / (steps - 1)
        self.worst_bubble = max(self.worst_bubble, bubble)
        return report


def rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Every figure of the engine, each measured now."""
    runs = _Runs(progress)
    yield from _character_model(runs, quick)
    for part in (_print, _speech):
        try:
            yield from part(runs)
        except MissingData as missing:
            yield Row.skip(f"real data ({part.__name__[1:]})", str(missing), Bar("==", True))
    yield Row(
        "sparse runs above: (cycles - 8 a step) / ideal of their nonzero columns, worst",
        runs.worst_sparse, Bar("<=", 1.03),
    )  # fmt: skip
    yield Row(
        "sparse runs above: cycles a step outside passes, worst", runs.worst_bubble,
        Bar("<=", 8), f"28 to 60 ({SILICON})",
    )  # fmt: skip
    yield from _random(runs, 100 if quick else 1000)
    yield from _cost(quick, progress)


def _character_model(runs: _Runs, quick: bool) -> Iterator[Row]:
    model = CharModel.load()

    def engine(batch: int, elements: int) -> SparseLstmConfig:
        return model.config(batch=batch, lanes=192, elements=elements)

    dense = {"skip_inputs": 0, "skip_states": 0}
    for batch, elements in ((1, 4), (8, 8), (16, 8)):
        task = model.task(batch, 6)
        report = runs(f"H=1000 dense, batch {batch}", task, engine(batch, elements), **dense)
        yield Row(
            f"H=1000, 192 lanes, batch {batch}: dense utilisation", report.utilisation,
            Bar(">=", 0.97), f"0.960, 80 lanes ({SILICON})",
        )  # fmt: skip

    task = model.task(8, 24 if quick else 96)
    config = engine(8, 8)
    reference = runs("H=1000 dense, batch 8, for the table", task, config, **dense)
    before = runs.worst_bubble
    for share, bar, paper in ((0.81, 5.1, f"5.2 ({PAPER})"), (0.90, 9.6, ""), (0.97, 30.0, "")):
        threshold = _threshold(task, share)
        report = runs.sparse(f"H=1000 at {share:.0%}", task, config, threshold=threshold)
        zero = report.metrics["joint_state_sparsity"]
        yield Row(
            f"one-hot, H=1000, 192 lanes, batch 8, {zero:.1%} of columns zero "
            f"(threshold {threshold}): speed-up over dense",
            reference.cycles / report.cycles, Bar(">=", bar), paper,
        )  # fmt: skip
    yield Row("the three above: cycles a step outside passes (few columns: the cell unit's time)",
              runs.worst_bubble)  # fmt: skip
    runs.worst_bubble = before

    for what, task in (
        ("characters as indices", model.task(1, 48, "index")),
        ("one-hot vectors", model.task(1, 48, "vector")),
    ):
        config = task.config.replace(lanes=192, elements=8, window=8)
        report = runs.sparse(what, task, config)
        yield Row(f"{what}, H=1000, 192 lanes, batch 1, trained threshold: speed-up over dense",
                  report.metrics["speedup_over_dense"])  # fmt: skip
    yield from _accuracy(model, runs.progress)


def _accuracy(model: CharModel, progress: Progress) -> Iterator[Row]:
    """The curve of pruning: all on held-out text, by the integer model."""
    dense = f"{model.dense_bits:.3f} for the dense network, in floating point, when trained"
    for threshold in (model.formats.threshold, 0, 29, 40, 55, 66):
        progress(f"character model at threshold {threshold}")
        figures = evaluate(model, threshold)
        own = threshold == model.formats.threshold
        what = f"threshold {threshold}{' (trained)' if own else ''}"
        bar, paper = (Bar(">=", 0.90), f"over 0.90 ({PAPER})") if own else (None, "")
        yield Row(f"{what}: share of states pruned", figures["sparsity"], bar, paper)
        yield Row(f"{what}: bits a character", figures["bits_per_character"], None, dense)
        yield Row(f"{what}: share of columns zero in all of a batch of 8", figures["joint"][8],
                  None, f"{figures['sparsity'] ** 8:.3f} if independent")  # fmt: skip


def _threshold(task: Task, share: float) -> int:
    """The smallest threshold at which ``share`` of the columns are zero in the whole batch."""
    for threshold in range(1, 1 << (task.config.state_bits - 1)):
        trace = golden.run(task.config, task.parameters, task.steps, threshold)
        if 1 - trace.state_columns()[1:].mean() >= share:
            return threshold
    raise ValueError(f"no threshold prunes {share:.0%} of the columns")


def _print(runs: _Runs) -> Iterator[Row]:
    """A line of print; where lanes are many, one direction fills the other's bubbles."""
    cases: tuple[tuple[Literal["W8A8", "W4A4"], int, int, bool, Bar | None, str], ...] = (
        ("W8A8", 80, 2, False, Bar(">=", 0.97), "0.960"),
        ("W4A4", 1280, 5, True, Bar(">=", 0.90), "0.515"),
        ("W4A4", 1280, 5, False, None, "0.515"),
    )
    for network, lanes, banks, interleaved, bar, silicon in cases:
        task = workloads.ocr(network, interleaved=interleaved)
        config = task.config.replace(lanes=lanes, banks=banks, elements=banks, window=2)
        order = "directions in turn" if interleaved else "one direction, then the other"
        what = f"OCR {network}, {lanes} lanes, {order}"
        report = runs(f"{what}, dense", task, config, skip_inputs=0, skip_states=0)
        yield Row(f"{what}: dense utilisation", report.utilisation, bar, f"{silicon} ({SILICON})")
        if bar is None:
            continue
        report = runs.sparse(what, task, config)
        yield Row(f"{what}: RTL reads {report.metrics['text']!r}, as the authors' does",
                  report.metrics["text_equal"], Bar("==", True))  # fmt: skip
        yield Row(f"OCR {network}: hidden values unlike the authors', who round every product",
                  report.metrics["hidden_different"], None,
                  f"of {report.metrics['hidden_values']:,}")  # fmt: skip


def _speech(runs: _Runs) -> Iterator[Row]:
    task = workloads.silero()
    config = task.config.replace(lanes=64)
    reference = runs("speech, dense", task, config, skip_inputs=0, skip_states=0)
    report = runs.sparse("speech, inputs skipped", task, config, skip_states=0)
    yield Row("speech, a minute: speed-up from skipping zero inputs",
              reference.cycles / report.cycles, Bar(">=", 1.55), "1.59 of the MACs")  # fmt: skip
    same = np.array_equal(reference.outputs["h"]["values"], report.outputs["h"]["values"])
    yield Row("speech: every hidden state equal with and without skipping", same, Bar("==", True))
    task = workloads.silero(threshold=0.05)
    pruned = runs.sparse("speech, pruned", task, config, threshold=task.config.threshold)
    yield Row("speech, states below 0.05 pruned: speed-up", reference.cycles / pruned.cycles, None,
              "2.0 of the MACs")  # fmt: skip
    for what, run in (("nothing pruned", report), ("states below 0.05 pruned", pruned)):
        yield Row(f"speech, {what}: decisions that differ from the float network's",
                  run.metrics["decisions_flipped"], None,
                  f"of {run.metrics['frames']:,}")  # fmt: skip


def _random(runs: _Runs, count: int) -> Iterator[Row]:
    """``count`` runs of random engines; ten inputs each, half of them stalled."""
    before, failed_before = runs.good, len(runs.failures)
    for n in range(count):
        seed, again = divmod(n, 10)
        if not again:
            runs.progress(f"random engines, run {n} of {count}")
        config = random_config(np.random.default_rng(seed))
        task = workloads.random(config, 8, n)
        runs.run(workload(f"random {n}", task, config), ("none", "random")[n % 2], n)
    yield Row(f"random configurations and inputs, bit-exact, of {count}", runs.good - before,
              Bar("==", count), "; ".join(runs.failures[failed_before:][:3]))  # fmt: skip
    yield Row(f"runs in all, bit-exact and (unstalled) in the predicted cycles, of {runs.total}",
              runs.good, Bar("==", runs.total), "; ".join(runs.failures[:3]))  # fmt: skip


def _cost(quick: bool, progress: Progress) -> Iterator[Row]:
    presets = ("small", "default") if quick else ()
    try:
        yield from cost_rows(measure([ENGINE.name], presets, progress=progress))
        yield _packing(progress)
    except ModuleNotFoundError as missing:
        yield Row.skip("cost on an FPGA", str(missing))


def _packing(progress: Progress) -> Row:
    """Two int8 products a DSP48."""
    progress("synthesis with packed multipliers")
    plain = SparseLstmConfig.preset("default", lanes=32)
    counts = [
        synthesise(ENGINE.component(config), device("xc7")).resources
        for config in (plain, plain.replace(dsp_pack=True))
    ]
    lane_dsps = plain.lanes - (counts[0].dsp - counts[1].dsp)
    return Row(
        f"xc7, dsp_pack: int8 MACs a DSP48 ({counts[0].lut} to {counts[1].lut} LUT)",
        plain.lanes / lane_dsps, Bar(">=", 2), "2 (one DSP48 holds two int8 products)",
    )  # fmt: skip
