"""Training the error model's alpha while decoding, from what a receiver itself sees.

A *sample* is a frame that failed at first and whose CRC a flip put right: what the decoder knew
of its selections (kept, dropped; :mod:`.selection`), and which one, j, it was.  The word that
was sent plays no part.  The model of where the right path was lost is the softmax that the
order of the flips stands for, ::

    P(i) ~ exp(-(alpha * dropped_i - kept_i) / temperature)

and training lowers the cross-entropy -ln P(j).  The temperature is learned beside alpha, because
nothing else tells how sharp the model is, or the unit of the received values; a wrong one drags
alpha away with it.  With weights a = alpha / temperature and b = 1 / temperature the loss is
that of multinomial logistic regression: convex, with a single minimum.

Each sample is one step of natural gradient descent: the gradient over the curvature of all
samples so far, of which older ones count less and less.  No rate of learning has to be chosen,
and scaling what is received changes nothing.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..codes.channel import Channel, Quantiser
from ..codes.montecarlo import random_bits
from ..threads import one_thread
from .decoder import Decoder, Rescued


class Trainer:
    """Learns alpha from one sample after the other, starting from ``alpha``.

    ``memory``: samples after which one counts 1 / e of what it did; at first fewer.
    """

    def __init__(self, alpha: float, memory: float = 1000):
        if not alpha > 0:
            raise ValueError(f"training starts from an alpha above 0, not {alpha}")
        if not memory >= 1:
            raise ValueError(f"a memory of {memory} samples is none; it is 1 or more")
        self.samples = 0
        self._memory = memory
        self._weights = torch.tensor([alpha, 1.0], dtype=torch.float64)
        self._curvature = torch.zeros(2, 2, dtype=torch.float64)

    @property
    def alpha(self) -> float:
        """As it is now."""
        return float(self._weights[0] / self._weights[1])

    @property
    def temperature(self) -> float:
        """In units of the metrics; without meaning before the first sample."""
        return float(1 / self._weights[1])

    def observe(self, rescued: Rescued) -> float:
        """Learns from these samples, in order; the new :attr:`alpha`."""
        kept, dropped = rescued.kept.astype(np.float64), rescued.dropped.astype(np.float64)
        with one_thread():
            for features, flip in zip(np.stack([dropped, -kept], 2), rescued.flips, strict=True):
                self._learn(torch.from_numpy(features), int(flip))
        return self.alpha

    def _learn(self, features: torch.Tensor, flip: int) -> None:
        """One step; ``features`` [selections, 2] times the weights is E over the temperature."""
        if not self.samples:
            spread = (features @ self._weights).std(correction=0)
            if not spread > 0:  # all selections alike: nothing to learn
                return
            self._weights /= spread
            even = torch.full((len(features),), 1 / len(features), dtype=torch.float64)
            self._curvature = _moments(features, even)[1]
        share = torch.softmax(-(features @ self._weights), 0)
        mean, curvature = _moments(features, share)
        # Curvatures far from the end mislead: of few samples the latest half counts.
        memory = min(self._memory, 2 + self.samples / 2)
        self._curvature = (1 - 1 / memory) * self._curvature + curvature
        step = torch.linalg.pinv(self._curvature, hermitian=True) @ (mean - features[flip])
        # A single sample moves no weight by more than a factor of two; both stay above 0.
        self._weights = (self._weights + step).clamp(self._weights / 2, self._weights * 2)
        self.samples += 1


@dataclass(frozen=True)
class Trained:
    """How a training went."""

    alpha: float
    samples: int
    """Rescued frames that it was learned from."""
    attempts: float
    """Flips a frame while training."""
    history: tuple[float, ...]
    """Alpha after every block."""


def train(
    decoder: Decoder,
    channel: Channel,
    *,
    alpha: float | None = None,
    frames: int = 16384,
    block: int = 256,
    quantiser: Quantiser | None = None,
    seed: int = 0,
) -> Trained:
    """Trains ``decoder`` in place while it decodes random words, at least ``frames`` of them.

    It starts from ``alpha``, or from what the decoder has; what a block teaches orders the
    flips of the next.
    """
    if alpha is not None:
        decoder.alpha = alpha
    trainer, history, attempts = Trainer(decoder.alpha), [], 0
    while len(history) * block < frames:
        rng = np.random.default_rng([seed, len(history)])
        received = channel.send(decoder.code.encode(random_bits(rng, block, decoder.code.k)), rng)
        decoded = decoder(quantiser(received) if quantiser else received)
        decoder.alpha = trainer.observe(decoded.rescued)
        history.append(decoder.alpha)
        attempts += int(decoded.costs["attempts"].sum())
    total = len(history) * block
    return Trained(decoder.alpha, trainer.samples, attempts / total, tuple(history))


def _moments(features: torch.Tensor, share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [2] and covariance [2, 2] of ``features`` [selections, 2], each with its ``share``."""
    mean = share @ features
    centred = features - mean
    return mean, (share[:, None] * centred).T @ centred
