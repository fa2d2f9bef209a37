"""Sequences of addresses as the loops of patterns."""

import numpy as np

from .program import COUNT_BITS, LOOPS, Pattern

Loops = tuple[tuple[int, int], ...]

_MOST = (1 << COUNT_BITS) - 1


def pieces(addresses: np.ndarray, loops: int = LOOPS) -> list[tuple[int, Loops]]:
    """``addresses`` (one after the other) as few pieces of nested ``loops``: first address and
    (count, stride) pairs, outermost first.  An innermost run is as long as can be, then as many
    repetitions of it at one distance, and so on."""
    found = []
    rest = np.asarray(addresses, np.int64).reshape(-1)
    while len(rest):
        size, nest = 1, []
        for _ in range(loops):
            count = _repetitions(rest, size)
            if count > 1:
                nest.insert(0, (count, int(rest[size] - rest[0])))
                size *= count
        found.append((int(rest[0]), tuple(nest) or ((1, 0),)))
        rest = rest[size:]
    return found


def patterns(addresses: np.ndarray) -> list[Pattern]:
    """The same as patterns."""
    return [Pattern(start, loops) for start, loops in pieces(addresses)]


def count(loops: Loops) -> int:
    """Addresses of a nest."""
    return int(np.prod([count for count, _ in loops]))


def _repetitions(addresses: np.ndarray, size: int) -> int:
    """How often the first ``size`` addresses come in a row, each time equally far on."""
    whole = addresses[: len(addresses) // size * size].reshape(-1, size)
    if len(whole) < 2:
        return 1
    stride = whole[1, 0] - whole[0, 0]
    expected = whole[0] + stride * np.arange(len(whole))[:, None]
    wrong = np.flatnonzero((whole != expected).any(1))
    return min(int(wrong[0]) if len(wrong) else len(whole), _MOST)
