"""How long an engine takes, cycle for cycle, without simulating it.

Words pass a chain of queues in order, so every event comes one cycle after the latest of the few
that it waits for; :func:`timing` follows these (max, +) recurrences word by word.  What a
suspect takes in its core depends on its test, the q-th in the order of the tests (from 0),
and on when its ranks come: rank w, taken in cycle d[w], is waited for by the first test of
logistic weight w, which is test s[w]::

    test q begins in    q + max over w <= LW(q) of (d[w] + READ - s[w])
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from ...models.codes.channel import hard, magnitude
from ...models.grand.config import GrandConfig
from ...models.grand.patterns import Parity, Patterns, Staircase
from .core import KNOWN, OUT, READ
from .emitter import WORDS
from .front import QUEUED, STRAIGHT, WORD
from .ranker import emission

if TYPE_CHECKING:
    from ...models.grand.decoder import Decoded


@dataclass(frozen=True)
class Schedule:
    """The tests of one parity on an engine: when each comes."""

    starts: np.ndarray
    """int64 [LW]: the first test of each logistic weight from 1 upwards."""
    tests: np.ndarray
    """int64 [patterns]: the test of each pattern; the last entry, -1, is the last test there is."""


@lru_cache(maxsize=32)
def schedule(staircase: Staircase, n: int, parity: Parity) -> Schedule:
    """The tests of an engine with ``staircase``, and where patterns of a code of n bits come.

    An engine keeps the tests of its longest code; patterns are those of
    ``Patterns(staircase.shortened(n))``.
    """
    patterns = Patterns(staircase)
    heads = patterns.heads[(patterns.tested(parity) & (patterns.hw > 3))[patterns.heads]]
    weights = staircase.dial_cycles(parity)
    each = 1 + np.bincount(patterns.lw[heads], minlength=weights + 1)[1:]
    tests = patterns.cycles(parity)[patterns.ranks.max(1) <= n].astype(np.int64) - 2
    return Schedule(np.cumsum(each) - each, np.append(tests, each.sum() - 1))


@dataclass
class Timing:
    """Predicted counts of a run in which no port stalls."""

    cycles: int
    """From the first transfer on ``llr`` to the last on ``word``, both included."""
    ideal: int
    """Beats, or tests shared by the cores, whichever are more."""
    suspects: int
    tests: int
    ends: np.ndarray
    """int64 [words]: the cycle of each word's last beat, that of the first LLR beat being 0."""


def timing(
    config: GrandConfig, received: np.ndarray, decoded: "Decoded", skip_parity: bool
) -> Timing:
    """Timing of the run that decodes ``received`` LLRs [words, n], from the first beat on."""
    beats = config.beats_of(received.shape[1])
    at = np.flatnonzero(decoded.rows != 0)
    searches = _searches(config, received[at], decoded.rows[at], skip_parity)
    changed = (decoded.words[at] != hard(received[at])).astype(np.int64)
    rows = np.pad(changed, ((0, 0), (0, beats * config.lanes - changed.shape[1])))
    flips = rows.reshape(len(at), beats, config.lanes).sum(2)
    ends = _ends(config, decoded.rows != 0, searches, flips)
    tests = int(searches.tests.sum())
    ideal = max(len(received) * beats, -(-tests // config.cores))
    return Timing(int(ends[-1]) + 1 if len(ends) else 0, ideal, len(at), tests, ends)


@dataclass(frozen=True)
class _Searches:
    """What is known of suspects before it is known when they come; int64 [suspects] each."""

    first: np.ndarray
    """When the first rank is there, in cycles after the last row was loaded."""
    gap: np.ndarray
    """How much later than that it can be taken without delaying the second."""
    early: np.ndarray
    """When the test that ends it begins, after the first rank was taken, at the earliest."""
    later: np.ndarray
    """The same, after the last row was loaded, where no rank is late."""
    tests: np.ndarray
    """Tests until then, this one included."""


def _searches(
    config: GrandConfig, received: np.ndarray, rows: np.ndarray, skip_parity: bool
) -> _Searches:
    words, n = received.shape
    reach = config.staircase.lw_max
    there = emission(np.sort(magnitude(received), axis=1)[:, :reach])
    void = there[:, -1:] + np.arange(1, reach - there.shape[1] + 1)  # ranks beyond n
    there = np.concatenate([there, void], axis=1)
    test, later = np.zeros(words, np.int64), np.zeros(words, np.int64)
    odd_words = hard(received).sum(1) % 2
    for odd in (0, 1) if skip_parity else (None,):
        chosen = np.flatnonzero(odd_words == odd) if skip_parity else np.arange(words)
        plan = schedule(config.staircase, n, odd)
        q = test[chosen] = plan.tests[rows[chosen]]
        lw = np.searchsorted(plan.starts, q, side="right")
        waits = there[chosen, : len(plan.starts)] + READ - plan.starts
        waits[:, 0] = np.iinfo(np.int32).min  # `early`
        latest = np.maximum.accumulate(waits, axis=1)
        later[chosen] = latest[np.arange(len(q)), lw - 1] + q
    gap = np.maximum(there[:, 1] - there[:, 0] - 1, 0)
    return _Searches(there[:, 0], gap, READ + test, later, test + 1)


def busy(
    config: GrandConfig, received: np.ndarray, decoded: "Decoded", skip_parity: bool
) -> np.ndarray:
    """int64 [words]: cycles from the first rank of each word to that of the next, at the most.

    0 for words whose hard decision is right.  A word whose first rank has to wait may take less,
    as later ranks get ready meanwhile.
    """
    at = np.flatnonzero(decoded.rows != 0)
    s = _searches(config, received[at], decoded.rows[at], skip_parity)
    taken = np.zeros(len(received), np.int64)
    taken[at] = np.maximum(s.early, s.later - s.first) + KNOWN + 1
    return taken


class _Core:
    """The searches of one core: when each ended, and when its last flip was looked up."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.looked_up: list[int] = []
        self.sent = -1

    def free(self) -> int:
        """When a row can be loaded: one ranker is searched, the other one's search is over."""
        return self.ends[-2] + 1 if len(self.ends) > 1 else 0

    def search(self, loaded: int, first: int, gap: int, early: int, later: int) -> int:
        """When the first flip of a word is offered whose last row was ``loaded`` then."""
        there = taken = loaded + first
        if self.ends:
            taken = max(taken, self.ends[-1] + 1)
        if len(self.ends) >= WORDS:
            taken = max(taken, self.looked_up[-WORDS] + 1)
        test = max(taken + early, loaded + later + max(taken - there - gap, 0))
        self.ends.append(test + KNOWN)
        return max(test + KNOWN + OUT, self.sent + 1)

    def flipped(self, offered: int, last: int, count: int) -> None:
        """``count`` flips went in a row, the first one ``offered`` and the last one gone then."""
        # A flip is looked up in the cycle in which the one before goes.
        self.looked_up.append(last - 1 if count > 1 else offered - 1)
        self.sent = last


def _ends(
    config: GrandConfig, fails: np.ndarray, searches: _Searches, flips: np.ndarray
) -> np.ndarray:
    """int64 [words]: the cycle of each word's last beat on ``word``.

    ``fails`` [words]: which words are suspects; ``flips`` [suspects, beats]: those of each row.
    """
    beats = flips.shape[1]
    known = zip(*(values.tolist() for values in vars(searches).values()), strict=True)
    suspects = zip(known, flips.tolist(), strict=True)
    cores = cycle(_Core() for _ in range(config.cores))
    left: list[int] = []  # of each word: when its last row left the front end
    ends: list[int] = []
    # The latest LLR beat, row that left the front end, suspect's row that did, flip, flip that
    # was put in its row's place, and step of the back end.
    came = row = suspect = flip = placed = step = -1
    for word, failed in enumerate(fails.tolist()):
        if word >= config.window:
            came = max(came, left[word - config.window])
        came += beats
        row = max(row + 1, came + WORD)
        if not failed:
            for _ in range(beats):
                row = max(row, step)
                step = row = row + 1
            row -= 1
        else:
            (first, gap, early, later, _), flipped = next(suspects)
            core = next(cores)
            straight = suspect < came + STRAIGHT
            there = came + STRAIGHT if straight else max(came + QUEUED, suspect + 1)
            suspect = max(there, core.free()) + beats - 1
            offered = core.search(suspect, first, gap, early, later)
            count = max(sum(flipped), 1)
            if config.beats > 1:  # first all flips are gathered, then they go to their rows
                flip = placed = max(offered, placed + 1) + count - 1
            for here in flipped:
                row = max(row, step)
                if config.beats > 1:
                    placed = max(placed + 1, row) + max(here, 1) - 1
                else:
                    placed = flip = max(row, offered) + count - 1
                step = placed + 1
                row += 1
            row -= 1
            core.flipped(offered, flip, count)
        left.append(row)
        ends.append(step + 1)
    return np.array(ends, np.int64)
