"""What goes from block to block."""

from amaranth.hdl import signed
from amaranth.lib import data

from ...models.grand.config import GrandConfig


def llr_layout(config: GrandConfig) -> data.ArrayLayout:
    """LLRs of a beat; negative ones mean 1."""
    return data.ArrayLayout(signed(config.llr_bits), config.lanes)


def suspect_layout(config: GrandConfig) -> data.StructLayout:
    """A row of a word whose hard decision is wrong.

    ``syndrome`` and ``odd``, whether the hard decision has an odd number of ones, are the same
    in all rows.
    """
    return data.StructLayout(
        {"llrs": llr_layout(config), "syndrome": config.checks, "odd": 1, "last": 1}
    )


def flip_layout(config: GrandConfig) -> data.StructLayout:
    """A position to flip, ``last`` with the last one of a word.

    A word without ``found`` is abandoned: it has one entry, whose position means nothing.
    """
    return data.StructLayout({"position": range(config.length), "found": 1, "last": 1})
