"""Binary networks: operations beside torch's complex ones and their definitions, and errors."""

from collections import Counter

import numpy as np
import pytest
import torch
from thresher.models.bcnn.drawn import chain, drawn, random_convolution, residual
from thresher.models.bcnn.network import Network, Node
from thresher.models.bcnn.operations import (
    Add,
    Bias,
    Convolution,
    Input,
    Kind,
    MaxPool,
    Parts,
    Sum,
    Threshold,
)
from thresher.models.windows import Windows


def rows(network, count=4, seed=0):
    """Random ones; the first two of the least and of the greatest values."""
    kind, rng = network.input, np.random.default_rng(seed)
    shape = (count, *kind.shape, 2) if kind.complex else (count, *kind.shape)
    values = rng.integers(kind.low, kind.high + 1, shape)
    values[0], values[1] = kind.low, kind.high
    return np.where(values >= 0, 1, -1) if kind.format == "bits" else values


def to_torch(x, complex):
    """complex128 or float64 [rows, channels, height, width]."""
    x = torch.from_numpy(np.ascontiguousarray(x)).double()
    x = torch.view_as_complex(x) if complex else x
    return x.permute(0, 3, 1, 2)


def from_torch(x):
    x = x.permute(0, 2, 3, 1)
    return (torch.view_as_real(x.contiguous()) if x.is_complex() else x).numpy()


def by_torch(operation, *values):
    """What ``operation`` is to do, another way, on torch's layout."""
    if isinstance(operation, Convolution):
        w = torch.from_numpy(operation.weights.astype(np.float64))
        w = (torch.view_as_complex(w) if operation.complex else w).permute(0, 3, 1, 2)
        x, (down, across) = values[0], operation.padding
        outside = 0 if operation.fill == "zero" else 1 + 1j if x.is_complex() else 1
        padded = torch.full(
            (*x.shape[:2], x.shape[2] + 2 * down, x.shape[3] + 2 * across), outside, dtype=x.dtype
        )
        padded[:, :, down : down + x.shape[2], across : across + x.shape[3]] = x
        return torch.nn.functional.conv2d(padded.to(w.dtype), w, stride=operation.stride)
    if isinstance(operation, Add):
        return values[0] + sum(f * v for f, v in zip(operation.factors, values[1:], strict=True))
    if isinstance(operation, MaxPool):
        return parts(
            lambda part: torch.nn.functional.max_pool2d(
                part, operation.size, operation.stride, operation.padding
            ),
            values[0],
        )
    if isinstance(operation, Parts):
        both = torch.stack((values[0].real, values[0].imag), dim=2)
        return both.flatten(1, 2)
    if isinstance(operation, Sum):
        return values[0].sum(dim=(2, 3), keepdim=True)
    if isinstance(operation, Bias):
        return values[0] + spread(operation.biases, values[0])
    assert isinstance(operation, Threshold)
    flip = 1 - 2 * operation.flips.astype(int)
    signs = np.where(operation.flips, -0.5, 0.5)  # so that none is 0
    x = values[0] - spread(operation.thresholds, values[0])
    x = parts(lambda part, f, s: part * f + s, x, spread(flip, x), spread(signs, x))
    return parts(torch.sign, x)


def spread(values, like):
    values = torch.from_numpy(values.astype(np.float64))
    values = torch.view_as_complex(values) if like.is_complex() else values
    return values[:, None, None]


def parts(function, *values):
    if not values[0].is_complex():
        return function(*values)
    real, imaginary = (function(*(getattr(v, p) for v in values)) for p in ("real", "imag"))
    return torch.complex(real, imaginary)


@pytest.mark.parametrize("first", range(0, 160, 20))
def test_networks_equal_torch_in_double_precision(first):
    for seed in range(first, first + 20):
        network = drawn(seed)
        values = network.trace(rows(network, seed=seed))
        for place, node in enumerate(network.nodes[1:], 1):
            sources = (to_torch(values[s], network.kinds[s].complex) for s in node.sources)
            wanted = from_torch(by_torch(node.operation, *sources))
            assert values[place].shape == wanted.shape, (seed, node.name)
            assert (values[place] == wanted).all(), (seed, node.name)
            kind = network.kinds[place]
            assert wanted.shape[1:] == (*kind.shape, 2)[: 4 if kind.complex else 3]
            assert kind.low <= wanted.min() <= wanted.max() <= kind.high, (seed, node.name)


@pytest.mark.parametrize("seed", range(6))
def test_convolution_equals_its_definition(seed):
    rng = np.random.default_rng(seed)
    complex, fill = bool(seed % 2), ("zero", "one")[seed // 2 % 2]
    windows = Windows((3, 2), (2, 1), (2, 1))
    source = Kind((4, 5, 4), "bits", complex)
    conv = random_convolution(rng, source, 6, windows, complex=complex, fill=fill, block=(3, 2))
    x = rng.choice((-1, 1), (2, 4, 5, 4, 2) if complex else (2, 4, 5, 4))
    got = conv(x)
    number = (lambda v: int(v[0]) + 1j * int(v[1])) if complex else int
    outside = 0 if fill == "zero" else 1 + 1j if complex else 1
    assert got.shape[1:3] == (3, 6)
    for n, y, u, m in np.ndindex(got.shape[:4]):
        total = 0
        for i, j, c in np.ndindex(3, 2, 4):
            v, h = 2 * y + i - 2, u + j - 1
            value = number(x[n, v, h, c]) if 0 <= v < 4 and 0 <= h < 5 else outside
            total += number(conv.weights[m, i, j, c]) * value
        assert number(got[n, y, u, m]) == total


def test_sums_beyond_single_precision_are_exact():
    channels = 1 << 9
    conv = Convolution(np.ones((1, 1, 1, channels), int))
    assert conv(np.full((1, 1, 1, channels), 32767)).item() == 32767 * channels
    odd = np.full((1, 1, 1, channels), 65535)
    odd[..., 0] = 65534
    assert conv(odd).item() == 65535 * channels - 1  # needs 25 bits, and is odd


def test_thresholds_at_every_sum():
    sums = np.arange(-9, 10)[:, None, None, None].repeat(4, axis=3)
    threshold = Threshold(np.array([-9, 10, 0, 3]), np.array([False, False, True, False]))
    threshold.result(Kind((1, 1, 4), "accumulators", False, -9, 9))
    bits = threshold(sums)[:, 0, 0]
    assert (bits[:, 0] == 1).all()
    assert (bits[:, 1] == -1).all()
    assert bits[:, 2].tolist() == [1] * 9 + [-1] * 10
    assert bits[:, 3].tolist() == [-1] * 12 + [1] * 7


@pytest.mark.parametrize("network", [chain(1), residual(1), drawn(701)])
def test_no_rows_give_none(network):
    none = rows(network)[:0]
    assert network(none).shape == (0, *network(rows(network)).shape[1:])


@pytest.mark.parametrize("make", [chain, residual])
def test_bits_of_examples_are_not_stuck(make):
    network = make(0)
    x = rows(network, 20)
    for node, kind, values in zip(network.nodes, network.kinds, network.trace(x), strict=True):
        if kind.format == "bits":
            assert (values.std(axis=0) > 0).mean() > 0.3, node.name
            assert abs(values.mean()) < 0.7, node.name
    assert (network(x).std(axis=0) > 0).all()


def test_drawn_networks_have_anything_in_them():
    found = Counter()
    for seed in range(200):
        network = drawn(seed)
        same = drawn(seed)
        assert network.kinds == same.kinds
        found[network.output.format, network.output.complex] += 1
        found["last", type(network.nodes[-1].operation)] += 1
        for place, node in enumerate(network.nodes):
            o, sources = node.operation, [network.kinds[s] for s in node.sources]
            found[type(o)] += 1
            if isinstance(o, Convolution):
                found["stride"] += o.stride != (1, 1)
                found["padded", o.fill] += max(o.padding) > 0
                found["pruned"] += not o.kept.all()
                found["group without weights"] += not o.kept.any(axis=(1, 2, 3)).all()
                found[sources[0].format, sources[0].complex, o.complex] += 1
                found["dense"] += o.size == sources[0].shape[:2] != (1, 1)
            if isinstance(o, Add):
                found["projection"] += any(k.format == "accumulators" for k in sources[1:])
                found["shortcut"] += any(k.format == "bits" for k in sources[1:])
            if isinstance(o, Threshold):
                before = network.nodes[node.sources[0]].operation
                found["threshold behind", type(before)] += 1
            found["fork"] += len(network.consumers()[place]) > 1
            if isinstance(o, MaxPool):
                found["pool", sources[0].complex] += 1
            if isinstance(o, Input):
                found["input", o.bits == 1, o.signed] += 1
    wanted = [
        Input, Convolution, Add, Threshold, MaxPool, Parts, Sum, Bias,
        "stride", "pruned", "group without weights", "dense", "projection", "shortcut", "fork",
        *(("last", o) for o in (Convolution, Add, Sum, Bias, Threshold, MaxPool)),
        ("bits", False), ("bits", True), ("accumulators", False), ("accumulators", True),
        ("integers", False, False), ("integers", False, True), ("bits", False, False),
        ("bits", True, True), ("input", False, False), ("input", False, True),
        ("padded", "zero"), ("padded", "one"), ("pool", False), ("pool", True),
        ("threshold behind", Convolution), ("threshold behind", Add), ("threshold behind", Sum),
        ("threshold behind", Bias),
    ]  # fmt: skip
    assert not [each for each in wanted if found[each] < 5]


ONES = np.ones((4, 3, 3, 2), int)
HALF = np.concatenate([ONES[:2], 0 * ONES[:2]])
BITS, COMPLEX = Kind((5, 5, 2), "bits"), Kind((5, 5, 2), "bits", True)
INTEGERS = Kind((5, 5, 2), "integers", False, -128, 127)
SUMS, BOTH = (Kind((5, 5, 2), "accumulators", c, -18, 18) for c in (False, True))
CUT = Convolution(HALF, block=(2, 2))
TWO = np.zeros(2, int), np.zeros(2, bool)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Input((4, 4)), r"an input is \(height, width, channels\), not \(4, 4\)"),
        (lambda: Input((4, 0, 1)), "an input is"),
        (lambda: Input((4, 4, 1), bits=17), "bits = 17; an input has 1 to 16"),
        (lambda: Input((4, 4, 1), complex=True), "complex inputs are of 1 bit"),
        (lambda: Convolution(ONES[0]), r"with a last axis of 2 .*, not \(3, 3, 2\)"),
        (lambda: Convolution(np.ones((4, 3, 3, 2, 3))), "last axis of 2"),
        (lambda: Convolution(2 * ONES), "binarise them"),
        (lambda: Convolution(0.5 * ONES), "binarise them"),
        (lambda: Convolution(ONES, fill="none"), "fill = 'none'; 'zero' or 'one'"),
        (lambda: Convolution(ONES, block=(3, 2)), r"\(3, 2\) does not divide 4 outputs and 2 ch"),
        (lambda: Convolution(ONES, block=(0, 2)), "does not divide"),
        (lambda: Convolution(HALF), "weights of 0; say in which blocks"),
        (lambda: Convolution(HALF, block=(4, 2)), "whole blocks of 4 outputs and 2 channels"),
        (lambda: Convolution(ONES, padding=(1, 3)), r"\(1, 3\) leaves windows of \(3, 3\) with"),
        (lambda: Convolution(ONES, stride=(0, 1)), "the first two are 1 or more"),
        (lambda: Convolution(ONES).result(SUMS), "put a Threshold in front"),
        (lambda: Convolution(ONES[..., :1]).result(BITS), "reads 1 channels, but .* has 2"),
        (lambda: Convolution(ONES).result(COMPLEX), "put Parts in front"),
        (lambda: Convolution(np.ones((4, 3, 3, 2, 2))).result(BITS), "complex bits, or integers"),
        (lambda: Convolution(ONES, padding=(1, 1), fill="one").result(INTEGERS), "is for bits"),
        (lambda: Convolution(ONES).result(Kind((2, 5, 2), "bits")), "does not fit an image"),
        (lambda: Add((1, 1)).result(SUMS, BITS), "has 2 factors and 1 sources"),
        (lambda: Add().result(BITS, BITS), "its first source are accumulators, not 5 x 5 x 2 bi"),
        (lambda: Add().result(SUMS, COMPLEX), "adds 5 x 5 x 2 complex bits to 5 x 5 x 2 accum"),
        (lambda: Add().result(SUMS, Kind((5, 1, 2), "bits")), "adds 5 x 1 x 2 bits"),
        (lambda: Add((2,)).result(SUMS, SUMS), "accumulators with a factor of 1"),
        (lambda: Add().result(SUMS, INTEGERS), "adds bits, or accumulators"),
        (lambda: Threshold(np.zeros(2), TWO[1]), "thresholds are integers; fold batch norm"),
        (lambda: Threshold(np.zeros((2, 3), int), TWO[1]), r"or \[channels, 2\], not \(2, 3\)"),
        (lambda: Threshold(TWO[0], np.zeros(3, bool)), r"\(3,\) flips for \(2,\) thresholds"),
        (lambda: Threshold(*TWO).result(BITS), "reads accumulators, not 5 x 5 x 2 bits"),
        (lambda: Threshold(*TWO).result(BOTH), "complex accumulators have two thresholds"),
        (lambda: Threshold(TWO[0][:1], TWO[1][:1]).result(SUMS), "has 1 channels, its source 2"),
        (lambda: Threshold(np.array([0, 20]), TWO[1]).result(SUMS), "20 of channel 1 is out of -1"),
        (lambda: Threshold(np.array([-19, 0]), TWO[1]).result(SUMS), "of channel 0 .*; clip it"),
        (lambda: MaxPool((3, 3), (1, 1), (2, 0)), "is more than half"),
        (lambda: MaxPool((2, 2)).result(SUMS), "pool behind the Threshold"),
        (lambda: MaxPool((6, 2)).result(BITS), "does not fit an image"),
        (lambda: Parts().result(BITS), "reads complex bits, not 5 x 5 x 2 bits"),
        (lambda: Sum().result(COMPLEX), "adds accumulators, not 5 x 5 x 2 complex bits"),
        (lambda: Bias(np.zeros(2)), "biases are integers; round them"),
        (lambda: Bias(TWO[0]).result(BOTH), r"adds \(2,\) biases to 5 x 5 x 2 complex accum"),
        (lambda: Bias(TWO[0]).result(BITS), "biases to 5 x 5 x 2 bits"),
    ],
)  # fmt: skip
def test_what_does_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("input", "x", "message"),
    [
        (Input((1, 1, 2)), np.zeros((3, 1, 1, 3), int), r"shape \(1, 1, 2\), not \(1, 1, 3\)"),
        (Input((1, 1, 2)), np.full((3, 1, 1, 2), 256), "integers from 0 to 255; quantise"),
        (Input((1, 1, 2), 8, True), np.full((3, 1, 1, 2), 128), "integers from -128 to 127"),
        (Input((1, 1, 2)), np.zeros((3, 1, 1, 2)), "integers from 0"),
        (Input((1, 1, 2), 1), np.zeros((3, 1, 1, 2), int), "rows are 1 and -1"),
        (Input((1, 1, 2), 1, complex=True), np.ones((3, 1, 1, 2), int), r"shape \(1, 1, 2, 2\)"),
    ],
)
def test_rows_that_do_not_fit(input, x, message):
    with pytest.raises(ValueError, match=message):
        Network((Node("x", input),))(x)


def test_nodes_that_do_not_fit_are_named():
    x, conv = Node("x", Input((5, 5, 2), 1)), Node("conv", Convolution(ONES), (0,))
    bits = Threshold(np.zeros(4, int), np.zeros(4, bool))
    for nodes, message in [
        ((), "an Input at least"),
        ((conv,), "node 'conv' is number 0 and reads"),
        ((x, conv, Node("on", Convolution(ONES), (1,))), "node 'on': reads bits or integers"),
        ((x, conv, Node("add", Add(), (1,))), "node 'add': has 1 factors and 0 sources"),
        ((x, conv, Node("bits", bits, (1, 0))), "node 'bits': Threshold does not have 2 sources"),
        ((x, conv, Node("bits", bits, (3,))), "node 'bits' is number 2 and reads"),
        ((x, conv, Node("conv", bits, (1,))), "two nodes have the same name"),
        ((x, conv, Node("other", Convolution(ONES), (0,))), "'conv' is not the last and read by"),
    ]:
        with pytest.raises(ValueError, match=message):
            Network(nodes)


def test_what_is_pruned_counts_neither_in_bounds_nor_in_products():
    assert CUT.result(BITS).high == 18
    assert CUT.products == 36
    cut = HALF.copy()
    cut[:2, 0] = 0
    fewer = Convolution(cut, block=(2, 1))
    assert fewer.result(BITS).high == 12
    assert fewer.products == 24
    none = Convolution(0 * ONES, block=(4, 2))
    assert (none.result(BITS).low, none.result(BITS).high, none.products) == (0, 0, 0)
