"""What becomes of an engine's memories on Xilinx 7: closed forms of what Yosys does."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from .shape import Shape
from .store import BLOCK_DEPTH

_BLOCKS = (512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)
"""Words and bits of a block of 18 Kbit."""
_BLOCK_COST = 129
_TABLES = (32, 6), (64, 3)
"""Words and bits of four look-up tables that store."""
_TABLE_COST = 8


class Kept(NamedTuple):
    """Memories that are alike."""

    copies: int
    width: int
    depth: int
    parts: int = 1
    """That are written each by itself."""


class Place(NamedTuple):
    """Where a memory goes."""

    blocks: int = 0
    """Of 18 Kbit."""
    tables: int = 0
    """Look-up tables that store."""
    banks: int = 1
    """Words that a multiplexer chooses from."""


@lru_cache(1 << 16)
def written(kept: Kept) -> Place:
    """Of a memory that is written: where it costs least, by Yosys' costs of blocks and tables and
    half a bit for a multiplexer's input; a single word is a register."""
    if kept.depth == 1:
        return Place()
    found = []
    for words, bits in _BLOCKS:
        banks, across = -(-kept.depth // words), -(-kept.width // bits)
        found.append((_BLOCK_COST * banks * across, banks, Place(banks * across, 0, banks)))
    for words, bits in _TABLES:  # a table has bits of one part only
        banks, across = -(-kept.depth // words), kept.parts * -(-kept.width // kept.parts // bits)
        found.append((_TABLE_COST * banks * across, banks, Place(0, 4 * banks * across, banks)))
    return min(found, key=lambda each: each[0] + kept.width * (each[1] - 1) / 2)[2]


@lru_cache(1 << 16)
def fixed(kept: Kept) -> Place:
    """Of a memory with fixed contents: blocks or logic, by its depth alone."""
    if kept.depth < BLOCK_DEPTH:
        return Place()
    return Place(blocks=min(-(-kept.depth // d) * -(-kept.width // w) for d, w in _BLOCKS))


def table_words(shape: Shape) -> Kept:
    """Of the tables."""
    c = shape.config
    words = shape.folds * shape.groups * shape.prototypes
    return Kept(c.parallel_codebooks, c.parallel_outputs * c.table_bits, words, shape.parts)


def threshold_words(shape: Shape) -> Iterator[Kept]:
    """Of the trees: one memory a lane, or one for each level."""
    c, lanes = shape.config, shape.config.parallel_codebooks
    if shape.serial:
        yield Kept(lanes, 2 * c.input_bits, shape.groups * shape.pairs)
        return
    yield Kept(lanes, c.input_bits, shape.groups)
    for level in range(1, c.levels):
        yield Kept(lanes, 2 * c.input_bits, shape.groups << level - 1)


def bias_words(shape: Shape) -> Kept:
    """Of the biases."""
    width = shape.config.parallel_outputs * shape.config.bias_bits
    return Kept(1, width, shape.folds, shape.parts)


def waiting_words(shape: Shape) -> Iterator[Kept]:
    """Of codes that wait (:class:`.replay.Replay`), which are written whatever is fixed."""
    if shape.folds > 1:
        width = shape.config.parallel_codebooks * shape.config.levels
        yield Kept(1, width, 2 << (shape.groups - 1).bit_length())


def delays(shape: Shape, in_blocks: bool) -> int:
    """Tables that are shift registers, of three bits or more: inputs that wait for their level
    (:class:`.descent.Pipelined`), and what an adder tree of odd numbers passes on, from the
    registers behind the tables, one fewer where those are ``in_blocks``."""
    c = shape.config
    waiting = 0 if shape.serial else c.parallel_codebooks * c.input_bits * max(c.levels - 3, 0)
    left, bits, run, passed = (
        c.parallel_codebooks,
        c.table_bits,
        shape.buffered + (not in_blocks),
        0,
    )
    for _ in range(shape.depth):
        if left % 2:
            run += 1
        else:
            passed += bits * (run >= 3)
            bits, run = bits + 1, 1
        left -= left // 2
    return waiting + (passed + bits * (run >= 3)) * c.parallel_outputs
