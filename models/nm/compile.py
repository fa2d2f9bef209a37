"""Programs of products: tiles whose loads, sums and stores overlap.

A product is cut into *tiles*, rows by column blocks whose sums are in one half of the sums memory
together; a tile's reduction axis into *chunks*, whose left words are in one half of the left
memory; its columns into *slices*, whose right words are in one half of the right memory.  So a tile
is, chunk by chunk and slice by slice, a :class:`~.program.Gemm`.  While one runs, the next one's
right words are loaded, a share of the next chunk's left words, and the tile before is stored or
learnt from.  What is in a memory already is not loaded again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product as combinations

import numpy as np

from .config import NmConfig
from .operands import Operands, Output, Product
from .patterns import count, pieces
from .program import LOOPS, Dataflow, Fence, Gemm, Instruction, Load, Pattern, Store

LEFT, RIGHT = (1, 2), (4, 8)
"""Semaphores of slots that are full and free."""

SUMS_FULL, SUMS_FREE = 16, 32


class TilingError(ValueError):
    """A tiling that does not fit the memories or the product."""


@dataclass(frozen=True)
class Tiling:
    """How a product is cut; the last of each may be smaller."""

    dataflow: Dataflow
    outer: int
    """Rows of a tile are so many of the product's outer ones by"""
    inner: int
    """so many inner ones (beats of rows, where beats hold several)."""
    groups: int
    """Of a chunk."""
    blocks: int
    """Column blocks of a tile."""
    tiles: int
    """Column blocks of a slice."""


@dataclass
class _Step:
    """A product of the array and what it needs."""

    gemm: Gemm
    tile: int
    left: tuple
    right: tuple
    out: list[Instruction] = field(default_factory=list)
    """What the finished tile is for."""


def compile_product(
    config: NmConfig, operands: Operands, product: Product, tiling: Tiling
) -> list[Instruction]:
    """The program of one product; see :class:`Compiler`."""
    compiler = Compiler(config, operands)
    compiler.add(product, tiling)
    return compiler.program()


def clear(config: NmConfig, zeros: int) -> list[Instruction]:
    """The program that fills the left memory with the beat at ``zeros``, which is one of zeros.

    Groups that pad a fold are not loaded.  Their weights are 0, and so are products with what is
    left of earlier operands, but not if that is infinite or not a number: to be run before the
    first product, and after a step that overflowed.
    """
    pattern = Pattern(zeros, ((config.left_depth, 0), (config.clusters // config.port_words, 0)))
    return [Load(pattern=pattern, rows=config.left_depth, groups=config.clusters), Fence()]


class Compiler:
    """Collects products, which run one after the other without a pause, into a program."""

    def __init__(self, config: NmConfig, operands: Operands) -> None:
        self.config, self.operands = config, operands
        self._cutters: list[_Cutter] = []
        self._steps: list[_Step] = []
        self._tiles = 0

    def add(self, product: Product, tiling: Tiling) -> None:
        """Appends ``product``.  Raises :class:`TilingError` where ``tiling`` does not fit it."""
        cutter = _Cutter(self.config, self.operands, product, tiling, len(self._cutters))
        self._cutters.append(cutter)
        for steps in cutter.tiles(self._tiles):
            self._steps += steps
            self._tiles += 1

    def check(self, product: Product, tiling: Tiling) -> None:
        """Raises :class:`TilingError` where ``tiling`` does not fit the memories."""
        _Cutter(self.config, self.operands, product, tiling, 0)

    def program(self, tag: int = 0) -> list[Instruction]:
        """All of it, and a fence ``tag``."""
        steps, cutters = self._steps, self._cutters
        lefts = _Slots([step.left for step in steps])
        rights = _Slots([step.right for step in steps])
        # By the step that they are in front of.
        loads: list[list[Load]] = [[] for _ in steps]
        for fill in rights.fills:
            key = steps[fill.step].right
            loads[fill.step] += fill.guarded(cutters[key[0]].right(key, fill.slot), RIGHT)
        since = 0
        for fill in lefts.fills:
            # Shares of it come in front of all steps since the slot is free.
            since = max(since, 0 if fill.freed is None else fill.freed + 2)
            key = steps[fill.step].left
            shares = cutters[key[0]].left(key, fill.slot, fill.step - since + 1)
            guarded = iter(fill.guarded([load for share in shares for load in share], LEFT))
            for at, share in enumerate(shares, fill.step - len(shares) + 1):
                loads[at] += [next(guarded) for _ in share]
            since = fill.step
        program: list[Instruction] = []
        out: list[Instruction] = []
        for number, step in enumerate(steps):
            left, right = lefts.masks(number, LEFT), rights.masks(number, RIGHT)
            first = not number or steps[number - 1].tile != step.tile
            gemm = replace(
                step.gemm,
                wait=left[0] | right[0] | SUMS_FREE * (first and step.tile >= 2),
                signal=left[1] | right[1] | SUMS_FULL * bool(step.out),
                left=lefts.slot[number] * (self.config.left_depth // 2),
                right=rights.slot[number] * (self.config.right_depth // 2),
            )
            # What takes a tile's sums is queued behind the next product, which is not to wait.
            program += [*loads[number], gemm, *out]
            out = step.out
        return [*program, *out, Fence(tag=tag)]


@dataclass
class _Fill:
    """A slot is loaded for ``step``; before, ``freed`` was the last to use it."""

    step: int
    slot: int
    freed: int | None

    def guarded(self, loads: list[Load], semaphores: tuple[int, int]) -> list[Load]:
        """``loads``, which wait for the slot to be free and say that it is full."""
        full, free = semaphores
        if self.freed is not None:
            loads[0] = replace(loads[0], wait=free)
        loads[-1] = replace(loads[-1], signal=full)
        return loads


class _Slots:
    """Two slots of a memory, through which the steps' contents (``keys``) pass; the one that was
    used less recently gives way."""

    def __init__(self, keys: Sequence[tuple]) -> None:
        self.slot: list[int] = []
        """Of each step."""
        self.fills: list[_Fill] = []
        held: list[tuple | None] = [None, None]
        used = [-1, -1]
        for step, key in enumerate(keys):
            if key not in held:
                slot = int(used[1] < used[0])
                self.fills.append(_Fill(step, slot, None if held[slot] is None else used[slot]))
                held[slot] = key
            slot = held.index(key)
            used[slot] = step
            self.slot.append(slot)
        self._fresh = {fill.step for fill in self.fills}
        self._freed = {fill.freed for fill in self.fills}

    def masks(self, step: int, semaphores: tuple[int, int]) -> tuple[int, int]:
        """What ``step`` waits for and signals."""
        full, free = semaphores
        return full * (step in self._fresh), free * (step in self._freed)


class _Cutter:
    """Makes the instructions of one product."""

    def __init__(
        self, config: NmConfig, operands: Operands, product: Product, tiling: Tiling, number: int
    ) -> None:
        if tiling.dataflow != product.dataflow:
            raise TilingError(
                f"tiling is {tiling.dataflow}-stationary, but operands lie for "
                f"{product.dataflow}-stationary products; give the operands that dataflow"
            )
        self._config, self._operands, self._product = config, operands, product
        self._tiling, self._number = tiling, number
        self._repeat = product.right.shape[1]
        self._deep = config.port_words if product.rows_in_beat else 1  # rows of an inner one
        self._chunks = _cut(product.groups, tiling.groups)
        self._check()

    def _check(self) -> None:
        c, p, t = self._config, self._product, self._tiling
        if t.dataflow == "output" and (len(self._chunks) > 1 or t.tiles % c.kept):
            raise TilingError(
                f"groups = {t.groups} and tiles = {t.tiles}: output-stationary sums take all "
                f"{p.groups} groups at once and multiples of kept = {c.kept} tiles"
            )
        if not p.rows_in_beat and len(self._chunks) > 1 and t.groups % c.port_words:
            raise TilingError(
                f"groups = {t.groups} is not a multiple of port_words = {c.port_words}"
            )
        outer, inner = min(t.outer, len(p.outer)), min(t.inner, len(p.inner))
        rows, groups = self._padded(outer * inner * self._deep), min(t.groups, p.groups)
        blocks, tiles = min(t.blocks, len(p.columns)), min(t.tiles, len(p.columns))
        sums = rows * blocks
        if t.dataflow == "weight":
            left = rows * -(-groups // c.clusters)
            right = tiles * -(-groups // c.clusters) * c.clusters * self._repeat
        else:
            left = rows // c.clusters * groups
            right = -(-tiles // c.kept) * groups * self._repeat
            sums = rows * -(-blocks // c.kept) * c.kept
        for need, room, name in (
            (left, c.left_depth // 2, "half the left memory"),
            (right, c.right_depth // 2, "half the right memory"),
            (sums, c.sums_depth, "half the sums memory"),
        ):
            if need > room:
                raise TilingError(
                    f"{t} takes {need} words of {name}, which has {room}; cut it more"
                )
        aligned = self._operands.fragment_rows if p.kind == "gradient" else c.group
        if inner * self._deep % aligned:
            raise TilingError(f"inner = {t.inner} does not give a multiple of {aligned} rows")
        if p.kind == "gradient" and blocks % self._operands.fragment_blocks:
            raise TilingError(
                f"blocks = {t.blocks} is not a multiple of the {self._operands.fragment_blocks} "
                "that an update learns"
            )

    def _padded(self, rows: int) -> int:
        """Rows in the sums memory."""
        if self._tiling.dataflow == "weight":
            return rows
        line = self._config.clusters * self._config.interleave
        return -(-rows // line) * line

    def tiles(self, first: int) -> Iterator[list[_Step]]:
        """Steps of each tile; ``first`` is the number of the first one."""
        p, t = self._product, self._tiling
        number = first
        for outer in _cut(len(p.outer), t.outer):
            for inner in _cut(len(p.inner), t.inner):
                for blocks in _cut(len(p.columns), t.blocks):
                    yield self._tile(outer, inner, blocks, number)
                    number += 1

    def _tile(self, outer: range, inner: range, blocks: range, number: int) -> list[_Step]:
        c, t = self._config, self._tiling
        rows = self._padded(len(outer) * len(inner) * self._deep)
        half, steps = number % 2, []
        for chunk in self._chunks:
            for part in _cut(len(blocks), t.tiles):
                shape = {"rows": rows, "tiles": len(part)}
                shape["folds"] = -(-len(chunk) // c.clusters) * self._repeat
                if t.dataflow == "output":
                    shape = {"rows": rows // (c.clusters * c.interleave), "folds": len(chunk)}
                    shape["tiles"] = -(-len(part) // c.kept)
                gemm = Gemm(dataflow=t.dataflow, accumulate=chunk.start > 0, repeat=self._repeat,
                            sums=part.start * rows, half=half, **shape)  # fmt: skip
                slice_ = range(blocks.start + part.start, blocks.start + part.stop)
                left, right = (self._number, outer, inner, chunk), (self._number, chunk, slice_)
                steps.append(_Step(gemm, number, left, right))
        out = steps[-1].out
        if self._product.kind == "gradient":
            out += self._updates(outer, inner, blocks, rows, half)
        for output in self._product.outputs:
            out += self._stores(output, outer, inner, blocks, rows, half)
        takers = [x for x, instruction in enumerate(out) if instruction.unit == "out"]
        out[takers[0]] = replace(out[takers[0]], wait=SUMS_FULL)
        out[takers[-1]] = replace(out[takers[-1]], signal=SUMS_FREE, wait=out[takers[-1]].wait)
        return steps

    def left(self, key: tuple, slot: int, shares: int) -> list[list[Load]]:
        """Loads of left words, in about equal shares, at most ``shares``."""
        c, p = self._config, self._product
        _, outer, inner, chunk = key
        weight = self._tiling.dataflow == "weight"
        along = slice(chunk.start, chunk.stop)
        if not p.rows_in_beat:
            along = slice(chunk.start // c.port_words, chunk.stop // c.port_words)
        nests = pieces(p.left[along], LOOPS - 1)
        if len(nests) > 1:
            raise TilingError(f"groups {chunk.start} to {chunk.stop} are no pattern; cut at taps")
        ((start, nest),) = nests
        nest = _real(nest)
        units = p.outer[outer.start : outer.stop, None] + p.inner[inner.start : inner.stop]
        units = units.reshape(-1)
        # Shares of whole outer rows, if there are enough, are fewer patterns.
        step = len(inner) if len(outer) >= shares else 1
        if not weight:
            step = np.lcm(step * self._deep, c.clusters) // self._deep
        per = -(-len(units) // step // shares) * step if len(units) % step == 0 else len(units)
        pitch = -(-len(chunk) // c.clusters)
        found = []
        for share in _cut(len(units), int(per)):
            loads, row = [], share.start * self._deep
            for begin, loops in pieces(units[share.start : share.stop], LOOPS - len(nest)):
                if not weight and row % c.clusters:
                    raise TilingError(f"row {row} of a tile begins a pattern; take whole images")
                rows = count(loops) * self._deep
                base = slot * (c.left_depth // 2)
                base += row * pitch if weight else row // c.clusters * len(chunk)
                loads.append(
                    Load(
                        target="left",
                        pattern=Pattern(begin + start, _real(loops) + nest or ((1, 0),)),
                        base=base, dataflow=self._tiling.dataflow, rows_in_beat=p.rows_in_beat,
                        rows=rows, groups=len(chunk),
                    )
                )  # fmt: skip
                row += rows
            found.append(loads)
        return found

    def right(self, key: tuple, slot: int) -> list[Load]:
        """Loads of right words of a chunk and slice."""
        c, p = self._config, self._product
        _, chunk, blocks = key
        columns = p.columns[blocks.start : blocks.stop]
        places = p.right[chunk.start : chunk.stop]
        base = slot * (c.right_depth // 2)
        run = np.arange(p.beats)
        if self._tiling.dataflow == "output":
            found = []
            for entry in range(min(c.kept, len(columns))):
                places_all = columns[entry :: c.kept, None, None, None] + places[..., None] + run
                found += self._right_loads(places_all, base, entry)
            return found
        # Groups that pad: words of zeros.
        pad = -len(places) % c.clusters
        zeros = np.full((len(columns), pad, self._repeat), self._operands.at("zeros"))
        places_all = np.concatenate([columns[:, None, None] + places, zeros], axis=1)
        by_fold = places_all.reshape(len(columns), -1, c.clusters, self._repeat).swapaxes(2, 3)
        return self._right_loads(by_fold[..., None] + run, base, None)

    def _right_loads(self, places: np.ndarray, base: int, entry: int | None) -> list[Load]:
        found = []
        for begin, loops in pieces(places):
            words = count(loops) // self._product.beats
            found.append(
                Load(target="right", pattern=Pattern(begin, loops), base=base, words=words,
                     entry=entry)
            )  # fmt: skip
            base += words
        return found

    def _stores(
        self, output: Output, outer: range, inner: range, blocks: range, rows: int, half: int
    ) -> Iterator[Store]:
        o, total = output, len(self._product.columns)
        across = slice(*(edge * len(o.blocks) // total for edge in (blocks.start, blocks.stop)))
        nests = pieces(o.blocks[across], 1)
        if len(nests) > 1 or (blocks.stop - blocks.start) * len(o.blocks) % total:
            raise TilingError(f"blocks {blocks.start} to {blocks.stop} do not fill beats")
        ((first, nest),) = nests
        by_block = o.format in ("words", "entries")
        unit = slice(inner.start // o.unit, inner.stop // o.unit)
        units = (o.outer[outer.start : outer.stop, None] + o.inner[unit]).reshape(-1)
        row = 0
        for begin, loops in pieces(units[:, None] + np.arange(o.beats), LOOPS - 1):
            length = count(loops) // o.beats * o.unit
            loops, across_loops = _real(loops), _real(nest)
            loops = across_loops + loops if by_block else loops + across_loops
            yield Store(
                format=o.format, pattern=Pattern(begin + first, loops or ((1, 0),)), half=half,
                sums=row, rows=length, stride=rows, blocks=len(blocks),
            )  # fmt: skip
            row += length

    def _updates(
        self, outer: range, inner: range, blocks: range, rows: int, half: int
    ) -> Iterator[Instruction]:
        o, taps = self._operands, self._product.taps
        assert taps is not None
        _, along_in, along_out = o.fragments
        tall, first = len(inner) * self._deep, inner.start * self._deep // o.fragment_rows
        for block in range(blocks.start, blocks.stop, o.fragment_blocks):
            tap, place = divmod(block // o.fragment_blocks, along_in)
            for x, row in combinations(outer, range(0, tall, o.fragment_rows)):
                fragment = (int(taps[x, tap]) * along_in + place) * along_out
                fragment += first + row // o.fragment_rows
                sums = (block - blocks.start) * rows + (x - outer.start) * tall + row
                update = o.update(fragment, half, sums, rows)
                pattern = Pattern(update.masters, ((o.fragment_masters, 1),))
                yield Load(target="masters", pattern=pattern)
                yield update


def _cut(size: int, part: int) -> list[range]:
    """0 to ``size`` in parts, the last perhaps smaller."""
    return [range(at, min(at + part, size)) for at in range(0, size, part)]


def _real(loops: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """Without loops of one."""
    return tuple(loop for loop in loops if loop[0] > 1)
