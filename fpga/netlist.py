"""Mapped netlists as Verilog that simulates: the netlist and a model of each of its cells.

Yosys brings models of most cells.  Where it has only the ports (block RAM, multipliers),
the models are those of the folder ``cells``, written from the vendors' documents; they know
the parameters that Yosys sets, and any other value ends elaboration.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from . import tools
from .yosys import Synthesis

_CELLS = Path(__file__).parent / "cells"
_DEFAULT = re.compile(r"(\w+)\s*`ICE40_DEFAULT_ASSIGNMENT_\w+(?:\(.*?\))?")
"""A port with a value where it is left open."""


def simulation_verilog(synthesis: Synthesis, timeout: float = 600) -> str:
    """The netlist of ``synthesis`` with models of its cells, for Verilator.

    The top module has the name and the ports of the design that was synthesised.  There is no
    timing, and registers and memories begin with the netlist's initial values.

    Raises :class:`ValueError` for a cell without a model, and what
    :func:`~thresher.fpga.yosys.synthesise` raises where Yosys cannot run.
    """
    family = synthesis.device.family
    top = json.loads(synthesis.netlist)["modules"][synthesis.top]
    cells = [cell for cell in top["cells"].values() if cell["type"] != "$scopeinfo"]
    types = {cell["type"] for cell in cells}
    models = _models(family)
    if missing := sorted(types - models.keys()):
        raise ValueError(
            f"no simulation model of {', '.join(missing)} ({family}); "
            f"write one into fpga/cells/{family}.v"
        )
    defaults = {name: set(_DEFAULT.findall(models[name])) for name in types}
    for cell in cells:
        if left_open := sorted(defaults[cell["type"]] - cell["connections"].keys()):
            raise ValueError(f"a {cell['type']} leaves {', '.join(left_open)} open")
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        (here / "netlist.json").write_text(synthesis.netlist, encoding="utf-8")
        passes = ["read_json netlist.json", "delete */t:$scopeinfo", "write_verilog -noattr top.v"]
        tools.yosys(here, passes, timeout)
        netlist = (here / "top.v").read_text()
    # Verilator 5.48 gives some ports their default value although they are connected.
    used = [_DEFAULT.sub(r"\1", text) for text in _closure(types, models)]
    return "\n\n".join([netlist, *used])


@cache
def _models(family: str) -> Mapping[str, str]:
    """Modules that behave, by name: ours before Yosys'."""
    package = find_spec("pyosys")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("pyosys was not found: install it with `pip install pyosys`")
    library = _read(Path(package.origin).parent / "share" / family / "cells_sim.v")
    library = library.replace("`SB_DFF_INIT", "initial Q = 0;")
    library = re.sub(r"\bspecify\b.*?\bendspecify\b", "", library, flags=re.S)
    library = re.sub(r"(\[i\]) <=", r"\1 =", library)  # in initial blocks, which do not delay
    own = [_read(_CELLS / name) for name in ("block_ram.v", f"{family}.v")]
    found: dict[str, str] = {}
    for text in (library, *own):
        for module in re.finditer(r"^module\s+(\w+).*?\bendmodule\b", text, re.M | re.S):
            found[module[1]] = module[0]
    active = re.compile(r"\b(assign|always|initial)\b")
    return {
        name: text
        for name, text in found.items()
        if active.search(text) or _instances(text) & found.keys()
    }


def _closure(types: set[str], models: Mapping[str, str]) -> list[str]:
    """Models of ``types`` and of what they are made of, in order of name."""
    needed: set[str] = set()
    while types:
        needed |= types
        inside = {name for used in types for name in _instances(models[used])}
        types = (inside & models.keys()) - needed
    return [models[name] for name in sorted(needed)]


def _instances(text: str) -> set[str]:
    """Words of ``text`` that may be the type of an instance."""
    return set(re.findall(r"\b([A-Za-z_]\w*)\s*(?:#\s*\(|\w+\s*\()", text))


def _read(path: Path) -> str:
    """A Verilog file with what it includes; nothing where there is none."""
    if not path.is_file():
        return ""
    include = re.compile(r'^`include "(.*?)"', re.M)
    return include.sub(lambda match: _read(path.parent / match[1]), path.read_text())
