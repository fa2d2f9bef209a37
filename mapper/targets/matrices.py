"""Engines that multiply: look-up tables, the N:M array, crossbars, binary convolutions."""

from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil, prod
from typing import ClassVar

import numpy as np

from ...hdl.amu.cycles import timing
from ...hdl.amu.shape import Shape
from ...hdl.reram.delays import delays
from ...models.amu.config import AmuConfig
from ...models.bcnn.folds import divisors
from ...models.nm import scheduler
from ...models.nm.compile import TilingError
from ...models.nm.config import NmConfig
from ...models.nm.layers import Layer
from ...models.reram.layer_config import ReramLayerConfig
from ...models.reram.layer_cycles import row_steps, schedule
from ..graph import Graph, Op
from .base import Cost, Product, costed, product, refused, unfused


class _Products:
    """Shared by engines that run a product a time."""

    name: str
    fused: ClassVar[tuple[str, ...]] = ()
    """What may be fused into an operator."""

    def supports(self, graph: Graph, op: Op) -> str | None:
        """See :class:`.Target`."""
        found = product(graph, op)
        if isinstance(found, str):
            return found
        return unfused(op, self.fused) or self.refuses(found)

    def cost(self, graph: Graph, op: Op) -> Cost:
        """See :class:`.Target`."""
        found = product(graph, op)
        if isinstance(found, str) or self.supports(graph, op):
            raise refused(self, graph, op)
        cycles, note = self.cycles(found)
        return costed(graph, op, cycles, found.macs, note)

    def refuses(self, found: Product) -> str | None:
        """Why this product is not run."""
        try:
            self.cycles(found)
        except ValueError as error:
            return str(error)
        return None

    def cycles(self, found: Product) -> tuple[int, str]:
        """Cycles, and how; raises :class:`ValueError`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Amu(_Products):
    """``amu``: windows as rows, tables for each layer.

    A row of n values has ``ceil(n / length)`` codebooks; the engine takes ``rows * groups * folds``
    cycles and a latency.  Sums are approximate: how near is the learner's to say.
    """

    config: AmuConfig = field(default_factory=AmuConfig)
    """``codebooks`` and ``outputs`` are the operator's; the others hold for all."""
    length: int = 8
    """Values that one codebook looks at."""
    name: str = "amu"
    fused: ClassVar[tuple[str, ...]] = ("batch_norm", "relu")

    def cycles(self, found: Product) -> tuple[int, str]:
        """See :class:`_Products`."""
        codebooks, outputs = ceil(found.inputs / self.length), found.outputs
        config = self.config.replace(
            codebooks=codebooks,
            outputs=outputs,
            parallel_codebooks=min(self.config.parallel_codebooks, codebooks),
            parallel_outputs=min(self.config.parallel_outputs, outputs),
        )
        note = f"{codebooks} codebooks of {self.length} values, {found.rows} rows"
        return timing(Shape(config), found.rows).cycles, note


@dataclass(frozen=True)
class NmArray(_Products):
    """``nm_array``: the forward product, in the dataflow and tiles that the offline scheduler
    chooses; weights keep N of M unless the layer is dense.  Images, channels and outputs are padded
    to multiples of M, which costs what it costs."""

    config: NmConfig = field(default_factory=NmConfig)
    sparse: bool = True
    """Whether weights are N:M; else all of them multiply."""
    name: str = "nm_array"

    def cycles(self, found: Product) -> tuple[int, str]:
        """See :class:`_Products`."""
        return _nm(self.config.model_dump_json(), found, self.sparse)


@lru_cache(maxsize=1024)
def _nm(text: str, found: Product, sparse: bool) -> tuple[int, str]:
    config = NmConfig.model_validate_json(text)
    batch, channels, outputs = (
        -(-n // config.group) * config.group for n in (found.batch, found.channels, found.outputs)
    )
    layer = Layer(
        "product", channels, outputs, batch, found.height, found.width, found.kernel,
        found.stride, found.padding, sparse,
    )  # fmt: skip
    try:
        choice = scheduler.choose(config, layer, "forward")
    except TilingError as error:
        raise ValueError(str(error)) from error
    kept = f"{config.kept}:{config.group}" if sparse else "dense"
    note = f"{choice.tilings[0].dataflow}-stationary, {kept}"
    if layer.macs > found.macs:
        note += f", {1 - found.macs / layer.macs:.0%} of the products are padding"
    return ceil(choice.cost.cycles), note


@dataclass(frozen=True)
class Reram(_Products):
    """``reram``: a layer's crossbars, as if no bit of the inputs could be skipped: an upper
    bound of what real activations take."""

    config: ReramLayerConfig = field(default_factory=ReramLayerConfig)
    """Image, windows and features are the operator's."""
    name: str = "reram"
    fused: ClassVar[tuple[str, ...]] = ("batch_norm", "relu")

    def cycles(self, found: Product) -> tuple[int, str]:
        """See :class:`_Products`."""
        config = self.config.replace(
            channels=found.channels, height=found.height, width=found.width, kernel=found.kernel,
            stride=found.stride, padding=found.padding, features=found.outputs,
        )  # fmt: skip
        one, two = (_crossbars(config.model_dump_json(), frames) for frames in (1, 2))
        cycles = one + (found.batch - 1) * (two - one)
        return cycles, f"{config.down} rows of crossbars, no bit skipped"


@lru_cache(maxsize=1024)
def _crossbars(text: str, frames: int) -> int:
    config = ReramLayerConfig.model_validate_json(text)
    full = np.full((frames * prod(config.windows), config.inputs), (1 << config.input_bits) - 1)
    steps = row_steps(config, full)
    return schedule(config, steps, delays(config)).cycles


@dataclass(frozen=True)
class Binary(_Products):
    """A stage of ``bcnn_conv``: signs by signs, ``lanes`` products a cycle at most.

    With P outputs and S channels at once, which divide both, a frame takes ``pixels * kernel**2 *
    (outputs / P) * (channels / S)`` cycles; P * S is the largest that ``lanes`` allows.
    """

    lanes: int = 1024
    name: str = "bcnn_conv"
    fused: ClassVar[tuple[str, ...]] = ("batch_norm", "sign")

    def supports(self, graph: Graph, op: Op) -> str | None:
        """See :class:`.Target`; operators say that they are binary by the attribute ``binary``."""
        if not op.attributes.get("binary"):
            return "its weights and inputs are not signs (attribute binary = true)"
        return super().supports(graph, op)

    def cycles(self, found: Product) -> tuple[int, str]:
        """See :class:`_Products`."""
        if self.lanes < 1:
            raise ValueError(f"lanes = {self.lanes} is not at least 1")
        p, s = max(
            ((p, s) for p in divisors(found.outputs) for s in divisors(found.channels)
             if p * s <= self.lanes),
            key=lambda fold: (fold[0] * fold[1], fold[1]),
        )  # fmt: skip
        taps = found.kernel**2 * (found.outputs // p) * (found.channels // s)
        return found.rows * taps, f"{p} outputs x {s} channels a cycle"
