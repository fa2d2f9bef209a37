"""The devices that designs are synthesised for: what each is, what it holds, who lays it out."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..models.config import unknown
from .resources import Family, Resources


@dataclass(frozen=True)
class Device:
    """A part, or a family where the tools know no part of it."""

    name: str
    family: Family
    part: str
    """Vendor's name with package and speed grade, or the family's."""
    capacity: Resources | None
    """Sites there are, those of ``lutram`` among those of ``lut``; None where there is no part."""
    synthesis: str
    """Yosys' command: flat, without pads and clock buffers."""
    nextpnr: str | None
    """The program's name behind ``nextpnr-``; None where nothing lays the device out."""
    arguments: tuple[str, ...] = ()
    """Nextpnr's, to choose the part."""

    @property
    def synthesis_apart(self) -> str:
        """Yosys' command that leaves modules as they are."""
        if " -flatten" in self.synthesis:
            return self.synthesis.replace(" -flatten", "")
        return f"{self.synthesis} -noflatten"


def _ecp5(size: str, lut: int, dsp: int, bram: int) -> Device:
    # A 16x4 memory takes four of a block's eight look-up tables, and two more are its write port.
    return Device(
        f"ecp5-{size}",
        "ecp5",
        f"LFE5U-{size[:-1]}F-6CABGA381, speed grade 6 (the slowest)",
        Resources(lut=lut, ff=lut, carry=lut // 2, dsp=dsp, bram=bram, lutram=lut // 2, spram=0),
        "synth_ecp5",
        "ecp5",
        (f"--{size}", "--speed", "6", "--package", "CABGA381"),
    )


def _ice40(
    size: str, part: str, package: str, options: str, lut: int, dsp: int, bram: int, spram: int
) -> Device:
    return Device(
        f"ice40-{size}",
        "ice40",
        part,
        Resources(lut=lut, ff=lut, carry=lut, dsp=dsp, bram=bram, lutram=0, spram=spram),
        f"synth_ice40 {options}",
        "ice40",
        (f"--{size}", "--package", package),
    )


_ALL = (
    _ecp5("25k", 24288, 28, 56),
    _ecp5("45k", 43848, 72, 108),
    _ecp5("85k", 83640, 156, 208),
    _ice40("up5k", "iCE40UP5K-SG48", "sg48", "-device u -dsp -spram", 5280, 8, 30, 4),
    _ice40("hx8k", "iCE40HX8K-CT256", "ct256", "-device hx", 7680, 0, 32, 0),
    Device(
        "gowin-9k",
        "gowin",
        "GW1NR-LV9QN88PC6/I5, speed grade C6/I5",
        Resources(lut=8640, ff=6480, carry=6480, dsp=20, bram=26, lutram=1080, spram=0),
        "synth_gowin -family gw1n -noiopads",
        "himbaechel-gowin",
        ("--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C"),
    ),
    Device(
        "xc7",
        "xc7",
        "Xilinx 7 series, no part chosen",
        None,
        "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf",
        None,
    ),
    Device(
        "xcup",
        "xcup",
        "Xilinx UltraScale+, no part chosen",
        None,
        "synth_xilinx -family xcup -flatten -noiopad -noclkbuf",
        None,
    ),
)

DEVICES: Mapping[str, Device] = {device.name: device for device in _ALL}
"""All of them; within a family the smaller ones first."""


def device(name: str) -> Device:
    """The device called ``name``; :class:`KeyError` naming near ones and all otherwise."""
    if name not in DEVICES:
        text = unknown("device", name, DEVICES)
        known = f"; known: {', '.join(DEVICES)}"
        raise KeyError(text if "known:" in text else text + known)
    return DEVICES[name]
