"""ProAct: limits of clipped ReLUs, trained layer by layer from the last to the first.

Every ReLU becomes a :class:`~.activations.HyReLU`, with a limit a layer, and one a neuron in the
last.  Weights stay.  A limit starts at the largest activation of the images and is pulled down by
a decay, while the loss holds the scores to those of the network as it was (distillation)::

    -mean(sum(softmax(teacher) * log_softmax(scores))) + decay * mean(share**2)

Decays are tried from the strongest to the weakest, each from the limits that were kept last: those
after the last epoch in which all but ``loss`` of the images kept their label, and their scores were
``divergence`` nats (Kullback and Leibler) from the teacher's on average at most.  Labels alone are
kept too easily by a network that has learnt these images.

Source: Mousavi et al., ProAct, arXiv 2406.06313; the loss, decays in turn and the epochs that are
taken back as in its authors' reliable-relu-toolbox, but for these: no labels are needed, the
divergence is bounded, decays are of the limit over the largest activation and are few.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .activations import HyReLU, largest, replaced


def train(
    module: nn.Module,
    images: Tensor,
    *,
    k: float = 20.0,
    decays: Sequence[float] = (1.0, 0.1, 0.01),
    epochs: int = 8,
    batch: int = 64,
    rate: float = 0.01,
    loss: float = 0.0,
    divergence: float = 0.001,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Callable[[str], None] = lambda what: None,
) -> nn.Module:
    """A copy of ``module`` in evaluation mode, its ReLUs :class:`~.activations.HyReLU`.

    ``rate`` is Adam's, in shares of the largest activation; the seed decides the order of images.
    The module is moved to ``device``; the same numbers there need not be the same to the bit.
    """
    images = images.to(device)
    module = module.to(device).eval()
    most = largest(module, images)
    last = list(most)[-1]
    network = replaced(
        module, lambda name, _: HyReLU(most[name] if name == last else most[name].max(), k)
    ).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    teacher = _scores(module, images, batch)
    labels, goals = teacher.argmax(dim=1), teacher.softmax(dim=1)
    order = torch.Generator().manual_seed(seed)
    for name in reversed(most):
        part = network.get_submodule(name)
        assert isinstance(part, HyReLU)
        kept = part.share.detach().clone()
        part.share.requires_grad_(True)
        for decay in decays:
            part.share.data.copy_(kept)
            optimiser = torch.optim.Adam([part.share], rate)
            for _ in range(epochs):
                for some in torch.randperm(len(images), generator=order).to(device).split(batch):
                    scores = network(images[some]).log_softmax(dim=1)
                    distance = -(goals[some] * scores).sum(dim=1).mean()
                    optimiser.zero_grad()
                    (distance + decay * part.share.square().mean()).backward()
                    optimiser.step()
                    part.share.data.clamp_(min=0)
                found = _scores(network, images, batch)
                same = float((found.argmax(dim=1) == labels).double().mean())
                apart = functional.kl_div(found.log_softmax(dim=1), goals, reduction="batchmean")
                if same < 1 - loss or float(apart) > divergence:
                    break
                kept = part.share.detach().clone()
        part.share.data.copy_(kept)
        part.share.requires_grad_(False)
        progress(f"{name}: limit at {float(kept.mean()):.3g} of the largest")
    return network


@torch.no_grad()
def _scores(module: nn.Module, images: Tensor, batch: int) -> Tensor:
    return torch.cat([module(some) for some in images.split(batch)])
