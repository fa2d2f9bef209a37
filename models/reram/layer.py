"""The golden layer: what the engine gives for images, and the words that load it.

With x the values under a window (:func:`.mapping.patches`) and W the weights, a result is ::

    sum = product(chip, x) + bias                 x @ W + bias where the chip is linear
    y   = round_shift(sum * multiplier, shift)    half up
    y   = 0 where y < 0                           activation relu
    y   = clip(y) where |y| > threshold           the threshold with y's sign, or 0
"""

from functools import cached_property
from typing import Any

import numpy as np

from .array import Chip
from .crossbar import Crossbar
from .layer_config import ReramLayerConfig
from .mapping import map_weights, patches


class Layer:
    """A layer's weights and what turns sums into results."""

    def __init__(
        self,
        config: ReramLayerConfig,
        weights: np.ndarray,
        biases: np.ndarray,
        multiplier: int,
        shift: int,
        threshold: int,
    ) -> None:
        """Integer ``weights`` [inputs, features] (:func:`.mapping.matrix`), ``biases`` [features].

        Raises :class:`ValueError` for another shape, and for what the engine's memories and
        registers do not hold; for weights as :func:`.mapping.map_weights`.
        """
        self.config = config
        weights, biases = np.asarray(weights), np.asarray(biases)
        wanted = (config.inputs, config.features)
        if weights.shape != wanted or biases.shape != wanted[1:]:
            raise ValueError(
                f"weights {weights.shape} and biases {biases.shape} are not those of a layer of "
                f"{wanted[0]} inputs and {wanted[1]} features, {wanted} and {wanted[1:]}; matrix() "
                "makes the weights of a convolution's"
            )
        if biases.dtype.kind not in "iuO":
            raise TypeError(f"needs integer biases, not {biases.dtype}; scale and round them")
        self.weights = weights
        """As given."""
        self.mapping = map_weights(config, weights)
        """How the weights lie in cells."""
        self.biases = biases - self.offset * weights.sum(axis=0, dtype=np.int64)
        """int64 [features]: as the engine adds them, what the inputs' offset gives taken off."""
        most = int(np.abs(self.biases).max())
        if most >> config.bias_bits - 1:
            raise ValueError(
                f"a bias of magnitude {most} does not fit bias_bits = {config.bias_bits}, what the "
                "largest sum takes: more says the same for every input; saturate it"
            )
        self.multiplier, self.shift, self.threshold = multiplier, shift, threshold
        for name, bits in register_bits(config).items():
            if not 0 <= getattr(self, name) < 1 << bits:
                raise ValueError(
                    f"{name} = {getattr(self, name)} is not from 0 to {(1 << bits) - 1}, what its "
                    f"register of {bits} bits holds"
                )

    @property
    def offset(self) -> int:
        """What is added to every activation before word lines see it; 0 unless signed."""
        return 1 << self.config.input_bits - 1 if self.config.signed_inputs else 0

    def __call__(self, images: np.ndarray, chip: Chip | None = None) -> np.ndarray:
        """int64 [n, features, height', width']: results of ``images`` [n, channels, height, width].

        On ``chip``, or an ideal one.  Read noise of the v-th window, all images' one after the
        other, is that of row v of :func:`.array.product`.  Raises as :meth:`lines`.
        """
        return self.results(self.sums(images, chip))

    def sums(self, images: np.ndarray, chip: Chip | None = None) -> np.ndarray:
        """int64 [n, features, height', width']: the sums with their biases; likewise."""
        rows = self.lines(images)
        crossbar = self._ideal if chip is None else Crossbar(chip)
        sums = crossbar(rows.reshape(-1, self.config.inputs)) + self.biases
        return sums.reshape(*rows.shape[:3], -1).transpose(0, 3, 1, 2)

    def results(self, sums: np.ndarray) -> np.ndarray:
        """int64: what becomes of ``sums`` of any shape."""
        y = self._scaled(sums)
        if self.config.clip == "zero":
            return np.where(np.abs(y) > self.threshold, 0, y)
        return y.clip(-self.threshold, self.threshold)

    def clipped(self, sums: np.ndarray) -> int:
        """How many of the results the threshold changes."""
        return int((np.abs(self._scaled(sums)) > self.threshold).sum())

    def lines(self, images: np.ndarray) -> np.ndarray:
        """int64 [n, height', width', inputs]: what word lines see of every window, bits unsigned.

        Raises :class:`ValueError` for images of another shape and values beyond ``input_bits``,
        and :class:`TypeError` where they are not integers.
        """
        c, images = self.config, np.asarray(images)
        if images.dtype.kind not in "iu":
            raise TypeError(f"needs integer images, not {images.dtype}; scale and round them")
        if images.ndim != 4 or images.shape[1:] != (c.channels, c.height, c.width):
            raise ValueError(
                f"images have the shape {images.shape}, not [n, {c.channels}, {c.height}, "
                f"{c.width}]; the configuration's channels, height and width say what enters"
            )
        low, high = int(images.min(initial=0)), int(images.max(initial=0))
        whole = images.astype(np.int64) + self.offset
        if whole.min(initial=0) < 0 or whole.max(initial=0) >> c.input_bits:
            raise ValueError(
                f"activations from {low} to {high} do not fit {-self.offset} to "
                f"{(1 << c.input_bits) - 1 - self.offset}, input_bits = {c.input_bits}"
                f"{' signed' if self.offset else ''}; saturate them, raise input_bits, or set "
                "signed_inputs where they are negative"
            )
        around = (c.padding, c.padding)
        whole = np.pad(whole, ((0, 0), (0, 0), around, around), constant_values=self.offset)
        return patches(whole, c.kernel, c.stride, 0, c.layout)

    def load(self, chip: Chip | None = None) -> dict[str, Any]:
        """Beats of the engine's ports ``cells``, ``indicators`` and ``biases``.

        Sign indicators are those of ``chip`` where one is given; their parity stays that of what
        was written, so that indicators that have flipped are noticed.
        """
        c, mapping = self.config, self.mapping
        cells = self._placed(mapping.cells.swapaxes(2, 4))
        flips = self._placed(mapping.flipped.swapaxes(2, 3))
        written, read = (
            self._placed(signs == -1)
            for signs in (mapping.signs, mapping.signs if chip is None else chip.signs)
        )
        words = flips.size // c.scan
        flips, written = flips.reshape(words, c.scan), written.reshape(words, c.adc_outputs)
        parity = (flips.sum(axis=1) + written.sum(axis=1)) & 1
        return {
            "cells": {"levels": cells.reshape(-1, c.fragment_rows)},
            "indicators": {
                "flips": _word(flips),
                "signs": _word(read.reshape(words, c.adc_outputs)),
                "parity": parity,
            },
            "biases": self.biases,
        }

    def registers(self) -> dict[str, int]:
        """Of the engine."""
        return {name: getattr(self, name) for name in register_bits(self.config)}

    @cached_property
    def _ideal(self) -> Crossbar:
        return Crossbar(self.mapping)

    def _scaled(self, sums: np.ndarray) -> np.ndarray:
        # As round_shift(), which keeps to 64 bits.
        wide = self.config.total_bits + self.config.scale_bits > 62
        product = (sums.astype(object) if wide else sums) * self.multiplier
        y = (product + (1 << self.shift >> 1) >> self.shift).clip(-(1 << 62), 1 << 62)
        return (y.clip(0) if self.config.activation == "relu" else y).astype(np.int64)

    def _placed(self, held: np.ndarray) -> np.ndarray:
        """[planes, fragments, outputs, ...] as [planes, down, across, fragment, ADC, output, ...].

        What holds nothing is 0.
        """
        c = self.config
        missing = (
            c.down * c.fragments - held.shape[1],
            c.across * c.adcs * c.adc_outputs - held.shape[2],
        )
        held = np.pad(held, ((0, 0), *((0, n) for n in missing), *[(0, 0)] * (held.ndim - 3)))
        shape = c.planes, c.down, c.fragments, c.across, c.adcs, c.adc_outputs, *held.shape[3:]
        return held.reshape(shape).swapaxes(2, 3)


def register_bits(config: ReramLayerConfig) -> dict[str, int]:
    """The widths of the engine's registers, all of them unsigned."""
    magnitude = config.output_bits - (config.activation == "none")
    return {"multiplier": config.scale_bits, "shift": config.shift_bits, "threshold": magnitude}


def _word(bits: np.ndarray) -> np.ndarray:
    """Rows of bits as integers, the first bit the lowest."""
    count = bits.shape[1]
    powers = np.array([1 << n for n in range(count)], object if count > 62 else np.int64)
    return bits.astype(powers.dtype) @ powers
