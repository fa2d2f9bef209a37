"""What the N:M array takes of a device, how fast it is there, and what sparsity costs, as rows."""

from collections.abc import Iterator
from contextlib import suppress

from ..fpga.devices import device
from ..fpga.fit import DoesNotFit
from ..fpga.nextpnr import place_and_route
from ..fpga.results import LIMIT
from ..fpga.yosys import Synthesis, synthesise
from ..hdl.nm_array.cluster import Cluster
from ..hdl.nm_array.core import Core
from ..models.nm.config import NmConfig
from .report import Progress, Row

XILINX, LATTICE = "xcup", "ecp5-85k"
RATIOS = ((1, 1), (2, 8))
"""Kept of a group: dense only, and 2:8, which is dense too."""
SIZES = ((4, 8), (8, 8), (16, 16))
"""MACs of an array: rows, columns."""
FORMATS = {"int8": 1, "fp16": 4}
"""The stages of an addition."""


def area_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """A MAC, dense only and 2:8, in LUT4 and LUT6, and cores with their memories of three sizes."""
    for format in FORMATS:
        for name in (LATTICE, XILINX):
            yield from _macs(format, name, progress)
    for format in FORMATS:
        for rows, columns in SIZES:
            for kept, group in RATIOS:
                yield _core(format, rows, columns, kept, group, quick, progress)


def configuration(format: str, rows: int, columns: int, kept: int, group: int) -> NmConfig:
    """An array with room for 512 words of each kind; a beat is as narrow as it may be."""
    shape = {
        "format": format, "rows": rows, "columns": columns, "kept": kept, "group": group,
        "add_stages": FORMATS[format],
    }  # fmt: skip
    clusters, words = rows // kept, 1
    while words < clusters:
        with suppress(ValueError):
            return NmConfig(port_words=words, **shape)
        words *= 2
    return NmConfig(port_words=words, **shape)


def _macs(format: str, name: str, progress: Progress) -> Iterator[Row]:
    """A MAC of a cluster, with its registers of operands: dense only against 2:8."""
    found: list[Synthesis] = []
    for kept, group in RATIOS:
        progress(f"{format}, {kept}:{group} on {name}")
        found.append(synthesise(Cluster(configuration(format, 16, 16, kept, group)), device(name)))
    what = f"{format} on {name}: a MAC"
    per = []
    for (kept, group), cluster in zip(RATIOS, found, strict=True):
        used = cluster.resources
        per.append(used.lut / kept)
        lutram = f", {used.lutram / kept:.0f} LUT as shift registers" if used.lutram else ""
        fmax = f", {mhz:.1f} MHz" if (mhz := _fmax(cluster)) else ""
        yield Row(
            f"{what}, {'dense only' if group == 1 else f'{kept}:{group}'}",
            f"{used.lut / kept:.0f} LUT{lutram}, {used.ff / kept:.0f} FF, {used.dsp / kept:g} "
            f"DSP{fmax}",
        )  # fmt: skip
    yield Row(f"{what}: LUT with 2:8 over those dense only", per[1] / per[0])


def _core(
    format: str, rows: int, columns: int, kept: int, group: int, quick: bool, progress: Progress
) -> Row:
    """A whole core, memories included; placed and routed where it fits."""
    ratio = "dense only" if group == 1 else f"{kept}:{group}"
    name = LATTICE if format == "int8" else XILINX
    what = f"{format} core of {rows} x {columns} MACs, {ratio}, on {name}"
    if quick:
        return Row.skip(what, "synthesis takes minutes; run with --full")
    progress(what)
    try:
        found = synthesise(Core(configuration(format, rows, columns, kept, group)), device(name),
                           timeout=LIMIT)  # fmt: skip
    except TimeoutError:
        return Row.skip(what, f"synthesis takes more than {LIMIT / 60:.0f} minutes")
    used = {resource: n for resource, n in found.resources.to_json().items() if n}
    fmax = _fmax(found)
    figures = ", ".join(f"{n:,} {resource}" for resource, n in used.items())
    return Row(what, figures + (f", {fmax:.1f} MHz" if fmax else ""))


def _fmax(found: Synthesis) -> float | None:
    """None where no free tool lays the device out, or the design does not fit, or not in time."""
    if found.device.nextpnr is None:
        return None
    with suppress(DoesNotFit, TimeoutError):
        return place_and_route(found, timeout=LIMIT).fmax_mhz
    return None
