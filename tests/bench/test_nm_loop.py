"""Training with the array in the loop, its RTL replaced by the golden model's outputs."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from thresher.bench import _nm_loop as loop
from thresher.models.nm.examples import Example, Recipe, Split, cnn, mlp


def split(*shape: int) -> Split:
    random = torch.Generator().manual_seed(0)
    images = torch.rand(72, *shape, generator=random)
    return Split((images[:48], torch.arange(48) % 4), (images[48:], torch.arange(24) % 4))


CASES = {
    "mlp": Example(lambda: mlp((20, 24, 16, 4)), lambda: split(20), Recipe(), ("4",)),
    "cnn": Example(lambda: cnn((6, 10), 5, 4), lambda: split(1, 5, 5), Recipe(), None),
}


@pytest.fixture
def golden(monkeypatch):
    """RTL that does what the golden model does, but for what the test changes."""
    outcome: dict[str, Any] = {"failures": [], "late": 0, "change": lambda outputs: outputs}

    def simulate(engine, config, task):
        outputs = outcome["change"](dict(task.outputs))
        failures = outcome["failures"]
        return SimpleNamespace(
            failures=lambda: failures, outputs=outputs, cycles=task.cycles + outcome["late"],
            cycles_formula=task.cycles, bit_exact=not failures, hang="", counters_wrong={},
        )  # fmt: skip

    monkeypatch.setattr(loop, "simulate", simulate)
    return outcome


def rows(name: str) -> list[loop.Row]:
    case = loop.Case(name, CASES[name], batch=8, before=2, after=2)
    return list(loop._case(case, lambda what: None))


@pytest.mark.parametrize("name", CASES)
def test_steps_by_the_golden_model_are_pytorchs(golden, name):
    differ, late, operands, distance, accuracy = rows(name)
    assert (differ.measured, late.measured, operands.measured) == (0, 0, 0)
    assert 0 < distance.measured < 0.01  # other roundings between layers, so not the same
    assert accuracy.measured is not None
    assert all(row.holds is not False for row in (differ, late, operands, distance))


def test_the_training_goes_on_from_what_the_rtl_wrote(golden):
    """Zeros in place of all that it writes are not missed: masters, sums and operands."""

    def zeros(outputs):
        write = outputs["write"]
        return outputs | {"write": write | {"data": np.zeros_like(write["data"])}}

    golden["change"] = zeros
    _, _, operands, distance, _ = rows("mlp")
    assert operands.measured == 0  # zeros' masks keep zeros
    assert distance.measured > 1
    assert distance.holds is False


def test_failures_of_rtl_fail_the_bench(golden):
    golden["failures"], golden["late"] = ["3 mismatches"], 2
    differ, late, *_ = rows("mlp")
    assert "3 mismatches" in differ.measured
    assert differ.holds is False
    assert late.measured == loop.STEPS * 6  # three layers: forward, and the others
    assert late.holds is False


def test_operands_of_the_next_step_are_checked(golden):
    """A weight that changed in memory, in either direction's operand."""
    training = loop.Training(replace(loop.cases(True)[0], example=CASES["mlp"], batch=8))
    training.step()
    array = loop.Array(loop.CONFIG, lambda what: None)
    residents = list(training.residents(array).values())
    for resident in residents:
        assert resident.wrong_operands() == 0
    for way in ("forward", "backward"):
        at, _ = residents[1].operands.regions[way]
        residents[1]._memory[at, 0] ^= 1
        assert residents[1].wrong_operands() == 1
        residents[1]._memory[at, 0] ^= 1
