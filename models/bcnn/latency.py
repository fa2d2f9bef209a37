"""Cycles that the parts of a pipeline take, which the hardware keeps and the timing counts on."""

from .stages import Arithmetic, Stage

WINDOW = 3
"""From the cycle in which a tap is issued to that in which its word stands on the walker's output:
the program, the address, the memory."""
WRITE = -1
"""A word that enters a memory in a cycle may be issued in this many later, or any later cycle."""


def count_levels(bits: int) -> int:
    """From bits to how many are set: additions, with a register behind each.

    Each adds two numbers and one bit more: of 2 n + 1 bits n are left for each of the two.
    """
    return max(bits.bit_length() - 1, 1)


def mac_latency(arithmetic: Arithmetic, channels: int, channel_bits: int = 1) -> int:
    """From a word of so many channels to the sums of its products.

    Of complex bits the two counts, and their sum and difference; of integers of ``channel_bits``
    bits a register behind every addition of a tree, and behind a difference.
    """
    if arithmetic == "binary":
        return count_levels(channels)
    if arithmetic == "complex":
        return count_levels(channels) + 1
    return (channels - 1).bit_length() + 1


def products_latency(stage: Stage) -> int:
    """From a group's last word on the walker's output to the group's results.

    The products; the shortcuts' register where there are any; the accumulators.
    """
    reader = stage.readers[0]
    products = mac_latency(stage.arithmetic, stage.fold.channels, reader.channel_bits)
    return products + bool(stage.shortcuts) + 1


def pool_latency(stage: Stage) -> int:
    """From a group's last word on the walker's output to the pool's: a register."""
    del stage
    return 1
