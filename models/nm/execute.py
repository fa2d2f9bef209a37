"""Runs programs of the array, golden: what each port sees, bit for bit and in order."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import prod

import numpy as np

from . import layout
from .config import NmConfig
from .gemm import gemm
from .program import (
    ADDRESS_BITS,
    SEMAPHORES,
    Fence,
    Gemm,
    Instruction,
    Load,
    Pattern,
    Store,
    Update,
)
from .store import store
from .update import update
from .update_cycles import step_beats, steps

UNITS = ("load", "gemm", "out")
MOST = 15
"""Of a semaphore."""


class ProgramError(ValueError):
    """An instruction that cannot run; says which, and why."""


@dataclass(frozen=True)
class Trace:
    """What passed the ports, in order."""

    requests: np.ndarray
    """uint32 [beats]: addresses on port ``request``."""
    data: np.ndarray
    """uint32 [beats, ``beat_bits`` / 32]: port ``data``."""
    addresses: np.ndarray
    """uint32 [beats]: addresses on port ``write``."""
    writes: np.ndarray
    """uint32 [beats, ``beat_bits`` / 32]: data on port ``write``."""
    done: tuple[int, ...]
    """Tags on port ``done``."""


def execute(
    config: NmConfig,
    program: Sequence[Instruction],
    memory: np.ndarray,
    registers: Mapping[str, int] | None = None,
    first: Sequence[str] = (),
) -> Trace:
    """Runs ``program`` on ``memory``, uint32 [beats, ``beat_bits`` / 32], which it changes.

    ``registers`` are those of an update (:mod:`.update`).  Of the units' next instructions whose
    semaphores are raised the one that comes first in the program runs or, with ``first``, that of
    the unit named first there; where all is waited for that must be, the trace is the same.

    Raises :class:`ProgramError` naming an instruction that waits for ever, that reaches beyond a
    memory or whose numbers contradict each other.
    """
    if memory.dtype != np.uint32 or memory.ndim != 2 or memory.shape[1] * 32 != config.beat_bits:
        wanted = f"uint32 [beats, {config.beat_bits // 32}]"
        raise ValueError(f"memory is {memory.dtype} {memory.shape}; give {wanted}")
    machine = _Machine(config, memory, registers or {})
    machine.run(list(program), first)
    width = config.beat_bits // 32
    return Trace(
        _joined(machine.requests, (0,)),
        _joined(machine.data, (0, width)),
        _joined(machine.addresses, (0,)),
        _joined(machine.writes, (0, width)),
        tuple(machine.done),
    )


def addresses(pattern: Pattern) -> np.ndarray:
    """uint32 [beats]: the addresses of ``pattern``, in order."""
    found = np.array([pattern.address], np.int64)
    for count, stride in pattern.loops:
        found = (found[:, None] + np.arange(count, dtype=np.int64) * stride).reshape(-1)
    return (found % (1 << ADDRESS_BITS)).astype(np.uint32)


class _Machine:
    """The memories, the semaphores and what has passed."""

    def __init__(self, config: NmConfig, memory: np.ndarray, registers: Mapping[str, int]) -> None:
        c = self._config = config
        self._memory, self._registers = memory, registers
        kind = np.uint8 if c.element_bits == 8 else np.uint16
        self._left = np.zeros((c.clusters, c.left_depth, c.group), kind)
        self._right = np.zeros((c.columns, c.right_depth, c.kept), kind)
        self._index = np.zeros((c.columns, c.right_depth, c.kept), np.uint8)
        self._sums = np.zeros((2, c.columns, c.sums_depth), np.uint32)
        self._semaphores = [0] * SEMAPHORES
        self._passed: deque[np.ndarray] = deque()  # masters that no update has taken
        self._collected: list[np.ndarray] = []
        self.requests: list[np.ndarray] = []
        self.data: list[np.ndarray] = []
        self.addresses: list[np.ndarray] = []
        self.writes: list[np.ndarray] = []
        self.done: list[int] = []

    def run(self, program: list[Instruction], first: Sequence[str]) -> None:
        """All of it."""
        queues = {unit: deque[int]() for unit in UNITS}
        for number, instruction in enumerate(program):
            queues[instruction.unit].append(number)
        begun: dict[str, int] = {}  # a load of masters, an update: they end together
        while any(queues.values()):
            ready = [
                unit
                for unit, queue in queues.items()
                if queue and unit not in begun and self._raised(program[queue[0]])
            ]
            if not ready:
                raise ProgramError(_stuck(program, queues, begun))
            unit = next((unit for unit in first if unit in ready), None)
            unit = unit or min(ready, key=lambda unit: queues[unit][0])
            number = queues[unit][0]
            instruction = program[number]
            for s in range(SEMAPHORES):
                self._semaphores[s] -= instruction.wait >> s & 1
            try:
                if not self._begin(instruction):
                    begun[unit] = number
                else:
                    self._end(program[queues[unit].popleft()])
                self._pass(program, queues, begun)
            except ProgramError:
                raise
            except (ValueError, KeyError) as error:
                raise ProgramError(f"instruction {number}, {instruction}: {error}") from error

    def _raised(self, instruction: Instruction) -> bool:
        return all(self._semaphores[s] or not instruction.wait >> s & 1 for s in range(SEMAPHORES))

    def _end(self, instruction: Instruction) -> None:
        for s in range(SEMAPHORES):
            self._semaphores[s] += instruction.signal >> s & 1
            if self._semaphores[s] > MOST:
                raise ValueError(
                    f"semaphore {s} would exceed {MOST}; wait for it before signalling it again"
                )

    def _begin(self, instruction: Instruction) -> bool:
        """Runs it; False where it goes on while others begin."""
        _check_counts(instruction)
        match instruction:
            case Load():
                return self._load(instruction)
            case Gemm():
                self._gemm(instruction)
            case Store():
                made = store(self._config, instruction, self._read(instruction))
                self._write(instruction.pattern, made)
            case Update():
                return False
            case Fence():
                self.done.append(instruction.tag)
            case _:
                raise ValueError("no such instruction")
        return True

    def _pass(
        self, program: list[Instruction], queues: Mapping[str, deque[int]], begun: dict[str, int]
    ) -> None:
        """Masters from loads to updates, which have no room for any between them."""
        if "out" in begun:
            instruction = program[begun["out"]]
            assert isinstance(instruction, Update)
            need = steps(self._config, instruction) * step_beats(self._config)
            while self._passed and len(self._collected) < need:
                self._collected.append(self._passed.popleft())
            if len(self._collected) == need:
                self._update(instruction)
                self._collected = []
                del begun["out"]
                self._end(program[queues["out"].popleft()])
        if "load" in begun and not self._passed:
            del begun["load"]
            self._end(program[queues["load"].popleft()])

    def _load(self, load: Load) -> bool:
        c = self._config
        where = addresses(load.pattern)
        if where.max() >= len(self._memory):
            raise ValueError(f"address {where.max()} is beyond memory of {len(self._memory)} beats")
        beats = self._memory[where]
        self.requests.append(where)
        self.data.append(beats)
        if load.target == "masters":
            self._passed.extend(beats)
            return False
        if load.target == "left":
            self._load_left(load, layout.words(c, beats))
            return True
        per_word = c.columns if load.entry is not None else c.columns * c.kept
        _expect(len(beats), load.words * per_word // c.beat_entries, "beats of `words` words")
        span = slice(load.base, load.base + load.words)
        _within(span.stop, c.right_depth, "right")
        shape = (load.words, c.columns, -1)
        value, index = (part.reshape(shape) for part in layout.entries(c, beats))
        entry = slice(None) if load.entry is None else slice(load.entry, load.entry + 1)
        if load.entry is not None and load.entry >= c.kept:
            raise ValueError(f"entry = {load.entry}; a word has kept = {c.kept}")
        self._right[:, span, entry] = value.swapaxes(0, 1)
        self._index[:, span, entry] = index.swapaxes(0, 1)
        return True

    def _load_left(self, load: Load, words: np.ndarray) -> None:
        c, rows, groups = self._config, load.rows, load.groups
        along, name = (rows, "rows") if load.rows_in_beat else (groups, "groups")
        if along % c.port_words:
            raise ValueError(f"{name} = {along} is not a multiple of port_words = {c.port_words}")
        _expect(len(words), rows * groups // c.port_words, "beats of rows x groups words")
        if load.rows_in_beat:
            words = words.reshape(-1, groups, c.port_words, c.group).swapaxes(1, 2)
        words = words.reshape(rows, groups, c.group)
        r, q = np.ogrid[:rows, :groups]
        if load.dataflow == "weight":
            bank, address = q % c.clusters, r * -(-groups // c.clusters) + q // c.clusters
        else:
            bank, address = r % c.clusters, r // c.clusters * groups + q
        _within(load.base + int(address.max()) + 1, c.left_depth, "left")
        self._left[bank, load.base + address] = words

    def _gemm(self, i: Gemm) -> None:
        c = self._config
        g, m = c.clusters, c.group
        if i.dataflow == "weight":
            if i.folds % i.repeat:
                raise ValueError(f"folds = {i.folds} is not a multiple of repeat = {i.repeat}")
            rows, blocks, columns = i.rows, i.folds // i.repeat, i.tiles
            _within(i.left + rows * blocks, c.left_depth, "left")
            _within(i.right + i.tiles * i.folds * g, c.right_depth, "right")
            left = self._left[:, i.left : i.left + rows * blocks].reshape(g, rows, blocks, m)
            left = left.transpose(1, 2, 0, 3).reshape(rows, blocks * g * m)
            # Column, tile, fold, cluster, entry to entry (fold, cluster, entry), column (tile, c).
            span = slice(i.right, i.right + i.tiles * i.folds * g)
            f, cluster, _ = np.ogrid[: i.folds, :g, : c.kept]
            k = (f // i.repeat * g + cluster) * m

            def arranged(right: np.ndarray) -> np.ndarray:
                right = right[:, span].reshape(c.columns, i.tiles, i.folds, g, c.kept)
                return right.transpose(2, 3, 4, 1, 0)

        else:
            if i.accumulate:
                raise ValueError("accumulate is of weight-stationary products alone")
            lines = i.rows * c.interleave
            rows, columns = lines * g, i.tiles * c.kept
            _within(i.left + lines * i.folds, c.left_depth, "left")
            _within(i.right + i.tiles * i.folds * i.repeat, c.right_depth, "right")
            left = self._left[:, i.left : i.left + lines * i.folds]
            left = left.reshape(g, lines, i.folds, m).swapaxes(0, 1).reshape(rows, i.folds * m)
            # Column, tile, group, step, entry to entry (group, step), column (tile, entry, c).
            span = slice(i.right, i.right + i.tiles * i.folds * i.repeat)
            q, _ = np.ogrid[: i.folds, : i.repeat]
            k = q * m

            def arranged(right: np.ndarray) -> np.ndarray:
                right = right[:, span].reshape(c.columns, i.tiles, i.folds, i.repeat, c.kept)
                return right.transpose(2, 3, 1, 4, 0)

        _within(i.sums + columns * rows, c.sums_depth, "sums")
        values, index = arranged(self._right), arranged(self._index)
        k = k.reshape(*k.shape, *(1,) * (index.ndim - k.ndim)) + index
        shape = (-1, columns * c.columns)
        half = self._sums[i.half, :, i.sums : i.sums + columns * rows]
        half = half.reshape(c.columns, columns, rows)
        start = None
        if i.accumulate:
            kind = np.int32 if c.format == "int8" else np.float32
            start = np.ascontiguousarray(half.transpose(2, 1, 0)).view(kind).reshape(rows, -1)
        sums = gemm(
            layout.values(c, left),
            layout.values(c, values.reshape(shape)),
            k.reshape(shape),
            start,
        )
        made = np.ascontiguousarray(sums).view(np.uint32).reshape(rows, columns, c.columns)
        half[:] = made.transpose(2, 1, 0)

    def _read(self, i: Store | Update) -> np.ndarray:
        """Bits of sums [blocks, rows, C]."""
        block, row = np.ogrid[: i.blocks, : i.rows]
        address = i.sums + block * i.stride + row
        _within(int(address.max()) + 1, self._config.sums_depth, "sums")
        return self._sums[i.half, :, address]

    def _write(self, pattern: Pattern, beats: np.ndarray) -> None:
        _expect(prod(count for count, _ in pattern.loops), len(beats), "beats of the sums")
        self._put(addresses(pattern), beats)

    def _put(self, where: np.ndarray, beats: np.ndarray) -> None:
        if where.max() >= len(self._memory):
            raise ValueError(f"address {where.max()} is beyond memory of {len(self._memory)} beats")
        self._memory[where] = beats
        self.addresses.append(where)
        self.writes.append(beats)

    def _update(self, instruction: Update) -> None:
        beats = [layout.number(beat) for beat in self._collected]
        gradients = self._read(instruction)
        written = update(self._config, instruction, gradients, beats, self._registers)
        where = np.array([address for address, _ in written], np.uint32)
        self._put(where, layout.from_numbers(self._config, [beat for _, beat in written]))


def _check_counts(instruction: Instruction) -> None:
    for field in fields(instruction):
        if field.name in ("rows", "groups", "words", "tiles", "folds", "repeat", "blocks"):
            value = getattr(instruction, field.name)
            if value < 1:
                raise ValueError(f"{field.name} = {value} is not positive")


def _expect(found: int, wanted: int, what: str) -> None:
    if found != wanted:
        raise ValueError(f"the pattern has {found} beats, not the {wanted} {what}; mend its loops")


def _within(end: int, depth: int, memory: str) -> None:
    if end > depth:
        raise ValueError(
            f"it reaches address {end - 1} of the {memory} memory, whose {memory}_depth is "
            f"{depth}; take smaller tiles"
        )


def _stuck(
    program: list[Instruction], queues: Mapping[str, deque[int]], begun: Mapping[str, int]
) -> str:
    parts = [
        f"{queue[0]}, {program[queue[0]]}, "
        + ("has begun but masters are not passed on" if unit in begun else "waits for ever")
        for unit, queue in queues.items()
        if queue
    ]
    return f"deadlock: instruction {'; instruction '.join(parts)}"


def _joined(parts: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(shape, np.uint32)
