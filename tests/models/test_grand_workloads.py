"""Words that force a search's end, and corners."""

import numpy as np
import pytest
from thresher.models.codes.channel import Quantiser
from thresher.models.codes.named import code
from thresher.models.grand.decoder import Grand, step_grand
from thresher.models.grand.workloads import corners, forced, noisy

QUANTISER = Quantiser(5)


@pytest.mark.parametrize("build", [Grand, step_grand])
def test_the_last_pattern_takes_the_worst_case(build):
    decoder = build(code("polar-128-105-crc11"))
    last = len(decoder.patterns) - 1
    received = forced(decoder, -1, QUANTISER)
    low, high = QUANTISER.limits
    assert received.min() >= low
    assert received.max() <= high
    decoded = decoder(received)
    assert decoded.rows.tolist() == [last]
    parity = int(decoder.patterns.hw[last] % 2) if decoder.skip_parity else None
    if not decoder.skip_parity:
        assert decoded.costs["queries"][0] == decoder.staircase.worst_queries(parity)
        assert decoded.costs["cycles"][0] == decoder.staircase.worst_cycles(parity) == 4221
    assert not decoder.code.syndrome(decoded.words).any()


def test_corners_hold_every_kind():
    decoder = Grand(code("polar-128-105-crc11"))
    words = corners(decoder, QUANTISER)
    decoded = decoder(words)
    assert (~decoded.found).sum() > 16
    assert (decoded.rows == 0).sum() >= 32
    assert {1, 2, 3, len(decoder.patterns) - 1} <= set(decoded.rows.tolist())
    low, high = QUANTISER.limits
    assert ((words == low) | (words == high)).all(1).sum() >= 64
    assert np.array_equal(words, corners(decoder, QUANTISER))


def test_codes_of_few_checks_have_no_late_patterns():
    decoder = Grand(code("crc-32-26-crc6"))
    with pytest.raises(ValueError, match="no word of crc-32-26-crc6 that row"):
        forced(decoder, -1, QUANTISER)
    assert len(corners(decoder, QUANTISER)) > 100


def test_noisy_words_are_quantised_on_request():
    decoder = Grand(code("bch-31-21"))
    floats, integers = noisy(decoder, 4.0, 10), noisy(decoder, 4.0, 10, QUANTISER)
    assert np.array_equal(QUANTISER(floats), integers)
