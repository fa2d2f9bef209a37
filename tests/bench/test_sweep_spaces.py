"""Spaces, fronts and constraints of sweeps."""

import itertools

import numpy as np
import pytest
from thresher.bench.sweeps.pareto import Objectives, dominated, hypervolume
from thresher.bench.sweeps.space import Linear, Powers, Space, candidates
from thresher.bench.sweeps.trial import Constraint, constraints
from thresher.hdl.engine import engine

LSTM = engine("sparse_lstm")


def test_a_grid_with_conditions() -> None:
    space = Space(
        {"lanes": Powers(4, 16), "batch": Linear(1, 3)},
        presets=("small",),
        when={"at most 32 products a cycle": lambda c: c["lanes"] * c["batch"] <= 32},
    )
    assert space.size == 9
    found = candidates(LSTM, space)
    assert found.skipped.pop("not at most 32 products a cycle") == 1
    assert len(found.configs) + sum(found.skipped.values()) == 8
    for config in found.configs:
        assert config.lanes * config.batch <= 32


def test_refusals_are_counted_by_their_reason() -> None:
    space = Space({"lanes": [4, 0, -1, 8]}, points=[{"lanes": 8}], presets=("small",))
    found = candidates(LSTM, space)
    assert [c.lanes for c in found.configs] == [4, 8]
    assert found.skipped["the same configuration again"] == 1
    assert sum("lanes = " in reason for reason in found.skipped) == 2


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"axes": {"lane": [1]}}, "did you mean lanes"),
        ({"axes": {"lanes": [8]}, "presets": ("smal",)}, "did you mean small"),
        ({"axes": {"lanes": []}}, "axis 'lanes' has no values"),
        ({"axes": {"lanes": [1, 1]}}, "has a value twice"),
        ({}, "the space is empty"),
        ({"axes": {"lanes": [0]}}, "of 1 combinations none is valid: 1 x lanes = 0 is not"),
    ],
)
def test_bad_spaces(given, text) -> None:
    with pytest.raises(ValueError, match=text):
        candidates(LSTM, Space(**given))


def test_fronts_against_their_definition() -> None:
    random = np.random.default_rng(1)
    for points, objectives in itertools.product((1, 7, 30), (1, 2, 3)):
        costs = random.integers(0, 6, (points, objectives)).astype(float)
        expected = [any(all(b <= a) and any(b < a) for b in costs) for a in costs]
        assert dominated(costs).tolist() == expected


def test_slack_keeps_what_is_near() -> None:
    costs = np.array([[100.0, 100.0], [100.0, 105.0], [100.0, 150.0]])
    assert dominated(costs).tolist() == [False, True, True]
    assert dominated(costs, slack=0.1).tolist() == [False, False, True]


def test_hypervolume_against_counting() -> None:
    random = np.random.default_rng(2)
    for objectives in (1, 2, 3, 4):
        costs = random.integers(0, 7, (12, objectives))
        cells = itertools.product(range(6), repeat=objectives)
        counted = sum(
            any((point <= cell).all() for point in costs) for cell in map(np.array, cells)
        )
        assert hypervolume(costs, [6] * objectives) == counted


def test_objectives_and_constraints() -> None:
    objectives = Objectives({"cycles": "min", "accuracy": "max"})
    assert objectives.costs({"cycles": 3, "accuracy": 0.5}).tolist() == [3, -0.5]
    assert objectives.costs({"cycles": 3}) is None
    with pytest.raises(ValueError, match="there is no direction of cycles 'low'"):
        Objectives({"cycles": "low"})
    assert Constraint.parse("lut <= 2e4").met({"lut": 20000})
    assert constraints(["lut <= 5"], ["lut"])[0].met({}) is None
    with pytest.raises(ValueError, match="'lut < 5' is not of the form"):
        constraints(["lut < 5"], ["lut"])
    with pytest.raises(ValueError, match="did you mean lut"):
        constraints(["luts <= 5"], ["lut", "cycles"])
    with pytest.raises(ValueError, match="no value meets both lut <= 5 and lut >= 6"):
        constraints(["lut <= 5", "lut >= 6"], ["lut"])
