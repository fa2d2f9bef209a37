"""The path that limits the clock, in the names and lines of the generator."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import groupby, pairwise
from typing import Any

from ..hdl.sources import Origin
from .nextpnr import Delay, Layout
from .yosys import Synthesis

_CARRY = ("CCU2C", "SB_CARRY", "ALU")


@dataclass(frozen=True)
class Step:
    """One delay along a path."""

    kind: str
    """``clk-to-q``, ``logic``, ``routing`` or ``setup``."""
    nanoseconds: float
    cell: str
    """Type of the cell that it runs through or, if routing, to."""
    stage: str
    """Path of the submodule, joined by dots; empty at the top level."""
    signal: str
    """What carries the result; of a setup step, what is set up."""
    named: bool
    """Whether that signal does itself.  Otherwise the result has no name in the design, and
    the signal is the one that synthesis named it after, or the next along the path."""
    source: str
    """``file:line`` of the signal; empty where that is not known."""


@dataclass(frozen=True)
class CriticalPath:
    """The slowest way from clock to clock; no steps where there is no such way."""

    steps: tuple[Step, ...]

    @property
    def nanoseconds(self) -> float:
        """The whole delay."""
        return sum(step.nanoseconds for step in self.steps)

    def spent(self, kind: str) -> float:
        """Nanoseconds in steps of one kind."""
        return sum(step.nanoseconds for step in self.steps if step.kind == kind)

    @property
    def levels(self) -> int:
        """Cells of logic on the way, a carry chain counting as one."""
        cells = [step.cell for step in self.steps if step.kind == "logic"]
        chained = sum(a == b and a in _CARRY for a, b in pairwise(cells))
        return len(cells) - chained

    def to_json(self) -> dict[str, Any]:
        """Sums and steps."""
        return {
            "nanoseconds": round(self.nanoseconds, 3),
            "routing_nanoseconds": round(self.spent("routing"), 3),
            "levels": self.levels,
            "steps": [asdict(step) for step in self.steps],
        }

    def condensed(self) -> list[tuple[str, str, str, float]]:
        """For people: where the path runs (a result without a name in brackets), through which
        cells, from which line, for how many nanoseconds."""
        rows = []
        for (place, source), group in groupby(self.steps, lambda s: (_place(s), s.source)):
            steps = list(group)
            cells = [step.cell for step in steps if step.kind != "routing"]
            counts = [(cell, len(list(run))) for cell, run in groupby(cells)]
            through = " ".join(cell if n == 1 else f"{n} {cell}" for cell, n in counts)
            rows.append((place, through, source, sum(step.nanoseconds for step in steps)))
        return rows


def _place(step: Step) -> str:
    signal = step.signal if step.named else f"({step.signal})"
    return f"{step.stage}.{signal}" if step.stage else signal


def critical_path(
    layout: Layout, synthesis: Synthesis, origins: Mapping[str, Origin]
) -> CriticalPath:
    """The slowest path of ``layout`` in the names of ``origins`` (:func:`thresher.hdl.sources`),
    steps of no delay but the last left out."""
    names = _Names(synthesis, origins)
    steps = [
        names.step(delay, next((d.net for d in layout.path[i:] if d.net), ""))
        for i, delay in enumerate(layout.path)
    ]
    for order in (range(len(steps) - 2, -1, -1), range(1, len(steps))):
        for i in order:
            if not steps[i].signal:
                near = steps[i + 1 if order.step < 0 else i - 1]
                steps[i] = replace(
                    steps[i], stage=near.stage, signal=near.signal, source=near.source
                )
    return CriticalPath(tuple(s for s in steps if s.nanoseconds or s.kind == "setup"))


_NOWHERE = Origin("", "", False, "")


class _Names:
    """What the names in a netlist stand for."""

    def __init__(self, synthesis: Synthesis, origins: Mapping[str, Origin]) -> None:
        module = json.loads(synthesis.netlist)["modules"][synthesis.top]
        self._origins = origins
        self._cells: dict[str, Any] = module["cells"]
        self._bits: dict[str, int] = {}
        """Of each net by nextpnr's name."""
        self._aliases: dict[int, list[tuple[str, str]]] = defaultdict(list)
        """Names in the design of each bit, without and with its index."""
        for name, net in module["netnames"].items():
            wide = len(net["bits"]) > 1
            for i, bit in enumerate(net["bits"], net.get("offset", 0)):
                if not isinstance(bit, int):  # a constant
                    continue
                full = f"{name}[{i}]" if wide else name
                self._bits[full] = bit
                if name in origins:
                    self._aliases[bit].append((name, full))

    def step(self, delay: Delay, net: str) -> Step:
        """``delay`` in the design's names; ``net`` is what its result runs on."""
        cell = self._cell(delay.stop[0])
        kind = cell["type"] if cell else ""
        if kind == "SB_LUT4" and delay.stop[1] == "COUT":
            kind = "SB_CARRY"  # packed into one logic cell
        bit, text = self._bits.get(net), net
        if delay.kind == "setup":
            bit, text = _only_output(cell), delay.stop[0]
        elif delay.kind == "clk-to-q":  # where a path starts says more than an unnamed net
            text = delay.start[0]
        known = self._alias(bit)
        if known:
            origin, index = self._origins[known[0]], known[1].removeprefix(known[0])
        else:
            name = _prefix(text, self._origins)
            owner = self._alias(self._bits.get(f"{name}[0]", self._bits.get(name)))
            origin, index = self._origins.get(owner[0] if owner else name, _NOWHERE), ""
        return Step(
            kind=delay.kind,
            nanoseconds=round(delay.nanoseconds, 3),
            cell=kind,
            stage=origin.stage,
            signal=origin.name + index,
            named=known is not None,
            source=origin.source,
        )

    def _cell(self, name: str) -> Any:
        """The netlist's cell behind one of nextpnr's, which packs, splits and renames."""
        return self._cells.get(_prefix(name, self._cells))

    def _alias(self, bit: int | None) -> tuple[str, str] | None:
        """A bit's name in the design: where it is made, and of several there the shortest."""

        def order(names: tuple[str, str]) -> Any:
            return not self._origins[names[0]].made, len(names[0]), names

        return min(self._aliases[bit] if bit else [], key=order, default=None)


def _only_output(cell: Any) -> int | None:
    """The bit that a flip-flop drives; None for what drives several."""
    outputs = [
        bit
        for port, bits in (cell["connections"] if cell else {}).items()
        if cell["port_directions"][port] == "output"
        for bit in bits
    ]
    return outputs[0] if len(outputs) == 1 else None


def _prefix(name: str, known: Mapping[str, Any]) -> str:
    """The longest beginning of ``name`` that is ``known``; Yosys and nextpnr append to names."""
    ends = [i for i in range(len(name), 0, -1) if name[i : i + 1] in ("", *"_.[$")]
    return next((name[:i] for i in ends if name[:i] in known), "")
