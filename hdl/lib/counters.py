"""Counters within counters."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Module, Mux, Signal, Value, ValueLike


def walk(
    m: Module, enable: ValueLike, limits: Mapping[str, int], suffix: str = ""
) -> tuple[dict[str, Signal], Value]:
    """Nested counters of so many values each, the first one fastest, that step with ``enable``.

    By their names, to which signals have ``suffix`` appended; and whether all are at the end, after
    which all begin again.
    """
    counters: dict[str, Signal] = {}
    carry, at_end = Value.cast(enable), []
    for name, limit in limits.items():
        counter = counters[name] = Signal(range(limit), name=f"{name}{suffix}")
        end = counter == limit - 1
        with m.If(carry):
            m.d.sync += counter.eq(Mux(end, 0, counter + 1))
        at_end.append(end)
        carry = carry & end
    return counters, Cat(at_end).all()
