"""Linear codes, CRCs, polar and BCH codes: against definitions, published values, brute force."""

from itertools import combinations, product

import numpy as np
import pytest
from thresher.models import data
from thresher.models.codes import gf2
from thresher.models.codes.bch import bch
from thresher.models.codes.crc import CRCS, Crc, crc
from thresher.models.codes.linear import LinearCode, crc_code, random_code
from thresher.models.codes.named import code
from thresher.models.codes.polar import (
    PolarCode,
    is_word,
    order_5g,
    order_gaussian,
    polar_5g,
    transform,
)

NAMES = [
    "polar-128-105-crc11", "polar-64-32", "polar-1024-512-crc24c", "bch-127-113", "bch-128-113",
    "bch-15-7", "random-40-17", "random-40-17-3", "crc-128-104-crc24a", "crc-32-21-crc11",
]  # fmt: skip


@pytest.fixture
def rng():
    return np.random.default_rng(4)


@pytest.mark.parametrize("seed", range(20))
def test_row_reduction_null_space_and_rank(seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 2, (rng.integers(1, 8), rng.integers(1, 9)), np.uint8)
    if seed % 2:  # dependent rows
        a = np.concatenate([a, a[:1] ^ a[-1:]])
    sums = {tuple(gf2.multiply(np.array(u, np.uint8), a)) for u in product((0, 1), repeat=len(a))}
    assert len(sums) == 2 ** gf2.rank(a)
    reduced, pivots = gf2.row_reduce(a)
    assert np.array_equal(reduced[:, pivots], np.eye(len(pivots)))
    assert sums == {
        tuple(gf2.multiply(np.array(u, np.uint8), reduced))
        for u in product((0, 1), repeat=len(pivots))
    }
    null = gf2.null_space(a)
    assert null.shape == (a.shape[1] - len(pivots), a.shape[1])
    assert not gf2.multiply(a, null.T).any()
    assert gf2.rank(null) == len(null)


def test_inverse(rng):
    a = np.triu(rng.integers(0, 2, (9, 9), np.uint8), 1) | np.eye(9, dtype=np.uint8)
    a = a[rng.permutation(9)]
    assert np.array_equal(gf2.multiply(gf2.inverse(a), a), np.eye(9))
    with pytest.raises(ValueError, match="rank 8 has no inverse"):
        gf2.inverse(np.eye(9, dtype=np.uint8) * (np.arange(9) > 0).astype(np.uint8))


def test_pack_puts_the_first_bit_lowest():
    assert gf2.pack(np.array([[1, 0, 0, 1], [0, 1, 1, 0]])).tolist() == [9, 6]
    assert gf2.pack(np.eye(64, dtype=np.uint8)).view(np.uint64).tolist() == [
        1 << i for i in range(64)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_code_encodes_checks_and_recovers(name, rng):
    c = code(name)
    messages = rng.integers(0, 2, (40, c.k), np.uint8)
    words = c.encode(messages)
    assert (words.shape, c.H.shape, c.G.shape) == ((40, c.n), (c.n - c.k, c.n), (c.k, c.n))
    assert not c.syndrome(words).any()
    assert np.array_equal(c.message(words), messages)
    assert np.array_equal(words[:, c.information], messages) == c.systematic
    if c.even_weight:
        assert not (words.sum(1) & 1).any()
    else:
        assert (c.G.sum(1) & 1).any()
    flipped = words.copy()
    flipped[:, 3] ^= 1
    assert np.array_equal(c.syndrome(flipped), np.broadcast_to(c.H[:, 3], (40, c.checks)))
    if c.checks <= 64:
        assert np.array_equal(c.columns, gf2.pack(c.H.T))
    if not name.startswith(("random-40-17", "crc-32-21-crc11")):
        assert c.name.startswith(name)


def test_which_codes_have_even_weight_and_are_systematic():
    facts = {n: (code(n).even_weight, code(n).systematic) for n in NAMES}
    assert facts["polar-128-105-crc11"] == (True, False)  # u_0 is frozen; 5G is not systematic
    assert facts["bch-127-113"] == (False, True)
    assert facts["bch-128-113"] == (True, True)
    assert facts["crc-128-104-crc24a"] == (True, True)  # x + 1 divides its polynomial
    assert facts["crc-32-21-crc11"] == (False, True)  # five terms: it does not


def test_given_generators_and_messages_of_the_same_code(rng):
    H = random_code(12, 5).H
    systematic = LinearCode(H)
    mixed = LinearCode(H, gf2.multiply(np.triu(np.ones((5, 5), np.uint8)), systematic.G))
    assert systematic.systematic
    assert not mixed.systematic
    message = rng.integers(0, 2, (7, 5), np.uint8)
    assert np.array_equal(mixed.message(mixed.encode(message)), message)


def test_wrong_matrices_are_explained():
    H = random_code(12, 5).H
    with pytest.raises(ValueError, match=r"8 rows but rank 7.*row_reduce"):
        LinearCode(np.concatenate([H, H[:1] ^ H[1:2]]))
    with pytest.raises(ValueError, match="12 rows and 12 columns"):
        LinearCode(np.eye(12, dtype=np.uint8))
    with pytest.raises(ValueError, match="not a matrix of 0 and 1"):
        LinearCode(2 * H)
    with pytest.raises(ValueError, match="does not generate the code"):
        LinearCode(H, np.eye(5, 12, dtype=np.uint8))
    with pytest.raises(ValueError, match="two messages share a word"):
        LinearCode.generated(np.ones((2, 4), np.uint8))
    with pytest.raises(ValueError, match=r"message has 5 bits, not the shape \(4,\)"):
        LinearCode(H).encode(np.ones(4, np.uint8))


@pytest.mark.parametrize(
    ("name", "check"),
    [("crc24a", 0xCDE703), ("crc24b", 0x23EF52), ("crc16", 0x31C3), ("crc11x307", 0x061)],
)
def test_crcs_of_the_catalogue_of_parametrised_crcs(name, check):
    """Check values of "123456789" for LTE-A, LTE-B, XMODEM and UMTS."""
    message = np.unpackbits(np.frombuffer(b"123456789", np.uint8))
    assert int("".join(map(str, crc(name).compute(message))), 2) == check


def test_crc_is_long_division(rng):
    for c in [*CRCS.values(), Crc(3, 0b011)]:
        message = rng.integers(0, 2, 50)
        rest = int("".join(map(str, message)), 2) << c.length
        for i in reversed(range(c.length, rest.bit_length())):
            rest ^= ((1 << c.length | c.polynomial) << i - c.length) * (rest >> i & 1)
        assert "".join(map(str, c.compute(message))) == f"{rest:0{c.length}b}"


def test_reliability_sequence_is_the_standards():
    rows = data.table("polar_5g_reliability_sequence.csv", ";")
    assert order_5g(1024).tolist() == [int(index) for _, index in rows]


def test_reliability_sequence_is_nested_and_respects_the_partial_order():
    assert sorted(order_5g(1024)) == list(range(1024))
    rank = np.argsort(order_5g(128))
    for low, high in combinations(range(128), 2):
        if low & high == low:  # every step of `high` is at least as good
            assert rank[low] < rank[high]
    assert order_5g(8).tolist() == [0, 1, 2, 4, 3, 5, 6, 7]


def test_polar_transform_is_the_kronecker_power(rng):
    F = np.array([[1, 0], [1, 1]], np.uint8)
    power = np.array([[1]], np.uint8)
    for _ in range(5):
        power = np.kron(power, F)
    u = rng.integers(0, 2, (10, 32), np.uint8)
    assert np.array_equal(transform(u), gf2.multiply(u, power))
    assert np.array_equal(transform(transform(u)), u)


def test_polar_words_keep_frozen_bits_and_crc(rng):
    polar = polar_5g(128, 105, crc("crc11"))
    assert (polar.n, polar.k, len(polar.information), polar.rate) == (128, 105, 116, 105 / 128)
    assert set(polar.information) == set(order_5g(128)[12:])
    message = rng.integers(0, 2, (20, 105), np.uint8)
    words = polar.encode(message)
    u = transform(words)
    assert not u[:, polar.frozen].any()
    assert np.array_equal(u[:, polar.information[:105]], message)
    assert np.array_equal(u[:, polar.information[105:]], crc("crc11").compute(message))
    assert np.array_equal(polar.linear.encode(message), words)
    assert is_word(polar, words).all()
    words[np.arange(20), rng.integers(0, 128, 20)] ^= 1
    assert not is_word(polar, words).any()


def test_gaussian_approximation_orders_indices():
    for n in (8, 64, 1024):
        order = order_gaussian(n, 0.0)
        assert sorted(order) == list(range(n))
        assert (order[0], order[-1]) == (0, n - 1)
    # Two constructions of one half rate: they differ in few indices only.
    assert len(set(order_gaussian(512, -1.0)[256:]) & set(order_5g(512)[256:])) > 245
    good = PolarCode.of_order(order_gaussian(64, 3.0), 32, crc("crc6"))
    assert (good.k, len(good.information)) == (32, 38)


def test_wrong_polar_codes_are_explained():
    with pytest.raises(ValueError, match=r"120 bits and a CRC of 11 do not fit.*1 to 117"):
        polar_5g(128, 120, crc("crc11"))
    with pytest.raises(ValueError, match="n = 100 is not a power of two"):
        polar_5g(100, 50)
    with pytest.raises(ValueError, match="length is a power of two"):
        PolarCode(np.zeros(100, bool))
    with pytest.raises(ValueError, match="one true or false a bit"):
        PolarCode(np.arange(8))
    with pytest.raises(ValueError, match="leaves a message of -3 bits"):
        PolarCode(np.arange(8) < 5, crc("crc6"))


def test_bch_generators_are_the_published_ones():
    def generator(n, k):
        """The last row of the cyclic code's generator matrix: the word of lowest degree."""
        c = bch(n, k)
        return int("".join(map(str, c.encode(np.eye(c.k, dtype=np.uint8)[-1]))), 2)

    assert generator(15, 11) == 0b10011
    assert generator(15, 7) == 0b111010001
    assert generator(15, 5) == 0b10100110111
    assert generator(31, 21) == 0b11101101001
    assert generator(63, 51) == 0b1010100111001


def test_bch_127_113_corrects_two_errors():
    columns = bch(127, 113).columns
    pairs = columns[:, None] ^ columns
    syndromes = np.concatenate([[0], columns, pairs[np.triu_indices(127, 1)]])
    assert len(np.unique(syndromes)) == 1 + 127 + 127 * 63


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("polr-128-105", "did you mean polar"),
        ("polar-128", "not written like polar-128-105-crc11"),
        ("polar-128-105-crc12", "did you mean crc16 or crc11"),
        ("polar-128-105-crc11x620", "ends in"),
        ("bch-127-100", "k is one of 120, 113, 106"),
        ("bch-100-50", r"2\*\*m - 1 nor 2\*\*m"),
        ("bch-127-113-3", "no option '3'"),
        ("random-10-10", "1 to n - 1 = 9"),
        ("random-10-5-x", "not a seed"),
        ("crc-20-10-crc11", "crc11 has 11 bits, but n - k = 10"),
    ],
)
def test_wrong_names_are_explained(name, message):
    with pytest.raises(ValueError, match=message):
        code(name)


def test_random_codes_are_reproducible():
    assert np.array_equal(random_code(20, 9, 1).H, random_code(20, 9, 1).H)
    assert not np.array_equal(random_code(20, 9, 1).H, random_code(20, 9, 2).H)
    assert crc_code(30, crc("crc6")).k == 24
