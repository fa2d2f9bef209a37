"""Layers of binary networks beside torch's complex arithmetic."""

import numpy as np
import pytest
import torch
from thresher.models.bcnn.layers import (
    Add,
    BatchNorm,
    BinaryConv2d,
    BinaryLinear,
    Flatten,
    PixelSum,
    Scores,
    Sign,
    binarise,
    clip,
)
from torch import nn
from torch.nn import functional


def complex_of(x):
    """complex128 [rows, channels, ...] of parts as channels."""
    return torch.view_as_complex(x.double().unflatten(1, (-1, 2)).movedim(2, -1).contiguous())


def parts_of(z):
    return torch.view_as_real(z).movedim(-1, 2).flatten(1, 2)


def bits(*shape):
    return torch.randint(0, 2, shape).float() * 2 - 1


@pytest.mark.parametrize("seed", range(24))
def test_complex_convolutions_equal_torchs(seed):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    channels, outputs, rows = (int(n) for n in rng.integers(1, 6, 3))
    size = tuple(int(n) for n in rng.integers(1, 4, 2))
    stride = tuple(int(n) for n in rng.integers(1, 4, 2))
    padding = tuple(int(rng.integers(0, s)) for s in size)
    fill, first = ("zero", "one")[seed % 2], seed % 4 == 2
    layer = BinaryConv2d(
        channels, outputs, size, stride, padding, fill,
        complex=True, real_input=first, block=(1, 1),
    )  # fmt: skip
    layer.prune(torch.rand(outputs, channels, *size) < 0.7)
    weight = torch.view_as_complex(layer.binary().detach().double().contiguous())
    assert set(weight.real.flatten().tolist()) <= {-1.0, 0.0, 1.0}
    assert (weight.real.abs() == weight.imag.abs()).all()
    shape = (rows, channels, *(int(n) for n in rng.integers(3, 8, 2)))
    x = (
        torch.randint(-128, 128, shape).to(torch.complex128)
        if first
        else torch.complex(bits(*shape), bits(*shape)).to(torch.complex128)
    )
    down, across = padding
    padded = torch.full(
        (rows, channels, shape[2] + 2 * down, shape[3] + 2 * across),
        1 + 1j if fill == "one" else 0, dtype=x.dtype,
    )  # fmt: skip
    padded[:, :, down : down + shape[2], across : across + shape[3]] = x
    wanted = functional.conv2d(padded, weight, stride=stride)
    read = x.real.float() if first else parts_of(x).float()
    for training in (True, False):
        assert torch.equal(complex_of(layer.train(training)(read)), wanted)


def test_real_convolutions_and_dense_layers_equal_torchs():
    x = bits(3, 4, 5, 6)
    layer = BinaryConv2d(4, 2, 3, padding=1, fill="one")
    padded = functional.pad(x, (1, 1, 1, 1), value=1)
    assert torch.equal(layer(x), functional.conv2d(padded, layer.binary()))
    dense = BinaryLinear(6, 5, complex=True)
    z = torch.complex(bits(4, 6), bits(4, 6))
    weight = torch.view_as_complex(dense.binary()[:, :, 0, 0].contiguous())
    got = torch.view_as_complex(dense(parts_of(z)).unflatten(1, (-1, 2)).contiguous())
    assert torch.equal(got, z @ weight.T)


def test_evaluation_gives_integers_whatever_the_algorithm(monkeypatch):
    def other(x, weight, stride, padding):
        return conv2d(x, weight, stride=stride, padding=padding) + 0.2

    conv2d = functional.conv2d
    layer, x = BinaryConv2d(3, 4, 3).eval(), bits(2, 3, 5, 5)
    wanted = layer(x)
    monkeypatch.setattr(functional, "conv2d", other)
    assert torch.equal(layer(x), wanted)


def test_signs_of_zero_are_1_and_gradients_are_those_of_a_clamp():
    x = torch.tensor([-2.0, -1, -0.5, -0.0, 0, 0.5, 1, 1.5], requires_grad=True)
    y = binarise(x)
    assert y.tolist() == [-1, -1, -1, 1, 1, 1, 1, 1]
    y.backward(torch.arange(1.0, 9))
    assert x.grad is not None
    assert x.grad.tolist() == [0, 2, 3, 4, 5, 6, 7, 0]


def test_gradients_of_weights_are_those_of_the_signs_they_have():
    torch.manual_seed(1)
    layer = BinaryConv2d(3, 4, 3, complex=True, block=(2, 3))
    layer.prune(torch.rand(2, 1, 3, 3) < 0.5)
    with torch.no_grad():
        layer.weight *= 4  # some beyond 1
    z = torch.complex(bits(2, 3, 4, 4), bits(2, 3, 4, 4))
    layer(parts_of(z)).mul(torch.linspace(-1, 1, 2 * 8 * 4).view(2, 8, 2, 2)).sum().backward()
    weight = torch.view_as_complex(layer.binary().detach().contiguous()).requires_grad_()
    sums = parts_of(functional.conv2d(z, weight))
    sums.mul(torch.linspace(-1, 1, 2 * 8 * 4).view(2, 8, 2, 2)).sum().backward()
    assert weight.grad is not None
    assert layer.weight.grad is not None
    wanted = torch.view_as_real(weight.grad) * (layer.weight.abs() <= 1) * layer.kept[..., None]
    assert (layer.weight.grad - wanted).abs().max() < 1e-5
    assert wanted.abs().max() > 0.1


def test_drawn_weights_lie_in_every_quadrant_and_have_glorots_variance():
    torch.manual_seed(0)
    for complex in (False, True):
        weight = BinaryConv2d(40, 60, 3, complex=complex).weight.detach()
        power = weight.square().sum() / (60 * 40 * 9)
        assert abs(power * 9 * 100 / 2 - 1) < 0.05
        if complex:
            quadrants = (weight[..., 0] >= 0).int() * 2 + (weight[..., 1] >= 0).int()
            shares = torch.bincount(quadrants.flatten()) / quadrants.numel()
            assert (shares - 0.25).abs().max() < 0.02


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("image", [False, True])
def test_batch_norm_equals_its_definition(complex, image):
    torch.manual_seed(2)
    shape = (6, 4, 3, 5) if image else (6, 4)
    norm = BatchNorm(4, complex, eps=1e-3, momentum=0.3).double()
    with torch.no_grad():
        norm.scale.normal_()
        norm.shift.normal_()
    z = torch.randn(shape, dtype=torch.complex128 if complex else torch.float64) * 3 + 2
    around = tuple(d for d in range(z.ndim) if d != 1)

    def of(v):
        return v.reshape(-1, *[1] * (z.ndim - 2))

    scale = norm.scale.detach()
    shift = norm.shift.detach()
    shift = torch.view_as_complex(shift.view(-1, 2)) if complex else shift
    mean = z.mean(around)
    variance = (z - of(mean)).abs().square().mean(around)
    wanted = of(scale) * (z - of(mean)) / (of(variance) + 1e-3).sqrt() + of(shift)
    got = norm(parts_of(z) if complex else z)
    assert ((complex_of(got) if complex else got) - wanted).abs().max() < 1e-12
    if not complex and image:
        same = functional.batch_norm(z, None, None, scale, shift, training=True, eps=1e-3)
        assert (got - same).abs().max() < 1e-12
    count = z.numel() // 4
    kept = parts_of(mean[None])[0] if complex else mean
    assert (norm.mean - 0.3 * kept).abs().max() < 1e-12
    unbiased = variance * count / (count - 1)
    assert (norm.variance - (0.7 + 0.3 * unbiased)).abs().max() < 1e-12
    norm.eval()
    mean, variance = norm.mean, norm.variance
    mean = torch.view_as_complex(mean.view(-1, 2)) if complex else mean
    wanted = of(scale) * (z - of(mean)) / (of(variance) + 1e-3).sqrt() + of(shift)
    got = norm(parts_of(z) if complex else z)
    assert ((complex_of(got) if complex else got) - wanted).abs().max() < 1e-12


def test_batch_norm_in_evaluation_keeps_the_sign_of_tiny_numbers():
    norm = BatchNorm(2).double().eval()
    with torch.no_grad():
        norm.scale.fill_(1e-60)
        x = torch.tensor([[-1.0, 1.0], [0.0, -0.0]])
    assert Sign()(norm(x.double())).tolist() == [[-1, 1], [1, 1]]
    assert Sign()(norm(x)).tolist() == [[-1, 1], [1, 1]]
    assert norm(x).dtype == torch.float32


def test_parts_stay_side_by_side_in_vectors():
    z = torch.complex(bits(2, 3, 4, 5), bits(2, 3, 4, 5))
    vectors = Flatten(complex=True)(parts_of(z))
    assert torch.equal(torch.view_as_complex(vectors.unflatten(1, (-1, 2))), z.flatten(1))
    x = bits(2, 3, 4, 5)
    assert torch.equal(Flatten()(x), x.flatten(1))


def test_sums_and_scores():
    x, y, z = (torch.randint(-9, 9, (2, 3, 4, 5)).float() for _ in range(3))
    assert torch.equal(Add()(x, y), x + y)
    assert torch.equal(Add(3, -2)(x, y, z), x + 3 * y - 2 * z)
    assert torch.equal(PixelSum()(x), x.sum((2, 3)))
    scores = Scores(3, 300)
    assert scores.scale == 1 / 16
    with torch.no_grad():
        scores.bias.copy_(torch.tensor([0.03, 0.04, -1.0]))
    assert scores.biases.tolist() == [0, 1, -16]
    assert torch.equal(scores(torch.ones(1, 3)), torch.tensor([[1, 2, -15]]) / 16)
    scores(torch.ones(1, 3)).sum().backward()
    assert scores.bias.grad is not None
    assert scores.bias.grad.tolist() == [1, 1, 1]


def test_latent_weights_are_clipped():
    net = nn.Sequential(BinaryConv2d(1, 1, 3), BatchNorm(1))
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(3)
    clip(net)
    assert net[0].weight.max() == 1
    assert net[1].scale.item() == 3


def test_a_complex_network_learns():
    torch.manual_seed(0)
    x = bits(256, 8, 3, 3)
    label = (x[:, 0, 1, 1] * x[:, 3, 0, 0] > 0).long()
    net = nn.Sequential(
        BinaryConv2d(4, 32, 3, complex=True), BatchNorm(32, True), Sign(), Flatten(),
        BinaryLinear(64, 2), Scores(2, 64),
    )  # fmt: skip
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(40):
        loss = functional.cross_entropy(net(x), label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        clip(net)
    assert (net.eval()(x).argmax(1) == label).float().mean() > 0.8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BinaryConv2d(0, 1, 3), "all >= 1"),
        (lambda: BinaryConv2d(3, 4, 3, real_input=True), "complex weights"),
        (lambda: BinaryConv2d(3, 4, 3, block=(3, 1)), "do not divide"),
        (lambda: BinaryConv2d(3, 4, 3, fill="two"), "'zero' or 'one'"),
        (lambda: BinaryConv2d(3, 4, 3).prune(torch.ones(4, 3, 3, 3)), "set `block`"),
        (lambda: BinaryLinear(4, 4, block=(2, 2)).prune(torch.ones(4, 4)), "blocks of"),
        (lambda: BatchNorm(3)(torch.ones(1, 3)), "more rows"),
        (lambda: Add(0.5), "integers"),  # type: ignore[arg-type]
        (lambda: Add(1)(torch.ones(1)), "1 factors for 0"),
        (lambda: Scores(3, 0), "at least 1"),
    ],
)
def test_what_is_wrong_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()
