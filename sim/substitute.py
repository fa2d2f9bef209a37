"""Another model in place of a module of the emitted Verilog: an analogue array, for instance.

What runs instead is SystemVerilog, which may call C++ through DPI (``import "DPI-C"``).  Its ports
are those of the module that it replaces, which stays as it is for synthesis.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path


@dataclass(frozen=True)
class Substitute:
    """What takes the place of every component of one class.

    The components are emitted as modules of their own (:class:`~thresher.hdl.lib.repeated.Repeated`
    or submodules of a name).  ``body`` is put between a module's port declarations, all of them
    nets, and ``endmodule``; identifiers must be declared.  A port of no bits is not there.
    """

    module: str
    """Class of the components."""
    body: str
    """SystemVerilog."""
    sources: tuple[Path, ...] = ()
    """C++ that it calls; an exception ends the run with its words."""
    headers: tuple[Path, ...] = ()
    """What the sources include of files that may change."""
    arguments: tuple[str, ...] = ()
    """``+name=value`` for ``$value$plusargs``: known when it runs, not when it is compiled."""

    @property
    def parts(self) -> tuple[str | bytes, ...]:
        """Everything that decides what a build with it is."""
        files = (path.read_bytes() for path in (*self.sources, *self.headers))
        return (self.module, self.body, *files)


def substituted(text: str, substitutes: Sequence[Substitute]) -> str:
    """Verilog ``text`` of a module ``top`` with ``substitutes`` put in.

    Raises :class:`ValueError` where there is no such module.
    """
    for substitute in substitutes:
        name = rf"top__(?:\w+__)?{re.escape(substitute.module)}\d*"
        pattern = rf"^(module {name}\(.*?\);\n)(.*?)^endmodule\n"
        replace = partial(_filled, body=substitute.body)
        text, count = re.subn(pattern, replace, text, flags=re.M | re.S)
        if not count:
            there = re.findall(r"^module (\w+)", text, re.M)
            raise ValueError(
                f"no module of a {substitute.module!r} among {', '.join(there)}; emit it as one, "
                "with Repeated"
            )
    return text


def _filled(module: re.Match[str], body: str) -> str:
    ports = re.findall(r"^  (input|output) ((?:\[.*?\] )?.+;\n)", module[2], re.M)
    declared = "".join(f"  {direction} wire {rest}" for direction, rest in ports)
    return (
        f"`default_nettype none\n{module[1]}{declared}{body.rstrip()}\nendmodule\n"
        "`default_nettype wire\n"
    )
