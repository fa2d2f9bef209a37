"""Graphs of networks from files and from PyTorch."""

import importlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..graph import Graph
from . import kinds

if TYPE_CHECKING:
    from ..fusion import Rules
    from ..views import Views


def load(
    source: str | Path,
    *,
    element_bytes: int | None = 1,
    fuse: "bool | Rules" = True,
    views: "Views | None" = None,
    dimensions: Mapping[str, int] | None = None,
) -> Graph:
    """The graph of ``source``: a ``.json`` file (:mod:`..graph_json`), an ``.onnx`` file, or
    ``package.module:callable``.

    The module is looked for in the current directory too.  The callable takes no arguments and
    returns a ``torch.nn.Module`` and its example inputs (a tuple of tensors or one tensor), or a
    module with an attribute ``example_inputs``.
    ``element_bytes``: bytes of every activation's and parameter's element; None: each tensor's own
    type.  A JSON file has its own sizes.  ``fuse``: by these rules, True by
    :data:`..fusion.DEFAULT`; what a JSON file holds stays as it is.  ``views``: None is
    ``Views()``.  ``dimensions``: values of an ONNX model's dynamic dimensions.

    Raises :class:`ValueError`, saying what is expected, for anything else, and
    :class:`FileNotFoundError`.
    """
    from .. import fusion
    from ..views import Views

    text = str(source)
    suffix = Path(text).suffix.lower()
    if dimensions and suffix != ".onnx":
        raise ValueError(f"dimensions are for ONNX files; {text!r} is none: leave them out")
    if suffix == ".json":
        graph = from_json(text)
    elif suffix == ".onnx":
        from . import onnx_models

        graph = onnx_models.load(text, element_bytes=element_bytes, dimensions=dimensions)
    elif ":" in text:
        from .pytorch import from_torch

        module, inputs = _called(text)
        imported = from_torch(module, inputs, element_bytes=element_bytes)
        graph = imported.graph
    else:
        raise ValueError(
            f"{text!r} is no .json file, no .onnx file and no package.module:callable; give one "
            "of these"
        )
    if fuse and suffix != ".json":
        graph = fusion.fuse(graph, fusion.DEFAULT if fuse is True else fuse)
    return (Views() if views is None else views)(graph)


def from_json(path: str | Path) -> Graph:
    """The graph in a JSON file, with kinds of the common vocabulary: what the file has by ONNX's
    or PyTorch's names is called as :mod:`.kinds` does."""
    from .. import graph_json

    graph = graph_json.read(path)
    ops = [replace(op, kind=kinds.from_json(op.kind, len(op.inputs))) for op in graph.ops]
    return Graph(graph.name, graph.tensors.values(), ops, graph.inputs, graph.outputs)


def _called(text: str) -> tuple[Any, Any]:
    """The module and example inputs that ``package.module:callable`` gives."""
    name, _, attribute = text.partition(":")
    expected = (
        "expected package.module:callable, a callable without arguments that returns a "
        "torch.nn.Module and its example inputs, or a module with an attribute example_inputs"
    )
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"{text!r}: no module {name!r} ({error}); {expected}; run where it can be imported"
        ) from error
    finally:
        sys.path.remove(here)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{text!r}: {name!r} has no {attribute!r}; {expected}")
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"{text!r} is {type(found).__name__}; {expected}")
    import torch

    made: Any = found
    if not isinstance(found, torch.nn.Module):
        try:
            inspect.signature(found).bind()
        except TypeError as error:
            raise ValueError(f"{text!r} cannot be called without arguments: {error}") from error
        made = found()
    if isinstance(made, tuple) and len(made) == 2:
        module, inputs = made
    else:
        module, inputs = made, getattr(made, "example_inputs", None)
    if not isinstance(module, torch.nn.Module):
        raise ValueError(f"{text!r} returned {type(module).__name__}; {expected}")
    if inputs is None:
        raise ValueError(
            f"{text!r} returned {type(module).__name__} without example inputs; {expected}"
        )
    return module, inputs
