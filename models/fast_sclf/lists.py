"""Successive-cancellation list decoding, leaf by leaf, of many frames at a time.

The decoder of an engine bit for bit (:class:`.formats.Formats`), and in floating point the SC,
SCL and fast SCL decoders of the literature (Tal and Vardy 2015; Hashemi, Condo, Gross 2017;
min-sum).  LLRs follow ln p(0) / p(1).

A *path* has a metric, the sum of the magnitudes of LLRs that it decided against.  Paths stand
in slots, after every split in ascending order of their metrics; equal ones in the order of the
candidates: those that keep a bit's hard decision by their slots, then those that flip it.

Each split that has twice as many candidates as there are slots is a *selection*; they are
counted from 0.  Where a frame is told to *flip* a selection it keeps the worse half instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from .formats import Formats
from .nodes import Leaf

Selected = Callable[[torch.Tensor, torch.Tensor], None]
"""Told of every selection: the sorted metrics of its candidates [frames, 2 * lists], and what
was subtracted from all metrics before [frames]."""


@dataclass
class Paths:
    """What a decoding ends with, slot by slot."""

    signs: torch.Tensor
    """[frames, slots, n]: the words, -1 for a bit of 1."""
    metrics: torch.Tensor
    """[frames, slots], without what was subtracted from all."""
    offset: torch.Tensor
    """[frames]: what was subtracted."""


class ListDecoder:
    """Decodes frames of one code with ``lists`` paths.

    ``leaves`` are those of :func:`.nodes.leaves`: with single bits it is plain SCL, and SC with
    one path.
    """

    def __init__(self, leaves: Sequence[Leaf], lists: int, formats: Formats | None = None):
        if lists < 1 or lists & lists - 1:
            raise ValueError(f"a list of {lists} paths is not a power of two of at least 1")
        self.leaves, self.lists, self.formats = list(leaves), lists, formats or Formats()
        last = self.leaves[-1]
        self.levels = (last.offset + last.size).bit_length() - 1
        splits = sum(leaf.splits(lists) for leaf in self.leaves)
        self.selections = max(splits - (lists.bit_length() - 1), 0)
        """Selections of a decoding."""

    def __call__(
        self,
        llrs: torch.Tensor,
        flips: torch.Tensor | None = None,
        selected: Selected | None = None,
    ) -> Paths:
        """Decodes ``llrs`` [frames, n].

        ``flips`` [frames]: the selection of each to be flipped, -1 for none.
        """
        run = _Run(self.formats, self.lists, llrs.to(self.formats.dtype), flips, selected)
        word = run.metrics  # of the node that ends with the last leaf; none yet
        level = self.levels
        for leaf in self.leaves:
            if leaf.joins is not None:
                word, level = run.ascend(word, level, leaf.joins), leaf.joins
                run.g(level, word)
            for below in range(level - 1, leaf.level - 1, -1):
                run.f(below)
            level = leaf.level
            word = run.decode(leaf)
        word = run.ascend(word, level, self.levels)
        return Paths(word, run.metrics, run.offset)


@dataclass
class _Run:
    """One decoding under way.  Tensors are [frames, slots in use, ...]."""

    formats: Formats
    lists: int
    channel: torch.Tensor
    flips: torch.Tensor | None
    selected: Selected | None
    selection: int = 0
    metrics: torch.Tensor = field(init=False)
    low: torch.Tensor = field(init=False)
    offset: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.levels = self.channel.shape[1].bit_length() - 1
        self.metrics = self.channel.new_zeros(len(self.channel), 1)
        self.low, self.offset = self.metrics[:, 0], self.metrics[:, 0]
        # By level: LLRs, and the words of left children, each in the slot that wrote it; and the
        # slots in which those of each path lie now, None while in its own.
        self.llrs: dict[int, torch.Tensor] = {self.levels: self.channel[:, None]}
        self.left: dict[int, torch.Tensor] = {}
        self.where: dict[int, torch.Tensor | None] = {self.levels: self._zeros()}

    @property
    def slots(self) -> int:
        return self.metrics.shape[1]

    def f(self, level: int) -> None:
        """The LLRs of the left child at ``level``."""
        self._write(level, self.formats.f(*self._read(self.llrs, level + 1).chunk(2, 2)))

    def g(self, level: int, word: torch.Tensor) -> None:
        """The LLRs of the right child at ``level``, the left one decoded as ``word``."""
        a, b = self._read(self.llrs, level + 1).chunk(2, 2)
        self._write(level, self.formats.g(a, b, word))
        self.left[level] = word

    def ascend(self, word: torch.Tensor, level: int, top: int) -> torch.Tensor:
        """The word of the node at level ``top`` that ends where ``word``, of ``level``, does."""
        for at in range(level, top):
            word = torch.cat([self._read(self.left, at) * word, word], 2)
        return word

    def decode(self, leaf: Leaf) -> torch.Tensor:
        """The word of a leaf, as signs."""
        f, llrs = self.formats, self.llrs[leaf.level]
        if llrs.shape[1] < self.slots:  # the whole code is one leaf
            llrs = llrs.expand(-1, self.slots, -1)
        if f.metric is not None:
            self.metrics = self.metrics - self.low[:, None]
            self.offset = (self.offset + self.low).clamp_(max=f.offset)
            self.low = torch.zeros_like(self.low)
        if leaf.kind == "rate-0":
            self.metrics = f.add(self.metrics, (-llrs).clamp(min=0).sum(2))
            return torch.ones_like(llrs)
        splits = leaf.splits(self.lists)
        if leaf.kind == "rep":
            return self._repetition(llrs)
        hard = torch.ones_like(llrs).copysign_(llrs)
        magnitude, lane = _least(llrs.abs(), splits + (leaf.kind == "spc"), f)
        if leaf.kind == "rate-1":
            flipped, root = self._splits(self.metrics, magnitude)
            return self._flip(hard, lane, flipped, root)
        odd = hard.prod(2) < 0
        least = magnitude[..., 0]
        kept = f.add(self.metrics, torch.where(odd, least, 0))
        other = f.add(self.metrics, torch.where(odd, 0, least))
        self.metrics = kept
        flipped, root = self._splits(other, magnitude[..., 1:])
        # The least reliable bit makes the number of ones even.
        parity = torch.where(_slots(odd[..., None], root), -1, 1).to(flipped.dtype)
        first = parity * flipped.prod(2, keepdim=True)
        return self._flip(hard, lane, torch.cat([first, flipped], 2), root)

    def _repetition(self, llrs: torch.Tensor) -> torch.Tensor:
        against = self.formats.add(self.metrics, llrs.clamp(min=0).sum(2))
        self.metrics = self.formats.add(self.metrics, (-llrs).clamp(min=0).sum(2))
        flipped, _ = self._splits(against, torch.zeros_like(against)[..., None])
        return flipped.expand(-1, -1, llrs.shape[2])

    def _splits(
        self, other: torch.Tensor, magnitudes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Splits on bits of these ``magnitudes`` [frames, slots, splits], one after the other.

        A path's metric is that of an even or of an odd number of flips; ``other`` is what the
        next flip starts from.  Returns the flips of every path, -1 where flipped, and the
        slot in which each began.
        """
        count = magnitudes.shape[2]
        root = torch.arange(self.slots, device=other.device).expand(len(other), -1)
        flipped = other.new_ones(len(other), self.slots, count)
        for step in range(count):
            x = _slots(magnitudes[..., step : step + 1], root)[..., 0]
            keep, flip = self.metrics, self.formats.add(other, x)
            keys, order = torch.cat([keep, flip], 1).sort(dim=1, stable=True)
            others = torch.cat([other, self.formats.add(keep, x)], 1)
            chosen = slice(0, 2 * self.slots)
            if self.slots == self.lists:
                keys, order = self._select(keys, order)
                chosen = slice(0, self.lists)
            slots = self.slots
            order = order[:, chosen]
            parent = torch.where(order < slots, order, order - slots)
            self.metrics, other = keys[:, chosen], others.gather(1, order)
            self.low = self.metrics[:, 0]
            root = root.gather(1, parent)
            flipped = _slots(flipped, parent)
            flipped[..., step] = torch.where(order < slots, 1, -1).to(flipped.dtype)
            self._follow(parent)
        return flipped, root

    def _select(self, keys: torch.Tensor, order: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The candidates with the worse half first where this selection is to be flipped."""
        if self.selected:
            self.selected(keys, self.offset)
        if self.flips is not None:
            worst = (self.flips == self.selection)[:, None]
            keys = torch.where(worst, keys.roll(self.lists, 1), keys)
            order = torch.where(worst, order.roll(self.lists, 1), order)
        self.selection += 1
        return keys, order

    def _follow(self, parent: torch.Tensor) -> None:
        for level, where in self.where.items():
            self.where[level] = parent if where is None else where.gather(1, parent)

    def _flip(
        self, hard: torch.Tensor, lane: torch.Tensor, flipped: torch.Tensor, root: torch.Tensor
    ) -> torch.Tensor:
        """The words with the bits of each root's ``lane`` multiplied by ``flipped``."""
        word, lane = _slots(hard, root), _slots(lane, root)
        return word.scatter(2, lane, word.gather(2, lane) * flipped)

    def _read(self, store: dict[int, torch.Tensor], level: int) -> torch.Tensor:
        where = self.where[level]
        return store[level] if where is None else _slots(store[level], where)

    def _write(self, level: int, llrs: torch.Tensor) -> None:
        self.llrs[level], self.where[level] = llrs, None

    def _zeros(self) -> torch.Tensor:
        return torch.zeros(len(self.channel), 1, dtype=torch.int64, device=self.channel.device)


def _slots(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """[frames, slots, ...]: ``values`` [frames, slots before, ...] of slots ``where``."""
    frames, slots = values.shape[:2]
    row = torch.arange(frames, device=where.device)[:, None] * slots + where
    picked = values.reshape(frames * slots, -1).index_select(0, row.reshape(-1))
    return picked.reshape(*where.shape, values.shape[2])


def _least(
    magnitudes: torch.Tensor, count: int, formats: Formats
) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``count`` least of each row, ascending, and their lanes; of equals the lower lane."""
    if formats.llr is None:
        values, lanes = magnitudes.topk(count, 2, largest=False)
        return values, lanes
    lanes = magnitudes.shape[2]
    keys = magnitudes.to(torch.int32) * lanes
    keys += torch.arange(lanes, dtype=torch.int32, device=keys.device)
    keys = keys.topk(count, 2, largest=False).values.long()
    return (keys // lanes).to(magnitudes.dtype), keys % lanes
