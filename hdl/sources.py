"""Which line of a generator each signal of a design comes from."""

import contextlib
import inspect
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import amaranth
from amaranth.hdl import _nir
from amaranth.lib.wiring import Component

from . import verilog

_ROOT = Path(__file__).resolve().parents[1]

# Files that make signals on behalf of a generator: memories' ports, states of an FSM, clocks.
_FOREIGN = tuple(
    Path(file).resolve() for file in (*amaranth.__path__, contextlib.__file__, verilog.__file__)
)


@dataclass(frozen=True)
class Origin:
    """Where a signal or memory of a flattened design comes from."""

    stage: str
    """Path of the submodule that it lies in, joined by dots; empty for the top level."""
    name: str
    made: bool
    """Whether its value is made there, and it is not a name of what is made elsewhere."""
    source: str
    """``file:line`` of the generator, the file as its package names it: the same on every
    machine.  Of what a library made: where the submodule, or the class of the top level,
    stands."""


def sources(component: Component) -> dict[str, Origin]:
    """The origin of every signal and memory of ``component`` by its name in the flattened
    design: ``stage.name``, or ``name`` at the top level."""
    netlist = verilog.elaborated(component)
    made = type(component)
    places = {0: _portable(inspect.getfile(made), inspect.getsourcelines(made)[1])}
    found: dict[str, Origin] = {}
    for index, module in enumerate(netlist.modules):
        if index:
            places[index] = _portable(*module.cell_src_loc) or places[module.parent]
        stage = ".".join(module.name[1:])
        things = [
            (name, signal.src_loc, _makes(netlist, index, netlist.signals[signal]))
            for signal, name in module.signal_names.items()
        ]
        for cell in (netlist.cells[cell] for cell in module.cells):
            if isinstance(cell, _nir.Memory):
                things.append((cell.name, cell.src_loc, True))
        for name, line, here in things:
            # What has no name of its own begins with a '$' that Verilog cannot have.
            name = re.sub(r"^\$", "_$", name)
            source = _portable(*line) or places[index]
            found[f"{stage}.{name}" if stage else name] = Origin(stage, name, here, source)
    return found


def _makes(netlist: _nir.Netlist, index: int, value: _nir.Value) -> bool:
    """Whether a cell of the module, or for the top level a port of it, drives ``value``."""
    return any(not net.is_const and netlist.cells[net.cell].module_idx == index for net in value)


@cache
def _portable(name: str, line: int) -> str:
    """``name:line`` relative to this package's root, or else to where Python found its package;
    empty for what no generator wrote."""
    file = Path(name)
    if any(file.is_relative_to(foreign) for foreign in _FOREIGN):
        return ""
    found_in = sorted((Path(place).resolve() for place in sys.path if place), key=str, reverse=True)
    for place in (_ROOT, *found_in):
        if file.is_relative_to(place):
            return f"{file.relative_to(place).as_posix()}:{line}"
    return f"{file.name}:{line}"
