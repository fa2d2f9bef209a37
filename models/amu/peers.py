"""Products as other implementations learnt them, as layers of ours: halut's and bolt's.

Both compare floating-point numbers.  Integers in the same order give the same codes, so each
product is a :class:`.layer.Layer` and a way to turn its rows into integers.  The arrays come by
the names in the reference file ``halut_bolt_small.npz``, without the prefix of set and peer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .encoder import Encoder
from .layer import Format, Layer


@dataclass(frozen=True)
class PeerProduct:
    """``(layer(rows(x))) / scale + offset`` is about the product of ``x`` [N, D]."""

    layer: Layer
    rows: Callable[[np.ndarray], np.ndarray]
    """Integer rows of the layer, from rows in single precision."""
    scale: float
    offset: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """float64 [N, M]"""
        return self.layer(self.rows(x)) / self.scale + self.offset


def halut(found: Mapping[str, np.ndarray]) -> PeerProduct:
    """By ``dims``, ``thresholds`` in single precision, and tables in bytes."""
    encoder = Encoder(found["dims"], ordered(found["thresholds"]))
    return _product(found, encoder, ordered, Format(32, signed=True))


def bolt(found: Mapping[str, np.ndarray]) -> PeerProduct:
    """By ``dims``, integer thresholds ``vals``, and what scales the inputs of each level.

    Level l of codebook c compares ``(x - x_offset[c, l]) * x_scale[c, l]``, in single precision,
    with an integer: the number rounded up exceeds it whenever the number itself does.
    """
    dims, offset, scale = found["dims"], found["x_offset"], found["x_scale"]
    low, high = found["vals"].min() - 1, found["vals"].max() + 1

    def rows(x: np.ndarray) -> np.ndarray:
        scaled = np.ceil((np.asarray(x, np.float32)[:, dims] - offset) * scale)
        return scaled.clip(low, high).astype(np.int64).reshape(len(x), -1)

    encoder = Encoder(np.arange(dims.size).reshape(dims.shape), found["vals"])
    return _product(found, encoder, rows, Format(16, signed=True))


def ordered(values: np.ndarray) -> np.ndarray:
    """int64 in the order of ``values`` in single precision; both zeros are 0."""
    values = np.asarray(values, np.float32)
    if np.isnan(values).any():
        raise ValueError("a number is NaN, which has no place in the order")
    bits = values.view(np.uint32).astype(np.int64)
    magnitude = bits & 0x7FFF_FFFF
    return np.where(bits >> 31, -magnitude, magnitude)


def _product(
    found: Mapping[str, np.ndarray],
    encoder: Encoder,
    rows: Callable[[np.ndarray], np.ndarray],
    given: Format,
) -> PeerProduct:
    tables = found["lut_u8"].transpose(1, 2, 0)
    layer = Layer(encoder, tables, np.zeros(tables.shape[2], np.int64), given)
    return PeerProduct(layer, rows, float(found["lut_scale"]), float(found["lut_offset"]))
