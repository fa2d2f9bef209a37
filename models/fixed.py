"""Integer number formats: rounding, saturation, wrapping, quantisation.

A fixed-point number is a two's-complement integer with an implied binary point;
``frac`` is the number of bits after it.  Every function takes a Python integer, a NumPy
array or a torch tensor of integers and gives the same kind back, arrays as int64.

The three roundings, of ``v / 2**n``:

=============== ======================================== =======================
``half_up``     ties toward +infinity                    ``(v + 2**(n-1)) >> n``
``nearest_even`` ties toward the even neighbour          what IEEE and torch do
``toward_zero`` the fraction is cut off                  what C's ``/`` does
=============== ======================================== =======================
"""

import sys
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    import torch

Rounding = Literal["half_up", "nearest_even", "toward_zero"]
ROUNDINGS: tuple[Rounding, ...] = ("half_up", "nearest_even", "toward_zero")

V = TypeVar("V", int, np.ndarray, "torch.Tensor")


def limits(bits: int, signed: bool = True) -> tuple[int, int]:
    """The smallest and the largest integer of ``bits`` bits."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def round_shift(v: V, n: int, mode: Rounding = "half_up") -> V:
    """``v / 2**n`` rounded to an integer; exactly ``v * 2**-n`` where ``n <= 0``.

    An array's ``v * 2**-n``, or ``v + 2**n``, must fit 64 bits.
    """
    v = _integers(v)
    if n <= 0:
        return v << -n
    half = 1 << n - 1
    if mode == "half_up":
        return (v + half) >> n
    if mode == "nearest_even":
        return (v + (half - 1) + (v >> n & 1)) >> n
    if mode == "toward_zero":
        return (v + (v < 0) * (2 * half - 1)) >> n
    raise ValueError(f"rounding {mode!r} is not one of {', '.join(ROUNDINGS)}")


def saturate(v: V, bits: int, signed: bool = True) -> V:
    """``v`` clamped to ``bits`` bits."""
    low, high = limits(bits, signed)
    v = _integers(v)
    if isinstance(v, int):
        return min(max(v, low), high)
    return cast(Any, v).clip(low, high)


def wrap(v: V, bits: int, signed: bool = True) -> V:
    """The lowest ``bits`` bits of ``v``, read as a number."""
    low, _ = limits(bits, signed)
    return (_integers(v) - low & (1 << bits) - 1) + low


def quantise(x: Any, frac: int, bits: int, mode: Rounding = "half_up") -> Any:
    """The ``bits``-bit integer nearest to ``x * 2**frac``, saturated.

    ``x`` is a float, a NumPy array or a torch tensor of floats; the result is an
    int64 array or tensor of its shape.  The rounding is exact, also a hair
    beside a tie.  Raises :class:`ValueError` on NaN.
    """
    low, high = limits(bits)
    tensor = _is_tensor(x)
    xp: Any = sys.modules["torch"] if tensor else np
    y = (x.double() if tensor else np.asarray(x, np.float64)) * 2.0**frac
    if xp.isnan(y).any():
        raise ValueError("cannot quantise NaN; mend the values before they are converted")
    y = y.clip(low, high)
    if mode == "half_up":
        floor = xp.floor(y)
        rounded = floor + (y - floor >= 0.5)  # floor(y + 0.5) errs just below a tie
    elif mode == "nearest_even":
        rounded = xp.round(y)
    elif mode == "toward_zero":
        rounded = xp.trunc(y)
    else:
        raise ValueError(f"rounding {mode!r} is not one of {', '.join(ROUNDINGS)}")
    return rounded.long() if tensor else rounded.astype(np.int64)


def dequantise(v: Any, frac: int) -> Any:
    """``v * 2**-frac`` as float64, of an integer array or tensor."""
    if _is_tensor(v):
        return v.double() * 2.0**-frac
    return np.asarray(v, np.float64) * 2.0**-frac


def _is_tensor(v: Any) -> "TypeGuard[torch.Tensor]":
    """Without importing PyTorch, which takes seconds: where it is not loaded, nothing is one."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(v, torch.Tensor)


def _integers(v: V) -> V:
    if isinstance(v, int):
        return v
    if _is_tensor(v):
        if v.is_floating_point() or v.is_complex():
            raise TypeError(f"needs integers, not {v.dtype}; quantise() makes them from floats")
        return cast("V", v.long())
    array = np.asarray(v)
    if array.dtype.kind not in "iub":
        raise TypeError(f"needs integers, not {array.dtype}; quantise() makes them from floats")
    return cast("V", array.astype(np.int64, copy=False))
