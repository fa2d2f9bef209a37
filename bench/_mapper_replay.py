"""Schedules replayed, spoilt, held against trying everything, and executed."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from ..mapper.graph import Graph
from ..mapper.plan import Plan
from ..mapper.problem import Memory, lower
from ..mapper.replay import ReplayError, replay
from ..mapper.schedule import Schedule
from ._mapper_cases import Replays
from ._mapper_fixed import Solved
from .report import Bar, Progress, Row

SPOILT = ("light_shufflenet", "tv_transformer", "tv_vit_b_16", "light_resnet50")
"""Networks whose schedules are spoilt, at M_R; only the first two if it is to be quick."""


def replay_rows(quick: bool, progress: Progress, replays: Replays, solved: Solved) -> Iterator[Row]:
    """All plans so far, and what the replay says of spoilt ones."""
    yield Row(
        "plans that break a rule, or whose bytes differ, in a replay", len(replays.wrong),
        Bar("==", 0), "; ".join(replays.wrong[:3]) or f"{replays.plans:,} plans of all rows above",
    )  # fmt: skip
    made = caught = same = allowed = 0
    for name in SPOILT[: 2 if quick else None]:
        for parameters in (False, True):
            if (name, "M_R", parameters) not in solved:
                continue
            progress(f"spoilt schedules of {name}")
            case, result = solved[name, "M_R", parameters]
            if result.plan is None:
                continue
            for plan, legal in shifted(result.plan):
                refused = _refused(case.graph, Schedule.of(case.graph, plan))
                made, caught = made + (not legal), caught + (refused and not legal)
                same, allowed = same + legal, allowed + (legal and not refused)
            for spoilt in (*dropped(case.graph, result.plan), *swapped(case.graph, result.plan)):
                made, caught = made + 1, caught + _refused(case.graph, spoilt)
    if made:
        yield Row(
            "spoilt schedules that the replay accepts", made - caught, Bar("==", 0),
            f"of {made:,}: a buffer one byte off that meets another or leaves the scratchpad, a "
            "transfer dropped, two neighbours swapped of which one needs the other",
        )  # fmt: skip
        yield Row("schedules with a buffer one byte off, where there is room, refused",
                  same - allowed, Bar("==", 0), f"of {same:,}")  # fmt: skip


def _refused(graph: Graph, schedule: Schedule) -> bool:
    try:
        replay(graph, schedule)
    except ReplayError:
        return True
    return False


def shifted(plan: Plan) -> Iterator[tuple[Plan, bool]]:
    """The plan with each residence one byte up, or down; and whether it is there alone and inside,
    by comparing it with all others."""
    buffers, budget = plan.problem.buffers, plan.problem.memory.budget
    when = [plan.occupied(r) for r in plan.residences]
    for i, r in enumerate(plan.residences):
        for address in (r.address + 1, r.address - 1):
            if address < 0:
                continue
            end = address + buffers[r.buffer].size
            met = any(
                j != i
                and when[j].start < when[i].stop
                and when[i].start < when[j].stop
                and address < other.address + buffers[other.buffer].size
                and other.address < end
                for j, other in enumerate(plan.residences)
            )
            moved = list(plan.residences)
            moved[i] = replace(r, address=address)
            yield replace(plan, residences=tuple(moved)), end <= budget and not met


def dropped(graph: Graph, plan: Plan) -> Iterator[Schedule]:
    """Its schedule without each of the transfers."""
    schedule = Schedule.of(graph, plan)
    for i, step in enumerate(schedule.steps):
        for n in range(len(step.transfers)):
            fewer = step.transfers[:n] + step.transfers[n + 1 :]
            steps = list(schedule.steps)
            steps[i] = step.model_copy(update={"transfers": fewer})
            yield schedule.model_copy(update={"steps": tuple(steps)})


def swapped(graph: Graph, plan: Plan) -> Iterator[Schedule]:
    """Its schedule with each two neighbours swapped of which the second depends on the first."""
    schedule = Schedule.of(graph, plan)
    for i, (a, b) in enumerate(itertools.pairwise(plan.order)):
        if a in plan.problem.before[b]:
            steps = list(schedule.steps)
            steps[i], steps[i + 1] = steps[i + 1], steps[i]
            yield schedule.model_copy(update={"steps": tuple(steps)})


def agreement_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Random problems, the least found by trying everything."""
    from ..mapper import exact, free
    from ..mapper.agreement import random_agreement

    count = 300 if quick else 1000
    progress(f"{count} random problems, against trying everything")
    found = random_agreement(
        count,
        fixed={"exact": lambda problem: exact.solve(problem, backend="cbc", limit=30)},
        free={"free": lambda problem: free.solve(problem, limit=30)},
    )
    yield Row(
        "random problems in which a solver and trying everything differ", len(found.mismatches),
        Bar("==", 0), "; ".join(found.mismatches[:3]) or f"of {found.problems:,}, up to 8 "
        f"operators, default and free orders; the least is above 0 in {found.moved}, there is "
        f"none in {found.impossible}, addresses cost more than capacity in "
        f"{found.more_than_capacity}",
    )  # fmt: skip


class _Network(nn.Module):
    """Convolutions, a residual sum, a concatenation, a branch that waits."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.left = nn.Conv2d(channels, channels, 3, padding=1)
        self.right = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1),
            nn.ReLU(),
            nn.Conv2d(2 * channels, channels, 3, padding=1),
        )
        self.head = nn.Linear(3 * channels, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        left = torch.relu(self.left(x))
        right = self.right(left) + x
        return self.head(torch.cat([left, right, x], 1).mean((2, 3)))


def execution_rows(progress: Progress) -> Iterator[Row]:
    """Schedules of a network run on one flat array, at the least budget and above."""
    from ..mapper import exact, free
    from ..mapper.execute import execute
    from ..mapper.importers.pytorch import from_torch

    progress("schedules executed on one flat array")
    outputs = wrong = bytes = 0
    for channels in (4, 8, 12):
        torch.manual_seed(channels)
        module, x = _Network(channels).eval(), torch.randn(1, 3, 8, 8)
        imported = from_torch(module, (x,), element_bytes=None)
        low = lower(imported.graph, Memory(1 << 40), True).floor
        for budget in (low, low + low // 8):
            problem = lower(imported.graph, Memory(budget), True)
            for result in (exact.solve(problem), free.solve(problem)):
                assert result.plan is not None
                bytes += result.plan.objective
                for seed in range(4):
                    given = torch.randn(1, 3, 8, 8, generator=torch.manual_seed(seed))
                    schedule = Schedule.of(imported.graph, result.plan)
                    (found,) = execute(imported, schedule, [given])
                    with torch.no_grad():
                        wanted = module(given)
                    wrong += not torch.equal(found.reshape(wanted.shape), wanted)
                    outputs += 1
    yield Row(
        "schedules executed at their addresses: outputs that differ from PyTorch's", wrong,
        Bar("==", 0), f"of {outputs}, bit for bit; {bytes:,} non-compulsory bytes in all",
    )  # fmt: skip
