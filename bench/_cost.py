"""What the LSTM engine's presets cost on an FPGA."""

from collections.abc import Iterator

from ..fpga.devices import device
from ..fpga.nextpnr import place_and_route
from ..fpga.yosys import synthesise
from ..hdl.sparse_lstm.component import SparseLstm
from ..models.sparse_lstm.config import SparseLstmConfig
from .report import Bar, Progress, Row

DEVICES = {"small": "ecp5-25k", "default": "ecp5-45k", "large": "ecp5-85k"}


def cost(quick: bool, progress: Progress) -> Iterator[Row]:
    """LUT, FF, DSP and block RAM of the presets, Fmax where placed and routed."""
    try:
        yield from _presets(
            ("small", "default") if quick else ("small", "default", "large"), progress
        )
        yield from _packing(progress)
    except ModuleNotFoundError as missing:
        yield Row.skip("cost on an FPGA", str(missing))


def _presets(names: tuple[str, ...], progress: Progress) -> Iterator[Row]:
    for name in names:
        config = SparseLstmConfig.preset(name)
        for target in (DEVICES[name], "xc7"):
            progress(f"synthesis of {name} for {target}")
            yield _resources(name, config, target)
        progress(f"place and route of {name}")
        layout = place_and_route(synthesise(SparseLstm(config), device(DEVICES[name])))
        yield Row(f"{name} on {DEVICES[name]}: Fmax, MHz", layout.fmax_mhz)
    progress("place and route of small for iCE40 UP5K")
    small = SparseLstm(SparseLstmConfig.preset("small"))
    layout = place_and_route(synthesise(small, device("ice40-up5k")))
    used, there = layout.utilisation["ICESTORM_LC"]
    yield Row("small on ice40-up5k: share of logic cells", used / there, Bar("<=", 1))
    yield Row("small on ice40-up5k: Fmax, MHz", layout.fmax_mhz)


def _resources(name: str, config: SparseLstmConfig, target: str) -> Row:
    r = synthesise(SparseLstm(config), device(target)).resources
    cells = f"{r.lut} LUT, {r.lutram} LUTRAM, {r.ff} FF, {r.dsp} DSP, {r.bram} BRAM of 18 Kbit"
    return Row(f"{name} ({config.lanes} lanes) on {target}", cells)


def _packing(progress: Progress) -> Iterator[Row]:
    """Two int8 products a DSP48."""
    progress("synthesis with packed multipliers")
    plain = SparseLstmConfig.preset("default", lanes=32)
    counts = [
        synthesise(SparseLstm(config), device("xc7")).resources
        for config in (plain, plain.replace(dsp_pack=True))
    ]
    lane_dsps = plain.lanes - (counts[0].dsp - counts[1].dsp)
    yield Row(
        f"xc7, dsp_pack: int8 MACs a DSP48 ({counts[0].lut} to {counts[1].lut} LUT)",
        plain.lanes / lane_dsps, Bar(">=", 2), "2 (one DSP48 holds two int8 products)",
    )  # fmt: skip
