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


class Place(NamedTuple):
    """Where a memory goes."""

    blocks: int = 0
    """Of 18 Kbit."""
    tables: int = 0
    """Look-up tables that store."""
    banks: int = 1
    """Words that a multiplexer chooses from."""


@lru_cache(1 << 16)
def written(width: int, depth: int) -> Place:
    """Of a memory that is written: where it costs least, by Yosys' costs of blocks and tables and
    half a bit for a multiplexer's input; a single word is a register."""
    if depth == 1:
        return Place()
    found = []
    for cost, shapes in ((_BLOCK_COST, _BLOCKS), (_TABLE_COST, _TABLES)):
        for words, bits in shapes:
            banks, across = -(-depth // words), -(-width // bits)
            found.append((cost * banks * across + width * (banks - 1) / 2, cost, banks, across))
    _, cost, banks, across = min(found)
    if cost == _BLOCK_COST:
        return Place(blocks=banks * across, banks=banks)
    return Place(tables=4 * banks * across, banks=banks)


@lru_cache(1 << 16)
def fixed(width: int, depth: int) -> Place:
    """Of a memory with fixed contents: blocks or logic, by its depth alone."""
    if depth < BLOCK_DEPTH:
        return Place()
    return Place(blocks=min(-(-depth // d) * -(-width // w) for d, w in _BLOCKS))


def table_words(shape: Shape) -> Kept:
    """Of the tables."""
    c = shape.config
    words = shape.folds * shape.groups * shape.prototypes
    return Kept(c.parallel_codebooks, c.parallel_outputs * c.table_bits, words)


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
    return Kept(1, shape.config.parallel_outputs * shape.config.bias_bits, shape.folds)


def waiting_words(shape: Shape) -> Iterator[Kept]:
    """Of codes that wait (:class:`.replay.Replay`), which are written whatever is fixed."""
    if shape.folds > 1:
        width = shape.config.parallel_codebooks * shape.config.levels
        yield Kept(1, width, 2 << (shape.groups - 1).bit_length())
