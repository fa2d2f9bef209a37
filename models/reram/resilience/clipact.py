"""FT-ClipAct: thresholds of clipped ReLUs, searched layer by layer under faults.

All layers start with the largest activation of the images.  A layer's threshold then lies in an
interval, at first from 0 to that; ``points`` thresholds spread evenly over it are tried under
faults, and the interval becomes what lies between the neighbours of the best.  Best is the largest
area under the curve of accuracy over the rate of faults.

Beyond the paper, a threshold that costs more than ``loss`` of accuracy without faults is none, and
of those that are as good, but for ``tie``, the largest is taken: it clips least, where few images
and faults cannot tell them apart.

Source: Hoang, Hanif and Shafique, FT-ClipAct, DATE 2020; a round's end as in its authors' peers'
toolbox (reliable-relu-toolbox): areas that differ by ``delta`` at most.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .activations import ClippedReLU, clipped, largest
from .curves import area
from .memories import Stored, accuracy


def search(
    module: nn.Module,
    stored: Stored,
    rates: Sequence[float],
    seeds: int,
    images: Tensor,
    labels: Tensor,
    *,
    points: int = 4,
    rounds: int = 4,
    delta: float = 0.002,
    loss: float = 0.0,
    tie: float = 0.01,
    device: str | torch.device = "cpu",
    progress: Callable[[str], None] = lambda what: None,
) -> dict[str, float]:
    """A threshold for every ReLU of ``module``, by name; :func:`.clipped` puts them in.

    Every threshold is tried under the same faults, those of ``seeds`` memories at each rate, on
    ``device``, where the module is moved.
    Raises :class:`ValueError` for less than 3 points, which leave no neighbours.
    """
    if points < 3 or rounds < 1:
        raise ValueError(f"points = {points}, rounds = {rounds}: at least 3 and 1")
    images, labels = images.to(device), labels.to(device)
    module = module.to(device).eval()
    thresholds = {name: float(most.max()) for name, most in largest(module, images).items()}
    network = clipped(module, thresholds).to(device).eval()
    clean = stored(device=device)
    faulty = [[stored(rate, seed, device) for seed in range(seeds)] for rate in rates]
    floor = accuracy(module, clean, images, labels) - loss

    def judged(part: ClippedReLU, threshold: float) -> float:
        part.threshold.fill_(threshold)
        if accuracy(network, clean, images, labels) < floor:
            return -1.0
        found = [[accuracy(network, w, images, labels) for w in row] for row in faulty]
        return float(area(rates, np.array(found)).mean())

    for name, most in thresholds.items():
        part = network.get_submodule(name)
        assert isinstance(part, ClippedReLU)
        known: dict[float, float] = {}
        low, high = 0.0, most
        best = most
        for turn in range(rounds):
            tried = np.linspace(low, high, points).tolist()
            for threshold in tried:
                if threshold not in known:
                    known[threshold] = judged(part, threshold)
            areas = [known[threshold] for threshold in tried]
            at = max(n for n in range(points) if areas[n] >= max(areas) - tie)
            best, low, high = tried[at], tried[max(at - 1, 0)], tried[min(at + 1, points - 1)]
            progress(f"{name}, round {turn + 1}: {best:.4g} of {most:.4g}, area {areas[at]:.4g}")
            if max(areas) - min(areas) <= delta:
                break
        # What clips more than allowed at every point leaves the layer as it was.
        thresholds[name] = best if known[best] >= 0 else most
        part.threshold.fill_(thresholds[name])
    return thresholds
