"""Networks of PyTorch whose operators run one by one."""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import fx
from torch.fx.node import map_arg
from torch.utils._pytree import tree_map_only

from ..graph import LOAD, Graph, Op

Keys = Any
"""Names of the tensors in a node's value: one name, a tuple of these, or None where it is none."""


@dataclass(frozen=True, eq=False)
class Program:
    """A trace in which every value is known by a name."""

    nodes: tuple[fx.Node, ...]
    """In an order in which they run."""
    root: torch.nn.Module | None
    """What submodules and attributes are of."""
    values: dict[fx.Node, Any]
    """What each node gives: tensors without content, with the strides of the trace; other things
    as they are."""
    keys: dict[fx.Node, Keys]
    state: dict[str, torch.Tensor]
    """Parameters, buffers and literal tensors by name."""
    overwrites: frozenset[fx.Node] = frozenset()
    """Nodes that change an operand, and whose operands are copied therefore."""
    held: dict[fx.Node, dict[str, str]] = field(default_factory=dict)
    """Of nodes that call a module: the names of its parameters in :attr:`state`."""

    @cached_property
    def layouts(self) -> dict[str, torch.Tensor]:
        """Every tensor's shape, type and strides."""
        found: dict[str, torch.Tensor] = {}
        for node in self.nodes:
            for key, value in zip(leaves(self.keys[node]), tensors(self.values[node]), strict=True):
                found.setdefault(key, value)
        return {**self.state, **found}

    def evaluate(self, wanted: Sequence[str], given: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """The tensors called ``wanted``, of those that are ``given`` and of constants."""
        env: dict[fx.Node, Any] = {}
        held = {**self.state, **given}
        pending = [self._makers[key][0] for key in wanted if key not in held]
        needed: set[fx.Node] = set()
        while pending:
            node = pending.pop()
            if node in needed:
                continue
            needed.add(node)
            if self._known(node, given) is _MISSING:
                pending += node.all_input_nodes
        for node in self.nodes:
            if node in needed:
                found = self._known(node, given)
                env[node] = self._run(node, env, given) if found is _MISSING else found
        found = []
        for key in wanted:
            if key in held:
                value = held[key]
            else:
                node, path = self._makers[key]
                value = env[node]
                for place in path:
                    value = value[place]
            found.append(value)
        return found

    @cached_property
    def _makers(self) -> dict[str, tuple[fx.Node, tuple[int, ...]]]:
        """The node that makes a tensor, and where in its value this is."""
        found: dict[str, tuple[fx.Node, tuple[int, ...]]] = {}

        def add(keys: Keys, node: fx.Node, path: tuple[int, ...]) -> None:
            if isinstance(keys, str):
                found.setdefault(keys, (node, path))
            elif isinstance(keys, tuple):
                for place, part in enumerate(keys):
                    add(part, node, (*path, place))

        for node in self.nodes:
            add(self.keys[node], node, ())
        return found

    def _known(self, node: fx.Node, given: dict[str, torch.Tensor]) -> Any:
        """The value where it need not be computed."""
        keys = self.keys[node]
        if keys is None:
            return self.values[node]
        names = list(leaves(keys))
        if all(name in given or name in self.state for name in names):
            return _filled(keys, self.values[node], {**self.state, **given} if names else {})
        return _MISSING

    def _run(self, node: fx.Node, env: dict[fx.Node, Any], given: dict[str, torch.Tensor]) -> Any:
        args = map_arg(node.args, env.__getitem__)
        kwargs = map_arg(node.kwargs, env.__getitem__)
        if node in self.overwrites:
            args, kwargs = tree_map_only(torch.Tensor, torch.clone, (args, kwargs))
        assert isinstance(args, tuple)
        if node.op == "call_function":
            assert callable(node.target)
            return node.target(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert self.root is not None
        module = self.root.get_submodule(str(node.target))
        names = self.held[node]
        changed = {own: given[key] for own, key in names.items() if key in given}
        return torch.func.functional_call(module, changed, args, kwargs)


_MISSING: Any = object()


def leaves(keys: Keys) -> Iterator[str]:
    """The names in it."""
    if isinstance(keys, str):
        yield keys
    elif isinstance(keys, tuple):
        for part in keys:
            yield from leaves(part)


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in it, in tuples and lists at any depth."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from tensors(part)


def name_parts(name: str, value: Any) -> Keys:
    """A name for each tensor in ``value``."""
    if isinstance(value, torch.Tensor):
        return name
    if isinstance(value, (tuple, list)) and any(True for _ in tensors(value)):
        return tuple(name_parts(f"{name}.{i}", part) for i, part in enumerate(value))
    return None


def is_part(node: fx.Node, keys: dict[fx.Node, Keys]) -> bool:
    """Whether it picks out of a tuple."""
    return (
        node.op == "call_function"
        and node.target is operator.getitem
        and isinstance(keys.get(node.args[0]), tuple)  # type: ignore[arg-type]
    )


def _filled(keys: Keys, value: Any, given: dict[str, torch.Tensor]) -> Any:
    if isinstance(keys, str):
        return given[keys]
    if isinstance(keys, tuple):
        return tuple(_filled(k, v, given) for k, v in zip(keys, value, strict=True))
    return value


@dataclass(frozen=True, eq=False)
class Imported:
    """A graph and what its operators compute."""

    graph: Graph
    inputs: tuple[str | None, ...]
    """The tensors of the module's inputs in order; None where one is not read."""
    outputs: tuple[str | None, ...]
    """The tensors of the module's results in order; one may be there twice; None where it is no
    tensor."""
    examples: dict[str, torch.Tensor]
    """The example inputs, by tensor."""
    program: Program
    copies: dict[str, str] = field(default_factory=dict)
    """Tensors that are plain copies of inputs or constants, to be outputs."""

    def of(self, graph: Graph) -> "Imported":
        """The same computation by a graph that was made of this one, by fusion, say."""
        return replace(self, graph=graph)

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """The tensors in ``graph.inputs``: parameters that several operators read."""
        with torch.no_grad():
            values = self.program.evaluate(self.graph.inputs, {})
        return dict(zip(self.graph.inputs, values, strict=True))

    @cached_property
    def _ops(self) -> dict[str, Op]:
        return {op.name: op for op in self.graph.ops}

    def compute(self, op: str, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """What the operator called ``op``, with all that is fused into it, makes of the values of
        its ``inputs``, in the order of its ``outputs``.

        PyTorch computes it, on operands with the strides that they have in the module: the same
        bits as the module's under ``torch.no_grad()`` (a module that takes a shortcut there, as
        ``TransformerEncoderLayer``, does not: ``torch.backends.mha.set_fastpath_enabled(False)``).
        A ``load`` gives the example.  Raises :class:`ValueError` for an operator that is
        none and for inputs of another count, shape or type.
        """
        if op not in self._ops:
            raise ValueError(f"{self.graph.name} has no operator {op!r}")
        found = self._ops[op]
        if len(inputs) != len(found.inputs):
            raise ValueError(f"{op!r} has {len(found.inputs)} inputs; {len(inputs)} were given")
        if found.kind == LOAD:
            return [self.examples[t].clone() for t in found.outputs]
        given = {
            name: self._laid(op, name, value)
            for name, value in zip(found.inputs, inputs, strict=True)
        }
        with torch.no_grad():
            wanted = [self.copies.get(t, t) for t in found.outputs]
            results = self.program.evaluate(wanted, given)
            return [r.clone() for r in results]

    def _laid(self, op: str, name: str, value: torch.Tensor) -> torch.Tensor:
        """With the strides of the trace, and requiring a gradient where parameters do: which
        kernel runs, and so rounding, depends on both."""
        like = self.program.layouts[self.copies.get(name, name)]
        if value.shape != like.shape or value.dtype != like.dtype:
            raise ValueError(
                f"{op!r}: input {name!r} is {list(like.shape)} of {like.dtype}; "
                f"{list(value.shape)} of {value.dtype} was given"
            )
        value = value.detach()
        if name in self.program.state:
            value.requires_grad_(like.requires_grad)
        if value.stride() == like.stride():
            return value
        # Through the places of elements in memory: expanded ones share theirs.
        size = sum((n - 1) * s for n, s in zip(like.shape, like.stride(), strict=True)) + 1
        places = torch.arange(size).as_strided(like.shape, like.stride())
        flat = torch.empty(size, dtype=value.dtype, device=value.device)
        flat[places.reshape(-1)] = value.reshape(-1)
        laid = flat.as_strided(like.shape, like.stride())
        return laid.requires_grad_(value.requires_grad)

    def run(self, inputs: Sequence[torch.Tensor] | None = None) -> list[torch.Tensor]:
        """All operators in their default order; the graph's outputs.

        ``inputs``: in the order of the module's, None is the examples.  Raises
        :class:`ValueError` for a graph in which operators are gone into views of parts.
        """
        values = self.state
        fresh = {} if inputs is None else dict(zip(self.inputs, inputs, strict=True))
        for op in self.graph.ops:
            missing = [t for t in op.inputs if t not in values]
            for name in missing:
                values[name] = self._viewed(name, values)
            if op.kind == LOAD and op.outputs[0] in fresh:
                results = [fresh[op.outputs[0]]]
            else:
                results = self.compute(op.name, [values[t] for t in op.inputs])
            values.update(zip(op.outputs, results, strict=True))
        return [values[t] if t in values else self._viewed(t, values) for t in self.graph.outputs]

    def _viewed(self, name: str, values: dict[str, torch.Tensor]) -> torch.Tensor:
        tensor = self.graph.tensors[name]
        whole = tensor.view
        if whole is None or self.graph.tensors[whole].bytes != tensor.bytes:
            raise ValueError(f"{name!r} shares bytes with other tensors; run it in a memory")
        value = values[whole] if whole in values else self._viewed(whole, values)
        return value.reshape(tensor.shape)
