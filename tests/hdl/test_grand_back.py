# amaranth: UnusedElaboratable=no
"""The back end alone: every word with its flips, in order, in the cycles that are documented."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from thresher.fpga.devices import device
from thresher.fpga.yosys import synthesise
from thresher.hdl.grand.back import Back
from thresher.models.grand.config import OrbgrandConfig
from thresher.sim import stalls
from thresher.sim.beats import pack, unpack
from thresher.sim.verilator import run

SHAPES = [
    {},
    {"length": 200, "lanes": 256},
    {"length": 32, "lanes": 8, "lw_max": 10, "p": 4},
    {"length": 100, "lanes": 16, "lw_max": 40, "p": 8},
    {"length": 20, "lanes": 1, "lw_max": 10, "p": 4},
]


@cache
def back(**shape) -> Back:
    return Back(OrbgrandConfig(**shape))


@dataclass
class Words:
    """Random rows of words and, for those that failed, positions to flip; none: abandoned."""

    bits: np.ndarray
    """[words, n]"""
    failed: np.ndarray
    flips: list[np.ndarray]
    """For each word that failed."""
    lanes: int

    @classmethod
    def random(cls, config, n, count, seed, failing=0.5):
        rng = np.random.default_rng(seed)
        failed = rng.random(count) < failing
        most = min(len(config.staircase.limits), n)
        flips = [
            rng.permutation(n)[: rng.integers(most + 1) if rng.random() < 0.5 else 1]
            for _ in range(failed.sum())
        ]
        return cls(rng.integers(2, size=(count, n)), failed, flips, config.lanes)

    @property
    def rows(self):
        return -(-self.bits.shape[1] // self.lanes)

    def _rows(self, bits):
        size = self.rows * self.lanes
        return np.pad(bits, ((0, 0), (0, size - bits.shape[1]))).reshape(-1, self.lanes)

    def _last(self, count):
        return np.tile(np.arange(self.rows) == self.rows - 1, count)

    @property
    def inputs(self):
        numbers = [sum(1 << int(i) for i in np.flatnonzero(row)) for row in self._rows(self.bits)]
        entries = [
            (int(position), int(len(flips) > 0), int(k == max(len(flips), 1) - 1))
            for flips in self.flips
            for k, position in enumerate(flips if len(flips) else [3])
        ]
        position, found, last = np.array(entries).reshape(-1, 3).T
        return {
            "words": {
                "bits": np.array(numbers, object),
                "failed": np.repeat(self.failed, self.rows),
                "last": self._last(len(self.bits)),
            },
            "flips": {"position": position, "found": found, "last": last},
        }

    @property
    def output(self):
        bits = self.bits.copy()
        found = np.ones(len(bits), bool)
        for word, flips in zip(np.flatnonzero(self.failed), self.flips, strict=True):
            bits[word, flips] ^= 1
            found[word] = len(flips) > 0
        return {
            "bits": self._rows(bits),
            "found": np.repeat(found, self.rows),
            "last": self._last(len(bits)),
        }


def simulate(words: Words, component, stall=None, **options):
    shapes = {name: getattr(component, name).payload.shape() for name in ("words", "flips", "word")}
    result = run(
        component,
        {name: pack(shapes[name], beats) for name, beats in words.inputs.items()},
        {"word": len(words.bits) * words.rows},
        stalls=stall,
        **options,
    )
    got = unpack(shapes["word"], result.outputs["word"])
    for name, want in words.output.items():
        np.testing.assert_array_equal(got[name], want, err_msg=name)
    return result


def follow(words: Words, stall: dict[str, np.ndarray]) -> dict[str, list[int]]:
    """The cycles of all transfers, by the documented rules."""

    def opens(port, cycle):
        pattern = stall.get(port, np.ones(1, bool))
        while not pattern[cycle % len(pattern)]:
            cycle += 1
        return cycle

    def after(cycles):
        return cycles[-1] + 1 if cycles else 0

    came, flipped, left = [], [], []
    step = entry = -1  # the last step of a row, the last entry that a row was served
    flips = iter(words.flips)
    for failed in words.failed:
        lanes = None
        for row in range(words.rows):
            came.append(max(opens("words", after(came)), step))
            if not failed:
                step = max(came[-1] + 1, left[-1] if left else 0)
            else:
                if lanes is None:
                    positions = next(flips)
                    lanes, gathered = positions // words.lanes, []
                    if words.rows > 1:
                        for _ in range(max(len(positions), 1)):
                            flipped.append(max(opens("flips", after(flipped)), entry + 1))
                        gathered = flipped[-1] + 1
                ready = came[-1]
                for k in range(max((lanes == row).sum(), 1)):
                    if words.rows == 1:
                        entry = max(opens("flips", after(flipped)), ready)
                        flipped.append(entry)
                    else:
                        entry = max(gathered, ready)
                    step = entry + 1
                    if not k and left:
                        step = max(step, left[-1])
                    ready = step
            left.append(opens("word", step + 1))
    return {"words": came, "flips": flipped, "word": left}


def hold_cycles(words, result, stall):
    cycles = {**result.input_cycles, **result.output_cycles}
    for port, want in follow(words, stall).items():
        np.testing.assert_array_equal(cycles[port], want, err_msg=port)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(6))
def test_words_leave_with_their_flips_when_they_must(shape, seed):
    component = back(**shape)
    n = component.config.length - 3 * seed
    words = Words.random(component.config, n, 200, seed, (0.5, 0.1, 1)[seed % 3])
    ports = ("words", "flips", "word")
    stall = {p: stalls.pattern("random", p, seed) for p in ports} if seed >= 3 else {}
    hold_cycles(words, simulate(words, component, stall), stall)
    hold_cycles(words, simulate(words, component, stall, reset_at=50 + seed), stall)


@pytest.mark.parametrize("shape", SHAPES)
def test_right_words_pass_a_row_a_cycle(shape):
    component = back(**shape)
    words = Words.random(component.config, component.config.length, 50, 0, failing=0)
    assert (np.diff(simulate(words, component).output_cycles["word"]) == 1).all()


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_a_row_takes_as_many_cycles_as_flips(shape):
    component = back(**shape)
    words = Words.random(component.config, component.config.length, 100, 0)
    left = simulate(words, component).output_cycles["word"]
    flips = np.ones(len(words.failed), int)
    flips[words.failed] = [max(len(f), 1) for f in words.flips]
    np.testing.assert_array_equal(np.diff(left), flips[1:])


def test_late_flips_are_waited_for_by_nothing_else():
    component = back()
    words = Words.random(component.config, 128, 2, 0, failing=1)
    late = np.arange(4096) >= 1000
    result = simulate(words, component, {"flips": late})
    hold_cycles(words, result, {"flips": late})
    first = max(len(words.flips[0]), 1)
    assert result.output_cycles["word"][0] == result.input_cycles["flips"][first - 1] + 2


def test_area():
    """A look-up table a lane, and a few."""
    used = synthesise(back(), device("ecp5-85k")).resources
    assert used.lut <= 128 + 40
    assert used.lutram == 0
