# amaranth: UnusedElaboratable=no
"""The LLRs of all slots against NumPy: f, g, banks, and where results go."""

import numpy as np
import pytest
from thresher.hdl.fast_sclf.layout import instruction
from thresher.hdl.fast_sclf.llrs import Llrs
from thresher.hdl.fast_sclf.shape import Shape
from thresher.models.fast_sclf.config import FastSclfConfig
from thresher.sim import Session

SHAPES = [
    {"length": 64, "list_size": 4, "pes": 8, "leaf": 4, "lanes": 8, "beat": 4, "llr_bits": 4},
    {"length": 16, "list_size": 1, "pes": 4, "leaf": 2, "lanes": 4, "beat": 4, "llr_bits": 3},
    {"length": 32, "list_size": 2, "pes": 16, "leaf": 16, "lanes": 4, "beat": 4},
    {"length": 64, "list_size": 8, "pes": 4, "leaf": 4, "lanes": 4, "beat": 4, "llr_bits": 8},
    {"length": 32, "list_size": 4, "pes": 4, "leaf": 4, "lanes": 4, "beat": 4, "lut_inputs": 6},
]


def f(a, b):
    """Signs and magnitudes of f; LLRs are (sign, magnitude)."""
    return a[0] ^ b[0], np.minimum(a[1], b[1])


def g(a, b, u, most):
    sign = a[0] ^ u
    total = np.where(sign, -a[1], a[1]) + np.where(b[0], -b[1], b[1])
    return np.where(sign == b[0], sign, total < 0), np.minimum(abs(total), most)


def pack(values, width):
    return sum(int(v) << width * i for i, v in enumerate(np.ravel(values)))


def unpack(word, width, count):
    return np.array([word >> width * i & (1 << width) - 1 for i in range(count)])


def llr_word(llrs, bits):
    """(sign, magnitude) [2, count] as a word."""
    return pack(llrs[0].astype(int) << bits - 1 | llrs[1], bits)


class Bench:
    """Runs whole nodes, f or g of a level for all slots, and checks every result."""

    def __init__(self, config, seed):
        self.config, self.shape = config, Shape(config)
        self.rng = np.random.default_rng(seed)
        self.sim = Session(Llrs(self.shape))
        self.banks = [{} for _ in range(config.list_size)]
        self.layout = instruction(self.shape)
        self.channel = self.random(config.length)

    def random(self, count):
        """LLRs, small or extreme ones often, so that ties and saturation occur."""
        most = (1 << self.shape.magnitude) - 1
        magnitude = self.rng.integers(most + 1, size=count)
        pick = self.rng.random(count)
        magnitude[pick < 0.1], magnitude[pick > 0.8] = 0, most
        return np.stack([self.rng.integers(2, size=count), magnitude])

    def words(self, node, half):
        """What the word of a half holds of a node, for every word."""
        rows = node.reshape(2, -1, min(self.config.pes, max(1, node.shape[1] // 2)))
        count = max(1, rows.shape[1] // 2)
        return rows[:, half * count : half * count + count]

    def node(self, level, use_g, zero, select):
        """All rows of one f or g step."""
        config, shape = self.config, self.shape
        lists, bits, pes = config.list_size, config.llr_bits, config.pes
        channel = level + 1 == shape.levels
        n = 1 << level
        u = self.rng.integers(2, size=(lists, n))
        sources = [self.channel if channel else self.banks[b][level + 1] for b in select]
        most = (1 << shape.magnitude) - 1
        fs = [np.stack(f(s[:, :n], s[:, n:])) for s in sources]
        gs = [
            np.stack(g(s[:, :n], s[:, n:], x * (not zero), most))
            for s, x in zip(sources, u, strict=True)
        ]
        results = gs if use_g else fs
        rows = max(1, n // pes)
        order = self.rng.permutation(rows)
        for row in order:
            lanes = slice(row * pes, min(n, (row + 1) * pes))
            whole = n <= pes
            first = 0 if channel else shape.first_word(level + 1)
            high = row >= rows // 2
            write = shape.first_word(level) + (0 if whole else row % (rows // 2)) if level else 0
            fields = {
                "pe": 1, "g": int(use_g), "zero": int(zero), "channel": int(channel),
                "level": level, "read": first + int(row), "write": int(write),
                "low": int(level > 0 and (whole or not high)),
                "high": int(level > 0 and (whole or high)),
                "leaf": int(level <= shape.leaf_level),
            }  # fmt: skip
            self.sim["instruction"] = self.layout.const(fields).as_value().value
            if lists > 1:
                width = (lists - 1).bit_length()
                banks = [0 if channel else int(bank) for bank in select]
                self.sim["select"] = pack(banks, width)
                self.sim["lower"] = sum((~bank >> 1 & 1) << l for l, bank in enumerate(banks))
            junk = self.rng.integers(2, size=(lists, pes))
            junk[:, : u[:, lanes].shape[1]] = u[:, lanes]
            self.sim["rows"] = pack(junk, 1)
            for half, name in enumerate(("low", "high")):
                word = self.words(self.channel, half)[:, row] if channel else self.random(pes)
                self.sim[f"channel_{name}"] = llr_word(word, bits)
            count = min(n, config.leaf)
            for name, want in (("results", results), ("checks", fs)):
                got = unpack(self.sim[name], bits, lists * config.leaf).reshape(lists, -1)
                for l in range(lists):
                    part = want[l][:, lanes][:, :count]
                    np.testing.assert_array_equal(
                        got[l, : part.shape[1]], part[0] << bits - 1 | part[1], err_msg=name
                    )
            self.sim.tick()
        for l in range(lists):
            self.banks[l][level] = results[l]


@pytest.mark.parametrize("settings", SHAPES)
@pytest.mark.parametrize("seed", range(2))
def test_nodes(settings, seed):
    config = FastSclfConfig(crc="crc6", **settings)
    bench = Bench(config, seed)
    rng = np.random.default_rng(seed + 10)
    level = Shape(config).levels
    for step in range(120):
        # Down the tree by f or g, mostly, else back to a level whose source is there.
        level = level - 1 if level and step % 7 else int(rng.integers(Shape(config).levels))
        if level + 1 < Shape(config).levels and level + 1 not in bench.banks[0]:
            level = Shape(config).levels - 1
        use_g = bool(rng.integers(2))
        bench.node(
            level,
            use_g,
            bool(use_g and rng.integers(2)),
            rng.integers(config.list_size, size=config.list_size),
        )
        level = level or Shape(config).levels
