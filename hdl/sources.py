"""Which line of a generator each signal of a design comes from."""

import contextlib
import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import amaranth
from amaranth.lib.wiring import Component

from . import verilog

_ROOT = Path(__file__).resolve().parents[1]

# Files that make signals on behalf of a generator: memories' ports, states of an FSM, clocks.
_FOREIGN = tuple(
    Path(file).resolve() for file in (*amaranth.__path__, contextlib.__file__, verilog.__file__)
)

_ITEM = re.compile(
    r"^module \\(?P<module>\S+)$"
    r'|^  attribute \\src "(?P<src>[^"]*)"$'
    r"|^  (?P<kind>wire|memory|cell|process) (?P<rest>.*)$",
    re.M,
)


@dataclass(frozen=True)
class Origin:
    """Where a signal or memory of a flattened design comes from."""

    stage: str
    """Path of the submodule that it lies in, joined by dots; empty for the top level."""
    name: str
    source: str
    """``file:line`` of the generator, the file as its package names it: the same on every
    machine.  Of what a library made for a generator: where the submodule, or the class
    of the top level, stands."""


def sources(component: Component) -> dict[str, Origin]:
    """The origin of every signal and memory of ``component`` by its name in the flattened
    design: ``stage.name``, or ``name`` at the top level."""
    modules: dict[str, _Module] = {}
    here, src = _Module(), ""
    for match in _ITEM.finditer(verilog.netlist(component, sources=True)):
        if match["src"] is not None:
            src = match["src"]
            continue
        *kind, name = (match["rest"] or "").split() or [""]
        if match["module"]:
            here = modules[match["module"]] = _Module()
        elif name.startswith("\\") and match["kind"] in ("wire", "memory"):
            here.items[_public(name)] = _portable(src)
        elif match["kind"] == "cell" and kind[0].startswith("\\"):
            here.children[_public(name)] = (kind[0][1:], _portable(src))
        src = ""
    found: dict[str, Origin] = {}
    made = type(component)
    line = inspect.getsourcelines(made)[1]
    _walk(next(iter(modules)), "", _portable(f"{inspect.getfile(made)}:{line}"), modules, found)
    return found


@dataclass
class _Module:
    items: dict[str, str] = field(default_factory=dict)
    """Source of each signal and memory."""
    children: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Module and source of each submodule."""


def _walk(
    module: str, stage: str, source: str, modules: Mapping[str, _Module], found: dict[str, Origin]
) -> None:
    prefix = f"{stage}." if stage else ""
    for name, own in modules[module].items.items():
        found[prefix + name] = Origin(stage, name, own or source)
    for name, (kind, own) in modules[module].children.items():
        if kind in modules:  # neither empty nor from outside
            _walk(kind, prefix + name, own or source, modules, found)


def _public(name: str) -> str:
    """The name that a thing called ``name`` in RTLIL has in Verilog."""
    return re.sub(r"^\\\$", "_$", name).removeprefix("\\")


@cache
def _portable(source: str) -> str:
    """``source`` relative to this package's root, or else to where Python found its package;
    empty for what no generator wrote."""
    name, _, line = source.rpartition(":")
    file = Path(name)
    if not name or any(file.is_relative_to(foreign) for foreign in _FOREIGN):
        return ""
    found_in = sorted((Path(place).resolve() for place in sys.path if place), key=str, reverse=True)
    for place in (_ROOT, *found_in):
        if file.is_relative_to(place):
            return f"{file.relative_to(place).as_posix()}:{line}"
    return f"{file.name}:{line}"
