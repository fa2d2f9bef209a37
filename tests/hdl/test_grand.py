"""What is special to the GRAND engines; the rest is in test_engines.py."""

import numpy as np
import pytest
from thresher.hdl.engine import engine
from thresher.hdl.grand.cycles import schedule
from thresher.hdl.grand.syndrome import load_cycles
from thresher.hdl.grand.workloads import workload
from thresher.models.codes.channel import Quantiser
from thresher.models.codes.linear import LinearCode, random_code
from thresher.models.codes.named import code
from thresher.models.grand import workloads
from thresher.models.grand.config import OrbgrandConfig, StepGrandConfig
from thresher.models.grand.decoder import Grand
from thresher.models.grand.patterns import Patterns, Staircase
from thresher.sim import simulate

SMALL = StepGrandConfig.preset("small", lanes=32)


def run(config, chosen, received, skip=False, **how):
    name = "step_grand" if isinstance(config, StepGrandConfig) else "orbgrand"
    report = simulate(
        engine(name), workload=workload("test", config, chosen, received, skip), **how
    )
    assert report.holds, report.failures()
    return report


def noisy(config, chosen, words, ebn0=3.0, skip=False):
    decoder = Grand(chosen, config.staircase.shortened(chosen.n), skip)
    return workloads.noisy(decoder, ebn0, words, Quantiser(config.llr_bits), seed=1)


def test_a_small_window_holds_words_up_and_changes_nothing():
    chosen = random_code(32, 20)
    received = noisy(SMALL, chosen, 300)
    wide = run(SMALL.replace(window=256), chosen, received)
    narrow = run(SMALL.replace(window=8), chosen, received)
    np.testing.assert_array_equal(wide.outputs["word"]["bits"], narrow.outputs["word"]["bits"])
    assert wide.registers["wait_window"] < narrow.registers["wait_window"]


def test_cores_share_the_work():
    chosen = random_code(32, 20)
    received = noisy(SMALL, chosen, 300)
    one, two = (run(SMALL.replace(cores=n), chosen, received).cycles for n in (1, 2))
    assert one > 1.5 * two


def test_skipping_by_parity_halves_the_queries():
    chosen = random_code(31, 19).extended
    received = noisy(SMALL, chosen, 200, skip=True)
    assert len(chosen.H) == 13  # one more than the engine holds: the parity check is left out
    skipping = run(SMALL, chosen, received, skip=True)
    with pytest.raises(ValueError, match="has 13 checks, more than checks = 12; generate"):
        run(SMALL, chosen, received)
    all_tests = run(SMALL.replace(checks=13), chosen, received)
    same = skipping.outputs["word"]["bits"] == all_tests.outputs["word"]["bits"]
    np.testing.assert_array_equal(same, True)
    assert skipping.registers["tests"] < all_tests.registers["tests"]
    assert skipping.metrics["queries_average"] < 0.6 * all_tests.metrics["queries_average"]


@pytest.mark.parametrize("stall", ["none", "random"])
def test_words_that_are_right_pass_one_a_cycle(stall):
    chosen = random_code(32, 20)
    sent = chosen.encode(np.random.default_rng(0).integers(0, 2, (100, 20), np.uint8))
    report = run(SMALL, chosen, np.where(sent == 1, -3, 2), stall=stall)
    assert report.registers["suspects"] == report.registers["tests"] == 0
    if stall == "none":
        assert report.cycles < 110


def test_every_single_error_is_mended():
    """The columns of a Hamming code are all different: the golden model is not needed."""
    chosen = code("bch-31-26")
    sent = chosen.encode(np.random.default_rng(0).integers(0, 2, (31, 26), np.uint8))
    received = np.where(sent == 1, -9, 8)
    weak = np.arange(31)
    received[weak, weak] = np.where(sent[weak, weak] == 1, 1, -2)
    report = run(SMALL, chosen, received)
    np.testing.assert_array_equal(report.outputs["word"]["bits"][:, :31], sent)
    assert np.asarray(report.outputs["word"]["found"]).all()


def test_schedule_is_that_of_the_longest_code():
    staircase = Staircase(32, (20, 20, 18, 14))
    whole, short = schedule(staircase, 32, None), schedule(staircase, 9, None)
    np.testing.assert_array_equal(whole.starts, short.starts)
    ranks = Patterns(staircase).ranks
    at = np.flatnonzero(ranks.max(1) <= 9)
    np.testing.assert_array_equal(Patterns(staircase.shortened(9)).ranks, ranks[at])
    np.testing.assert_array_equal(short.tests[:-1], whole.tests[at])
    assert whole.tests[-1] == staircase.worst_cycles() - 2


def test_loading_is_counted():
    assert load_cycles(OrbgrandConfig(), 128) < 8000


def test_codes_that_do_not_fit_are_refused():
    config = OrbgrandConfig.preset("small")
    with pytest.raises(ValueError, match=r"n = 40 bits, more than length = 32; generate"):
        config.takes(random_code(40, 30), False)
    with pytest.raises(ValueError, match="has 16 checks, more than checks = 12; generate"):
        config.takes(random_code(32, 16), False)
    with pytest.raises(ValueError, match="generated without skip_parity"):
        config.takes(random_code(31, 21).extended, True)
    with pytest.raises(ValueError, match="has words of odd weight"):
        SMALL.takes(random_code(32, 22), True)
    with pytest.raises(ValueError, match="H has 2 rows but rank 1"):
        LinearCode(np.ones((2, 8), np.uint8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"llr_bits": 9}, "llr_bits = 9 is not an integer from 2 to 8"),
        ({"lanes": 24}, "lanes = 24 is not a power of two; the next are 16 and 32"),
        ({"lanes": 64}, "64 is at least twice length = 32; 32 lanes take a word a beat"),
        ({"p": 2}, "p = 2 is not an integer from 3 to 8"),
        ({"lw_max": 9}, "LWmax = 9 admits no pattern of P = 4 ranks"),
    ],
)
def test_bad_configurations_are_explained(changes, message):
    with pytest.raises(ValueError, match=message):
        OrbgrandConfig.preset("small", **changes)
