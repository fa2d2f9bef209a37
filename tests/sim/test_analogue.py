"""Chips in place of arrays: codes of single steps, layers bit for bit, flaws one by one."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from thresher.hdl.lib.repeated import Repeated
from thresher.hdl.reram.array import Array
from thresher.hdl.reram.engine import ENGINE
from thresher.hdl.reram.workloads import random_layer
from thresher.models.reram.array import Chip, product
from thresher.models.reram.devices import Devices, draw
from thresher.models.reram.layer import Layer, register_bits
from thresher.models.reram.layer_config import ReramLayerConfig
from thresher.models.reram.mapping import map_weights
from thresher.models.reram.skipping import effective_cycles
from thresher.models.reram.wires import Wires
from thresher.sim import beats, verilator
from thresher.sim.analogue import analogue_array, cosimulate

WORN = Devices(
    variation=0.2, on_off=30, stuck_off=0.03, stuck_on=0.03, adc_offset=0.4, adc_nonlinearity=0.2
)


def some(names, count):
    """The first ``count`` parameters, and the others marked slow: each is a build."""
    return [
        pytest.param(name, marks=[pytest.mark.slow] if number >= count else [])
        for number, name in enumerate(names)
    ]


class Probe(wiring.Component):
    """One array, a step at a time: all of its columns' codes."""

    def __init__(self, config):
        self.config = config
        array = self._array = Array(config)
        asked = ("fragment", "bit", "vector", "number")
        shape = {name: array.signature.members[name].shape for name in asked}
        codes = data.ArrayLayout(array.codes.shape(), config.scan)
        super().__init__(
            {
                "i": In(
                    stream.Signature(data.StructLayout({**shape, "lines": config.fragment_rows}))
                ),
                "o": Out(stream.Signature(codes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array, asked = self._array, self.i.payload
        m.submodules.array = Repeated(array, self.config)
        last = self.config.scan + array.LATENCY
        time = Signal(range(last + 2))
        m.d.comb += [getattr(array, name).eq(asked[name]) for name, _ in asked.shape()]
        m.d.comb += [
            self.i.ready.eq(time == 0),
            array.sample.eq(self.i.valid & self.i.ready),
            array.column.eq(time - 1),
            self.o.valid.eq(time > last),
        ]
        with m.If(~self.o.valid & (array.sample | (time != 0))):
            m.d.sync += time.eq(time + 1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += time.eq(0)
        for j in range(self.config.scan):
            with m.If(time == 1 + j + array.LATENCY):
                m.d.sync += self.o.payload[j].eq(array.codes)
        return m


ARRAYS = {
    "polarised": {
        "rows": 32, "columns": 32, "columns_per_adc": 16, "channels": 11, "features": 13,
        "adc_bits": 5,
    },
    "least": {
        "fragment_rows": 1, "rows": 1, "weight_bits": 2, "columns_per_adc": 1, "columns": 1,
        "adc_bits": 1, "flip": False, "kernel": 1, "padding": 0, "channels": 1, "features": 1,
        "input_bits": 1,
    },
    "dual": {"mapping": "dual", "adc_bits": 7, "columns_per_adc": 8, "columns": 16, "features": 9},
    "tall": {"fragment_rows": 40, "rows": 80, "adc_bits": 5, "mapping": "offset"},
}  # fmt: skip


def drawn(config, devices, seed=0):
    """A chip of random weights, all of them of one sign."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, config.weight_limits[1] + 1, (config.inputs, config.features))
    return draw(map_weights(config, weights), devices, seed)


@pytest.mark.parametrize("devices", [Devices(), WORN], ids=["ideal", "worn"])
@pytest.mark.parametrize("name", some(ARRAYS, 2))
def test_codes_of_an_array(name, devices, tmp_path):
    """Those of the model's converters, for random lines of random places."""
    config = ReramLayerConfig.preset("small", **ARRAYS[name])
    chip, rng = drawn(config, devices), np.random.default_rng(1)
    count, crossbars = 60, config.planes * config.down * config.across
    asked = {
        port: rng.integers(0, high, count)
        for port, high in (
            ("fragment", config.fragments), ("bit", config.input_bits), ("vector", 1 << 31),
            ("number", crossbars),
        )
    }  # fmt: skip
    driven = rng.integers(0, 2, (count, config.fragment_rows))
    probe = Probe(config)
    shape = probe.i.payload.shape()
    words = beats.pack(shape, {**asked, "lines": driven @ (1 << np.arange(config.fragment_rows))})
    substitute = analogue_array(chip, tmp_path / "chip")
    run = verilator.run(probe, {"i": words}, {"o": count}, substitutes=[substitute])
    got = beats.unpack(probe.o.payload.shape(), run.outputs["o"])  # [count, scan, ADC]

    mapping, slices = chip.mapping, config.slices
    expected = np.zeros((count, config.adcs, config.adc_outputs, slices), int)
    for k, number in enumerate(asked["number"]):
        plane, row, side = np.unravel_index(number, (config.planes, config.down, config.across))
        fragment = row * config.fragments + asked["fragment"][k]
        if fragment < mapping.fragments:
            sums = np.einsum("r,rsn->sn", driven[k], chip.cells[plane, fragment].astype(int))
            codes = chip.codes(sums, plane, fragment)[:, side * config.outputs :]
            codes = codes[:, : config.outputs].T
            expected[k].reshape(-1, slices)[: len(codes)] = codes
    expected = expected.reshape(count, config.adcs, config.scan).swapaxes(1, 2)
    np.testing.assert_array_equal(got, expected)
    assert expected.any()


LAYERS = {
    "polarised": {},
    "dual": {
        "features": 11,
        "mapping": "dual",
        "skip": "any",
        "stride": 2,
        "layout": "position",
        "adc_bits": 3,
    },
    "offset": {"mapping": "offset", "signed_inputs": True, "skip": "none", "activation": "none"},
}
FLAWS = {
    "variation": Devices(variation=0.2, on_off=30),
    "stuck": Devices(stuck_off=0.05, stuck_on=0.05),
    "signs": Devices(sign_faults=0.2),
    "adc": Devices(adc_offset=0.4, adc_nonlinearity=0.2),
    "wires": Devices(wires=Wires(1e-2, 1e-2), on_off=30),
    "noise": Devices(read_noise=0.4),
    "all": dataclasses.replace(WORN, read_noise=0.4, sign_faults=0.2, wires=Wires(1e-3, 1e-3)),
}


@cache
def case(name):
    """A layer of random weights, and images; a few results are clipped."""
    config = ReramLayerConfig.preset("small", **LAYERS[name])
    rng = np.random.default_rng(3)
    low, high = config.weight_limits
    weights = rng.integers(low, high + 1, (config.inputs, config.features))
    if config.mapping == "polarised":
        signs = rng.choice([-1, 1], (-(-config.inputs // config.fragment_rows), config.features))
        weights = abs(weights) * signs.repeat(config.fragment_rows, axis=0)[: config.inputs]
    images = rng.integers(0, 1 << config.input_bits, (3, config.channels, 4, 4))
    images *= rng.random(images.shape) < 0.6
    images -= (1 << config.input_bits - 1) * config.signed_inputs
    biases = rng.integers(-99, 100, config.features)
    top = (1 << register_bits(config)["threshold"]) - 1
    most = abs(Layer(config, weights, biases, 1, 0, top).sums(images)).max()
    return Layer(config, weights, biases, 3, (2 * int(most) // top).bit_length(), top), images


def golden(layer, images, chip):
    """By the model in NumPy, which shares no code with what is simulated."""
    lines = layer.lines(images)
    sums = product(chip, lines.reshape(-1, layer.config.inputs)) + layer.biases
    return layer.results(sums).reshape(*lines.shape[:3], -1).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("name", some(LAYERS, 1))
def test_layers_on_chips(name):
    """Each flaw alone and all of them, in turn under stalls and after a reset."""
    layer, images = case(name)
    ideal = golden(layer, images, Chip.ideal(layer.mapping))
    np.testing.assert_array_equal(
        cosimulate(layer, images, draw(layer.mapping, Devices())).results, ideal
    )
    for number, (flaw, devices) in enumerate(FLAWS.items()):
        chip = draw(layer.mapping, devices, number)
        options = {"stall": "random" if number % 2 else "none", "seed": number}
        options["reset_at"] = 400 + 31 * number if number % 3 == 0 else None
        got, want = cosimulate(layer, images, chip, **options).results, golden(layer, images, chip)
        np.testing.assert_array_equal(got, want, flaw)
        assert (want != ideal).any() or (flaw == "signs" and name != "polarised"), flaw


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_random_layers_on_chips(seed):
    rng = np.random.default_rng(seed)
    config = ENGINE.random_config(rng)
    images = rng.integers(
        0, 1 << config.input_bits, (4, config.channels, config.height, config.width)
    )
    images -= (1 << config.input_bits - 1) * config.signed_inputs
    layer = random_layer(config, images, rng)
    for stall in ("none", "random"):
        chip = draw(layer.mapping, FLAWS["all"], seed)
        got = cosimulate(layer, images, chip, stall=stall, reset_at=int(rng.integers(500)))
        np.testing.assert_array_equal(got.results, golden(layer, images, chip), repr(config))


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_layers_on_chips_with_cocotb(name):
    pytest.importorskip("cocotb")
    layer, images = case(name)
    chip = draw(layer.mapping, FLAWS["all"], 5)
    got = cosimulate(layer, images, chip, backend="cocotb", stall="random", reset_at=900)
    np.testing.assert_array_equal(got.results, golden(layer, images, chip))


def test_without_a_chip_the_arrays_are_the_rtls_own():
    layer, images = case("polarised")
    own = cosimulate(layer, images)
    with_chip = cosimulate(layer, images, Chip.ideal(layer.mapping))
    np.testing.assert_array_equal(own.results, golden(layer, images, Chip.ideal(layer.mapping)))
    np.testing.assert_array_equal(own.results, with_chip.results)
    assert own.run.registers == with_chip.run.registers
    assert own.run.cycles == with_chip.run.cycles


def test_sign_faults_are_caught_or_not():
    """The same results; parity notices where the words have not been written with the faults."""
    layer, images = case("polarised")
    chip = draw(layer.mapping, Devices(sign_faults=0.2), 7)
    noticed = cosimulate(layer, images, chip)
    quiet = cosimulate(layer, images, chip, caught=False)
    np.testing.assert_array_equal(noticed.results, golden(layer, images, chip))
    np.testing.assert_array_equal(noticed.results, quiet.results)
    c, words = layer.config, layer.load(chip)["indicators"]
    held = zip(words["flips"], words["signs"], strict=True)
    ones = [sum(int(part).bit_count() for part in word) for word in held]
    wrong = (np.array(ones) & 1 != words["parity"]).reshape(c.down, c.across, c.fragments, c.adcs)
    fragments = wrong.sum(axis=(1, 3)).ravel()[: layer.mapping.fragments]
    steps = effective_cycles(c, layer.lines(images).reshape(-1, c.inputs))
    assert noticed.run.registers["sign_errors"] == (steps @ fragments).sum() > 0
    assert quiet.run.registers["sign_errors"] == 0


def test_what_is_refused(tmp_path):
    layer, images = case("polarised")
    chip = Chip.ideal(layer.mapping)
    with pytest.raises(ValueError, match='backend "amaranth" runs no co-simulation'):
        cosimulate(layer, images, chip, backend="amaranth")
    with pytest.raises(ValueError, match="the chip holds another mapping"):
        cosimulate(layer, images, Chip.ideal(case("dual")[0].mapping))
    with pytest.raises(ValueError, match=r"images have the shape \(3, 3, 4\)"):
        cosimulate(layer, images[:, :, :, 0], chip)
    # A file that is not there, and one of another configuration.
    least = ReramLayerConfig.preset("small", **ARRAYS["least"])
    probe, words = Probe(least), {"i": np.zeros((1, 2), np.uint32)}
    substitute = analogue_array(drawn(least, Devices()), tmp_path / "chip")
    analogue_array(chip, tmp_path / "other")
    for path, words_of in (("nowhere", "no chip in"), ("other", "is of another configuration")):
        given = dataclasses.replace(substitute, arguments=(f"+thresher_chip={tmp_path / path}",))
        with pytest.raises(RuntimeError, match=words_of):
            verilator.run(probe, words, {"o": 1}, substitutes=[given])
