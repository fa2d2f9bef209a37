"""Trained networks kept in the cache of builds, so that they are trained once.

The cache is ``$THRESHER_CACHE`` or the user's cache folder; an entry lies there under a hash of the
training's sources, PyTorch's version and what was asked for.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_path
from torch import nn

from ... import data
from ...threads import one_thread
from .. import mapping, resnet
from ..config import ReramConfig
from ..mapping import Layout
from .convert import Converted, Laid, laid
from .norms import fold
from .parts import parts_of

_SOURCES = data.__file__, mapping.__file__, resnet.__file__
"""Besides the training's own, what a trained network depends on."""


def cached(
    what: str, make: Callable[[], dict[str, np.ndarray]], given: bytes = b""
) -> dict[str, np.ndarray]:
    """What ``make`` gives on one thread, or gave before; it depends on ``what`` and ``given``."""
    sources = [*sorted(Path(__file__).parent.glob("*.py")), *map(Path, _SOURCES)]
    parts = [
        what.encode(),
        given,
        torch.__version__.encode(),
        *(path.read_bytes() for path in sources),
    ]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]
    chosen = os.environ.get("THRESHER_CACHE")
    folder = Path(chosen).expanduser() if chosen else user_cache_path("thresher") / "builds"
    made = folder / key / "trained.npz"
    if not made.is_file():
        with one_thread():
            arrays = make()
        made.parent.mkdir(parents=True, exist_ok=True)
        partial = made.with_name(f"{os.getpid()}.npz")
        np.savez(partial, allow_pickle=False, **arrays)
        partial.replace(made)  # at once: another process may be reading
    os.utime(made.parent)  # what was not used for longest is evicted first
    with np.load(made, allow_pickle=False) as file:
        return dict(file)


def state_of(module: nn.Module) -> dict[str, np.ndarray]:
    """Its state dict as arrays."""
    return {name: value.cpu().numpy() for name, value in module.state_dict().items()}


def load_state(module: nn.Module, arrays: dict[str, np.ndarray]) -> None:
    """Takes its state dict out of ``arrays``, which may hold more."""
    module.load_state_dict({name: torch.from_numpy(arrays[name]) for name in module.state_dict()})


def arrays_of(found: Converted, seconds: float) -> dict[str, np.ndarray]:
    """All of a conversion without pruning but its configuration, and how long it took."""
    arrays = {"seconds": np.array(seconds)} | state_of(found.module)
    for name, layer in found.layers.items():
        shares = json.dumps(dict(layer.kept))
        arrays |= {f"{name}.step": np.array(layer.step), f"{name}.kept": np.array(shares)}
    return arrays


def converted(
    module: nn.Module, config: ReramConfig, layout: Layout, arrays: dict[str, np.ndarray]
) -> tuple[Converted, float]:
    """The conversion and the seconds that :func:`arrays_of` was given.

    ``module``, as it was before conversion, takes the weights over.
    """
    module = module.eval()
    fold(module)
    load_state(module, arrays)
    layers: dict[str, Laid] = {}
    for part in parts_of(module, config, layout):
        part.step = float(arrays[f"{part.name}.step"])
        layers[part.name] = laid(part, json.loads(str(arrays[f"{part.name}.kept"])))
    return Converted(module, layers), float(arrays["seconds"])
