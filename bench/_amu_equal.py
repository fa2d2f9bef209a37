"""Products by table lookup and by integer multipliers at equal error, as rows."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from amaranth.hdl import Const, Module
from amaranth.lib.wiring import Component, In, Out

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
BITS = 8
"""Of an input."""
LOOKUP = "lookup"
HALUT = "halut's lookup, our hardware"
FITTED = "multipliers (fitted weights)"
ROUNDED = "multipliers (rounded weights)"
SWEEPS = {FITTED: 10, ROUNDED: 0}
"""See :func:`._quantised.quantise`."""
LOOKUPS = {
    "AR(1)": ((4, 4, 8), (8, 4, 8), (8, 5, 8), (16, 5, 8), (4, 5, 6), (8, 5, 6), (16, 5, 6),
              (32, 5, 6)),
    "digits": ((4, 4, 8), (8, 4, 8), (4, 5, 6), (8, 5, 6), (16, 5, 6), (32, 5, 6)),
    "MNIST": ((8, 4, 8), (16, 4, 8), (8, 5, 6), (16, 5, 6), (32, 5, 6)),
}  # fmt: skip
"""Codebooks, levels and bits of tables, by product."""
STORED = {"AR(1)": "ar1", "digits": "digits"}
"""What the reference file calls products that halut learnt, with 8 and with 16 codebooks."""
WIDTHS = ((1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (4, 4), (8, 8))
"""Bits of weights and of inputs."""
QUICK = ("AR(1)", ((4, 4, 8), (8, 5, 6), (16, 5, 6)), ((1, 1), (1, 2), (2, 2), (2, 3)))
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
    before: int = 0
    """Of the LUTs, those that make narrow inputs of wide ones."""

    def row(self, product: str) -> Row:
        """As a row."""
        return Row(
            f"{product}, {self.family}, {self.name}: NMSE; LUT6, FF; cycles of latency",
            f"{show(self.error)}; {self.lut:,}, {self.ff:,}; {self.latency}", None,
            f"{self.before:,} LUT6 make narrow inputs of 8-bit ones" if self.before else "",
        )  # fmt: skip


def equal_rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Error beside area and cycles, what multipliers take at the error of a lookup; a picture."""
    found: dict[str, list[Cost]] = {}
    for name, load in PRODUCTS.items():
        if quick and name != QUICK[0]:
            yield Row.skip(f"{name}: area at equal error", "synthesis takes long; run with --full")
            continue
        progress(f"{name}: rows")
        try:
            product = Product(name, *load())
        except data.MissingData as missing:
            yield Row.skip(f"{name}: area at equal error", str(missing))
            continue
        lookups, widths = QUICK[1:] if quick else (LOOKUPS[product.name], WIDTHS)
        costs = found[str(product)] = []
        for family in (FITTED,) if quick else SWEEPS:
            for of_weights, of_inputs in widths:
                progress(f"{product}: {family}, {of_weights} and {of_inputs} bits")
                costs.append(multipliers(product, of_weights, of_inputs, family))
                yield costs[-1].row(str(product))
        for codebooks, levels, bits in lookups:
            progress(f"{product}: {codebooks} codebooks of {1 << levels} prototypes, {bits} bits")
            costs.append(lookup(product, codebooks, levels, bits))
            yield costs[-1].row(str(product))
        for codebooks in (8, 16) if product.name in STORED and not quick else ():
            progress(f"{product}: halut's {codebooks} codebooks")
            costs.append(halut(product, codebooks))
            yield costs[-1].row(str(product))
        yield from ratios(str(product), costs)
    if pictures is not None and found:
        files = draw(figure(found), pictures, "amu")
        yield Row("pictures", ", ".join(map(str, files)))


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def _ar1() -> Arrays:
    stored = data.load("halut_bolt_small.npz")
    train, test, weight = (stored[f"ar1_{part}"] for part in ("A_train", "A_test", "B"))
    return train.astype(np.float64), test.astype(np.float64), weight.astype(np.float64)


def _digits() -> Arrays:
    weight = data.load("halut_bolt_small.npz")["digits_B"].astype(np.float64)
    rows = data.digits()[0].astype(np.float64)
    return rows[:1400], rows[1400:], weight


def _mnist() -> Arrays:
    """The last layer of a network, which gives the classes."""
    stored = data.load("mnist_fc_halut.npz")
    rows = data.mnist(fetch=True)[0] / 255
    for layer in range(2):
        rows = np.maximum(rows @ stored[f"W{layer}"] + stored[f"b{layer}"], 0)
    return rows[:8000], rows[8000:], stored["W2"].astype(np.float64)


PRODUCTS: dict[str, Callable[[], Arrays]] = {"AR(1)": _ar1, "digits": _digits, "MNIST": _mnist}
"""Rows to learn from, rows held out, and the weight; they raise :class:`.data.MissingData`."""


def lookup(product: Product, codebooks: int, levels: int, bits: int) -> Cost:
    """A layer learnt from the training rows, its tables of so many bits."""
    inputs = Affine.fit(product.train, BITS)
    learned = learn(
        inputs(product.train), inputs.step * product.weight,
        targets=product.train @ product.weight, codebooks=codebooks, levels=levels,
    )  # fmt: skip
    tables = quantise_tables(learned.tables, learned.bias, bits)
    encoder = _encoder(learned.encoder.dims, learned.encoder.thresholds)
    layer = Layer(encoder, tables.tables, tables.bias, Format(BITS))
    error = product.error(layer(inputs(product.test)) / tables.scale)
    return _unrolled(LOOKUP, layer, bits, error)


def halut(product: Product, codebooks: int) -> Cost:
    """The layer that halut learnt for the product: its trees, and its tables of bytes."""
    start = f"{STORED[product.name]}_C{codebooks}_halut_"
    stored = {
        name.removeprefix(start): values
        for name, values in data.load("halut_bolt_small.npz").items()
        if name.startswith(start)
    }
    inputs, tables = Affine.fit(product.train, BITS), stored["lut_u8"].transpose(1, 2, 0)
    encoder = _encoder(stored["dims"], (stored["thresholds"] - inputs.low) / inputs.step)
    layer = Layer(encoder, tables, np.zeros(tables.shape[2], np.int64), Format(BITS))
    guess = layer(inputs(product.test)) / stored["lut_scale"] + stored["lut_offset"]
    return _unrolled(HALUT, layer, 8, product.error(guess))


def _encoder(dims: np.ndarray, thresholds: np.ndarray) -> Encoder:
    """For integers: one exceeds a threshold where it exceeds its floor."""
    whole = np.floor(thresholds).clip(-1, (1 << BITS) - 1).astype(np.int64)
    return Encoder(dims, whole)


def _unrolled(family: str, layer: Layer, bits: int, error: float) -> Cost:
    engine, trees = Unrolled(layer), layer.encoder
    area = synthesise(engine, device(DEVICE)).resources
    name = f"C = {trees.codebooks}, K = {trees.prototypes}, tables of {bits} bits"
    return Cost(family, name, error, area.lut, area.ff, engine.latency)


def multipliers(product: Product, weights: int, inputs: int, family: str) -> Cost:
    """An exact product of integers of so many bits, the weights constants.

    Its inputs are made of the 8-bit ones that a lookup takes.
    """
    fine, coarse = Affine.fit(product.train, BITS), Affine.fit(product.train, inputs)
    values = fine.low + fine.step * np.arange(1 << BITS)
    train, test = values[fine(product.train)], values[fine(product.test)]
    targets = product.train @ product.weight
    found = quantise(product.weight, weights, coarse, train, targets, SWEEPS[family])
    whole, before = found.weights, Steps(coarse(values), inputs)
    columns = min(_OUTPUTS, whole.shape[1]) if weights >= BITS else whole.shape[1]
    array = Multipliers(whole[:, :columns], Format(inputs))
    area, share = synthesise(array, device(DEVICE)).resources, whole.shape[1] / columns
    extra, many = synthesise(before, device(DEVICE)).resources, len(whole)
    name = f"W{weights}A{inputs}" + (f", area by {columns} outputs" if share > 1 else "")
    return Cost(
        family, name, product.error(found(test)), round(area.lut * share) + many * extra.lut,
        round(area.ff * share) + many * extra.ff, array.latency + 1, many * extra.lut,
    )  # fmt: skip


class Steps(Component):
    """``y = table[x]``, a cycle later: a coarser quantiser of a fine input."""

    def __init__(self, table: np.ndarray, bits: int):
        self._table = table.tolist()
        super().__init__({"x": In((len(self._table) - 1).bit_length()), "y": Out(bits)})

    def elaborate(self, platform) -> Module:
        m = Module()
        for place in range(len(self.y)):
            column = sum((value >> place & 1) << x for x, value in enumerate(self._table))
            m.d.sync += self.y[place].eq(Const(column, len(self._table)).bit_select(self.x, 1))
        return m


def ratios(product: str, costs: Sequence[Cost]) -> Iterator[Row]:
    """What multipliers take for the error of each lookup, in times its own area."""
    for cost in costs:
        if cost.family != LOOKUP:
            continue
        for family in SWEEPS:
            of_family = [c for c in costs if c.family == family]
            if not of_family:
                continue
            what = f"{product}, {cost.name}: LUT6 of {family} at the same error, over its own"
            needed = at_error([(c.error, c.lut) for c in of_family], cost.error)
            narrow = at_error([(c.error, c.lut - c.before) for c in of_family], cost.error)
            if needed is None or narrow is None:
                yield Row.skip(what, f"{show(cost.error)} is beyond all that were measured")
                continue
            yield Row(
                what, needed / cost.lut, None,
                f"{needed:,.0f} over {cost.lut:,} LUT6; {show(narrow / cost.lut)} where inputs "
                "come in few bits",
            )  # fmt: skip


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
            errors, luts = zip(*best, strict=True)
            series.append(Series(family, list(errors), list(luts), reference=family == HALUT))
        panels.append(Panel(f"LUT6, {product}", series))
    return Figure(
        "Area over error, a row in each cycle",
        "centred NMSE on held-out rows", panels, x_unit="", x_log=True,
    )  # fmt: skip
