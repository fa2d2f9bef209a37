"""From a frozen set to the engine's program: one instruction a cycle, none of them waiting.

A *leaf* (:func:`thresher.models.fast_sclf.nodes.leaves`) takes, in this order,

* a cycle for each row of f or g results on the way down to it: g at the level where it joins,
  f below; the last of them is its own, marked ``leaf``;
* ``enter``; for an SPC ``fix``; its splits, one a cycle.

It then has its word, which the next g needs.  A leaf of rate 0 has its word beforehand: its
``enter`` runs beside whatever comes next.  Where it is a left child, the g of its sibling
(``zero``) computes its LLRs as well, and it takes no cycle at all; unless the sibling's own LLRs
must be added up, too, as those of rate-0 and REP (met where a larger one is cut in two).

Rows of partial sums that are XORs of several stored ones take no cycle more where the rows come
in the right order: the accumulator keeps the sum of one row, and the next ones add to it.  In
nodes of 16 rows and more some must be summed again, a cycle for each term.

At the end the last row is stored, a cycle.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ...models.fast_sclf.nodes import Leaf, leaves, steps
from .layout import instruction
from .shape import Shape

Instruction = dict[str, int]
"""Fields of :func:`.layout.instruction` that are not 0."""


@dataclass(frozen=True)
class Program:
    """What an engine does to decode one frame of a code, cycle by cycle."""

    shape: Shape
    instructions: tuple[Instruction, ...]
    steps: int
    """Time steps by the literature's model, as in :func:`thresher.models.fast_sclf.nodes.steps`."""

    @property
    def cycles(self) -> int:
        """Cycles of a decoding, an instruction each, the channel's LLRs at hand."""
        return len(self.instructions)

    @property
    def selections(self) -> int:
        """Splits with more candidates than slots: those that can be flipped."""
        return sum(i.get("selection", 0) for i in self.instructions)

    @cached_property
    def beats(self) -> list[int]:
        """The instructions as bits of their layout, in order: what is loaded."""
        layout = instruction(self.shape)
        return [
            sum(value << layout[name].offset for name, value in fields.items())
            for fields in self.instructions
        ]


def compile_program(shape: Shape, frozen: np.ndarray) -> Program:
    """The program that decodes a polar code with these ``frozen`` bits, bool [n].

    Raises :class:`ValueError` where the engine cannot hold the code or its program.
    """
    frozen, config = np.asarray(frozen), shape.config
    n = _checked(shape, frozen)
    found = leaves(frozen, config.leaf)
    instructions = tuple(_Compiler(shape, frozen).instructions(found))
    program = Program(shape, instructions, steps(found, config.list_size, config.pes))
    needed = max(program.cycles, 2 * program.selections)  # Shape.selections: room for half as many
    if needed > config.program:
        if (size := 1 << (needed - 1).bit_length()) <= _MOST:
            way_out = f"generate with program={size}"
        else:
            way_out = f"program={_MOST} is the most; generate with more than pes={config.pes}"
        raise ValueError(
            f"a code of {n} bits, {n - frozen.sum()} not frozen, takes {program.cycles} "
            f"instructions and {program.selections} path selections; program={config.program} "
            f"holds {config.program} and {shape.selections}; {way_out}"
        )
    return program


_MOST = 4096  # of FastSclfConfig.program


def _checked(shape: Shape, frozen: np.ndarray) -> int:
    """The length of a code that the engine can decode."""
    n, config = frozen.size, shape.config
    if frozen.ndim != 1 or frozen.dtype != bool or n & n - 1:
        raise ValueError(
            f"a frozen set of {frozen.dtype} {frozen.shape} is not one true or false for each bit "
            "of a polar code, whose length is a power of two"
        )
    if n > config.length:
        raise ValueError(
            f"a code of {n} bits exceeds length={config.length}; generate with length={n}"
        )
    if n < 2 * config.pes:
        way_out = f"generate with pes={n // 2}" if n >= 8 else "take a longer code"
        raise ValueError(
            f"a code of {n} bits is below {2 * config.pes}, two rows of pes={config.pes}; {way_out}"
        )
    if frozen.all():
        raise ValueError(f"all {n} bits are frozen; a code has at least one that is not")
    return n


# What a leaf of rate 0 does beside whatever else goes on: it clears the word, then adds its metric.
_CLEAR: Instruction = {"enter": 1, "repeat": 1}
_PENALISE: Instruction = {**_CLEAR, "penalty": 1}


def _merges(left: Leaf, right: Leaf) -> bool:
    """Whether ``left`` is of rate 0 and the g of its sibling, where ``right`` begins, serves it."""
    twins = left.level == right.level and right.kind in ("rate-0", "rep")
    return left.kind == "rate-0" and right.joins == left.level and not twins


class _Term(NamedTuple):
    """A stored row of partial sums: one of the word of a left child of this level."""

    level: int
    row: int


class _Compiler:
    """One compilation."""

    def __init__(self, shape: Shape, frozen: np.ndarray):
        self.shape, self.frozen = shape, frozen
        self.top = len(frozen).bit_length() - 1
        self.issued: list[Instruction] = []
        self.beside: Instruction = {}  # what the next instruction does besides
        self.paths = 1

    def instructions(self, found: list[Leaf]) -> list[Instruction]:
        for before, leaf, after in zip([None, *found], found, [*found[1:], None], strict=False):
            merged = before is not None and _merges(before, leaf)
            merges = after is not None and _merges(leaf, after)
            top = self.top
            if before is not None and leaf.joins is not None:
                top = leaf.joins
                self._g(top, leaf, before, merged)
            self._f(range(leaf.level + merges, top), leaf)
            if not merges:
                self._decode(leaf, merged)
        self._tail(found[-1])
        return self.issued

    def _issue(self, **fields: int) -> None:
        """Appends an instruction."""
        fields |= self.beside
        self.beside = {}
        self.issued.append({name: int(value) for name, value in fields.items() if value})

    # LLRs

    def _f(self, levels: range, leaf: Leaf) -> None:
        """f at ``levels``, from the highest down, on the way to ``leaf``.

        Each row as soon as it can be: where the channel's rows arrive slowly, those below are
        computed meanwhile.
        """
        rows = [(level, row) for level in reversed(levels) for row in range(self._rows(level))]
        for level, row in sorted(rows, key=lambda at: at[1] - self._rows(at[0])):
            self._pe(level, row, leaf)

    def _g(self, level: int, leaf: Leaf, before: Leaf, merged: bool) -> None:
        """g of the right child that begins with ``leaf``; ``before`` ended the left one.

        ``merged``: and the LLRs of ``before``.
        """
        if merged or (level > leaf.level and not self._live(leaf.offset, level)):
            for row in range(self._rows(level)):
                self._pe(level, row, leaf, g=1, zero=1, leaf=merged)
            if merged and level > leaf.level:
                self.beside = _PENALISE
            return
        # A left child of rate 0 can be here, too: with `zero` this leaf's own LLRs were not added
        # up.  Its word is as clear as that of `before`.
        store = self._live(leaf.offset, level)
        word = self._word(leaf.offset, level, before)
        for row, sums in self._sums(leaf.offset, level):
            if row is None:
                self._issue(**sums)
            else:
                to = self.shape.row(level, row) if level >= self.shape.row_level and store else 0
                self._pe(level, row, leaf, g=1, **word, **sums, store=store, store_row=to)

    def _pe(self, level: int, row: int, target: Leaf, **fields: int) -> None:
        """A row of results of f or g, on the way to the leaf ``target``."""
        channel = level + 1 == self.top
        read = row if channel else self.shape.first_word(level + 1) + row
        fields |= {"pe": 1, "channel": channel, "level": level, "read": read}
        if level > target.level:
            words = self.shape.words(level)
            fields |= {
                "write": self.shape.first_word(level) + row % words,
                "low": row < words,
                "high": row + words >= self._rows(level),
            }
        else:  # nothing reads them from memory
            fields["leaf"] = 1
            if target.kind == "rate-0":
                # This cycle is the last that needs the word of the leaf before.
                fields |= _CLEAR
        self._issue(**fields)

    def _rows(self, level: int) -> int:
        return max(1, (1 << level) // self.shape.config.pes)

    # Partial sums

    def _live(self, end: int, level: int) -> bool:
        """Whether the word of the node of a level that ends there can be other than 0."""
        return not self.frozen[end - (1 << level) : end].all()

    def _word(self, end: int, level: int, leaf: Leaf) -> Instruction:
        """``base`` and ``chain`` of the node of a level that ends there, with ``leaf``."""
        levels = range(leaf.level, min(level, self.shape.row_level))
        chain = sum(1 << j for j in levels if self._live(end - (1 << j), j))
        return {"base": leaf.level, "chain": chain}

    def _sums(self, end: int, level: int) -> Iterator[tuple[int | None, Instruction]]:
        """The rows of the same node, in an order that suits, and what is added to each.

        None in place of a row: a cycle for the accumulator alone.

        Rows that begin with the same terms follow one another, that with these alone first; and
        of those that add one more term, the ones that no others build upon.
        """
        rows = {row: self._terms(end, level, row) for row in range(self._rows(level))}
        order = sorted(rows, key=lambda row: [(-term.level, term.row) for term in rows[row]])
        held: list[_Term] = []
        for row, after in zip(order, [*order[1:], order[0]], strict=True):
            terms = rows[row]
            if len(terms) > 1 and terms[:-1] != held:
                for count in range(1, len(terms)):
                    yield None, self._sum(terms[:count]) | {"accumulate": 1}
                held = terms[:-1]
            accumulate = bool(terms) and terms == rows[after][:-1]
            if accumulate:
                held = terms
            yield row, self._sum(terms) | {"accumulate": accumulate}

    def _terms(self, end: int, level: int, row: int) -> list[_Term]:
        """What a row adds to the last ``pes`` bits' formula, lowest level first."""
        found = []
        for j in range(self.shape.row_level, level):
            rows = self._rows(j)
            if not row & rows and self._live(end - (1 << j), j):
                found.append(_Term(j, row % rows))
        return found

    def _sum(self, terms: list[_Term]) -> Instruction:
        """Reads the last of ``terms``; the accumulator has the others."""
        if not terms:
            return {}
        level, row = terms[-1]
        return {
            "sums": 1,
            "sums_level": level - self.shape.row_level,
            "sums_row": self.shape.row(level, row),
            "accumulated": len(terms) > 1,
        }

    # Leaves

    def _decode(self, leaf: Leaf, merged: bool) -> None:
        """All after a leaf's LLRs; ``merged``: ``enter`` is also that of the leaf before."""
        if leaf.kind == "rate-0":
            self.beside = _PENALISE
            return
        repeat = leaf.kind == "rep"
        splits = leaf.splits(self.shape.config.list_size)
        penalty = repeat or (merged and leaf.joins == leaf.level)
        self._issue(enter=1, penalty=penalty, repeat=repeat)
        if leaf.kind == "spc":
            self._issue(fix=1)
        for _ in range(splits):
            full = self.paths == self.shape.config.list_size
            self._issue(split=1, selection=full)
            self.paths = min(2 * self.paths, self.shape.config.list_size)

    def _tail(self, leaf: Leaf) -> None:
        """Stores the last row of all."""
        word = self._word(len(self.frozen), self.shape.row_level, leaf)
        self._issue(level=self.shape.row_level, **word, store=1, last=1)
