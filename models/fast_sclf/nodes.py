"""The leaves at which fast successive-cancellation decoding stops, and what each costs.

A node of the decoding tree covers 2**level bits of u.  Four patterns of frozen bits have a
decoder of their own (Hashemi, Condo, Gross 2017), so that the tree is never walked below them:

========== =========================================== ===================================
``rate-0`` all bits frozen                             its word is 0
``rate-1`` none frozen                                 any word
``rep``    only the last bit not frozen                all bits of its word equal
``spc``    only the first bit frozen                   an even number of ones
========== =========================================== ===================================

A single bit is a leaf of rate 0 or 1; plain SC and SCL stop at these alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["rate-0", "rate-1", "rep", "spc"]


@dataclass(frozen=True)
class Leaf:
    """A node at which decoding stops: bits ``offset`` to ``offset + 2**level - 1`` of u."""

    kind: Kind
    offset: int
    level: int

    @property
    def size(self) -> int:
        """Bits of it."""
        return 1 << self.level

    @property
    def joins(self) -> int | None:
        """The level of the node that begins here and is a right child; None: the first leaf.

        Its LLRs come by g, all below it by f.
        """
        return (self.offset & -self.offset).bit_length() - 1 if self.offset else None

    def splits(self, lists: int) -> int:
        """Path splits of a decoder with ``lists`` paths.

        Of a rate-1 node only the ``lists - 1`` least reliable bits can be wrong in a path that
        survives, and as many beside the least reliable one where parity ties two together.
        A single path splits once, for the sake of flips alone.
        """
        if self.kind == "rate-0":
            return 0
        if self.kind == "rep":
            return 1
        return min(max(lists - 1, 1), self.size - (self.kind == "spc"))

    def steps(self, lists: int) -> int:
        """Time steps that the literature counts: a split each, and one for an SPC's parity."""
        return 0 if lists == 1 else self.splits(lists) + (self.kind == "spc")


def leaves(frozen: np.ndarray, largest: int | None = None) -> list[Leaf]:
    """The leaves of a code with these ``frozen`` bits [n], in order.

    ``largest``, a power of two, bounds their bits; 1 gives the leaves of plain SC and SCL.
    Raises :class:`ValueError` where it is none.
    """
    if largest is not None and (largest < 1 or largest & largest - 1):
        raise ValueError(f"a largest leaf of {largest} bits is not a power of two")
    found: list[Leaf] = []

    def walk(offset: int, level: int) -> None:
        size = 1 << level
        kind = _kind(frozen[offset : offset + size])
        if kind and size <= (largest or len(frozen)):
            found.append(Leaf(kind, offset, level))
        else:
            walk(offset, level - 1)
            walk(offset + size // 2, level - 1)

    walk(0, len(frozen).bit_length() - 1)
    return found


def steps(found: Sequence[Leaf], lists: int, pes: int | None = None) -> int:
    """Time steps of one decoding by the literature's model.

    A node's f or g takes a step for every ``pes`` LLRs (one in all where there are any number of
    processing elements), a leaf what :meth:`Leaf.steps` says; nothing else takes time.
    """
    level = (found[-1].offset + found[-1].size).bit_length() - 1
    total = 0
    for leaf in found:
        top = level if leaf.joins is None else leaf.joins + 1
        rows = [max(1, (1 << at) // pes) if pes else 1 for at in range(leaf.level, top)]
        total += sum(rows) + leaf.steps(lists)
    return total


def _kind(frozen: np.ndarray) -> Kind | None:
    if frozen.all():
        return "rate-0"
    if not frozen.any():
        return "rate-1"
    if frozen[:-1].all():
        return "rep"
    if frozen[0] and not frozen[1:].any():
        return "spc"
    return None
