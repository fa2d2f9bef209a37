"""Converted networks against the modules they come from, bit for bit."""

import numpy as np
import pytest
import torch
from thresher.models.bcnn import layers
from thresher.models.bcnn.convert import convert, to_rows, to_tensor
from thresher.models.bcnn.layers import (
    Add,
    BatchNorm,
    BinaryConv2d,
    BinaryLinear,
    Flatten,
    PixelSum,
    Scores,
    Sign,
)
from thresher.models.bcnn.operations import Convolution, Input, MaxPool, Parts, Threshold
from torch import nn


def trained(module, given, seed=0):
    """``module`` as after training: statistics of rows, scales of either sign and 0, pruned."""
    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, BatchNorm):
            with torch.no_grad():
                layer.scale.normal_()
                layer.scale[torch.rand(layer.channels) < 0.1] = 0
                layer.shift.normal_(std=0.3)
            layer.momentum = 1.0
        if isinstance(layer, Scores):
            nn.init.normal_(layer.bias)
        if isinstance(layer, layers.Binary) and layer.block is not None:
            blocks = layer.kept[:: layer.block[0], :: layer.block[1]]
            layer.prune(torch.rand(blocks.shape) < 0.6)
    module.train()(to_tensor(rows(given, 8, seed + 1), given.result()))
    return module.eval()


def rows(given, count, seed=0):
    rng, kind = np.random.default_rng(seed), given.result()
    values = rng.integers(kind.low, kind.high + 1, (count, *kind.shape, 1 + kind.complex))
    values = np.where(values > 0, 1, -1) if kind.format == "bits" else values
    return values if kind.complex else values[..., 0]


def check(module, given, seed=0):
    module = trained(module, given, seed)
    network = convert(module, given)
    x = rows(given, 16, seed + 2)
    y = module(to_tensor(x, given.result()))
    scale = next((m.scale for m in module.modules() if isinstance(m, Scores)), 1)
    wanted, got = to_rows(y / scale, network.output), network(x)
    assert got.shape == wanted.shape
    assert (got == wanted).all()
    assert len(np.unique(got)) > 1
    return network


class Residual(nn.Module):
    """Two convolutions and a shortcut, or a projection."""

    def __init__(self, channels, outputs, stride, complex, factor):
        super().__init__()
        self.one = nn.Sequential(
            BinaryConv2d(channels, outputs, 3, stride, 1, complex=complex, block=(2, 2)),
            BatchNorm(outputs, complex), Sign(),
        )  # fmt: skip
        self.two = BinaryConv2d(outputs, outputs, 3, 1, 1, complex=complex, block=(4, 1))
        if stride != 1 or channels != outputs:
            self.projection = BinaryConv2d(channels, outputs, 1, stride, complex=complex)
            factor = 1
        else:
            self.projection = nn.Identity()
        self.add = Add(factor)
        self.last = nn.Sequential(BatchNorm(outputs, complex), Sign())

    def forward(self, x):
        return self.last(self.add(self.two(self.one(x)), self.projection(x)))


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_residual_networks(complex, seed):
    wide = 2 if complex else 1
    module = nn.Sequential(
        BinaryConv2d(3, 8, 3, padding=1, complex=complex, real_input=complex),
        BatchNorm(8, complex), Sign(), nn.MaxPool2d(2),
        Residual(8, 8, 1, complex, 3), Residual(8, 12, 2, complex, 1), nn.Dropout(0.5),
        BinaryConv2d(wide * 12, 5, 1), PixelSum(), Scores(5, 12 * 9),
    )  # fmt: skip
    network = check(module, Input((12, 11, 3), 8, signed=seed == 1), seed)
    operations = [node.operation for node in network.nodes]
    assert sum(isinstance(o, Parts) for o in operations) == complex
    convolutions = [o for o in operations if isinstance(o, Convolution)]
    assert [o.block for o in convolutions] == [None, (2, 2), (4, 1), (2, 2), (4, 1), None, None]
    assert not all(o.kept.all() for o in convolutions)


@pytest.mark.parametrize("seed", range(40))
def test_random_chains(seed):
    """Strides, paddings, fills, pools in front of, between and behind norm and sign, flattening."""
    rng = np.random.default_rng(seed)
    given = Input(
        (int(rng.integers(9, 13)), int(rng.integers(9, 13)), int(rng.integers(1, 4))),
        int(rng.choice((1, 1, 4, 8))),
        complex=False,
    )
    complex = bool(rng.integers(2))
    if given.bits == 1:
        given = Input(given.shape, 1, complex=complex)
    channels, lift, parts = given.shape[2], complex and given.bits > 1, []
    for _ in range(int(rng.integers(1, 3))):
        outputs = int(rng.choice((2, 4, 6)))
        size = int(rng.integers(1, 4))
        fill = "one" if rng.integers(2) and (parts or given.bits == 1) else "zero"
        block = (2, 1) if rng.integers(2) else None
        conv = BinaryConv2d(
            channels, outputs, size, int(rng.integers(1, 3)), int(rng.integers(0, size)), fill,
            complex=complex, real_input=lift, block=block,
        )  # fmt: skip
        norm, sign, pool = BatchNorm(outputs, complex), Sign(), nn.MaxPool2d(2, 1)
        order = ([norm, sign], [norm, sign, pool], [norm, pool, sign], [pool, sign], [sign])
        parts += [conv, *order[rng.integers(len(order))]]
        channels, lift = outputs, False
    net = nn.Sequential(*parts)
    height, width = net(to_tensor(rows(given, 2), given.result())).shape[2:]
    many = channels * height * width
    after = bool(rng.integers(2)) and complex
    if after:
        parts += [Flatten(True), BinaryLinear(many, 6, complex=True), BatchNorm(6, True), Sign()]
        many = 6
    else:
        parts.append(Flatten(True) if complex and rng.integers(2) else nn.Flatten())
    last = BinaryLinear(many * (2 if complex else 1), 4, block=(2, 1) if rng.integers(2) else None)
    check(nn.Sequential(*parts, last, Scores(4, many)), given, seed)


def test_pools_of_sums_move_behind_the_sign():
    module = nn.Sequential(
        BinaryConv2d(2, 4, 3), nn.MaxPool2d(2), nn.MaxPool2d(2, 1, 1), BatchNorm(4), Sign(),
    )  # fmt: skip
    given = Input((7, 8, 2), 1)
    module = trained(module, given)
    with torch.no_grad():
        module[3].scale.abs_()
        module[3].scale[2] = 0
    network = convert(module, given)
    kinds = [type(node.operation) for node in network.nodes]
    assert kinds == [Input, Convolution, Threshold, MaxPool, MaxPool]
    x = rows(given, 16)
    wanted = module(to_tensor(x, given.result()))
    assert (network(x) == to_rows(wanted, network.output)).all()
    with torch.no_grad():
        module[3].scale[1] = -1
    with pytest.raises(ValueError, match="3: the scale of channel 1 is negative behind a pool"):
        convert(module, given)


def test_a_layer_alone_and_shortcuts_by_a_plus():
    network = check(BinaryConv2d(2, 3, 2, complex=True), Input((4, 4, 2), 1, complex=True))
    assert network.output.complex

    class Plus(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.sign = BinaryConv2d(4, 4, 3, padding=1), Sign()

        def forward(self, x):
            y = self.sign(x + self.conv(x))
            return self.conv(y) + y

    network = check(Plus(), Input((4, 4, 4), 1))
    assert [n.name for n in network.nodes if "conv" in n.name] == ["conv", "conv'"]


def test_one_view_of_parts_for_all_who_read_them():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = BinaryConv2d(4, 3, 1), BinaryConv2d(4, 3, 1)

        def forward(self, x):
            return self.one(x) + self.two(x)

    network = check(Two(), Input((3, 3, 2), 1, complex=True))
    assert sum(isinstance(n.operation, Parts) for n in network.nodes) == 1


def test_vectors_from_outside():
    module = nn.Sequential(BinaryLinear(12, 8, complex=True, real_input=True), BatchNorm(8, True),
                           Sign(), BinaryLinear(16, 3), Scores(3, 16))  # fmt: skip
    check(nn.Sequential(nn.Flatten(), module), Input((1, 1, 12), 4))


def conv(*arguments, **others):
    return BinaryConv2d(*arguments, **others)


_BITS, _COMPLEX, _PIXELS = Input((6, 6, 2), 1), Input((6, 6, 2), 1, complex=True), Input((6, 6, 2))


@pytest.mark.parametrize(
    ("given", "parts", "message"),
    [
        (_BITS, [conv(2, 4, 3), nn.BatchNorm2d(4)], "1: BatchNorm2d .* layers.BatchNorm"),
        (_BITS, [nn.Conv2d(2, 4, 3)], "Conv2d .* layers.BinaryConv2d"),
        (_BITS, [conv(2, 4, 3), nn.ReLU()], "ReLU .* layers.Sign"),
        (_BITS, [conv(2, 4, 3), nn.AdaptiveAvgPool2d(1)], "layers.PixelSum"),
        (_BITS, [nn.PReLU()], "PReLU cannot be converted; replace it"),
        (_BITS, [conv(2, 4, 3), BatchNorm(4)], "ends with a batch norm"),
        (_BITS, [conv(2, 4, 3), nn.MaxPool2d(2)], "ends with a batch norm or a pool"),
        (_BITS, [conv(2, 4, 3), BatchNorm(4), conv(4, 2, 1)], "2: .* put layers.Sign"),
        (_BITS, [conv(2, 4, 3), conv(4, 2, 1)], "put a Threshold in front"),
        (_BITS, [conv(2, 4, 3), BatchNorm(4), BatchNorm(4)], "behind another"),
        (_BITS, [BatchNorm(2)], "put a convolution between"),
        (_BITS, [Sign()], "bits come of sums"),
        (_BITS, [conv(2, 4, 3), BatchNorm(2, True)], "2 complex channels, not .* x 4 acc"),
        (_BITS, [conv(3, 4, 3)], "reads 3 channels, but there are 2"),
        (_BITS, [conv(2, 4, 3, complex=True)], "real_input = False"),
        (_COMPLEX, [conv(4, 4, 3, complex=True, real_input=True)], "real_input = True"),
        (_PIXELS, [conv(2, 4, 3, padding=1, fill="one")], "fill = 'one' is for bits"),
        (_BITS, [BinaryLinear(72, 2)], "put layers.Flatten in front"),
        (_BITS, [nn.Flatten(), conv(72, 2, 1)], "layers.BinaryLinear"),
        (_BITS, [nn.Flatten()], "gives a flattened image"),
        (_BITS, [nn.Flatten(2)], "from dimension 1"),
        (_BITS, [Flatten(True)], "there are no parts"),
        (_COMPLEX, [nn.Flatten(), BinaryLinear(72, 2, complex=True)], "lie apart"),
        (_BITS, [nn.Flatten(), nn.MaxPool2d(2)], "flatten behind it"),
        (_BITS, [conv(2, 3, 3), nn.MaxPool2d(2, ceil_mode=True)], "rounds sizes down"),
        (_BITS, [conv(2, 3, 3), PixelSum(), PixelSum()], "pixels of images"),
        (_BITS, [conv(2, 3, 3), Scores(3, 9), Sign()], "they are to be the last"),
        (_BITS, [conv(2, 3, 7)], "does not fit an image"),
        (Input((6, 6, 2), 16), [conv(2, 3, 6), PixelSum(), Scores(3, 9)], None),
        (Input((1, 1, 300), 16), [nn.Flatten(), BinaryLinear(300, 2)], r"module.double\(\)"),
    ],
)
def test_what_cannot_be_converted(given, parts, message):
    module = nn.Sequential(*parts)
    if message is None:
        convert(module, given)
        return
    with pytest.raises(ValueError, match=message):
        convert(module, given)


def test_numbers_beyond_single_precision_take_a_module_in_double():
    given = Input((1, 1, 300), 16)
    module = nn.Sequential(nn.Flatten(), BinaryLinear(300, 2)).double().eval()
    network, x = convert(module, given), rows(given, 50)
    y = module(to_tensor(x, given.result()).double())
    assert (network(x) == to_rows(y, network.output)).all()


def test_pruned_weights_without_blocks_and_modules_that_branch():
    layer = conv(2, 4, 3)
    layer.kept[0, 0, 0, 0] = False
    with pytest.raises(ValueError, match="say in which blocks"):
        convert(layer, _BITS)

    class Branch(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(2, 4, 3)

        def forward(self, x):
            self.conv(x)
            return x

    class Both(nn.Module):
        def forward(self, x, y):
            return x + y

    class Factor(nn.Module):
        def forward(self, x):
            return torch.add(x, x, alpha=2)

    for module, message in (
        (Branch(), "cannot follow"),
        (Factor(), "names of arguments"),
        (Pair(), "several values"),
        (Idle(), "more than it gives"),
        (Both(), "two inputs"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(module, _BITS)


def test_tensors_and_rows():
    for given in (_BITS, _COMPLEX, _PIXELS):
        kind, x = given.result(), rows(given, 3)
        y = to_tensor(x, kind)
        assert y.shape == (3, 4 if kind.complex else 2, 6, 6)
        assert (to_rows(y, kind) == x).all()
    with pytest.raises(ValueError, match="no integers"):
        to_rows(torch.full((1, 2, 6, 6), 0.5), _BITS.result())
