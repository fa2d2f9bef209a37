# amaranth: UnusedElaboratable=no
"""The back end alone: every word with its flips, in order, in the cycles that are documented."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
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


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(6))
def test_words_leave_with_their_flips(shape, seed):
    component = back(**shape)
    n = component.config.length - 3 * seed
    words = Words.random(component.config, n, 200, seed, (0.5, 0.1, 1)[seed % 3])
    ports = ("words", "flips", "word")
    stall = {p: stalls.pattern("random", p, seed) for p in ports} if seed >= 3 else {}
    simulate(words, component, stall)
    simulate(words, component, stall, reset_at=50 + seed)
