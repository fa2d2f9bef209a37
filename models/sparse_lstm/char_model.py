"""A character model of Python's documentation topics, and its committed weights.

One layer of 1000 units reads characters (one-hot, or as column numbers) and a softmax
over its unpruned states predicts the next.  The text is ``pydoc_data.topics``, which
every Python carries; :data:`HELD_OUT` names the topics that training never sees.
:func:`evaluate` is the honest measure: the integers of the golden model, on held-out
text of the Python that runs it.  :mod:`.train_char` makes the weights.
"""

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, Literal, Self

import numpy as np
import torch

from .config import SparseLstmConfig
from .golden import Parameters, Steps, run
from .task import Task

HELD_OUT = ("assignment", "calls", "raise", "strings", "typesmapping")
"""Topics for validation, a tenth of the text."""

CHECKPOINT = Path(__file__).with_name("char_model.npz")


@cache
def corpus() -> tuple[str, str]:
    """Training and held-out text.

    Topics repeat one another by the page, so a paragraph enters the training text only
    once, and not at all if a held-out topic contains it.
    """
    held_out = "\n\n".join(topics[name] for name in HELD_OUT)
    seen = {" ".join(paragraph.split()) for paragraph in held_out.split("\n\n")}
    kept = []
    for name in sorted(set(topics) - set(HELD_OUT)):
        for paragraph in topics[name].split("\n\n"):
            if (words := " ".join(paragraph.split())) not in seen:
                seen.add(words)
                kept.append(paragraph)
    return "\n\n".join(kept), held_out


@dataclass(frozen=True)
class Alphabet:
    """Characters by number; 0 stands for every character that is not among them."""

    characters: str

    @classmethod
    def of(cls, text: str, least: int = 10) -> Self:
        """The characters that occur at least ``least`` times in ``text``."""
        return cls("".join(sorted(c for c in set(text) if text.count(c) >= least)))

    def __len__(self) -> int:
        return len(self.characters) + 1

    def encode(self, text: str) -> np.ndarray:
        """int64 numbers of the characters of ``text``."""
        number = {c: n for n, c in enumerate(self.characters, 1)}
        return np.array([number.get(c, 0) for c in text], np.int64)

    def decode(self, numbers: np.ndarray) -> str:
        """The text of ``numbers``; what the alphabet lacks reads as U+FFFD."""
        return "".join(("\N{REPLACEMENT CHARACTER}" + self.characters)[n] for n in numbers)


@dataclass(frozen=True, eq=False)
class CharModel:
    """Integer weights in the engine's formats, and the softmax that reads the states."""

    alphabet: Alphabet
    formats: SparseLstmConfig
    """Formats, the threshold of training; one-hot vectors in, batch 1."""
    input_weights: np.ndarray
    """int8 [4H, V]."""
    recurrent_weights: np.ndarray
    """int8 [4H, H]."""
    bias: np.ndarray
    """int32 [4H]."""
    softmax_weights: np.ndarray
    """float32 [V, H], of states as real numbers."""
    softmax_bias: np.ndarray
    """float32 [V]."""
    dense_bits: float
    """Bits per held-out character of the unpruned float twin, as :mod:`.train_char` left it."""

    @classmethod
    def load(cls, path: Path = CHECKPOINT) -> Self:
        """The model that :meth:`save` wrote, by default the one that comes with the package."""
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            formats = SparseLstmConfig(**about["formats"])
            rows = 4 * formats.hidden_size
            return cls(
                Alphabet(about["alphabet"]),
                formats,
                _unpacked(arrays["input_weights"]).reshape(rows, formats.input_size),
                _unpacked(arrays["recurrent_weights"]).reshape(rows, formats.hidden_size),
                arrays["bias"],
                arrays["softmax_weights"] * arrays["softmax_scale"],
                arrays["softmax_bias"],
                about["dense_bits"],
            )

    def save(self, path: Path) -> None:
        """Writes the model: two weights a byte, the softmax rounded to eight bits a weight."""
        scale = np.abs(self.softmax_weights).max(axis=1, keepdims=True) / np.float32(127)
        about = {
            "alphabet": self.alphabet.characters,
            "formats": self.formats.model_dump(exclude_defaults=True),
            "dense_bits": self.dense_bits,
        }
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            np.savez_compressed(
                file,
                about=np.frombuffer(json.dumps(about).encode(), np.uint8),
                input_weights=_packed(self.input_weights),
                recurrent_weights=_packed(self.recurrent_weights),
                bias=self.bias.astype(np.int32),
                softmax_weights=np.rint(self.softmax_weights / scale).astype(np.int8),
                softmax_scale=scale.astype(np.float32),
                softmax_bias=self.softmax_bias.astype(np.float32),
            )
        partial.replace(path)

    def most_active_first(self) -> Self:
        """The same network, its units in the order of how often they are alive.

        The engine meets the columns that it must multiply at the beginning of a step's
        states, while the last ones are still being computed, and need not wait.
        """
        numbers = self.alphabet.encode(corpus()[0])[: 16 * 1024].reshape(16, 1024).T
        config = self.config(batch=16, lanes=64)
        trace = run(config, self.parameters(), Steps.sequence(config, numbers))
        order = np.argsort(-(trace.hp != 0).mean(axis=(0, 1)), kind="stable")
        rows = np.concatenate([gate * len(order) + order for gate in range(4)])
        return replace(
            self,
            input_weights=self.input_weights[rows],
            recurrent_weights=self.recurrent_weights[rows][:, order],
            bias=self.bias[rows],
            softmax_weights=self.softmax_weights[:, order],
        )

    def config(
        self, kind: Literal["index", "vector"] = "index", **overrides: Any
    ) -> SparseLstmConfig:
        """The engine's configuration; ``overrides`` set parallelism, threshold, ...

        Both kinds of input compute the same: ``vector`` multiplies one-hot characters,
        ``index`` looks their column up in the bias table.
        """
        return self.formats.replace(input_kind=kind, **overrides)

    def parameters(self, kind: Literal["index", "vector"] = "index") -> Parameters:
        """The engine's weights for :meth:`config` of the same kind."""
        if kind == "vector":
            return Parameters((self.input_weights,), (self.recurrent_weights,), (self.bias,))
        up = self.formats.bias_frac - self.formats.input_weight_frac
        table = (self.input_weights.T.astype(np.int64) << up) + self.bias
        none = np.zeros((len(self.bias), 0), np.int64)
        return Parameters((none,), (self.recurrent_weights,), (table,))

    def task(
        self,
        batch: int = 8,
        steps: int | None = None,
        kind: Literal["index", "vector"] = "index",
        **overrides: Any,
    ) -> Task:
        """``batch`` equal stretches of the held-out text, read side by side.

        ``steps`` characters of each, by default all but the last.  The judge gives
        ``bits_per_character`` and ``accuracy`` of the next characters' prediction.
        Raises :class:`ValueError` where the text is too short.
        """
        length = len(corpus()[1]) // batch
        steps = length - 1 if steps is None else steps
        if not 1 <= steps < length:
            raise ValueError(
                f"steps = {steps} is outside 1..{length - 1}, what {batch} stretches of the "
                "held-out text hold; take fewer, or a smaller batch"
            )
        numbers = self.alphabet.encode(corpus()[1])[: batch * length].reshape(batch, length)
        x, following = numbers.T[:steps], numbers.T[1 : steps + 1]
        if kind == "vector":
            x = np.eye(len(self.alphabet), dtype=np.int64)[x]
        config = self.config(kind, batch=batch, **overrides)
        return Task(
            config,
            self.parameters(kind),
            Steps.sequence(config, x),
            lambda h: self.judge(h, following),
        )

    def judge(self, h: np.ndarray, following: np.ndarray) -> dict[str, Any]:
        """How well integer states [T, B, H] predict the characters ``following`` [T, B]."""
        states = torch.from_numpy(np.asarray(h, np.float32)) * 2.0**-self.formats.state_frac
        logits = torch.nn.functional.linear(
            states, torch.from_numpy(self.softmax_weights), torch.from_numpy(self.softmax_bias)
        )
        target = torch.from_numpy(np.ascontiguousarray(following))
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())
        return {
            "bits_per_character": loss.item() / float(np.log(2)),
            "accuracy": (logits.argmax(-1) == target).double().mean().item(),
        }


def _packed(weights: np.ndarray) -> np.ndarray:
    """uint8: the four-bit ``weights`` in pairs, the first of a pair in the low half."""
    if weights.min() < -8 or weights.max() > 7:
        raise ValueError(
            f"weights {weights.min()}..{weights.max()} do not fit four bits; use weight_bits = 4"
        )
    nibbles = np.asarray(weights, np.uint8).reshape(-1, 2) & 15  # two's complement
    return nibbles[:, 0] | nibbles[:, 1] << 4


def _unpacked(pairs: np.ndarray) -> np.ndarray:
    """int8: what :func:`_packed` was given, flat."""
    return (np.stack([pairs << 4, pairs], axis=-1).view(np.int8) >> 4).reshape(-1)


def evaluate(
    model: CharModel,
    threshold: int | None = None,
    steps: int | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """The golden model on the held-out text in 16 stretches, all of it or ``steps`` of each.

    ``bits_per_character`` and ``accuracy``; ``sparsity``, the share of pruned states;
    and ``joint``, for batches of 1, 2, 4, 8 and 16 stretches, the share of columns of
    which a batch prunes every state.  ``threshold`` is in state LSBs, by default the
    model's own.  All of it takes half a minute on one core.
    """
    task = model.task(16, steps)
    trace = run(task.config, task.parameters, task.steps, threshold, device)
    pruned = trace.hp == 0
    return {
        "threshold": trace.threshold,
        **task.judge(trace.outputs),
        "sparsity": float(pruned.mean()),
        "joint": joint_sparsity(pruned),
    }


def joint_sparsity(pruned: np.ndarray) -> dict[int, float]:
    """Share of columns all of whose states are pruned, by batch size 1, 2, 4, ... up to B.

    ``pruned`` is bool [T, B, H], B a power of two; neighbours form the smaller batches.
    """
    shares = {1: float(pruned.mean())}
    while pruned.shape[1] > 1:
        pruned = pruned[:, ::2] & pruned[:, 1::2]
        shares[2 * max(shares)] = float(pruned.mean())
    return shares
