# amaranth: UnusedElaboratable=no
"""The unit that loads: every word where its instruction puts it, in the cycles of the formula."""

from itertools import product

import numpy as np
import pytest
from amaranth.hdl import Cat, Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import Out
from thresher.hdl.nm_array.load import Load as LoadUnit
from thresher.hdl.nm_array.load import beat_layout
from thresher.models.nm.config import NmConfig
from thresher.models.nm.port_cycles import (
    MASTERS_LATENCY,
    OUTSTANDING,
    LoadCycles,
    beat_cycles,
    beats,
)
from thresher.models.nm.program import WIDTHS, Load, Pattern, pack
from thresher.sim import stalls
from thresher.sim.beats import pack as words_of
from thresher.sim.beats import unpack
from thresher.sim.verilator import run

CONFIGS = [
    NmConfig.preset("small"),
    NmConfig(rows=12, columns=16, kept=2, group=8, port_words=2, left_depth=300, right_depth=99),
    NmConfig(rows=4, columns=4, kept=1, group=1, port_words=4, format="bf16"),
    NmConfig(rows=24, columns=8, kept=4, group=4, port_words=2),
    NmConfig(rows=8, columns=16, kept=1, group=16, port_words=8, format="int8", add_stages=1),
]


def body(instruction) -> int:
    """The fields of an instruction, without its header."""
    return pack(instruction) >> 19


class Watched(wiring.Component):
    """A :class:`Load` whose writes are a stream that cannot wait."""

    WRITES = (
        "left_en", "left_address", "left_data", "right_columns", "right_entries",
        "right_single", "right_address", "right_data", "finished",
    )  # fmt: skip

    def __init__(self, config):
        self.unit = LoadUnit(config)
        ports = self.unit.signature.members
        self.writes_layout = data.StructLayout({name: ports[name].shape for name in self.WRITES})
        super().__init__(
            {
                **{name: ports[name] for name in ("i", "request", "data", "masters")},
                "writes": Out(stream.Signature(self.writes_layout)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = unit = self.unit
        for name in ("i", "request", "data", "masters"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(unit, name))
        m.d.comb += [
            self.writes.valid.eq(Cat(unit.left_en, unit.right_columns, unit.finished).any()),
            *(self.writes.p[name].eq(getattr(unit, name)) for name in self.WRITES),
        ]
        return m


def random_load(config, rng, target=None, most=40):
    """An instruction and the number of its beats."""
    words, groups, wait = config.port_words, int(rng.integers(1, 9)), {}
    target = target or ("left", "right", "masters")[rng.integers(3)]
    if target == "left":
        rib, dataflow = bool(rng.integers(2)), ("weight", "output")[rng.integers(2)]
        rows = int(rng.integers(1, 9))
        rows, groups = (rows * words, groups) if rib else (rows, groups * words)
        wait = {"rows_in_beat": rib, "dataflow": dataflow, "rows": rows, "groups": groups}
        count = rows * groups // words
        size, depth = rows * groups, config.left_depth
    elif target == "right":
        entry = None if rng.integers(2) else int(rng.integers(config.kept))
        size = int(rng.integers(1, 9))
        each = config.columns * (config.kept if entry is None else 1) // config.beat_entries
        wait, count, depth = {"words": size, "entry": entry}, size * each, config.right_depth
    else:
        count, size, depth = int(rng.integers(1, most)), 0, 1 << 16
    base = int(rng.integers(0, max(depth - size, 1)))
    strides = [int(s) for s in rng.integers(-(1 << 31), 1 << 31, 3)]
    factors = [d for d in range(1, count + 1) if count % d == 0]
    inner = int(rng.choice(factors))
    loops = ((count // inner, strides[0]), (inner, strides[1]))
    pattern = Pattern(int(rng.integers(1 << 32)), loops[int(inner == count) :])
    return Load(target=target, base=base, pattern=pattern, **wait), count


def addresses(pattern):
    """By the definition."""
    return [
        (
            pattern.address
            + sum(i * stride for i, (_, stride) in zip(at, pattern.loops, strict=True))
        )
        % (1 << 32)
        for at in product(*(range(count) for count, _ in pattern.loops))
    ]


def placed(config, load, sent):
    """What the memories get by the instruction's definition: {(memory, bank, address, entry)}."""
    clusters, words, found = config.clusters, config.port_words, {}
    if load.target == "left":
        blocks = -(-load.groups // clusters)
        for b, beat in enumerate(sent):
            for w in range(words):
                if load.rows_in_beat:
                    r, q = b // load.groups * words + w, b % load.groups
                else:
                    r, q = b * words // load.groups, b * words % load.groups + w
                if load.dataflow == "weight":
                    bank, address = q % clusters, r * blocks + q // clusters
                else:
                    bank, address = r % clusters, r // clusters * load.groups + q
                word = beat >> w * config.word_bits & (1 << config.word_bits) - 1
                found["left", bank, load.base + address, 0] = word
    elif load.target == "right":
        each = [
            (word, c, j)
            for word in range(load.words)
            for c in range(config.columns)
            for j in (range(config.kept) if load.entry is None else [load.entry])
        ]
        for k, (word, c, j) in enumerate(each):
            b, at = divmod(k, config.beat_entries)
            entry = sent[b] >> at * config.entry_bits & (1 << config.entry_bits) - 1
            found["right", c, load.base + word, j] = entry
    return found


def memory_after(config, trace, begin, end):
    """What some cycles of :class:`Watched` write; nothing twice."""
    entries, kept, found = config.beat_entries, config.kept, {}
    for index in range(begin, end):
        now = {name: values[index] for name, values in trace.items()}
        new = {}
        for b in range(config.clusters):
            if now["left_en"] >> b & 1:
                new["left", b, int(now["left_address"]), 0] = int(
                    now["left_data"][b % config.port_words]
                )
        for c, j in product(range(config.columns), range(kept)):
            if now["right_columns"] >> c & now["right_entries"] >> j & 1:
                at = c % entries if now["right_single"] else c % (entries // kept) * kept + j
                new["right", c, int(now["right_address"]), j] = int(now["right_data"][at])
        assert not found.keys() & new.keys()
        found |= new
    return found


def count_writes(config, loads):
    """Cycles in which something is written or finished."""
    return sum(
        1 if load.target == "masters" else beats(load.pattern) * beat_cycles(config, load)
        for load in loads
    )


def fields_of(loads):
    """Their bodies, field by field."""
    bodies, fields, low = [body(load) for load in loads], {}, 0
    for name, width in WIDTHS["load"].items():
        fields[name] = np.array([word >> low & (1 << width) - 1 for word in bodies])
        low += width
    return fields


def numbers(sent):
    return [int.from_bytes(b.astype("<u4").tobytes(), "little") for b in sent]


@pytest.mark.parametrize("seed", range(1))
@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_every_word_where_it_belongs_when_it_must(config, seed):
    rng = np.random.default_rng(seed)
    loads, counts = zip(*(random_load(config, rng) for _ in range(30)), strict=True)
    sent = rng.integers(0, 1 << 32, (sum(counts), config.beat_bits // 32), dtype=np.uint32)
    parts = np.split(sent, np.cumsum(counts)[:-1])
    want = [placed(config, load, numbers(part)) for load, part in zip(loads, parts, strict=True)]
    asked = [address for load in loads for address in addresses(load.pattern)]
    passed = [part for load, part in zip(loads, parts, strict=True) if load.target == "masters"]
    passed = np.concatenate(passed) if passed else sent[:0]

    component, cycles = Watched(config), LoadCycles(config)
    for load, count in zip(loads, counts, strict=True):
        index = cycles.accept(load, 0)
        if load.target == "masters":  # which nobody keeps waiting
            first = cycles.first_take(index)
            cycles.pass_on([first + MASTERS_LATENCY + k for k in range(count)])
    finished = cycles.ends
    for kind in ("none", "random"):
        result = run(
            component,
            {
                "i": words_of(component.i.p.shape(), fields_of(loads)),
                "data": words_of(beat_layout(config), sent),
            },
            {"request": len(asked), "masters": len(passed), "writes": count_writes(config, loads)},
            stalls={
                port: stalls.pattern(kind, port, seed)
                for port in ("i", "request", "data", "masters")
            },
        )
        assert result.outputs["request"][:, 0].tolist() == asked
        np.testing.assert_array_equal(
            unpack(beat_layout(config), result.outputs["masters"]), passed
        )
        trace = unpack(component.writes_layout, result.outputs["writes"])
        ends = np.flatnonzero(trace["finished"])
        for begin, end, expected in zip([-1, *ends], ends, want, strict=False):
            assert memory_after(config, trace, begin + 1, end + 1) == expected
        assert len(ends) == len(loads)
        ahead = np.maximum.accumulate(
            np.searchsorted(result.output_cycles["request"], result.input_cycles["data"], "right")
            - np.arange(len(asked))
        )
        assert (result.output_cycles["request"] < result.input_cycles["data"]).all()
        assert ahead[-1] <= OUTSTANDING + 1
        if kind == "none":
            assert result.output_cycles["writes"][ends].tolist() == finished


def test_a_slow_memory_costs_no_throughput():
    config, latency = CONFIGS[0], OUTSTANDING - 2
    loads = [Load(target="masters", pattern=Pattern(0, ((50, 1),))) for _ in range(6)]
    component, count = Watched(config), 300
    result = run(
        component,
        {
            "i": words_of(component.i.p.shape(), fields_of(loads)),
            "data": words_of(beat_layout(config), np.zeros((count, 1), np.uint32)),
        },
        {"request": count, "masters": count, "writes": len(loads)},
        stalls={"data": np.arange(count + latency + 99) > latency},
    )
    asked, taken = result.output_cycles["request"], result.input_cycles["data"]
    assert (np.diff(taken) == 1).all()
    assert (taken - asked)[OUTSTANDING:].min() >= latency


def test_masters_go_when_they_are_taken():
    """Ends and what comes after, of masters that an update takes as it likes."""
    config, rng = CONFIGS[0], np.random.default_rng(0)
    targets = [("masters", "left", "masters", "right")[k % 4] for k in range(16)]
    loads, counts = zip(*(random_load(config, rng, t, 150) for t in targets), strict=True)
    component, passed = Watched(config), sum(counts[::2])
    result = run(
        component,
        {
            "i": words_of(component.i.p.shape(), fields_of(loads)),
            "data": words_of(beat_layout(config), np.zeros((sum(counts), 1), np.uint32)),
        },
        {"request": sum(counts), "masters": passed, "writes": count_writes(config, loads)},
        stalls={"masters": stalls.pattern("random", "masters", 1)},
    )
    taken = np.split(result.output_cycles["masters"], np.cumsum(counts[::2])[:-1])
    cycles, passing = LoadCycles(config), iter(taken)
    for load in loads:
        cycles.accept(load, 0)
        if load.target == "masters":
            cycles.pass_on(next(passing).tolist())
    trace = unpack(component.writes_layout, result.outputs["writes"])
    ends = np.flatnonzero(trace["finished"])
    assert result.output_cycles["writes"][ends].tolist() == cycles.ends
