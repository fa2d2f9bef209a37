"""The tester's slots: every pattern has one, and what else they test was tested before."""

import numpy as np
import pytest
from thresher.hdl.grand.shape import Shape
from thresher.models.grand.config import OrbgrandConfig, StepGrandConfig
from thresher.models.grand.patterns import PARITIES, Patterns, take_apart
from thresher.models.grand.split import Split

SHAPES = [
    OrbgrandConfig(length=24, lw_max=32, p=6, lanes=8),
    OrbgrandConfig(length=9, lw_max=60, p=5, lanes=8),
    StepGrandConfig(length=24, limits=(24, 26, 24, 25, 23, 24), lanes=8),
    StepGrandConfig(length=24, limits=(24, 30, 30, 26, 25, 24), prefixes=(2, 3, 3), lanes=8),
    StepGrandConfig(
        length=24, limits=(24, 32, 34, 32, 30, 30), prefixes=(3, 2, 4), reach=12, lanes=8
    ),
    StepGrandConfig(length=40, limits=(40, 40, 40), reach=9, lanes=8),
    StepGrandConfig(
        length=24, limits=(24, 40, 34, 37, 34, 34, 32), prefixes=(2, 3, 3, 4), reach=11, lanes=8
    ),
]


@pytest.mark.parametrize("config", SHAPES, ids=lambda config: str(config.staircase))
def test_a_cycle_tests_its_patterns_and_none_that_come_later(config):
    """Without a mask: a slot may repeat a prefix's rank, or take one below it."""
    patterns, shape, n = Patterns(config.staircase), Shape(config), config.length
    split = Split(patterns)
    slots = np.array(shape.slots)
    prefixes, suffixes = take_apart(patterns.ranks)
    for row in patterns.heads[1:]:
        cycle = (prefixes == prefixes[row]).all(1) & (patterns.lw == patterns.lw[row])
        if patterns.hw[row] > 3:
            cycle &= patterns.hw == patterns.hw[row]
            tried = slots[slots[:, 0] > 0]
        else:
            size = (suffixes[row] != 0).sum()
            cycle &= patterns.hw == size
            tried = slots[(slots > 0).sum(1) + 1 == size]
        third = suffixes[row].sum() - tried.sum(1)
        tried = np.column_stack([tried, third])[(third >= 1) & (third <= n)]
        sets = np.sort(np.column_stack([tried, np.tile(prefixes[row], (len(tried), 1))]), 1)
        # A rank that occurs twice is not flipped.
        twice = (sets[:, 1:] == sets[:, :-1]) & (sets[:, 1:] > 0)
        sets[:, 1:][twice] = 0
        sets[:, :-1][twice] = 0
        sets = np.where(sets == 0, n + 1, sets)
        sets.sort(1)
        sets = np.where(sets > n, 0, sets)[:, : config.staircase.p]
        rows = split.rows(np.pad(sets, ((0, 0), (0, config.staircase.p - sets.shape[1]))))
        last = np.flatnonzero(cycle)[-1]
        assert (rows >= 0).all()
        assert (rows <= last).all()
        assert set(np.flatnonzero(cycle)) <= set(rows)


def test_a_reach_bounds_slots_and_dials():
    """The largest limits then do not matter."""
    config = StepGrandConfig(limits=(99, 89, 99, 62, 53, 45), prefixes=(5, 5, 4), reach=27)
    shape = Shape(config)
    assert (len(shape.slots), shape.reach, shape.ranks) == (182, 27, 22)
    assert max(config.staircase.worst_cycles(parity) for parity in PARITIES[1:]) == 400
    assert len(Shape(OrbgrandConfig()).slots) == 342
