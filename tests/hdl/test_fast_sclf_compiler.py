"""Programs, carried out instruction by instruction, against a list decoder that goes bit by bit."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from amaranth.lib import data
from thresher.hdl.fast_sclf.compiler import Program, compile_program
from thresher.hdl.fast_sclf.layout import instruction
from thresher.hdl.fast_sclf.shape import Shape
from thresher.models.codes.crc import crc
from thresher.models.codes.polar import polar_5g, transform
from thresher.models.fast_sclf.config import FastSclfConfig
from thresher.models.fast_sclf.formats import Formats
from thresher.models.fast_sclf.lists import ListDecoder
from thresher.models.fast_sclf.nodes import leaves

WIDE = 1 << 40
CASES = 90


def shape_of(length=128, pes=8, leaf=4, lists=4, **more) -> Shape:
    options = {"lanes": 4, "beat": 4, "crc": "crc6", "program": 4096} | more
    options = {"crc": "crc6", **options}
    config = FastSclfConfig(length=length, pes=pes, leaf=leaf, list_size=lists, **options)
    return Shape(config)


def random_frozen(rng, n):
    """Anything from a good code to none at all, not entirely frozen."""
    order = np.argsort([i.bit_count() for i in range(n)] + rng.choice([0, 1, 9]) * rng.random(n))
    frozen = np.ones(n, bool)
    frozen[order[rng.integers(n) :]] = False
    return frozen


def random_case(seed):
    rng = np.random.default_rng(seed)
    pes = int(rng.choice([4, 4, 8, 16]))
    levels = rng.integers(pes.bit_length(), 10, 2)
    n, length = (int(2**level) for level in np.sort(levels).clip(max=7))
    length = max(length, 16)
    leaf = int(2 ** rng.integers(1, pes.bit_length()))
    shape = shape_of(length, pes, leaf, int(2 ** rng.integers(4)))
    return rng, shape, random_frozen(rng, n)


@dataclass
class Llrs:
    """Signs and magnitudes."""

    sign: np.ndarray
    magnitude: np.ndarray

    def __getitem__(self, key):
        return Llrs(self.sign[key], self.magnitude[key])

    def __setitem__(self, key, value):
        self.sign[key], self.magnitude[key] = value.sign, value.magnitude

    @classmethod
    def noise(cls, rng, *size):
        return cls(rng.integers(2, size=size), rng.integers(WIDE, size=size))


def f(a, b):
    return Llrs(a.sign ^ b.sign, np.minimum(a.magnitude, b.magnitude))


def g(a, b, u, most):
    sign, x, y = a.sign ^ u, a.magnitude, b.magnitude
    same = sign == b.sign
    magnitude = np.where(same, np.minimum(x + y, most), abs(x - y))
    return Llrs(np.where(same | (x > y), sign, np.where(x == y, 0, b.sign)), magnitude)


class Machine:
    """Carries out a program as :mod:`thresher.hdl.fast_sclf.layout` says, and checks its ways.

    Whatever was not written holds random values, and so does what a split makes void.
    """

    def __init__(self, program: Program, rng, llr_max=1 << 50, metric_max=1 << 60):
        self.program, self.shape, self.rng = program, program.shape, rng
        self.llr_max, self.metric_max = llr_max, metric_max
        shape, config = self.shape, self.shape.config
        self.count, self.pes, self.slots = config.list_size, config.pes, np.arange(config.list_size)
        L, P, M = self.count, self.pes, config.leaf
        self.memory = Llrs.noise(rng, L, shape.bank_words, 2, P)
        self.pointers = rng.integers(L, size=(shape.levels, L))
        self.left = [self.noise(L, 1 << j) for j in range(shape.row_level)]
        self.sums, self.accumulator = self.noise(L, shape.rows, P), self.noise(L, P)
        self.alpha, self.added = Llrs.noise(rng, L, M), Llrs.noise(rng, L, M)
        self.size = M
        self.beta, self.toggled = self.noise(L, M), self.noise(L, M)
        self.root = self.slots
        self.keep = self.flip = np.zeros(L, np.int64)
        self.active = self.slots == 0
        self.low = self.offset = 0
        self.keys = []  # of every selection, sorted
        self.reads = []

    def noise(self, *size):
        return self.rng.integers(2, size=size)

    def run(self, llrs: Llrs, worst: int = -1):
        n = llrs.sign.size
        rows = llrs.sign.reshape(-1, self.pes), llrs.magnitude.reshape(-1, self.pes)
        half = n // self.pes // 2
        self.channel = Llrs(*(np.stack([r[:half], r[half:]], 1) for r in rows))
        self.worst = worst
        for fields in self.program.instructions:
            # Nothing else goes on while slots change places.
            assert not fields.get("split") or not fields.keys() - {"split", "selection"}
            self.cycle(defaultdict(int, fields))
        assert fields["last"]
        return self

    def cycle(self, i):
        row = self.row(i)
        if i["pe"]:
            results, checks = self.results(i, row)
        assert i["enter"] + i["fix"] + i["split"] <= 1
        if i["enter"]:
            self.enter(i)
        if i["fix"]:
            self.fix()
        if i["split"]:
            self.split(i)
        if i["store"]:
            self.store(i, row)
        if i["pe"]:
            self.write(i, results)
            if i["leaf"]:
                M = self.shape.config.leaf
                self.alpha, self.size = results[:, :M], 1 << i["level"]
                self.added = (checks if i["zero"] else results)[:, :M]

    def row(self, i):
        lane = np.arange(self.pes)
        row = self.beta[:, lane % (1 << i["base"])]
        for j in range(self.shape.row_level):
            if i["chain"] >> j & 1:
                row = row ^ np.where(lane >> j & 1, 0, self.left[j][:, lane % (1 << j)])
        line = np.zeros_like(row)
        if i["sums"]:
            bank = self.pointers[self.shape.row_level + i["sums_level"]]
            line = line ^ self.sums[bank, i["sums_row"]]
        if i["accumulated"]:
            line = line ^ self.accumulator
        if i["accumulate"]:
            self.accumulator = line
        return row ^ line

    def results(self, i, row):
        if i["channel"]:
            a, b = (self.channel[i["read"], half][None] for half in (0, 1))
            self.reads.append(i["read"])
        else:
            bank = self.pointers[i["level"] + 1]
            a, b = (self.memory[bank, i["read"], half] for half in (0, 1))
        checks = f(a, b)
        checks = Llrs(*(np.broadcast_to(x, row.shape) for x in (checks.sign, checks.magnitude)))
        results = g(a, b, 0 * row if i["zero"] else row, self.llr_max) if i["g"] else checks
        return results, checks

    def write(self, i, results):
        level, word = i["level"], i["write"]
        if level:
            self.pointers[level] = self.slots
        if i["low"]:
            self.memory[:, word, 0] = results
        if i["high"]:
            high = results
            if i["low"]:
                half = 1 << level >> 1
                high = Llrs.noise(self.rng, *results.sign.shape)
                high[:, :half] = results[:, half : 2 * half]
            self.memory[:, word, 1] = high

    def store(self, i, row):
        if i["level"] < self.shape.row_level:
            self.left[i["level"]] = row[:, : 1 << i["level"]]
        else:
            self.sums[:, i["store_row"]] = row

    def enter(self, i):
        sign, magnitude = self.added.sign[:, : self.size], self.added.magnitude[:, : self.size]
        negative = np.minimum((magnitude * sign).sum(1), self.metric_max)
        positive = np.minimum((magnitude * (1 - sign)).sum(1), self.metric_max)
        base = self.keep - self.low
        self.offset, self.low = self.offset + self.low, 0
        assert (base[self.active] >= 0).all()
        self.keep = np.minimum(base + negative, self.metric_max) if i["penalty"] else base
        self.flip = np.minimum(base + positive, self.metric_max) if i["repeat"] else self.keep
        self.repeat = i["repeat"]
        self.root, self.toggled = self.slots, np.zeros_like(self.beta)
        inside = np.arange(self.beta.shape[1]) < self.size
        self.hard = self.alpha.sign * inside
        self.beta = self.hard * (not i["repeat"])
        magnitude = np.where(inside, self.alpha.magnitude, 2 * self.llr_max)
        self.order = np.argsort(magnitude, 1, kind="stable")
        self.least = np.sort(magnitude, 1)
        self.taken = 0

    def lane(self, bank):
        return np.eye(self.beta.shape[1], dtype=int)[self.order[bank, self.taken]]

    def fix(self):
        least, odd = self.least[:, 0], self.hard.sum(1) % 2
        before = self.keep
        self.keep = np.minimum(before + least * odd, self.metric_max)
        self.flip = np.minimum(before + least * (1 - odd), self.metric_max)
        self.toggled = self.lane(self.slots)
        self.beta = self.beta ^ self.toggled * odd[:, None]
        self.taken += 1

    def split(self, i):
        full = bool(self.active.all())
        assert i["selection"] == full
        if self.repeat:
            x, mask = 0, np.ones_like(self.beta)
        else:
            x, mask = self.least[self.root, self.taken], self.lane(self.root) ^ self.toggled
        keep = [self.keep, self.flip, *self.beta.T]
        flip = [self.flip + x, self.keep + x, *(self.beta ^ mask).T]
        new = np.concatenate([np.array(keep), np.array(flip)], 1)
        new[:2] = np.minimum(new[:2], self.metric_max)
        active = np.tile(self.active, 2)
        order = np.lexsort((np.arange(2 * self.count), new[0], ~active))
        if full:
            self.keys.append(new[0, order])
            if len(self.keys) - 1 == self.worst:
                order = np.roll(order, self.count)
        order = order[: self.count]
        parent = order % self.count
        self.keep, self.flip, self.beta = new[0, order], new[1, order], new[2:, order].T
        self.active, self.root = active[order], self.root[parent]
        self.toggled = self.toggled[parent]
        self.pointers = self.pointers[:, parent]
        self.left = [left[parent] for left in self.left]
        self.accumulator = self.noise(*self.accumulator.shape)
        self.low = self.keep[0]
        self.taken += 1

    def words(self, frozen):
        """The words of the active slots: from the rows of left children and the last one."""
        n, shape = len(frozen), self.shape
        found = []
        for slot in np.flatnonzero(self.active):
            word, level = self.sums[slot, 0], shape.row_level
            while len(word) < n:
                rows = shape.row(level, 0), shape.row(level + 1, 0)
                left = self.sums[self.pointers[level, slot], slice(*rows)].reshape(-1)[: len(word)]
                end = n - len(word)
                if frozen[end - len(word) : end].all():  # never stored
                    left = 0 * left
                word, level = np.concatenate([left ^ word, word]), level + 1
            found.append(word)
        return np.array(found)


def decode_bit_by_bit(llrs, frozen, lists):
    """Words and metrics of the paths of a list decoder that splits at every bit."""

    def walk(llrs, frozen, metrics):
        """Words, metrics and which path each one was, of one node."""
        if len(frozen) > 1:
            a, b = np.split(llrs, 2, 1)
            l, r = np.split(frozen, 2)
            checks = np.sign(a) * np.sign(b) * np.minimum(abs(a), abs(b))
            left, metrics, first = walk(checks, l, metrics)
            right, metrics, second = walk(b[first] + (1 - 2 * left) * a[first], r, metrics)
            return np.hstack([left[second] ^ right, right]), metrics, first[second]
        llr, paths = llrs[:, 0], np.arange(len(metrics))
        zero, one = metrics + np.maximum(-llr, 0), metrics + np.maximum(llr, 0)
        if frozen[0]:
            return np.zeros((len(paths), 1), int), zero, paths
        both = np.concatenate([zero, one])
        best = np.argsort(both)[:lists]
        return (best >= len(paths)).astype(int)[:, None], both[best], best % len(paths)

    words, metrics, _ = walk(llrs[None], frozen, np.zeros(1, np.int64))
    return words, metrics


@pytest.mark.parametrize("seed", range(CASES))
def test_a_program_finds_the_paths_of_a_decoder_that_goes_bit_by_bit(seed):
    rng, shape, frozen = random_case(seed)
    program = compile_program(shape, frozen)
    for _ in range(2):
        llrs = Llrs.noise(rng, len(frozen))
        machine = Machine(program, rng).run(llrs)
        signed = llrs.magnitude * (1 - 2 * llrs.sign)
        words, metrics = decode_bit_by_bit(signed, frozen, shape.config.list_size)
        got = machine.keep[machine.active] + machine.offset
        np.testing.assert_array_equal(np.sort(got), np.sort(metrics))
        rank = np.argsort(got)
        np.testing.assert_array_equal(machine.words(frozen)[rank], words[np.argsort(metrics)])
        assert not transform(words)[:, frozen].any()
        assert len(machine.keys) == program.selections


def test_the_random_cases_have_everything():
    kinds, uses = Counter(), Counter()
    for seed in range(CASES):
        _, shape, frozen = random_case(seed)
        kinds.update(leaf.kind for leaf in leaves(frozen, shape.config.leaf))
        for fields in compile_program(shape, frozen).instructions:
            flags = fields.keys()
            kept = "its node goes on" if {"low", "high"} & flags else "a leaf"
            if {"leaf", "zero"} <= flags:
                uses["rate-0 merged,", kept] += 1
            elif {"leaf", "repeat"} <= flags:
                uses["rate-0 apart"] += 1
            uses["several sums"] += "accumulated" in flags
            uses["accumulator alone"] += "accumulate" in flags and "pe" not in flags
            uses["several rows"] += "pe" in flags and fields.get("level", 0) > shape.row_level
            uses["rate-0 at the end"] += {"last", "enter"} <= flags
    assert set(kinds) == {"rate-0", "rate-1", "rep", "spc"}
    assert min(kinds.values()) > 100, kinds
    assert len(uses) == 7
    assert min(uses.values()) >= 3, uses


@pytest.mark.parametrize("seed", range(30))
def test_it_does_what_the_golden_model_does_bit_for_bit(seed):
    """Saturation, ties and flipped selections included, and the order of everything."""
    rng, shape, frozen = random_case(1000 + seed)
    shape = Shape(shape.config.replace(llr_bits=int(rng.integers(3, 7)), metric_bits=5))
    config = shape.config
    program = compile_program(shape, frozen)
    golden = ListDecoder(leaves(frozen, config.leaf), config.list_size, Formats.of(config))
    llr_max, metric_max = golden.formats.llr, golden.formats.metric
    assert golden.selections == program.selections
    for _ in range(2):
        llrs = np.clip(rng.normal(1, 3, len(frozen)).round(), -llr_max, llr_max) + 0.0
        worst = int(rng.integers(-1, max(program.selections, 1)))
        keys: list[np.ndarray] = []

        def selected(sorted_keys, _, keys=keys):
            keys.append(sorted_keys[0].numpy())

        want = golden(torch.tensor(llrs)[None], torch.tensor([worst]), selected)
        machine = Machine(program, rng, llr_max, metric_max)
        machine.run(Llrs((llrs < 0).astype(int), abs(llrs).astype(int)), worst)
        np.testing.assert_array_equal(machine.keep[machine.active], want.metrics[0])
        np.testing.assert_array_equal(machine.words(frozen), want.signs[0] < 0)
        np.testing.assert_array_equal(np.reshape(machine.keys, -1), np.reshape(keys, -1))
        assert min(machine.offset, golden.formats.offset) == want.offset[0]


@pytest.mark.parametrize(("lists", "cycles"), [(1, 203), (2, 203), (4, 255), (8, 314)])
def test_the_default_engine_takes_these_cycles_for_the_code_of_the_paper(lists, cycles):
    code = polar_5g(512, 256, crc("crc24c"))
    assert compile_program(Shape(FastSclfConfig(list_size=lists)), code.frozen).cycles == cycles


@pytest.mark.parametrize("seed", range(CASES))
def test_cycles_are_steps_but_for_what_is_told(seed):
    """An enter a leaf, and the end; no f for a rate-0 leaf whose sibling's g serves it."""
    _, shape, frozen = random_case(seed)
    found = leaves(frozen, shape.config.leaf)
    program = compile_program(shape, frozen)
    if shape.config.list_size == 1:  # the literature's decoder decides at once
        splits = sum(leaf.splits(1) + (leaf.kind == "spc") for leaf in found)
    else:
        splits = 0
    enters = sum(leaf.kind != "rate-0" for leaf in found)
    served = sum(
        left.kind == "rate-0"
        and right.joins == left.level
        and not (right.level == left.level and right.kind in ("rate-0", "rep"))
        for left, right in pairwise(found)
    )
    alone = sum(i.keys() <= ALONE and "accumulate" in i for i in program.instructions)
    rows = len(frozen) // shape.config.pes
    assert alone == 0 or rows > 16
    assert program.cycles == program.steps + splits + enters - served + alone + 1


ALONE = {"sums", "sums_level", "sums_row", "accumulate", "accumulated"}


@pytest.mark.parametrize("seed", range(40))
def test_rows_from_the_channel_are_asked_for_in_order_and_used_at_once(seed):
    _, shape, frozen = random_case(seed)
    top, pes = len(frozen).bit_length() - 1, shape.config.pes

    def needs(level, row):
        """The last word of the channel before a row of f's results."""
        if level == top - 1:
            return row
        above = max(1, (2 << level) // pes)
        return max(needs(level + 1, r) for r in {row, row + above // 2})

    latest = -1
    for fields in compile_program(shape, frozen).instructions:
        if "g" in fields or "pe" not in fields:
            break
        level, read = fields.get("level", 0), fields.get("read", 0)
        if "channel" in fields:
            latest += 1
            assert read == latest
        else:
            assert needs(level, read - shape.first_word(level + 1)) == latest
    assert latest == len(frozen) // pes // 2 - 1 or (latest == -1 and "zero" in fields)


@pytest.mark.parametrize("seed", range(20))
def test_beats_hold_every_field(seed):
    _, shape, frozen = random_case(seed)
    program, layout = compile_program(shape, frozen), instruction(shape)
    assert len(program.beats) == program.cycles
    for beat, fields in zip(program.beats, program.instructions, strict=True):
        word = data.Const(layout, beat)
        for name, field in layout:
            value = word[name] if field.width else 0
            assert value == fields.get(name, 0), name
    assert [i.get("last", 0) for i in program.instructions[-2:]] == [0, 1]


def frozen_but(n, *free):
    return ~np.isin(np.arange(n), free)


@pytest.mark.parametrize(
    ("options", "frozen", "message"),
    [
        ({}, frozen_but(256, 255), "256 bits exceeds length=128; generate with length=256"),
        ({"pes": 16}, frozen_but(16, 15), "16 bits is below 32, .*pes=16; generate with pes=8"),
        ({}, frozen_but(4, 3), "4 bits is below 16, .*pes=8; take a longer code"),
        ({}, frozen_but(128), "all 128 bits are frozen"),
        ({}, frozen_but(96, 95), "bool .96,. is not one true or false for each bit"),
        ({}, frozen_but(128, 5).astype(int), "int64 .128,. is not"),
        ({}, frozen_but(128, 5)[None], "bool .1, 128. is not"),
        (
            {"program": 64},
            frozen_but(128, *range(64, 128)),
            "161 instructions and 46 path .*program=256",
        ),
        (
            {"length": 1024, "pes": 4, "leaf": 2, "lists": 8},
            frozen_but(1024, *range(0, 1024, 2)),
            "program=4096 is the most; generate with more than pes=4",
        ),
    ],
)
def test_codes_that_do_not_fit_are_refused_with_a_way_out(options, frozen, message):
    with pytest.raises(ValueError, match=message):
        compile_program(shape_of(**options), frozen)
