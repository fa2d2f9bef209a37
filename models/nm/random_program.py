"""Programs of all instructions, of any shape that fits: machines are held against each other."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from . import layout
from .config import NmConfig
from .port_cycles import STORE_FORMATS, Slab, store_beats
from .program import Dataflow, Fence, Gemm, Instruction, Load, Pattern, Store, Update
from .update_cycles import step_beats, steps

LOADED, MULTIPLIED, CONSUMED, STORED, WRITTEN = (1 << s for s in range(5))
"""Semaphores: operands are there; sums are; operands may be overwritten; sums may; a store's beats
may be read."""


@dataclass
class RandomProgram:
    """Instructions and the memory that they start from.

    A *job* loads operands, multiplies them once or, accumulating, twice, and stores the sums in
    some formats, or updates weights with them.  Jobs take turns in the halves of all memories, so
    that each runs while its neighbours do.
    """

    instructions: list[Instruction]
    memory: np.ndarray
    """uint32 [beats, ``beat_bits`` / 32]."""

    @classmethod
    def draw(cls, config: NmConfig, jobs: int, rng: np.random.Generator) -> Self:
        """``jobs`` jobs, and fences."""
        maker = _Maker(config, rng)
        for job in range(jobs):
            maker.job(job)
        maker.add(Fence(tag=int(rng.integers(1 << 16))))
        return cls(maker.instructions, np.concatenate(maker.memory))


class _Maker:
    """Adds jobs to a program."""

    def __init__(self, config: NmConfig, rng: np.random.Generator) -> None:
        self._config, self._rng = config, rng
        self.instructions: list[Instruction] = []
        self.memory: list[np.ndarray] = []
        self._beats = 0
        self._stored: int | None = None  # the latest store of left words

    def add(self, *instructions: Instruction) -> None:
        """Appends to the program."""
        self.instructions += instructions

    def job(self, number: int) -> None:
        """The ``number``-th one."""
        gemm = self._product(number % 2)
        loads, again = self._operands(gemm), number >= 2
        loads[0] = replace(loads[0], wait=loads[0].wait | (CONSUMED if again else 0))
        loads[-1] = replace(loads[-1], signal=LOADED)
        self.add(*loads)
        gemms = [replace(gemm, wait=LOADED | (STORED if again else 0))]
        if gemm.dataflow == "weight" and self._rng.integers(2):
            gemms.append(replace(gemm, accumulate=True))
        gemms[-1] = replace(gemms[-1], signal=MULTIPLIED | CONSUMED)
        self.add(*gemms)
        outs = self._results(gemm)
        first = next(k for k, each in enumerate(outs) if each.unit == "out")
        last = max(k for k, each in enumerate(outs) if each.unit == "out")
        outs[first] = replace(outs[first], wait=MULTIPLIED)
        outs[last] = replace(outs[last], signal=STORED)
        self.add(*outs)
        if self._rng.integers(3) == 0:
            self.add(Fence(tag=number))

    def _up_to(self, most: int) -> int:
        """1 to ``most``, more often little."""
        return int(self._rng.integers(1, self._rng.integers(1, max(most, 1) + 1) + 1))

    def _product(self, half: int) -> Gemm:
        """A product whose operands fit half of their memories, and whose sums fit."""
        c = self._config
        left, right = c.left_depth // 2, c.right_depth // 2
        dataflow: Dataflow = "output" if self._rng.integers(2) else "weight"
        lines = c.interleave * c.clusters
        repeat = c.group if self._rng.integers(2) else c.kept
        fits = c.interleave <= left and c.kept * lines <= c.sums_depth and repeat <= right
        if dataflow == "output" and not fits:
            dataflow = "weight"
        if dataflow == "weight" and right < c.clusters:
            raise ValueError(
                f"right_depth = {c.right_depth}: half of it is less than a word for each of "
                f"{c.clusters} clusters; take {2 * c.clusters}"
            )
        if dataflow == "output":
            rows = self._up_to(min(2, left // c.interleave, c.sums_depth // (c.kept * lines)))
            tiles = self._up_to(min(2, c.sums_depth // (c.kept * lines * rows), right // repeat))
            folds = self._up_to(min(6, left // (rows * c.interleave), right // (repeat * tiles)))
            size = tiles * c.kept * rows * lines
        else:
            repeat = c.group // c.kept if self._rng.integers(2) else 1
            repeat = repeat if repeat * c.clusters <= right else 1
            blocks = self._up_to(min(2, right // (c.clusters * repeat)))
            folds = blocks * repeat
            tiles = self._up_to(min(2, right // (c.clusters * folds)))
            most = min(left // blocks, c.sums_depth // tiles, 4 * c.columns)
            whole = self._rng.choice([c.columns, c.group, 1])
            rows = self._up_to(most // whole) * int(whole) if most >= whole else most
            size = tiles * rows
        return Gemm(
            dataflow=dataflow,
            rows=rows,
            tiles=tiles,
            folds=folds,
            repeat=repeat,
            left=half * left,
            right=half * right,
            sums=int(self._rng.integers(c.sums_depth - size + 1)),
            half=half,
        )

    def _operands(self, gemm: Gemm) -> list[Load]:
        """Loads of all that ``gemm`` reads."""
        c = self._config
        if gemm.dataflow == "weight":
            rows, groups = gemm.rows, gemm.folds // gemm.repeat * c.clusters
            words = gemm.tiles * gemm.folds * c.clusters
        else:
            rows, groups = gemm.rows * c.interleave * c.clusters, gemm.folds
            words = gemm.tiles * gemm.folds * gemm.repeat
        along = [
            rows_in_beat
            for rows_in_beat, size in ((False, groups), (True, rows))
            if size % c.port_words == 0
        ]
        beats = rows * groups // c.port_words
        written = self._written(beats) if self._rng.integers(2) else None
        left = Load(
            target="left",
            wait=WRITTEN if written else 0,
            pattern=written or self._place(self._words(beats)),
            base=gemm.left,
            dataflow=gemm.dataflow,
            rows_in_beat=bool(self._rng.choice(along)),
            rows=rows,
            groups=groups,
        )
        single = self._rng.integers(2)
        size = words * c.columns * (1 if single else c.kept) // c.beat_entries
        right = [
            Load(
                target="right",
                pattern=self._place(self._entries(size)),
                base=gemm.right,
                words=words,
                entry=entry,
            )
            for entry in (range(c.kept) if single else [None])
        ]
        loads = [left, *right]
        return [loads[k] for k in self._rng.permutation(len(loads))]

    def _written(self, beats: int) -> Pattern | None:
        """Left words that a store has written, over and over if there are too few."""
        if self._stored is None:
            return None
        number, self._stored = self._stored, None
        store = self.instructions[number]
        assert isinstance(store, Store)
        self.instructions[number] = replace(store, signal=store.signal | WRITTEN)
        most = store_beats(self._config, store)
        run = max(size for size in range(1, most + 1) if beats % size == 0)
        return Pattern(store.pattern.address, ((beats // run, 0), (run, 1)))

    def _results(self, gemm: Gemm) -> list[Instruction]:
        """Stores of ``gemm``'s sums in some formats, or an update by them."""
        c = self._config
        if gemm.dataflow == "weight":
            rows, blocks = gemm.rows, gemm.tiles
        else:
            rows, blocks = gemm.rows * c.interleave * c.clusters, gemm.tiles * c.kept
        if rows >= c.columns and self._rng.integers(3):
            return self._update(gemm, rows, blocks)
        found: list[Instruction] = []
        for kind in self._rng.permutation(STORE_FORMATS)[: self._rng.integers(1, 4)]:
            slab = Slab.of(c, kind)
            fewest = c.kept if kind == "words" else slab.rows
            some = rows // fewest * fewest, blocks // slab.parts * slab.parts
            if not all(some):
                continue
            store = Store(
                format=kind,
                half=gemm.half,
                sums=gemm.sums,
                rows=some[0],
                stride=rows,
                blocks=some[1],
                relu=bool(self._rng.integers(2)),
                shift=int(self._rng.integers(12)) if c.format == "int8" else 0,
            )
            size = store_beats(c, store)
            pattern = self._empty(size)
            if kind in ("rows", "columns"):
                pattern = replace(pattern, loops=((size, 1),))
                self._stored = len(self.instructions) + len(found)
            found.append(replace(store, pattern=pattern))
        return found or [
            Store(half=gemm.half, sums=gemm.sums, pattern=self._empty(c.columns // c.beat_sums))
        ]

    def _update(self, gemm: Gemm, rows: int, blocks: int) -> list[Instruction]:
        c, draw = self._config, self._rng.integers
        flows: tuple[Dataflow, ...] = ("weight", "output")
        size = blocks * (rows // c.columns) * c.columns**2 // c.beat_entries
        update = Update(
            half=gemm.half,
            sums=gemm.sums,
            rows=rows // c.columns * c.columns,
            stride=rows,
            blocks=blocks,
            forward=self._empty(size).address,
            backward=self._empty(size).address,
            forward_dataflow=flows[draw(2)],
            backward_dataflow=flows[draw(2)],
            forward_sparse=bool(draw(2)),
            backward_sparse=bool(draw(2)),
        )
        count = steps(c, update)
        pairs = self._rng.standard_normal((count, 2 * c.lanes), np.float32).view(np.uint32)
        beats = np.zeros((count, step_beats(c) * c.beat_bits // 32), np.uint32)
        beats[:, : 2 * c.lanes] = pairs
        pattern = self._place(beats.reshape(-1, c.beat_bits // 32))
        written = self._empty(count * step_beats(c)).address
        return [Load(target="masters", pattern=pattern), replace(update, masters=written)]

    def _place(self, beats: np.ndarray) -> Pattern:
        """Where ``beats`` are from now on, in some order of two loops."""
        count = len(beats)
        inner = int(self._rng.choice([n for n in range(1, count + 1) if count % n == 0]))
        address, self._beats = self._beats, self._beats + count
        self.memory.append(beats)
        return Pattern(address, ((inner, 1), (count // inner, inner)))

    def _empty(self, count: int) -> Pattern:
        """``count`` beats of zeros."""
        return self._place(np.zeros((count, self._config.beat_bits // 32), np.uint32))

    def _values(self, shape: tuple[int, ...]) -> np.ndarray:
        """Bits of elements; now and then any."""
        c = self._config
        any_bits = self._rng.integers(0, 1 << c.element_bits, shape)
        if c.format == "int8":
            return any_bits
        usual = layout.bits(c, self._rng.standard_normal(shape, np.float32))
        return np.where(self._rng.random(shape) < 0.001, any_bits, usual)

    def _words(self, beats: int) -> np.ndarray:
        c = self._config
        return layout.from_words(c, self._values((beats * c.port_words, c.group)))

    def _entries(self, beats: int) -> np.ndarray:
        c = self._config
        shape = beats, c.beat_entries
        return layout.from_entries(c, self._values(shape), self._rng.integers(0, c.group, shape))
