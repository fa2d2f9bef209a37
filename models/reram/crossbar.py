"""A chip's products by the fastest way that is exact: one GEMM, the compiled model, or NumPy."""

from typing import Literal

import numpy as np
import torch

from .array import Chip, fitting, product
from .kernel import Kernel
from .mapping import Mapping

How = Literal["auto", "gemm", "kernel", "numpy"]
Passes = Literal["offset", "two"]


class Crossbar:
    """``crossbar(inputs)`` is :func:`.array.product` of the chip, int64 [batch, outputs].

    ``how``: ``gemm``, one matrix product, where the chip is :attr:`~.array.Chip.linear`;
    ``kernel``, compiled; ``numpy``, the golden model itself; ``auto``, the first of these that
    gives the same integers.  A GEMM runs on ``device``, the others on the processor.
    """

    def __init__(
        self, chip: Chip | Mapping, how: How = "auto", device: str | torch.device = "cpu"
    ) -> None:
        """A mapping stands for its ideal chip.

        Raises :class:`ValueError` where ``gemm`` would not be exact, and
        :class:`~.kernel.KernelMissing` where the kernel is needed and there is no compiler.
        """
        self.chip = chip if isinstance(chip, Chip) else Chip.ideal(chip)
        mapping = self.chip.mapping
        linear = self.chip.linear
        if how == "gemm" and not linear:
            raise ValueError(
                f"a GEMM is not what the crossbar computes: columns add up {mapping.most} levels "
                f"where ADCs saturate at {mapping.config.adc_top}, or cells or ADCs have flaws; "
                "take 'auto'"
            )
        self.how: How = how if how != "auto" else "gemm" if linear else "kernel"
        """What ``auto`` has become."""
        self._kernel = Kernel(self.chip) if self.how == "kernel" else None
        self.gemm = Gemm(self.chip, device) if self.how == "gemm" else None
        """Where products are that."""

    @property
    def mapping(self) -> Mapping:
        """Of the chip."""
        return self.chip.mapping

    def __call__(self, inputs: np.ndarray, first: int = 0) -> np.ndarray:
        """Unsigned ``inputs`` [batch, inputs]; read noise starts at ``first``; raises alike."""
        if self.gemm:
            return self.gemm(inputs)
        return self._kernel(inputs, first) if self._kernel else product(self.chip, inputs, first)

    def signed(self, inputs: np.ndarray, passes: Passes = "offset", first: int = 0) -> np.ndarray:
        """The product of signed ``inputs``, which word lines do not carry as they are.

        ``offset`` adds ``2**(input_bits-1)`` to every input and takes that times the column sums
        of the weights off digitally; ``two`` subtracts the product of what is negative.  Raises
        :class:`ValueError` where an input does not fit; ``two`` takes one bit more of magnitude.
        """
        inputs = np.asarray(inputs)
        if passes == "two":
            positive, negative = np.maximum(inputs, 0), np.maximum(-inputs, 0)
            return self(positive, first) - self(negative, first + len(inputs))
        if inputs.min(initial=0) < -self._half:
            raise ValueError(
                f"input {inputs.min()} is below {-self._half}, the least with an offset for "
                f"input_bits = {self.mapping.config.input_bits}; saturate the inputs or raise "
                "input_bits"
            )
        return self(inputs + self._half, first) - self._half * self.mapping.weights().sum(axis=0)

    def drift(self) -> np.ndarray:
        """int64 [outputs]: what flaws add to a product of signed inputs that takes an offset.

        The offset passes through the cells as they are, and is taken off as they should be.
        """
        return self._half * (self.chip.weights() - self.mapping.weights()).sum(axis=0)

    @property
    def _half(self) -> int:
        return 1 << self.mapping.config.input_bits - 1


class Gemm:
    """What a chip computes that is linear: the product with its weights.

    In the narrowest floating point whose every partial sum is an integer that it holds, whatever
    the order of the sums: float32 up to 2**24, float64 up to 2**53.
    """

    def __init__(self, chip: Chip, device: str | torch.device = "cpu") -> None:
        """Raises :class:`ValueError` where sums may exceed 2**53."""
        self.mapping = mapping = chip.mapping
        weights = chip.weights()
        bound = int(np.abs(weights).sum(axis=0).max()) * ((1 << mapping.config.input_bits) - 1)
        if bound > 1 << 53:
            raise ValueError(f"sums of up to {bound} exceed 2**53; split the inputs in two")
        self.dtype = torch.float32 if bound <= 1 << 24 else torch.float64
        """Of :meth:`multiply`."""
        self._host = np.float32 if self.dtype == torch.float32 else np.float64
        self.weights = torch.as_tensor(weights).to(device, self.dtype)

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """int64 [batch, outputs] of inputs [batch, inputs]; raises as :func:`.array.fitting`."""
        x = torch.as_tensor(fitting(self.mapping, inputs).astype(self._host))
        return self.multiply(x).cpu().numpy().astype(np.int64)

    def multiply(self, inputs: torch.Tensor) -> torch.Tensor:
        """The product with integers that are not checked, as integers of the type :attr:`dtype`.

        Signed inputs are exact too where their magnitude has ``input_bits``.
        """
        return inputs.to(self.weights.device, self.dtype) @ self.weights
