"""Number formats against sign and magnitude written out."""

from itertools import product

import numpy as np
import pytest
import torch
from thresher.models.fast_sclf.config import FastSclfConfig
from thresher.models.fast_sclf.formats import Formats

SMALL = Formats.of_bits(3, 4)


def value(sign, magnitude):
    return (
        np.float32(-magnitude if sign else magnitude)
        if magnitude
        else np.float32(-0.0 if sign else 0)
    )


def test_widths_are_the_engines():
    assert Formats.of(FastSclfConfig()) == Formats.of_bits(6, 8) == Formats(31, 255)
    assert Formats.of_bits(0, 0) == Formats()
    assert {str(Formats()), str(SMALL)} == {"float32", "LLRs to 3, metrics to 15"}
    with pytest.raises(ValueError, match="sign without magnitude"):
        Formats.of_bits(1, 8)


def test_every_sum_and_minimum_is_that_of_signs_and_magnitudes():
    for (sa, ma), (sb, mb) in product(product((False, True), range(4)), repeat=2):
        a, b = (torch.tensor([value(s, m)]) for s, m in ((sa, ma), (sb, mb)))
        f = SMALL.f(a, b)
        assert (bool(torch.signbit(f)), abs(f.item())) == (sa ^ sb, min(ma, mb))
        for u in (False, True):
            g = SMALL.g(a, b, torch.tensor([-1.0 if u else 1.0]))
            same = (sa ^ u) == sb
            want = (
                (sb, min(ma + mb, 3))
                if same
                else (ma != mb and (sa ^ u if ma > mb else sb), abs(ma - mb))
            )
            assert (bool(torch.signbit(g)), abs(g.item())) == want


def test_metrics_saturate():
    assert SMALL.add(torch.tensor([9.0, 15.0]), torch.tensor([6.0, 3.0])).tolist() == [15, 15]
    assert Formats().add(torch.tensor([9.0]), torch.tensor([1e6])).item() == 1e6 + 9
