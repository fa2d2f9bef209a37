"""Schedules of PyTorch networks on one flat array: the outputs are PyTorch's, bit for bit."""

import pytest
import torch
from thresher.mapper import exact, fusion, orders, solve
from thresher.mapper.execute import execute
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.importers.pytorch import from_torch
from thresher.mapper.problem import Memory, lower
from thresher.mapper.replay import ReplayError, replay
from thresher.mapper.schedule import Schedule
from thresher.mapper.views import Views
from torch import nn


class Cells(nn.Module):
    """Convolutions, a residual sum, a concatenation, and branches that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.left = nn.Conv2d(8, 8, 3, padding=1)
        self.right = nn.Sequential(nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Conv2d(16, 8, 3, padding=1))
        self.head = nn.Linear(24, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        left = torch.relu(self.left(x))
        right = self.right(left) + x
        both = torch.cat([left, right, x], 1)
        return self.head(both.mean((2, 3))), nn.functional.max_pool2d(right, 2)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)

    def forward(self, x):
        return self.layer(x)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        states, (h, c) = self.lstm(x)
        return self.head(states), h, torch.tanh(c)


NETWORKS = {
    "cells": (Cells, (1, 3, 8, 8)),
    "attention": (Attention, (1, 6, 16)),
    "recurrent": (Recurrent, (1, 5, 6)),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    kind, shape = NETWORKS[request.param]
    torch.manual_seed(1)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    module, x = kind().eval(), torch.randn(shape)
    yield from_torch(module, (x,), element_bytes=None), module, shape
    torch.backends.mha.set_fastpath_enabled(fast)


def expected(module, x):
    with torch.no_grad():
        found = module(x)
    return list(found) if isinstance(found, tuple) else [found]


def equal(found, wanted) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("views", [Views(), Views(in_place=True), Views(concatenate=True)])
@pytest.mark.parametrize("double_buffered", [False, True])
def test_outputs_are_those_of_pytorch(network, views, double_buffered) -> None:
    imported, module, shape = network
    graph = views(fusion.fuse(imported.graph))
    imported = imported.of(graph)
    moved = 0
    for name in ("default", "min-peak"):
        whole = lower(graph, Memory(1 << 40, 4, 1, double_buffered), True)
        order = solve.ORDERS[name](whole)
        fixed = FixedOrder(whole, order)
        for budget in (max(fixed.required), fixed.peak):
            memory = Memory(-(-budget // 4) * 4, 4, 1, double_buffered)
            found = exact.solve(lower(graph, memory, True), order)
            schedule = solve.schedule(graph, found)
            moved += found.objective
            torch.manual_seed(budget)
            x = torch.randn(shape)
            results = dict(zip(graph.outputs, execute(imported, schedule, [x]), strict=True))
            wanted = expected(module, x)
            for output, value in zip(imported.outputs, wanted, strict=True):
                if output is not None:
                    assert torch.equal(results[output].reshape(value.shape), value)
    if not double_buffered and graph.name != "Recurrent":
        assert moved > 0


def test_a_wrong_address_is_a_wrong_output() -> None:
    torch.manual_seed(1)
    module, x = Cells().eval(), torch.randn(1, 3, 8, 8)
    imported = from_torch(module, (x,), element_bytes=None)
    problem = lower(imported.graph, Memory(lower(imported.graph, Memory(1 << 40)).floor))
    schedule = Schedule.of(imported.graph, exact.solve(problem, orders.default(problem)).plan)
    wanted = execute(imported, schedule)
    step = next(i for i, s in enumerate(schedule.steps) if s.kind == "mean")
    steps = list(schedule.steps)
    placed = {**steps[step].placed, "cat": steps[step].placed["cat"] + 4}
    steps[step] = steps[step].model_copy(update={"placed": placed})
    mutated = schedule.model_copy(update={"steps": tuple(steps)})
    with pytest.raises(ReplayError):
        replay(imported.graph, mutated)
    assert not equal(execute(imported, mutated), wanted)


def test_sizes_that_are_not_the_values() -> None:
    imported = from_torch(Cells().eval(), (torch.randn(1, 3, 8, 8),))
    problem = lower(imported.graph, Memory(1 << 20))
    schedule = Schedule.of(imported.graph, exact.solve(problem).plan)
    with pytest.raises(ValueError, match="element_bytes=None"):
        execute(imported, schedule)
