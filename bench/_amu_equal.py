"""Products by table lookup and by integer multipliers at equal error, as rows."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..fpga.devices import device
from ..fpga.yosys import synthesise
from ..hdl.amu.multipliers import Multipliers
from ..hdl.amu.unrolled import Unrolled
from ..models import data
from ..models.amu.encoder import Encoder
from ..models.amu.layer import Format, Layer
from ..models.amu.learn import learn
from ..models.amu.tables import quantise as quantise_tables
from ._curves import Figure, Panel, Series, draw
from ._quantised import Affine, Product, quantise
from .report import Progress, Row, show

DEVICE = "xcup"
LOOKUP = "lookup"
FITTED = "multipliers, weights fitted to the outputs"
ROUNDED = "multipliers, weights rounded"
SWEEPS = {FITTED: 10, ROUNDED: 0}
"""See :func:`._quantised.quantise`."""
LOOKUPS = {
    "AR(1)": ((4, 4), (8, 3), (8, 4), (8, 5), (16, 4), (16, 5), (32, 4)),
    "digits": ((4, 4), (8, 4), (8, 5), (16, 4), (16, 5)),
    "MNIST": ((8, 4), (16, 4), (16, 5), (32, 4)),
}
"""Codebooks and levels, by product."""
WIDTHS = ((1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (4, 4), (8, 8))
"""Bits of weights and of inputs."""
QUICK = ("AR(1)", ((4, 4), (8, 4)), ((1, 1), (1, 2), (2, 2)))
_OUTPUTS = 2
"""Of 8-bit multipliers so many columns are synthesised, and the others are taken to be alike."""


@dataclass(frozen=True)
class Cost:
    """An approximation of a product, and what it takes where a row enters in every cycle."""

    family: str
    name: str
    error: float
    """Centred NMSE on held-out rows."""
    lut: int
    ff: int
    latency: int
    """Cycles."""

    def row(self, product: str) -> Row:
        """As a row."""
        text = f"{show(self.error)}; {self.lut:,} and {self.ff:,}; {self.latency}"
        return Row(
            f"{product}, {self.family}, {self.name}: NMSE; LUT6 and FF; cycles of latency", text
        )


def equal_rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Error beside area and cycles, what multipliers take at the error of a lookup; a picture."""
    found: dict[str, list[Cost]] = {}
    for product in products(progress):
        if isinstance(product, Row):
            yield product
            continue
        if quick and product.name != QUICK[0]:
            yield Row.skip(f"{product.name}: area at equal error", "run with --full")
            continue
        lookups, widths = QUICK[1:] if quick else (LOOKUPS[product.name], WIDTHS)
        costs = found[str(product)] = []
        for family in (FITTED,) if quick else SWEEPS:
            for bits in widths:
                progress(f"{product}: {family}, {bits[0]} and {bits[1]} bits")
                costs.append(multipliers(product, *bits, family))
                yield costs[-1].row(str(product))
        for codebooks, levels in lookups:
            progress(f"{product}: {codebooks} codebooks of {1 << levels} prototypes")
            costs.append(lookup(product, codebooks, levels))
            yield costs[-1].row(str(product))
        yield from ratios(str(product), costs)
    if pictures is not None:
        files = draw(figure(found), pictures, "amu")
        yield Row("pictures", ", ".join(map(str, files)))


def products(progress: Progress) -> Iterator[Product | Row]:
    """The products, or why one is not there."""
    for name, load in (("AR(1)", _ar1), ("digits", _digits), ("MNIST", _mnist)):
        progress(f"{name}: rows")
        try:
            yield Product(name, *load())
        except data.MissingData as missing:
            yield Row.skip(f"{name}: area at equal error", str(missing))


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def _ar1() -> Arrays:
    stored = data.load("halut_bolt_small.npz")
    train, test, weight = (stored[f"ar1_{part}"] for part in ("A_train", "A_test", "B"))
    return train.astype(np.float64), test.astype(np.float64), weight.astype(np.float64)


def _digits() -> Arrays:
    rows, weight = data.digits()[0].astype(np.float64), data.load("halut_bolt_small.npz")["digits_B"]
    return rows[:1400], rows[1400:], weight.astype(np.float64)


def _mnist() -> Arrays:
    """The last layer of a network, which gives the classes."""
    stored = data.load("mnist_fc_halut.npz")
    rows = data.mnist(fetch=True)[0] / 255
    for layer in range(2):
        rows = np.maximum(rows @ stored[f"W{layer}"] + stored[f"b{layer}"], 0)
    return rows[:8000], rows[8000:], stored["W2"].astype(np.float64)


def lookup(product: Product, codebooks: int, levels: int) -> Cost:
    """A layer learnt from the training rows, for inputs and with tables of 8 bits."""
    inputs = Affine.fit(product.train, 8)
    learned = learn(
        inputs(product.train), inputs.step * product.weight,
        targets=product.train @ product.weight, codebooks=codebooks, levels=levels,
    )  # fmt: skip
    tables = quantise_tables(learned.tables, learned.bias)
    thresholds = np.floor(learned.encoder.thresholds).clip(-1, 255).astype(np.int64)
    layer = Layer(Encoder(learned.encoder.dims, thresholds), tables.tables, tables.bias)
    guess = layer(inputs(product.test)) / tables.scale
    return _of_layer(LOOKUP, layer, product.error(guess))


def _of_layer(family: str, layer: Layer, error: float) -> Cost:
    name = f"C = {layer.encoder.codebooks}, K = {layer.encoder.prototypes}"
    engine = Unrolled(layer)
    area = synthesise(engine, device(DEVICE)).resources
    return Cost(family, name, error, area.lut, area.ff, engine.latency)


def multipliers(product: Product, weights: int, inputs: int, family: str) -> Cost:
    """An exact product of integers of so many bits, the weights constants."""
    found = quantise(product, weights, Affine.fit(product.train, inputs), SWEEPS[family])
    whole = found.weights
    columns = _OUTPUTS if weights == 8 else whole.shape[1]
    array = Multipliers(whole[:, :columns], Format(inputs))
    area, share = synthesise(array, device(DEVICE)).resources, whole.shape[1] / columns
    name = f"W{weights}A{inputs}" + (f", area by {columns} outputs" if share > 1 else "")
    return Cost(
        family, name, product.error(found(product.test)),
        round(area.lut * share), round(area.ff * share), array.latency,
    )  # fmt: skip


def ratios(product: str, costs: Sequence[Cost]) -> Iterator[Row]:
    """What multipliers take for the error of each lookup, in times its own area."""
    for cost in costs:
        if cost.family != LOOKUP:
            continue
        for family in SWEEPS:
            curve = [(c.error, c.lut) for c in costs if c.family == family]
            if not curve:
                continue
            what = f"{product}, {cost.name}: LUT6 of {family} of the same error, over its own"
            needed = at_error(curve, cost.error)
            if needed is None:
                yield Row.skip(what, f"{show(cost.error)} is beyond all that were measured")
            else:
                yield Row(what, needed / cost.lut, None, f"{needed:,.0f} over {cost.lut:,} LUT6")


def at_error(curve: Sequence[tuple[float, float]], error: float) -> float | None:
    """LUTs for that ``error``, between the best two of (error, LUTs), on a straight line in logs.

    None beyond the best's ends: nothing is extrapolated.
    """
    best = front(curve)
    for (more, few), (less, many) in pairwise(best):
        if less <= error <= more:
            share = math.log(more / error) / math.log(more / less)
            return few * (many / few) ** share
    return None


def front(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (error, LUTs) that none undercuts in both, from the largest error on."""
    best: list[tuple[float, float]] = []
    for error, luts in sorted(curve, key=lambda point: (point[1], point[0])):
        if not best or error < best[-1][0]:
            best.append((error, luts))
    return best


def figure(found: Mapping[str, Sequence[Cost]]) -> Figure:
    """LUTs over error, a panel for each product."""
    panels = []
    for product, costs in found.items():
        series = []
        for family in dict.fromkeys(cost.family for cost in costs):
            best = front([(c.error, c.lut) for c in costs if c.family == family])
            series.append(Series(family, [error for error, _ in best], [lut for _, lut in best]))
        panels.append(Panel(f"LUT6, {product}", series))
    return Figure(
        "A product by lookup and by constant multipliers, a row in each cycle",
        "centred NMSE on held-out rows", panels, x_unit="", x_log=True,
    )  # fmt: skip
