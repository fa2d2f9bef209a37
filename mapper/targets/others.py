"""The engine of recurrent layers, and the processor beside the engines."""

from dataclasses import dataclass, field
from typing import Any

from ...hdl.sparse_lstm.shape import Shape
from ...models.sparse_lstm.config import SparseLstmConfig
from ..coverage import HOST_KINDS
from ..graph import LOAD, Graph, Op
from .base import Cost, costed, moved, refused, unfused


@dataclass(frozen=True)
class Lstm:
    """``sparse_lstm``: all layers and directions of an LSTM, as if no column could be skipped."""

    config: SparseLstmConfig = field(default_factory=SparseLstmConfig)
    """Sizes are the operator's."""
    name: str = "sparse_lstm"

    def supports(self, graph: Graph, op: Op) -> str | None:
        """See :class:`.Target`."""
        if op.kind != "lstm":
            return f"{op.kind} is no LSTM"
        if missing := [n for n in ("input_size", "hidden_size", "steps") if n not in op.attributes]:
            return f"{', '.join(missing)} are not known"
        try:
            self._shape(op)
        except ValueError as error:
            return str(error)
        return unfused(op, ())

    def cost(self, graph: Graph, op: Op) -> Cost:
        """See :class:`.Target`.  A step of a context takes ``max(columns * groups, emissions *
        folds)`` cycles."""
        if self.supports(graph, op):
            raise refused(self, graph, op)
        a, sizes = op.attributes, self._shape(op)
        config = sizes.config
        cycles = sum(
            max(
                (sizes.input_columns(context) + sizes.state_columns) * config.groups,
                sizes.emissions * sizes.folds,
            )
            for context in range(config.contexts)
        )
        runs = -(-int(a.get("batch", 1)) // config.batch)
        macs = int(a.get("macs", 0))
        note = f"{config.contexts} contexts, {runs} batches of {config.batch}, nothing skipped"
        return costed(graph, op, runs * int(a["steps"]) * cycles, macs, note)

    def _shape(self, op: Op) -> Shape:
        a: Any = op.attributes
        return Shape(
            self.config.replace(
                input_size=a["input_size"], hidden_size=a["hidden_size"],
                layers=a.get("layers", 1), bidirectional=bool(a.get("bidirectional", False)),
            )
        )  # fmt: skip


@dataclass(frozen=True)
class Host:
    """A processor that computes whatever the engines do not, ``bytes_per_cycle`` of what it reads
    and writes, or ``macs_per_cycle`` where that takes longer."""

    bytes_per_cycle: float = 4.0
    macs_per_cycle: float = 1.0
    name: str = "host"

    def supports(self, graph: Graph, op: Op) -> str | None:
        """See :class:`.Target`."""
        for kind in (op.kind, *op.fused):
            if kind != LOAD and kind not in HOST_KINDS:
                return f"{kind} is not known"
        return None

    def cost(self, graph: Graph, op: Op) -> Cost:
        """See :class:`.Target`."""
        if self.supports(graph, op):
            raise refused(self, graph, op)
        if op.kind == LOAD:
            return costed(graph, op, 0, 0, "a transfer")
        macs = int(op.attributes.get("macs", 0))
        bytes = sum(moved(graph, op)) + op.weight_bytes
        cycles = max(bytes / self.bytes_per_cycle, macs / self.macs_per_cycle)
        return costed(graph, op, round(cycles), macs, "software")
