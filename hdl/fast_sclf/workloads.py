"""What the engine is run on: 5G polar codes in noise, random frozen sets, corners."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...models.fast_sclf.config import FastSclfConfig
from ..engine import Beats, Workload, WorkloadSource
from .beats import llr_beats, messages_of, program_beats
from .compiler import compile_program
from .cycles import timing
from .outbox import message_beats
from .shape import Shape

if TYPE_CHECKING:  # golden models bring PyTorch: seconds that only a run is worth
    from ...models.codes.channel import Quantiser
    from ...models.codes.polar import PolarCode

    Drawn = tuple[np.ndarray, np.ndarray]
    Draw = Callable[[PolarCode, Quantiser, int, np.random.Generator], Drawn]

Source = WorkloadSource[FastSclfConfig]

FRAMES = 200
"""Frames where the caller does not say how many."""
STEP = 0.1
"""Quantisation step of 6-bit LLRs at signal amplitude 1; half of it for each bit more."""
ALPHA = 38
"""The error model's parameter in 1 / 32."""


def workload(
    name: str,
    config: FastSclfConfig,
    code: "PolarCode",
    received: np.ndarray,
    attempts: int = 50,
    sent: np.ndarray | None = None,
) -> Workload:
    """``received`` LLRs [frames, n] of ``code``: beats, golden messages and cycles.

    ``sent`` are the messages that were transmitted, if error rates are to be counted.
    """
    from ...models.codes.polar import transform
    from ...models.fast_sclf.decoder import Decoder, Options

    shape = Shape(config)
    program = compile_program(shape, code.frozen)
    decoded = Decoder(code, Options.of(config, attempts, ALPHA / 32))(received)
    messages = transform(decoded.words)[:, code.information][:, : code.k]
    predicted = timing(shape, program, code.n, code.k, decoded, attempts)
    tries = decoded.costs["attempts"]

    def evaluate(outputs: Mapping[str, Beats]) -> dict[str, Any]:
        given, found = messages_of(config, code.k, outputs["message"])
        figures = {
            "cycles_a_decoding": program.cycles,
            "steps_a_decoding": program.steps,
            "cycles_a_frame": predicted.cycles / len(given),
            "information_bits_a_cycle": code.k * len(given) / predicted.cycles,
            "attempts_average": float(tries.mean()),
            "given_up": int((~found).sum()),
        }
        if sent is not None:
            wrong = (given != sent).any(1)
            figures["frame_errors"] = int(wrong.sum())
            figures["undetected"] = int((wrong & found).sum())
        return figures

    return Workload(
        name=name,
        config=config,
        inputs={
            "program": program_beats(shape, program, code),
            "llr": llr_beats(config, received),
        },
        outputs={"message": message_beats(config, messages, decoded.found)},
        start="llr",
        stop="message",
        cycles=predicted.cycles,
        ideal_cycles=predicted.ideal,
        registers={"attempts": attempts, "alpha": ALPHA},
        counters={
            "frames": len(received),
            "attempts_made": int(tries.sum()),
            "given_up": int((~decoded.found).sum()),
        },
        evaluate=evaluate,
    )


def quantiser(config: FastSclfConfig) -> "Quantiser":
    """Steps that make use of all bits: 0.1 with six."""
    from ...models.codes.channel import Quantiser

    return Quantiser(config.llr_bits, STEP * 2.0 ** (6 - config.llr_bits))


def _polar(config: FastSclfConfig, n: int | None = None) -> "PolarCode":
    """The 5G code of half rate, a CRC not counted, that the engine holds."""
    from ...models.codes.polar import polar_5g

    n = n or config.length
    return polar_5g(n, min(n // 2, n - config.check.length - 1), config.check)


def _noise(ebn0: float) -> "Draw":
    """Draws LLRs of frames and their messages."""

    def draw(
        code: "PolarCode", quantise: "Quantiser", count: int, rng: np.random.Generator
    ) -> "Drawn":
        from ...models.codes.channel import Awgn
        from ...models.codes.montecarlo import random_bits

        sent = random_bits(rng, count, code.k)
        return quantise(Awgn.at(ebn0, code.rate).send(code.encode(sent), rng)), sent

    return draw


def _noisy(name: str, ebn0: float, summary: str, count: int = FRAMES) -> Source:
    def build(config: FastSclfConfig, samples: int | None, seed: int) -> Workload:
        code, rng = _polar(config), np.random.default_rng([seed, 3])
        received, sent = _noise(ebn0)(code, quantiser(config), samples or count, rng)
        return workload(name, config, code, received, sent=sent)

    return WorkloadSource(summary, build)


def _corners(config: FastSclfConfig, samples: int | None, seed: int) -> Workload:
    """Few attempts, so that frames that are no word do not take all of the time."""
    code, rng = _polar(config), np.random.default_rng([seed, 4])
    received = corners(code, quantiser(config), rng)
    received = received[rng.permutation(len(received))[:samples]]
    return workload("corners", config, code, received, attempts=3)


def corners(code: "PolarCode", quantise: "Quantiser", rng: np.random.Generator) -> np.ndarray:
    """int64 [frames, n]: ties, zeros, saturation, and frames that are no word of the code."""
    from ...models.codes.montecarlo import random_bits

    low, high = quantise.limits
    sent = code.encode(random_bits(rng, 8, code.k))
    wrong = sent ^ (rng.random(sent.shape) < 0.08)
    return np.concatenate(
        [
            np.array([[0], [-1], [low], [high]]) + np.zeros(code.n, np.int64),
            np.where(sent == 1, low, high),  # saturated and right
            np.where(wrong == 1, low, high),  # saturated: metrics overflow, and nothing but ties
            np.where(wrong == 1, -1, 0),  # no reliability at all
            np.where(wrong == 1, -2, 1),  # the least one: ties throughout
            rng.integers(low, high + 1, (8, code.n)),  # no word: all flips fail
        ]
    )


def _shuffled(config: FastSclfConfig, code: "PolarCode", rng: np.random.Generator) -> "PolarCode":
    """Between ``code`` and one with nothing in common with it, as far as its program fits."""
    from ...models.codes.polar import PolarCode

    swaps = rng.integers(0, code.n, (int(rng.integers(0, code.n // 2)), 2))
    while True:
        frozen = code.frozen.copy()
        for i, j in swaps:
            frozen[[i, j]] = frozen[[j, i]]
        try:
            compile_program(Shape(config), frozen)
        except ValueError:
            if not len(swaps):
                raise
            swaps = swaps[: len(swaps) // 2]
        else:
            return PolarCode(frozen, config.check, f"random-{code.n}-{code.k}")


def _random(config: FastSclfConfig, samples: int | None, seed: int) -> Workload:
    """A random frozen set, of any length that fits, and frames of all kinds."""
    rng = np.random.default_rng([seed, 5])
    n = int(2 ** rng.integers((2 * config.pes).bit_length() - 1, config.length.bit_length()))
    code = _polar(config, n) if n > config.check.length + 1 else _polar(config)
    n = code.n
    if seed % 2:
        code = _shuffled(config, code, rng)
    count, quantise = samples or 30, quantiser(config)
    noisy = _noise(float(rng.uniform(1, 4)))(code, quantise, count, rng)[0]
    received = np.concatenate([noisy, corners(code, quantise, rng)])
    received = received[rng.permutation(len(received))[:count]]
    return workload("random", config, code, received, attempts=int(rng.integers(0, 6)))


WORKLOADS: dict[str, Source] = {
    "polar_2db5": _noisy("polar_2db5", 2.5, "5G polar of half rate at 2.5 dB"),
    "polar_2db": _noisy("polar_2db", 2.0, "the same at 2 dB"),
    "polar_3db5": _noisy("polar_3db5", 3.5, "the same at 3.5 dB"),
    "corners": WorkloadSource("ties, zeros, saturation, frames that are no word", _corners),
    "random": WorkloadSource("random frozen sets and frames of all kinds", _random),
}
