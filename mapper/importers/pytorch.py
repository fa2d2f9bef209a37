"""Networks of PyTorch, by ``torch.export`` or else ``torch.fx``."""

import contextlib
import copy
import io
import operator
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import fx
from torch.fx.graph import _PyTreeCodeGen
from torch.utils import _pytree

from . import kinds, torch_nodes
from .assemble import Trace, Value, assemble
from .imported import Imported, Keys, Program, is_part, leaves, name_parts, tensors

if TYPE_CHECKING:
    from ..fusion import Rules
    from ..views import Views

Source = torch.nn.Module | torch.export.ExportedProgram


@dataclass(frozen=True)
class _Found:
    """A trace, however it was made."""

    nodes: tuple[fx.Node, ...]
    root: torch.nn.Module | None
    values: dict[fx.Node, Any]
    inputs: tuple[fx.Node | None, ...]
    examples: tuple[torch.Tensor | None, ...]
    """As :attr:`inputs`."""
    outputs: tuple[Any, ...]
    """Nodes, or other things where they are no tensors."""
    changed: tuple[fx.Node, ...]
    """What is written back to buffers and inputs."""
    state: dict[fx.Node, torch.Tensor]
    overwrites: frozenset[fx.Node] = frozenset()


def from_torch(
    module: Source,
    example_inputs: Sequence[Any] | torch.Tensor = (),
    *,
    kwargs: Mapping[str, Any] | None = None,
    element_bytes: int | None = 1,
    fuse: "bool | Rules" = False,
    views: "Views | None" = None,
    name: str | None = None,
) -> Imported:
    """The graph of a module on inputs like ``example_inputs``, and what its operators compute.

    ``module``: any module in evaluation mode, a ``torch.fx.GraphModule`` (as it is), or an
    ``ExportedProgram`` (which has its example inputs).  It is exported, and in-place operators are
    made functional; where ``torch.export`` cannot, ``torch.fx`` traces it symbolically.
    ``element_bytes`` as in :func:`.load`; ``fuse``: by these rules, True by
    :data:`...fusion.DEFAULT`; ``views``: None is none.

    Raises :class:`ValueError`, saying what to do, for a module in training mode that has dropout
    or batch norm, dynamic shapes, values that depend on data, and what no trace can follow.
    """
    arguments = example_inputs
    if isinstance(arguments, torch.Tensor):
        arguments = (arguments,)
    arguments = tuple(arguments)
    if isinstance(module, torch.export.ExportedProgram):
        found, label = _exported(module), name or "exported"
    else:
        label = name or type(module).__name__
        _refuse_training(module, label)
        found = _traced(module, arguments, dict(kwargs or {}), label)
    imported = _imported(found, label, element_bytes)
    graph = imported.graph
    if fuse:
        from .. import fusion

        graph = fusion.fuse(graph, fusion.DEFAULT if fuse is True else fuse)
    if views is not None:
        graph = views(graph)
    return imported.of(graph)


def _refuse_training(module: torch.nn.Module, label: str) -> None:
    nn = torch.nn
    for path, part in module.named_modules():
        random = isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0
        random = random or (isinstance(part, nn.RNNBase) and part.dropout > 0)
        if part.training and (random or isinstance(part, nn.modules.batchnorm._BatchNorm)):
            raise ValueError(
                f"{label}: {path or 'the module'} ({type(part).__name__}) is in training mode; "
                "call .eval() on the module first"
            )


def _traced(
    module: torch.nn.Module, arguments: tuple[Any, ...], kwargs: dict[str, Any], label: str
) -> _Found:
    if isinstance(module, fx.GraphModule):
        return _recorded(module, arguments, kwargs, label, "")
    try:
        # Where it fails it prints what it has.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.export.export(module, arguments, kwargs)
    except Exception as error:  # its classes are its own
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        try:
            graph = _Tracer().trace(module)
        except Exception as other:
            raise ValueError(
                f"{label}: torch.export cannot follow the module ({reason}), nor torch.fx "
                f"({type(other).__name__}: {str(other).strip().splitlines()[0]}); take out what "
                "depends on data, or give an ExportedProgram or a GraphModule"
            ) from error
        warnings.warn(
            f"{label}: traced by torch.fx, as torch.export failed: {reason}", stacklevel=3
        )
        return _recorded(fx.GraphModule(module, graph), arguments, kwargs, label, reason)
    return _exported(program)


class _Tracer(fx.Tracer):
    """Looks into modules, unless they are operators of known kinds."""

    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        own = super().is_leaf_module(m, module_qualified_name)
        return own and kinds.from_torch(type(m).__name__) in kinds.VOCABULARY


def _exported(program: torch.export.ExportedProgram) -> _Found:
    torch_nodes.refuse_training(program.graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # No operator is taken apart; in-place ones become functional.
        program = program.run_decompositions({})
    user_input = torch.export.graph_signature.InputKind.USER_INPUT
    user_output = torch.export.graph_signature.OutputKind.USER_OUTPUT
    nodes = tuple(n for n in program.graph.nodes if n.op != "output")
    placeholders = [n for n in nodes if n.op == "placeholder"]
    state: dict[fx.Node, torch.Tensor] = {}
    inputs: list[fx.Node | None] = []
    held = {**program.state_dict, **program.constants}
    for node, spec in zip(placeholders, program.graph_signature.input_specs, strict=True):
        if spec.kind == user_input:
            tensor = isinstance(node.meta.get("val"), torch.Tensor)
            inputs.append(node if tensor else None)
        elif isinstance(value := held.get(spec.target or ""), torch.Tensor):
            state[node] = value
    example = program.example_inputs
    flat = _pytree.tree_leaves(example) if example is not None else []
    examples = [x if isinstance(x, torch.Tensor) else None for x in flat]
    examples += [None] * (len(inputs) - len(examples))
    last = next(n for n in program.graph.nodes if n.op == "output")
    results, changed = [], []
    for result, spec in zip(last.args[0], program.graph_signature.output_specs, strict=True):
        if spec.kind == user_output:
            results.append(result)
        elif isinstance(result, fx.Node):
            changed.append(result)
    values = {n: n.meta.get("val") for n in nodes}
    for node in nodes:
        if node.op == "get_attr":
            values[node] = operator.attrgetter(str(node.target))(program.graph_module)
            if isinstance(values[node], torch.Tensor):
                state[node] = values[node]
    return _Found(
        nodes, program.graph_module, values, tuple(inputs), tuple(examples), tuple(results),
        tuple(changed), state,
    )  # fmt: skip


def _recorded(
    module: fx.GraphModule,
    arguments: tuple[Any, ...],
    kwargs: dict[str, Any],
    label: str,
    reason: str,
) -> _Found:
    """Runs the trace once, to see shapes, strides and what operators overwrite."""
    flat: list[Any] = list(arguments)
    if isinstance(module.graph._codegen, _PyTreeCodeGen):
        flat = _pytree.tree_leaves((arguments, kwargs))
    nodes = tuple(n for n in module.graph.nodes if n.op != "output")
    torch_nodes.refuse_training(module.graph)
    real: dict[fx.Node, Any] = {}
    inputs: list[fx.Node | None] = []
    examples: list[torch.Tensor | None] = []
    state: dict[fx.Node, torch.Tensor] = {}
    overwrites: set[fx.Node] = set()
    place = {n: i for i, n in enumerate(nodes)}
    interpreter = fx.Interpreter(copy.deepcopy(module))
    interpreter.env = real
    with torch.no_grad():
        for node in nodes:
            if node.op == "placeholder":
                value = _argument(node, flat, kwargs, label)
                real[node] = value.clone() if isinstance(value, torch.Tensor) else value
                inputs.append(node if isinstance(value, torch.Tensor) else None)
                examples.append(value if isinstance(value, torch.Tensor) else None)
                continue
            before = [(n, t, t._version) for n in node.all_input_nodes for t in tensors(real[n])]
            real[node] = interpreter.run_node(node)
            if node.op == "get_attr" and isinstance(real[node], torch.Tensor):
                state[node] = operator.attrgetter(str(node.target))(module)
            for source, tensor, version in before:
                if tensor._version != version:
                    overwrites.add(node)
                    _check_overwritten(node, source, tensor, real, place, label, reason)
    last = next(n for n in module.graph.nodes if n.op == "output")
    results = tuple(part for value in last.args for part in _pytree.tree_leaves(value))
    values = {n: _pytree.tree_map_only(torch.Tensor, _layout, value) for n, value in real.items()}
    return _Found(
        nodes, module, values, tuple(inputs), tuple(examples), results, (), state,
        frozenset(overwrites),
    )  # fmt: skip


def _argument(node: fx.Node, flat: list[Any], kwargs: dict[str, Any], label: str) -> Any:
    if flat:
        return flat.pop(0)
    if node.target in kwargs:
        return kwargs[str(node.target)]
    if node.args:
        return node.args[0]  # its default
    raise ValueError(f"{label}: no example input for {node.target!r}; give one a parameter")


def _layout(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _check_overwritten(
    node: fx.Node,
    source: fx.Node,
    tensor: torch.Tensor,
    real: Mapping[fx.Node, Any],
    place: Mapping[fx.Node, int],
    label: str,
    reason: str,
) -> None:
    """Raises where what an operator overwrites is the module's or is read after it by its old
    name."""
    storage = tensor.untyped_storage()._cdata
    for other, value in real.items():
        same = any(t.untyped_storage()._cdata == storage for t in tensors(value))
        if same and other.op == "get_attr":
            raise ValueError(
                f"{label}: {node.name!r} overwrites {other.target!r}, which the module keeps; "
                f"return the new content instead{_why(reason)}"
            )
        later = [u for u in other.users if place.get(u, len(place)) > place[node]]
        if other is not node and same and later:
            raise ValueError(
                f"{label}: {node.name!r} overwrites {other.name!r}, which {later[0].name!r} reads "
                f"after it; write it out of place{_why(reason)}"
            )


def _why(reason: str) -> str:
    return f" (torch.export, which can follow this, failed: {reason})" if reason else ""


def _imported(found: _Found, label: str, element_bytes: int | None) -> Imported:
    keys: dict[fx.Node, Keys] = {}
    state: dict[str, torch.Tensor] = {}
    stored: dict[Any, str] = {}

    def stored_as(name: str, tensor: torch.Tensor) -> str:
        """The same name for the same parameter."""
        identity = (
            tensor.untyped_storage()._cdata, tensor.storage_offset(), tuple(tensor.shape),
            tensor.stride(), tensor.dtype,
        )  # fmt: skip
        key = stored.setdefault(identity, name)
        state.setdefault(key, tensor)
        return key

    for node in found.nodes:
        value = found.values[node]
        _check_fixed(node, value, label)
        if node in found.state:
            keys[node] = stored_as(node.name, found.state[node])
        elif is_part(node, keys):
            keys[node] = cast(Any, keys[cast(fx.Node, node.args[0])])[node.args[1]]
        else:
            keys[node] = name_parts(node.name, value)
    held = {
        node: _parameters(node, found, stored_as)
        for node in found.nodes
        if node.op == "call_module"
    }
    program = Program(found.nodes, found.root, found.values, keys, state, found.overwrites, held)
    trace = Trace(
        label,
        {key: _value(tensor) for key, tensor in program.layouts.items()},
        [],
        [cast(str, keys[n]) for n in found.inputs if n is not None],
        [key for n in (*found.outputs, *found.changed) for key in _keys_of(n, keys)],
        set(state),
    )
    known = set(state)
    for node in found.nodes:
        if node.op in ("placeholder", "get_attr") or keys[node] is None or is_part(node, keys):
            continue
        made = torch_nodes.node(node, program, known)
        trace.nodes.append(made)
        if made.operands and all(v in known for v in made.operands):
            known.update(made.results)
    results = [k if k else [None] for k in (list(_keys_of(n, keys)) for n in found.outputs)]
    graph = assemble(trace, element_bytes)
    outputs = iter(trace.outputs)
    return Imported(
        graph,
        tuple(
            None if n is None or keys[n] not in graph.tensors else cast(str, keys[n])
            for n in found.inputs
        ),
        tuple(None if k is None else next(outputs) for ks in results for k in ks),
        {
            cast(str, keys[n]): x
            for n, x in zip(found.inputs, found.examples, strict=True)
            if n is not None and x is not None
        },
        program,
        trace.copies,
    )


def _keys_of(found: Any, keys: Mapping[fx.Node, Keys]) -> Iterable[str]:
    return leaves(keys[found]) if isinstance(found, fx.Node) else ()


def _parameters(node: fx.Node, found: _Found, stored_as: Any) -> dict[str, str]:
    """Names in the state of what a module holds, by the module's own names."""
    assert found.root is not None
    module = found.root.get_submodule(str(node.target))
    own = [*module.named_parameters(), *module.named_buffers()]
    return {
        name: stored_as(f"{node.target}.{name}", tensor)
        for name, tensor in own
        if not name.endswith("num_batches_tracked")
    }


def _value(tensor: torch.Tensor) -> Value:
    return Value(
        tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), 8 * tensor.element_size()
    )


def _check_fixed(node: fx.Node, value: Any, label: str) -> None:
    if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        raise ValueError(
            f"{label}: {node.name!r} is a number that depends on data ({value}); a schedule is "
            "made beforehand: compute it outside, or export with fixed shapes"
        )
    for tensor in tensors(value):
        for axis, size in enumerate(tensor.shape):
            if not isinstance(size, int):
                raise ValueError(
                    f"{label}: dimension {axis} of {node.name!r} is dynamic ({size}); a schedule "
                    "is made for fixed sizes: export without dynamic_shapes, with example inputs "
                    "of the sizes that are wanted"
                )
