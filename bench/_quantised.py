"""The rival of table lookup: products in few bits, by multipliers of constant integers."""

from dataclasses import dataclass

import numpy as np

_SAMPLES = 1 << 17
"""Of activations, at most, when a quantiser is fitted."""
_EVERY = 8
"""Of the clippings that columns are rounded with, every so manieth is a start to fit them."""


@dataclass(frozen=True, eq=False)
class Product:
    """An exact product ``rows @ weight`` to be approximated."""

    name: str
    train: np.ndarray
    """[N, D]: what an approximation may be fitted to."""
    test: np.ndarray
    """[N', D]: what it is judged by."""
    weight: np.ndarray
    """[D, M]"""

    def __str__(self) -> str:
        return f"{self.name}, {' x '.join(map(str, self.weight.shape))}"

    def error(self, guess: np.ndarray) -> float:
        """Centred NMSE of ``guess`` [N', M]: ``|guess - y|**2 / |y - mean of each output|**2``."""
        y = self.test @ self.weight
        return float(np.square(guess - y).sum() / np.square(y - y.mean(axis=0)).sum())


@dataclass(frozen=True, eq=False)
class Affine:
    """``values = low + step * k`` with ``k`` from 0 to ``2**bits - 1``."""

    bits: int
    low: float
    step: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """int64: the nearest ``k``."""
        k = np.rint((values - self.low) / self.step)
        return k.clip(0, (1 << self.bits) - 1).astype(np.int64)

    @classmethod
    def fit(cls, values: np.ndarray, bits: int) -> "Affine":
        """The one of least squared error that Lloyd's iterations find from a few clippings."""
        flat = np.asarray(values, np.float64).ravel()
        flat = flat[:: -(-flat.size // _SAMPLES)]
        middle, half = (flat.min() + flat.max()) / 2, np.ptp(flat) / 2 or 1.0
        best = (np.inf, cls(bits, float(middle), 1.0))
        for anchor in {float(middle), float(flat.mean()), float(flat.min())}:
            for share in (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0):
                width = 2 * half * share
                low = anchor if anchor == flat.min() else anchor - width / 2
                best = min(best, _lloyd(flat, cls(bits, low, width / ((1 << bits) - 1))),
                           key=lambda found: found[0])  # fmt: skip
        return best[1]


def _lloyd(values: np.ndarray, start: Affine, rounds: int = 20) -> tuple[float, Affine]:
    """Squared error and quantiser after so many times: nearest ``k``, then the line through."""
    found = start
    for _ in range(rounds):
        k = found(values).astype(np.float64)
        spread = k.var()
        if not spread:
            break
        step = float(((k - k.mean()) * values).mean() / spread)
        found = Affine(found.bits, float(values.mean() - step * k.mean()), step)
    return float(np.square(found.low + found.step * found(values) - values).sum()), found


def grid(bits: int) -> np.ndarray:
    """Integers that weights of ``bits`` bits can be: two's complement; of one bit, -1 and 1."""
    half = 1 << bits - 1
    return np.array([-1, 1]) if bits == 1 else np.arange(-half, half)


@dataclass(frozen=True, eq=False)
class Quantised:
    """``y[m] = scale[m] * (k @ weights)[m] + offset[m]`` with ``k`` of ``inputs``."""

    inputs: Affine
    weights: np.ndarray
    """int64 [D, M]"""
    scale: np.ndarray
    offset: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """[N, M] of ``rows`` [N, D]."""
        return self.scale * (self.inputs(rows) @ self.weights) + self.offset


def quantise(
    weight: np.ndarray, bits: int, inputs: Affine, rows: np.ndarray, targets: np.ndarray,
    sweeps: int = 10,
) -> Quantised:  # fmt: skip
    """Weights of ``bits`` bits, a scale and an offset for each output.

    They are to make ``targets`` [N, M] of ``inputs`` of ``rows`` [N, D], as ``weight`` does.

    Without ``sweeps`` each column is rounded with the clipping of least squared error.  With them,
    columns start from many clippings, weights are, one after the other, set to what the error of
    the *output* asks for, so many times, and of each column the best is taken.  Scales and offsets
    are those of least squared error in the end.
    """
    x = inputs(rows).astype(np.float64)
    x_mean, y_mean = x.mean(axis=0), targets.mean(axis=0)
    x, y = x - x_mean, targets - y_mean
    gram, moments = x.T @ x, x.T @ y
    rounded, nearest = _roundings(weight, bits)
    if sweeps:
        starts = np.concatenate([rounded[::_EVERY], nearest[None]])
        tried = [_descend(weights, bits, gram, moments, sweeps) for weights in starts]
        explained = [_scale(w, gram, moments)[1] for w in tried]
        weights = np.choose(np.argmax(explained, axis=0), tried)
    else:
        weights = nearest
    scale, _ = _scale(weights, gram, moments)
    offset = y_mean - scale * (x_mean @ weights)
    return Quantised(inputs, weights.astype(np.int64), scale, offset)


def _descend(
    weights: np.ndarray, bits: int, gram: np.ndarray, moments: np.ndarray, sweeps: int
) -> np.ndarray:
    """Coordinate by coordinate, and the scales after each sweep."""
    weights = weights.copy()
    for _ in range(sweeps):
        scale, _ = _scale(weights, gram, moments)
        slope = gram @ weights - moments / scale
        for d in np.flatnonzero(gram.diagonal()):
            new = _on(bits, weights[d] - slope[d] / gram[d, d])
            slope += np.outer(gram[d], new - weights[d])
            weights[d] = new
    return weights


def _scale(
    weights: np.ndarray, gram: np.ndarray, moments: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """[M] each: the scale of least squared error, 1 where there is none, and what it explains."""
    power = np.einsum("dm,dm->m", weights, gram @ weights)
    along = np.einsum("dm,dm->m", weights, moments)
    scale = along / np.where(power > 0, power, 1)
    return np.where(scale != 0, scale, 1), scale * along


def _roundings(weight: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """[clippings, D, M]: ``weight`` with many steps of either sign; [D, M]: the nearest to it."""
    largest = np.abs(weight).max(axis=0) / np.abs(grid(bits)).max()
    steps = np.outer(np.linspace(0.1, 1.5, 57), largest + (largest == 0))
    steps = np.concatenate([steps, -steps])[:, None]
    rounded = _on(bits, weight / steps)
    errors = np.square(rounded * steps - weight).sum(axis=1)
    nearest = np.take_along_axis(rounded, errors.argmin(axis=0)[None, None], axis=0)[0]
    return rounded, nearest


def _on(bits: int, values: np.ndarray) -> np.ndarray:
    """The nearest on the grid."""
    if bits == 1:
        return np.where(values < 0, -1.0, 1.0)
    half = 1 << bits - 1
    return np.rint(values).clip(-half, half - 1)
