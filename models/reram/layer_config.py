"""Configuration of the engine ``reram``: crossbars with their periphery, a layer at a time.

A layer is a convolution; a linear layer is one of a window of 1 over an image of 1 x 1.  Its matrix
[inputs, features] of integer weights lies in D x A crossbars, ``down`` one below the other and
``across`` side by side (and in two planes of these where the mapping is ``dual``).

Crossbars of a row see the same inputs and share a controller, which walks over the fragments and
the bits that are not skipped; rows work side by side.  In a step, a fragment with a bit of its
inputs, every ADC reads ``scan`` columns, one a cycle.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from ..config import parameter
from .config import ReramConfig
from .mapping import Layout


class ReramLayerConfig(ReramConfig):
    """Crossbars, and the layer that they hold."""

    channels: int = parameter(16, unit="channels", ge=1, le=4096)
    """Of the image that enters; all inputs of a linear layer."""
    height: int = parameter(8, unit="pixels", ge=1, le=1024)
    """Of the image that enters; 1 where linear."""
    width: int = parameter(8, unit="pixels", ge=1, le=1024)
    """Of the image that enters; 1 where linear."""
    kernel: int = parameter(3, unit="pixels", ge=1, le=11)
    """Side of the window; 1 where linear."""
    stride: int = parameter(1, unit="pixels", ge=1, le=11)
    """From window to window."""
    padding: int = parameter(1, unit="pixels", ge=0, le=10)
    """Zeros around the image, on each side."""
    layout: Layout = parameter("channel")
    """Which inputs of a window are neighbours in a fragment: the positions of a channel, or the
    channels of a position."""
    features: int = parameter(32, unit="features", ge=1, le=4096)
    """Of the layer: channels of what leaves."""

    signed_inputs: bool = parameter(False)
    """Activations are two's complement; ``2**(input_bits-1)`` is added to each as it enters, and
    what that adds to the sums is part of the biases."""
    activation: Literal["relu", "none"] = parameter("relu")
    """Results are unsigned, 0 where a sum is negative; or signed."""
    clip: Literal["saturate", "zero"] = parameter("saturate")
    """What a result beyond the register ``threshold`` becomes: the threshold, or 0 (FT-ClipAct).
    Without activation both signs, by magnitude."""
    output_bits: int = parameter(16, unit="bits", ge=1, le=32)
    """Of a result."""
    scale_bits: int = parameter(16, unit="bits", ge=1, le=18)
    """Of the register ``multiplier``, unsigned."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "small": {
            "rows": 16, "columns": 16, "weight_bits": 4, "input_bits": 4, "columns_per_adc": 8,
            "channels": 3, "height": 4, "width": 4, "features": 5, "output_bits": 4,
        },
        "large": {"channels": 64, "features": 64},
        **{name: ReramConfig.presets[name] for name in ("forms4", "forms16", "isaac", "dual")},
    }  # fmt: skip

    @property
    def inputs(self) -> int:
        """Of the matrix: values under a window."""
        return self.channels * self.kernel**2

    @property
    def windows(self) -> tuple[int, int]:
        """Down and across an image: pixels of what leaves."""
        down, across = (
            (side + 2 * self.padding - self.kernel) // self.stride + 1
            for side in (self.height, self.width)
        )
        return down, across

    @property
    def down(self) -> int:
        """Crossbars one below the other, D."""
        return -(-self.inputs // self.rows)

    @property
    def across(self) -> int:
        """Crossbars side by side, A."""
        return -(-self.features // self.outputs)

    @property
    def adcs(self) -> int:
        """Of a crossbar: as many as the columns that hold features need."""
        used = min(self.features, self.outputs) * self.slices
        return -(-used // self.columns_per_adc)

    @property
    def scan(self) -> int:
        """Columns that an ADC reads in a step, and its cycles."""
        return min(self.features * self.slices, self.columns_per_adc)

    @property
    def adc_outputs(self) -> int:
        """Weights side by side that an ADC reads; feature n belongs to ADC ``n // adc_outputs`` of
        crossbar ``n // outputs``, both counted from the crossbar's first feature."""
        return self.scan // self.slices

    @property
    def fragment_bits(self) -> int:
        """Of a fragment's number in its crossbar."""
        return (self.fragments - 1).bit_length()

    @property
    def sum_bits(self) -> int:
        """Of what a crossbar's outputs add up to, two's complement: no weights and inputs, and no
        flaws of cells or converters exceed it."""
        code = max(self.adc_top, self.top * self.fragment_rows)
        held = code * sum(1 << s * self.cell_bits for s in range(self.slices))
        return (held * ((1 << self.input_bits) - 1) * self.fragments).bit_length() + 1

    @property
    def total_bits(self) -> int:
        """Of the whole layer's sums with their bias, two's complement."""
        everything = self.down * self.planes * (2 if self.offset else 1)
        return self.sum_bits + (everything - 1).bit_length() + 1

    @property
    def bias_bits(self) -> int:
        """Of a bias, two's complement."""
        return self.total_bits - 1

    @property
    def shift_bits(self) -> int:
        """Of the register ``shift``, which reaches past a sum times a multiplier."""
        return (self.total_bits + self.scale_bits).bit_length()

    @model_validator(mode="after")
    def _layer(self) -> Self:
        if self.columns_per_adc % self.slices:
            raise ValueError(
                f"columns_per_adc = {self.columns_per_adc} splits the {self.slices} slices of a "
                f"weight over two ADCs; set a multiple of {self.slices}"
            )
        if self.columns % self.columns_per_adc:
            raise ValueError(
                f"columns_per_adc = {self.columns_per_adc} does not divide columns = "
                f"{self.columns}; ADCs that read fewer idle, so set a divisor"
            )
        least = self.kernel - 2 * self.padding
        if min(self.height, self.width) < least:
            raise ValueError(
                f"a window of {self.kernel} does not fit {self.height} x {self.width} pixels with "
                f"a padding of {self.padding}; take a smaller kernel, more padding, or {least} "
                "pixels"
            )
        if self.padding >= self.kernel:
            raise ValueError(
                f"padding = {self.padding} leaves windows of a kernel of {self.kernel} with "
                f"nothing but padding; at most {self.kernel - 1}"
            )
        if self.activation == "none" and self.output_bits < 2:
            raise ValueError(
                "output_bits = 1 is a sign without a magnitude; set 2 or more, or activation = relu"
            )
        return self
