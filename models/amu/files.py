"""Networks as files: one ``.npz``, without pickled objects, checked when it is read.

The entry ``network`` is JSON text: for each node its name, kind, sources and plain fields.
The arrays of node 3, say, are the entries ``3.tables``, ``3.bias`` and so on.  The same network
gives the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_args
from zipfile import BadZipFile

import numpy as np

from .encoder import Encoder
from .layer import Format, Layer
from .network import Network, Node, Operation

_VERSION = 1
_KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(Operation)}
_PARTS: dict[str, type] = {"Encoder": Encoder, "Format": Format, "Layer": Layer}


def save(network: Network, path: str | Path) -> None:
    """Writes ``network`` to the file ``path``."""
    with Path(path).open("wb") as file:  # np.savez would append .npz to another name
        np.savez_compressed(file, **cast("dict[str, Any]", _pack(network)))


def load(path: str | Path) -> Network:
    """The network in the file ``path``.

    Raises :class:`ValueError` where the file holds none, or one whose nodes do not fit.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return _unpack(dict(file))
    except FileNotFoundError:
        raise
    except (BadZipFile, KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} does not hold a network: {error}") from error


def digest(network: Network) -> str:
    """64 hexadecimal digits that are the same for equal networks only."""
    hashed = hashlib.sha256()
    for name, array in _pack(network).items():
        hashed.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def _pack(network: Network) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    nodes = []
    for place, node in enumerate(network.nodes):
        text = {"name": node.name, "sources": list(node.sources)}
        nodes.append({**text, "operation": _describe(node.operation, f"{place}.", arrays)})
    text = json.dumps({"version": _VERSION, "nodes": nodes})
    return {"network": np.array(text), **arrays}


def _describe(value: Any, prefix: str, arrays: dict[str, np.ndarray]) -> Any:
    """JSON for ``value``; arrays among its fields go to ``arrays`` under ``prefix``."""
    if isinstance(value, np.ndarray):
        arrays[prefix[:-1]] = _narrow(value)
        return None
    if not is_dataclass(value):
        return value
    return {"kind": type(value).__name__} | {
        f.name: _describe(getattr(value, f.name), f"{prefix}{f.name}.", arrays)
        for f in fields(value)
    }


def _narrow(values: np.ndarray) -> np.ndarray:
    """The same integers in the smallest little-endian type that holds them."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    kind = np.result_type(np.min_scalar_type(low), np.min_scalar_type(high))
    return values.astype(kind.newbyteorder("<") if kind.kind in "iu" else np.int64)


def _unpack(file: Mapping[str, np.ndarray]) -> Network:
    text = json.loads(str(file["network"]))
    if text["version"] != _VERSION:
        raise ValueError(f"version {text['version']}, not {_VERSION}: written by another release")
    return Network(tuple(
        Node(node["name"], _build(node["operation"], f"{place}.", file), tuple(node["sources"]))
        for place, node in enumerate(text["nodes"])
    ))  # fmt: skip


def _build(text: Any, prefix: str, file: Mapping[str, np.ndarray]) -> Any:
    """What :func:`_describe` described."""
    if isinstance(text, list):
        return tuple(text)
    if not isinstance(text, dict):
        return text
    kind = (_KINDS | _PARTS).get(text["kind"])
    if kind is None:
        raise ValueError(f"no operation is called {text['kind']!r}")
    values = {}
    for f in fields(kind):
        if not f.init:
            continue
        entry = f"{prefix}{f.name}"
        values[f.name] = (
            file[entry].astype(np.int64) if entry in file
            else _build(text[f.name], f"{entry}.", file)
        )  # fmt: skip
    return kind(**values)
