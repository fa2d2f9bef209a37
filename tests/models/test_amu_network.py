"""Networks of integer layers: every operation beside its definition, files, errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from thresher.models.amu.convolution import MaxPool, Patches
from thresher.models.amu.examples import EXAMPLES, mlp, random_convolution, random_layer
from thresher.models.amu.files import digest, load, save
from thresher.models.amu.layer import Format
from thresher.models.amu.network import Network, Node
from thresher.models.amu.operations import Add, Concat, Dense, Flatten, Input, Lookup


@pytest.mark.parametrize("seed", range(8))
def test_convolution_equals_its_definition(seed):
    rng = np.random.default_rng(seed)
    kernel, stride, padding = (tuple(rng.integers(low, low + 3, 2)) for low in (1, 1, 0))
    kernel, stride, padding = (tuple(map(int, t)) for t in (kernel, stride, padding))
    input = Format(int(rng.integers(2, 9)), signed=bool(seed % 2))
    output = [Format(8), Format(5, True), None][seed % 3]
    shape = {"kernel": kernel, "stride": stride, "padding": padding}
    conv = random_convolution(rng, 4, 5, **shape, input=input, output=output)
    low, high = input.limits
    x = rng.integers(low, high + 1, (3, 6, 5, 4))
    got = conv(x)
    assert got.shape[1:] == conv.result(Input((6, 5, 4), input).result()).shape
    for n, y, u in np.ndindex(got.shape[:3]):
        sums = conv.bias.copy()
        for i, j in np.ndindex(kernel):
            v, h = y * stride[0] + i - padding[0], u * stride[1] + j - padding[1]
            pixel = x[n, v, h] if 0 <= v < 6 and 0 <= h < 5 else np.zeros(4, int)
            for c, code in enumerate(conv.encoder(pixel[None])[0]):
                sums += conv.tables[i, j, c, code]
        if output is not None:
            sums = np.clip(np.floor(sums / 2**conv.shift + 0.5).astype(int), *output.limits)
        assert (got[n, y, u] == sums).all()


def test_a_window_of_a_convolution_is_a_layer():
    rng = np.random.default_rng(0)
    conv = random_convolution(rng, 3, 5, kernel=(2, 3), padding=(0, 0))
    x = rng.integers(256, size=(1, 2, 3, 3))
    assert (conv.window(3)(x.reshape(1, -1)) == conv(x).reshape(1, -1)).all()


@pytest.mark.parametrize("padding", [(0, 0), (1, 1)])
def test_windows_equal_torch(padding):
    x = np.random.default_rng(0).integers(-128, 128, (2, 7, 6, 3))
    images = torch.from_numpy(x).permute(0, 3, 1, 2).double()
    pooled = torch.nn.functional.max_pool2d(images, (3, 2), (2, 1), padding)
    got = MaxPool((3, 2), (2, 1), padding)(x)
    assert (got == pooled.permute(0, 2, 3, 1).numpy()).all()
    weights = torch.randint(-9, 9, (4, 3, 3, 2)).double()
    exact = torch.nn.functional.conv2d(images, weights, None, (2, 1), padding)
    columns = weights.permute(2, 3, 1, 0).reshape(-1, 4).long().numpy()
    dense = Dense(columns, np.zeros(4, int), Format(8, True))
    got = dense(Patches((3, 2), (2, 1), padding)(x))
    assert (got == exact.permute(0, 2, 3, 1).numpy()).all()


def test_dense_and_add_round_half_up_and_saturate():
    x = np.array([[1, 2], [3, 1], [255, 255]])
    dense = Dense(np.array([[1, -1], [1, 0]]), np.array([0, 0]), shift=1, output=Format(8))
    assert dense(x).tolist() == [[2, 0], [2, 0], [255, 0]]
    assert replace(dense, output=Format(8, True))(x).tolist() == [[2, 0], [2, -1], [127, -127]]
    assert replace(dense, output=None).result(Input((2,)).result()).format == Format(10, True)
    add = Add(Format(4, True), (0, 2), 1)
    assert add(np.array([1, 1, -9]), np.array([1, 9, -9])).tolist() == [3, 7, -8]


def test_network_gives_what_its_nodes_give():
    rng = np.random.default_rng(1)
    first, second = random_layer(rng, 9, 4), random_layer(rng, 9, 3)
    last = random_layer(rng, 7, 2, output=Format(6, True))
    network = Network((
        Node("x", Input((9,))),
        Node("a", Lookup(first), (0,)),
        Node("b", Lookup(second), (0,)),
        Node("both", Concat(), (1, 2)),
        Node("y", Lookup(last), (3,)),
    ))  # fmt: skip
    x = rng.integers(256, size=(600, 9))
    assert (network(x) == last(np.hstack([first(x), second(x)]))).all()
    assert network.output.format == Format(6, True)
    assert network.consumers() == [[1, 2], [3], [3], [4], []]


@pytest.mark.parametrize("name", EXAMPLES)
def test_files_give_back_the_network(name, tmp_path):
    network = EXAMPLES[name](2)
    save(network, tmp_path / "a")
    save(network, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    back = load(tmp_path / "a")
    x = np.random.default_rng(3).integers(256, size=(5, *network.input.shape))
    assert (back(x) == network(x)).all()
    assert back.kinds == network.kinds
    assert digest(back) == digest(network) != digest(EXAMPLES[name](3))


def test_files_that_hold_no_network(tmp_path):
    (tmp_path / "text").write_text("hello")
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    for name in ("text", "other.npz"):
        with pytest.raises(ValueError, match=f"{name} does not hold a network"):
            load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent")
    save(mlp(), tmp_path / "cut")
    with np.load(tmp_path / "cut") as file:
        arrays = dict(file)
    arrays["1.layer.tables"] = arrays["1.layer.tables"][..., :3]
    np.savez(tmp_path / "cut.npz", **arrays)
    with pytest.raises(ValueError, match=r"cut.npz does not hold a network: bias has the shape"):
        load(tmp_path / "cut.npz")


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_rows_give_none(name):
    network = EXAMPLES[name](0)
    none = np.zeros((0, *network.input.shape), int)
    assert network(none).shape == (0, *network.output.shape)


@pytest.mark.parametrize("name", EXAMPLES)
def test_activations_of_examples_are_not_stuck(name):
    network = EXAMPLES[name](0)
    x = np.random.default_rng(0).integers(256, size=(40, *network.input.shape))
    for node, kind, values in zip(network.nodes, network.kinds, network.trace(x), strict=True):
        assert kind.format.holds(values)
        low, high = kind.format.limits
        stuck = ((values == low) | (values == high)).mean()
        assert values.shape == (40, *kind.shape)
        assert stuck < 0.5, node.name


def test_nodes_that_do_not_fit_are_named():
    rng = np.random.default_rng(0)
    x, lookup = Node("x", Input((4,))), Lookup(random_layer(rng, 9, 2))
    with pytest.raises(ValueError, match=r"'a': reads \d channels, but its source has 4"):
        Network((x, Node("a", lookup, (0,))))
    with pytest.raises(ValueError, match="'a': reads integers of Format"):
        Network((Node("x", Input((9,), Format(4))), Node("a", lookup, (0,))))
    with pytest.raises(ValueError, match="'a' is number 1 and reads"):
        Network((x, Node("a", Flatten(), (1,))))
    with pytest.raises(ValueError, match="'a': Add does not have 1 sources"):
        Network((x, Node("a", Add(Format(8)), (0,))))
    with pytest.raises(ValueError, match="'a' is not the last and read by none"):
        Network((x, Node("a", Flatten(), (0,)), Node("b", Flatten(), (0,))))
    with pytest.raises(ValueError, match="same name"):
        Network((x, Node("x", Flatten(), (0,))))
    with pytest.raises(ValueError, match="'a': the first node"):
        Network((Node("a", Flatten()),))
    with pytest.raises(ValueError, match="does not fit an image"):
        Network((Node("x", Input((2, 9, 4))), Node("a", MaxPool((3, 3)), (0,))))
    network = Network((x, Node("a", Flatten(), (0,))))
    for rows in (np.zeros((3, 5), int), np.zeros((3, 4)), np.full((3, 4), 256)):
        with pytest.raises(ValueError, match="rows"):
            network(rows)
