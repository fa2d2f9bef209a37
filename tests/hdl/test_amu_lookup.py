# amaranth: UnusedElaboratable=no
"""Sums of constant tables against NumPy, how they are scheduled, and what they take."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from thresher.fpga.devices import device
from thresher.fpga.yosys import synthesise
from thresher.hdl.amu.lookup import Lookup
from thresher.hdl.amu.schedule import schedule


@cache
def fastest_room(chains, latency):
    """How many terms any tree of so many chains adds, by trying all trees."""
    if latency < 1:
        return -(10**9)
    if chains == 1:
        return latency
    split = (
        fastest_room(a, latency - 1) + fastest_room(chains - a, latency - 1)
        for a in range(1, chains // 2 + 1)
    )
    return max(max(split), fastest_room(chains, latency - 1) + 1)


@pytest.mark.parametrize("latency", range(1, 8))
def test_schedules_have_as_few_chains_as_there_can_be(latency):
    for terms in range(1, (1 << latency - 1) + 1):
        plan = schedule(terms, latency)
        assert plan.latency <= latency
        assert len(plan.slots) == len(set(plan.slots)) == terms
        fewest = next(n for n in range(1, terms + 1) if fastest_room(n, latency) >= terms)
        assert len(plan.depths) == fewest
        for chain, depth in enumerate(plan.depths):
            cycles = [cycle for cycle, of in plan.slots if of == chain]
            # One table a cycle, up to where the tree starts.
            assert cycles == list(range(cycles[0], plan.latency - depth + 1))
        assert sum(0.5**depth for depth in plan.depths) == 1


def test_too_short_a_schedule_is_refused():
    with pytest.raises(ValueError, match=r"9 tables .* in 4 cycles; allow at least 5"):
        schedule(9, 4)


def tables(books, prototypes, outputs, kind, rng):
    drawn = rng.integers(-128, 128, (books, prototypes, outputs))
    if kind == "sparse":  # columns without a choice, outputs without any
        drawn[rng.random((books, outputs)).repeat(prototypes).reshape(drawn.shape) < 0.5] = 7
        drawn *= (rng.random((books, 1, outputs)) < 0.5) & (np.arange(outputs) != 1)
    if kind == "uneven":
        drawn >>= rng.integers(8, size=(books, 1, outputs))
    return drawn


@pytest.mark.parametrize(
    ("books", "prototypes", "outputs", "kind", "options"),
    [
        (1, 2, 1, "any", {}),
        (1, 64, 3, "any", {}),
        (2, 4, 2, "uneven", {}),
        (5, 32, 4, "sparse", {}),
        (9, 16, 3, "sparse", {"max_latency": 5}),
        (9, 8, 3, "uneven", {"max_latency": 20}),
        (13, 16, 3, "any", {}),
    ],
)
def test_sums_follow_codes(hold_pipeline, books, prototypes, outputs, kind, options):
    rng = np.random.default_rng(books)
    entries = tables(books, prototypes, outputs, kind, rng)
    bias = rng.integers(-5000, 5000, outputs)
    component = Lookup(entries, bias, **options)
    assert component.latency <= options.get("max_latency", 3 + (books - 1).bit_length())
    best, worst = (f(entries, axis=1).T for f in (np.argmax, np.argmin))  # [outputs, codebooks]
    codes = np.concatenate([best, worst, rng.integers(prototypes, size=(60, books))])
    sums = bias + sum(entries[c, codes[:, c]] for c in range(books))
    hold_pipeline(component, "codes", codes, "sums", sums)


def test_sums_are_as_wide_as_they_must_be():
    for low, high, width in product((-4, 0), (3, 4), (3,)):
        entries = np.array([low, high]).reshape(1, 2, 1)
        shape = Lookup(entries, np.zeros(1, int)).sums.shape().elem_shape
        assert shape.signed == (low < 0)
        assert shape.width == (width if high == 3 or low == 0 else width + 1) - (
            (low, high) == (0, 3)
        )


@pytest.mark.parametrize("prototypes", [pytest.param(16, marks=pytest.mark.slow), 32])
def test_area(prototypes):
    """Look-up tables a codebook and output, with tables of 8 bits that have no structure."""
    pytest.importorskip("pyosys", reason="needs the extra [fpga]")
    rng = np.random.default_rng(0)
    component = Lookup(rng.integers(256, size=(8, prototypes, 2)), rng.integers(1000, size=2))
    used = synthesise(component, device("xcup")).resources
    assert used.lut <= 8 * 2 * 11
    assert used.lutram == 0
