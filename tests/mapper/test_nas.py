"""Generated graphs of searched networks, and what solvers make of them."""

import pytest
from thresher.mapper import bound, divide, nas, orders, parts
from thresher.mapper.anneal import anneal
from thresher.mapper.problem import Memory, lower


def test_a_cell_is_what_its_genotype_says() -> None:
    graph = nas.cells("darts_v2", 3, channels=16, side=32)
    # A load, a stem; cells 1 and 2 reduce: 2 inputs, 4 sums, a concatenation each, and operations:
    # five separable convolutions of 4, one dilated of 2; poolings, and skips only of state 2.
    assert len(graph.ops) == 2 + 3 * 7 + (5 * 4 + 2) + 2 * 5
    sizes = {name: tensor.bytes for name, tensor in graph.tensors.items()}
    assert sizes["stem"] == 16 * 32 * 32
    assert sizes["cell0.result"] == 4 * 16 * 32 * 32
    assert sizes["cell1.in0"] == 32 * 32 * 32
    assert sizes["cell1.result"] == 4 * 32 * 16 * 16
    assert sizes["cell2.result"] == 4 * 64 * 8 * 8
    by_name = {op.name: op for op in graph.ops}
    assert by_name["cell1.in0"].inputs == ("stem",)
    assert by_name["cell1.in1"].inputs == ("cell0.result",)
    assert by_name["cell2.in0"].inputs == ("cell0.result",)
    assert by_name["cell0.3"].inputs == ("cell0.in0", "cell0.3.1.1")
    assert by_name["cell0.in1"].weight_bytes == 16 * 16


@pytest.mark.parametrize("genotype", nas.GENOTYPES)
def test_sums_are_of_like_sizes_in_every_cell(genotype) -> None:
    graph = nas.cells(genotype, 6, channels=8, side=16)
    for op in graph.ops:
        if op.kind == "add":
            assert {graph.tensors[t].bytes for t in op.inputs} == {
                graph.tensors[op.outputs[0]].bytes
            }
        if op.kind == "concat":
            total = sum(graph.tensors[t].bytes for t in op.inputs)
            assert total == graph.tensors[op.outputs[0]].bytes


def test_random_wires() -> None:
    graph = nas.random_wired(32)
    assert len(graph.ops) == 35
    assert sum(op.kind == "conv2d" for op in graph.ops) == 33
    assert graph.outputs == ("mean",)
    again = nas.random_wired(32)
    assert [op.inputs for op in graph.ops] == [op.inputs for op in again.ops]
    other = nas.random_wired(32, seed=1)
    assert [op.inputs for op in graph.ops] != [op.inputs for op in other.ops]


def test_what_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="darts_v2"):
        nas.cells("nasnet_z", 3)
    with pytest.raises(ValueError, match="halved 2 times"):
        nas.cells("nasnet_a", 6, side=30)
    with pytest.raises(ValueError, match="1 or more"):
        nas.cells("nasnet_a", 0)
    with pytest.raises(ValueError, match="2 to 7"):
        nas.random_wired(8, neighbours=9)


@pytest.mark.parametrize("genotype", nas.GENOTYPES)
def test_divided_and_conquered(genotype) -> None:
    graph = nas.cells(genotype, 4, channels=8, side=16)
    problem = lower(graph, Memory(lower(graph, Memory(1 << 40)).floor))
    found = divide.solve(problem, limit=10)
    greedy = anneal(problem, orders.greedy(problem), moves=0).cost
    default = anneal(problem, orders.default(problem), moves=0).cost
    assert found.bound <= found.objective <= min(greedy, default)
    assert found.bound >= bound.any_order(problem)
    assert parts.part(problem, range(len(problem.steps))).steps == problem.steps
