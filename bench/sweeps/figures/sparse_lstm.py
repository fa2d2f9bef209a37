"""Reading a line of print with fewer bits, and in how many cycles."""

from functools import lru_cache
from typing import Any

import numpy as np

from ....hdl.sparse_lstm import ENGINE
from ....hdl.sparse_lstm.cycles import timing
from ....hdl.sparse_lstm.workloads import workload
from ....models import data
from ....models.fixed import quantise, round_shift
from ....models.sparse_lstm import golden
from ....models.sparse_lstm.config import SparseLstmConfig
from ....models.sparse_lstm.golden import Parameters, Steps
from ....models.sparse_lstm.task import Task
from ....models.sparse_lstm.workloads import ocr
from ....sim import simulate

RTL_COLUMNS = 40
"""Of the line, that the RTL is run on."""


def task(config: SparseLstmConfig, columns: int | None = None) -> Task:
    """The first ``columns`` of :func:`.ocr`'s line in the formats of ``config``, whose weights,
    pixels and biases are the published ones of 8 bits, rounded.

    Element b of a batch is the same line, turned by b / batch of its length, so that a batch has
    different columns to skip at a time, as different lines have.
    """
    base = _published()
    lost = base.config.weight_bits - config.weight_bits

    def narrower(weights: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        most = (1 << config.weight_bits - 1) - 1
        return tuple(np.clip(round_shift(w, lost), -most - 1, most) for w in weights)

    parameters = Parameters(
        narrower(base.parameters.input_weights),
        narrower(base.parameters.recurrent_weights),
        tuple(
            round_shift(b, base.config.bias_frac - config.bias_frac) for b in base.parameters.biases
        ),
    )
    pixels = quantise(_pixels(), config.input_frac, config.input_bits)
    turns = [np.roll(pixels, b * len(pixels) // config.batch, axis=0) for b in range(config.batch)]
    lines = np.stack(turns, axis=1)[:columns]
    steps = [Steps.sequence(config, x, k) for k, x in enumerate((lines, lines[::-1]))]
    return Task(config, parameters, Steps.concatenate(*steps))


def reading(config: SparseLstmConfig) -> dict[str, Any]:
    """What the integer model reads on the whole line of 520 columns, exactly as the RTL would.

    ``line_cycles``
        Cycles of a line, both directions: those of a batch, divided by it.
    ``errors``
        Characters by which the text differs from the one that is printed (Levenshtein's distance
        of 41 characters).
    ``changed``
        The share of hidden states' magnitude by which they differ from the published network's,
        in percent: finer than whole characters.
    ``skipped``
        The share of columns that are not multiplied.
    """
    trained = task(config)
    trace = golden.run(config, trained.parameters, trained.steps)
    found = timing(trace)
    hidden = trace.hp if config.prune_output else trace.h
    first = hidden[:, :1]
    scaled = quantise(
        first / 2.0**config.state_frac, _published().config.state_frac,
        _published().config.state_bits,
    )  # fmt: skip
    figures = _published().judge(scaled)
    reference = _published_hidden()
    dense = len(trained.steps) * (config.context_inputs(0) + config.hidden_size)
    return {
        "line_cycles": found.cycles / config.batch,
        "errors": _distance(figures["text_collapsed"], str(_arrays()["ground_truth"])),
        "changed": 100 * float(np.abs(scaled - reference).mean() / np.abs(reference).mean()),
        "skipped": 1 - (found.input_passes + found.state_passes) / dense * config.banks,
        "wrapped_sums": int(trace.wrapped.sum()),
    }


def in_verilator(config: SparseLstmConfig) -> dict[str, Any]:
    """The first :data:`RTL_COLUMNS` columns on the RTL, held against the integer model, bit for
    bit and cycle for cycle.

    ``rtl_cycles``, ``utilisation`` as :class:`~thresher.sim.simulate.Report` has them.  Raises
    :class:`ValueError` where something differs.
    """
    work = workload("line", task(config, RTL_COLUMNS), config)
    report = simulate(ENGINE, workload=work)
    if not report.holds:
        raise ValueError("; ".join(report.failures()))
    return {"rtl_cycles": report.cycles, "utilisation": report.utilisation}


@lru_cache(maxsize=1)
def _published() -> Task:
    return ocr("W8A8")


def _arrays() -> dict[str, np.ndarray]:
    return data.load("ocr_bilstm_W8A8.npz")


def _pixels() -> np.ndarray:
    return _arrays()["pixels"]


@lru_cache(maxsize=1)
def _published_hidden() -> np.ndarray:
    base = _published()
    return golden.run(base.config, base.parameters, base.steps).h


def _distance(one: str, other: str) -> int:
    """Insertions, deletions and exchanges that make one of the other."""
    before = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
        before = row
    return before[-1]
