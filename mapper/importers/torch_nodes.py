"""What a node of a trace by PyTorch is: kind, operands, attributes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch.fx.node import map_arg

from . import kinds
from .assemble import Node, Trace, starts
from .attributes import NAMES, Shape, attributes
from .imported import Program, leaves, tensors


def called(node: fx.Node) -> str:
    """The plain name of what a node calls."""
    target = node.target
    if isinstance(target, str):
        return target
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.rpartition("::")[2]
    return getattr(target, "__name__", str(target))


def refuse_training(graph: fx.Graph) -> None:
    """Raises :class:`ValueError` for dropout and batch norm as in training."""
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        name = called(node).strip("_")
        train = None
        if name in ("dropout", "alpha_dropout", "feature_dropout") and len(node.args) > 2:
            train = node.args[2]
        if name == "batch_norm" and len(node.args) > 5:
            train = node.args[5]
        if train is True or node.kwargs.get("training") is True:
            raise ValueError(
                f"{node.name!r} ({name}) runs as in training; export the module after .eval()"
            )


def node(found: fx.Node, program: Program, constants: set[str]) -> Node:
    """What :func:`.assemble.assemble` needs to know of ``found``; ``constants`` are those that
    come before it."""
    operands = tuple(k for n in _read(found) for k in leaves(program.keys[n]))
    module: torch.nn.Module | None = None
    name = called(found)
    if found.op == "call_module":
        assert program.root is not None
        module = program.root.get_submodule(str(found.target))
        name = type(module).__name__
        operands += tuple(program.held[found].values())
    results = tuple(leaves(program.keys[found]))
    shapes = [Shape(t.shape) for t in tensors(program.values[found])]
    kind, arguments = _described(found, name, module, program)
    source = next(iter(tensors([program.values[n] for n in _read(found)])), None)
    if kind in ("linear", "matmul"):
        kind = _product(found, name, module, program, arguments, constants)
    elif kind in ("expand", "slice", "to", "repeat") and len(operands) == 1 and source is not None:
        result = next(tensors(program.values[found]))
        if result.shape == source.shape and result.dtype == source.dtype:
            kind = "identity"  # it is the whole

    elif kind == "copy" and len(operands) == 2 and source is not None:
        # aten::copy gives its second operand, in the shape of the first.
        first, second = (program.layouts[k] for k in operands)
        if first.shape == second.shape and first.dtype == second.dtype:
            kind, operands = "identity", operands[1:]

    made: Node

    def final(trace: Trace) -> dict[str, Any]:
        made_of = attributes(kind, arguments, shapes)
        if kind == "split":
            made_of["starts"] = starts(trace, made, made_of["dim"])
        return made_of

    made = Node(found.name, kind, operands, results, final)
    return made


def _read(found: fx.Node) -> list[fx.Node]:
    """The nodes among its arguments, in their order."""
    read: list[fx.Node] = []
    map_arg((found.args, found.kwargs), lambda n: read.append(n) or n)
    return read


def _plain(argument: Any, program: Program) -> Any:
    """Tensors as shapes, other nodes as what they are."""
    if isinstance(argument, fx.Node):
        return _plain(program.values[argument], program)
    if isinstance(argument, torch.Tensor):
        return Shape(argument.shape)
    if isinstance(argument, (tuple, list)) and not isinstance(argument, torch.Size):
        return [_plain(part, program) for part in argument]
    return list(argument) if isinstance(argument, torch.Size) else argument


def _described(
    found: fx.Node, name: str, module: torch.nn.Module | None, program: Program
) -> tuple[str, dict[str, Any]]:
    """Its kind, and arguments by PyTorch's names."""
    given = [_plain(a, program) for a in found.args]
    named = {key: _plain(a, program) for key, a in found.kwargs.items()}
    kind = kinds.from_torch(name)
    plain = name.strip("_")
    if plain == "convolution":
        *first, transposed, output_padding, groups = given
        rank = len(first[1]) - 2
        kind = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
        named |= {"groups": groups, "output_padding": output_padding, "dilation": first[5]}
        given = first[:5]
    elif plain in ("addmm", "baddbmm", "addbmm"):
        given = given[1:]
    elif plain == "constant_pad_nd":
        given = [*given[:2], "constant", *given[2:]]
    if module is not None:
        arguments = _of_module(kind, module, given)
    elif kind in kinds.RECURRENT:
        arguments = _recurrent(kind, given)
    elif kind in kinds.CELLS:
        # aten::lstm_cell(input, hx, w_ih, w_hh, …)
        gates = {"lstm_cell": 4, "gru_cell": 3}.get(kind, 1)
        arguments = {
            "input": given[0], "input_size": given[2][1], "hidden_size": given[2][0] // gates,
        }  # fmt: skip
    elif kind == "slice":
        arguments = _slice(plain, given, named)
    elif kind == "transpose":
        arguments = _transposed(plain, given, named)
    elif plain == "unbind":
        arguments = {"dim": 0, **dict(zip(("input", "dim"), given, strict=False))}
    else:
        names = NAMES.get(kind, ("input",))
        arguments = dict(zip(names, given, strict=False))
    arguments |= {"input" if key == "self" else key: value for key, value in named.items()}
    if kind == "cat" and "tensors" not in arguments and "input" in arguments:
        arguments["tensors"] = arguments["input"]
    if kind == "einsum" and isinstance(given[1], Shape):
        arguments["tensors"] = given[1:]  # operands one by one, as Python's function has them
    bounds = {"clamp": ("min", "max"), "hardtanh": ("min_val", "max_val")}.get(kind, ())
    if bounds and [arguments.get(b) for b in bounds] == [0, 6]:
        kind = "relu6"
    return kind, arguments


def _of_module(kind: str, module: torch.nn.Module, given: Sequence[Any]) -> dict[str, Any]:
    """A module's settings have the names of the function's arguments."""
    names = [*NAMES.get(kind, ()), "input_size", "hidden_size", "num_layers", "bidirectional"]
    arguments = {n: getattr(module, n) for n in (*names, "proj_size") if hasattr(module, n)}
    for key, value in arguments.items():
        if isinstance(value, torch.Tensor):
            arguments[key] = Shape(value.shape)
    if kind == "pad":
        pads = arguments.pop("padding", getattr(module, "padding", 0))
        arguments["pad"] = pads
        name = type(module).__name__.lower()
        arguments["mode"] = name.partition("pad")[0].replace("zero", "constant")
    arguments["input"] = given[0] if given else Shape()
    if kind in kinds.RECURRENT and given:
        first = bool(getattr(module, "batch_first", False))
        arguments |= _steps(given[0], first)
    return arguments


def _steps(shape: Sequence[int], batch_first: bool) -> dict[str, int]:
    if len(shape) < 3:
        return {"steps": shape[0], "batch": 1}
    return {"steps": shape[int(batch_first)], "batch": shape[1 - int(batch_first)]}


def _recurrent(kind: str, given: Sequence[Any]) -> dict[str, Any]:
    """Of ``aten::lstm``, ``aten::gru`` …: with all sequences of one length, or packed."""
    packed = not isinstance(given[3], bool)
    shape, weights = given[0], given[3] if packed else given[2]
    rest = given[4:] if packed else given[3:]
    gates = {"lstm": 4, "gru": 3}.get(kind, 1)
    return {
        "input": shape,
        "input_size": weights[0][1],
        "hidden_size": weights[0][0] // gates,
        "proj_size": weights[1][1],
        "num_layers": rest[1],
        "bidirectional": rest[4],
        **_steps(shape, len(rest) > 5 and bool(rest[5])),
    }


def _slice(plain: str, given: Sequence[Any], named: dict[str, Any]) -> dict[str, Any]:
    names = {
        "select": ("input", "dim", "start"),
        "narrow": ("input", "dim", "start", "length"),
        "slice": ("input", "dim", "start", "end", "step"),
    }.get(plain.removesuffix("_copy"), ("input",))
    if "index" in named:
        named["start"] = named.pop("index")
    found = dict(zip(names, given, strict=False))
    if plain == "slice":
        found = {"dim": 0, **found, "start": found.get("start") or 0}
    return found


def _transposed(plain: str, given: Sequence[Any], named: dict[str, Any]) -> dict[str, Any]:
    rank = len(given[0])
    if plain in ("permute", "permute_copy"):
        dims = given[1:] if len(given) > 2 or isinstance(given[-1], int) else given[1:2]
        found = list(dims) if dims and isinstance(dims[0], int) else list(*dims)
        return {"input": given[0], "dims": found or named.get("dims")}
    if plain in ("t", "t_copy"):
        return {"input": given[0], "dims": list(range(rank))[::-1]}
    if plain in ("transpose", "swapaxes", "swapdims", "transpose_copy"):
        one, other = given[1:3] if len(given) > 2 else (named.get("dim0"), named.get("dim1"))
        if isinstance(one, int) and isinstance(other, int):
            dims = list(range(rank))
            dims[one], dims[other] = dims[other], dims[one]
            return {"input": given[0], "dims": dims}
    return {"input": given[0]}


def _product(
    found: fx.Node,
    name: str,
    module: torch.nn.Module | None,
    program: Program,
    arguments: dict[str, Any],
    constants: set[str],
) -> str:
    """``linear`` where the second factor is parameters, else ``matmul``; completes
    ``arguments``."""
    kind = kinds.from_torch(name)
    if module is not None:
        arguments["in_features"] = arguments["input"][-1]
        return "linear"
    read = _read(found)
    if name.strip("_") in ("addmm", "baddbmm", "addbmm"):
        read = read[1:]
    left = arguments["input"]
    if kind == "linear":
        arguments["other"] = Shape(arguments["weight"][::-1])
    arguments["in_features"] = left[-1]
    right = program.keys[read[1]] if len(read) > 1 else None
    return "linear" if right in constants else "matmul"
