"""Components that a design has many of, elaborated once.

Large arrays of equal components take Amaranth minutes, which come to one text anyway
(:func:`thresher.hdl.verilog.emit` writes equal modules once).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from amaranth.hdl import ClockSignal, Elaboratable, Instance, ResetSignal, Value
from amaranth.lib.wiring import Component, In

Found = dict[tuple[type, Any], tuple[str, Component]]
"""Name and component of each kind of :class:`Repeated` that an emission has met."""

_found: ContextVar[tuple[str, Found] | None] = ContextVar("found", default=None)


def emitting() -> bool:
    """Whether Verilog is being written, of which modules may be instances of others."""
    return _found.get() is not None


class Repeated(Elaboratable):
    """``component`` as a submodule; all with its type and ``key`` are the same but for their ports.

    In an emission (:func:`emission`) it becomes an instance of a module that is emitted once; else,
    as in Amaranth's own simulator, the component as it is.  A ``ResetInserter`` around the design
    does not reach into an instance: for components that have no state to reset.
    """

    def __init__(self, component: Component, key: Any):
        self._component, self._key = component, key

    def elaborate(self, platform):
        component, emission = self._component, _found.get()
        if emission is None:
            return component
        name, found = emission
        kind = type(component), self._key
        if kind not in found:
            # Submodules' names are in lower case: no clash.
            found[kind] = f"{name}.{kind[0].__name__}{len(found)}", component
        component._MustUse__used = True  # pyright: ignore[reportAttributeAccessIssue]
        ports = [
            ("i" if member.flow == In else "o", "__".join(map(str, path)), Value.cast(value))
            for path, member, value in component.signature.flatten(component)
        ]
        return Instance(
            found[kind][0],
            ("i", "clk", ClockSignal()),
            ("i", "rst", ResetSignal()),
            *(port for port in ports if len(port[2])),
        )


@contextmanager
def emission(name: str) -> Iterator[Found]:
    """While a design ``name`` is elaborated: collects what is to be emitted beside it."""
    found: Found = {}
    token = _found.set((name, found))
    try:
        yield found
    finally:
        _found.reset(token)
