"""What a learner is given, checked."""

import numpy as np

from .ridge import product, regression


def checked(
    rows: np.ndarray, weight: np.ndarray | None, targets: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows [N, D], weight [D, M] and targets [N, M], in double precision.

    Without targets, they are the product; with targets alone, the weight is that of a linear
    regression.  Raises :class:`ValueError` where shapes do not fit or a value is not finite.
    """
    x = _matrix("rows", rows)
    if weight is None and targets is None:
        raise ValueError("give the weight, or the targets of the rows")
    if targets is None:
        w = _matrix("weight", weight)
        if len(w) != x.shape[1]:
            raise ValueError(f"a weight for {x.shape[1]} inputs is not of the shape {w.shape}")
        return x, w, product(x, w)
    t = _matrix("targets", targets)
    if len(t) != len(x):
        raise ValueError(f"{len(x)} rows need as many targets, not {len(t)}")
    if weight is not None:
        w = _matrix("weight", weight)
        if w.shape != (x.shape[1], t.shape[1]):
            raise ValueError(
                f"a weight for {x.shape[1]} inputs and {t.shape[1]} targets is not of the shape "
                f"{w.shape}"
            )
        return x, w, t
    return x, regression(x - x.mean(axis=0), t), t


def _matrix(name: str, values: np.ndarray | None) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"{name} are a matrix with rows and columns, not of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} hold NaN or infinity; mend the values before learning")
    return array
