"""What goes from block to block."""

from amaranth.lib import data

from .shape import Shape


def llr(shape: Shape) -> data.StructLayout:
    """An LLR as the decoder keeps it: sign (1: negative, a bit of 1) and magnitude.

    Zero keeps its sign: a sum of opposite equals is +0, a sum of equal signs keeps the sign.
    """
    return data.StructLayout({"magnitude": shape.magnitude, "sign": 1})


def llrs(shape: Shape, count: int) -> data.ArrayLayout:
    """``count`` LLRs."""
    return data.ArrayLayout(llr(shape), count)


def half_sums(shape: Shape) -> data.ArrayLayout:
    """The sum of a leaf's magnitudes, as those of its lower and of its upper lanes."""
    return data.ArrayLayout(shape.half_sum, 2)


def code(shape: Shape) -> data.StructLayout:
    """What is told of a code beside its program.

    ``rows``: of ``pes`` LLRs, those of a frame.  ``k``: bits of a message, without a CRC.
    ``selections``: those of a decoding.
    """
    return data.StructLayout(
        {
            "rows": range(shape.rows + 1),
            "k": range(shape.config.length),
            "selections": range(shape.selections + 1),
        }
    )


def instruction(shape: Shape) -> data.StructLayout:
    """What one cycle does; the parts act side by side, on what earlier cycles left behind.

    **f and g** (``pe``): one word of source LLRs, ``pes`` results.

    ``g``: g instead of f.  ``zero``: g with a left sibling of rate 0, whose own LLRs, by f, go to
    the penalties.  ``channel``: the source is the channel's memory, else the bank that the
    pointer of ``level + 1`` tells.  ``level``: that of the results.  ``read``, ``write``: words of
    the source and the results; ``low``, ``high``: the halves to write, both where the results are
    one node of at most ``pes`` LLRs (its upper half goes to the high half's first lanes).
    ``leaf``: the results are a leaf's, and go to the leaf's registers, too.

    **Partial sums** of the node that ends with the leaf decoded last, a row at a time::

        row[i] = leaf[i mod 2**base]
                 ^ XOR over j in chain with bit j of i = 0 of left_j[i mod 2**j]
                 ^ (sums[sums_row] if sums) ^ (accumulator if accumulated)

    ``sums_level`` (from ``row_level`` upwards, counted from 0) is whose pointer tells the bank.
    ``accumulate``: the accumulator takes what the last line gives; g may use the row all the same.
    ``store``: the row is written, as left_level where ``level`` is below ``row_level``, else to
    ``store_row``.  g uses the row of its own instruction.

    **Leaf**: in the cycle after its LLRs came ``enter``, then ``fix`` for an SPC's parity, then
    ``split`` as often as needed.  Every enter subtracts the least metric.  ``penalty``: enter adds
    the metric of a word 0 (rate-0 and REP), and for a REP's flips that of a word 1; ``repeat``:
    enter clears the leaf's bits (likewise), the splits are a REP's; ``selection``: the split has
    twice ``list_size`` candidates.

    **last**: the decoding ends with this instruction.
    """
    word, row = range(max(2, shape.bank_words, shape.channel_words)), range(max(2, shape.rows))
    return data.StructLayout(
        {
            "pe": 1, "g": 1, "zero": 1, "channel": 1, "level": range(shape.levels),
            "read": word, "write": word, "low": 1, "high": 1, "leaf": 1,
            "base": range(shape.leaf_level + 1), "chain": shape.row_level,
            "sums": 1, "sums_level": range(max(2, shape.levels - shape.row_level)),
            "sums_row": row, "accumulate": 1, "accumulated": 1, "store": 1, "store_row": row,
            "enter": 1, "penalty": 1, "repeat": 1, "fix": 1, "split": 1,
            "selection": 1, "last": 1,
        }
    )  # fmt: skip
