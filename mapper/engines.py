"""Which engine runs each operator: the cheapest that can, and where the time goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .graph import LOAD, Graph, Op
from .targets.base import Cost, Target


@dataclass(frozen=True)
class Assigned:
    """One operator."""

    op: str
    kind: str
    engine: str
    cost: Cost
    transfer: int
    """Cycles that its bytes take."""

    @property
    def cycles(self) -> int:
        """With transfers beside computing."""
        return max(self.cost.cycles, self.transfer)


@dataclass(frozen=True)
class Assignment:
    """Of all operators but loads."""

    graph: str
    bytes_per_cycle: float
    clock_mhz: float
    lines: tuple[Assigned, ...]

    @property
    def cycles(self) -> int:
        """One operator after the other, each one's transfers beside it."""
        return sum(line.cycles for line in self.lines)

    @property
    def engines(self) -> dict[str, int]:
        """Cycles by engine."""
        found: dict[str, int] = {}
        for line in self.lines:
            found[line.engine] = found.get(line.engine, 0) + line.cycles
        return found

    def roofline(self) -> list[dict[str, Any]]:
        """Of each operator with products: MACs a byte, MACs a cycle as they are computed, and what
        the transfers alone would allow."""
        return [
            {
                "operator": line.op,
                "engine": line.engine,
                "macs_per_byte": line.cost.macs / max(line.cost.bytes, 1),
                "macs_per_cycle": line.cost.macs / max(line.cost.cycles, 1),
                "roof": line.cost.macs / max(line.cost.bytes, 1) * self.bytes_per_cycle,
            }
            for line in self.lines
            if line.cost.macs
        ]

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "graph": self.graph,
            "bytes_per_cycle": self.bytes_per_cycle,
            "clock_mhz": self.clock_mhz,
            "cycles": self.cycles,
            "milliseconds": self.cycles / self.clock_mhz / 1000,
            "engines": self.engines,
            "operators": [
                {
                    "operator": line.op, "kind": line.kind, "engine": line.engine,
                    "cycles": line.cost.cycles, "transfer_cycles": line.transfer,
                    "macs": line.cost.macs, "bytes": line.cost.bytes, "note": line.cost.note,
                }
                for line in self.lines
            ],
            "roofline": self.roofline(),
        }  # fmt: skip


def assign(
    graph: Graph,
    targets: Sequence[Target],
    *,
    bytes_per_cycle: float = 16.0,
    clock_mhz: float = 100.0,
) -> Assignment:
    """Each operator to the target that takes the fewest cycles, transfers beside computing; among
    equals to the first.

    All bytes of an operator count as moved: what stays on chip makes it faster, not dearer.
    Raises :class:`ValueError` for an operator that none supports, with the reasons.
    """
    if bytes_per_cycle <= 0 or clock_mhz <= 0:
        raise ValueError(
            f"bytes_per_cycle = {bytes_per_cycle} and clock_mhz = {clock_mhz} are positive"
        )
    lines = [_best(graph, op, targets, bytes_per_cycle) for op in graph.ops if op.kind != LOAD]
    return Assignment(graph.name, bytes_per_cycle, clock_mhz, tuple(lines))


def _best(graph: Graph, op: Op, targets: Sequence[Target], bytes_per_cycle: float) -> Assigned:
    reasons = {target.name: target.supports(graph, op) for target in targets}
    able = [target for target in targets if reasons[target.name] is None]
    if not able:
        said = "; ".join(f"{name}: {why}" for name, why in reasons.items())
        raise ValueError(
            f"{graph.name}: nothing runs {op.name!r} ({op.kind}): {said}; add the target 'host'"
        )
    found = []
    for target in able:
        cost = target.cost(graph, op)
        transfer = -(-cost.bytes // bytes_per_cycle)
        found.append(Assigned(op.name, op.kind, target.name, cost, int(transfer)))
    return min(found, key=lambda line: line.cycles)
