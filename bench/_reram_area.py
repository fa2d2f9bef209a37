# amaranth: UnusedElaboratable=no
"""What the crossbars' periphery takes of a device and how fast it is there, as rows.

The layer is the one of preset ``default``: 16 channels of 8 x 8 pixels, 3 x 3 windows, 32 features,
two crossbars of 128 x 128 one below the other.  Units are synthesised and laid out each by itself.
"""

from collections.abc import Iterator
from dataclasses import replace

from amaranth.lib.wiring import Component

from ..fpga.devices import device
from ..fpga.fit import DoesNotFit
from ..fpga.nextpnr import place_and_route
from ..fpga.resources import Resources
from ..fpga.results import LIMIT
from ..fpga.yosys import Synthesis, synthesise
from ..hdl.reram.array import Array
from ..hdl.reram.collect import Collect
from ..hdl.reram.component import Reram
from ..hdl.reram.planes import Planes
from ..hdl.reram.readout import Readout
from ..hdl.reram.window import Window
from ..models.reram.layer_config import ReramLayerConfig
from .report import Progress, Row

DEVICES = ("ecp5-85k", "xc7")
PRESETS = ("forms4", "default", "forms16")
"""Fragments of 4, 8 and 16 rows, with ADCs of 3, 4 and 5 bits that lose nothing."""
QUICK = "default"
READ = (8, 16)
"""Columns of an ADC, beside the preset's 32."""


def area_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Each unit for fragments of 4, 8 and 16 rows, and the whole with and without its arrays."""
    for preset in PRESETS:
        config = ReramLayerConfig.preset(preset)
        if quick and preset != QUICK:
            what = f"m = {config.fragment_rows}: the crossbars' periphery"
            yield Row.skip(what, "synthesis takes a minute; run with --full")
            continue
        for what, unit in units(config):
            for name in DEVICES:
                yield _unit(what, unit, name, progress)
    config = ReramLayerConfig.preset(QUICK)
    for columns in READ:
        narrow = config.replace(columns_per_adc=columns)
        if quick:
            yield Row.skip(_readout(narrow), "synthesis takes seconds; run with --full")
            continue
        for name in DEVICES:
            yield _unit(_readout(narrow), Readout(narrow), name, progress)
    for name in DEVICES:
        yield from _whole(config, name, quick, progress)


def units(config: ReramLayerConfig) -> Iterator[tuple[str, Component]]:
    """Each unit of the periphery once, named; the digital array last, which none of it is."""
    c, m = config, f"m = {config.fragment_rows}"
    yield f"{m}: windows of a layer", Window(c)
    for skip in ("leading", "any"):
        planes = Planes(c.replace(skip=skip), c.rows)
        yield f"{m}: bit planes of {c.rows} inputs, {skip} zeros skipped", planes
    yield _readout(c), Readout(c)
    yield f"{m}: results of a layer", Collect(c)
    what = f"{m}: the digital stand-in for an analogue array of {c.rows} x {c.columns} cells"
    yield what, Array(c)


def periphery(whole: Resources, array: Resources, arrays: int) -> Resources:
    """What is left of the ``whole`` without its ``arrays``.

    Each of these counted alone, so it misses what Yosys shares between them and the rest.
    """
    left = array.to_json()
    return replace(whole, **{k: v - arrays * left[k] for k, v in whole.to_json().items()})


def _readout(config: ReramLayerConfig) -> str:
    c = config
    return f"m = {c.fragment_rows}: a crossbar's readout, {c.adcs} ADCs of {c.scan} columns"


def _unit(what: str, unit: Component, name: str, progress: Progress) -> Row:
    what = f"{what}, on {name}"
    progress(what)
    found = synthesise(unit, device(name))
    return Row(what, figures(found.resources) + _fmax(found))


def _whole(config: ReramLayerConfig, name: str, quick: bool, progress: Progress) -> Iterator[Row]:
    """As a bit-serial engine of its own, and with the arrays taken off."""
    c, arrays = config, config.planes * config.down * config.across
    what = f"m = {c.fragment_rows}: the layer's engine on {name}"
    progress(what)
    found = synthesise(Reram(c), device(name))
    array = synthesise(Array(c), device(name)).resources
    rest = periphery(found.resources, array, arrays)
    clock = "" if quick else _fmax(found)
    yield Row(f"{what}, {arrays} digital arrays included", figures(found.resources) + clock)
    yield Row(f"{what}, less {arrays} arrays counted alone: the periphery", figures(rest))


def figures(resources: Resources) -> str:
    """All there is of any resource; tables that compute apart from those that store."""
    used = {name: n for name, n in resources.to_json().items() if n and name != "carry"}
    return ", ".join(f"{n:,} {name.upper()}" for name, n in used.items())


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
