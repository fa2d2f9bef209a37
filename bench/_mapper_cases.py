"""Graphs, budgets and known optima of the mapper's bench, and plans that are replayed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property

from ..mapper.fixed import FixedOrder
from ..mapper.graph import Graph
from ..mapper.graph_json import read
from ..mapper.plan import Result
from ..mapper.problem import Memory, Problem, lower
from ..mapper.replay import ReplayError, replay
from ..mapper.schedule import Schedule
from ..models import data

GRAPHS = (
    "light_bvlc_alexnet", "light_densenet121", "light_inception_v1", "light_inception_v2",
    "light_resnet50", "light_shufflenet", "light_squeezenet", "light_vgg19", "light_zfnet512",
    "tv_densenet121", "tv_pnasnet5large", "tv_r2plus1d_18", "tv_resnet50", "tv_transformer",
    "tv_vit_b_16",
)  # fmt: skip
"""Files of the reference data."""

BUDGETS = ("M_R", "M_H", "M_P")
"""What the largest operator needs; the mean of both; what nothing has to leave for, in the default
order."""

OPTIMA = {
    ("light_shufflenet", "M_R", False): 150_528,
    ("light_densenet121", "M_R", False): 1_404_928,
    ("tv_densenet121", "M_R", False): 1_204_224,
    ("tv_densenet121", "M_H", False): 602_112,
    ("tv_r2plus1d_18", "M_R", False): 51_380_224,
    ("tv_vit_b_16", "M_R", False): 3_631_104,
    ("tv_transformer", "M_R", False): 2_097_152,
    ("tv_transformer", "M_H", False): 458_752,
    ("tv_pnasnet5large", "M_R", False): 45_856_854,
    ("tv_pnasnet5large", "M_H", False): 7_386_498,
    ("tv_resnet50", "M_R", True): 1_003_520,
}
"""Non-compulsory bytes of the best plans of default orders, by graph, budget and whether
parameters take room, proved by other solvers and models of ours before this mapper was written."""


@dataclass(frozen=True)
class Case:
    """A graph on a scratchpad."""

    name: str
    budget: str
    """One of :data:`BUDGETS`."""
    parameters: bool
    graph: Graph
    problem: Problem

    @property
    def key(self) -> tuple[str, str, bool]:
        """As in :data:`OPTIMA`."""
        return self.name, self.budget, self.parameters

    def __str__(self) -> str:
        return f"{self.name} at {self.budget}{', with parameters' if self.parameters else ''}"

    @cached_property
    def fixed(self) -> FixedOrder:
        """Under the default order."""
        return FixedOrder(self.problem)


@cache
def graph(name: str) -> Graph:
    """One of :data:`GRAPHS`; raises :class:`.data.MissingData`."""
    return read(data.path(f"graphs/{name}.json"))


def case(name: str, budget: str, parameters: bool = False) -> Case:
    """One of them; raises :class:`.data.MissingData`."""
    found = graph(name)
    free = lower(found, Memory(1 << 62), parameters)
    low, high = free.floor, FixedOrder(free).peak
    size = {"M_R": low, "M_H": (low + high) // 2, "M_P": high}[budget]
    problem = lower(found, Memory(size), parameters)
    return Case(name, budget, parameters, found, problem)


def cases() -> Iterator[Case]:
    """All graphs and budgets, without and with parameters."""
    for name in GRAPHS:
        for budget in BUDGETS:
            for parameters in (False, True):
                yield case(name, budget, parameters)


@dataclass
class Replays:
    """Runs each plan on the replay, which knows no solver, and counts the bytes."""

    plans: int = 0
    wrong: list[str] = field(default_factory=list)

    def __call__(self, where: str, graph: Graph, result: Result) -> None:
        """One more, if there is a plan; ``where`` names it."""
        if result.plan is None:
            return
        self.plans += 1
        try:
            found = replay(graph, Schedule.of(graph, result.plan))
        except ReplayError as error:
            self.wrong.append(f"{where}: {error}")
            return
        counted, said = (found.non_compulsory, found.total), (result.objective, result.total)
        if counted != said:
            self.wrong.append(f"{where}: {counted} bytes, not {said}")
