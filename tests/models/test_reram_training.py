"""Training for crossbars: the sets' projections, ADMM's constraints, folded norms, refusals."""

import itertools

import numpy as np
import pytest
import torch
from thresher.models.reram.config import ReramConfig
from thresher.models.reram.devices import Devices
from thresher.models.reram.mapping import map_weights, matrix
from thresher.models.reram.training.admm import Schedule, Trainer
from thresher.models.reram.training.convert import convert
from thresher.models.reram.training.norms import fold
from thresher.models.reram.training.parts import Part, Pruning, parts_of
from thresher.models.reram.training.placed import placed
from thresher.models.reram.training.sets import (
    largest,
    polarised,
    polarities,
    quantised,
    whole_crossbars,
)
from thresher.models.threads import one_thread
from torch import nn

SHORT = Schedule(rounds=2, retrain=2, rate=5e-3)
SCHEDULES = {"prune": SHORT, "polarise": SHORT, "quantise": Schedule(rounds=1, retrain=1)}


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield


def small(**changes):
    """Crossbars that small layers need several of."""
    fields = {"fragment_rows": 4, "rows": 8, "columns": 16, "weight_bits": 6, "input_bits": 8,
              "columns_per_adc": 16}  # fmt: skip
    return ReramConfig(**{**fields, **changes})


def network(seed=0):
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, 10, 3, padding=1, bias=False), nn.BatchNorm2d(10), nn.ReLU(),
        nn.Conv2d(10, 9, 2, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(9 * 9, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3),
    )  # fmt: skip
    with torch.no_grad():  # scales of both signs
        module[1].weight.copy_(torch.randn(10))
        module[7].weight.copy_(torch.randn(7))
    return module


def batches(seed=0, count=4):
    generator = torch.Generator().manual_seed(seed)

    def epoch():
        for _ in range(count):
            images = torch.rand(8, 3, 6, 6, generator=generator)
            yield images, (3 * images.mean((1, 2, 3))).long()

    return epoch


@pytest.mark.parametrize("rule", ["energy", "sum"])
@pytest.mark.parametrize("rows", [1, 3, 4])
def test_polarising_is_the_nearest_of_all_choices_of_signs(rule, rows):
    weights = torch.randn(10, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(rows))
    found = polarised(weights, polarities(weights, rows, rule))
    for n, start in itertools.product(range(6), range(0, 10, rows)):
        part, kept = weights[start : start + rows, n], found[start : start + rows, n]
        options = [part.clamp(min=0), part.clamp(max=0)]
        if rule == "energy":
            nearest = min(float((part - option).square().sum()) for option in options)
            assert float((part - kept).square().sum()) == pytest.approx(nearest)
        else:
            assert torch.equal(kept, options[0 if part.sum() >= 0 else 1])


@pytest.mark.parametrize("levels", [1, 3, 15, 255])
def test_quantised_weights_lie_on_a_step_that_no_near_one_beats(levels):
    weights = torch.randn(40, 5, generator=torch.Generator().manual_seed(levels))
    whole, step = quantised(weights, levels)
    assert torch.equal(whole, whole.round())
    assert float(whole.abs().max()) <= levels

    def error(step):
        on_step = (weights / step).round().clamp(-levels, levels) * step
        return float((weights - on_step).square().sum())

    assert error(step) <= error(float(weights.abs().max()) / levels) * (1 + 1e-5)
    # With the integers fixed, the step is the one of least squares.
    for other in (0.99 * step, 1.01 * step):
        assert (weights - whole * step).square().sum() <= (weights - whole * other).square().sum()
    assert quantised(torch.zeros(3, 2), levels)[1] == 1


def test_counts_are_whole_crossbars():
    assert [whole_crossbars(share, 40, 16) for share in (0.01, 0.4, 0.41, 0.9, 1.0)] == [
        16, 16, 16, 40, 40,
    ]  # fmt: skip
    assert whole_crossbars(0.5, 10, 16) == 10
    assert whole_crossbars(0.25, 10, 1) == 2
    assert largest(torch.tensor([1.0, 3.0, 1.0, 2.0]), 3).tolist() == [True, True, False, True]


@pytest.mark.parametrize("layout", ["channel", "position"])
def test_a_part_is_the_mapping_s_matrix_and_back(layout):
    layer = nn.Conv2d(3, 5, (2, 3))
    part = Part("it", layer, small(), layout)
    weights = layer.weight.detach().clone()
    assert np.array_equal(part.matrix().numpy(), matrix(weights.numpy(), layout))
    part.write(part.matrix())
    assert torch.equal(layer.weight, weights)
    part.inputs, part.outputs = torch.tensor([1, 4, 17]), torch.tensor([0, 3])
    kept = part.matrix()
    part.write(kept)
    assert torch.equal(part.matrix(), kept)
    assert int((part.whole() != 0).sum()) == 6


@pytest.mark.parametrize("layout", ["channel", "position"])
@pytest.mark.parametrize("norms", ["before", "after"])
@pytest.mark.parametrize("pruning", [None, Pruning(outputs=0.5, inputs=0.5)])
def test_conversion(layout, norms, pruning):
    config, before = small(), network()
    state = {name: value.clone() for name, value in before.state_dict().items()}
    found = convert(
        before, config, batches(), layout=layout, norms=norms, pruning=pruning, schedules=SCHEDULES
    )
    assert all(torch.equal(value, state[name]) for name, value in before.state_dict().items())
    assert found.violations == 0
    assert list(found.layers) == ["0", "3", "6", "9"]
    assert not any("Norm" in type(part).__name__ for part in found.module.modules())
    for name, layer in found.layers.items():
        assert np.array_equal(layer.mapping().weights(), layer.weights)
        assert 0 < np.abs(layer.weights).max() <= config.weight_limits[1]
        # The module computes with these integers and nothing else.
        module = found.module.get_submodule(name)
        weights = module.weight.detach().numpy()
        whole = matrix(weights, layout) if weights.ndim == 4 else weights.T
        assert np.allclose(whole, layer.whole() * np.float32(layer.step), rtol=1e-6, atol=0)
        assert np.array_equal(module.bias.detach().numpy(), layer.bias)
        assert set(layer.kept) == {"polarise", "quantise"} | ({"prune"} if pruning else set())
    shapes = [layer.weights.shape for layer in found.layers.values()]
    if pruning:  # halves, up to whole crossbars of 8 x 5, or all
        assert shapes == [(16, 5), (24, 5), (40, 5), (7, 3)]
    else:
        assert shapes == [(27, 10), (40, 9), (81, 7), (7, 3)]
    before_pruning = 4 * 2 + 5 * 2 + 11 * 2 + 1
    assert found.crossbars == (before_pruning, 2 + 3 + 5 + 1 if pruning else before_pruning)


def test_folding_inverts_whole_filters_and_keeps_what_is_computed():
    module = network(3).train()
    for images, _ in batches(1, 6)():
        module(images)  # statistics
    images = torch.rand(4, 3, 6, 6)
    with torch.no_grad():
        for name in ("0", "6"):
            part = next(p for p in parts_of(module, small(), "channel") if p.name == name)
            part.fix("polarise")
        expected = module.eval()(images)
        scales = fold(module)
        assert torch.allclose(module(images), expected, atol=1e-4)
    assert list(scales) == ["0", "6"]
    for name, scale in scales.items():
        assert bool((scale < 0).any())
        weights = module.get_submodule(name).weight.detach()
        signs = np.sign(weights.flatten(1).T.numpy()).astype(int)
        map_weights(small(), signs)  # refuses fragments of both signs


class _Twice(nn.Module):
    """A layer whose sums are used beside its norm, and one that two norms see in turn."""

    def __init__(self):
        super().__init__()
        self.seen, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.again, self.other = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x):
        sums = self.seen(x)
        x = self.norm(sums) + sums
        return self.other(self.again(self.again(x)))


def test_norms_that_cannot_be_folded_stay():
    module = _Twice().eval()
    x = torch.rand(5, 4)
    expected = module(x)
    assert fold(module) == {}
    assert torch.equal(module(x), expected)


def test_frozen_signs_and_masks_hold_in_every_step():
    """Weights move, never across what was fixed."""
    module = network()
    (part, *_), seen = parts_of(module, small(), "channel"), []

    def watched():
        for batch in batches()():
            seen.append(part.module.weight.detach().clone())
            yield batch

    part.fix("polarise")
    signs = part.shaped(part.signs)
    Trainer(module, [part], watched, nn.functional.cross_entropy, "cpu").stage("polarise", SHORT)
    assert len({weights.sum().item() for weights in seen}) > 4
    assert all(bool((weights * signs >= 0).all()) for weights in seen)


def test_other_mappings_are_quantised_alone():
    for mapping in ("dual", "offset"):
        found = convert(network(), small(mapping=mapping), batches(), schedules=SCHEDULES)
        assert set(found.layers["0"].kept) == {"quantise"}
        assert found.violations > 0
        for layer in found.layers.values():
            assert np.array_equal(layer.mapping().weights(), layer.weights)


def test_conversion_learns_the_goals():
    """Scores of the network before, which is all that it is given."""
    before = network(1).eval()

    def epoch():
        for images, _ in batches(5, 12)():
            with torch.no_grad():
                yield images, before(images)

    mse = nn.functional.mse_loss
    schedules = {
        "polarise": Schedule(rounds=4, retrain=8, rate=1e-2),
        "quantise": Schedule(rounds=1, retrain=1, rate=1e-4),
    }
    config = small(fragment_rows=2)
    errors = []
    none = Schedule(rounds=0, retrain=0)
    for chosen in ({"polarise": none, "quantise": none}, schedules):
        found = convert(before, config, epoch, loss=mse, norms="before", schedules=chosen)
        images, goals = next(iter(epoch()))
        with torch.no_grad():
            errors.append(float(mse(found.module(images), goals) / goals.var()))
    assert errors[1] < 0.3 * errors[0]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), "groups = 2"),
        (nn.Conv2d(4, 4, 3, dilation=2), "dilation"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "'reflect'"),
        (nn.ConvTranspose2d(4, 4, 3), "ConvTranspose2d"),
        (nn.Conv1d(4, 4, 3), "Conv1d"),
        (nn.ReLU(), "no Linear or Conv2d"),
    ],
)
def test_what_no_mapping_holds_is_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        convert(nn.Sequential(layer), small(), batches())
    found = parts_of(nn.Sequential(layer, nn.Linear(3, 3)), small(), "channel", skip=("0",))
    assert [part.name for part in found] == ["1"]


def test_bad_requests():
    shared = nn.Linear(4, 4)
    with pytest.raises(ValueError, match="1 shares its weights with 0"):
        convert(nn.Sequential(shared, shared), small(), batches())
    with pytest.raises(ValueError, match="no part called nothing"):
        convert(network(), small(), batches(), skip=("nothing",))
    with pytest.raises(ValueError, match="no part called it"):
        convert(network(), small(), batches(), pruning={"it": Pruning()})
    with pytest.raises(ValueError, match="outputs = 0"):
        Pruning(outputs=0)
    with pytest.raises(ValueError, match="rate = 0"):
        Schedule(rate=0)
    with pytest.raises(ValueError, match="epochs = 0"):
        Schedule(epochs=0)
    with pytest.raises(ValueError, match="not quantised"):
        parts_of(network(), small(), "channel")[0].integers()
    norm = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False))
    with pytest.raises(ValueError, match="keeps no statistics"):
        fold(norm)


def test_training_that_diverges_says_so():
    def loss(outputs, goals):
        return outputs.sum() * float("nan")

    with pytest.raises(ValueError, match="0 has weights that are no numbers"):
        convert(network(), small(), batches(), loss=loss, schedules=SCHEDULES)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("layout", ["channel", "position"])
@pytest.mark.parametrize("pruning", [None, Pruning(outputs=0.5, inputs=0.5)])
def test_crossbars_compute_what_the_module_does(layout, pruning):
    """With 16 bits of input hardly anything is rounded; signed inputs, odd windows, every chip."""
    module = nn.Sequential(
        nn.Conv2d(3, 10, (2, 3), padding="same"), nn.ReLU(),
        nn.Conv2d(10, 9, 2, stride=(2, 1), padding=(1, 0), bias=False), nn.ReLU(),
        nn.Flatten(), nn.Linear(180, 3),
    )  # fmt: skip
    config = small(input_bits=16, adc_bits=3)
    found = convert(module, config, batches(), layout=layout, pruning=pruning, schedules=SCHEDULES)
    images = torch.randn(5, 3, 6, 6)
    with torch.no_grad():
        expected = found.module(images)
        for how in ("gemm", "kernel", "numpy"):
            scores = placed(found, images, layout, how=how)(images)
            assert torch.allclose(scores, expected, atol=1e-3 * float(expected.abs().max()))
        other = placed(found, images, layout, devices=Devices(stuck_on=0.1))(images)
    assert not torch.allclose(other, expected, atol=1e-3)
