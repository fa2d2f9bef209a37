"""What the LSTM engine's presets cost on an FPGA."""

from collections.abc import Iterator

from ..fpga.synth import Device, Target, place_and_route, synthesise
from ..hdl.sparse_lstm.component import SparseLstm
from ..models.sparse_lstm.config import SparseLstmConfig
from .report import Bar, Progress, Row

DEVICES: dict[str, Device] = {"small": "25k", "default": "45k", "large": "85k"}


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
        for target in ("ecp5", "xc7"):
            progress(f"synthesis of {name} for {target}")
            yield _resources(name, config, target)
        progress(f"place and route of {name}")
        layout = place_and_route(synthesise(SparseLstm(config), "ecp5", serial=True), DEVICES[name])
        yield Row(f"{name} on ECP5-{DEVICES[name]}: Fmax, MHz", layout.fmax_mhz)
    progress("place and route of small for iCE40 UP5K")
    small = synthesise(SparseLstm(SparseLstmConfig.preset("small")), "ice40", serial=True)
    layout = place_and_route(small, "up5k")
    used, there = layout.utilisation["ICESTORM_LC"]
    yield Row(
        "small on iCE40 UP5K, ports serialised: share of logic cells", used / there, Bar("<=", 1)
    )
    yield Row("small on iCE40 UP5K: Fmax, MHz", layout.fmax_mhz)


def _resources(name: str, config: SparseLstmConfig, target: Target) -> Row:
    r = synthesise(SparseLstm(config), target).resources
    cells = f"{r.lut} LUT, {r.lutram} LUTRAM, {r.ff} FF, {r.dsp} DSP, {r.bram} BRAM of 18 Kbit"
    return Row(f"{name} ({config.lanes} lanes) on {target}", cells)


def _packing(progress: Progress) -> Iterator[Row]:
    """Two int8 products a DSP48."""
    progress("synthesis with packed multipliers")
    plain = SparseLstmConfig.preset("default", lanes=32)
    counts = [
        synthesise(SparseLstm(config), "xc7").resources
        for config in (plain, plain.replace(dsp_pack=True))
    ]
    lane_dsps = plain.lanes - (counts[0].dsp - counts[1].dsp)
    yield Row(
        f"xc7, dsp_pack: int8 MACs a DSP48 ({counts[0].lut} to {counts[1].lut} LUT)",
        plain.lanes / lane_dsps, Bar(">=", 2), "2 (one DSP48 holds two int8 products)",
    )  # fmt: skip
