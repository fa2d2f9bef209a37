"""Error rates by counting: random words, random noise, and a decoder's own judgement.

Frames come in blocks; block b of seed s draws from its own stream, ``default_rng([s, b])``, so
that a run can stop and be resumed, and gives the same counts wherever its decoder runs.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log, sqrt
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .channel import Channel, Quantiser
from .linear import LinearCode


class Decoder(Protocol):
    """Decodes received values, or quantised ones, [frames, n].

    ``str`` of it tells it from other decoders.
    """

    def __call__(self, received: np.ndarray, /) -> Any:
        """An object with ``words`` [frames, n], ``found`` [frames] (the decoder takes its word
        for a word of the code) and ``costs``, integers [frames] by name."""
        ...


@dataclass
class Tally:
    """Counts of a simulation; quotients of them."""

    frames: int = 0
    errors: int = 0
    """Frames whose decoded word is not the one sent."""
    undetected: int = 0
    """Of these, frames for which the decoder found another word of the code."""
    abandoned: int = 0
    """Frames for which the decoder found none."""
    blocks: int = 0
    costs: dict[str, dict[int, int]] = field(default_factory=dict)
    """Frames by cost, by the cost's name; abandoned ones included."""

    def add(self, sent: np.ndarray, decoded: Any) -> None:
        """Counts one block."""
        wrong = (decoded.words != sent).any(1)
        self.blocks += 1
        self.frames += len(sent)
        self.errors += int(wrong.sum())
        self.undetected += int((wrong & decoded.found).sum())
        self.abandoned += int((~decoded.found).sum())
        for name, values in decoded.costs.items():
            counts = self.costs.setdefault(name, {})
            for value, count in zip(*np.unique(values, return_counts=True), strict=True):
                counts[int(value)] = counts.get(int(value), 0) + int(count)

    @property
    def fer(self) -> float:
        """Frame error rate: undetected and abandoned together."""
        return self.errors / self.frames if self.frames else float("nan")

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        """Wilson's confidence interval of :attr:`fer`, 95 % by default."""
        return wilson(self.errors, self.frames, z)

    def mean(self, cost: str) -> float:
        """The average of a cost."""
        return sum(value * count for value, count in self.costs[cost].items()) / self.frames

    def quantile(self, cost: str, share: float = 0.999) -> int:
        """The least value that at least ``share`` of the frames do not exceed."""
        total = 0
        for value in sorted(self.costs[cost]):
            total += self.costs[cost][value]
            if total >= share * self.frames:
                break
        return value  # pyright: ignore[reportPossiblyUnboundVariable]

    def worst(self, cost: str) -> int:
        """The largest value that occurred."""
        return max(self.costs[cost])


def wilson(events: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a probability; sensible for no events, too."""
    if not trials:
        return 0.0, 1.0
    share, square = events / trials, z * z / trials
    middle = share + square / 2
    half = z * sqrt(share * (1 - share) / trials + square / trials / 4)
    return max((middle - half) / (1 + square), 0.0), (middle + half) / (1 + square)


def ebn0_at(curve: Mapping[float, float], fer: float) -> float:
    """The Eb/N0, in dB, at which a ``curve`` of error rates by Eb/N0 has the rate ``fer``.

    Between two points, and beyond the outer two, the rate's logarithm is taken as linear.  The
    loss in dB of a decoder with rate ``fer`` at ``ebn0`` is thus ``ebn0 - ebn0_at(curve, fer)``.
    """
    points = sorted(curve.items())
    if len(points) < 2 or not all(rate > 0 for _, rate in points) or not fer > 0:
        raise ValueError("a curve needs two points, and rates above 0; count more frames")
    high = next((i for i, (_, rate) in enumerate(points[1:-1], 1) if rate <= fer), len(points) - 1)
    (x0, y0), (x1, y1) = points[high - 1], points[high]
    return x0 + (x1 - x0) * log(fer / y0) / log(y1 / y0)


def simulate(
    code: LinearCode,
    channel: Channel,
    decoder: Decoder,
    *,
    quantiser: Quantiser | None = None,
    errors: int = 300,
    frames: int = 10_000_000,
    block: int = 8192,
    seed: int = 0,
    state: Path | None = None,
    report: Callable[[Tally], None] | None = None,
) -> Tally:
    """Counts whole blocks until at least ``errors`` frame errors or ``frames`` frames.

    The decoder gets received values, through ``quantiser`` if there is one.  ``state`` is a
    file that is brought up to date after every block, and that a later call with the same
    code, channel, decoder, quantiser, block and seed goes on from; any other raises
    :class:`ValueError`.  ``report`` is called after every block.
    """
    about = {
        "code": f"{code.name} {code.digest}", "channel": str(channel), "decoder": str(decoder),
        "quantiser": str(quantiser), "block": block, "seed": seed,
    }  # fmt: skip
    tally = _restore(state, about)
    while tally.errors < errors and tally.frames < frames:
        rng = np.random.default_rng([seed, tally.blocks])
        sent = code.encode(random_bits(rng, block, code.k))
        received = channel.send(sent, rng)
        tally.add(sent, decoder(quantiser(received) if quantiser else received))
        if state is not None:
            _save(state, about, tally)
        if report:
            report(tally)
    return tally


def random_bits(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """uint8 of ``shape``: independent fair bits."""
    packed = np.frombuffer(rng.bytes((np.prod(shape, dtype=int) + 7) // 8), np.uint8)
    return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape)


def _restore(state: Path | None, about: dict[str, Any]) -> Tally:
    if state is None or not state.exists():
        return Tally()
    try:
        stored = json.loads(state.read_text(encoding="utf-8"))
        found, counts = stored["about"], stored["counts"]
        costs = {n: {int(v): c for v, c in t.items()} for n, t in counts.pop("costs").items()}
        tally = Tally(**counts, costs=costs)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{state} is not the state of a simulation; remove it") from error
    if found != about:
        different = [
            f"{k} {found.get(k)!r}, not {v!r}" for k, v in about.items() if found.get(k) != v
        ]
        raise ValueError(
            f"{state} holds another simulation: {'; '.join(different)}; name another file"
        )
    return tally


def _save(state: Path, about: dict[str, Any], tally: Tally) -> None:
    """In one piece: an interrupted run leaves the block before."""
    new = state.with_name(state.name + ".new")
    new.write_text(json.dumps({"about": about, "counts": vars(tally)}), encoding="utf-8")
    new.replace(state)
