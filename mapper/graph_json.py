"""Graphs from and to JSON."""

import json
from pathlib import Path
from typing import Any

from .graph import Graph, Op, Tensor


def read(path: str | Path) -> Graph:
    """The graph in a file: ``{"name", "tensors": {name: bytes}, "ops": [{"op", "in", "out",
    "weight_bytes"}]}``, optionally with ``"inputs"``, ``"outputs"``, and in place of bytes
    ``{"bytes", "shape", "dtype", "view", "offset"}``.

    An operator's kind is what stands before a colon in ``"op"``, in lower case; its name
    ``"name"`` or else that of its first result.  Raises :class:`ValueError` where the file is not
    such a one.
    """
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
        return from_json(found)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: not a graph: {type(error).__name__} {error}; it needs 'name', 'tensors' "
            "(bytes by name) and 'ops' ('op', 'in', 'out', 'weight_bytes')"
        ) from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands there twice")
    return found


def from_json(found: dict[str, Any]) -> Graph:
    """The graph that :func:`to_json` or a file describes."""
    tensors = []
    for name, size in found["tensors"].items():
        if isinstance(size, dict):
            shape = tuple(size.get("shape", ()))
            tensors.append(Tensor(name, **{**size, "shape": shape}))
        else:
            tensors.append(Tensor(name, size))
    ops = [
        Op(
            op.get("name", op["out"][0] if op["out"] else f"op{place}"),
            op["op"].split(":")[0].lower(),
            tuple(op["in"]),
            tuple(op["out"]),
            op.get("weight_bytes", 0),
            op.get("attributes", {}),
            tuple(op.get("fused", ())),
        )
        for place, op in enumerate(found["ops"])
    ]
    # What a load brings is listed among a file's inputs too.
    written = {tensor for op in ops for tensor in op.outputs}
    inputs = [tensor for tensor in found.get("inputs", ()) if tensor not in written]
    return Graph(found["name"], tensors, ops, inputs, found.get("outputs"))


def to_json(graph: Graph) -> dict[str, Any]:
    """In JSON's types; :func:`from_json` gives the same graph."""
    return {
        "name": graph.name,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "tensors": {
            t.name: {
                "bytes": t.bytes, "shape": list(t.shape), "dtype": t.dtype,
                "view": t.view, "offset": t.offset,
            }
            for t in graph.tensors.values()
        },
        "ops": [
            {
                "name": op.name, "op": op.kind, "in": list(op.inputs), "out": list(op.outputs),
                "weight_bytes": op.weight_bytes, "attributes": dict(op.attributes),
                "fused": list(op.fused),
            }
            for op in graph.ops
        ],
    }  # fmt: skip
