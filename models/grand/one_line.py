"""One-line ORBGRAND: the reliabilities are taken for a line that does not start at zero.

Bits are ranked, and patterns are sets of ranks, as in :mod:`.patterns`, but the line
``L[1] + beta * (r - 1)`` through the least (rank 1) and the middle reliability (rank n/2),
``beta = (L[n/2] - L[1]) / (n/2 - 1)``, gives each flipped bit an offset of its own::

    c      = max(round(L[1] / beta - 1), 0)        (ties upwards; at most LWmax, beyond
                                                     which the order no longer changes)
    weight = LW + c * HW

Patterns are tested by weight, of one weight by HW, and of both in lexicographic order.  With
c = 0 that is ORBGRAND.  A staircase says which patterns, ``max_queries`` how many of them.
"""

import numpy as np
import torch

from ..codes.linear import LinearCode
from .decoder import Grand
from .patterns import Staircase
from .search import NONE, InOrder


class OneLine(Grand):
    """One-line ORBGRAND, a reference without a cycle model: ``costs`` are ``queries`` alone.

    Raises :class:`ValueError` as :class:`.decoder.Grand`, and on ``max_queries`` below 1.
    """

    def __init__(
        self,
        code: LinearCode,
        staircase: Staircase | None = None,
        skip_parity: bool = False,
        device: torch.device | str = "cpu",
        max_queries: int | None = None,
    ) -> None:
        super().__init__(code, staircase, skip_parity, device)
        if max_queries is not None and max_queries < 1:
            raise ValueError(f"max_queries = {max_queries} leaves not even the hard decision")
        self.max_queries = max_queries
        del self._costs["cycles"], self.worst["cycles"]
        self.worst["queries"] = min(self.worst["queries"], max_queries or self.worst["queries"])

    def __str__(self) -> str:
        most = f" up to {self.max_queries} queries" if self.max_queries else ""
        return f"one-line {super().__str__()}{most}"

    def order(self, offset: int, parity: int | None = None) -> np.ndarray:
        """int64: rows of :attr:`patterns`, in the order tested at offset c = ``offset``."""
        rows = np.flatnonzero(self.patterns.tested(parity))
        hw = self.patterns.hw[rows].astype(np.int64)
        weight = self.patterns.lw[rows] + offset * hw
        return rows[np.lexsort((hw, weight))][: self.max_queries]

    def _prepare(self) -> None:
        """Nothing: the order depends on the word."""

    def _match(
        self,
        reliability: torch.Tensor,
        order: torch.Tensor,
        target: torch.Tensor,
        odd: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        table, offsets = self._by_rank(order), self._offsets(reliability)
        rows = torch.full_like(target, NONE, dtype=torch.int64)
        queries = torch.zeros_like(rows)
        for key in torch.unique(2 * offsets + odd).tolist():
            at = torch.nonzero(2 * offsets + odd == key).squeeze(1)
            sequence = self.order(key // 2, key % 2 if self.skip_parity else None)
            found = InOrder(self.patterns.ranks[sequence], self.device)(table[:, at], target[at])
            queries[at] = torch.where(found == NONE, len(sequence), found + 1)
            rows[at] = torch.where(found == NONE, NONE, self._put(sequence)[found])
        return rows, {"queries": queries}

    def _offsets(self, reliability: torch.Tensor) -> torch.Tensor:
        """int64 [words]: c."""
        least, middle = reliability[:, 0].double(), reliability[:, self.code.n // 2 - 1].double()
        beta = (middle - least) / max(self.code.n // 2 - 1, 1)
        offset = torch.floor(torch.where(least > 0, least / beta, 0.0) - 0.5)
        return offset.clamp(0, self.staircase.lw_max).long()
