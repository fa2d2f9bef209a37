from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from thresher.models.nm import tensors
from thresher.models.nm.compile import Compiler, Tiling, TilingError, clear
from thresher.models.nm.config import NmConfig
from thresher.models.nm.execute import Trace, addresses, execute
from thresher.models.nm.layers import Layer, linear
from thresher.models.nm.masks import backward_mask, forward_mask
from thresher.models.nm.operands import Operands
from thresher.models.nm.patterns import patterns
from thresher.models.nm.program import Pattern
from torch.nn import functional

SMALL = NmConfig.preset("small", sums_depth=128)  # 2 clusters, 8 columns, 2:4, a word a beat
SHIFT = 5
LAYERS = {
    "linear": linear("linear", 20, 12, 8),
    "strided": Layer("strided", 5, 11, 4, 5, 4, 3, 2, 1),
    "dense": Layer("dense", 8, 16, 4, 4, 4, 3, 1, 1, sparse=False),
    "pointwise": Layer("pointwise", 16, 8, 4, 5, 5, 1, 2),
    "first": Layer("first", 8, 8, 8, 2, 2, 2, 1, 1, backward=False),
}


def bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


def tiling(config: NmConfig, product: Any, operands: Operands) -> Tiling:
    """Small tiles, so that there are many."""
    if product.kind == "gradient":
        inner = operands.fragment_rows // config.port_words
        blocks = operands.fragment_blocks
    else:
        inner, blocks = config.group, len(product.columns)
    if product.dataflow == "output":
        return Tiling("output", 2, inner, product.groups, blocks, config.kept)
    # Chunks of whole rows' parts: a row of margins and pixels has an odd number of chunks of 4.
    chunk = config.clusters * (1 if operands.shifted else 2)
    return Tiling("weight", 2, inner, chunk, blocks, 1)


def step(
    config: NmConfig,
    layer: Layer,
    random: np.random.Generator,
    dataflows: Any = None,
    shifted: bool = False,
) -> tuple[Operands, list, np.ndarray, dict[str, np.ndarray]]:
    operands = Operands(config, layer, dataflows, shifted)
    memory = np.zeros((operands.end, config.beat_bits // 32), np.uint32)
    shape = layer.outputs, layer.inputs, layer.kernel, layer.kernel
    given = {
        "x": random.integers(-9, 10, (layer.batch, layer.inputs, layer.height, layer.width)),
        "dy": random.integers(-9, 10, (layer.batch, layer.outputs, *layer.output)),
        "w": random.normal(scale=0.2, size=shape).astype(np.float32),
        "v": random.normal(size=shape).astype(np.float32),
    }
    tensors.put_input(operands, memory, given["x"].astype(np.int8))
    tensors.put_output_gradient(operands, memory, given["dy"].astype(np.int8))
    tensors.put_weights(operands, memory, given["w"], given["v"], SHIFT)
    compiler = Compiler(config, operands)
    for product in (
        operands.forward(),
        *(operands.backward() if layer.backward else ()),
        operands.gradient(),
    ):
        compiler.add(product, tiling(config, product, operands))
    return operands, compiler.program(tag=7), memory, given


def masked(layer: Layer, config: NmConfig, weights: np.ndarray, way: Any) -> torch.Tensor:
    """int8 copies of weights, in double precision, of which N of M are kept."""
    wide = torch.tensor(weights)
    values = (wide.double() * 2**SHIFT).round().clamp(-128, 127)
    return values * way(wide, config.kept, config.group) if layer.sparse else values


@pytest.mark.parametrize(("name", "shifted"), [*((n, False) for n in LAYERS), ("dense", True)])
def test_a_step_is_pytorchs(name: str, shifted: bool):
    """int8: sums are exact, so PyTorch's convolutions in double precision say the same."""
    layer, config = LAYERS[name], SMALL
    random = np.random.default_rng(1)
    operands, program, memory, given = step(config, layer, random, shifted=shifted)
    registers = {"rate": bits(0.125), "momentum": bits(0.5), "decay": 0, "scale": bits(2**-6)}
    trace = execute(config, program, memory, registers | {"weight_shift": SHIFT})
    assert trace.done == (7,)

    x, dy = (torch.tensor(given[part]).double().requires_grad_() for part in ("x", "dy"))
    convolution: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding}
    w = masked(layer, config, given["w"], forward_mask)
    y = functional.conv2d(x, w, **convolution).clamp(-128, 127)
    assert np.array_equal(tensors.output(operands, memory), y.detach().numpy())
    if layer.backward:
        w = masked(layer, config, given["w"], backward_mask)
        (dx,) = torch.autograd.grad(functional.conv2d(x, w, **convolution), x, dy)
        found = tensors.input_gradient(operands, memory)
        assert np.array_equal(found, dx.clamp(-128, 127).numpy())
    w = torch.zeros_like(w, requires_grad=True)
    (dw,) = torch.autograd.grad(functional.conv2d(x, w, **convolution), w, dy)
    v = np.float32(0.5) * given["v"] + dw.numpy().astype(np.float32) * np.float32(2**-6)
    weights = given["w"] - np.float32(0.125) * v
    found = tensors.weights(operands, memory)
    assert np.array_equal(found[0], weights)
    assert np.array_equal(found[1], v)
    # The right operands of the next step are those of the new weights.
    fresh = np.zeros_like(memory)
    tensors.put_weights(operands, fresh, weights, v, SHIFT)
    for region in ("forward", "backward") if layer.backward else ("forward",):
        at, size = operands.regions[region]
        assert np.array_equal(memory[at : at + size], fresh[at : at + size]), region


@pytest.mark.parametrize("name", ["linear", "strided"])
def test_output_stationary_passes_give_the_same(name: str):
    layer = replace(LAYERS[name], batch=8)
    config = SMALL.replace(left_depth=512, right_depth=1024, sums_depth=256)
    registers = {"rate": bits(0.125), "momentum": bits(0.5), "decay": 0, "scale": bits(2**-6)}
    found = []
    for dataflow in ("weight", "output"):
        dataflows = dict.fromkeys(layer.passes, dataflow)
        operands, program, memory, _ = step(config, layer, np.random.default_rng(2), dataflows)
        execute(config, program, memory, registers | {"weight_shift": SHIFT})
        parts = [tensors.output(operands, memory), tensors.input_gradient(operands, memory)]
        found.append([*parts, *tensors.weights(operands, memory)])
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_floating_sums_do_not_depend_on_tiles():
    config = NmConfig(
        rows=8, columns=8, kept=2, group=4, add_stages=2, left_depth=128, right_depth=128,
        sums_depth=128, port_words=2,
    )  # fmt: skip
    layer = LAYERS["linear"]
    random = np.random.default_rng(3)
    operands = Operands(config, layer)
    memory = np.zeros((operands.end, config.beat_bits // 32), np.uint32)
    x = random.normal(size=(8, 20, 1, 1)).astype(np.float32)
    w = random.normal(size=(12, 20, 1, 1)).astype(np.float32)
    tensors.put_input(operands, memory, x)
    tensors.put_weights(operands, memory, w, np.zeros_like(w))
    product, found = operands.forward(), []
    for groups, tiles in ((8, 2), (4, 1), (2, 1)):
        compiler = Compiler(config, operands)
        compiler.add(product, Tiling("weight", 1, 4, groups, 2, tiles))
        here = memory.copy()
        execute(config, compiler.program(), here)
        found.append(tensors.output(operands, here))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    mask = forward_mask(torch.tensor(w), 2, 4).numpy()
    want = x[:, :, 0, 0].astype(np.float64) @ np.where(mask, w, 0)[:, :, 0, 0].T
    np.testing.assert_allclose(found[0][:, :, 0, 0], want, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("cleared", [True, False])
def test_infinities_of_earlier_operands_are_cleared(cleared: bool):
    config = SMALL.replace(format="fp16", add_stages=3, rows=8)
    operands = Operands(config, linear("linear", 4, 8, 8))  # 2 groups, in folds of 4
    memory = np.zeros((operands.end + 2, config.beat_bits // 32), np.uint32)
    memory[-1] = 0x7C007C00
    x, w = np.ones((8, 4, 1, 1), np.float16), np.ones((8, 4, 1, 1), np.float32)
    tensors.put_input(operands, memory, x)
    tensors.put_weights(operands, memory, w, w)
    compiler, forward = Compiler(config, operands), operands.forward()
    compiler.add(forward, tiling(config, forward, operands))
    overflow = clear(config, operands.end + 1)
    program = overflow + (clear(config, operands.end) if cleared else []) + compiler.program()
    execute(config, program, memory)
    found = tensors.output(operands, memory)
    assert np.all(found == 2) if cleared else np.isnan(found).any()


def test_units_may_run_ahead_as_far_as_semaphores_let_them():
    config, layer = SMALL, LAYERS["strided"]
    traces: list[Trace] = []
    for first in permutations(("load", "gemm", "out")):
        _, program, memory, _ = step(config, layer, np.random.default_rng(4))
        registers = {"rate": bits(0.5), "momentum": 0, "decay": 0, "scale": bits(1)}
        traces.append(execute(config, program, memory, registers, first))
    for trace in traces[1:]:
        for part in ("requests", "data", "addresses", "writes"):
            assert np.array_equal(getattr(trace, part), getattr(traces[0], part)), part


def test_tilings_that_do_not_fit_say_what_is_too_large():
    operands = Operands(SMALL, LAYERS["linear"])
    product = operands.forward()
    fits = Tiling("weight", 1, 4, 4, 2, 1)
    for change, error in (
        ({"groups": 4, "inner": 32}, None),
        ({"groups": 3}, None),
        ({"tiles": 2, "groups": 6, "inner": 8}, None),
        ({"inner": 2}, "inner = 2 does not give a multiple of 4 rows"),
        ({"dataflow": "output"}, "operands lie for weight-stationary"),
    ):
        compiler = Compiler(SMALL, operands)
        tiling = replace(fits, **change)
        if error is None:
            compiler.add(product, tiling)
            continue
        with pytest.raises(TilingError, match=error):
            compiler.add(product, tiling)
    small = SMALL.replace(right_depth=8)
    with pytest.raises(TilingError, match="6 words of half the right memory, which has 4"):
        Compiler(small, operands).add(product, replace(fits, groups=8))
    with pytest.raises(ValueError, match="leave shifted out"):
        Operands(SMALL, LAYERS["strided"], shifted=True)
    with pytest.raises(ValueError, match="batch = 6 is not a multiple of group = 4; take 8"):
        Operands(SMALL, replace(LAYERS["linear"], batch=6))


def test_addresses_become_loops_and_back():
    random = np.random.default_rng(5)
    for _ in range(50):
        shape = random.integers(1, 5, 5)
        strides = random.integers(-20, 20, 5)
        places = sum(
            np.arange(size).reshape([-1 if a == axis else 1 for a in range(5)]) * strides[axis]
            for axis, size in enumerate(shape)
        ).reshape(-1) + 2000  # fmt: skip
        made = patterns(places)
        assert np.array_equal(np.concatenate([addresses(p) for p in made]), places)
    nest = np.arange(4)[:, None, None] * 100 + np.arange(3)[:, None] * 10 + np.arange(5)
    assert patterns(nest) == [Pattern(0, ((4, 100), (3, 10), (5, 1)))]
