"""Rounding, specials and canonical NaN against exact rationals, PyTorch's own types and data."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from thresher.models import data
from thresher.models.floating import (
    BF16,
    FORMATS,
    FP16,
    FP32,
    Float,
    add,
    decode,
    encode,
    fma,
    from_bf16,
    from_fp16,
    from_int32,
    multiply,
    narrow,
    to_bf16,
    to_fp16,
)

NAN = 0x7FC00000


def exact(bits: int, format: Float) -> Fraction | float:
    """The number, as a rational; infinities and NaN as floats."""
    sign = -1 if bits >> format.bits - 1 else 1
    field = bits >> format.fraction_bits & (1 << format.exponent_bits) - 1
    fraction = bits & (1 << format.fraction_bits) - 1
    if field == (1 << format.exponent_bits) - 1:
        return math.nan if fraction else sign * math.inf
    significand = fraction + (bool(field) << format.fraction_bits)
    return sign * significand * Fraction(2) ** (max(field, 1) - format.bias - format.fraction_bits)


def rounded(value: Fraction | float, format: Float, negative_zero: bool = False) -> int:
    """The bits of ``value`` rounded to nearest even, by the definition."""
    if isinstance(value, float) and math.isnan(value):
        return format.nan
    sign = (value < 0 or negative_zero) << format.bits - 1
    if math.isinf(value) or not value:
        return sign | (format.infinity if value else 0)
    low = 1 - format.bias - format.fraction_bits  # exponent of the least subnormal number
    size = Fraction(abs(value))
    log2 = size.numerator.bit_length() - size.denominator.bit_length()  # or one less
    exponent = max(log2 - (size < Fraction(2) ** log2) - format.fraction_bits, low)
    units = round(size / Fraction(2) ** exponent)  # Python rounds a rational's ties to even
    return sign | min(units + (exponent - low << format.fraction_bits), format.infinity)


def patterns(format: Float, count: int, seed: int) -> np.ndarray:
    """Bits: every special, neighbours of powers of two, and random ones of all exponents."""
    rng = np.random.default_rng(seed)
    top = 1 << format.bits - 1
    corners = [0, 1, 2, 3, format.nan, format.infinity | 1, format.infinity, format.infinity - 1]
    corners += [(1 << format.fraction_bits) + k for k in (-1, 0, 1)]
    corners += [(format.bias << format.fraction_bits) + k for k in (-1, 0, 1)]
    drawn = rng.integers(2 * top, size=count)
    drawn[::3] &= ~np.int64((1 << format.fraction_bits // 2) - 1)  # ties are likely
    return np.concatenate([corners, np.array(corners) | top, drawn])


def sum_of(x, y, negative_zero):
    """Of two exact numbers, and whether a zero is negative."""
    if isinstance(x, float) or isinstance(y, float):
        special = [v for v in (x, y) if isinstance(v, float)]
        return special[0] if len(special) == 1 else special[0] + special[1], False
    return x + y, negative_zero


def product_of(x, y):
    """Of two exact numbers."""
    if isinstance(x, float) or isinstance(y, float):
        sign_x, sign_y = (v if isinstance(v, float) else float((v > 0) - (v < 0)) for v in (x, y))
        return sign_x * sign_y  # of infinities, NaN and the signs of numbers
    return x * y


def test_formats():
    assert [(f.bits, f.bias, f.infinity, f.nan) for f in FORMATS.values()] == [
        (16, 15, 0x7C00, 0x7E00),
        (16, 127, 0x7F80, 0x7FC0),
        (32, 127, 0x7F800000, NAN),
    ]


@pytest.mark.parametrize("format", [FP16, BF16], ids=lambda f: f.name)
def test_fma_rounds_the_exact_sum_once(format):
    rng = np.random.default_rng(1)
    a, b = (rng.permutation(patterns(format, 3000, seed)) for seed in (2, 3))
    s = rng.permutation(patterns(FP32, 3000, 4))
    with np.errstate(all="ignore"):
        # Sums that almost cancel the product, or lie a tie away from it.
        near = (decode(a, format).astype(float) * decode(b, format)).astype(np.float32)
    near = near.view(np.uint32).astype(np.int64) ^ 1 << 31
    s = np.where(rng.random(len(s)) < 0.4, (near + rng.integers(-2, 3, len(s))) % (1 << 32), s)
    got = fma(decode(s, FP32), decode(a, format), decode(b, format)).view(np.uint32)
    for pattern, x, y, result in zip(s, a, b, got, strict=True):
        sign = (int(x) ^ int(y)) >> format.bits - 1
        product = product_of(exact(int(x), format), exact(int(y), format))
        both = bool(sign and int(pattern) >> 31)
        total, zero = sum_of(exact(int(pattern), FP32), product, both)
        assert result == rounded(total, FP32, zero and total == 0)


def test_fma_of_tensors_equals_numpys():
    s, a, b = (patterns(f, 500, k) for k, f in enumerate((FP32, BF16, BF16)))
    values = [decode(s, FP32), from_bf16(np.resize(a, s.size)), from_bf16(np.resize(b, s.size))]
    got = fma(*map(torch.from_numpy, values))
    np.testing.assert_array_equal(got.numpy().view(np.uint32), fma(*values).view(np.uint32))


def test_sums_of_fp16_equal_stored_ones():
    stored = data.load("nm_masks.npz")
    x, w = stored["mac_x"], stored["mac_w"]
    total = np.zeros(stored["mac_y_f32_sequential"].shape, np.float32)
    for k in range(x.shape[1]):
        total = fma(total, x[:, None, k], w[None, :, k])
    np.testing.assert_array_equal(total, stored["mac_y_f32_sequential"])


@pytest.mark.parametrize("operation", [multiply, add])
def test_fp32_operations(operation):
    rng = np.random.default_rng(5)
    a, b = (rng.permutation(patterns(FP32, 3000, seed)) for seed in (6, 7))
    b = np.where(rng.random(len(b)) < 0.3, (a ^ 1 << 31) + rng.integers(-2, 3, len(b)), b)
    b %= 1 << 32
    values = decode(a, FP32), decode(b, FP32)
    got = operation(*values).view(np.uint32)
    for x, y, result in zip(a.tolist(), b.tolist(), got, strict=True):
        if operation is add:
            total, zero = sum_of(exact(x, FP32), exact(y, FP32), bool(x & y & 1 << 31))
        else:
            total = product_of(exact(x, FP32), exact(y, FP32))
            zero = bool((x ^ y) & 1 << 31)
        assert result == rounded(total, FP32, zero and total == 0)
    tensors = operation(*map(torch.from_numpy, values))
    np.testing.assert_array_equal(tensors.numpy().view(np.uint32), got)


@pytest.mark.parametrize(("format", "dtype"), [(FP16, torch.float16), (BF16, torch.bfloat16)])
def test_every_number_of_16_bits_survives(format, dtype):
    bits = np.arange(1 << 16).astype(np.uint16)
    values = torch.from_numpy(bits.view(np.int16)).view(dtype).float().numpy()
    np.testing.assert_array_equal(decode(bits, format), values)
    nan = np.isnan(values)
    np.testing.assert_array_equal(encode(values, format), np.where(nan, format.nan, bits))


@pytest.mark.parametrize(("format", "dtype"), [(FP16, torch.float16), (BF16, torch.bfloat16)])
def test_narrowing_rounds_to_nearest_even(format, dtype):
    bits = patterns(FP32, 4000, 8)
    middles = decode(np.arange(1 << 16), format).view(np.uint32).astype(np.int64)
    half = np.diff(middles[:2]).item() // 2 if format == BF16 else 1 << 12
    bits = np.concatenate([bits, middles[::7] + half, middles[::7] + half + 1]) % (1 << 32)
    values = decode(bits, FP32)
    got = encode(values, format)
    for pattern, result in zip(bits.tolist(), got.tolist(), strict=True):
        zero = bool(pattern >> 31) and not math.isnan(exact(pattern, FP32))
        assert result == rounded(exact(pattern, FP32), format, zero)
    torchs = torch.from_numpy(values).to(dtype).float()
    np.testing.assert_array_equal(narrow(torch.from_numpy(values), format), torchs)
    np.testing.assert_array_equal(narrow(values, format), torchs)


def test_names_of_single_formats():
    value = np.array([1.5, -0.0, np.inf], np.float32)
    assert to_fp16(value).tolist() == [0x3E00, 0x8000, 0x7C00]
    assert to_bf16(value).tolist() == [0x3FC0, 0x8000, 0x7F80]
    np.testing.assert_array_equal(from_fp16(to_fp16(value)), value)
    np.testing.assert_array_equal(from_bf16(to_bf16(value)), value)
    assert to_bf16(value).dtype == to_fp16(value).dtype == np.uint16


def test_from_int32():
    values = [0, 1, -1, 2**24 + 1, 2**24 + 3, -(2**25) - 2, 2**31 - 1, -(2**31)]
    want = [rounded(Fraction(v), FP32) for v in values]
    assert from_int32(np.array(values)).view(np.uint32).tolist() == want
    assert from_int32(torch.tensor(values)).numpy().view(np.uint32).tolist() == want
