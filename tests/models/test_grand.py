"""GRAND's golden decoders against decoding written out, and the published error rates."""

import numpy as np
import pytest
import torch
from thresher.models.codes.channel import Awgn, Bsc, Quantiser, magnitude
from thresher.models.codes.montecarlo import random_bits, simulate
from thresher.models.codes.named import code
from thresher.models.grand.decoder import Grand, step_grand
from thresher.models.grand.one_line import OneLine
from thresher.models.grand.patterns import PARITIES, Patterns, Staircase
from thresher.models.grand.search import InOrder, Middle, Staged

POLAR = "polar-128-105-crc11"


def plain(decoder, received):
    """One word after the other and one pattern after the other."""
    c, patterns = decoder.code, decoder.patterns
    for y in received:
        word = (y < 0).astype(np.uint8)
        parity = int(word.sum() % 2) if decoder.skip_parity else None
        strength = magnitude(y)
        order = sorted(range(c.n), key=lambda i: (strength[i], i))
        if isinstance(decoder, OneLine):
            half = c.n // 2
            least, middle = (float(strength[order[r - 1]]) for r in (1, half))
            slope = (middle - least) / (half - 1)
            ratio = 0.0 if least == 0 else np.inf if slope == 0 else least / slope
            offset = min(max(np.floor(ratio - 1 + 0.5), 0), decoder.staircase.lw_max)
            rows = sorted(
                np.flatnonzero(patterns.tested(parity)),
                key=lambda r: (patterns.lw[r] + offset * patterns.hw[r], patterns.hw[r], r),
            )[: decoder.max_queries]
            cycles = None
        else:
            rows = np.flatnonzero(patterns.tested(parity))
            cycles = patterns.cycles(parity)
        for query, row in enumerate(rows, 1):
            flipped = word.copy()
            flipped[[order[r - 1] for r in patterns.ranks[row] if r]] ^= 1
            if not c.syndrome(flipped).any():
                yield flipped, int(row), query, cycles is None or int(cycles[row])
                break
        else:
            yield word, -1, len(rows), cycles is None or decoder.staircase.worst_cycles(parity)


def assert_plain(decoder, received):
    decoded = decoder(received)
    words, rows, queries, cycles = zip(*plain(decoder, received), strict=True)
    assert decoded.rows.tolist() == list(rows)
    assert decoded.found.tolist() == [row >= 0 for row in rows]
    assert np.array_equal(decoded.words, words)
    assert decoded.costs["queries"].tolist() == list(queries)
    if "cycles" in decoded.costs:
        assert decoded.costs["cycles"].tolist() == list(cycles)
    return decoded


def frames(c, count, channel, seed=0):
    rng = np.random.default_rng(seed)
    return channel.send(c.encode(random_bits(rng, count, c.k)), rng)


DECODERS = [
    ("bch-31-21", (20, 20, 20, 24, 20), False, Grand),
    ("bch-32-21", (20, 20, 20, 24, 20), True, Grand),
    ("bch-32-21", (12, 12), True, Grand),
    ("polar-32-15-crc6", (32, 40, 30, 30), True, Grand),
    ("random-24-14", (8, 0, 24, 0, 20), False, Grand),
    ("bch-31-21", (20, 20, 20, 24, 20), False, OneLine),
    ("bch-32-21", (20, 20, 20, 24, 20), True, OneLine),
]


@pytest.mark.parametrize(("name", "limits", "skip", "kind"), DECODERS)
def test_decoders_are_what_they_say(name, limits, skip, kind):
    c = code(name)
    decoder = kind(c, Staircase(c.n, limits), skip)
    noisy = frames(c, 60, Awgn.at(1.0, c.rate))
    decoded = assert_plain(decoder, noisy)
    assert 0 < decoded.found.sum() < 60 or kind is OneLine
    assert_plain(decoder, Quantiser(4, 0.2)(noisy))  # ties and saturation
    assert_plain(decoder, frames(c, 20, Bsc(0.08)))  # nothing but ties
    assert_plain(decoder, np.zeros((2, c.n), np.int64))
    assert_plain(decoder, np.zeros((2, c.n), np.float32))


def test_long_searches_are_what_they_say():
    """Patterns that only meeting in the middle finds, and abandoned words."""
    c = code(POLAR)
    decoder = Grand(c, Staircase(128, (40, 40, 40, 40, 36, 36)), skip_parity=True)
    assert len(decoder.patterns) > 3000
    noisy = Quantiser()(frames(c, 40, Awgn.at(3.5, c.rate)))
    decoded = assert_plain(decoder, noisy)
    assert decoded.rows.max() > 1025
    assert not decoded.found.all()


def test_one_line_stops_after_max_queries():
    c = code("bch-31-21")
    noisy = frames(c, 40, Awgn.at(1.0, c.rate))
    decoder = OneLine(c, Staircase.orbgrand(31, 30, 5), max_queries=50)
    decoded = assert_plain(decoder, noisy)
    assert decoded.costs["queries"].max() == 50
    assert not decoded.found.all()


def test_one_line_at_no_offset_is_orbgrand():
    decoder = OneLine(code("bch-31-21"), Staircase(31, (20, 20, 20, 24)))
    assert decoder.order(0).tolist() == list(range(len(decoder.patterns)))
    by_weight = decoder.order(1000)
    assert np.array_equal(decoder.patterns.hw[by_weight], np.sort(decoder.patterns.hw))


@pytest.mark.parametrize("checks", [8, 23, 31, 63])
def test_searches_agree(checks):
    """Testing in order and meeting in the middle, in 32 and 64 bits, with few and many matches."""
    rng = np.random.default_rng(checks)
    dtype = torch.int32 if checks <= 31 else torch.int64
    for staircase in (
        Staircase.orbgrand(128, 40, 6),
        Staircase(128, (72, 72, 40, 30, 29, 31, 36)),
        Staircase(20, (0, 19, 0, 40, 39, 45)),
        Staircase.orbgrand(12, 12, 2),
    ):
        patterns, words = Patterns(staircase), 60
        table = rng.integers(1, 1 << checks, (staircase.n + 1, words))
        table[0] = 0
        target = rng.integers(1, 1 << checks, words)
        planted = rng.integers(1, len(patterns), words // 2)
        for word, row in enumerate(planted):
            target[word] = np.bitwise_xor.reduce(table[patterns.ranks[row], word])
        arguments = torch.from_numpy(table).to(dtype), torch.from_numpy(target).to(dtype)
        first = InOrder(patterns.ranks)(*arguments)
        assert (first[: words // 2] >= 0).all()
        assert (first[: words // 2] <= torch.from_numpy(planted)).all()
        assert torch.equal(Middle(patterns)(*arguments), first)
        assert torch.equal(Staged(patterns)(*arguments), first)


def test_a_word_is_decoded_alone_as_in_company():
    c = code(POLAR)
    decoder = step_grand(c)
    noisy = frames(c, 300, Awgn.at(4.0, c.rate))
    together = decoder(noisy)
    alone = [decoder(noisy[i : i + 1]) for i in range(0, 300, 7)]
    assert np.array_equal(together.words[::7], np.concatenate([d.words for d in alone]))
    for name in ("queries", "cycles"):
        assert together.costs[name][::7].tolist() == [int(d.costs[name][0]) for d in alone]
    none = decoder(noisy[:0])
    assert (none.words.shape, none.found.shape) == ((0, 128), (0,))


def test_skipping_by_parity_changes_costs_alone():
    c = code(POLAR)
    noisy = frames(c, 400, Awgn.at(4.0, c.rate))
    plain_, skipping = (Grand(c, skip_parity=skip)(noisy) for skip in (False, True))
    assert np.array_equal(plain_.rows, skipping.rows)
    assert np.array_equal(plain_.words, skipping.words)
    odd = (noisy < 0).sum(1) % 2
    for name in ("queries", "cycles"):
        assert (skipping.costs[name] <= plain_.costs[name]).all()
    lost = ~plain_.found
    assert lost.any()
    assert set(skipping.costs["cycles"][lost]) <= {2877, 1409}
    assert ((skipping.costs["cycles"] == 1409)[lost] == odd[lost]).all()
    assert set(plain_.costs["queries"][lost]) == {116320}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", [Grand, OneLine])
def test_results_do_not_depend_on_the_device(kind):
    c = code(POLAR)
    for noisy in (frames(c, 2000, Awgn.at(4.0, c.rate)),):
        for received in (noisy, Quantiser()(noisy)):
            here, there = (kind(c, device=device)(received) for device in ("cpu", "cuda"))
            assert np.array_equal(here.words, there.words)
            assert np.array_equal(here.rows, there.rows)
            for name, cost in here.costs.items():
                assert np.array_equal(cost, there.costs[name])


def test_step_grand_uses_parity_where_it_can():
    even, odd = step_grand(code("bch-128-113")), step_grand(code("random-128-105"))
    assert (even.skip_parity, odd.skip_parity) == (True, False)
    assert max(even.staircase.worst_cycles(p) for p in PARITIES[1:]) == 400
    assert odd.staircase.worst_cycles() == 600


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Grand(code("bch-127-113"), skip_parity=True), "bch-127-113 has words of odd"),
        (lambda: Grand(code("bch-127-113"), Staircase.orbgrand(128)), "for 128 ranks.*127 bits"),
        (lambda: Grand(code("polar-128-32")), "n - k = 96 checks are more than 64"),
        (lambda: Grand(code("bch-31-21"))(np.zeros((2, 30))), r"\(2, 30\), not \[frames, 31\]"),
        (lambda: Grand(code("bch-31-21"))(np.full((1, 31), np.nan)), "NaN"),
        (lambda: OneLine(code("bch-31-21"), max_queries=0), "max_queries = 0"),
    ],
)  # fmt: skip
def test_wrong_uses_are_explained(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def rate(decoder, ebn0, **more):
    c = decoder.code
    return simulate(c, Awgn.at(ebn0, c.rate), decoder, **more)


def test_a_second_family_decodes():
    c = code("bch-127-113")
    tally = rate(Grand(c), 5.0, frames=8192, errors=10**9)
    uncoded = 1 - (1 - Awgn.at(5.0, c.rate).error_probability) ** 127
    assert tally.fer < uncoded / 50
    # n - k = 14: more than 2**14 tests are almost never needed, so hardly any word is abandoned.
    assert tally.abandoned < tally.errors / 5


def test_orbgrand_at_4_db():
    """The reference run's rate inside a wide interval of a short one; queries and cycles near."""
    tally = rate(Grand(code(POLAR)), 4.0, frames=8192)
    low, high = tally.interval(z=3)
    assert low < 4.31e-2 < high
    assert tally.mean("queries") == pytest.approx(8045, rel=0.12)
    assert tally.mean("cycles") == pytest.approx(356.4, rel=0.1)
    assert (tally.worst("queries"), tally.worst("cycles")) == (116320, 4221)
    assert 0 < tally.undetected < tally.errors / 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ebn0", "fer", "queries", "cycles"),
    [
        (4.0, 4.31e-2, 8045, 356.4),
        (4.5, 1.10e-2, 2464, 122.5),
        (5.0, 1.79e-3, 553, 34.6),
        (5.5, 3.22e-4, 127, 11.07),
    ],
)
def test_orbgrand_reference(ebn0, fer, queries, cycles):
    tally = rate(Grand(code(POLAR)), ebn0, errors=1800 if ebn0 < 5.5 else 300, seed=1)
    assert tally.errors >= 300
    assert tally.fer == pytest.approx(fer, rel=0.15)
    assert tally.mean("queries") == pytest.approx(queries, rel=0.05)
    assert tally.mean("cycles") == pytest.approx(cycles, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "skip", "ebn0", "fer", "queries", "cycles"),
    [
        ((72, 72, 72, 52, 39, 35), False, 5.0, 5.04e-3, 307.4, 22.06),
        ((72, 72, 72, 52, 39, 35), False, 5.5, 6.46e-4, 72.6, 8.33),
        ((72, 72, 72, 38, 31, 29), False, 5.0, 9.7e-3, 267.2, 18.18),
        ((72, 72, 72, 64, 49, 38), True, 4.5, 1.74e-2, 728.6, 41.59),
        ((72, 72, 72, 64, 49, 38), True, 5.0, 3.07e-3, 191.1, 16.45),
        ((72, 72, 72, 64, 49, 38), True, 5.5, 3.49e-4, 44.24, 6.82),
    ],
)
def test_step_grand_reference(limits, skip, ebn0, fer, queries, cycles):
    tally = rate(Grand(code(POLAR), Staircase(128, limits), skip), ebn0, errors=600, seed=2)
    assert tally.fer == pytest.approx(fer, rel=0.15)
    assert tally.mean("queries") == pytest.approx(queries, rel=0.07)
    assert tally.mean("cycles") == pytest.approx(cycles, rel=0.05)
