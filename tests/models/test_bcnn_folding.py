"""Thresholds against batch norm in double precision, at every sum there can be."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from thresher.models.bcnn.folding import Norm, fold, identity
from thresher.models.bcnn.layers import BatchNorm, Sign
from thresher.models.bcnn.operations import Kind


def kind(low, high, channels, complex=False):
    return Kind((1, 1, channels), "accumulators", complex, low, high)


def awkward(rng, shape, high):
    """Scales of either sign, some 0; means that are sums, halves, far out; shifts that tie."""
    mean = rng.choice((0.0, 0.5, 1.0), shape) * rng.integers(-high, high + 1, shape)
    mean = np.where(rng.random(shape) < 0.5, mean, rng.normal(0, high / 2, shape))
    variance = 10.0 ** rng.uniform(-3, 5, shape[0])
    variance = np.where(rng.random(shape[0]) < 0.3, 4.0 ** rng.integers(-2, 6, shape[0]), variance)
    variance = np.where(rng.random(shape[0]) < 0.05, 0.0, variance)
    scale = rng.normal(0, 1, shape[0]) * 10.0 ** rng.integers(-3, 3, shape[0])
    scale = np.where(rng.random(shape[0]) < 0.2, rng.choice((-2.0, 1.0, 0.0), shape[0]), scale)
    shift = np.where(rng.random(shape) < 0.4, 0.0, rng.normal(0, 1, shape))
    return mean, variance, scale, shift


def module(norm_numbers, eps, complex):
    """The same as a torch module, which has parts as channels."""
    mean, variance, scale, shift = (torch.from_numpy(np.asarray(n)) for n in norm_numbers)
    norm = BatchNorm(len(scale), complex, eps).double().eval()
    with torch.no_grad():
        norm.scale.copy_(scale)
        norm.shift.copy_(shift.flatten())
        norm.mean.copy_(mean.flatten())
        norm.variance.copy_(variance)
    return norm


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("high", [1, 9, 144, 2304])
def test_every_sum_has_its_sign(complex, high):
    rng = np.random.default_rng(high + complex)
    channels = 256
    shape = (channels, 2) if complex else (channels,)
    for eps in (1e-5, 0.25):
        numbers = awkward(rng, shape, high)
        source = kind(-high, high, channels, complex)
        threshold = fold(Norm(*numbers, eps), source)
        assert (threshold.flips == (numbers[2] < 0).reshape(-1, *[1] * complex)).all()
        threshold.result(source)
        sums = np.arange(-high, high + 1)
        got = threshold(sums.reshape(-1, *[1] * len(shape)) + np.zeros(shape, int))
        wide = torch.from_numpy(sums).double()[:, None].expand(-1, int(np.prod(shape)))
        wanted = Sign()(module(numbers, eps, complex)(wide)).detach().numpy()
        assert (got.reshape(wanted.shape) == wanted).all()
        single = Sign()(module(numbers, eps, complex)(wide.float())).detach().numpy()
        assert (single == wanted).all()


def test_ties_are_1_by_exact_arithmetic():
    """Numbers whose batch norm rounds nothing, against fractions."""
    rng = np.random.default_rng(5)
    channels, high = 200, 60
    root = 2 ** rng.integers(0, 4, channels)
    mean, shift = (rng.integers(-99, 100, channels) / 4 for _ in range(2))
    scale = rng.integers(-3, 4, channels) / 2
    threshold = fold(Norm(mean, root**2 - 0.5, scale, shift, 0.5), kind(-high, high, channels))
    ties = 0
    for c in range(channels):
        m, s, b = (Fraction(float(v[c])) for v in (mean, scale, shift))
        for x in range(-high, high + 1):
            exact = (x - m) / int(root[c]) * s + b
            bit = (x >= threshold.thresholds[c]) != threshold.flips[c]
            assert bit == (exact >= 0)
            ties += exact == 0 and s != 0
    assert ties > 15


def test_constants_are_clipped():
    norm = Norm(np.zeros(4), np.ones(4), np.array([0, 0, 1, -1.0]), np.array([0, -1, 99, 99.0]))
    threshold = fold(norm, kind(-7, 5, 4))
    assert threshold.thresholds.tolist() == [-7, 6, -7, 6]
    assert threshold.flips.tolist() == [False, False, False, True]
    assert (threshold(np.arange(-7, 6)[:, None])[:, [0, 2, 3]] == 1).all()


def test_a_sign_alone_is_a_threshold_of_zero():
    assert (fold(identity(kind(-3, 3, 5, True)), kind(-3, 3, 5, True)).thresholds == 0).all()
    assert fold(identity(kind(2, 3, 1)), kind(2, 3, 1)).thresholds.item() == 2


def test_parts_may_have_scales_of_their_own():
    norm = Norm(np.zeros((1, 2)), np.ones(1), np.array([[1.0, -1.0]]), np.zeros(1))
    threshold = fold(norm, kind(-3, 3, 1, True))
    assert threshold.flips.tolist() == [[False, True]]
    assert threshold.thresholds.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": np.array([1j, 1])}, "turns the plane"),
        ({"scale": np.ones(3)}, "does not go with"),
        ({"mean": np.ones((2, 3))}, "means are"),
        ({"shift": np.array([0, np.nan])}, "shift of channel 1 is nan"),
        ({"variance": np.array([1, -1.0])}, "variance of channel 1"),
        ({"variance": np.array([1, 0]), "eps": 0.0}, "larger eps"),
    ],
)
def test_numbers_that_no_batch_norm_has(change, message):
    given = dict.fromkeys(("mean", "variance", "scale", "shift"), np.ones(2))
    with pytest.raises(ValueError, match=message):
        Norm(**{**given, **change})


def test_sums_that_do_not_fit():
    norm = Norm(*(np.ones(2) for _ in range(4)))
    with pytest.raises(ValueError, match="on 1 x 1 x 3 accum"):
        fold(norm, kind(-3, 3, 3))
    with pytest.raises(ValueError, match="beyond double"):
        fold(norm, kind(-3, 1 << 54, 2))
    tiny = Norm(np.zeros(1), np.full(1, 5e-324), np.full(1, 1e308), np.full(1, -1e308), 0.0)
    assert fold(tiny, kind(-3, 3, 1)).thresholds.item() == 1
    with pytest.raises(ValueError, match="overflows"):
        fold(Norm(np.full(1, 1e300), np.full(1, 5e-324), np.zeros(1), np.zeros(1), 0.0),
             kind(-3, 3, 1))  # fmt: skip
