"""Free orders: proofs, bounds, and divide and conquer where there is no proof."""

from collections.abc import Iterator

from ..mapper.plan import Result
from ._mapper_cases import Replays, case
from .report import Bar, Progress, Row

BEST = {
    "light_shufflenet": (37_632, "default order: 150,528"),
    "light_densenet121": (1_404_928, "one order alone"),
    "tv_densenet121": (1_204_224, "one order alone"),
    "tv_vit_b_16": (3_631_104, "one order alone"),
    "tv_r2plus1d_18": (51_380_224, "default order: the same"),
    "tv_transformer": (2_031_616, "by CP-SAT before: 20 s on 8 threads, unproved in 90 s on 2"),
}
"""Non-compulsory bytes of the best plans of any order at M_R, found before by other models, and
what is to be said of them."""

SECONDS = 30.0
LARGE = 19_500_000
"""Bytes for pnasnet5large at M_R."""
GREEDY = 21_651_732
"""What a greedy order takes there."""

Freed = dict[tuple[str, str, bool], Result]
"""By name, budget and whether parameters take room."""


def free_rows(progress: Progress, replays: Replays, freed: Freed) -> Iterator[Row]:
    """Fills ``freed`` with what was found."""
    from ..mapper import divide, free

    progress("compiling what searches orders, where that was not done before")
    free.solve(case("light_shufflenet", "M_R").problem, limit=2 * SECONDS)
    for name, (optimum, note) in BEST.items():
        one = case(name, "M_R")
        progress(f"free order: {one}")
        result = free.solve(one.problem, limit=2 * SECONDS, workers=2)
        replays(f"{one}, free order", one.graph, result)
        freed[one.key] = result
        yield Row(f"{one}, free order [non-compulsory bytes]", result.objective,
                  Bar("==", optimum),
                  f"{result.status}, bound {result.bound:,}; {note}")  # fmt: skip
        yield Row(
            f"{one}, free order: seconds to a proof [s]",
            result.seconds if result.status == "optimal" else None, Bar("<=", SECONDS),
            result.solver,
        )  # fmt: skip
    one = case("tv_pnasnet5large", "M_R")
    limit = 110
    progress(f"divide and conquer: {one}, at most {limit} s")
    result = divide.solve(one.problem, limit=limit)
    replays(f"{one}, divide and conquer", one.graph, result)
    freed[one.key] = result
    yield Row(f"{one}, divide and conquer [non-compulsory bytes]", result.objective,
              Bar("<=", LARGE), f"a greedy order takes {GREEDY:,}")  # fmt: skip
    yield Row(f"{one}: proved bound of any order [non-compulsory bytes]", result.bound, None,
              result.solver)  # fmt: skip
    yield Row(f"{one}: seconds [s]", result.seconds, Bar("<=", 120), result.solver)
