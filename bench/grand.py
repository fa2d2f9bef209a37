"""step-GRAND and ORBGRAND: order, error rates, queries and cycles, beside the published ones."""

from collections.abc import Iterator
from math import comb
from pathlib import Path

from ..models.codes.channel import Awgn
from ..models.codes.montecarlo import ebn0_at
from ..models.error_rates import Point
from ..models.grand.patterns import PARITIES, STEP_GRAND, Patterns, Staircase
from ._curves import draw
from ._grand_curves import EBN0, Meter, figure
from ._grand_rtl import PAPER, area_rows, cost_of_presets, simulation_rows
from .report import Bar, Progress, Row, show

ORBGRAND, STEP = "ORBGRAND (64, 6), 5 bits", "step-GRAND, 5 bits"
_REFERENCE = {  # unquantised ORBGRAND: FER, average queries and cycles of 300 errors each
    4.0: (4.31e-2, 8045, 356.4),
    4.5: (1.10e-2, 2464, 122.5),
    5.0: (1.79e-3, 553, 34.6),
    5.5: (3.22e-4, 127, 11.07),
}


def rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Every figure, each measured now; the curves as pictures in that folder."""
    yield from _order(quick, progress)
    yield from _worst_cases()
    yield from _reference(quick, progress)
    curves = {}
    for label, name in ((ORBGRAND, "orbgrand"), (STEP, "step-grand")):
        curves[label] = []
        for ebn0 in EBN0:
            progress(f"{label} at {ebn0} dB")
            curves[label].append(Meter(name, quick).point(ebn0))
            yield _show(label, curves[label][-1])
    if pictures is not None:
        files = draw(figure(curves), pictures, "grand")
        yield Row("pictures", ", ".join(map(str, files)))
    yield from _throughput(curves[STEP])
    yield from _losses(quick, progress)
    yield from _rare(curves, quick, progress)
    yield from _second_family(quick, progress)
    for part in (simulation_rows, area_rows, cost_of_presets):
        yield from part(quick, progress)


def _order(quick: bool, progress: Progress) -> Iterator[Row]:
    cases = ((64, 6, None, 116_320), (96, 8, 10**6, 3_107_282))
    for lw_max, p, first, count in cases[: 1 if quick else 2]:
        name = f"ORBGRAND ({lw_max}, {p})"
        progress(f"{name}: patterns by brute force")
        patterns = Patterns(Staircase.orbgrand(128, lw_max, p))
        yield Row(f"{name}: patterns, the empty one included", len(patterns), Bar("==", count))
        last = patterns.lw[-1 if first is None else first]
        found = [tuple(r for r in row if r) for row in patterns.ranks[:first].tolist()]
        same = found == _brute(int(last), p)[:first]
        what = "all" if first is None else f"the first {first:,}"
        yield Row(f"{name}: {what} in brute force's order", same, Bar("==", True))


def _brute(lw_max: int, p: int) -> list[tuple[int, ...]]:
    """Every set of up to ``p`` ranks of that sum at most, sorted by sum, size and ranks."""
    found = []

    def grow(ranks: tuple[int, ...], total: int) -> None:
        found.append((total, len(ranks), ranks))
        if len(ranks) < p:
            for rank in range((ranks or (0,))[-1] + 1, lw_max - total + 1):
                grow((*ranks, rank), total + rank)

    grow((), 0)
    return [ranks for _, _, ranks in sorted(found)]


def _worst_cases() -> Iterator[Row]:
    baseline = Staircase.orbgrand(128).worst_cycles()
    ours = max(STEP_GRAND.worst_cycles(parity) for parity in PARITIES[1:])
    yield Row("ORBGRAND (64, 6): cycles of the longest search", baseline, Bar("==", 4221))
    yield Row("step-GRAND: cycles of the longest search", ours, Bar("<=", 621))
    yield Row(
        "ORBGRAND's over step-GRAND's", baseline / ours, Bar(">=", 6.8), f"6.8 ({PAPER})",
    )  # fmt: skip


def _reference(quick: bool, progress: Progress) -> Iterator[Row]:
    meter = Meter("orbgrand", quick, quantiser=None)
    for ebn0, (fer, queries, cycles) in _REFERENCE.items():
        if quick and ebn0 > 4.5:  # too many frames
            return
        progress(f"ORBGRAND, unquantised, at {ebn0} dB")
        point = meter.count(ebn0, 1500 if ebn0 < 5.5 else 600)
        what = f"ORBGRAND, unquantised, {ebn0} dB: "
        known = f"{show(point.fer)} ({point.errors} errors) of {show(fer)}"
        yield Row(f"{what}FER off the reference run's", abs(point.fer / fer - 1), Bar("<=", 0.15),
                  known)  # fmt: skip
        for name, known in (("queries", queries), ("cycles", cycles)):
            mean = point.costs[name]["average"]
            yield Row(f"{what}average {name} off the reference run's", abs(mean / known - 1),
                      Bar("<=", 0.05), f"{show(mean)} of {show(known)}")  # fmt: skip


def _show(label: str, point: Point) -> Row:
    cost = {name: of["average"] for name, of in point.costs.items()}
    known = _REFERENCE.get(point.ebn0) if label == ORBGRAND else None
    return Row(
        f"{label}, {point.ebn0} dB: FER (95 %); average queries; average cycles",
        f"{point.fer:.2e} ({point.low:.1e} to {point.high:.1e}); {show(cost['queries'])}; "
        f"{show(cost['cycles'])}",
        None,
        "; ".join(map(show, known)) + " unquantised" if known else "",
    )


def _throughput(points: list[Point]) -> Iterator[Row]:
    """The model's cycles; what load, sort and queue add is measured on the RTL."""
    for point in points:
        bound = {7.5: 1.24, 8.0: 1.11}.get(point.ebn0)
        if bound is not None:
            yield Row(
                f"{STEP}, {point.ebn0} dB: average cycles a word, of the model",
                point.costs["cycles"]["average"], Bar("<=", bound),
                f"1.00, from 47.7 Gb/s at 454 MHz ({PAPER})",
            )  # fmt: skip


def _losses(quick: bool, progress: Progress) -> Iterator[Row]:
    baseline, ours = Meter("orbgrand", quick), Meter("step-grand", quick)
    floats = Meter("orbgrand", quick, quantiser=None)
    progress("ORBGRAND, unquantised and at 5 bits")
    fer = {ebn0: baseline.best(ebn0, 300_000).fer for ebn0 in (5.0, 5.25, 5.5)}
    unquantised = {ebn0: floats.best(ebn0, 300_000).fer for ebn0 in fer}
    yield Row(
        "5 bits against unquantised values, ORBGRAND at 5.25 dB: loss, dB",
        5.25 - ebn0_at(unquantised, fer[5.25]), Bar("<=", 0.05), "0.03 (reference runs)",
    )  # fmt: skip
    progress("step-GRAND around an FER of 1e-3")
    step = {ebn0: ours.best(ebn0, 300_000).fer for ebn0 in (5.25, 5.375, 5.5)}
    yield Row(
        f"{STEP}, against {ORBGRAND}: loss at an FER of 1e-3, dB",
        ebn0_at(step, 1e-3) - ebn0_at(fer, 1e-3), Bar("<=", 0.15),
    )  # fmt: skip
    for ebn0 in (6.0, 6.5, 7.0):
        progress(f"both at {ebn0} dB")
        ratio = ours.best(ebn0, 1_000_000).fer / baseline.best(ebn0, 1_000_000).fer
        yield Row(f"{STEP}, over {ORBGRAND}: FER at {ebn0} dB", ratio, Bar("<=", 1))


def _rare(curves: dict[str, list[Point]], quick: bool, progress: Progress) -> Iterator[Row]:
    """Where nothing can be counted, and how far to trust that."""
    low = {
        label: ebn0_at({p.ebn0: p.fer for p in points if p.ebn0 >= 6.5}, 1e-7)
        for label, points in curves.items()
    }
    yield Row(f"{STEP}: Eb/N0 of an FER of 1e-7, dB (undetected errors as if H were random)",
              low[STEP], None, f"{low[ORBGRAND]:.2f}: {ORBGRAND}")  # fmt: skip
    for label, name in ((ORBGRAND, "orbgrand"), (STEP, "step-grand")):
        progress(f"{label}: estimates against decoding")
        meter = Meter(name, quick)
        counted = next(p for p in curves[label] if p.ebn0 == 5.0)
        yield Row(f"{label}, 5.0 dB: the estimate without decoding over what is counted",
                  meter.noise(5.0).fer / counted.fer, Bar(">=", 0.75),
                  f"{counted.errors} errors")  # fmt: skip
        if not quick:
            decoded = meter.decoded(6.0, 1_000_000)
            yield Row(f"{label}, 6.0 dB: the estimate without decoding over that by decoding",
                      meter.noise(6.0).fer / decoded.fer, Bar(">=", 0.75))  # fmt: skip


def _second_family(quick: bool, progress: Progress) -> Iterator[Row]:
    name, ebn0 = "bch-127-113", 5.0
    progress(name)
    meter = Meter("orbgrand", quick, code=name)
    point = meter.count(ebn0, 300, 100_000 if quick else 1_000_000)
    p = Awgn.at(ebn0, 113 / 127).error_probability
    mended = sum(comb(127, k) * p**k * (1 - p) ** (127 - k) for k in range(3))
    yield Row(
        f"BCH (127, 113), {ebn0} dB, ORBGRAND: FER over that of mending two wrong bits",
        point.fer / (1 - mended), Bar("<=", 0.1), f"{show(1 - mended)} by hard decisions",
    )  # fmt: skip
