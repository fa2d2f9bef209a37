"""Configuration of the engine that computes a whole binary network."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from ..config import EngineConfig, parameter
from .drawn import chain, drawn, residual
from .files import opened
from .network import Network

NETWORKS: dict[str, Callable[[int], Network]] = {
    "chain": chain,
    "residual": residual,
    "drawn": drawn,
}
"""What there is without a file, each from a seed."""


class BcnnConfig(EngineConfig):
    """Which network, how much hardware it gets, and how wide its input is."""

    network: Literal["chain", "residual", "drawn"] = parameter("chain")
    """Without a file: random real convolutions in a row, a complex residual network whose weights
    are pruned in blocks, or a network whose operations, too, are drawn."""
    seed: int = parameter(0, ge=0, le=2**31 - 1)
    """What it is drawn from."""
    file: str = parameter("")
    """A network's file (``models.bcnn.files``), which is computed in place of ``network``."""
    digest: str = parameter("")
    """What the file's network hashes to, found when left out; another network is refused."""
    lanes: int = parameter(64, unit="products/cycle", ge=0, le=1 << 24)
    """Most products of all layers together in a cycle, complex ones counting once; frames come as
    often as so many allow.  0, or left out, where ``interval`` is given."""
    interval: int = parameter(0, unit="cycles", ge=0, le=1 << 31)
    """From a frame to the next, with the fewest lanes that keep up; 0: as few as ``lanes``
    allow."""
    lanes_in: int = parameter(0, unit="values/beat", ge=0, le=1 << 16)
    """Channels of a pixel in a beat of the input, which divide them; 0: all of a pixel's."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "small": {"network": "drawn", "seed": 202, "lanes": 16, "lanes_in": 1},
        "large": {"network": "residual", "lanes": 512},
    }

    @property
    def content(self) -> Network:
        """The network itself.

        Raises :class:`ValueError` where the file is not the one any more that it was.
        """
        if not self.file:
            return _make(self.network, self.seed)
        return opened(self.file, self.digest)[0]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.file:
            object.__setattr__(self, "digest", opened(self.file, self.digest)[1])
        elif self.digest:
            raise ValueError("a digest is a file's; name the file or leave the digest out")
        if self.interval and "lanes" not in self.model_fields_set:
            object.__setattr__(self, "lanes", 0)
        if bool(self.interval) == bool(self.lanes):
            raise ValueError(
                f"interval = {self.interval} and lanes = {self.lanes}: one of the two decides; "
                "give it, and the other as 0"
            )
        channels = self.content.input.channels
        if channels % (self.lanes_in or channels):
            raise ValueError(
                f"lanes_in = {self.lanes_in} does not divide a pixel's {channels} channels; take "
                "a divisor, or 0 for all of them"
            )
        return self


@lru_cache(maxsize=64)
def _make(name: str, seed: int) -> Network:
    return NETWORKS[name](seed)
