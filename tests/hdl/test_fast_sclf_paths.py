# amaranth: UnusedElaboratable=no
"""The paths against a model that sorts, on random leaves of every kind."""

from dataclasses import dataclass

import numpy as np
import pytest
from thresher.hdl.fast_sclf.layout import instruction
from thresher.hdl.fast_sclf.paths import Paths
from thresher.hdl.fast_sclf.shape import Shape
from thresher.models.fast_sclf.config import FastSclfConfig
from thresher.sim import Session

SHAPES = [
    {"list_size": 1, "leaf": 4, "metric_bits": 6},
    {"list_size": 2, "leaf": 8, "metric_bits": 6},
    {"list_size": 4, "leaf": 16},
    {"list_size": 4, "leaf": 8, "metric_bits": 4, "llr_bits": 7},
    {"list_size": 8, "leaf": 8, "llr_bits": 4, "metric_bits": 6},
]


@dataclass
class Path:
    metric: int
    other: int
    root: int
    beta: np.ndarray | None
    """None before the first leaf."""


class Model:
    """The active paths, in the order of their slots."""

    def __init__(self, config: FastSclfConfig):
        self.lists, self.leaf = config.list_size, config.leaf
        self.most = (1 << config.metric_bits) - 1
        self.paths = [Path(0, 0, 0, None)]
        self.low = self.offset = 0

    def add(self, a: int, b: int) -> int:
        return min(int(a) + int(b), self.most)

    def enter(self, flags, negative, positive, hard):
        for slot, path in enumerate(self.paths):
            base = path.metric - self.low
            path.metric = self.add(base, negative[slot].sum() * flags["penalty"])
            path.other = self.add(base, positive[slot].sum() * flags["penalty"])
            path.root, path.beta = slot, hard[slot] * (1 - flags["repeat"])
        self.offset = min(self.offset + self.low, 16 * self.most + 15)
        self.low = 0
        self.toggled = np.zeros_like(hard)

    def fix(self, odd, least, which):
        self.toggled = which
        for slot, path in enumerate(self.paths):
            more = self.add(path.metric, least[slot])
            path.metric, path.other = (more, path.metric) if odd[slot] else (path.metric, more)
            path.beta = path.beta ^ which[slot] * odd[slot]

    def split(self, worst, least, which):
        """The parents, and the metrics of all candidates in their order."""
        mask = which ^ self.toggled
        keeps = [(p.metric, l, p) for l, p in enumerate(self.paths)]
        flips = [
            (
                self.add(p.other, least[p.root]),
                self.lists + l,
                Path(
                    self.add(p.other, least[p.root]),
                    self.add(p.metric, least[p.root]),
                    p.root,
                    p.beta ^ mask[p.root],
                ),
            )
            for l, p in enumerate(self.paths)
        ]
        order = sorted(keeps + flips, key=lambda candidate: candidate[:2])
        taken = order[self.lists :] if worst else order[: self.lists]
        self.paths = [path for _, _, path in taken]
        self.low = self.paths[0].metric
        return [number % self.lists for _, number, _ in taken], [key for key, _, _ in order]


def pack(values, width: int) -> int:
    return sum(int(value) << k * width for k, value in enumerate(values))


def unpack(value: int, count: int, width: int) -> list[int]:
    return [value >> k * width & (1 << width) - 1 for k in range(count)]


class Bench:
    """Paths and their model, compared in every cycle."""

    def __init__(self, component: Paths, sim: Session, seed: int):
        self.config, self.layout = component.shape.config, instruction(component.shape)
        self.rng, self.sim = np.random.default_rng(seed), sim
        self.lists, self.most = self.config.list_size, (1 << self.config.metric_bits) - 1
        self.half = component.shape.half_sum
        self.seen = dict.fromkeys(("worst", "tied", "saturated", "subtracted"), 0)

    def run(self, **flags: int):
        """A cycle of an instruction; the parents that it shows."""
        self.sim["instruction"] = sum(v << self.layout[name].offset for name, v in flags.items())
        parent = self.sim["parent"]
        self.sim.tick()
        return unpack(parent, self.lists, self.lists)

    def compare(self):
        c, sim, found = self.config, self.sim, self.model.paths
        assert sim["active"] == (1 << len(found)) - 1
        assert unpack(sim["metrics"], len(found), c.metric_bits) == [p.metric for p in found]
        if found[0].beta is not None:
            assert unpack(sim["beta"], len(found), c.leaf) == [pack(p.beta, 1) for p in found]
        assert sim["offset"] == self.model.offset

    def start(self):
        self.sim["start"] = 1
        assert self.run() == [0] * self.lists
        self.sim["start"] = 0
        self.model = Model(self.config)
        self.beside()

    def scramble(self):
        """Rubbish on all inputs: whoever reads one must have given it before."""
        widths = {"negative": 2 * self.half, "hard": self.config.leaf, "odd": 1}
        widths |= {"positive": widths["negative"], "which": widths["hard"]}
        widths["minimum"] = self.config.llr_bits - 1
        for name, width in widths.items():
            rubbish = int.from_bytes(self.rng.bytes(32), "little")
            self.sim[name] = rubbish & (1 << width * self.lists) - 1
        self.sim["worst"] = int(self.rng.integers(2))

    def beside(self):
        """Cycles in which other things happen."""
        for _ in range(self.rng.integers(3)):
            self.scramble()
            parent = self.run(pe=1, leaf=int(self.rng.integers(2)), store=1)
            assert parent == [0] * self.lists
            self.compare()

    def decode(self, kind: str, most: int):
        """A leaf, with metrics of about ``most``; of rate 0 it does not split."""
        c, rng, model = self.config, self.rng, self.model
        self.scramble()
        hard = rng.integers(2, size=(self.lists, c.leaf))
        odd = rng.integers(2, size=self.lists)
        halves = min(most + 1, 1 << self.half)
        negative, positive = rng.integers(halves, size=(2, self.lists, 2)) >> rng.integers(2)
        repeat = int(kind in ("rate-0", "rep"))
        positive = positive if repeat else negative
        flags = {
            "penalty": int(repeat or rng.random() < 0.3),
            "repeat": repeat,
        }
        self.sim["negative"] = pack(negative.ravel(), self.half)
        self.sim["positive"] = pack(positive.ravel(), self.half)
        self.sim["hard"] = pack(hard.ravel(), 1)
        self.sim["odd"] = pack(odd, 1)
        self.seen["subtracted"] += model.low > 0
        assert self.run(enter=1, **flags) == [0] * self.lists
        model.enter(flags, negative, positive, hard)
        self.compare()
        # As the leaf block would give them: ever greater, of ever other lanes; in a REP all lanes.
        top = (1 << c.llr_bits - 1) - 1
        top = 0 if repeat else top if rng.random() < 0.1 else min(most, top)
        floor = rng.integers(top + 1)
        least = np.sort(rng.integers(floor, top + 1, size=(c.leaf, self.lists)), axis=0)
        lanes = np.array([rng.permutation(c.leaf) for _ in range(self.lists)]).T
        which = np.eye(c.leaf, dtype=int)[lanes] | repeat
        steps = {"rate-0": 0, "rep": 1}.get(kind, max(1, self.lists - 1))
        for step in range(steps + (kind == "spc")):
            self.scramble()
            self.sim["odd"] = pack(odd, 1)
            self.sim["minimum"] = pack(least[step], c.llr_bits - 1)
            self.sim["which"] = pack(which[step].ravel(), 1)
            if kind == "spc" and not step:
                assert self.run(fix=1) == [0] * self.lists
                model.fix(odd, least[step], which[step])
            else:
                self.split(least[step], which[step])
            self.compare()
        self.beside()

    def split(self, least, which):
        full = len(self.model.paths) == self.lists
        worst = full and self.rng.random() < 0.1
        self.sim["worst"] = int(worst)
        shown = self.run(split=1, selection=full)
        parents, keys = self.model.split(worst, least, which)
        assert shown[: len(parents)] == [1 << p for p in parents]
        if full:
            assert self.sim["dropped"] == keys[0 if worst else self.lists]
        self.seen["worst"] += worst
        self.seen["tied"] += len(set(keys)) < len(keys)
        self.seen["saturated"] += keys[-1] == self.most


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_paths_follow_the_model(shape):
    component = Paths(Shape(FastSclfConfig(crc="crc6", **shape)))
    with Session(component) as sim:
        bench = Bench(component, sim, 1)
        for decoding in range(60):
            bench.start()
            most = bench.most >> decoding % 6
            for kind in bench.rng.choice(["rate-0", "rep", "rate-1", "spc"], 15):
                bench.decode(kind, max(1, most))
            if decoding % 20 == 0:
                sim.reset()
    assert min(bench.seen.values()) > 5, bench.seen


def test_the_offset_saturates():
    component = Paths(Shape(FastSclfConfig(crc="crc6", **SHAPES[3])))
    with Session(component) as sim:
        bench = Bench(component, sim, 2)
        bench.start()
        for _ in range(200):
            bench.decode("rep", bench.most)
        assert bench.model.offset == 16 * bench.most + 15
