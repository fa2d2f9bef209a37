"""What lookup layers with constant tables take of a device, and how fast they are there, as rows.

Thresholds and tables are drawn uniformly over their whole range: learned ones are smaller.
"""

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from amaranth.lib.wiring import Component

from ..fpga.devices import device
from ..fpga.nextpnr import place_and_route
from ..fpga.results import LIMIT
from ..fpga.yosys import Synthesis, synthesise
from ..hdl.amu.encoder import Trees
from ..hdl.amu.lookup import Lookup
from ..hdl.amu.unrolled import Unrolled
from ..models.amu.encoder import Encoder
from ..models.amu.layer import Format, Layer
from .report import Bar, Progress, Row

LUT_INPUTS = {"xcup": 6, "ecp5-25k": 4}
"""Of the devices' look-up tables."""
XILINX, LATTICE = LUT_INPUTS


def area_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Look-up tables a codebook and output and a codebook's tree; a small layer's frequency."""
    shape = (8, 4) if quick else (16, 8)
    for levels in (4, 5):
        progress(f"tables on {XILINX}, K = {1 << levels}")
        per = _tables(XILINX, *shape, levels)
        yield Row(
            f"K = {1 << levels}, tables of 8 bits: LUT6 a codebook and output "
            f"({shape[0]} x {shape[1]})",
            per, Bar("<=", 14.75), "14.75 for a chain of adders behind a ROM",
        )  # fmt: skip
    progress(f"trees on {XILINX}")
    yield Row("trees, 8 bits, K = 16: LUT6 a codebook", _trees(XILINX, 8, 4), Bar("<=", 26),
              "26 with comparators behind tables of thresholds")  # fmt: skip
    for levels in (4,) if quick else (4, 5):
        progress(f"tables on {LATTICE}, K = {1 << levels}")
        what = f"K = {1 << levels} on {LATTICE}: LUT4 a codebook and output; a codebook's tree"
        per, tree = _tables(LATTICE, *shape, levels), _trees(LATTICE, 8, levels)
        yield Row(what, f"{per:.2f}; {tree:.2f}")
    yield _layer(quick, progress)
    if quick:
        yield Row.skip("LUT6 by bits and K", "synthesis takes minutes; run with --full")
        return
    for bits in (4, 8, 16):
        progress(f"trees of {bits} bits")
        found = [f"{_trees(XILINX, bits, levels):.1f}" for levels in range(2, 7)]
        yield Row(f"trees, {bits} bits, K = 4, 8, 16, 32, 64: LUT6 a codebook", ", ".join(found))
    for bits in (4, 8):
        progress(f"tables of {bits} bits")
        found = [f"{_tables(XILINX, 8, 4, levels, bits):.1f}" for levels in range(2, 7)]
        yield Row(f"tables of {bits} bits, K = 4, 8, 16, 32, 64: LUT6 a codebook and output",
                  ", ".join(found))  # fmt: skip


def _layer(quick: bool, progress: Progress) -> Row:
    """A whole small layer, laid out."""
    books, levels, outputs = 8, 4, 16
    what = f"layer of {books} codebooks, K = 16, {outputs} outputs, 8 bits on {LATTICE}: Fmax, MHz"
    if quick:
        return Row.skip(what, "place and route takes minutes; run with --full")
    encoder, rng = _encoder(books, levels, 8), np.random.default_rng(1)
    tables = rng.integers(256, size=(books, 1 << levels, outputs))
    bias = np.full(outputs, -int(tables.mean()) * books)
    layer = Layer(encoder, tables, bias, shift=3, output=Format(8))
    component = Unrolled(layer, lut_inputs=LUT_INPUTS[LATTICE])
    progress(f"a layer on {LATTICE}")
    found = _synthesise(component, LATTICE)
    fmax = None
    with suppress(TimeoutError):
        fmax = place_and_route(found, timeout=LIMIT).fmax_mhz
    if fmax is None:
        return Row.skip(what, f"place and route takes more than {LIMIT / 60:.0f} minutes")
    return Row(what, fmax, None, f"{found.resources.lut:,} LUT4, {found.resources.ff:,} registers, "
               f"latency {component.latency}, a row a cycle")  # fmt: skip


def _tables(name: str, books: int, outputs: int, levels: int, bits: int = 8) -> float:
    """Look-up tables a codebook and output of the sums alone."""
    rng = np.random.default_rng(0)
    tables = rng.integers(1 << bits, size=(books, 1 << levels, outputs))
    component = Lookup(tables, rng.integers(1 << bits, size=outputs))
    return _luts(_synthesise(component, name)) / (books * outputs)


def _trees(name: str, bits: int, levels: int) -> float:
    """Look-up tables a codebook of the trees alone."""
    books = 4
    component = Trees(_encoder(books, levels, bits), Format(bits), lut_inputs=LUT_INPUTS[name])
    return _luts(_synthesise(component, name)) / books


def _encoder(books: int, levels: int, bits: int) -> Encoder:
    thresholds = np.random.default_rng(0).integers((1 << bits) - 1, size=(books, (1 << levels) - 1))
    return Encoder(np.arange(books * levels).reshape(books, levels), thresholds)


def _luts(found: Synthesis) -> int:
    return found.resources.lut + found.resources.lutram


def _synthesise(component: Component, name: str) -> Synthesis:
    return synthesise(component, device(name))
