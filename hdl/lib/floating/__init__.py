"""Floating-point units of IEEE 754, and the int8 ones that take their place.

All of them take new numbers every cycle, never stand still, and equal
:mod:`thresher.models.floating` bit for bit: one rounding, to nearest even; subnormal numbers,
infinities and signed zeros kept; every NaN that is made is positive, quiet and without payload.

A multiply-accumulate is :func:`unpack`, once an operand, then :class:`Multiply` and
:class:`Accumulate`.  The others work on FP32: :class:`Fp32Multiply`, :class:`Fp32Add`,
:class:`Fp32Narrow`, :class:`Int32ToFp32`.
"""

from .accumulate import Accumulate, Fp32Add
from .convert import Fp32Narrow, Int32ToFp32
from .multiply import Fp32Multiply, Multiply
from .operands import operand_layout, product_layout, unpack

__all__ = [
    "Accumulate",
    "Fp32Add",
    "Fp32Multiply",
    "Fp32Narrow",
    "Int32ToFp32",
    "Multiply",
    "operand_layout",
    "product_layout",
    "unpack",
]
