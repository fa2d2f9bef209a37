"""What the sparse-state LSTM engine computes with: its weights, and its steps.

Axes are called T (steps), B (batch elements), H (hidden units), X (input columns), V
(vocabulary) and 4H (gate rows: row ``gate * H + unit`` with the gates i, f, g, o, as in
torch).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ..fixed import limits
from .config import SparseLstmConfig


@dataclass(frozen=True, eq=False)
class Parameters:
    """Integer weights of every context (``layer * directions + direction``)."""

    input_weights: tuple[np.ndarray, ...]
    """[4H, X] of each context, X = ``config.context_inputs(context)``."""
    recurrent_weights: tuple[np.ndarray, ...]
    """[4H, H] of each context."""
    biases: tuple[np.ndarray, ...]
    """[4H] of each context, or [V, 4H] where the input is an index."""

    def check(self, config: SparseLstmConfig) -> None:
        """Raises :class:`ValueError` where shape or range do not fit ``config``."""
        gates = 4 * config.hidden_size
        for name, bits in (
            ("input_weights", config.weight_bits),
            ("recurrent_weights", config.weight_bits),
            ("biases", config.bias_bits),
        ):
            arrays = getattr(self, name)
            if len(arrays) != config.contexts:
                raise ValueError(
                    f"{name} has {len(arrays)} contexts; {config.layers} layers x "
                    f"{config.directions} directions need {config.contexts}"
                )
            for context, array in enumerate(arrays):
                shape = {
                    "input_weights": (gates, config.context_inputs(context)),
                    "recurrent_weights": (gates, config.hidden_size),
                    "biases": (config.input_size, gates)
                    if config.input_kind == "index"
                    else (gates,),
                }[name]
                _check(f"{name}[{context}]", array, shape, *limits(bits))

    @classmethod
    def random(cls, config: SparseLstmConfig, rng: np.random.Generator) -> Self:
        """Weights that drive gates over their whole range, now and then to either extreme."""
        high = limits(config.weight_bits)[1]
        gates = 4 * config.hidden_size

        def weights(columns: int, frac: int, other: int) -> np.ndarray:
            scale = 4 / np.sqrt(columns + other + 1)  # so that a sum has a deviation of about 2
            drawn = np.rint(rng.normal(0, max(scale * 2.0**frac, 0.7), (gates, columns)))
            drawn[rng.random(drawn.shape) < 0.01] = high
            drawn[rng.random(drawn.shape) < 0.01] = -high - 1
            return np.clip(drawn, -high - 1, high).astype(np.int64)

        columns = [config.context_inputs(context) for context in range(config.contexts)]
        later = config.weight_frac - config.input_shift
        fracs = [
            config.input_weight_frac if context < config.directions else later
            for context in range(config.contexts)
        ]
        low, high_bias = limits(config.bias_bits)
        size = (config.input_size, gates) if config.input_kind == "index" else (gates,)
        return cls(
            tuple(weights(x, f, config.hidden_size) for x, f in zip(columns, fracs, strict=True)),
            tuple(weights(config.hidden_size, config.weight_frac, x) for x in columns),
            tuple(
                np.rint(rng.normal(0, 2.0**config.bias_frac, size))
                .clip(low, high_bias)
                .astype(np.int64)
                for _ in columns
            ),
        )


@dataclass(frozen=True, eq=False)
class Steps:
    """What the engine computes, step by step, in the order in which it does."""

    context: np.ndarray
    """[T]: which weights and which states."""
    start: np.ndarray
    """bool [T, B]: elements whose state from before counts as 0."""
    inputs: np.ndarray
    """[T, B, K]: columns, those beyond a context's own ignored; or K = 1 and an index."""

    @classmethod
    def sequence(
        cls,
        config: SparseLstmConfig,
        x: np.ndarray,
        context: int = 0,
        start: np.ndarray | None = None,
    ) -> Self:
        """``x`` [T, B, X], or [T, B] of indices, fed to one context in this order.

        Without ``start`` every element starts in the first step and nowhere else.
        """
        if not 0 <= context < config.contexts:
            raise ValueError(f"context = {context} is outside 0..{config.contexts - 1}")
        x = np.asarray(x)
        if config.input_kind == "index" and x.ndim == 2:
            x = x[..., None]
        own = 1 if config.input_kind == "index" else config.context_inputs(context)
        if x.ndim != 3 or x.shape[1:] != (config.batch, own):
            raise ValueError(
                f"x has shape {x.shape}; context {context} takes [steps, {config.batch}, {own}]"
            )
        if start is None:
            start = np.zeros(x.shape[:2], bool)
            start[:1] = True
        inputs = np.zeros((*x.shape[:2], _columns(config)), x.dtype)
        inputs[..., :own] = x
        return cls(np.full(len(x), context), np.asarray(start, bool), inputs)

    @classmethod
    def concatenate(cls, *parts: "Steps") -> Self:
        """One part after the other."""
        return cls(*(np.concatenate([getattr(p, f) for p in parts]) for f in cls.__annotations__))

    @classmethod
    def interleave(cls, *parts: "Steps") -> Self:
        """The first step of each part, then the second of each, ...; parts of equal length."""
        if len({len(p) for p in parts}) != 1:
            raise ValueError(
                f"cannot interleave parts of {', '.join(str(len(p)) for p in parts)} steps; "
                "cut them to one length"
            )
        order = np.arange(len(parts) * len(parts[0])).reshape(len(parts), -1).T.ravel()
        return cls.concatenate(*parts)[order]

    def __len__(self) -> int:
        return len(self.context)

    def __getitem__(self, which: slice | np.ndarray) -> Self:
        return type(self)(self.context[which], self.start[which], self.inputs[which])

    def check(self, config: SparseLstmConfig) -> None:
        """Raises :class:`ValueError` where shape or range do not fit ``config``."""
        steps, batch = len(self.context), config.batch
        _check("context", self.context, (steps,), 0, config.contexts - 1)
        _check("start", self.start, (steps, batch), 0, 1)
        low, high = limits(config.input_bits)
        if config.input_kind == "index":
            low, high = 0, config.input_size - 1
        _check("inputs", self.inputs, (steps, batch, _columns(config)), low, high)
        for context in np.unique(self.context):
            first = int(np.argmax(self.context == context))
            if not self.start[first].all():
                raise ValueError(
                    f"step {first} is the first of context {context} but does not start every "
                    "element, and a state from before it is undefined; set start there"
                )


def _columns(config: SparseLstmConfig) -> int:
    """The last axis of :attr:`Steps.inputs`."""
    if config.input_kind == "index":
        return 1
    return max(config.context_inputs(context) for context in range(config.contexts))


def _check(name: str, array: np.ndarray, shape: tuple[int, ...], low: int, high: int) -> None:
    if array.dtype.kind not in "iub":
        raise ValueError(f"{name} holds {array.dtype}; quantise it to integers")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; the configuration needs {shape}")
    if array.size and not (low <= int(array.min()) and int(array.max()) <= high):
        worst = int(array.min()) if int(array.min()) < low else int(array.max())
        raise ValueError(f"{name} holds {worst}, outside {low}..{high}; clamp or widen the format")
