"""A layer by table lookup, in integers: what an engine computes, bit for bit."""

from dataclasses import dataclass, replace

import numpy as np

from ..fixed import limits, round_shift, saturate
from .encoder import Encoder


@dataclass(frozen=True)
class Format:
    """Integers of ``bits`` bits."""

    bits: int
    signed: bool = False

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest."""
        return limits(self.bits, self.signed)

    def holds(self, values: np.ndarray) -> bool:
        """Whether all ``values`` are among them."""
        low, high = self.limits
        return not values.size or bool(low <= values.min() and values.max() <= high)


@dataclass(frozen=True, eq=False)
class Layer:
    """``sum[m] = bias[m] + sum over c of tables[c, code[c], m]``, exactly, and then::

        y[m] = saturate(round_half_up(sum[m] / 2**shift))     to the format ``output``
        y[m] = sum[m]                                         where ``output`` is None

    An unsigned ``output`` is a ReLU.  Raises :class:`ValueError` where shapes do not fit, a
    threshold or table is no integer, or a threshold lies so far outside ``input`` that the
    engine's comparators do not hold it (they hold -1 below the smallest, too).
    """

    encoder: Encoder
    """With integer thresholds."""
    tables: np.ndarray
    """int64 [codebooks, prototypes, outputs]"""
    bias: np.ndarray
    """int64 [outputs]"""
    input: Format = Format(8)
    shift: int = 0
    output: Format | None = None

    def __post_init__(self) -> None:
        e, tables, bias = self.encoder, np.asarray(self.tables), np.asarray(self.bias)
        for name, values in (("tables", tables), ("bias", bias), ("thresholds", e.thresholds)):
            if values.dtype.kind not in "iu":
                raise ValueError(f"{name} of a layer are integers, not {values.dtype}")
        if tables.ndim != 3 or tables.shape[:2] != (e.codebooks, e.prototypes):
            raise ValueError(
                f"tables of {e.codebooks} codebooks with {e.prototypes} prototypes have the shape "
                f"({e.codebooks}, {e.prototypes}, outputs), not {tables.shape}"
            )
        if bias.shape != tables.shape[2:]:
            raise ValueError(f"bias has the shape {tables.shape[2:]}, not {bias.shape}")
        low, high = self.input.limits
        if (e.thresholds < low - 1).any() or (e.thresholds > high).any():
            raise ValueError(
                f"thresholds from {e.thresholds.min()} to {e.thresholds.max()} are outside "
                f"{low - 1} to {high}, beyond which they decide nothing; clip them"
            )
        if self.shift < 0:
            raise ValueError(f"shift = {self.shift} is negative; scale the tables instead")
        object.__setattr__(self, "tables", tables.astype(np.int64))
        object.__setattr__(self, "bias", bias.astype(np.int64))

    @property
    def outputs(self) -> int:
        """M."""
        return self.tables.shape[2]

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 [outputs] each: the least and the greatest sum that there can be."""
        low = self.bias + self.tables.min(axis=1).sum(axis=0)
        high = self.bias + self.tables.max(axis=1).sum(axis=0)
        return low, high

    def sums(self, codes: np.ndarray) -> np.ndarray:
        """int64 [rows, outputs] of ``codes`` [rows, codebooks]."""
        total = np.broadcast_to(self.bias, (len(codes), self.outputs)).copy()
        for c in range(self.encoder.codebooks):
            total += self.tables[c, codes[:, c]]
        return total

    def requantise(self, sums: np.ndarray) -> np.ndarray:
        """What becomes of sums, elementwise."""
        if self.output is None:
            return sums
        return saturate(round_shift(sums, self.shift), self.output.bits, self.output.signed)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """int64 [rows, outputs] of integer ``rows`` [rows, inputs].

        Raises :class:`ValueError` where a value is outside the format ``input``.
        """
        rows = np.asarray(rows)
        if rows.dtype.kind not in "iu" or not self.input.holds(rows):
            low, high = self.input.limits
            raise ValueError(
                f"rows are integers from {low} to {high}, not {rows.dtype} from {rows.min()} to "
                f"{rows.max()}; quantise them"
            )
        return self.requantise(self.sums(self.encoder(rows)))

    def keep(self, outputs: np.ndarray) -> "Layer":
        """The same layer with only these outputs, in this order."""
        return replace(self, tables=self.tables[:, :, outputs], bias=self.bias[outputs])
