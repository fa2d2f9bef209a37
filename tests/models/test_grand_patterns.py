"""Order, counts and cycles of GRAND's patterns against brute force."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thresher.models.grand.patterns import (
    PARITIES,
    STEP_GRAND,
    STEP_GRAND_ANY,
    Patterns,
    Staircase,
    take_apart,
)
from thresher.models.grand.split import Split

STAIR = (72, 72, 72, 52, 39, 35)
STAIR_BY_PARITY = (72, 72, 72, 64, 49, 38)
ODD_SHAPES = [
    Staircase(128, (40, 40, 40, 36, 31, 28)),
    Staircase(9, (9, 17, 20, 20, 20, 21)),
    Staircase(20, (0, 19, 0, 40, 39, 45)),
    Staircase(12, (12, 3)),
    Staircase(5, (1,)),
    Staircase.orbgrand(6, 30, 6),
    Staircase(128, (40, 40, 40, 36, 31, 34), (3, 4, 3)),
    Staircase(11, (9, 17, 20, 30, 30, 40), (2, 9, 3)),
    Staircase(128, (40, 40, 40, 36, 31, 34), (3, 4, 3), 15),
    Staircase(30, (20, 29, 27), (), 9),
]


def brute(staircase, most=None):
    """Every set of ranks within the limits, found part by part, sorted by the rule's words."""
    top = most or staircase.lw_max
    found = []

    def grow(chosen, total):
        prefix = chosen[:-3]
        highest = staircase.prefixes[len(prefix) - 1] if prefix and staircase.prefixes else 999
        below = not prefix or prefix[-1] <= highest
        if len(chosen) > 1 and staircase.reach:
            third = chosen[-3] if len(chosen) > 2 else 0
            below &= chosen[-2] + max((third, *staircase.prefixes)) <= staircase.reach
        if not chosen or (total <= staircase.limits[len(chosen) - 1] and below):
            found.append((total, len(chosen), chosen))
        if len(chosen) < staircase.p:
            for rank in range((chosen or (0,))[-1] + 1, min(staircase.n, top - total) + 1):
                grow((*chosen, rank), total + rank)

    grow((), 0)
    return [chosen for _, _, chosen in sorted(found)]


def sets(patterns, count=None):
    return [tuple(r for r in row if r) for row in patterns.ranks[:count].tolist()]


@pytest.mark.parametrize(
    ("lw_max", "p", "count"), [(64, 3, 7512), (64, 4, 29177), (64, 5, 70362), (64, 6, 116320)]
)
def test_orbgrand_order_is_that_of_brute_force(lw_max, p, count):
    patterns = Patterns(Staircase.orbgrand(128, lw_max, p))
    assert len(patterns) == patterns.staircase.worst_queries() == count
    assert sets(patterns) == brute(patterns.staircase)


def test_orbgrand_counts_by_hamming_weight():
    hw = Patterns(Staircase.orbgrand(128)).hw
    assert np.bincount(hw).tolist() == [1, 64, 992, 6455, 21665, 41185, 45958]
    assert Staircase.orbgrand(128, 128, 6).worst_queries() == 7422524


@pytest.mark.parametrize("staircase", [Staircase.orbgrand(128, 96, 8), *ODD_SHAPES], ids=str)
def test_order_is_strict_and_complete(staircase):
    """In order, valid, and as many as there are: which leaves no other list."""
    patterns, first = Patterns(staircase), slice(10**6)
    ranks, lw, hw = patterns.ranks[first], patterns.lw[first], patterns.hw[first]
    used = np.arange(staircase.p) < hw[:, None]
    assert ranks.min() >= 0
    assert ranks.max() <= staircase.n
    assert np.array_equal(ranks != 0, used)
    assert ((ranks[:, 1:] > ranks[:, :-1]) | ~used[:, 1:]).all()
    assert (lw <= np.append(0, staircase.limits)[hw]).all()
    words = np.column_stack([lw, hw, ranks])
    step = words[1:] - words[:-1]
    assert (step[np.arange(len(step)), (step != 0).argmax(1)] > 0).all()
    for most in np.unique(patterns.lw)[1::7]:
        lower = tuple(
            min(limit, int(most)) if most >= h * (h + 1) // 2 else 0
            for h, limit in enumerate(staircase.limits, 1)
        )
        count = replace(staircase, limits=lower).worst_queries()
        assert np.searchsorted(patterns.lw, most, "right") == count
    assert len(patterns) == staircase.worst_queries()


@pytest.mark.slow
def test_first_million_of_96_8():
    patterns = Patterns(Staircase.orbgrand(128, 96, 8))
    assert len(patterns) == patterns.staircase.worst_queries() == 3107282
    million = 10**6
    most = int(patterns.lw[million - 1])
    assert sets(patterns, million) == brute(patterns.staircase, most)[:million]


@pytest.mark.parametrize("staircase", ODD_SHAPES[1:], ids=str)
def test_any_staircase_is_that_of_brute_force(staircase):
    assert sets(Patterns(staircase)) == brute(staircase)


def dial(staircase, parity):
    """The patterns of every cycle, as the schedule's words say it."""
    tested = [h for h in range(1, staircase.p + 1) if parity is None or h % 2 == parity]
    top = max((staircase.limits[h - 1] for h in tested if h <= 3), default=0)
    cycles = [[()]]
    by_lw = {}
    for chosen in brute(staircase):
        if chosen and len(chosen) in tested:
            by_lw.setdefault(sum(chosen), []).append(chosen)
    for lw in range(1, staircase.lw_max + 1):
        if lw <= top:
            cycles.append([c for c in by_lw.get(lw, []) if len(c) <= 3])
        for h in tested:
            for chosen in by_lw.get(lw, []):
                if len(chosen) == h > 3:
                    last = cycles[-1][-1] if cycles[-1] else ()
                    same = (len(last), sum(last), last[: h - 3]) == (h, lw, chosen[: h - 3])
                    (cycles[-1].append if same else lambda c: cycles.append([c]))(chosen)
    return cycles


@pytest.mark.parametrize("parity", PARITIES)
@pytest.mark.parametrize("staircase", ODD_SHAPES, ids=str)
def test_queries_and_cycles_follow_the_dial(staircase, parity):
    patterns, cycles = Patterns(staircase), dial(staircase, parity)
    want = {c: number for number, tested in enumerate(cycles, 1) for c in tested}
    tested = patterns.tested(parity)
    got = patterns.cycles(parity)[tested].tolist()
    order = [c for c, t in zip(sets(patterns), tested, strict=True) if t]
    assert dict(zip(order, got, strict=True)) == want
    assert patterns.queries(parity)[tested].tolist() == list(range(1, len(want) + 1))
    assert staircase.worst_queries(parity) == len(want)
    assert staircase.worst_cycles(parity) == len(cycles)


@pytest.mark.parametrize(
    ("staircase", "parity", "cycles", "queries"),
    [
        ((64,) * 6, None, 4221, 116320),
        ((64,) * 6, 0, 2877, 68616),
        ((64,) * 6, 1, 1409, 47705),
        ((64,) * 5, None, 1815, 70362),
        ((64,) * 4, None, 471, 29177),
        ((64,) * 3, None, 65, 7512),
        ((96,) * 8, None, 93412, 3107282),
        (STAIR, None, 619, 22042),
        ((72, 72, 72, 38, 31, 29), None, 296, 13381),
        (STAIR_BY_PARITY, 0, 617, 23723),
        (STAIR_BY_PARITY, 1, 583, 18228),
        (STEP_GRAND, 0, 400, 15519),
        (STEP_GRAND, 1, 400, 20647),
        (STEP_GRAND_ANY, None, 600, 27611),
    ],
)
def test_worst_cases_by_closed_form_and_by_enumeration(staircase, parity, cycles, queries):
    if isinstance(staircase, tuple):
        staircase = Staircase(128, staircase)
    assert (staircase.worst_cycles(parity), staircase.worst_queries(parity)) == (cycles, queries)
    if queries < 10**6:
        patterns = Patterns(staircase)
        tested = patterns.tested(parity)
        assert (patterns.cycles(parity)[tested][-1], tested.sum()) == (cycles, queries)


def test_worst_cycles_of_large_orbgrands():
    assert Staircase.orbgrand(128, 128, 6).worst_cycles() == 77424
    assert Staircase.orbgrand(128, 128, 8).worst_cycles() == 572034


@st.composite
def staircases(draw):
    n = draw(st.integers(2, 14))
    limits = []
    for h in range(1, draw(st.integers(1, min(n, 7))) + 1):
        least = h * (h + 1) // 2
        limits.append(draw(st.one_of(st.just(0), st.integers(least, max(least, min(n * h, 30))))))
    if not any(limits):
        return Staircase(n, (n,))
    prefixes = tuple(draw(st.integers(h - 3, 8)) for h in range(4, len(limits) + 1))
    least = 2 * max(prefixes, default=0) + 3
    reach = draw(st.integers(least, least + 9))
    return Staircase(n, tuple(limits), *draw(st.sampled_from([(), (prefixes,), (prefixes, reach)])))


@settings(max_examples=60, deadline=None)
@given(staircases())
def test_rows_are_found_and_closed_forms_hold_anywhere(staircase):
    patterns = Patterns(staircase)
    split = Split(patterns)
    assert np.array_equal(split.rows(patterns.ranks), np.arange(len(patterns)))
    every = Patterns(
        Staircase(staircase.n, tuple(staircase.n * h for h in range(1, staircase.p + 1)))
    )
    inside = set(sets(patterns))
    wanted = [c in inside for c in sets(every)]
    assert (split.rows(every.ranks) >= 0).tolist() == wanted
    for parity in PARITIES:
        tested = patterns.tested(parity)
        assert staircase.worst_queries(parity) == tested.sum()
        assert staircase.worst_cycles(parity) >= patterns.cycles(parity)[tested].max()


def test_taking_apart():
    prefix, suffix = take_apart(np.array([[0, 0, 0, 0, 0], [3, 9, 0, 0, 0], [1, 2, 3, 4, 5]]))
    assert prefix.tolist() == [[0, 0], [0, 0], [1, 2]]
    assert suffix.tolist() == [[0, 0, 0], [3, 9, 0], [3, 4, 5]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Staircase(1, (1,)), "n = 1 ranks"),
        (lambda: Staircase(128, ()), "0 limits"),
        (lambda: Staircase(128, (5, 2)), "limit 2 of Hamming weight 2.*from 3.*to 256"),
        (lambda: Staircase(8, (9,)), "limit 9 of Hamming weight 1"),
        (lambda: Staircase(10, (10,) * 4, (2, 3)), "2 prefixes, one.*from 4 to 4, are not 1"),
        (lambda: Staircase(30, (30,) * 5, (2, 1)), "largest rank 1.*at least 2"),
        (lambda: Staircase(30, (30,) * 5, (), 9), "a reach of 9 needs prefixes"),
        (lambda: Staircase(30, (30,) * 4, (4,), 10), "reach 10 leaves.*at least 11"),
        (lambda: Staircase.orbgrand(128, 20, 6), "LWmax = 20 admits no pattern of P = 6.*21"),
        (lambda: Staircase.orbgrand(128, 64, 0), "lower P, which is at least 1"),
        (lambda: Patterns(Staircase.orbgrand(128, 128, 8)), "patterns, more than 16777216"),
    ],
)
def test_wrong_staircases_are_explained(make, message):
    with pytest.raises(ValueError, match=message):
        make()
