"""Configuration of the engine that computes a whole network."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from ..config import EngineConfig, parameter
from .drawn import drawn
from .examples import EXAMPLES
from .files import opened
from .network import Network

NETWORKS: dict[str, Callable[[int], Network]] = EXAMPLES | {"drawn": drawn}
"""What there is without a file, each from a seed."""


class AmuNetworkConfig(EngineConfig):
    """Which network, and how wide its input is."""

    network: Literal["mlp", "chain", "residual", "drawn"] = parameter("mlp")
    """Without a file: a network of random layers, or one whose operations, too, are drawn."""
    seed: int = parameter(0, ge=0, le=2**31 - 1)
    """What it is drawn from."""
    file: str = parameter("")
    """A network's file (``models.amu.files``), which is computed in place of ``network``."""
    digest: str = parameter("")
    """What the file's network hashes to, found when left out; another network is refused."""
    lanes: int = parameter(8, unit="values/beat", ge=1, le=4096)
    """Values of a pixel, or of a vector, in a beat of the input."""
    folds: int = parameter(1, unit="cycles", ge=1, le=256)
    """Over which a layer shares its tables' adders, where its pixels come slowly enough."""
    lut_inputs: Literal[4, 6] = parameter(6)
    """Inputs of the device's look-up tables, 6 on Xilinx; for area alone."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "small": {"network": "drawn", "seed": 169, "lanes": 1, "folds": 4},
        "large": {"network": "residual"},
        "chain": {"network": "chain"},
    }

    @property
    def content(self) -> Network:
        """The network itself.

        Raises :class:`ValueError` where the file is not the one any more that it was.
        """
        if not self.file:
            return NETWORKS[self.network](self.seed)
        return opened(self.file, self.digest)[0]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.file:
            object.__setattr__(self, "digest", opened(self.file, self.digest)[1])
        elif self.digest:
            raise ValueError("a digest is a file's; name the file or leave the digest out")
        return self
