# amaranth: UnusedElaboratable=no
"""Whole layers against the integer model, bit for bit."""

import numpy as np
import pytest
from thresher.hdl.amu.unrolled import Unrolled
from thresher.models.amu.encoder import Encoder
from thresher.models.amu.layer import Format, Layer


def layer(books, levels, outputs, form, rng, spread=128, **options):
    low, high = form.limits
    inputs = books * levels
    encoder = Encoder(
        rng.integers(inputs, size=(books, levels)),
        rng.integers(low - 1, high + 1, (books, (1 << levels) - 1)),
    )
    tables = rng.integers(-spread, spread, (books, 1 << levels, outputs))
    return Layer(encoder, tables, rng.integers(-300, 300, outputs), form, **options)


LAYERS = [
    (1, 2, 1, Format(8), {}),
    (1, 3, 2, Format(8), {"shift": 2, "output": Format(6)}),
    (3, 4, 4, Format(8, signed=True), {"shift": 4, "output": Format(5, signed=True)}),
    (5, 6, 2, Format(3), {"shift": 1, "output": Format(16, signed=True)}),  # saturates never
    (4, 5, 3, Format(12, signed=True), {"shift": 9, "output": Format(1)}),
    (2, 2, 3, Format(4), {"shift": 30, "output": Format(4, signed=True)}),  # nothing is left
    (6, 2, 3, Format(4), {"spread": 1, "output": Format(8)}),  # tables of -1 and 0
]


@pytest.mark.parametrize(("books", "levels", "outputs", "form", "options"), LAYERS)
@pytest.mark.parametrize("lut_inputs", [4, 6])
def test_rows(hold_pipeline, books, levels, outputs, form, options, lut_inputs):
    rng = np.random.default_rng([books, levels])
    of = layer(books, levels, outputs, form, rng, **options)
    component = Unrolled(of, lut_inputs=lut_inputs)
    assert component.latency <= levels + 3 + (books - 1).bit_length()
    low, high = form.limits
    rows = rng.integers(low, high + 1, (60, books * levels))
    hold_pipeline(component, "x", rows[:, of.encoder.dims], "y", of(rows))


def test_more_latency_makes_fewer_chains_and_less_is_refused():
    of = layer(8, 2, 1, Format(2), np.random.default_rng(0), output=Format(4))
    assert [Unrolled(of, max_latency=n).latency for n in (7, 8, 10, 11, 99)] == [7, 8, 8, 11, 11]
    with pytest.raises(ValueError, match="8 tables are not summed in 3 cycles; allow at least 4"):
        Unrolled(of, max_latency=6)
