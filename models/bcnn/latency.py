"""Cycles that the parts of a pipeline take, which the hardware keeps and the timing counts on."""

from .stages import Arithmetic, Stage

WINDOW = 3
"""From the cycle in which a tap is issued to that in which its word stands on the walker's output:
the program, the address, the memory."""
WRITE = -1
"""A word that enters a memory in a cycle may be issued in this many later, or any later cycle."""


def mac_latency(arithmetic: Arithmetic, channels: int, channel_bits: int = 1) -> int:
    """From a word of so many channels to the sums of its products."""
    return 2


def products_latency(stage: Stage) -> int:
    """From a group's last word on the walker's output to the group's results.

    The products; the shortcuts' register where there are any; the accumulators.
    """
    reader = stage.readers[0]
    products = mac_latency(stage.arithmetic, stage.fold.channels, reader.channel_bits)
    return products + bool(stage.shortcuts) + 1
