"""Input bits that a fragment need not read, since all of its rows have 0 there.

With u the bitwise OR of the fragment's inputs, skipping

========= ================================== =============================
none      reads all ``input_bits`` bits
leading   reads those up to the highest 1    bit length of u (FORMS)
any       reads those that are not all 0     number of ones in u
========= ================================== =============================

bits: its effective input cycles.  Fragments of the same rows in crossbars side by side have the
same inputs and may share a controller; a fragment in another row has its own count, and as the
fragments of a crossbar take turns, their counts add up.
"""

import numpy as np

from .config import ReramConfig
from .mapping import fragments_of


def union(inputs: np.ndarray, rows: int) -> np.ndarray:
    """The bitwise OR of ``rows`` consecutive inputs each, [..., inputs] to [..., fragments]."""
    return np.bitwise_or.reduce(fragments_of(inputs, rows), axis=-1)


def effective_cycles(config: ReramConfig, inputs: np.ndarray) -> np.ndarray:
    """int64 [..., fragments]: bits that are read of every fragment of inputs [..., inputs]."""
    ones = union(checked(config, inputs).astype(np.int64), config.fragment_rows)
    if config.skip == "none":
        return np.full_like(ones, config.input_bits)
    if config.skip == "leading":
        ones = _filled(ones)
    return np.bitwise_count(ones).astype(np.int64)


def bits_read(config: ReramConfig, fragments: np.ndarray) -> np.ndarray:
    """bool [..., fragments, input_bits]: whether bit b of [..., fragments, rows] is read."""
    ones = np.bitwise_or.reduce(fragments, axis=-1)
    if config.skip == "none":
        ones = np.full_like(ones, (1 << config.input_bits) - 1)
    elif config.skip == "leading":
        ones = _filled(ones)
    return (ones[..., None] >> np.arange(config.input_bits) & 1).astype(bool)


def checked(config: ReramConfig, inputs: np.ndarray) -> np.ndarray:
    """``inputs`` as they are.

    Raises :class:`TypeError` where they are not integers, and :class:`ValueError` where one is
    negative or too wide.
    """
    inputs = np.asarray(inputs)
    if inputs.dtype.kind not in "iu":
        raise TypeError(f"needs integer inputs, not {inputs.dtype}; scale and round them")
    low, high = int(inputs.min(initial=0)), int(inputs.max(initial=0))
    if low < 0:
        raise ValueError(
            f"input {low} is negative, and word lines carry bits of unsigned numbers; "
            "signed_product() takes an offset or two passes"
        )
    if high >> config.input_bits:
        raise ValueError(
            f"input {high} exceeds {(1 << config.input_bits) - 1}, the largest of input_bits = "
            f"{config.input_bits}; saturate the inputs or raise input_bits"
        )
    return inputs


def _filled(ones: np.ndarray) -> np.ndarray:
    """Every bit below the highest 1 set too."""
    for shift in (1, 2, 4, 8):
        ones = ones | ones >> shift
    return ones
