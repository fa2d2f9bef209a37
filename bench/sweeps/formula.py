"""Figures made of other figures by arithmetic, and conditions on them."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...models.config import unknown

_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: operator.pow, ast.USub: operator.neg,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "log2": math.log2, "sqrt": math.sqrt, "min": min, "max": max,
}  # fmt: skip


_COMPARISONS: dict[type, Callable[..., bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


@dataclass(frozen=True)
class Formula:
    """Such as ``cycles / fmax_mhz``: names, numbers, ``+ - * / // % **``, ``log2``, ``sqrt``,
    ``min`` and ``max``.

    Raises :class:`ValueError` for anything else.
    """

    text: str
    _tree: ast.expr = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tree", self._parse())

    def _parse(self) -> ast.expr:
        try:
            tree = ast.parse(self.text.strip(), mode="eval").body
            _names(tree)
        except (SyntaxError, TypeError) as error:
            raise ValueError(
                f"formula {self.text!r}: {error.args[0]}; use names, numbers, + - * / // % **, "
                f"{', '.join(_FUNCTIONS)}"
            ) from None
        return tree

    @property
    def names(self) -> frozenset[str]:
        """What it is made of."""
        return frozenset(_names(self._tree))

    def __call__(self, values: Mapping[str, Any]) -> float | None:
        """None where a name has no value, or the result is no finite number."""
        if any(values.get(name) is None for name in self.names):
            return None
        try:
            found = float(_evaluate(self._tree, values))
        except (ZeroDivisionError, ValueError, OverflowError, TypeError):
            return None
        return found if math.isfinite(found) else None


@dataclass(frozen=True)
class Condition(Formula):
    """Such as ``lanes * batch <= 64 and preset != 'large'``: formulas that are compared, ``and``,
    ``or``, ``not``, parentheses; texts in quotation marks, ``True`` and ``False``.

    Raises :class:`ValueError` for anything else.
    """

    def _parse(self) -> ast.expr:
        try:
            tree = ast.parse(self.text.strip(), mode="eval").body
            _names(tree, True)
        except (SyntaxError, TypeError) as error:
            raise ValueError(
                f"condition {self.text!r}: {error.args[0]}; use comparisons of formulas, and, or, "
                "not"
            ) from None
        return tree

    @property
    def names(self) -> frozenset[str]:
        """What it is made of."""
        return frozenset(_names(self._tree, True))

    def __call__(self, values: Mapping[str, Any]) -> bool:
        """Raises :class:`ValueError` for names that have no value."""
        for name in self.names:
            if name not in values:
                raise ValueError(f"condition {self.text!r}: {unknown('name', name, values)}")
        return bool(_evaluate(self._tree, values))


def _names(tree: ast.AST, logic: bool = False) -> list[str]:
    """All, each as often as it stands there; raises :class:`TypeError` for what is no formula."""
    parts: list[ast.expr]
    match tree:
        case ast.Constant(value=bool() | str()) if logic:
            return []
        case ast.Constant(value=int() | float()) if not isinstance(tree.value, bool):
            return []
        case ast.Name(id=name):
            return [name]
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            parts = [left, right]
        case ast.UnaryOp(op, operand) if type(op) in _OPERATORS:
            parts = [operand]
        case ast.UnaryOp(ast.Not(), operand) if logic:
            parts = [operand]
        case ast.Compare(left, ops, rights) if logic and all(type(o) in _COMPARISONS for o in ops):
            parts = [left, *rights]
        case ast.BoolOp(values=values) if logic:
            parts = values
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            parts = arguments
        case _:
            raise TypeError(f"{ast.unparse(tree)} is none of them")
    return [found for part in parts for found in _names(part, logic)]


def _evaluate(tree: Any, values: Mapping[str, Any]) -> Any:
    def value(part: ast.expr) -> Any:
        return _evaluate(part, values)

    match tree:
        case ast.Constant(value=found):
            return found
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left, op, right):
            return _OPERATORS[type(op)](value(left), value(right))
        case ast.UnaryOp(ast.Not(), operand):
            return not value(operand)
        case ast.UnaryOp(op, operand):
            return _OPERATORS[type(op)](value(operand))
        case ast.BoolOp(ast.And(), parts):
            return all(map(value, parts))
        case ast.BoolOp(_, parts):
            return any(map(value, parts))
        case ast.Compare(left, ops, rights):
            found = [value(left), *map(value, rights)]
            pairs = zip(ops, found, found[1:], strict=False)
            return all(_COMPARISONS[type(op)](a, b) for op, a, b in pairs)
    return _FUNCTIONS[tree.func.id](*map(value, tree.args))
