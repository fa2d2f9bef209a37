"""Crossbars: CrossSim's results, integer products, and every way against every other."""

import numpy as np
import pytest
import torch
from thresher.models import data
from thresher.models.reram import kernel
from thresher.models.reram.array import FRACTION, Chip, clipping, product
from thresher.models.reram.config import ReramConfig
from thresher.models.reram.crossbar import Crossbar
from thresher.models.reram.mapping import map_weights, matrix, patches
from thresher.models.reram.skipping import effective_cycles

CROSSSIM = "crossbar/crosssim_bitsliced_adc.npz"
REAL = "crossbar/real_layer_polarised_m8.npz"


def drawn(rng, config, inputs, outputs):
    """Weights that the configuration holds, polarised where they must be, some fragments empty."""
    low, high = config.weight_limits
    weights = rng.integers(low, high + 1, (inputs, outputs))
    if config.mapping == "polarised":
        fragments = -(-inputs // config.fragment_rows)
        signs = rng.integers(-1, 2, (fragments, outputs)).repeat(config.fragment_rows, axis=0)
        weights = np.abs(weights) * signs[:inputs]
    return weights


def any_config(rng, **overrides):
    m = int(rng.choice([1, 2, 3, 4, 5, 8, 16, 32]))
    return ReramConfig.preset(
        fragment_rows=m,
        rows=m * int(rng.integers(1, 5)),
        mapping=str(rng.choice(["polarised", "offset", "dual"])),
        cell_bits=int(rng.integers(1, 5)),
        weight_bits=int(rng.integers(1, 17)),
        input_bits=int(rng.integers(1, 17)),
        adc_bits=int(rng.integers(1, 8)),
        flip=bool(rng.integers(2)),
        skip=str(rng.choice(["none", "leading", "any"])),
        **overrides,
    )


def read_by_read(mapping, inputs):
    """Every cell and bit on its own, in Python's integers, from the definition."""
    c, weights = mapping.config, mapping.weights()
    out = np.zeros((len(inputs), mapping.outputs), object)
    for i, x in enumerate(inputs.tolist()):
        for n in range(mapping.outputs):
            for start in range(0, mapping.inputs, c.fragment_rows):
                rows = range(start, min(start + c.fragment_rows, mapping.inputs))
                held = [int(weights[r, n]) + c.offset for r in rows]
                for part in (1, -1) if c.mapping == "dual" else (None,):
                    sign = part or (-1 if min(held) < 0 else 1)
                    stored = [max(part * w, 0) if part else abs(w) for w in held]
                    for s in range(c.slices):
                        level = [w >> s * c.cell_bits & c.top for w in stored]
                        flip = c.flip and 2 * sum(level) > c.fragment_rows * c.top
                        for b in range(c.input_bits):
                            on = [x[r] >> b & 1 for r in rows]
                            cells = [c.top - v if flip else v for v in level]
                            code = min(
                                sum(o * v for o, v in zip(on, cells, strict=True)), c.adc_top
                            )
                            value = c.top * sum(on) - code if flip else code
                            out[i, n] += sign * value * 2 ** (s * c.cell_bits + b)
                out[i, n] -= c.offset * sum(x[r] for r in rows)
    return out.astype(np.int64)


@pytest.mark.parametrize("how", ["numpy", "kernel"])
def test_crosssim(how):
    file = data.load(CROSSSIM)
    met = 0
    for name, expected in file.items():
        which, found, bits = name.partition("_int_adc")
        if not found:
            continue
        if which == "isaac":
            config = ReramConfig.preset("isaac", adc_bits=int(bits), flip=False)
        else:
            m = int(which.removeprefix("forms"))
            config = ReramConfig(fragment_rows=m, adc_bits=int(bits), flip=False, input_bits=8)
        mapping = map_weights(config, file[f"{which}_W"].T)
        assert np.array_equal(Crossbar(mapping, how)(file[f"{which}_X"]), expected), name
        assert np.array_equal(np.rint(file[f"{which}_y_adc{bits}"]), expected)
        met += 1
    assert met == 13


@pytest.mark.parametrize("how", ["numpy", "kernel"])
def test_polarised_layers(how):
    file = data.load(REAL)
    layers = [name.removesuffix("_W") for name in file if name.endswith("_W")]
    assert len(layers) == 4
    for layer in layers:
        bits = int(layer.rpartition("_b")[2])
        weights, inputs = file[f"{layer}_W"].T, file[f"{layer}_X"]
        for adc_bits in (3, 4, 5) if how == "kernel" else (3,):
            config = ReramConfig(input_bits=bits, adc_bits=adc_bits, flip=False)
            found = Crossbar(map_weights(config, weights), how)(inputs)
            assert np.array_equal(found, file[f"{layer}_y_adc{adc_bits}"])
        mapping = map_weights(ReramConfig(input_bits=bits), weights)
        assert np.array_equal(Crossbar(mapping, how)(inputs), file[f"{layer}_exact"])
        mixed = mapping.weights().reshape(-1, 8, mapping.outputs).any(axis=1)
        assert np.array_equal(mapping.signs[0][mixed], file[f"{layer}_sign"].T[mixed])
        for skip, name in (("leading", "eic"), ("any", "planes")):
            cycles = effective_cycles(ReramConfig(input_bits=bits, skip=skip), inputs)
            assert np.array_equal(cycles, file[f"{layer}_{name}"])


@pytest.mark.parametrize("seed", range(12))
def test_definition(seed):
    rng = np.random.default_rng(seed)
    config = any_config(rng)
    mapping = map_weights(config, drawn(rng, config, int(rng.integers(1, 40)), 3))
    inputs = rng.integers(0, 1 << config.input_bits, (2, mapping.inputs))
    inputs[0] >>= config.input_bits // 2
    expected = read_by_read(mapping, inputs)
    assert np.array_equal(product(Chip.ideal(mapping), inputs), expected)
    assert np.array_equal(Crossbar(mapping, "kernel")(inputs), expected)


@pytest.mark.parametrize("seed", range(40))
def test_kernel_with_flaws(seed):
    """Cells and thresholds anywhere, noise: the compiled model is the golden one."""
    rng = np.random.default_rng(seed)
    config = any_config(rng)
    mapping = map_weights(config, drawn(rng, config, int(rng.integers(1, 80)), 19))
    cells = mapping.cells.astype(int) * (1 << FRACTION) + rng.integers(
        -3000, 9000, mapping.cells.shape
    )
    steps = np.sort(rng.normal(np.arange(config.adc_top) + 0.5, 0.3, (3, config.adc_top)))
    chip = Chip(
        mapping,
        cells.astype(np.int32),
        mapping.signs * rng.choice([1, 1, 1, -1], mapping.signs.shape).astype(np.int8),
        None if seed % 4 == 3 else np.rint(steps * (1 << FRACTION)).astype(np.int32),
        None if seed % 4 == 3 else rng.integers(0, 3, mapping.flipped.shape).astype(np.int32),
        noise=(1 << FRACTION - 2) * (seed % 2),
        seed=seed,
    )
    inputs = rng.integers(0, 1 << config.input_bits, (5, mapping.inputs))
    inputs[:2] >>= config.input_bits // 2
    inputs[2] = 0
    assert np.array_equal(kernel.Kernel(chip)(inputs, first=9), product(chip, inputs, first=9))


@pytest.mark.parametrize("mapping", ["polarised", "offset", "dual"])
@pytest.mark.parametrize("m", [4, 8, 16, 128])
def test_lossless_bits_are_lossless_and_one_less_is_not(mapping, m):
    rng = np.random.default_rng(m)
    config = ReramConfig(mapping=mapping, fragment_rows=m, input_bits=8)
    config = config.replace(adc_bits=config.lossless_adc_bits)
    if mapping != "dual":
        assert config.adc_bits == {4: 3, 8: 4, 16: 5, 128: 8}[m]
    # At the bound: half of the rows at the highest level, all of them driven.
    weights = np.zeros((m, 2), np.int64)
    weights[: m // 2, 0] = config.weight_limits[1]
    weights[:, 1] = rng.integers(0, config.weight_limits[1] + 1, m)
    inputs = np.vstack([np.full(m, 255), rng.integers(0, 256, (3, m))])
    exact = inputs @ weights
    crossbar = Crossbar(map_weights(config, weights))
    assert crossbar.how == "gemm"
    assert np.array_equal(crossbar(inputs), exact)
    assert np.array_equal(Crossbar(crossbar.mapping, "kernel")(inputs), exact)
    if mapping == "offset":
        return  # its weights are not those levels
    narrow = Crossbar(map_weights(config.replace(adc_bits=config.adc_bits - 1), weights))
    assert narrow.how == "kernel"
    assert (narrow(inputs)[0] < exact[0]).any()


def test_four_bits_with_flip_are_proved_lossless_for_fragments_of_eight():
    """Every column of eight cells of four levels: no subset of its rows exceeds 15."""
    config = ReramConfig()
    assert config.lossless
    counts = np.stack(np.meshgrid(*[np.arange(9)] * 3, indexing="ij"), -1).reshape(-1, 3)
    counts = counts[counts.sum(axis=1) <= 8]  # cells at levels 1, 2, 3; the order does not matter
    columns = np.zeros((8, len(counts)), np.int64)
    for i, (ones, twos, threes) in enumerate(counts):
        columns[:, i] = ([1] * ones + [2] * twos + [3] * threes + [0] * 8)[:8]
    mapping = map_weights(config.replace(weight_bits=2), columns)
    assert mapping.lossless
    assert mapping.most == 12
    every = np.arange(256)[:, None] >> np.arange(8) & 1  # every set of driven rows
    assert np.array_equal(product(Chip.ideal(mapping), every), every @ columns)
    assert not map_weights(config.replace(weight_bits=2, flip=False), columns).lossless


def test_clipping_counts():
    config = ReramConfig(adc_bits=3, flip=False, input_bits=2, weight_bits=2, skip="any")
    weights = np.array([[3, 1]] * 4 + [[0, 1]] * 4)
    counted = clipping(map_weights(config, weights), np.array([[3, 3, 1] + [0] * 5, [0] * 8]))
    assert counted.reads == 4  # two bits of one row, two columns
    assert counted.nonzero == 4
    assert counted.saturated == 1  # three cells of level 3
    assert counted.rate == 0.25


@pytest.mark.parametrize("m", [8, 32])
def test_clipping_counts_what_reads_give(m):
    """Against codes of an ADC that does not saturate."""
    rng = np.random.default_rng(m)
    config = ReramConfig(mapping="dual", fragment_rows=m, input_bits=5, adc_bits=3, skip="leading")
    mapping = map_weights(config, rng.integers(-255, 256, (2 * m, 9)))
    x = rng.integers(0, 32, (6, 2, m)) >> rng.integers(0, 6, (6, 2, 1))
    reads = [
        (x[i, f] >> b & 1) @ mapping.cells[p, f, :, s, n].astype(int)
        for i, f in np.ndindex(6, 2)
        for b in range(int(x[i, f].max()).bit_length())
        for p, s, n in np.ndindex(2, 4, 9)
    ]
    counted = clipping(mapping, x.reshape(6, -1))
    assert counted.reads == len(reads)
    assert counted.nonzero == np.count_nonzero(reads)
    assert counted.saturated == sum(read > 7 for read in reads) > 0


@pytest.mark.parametrize("layout", ["channel", "position"])
@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (2, 1, 0)]
)
def test_convolution(layout, size, stride, padding):
    rng = np.random.default_rng(size)
    weights = rng.integers(-255, 256, (5, 3, size, size))
    images = rng.integers(0, 256, (2, 3, 7, 6))
    rows = patches(images, size, stride, padding, layout)
    mapping = map_weights(ReramConfig(mapping="dual", input_bits=8), matrix(weights, layout))
    found = Crossbar(mapping, "kernel")(rows.reshape(-1, rows.shape[-1]))
    expected = torch.nn.functional.conv2d(
        torch.as_tensor(images).double(), torch.as_tensor(weights).double(), None, stride, padding
    )
    found = found.reshape(*rows.shape[:3], 5).transpose(0, 3, 1, 2)
    assert np.array_equal(found, expected.numpy())


@pytest.mark.parametrize("passes", ["offset", "two"])
@pytest.mark.parametrize("mapping", ["polarised", "offset", "dual"])
def test_signed_inputs(passes, mapping):
    rng = np.random.default_rng(0)
    config = ReramConfig(mapping=mapping, input_bits=8)
    weights = drawn(rng, config, 20, 6)
    inputs = rng.integers(-128, 128, (9, 20))
    assert np.array_equal(Crossbar(map_weights(config, weights)).signed(inputs, passes),
                          inputs @ weights)  # fmt: skip


def test_what_does_not_fit():
    config = ReramConfig(input_bits=8)
    good = map_weights(config, np.ones((8, 1), int))
    for weights, message in (
        (np.full((8, 1), 256), r"weight 256 is beyond 255.*quantise"),
        (np.full((8, 1), -256), r"weight -256 is beyond -255"),
        (np.array([[1], [-1]]), r"fragment 0 of output 0 has weights of both signs, \[1, -1, 0"),
        (np.ones(8, int), r"shape \(8,\), not \[inputs, outputs\]"),
    ):
        with pytest.raises(ValueError, match=message):
            map_weights(config, weights)
    with pytest.raises(TypeError, match="needs integer weights, not float64"):
        map_weights(config, np.ones((8, 1)))
    for inputs, message in (
        (np.full((1, 8), -3), "input -3 is negative.*signed"),
        (np.full((1, 8), 256), "input 256 exceeds 255.*raise input_bits"),
        (np.ones((1, 9), int), r"shape \(1, 9\), not \[batch, 8\]"),
    ):
        for how in ("gemm", "kernel", "numpy"):
            with pytest.raises(ValueError, match=message):
                Crossbar(good, how)(inputs)
    with pytest.raises(TypeError, match="needs integer inputs, not float64"):
        Crossbar(good)(np.ones((1, 8)))
    with pytest.raises(ValueError, match="-129 is below -128"):
        Crossbar(good).signed(np.full((1, 8), -129))
    clips = map_weights(config.replace(flip=False), np.full((8, 1), 255))
    with pytest.raises(ValueError, match="add up 24 levels where ADCs saturate at 15"):
        Crossbar(clips, "gemm")


def test_without_a_compiler(monkeypatch):
    kernel.library.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(kernel.KernelMissing, match=r"no-such-compiler.*how='numpy'"):
        kernel.library()
    monkeypatch.undo()
    kernel.library.cache_clear()
