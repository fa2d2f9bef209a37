"""Networks as files: one ``.npz``, without pickled objects, checked when it is read.

The entry ``network`` is JSON text: for each node its name, kind, sources and plain fields.
The arrays of node 3, say, are the entries ``3.tables``, ``3.bias`` and so on.  The same network
gives the same bytes.
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar, cast
from zipfile import BadZipFile

import numpy as np

from .graph import Graph, Node

_VERSION = 1

N = TypeVar("N", bound=Graph[Any, Any])


class Files(Generic[N]):
    """Files of networks of the class ``network``, whose operations, and what these consist of, are
    the dataclasses ``kinds``.  Fields hold integer arrays, such dataclasses, and what JSON can."""

    def __init__(self, network: type[N], kinds: Iterable[type]):
        self._network = network
        self._kinds = {kind.__name__: kind for kind in kinds}

    def save(self, network: N, path: str | Path) -> None:
        """Writes ``network`` to the file ``path``."""
        with Path(path).open("wb") as file:  # np.savez would append .npz to another name
            np.savez_compressed(file, **cast("dict[str, Any]", _pack(network)))

    def load(self, path: str | Path) -> N:
        """The network in the file ``path``.

        Raises :class:`ValueError` where the file holds none, or one whose nodes do not fit.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                if damaged := file.zip.testzip():  # np.load does not see it
                    raise ValueError(f"{damaged} is damaged")
                return self._unpack(dict(file))
        except FileNotFoundError:
            raise
        except (
            BadZipFile, zlib.error, KeyError, TypeError, ValueError, OSError, EOFError
        ) as error:  # fmt: skip
            raise ValueError(f"{path} does not hold a network: {error}") from error

    def digest(self, network: N) -> str:
        """64 hexadecimal digits that are the same for equal networks only."""
        hashed = hashlib.sha256()
        for name, array in _pack(network).items():
            hashed.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            hashed.update(np.ascontiguousarray(array).tobytes())
        return hashed.hexdigest()

    def opened(self, file: str, digest: str = "") -> tuple[N, str]:
        """The network in ``file``, for a configuration, and what it hashes to; the last few files
        are not read again while they do not change.

        Raises :class:`ValueError` where the file cannot be read or holds no network, and where it
        is not the one with ``digest`` if there is one.
        """
        try:
            network, found = _opened(self, file, Path(file).stat().st_mtime_ns)
        except OSError as error:
            raise ValueError(f"file = {file!r} cannot be read: {error}") from error
        if digest and digest != found:
            raise ValueError(
                f"the network in {file} has the digest {found}, not {digest}: it has changed; "
                "leave digest out to take it as it is"
            )
        return network, found

    def _unpack(self, file: Mapping[str, np.ndarray]) -> N:
        text = json.loads(str(file["network"]))
        if text["version"] != _VERSION:
            raise ValueError(
                f"version {text['version']}, not {_VERSION}: written by another release"
            )
        return self._network(tuple(
            Node(
                node["name"],
                self._build(node["operation"], f"{place}.", file),
                tuple(node["sources"]),
            )
            for place, node in enumerate(text["nodes"])
        ))  # fmt: skip

    def _build(self, text: Any, prefix: str, file: Mapping[str, np.ndarray]) -> Any:
        """What :func:`_describe` described."""
        if isinstance(text, list):
            return tuple(text)
        if not isinstance(text, dict):
            return text
        kind = self._kinds.get(text["kind"])
        if kind is None:
            raise ValueError(f"no operation is called {text['kind']!r}")
        values = {}
        for f in fields(kind):
            if not f.init:
                continue
            entry = f"{prefix}{f.name}"
            values[f.name] = (
                file[entry].astype(np.int64) if entry in file
                else self._build(text[f.name], f"{entry}.", file)
            )  # fmt: skip
        return kind(**values)


@lru_cache(maxsize=4)
def _opened(files: Files[N], file: str, _changed: int) -> tuple[N, str]:
    network = files.load(file)
    return network, files.digest(network)


def _pack(network: Graph[Any, Any]) -> dict[str, np.ndarray]:
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
