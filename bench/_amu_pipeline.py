"""Whole networks by lookup as generated pipelines: answers in simulation, area, as rows."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..fpga.devices import device
from ..fpga.yosys import synthesise
from ..hdl.amu.encoder import Trees
from ..hdl.amu.unrolled import Unrolled
from ..hdl.amu_network.workloads import workload
from ..models import data
from ..models.amu.convert import Choice, convert
from ..models.amu.files import save
from ..models.amu.finetune import Schedule, finetune
from ..models.amu.layer import Layer
from ..models.amu.network import Network
from ..models.amu.network_config import AmuNetworkConfig
from ..models.amu.operations import Lookup
from ..models.amu.streamline import streamline
from ..models.threads import one_thread
from ..sim.simulate import simulate
from ._amu_networks import TEST, convert_mnist
from .report import Bar, Progress, Row

NAME = "amu_network"
_TRAIN = 1400
"""Of the written digits; the other 397 are held out."""
_SOME = 8
"""Outputs of a layer that are synthesised, at most; the others are taken to be alike."""


def pipeline_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """A small network on written digits and, unless quick, MNIST's."""
    try:
        yield from _digits("digits, 64-32-32-10 by lookup, length 8", progress)
    except data.MissingData as missing:
        yield Row.skip("digits, 64-32-32-10 by lookup: RTL and area", str(missing))
    for length in (16, 8):
        what = f"MNIST, 784-256-256-10 by lookup, length {length}"
        if quick:
            yield Row.skip(f"{what}: RTL and area", "takes long; run with --full")
            continue
        try:
            network = convert_mnist(length, progress).network
            images, labels = data.mnist(fetch=True)
        except data.MissingData as missing:
            yield Row.skip(f"{what}: RTL and area", str(missing))
            continue
        slim, held = streamline(network).network, images[TEST].astype(np.int64)
        yield from classify(what, slim, held[:256], labels[TEST][:256], progress)
        yield from area(what, network, slim, progress)


def _digits(what: str, progress: Progress) -> Iterator[Row]:
    """A network learnt now, on rows that it was not learnt from."""
    images, labels = data.digits()
    progress(f"{what}: training")
    train, test = slice(_TRAIN), slice(_TRAIN, None)
    x, y = torch.from_numpy(images).float() / 16, torch.from_numpy(labels)
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(0)
        sizes = (nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
        module = nn.Sequential(*sizes)
        optimiser = torch.optim.Adam(module.parameters(), 1e-2)
        for _ in range(300):
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(x[train]), y[train]).backward()
            optimiser.step()
        found = convert(module.eval(), x[train], Choice(length=8))
    slim, rows = streamline(found.network).network, found.quantise(x)
    tuned = finetune(slim, rows[train], labels[train], Schedule(epochs=15)).network
    yield from classify(what, tuned, rows[test], labels[test], progress)
    yield from area(what, found.network, slim, progress)


def classify(
    what: str, network: Network, rows: np.ndarray, labels: np.ndarray, progress: Progress
) -> Iterator[Row]:
    """``rows`` through RTL: integers and answers are those of the golden model."""
    progress(f"{what}: {len(rows)} images through RTL")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.npz"
        save(network, file)
        config = AmuNetworkConfig(file=str(file), lanes=network.input.channels)
        right = network(rows).argmax(axis=-1)

        def judge(results: np.ndarray) -> dict[str, int]:
            answers = results.argmax(axis=-1)
            return {"same": int((answers == right).sum()), "right": int((answers == labels).sum())}

        report = simulate(NAME, config, workload("images", config, rows, judge))
    wrong = report.mismatches if not report.failures() else "; ".join(report.failures())
    yield Row(f"{what}: integers of {len(rows)} images through RTL that differ", wrong,
              Bar("==", 0))  # fmt: skip
    yield Row(f"{what}: images that RTL classifies like the golden model",
              report.metrics.get("same"), Bar("==", len(rows)),
              f"{report.metrics.get('right', 0) / len(rows):.2%} rightly")  # fmt: skip
    yield Row(f"{what}: cycles an image, all of it a beat", report.cycles / len(rows), None,
              f"{report.cycles - len(rows) + 1} for one")  # fmt: skip


def area(what: str, network: Network, slim: Network, progress: Progress) -> Iterator[Row]:
    """LUT6 and flip-flops of all layers, each by itself, before streamlining and after."""
    totals = []
    for each in (network, slim):
        lut = ff = 0
        for node in each.nodes:
            if isinstance(node.operation, Lookup):
                progress(f"{what}: synthesis of layer {node.name}")
                found = layer_area(node.operation.layer)
                lut, ff = lut + found[0], ff + found[1]
        totals.append((lut, ff))
    (lut, ff), (less_lut, less_ff) = totals
    yield Row(
        f"{what}: LUT6 of all layers before streamlining, over those after", lut / less_lut,
        Bar(">=", 1.3),
        f"1.3 to 2.6 (Zhu et al., resources); {lut:,} LUT6 and {ff:,} FF before, {less_lut:,} and "
        f"{less_ff:,} after; no more than {_SOME} outputs of a layer are synthesised",
    )  # fmt: skip


def layer_area(layer: Layer) -> tuple[int, int]:
    """LUT6 and flip-flops, from the trees and ``_SOME`` evenly spaced outputs."""
    count = min(_SOME, layer.outputs)
    some = layer.keep(np.linspace(0, layer.outputs - 1, count).round().astype(int))
    trees = synthesise(Trees(layer.encoder, layer.input), device("xcup")).resources
    whole = synthesise(Unrolled(some), device("xcup")).resources
    share = layer.outputs / count
    return (
        round(trees.lut + share * (whole.lut - trees.lut)),
        round(trees.ff + share * (whole.ff - trees.ff)),
    )
