"""Executes a schedule: one flat array is the scratchpad, and PyTorch computes the operators.

The proof that addresses and transfers are right for data, not only for rules: operators find their
operands nowhere but at their addresses, and whatever left is overwritten with a pattern.
"""

from collections.abc import Sequence

import numpy as np
import torch

from .graph import LOAD
from .importers.imported import Imported
from .schedule import Operation, Place, Schedule, Transfer

_POISON = 0xA5


def execute(
    imported: Imported, schedule: Schedule, inputs: Sequence[torch.Tensor] | None = None
) -> list[torch.Tensor]:
    """The outputs of ``imported.graph`` by a schedule of it, as they lie off chip at the end.

    ``inputs``: in the order of the module's, None is its examples.  The graph's sizes must be those
    of the values (imported with ``element_bytes=None``).  A schedule that breaks rules is
    executed as it is: wrong addresses give wrong outputs.  Raises :class:`ValueError` where a
    tensor has other bytes than its value, and :class:`KeyError` for a buffer that was never
    stored.
    """
    run = _Run(imported, schedule, inputs)
    run.all()
    return [run.value(name, run.outside[schedule.tensors[name].buffer]) for name in
            imported.graph.outputs]  # fmt: skip


class _Run:
    def __init__(
        self, imported: Imported, schedule: Schedule, inputs: Sequence[torch.Tensor] | None
    ) -> None:
        self.imported, self.schedule = imported, schedule
        self.memory = np.full(schedule.budget, _POISON, np.uint8)
        self.outside: dict[str, np.ndarray] = {}
        """Off chip: bytes of buffers."""
        given = {} if inputs is None else dict(zip(imported.inputs, inputs, strict=True))
        self.examples = {**imported.examples, **{k: v for k, v in given.items() if k}}
        self.like = imported.program.layouts
        for name, value in imported.state.items():
            self.outside[name] = self.bytes(name, value)
        for op in imported.graph.ops:
            if (name := f"{op.name}:weights") in schedule.buffers:
                # Parameters are PyTorch's to know; their bytes take room and are moved.
                self.outside[name] = np.zeros(schedule.buffers[name].bytes, np.uint8)

    def all(self) -> None:
        """Every step."""
        for transfer in self.schedule.prologue:
            self.move(transfer)
        before: dict[str, int] = {}
        for step in self.schedule.steps:
            if self.schedule.double_buffered:
                # While the operator runs, what is stored still lies there, and what is fetched
                # lies where nothing else does.
                for transfer in step.transfers:
                    self.move(transfer)
                self.forget(before, step.placed)
                self.operate(step)
            else:
                stores = [t for t in step.transfers if t.direction == "store"]
                for transfer in stores:
                    self.move(transfer)
                self.forget(before, step.placed)
                for transfer in step.transfers:
                    if transfer.direction == "fetch":
                        self.move(transfer)
                self.operate(step)
            before = step.placed
        for transfer in self.schedule.epilogue:
            self.move(transfer)

    def move(self, transfer: Transfer) -> None:
        """Bytes on or off chip."""
        there = slice(transfer.address, transfer.address + transfer.bytes)
        if transfer.direction == "store":
            self.outside[transfer.buffer] = self.memory[there].copy()
        else:
            self.memory[there] = self.outside[transfer.buffer]

    def forget(self, before: dict[str, int], now: dict[str, int]) -> None:
        """Overwrites what lies there no more."""
        for name, address in before.items():
            if now.get(name) != address:
                self.memory[address : address + self.schedule.buffers[name].size] = _POISON

    def operate(self, step: Operation) -> None:
        """Operands from their addresses, results to theirs."""
        op = next(op for op in self.imported.graph.ops if op.name == step.name)
        if op.kind == LOAD:
            results = [self.examples[name] for name in op.outputs]
        else:
            operands = [self.value(name, self.here(step, name)) for name in op.inputs]
            results = self.imported.compute(op.name, operands)
        for name, result in zip(op.outputs, results, strict=True):
            place, bytes = self.schedule.tensors[name], self.bytes(name, result)
            start = step.placed[place.buffer] + place.offset
            self.memory[start : start + len(bytes)] = bytes
            if op.kind == LOAD:  # what it brings lies off chip too
                whole = self.schedule.buffers[place.buffer].bytes
                held = self.outside.setdefault(place.buffer, np.zeros(whole, np.uint8))
                held[place.offset : place.offset + len(bytes)] = bytes

    def here(self, step: Operation, name: str) -> np.ndarray:
        """The buffer's bytes on chip."""
        place = self.schedule.tensors[name]
        start = step.placed[place.buffer]
        return self.memory[start : start + self.schedule.buffers[place.buffer].bytes]

    def value(self, name: str, buffer: np.ndarray) -> torch.Tensor:
        """A tensor out of its buffer's bytes."""
        place: Place = self.schedule.tensors[name]
        like = self.like[self.imported.copies.get(name, name)]
        bytes = buffer[place.offset : place.offset + place.bytes].copy()
        return torch.from_numpy(bytes).view(like.dtype).reshape(like.shape)

    def bytes(self, name: str, value: torch.Tensor) -> np.ndarray:
        """A tensor's, row after row."""
        found = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
        wanted = self.schedule.tensors[name].bytes
        if len(found) != wanted:
            raise ValueError(
                f"{name!r} has {len(found)} bytes and {wanted} in the schedule; import the module "
                "with element_bytes=None"
            )
        return found
