# amaranth: UnusedElaboratable=no
"""The systolic array alone: both dataflows, back to back at the periods that it promises."""

from dataclasses import dataclass, field, fields
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out
from thresher.hdl.nm_array.array import Array, left_layout, right_layout
from thresher.models import floating
from thresher.models.nm.config import NmConfig
from thresher.models.nm.gemm_cycles import Timing
from thresher.sim import amaranth, verilator
from thresher.sim.beats import pack, unpack

INT8 = {"format": "int8", "add_stages": 1}
SHAPES = {
    "int8": {"rows": 4, "columns": 4, "kept": 2, "group": 4, **INT8},
    "int8 tall": {"rows": 8, "columns": 2, "kept": 1, "group": 2, "port_words": 2, **INT8},
    "int8 one cluster": {"rows": 4, "columns": 8, "kept": 4, "group": 8, **INT8},
    "int8 dense": {"rows": 4, "columns": 2, "kept": 1, "group": 1, "port_words": 4, **INT8},
    "fp16": {"rows": 4, "columns": 2, "kept": 2, "group": 2, "port_words": 2, "add_stages": 4},
    "bf16 dense": {
        "rows": 4, "columns": 1, "kept": 1, "group": 1, "port_words": 2, "add_stages": 3,
        "format": "bf16",
    },
}  # fmt: skip


@cache
def config(name: str) -> NmConfig:
    return NmConfig(**{"port_words": 1} | SHAPES[name])


class Timed(Component):
    """The array with all its inputs in a stream's payload, and what it shows meanwhile."""

    def __init__(self, config: NmConfig):
        self.array = Array(config)
        self.given = data.StructLayout(
            {
                "left": data.ArrayLayout(left_layout(config), config.clusters),
                "right": data.ArrayLayout(right_layout(config), config.columns),
                "top": data.ArrayLayout(32, config.columns),
            }
        )
        bottom = data.StructLayout({"sum": 32, "valid": 1})
        self.shown = data.ArrayLayout(bottom, config.columns)
        super().__init__(
            {"i": In(stream.Signature(self.given)), "o": Out(stream.Signature(self.shown))}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.array = array = self.array
        m.d.comb += [self.i.ready.eq(1), self.o.valid.eq(self.i.valid)]
        for port, name in ((array.left, "left"), (array.right, "right")):
            for member, given in zip(port, self.i.payload[name], strict=True):
                gated = Signal(member.shape())
                m.d.comb += [
                    gated.eq(given),
                    gated.valid.eq(given.valid & self.i.valid),
                    member.eq(gated),
                ]
        for c, bottom in enumerate(array.bottom):
            m.d.comb += [array.top[c].eq(self.i.payload.top[c]), self.o.payload[c].eq(bottom)]
        return m


@cache
def timed(name: str) -> Timed:
    return Timed(config(name))


class Numbers:
    """Operands and sums of a format: bits for the array, values for the reference."""

    def __init__(self, config: NmConfig, rng: np.random.Generator):
        self.float = floating.FORMATS.get(config.format)
        self.bits, self.rng = config.element_bits, rng

    def draw(self, *shape: int) -> np.ndarray:
        """Operands that make sums of all kinds."""
        noise = self.noise(*shape)
        if self.float is None:
            return noise
        near = self.float.bias + self.rng.integers(-3, 3, shape) << self.float.fraction_bits
        fraction = noise & (1 << self.float.fraction_bits) - 1
        plain = near | fraction | noise & 1 << self.bits - 1
        plain[self.rng.random(shape) < 0.1] &= 1 << self.bits - 1
        odd = self.rng.random(shape) < 0.02
        return np.where(odd, noise, plain)

    def noise(self, *shape: int) -> np.ndarray:
        return self.rng.integers(1 << self.bits, size=shape)

    def draw_sums(self, *shape: int) -> np.ndarray:
        if self.float is None:
            return self.rng.integers(1 << 32, size=shape)
        return floating.encode(self.rng.normal(size=shape).astype(np.float32), floating.FP32)

    def add(self, sums: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Bits of ``sums + left * right``."""
        if self.float is None:
            return sums + left.astype(np.int8).astype(int) * right.astype(np.int8) & 0xFFFFFFFF
        a, b = (floating.decode(bits, self.float) for bits in (left, right))
        sums = floating.decode(sums, floating.FP32)
        return floating.encode(floating.fma(sums, a, b), floating.FP32)


@dataclass
class Trace:
    """What the array is given, cycle by cycle, noise where nothing is; and what it has to show."""

    array: Array
    rng: np.random.Generator
    hurry: float = 0.5
    """How often a word, fold or tile comes as early as it may."""
    early: str = ""
    """A property of the array, of which things come a cycle less apart."""
    length: int = 4096
    want: dict[tuple[int, int], int] = field(default_factory=dict)
    """(Cycle, column) of each sum at the bottom."""
    end: int = 0
    _swap: int | None = None
    """When the last fold's first word came."""
    _loaded: int = -1
    """When the last fold's last right word came."""
    _odd: int = 0
    """Of the next fold."""
    _fold: int | None = None
    """When the last fold's last word came."""
    _tile: int | None = None
    """When the last tile's last word came."""

    def __post_init__(self):
        self.config = config = self.array.config
        self.numbers = Numbers(config, self.rng)
        left = {name: self._noise(1, config.clusters) for name in left_layout(config).members}
        left["word"] = self._noise(config.element_bits, config.clusters, config.group)
        left["valid"][:] = 0
        right = {name: self._noise(1, config.columns) for name in right_layout(config).members}
        right["entries"] = self._noise(config.entry_bits, config.columns, config.kept)
        right["valid"][:, 0] = 0
        self.given = {"left": left, "right": right, "top": self._noise(32, config.columns)}

    def _noise(self, bits: int, *shape: int) -> np.ndarray:
        return self.rng.integers(1 << bits, size=(self.length, *shape))

    def _apart(self, name: str) -> int:
        return getattr(self.array, name) - (name == self.early)

    def _patience(self, most: int) -> int:
        return 0 if self.rng.random() < self.hurry else int(self.rng.integers(most + 1))

    def _entries(self, words: int, ascending: bool) -> tuple[np.ndarray, np.ndarray]:
        """Indices and values of right words of every column [words, columns, kept]."""
        c = self.config
        noise = self.rng.random((words, c.columns, c.group))
        index = np.argsort(noise, axis=-1)[..., : c.kept]
        return np.sort(index) if ascending else index, self.numbers.draw(*index.shape)

    def _put_left(self, t: int, skew: int, words: np.ndarray, **orders: int) -> None:
        for g, word in enumerate(words):
            row = {name: part[t + g * skew, g : g + 1] for name, part in self.given["left"].items()}
            row["word"][0] = word
            for name, bit in {"valid": 1, "swap": 0, **orders}.items():
                row[name][0] = bit

    def _put_right(self, t: int, index: np.ndarray, value: np.ndarray, **orders: int) -> None:
        right = self.given["right"]
        entries = index << self.config.element_bits | value
        for c, word in enumerate(entries):
            right["entries"][t + c, c] = word
        for name, bit in {"valid": 1, **orders}.items():
            right[name][t, 0] = bit

    def fold(self, rows: int) -> None:
        """Rows of left words by G right words of each column, which have ascending indices."""
        c, array, skew = self.config, self.array, self.array.row_skew
        after = np.arange(c.clusters) * (skew - 1)
        opens = np.full(c.clusters, self._loaded + 1)
        period = self._apart("fold_period")
        begin = c.clusters - 1
        if self._swap is not None:
            assert self._fold is not None
            begin = max(self._fold + 1, self._swap + period)
            opens = np.maximum(opens, self._swap + 1 + after)
        if self._tile is not None:
            begin = max(begin, self._tile + self._apart("output_to_weight"))
            opens = np.maximum(opens, self._tile + 1)
        t = begin + self._patience(20)
        index, value = self._entries(c.clusters, ascending=True)
        # In time for its own cluster, for those after it, and for the next fold's words to be.
        room = np.arange(c.clusters) - c.clusters
        latest = t + np.minimum(after if skew > 1 else room + 1, room + period)
        for g in range(c.clusters):
            earliest = min(max(opens[g], self._loaded + 1), latest[g])
            self._loaded = int(self.rng.integers(earliest, latest[g] + 1))
            self._put_right(self._loaded, index[g], value[g], load=1, odd=self._odd)
        self._odd = 1 - self._odd
        self._swap = t
        for row in range(rows):
            words = self.numbers.draw(c.clusters, c.group)
            orders = {"first": self._bit(), "last": self._bit(), "output": 0}
            self._put_left(t, skew, words, swap=row == 0, **orders)
            sums = self.numbers.draw_sums(c.columns)
            columns = np.arange(c.columns)
            self.given["top"][t + array.top_offset + columns, columns] = sums
            for g in range(c.clusters):
                for j in range(c.kept):
                    sums = self.numbers.add(sums, words[g, index[g, :, j]], value[g, :, j])
            self._expect(t + array.weight_latency, sums)
            self._fold = t
            t += 1 + self._patience(3)

    def tile(self, steps: int) -> None:
        """Left words of G * I rows by the right words of each column, step by step."""
        c, array, turns = self.config, self.array, self.config.interleave
        begin = opens = 0
        if self._fold is not None:
            assert self._swap is not None
            begin = self._fold + self._apart("weight_to_output")
            opens = self._swap + (c.clusters - 1) * (array.row_skew - 1) + 1
        if self._tile is not None:
            period = self._apart("tile_period")
            begin = max(begin, self._tile + 1, self._tile + 1 + period - steps * turns)
            opens = max(opens, self._tile + 1)
        t = begin + self._patience(20)
        index, value = self._entries(steps, ascending=False)
        sums = np.zeros((turns, c.clusters, c.kept, c.columns), int)
        came = int(self.rng.integers(min(opens, t), t + 1))
        for step in range(steps):
            repeated = self.rng.random() < 0.5
            for turn in range(turns):
                if turn == 0 or repeated:
                    self._put_right(
                        came if step + turn == 0 else t, index[step], value[step], load=0
                    )
                words = self.numbers.draw(c.clusters, c.group)
                orders = {"first": step == 0, "last": step == steps - 1, "output": 1}
                self._put_left(t, 1, words, swap=0, **orders)
                for j in range(c.kept):
                    left = words[:, index[step, :, j]]
                    sums[turn, :, j] = self.numbers.add(sums[turn, :, j], left, value[step, :, j])
                t += 1
        self._tile = t - 1
        ready = t - turns + array.output_latency
        ordered = sums.transpose(1, 2, 0, 3)[::-1, ::-1].reshape(-1, c.columns)
        for k, row in enumerate(ordered):
            self._expect(ready + k, row)

    def _bit(self) -> int:
        return int(self.rng.integers(2))

    def _expect(self, t: int, sums: np.ndarray) -> None:
        for c, value in enumerate(sums.tolist()):
            assert (t + c, c) not in self.want, "two sums at once"
            self.want[t + c, c] = value
        self.end = max(self.end, t + self.config.columns)

    def check(self, component: Timed, **options) -> None:
        cycles = self.end + 40
        assert cycles <= self.length
        given = {
            "left": {name: part[:cycles] for name, part in self.given["left"].items()},
            "right": {name: part[:cycles] for name, part in self.given["right"].items()},
            "top": self.given["top"][:cycles],
        }
        words = {"i": pack(component.given, given)}
        # What takes long to compile is compiled; what is small is simulated at once.
        simulator = amaranth if self.numbers.float is None else verilator
        result = simulator.run(component, words, {"o": cycles}, **options)
        got = unpack(component.shown, result.outputs["o"])
        want, valid = np.zeros_like(got["sum"]), np.zeros_like(got["valid"])
        for (t, c), value in self.want.items():
            want[t, c], valid[t, c] = value, 1
        np.testing.assert_array_equal(got["valid"], valid)
        np.testing.assert_array_equal(np.where(valid, got["sum"], 0), want)


def trace(name: str, seed: int, **options) -> Trace:
    return Trace(timed(name).array, np.random.default_rng(seed), **options)


def random_trace(name: str, seed: int, hurry: float) -> Trace:
    t = trace(name, seed, hurry=hurry)
    for _ in range(14):
        size = int(t.rng.integers(1, 12))
        t.tile(size) if t.rng.random() < 0.5 else t.fold(size)
    return t


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_sums_are_right_and_in_time(name, seed):
    random_trace(name, seed, hurry=(1, 0.5, 0.2)[seed]).check(timed(name))


@pytest.mark.parametrize("name", ["int8", "fp16"])
@pytest.mark.parametrize("reset_at", [50, 77])
def test_nothing_outlives_a_reset(name, reset_at):
    random_trace(name, 3, hurry=1).check(timed(name), reset_at=reset_at)


PERIODS = ("fold_period", "tile_period", "weight_to_output", "output_to_weight")


@pytest.mark.parametrize("early", PERIODS)
def test_periods_are_the_least(early):
    t = trace("int8", 0, hurry=1, early=early)
    with pytest.raises(AssertionError):  # noqa: PT012  (two words or two sums in a cycle, or)
        for _ in range(3):
            t.fold(1), t.fold(1), t.tile(1), t.tile(1)
        t.check(timed("int8"))  # sums that are wrong


@pytest.mark.parametrize("name", ["int8", "int8 tall"])
def test_periods_suffice_for_the_shortest_folds_and_tiles(name):
    t = trace(name, 0, hurry=1)
    for _ in range(3):
        t.fold(1), t.fold(1), t.tile(1), t.tile(1)
    t.check(timed(name))


def test_formulas_of_cycles_know_the_array():
    for name in SHAPES:
        array, timing = timed(name).array, Timing.of(config(name))
        for part in fields(timing):
            assert getattr(timing, part.name) == getattr(array, part.name)
