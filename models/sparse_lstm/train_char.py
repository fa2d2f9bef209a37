"""Trains the weights of :mod:`.char_model`: ``python -m thresher.models.sparse_lstm.train_char``.

A common dense phase, and from its end two ways on: ``dense`` as it was, for comparison;
``sparse``, which ramps a threshold and a price on columns that a batch of 8 cannot skip.
The threshold is drawn anew for every update, so that one set of weights serves a range
of the engine's register.  Late in ``sparse`` weights, tables and states begin to be
rounded as the engine rounds them; ``tuned`` and ``final`` go on so in narrower ranges
of thresholds and put a price on every live state besides.  All randomness is seeded.

Every phase leaves its state in a folder and, called again, goes on from there.  All of
it is 6 million characters, some 75 minutes of one CPU core.  It ends underfitted: over
90 % of the states pruned for 0.15 bit/char more than ``dense``, and still falling.
"""

import argparse
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .char_model import CHECKPOINT, Alphabet, CharModel, corpus, joint_sparsity
from .config import SparseLstmConfig
from .training import SparseStateLSTM, column_cost


@dataclass(frozen=True)
class Phase:
    """A stretch of training.  Shares are those of its own steps."""

    after: str | None
    """The phase that it continues."""
    steps: int
    rate: float
    """Learning rate to begin with; falls to a hundredth of it along a cosine, except in
    the first phase, where it is constant after 100 steps of warming up."""
    dropout: float = 0.4
    """Of the states that the softmax reads."""
    thresholds: tuple[float, float] = (0.0, 0.0)
    """Each update draws its threshold log-uniformly between these two, ..."""
    lowest: float = 0.0
    """... this share of the updates excepted, which take the lower."""
    ramp: float = 0.0
    """Share over which the threshold first rises from 0 to the lower one."""
    column_price: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    """Factor of :func:`.training.column_cost` for a batch of 8: (share, nats) to interpolate."""
    state_price: float = 0.0
    """The same for a batch of 1: the share of live states."""
    quantised: float = 1.0
    """Share from which on it runs in the engine's formats."""


PHASES = {
    "common": Phase(None, 1300, 1.5e-3),
    "dense": Phase("common", 800, 1.5e-3),
    "sparse": Phase(
        "common", 2000, 1.5e-3, thresholds=(0.2, 0.6), lowest=0.5, ramp=0.15,
        column_price=((0.0, 0.0), (0.15, 3.0), (0.42, 3.0), (0.55, 5.0)), quantised=0.65,
    ),
    "tuned": Phase(
        "sparse", 1100, 1e-3, thresholds=(0.25, 0.4),
        column_price=((0.0, 3.0),), state_price=2.0, quantised=0.0,
    ),
    "final": Phase(
        "tuned", 600, 1e-3, dropout=0.1, thresholds=(0.2, 0.3),
        column_price=((0.0, 3.0),), state_price=2.0, quantised=0.0,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """Every number of the training."""

    hidden: int = 1000
    batch: int = 32
    span: int = 32
    """Characters a sequence is unrolled for; states are carried on."""
    decay: float = 0.01
    phases: Mapping[str, Phase] = field(default_factory=lambda: PHASES)
    threshold: float = 0.25
    """What the checkpoint recommends, and what progress is reported at."""
    seed: int = 0


class CharNetwork(nn.Module):
    """Characters in, states and logits of the next characters out."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.lstm = SparseStateLSTM(vocabulary, hidden)
        self.softmax = nn.Linear(hidden, vocabulary)
        w_x, w_h, bias, second_bias = self.lstm.parameters()
        nn.init.normal_(w_x, 0, 0.1)
        nn.init.normal_(w_h, 0, 0.6 / math.sqrt(hidden))
        nn.init.zeros_(bias)
        nn.init.ones_(bias.data[hidden : 2 * hidden])  # remember, to begin with
        nn.init.zeros_(second_bias).requires_grad_(False)  # one bias is enough
        nn.init.normal_(self.softmax.weight, 0, 1 / math.sqrt(hidden))
        nn.init.zeros_(self.softmax.bias)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None, dropout: float = 0.0
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Logits [T, B, V], states [T, B, H] and the last (h, c) for ``x`` [T, B]."""
        h, last = self.lstm(x, state)
        return self.softmax(nn.functional.dropout(h, dropout, dropout > 0)), h, last

    @torch.no_grad()
    def score(self, x: Tensor, threshold: float) -> dict[str, float]:
        """Bits per character, sparsity and joint sparsity at batch 8 on ``x`` [T, B]."""
        self.lstm.threshold = threshold
        logits, h, _ = self(x, None)
        loss = nn.functional.cross_entropy(logits[:-1].flatten(0, 1), x[1:].flatten())
        pruned = ((h.abs() < threshold) | (h == 0)).cpu().numpy()
        joint = joint_sparsity(pruned)
        return {"bits": loss.item() / math.log(2), "sparsity": joint[1], "joint": joint[8]}


def formats(vocabulary: int, recipe: Recipe) -> SparseLstmConfig:
    """Four-bit weights, eight-bit states."""
    return SparseLstmConfig(
        input_size=vocabulary, hidden_size=recipe.hidden,
        weight_bits=4, weight_frac=5, input_weight_frac=3, input_bits=2, input_frac=0,
        bias_frac=11, threshold=math.ceil(recipe.threshold * 128),
    )  # fmt: skip


def train(
    recipe: Recipe, name: str, folder: Path, device: torch.device | str = "cpu"
) -> CharNetwork:
    """Runs or resumes the phase ``name``; its state lies in ``folder / f"{name}.pt"``."""
    folder.mkdir(parents=True, exist_ok=True)
    phase, path = recipe.phases[name], folder / f"{name}.pt"
    text = torch.from_numpy(Alphabet.of(corpus()[0]).encode(corpus()[0])).to(device)
    held_out = _stretches(corpus()[1], 32).to(device)
    torch.manual_seed(recipe.seed)
    network = CharNetwork(len(Alphabet.of(corpus()[0])), recipe.hidden).to(device)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        trained, phase.rate, (0.9, 0.99), weight_decay=recipe.decay, fused=True
    )
    done, state, saved = 0, None, None
    if path.exists():
        saved = torch.load(path, map_location=device)
        done, state = saved["done"], saved["state"]
        torch.set_rng_state(saved["random"].cpu())
    elif phase.after is not None:
        saved = torch.load(folder / f"{phase.after}.pt", map_location=device)
    if saved:
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
    columns = len(text) // recipe.batch
    epoch = (columns - 1) // recipe.span
    began, x = time.monotonic(), text
    losses: list[float] = []
    for step in range(done, phase.steps):
        at = step % epoch
        if at == 0 or step == done:
            seed = step // epoch + (0 if phase.after is None else 1000)
            shift = torch.Generator().manual_seed(seed)
            offset = int(torch.randint(len(text), (1,), generator=shift))
            x = text.roll(-offset)[: columns * recipe.batch].view(recipe.batch, -1).t()
        if at == 0:
            state = None
        share = step / phase.steps
        for group in optimiser.param_groups:
            group["lr"] = _rate(phase, step)
        network.lstm.threshold = _threshold(phase, share)
        network.lstm.formats = (
            formats(network.lstm.input_size, recipe) if share >= phase.quantised else None
        )
        first = at * recipe.span
        logits, h, last = network(x[first : first + recipe.span], state, phase.dropout)
        target = x[first + 1 : first + recipe.span + 1]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())
        losses.append(loss.item() / math.log(2))
        if threshold := network.lstm.threshold:
            shares, prices = np.array(phase.column_price).T
            price = float(np.interp(share, shares, prices))
            loss = loss + price * column_cost(h, threshold, 8)
            loss = loss + phase.state_price * column_cost(h, threshold, 1)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        state = last[0].detach(), last[1].detach()
        if (step + 1) % 100 == 0 or step + 1 == phase.steps:
            snapshot: dict[str, Any] = {
                "done": step + 1, "network": network.state_dict(), "state": state,
                "optimiser": optimiser.state_dict(), "random": torch.get_rng_state(),
            }  # fmt: skip
            torch.save(snapshot, partial := path.with_suffix(".partial"))
            partial.replace(path)
            score = ""
            if (step + 1) % 300 == 0 or step + 1 == phase.steps:
                figures = network.score(held_out, recipe.threshold if phase.thresholds[0] else 0.0)
                score = ", held out " + " ".join(f"{k} {v:.4f}" for k, v in figures.items())
            print(
                f"{name} {step + 1}/{phase.steps} after {time.monotonic() - began:.0f} s: "
                f"{sum(losses) / len(losses):.3f} bit/char{score}",
                flush=True,
            )
            losses.clear()
    return network


def _rate(phase: Phase, step: int) -> float:
    if phase.after is None:
        return phase.rate * min(1, 0.01 + step / 100)
    return phase.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / phase.steps)))


def _threshold(phase: Phase, share: float) -> float:
    low, high = phase.thresholds
    if share < phase.ramp:
        return low * share / phase.ramp
    if low == high:
        return low
    draw = max(0.0, (torch.rand(1).item() - phase.lowest) / (1 - phase.lowest))
    return low * (high / low) ** draw


def export(network: CharNetwork, dense: CharNetwork, recipe: Recipe) -> CharModel:
    """The integers of ``network`` in :func:`formats`, and what its ``dense`` twin reaches.

    Recurrent columns that fewer than 3 in 10,000 characters of training text use have
    hardly been trained and are set to 0, in ``network`` too: the checkpoint gets smaller.
    """
    config = formats(network.lstm.input_size, recipe)
    w_h = network.lstm.get_parameter("weight_hh_l0")
    network.lstm.formats = config
    network.lstm.threshold = low = recipe.phases[list(recipe.phases)[-1]].thresholds[0]
    with torch.no_grad():
        h, _ = network.lstm(_stretches(corpus()[0], 128)[:600].to(w_h.device))
        w_h[:, (h.abs() >= low).double().mean((0, 1)) < 3e-4] = 0
    weights = network.lstm.integers()
    return CharModel(
        Alphabet.of(corpus()[0]),
        config,
        weights.input_weights[0],
        weights.recurrent_weights[0],
        weights.biases[0],
        network.softmax.weight.detach().cpu().numpy(),
        network.softmax.bias.detach().cpu().numpy(),
        dense.score(_stretches(corpus()[1], 32).to(dense.softmax.bias.device), 0.0)["bits"],
    )


def _stretches(text: str, count: int) -> Tensor:
    """``text`` in ``count`` equal stretches side by side, [T, count]."""
    numbers = torch.from_numpy(Alphabet.of(corpus()[0]).encode(text))
    return numbers[: len(numbers) // count * count].view(count, -1).t()


def main(arguments: list[str] | None = None) -> None:
    """The command: all phases, then the checkpoint."""
    parser = argparse.ArgumentParser(prog="train_char", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("char_model"), help="state of training")
    parser.add_argument("--output", type=Path, default=CHECKPOINT, help="the finished checkpoint")
    parser.add_argument("--hidden", type=int, default=Recipe.hidden, help="units")
    options = parser.parse_args(arguments)
    recipe = Recipe(hidden=options.hidden)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    networks = {name: train(recipe, name, options.folder, device) for name in recipe.phases}
    model = export(networks["final"], networks["dense"], recipe)
    model.most_active_first().save(options.output)


if __name__ == "__main__":
    main()
