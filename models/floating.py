"""Floating-point arithmetic as IEEE 754 has it, each operation rounded once to nearest even.

Subnormal numbers, infinities and signed zeros are kept.  A NaN that an operation makes is always
the format's :attr:`~Float.nan`, positive and quiet: neither signs nor payloads pass.  (The
rounding of :func:`fma` and :func:`narrow` is that of the machine, which nothing here changes:
PyTorch's ``set_flush_denormal`` must be off.)

Functions of values take and give NumPy arrays or torch tensors, on any device; those of bits take
and give NumPy's unsigned integers.
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Float:
    """A binary interchange format: a sign, an exponent and a fraction, from the high bits."""

    name: str
    exponent_bits: int
    fraction_bits: int

    @property
    def bits(self) -> int:
        """Width of a number."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def bias(self) -> int:
        """What an exponent's field exceeds the exponent by."""
        return (1 << self.exponent_bits - 1) - 1

    @property
    def infinity(self) -> int:
        """Bits of plus infinity."""
        return (1 << self.exponent_bits) - 1 << self.fraction_bits

    @property
    def nan(self) -> int:
        """Bits of the NaN that operations make."""
        return self.infinity | 1 << self.fraction_bits - 1


FP16 = Float("fp16", 5, 10)
BF16 = Float("bf16", 8, 7)
FP32 = Float("fp32", 8, 23)
FORMATS = {format.name: format for format in (FP16, BF16, FP32)}


def fma(sum: Any, a: Any, b: Any) -> Any:
    """``sum + a * b`` in FP32, rounded once.

    ``sum`` is FP32, ``a`` and ``b`` have values of FP16 or BF16, in any type.  In FP64 the product
    is exact; rounding a sum of numbers of at most 24 bits to 53 bits first and to 24 afterwards
    equals rounding once (Figueroa: 53 >= 2 * 24 + 2), among subnormal results too.
    """
    if _is_tensor(sum):
        return _canonical((sum.double() + a.double() * b.double()).float())
    with np.errstate(over="ignore", invalid="ignore"):
        wide = np.asarray(sum, np.float64) + np.asarray(a, np.float64) * np.asarray(b, np.float64)
        return _canonical(wide.astype(np.float32))


def multiply(a: Any, b: Any) -> Any:
    """``a * b`` of FP32."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return _canonical(_single(a) * _single(b))


def add(a: Any, b: Any) -> Any:
    """``a + b`` of FP32."""
    with np.errstate(over="ignore", invalid="ignore"):
        return _canonical(_single(a) + _single(b))


def from_int32(value: Any) -> Any:
    """The FP32 nearest to an integer of 32 bits."""
    return value.float() if _is_tensor(value) else np.asarray(value, np.int32).astype(np.float32)


def narrow(value: Any, format: Float) -> Any:
    """FP32 rounded to ``format`` (FP16, BF16), still as FP32.  Beyond range: infinity."""
    if _is_tensor(value):
        torch = sys.modules["torch"]
        return value.to(torch.float16 if format == FP16 else torch.bfloat16).float()
    return decode(encode(value, format), format)


def encode(value: Any, format: Float) -> np.ndarray:
    """The bits of ``value`` (FP32) rounded to ``format``: uint16, or uint32 for FP32."""
    value = _canonical(np.asarray(value, np.float32))
    if format == FP16:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(value.astype(np.float16)).view(np.uint16)
    bits = np.asarray(value).view(np.uint32)
    if format == BF16:
        # A carry from the fraction into the exponent rounds up to the next power of two, and from
        # the largest number to infinity.  NaN has only its highest fraction bit: it stays.
        return (bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint16)
    return bits


def decode(bits: Any, format: Float) -> np.ndarray:
    """The value, as FP32, of ``bits``; a NaN's sign and payload stay."""
    if format == FP16:
        return np.asarray(bits, np.uint16).view(np.float16).astype(np.float32)
    shift = FP32.bits - format.bits
    return (np.asarray(bits, np.uint32) << np.uint32(shift)).view(np.float32)


def to_fp16(value: Any) -> np.ndarray:
    """``encode`` to FP16."""
    return encode(value, FP16)


def from_fp16(bits: Any) -> np.ndarray:
    """``decode`` from FP16."""
    return decode(bits, FP16)


def to_bf16(value: Any) -> np.ndarray:
    """``encode`` to BF16."""
    return encode(value, BF16)


def from_bf16(bits: Any) -> np.ndarray:
    """``decode`` from BF16."""
    return decode(bits, BF16)


def _single(value: Any) -> Any:
    return value.float() if _is_tensor(value) else np.asarray(value, np.float32)


def _canonical(value: Any) -> Any:
    """Every NaN of an FP32 array replaced by the positive quiet one without payload."""
    if _is_tensor(value):
        return value.masked_fill(value.isnan(), float("nan"))
    return np.where(np.isnan(value), np.float32(np.nan), value)


def _is_tensor(value: Any) -> "TypeGuard[torch.Tensor]":
    """Without importing PyTorch, which takes seconds: where it is not loaded, nothing is one."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
