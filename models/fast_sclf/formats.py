"""Number formats of a list decoder: floating point, or what an engine's integers do."""

from dataclasses import dataclass

import torch

from .config import FastSclfConfig


@dataclass(frozen=True)
class Formats:
    """Saturation of LLRs and path metrics; None: none, as of floating point.

    Integers are kept in floating point, which holds them exactly; a zero has a sign like that of
    a sign-and-magnitude number (IEEE 754's rules are those of the hardware).
    """

    llr: int | None = None
    """Largest magnitude of an LLR inside the decoder."""
    metric: int | None = None
    """Largest path metric; with it, the least one is subtracted whenever a leaf is entered."""
    dtype: torch.dtype = torch.float32

    @property
    def offset(self) -> int | None:
        """Largest sum of what is subtracted from all metrics."""
        return None if self.metric is None else 16 * self.metric + 15

    @classmethod
    def of(cls, config: FastSclfConfig) -> "Formats":
        """Those of an engine."""
        return cls.of_bits(config.llr_bits, config.metric_bits)

    @classmethod
    def of_bits(cls, llr: int, metric: int) -> "Formats":
        """Those of LLRs, sign included, and metrics of these widths; 0: not saturated."""
        if llr == 1:
            raise ValueError("an LLR of 1 bit is a sign without magnitude; 2 bits are the fewest")
        return cls((1 << llr - 1) - 1 if llr else None, (1 << metric) - 1 if metric else None)

    def __str__(self) -> str:
        if self.llr is None and self.metric is None:
            return str(self.dtype).removeprefix("torch.")
        return f"LLRs to {self.llr}, metrics to {self.metric}"

    def f(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """The LLR of the XOR of two bits: the lesser magnitude, the product's sign."""
        return torch.minimum(a.abs(), b.abs()).copysign_(a * b)

    def g(self, a: torch.Tensor, b: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
        """The LLR of the second bit, given the XOR as ``sign`` (-1 for 1)."""
        total = torch.addcmul(b, a, sign)
        return total if self.llr is None else total.clamp_(-self.llr, self.llr)

    def add(self, metric: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
        """The sum of path metrics."""
        total = metric + penalty
        return total if self.metric is None else total.clamp_(max=self.metric)
