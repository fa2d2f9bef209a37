"""Trains the weights of :mod:`.char_model`: ``python -m thresher.models.sparse_lstm.train_char``.

A common dense phase, then from its end two branches of equal length, data and
learning rate: ``dense`` goes on as it was, for comparison; ``sparse`` ramps a threshold
and a price on columns that a batch of 8 cannot skip, with a threshold drawn anew for
every update so that one set of weights serves a range of the engine's register, and
later rounds weights, tables and states as the engine does.  All randomness is seeded.

Every phase leaves its state in the folder and, called again, goes on from there.
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .char_model import Alphabet, CharModel, corpus, joint_sparsity
from .config import SparseLstmConfig
from .training import SparseStateLSTM, column_cost

Phase = Literal["common", "dense", "sparse"]


@dataclass(frozen=True)
class Recipe:
    """Every number of the training."""

    hidden: int = 1000
    batch: int = 32
    span: int = 32
    """Characters a sequence is unrolled for; states are carried on."""
    common_steps: int = 1300
    branch_steps: int = 2000
    rate: float = 1.5e-3
    decay: float = 0.01
    dropout: float = 0.4
    """Of the states that the softmax reads."""
    threshold: float = 0.2
    highest_threshold: float = 0.6
    """Half the updates use ``threshold``, the others a log-uniform one up to this."""
    ramp: float = 0.15
    """Share of the sparse branch over which threshold and price rise from 0."""
    price: float = 3.0
    """Factor of :func:`.training.column_cost`, in nats, after the ramp."""
    last_price: float = 5.0
    """The same towards the end."""
    squeeze: tuple[float, float] = (0.42, 0.55)
    """Shares of the sparse branch between which the price goes from one to the other."""
    quantised: float = 0.65
    """Share of the sparse branch after which it runs in the engine's formats."""
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
    recipe: Recipe, phase: Phase, folder: Path, device: torch.device | str = "cpu"
) -> CharNetwork:
    """Runs or resumes one phase; its state lies in ``folder / f"{phase}.pt"``."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = Alphabet.of(corpus()[0])
    text, held_out = (torch.tensor(alphabet.encode(part), device=device) for part in corpus())
    held_out = held_out[: len(held_out) // 32 * 32].view(32, -1).t()
    torch.manual_seed(recipe.seed)
    network = CharNetwork(len(alphabet), recipe.hidden).to(device)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        trained, recipe.rate, (0.9, 0.99), weight_decay=recipe.decay, fused=True
    )
    total = recipe.common_steps if phase == "common" else recipe.branch_steps
    columns = len(text) // recipe.batch
    epoch = (columns - 1) // recipe.span
    done, state, path = 0, None, folder / f"{phase}.pt"
    if path.exists():
        saved = torch.load(path, map_location=device)
        done, state = saved["done"], saved["state"]
        torch.set_rng_state(saved["random"].cpu())
    elif phase != "common":
        saved = torch.load(folder / "common.pt", map_location=device)
    else:
        saved = None
    if saved:
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
    began = time.monotonic()
    losses: list[float] = []
    x = text
    for step in range(done, total):
        at = step % epoch
        if at == 0 or step == done:
            seed = step // epoch + (0 if phase == "common" else 1000)  # the branches read alike
            shift = torch.Generator().manual_seed(seed)
            offset = int(torch.randint(len(text), (1,), generator=shift))
            x = text.roll(-offset)[: columns * recipe.batch].view(recipe.batch, -1).t()
        if at == 0:
            state = None
        share = step / total
        _schedule(recipe, phase, share, network, optimiser)
        first = at * recipe.span
        logits, h, last = network(x[first : first + recipe.span], state, recipe.dropout)
        target = x[first + 1 : first + recipe.span + 1]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())
        losses.append(loss.item() / math.log(2))
        if threshold := network.lstm.threshold:
            loss = loss + _price(recipe, share) * column_cost(h, threshold, 8)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        state = last[0].detach(), last[1].detach()
        if (step + 1) % 100 == 0 or step + 1 == total:
            snapshot: dict[str, Any] = {
                "done": step + 1, "network": network.state_dict(), "state": state,
                "optimiser": optimiser.state_dict(), "random": torch.get_rng_state(),
            }  # fmt: skip
            torch.save(snapshot, partial := path.with_suffix(".partial"))
            partial.replace(path)
            score = ""
            if (step + 1) % 300 == 0 or step + 1 == total:
                threshold = recipe.threshold if phase == "sparse" else 0.0
                score = ", held out " + " ".join(
                    f"{name} {value:.4f}"
                    for name, value in network.score(held_out, threshold).items()
                )
            seconds = time.monotonic() - began
            print(
                f"{phase} {step + 1}/{total} after {seconds:.0f} s: "
                f"{sum(losses) / len(losses):.3f} bit/char{score}",
                flush=True,
            )
            losses.clear()
    return network


def _schedule(
    recipe: Recipe, phase: Phase, share: float, network: CharNetwork, optimiser: Any
) -> None:
    """Sets learning rate, threshold and formats for the point ``share`` of a phase."""
    rate = recipe.rate
    if phase == "common":
        rate *= min(1, 0.01 + share * recipe.common_steps / 100)
    else:
        rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))
    for group in optimiser.param_groups:
        group["lr"] = rate
    lstm = network.lstm
    if phase != "sparse":
        lstm.threshold = 0.0
        return
    lstm.threshold = recipe.threshold * min(1, share / recipe.ramp)
    if share > recipe.ramp:
        draw = max(0.0, 2 * torch.rand(1).item() - 1)
        lstm.threshold *= (recipe.highest_threshold / recipe.threshold) ** draw
    if share >= recipe.quantised:
        lstm.formats = formats(lstm.input_size, recipe)


def _price(recipe: Recipe, share: float) -> float:
    """Of a column that a batch of 8 must keep, at the point ``share`` of the sparse branch."""
    low, high = recipe.squeeze
    squeezed = min(max((share - low) / (high - low), 0.0), 1.0)
    rising = recipe.price + squeezed * (recipe.last_price - recipe.price)
    return rising * min(1.0, share / recipe.ramp)


def export(network: CharNetwork, recipe: Recipe) -> CharModel:
    """The integers of the network's forward pass in :func:`formats`.

    Recurrent columns of units that never come alive on the training text at the
    recipe's threshold carry nothing that was learnt; they are set to 0 first, in the
    network too.
    """
    config = formats(network.lstm.input_size, recipe)
    network.lstm.formats, network.lstm.threshold = config, recipe.threshold
    numbers = Alphabet.of(corpus()[0]).encode(corpus()[0])
    x = torch.from_numpy(numbers[: len(numbers) // 64 * 64].reshape(64, -1).T)
    with torch.no_grad():
        w_h, state = network.lstm.get_parameter("weight_hh_l0"), None
        alive = torch.zeros(recipe.hidden, dtype=torch.bool, device=w_h.device)
        for part in x.to(w_h.device).split(256):
            h, state = network.lstm(part, state)
            alive |= (h.abs() >= recipe.threshold).flatten(0, 1).any(0)
        w_h[:, ~alive] = 0
    weights = network.lstm.integers()
    return CharModel(
        Alphabet.of(corpus()[0]),
        config,
        weights.input_weights[0],
        weights.recurrent_weights[0],
        weights.biases[0],
        network.softmax.weight.detach().cpu().numpy(),
        network.softmax.bias.detach().cpu().numpy(),
    )


def main(arguments: list[str] | None = None) -> None:
    """The command: all phases, then the checkpoint."""
    parser = argparse.ArgumentParser(prog="train_char", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("char_model"), help="state of training")
    parser.add_argument("--phases", nargs="+", default=["common", "sparse", "dense"])
    parser.add_argument("--output", type=Path, help="where the finished checkpoint goes")
    parser.add_argument("--hidden", type=int, default=Recipe.hidden)
    options = parser.parse_args(arguments)
    recipe = Recipe(hidden=options.hidden)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for phase in options.phases:
        network = train(recipe, phase, options.folder, device)
        if phase == "sparse" and options.output:
            export(network, recipe).save(options.output)


if __name__ == "__main__":
    main()
