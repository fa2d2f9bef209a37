"""What is special to the table lookup engine; the rest is in test_engines.py."""

from dataclasses import replace

import numpy as np
import pytest
from thresher.hdl.amu import cycles
from thresher.hdl.amu.component import Amu
from thresher.hdl.amu.contents import Contents, fixed_layer, random_layer
from thresher.hdl.amu.shape import Shape
from thresher.hdl.amu.workloads import result_beats, row_beats, workload
from thresher.hdl.engine import engine
from thresher.hdl.verilog import emit
from thresher.models.amu.config import AmuConfig
from thresher.models.amu.encoder import Encoder
from thresher.models.amu.files import save
from thresher.models.amu.layer import Format, Layer
from thresher.models.amu.network import Network, Node
from thresher.models.amu.operations import Input, Lookup
from thresher.models.data import load
from thresher.sim import simulate, stalls
from thresher.sim.beats import pack, unpack
from thresher.sim.verilator import run

ENGINE = engine("amu")

SHAPES = {
    "serial": AmuConfig(
        codebooks=5, levels=3, outputs=11, parallel_codebooks=2, parallel_outputs=3,
        table_bits=5, bias_bits=9, output_bits=6, output_signed=True, shift=1,
    ),
    "pipelined, two folds": AmuConfig(
        codebooks=7, levels=4, outputs=6, parallel_codebooks=3, parallel_outputs=4, load_port=2,
        input_kind="signed", input_bits=5, table_bits=7, bias_bits=6, sum_bits=10,
    ),
    "all at once": AmuConfig(
        codebooks=13, levels=2, outputs=4, parallel_codebooks=13, parallel_outputs=4,
        input_bits=4, output_bits=8, shift=3,
    ),
}  # fmt: skip
"""Sizes that divide nothing."""


def hold(config, name, stall="none", **how):
    report = simulate(ENGINE, config, name, stall=stall, **how)
    assert report.holds, report.failures()
    return report


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["random", "ties", "extremes"])
def test_corners(shape, name):
    for stall in ("none", "random"):
        report = hold(SHAPES[shape], name, stall, seed=7)
        if name == "extremes" and SHAPES[shape].output is None:
            values = report.outputs["y"]["values"]
            # What tables of the least width, all of their highest entry, can come to.
            _, most = SHAPES[shape].sum.limits
            assert values.min() == Format(SHAPES[shape].bias_bits, True).limits[0]
            assert most - SHAPES[shape].codebooks < values.max() <= most


@pytest.mark.parametrize("shape", SHAPES)
def test_cycles(shape):
    """Within 2 % of the cycles in which tables are looked up; loading as the closed form says."""
    report = hold(SHAPES[shape], "random", samples=1024)
    assert report.utilisation > 0.98
    sizes = Shape(SHAPES[shape])
    assert report.registers["load_cycles"] == cycles.load_cycles(sizes)
    c = SHAPES[shape]
    assert sizes.groups * c.parallel_codebooks >= c.codebooks
    assert report.cycles >= 1024 * -(-c.codebooks // c.parallel_codebooks) * sizes.folds


def test_a_row_a_cycle():
    config = SHAPES["all at once"]
    run = hold(config, "random", samples=60).run
    x, y = run.input_cycles["x"], run.output_cycles["y"]
    assert set(y - x) == {config.levels + 3 + 4}  # ceil(log2 13)
    assert set(np.diff(y)) == {1}


@pytest.mark.parametrize("name", ["ties", "extremes"])
def test_fixed_contents_all_at_once(name):
    config = AmuConfig(
        codebooks=6, levels=3, outputs=5, parallel_codebooks=6, parallel_outputs=5,
        input_kind="float16", input_bits=16, output_bits=7, shift=2, contents="fixed",
    )  # fmt: skip
    hold(config, name, "random")
    run = hold(config, name).run
    waits = run.output_cycles["y"] - run.input_cycles["x"]
    assert set(waits) == {cycles.latency(Shape(config))}
    assert waits[0] <= config.levels + 3 + 3  # ceil(log2 6)


@pytest.mark.parametrize("vectors", ["C16M8", "C32M32", "corner_C16M8"])
def test_halut_is_not_faster(vectors):
    """One codebook a cycle and all outputs at once, as its RTL: sums of IEEE comparisons."""
    stored = load("halut_rtl_vectors.npz")
    rows, codebooks, _ = stored[f"{vectors}_inp"].shape
    name = {"C16M8": "halut_16x8", "C32M32": "halut_32x32"}.get(vectors, "halut_corner")
    config = ENGINE.workloads[name].configure(
        AmuConfig(parallel_codebooks=1, parallel_outputs=8, codebooks=16, outputs=32)
    )
    config = config.replace(parallel_outputs=config.outputs)
    source = replace(ENGINE.workloads[name], configure=lambda c: c)
    report = simulate(replace(ENGINE, workloads={name: source}), config, name)
    assert report.holds, report.failures()
    np.testing.assert_array_equal(report.outputs["y"]["values"], stored[f"{vectors}_out"])
    theirs = stored[f"{vectors}_rtl_cycle"].min(axis=1)
    ours = report.run.output_cycles["y"] - report.run.input_cycles["x"][0]
    assert theirs[0] == codebooks + 8  # from when rows come
    assert (ours <= theirs[:rows]).all()
    assert set(np.diff(ours)) == {codebooks}


def test_what_bolt_learnt():
    report = hold(ENGINE.workloads["ar1"].configure(AmuConfig(codebooks=8)), "ar1")
    assert report.metrics["wrong_sums"] == 0
    assert round(report.metrics["nmse"], 4) == 0.2039
    report = hold(ENGINE.workloads["digits"].configure(AmuConfig(codebooks=16)), "digits")
    assert report.metrics["wrong_sums"] == 0


@pytest.mark.parametrize("seed", range(4))
def test_tables_are_loaded_anew_between_rows(seed):
    """Rows that begin before the new tables' first beat have the old ones."""
    config = SHAPES["pipelined, two folds"]
    shape, rng = Shape(config), np.random.default_rng(seed)
    old = random_layer(config, rng)
    low, _ = config.input.limits
    trees = Encoder(old.encoder.dims, np.maximum(old.encoder.thresholds, low))
    old = replace(old, encoder=trees)
    new = replace(old, tables=np.roll(old.tables, 1, axis=1))
    first, second = Contents.of(config, old), Contents.of(config, new)
    values = rng.integers(*config.input.limits, (120, trees.dims.size), endpoint=True)
    late = len(first.table_beats) + 200 + int(rng.integers(100))
    component = Amu(config)
    beats = {
        "thresholds": first.threshold_beats,
        "tables": np.concatenate([first.table_beats, second.table_beats]),
        "biases": first.bias_beats,
        "x": row_beats(shape, values[:, trees.dims]),
    }
    pattern = {name: stalls.pattern("random", name, seed) for name in (*beats, "y")}
    tables = np.ones(100_000, bool)
    tables[len(first.table_beats) : late] = False
    result = run(
        component,
        {name: pack(getattr(component, name).payload.shape(), b) for name, b in beats.items()},
        {"y": len(values) * shape.folds},
        stalls=pattern | {"tables": tables},
    )
    begun = result.input_cycles["x"][:: shape.groups]
    before = begun < result.input_cycles["tables"][len(first.table_beats)]
    assert 0 < before.sum() < len(values)
    expected = result_beats(shape, np.where(before[:, None], old(values), new(values)))
    got = unpack(component.y.payload.shape(), result.outputs["y"])
    np.testing.assert_array_equal(got["values"], expected["values"])


@pytest.mark.parametrize("seed", range(60))
def test_contents_are_the_layer(seed):
    """Trees and tables, walked as the engine does, on random layers and all kinds of formats."""
    rng = np.random.default_rng(seed)
    config = ENGINE.random_config(rng)
    layer = random_layer(config, rng)
    contents, c = Contents.of(config, layer), config
    low, high = (-0x7C00, 0x7C00) if c.input_kind == "float16" else c.input.limits
    near = rng.choice(layer.encoder.thresholds.ravel(), (50, c.codebooks * c.levels))
    values = (near + rng.integers(-1, 2, near.shape)).clip(low, high)
    compared = values - (values < 0) * (c.input_kind == "float16")
    lanes = Shape(c).groups * c.parallel_codebooks
    heap = contents.thresholds.reshape(lanes, -1)
    assert Format(c.input_bits, c.input.signed).holds(heap)
    assert Format(c.table_bits).holds(contents.tables)
    tables = contents.tables.transpose(1, 2, 3, 0, 4).reshape(lanes, 1 << c.levels, -1)
    sums = np.tile(contents.bias.ravel(), (len(values), 1))
    for book in range(c.codebooks):
        node = np.ones(len(values), int)
        for level in range(c.levels):
            node = 2 * node + (compared[:, book * c.levels + level] > heap[book, node])
        sums += tables[book, node - (1 << c.levels)]
    assert Format(c.sum.bits, True).holds(sums)
    sums = sums[:, : c.outputs]
    results = sums if c.output is None else np.clip(sums >> c.shift, *c.output.limits)
    np.testing.assert_array_equal(results, layer(values))


def test_fixed_contents_of_a_file(tmp_path):
    shape = SHAPES["all at once"]
    layer = random_layer(shape, np.random.default_rng(3))
    nodes = (
        Node("image", Input((layer.encoder.dims.size,), layer.input)),
        Node("product", Lookup(layer), (0,)),
    )
    file = tmp_path / "product.npz"
    save(Network(nodes), file)
    config = AmuConfig.fit(layer, contents="fixed", file=str(file), parallel_codebooks=5)
    assert len(config.digest) == 64
    assert AmuConfig(**config.model_dump()) == config
    stored = fixed_layer(config)
    np.testing.assert_array_equal(stored.tables, layer.tables)
    rows = np.random.default_rng(4).integers(0, 16, (40, layer.encoder.dims.size))
    report = simulate(ENGINE, workload=workload("file", config, stored, rows))
    assert report.holds, report.failures()
    with pytest.raises(ValueError, match=r"node = 'other' is no layer .* it has: product"):
        fixed_layer(config.replace(node="other"))
    save(Network((nodes[0], replace(nodes[1], operation=Lookup(layer.keep(np.arange(3)))))), file)
    with pytest.raises(ValueError, match=r"has the digest .* it has changed"):
        AmuConfig(**config.model_dump())


def test_the_same_seed_the_same_bytes():
    config = AmuConfig(
        codebooks=2, levels=2, outputs=2, parallel_codebooks=1, parallel_outputs=1,
        contents="fixed", seed=5,
    )  # fmt: skip
    texts = [emit(Amu(config), "amu") for _ in range(2)]
    assert texts[0] == texts[1] != emit(Amu(config.replace(seed=6)), "amu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": 5}, "outputs = 6, the engine 5; set outputs = 6"),
        ({"input_bits": 6}, "input_bits = 5, the engine 6"),
        ({"input_kind": "unsigned"}, "inputs are signed, .* input_kind is unsigned"),
        ({"table_bits": 3}, "tables span up to .* set table_bits = 7"),
        ({"bias_bits": 2}, "which bias_bits = 2 do not hold; set bias_bits = 6"),
        ({"sum_bits": 8}, "sums from .* exceed 8 bits, -128 to 127; set sum_bits = 0"),
        ({"output_bits": 8}, "output_bits = 0, the engine 8"),
    ],
)
def test_layers_that_do_not_fit(change, message):
    config = SHAPES["pipelined, two folds"]
    layer = random_layer(config, np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        Contents.of(config.replace(**{"parallel_outputs": 4, **change}), layer)


def test_a_configuration_of_a_layer():
    rng = np.random.default_rng(1)
    for config in SHAPES.values():
        layer = random_layer(config, rng)
        fitted = AmuConfig.fit(layer)
        Contents.of(fitted, layer)
        for narrower in ("table_bits", "bias_bits"):
            with pytest.raises(ValueError, match=narrower):
                Contents.of(fitted.replace(**{narrower: getattr(fitted, narrower) - 1}), layer)


def test_sums_of_a_narrow_layer_need_not_be_wide():
    layer = Layer(
        Encoder(np.arange(8).reshape(4, 2), np.tile([5, 3, 9], (4, 1))),
        np.ones((4, 4, 2), int) * np.array([0, 1, 2, 3])[None, :, None],
        np.array([0, 3]),
    )
    config = AmuConfig.fit(layer, sum_bits=5)
    Contents.of(config, layer)
    with pytest.raises(ValueError, match="sums from 0 to 15 exceed 4 bits"):
        Contents.of(config.replace(sum_bits=4), layer)
