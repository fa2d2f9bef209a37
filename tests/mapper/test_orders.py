"""Orders: least peaks against enumeration, published ones, greedy rules."""

import itertools
import random

import pytest
from thresher.mapper import orders
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.graph_json import read
from thresher.mapper.problem import Memory, Problem, lower
from thresher.models import data


def drawn(rng: random.Random, steps: int, budget: int = 1 << 30) -> Problem:
    return lower(drawn_graph(rng, steps), Memory(budget))


def drawn_graph(rng: random.Random, steps: int) -> Graph:
    tensors, ops = [Tensor("x", rng.randint(1, 9))], [Op("x", "load", (), ("x",))]
    for i in range(steps - 1):
        readable = [t.name for t in tensors if t.view is None]
        inputs = tuple(rng.sample(readable, rng.randint(1, min(3, len(readable)))))
        over = rng.random() < 0.15
        size = next(t.bytes for t in tensors if t.name == inputs[0]) if over else rng.randint(1, 9)
        tensors.append(Tensor(f"t{i}", size, view=inputs[0] if over else None))
        ops.append(Op(f"t{i}", "f", inputs, (f"t{i}",)))
    return Graph("drawn", tensors, ops)


def every_order(problem: Problem):
    for order in itertools.permutations(range(len(problem.steps))):
        place = {s: p for p, s in enumerate(order)}
        if all(place[o] < place[s] for s, before in enumerate(problem.before) for o in before):
            yield order


@pytest.mark.parametrize("seed", range(12))
def test_least_peaks_against_enumeration(seed) -> None:
    problem = drawn(random.Random(seed), 8)
    least = min(FixedOrder(problem, order).peak for order in every_order(problem))
    found = orders.min_peak(problem)
    assert found.proved
    assert FixedOrder(problem, found.order).peak == found.peak == least
    for order in (orders.greedy(problem), orders.depth_first(problem), orders.default(problem)):
        problem.check_order(order)
        assert FixedOrder(problem, order).peak >= least


def test_a_beam_where_time_is_short(monkeypatch) -> None:
    problem = drawn(random.Random(3), 40)
    monkeypatch.setattr(orders._Lives, "best_first", lambda self, deadline: None)
    found = orders.min_peak(problem)
    assert FixedOrder(problem, found.order).peak == found.peak
    assert found.peak <= FixedOrder(problem, orders.greedy(problem)).peak
    assert found.proved == (found.peak == problem.floor)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("light_shufflenet", 721_280),
        ("light_densenet121", 1_806_336),
        ("light_squeezenet", 982_144),
        ("tv_transformer", 458_752),
        ("tv_pnasnet5large", 8_276_550),
    ],
)
def test_least_peaks_of_reference_graphs(name, peak) -> None:
    try:
        problem = lower(read(data.path(f"graphs/{name}.json")), Memory(1 << 40))
    except data.MissingData as missing:
        pytest.skip(str(missing))
    found = orders.min_peak(problem, limit=60)
    assert (found.peak, found.proved) == (peak, True)
    assert FixedOrder(problem, found.order).peak == peak
