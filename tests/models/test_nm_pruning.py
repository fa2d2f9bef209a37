"""Pruned layers against explicit products in float64, and what conversion leaves dense."""

import numpy as np
import pytest
import torch
from thresher.models import data
from thresher.models.nm.masks import mask
from thresher.models.nm.optimise import LossScale, Momentum
from thresher.models.nm.pruning import Pruned, PrunedConv2d, PrunedLinear, Pruning, convert, plain
from thresher.models.nm.update import learn
from torch import nn
from torch.nn import functional

METHODS = ["bdwp", "srste", "backward", "dense"]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(layer: nn.Module, x: torch.Tensor, dy: torch.Tensor):
    """The output, and the gradients of input and weight."""
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(dy)
    assert isinstance(layer.weight, torch.Tensor)
    assert x.grad is not None
    return y.detach(), x.grad, layer.weight.grad


def operands(w: torch.Tensor, method: str, kept: int, group: int):
    """The right operands forwards and backwards, from the definition of each method."""
    along_inputs = w * mask(w, kept, group, 1)
    along_outputs = w * mask(w, kept, group, 0)
    return {
        "bdwp": (along_inputs, along_outputs),
        "srste": (along_inputs, along_inputs),
        "backward": (w, along_outputs),
        "dense": (w, w),
    }[method]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("kept", "group"), [(2, 8), (1, 4), (3, 5)])
def test_linear_products(method, kept, group):
    decay = 0.25
    layer = PrunedLinear(
        19, 13, dtype=torch.float64, pruning=Pruning(method, kept, group, decay=decay)
    )
    with torch.no_grad():
        layer.weight.copy_(random(13, 19, seed=1))
    x, dy = random(2, 7, 19, seed=2), random(2, 7, 13, seed=3)
    y, dx, dw = gradients(layer, x, dy)
    w = layer.weight.detach()
    forward, backward = operands(w, method, kept, group)
    torch.testing.assert_close(y, torch.einsum("bri,oi->bro", x, forward) + layer.bias.detach())
    torch.testing.assert_close(dx, torch.einsum("bro,oi->bri", dy, backward))
    dropped = (forward == 0) & (w != 0)
    torch.testing.assert_close(
        dw, torch.einsum("bro,bri->oi", dy, x) + decay * torch.where(dropped, w, 0)
    )
    torch.testing.assert_close(layer.bias.grad, dy.sum((0, 1)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "how",
    [
        {"padding": 1},
        {"stride": 2, "padding": (0, 1), "dilation": 2},
        {"groups": 3, "padding": "same", "bias": False},
        {"padding": 1, "padding_mode": "circular"},
        {"groups": 3, "padding": "same", "padding_mode": "reflect"},
    ],
)
def test_convolution_products(method, how):
    """Against an ordinary convolution with either operand; masks by each group's own outputs."""
    parts = how.get("groups", 1)
    layer = PrunedConv2d(12, 9, 3, dtype=torch.float64, pruning=Pruning(method, 1, 2), **how)
    x = random(2, 12, 8, 7, seed=1)
    y = layer(x)
    dy = random(*y.shape, seed=2)
    y, dx, dw = gradients(layer, x, dy)
    w = layer.weight.detach()
    forward, backward = zip(*(operands(part, method, 1, 2) for part in w.chunk(parts)), strict=True)
    usual = nn.Conv2d(12, 9, 3, dtype=torch.float64, **how)
    usual.load_state_dict(layer.state_dict() | {"weight": torch.cat(forward)})
    expected, _, dense = gradients(usual, x, dy)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(dw, dense)
    usual.load_state_dict({"weight": torch.cat(backward)}, strict=False)
    torch.testing.assert_close(dx, gradients(usual, x, dy)[1])
    torch.testing.assert_close(layer(x[0]), y[0])


def test_dense_layers_are_differentiable_as_usual():
    layer = PrunedLinear(5, 4, dtype=torch.float64, pruning=Pruning("dense"))
    assert torch.autograd.gradcheck(layer, (random(3, 5).requires_grad_(),))


def test_stored_srste_gradient():
    try:
        stored = data.load("nm_masks.npz")
    except data.MissingData as missing:
        pytest.skip(str(missing))
    weight, upstream = (torch.from_numpy(stored[name]) for name in ("lin_w", "lin_upstream_grad"))
    layer = PrunedLinear(128, 64, bias=False, pruning=Pruning("srste", 2, 8, decay=2e-4))
    with torch.no_grad():
        layer.weight.copy_(weight)
    # With an identity as input, the outputs' gradient transposed is that of the weights.
    _, _, got = gradients(layer, torch.eye(128), upstream.T.contiguous())
    assert np.array_equal(got.numpy(), stored["lin_2_8_srste_grad"])


@pytest.mark.parametrize("format", ["fp16", "bf16"])
def test_operands_are_rounded(format):
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[format]
    layer = PrunedLinear(16, 8, bias=False, pruning=Pruning("bdwp", 2, 4, format=format))
    x, dy = random(3, 16, seed=1).float(), random(3, 8, seed=2).float()
    y, dx, dw = gradients(layer, x, dy)
    # Masks are those of the masters, before rounding makes equals of them.
    w = layer.weight.detach()
    forward, backward = (operand.to(dtype).double() for operand in operands(w, "bdwp", 2, 4))
    x, dy = x.to(dtype).double(), dy.to(dtype).double()
    for got, expected in ((y, x @ forward.T), (dx, dy @ backward), (dw, dy.T @ x)):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got.double(), expected, rtol=1e-6, atol=1e-6)


def test_masks_follow_the_masters():
    layer = PrunedLinear(4, 1, bias=False, pruning=Pruning("bdwp", 1, 4))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[4.0, 3, 2, 1]]))
        assert layer(torch.eye(4)).flatten().tolist() == [4, 0, 0, 0]
        layer.weight[0, 3] = -5
        assert layer(torch.eye(4)).flatten().tolist() == [0, 0, 0, -5]


def test_autocast():
    layer = PrunedLinear(16, 8, pruning=Pruning("bdwp", 2, 4))
    x = random(3, 16).float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12), nn.Flatten(),
        nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 3),
    )  # fmt: skip


def test_conversion_leaves_ends_dense_and_the_source_alone():
    source = network()
    found = convert(source, Pruning("bdwp", 2, 8))
    assert [type(part).__name__ for part in source if hasattr(part, "weight")] == [
        "Conv2d", "Conv2d", "BatchNorm2d", "Linear", "Linear",
    ]  # fmt: skip
    assert [(layer.name, layer.pruned, layer.reason) for layer in found.layers] == [
        ("0", False, "first layer"), ("2", True, ""), ("5", True, ""), ("7", False, "last layer"),
    ]  # fmt: skip
    conv, linear = found.layers[1:3]
    assert (conv.padded, conv.forward, conv.backward) == ((0, 4), 2 / 8, 4 / 12)
    assert (linear.padded, linear.forward, linear.backward) == ((4, 4), 4 / 12, 6 / 20)
    assert "padded by 4 inputs, 4 outputs" in str(found)
    assert "0: Conv2d 8x1x3x3, dense: first layer" in str(found)
    assert isinstance(found.module, nn.Sequential)
    assert [isinstance(part, Pruned) for part in found.module] == [
        False, False, True, False, False, True, False, False,
    ]  # fmt: skip
    state = found.module.state_dict()
    assert state.keys() == source.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in source.state_dict().items())
    rounded = convert(source, Pruning("bdwp", format="fp16"))
    assert isinstance(rounded.module, nn.Sequential)
    first = rounded.module[0]
    assert isinstance(first, PrunedConv2d)
    assert first.pruning == Pruning("dense", format="fp16")


def test_conversion_by_names_and_of_shared_layers():
    shared = nn.Linear(8, 8)
    module = nn.ModuleDict({"a": shared, "b": nn.ReLU(), "c": shared, "d": nn.Linear(8, 8)})
    found = convert(module, Pruning(), keep_dense=["d"]).module
    assert isinstance(found, nn.ModuleDict)
    assert found["a"] is found["c"]
    assert isinstance(found["a"], PrunedLinear)
    assert type(found["d"]) is nn.Linear
    whole = convert(nn.Linear(8, 8), Pruning(), keep_dense=())
    assert isinstance(whole.module, PrunedLinear)
    assert whole.layers[0].name == ""


def test_what_conversion_cannot_reach_is_said():
    module = nn.Sequential(
        nn.Embedding(5, 8), nn.TransformerEncoderLayer(8, 2, 16), nn.Conv1d(8, 4, 1)
    )
    found = {layer.name: layer for layer in convert(module, Pruning(), keep_dense=()).layers}
    assert {name for name, layer in found.items() if layer.pruned} == {"1.linear1", "1.linear2"}
    for name, kind in {
        "0.weight": "Embedding",
        "1.self_attn.in_proj_weight": "MultiheadAttention",
        "1.self_attn.out_proj.weight": "NonDynamicallyQuantizableLinear",
        "2.weight": "Conv1d",
    }.items():
        assert found[name].kind == kind
        assert "converted" in found[name].reason


def test_transformers_are_pruned_when_evaluated_too():
    """Their fused path for inference would take the dense weights."""
    source = nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True)
    found = convert(source, Pruning("bdwp", 1, 8), keep_dense=()).module
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        trained, evaluated = found.train()(x), found.eval()(x)
        assert not torch.allclose(source.eval()(x), evaluated)
    torch.testing.assert_close(evaluated, trained)


def test_plain_layers_compute_the_same():
    found = convert(network(), Pruning("bdwp", 2, 8)).module.eval()
    deployed = plain(found)
    assert not any(isinstance(part, Pruned) for part in deployed.modules())
    x = torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(deployed(x), found(x))
    assert isinstance(deployed, nn.Sequential)
    assert (deployed[5].weight != 0).double().mean() == 4 / 12


def test_a_pruned_network_learns():
    """The gradient through the masks lowers the loss as it should."""
    torch.manual_seed(0)
    x = torch.randn(256, 24)
    y = (x[:, :3].sum(1) > 0).long()
    model = convert(
        nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2)),
        Pruning("bdwp", 2, 8, decay=2e-4),
    ).module  # fmt: skip
    optimiser = torch.optim.SGD(model.parameters(), 0.1, 0.9)
    for _ in range(60):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1


def test_bad_input():
    for arguments, message in [
        ({"kept": 3, "group": 2}, "kept = 3"),
        ({"method": "sparse"}, "'sparse' is none of bdwp, srste, backward, dense"),
        ({"decay": -1.0}, "decay = -1.0 is below 0"),
        ({"format": "fp8"}, "'fp8' is none of fp16"),
    ]:
        with pytest.raises(ValueError, match=message):
            Pruning(**arguments)
    with pytest.raises(ValueError, match=r"names 9; the layers are 0, 2, 5, 7"):
        convert(network(), keep_dense=["9"])
    with pytest.raises(ValueError, match=r"nothing to prune: 1 .* \(\) prunes all"):
        convert(nn.Sequential(nn.Linear(8, 8)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda():
    layer = PrunedLinear(64, 32, pruning=Pruning("bdwp", format="fp16"))
    x, dy = random(5, 64).float(), random(5, 32).float()
    expected = gradients(layer, x, dy)
    layer.zero_grad()
    for got, want in zip(gradients(layer.cuda(), x.cuda(), dy.cuda()), expected, strict=True):
        torch.testing.assert_close(got.cpu(), want.cpu(), rtol=1e-4, atol=1e-4)


def test_momentum_is_the_hardwares_update():
    """Bit for bit, over several steps, and close to PyTorch's own in float64."""
    rng = np.random.default_rng(5)
    registers = {"lr": 0.1, "momentum": 0.9, "decay": 5e-4, "scale": 2.0**-7}
    bits = {name: int(np.float32(value).view(np.uint32)) for name, value in registers.items()}
    bits["rate"] = bits["lr"]
    w = rng.normal(size=(7, 9)).astype(np.float32)
    parameter = nn.Parameter(torch.from_numpy(w.copy()))
    usual = nn.Parameter(torch.from_numpy(w.astype(np.float64)))
    ours = Momentum([parameter], 0.1, 0.9, 5e-4, 2.0**-7)
    theirs = torch.optim.SGD([usual], 0.1, 0.9, weight_decay=5e-4)
    v = np.zeros_like(w)
    for _ in range(5):
        gradient = rng.normal(0, 100, w.shape).astype(np.float32)
        w, v = learn(w, v, gradient, bits)
        parameter.grad = torch.from_numpy(gradient)
        usual.grad = torch.from_numpy(gradient.astype(np.float64) * 2.0**-7)
        ours.step()
        theirs.step()
        assert np.array_equal(parameter.detach().numpy().view(np.uint32), w.view(np.uint32))
    torch.testing.assert_close(parameter.double(), usual, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="rate = -1"):
        Momentum([parameter], -1)
    usual.grad = torch.zeros_like(usual)
    with pytest.raises(ValueError, match="float64; masters are FP32"):
        Momentum([usual]).step()


def test_loss_scale_takes_itself_out_again():
    """Of the gradients and of the decay; an overflow changes nothing but the scale."""
    layer = PrunedLinear(16, 4, pruning=Pruning("bdwp", 2, 8, decay=0.5))
    twin = PrunedLinear(16, 4, pruning=layer.pruning)
    twin.load_state_dict(layer.state_dict())
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    scaled = LossScale(layer, Momentum(layer.parameters()), 2.0**10, patience=2)
    usual = Momentum(twin.parameters())
    for step in range(2):
        assert scaled.scale == 2.0**10, step
        assert scaled.step(layer(x).square().sum())
        usual.zero_grad()
        twin(x).square().sum().backward()
        usual.step()
        assert torch.equal(layer.weight, twin.weight)
    assert scaled.scale == layer.loss_scale == 2.0**11
    before = layer.weight.clone()
    assert not scaled.step(layer(x).sum() * float("inf"))
    assert torch.equal(layer.weight, before)
    assert scaled.scale == layer.loss_scale == 2.0**10
    for bad in (3.0, 0.0, -2.0, float("inf")):
        with pytest.raises(ValueError, match="power of two"):
            LossScale(layer, usual, bad)
    with pytest.raises(ValueError, match="patience = 0"):
        LossScale(layer, usual, patience=0)


@pytest.mark.parametrize("kind", ["momentum", "adam"])
def test_small_gradients_survive_fp16_only_when_scaled(kind):
    def trained(scale: float) -> torch.Tensor:
        layer = PrunedLinear(8, 8, bias=False, pruning=Pruning("bdwp", 4, 8, format="fp16"))
        with torch.no_grad():
            layer.weight.zero_()
        steps = {"momentum": Momentum, "adam": torch.optim.Adam}[kind](layer.parameters())
        LossScale(layer, steps, scale).step(layer(torch.ones(2, 8)).sum() * 1e-8)
        return layer.weight.detach()

    assert not trained(1.0).any()  # 1e-8 is 0 in FP16
    assert (trained(2.0**16) < 0).all()
