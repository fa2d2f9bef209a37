"""Backlogs against the recurrence behind them, and cycles against counted ones."""

import numpy as np
import pytest
from thresher.models.codes.channel import Awgn, Quantiser
from thresher.models.codes.montecarlo import simulate
from thresher.models.codes.named import code
from thresher.models.grand.decoder import step_grand
from thresher.models.grand.patterns import Staircase
from thresher.models.grand.queueing import backlog, distribution


def test_backlog_is_where_the_recurrence_settles():
    busy = np.zeros(41)
    busy[[0, 3, 8, 40]] = 0.88, 0.08, 0.038, 0.002
    work = np.zeros(600)
    work[0] = 1
    for _ in range(5000):
        after = np.convolve(work, busy)
        work = after[1:601]
        work[0] += after[0]
    np.testing.assert_allclose(backlog(busy, 600), work / work.sum(), rtol=1e-6, atol=1e-15)
    halved = np.append(0.5 * busy[:1] + 0.5, 0.5 * busy[1:])
    np.testing.assert_allclose(backlog(busy, 99, interval=2), backlog(halved, 99))


def test_a_queue_that_overflows_is_refused():
    with pytest.raises(ValueError, match=r"takes 1\.2 cycles on average and comes every 1;"):
        backlog(np.array([0.4, 0, 0.6]), 10)


def test_cycles_are_those_that_counting_finds():
    chosen = code("bch-64-51")
    decoder, channel = (
        step_grand(chosen, Staircase(64, (30, 28, 26, 20))),
        Awgn.at(5.0, chosen.rate),
    )
    quantiser = Quantiser()
    shares = distribution(
        decoder,
        channel,
        lambda received, decoded: decoded.costs["cycles"] - 1,
        decoder.worst["cycles"] - 1,
        quantiser=quantiser,
        frames=40_000,
        block=2048,
    )
    assert shares.sum() == pytest.approx(1)
    tally = simulate(chosen, channel, decoder, quantiser=quantiser, errors=1 << 30, frames=60_000)
    mean = 1 + (shares * np.arange(len(shares))).sum()
    assert mean == pytest.approx(tally.mean("cycles"), rel=0.05)
    late = sum(n for c, n in tally.costs["cycles"].items() if c > 20) / tally.frames
    assert shares[20:].sum() == pytest.approx(late, rel=0.15)
