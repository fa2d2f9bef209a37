"""ORBGRAND, step-GRAND and one-line ORBGRAND: the golden decoders, of many words at once.

1. The hard decision (:func:`..codes.channel.hard`) is tested: query 1, cycle 1.
2. Its bits are ranked by :func:`..codes.channel.magnitude`, the smallest first; of equal ones
   the lower index comes first.
3. Patterns are tested in the order of :mod:`.patterns`.  The first whose columns of H XOR to
   the syndrome of the hard decision is flipped; the word is then a word of the code, though
   it may be the wrong one.
4. Where none matches the word is abandoned: the hard decision is handed back, and the costs
   are the worst ones.

Received values may be floats, which count in single precision, or integers (quantised LLRs:
:class:`..codes.channel.Quantiser`).  Results depend neither on the device nor on which words
are decoded together.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..codes.channel import hard, magnitude
from ..codes.linear import LinearCode
from ..threads import one_thread
from .patterns import PARITIES, STEP_GRAND, STEP_GRAND_ANY, Patterns, Staircase
from .search import NONE, Staged


@dataclass(frozen=True, eq=False)
class Decoded:
    """What became of received words."""

    words: np.ndarray
    """uint8 [frames, n]: words of the code, or the hard decision where abandoned."""
    found: np.ndarray
    """bool [frames]: whether a pattern matched."""
    rows: np.ndarray
    """int64 [frames]: the pattern's row in :class:`.patterns.Patterns`; -1 where abandoned."""
    costs: dict[str, np.ndarray]
    """int64 [frames] each: ``queries`` and ``cycles`` (from 1) up to the match or the end."""


class Grand:
    """ORBGRAND or, with a :class:`.patterns.Staircase` of unequal limits, step-GRAND.

    ``skip_parity`` leaves out the patterns and cycles that a word's parity rules out.
    Raises :class:`ValueError` where the code has words of odd weight then, where staircase
    and code differ in length, and over 64 checks.
    """

    def __init__(
        self,
        code: LinearCode,
        staircase: Staircase | None = None,
        skip_parity: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.code, self.skip_parity = code, skip_parity
        self.staircase = staircase or Staircase.orbgrand(code.n)
        self.device = torch.device(device)
        if self.staircase.n != code.n:
            raise ValueError(
                f"a staircase for {self.staircase.n} ranks does not fit words of {code.n} bits"
            )
        if code.checks > 64:
            raise ValueError(f"n - k = {code.checks} checks are more than 64")
        if skip_parity and not code.even_weight:
            raise ValueError(
                f"{code.name} has words of odd weight, so that no pattern can be skipped by "
                "parity; extend it by a parity bit, or do without skip_parity"
            )
        self.patterns = Patterns(self.staircase)
        self._parities = PARITIES[1:] if skip_parity else PARITIES[:1]
        # An abandoned word finds its costs at index -1.
        self._costs = {
            "queries": self._table(Patterns.queries, Staircase.worst_queries),
            "cycles": self._table(Patterns.cycles, Staircase.worst_cycles),
        }
        self.worst = {name: int(table[:, -1].max()) for name, table in self._costs.items()}
        """Of each cost, the most that a word can take: that of an abandoned one."""
        # Syndromes as integers: 32 bits, sign included, halve the work of the search.
        dtype = np.int32 if code.checks <= 31 else np.int64
        self._columns = self._put(np.append(code.columns, 0).astype(dtype))
        self._checks = self._put(code.H.T.astype(np.float32))
        self._ranks = self._put(self.patterns.ranks)
        self._search = self._prepare()

    def _table(self, of_patterns, worst) -> torch.Tensor:
        rows = [
            np.append(of_patterns(self.patterns, parity), worst(self.staircase, parity))
            for parity in self._parities
        ]
        return self._put(np.stack(rows).astype(np.int64))

    def _prepare(self) -> Staged | None:
        return Staged(self.patterns, self.device)

    def __str__(self) -> str:
        return f"GRAND {self.staircase}{' by parity' if self.skip_parity else ''}"

    def __call__(self, received: np.ndarray) -> Decoded:
        """Decodes ``received`` [frames, n]; raises :class:`ValueError` on its shape and on NaN."""
        with one_thread():
            return self._decode(received)

    def _decode(self, received: np.ndarray) -> Decoded:
        received = np.asarray(received)
        if received.ndim != 2 or received.shape[1] != self.code.n:
            raise ValueError(f"received is of shape {received.shape}, not [frames, {self.code.n}]")
        if received.dtype.kind == "f" and np.isnan(received).any():
            raise ValueError("received holds NaN, which has no sign and no reliability")
        words = hard(received)
        bits = self._put(words)
        # Sums of up to n ones are exact in single precision.
        failed = ((bits.float() @ self._checks).long() & 1).any(1)
        at = torch.nonzero(failed).squeeze(1)
        rows = torch.zeros(len(words), dtype=torch.int64, device=self.device)
        odd = bits.sum(1) & 1 if self.skip_parity else torch.zeros_like(rows)
        costs = {name: torch.ones_like(rows) for name in self._costs}
        if len(at):
            chosen = at.cpu().numpy()
            reliability, order = self._sort(magnitude(received[chosen]))
            target = self._syndromes(bits[at])
            rows[at], found = self._match(reliability, order, target, odd[at])
            for name, cost in found.items():
                costs[name][at] = cost
            ranks = self._ranks[rows[at].clamp(min=0)].long()
            position = torch.cat([torch.full_like(order[:, :1], self.code.n), order], 1)
            flips = torch.zeros(len(at), self.code.n + 1, dtype=torch.uint8, device=self.device)
            flips.scatter_(1, position.gather(1, ranks), 1)
            words[chosen] ^= flips[:, :-1].cpu().numpy()
        return Decoded(
            words,
            (rows != NONE).cpu().numpy(),
            rows.cpu().numpy(),
            {name: cost.cpu().numpy() for name, cost in costs.items()},
        )

    def _match(
        self,
        reliability: torch.Tensor,
        order: torch.Tensor,
        target: torch.Tensor,
        odd: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The matching rows and their costs, from what :meth:`_sort` gave."""
        assert self._search is not None
        rows = self._search(self._by_rank(order), target)
        return rows, {name: table[odd, rows] for name, table in self._costs.items()}

    def _by_rank(self, order: torch.Tensor) -> torch.Tensor:
        """[n + 1, words]: the column of H at each rank."""
        table = self._columns[order].T
        return torch.cat([torch.zeros_like(table[:1]), table])

    def _syndromes(self, bits: torch.Tensor) -> torch.Tensor:
        checks = (bits.float() @ self._checks).long() & 1
        shifts = torch.arange(self.code.checks, device=self.device)
        return (checks << shifts).sum(1).to(self._columns.dtype)

    def _sort(self, reliability: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Ascending reliabilities, and the index of each; both [words, n]."""
        floats = reliability.dtype.kind == "f"
        if floats:  # as integers, the bits of floats that are not negative have the same order
            reliability = reliability.astype(np.float32).view(np.int32)
        bits = self.code.n.bit_length()
        keys = reliability.astype(np.int64) << bits | np.arange(self.code.n)
        if self.device.type == "cpu":  # NumPy sorts rows several times faster
            sorted_ = torch.from_numpy(np.sort(keys, axis=1))
        else:
            sorted_ = torch.sort(self._put(keys), dim=1).values
        least = sorted_ >> bits
        return (
            least.to(torch.int32).view(torch.float32) if floats else least,
            sorted_ & (1 << bits) - 1,
        )

    def _put(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)


def step_grand(
    code: LinearCode, staircase: Staircase | None = None, device: torch.device | str = "cpu"
) -> Grand:
    """step-GRAND, by parity where the code allows; with our own limits unless others are given.

    The published set of limits was not available to us; these were searched for, with the
    cycle model of :mod:`.patterns`, for codes of 128 bits.  :mod:`.limits` finds others.
    """
    if staircase is None:
        staircase = (STEP_GRAND if code.even_weight else STEP_GRAND_ANY).shortened(code.n)
    return Grand(code, staircase, code.even_weight, device)
