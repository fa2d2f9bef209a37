"""What the N:M array takes of a device, how fast it is there, and what sparsity costs, as rows."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import product

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
FLAT = {"int8": 256, "fp16": 64}
"""Most MACs of a core that is made flat before it is mapped; more of FP16 take hours so."""


def area_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """A MAC, dense only and 2:8, in LUT4 and LUT6, and cores with their memories of three sizes."""
    for format in FORMATS:
        for name in (LATTICE, XILINX):
            yield from _macs(format, name, progress)
    for format in FORMATS:
        for rows, columns in SIZES:
            for (kept, group), name in product(RATIOS, (LATTICE, XILINX)):
                yield _core(
                    configuration(format, rows, columns, kept, group), name, quick, progress
                )


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
        yield Row(
            f"{what}, {'dense only' if group == 1 else f'{kept}:{group}'}",
            f"{used.lut / kept:.0f} LUT{lutram}, {used.ff / kept:.0f} FF, {used.dsp / kept:g} "
            f"DSP{_fmax(cluster)}",
        )  # fmt: skip
    yield Row(f"{what}: LUT with 2:8 over those dense only", per[1] / per[0])


def _core(config: NmConfig, name: str, quick: bool, progress: Progress) -> Row:
    """A whole core, memories included; placed and routed where it fits."""
    c = config
    ratio = "dense only" if c.group == 1 else f"{c.kept}:{c.group}"
    what = f"{c.format} core of {c.rows} x {c.columns} MACs, {ratio}, on {name}"
    if quick:
        return Row.skip(what, "synthesis takes minutes; run with --full")
    progress(what)
    try:
        apart = c.rows * c.columns > FLAT[c.format]
        found = synthesise(Core(config), device(name), timeout=LIMIT, apart=apart)
    except TimeoutError:
        return Row.skip(what, f"synthesis takes more than {LIMIT / 60:.0f} minutes")
    used = {resource: n for resource, n in found.resources.to_json().items() if n}
    figures = ", ".join(f"{n:,} {resource}" for resource, n in used.items())
    return Row(what, figures + _fmax(found) + (", each module by itself" if apart else ""))


def _fmax(found: Synthesis) -> str:
    """The clock, or why there is none; nothing where no free tool lays the device out."""
    if found.device.nextpnr is None:
        return ""
    try:
        return f", {place_and_route(found, timeout=LIMIT).fmax_mhz:.1f} MHz"
    except DoesNotFit as error:
        return f"; {error}"
    except TimeoutError:
        return f"; not laid out in {LIMIT / 60:.0f} minutes"
