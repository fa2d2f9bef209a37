from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from thresher.models.nm import tensors
from thresher.models.nm.compile import Compiler, TilingError
from thresher.models.nm.config import NmConfig
from thresher.models.nm.execute import execute
from thresher.models.nm.layers import PASSES, Layer, Pass, linear, resnet18
from thresher.models.nm.scheduler import (
    choose,
    choose_step,
    cost,
    layouts,
    products,
    program_cost,
    program_cycles,
    tilings,
    without_updates,
)

SMALL = NmConfig.preset("small", sums_depth=128)
FLOAT = NmConfig(
    rows=8, columns=8, kept=2, group=4, add_stages=4, left_depth=256, right_depth=256,
    sums_depth=256, port_words=2,
)  # fmt: skip
LAYERS = {
    layer.name: layer
    for layer in (
        linear("tall", 16, 16, 32),
        linear("short", 64, 32, 4),
        Layer("convolution", 8, 8, 4, 6, 6, 3, 1, 1),
        Layer("strided", 8, 16, 4, 6, 6, 3, 2, 1, sparse=False),
    )
}


def exact(config: NmConfig, operands: Any, product: Any, tiling: Any) -> int:
    compiler = Compiler(config, operands)
    compiler.add(product, tiling)
    return program_cycles(config, compiler.program())


@pytest.mark.parametrize(
    ("config", "layer", "ways"),
    [
        (SMALL, LAYERS["tall"], ("forward", "backward")),
        (SMALL, LAYERS["short"], ("forward", "gradient")),
        (FLOAT, LAYERS["short"], ("forward", "backward", "gradient")),
        (SMALL, LAYERS["strided"], ("forward",)),
        pytest.param(FLOAT, LAYERS["convolution"], PASSES, marks=pytest.mark.slow),
        pytest.param(SMALL, LAYERS["convolution"], PASSES, marks=pytest.mark.slow),
    ],
)
def test_the_choice_is_about_the_best_of_all_that_fit(
    config: NmConfig, layer: Layer, ways: tuple[Pass, ...]
):
    for way in ways:
        best = []
        for operands in layouts(config, layer, way):
            counts = []
            for product in products(operands, way):
                found = []
                for tiling in tilings(config, operands, product):
                    with suppress(TilingError):
                        found.append(exact(config, operands, product, tiling))
                counts.append(min(found, default=10**9))
            best.append(sum(counts))
        assert choose(config, layer, way).cost.cycles <= 1.03 * min(best), way


def test_either_dataflow_has_its_products():
    for name, way, dataflow in (
        ("tall", "forward", "weight"), ("strided", "gradient", "output")
    ):  # fmt: skip
        choice = choose(FLOAT, LAYERS[name], way)
        assert {tiling.dataflow for tiling in choice.tilings} == {dataflow}, name


def test_long_programs_are_extrapolated_within_a_percent():
    layer = Layer("long", 8, 8, 8, 12, 12, 3, 1, 1)
    for way in layer.passes:
        choice = choose(SMALL, layer, way, ("weight",), 1)
        for product, tiling, found in zip(
            choice.products, choice.tilings, choice.costs, strict=True
        ):
            compiler = Compiler(SMALL, choice.operands)
            compiler.add(product, tiling)
            whole = program_cost(SMALL, compiler.program())
            np.testing.assert_allclose(found[:3], whole[:3], rtol=0.01)
            np.testing.assert_allclose(found[4:], whole[4:], rtol=0.01)


def test_costs_add_up():
    layer = linear("layer", 16, 16, 32)
    choice = choose(SMALL, layer, "forward", ("weight",))
    found = program_cost(SMALL, choice.program())
    # Every product is done once: 32 x 16 x 16 of which half are skipped, on 4 x 8 MACs.
    assert found.streaming == 32 * 16 * 16 // 2 // 32
    assert found.cycles > max(found.streaming, found.loading)
    assert found.written == 32 * 16 * 8 // SMALL.beat_bits + 32 * 16 // SMALL.beat_entries
    assert found.update == 0
    gradient = choose(SMALL, layer, "gradient", ("weight",))
    program = gradient.program()
    assert program_cost(SMALL, program).update > 0
    assert program_cost(SMALL, without_updates(program)).update == 0
    operands, product = gradient.operands, gradient.products[0]
    assert cost(SMALL, operands, product, gradient.tilings[0]) == gradient.cost


@pytest.mark.parametrize("config", [SMALL, SMALL.replace(left_depth=512, right_depth=512)])
def test_a_step_that_was_chosen_computes_the_layer(config: NmConfig):
    layer = Layer("layer", 8, 8, 4, 4, 4, 3, 1, 1, sparse=False)
    operands, program = choose_step(config, layer, shortlist=1)
    random = np.random.default_rng(1)
    x = random.integers(-9, 10, (4, 8, 4, 4))
    dy = random.integers(-9, 10, (4, 8, 4, 4))
    w = random.integers(-3, 4, (8, 8, 3, 3)).astype(np.float32)
    memory = np.zeros((operands.end, config.beat_bits // 32), np.uint32)
    tensors.put_input(operands, memory, x.astype(np.int8))
    tensors.put_output_gradient(operands, memory, dy.astype(np.int8))
    tensors.put_weights(operands, memory, w, np.zeros_like(w))
    one = int(np.float32(1).view(np.uint32))
    registers = {"rate": one, "momentum": 0, "decay": 0, "scale": one}
    execute(config, program, memory, registers)
    wide, weights = torch.tensor(x).double(), torch.tensor(w).double()
    wide.requires_grad_()
    weights.requires_grad_()
    y = torch.nn.functional.conv2d(wide, weights, padding=1)
    dx, dw = torch.autograd.grad(y, (wide, weights), torch.tensor(dy).double())
    found = tensors.output(operands, memory)
    assert np.array_equal(found, y.detach().clamp(-128, 127).numpy())
    assert np.array_equal(tensors.input_gradient(operands, memory), dx.clamp(-128, 127).numpy())
    assert np.array_equal(tensors.weights(operands, memory)[0], w - dw.numpy())


def test_resnet_18_is_as_large_as_torchvisions():
    layers = resnet18(32)
    assert len(layers) == 21
    # Without biases and normalisation: 11,689,512 - 1,000 - 9,600 parameters.
    assert sum(layer.weights for layer in layers) == 11_678_912
    assert sum(layer.macs for layer in layers) == 32 * 1_814_073_344
    assert layers[-2].output == (7, 7)
    assert [layer.name for layer in layers if not layer.sparse] == ["conv1", "fc"]


def test_a_layer_that_fits_no_memory_is_refused():
    with pytest.raises(TilingError, match="nothing of layer tall's forward pass fits"):
        choose(SMALL.replace(left_depth=4), LAYERS["tall"], "forward")
    with pytest.raises(ValueError, match="kernel = 3 exceeds the padded image"):
        replace(LAYERS["convolution"], height=2, padding=0)
    with pytest.raises(ValueError, match="padding = 3 is not from 0 to kernel - 1 = 2"):
        replace(LAYERS["convolution"], padding=3)
