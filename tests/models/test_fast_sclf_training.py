"""Training of alpha: samples drawn from a known model, and the decoder's own."""

import numpy as np
import pytest
from thresher.models.codes.channel import Awgn, Quantiser
from thresher.models.codes.montecarlo import simulate
from thresher.models.codes.named import polar
from thresher.models.fast_sclf.decoder import Decoder, Options, Rescued
from thresher.models.fast_sclf.formats import Formats
from thresher.models.fast_sclf.training import Trainer, train

CODE = polar("polar-512-256-crc24c")
CHANNEL = Awgn.at(2.0, CODE.rate)


def samples(count, alpha, temperature, seed=0):
    """Rescued frames of a decoder of which the model is exactly true."""
    rng = np.random.default_rng(seed)
    kept = np.cumsum(rng.exponential(0.3, (count, 60)), axis=1)
    dropped = kept + rng.exponential(4, (count, 60))
    weight = np.exp(-(alpha * dropped - kept) / temperature)
    chance = np.cumsum(weight / weight.sum(1, keepdims=True), axis=1)
    return Rescued(kept, dropped, (chance < rng.random((count, 1))).sum(1).clip(max=59))


@pytest.mark.parametrize(("alpha", "temperature"), [(1.15, 0.6), (1.5, 1.2), (1.0, 0.4)])
@pytest.mark.parametrize("start", [0.5, 1.0, 3.0])
def test_the_models_parameters_are_found(alpha, temperature, start):
    trainer = Trainer(start, memory=1e9)
    drawn = samples(1500, alpha, temperature)
    assert trainer.observe(drawn) == pytest.approx(alpha, rel=0.06)
    assert trainer.temperature == pytest.approx(temperature, rel=0.2)
    assert trainer.samples == 1500


def test_training_ends_at_the_least_cross_entropy():
    drawn = samples(1500, 1.2, 0.7)
    trainer = Trainer(2.0, memory=1e9)
    trainer.observe(drawn)

    def loss(alpha, temperature):
        logits = -(alpha * drawn.dropped - drawn.kept) / temperature
        right = logits[np.arange(len(logits)), drawn.flips]
        return float((np.log(np.exp(logits).sum(1)) - right).mean())

    least = loss(trainer.alpha, trainer.temperature)
    for alpha, temperature in [(1.05, 1), (0.95, 1), (1, 1.15), (1, 0.85)]:
        assert least < loss(alpha * trainer.alpha, temperature * trainer.temperature)


def test_samples_may_come_in_any_portions_and_unit():
    drawn = samples(60, 1.2, 0.7)
    whole = Trainer(1.0)
    whole.observe(drawn)
    parts = Trainer(1.0)
    for i in range(0, 60, 7):
        at = slice(i, i + 7)
        parts.observe(Rescued(32 * drawn.kept[at], 32 * drawn.dropped[at], drawn.flips[at]))
    assert parts.alpha == pytest.approx(whole.alpha, rel=1e-9)
    assert parts.temperature == pytest.approx(32 * whole.temperature, rel=1e-9)


def test_what_changes_is_followed():
    trainer = Trainer(1.0, memory=200)
    assert trainer.observe(samples(1000, 1.1, 0.6)) == pytest.approx(1.1, rel=0.05)
    assert trainer.observe(samples(1000, 1.6, 0.6, 1)) == pytest.approx(1.6, rel=0.05)


def test_strange_samples_do_no_harm():
    trainer = Trainer(1.0)
    alike = np.ones((3, 5))
    assert trainer.observe(Rescued(alike, alike, np.array([0, 1, 2]))) == 1.0
    assert trainer.samples == 0
    single = np.array([[3.0]])
    assert trainer.observe(Rescued(single, 2 * single, np.array([0]))) == 1.0
    rng = np.random.default_rng(0)
    for _ in range(40):  # the unlikeliest selection, again and again
        kept = np.cumsum(rng.exponential(1, (5, 30)), axis=1)
        dropped = kept + rng.exponential(1, (5, 30))
        flips = (trainer.alpha * dropped - kept).argmax(1)
        assert 0 < trainer.observe(Rescued(kept, dropped, flips)) < np.inf


@pytest.mark.parametrize("start", [1.0, 2.0])
@pytest.mark.parametrize(
    ("formats", "quantiser"),
    [(Formats(), None), (Formats.of_bits(6, 8), Quantiser(6, 0.15))],
    ids=["float", "6 and 8 bits"],
)
def test_decoders_train_themselves(start, formats, quantiser):
    decoder = Decoder(CODE, Options(formats=formats))
    more = {"frames": 1024, "block": 256, "quantiser": quantiser}
    trained = train(decoder, CHANNEL, alpha=start, **more)
    assert 1.1 < trained.alpha < 1.3
    assert decoder.alpha == trained.alpha == trained.history[-1]
    assert len(trained.history) == 4
    assert trained.samples > 40
    # The flips of a block are ordered by what those before it taught.
    decoder = Decoder(CODE, Options(formats=formats))
    first = train(decoder, CHANNEL, alpha=start, **{**more, "frames": 256})
    assert trained.history[0] == first.alpha


@pytest.mark.slow
@pytest.mark.parametrize("start", [1.0, 2.0])
def test_trained_is_as_good_as_the_best_fixed_alpha(start):
    decoder = Decoder(CODE)
    trained = train(decoder, CHANNEL, alpha=start, frames=8192)
    assert 1.1 < trained.alpha < 1.3

    def attempts(alpha):
        tried = decoder.with_options(alpha=alpha)
        more = {"errors": 10**6, "frames": 24576, "block": 4096, "seed": 1}
        return simulate(CODE.linear, CHANNEL, tried, **more).mean("attempts")

    fixed = [attempts(alpha) for alpha in (1.0, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4)]
    assert attempts(trained.alpha) < 1.05 * min(fixed)
    assert min(fixed) < 0.9 * min(fixed[0], fixed[-1])  # alpha matters


def test_wrong_uses_are_explained():
    with pytest.raises(ValueError, match="alpha above 0, not 0"):
        Trainer(0.0)
    with pytest.raises(ValueError, match=r"memory of 0\.5 samples"):
        Trainer(1.0, memory=0.5)
