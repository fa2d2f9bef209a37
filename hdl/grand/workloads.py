"""What the engines are run on: 5G polar and BCH codes, random codes, corners, longest searches."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...models.grand.config import GrandConfig
from ..engine import Beats, Workload, WorkloadSource
from . import layout
from .cycles import timing

if TYPE_CHECKING:  # golden models bring PyTorch: seconds that only a run is worth
    from ...models.codes.channel import Quantiser
    from ...models.codes.linear import LinearCode
    from ...models.grand.decoder import Grand

    Drawn = tuple[np.ndarray, np.ndarray | None]
    Draw = Callable[[Grand, GrandConfig, int, int], Drawn]

Source = WorkloadSource[Any]

POLAR = "polar-128-105-crc11"
BCH = "bch-127-113"
WORDS = 1000
"""Words where the caller does not say how many."""
STEP = 0.1
"""Quantisation step of 5-bit LLRs at signal amplitude 1; half of it for each bit more."""


def workload(
    name: str,
    config: GrandConfig,
    code: "LinearCode",
    received: np.ndarray,
    skip_parity: bool,
    sent: np.ndarray | None = None,
) -> Workload:
    """``received`` LLRs [words, n] of ``code``: beats, golden words and cycles.

    ``sent`` are the words that were transmitted, if error rates are to be counted.
    """
    from ...models.grand.decoder import Grand

    columns = config.takes(code, skip_parity)
    decoder = Grand(code, config.staircase.shortened(code.n), skip_parity)
    decoded = decoder(received)
    predicted = timing(config, received, decoded, skip_parity)

    def evaluate(outputs: Mapping[str, Beats]) -> dict[str, Any]:
        words = layout.words_of(config, code.n, outputs["word"])
        found = np.asarray(outputs["word"]["found"])[:: config.beats_of(code.n)].astype(bool)
        figures = {
            "abandoned": int((~found).sum()),
            "queries_average": float(decoded.costs["queries"].mean()),
            "cycles_a_word": predicted.cycles / len(words),
            "information_bits_a_cycle": code.k * len(words) / predicted.cycles,
        }
        if sent is not None:
            wrong = (words != sent).any(1)
            figures["frame_errors"] = int(wrong.sum())
            figures["undetected"] = int((wrong & found).sum())
        return figures

    return Workload(
        name=name,
        config=config,
        inputs={
            "columns": layout.column_beats(columns),
            "llr": layout.llr_beats(config, received),
        },
        outputs={"word": layout.word_beats(config, decoded.words, decoded.found)},
        start="llr",
        stop="word",
        cycles=predicted.cycles,
        ideal_cycles=predicted.ideal,
        registers={"skip_parity": skip_parity} if config.skip_parity else {},
        counters={
            "words": len(received),
            "suspects": predicted.suspects,
            "abandoned": int((~decoded.found).sum()),
            "tests": predicted.tests,
        },
        evaluate=evaluate,
    )


def _code(name: str) -> "LinearCode":
    from ...models.codes.named import code

    return code(name)


def _named(name: str, code: str, summary: str, draw: "Draw", count: int = WORDS) -> Source:
    """Words of the code called ``code``; the configuration is made to hold all such codes."""

    def configure(config: GrandConfig) -> GrandConfig:
        codes = [_code(POLAR), _code(BCH)]
        length = max(c.n for c in codes)
        checks = max(c.checks - (config.skip_parity and c.even_weight) for c in codes)
        if config.length >= length and config.checks >= checks:
            return config
        lanes = config.lanes if config.length >= length else 1 << (length - 1).bit_length()
        length, checks = max(config.length, length), max(config.checks, checks)
        return config.replace(length=length, lanes=lanes, checks=checks)

    def build(config: GrandConfig, samples: int | None, seed: int) -> Workload:
        chosen = _code(code)
        skip = config.skip_parity and chosen.even_weight
        return _drawn(name, config, chosen, skip, draw, samples or count, seed)

    return WorkloadSource(summary, build, configure)


def _drawn(
    name: str,
    config: GrandConfig,
    code: "LinearCode",
    skip_parity: bool,
    draw: "Draw",
    count: int,
    seed: int,
) -> Workload:
    from ...models.grand.decoder import Grand

    decoder = Grand(code, config.staircase.shortened(code.n), skip_parity)
    received, sent = draw(decoder, config, count, seed)
    return workload(name, config, code, received, skip_parity, sent)


def _quantiser(config: GrandConfig) -> "Quantiser":
    """Steps that make use of all bits: 0.1 with five."""
    from ...models.codes.channel import Quantiser

    return Quantiser(config.llr_bits, STEP * 2.0 ** (5 - config.llr_bits))


def _noisy(ebn0: float) -> "Draw":
    def draw(decoder: "Grand", config: GrandConfig, count: int, seed: int) -> "Drawn":
        from ...models.codes.channel import Awgn
        from ...models.codes.montecarlo import random_bits

        code, rng = decoder.code, np.random.default_rng([seed, 3])
        sent = code.encode(random_bits(rng, count, code.k))
        return _quantiser(config)(Awgn.at(ebn0, code.rate).send(sent, rng)), sent

    return draw


def _corners(decoder: "Grand", config: GrandConfig, count: int, seed: int) -> "Drawn":
    from ...models.grand.workloads import corners

    received = corners(decoder, _quantiser(config), seed)
    order = np.random.default_rng([seed, 4]).permutation(len(received))
    return received[order[:count]], None


def _longest(decoder: "Grand", config: GrandConfig, count: int, seed: int) -> "Drawn":
    from ...models.grand.workloads import forced

    patterns = decoder.patterns
    odd = patterns.hw % 2 == 1
    cycles = np.where(odd, patterns.cycles(1), patterns.cycles(0))
    last = len(patterns) - 1 - int(np.argmax(cycles[::-1])) if decoder.skip_parity else -1
    words = [forced(decoder, last, _quantiser(config), seed + n) for n in range(count)]
    return np.concatenate(words), None


def _random(config: GrandConfig, samples: int | None, seed: int) -> Workload:
    """A random code that fits, of even weight and searched by parity in every other case."""
    from ...models.codes.linear import random_code

    rng = np.random.default_rng([seed, 5])
    skip = bool(config.skip_parity and seed % 2 == 0)
    n = int(rng.integers(max(8, config.length // 2), config.length + 1))
    checks = int(rng.integers(1 + config.checks // 2, config.checks + 1))
    checks = min(checks, n - 3)
    code = random_code(n, n - checks, seed)
    if skip:
        code = random_code(n - 1, n - 1 - checks, seed).extended
    count = samples or 40
    noise, corner = _noisy(float(rng.uniform(2, 6))), _corners

    def draw(decoder: "Grand", config: GrandConfig, count: int, seed: int) -> "Drawn":
        received = [f(decoder, config, count, seed)[0] for f in (noise, corner)]
        words = np.concatenate(received)
        return words[rng.permutation(len(words))[:count]], None

    return _drawn("random", config, code, skip, draw, count, seed)


WORKLOADS: dict[str, Source] = {
    "polar_5db": _named("polar_5db", POLAR, "5G polar (128,105), CRC11, 5 dB", _noisy(5.0)),
    "polar_6db": _named("polar_6db", POLAR, "the same at 6 dB", _noisy(6.0)),
    "polar_7db5": _named("polar_7db5", POLAR, "the same at 7.5 dB", _noisy(7.5), 10 * WORDS),
    "polar_8db": _named("polar_8db", POLAR, "the same at 8 dB", _noisy(8.0), 10 * WORDS),
    "bch": _named("bch", BCH, "BCH (127,113), of odd weight, at 6 dB", _noisy(6.0)),
    "corners": _named("corners", POLAR, "ties, zeros, saturation, abandoned words", _corners),
    "longest": _named("longest", POLAR, "words that the last pattern mends", _longest, 2),
    "random": WorkloadSource("random code and words of its own, corners among them", _random),
}
