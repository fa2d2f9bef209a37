"""Tasks for the sparse-state LSTM engine: trained networks on real data, random data, corners."""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np

from .. import data
from ..fixed import dequantise, limits, quantise, round_shift
from .config import SparseLstmConfig
from .convert import Conversion, convert, safe_accumulator_bits, with_batch
from .golden import Parameters, Steps, run
from .task import Task

SILERO_WIDTHS = SparseLstmConfig(gate_bits=12, sigmoid_entries=1024, tanh_entries=1024)
"""Weights, inputs and states of 8 bits.  Cells reach 29, held by forget gates near 1: with
8 fractional bits a gate is at most 255/256 and 9 of the 1,875 decisions flip, with 12 two do."""


def ocr(
    network: Literal["W8A8", "W4A4"] = "W8A8",
    samples: int | None = None,
    interleaved: bool = False,
) -> Task:
    """A BiLSTM that reads a line of print, 520 columns of 32 pixels, 128 units a direction.

    Context 1 runs over the columns backwards: after context 0, or step by step with it.
    ``samples`` cuts the line to its first columns.  Weights, pixels and states are the
    authors' integers as they are.  Cells are their 16 bits with 8 fractional ones (they
    add up to 109 over the line: with 11 fractional bits 2,802 would saturate).  Biases
    have 7 fractional bits, W4A4's are rounded to the 6 of its products.  The authors
    round every product to 8 fractional bits and have coarser tables (6 fractional bits,
    from -5 to 5 and -3 to 3, the index cut off), so hidden values differ; the text was the
    same with gates of 6 to 12 bits, tables of 64 to 1,024 entries, cells of 8 to 11
    fractional bits and products rounded or not.

    The judge reads the text like the authors' hardware does, one character from each run
    of non-blank columns, the one with the highest score (``text``; of two characters
    without a blank in between the weaker is lost: W8A8's first space), and by the usual
    collapsing of equal neighbours (``text_collapsed``).
    """
    arrays = data.load(f"ocr_bilstm_{network}.npz")
    weight_bits, state_bits, pixel_bits = (
        int(arrays[f"{name}_bits"]) for name in ("weight", "activation", "pixel")
    )
    config = SparseLstmConfig(
        input_size=32, hidden_size=128, bidirectional=True, lanes=4,
        weight_bits=weight_bits, weight_frac=weight_bits - 1, input_weight_frac=weight_bits - 1,
        input_bits=pixel_bits, input_frac=pixel_bits - 1, state_bits=state_bits,
        bias_frac=min(7, weight_bits + state_bits - 2), cell_frac=8,
    )  # fmt: skip

    def gates(name: str) -> list[np.ndarray]:
        by_gate = [arrays[f"{name}_{gate}"].astype(np.int64) for gate in "ifgo"]
        return list(np.concatenate(by_gate, axis=1))

    biases = (
        round_shift(b + r, 7 - config.bias_frac)
        for b, r in zip(gates("b_ih"), gates("b_hh"), strict=True)
    )
    parameters = Parameters(tuple(gates("w_ih")), tuple(gates("w_hh")), tuple(biases))
    config = config.replace(accumulator_bits=safe_accumulator_bits(config, parameters))
    pixels = quantise(arrays["pixels"], config.input_frac, pixel_bits)[:samples, None]
    parts = [Steps.sequence(config, x, k) for k, x in enumerate((pixels, pixels[::-1]))]
    steps = Steps.interleave(*parts) if interleaved else Steps.concatenate(*parts)

    def judge(h: np.ndarray) -> dict[str, Any]:
        h = np.stack([h[steps.context == k, 0] for k in (0, 1)])  # in the order of processing
        scores = _ocr_scores(arrays, h[0], h[1][::-1], config.state_frac)
        figures: dict[str, Any] = {
            "text": _strongest_of_runs(scores, arrays["alphabet"]),
            "text_collapsed": _collapsed(scores, arrays["alphabet"]),
        }
        if len(pixels) == len(arrays["pixels"]):
            distance = np.abs(h - arrays["hidden_upstream"])
            figures |= {
                "text_equal": figures["text"] == str(arrays["text"]),
                "collapsed_is_ground_truth": figures["text_collapsed"]
                == str(arrays["ground_truth"]),
                "hidden_values": distance.size,
                "hidden_different": int((distance > 0).sum()),
                "hidden_mean_distance": float(distance.mean()),
                "hidden_max_distance": int(distance.max()),
            }
        return figures

    return Task(config, parameters, steps, judge)


def silero(samples: int | None = None, threshold: float = 0.0) -> Task:
    """A voice detector's LSTM, 128 to 128, on a minute of speech (1,875 frames).

    Its inputs come out of a ReLU: three quarters of them are exactly 0.  ``threshold``
    prunes recurrent states of smaller magnitude.  The judge counts the frames whose
    decision (speech probability above 0.5) differs from the float network's.
    """
    arrays, converted = _silero()
    overrides = {
        **converted.overrides,
        "threshold": round(threshold * 2**SILERO_WIDTHS.state_frac),
    }
    config = with_batch(SILERO_WIDTHS, 1, **overrides)
    x = quantise(arrays["x"], config.input_frac, config.input_bits)[:samples, None]
    want = arrays["speech_probability"][:samples]

    def judge(h: np.ndarray) -> dict[str, Any]:
        relu = np.maximum(dequantise(h[:, 0], config.state_frac), 0)
        probability = 1 / (1 + np.exp(-(relu @ arrays["w_out"][0, :, 0] + arrays["b_out"][0])))
        error = np.abs(probability - want)
        return {
            "frames": len(want),
            "speech_frames": int((probability > 0.5).sum()),
            "decisions_flipped": int(((probability > 0.5) != (want > 0.5)).sum()),
            "probability_mean_error": float(error.mean()),
            "probability_max_error": float(error.max()),
        }

    return Task(config, converted.parameters, Steps.sequence(config, x), judge)


def random(config: SparseLstmConfig, samples: int | None = None, seed: int = 0) -> Task:
    """Random weights and inputs, contexts in random order, elements that start anew."""
    rng = np.random.default_rng(seed)
    steps = _random_steps(config, samples or 32, rng, density=0.5)
    return Task(config, Parameters.random(config, rng), steps)


def adversarial(
    config: SparseLstmConfig, corner: str, samples: int | None = None, seed: int = 0
) -> Task:
    """Weights and inputs made to reach one of :data:`CORNERS`, in shape and formats given.

    The threshold may differ from the configuration's.  Raises :class:`ValueError` for a
    corner that is not known.
    """
    if corner not in CORNERS:
        raise ValueError(f"corner {corner!r} is not one of {', '.join(CORNERS)}")
    return CORNERS[corner](config, samples or 64, np.random.default_rng(seed))


def _zero_state(config: SparseLstmConfig, samples: int, rng: np.random.Generator) -> Task:
    """No state is ever nonzero: g is 0 throughout."""
    parameters = _with_units(config, np.zeros(config.hidden_size, bool), rng)
    return Task(config, parameters, _random_steps(config, samples, rng, density=0.5))


def _full_state(config: SparseLstmConfig, samples: int, rng: np.random.Generator) -> Task:
    """No state and no input is ever zero, except before a first step."""
    config = config.replace(threshold=0)
    steps = _random_steps(config, samples, rng, density=1.0, restarts=0.0)
    return Task(config, _with_units(config, np.ones(config.hidden_size, bool), rng), steps)


def _zero_runs(config: SparseLstmConfig, samples: int, rng: np.random.Generator) -> Task:
    """Zeros from end to end but for the first unit, the last and one in between, and few inputs."""
    config = config.replace(threshold=0)
    alive = np.zeros(config.hidden_size, bool)
    alive[[0, -1, int(rng.integers(config.hidden_size))]] = True
    steps = _random_steps(config, samples, rng, density=1 / 64, restarts=0.0)
    return Task(config, _with_units(config, alive, rng), steps)


def _saturation(config: SparseLstmConfig, samples: int, rng: np.random.Generator) -> Task:
    """Extreme weights and inputs; i and f open, so that cells run to their ends."""
    parameters = _with_units(config, np.ones(config.hidden_size, bool), rng)
    low, high = limits(config.weight_bits)
    gates = np.repeat(np.arange(4), config.hidden_size)[:, None]
    sums = [(np.where((gates == 2) & (rng.random(w.shape) < 0.5), low, w * 0 + high)) for w in
            parameters.input_weights]  # fmt: skip
    low, high = limits(config.input_bits)
    steps = _random_steps(config, samples, rng, density=1.0, restarts=0.0)
    if config.input_kind == "vector":
        extreme = rng.choice([low, high], steps.inputs.shape, p=[0.2, 0.8])
        steps = Steps(steps.context, steps.start, np.where(steps.inputs != 0, extreme, 0))
    return Task(config, Parameters(tuple(sums), parameters.recurrent_weights, parameters.biases),
                steps)  # fmt: skip


def _ties(config: SparseLstmConfig, samples: int, rng: np.random.Generator) -> Task:
    """Products and table arguments half way between two integers, wherever formats allow it."""

    def half_units(shift: int, bits: int, shape: tuple[int, ...]) -> np.ndarray:
        unit = 1 << min(max(shift - 1, 0), bits - 2)
        return unit * rng.choice([-1, 0, 1], shape)

    gates = 4 * config.hidden_size
    grid = config.accumulator_frac - (config.sigmoid_entries.bit_length() - 1) + 4
    grid -= config.accumulator_frac - config.bias_frac  # a bias's lowest bit that is a table step
    shape = (config.input_size, gates) if config.input_kind == "index" else (gates,)
    half = 1 << min(max(grid - 1, 0), config.bias_bits - 2)
    low, high = limits(config.bias_bits)
    odd = 2 * rng.integers(-16, 16, (config.contexts, *shape)) + 1
    parameters = Parameters(
        tuple(
            half_units(config.product_shift - config.input_shift, config.weight_bits,
                       (gates, config.context_inputs(k)))
            for k in range(config.contexts)
        ),
        tuple(
            half_units(config.product_shift, config.weight_bits, (gates, config.hidden_size))
            for _ in range(config.contexts)
        ),
        tuple(np.clip(odd * half, low, high)),
    )  # fmt: skip
    return Task(config, parameters, _random_steps(config, samples, rng, density=0.3))


def _at_threshold(config: SparseLstmConfig, samples: int, rng: np.random.Generator) -> Task:
    """The threshold is the magnitude that most states have."""
    parameters = Parameters.random(config, rng)
    steps = _random_steps(config, samples, rng, density=0.5)
    magnitudes = np.abs(run(config, parameters, steps).h)
    common = np.bincount(magnitudes[magnitudes > 0], minlength=2).argmax()
    return Task(config.replace(threshold=int(common)), parameters, steps)


def _restarts(config: SparseLstmConfig, samples: int, rng: np.random.Generator) -> Task:
    """Single elements of the batch start anew every other step or so."""
    steps = _random_steps(config, samples, rng, density=0.5, restarts=0.4)
    return Task(config, Parameters.random(config, rng), steps)


CORNERS: dict[str, Callable[[SparseLstmConfig, int, np.random.Generator], Task]] = {
    "zero_state": _zero_state,
    "full_state": _full_state,
    "zero_runs": _zero_runs,
    "saturation": _saturation,
    "ties": _ties,
    "at_threshold": _at_threshold,
    "restarts": _restarts,
}
"""By name; each one's text says what it reaches."""


def _random_steps(
    config: SparseLstmConfig,
    samples: int,
    rng: np.random.Generator,
    density: float,
    restarts: float = 0.05,
) -> Steps:
    """Contexts in random order; ``density`` of the inputs nonzero, ``restarts`` of the starts."""
    context = rng.integers(config.contexts, size=samples)
    start = rng.random((samples, config.batch)) < restarts
    start[np.unique(context, return_index=True)[1]] = True
    parts = []
    for t, k in enumerate(context.tolist()):
        columns = config.context_inputs(k)
        if config.input_kind == "index":
            x = rng.integers(config.input_size, size=(1, config.batch))
        else:
            low, high = limits(config.input_bits)
            x = rng.integers(low, high + 1, (1, config.batch, columns))
            x = np.where(x == 0, 1, x) * (rng.random(x.shape) < density)
        parts.append(Steps.sequence(config, x, k, start[t : t + 1]))
    return Steps.concatenate(*parts)


def _with_units(
    config: SparseLstmConfig, alive: np.ndarray, rng: np.random.Generator
) -> Parameters:
    """Units that are ``alive`` never have a state of 0, all others have nothing else.

    i and o are held open and g is constant, so a cell never changes its sign; only the
    f gate listens to inputs and states.
    """
    parameters = Parameters.random(config, rng)
    units = config.hidden_size
    low, high = limits(config.bias_bits)
    listens = np.repeat([0, 1, 0, 0], units)[:, None]
    held = np.repeat([high, 0, 0, high], units)
    held[2 * units : 3 * units] = np.where(rng.random(units) < 0.5, low, high) * alive
    biases = (np.where(listens[:, 0], b, held) for b in parameters.biases)
    return Parameters(
        tuple(w * listens for w in parameters.input_weights),
        tuple(w * listens for w in parameters.recurrent_weights),
        tuple(biases),
    )


@cache
def _silero() -> tuple[dict[str, np.ndarray], Conversion]:
    arrays = data.load("silero_vad_lstm.npz")
    state = {f"{kind}_{part}_l0": arrays[f"{kind[0]}_{part}"] for kind in ("weight", "bias")
             for part in ("ih", "hh")}  # fmt: skip
    return arrays, convert(state, arrays["x"][:, None], SILERO_WIDTHS)


def _ocr_scores(
    arrays: dict[str, np.ndarray], forward: np.ndarray, backward: np.ndarray, state_frac: int
) -> np.ndarray:
    """[columns, classes]: both directions' scores, added; weights and biases have 7 bits."""
    weights = np.split(arrays["w_out"].astype(np.int64), 2, axis=1)
    bias = arrays["b_out"].astype(np.int64).reshape(2, -1).sum(axis=0) << state_frac
    return forward @ weights[0] + backward @ weights[1] + bias


def _strongest_of_runs(scores: np.ndarray, alphabet: np.ndarray) -> str:
    """Of each run of columns that are not blank (class 0), the class with the highest score."""
    text, strongest, best = [], 0, 0
    for label, score in zip(scores.argmax(axis=1), scores.max(axis=1), strict=True):
        if label and (not strongest or score > best):
            strongest, best = label, score
        elif not label and strongest:
            text.append(alphabet[strongest])
            strongest = 0
    return "".join(text)


def _collapsed(scores: np.ndarray, alphabet: np.ndarray) -> str:
    """Every column's best class, equal neighbours counted once, blanks (class 0) left out."""
    best = scores.argmax(axis=1)
    kept = best[np.diff(best, prepend=-1) != 0]
    return "".join(alphabet[kept])
