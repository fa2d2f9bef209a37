"""Which path selection to flip: the error model of a decoding that no path came out of rightly.

A selection keeps the better half of its candidates, with metrics k, and drops the other half,
with metrics d.  How likely it dropped the right path is judged by::

    E = ln sum exp(-k) - alpha * ln sum exp(-d)

the least E first (Pan, Wang, Ueng: generalised SCL-flip).  ``alpha`` above 1 holds the errors of
the selections before against a late one.  By max* without its correction, as in hardware::

    E = alpha * min(d) - min(k)

which needs no signal-to-noise ratio: scaling all LLRs scales E.
"""

from dataclasses import dataclass, field

import torch


@dataclass
class Evidence:
    """What is known of the selections of a decoding: min(k) and min(d) of each.

    With a ``scale``, natural LLRs a unit of metric, the logarithms of the sums instead.
    """

    scale: float | None = None
    _kept: list[torch.Tensor] = field(default_factory=list)
    _dropped: list[torch.Tensor] = field(default_factory=list)

    def __call__(self, metrics: torch.Tensor, offset: torch.Tensor) -> None:
        """Takes down a selection; see :data:`.lists.Selected`."""
        better, worse = metrics.chunk(2, 1)
        self._kept.append(self._least(better) + offset)
        self._dropped.append(self._least(worse) + offset)

    @property
    def kept(self) -> torch.Tensor:
        """[frames, selections]"""
        return torch.stack(self._kept, 1)

    @property
    def dropped(self) -> torch.Tensor:
        """[frames, selections]"""
        return torch.stack(self._dropped, 1)

    def _least(self, metrics: torch.Tensor) -> torch.Tensor:
        if self.scale is None:
            return metrics[:, 0]
        return torch.logsumexp(metrics * -self.scale, 1) / -self.scale


def order(kept: torch.Tensor, dropped: torch.Tensor, alpha: float, attempts: int) -> torch.Tensor:
    """int64 [frames, attempts or fewer]: the selections to flip, the likeliest first.

    Of equal ones the earlier; all arguments [frames, selections].
    """
    judged = alpha * dropped - kept
    return judged.sort(dim=1, stable=True).indices[:, :attempts]
