"""How well a hidden layer by table lookup recognises written digits."""

import json
from functools import cache as memoise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ....hdl import cache
from ....models.amu.config import AmuConfig
from ....models.amu.convert import Choice, convert
from ....models.amu.operations import Lookup
from ....models.reram.training.digits import Split, batches, fit, splits
from ....models.threads import one_thread
from ..depends import sources

NETWORKS = 3
"""Trained from as many random beginnings; figures are their means."""
EPOCHS, RATE = 40, 0.02


def digits(config: AmuConfig) -> dict[str, float]:
    """Networks of 64 pixels, ``config.outputs`` hidden neurons and 10 classes, trained on 1,297
    of scikit-learn's digits; the hidden layer by lookup, in integers of ``config``'s widths, the
    other one of exact integer weights.  Means of :data:`NETWORKS` networks:

    ``accuracy``
        The share of the other 500 digits that is recognised.
    ``exact_accuracy``
        That of the trained networks, in floating point.
    ``error``
        Of the hidden layer's sums on these 500, before rounding: the squared distance to the
        trained network's, relative to their variance.

    What does not change results, such as parallelism, does not matter; what was learnt once is
    kept in the cache.  Seeds are fixed.  Raises :class:`ValueError` where the layer does not fit
    ``config``, and :class:`thresher.models.data.MissingData` without scikit-learn.
    """
    names = "codebooks", "levels", "outputs", "input_bits", "table_bits", "bias_bits", "output_bits"
    matters = {name: getattr(config, name) for name in names}

    def make(entry: Path) -> None:
        found = [_learnt(AmuConfig(**matters), seed) for seed in range(NETWORKS)]
        means = {name: float(np.mean([each[name] for each in found])) for name in found[0]}
        (entry / "found.json").write_text(json.dumps(means), encoding="utf-8")

    place = cache.get(cache.key("digits by lookup", sources("models"), json.dumps(matters)), make)
    return json.loads((place / "found.json").read_text(encoding="utf-8"))


def _learnt(config: AmuConfig, seed: int) -> dict[str, float]:
    train, test = splits()
    books = Choice(codebooks=config.codebooks, levels=config.levels, table_bits=config.table_bits)
    with one_thread():
        found = convert(
            _network(config.outputs, seed), train.images.flatten(1), books,
            layers={"2": Choice(exact=True)}, input_bits=config.input_bits,
            bits=config.output_bits, validation=test.images.flatten(1),
            labels=test.labels.numpy(),
        )  # fmt: skip
    _check(config, found.network.nodes[1].operation)
    report = found.report
    assert report.accuracy is not None
    assert report.float_accuracy is not None
    return {
        "accuracy": report.accuracy,
        "exact_accuracy": report.float_accuracy,
        "error": report.layers[0].error,
    }


def _check(config: AmuConfig, hidden: object) -> None:
    """Whether an engine with these widths of tables and biases holds the layer."""
    assert isinstance(hidden, Lookup)
    needed = AmuConfig.fit(hidden.layer)
    for name in ("table_bits", "bias_bits"):
        least, given = getattr(needed, name), getattr(config, name)
        if least > given:
            raise ValueError(f"{name} = {given} do not hold the layer; set at least {least}")


@memoise
def _network(hidden: int, seed: int) -> nn.Sequential:
    """Trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    train, _ = splits()
    fit(module, batches(Split(train.images.flatten(1), train.labels), seed), EPOCHS, RATE)
    return module.eval()
