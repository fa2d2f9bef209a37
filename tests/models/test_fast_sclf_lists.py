"""List decoding against one frame, path and leaf at a time; against SCL and maximum likelihood."""

from copy import copy
from dataclasses import dataclass, field
from itertools import product
from math import inf

import numpy as np
import pytest
import torch
from thresher.models.codes.named import polar
from thresher.models.codes.polar import transform
from thresher.models.fast_sclf.formats import Formats
from thresher.models.fast_sclf.lists import ListDecoder
from thresher.models.fast_sclf.nodes import leaves
from thresher.models.fast_sclf.selection import Evidence
from thresher.models.threads import one_thread

EXACT = Formats(dtype=torch.float64)


@dataclass
class Path:
    """Of the plain decoder: the bits of u before, and the leaf under way."""

    u: np.ndarray
    y: float = 0
    z: float = 0
    word: np.ndarray = field(init=False)
    toggled: np.ndarray = field(init=False)
    """Lanes that every flip flips, too."""
    strengths: np.ndarray = field(init=False)
    lanes: np.ndarray = field(init=False)
    """The least reliable first."""

    def flipped(self, x, mask, top):
        other = copy(self)
        other.y, other.z = min(self.z + x, top), min(self.y + x, top)
        other.word = self.word ^ mask
        return other


def node(sign, magnitude, u, size, most):
    """Signs and magnitudes of the LLRs of the node of ``size`` bits that follow ``u``."""
    if len(sign) == size:
        return sign, magnitude
    half = len(sign) // 2
    (sa, sb), (ma, mb) = sign.reshape(2, -1), magnitude.reshape(2, -1)
    if len(u) < half:
        return node(sa ^ sb, np.minimum(ma, mb), u, size, most)
    sa = sa ^ transform(u[:half]).astype(bool)
    total = np.where(sa == sb, np.minimum(ma + mb, most), abs(ma - mb))
    sign = np.where(sa == sb, sa, np.where(ma > mb, sa, sb & (ma != mb)))
    return node(sign, total, u[half:], size, most)


def plain(llrs, found, lists, flip=-1, most=inf, top=inf):
    """Words, metrics, offset and (kept, dropped) of every selection, of one frame."""
    paths, low, offset, selections = [Path(np.zeros(0, np.uint8))], 0, 0, []

    def split(paths, strengths, masks):
        keep = [(p.y, i, p) for i, p in enumerate(paths)]
        flipped = [p.flipped(x, m, top) for p, x, m in zip(paths, strengths, masks, strict=True)]
        every = sorted(keep + [(p.y, len(paths) + i, p) for i, p in enumerate(flipped)])
        every = [p for _, _, p in every]
        if len(every) <= lists:
            return every
        selections.append((every[0].y + offset, every[lists].y + offset))
        return every[lists:] if len(selections) - 1 == flip else every[:lists]

    for leaf in found:
        if top < inf:
            offset = min(offset + low, 16 * top + 15)
            for p in paths:
                p.y -= low
            low = 0
        for p in paths:
            sign, magnitude = node(np.signbit(llrs), abs(llrs), p.u, leaf.size, most)
            p.word, p.lanes = sign.copy(), np.argsort(magnitude, kind="stable")
            p.toggled, p.strengths = np.zeros(leaf.size, bool), magnitude
            p.z = p.y
            if leaf.kind in ("rate-0", "rep"):
                p.z = min(p.y + magnitude[~sign].sum(), top)
                p.y = min(p.y + magnitude[sign].sum(), top)
                p.word[:] = False
            if leaf.kind == "spc":
                lane, *_ = p.lanes
                p.toggled[lane], least = True, magnitude[lane]
                p.z = min(p.y + least * (1 - sign.sum() % 2), top)
                p.y = min(p.y + least * (sign.sum() % 2), top)
                p.word[lane] ^= bool(sign.sum() % 2)
        for at in range(leaf.splits(lists)):
            if leaf.kind == "rep":
                strengths, masks = [0] * len(paths), [np.ones(leaf.size, bool)] * len(paths)
            else:
                lanes = [p.lanes[at + (leaf.kind == "spc")] for p in paths]
                strengths = [p.strengths[lane] for p, lane in zip(paths, lanes, strict=True)]
                masks = [
                    p.toggled ^ (np.arange(leaf.size) == lane)
                    for p, lane in zip(paths, lanes, strict=True)
                ]
            paths = split(paths, strengths, masks)
            low = paths[0].y
        paths = [Path(np.append(p.u, transform(p.word)), p.y) for p in paths]
    words = np.array([transform(p.u) for p in paths])
    return words, [p.y for p in paths], offset, np.array(selections).reshape(-1, 2)


def frozen_bits(rng, n):
    """At random, or as codes have them: some bits far from both ends of a random half order."""
    if rng.random() < 0.4:
        frozen = rng.random(n) < rng.choice([0.3, 0.6])
    else:
        weight = np.array([i.bit_count() for i in range(n)]) + rng.normal(0, 0.6, n)
        frozen = weight < np.quantile(weight, rng.choice([0.3, 0.5, 0.7]))
    frozen[-1] = False
    return frozen


def decode(decoder, llrs, flips=None):
    evidence = Evidence()
    with one_thread():
        flips = None if flips is None else torch.from_numpy(flips)
        paths = decoder(torch.from_numpy(llrs), flips, evidence)
    words = (paths.signs < 0).numpy().astype(np.uint8)
    return words, paths.metrics.numpy(), paths.offset.numpy(), evidence


def assert_plain(decoder, found, llrs, flips, most=inf, top=inf):
    words, metrics, offsets, evidence = decode(decoder, llrs, flips)
    for i, (y, flip) in enumerate(zip(llrs, flips, strict=True)):
        want = plain(y, found, decoder.lists, flip, most, top)
        assert np.array_equal(words[i], want[0])
        assert metrics[i] == pytest.approx(want[1], rel=1e-12, abs=1e-12)
        assert offsets[i] == want[2]
        assert decoder.selections == len(want[3])
        if len(want[3]):
            assert evidence.kept[i].tolist() == pytest.approx(want[3][:, 0].tolist(), rel=1e-12)
            assert evidence.dropped[i].tolist() == pytest.approx(want[3][:, 1].tolist(), rel=1e-12)


@pytest.mark.parametrize("lists", [1, 2, 4, 8])
@pytest.mark.parametrize("seed", range(6))
def test_floating_point_is_the_plain_decoder(seed, lists):
    """Bit by bit and by leaves, with and without flips."""
    rng = np.random.default_rng([seed, lists])
    n = 1 << rng.integers(3, 8)
    found = leaves(frozen_bits(rng, n), [1, 8, None][seed % 3])
    decoder = ListDecoder(found, lists, EXACT)
    flips = rng.integers(-1, max(decoder.selections, 1), 5)
    assert_plain(decoder, found, rng.normal(0.5, 1, (5, n)), flips)


@pytest.mark.parametrize("lists", [1, 2, 4, 8])
@pytest.mark.parametrize("seed", range(6))
def test_engines_integers_are_the_plain_decoder(seed, lists):
    """Ties, zeros of either sign, saturated LLRs, metrics and offsets."""
    rng = np.random.default_rng([seed, lists, 1])
    n = 1 << rng.integers(3, 8)
    most, top = [(3, 15), (31, 255), (7, 15)][seed % 3]
    found = leaves(frozen_bits(rng, n), [8, None][seed % 2])
    decoder = ListDecoder(found, lists, Formats(most, top))
    flips = rng.integers(-1, max(decoder.selections, 1), 6)
    llrs = np.copysign(rng.integers(0, most + 1, (6, n)), rng.normal(0.5, 1, (6, n)))
    llrs[0] = np.copysign(0, llrs[0])
    llrs[1] = np.copysign(most, llrs[1])
    assert_plain(decoder, found, llrs.astype(np.float32), flips, most, top)


def test_offsets_saturate():
    """Noise alone: every leaf of a long code adds to the offset."""
    found = leaves(np.arange(512) % 4 < 3)
    decoder = ListDecoder(found, 4, Formats(31, 15))
    llrs = np.copysign(31, np.random.default_rng(0).normal(0, 1, (3, 512))).astype(np.float32)
    assert (decode(decoder, llrs)[2] == 255).all()
    assert_plain(decoder, found, llrs, np.array([-1, 3, 60]), 31, 15)


@pytest.mark.parametrize("seed", range(12))
def test_enough_paths_are_maximum_likelihood(seed):
    rng = np.random.default_rng([seed, 2])
    n, k = int(rng.choice([8, 16, 32])), int(rng.integers(1, 6))
    frozen = np.ones(n, bool)
    frozen[rng.choice(n, k, replace=False)] = False
    u = np.zeros((1 << k, n), np.uint8)
    u[:, ~frozen] = list(product((0, 1), repeat=k))
    every = transform(u)
    llrs = rng.normal(0.3, 1, (40, n))
    best = every[(llrs @ (1.0 - 2 * every.T)).argmax(1)]
    for largest in (1, None):
        words, metrics, *_ = decode(ListDecoder(leaves(frozen, largest), 32, EXACT), llrs)
        assert np.array_equal(words[np.arange(40), metrics.argmin(1)], best)


def assert_fast_is_scl(n, lists, frames, seed):
    """The same words in every slot, and metrics that are what the words disagree with."""
    rng = np.random.default_rng([n, lists, seed])
    frozen = frozen_bits(rng, n)
    llrs = rng.normal(rng.uniform(0.4, 1.2), 1, (frames, n))
    slow, slow_metrics, *_ = decode(ListDecoder(leaves(frozen, 1), lists, EXACT), llrs)
    largest = [None, 32][seed % 2]
    fast, metrics, *_ = decode(ListDecoder(leaves(frozen, largest), lists, EXACT), llrs)
    assert np.array_equal(slow, fast)
    disagreed = (abs(llrs)[:, None] * (fast != (llrs < 0)[:, None])).sum(2)
    assert metrics == pytest.approx(disagreed)
    assert slow_metrics == pytest.approx(disagreed)


@pytest.mark.parametrize("lists", [1, 2, 4, 8])
@pytest.mark.parametrize("n", [32, 64, 128, 256, 512])
def test_fast_scl_is_scl(n, lists):
    assert_fast_is_scl(n, lists, 40, 0)


@pytest.mark.slow
@pytest.mark.parametrize("lists", [1, 2, 4, 8])
@pytest.mark.parametrize("n", [32, 64, 128, 256, 512])
def test_fast_scl_is_scl_on_100_000_frames(n, lists):
    for seed in range(1, 6):
        assert_fast_is_scl(n, lists, 1000, seed)


def test_5g_code_fast_scl_is_scl():
    code = polar("polar-512-256-crc24c")
    rng = np.random.default_rng(3)
    llrs = (1 - 2.0 * code.encode(rng.integers(0, 2, (60, 256), np.uint8))) + rng.normal(
        0, 0.8, (60, 512)
    )
    words = [decode(ListDecoder(leaves(code.frozen, x), 4, EXACT), llrs)[0] for x in (1, 32, None)]
    assert np.array_equal(words[0], words[1])
    assert np.array_equal(words[0], words[2])


@pytest.mark.parametrize("lists", [0, 3, -4])
def test_lists_are_powers_of_two(lists):
    with pytest.raises(ValueError, match="not a power of two"):
        ListDecoder(leaves(np.arange(8) < 4), lists)
