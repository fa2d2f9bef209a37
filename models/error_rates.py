"""Error rates and costs of a decoder over a range of Eb/N0, counted or estimated."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from .codes.channel import Awgn, Quantiser
from .codes.montecarlo import Tally, simulate
from .decoders import CodeDecoder, Estimate, Estimator

_PARTS = ("miss", "union")

Progress = Callable[[str, float], None]
"""Told what is under way and which share of all is done."""


@dataclass(frozen=True)
class Point:
    """What was found at one Eb/N0; rates are shares of all frames."""

    ebn0: float
    """In dB, of information bits alone."""
    frames: int
    """Frames that were drawn, and count."""
    errors: int | None
    """Frames decoded wrongly; None where the rate is an estimate."""
    fer: float
    low: float
    """The 95 % confidence interval of :attr:`fer`, from here ..."""
    high: float
    """... to here."""
    undetected: float | None
    """Rate of wrong words of the code; None where it was not looked at."""
    abandoned: float | None
    """Rate of frames for which no word of the code was found; None likewise."""
    costs: dict[str, dict[str, float]]
    """By name, such as ``queries``: ``average`` and, where frames were counted, the ``quantile``
    that 99.9 % do not exceed and the ``worst`` that occurred."""
    parts: dict[str, float] = field(default_factory=dict)
    """Of an estimate without decoding: what makes up :attr:`fer`, such as ``miss``."""

    @classmethod
    def counted(cls, ebn0: float, tally: Tally) -> "Point":
        """The point of a simulation."""
        costs = {
            name: {
                "average": tally.mean(name),
                "quantile": tally.quantile(name),
                "worst": tally.worst(name),
            }
            for name in tally.costs
        }
        return cls(
            ebn0,
            tally.frames,
            tally.errors,
            tally.fer,
            *tally.interval(),
            tally.undetected / tally.frames,
            tally.abandoned / tally.frames,
            costs,
        )

    @classmethod
    def estimated(cls, ebn0: float, estimate: Estimate) -> "Point":
        """The point of an estimate."""
        means = dict(estimate.means)
        undetected = means.pop("undetected", None)
        parts = {name: means.pop(name) for name in _PARTS if name in means}
        costs = {name: {"average": mean} for name, mean in means.items()}
        fer, (low, high) = estimate.fer, estimate.interval()
        return cls(ebn0, estimate.frames, None, fer, low, high, undetected, None, costs, parts)


def error_rates(
    decoder: CodeDecoder,
    ebn0s: Iterable[float],
    *,
    estimator: Estimator | None = None,
    quantiser: Quantiser | None = None,
    errors: int = 300,
    frames: int | None = None,
    block: int = 8192,
    seed: int = 0,
    state: Path | None = None,
    progress: Progress = lambda what, done: None,
) -> Iterator[Point]:
    """The point of each of ``ebn0s``, in dB, as it is found.

    Each is counted by :func:`.codes.montecarlo.simulate` or, with one of the decoder's
    :attr:`.decoders.Kind.estimators`, estimated.  ``frames`` are 10 million at most, or the
    million that an estimate draws, unless given.  ``state`` is a folder of counts, kept for
    each decoder, quantiser, block, seed and Eb/N0, that a later call goes on from.
    Raises :class:`ValueError` on numbers below 1, and on a ``state`` for an estimate.
    """
    most = frames or (10_000_000 if estimator is None else 1_000_000)
    for name, value in (("errors", errors), ("frames", most), ("block", block)):
        if value < 1:
            raise ValueError(f"{name} = {value} is not at least 1")
    if estimator is not None and state is not None:
        raise ValueError("an estimate is made in one go and keeps no state; leave one of them out")
    points = list(ebn0s)
    code, more = decoder.code, {"quantiser": quantiser, "block": block, "seed": seed}
    for number, ebn0 in enumerate(points):
        channel = Awgn.at(ebn0, code.rate)
        if estimator is not None:
            progress(f"{ebn0:g} dB", number / len(points))
            estimate = estimator(decoder, channel, frames=most, **more)
            yield Point.estimated(ebn0, estimate)
            continue

        def report(tally: Tally, number: int = number, ebn0: float = ebn0) -> None:
            done = max(tally.errors / errors, tally.frames / most)
            progress(
                f"{ebn0:g} dB, {tally.errors} of {errors} errors in {tally.frames:,} frames",
                (number + min(done, 1)) / len(points),
            )

        file = None if state is None else _file(state, decoder, ebn0, more)
        counted = simulate(
            code, channel, decoder, errors=errors, frames=most, state=file, report=report, **more
        )
        yield Point.counted(ebn0, counted)


def _file(folder: Path, decoder: CodeDecoder, ebn0: float, more: dict[str, Any]) -> Path:
    """Where the counts of one Eb/N0 are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = crc32(f"{decoder} {decoder.code.digest} {more}".encode())
    return folder / f"{decoder.code.name}_{ebn0:g}dB_{digest:08x}.json"
