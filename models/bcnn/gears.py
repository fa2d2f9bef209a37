"""Gears between stages: P channels at once become S at once, in cycles that are known.

With M the least common multiple of P and S, beats of P are collected until there are M channels,
which are then given S at a time, the first ones first.  Where M is S, a word leaves with the last
of its beats.  Otherwise it waits in a queue, at least for a cycle, and while words before it leave.
"""

from math import lcm

import numpy as np


def collected(outputs: int, channels: int) -> int:
    """Channels that are collected, M."""
    return lcm(outputs, channels)


def times(
    beat_cycles: np.ndarray, *, outputs: int, channels: int, pixel_channels: int
) -> np.ndarray:
    """The cycles in which words leave, of those in which beats come, ascending.

    Raises :class:`ValueError` where ``outputs`` or ``channels`` do not divide ``pixel_channels``,
    and where beats do not fill the last word.
    """
    come, parts = _collect(beat_cycles, outputs, channels, pixel_channels)
    if parts == 1:
        return come
    return (_begins(come, parts)[:, None] + np.arange(parts)).ravel()


def depth(beat_cycles: np.ndarray, *, outputs: int, channels: int, pixel_channels: int) -> int:
    """How many times M channels wait in the queue, at most; 0 where there is none.

    Raises as :func:`times`.
    """
    come, parts = _collect(beat_cycles, outputs, channels, pixel_channels)
    if parts == 1 or not len(come):
        return 0
    leave = _begins(come, parts) + parts - 1
    if (leave[:-1] <= come[1:]).all():
        return 1
    # Deeper queues do not take a payload in the cycle in which a place becomes free.
    before = np.arange(len(come)) - np.searchsorted(leave, come)
    return int(before.max()) + 1


def _collect(
    beats: np.ndarray, outputs: int, channels: int, pixel_channels: int
) -> tuple[np.ndarray, int]:
    """When M channels are there, and how many words they are."""
    if pixel_channels % outputs or pixel_channels % channels:
        raise ValueError(
            f"{outputs} channels at once, or {channels}, do not divide a pixel of {pixel_channels}"
        )
    whole = collected(outputs, channels)
    if len(beats) % (whole // outputs):
        raise ValueError(f"{len(beats)} beats of {outputs} channels do not fill words of {whole}")
    return np.asarray(beats)[whole // outputs - 1 :: whole // outputs], whole // channels


def _begins(come: np.ndarray, parts: int) -> np.ndarray:
    """When the first words of what has come leave: a cycle later, but behind those before."""
    order = parts * np.arange(len(come))
    return np.maximum.accumulate(come + 1 - order) + order
