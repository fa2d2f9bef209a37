# amaranth: UnusedElaboratable=no
"""Bit planes of vectors: every step that NumPy finds in the inputs, when the unit says."""

from dataclasses import dataclass

import numpy as np
import pytest
from thresher.hdl.reram.planes import Planes, step_layout
from thresher.hdl.reram.window import value_layout
from thresher.models.reram.layer_config import ReramLayerConfig
from thresher.models.reram.mapping import fragments_of
from thresher.models.reram.skipping import bits_read
from thresher.sim import stalls
from thresher.sim.beats import pack, unpack
from thresher.sim.verilator import run


def config_of(rows, fragment_rows, skip, input_bits=16, **rest):
    return ReramLayerConfig(
        rows=rows, fragment_rows=fragment_rows, skip=skip, input_bits=input_bits, **rest
    )


CASES = [
    (config_of(32, 8, "any"), 32),
    (config_of(32, 8, "leading"), 27),
    (config_of(32, 8, "none", 5), 13),
    (config_of(16, 4, "any", 7), 6),
    (config_of(16, 1, "leading", 3), 5),
    (config_of(4, 1, "any", 6), 1),
    (config_of(4, 1, "any", 1), 4),
    (config_of(20, 20, "any", 9, mapping="offset"), 17),
    (config_of(6, 3, "leading", 4, mapping="offset"), 5),
    (config_of(8, 8, "leading", 12), 8),
    (config_of(20, 20, "none", 2), 20),
    (config_of(40, 1, "any", 4), 40),
]
"""Configurations, and inputs of a vector."""


def vectors(config, inputs, rng):
    """[vectors, inputs]: dense, sparse, small, with a single bit somewhere, or all 0."""
    top = (1 << config.input_bits) - 1
    shape = 2, inputs
    dense = rng.integers(0, top + 1, shape)
    sparse = np.where(rng.random(shape) < 3 / (inputs + 2), rng.integers(0, top + 1, shape), 0)
    fragments = rng.random((2, -(-inputs // config.fragment_rows))) < 0.5
    gaps = dense * np.repeat(fragments, config.fragment_rows, axis=1)[:, :inputs]
    single = np.zeros(shape, int)
    single[np.arange(2), rng.integers(0, inputs, 2)] = 1, 1 << config.input_bits - 1
    zeros = np.zeros(shape, int)
    small = rng.integers(0, 2, shape)
    found = np.concatenate([dense, zeros, sparse, gaps, single, small, np.full(shape, top)])
    ends = np.zeros(shape, int)
    ends[0, 0], ends[1, -1] = 1, top
    found = np.concatenate([found, ends])
    return np.concatenate([found, rng.permutation(found), rng.permutation(found)])


@dataclass
class Steps:
    """What leaves, and the value that each step waits for and how long."""

    fields: dict[str, np.ndarray]
    vector: np.ndarray
    waits: np.ndarray
    """For the value of this number, counted over all vectors."""
    closes: np.ndarray
    """Whether the step is of its vector's last fragment with steps, or of one that has none."""


def steps(config, x):
    """Of vectors [vectors, inputs], by brute force."""
    m, inputs = config.fragment_rows, x.shape[1]
    held = fragments_of(x, m)
    read = bits_read(config, held)
    rows, waits, closes = [], [], []
    for v, (fragments, bits) in enumerate(zip(held, read, strict=True)):
        used = np.flatnonzero(bits.any(axis=1)).tolist()
        here = [(f, b) for f in used for b in reversed(range(config.input_bits)) if bits[f, b]]
        empty = not here
        here = here or [(-1, -1)]
        for n, (f, b) in enumerate(here):
            lines = fragments[f] >> b & 1 if not empty else np.zeros(m, int)
            ends = n == len(here) - 1
            word = sum(int(line) << k for k, line in enumerate(lines))
            rows.append((v, word, f, b, lines.sum(), n == 0, ends, empty, fragments.sum()))
            after = used[used.index(f) + 1] if not empty and f != used[-1] else None
            behind = inputs if after is None else min((after + 1) * m, inputs)
            waits.append(v * inputs + behind - 1)
            closes.append(after is None)
    names = ("vector", "lines", "fragment", "bit", "ones", "first", "last", "empty", "total")
    columns = dict(zip(names, (np.array(c) for c in zip(*rows, strict=True)), strict=True))
    return Steps(columns, columns.pop("vector"), np.array(waits), np.array(closes))


@pytest.fixture(scope="module")
def units(side_by_side):
    """All of :data:`CASES`, and the design of all."""
    found = [Planes(config, inputs) for config, inputs in CASES]
    return found, side_by_side(found)


def simulate(units, given, **options):
    """By case: values' and steps' cycles, and the steps that there must be."""
    found, design = units
    wanted = [steps(config, x) for (config, _), x in zip(CASES, given, strict=True)]
    words, expect = {}, {}
    for k, ((config, inputs), x) in enumerate(zip(CASES, given, strict=True)):
        last = np.arange(x.size) % inputs == inputs - 1
        words[f"i_{k}"] = pack(value_layout(config), {"value": x.ravel(), "last": last})
        expect[f"o_{k}"] = len(wanted[k].vector)
    result = run(design, words, expect, **options)
    for k, (config, _) in enumerate(CASES):
        layout, fields = step_layout(config), wanted[k].fields
        got = unpack(layout, result.outputs[f"o_{k}"])
        used = ~fields["empty"]
        for name in layout.members:
            where = {"total": fields["last"], "fragment": used, "bit": used}.get(name, slice(None))
            np.testing.assert_array_equal(got[name][where], fields[name][where], f"{name}, {k}")
    cycles = result.input_cycles, result.output_cycles
    return [(unit, want, *(c[f"{p}_{k}"] for c, p in zip(cycles, "io", strict=True)))
            for k, (unit, want) in enumerate(zip(found, wanted, strict=True))]  # fmt: skip


def soonest(unit, want, entered):
    """The cycle in which each step leaves that nothing holds up."""
    there = entered[want.waits] + unit.latency - ~want.closes
    order = np.arange(len(there))
    return np.maximum.accumulate(there - order) + order


def draw(seed):
    rng = np.random.default_rng(seed)
    return [vectors(config, inputs, rng) for config, inputs in CASES]


def test_steps_of_all_vectors_leave_as_soon_as_can_be(units):
    for stall in ("none", "random"):
        given = {f"i_{k}": stalls.pattern(stall, "i", k) for k in range(len(CASES))}
        for unit, want, entered, left in simulate(units, draw(0), stalls=given):
            np.testing.assert_array_equal(left, soonest(unit, want, entered))


@pytest.mark.parametrize("seed", range(2))
def test_values_enter_as_soon_as_a_vector_has_room(units, seed):
    """While steps are held up.  These leave in the first cycle that lets them."""
    ready = [stalls.pattern("random", f"o_{k}", seed) for k in range(len(CASES))]
    given = {f"o_{k}": pattern for k, pattern in enumerate(ready)}
    for k, (unit, want, entered, left) in enumerate(simulate(units, draw(seed), stalls=given)):
        inputs = CASES[k][1]
        ends = left[np.flatnonzero(want.fields["last"])]
        room = np.zeros(len(entered), int)
        room[unit.held * inputs :: inputs] = ends[: -unit.held] + 1
        order = np.arange(len(entered))
        np.testing.assert_array_equal(entered, np.maximum.accumulate(room - order) + order)
        offered = np.maximum(
            entered[want.waits] + unit.latency - ~want.closes,
            np.concatenate([[0], left[:-1] + 1]),
        )
        for step in np.flatnonzero(left != offered):
            assert not ready[k][np.arange(offered[step], left[step]) % len(ready[k])].any()


def test_any_stalls_and_a_reset(units):
    for seed in range(2):
        given = {f"{p}_{k}": stalls.pattern("random", f"{p}{k}", seed)
                 for p in "io" for k in range(len(CASES))}  # fmt: skip
        simulate(units, draw(seed), stalls=given, reset_at=[None, 137][seed])


def test_values_stream_where_steps_are_few(units):
    """One enters in every cycle, however short vectors are."""
    given = [x & 1 for x in draw(5)]
    for k, (_, _, entered, _) in enumerate(simulate(units, given)):
        if CASES[k][0].skip != "none":
            np.testing.assert_array_equal(entered, np.arange(len(entered)))


def test_what_does_not_fit():
    config = CASES[0][0]
    for inputs in (0, 33):
        with pytest.raises(ValueError, match=f"inputs = {inputs}, of 1 to 32 rows"):
            Planes(config, inputs)
