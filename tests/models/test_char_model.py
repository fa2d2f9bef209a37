"""The character model: its text, its training in small, its committed checkpoint."""

import numpy as np
import pytest
import torch
from thresher.models.sparse_lstm.char_model import (
    CHECKPOINT,
    HELD_OUT,
    Alphabet,
    CharModel,
    corpus,
    joint_sparsity,
)
from thresher.models.sparse_lstm.golden import run
from thresher.models.sparse_lstm.train_char import Phase, Recipe, export, train

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model():
    return CharModel.load()


def test_held_out_text_is_not_trained_on():
    text, held_out = corpus()
    assert 0.05 < len(held_out) / len(text) < 0.25
    paragraphs = {" ".join(p.split()) for p in text.split("\n\n")}
    assert paragraphs.isdisjoint(" ".join(p.split()) for p in held_out.split("\n\n"))
    assert len(HELD_OUT) == 5


def test_alphabet_maps_what_it_lacks_to_0():
    alphabet = Alphabet.of("abba" * 5 + "c", least=2)
    numbers = alphabet.encode("abcb€")
    assert len(alphabet) == 3
    assert numbers.tolist() == [1, 2, 0, 2, 0]
    assert alphabet.decode(numbers) == "ab\ufffdb\ufffd"


def test_joint_sparsity_counts_columns_pruned_by_all():
    pruned = np.array([[[1, 1], [1, 0], [1, 1], [1, 1]]], bool)
    assert joint_sparsity(pruned) == {1: 7 / 8, 2: 3 / 4, 4: 1 / 2}


def test_a_small_training_learns_prunes_and_exports_its_very_integers(tmp_path):
    recipe = Recipe(
        hidden=48,
        threshold=13 / 128,
        phases={
            "begun": Phase(None, 1, 1e-2),
            "common": Phase(None, 60, 1e-2),
            "sparse": Phase(
                "common",
                60,
                1e-2,
                thresholds=(0.1, 0.3),
                lowest=0.5,
                ramp=0.2,
                column_price=((0.0, 0.0), (0.5, 3.0)),
                state_price=1.0,
                quantised=0.6,
            ),
        },
    )
    begun, _, network = (train(recipe, name, tmp_path) for name in recipe.phases)
    again = train(recipe, "sparse", tmp_path)  # finished: only loads
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)

    export(network, begun, recipe).save(tmp_path / "model.npz")
    model = CharModel.load(tmp_path / "model.npz")
    task = model.task(batch=4, steps=200)
    trace = run(task.config, task.parameters, task.steps)
    x = torch.from_numpy(task.steps.inputs[..., 0])
    network.lstm.threshold = recipe.threshold
    with torch.no_grad():
        _, states, _ = network(x, None)
        _, untrained, _ = begun(x, None)
    assert np.array_equal(states * 128, trace.h)
    following = np.vstack([x[1:], x[-1:]])
    trained, untrained = (
        model.judge(states, following)["bits_per_character"]
        for states in (trace.h, untrained * 128)
    )
    assert trained < 5 < untrained
    assert model.dense_bits == pytest.approx(untrained, abs=0.5)
    assert (trace.hp == 0).mean() > 0.1


def test_checkpoint_is_small_and_its_formats_never_wrap(model):
    assert CHECKPOINT.stat().st_size <= 2_000_000
    assert model.formats.hidden_size == 1000
    trace = run(*_all(model.task(batch=2, steps=50)))
    assert not trace.wrapped.any()


def test_both_kinds_of_input_compute_the_same(model):
    traces = [run(*_all(model.task(batch=2, steps=30, kind=k))) for k in ("index", "vector")]
    assert np.array_equal(traces[0].h, traces[1].h)


def test_checkpoint_predicts_sparsely(model):
    task = model.task(batch=8, steps=300)
    trace = run(*_all(task))
    assert task.judge(trace.outputs)["bits_per_character"] < 2.2
    assert (trace.hp == 0).mean() >= 0.9


def test_too_long_a_stretch_is_an_error_that_says_what_fits(model):
    with pytest.raises(ValueError, match=r"steps = 99999 is outside 1\.\.\d+"):
        model.task(steps=99999)


def _all(task):
    return task.config, task.parameters, task.steps


def test_most_active_first_is_the_same_network(model):
    sorted_ = model.most_active_first()
    task = model.task(4, 64)
    ours = run(task.config, model.parameters(), task.steps).hp != 0
    theirs = run(task.config, sorted_.parameters(), task.steps).hp != 0
    np.testing.assert_array_equal(ours.sum(axis=2), theirs.sum(axis=2))
    alive = theirs.mean(axis=(0, 1))
    assert alive[:100].mean() > 5 * alive[-500:].mean()
