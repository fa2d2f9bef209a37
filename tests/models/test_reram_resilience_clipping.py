"""Clipped activations: by their formulas, as registers of the engine, searched and trained."""

import numpy as np
import pytest
import torch
from thresher.models.reram.layer import Layer
from thresher.models.reram.layer_config import ReramLayerConfig
from thresher.models.reram.resilience import clipact, proact
from thresher.models.reram.resilience.activations import (
    ClippedReLU,
    HyReLU,
    clipped,
    largest,
    register,
    relus,
    replaced,
)
from thresher.models.reram.resilience.curves import sweep
from thresher.models.reram.resilience.memories import Float32, Stored, accuracy
from thresher.models.threads import one_thread
from torch import nn
from torch.nn import functional

NAN, INFINITY = float("nan"), float("inf")


@pytest.fixture(autouse=True, scope="module")
def alone():
    """Small products do not wait for other threads."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def trained(alone):
    """A network of blobs that overlap little, and images to fit and to judge."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        centres = torch.randn(6, 1, 4, 4) * 1.5
        labels = torch.arange(600) % 6
        images = centres[labels] + 0.6 * torch.randn(600, 1, 4, 4)
        network = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 24), nn.ReLU(),
            nn.Linear(24, 6),
        )  # fmt: skip
        optimiser = torch.optim.Adam(network.parameters(), 1e-2)
        for _ in range(60):
            optimiser.zero_grad()
            functional.cross_entropy(network(images[:300]), labels[:300]).backward()
            optimiser.step()
    return network.eval(), (images[:300], labels[:300]), (images[300:], labels[300:])


def test_clipped_relu_is_a_comparison():
    """0 beyond the threshold, or the threshold; what is no number is beyond."""
    x = torch.tensor([-INFINITY, -1.0, -0.0, 0.5, 2.0, 2.0001, 1e38, INFINITY, NAN])
    assert ClippedReLU(2.0)(x).tolist() == [0, 0, 0, 0.5, 2, 0, 0, 0, 0]
    assert ClippedReLU(2.0, "saturate")(x).tolist() == [0, 0, 0, 0.5, 2, 2, 2, 2, 2]
    neurons = ClippedReLU(torch.tensor([1.0, 3.0]))
    assert neurons(torch.tensor([[2.0, 2.0], [0.5, 4.0]])).tolist() == [[0, 2], [0.5, 0]]
    for threshold in (-0.1, NAN):
        with pytest.raises(ValueError, match="threshold"):
            ClippedReLU(threshold)


def test_hyrelu_is_its_formula():
    """In float64; with a gradient that pulls at limits, and none of what is no number."""
    x = np.linspace(-3, 6, 500)
    expected = np.maximum(0, x - x / (1 + np.exp(-20 * (x - 1.75))))
    part = HyReLU(3.5)
    part.share.data.fill_(0.5)
    found = part(torch.tensor(x, dtype=torch.float32))
    assert np.allclose(found.detach().numpy(), expected, atol=1e-5)
    found.sum().backward()
    assert part.share.grad is not None
    assert float(part.share.grad) > 0.1
    beyond = part(torch.tensor([INFINITY, -INFINITY, NAN, 1e38]))
    assert beyond.tolist() == [0, 0, 0, 0]
    # Away from the limit the comparator agrees.
    far = torch.tensor(x[np.abs(x - 1.75) > 0.5], dtype=torch.float32)
    assert torch.allclose(part(far), part.hard()(far), atol=1e-3)


def test_relus_are_replaced_by_name(trained):
    """In a copy, wherever they lie; a module of functions alone is refused."""
    network = trained[0]
    deep = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Identity()), network)
    copy = replaced(deep, lambda name, _: ClippedReLU(len(name)))
    assert list(relus(copy)) == ["0.0", "1.1", "1.4"]
    assert all(isinstance(part, ClippedReLU) for part in relus(copy).values())
    assert all(type(part) is nn.ReLU for part in relus(deep).values())
    assert {name for name, _ in copy.named_parameters()} == {
        name for name, _ in deep.named_parameters()
    }
    shared = nn.ReLU()
    twice = replaced(nn.Sequential(shared, nn.Linear(2, 2), shared), lambda *_: ClippedReLU(1))
    assert twice[0] is twice[2]
    assert isinstance(twice[0], ClippedReLU)
    assert isinstance(replaced(shared, lambda *_: ClippedReLU(1)), ClippedReLU)
    with pytest.raises(ValueError, match=r"Linear has no torch\.nn\.ReLU"):
        relus(nn.Linear(2, 2))


def test_largest_is_what_every_neuron_reaches(trained):
    """By hand, whatever the batches; the network's mode stays."""
    network, (images, _), _ = trained
    network.train()
    found = largest(network, images, batch=7)
    assert network.training
    network.eval()
    with torch.no_grad():
        first = network[0](images).relu()
        second = network[3](first.flatten(1)).relu()
    assert list(found) == ["1", "4"]
    # A convolution's order of sums may depend on the batch.
    assert torch.allclose(found["1"], first.amax(0), atol=1e-5)
    assert torch.allclose(found["4"], second.amax(0), atol=1e-5)
    shared = nn.ReLU()
    shapes = nn.Sequential(nn.Flatten(), shared, nn.Linear(16, 3), shared)
    with torch.no_grad():
        most = max(float(part(images).max()) for part in (shapes[:2], shapes))
    assert float(largest(shapes, images)["1"]) == pytest.approx(most)


@pytest.mark.parametrize("seed", range(4))
def test_registers_clip_in_the_engine_as_thresholds_do_outside(seed):
    """The golden layer with its register, against a clip of the same results in real units."""
    rng = np.random.default_rng(seed)
    config = ReramLayerConfig(
        rows=16, columns=16, weight_bits=3, input_bits=3, columns_per_adc=16, channels=2, height=4,
        width=4, features=3, output_bits=6, clip="zero", mapping="dual",
        activation="none" if seed % 2 else "relu",
    )  # fmt: skip
    weights = rng.integers(-3, 4, (config.inputs, config.features))
    images = rng.integers(0, 8, (2, 2, 4, 4))
    step = float(rng.uniform(0.01, 2))
    open_ = Layer(config, weights, np.zeros(3, np.int64), 3, 3, register(config, 1e9, step))
    sums = open_.sums(images)
    results = open_.results(sums)
    for threshold in (0.0, 5 * step, 5.5 * step, float(rng.uniform(0, 31 * step))):
        layer = Layer(config, weights, np.zeros(3, np.int64), 3, 3,
                      register(config, threshold, step))  # fmt: skip
        expected = np.where(np.abs(results * step) <= threshold, results, 0)
        assert np.array_equal(layer.results(sums), expected)
    assert open_.threshold == (31 if seed % 2 else 63)
    for threshold, step in ((-1.0, 1.0), (1.0, 0.0), (NAN, 1.0)):
        with pytest.raises(ValueError, match="register"):
            register(config, threshold, step)


def test_a_search_finds_what_exhaustion_finds(trained):
    """One layer, one round: the best of the evenly spread thresholds that cost nothing clean."""
    network, fit, _ = trained
    single = nn.Sequential(network[0], nn.ReLU(), *[network[n] for n in (2, 3)], nn.Linear(24, 6))
    single[4].load_state_dict(network[5].state_dict())
    stored, rates = Stored(single, Float32()), (1e-4, 1e-3)
    found = clipact.search(single, stored, rates, 3, *fit, points=5, rounds=1, loss=0.1)
    most = float(largest(single, fit[0])["1"].max())
    clean = accuracy(single, stored(), *fit)
    best = {}
    for threshold in np.linspace(0, most, 5).tolist():
        part = clipped(single, {"1": threshold}).eval()
        if accuracy(part, stored(), *fit) >= clean - 0.1:
            curve = sweep({"": part}, stored, rates, 3, *fit)[""]
            best[threshold] = float(curve.areas.mean())
    assert best[found["1"]] == max(best.values())


def test_clipping_keeps_flipped_exponents_from_ruining_a_network(trained):
    """FT-ClipAct on images that chose nothing: much is gained, half a point is lost at most."""
    network, fit, judge = trained
    stored, rates = Stored(network, Float32()), (1e-4, 1e-3)
    thresholds = clipact.search(network, stored, rates, 3, *fit)
    modules = {"plain": network, "clipped": clipped(network, thresholds)}
    found = sweep(modules, stored, rates, 10, *judge)
    most = {name: float(part.max()) for name, part in largest(network, fit[0]).items()}
    assert all(0 < thresholds[name] <= most[name] for name in most)
    assert found["clipped"].gain(found["plain"]).low > 0.1
    assert found["clipped"].clean >= found["plain"].clean - 0.005
    # Of what it was searched by, nothing may be lost.
    assert accuracy(modules["clipped"], stored(), *fit) >= accuracy(network, stored(), *fit) - 0.005


def test_a_search_that_may_lose_nothing_leaves_all_of_it_alone(trained):
    """Labels that the network never finds: any threshold is as good, the largest is taken."""
    network, (images, _), _ = trained
    never = torch.full((len(images),), 9)
    found = clipact.search(network, Stored(network, Float32()), (1e-4,), 1, images, never)
    most = {name: float(part.max()) for name, part in largest(network, images).items()}
    assert found == pytest.approx(most)
    with pytest.raises(ValueError, match="points = 2"):
        clipact.search(network, Stored(network, Float32()), (1e-4,), 1, images, never, points=2)


def test_proact_lowers_limits_and_keeps_labels_and_weights(trained):
    """One limit a layer, one a neuron in the last; gains against flipped exponents."""
    network, fit, judge = trained
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = proact.train(network, fit[0])
    parts = {name: part for name, part in relus(found).items() if isinstance(part, HyReLU)}
    assert [part.limit.numel() for part in parts.values()] == [1, 24]
    assert all(float(part.share.max()) <= 1.2 for part in parts.values())
    assert min(float(part.share.mean()) for part in parts.values()) < 0.9
    assert not any(part.share.requires_grad for part in parts.values())
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())
    assert all(torch.equal(before[name], found.state_dict()[name]) for name in before)
    with torch.no_grad():
        same = found(fit[0]).argmax(dim=1) == network(fit[0]).argmax(dim=1)
    assert bool(same.all())
    stored = Stored(network, Float32())
    curves = sweep({"plain": network, "proact": found}, stored, (1e-4, 1e-3), 10, *judge)
    assert curves["proact"].gain(curves["plain"]).low > 0.1
    assert curves["proact"].clean >= curves["plain"].clean - 0.005
