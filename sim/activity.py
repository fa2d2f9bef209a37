"""How often registers change in a run: where an engine's switching, and so its energy, goes.

Dynamic energy is the sum of capacitance times toggles over all nets.  Capacitances are not known
before a design lies on a device, so toggles of registers stand for it: a proxy by which
configurations of one engine compare, and no number of joules.  For those, a tool that knows the
device takes the file of switching activity (``--wave FILE.saif``).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEP_TIME = 5
"""Units of time from an edge of the clock to the next, in ``harness.cpp``."""
_MODULE = re.compile(r"^module (\S+)\(.*?^endmodule", re.M | re.S)
_REGISTER = re.compile(r"^  reg (?:signed )?(?:\[\d+:\d+\] )?(\S+?) ?(?:= .*)?;$", re.M)
_INITIAL = re.compile(r"^  initial (\S+) +?= \d+'([hd])([0-9a-f]+);$", re.M)
_INSTANCE = re.compile(r"^  (\w\S*) (?:#\(.*?\) )?(\S+) +\($", re.M)  # keywords are escaped
_DURATION = re.compile(r"\(DURATION (\d+)\)")
_TOKEN = re.compile(r"\((INSTANCE) (\S+)|\((\S+) \(T0 .*?\(TC (\d+)\)\)|([()])")


@dataclass(frozen=True)
class Activity:
    """Toggles of registers, each bit by itself, in a whole run: reset and what follows the last
    beat included, words in memories not."""

    cycles: int
    """Clock cycles of it, those of resets included."""
    by_register: Mapping[str, tuple[int, int]]
    """Toggles and bits of every register, by its path, such as ``core.queue.level``."""

    @property
    def toggles(self) -> int:
        """All."""
        return sum(toggles for toggles, _ in self.by_register.values())

    @property
    def per_cycle(self) -> float:
        """Toggles in the mean cycle."""
        return self.toggles / self.cycles

    @property
    def bits(self) -> int:
        """Of all registers."""
        return sum(bits for _, bits in self.by_register.values())

    def parts(self) -> dict[str, tuple[int, int]]:
        """Of every submodule of the top, with all that is inside it, and of the top's own registers
        (``""``); the most toggles first."""
        found: dict[str, tuple[int, int]] = {}
        for path, (toggles, bits) in self.by_register.items():
            name = path.partition(".")[0] if "." in path else ""
            before = found.get(name, (0, 0))
            found[name] = before[0] + toggles, before[1] + bits
        return dict(sorted(found.items(), key=lambda item: -item[1][0]))

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "cycles": self.cycles,
            "toggles": self.toggles,
            "toggles_per_cycle": self.per_cycle,
            "register_bits": self.bits,
            "parts": {
                name: {"toggles": toggles, "register_bits": bits}
                for name, (toggles, bits) in self.parts().items()
            },
        }


def activity(saif: Path, verilog: str) -> Activity:
    """Of a run of the module ``top`` of ``verilog``, whose switching activity was written to
    ``saif``."""
    registers, kinds = _modules(verilog)
    found: dict[str, tuple[int, int]] = {}
    for path, register, toggles in _nets(saif):
        kind = "top"
        for part in path:
            kind = kinds.get(kind, {}).get(part, "")  # "": a memory
        if register in registers.get(kind, {}):
            name = ".".join((*path, register))
            # Verilator takes ones that are there from the start for changes from 0.
            before = found.get(name, (-registers[kind][register], 0))
            found[name] = before[0] + toggles, before[1] + 1
    return Activity(_cycles(saif), found)


def _cycles(saif: Path) -> int:
    """A cycle is two steps of the model."""
    with saif.open(encoding="utf-8") as file:
        duration = next(int(match[1]) for line in file if (match := _DURATION.search(line)))
    return -(-duration // (2 * STEP_TIME))


def _modules(verilog: str) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, str]]]:
    """By module: the ones in its registers' initial values, and the modules of its instances, all
    by their names."""
    registers, kinds = {}, {}
    for module in _MODULE.finditer(verilog):
        name, body = module[1], module[0]
        registers[name] = dict.fromkeys(map(_plain, _REGISTER.findall(body)), 0)
        for register, base, digits in _INITIAL.findall(body):
            value = int(digits, 16 if base == "h" else 10)
            registers[name][_plain(register)] = value.bit_count()
        kinds[name] = {_plain(instance): kind for kind, instance in _INSTANCE.findall(body)}
    return registers, kinds


def _nets(saif: Path) -> Iterator[tuple[tuple[str, ...], str, int]]:
    """The path below the top, the net's name and the toggles of every bit."""
    path: list[str | None] = []  # None: a bracket that is no instance's
    with saif.open(encoding="utf-8") as file:
        for line in file:
            for instance, named, net, toggles, bracket in _TOKEN.findall(line):
                if instance:
                    path.append(_plain(named))
                elif net:
                    here = [part for part in path if part is not None]
                    if len(here) > 1:  # beside the ports of the module itself
                        yield tuple(here[2:]), _plain(net.partition(r"\[")[0]), int(toggles)
                elif bracket == "(":
                    path.append(None)
                elif path:
                    path.pop()


def _plain(name: str) -> str:
    return name.replace("\\", "").strip()
