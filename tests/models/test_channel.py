"""Channels, LLR sign, Eb/N0, quantisation, and counting of errors."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from thresher.models.codes.channel import Awgn, Bsc, Quantiser, hard, magnitude
from thresher.models.codes.linear import random_code
from thresher.models.codes.montecarlo import Tally, ebn0_at, random_bits, simulate, wilson


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_ebn0_counts_information_bits():
    # 0 dB and rate 1/2: Es/N0 = 1/2, so N0/2 = 1.
    assert Awgn.at(0.0, 0.5).sigma == pytest.approx(1.0)
    assert Awgn.at(5.0, 105 / 128).sigma == pytest.approx(0.43903, abs=1e-5)
    assert Awgn.at(6.0, 1.0).error_probability == pytest.approx(2.388e-3, rel=1e-3)  # BPSK


def test_awgn_noise_and_llr(rng):
    channel = Awgn(0.8)
    words = random_bits(rng, 2000, 64)
    received = channel.send(words, rng)
    assert received.dtype == np.float32
    noise = received - (1.0 - 2.0 * words)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(0.8, rel=0.01)
    assert (hard(received) != words).mean() == pytest.approx(channel.error_probability, rel=0.03)
    # ln p(y|0) / p(y|1) of normal densities at +1 and -1; positive means 0.
    density = [-((received - mean) ** 2) / (2 * 0.8**2) for mean in (1, -1)]
    assert np.allclose(channel.llr(received), density[0] - density[1], atol=1e-4)


def test_awgn_with_a_given_number_of_wrong_bits(rng):
    channel = Awgn(0.9)
    words = random_bits(rng, 6000, 16)
    free = channel.send(words, rng)
    sign = 1.0 - 2.0 * words
    for count in (0, 1, 3, 16):
        received, weight = channel.send_wrong(words, count, rng)
        wrong = hard(received) != words
        assert (wrong.sum(1) == count).all()
        assert wrong.mean(0) == pytest.approx(count / 16, abs=0.05)  # any position
        assert weight.mean() == pytest.approx(1, abs=0.05)
        # Given right or wrong, a value has the same distribution as without the condition.
        for chosen, there in ((wrong, hard(free) != words), (~wrong, hard(free) == words)):
            if chosen.any():
                expected = (free * sign)[there]
                counts = np.broadcast_to(weight[:, None], words.shape)[chosen] / chosen.sum()
                for share in (0.1, 0.5, 0.9):
                    below = (received * sign)[chosen] <= np.quantile(expected, share)
                    assert counts[below].sum() == pytest.approx(share, abs=0.05)
        if count == 1:  # one in ten thousand wrong bits is drawn often, and counts little
            far = received[wrong] * sign[wrong] < np.quantile(-np.abs(received), 0.001)
            assert weight[far].max() < 0.2


def test_bsc_flips_with_its_probability(rng):
    channel = Bsc(0.03)
    words = random_bits(rng, 2000, 64)
    received = channel.send(words, rng)
    assert set(np.unique(received)) == {-1.0, 1.0}
    assert (hard(received) != words).mean() == pytest.approx(0.03, rel=0.1)
    assert channel.llr(received).max() == pytest.approx(np.log(0.97 / 0.03))


def test_quantiser_keeps_signs_and_saturates():
    quantise = Quantiser(5, step=0.125)
    y = np.array([-9.0, -2.0, -0.126, -0.125, -0.1, -1e-9, 0.0, 0.1, 0.125, 1.9, 2.0, np.inf])
    assert quantise(y).tolist() == [-16, -16, -2, -1, -1, -1, 0, 0, 1, 15, 15, 15]
    assert hard(quantise(y)).tolist() == hard(y).tolist()
    assert magnitude(quantise(y)).tolist() == [15, 15, 1, 0, 0, 0, 0, 0, 1, 15, 15, 15]
    assert magnitude(np.array([-0.5, 0.25], np.float32)).tolist() == [0.5, 0.25]
    assert quantise.limits == (-16, 15)


def test_quantiser_is_symmetric(rng):
    y = rng.standard_normal(1000)
    quantise = Quantiser(4, 0.3)
    assert np.array_equal(magnitude(quantise(y)), magnitude(quantise(-y)))


def test_wrong_channels_are_explained():
    for wrong, message in (
        (lambda: Awgn(0.0), "not above 0"),
        (lambda: Awgn.at(3.0, 1.5), "rate 1.5"),
        (lambda: Bsc(0.5), "inside 0..0.5"),
        (lambda: Quantiser(1), "LLRs of 1 bits are not of 2 to 16"),
        (lambda: Quantiser(5, 0.0), "step 0.0"),
        (lambda: Quantiser()(np.array([np.nan])), "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


def test_random_bits_are_fair(rng):
    bits = random_bits(rng, 7, 1001)
    assert (bits.shape, bits.dtype) == ((7, 1001), np.uint8)
    assert bits.mean() == pytest.approx(0.5, abs=0.03)


def test_wilson_interval():
    # Agresti & Coull's published example values.
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    low, high = wilson(300, 10**6)
    assert low < 3e-4 < high
    assert high - low == pytest.approx(2 * 1.96 * 300**0.5 / 1e6, rel=0.01)


class Uncoded:
    """Takes hard decisions; "finds" the words that end in 0; the cost is their weight."""

    def __init__(self, name="uncoded"):
        self.name = name

    def __str__(self):
        return self.name

    def __call__(self, received):
        words = hard(received)
        return SimpleNamespace(
            words=words, found=words[:, -1] == 0, costs={"weight": words.sum(1, dtype=int)}
        )


def run(**more):
    code = random_code(16, 8)
    return simulate(code, Awgn.at(3.0, code.rate), Uncoded(), block=100, **more)


def test_simulation_counts_and_stops():
    tally = run(errors=500, seed=3)
    assert tally.frames == 100 * tally.blocks
    assert 500 <= tally.errors < 600
    assert 0 < tally.undetected < tally.errors
    assert tally.undetected <= tally.frames - tally.abandoned
    assert sum(tally.costs["weight"].values()) == tally.frames
    expected = 1 - (1 - Awgn.at(3.0, 0.5).error_probability) ** 16
    low, high = tally.interval(z=4)
    assert low < expected < high
    assert tally.mean("weight") == pytest.approx(8, abs=0.4)
    assert tally.quantile("weight", 0.5) in (7, 8, 9)
    assert tally.quantile("weight") <= tally.worst("weight") <= 16
    assert run(errors=10**9, frames=250).frames == 300  # whole blocks


def test_simulation_resumes_where_it_stopped(tmp_path):
    whole = run(frames=1000, errors=10**9)
    state = tmp_path / "state.json"
    run(frames=300, errors=10**9, state=state)
    seen = []
    resumed = run(
        frames=1000, errors=10**9, state=state, report=lambda tally: seen.append(tally.blocks)
    )
    assert resumed == whole
    assert seen == [4, 5, 6, 7, 8, 9, 10]
    assert json.loads(state.read_text())["counts"]["frames"] == 1000
    assert not (tmp_path / "state.json.new").exists()
    assert run(frames=1000, errors=10**9, seed=1) != whole


def test_a_foreign_state_is_refused(tmp_path):
    state = tmp_path / "state.json"
    run(frames=100, state=state)
    with pytest.raises(ValueError, match="another simulation: seed 0, not 1; name another file"):
        run(frames=100, state=state, seed=1)
    state.write_text("{}")
    with pytest.raises(ValueError, match="not the state of a simulation; remove it"):
        run(frames=100, state=state)


def test_decibels_between_points_of_a_curve():
    curve = {4.0: 1e-1, 5.0: 1e-2, 6.0: 1e-4}
    for ebn0, rate in ((4.0, 1e-1), (4.5, 10**-1.5), (5.5, 1e-3), (7.0, 1e-6), (3.5, 10**-0.5)):
        assert ebn0_at(curve, rate) == pytest.approx(ebn0)
    with pytest.raises(ValueError, match="two points, and rates above 0"):
        ebn0_at({4.0: 0.1, 5.0: 0.0}, 1e-2)


def test_an_empty_tally_has_no_rate():
    assert np.isnan(Tally().fer)
    assert Tally().interval() == (0.0, 1.0)
