"""Certificates: of the reference graphs, of cuts, and none for what is not so."""

import json
import random
from dataclasses import replace

import pytest
from thresher.mapper import exact
from thresher.mapper.certificate import Certificate, certify, prove, verify
from thresher.mapper.cuts import Cut
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.graph_json import read
from thresher.mapper.problem import Memory, Problem, lower
from thresher.models import data


@pytest.mark.parametrize(
    "name",
    ["light_densenet121", "light_resnet50", "light_shufflenet", "tv_densenet121",
     "tv_pnasnet5large", "tv_r2plus1d_18", "tv_transformer", "tv_vit_b_16"],
)  # fmt: skip
def test_bounds_of_reference_graphs(name) -> None:
    parameters = name in ("light_resnet50", "tv_pnasnet5large")
    try:
        graph = read(data.path(f"graphs/{name}.json"))
    except data.MissingData as missing:
        pytest.skip(str(missing))
    whole = lower(graph, Memory(1 << 40), parameters)
    floor, peak = whole.floor, FixedOrder(whole).peak
    for budget in (floor, (floor + peak) // 2, peak):
        result = exact.solve(lower(graph, Memory(budget), parameters))
        found = certify(result)
        assert found is not None
        assert found.bound == result.objective
        assert found.leaves < 100
        fixed = FixedOrder(result.problem)
        verify(fixed, found)
        again = Certificate.from_json(json.loads(json.dumps(found.to_json())))
        verify(fixed, again)
        if result.objective:
            more = found.bound + 2 * max(gap.fetch for gap in fixed.gaps)
            with pytest.raises(ValueError, match="not more than"):
                verify(fixed, Certificate(more, found.cuts, found.tree))


def drawn(rng: random.Random, double_buffered: bool, banks: int = 1) -> Problem:
    """A random graph on a memory that is scarce."""
    tensors, ops = [Tensor("x", rng.randint(1, 9))], [Op("x", "load", (), ("x",))]
    for i in range(rng.randint(5, 14)):
        readable = [t.name for t in tensors]
        inputs = {readable[-1], *rng.sample(readable, rng.randint(0, min(2, len(readable))))}
        tensors.append(Tensor(f"t{i}", rng.randint(1, 9)))
        ops.append(Op(f"t{i}", "f", tuple(sorted(inputs)), (f"t{i}",), rng.choice([0, 0, 3])))
    graph = Graph("drawn", tensors, ops)
    whole = lower(graph, Memory(1 << 20, 1, banks, double_buffered), True)
    fixed = FixedOrder(whole)
    least = -(-max(fixed.required) // banks) * banks
    budget = rng.randrange(least, max(least, fixed.peak) + 1, banks)
    return lower(graph, Memory(budget, 1, banks, double_buffered), True)


@pytest.mark.parametrize("double_buffered", [False, True])
def test_bounds_of_random_problems_and_no_more(double_buffered) -> None:
    rng, larger = random.Random(11), 0
    for _ in range(40):
        problem = drawn(rng, double_buffered)
        result, fixed = exact.solve(problem), FixedOrder(problem)
        assert result.status == "optimal"
        found = certify(result)
        assert found is not None
        verify(fixed, found)
        larger += found.leaves > 1
        if not result.notes["cuts"]:
            with pytest.raises(ValueError, match=f"{result.bound + 10} bytes are no bound"):
                prove(fixed, result.bound + 10)
    assert larger > 0


def test_cuts_are_proved_too() -> None:
    rng, seen = random.Random(2), 0
    while seen < 3:
        problem = drawn(rng, False, 2)
        result = exact.solve(problem)
        if result.status != "optimal" or not result.notes["cuts"]:
            continue
        fixed, found = FixedOrder(problem), certify(result)
        assert found is not None
        verify(fixed, found)
        seen += 1
        first, *others = found.cuts
        more = replace(first, need=first.need + 1)
        if more.need <= len(first.gaps):
            with pytest.raises(ValueError, match=r"cut 0 (is not proved|has gaps that)"):
                verify(fixed, Certificate(found.bound, (more, *others), found.tree))
        impossible = replace(first, need=len(first.gaps) + 1)
        with pytest.raises(ValueError, match=f"needs {len(first.gaps) + 1}"):
            verify(fixed, Certificate(found.bound, (impossible, *others), found.tree))
        with pytest.raises(ValueError, match="cut 0 has gaps"):
            verify(fixed, Certificate(found.bound, (Cut((), 1, range(1)),), found.tree))


def spilling() -> tuple[FixedOrder, Certificate]:
    rng = random.Random(11)
    while True:
        problem = drawn(rng, False)
        result = exact.solve(problem)
        found = certify(result)
        if found and "gap" in found.tree and not found.cuts:
            return FixedOrder(problem), found


def test_trees_that_are_bent() -> None:
    fixed, found = spilling()
    verify(fixed, found)
    gap, kept, left = (found.tree[key] for key in ("gap", "kept", "left"))

    def refused(tree, why):
        with pytest.raises(ValueError, match=why):
            verify(fixed, Certificate(found.bound, (), tree))

    refused({"positions": {}}, "proves 0 bytes")
    refused({"gap": gap, "kept": kept, "left": {"positions": {}}}, "not more than")
    refused({"gap": gap, "kept": kept, "left": dict(found.tree)}, f"gap {gap} is decided twice")
    refused({"positions": {"0": -1}}, "it is an integer >= 0")
    refused({"positions": {"0": 0.5}}, "it is an integer >= 0")
    refused({"positions": {"99": 1}}, "no row of positions 99")
    refused({"cuts": {"0": 1}}, "no row of cuts 0")
    assert left
