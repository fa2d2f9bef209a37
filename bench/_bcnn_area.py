# amaranth: UnusedElaboratable=no
"""What products of bits, real and complex, take of a device, as rows."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from amaranth.hdl import Cat, Module, Value
from amaranth.lib.wiring import Component, In, Out

from ..fpga.devices import device
from ..fpga.nextpnr import place_and_route
from ..fpga.yosys import Synthesis, synthesise
from ..hdl.bcnn_conv.mac import Mac
from ..hdl.bcnn_conv.pipeline import Pipeline
from ..hdl.bcnn_conv.popcount import Popcount, Style
from ..models.bcnn.drawn import random_convolution, random_threshold
from ..models.bcnn.network import Network, Node
from ..models.bcnn.operations import Input
from ..models.bcnn.stages import Arithmetic, Fold
from ..models.windows import Windows
from .report import Bar, Progress, Row

DEVICES: dict[str, Style] = {"xc7": "xilinx", "ecp5-25k": "ecp5"}
"""And the style for each."""
LUTS = {"xc7": "LUT6", "ecp5-25k": "LUT4"}
CARRIES = {"xc7": "CARRY4", "ecp5-25k": "CCU2C"}
SIZES = (64, 8, 16, 32, 128, 256)
"""Bits of a word, or complex channels; the first has bars."""
XNOR = {"xc7": Bar("<=", 1.0), "ecp5-25k": Bar("<=", 2.0)}
COMPLEX = {"xc7": Bar("<=", 3.0), "ecp5-25k": Bar("<=", 6.0)}
CORE_FOLD = 16, 64
CORES = "FINN's whole cores: 4.5 (LFC) to 11.5 (CNV) a real lane"
PEERS = {
    ("agreeing", "xc7"): {
        32: "FINN's compressor: 30 LUT6 (0.94)",
        64: "FINN's compressor: 62 LUT6 + 2 CARRY4 (0.97)",
        128: "FINN's compressor: 125 LUT6 (0.98)",
        256: "FINN's compressor: 253 LUT6 (0.99)",
    },
    ("agreeing", "ecp5-25k"): {64: "Yosys, of a sum: 155 LUT4 + 4 CCU2C (2.4; 2.5 with these)"},
    ("set", "xc7"): {64: "FINN's compressor: 50 LUT6 (0.78)"},
    ("complex", "xc7"): {64: "four popcounts of FINN's compressor: 3.9; Yosys, of sums: 8.0"},
    ("complex", "ecp5-25k"): {64: "four popcounts by Yosys, of sums: 10.5"},
}
"""Published, or measured with others' generators."""


def area_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Look-up tables a bit of popcounts and a complex product, with what else they take."""
    for name, style in DEVICES.items():
        for n in SIZES[:1] if quick else SIZES:
            what = f"popcount of {n} bits that agree with weights, on {name}"
            unit = Popcount(n, weighted=True, outside=n // 2, style=style)
            bar = XNOR[name] if n == SIZES[0] else None
            yield from _unit(what, unit, n, name, bar, ("agreeing", name), progress)
        for n in () if quick else SIZES:
            what = f"popcount of {n} bits, on {name}"
            unit = Popcount(n, style=style)
            yield from _unit(what, unit, n, name, None, ("set", name), progress)
        for n in SIZES[:1] if quick else SIZES:
            what = f"complex products of {n} channels by two popcounts, on {name}"
            unit = Mac("complex", 1, n, style=style)
            bar = COMPLEX[name] if n == SIZES[0] else None
            yield from _unit(what, unit, n, name, bar, ("complex", name), progress)
        n = SIZES[0]
        what = f"complex products of {n} channels by four popcounts of the same cells, on {name}"
        yield from _unit(what, FourPopcounts(n, style), n, name, None, None, progress)
        if quick:
            yield Row.skip(f"products in generic style, on {name}", "run with --full")
            continue
        what = f"popcount of {n} bits that agree with weights in generic style, on {name}"
        unit = Popcount(n, weighted=True, outside=n // 2)
        yield from _unit(what, unit, n, name, None, None, progress)
        what = f"complex products of {n} channels by two popcounts in generic style, on {name}"
        yield from _unit(what, Mac("complex", 1, n), n, name, None, None, progress)
    yield from _clocks(quick, progress)
    yield from _cores(quick, progress)


def _unit(
    what: str,
    unit: Component,
    lanes: int,
    name: str,
    bar: Bar | None,
    peer: tuple[str, str] | None,
    progress: Progress,
) -> Iterator[Row]:
    """Look-up tables a lane, those that shift among them; then all that is taken."""
    progress(what)
    found = synthesise(unit, device(name)).resources
    peers = PEERS.get(peer, {}) if peer else {}
    luts = found.lut + found.lutram
    yield Row(f"{what}: {LUTS[name]} a lane", round(luts / lanes, 3), bar, peers.get(lanes, ""))
    all = f"{luts} {LUTS[name]}, {found.carry} {CARRIES[name]}, {found.ff} FF"
    inside = ", of whose LUT4 two are in each CCU2C" if name != "xc7" else ""
    yield Row(f"{what}: all there is{inside}", all)


def _clocks(quick: bool, progress: Progress) -> Iterator[Row]:
    """How fast ECP5s are, between registers in front and those of the results."""
    name, n = "ecp5-25k", SIZES[0]
    cases: tuple[tuple[Arithmetic, int], ...] = (("binary", 1), ("complex", 1), ("complex", 4))
    for arithmetic, outputs in cases:
        what = f"{arithmetic} products of {n} channels, {outputs} outputs, on {name}: MHz"
        if quick:
            yield Row.skip(what, "placing and routing takes a minute; run with --full")
            continue
        progress(what)
        mac = Mac(arithmetic, outputs, n, style="ecp5")
        found: Synthesis = synthesise(Registered(mac), device(name))
        fastest = max(place_and_route(found, seed=k, mhz=300).fmax_mhz or 0 for k in (1, 2))
        yield Row(what, round(fastest, 1), Bar(">=", 200))


def _cores(quick: bool, progress: Progress) -> Iterator[Row]:
    """A whole pipeline of one layer, memories of weights and words, thresholds, streams and all."""
    outputs, channels = CORE_FOLD
    for complex, (name, style) in product((False, True), DEVICES.items()):
        kind = "complex" if complex else "real"
        what = f"a whole core of a {kind} layer, {outputs} x {channels} lanes, on {name}"
        what = f"{what}: {LUTS[name]} a lane"
        if quick:
            yield Row.skip(what, "synthesis takes minutes; run with --full", reference=CORES)
            continue
        progress(what)
        network = one_layer(complex)
        core = Pipeline(network, {"sums": Fold(outputs, channels)}, style=style)
        found = synthesise(core, device(name), apart=True).resources
        luts = found.lut + found.lutram
        yield Row(what, round(luts / core.lanes, 2), reference=CORES)
        all = f"{luts:,} {LUTS[name]}, {found.carry:,} {CARRIES[name]}, {found.ff:,} FF"
        yield Row(f"{what.split(':')[0]}: all there is", f"{all}, {found.bram} BRAM")


def one_layer(complex: bool) -> Network:
    """64 channels of 8 x 8 pixels, windows of 3 x 3, 64 outputs with thresholds; all random."""
    rng = np.random.default_rng(0)
    source = Input((8, 8, 64), bits=1, complex=complex)
    windows = Windows((3, 3), padding=(1, 1))
    sums = random_convolution(rng, source.result(), 64, windows, complex=complex)
    bits = random_threshold(rng, sums.result(source.result()), 9 * 64)
    nodes = Node("x", source), Node("sums", sums, (0,)), Node("bits", bits, (1,))
    return Network(nodes)


class FourPopcounts(Component):
    """Complex products as they are defined: four counts of agreeing bits, by pairs in one tree.

    ``w`` has the real parts, the imaginary ones, and these negated.
    """

    def __init__(self, channels: int, style: Style):
        self._channels = channels
        self._style: Style = style
        n = 2 * channels
        members = {"x": In(n), "w": In(3 * channels), "re": Out(range(n + 1))}
        super().__init__({**members, "im": Out(range(n + 1))})

    def elaborate(self, platform) -> Module:
        m, n = Module(), self._channels
        wr, wi, negated = (self.w[k * n : (k + 1) * n] for k in range(3))
        for name, weights in (("re", Cat(wr, negated)), ("im", Cat(wi, wr))):
            count = Popcount(2 * n, weighted=True, style=self._style)
            m.submodules[name] = count
            m.d.comb += [count.i.eq(self.x), count.w.eq(weights)]
            m.d.comb += getattr(self, name).eq(count.o)
        return m


class Registered(Component):
    """A unit with registers in front of it."""

    def __init__(self, unit: Component):
        self._unit = unit
        super().__init__(dict(unit.signature.members.items()))

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.unit = unit = self._unit
        for path, member, value in self.signature.flatten(self):
            inner = unit
            for step in path:
                inner = inner[step] if isinstance(step, int) else getattr(inner, step)
            if member.flow == In:
                m.d.sync += Value.cast(inner).eq(Value.cast(value))
            else:
                m.d.comb += Value.cast(value).eq(Value.cast(inner))
        return m
