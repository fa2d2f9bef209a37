"""Plans of the mapper beside those of strong baselines: non-compulsory bytes, and all bytes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..mapper import pictures as mapper_pictures
from ..mapper.plan import Result
from ..mapper.schedule import Schedule
from ._bars import Bars, draw
from ._mapper_cases import Case, Replays
from ._mapper_fixed import Solved
from ._mapper_free import Freed
from .report import Bar, Progress, Row

PAPER = "the paper: 84 % on average, NAS networks 85 %"

LARGE = 400
"""Steps from which on orders are sought by divide and conquer."""


@dataclass(frozen=True)
class Compared:
    """One case."""

    case: Case
    default: Result
    """The best plan of the default order."""
    best: Result
    """The best plan of any order that was found."""
    others: Mapping[str, Result]
    """Baselines by name."""

    @property
    def weights(self) -> int:
        """Bytes of parameters that the problem leaves out, each fetched once."""
        if self.case.parameters:
            return 0
        return sum(op.weight_bytes for op in self.case.graph.ops)


def baseline_rows(
    quick: bool,
    progress: Progress,
    replays: Replays,
    solved: Solved,
    freed: Freed,
    pictures: Path | None,
) -> Iterator[Row]:
    """Every baseline on every case that is ``solved``."""
    compared = _compare(quick, progress, replays, solved, freed)
    yield from saved_rows(compared)
    if pictures is not None:
        _draw(compared, pictures)


def saved_rows(compared: Sequence[Compared]) -> Iterator[Row]:
    """Whether any baseline is better; how many cases are degenerate; what is saved on the rest."""
    names = dict.fromkeys(name for one in compared for name in one.others)
    worse = [
        f"{one.case}: {name}"
        for one in compared
        for name, other in one.others.items()
        if _bytes(one.best) > _bytes(other)
        or (name.endswith("default order") and _bytes(one.default) > _bytes(other))
    ]
    yield Row("baselines with fewer non-compulsory bytes than the mapper, of "
              f"{sum(len(one.others) for one in compared)}", len(worse), Bar("==", 0),
              "; ".join(worse) or "under the same order, or any against the best")  # fmt: skip
    plain = [one for one in compared if _bytes(one.best) == 0]
    yield Row("cases in which nothing has to leave (optimum 0)", len(plain), None,
              f"of {len(compared)}; not in the means below")  # fmt: skip
    for name in names:
        yield _saved(name, compared)
    for name in (name for name in names if name.startswith("Belady, greedy")):
        yield _as_the_paper(name, compared)


def _compare(
    quick: bool, progress: Progress, replays: Replays, solved: Solved, freed: Freed
) -> list[Compared]:
    from ..mapper import baselines, divide, exact, free, orders

    found, known = [], {}
    for key, (case, default) in solved.items():
        progress(f"baselines: {case}")
        which = case.name, case.parameters
        if which not in known:
            peak, *_ = orders.min_peak(case.problem, limit=2 if quick else 10, seed=0)
            known[which] = {"default": case.fixed.order, "min-peak": tuple(peak)}
        choices = known[which] | {"greedy": tuple(orders.greedy(case.problem))}
        others = baselines.baselines(case.problem, choices, limit=2 if quick else 5)
        for name, other in others.items():
            replays(f"{case}, {name}", case.graph, other)
        ours = [default, *([freed[key]] if key in freed else [])]
        for name, order in choices.items():
            if name != "default" and _bytes(min(ours, key=_bytes)):
                one = exact.solve(case.problem, order, backend="cbc", limit=10)
                replays(f"{case}, {name} order", case.graph, one)
                ours.append(one)
        if key not in freed and _bytes(min(ours, key=_bytes)):
            start = [one.plan.order for one in ours if one.plan is not None]
            solve = free if len(case.problem.steps) < LARGE else divide
            one = solve.solve(case.problem, limit=5 if quick else 20, workers=2, start=start)
            replays(f"{case}, free order", case.graph, one)
            ours.append(one)
        found.append(Compared(case, default, min(ours, key=_bytes), others))
    return found


def _bytes(result: Result) -> float:
    """Non-compulsory ones; without a plan, too many."""
    return math.inf if result.objective is None else result.objective


def _saved(name: str, compared: Sequence[Compared]) -> Row:
    """By the mapper, beside that baseline."""
    parts, totals, more, gone, none = [], [], [], 0, 0
    for one in compared:
        other = one.others[name]
        if other.plan is None:
            none += 1
            continue
        share = other.notes.get("share")
        if share is not None and share > 1:
            more.append(share)
        mine, theirs = _bytes(one.best), _bytes(other)
        if mine == 0:
            gone += theirs > 0
            continue
        parts.append(mine / theirs if theirs else math.inf)
        fixed = one.case.problem.compulsory + one.weights
        totals.append((mine + fixed) / (theirs + fixed))
    saved = 1 - _mean(parts)
    text = [
        f"{len(parts)} cases; {1 - _mean(totals):.1%} of all bytes",
        f"where the optimum is 0, this one moves some in {gone}",
    ]
    if more:
        text.append(f"first needs more than the budget in {len(more)}, {max(more):.0%} at most")
    if none:
        text.append(f"no plan in {none}")
    return Row(f"saved beside {name}: non-compulsory bytes, geometric mean [%]", 100 * saved,
               None, "; ".join([*text, PAPER]))  # fmt: skip


def _as_the_paper(name: str, compared: Sequence[Compared]) -> Row:
    """Arithmetic mean at M_R, activations alone, of what is saved where the baseline moves any."""
    some = [
        (_bytes(one.best), _bytes(one.others[name]))
        for one in compared
        if one.case.budget == "M_R" and not one.case.parameters and _bytes(one.others[name]) > 0
    ]
    saved = sum(1 - mine / theirs for mine, theirs in some) / len(some) if some else math.nan
    return Row(f"saved at M_R, activations alone, beside {name}: arithmetic mean [%]", 100 * saved,
               None, f"{len(some)} networks, of which this one moves any; {PAPER}")  # fmt: skip


def _mean(ratios: Sequence[float]) -> float:
    """Geometric."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def _draw(compared: Sequence[Compared], folder: Path) -> None:
    """What is saved, and two schedules."""
    shown = [one for one in compared if _bytes(one.best) > 0]
    some = [one for one in shown if not one.case.parameters]
    names = dict.fromkeys(name for one in some for name in one.others)
    saved = {
        f"beside {name}": [
            100 * (1 - _bytes(one.best) / max(_bytes(one.others[name]), 1)) for one in some
        ]
        for name in names
        if ("default" in name and not name.startswith("cost")) or name.startswith("layer")
    }
    labels = ["\n".join((*one.case.name.split("_", 1), one.case.budget)) for one in some]
    draw(
        Bars("Non-compulsory traffic that the mapper saves", "%", labels, saved, stacked=False),
        folder, "mapper_baselines",
    )  # fmt: skip
    for one in shown:
        if one.case.key in (("tv_pnasnet5large", "M_R", False), ("light_shufflenet", "M_R", False)):
            assert one.best.plan is not None
            schedule = Schedule.of(one.case.graph, one.best.plan, one.best.to_json())
            mapper_pictures.draw(schedule, folder / one.case.name)
