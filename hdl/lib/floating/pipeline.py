"""Arithmetic as a list of steps, cut into as many stages as a clock needs."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations, pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

Values = dict[str, Value]
"""What flows from step to step, by name."""


class Step:
    """A part of a computation: values to values.

    ``delay``: roughly how long it takes, in nanoseconds of an ECP5.
    """

    def __init__(self, function: Callable[[Module, Values], Values], delay: float):
        self.function, self.delay = function, delay
        self.name = function.__name__.strip("_")


def pipeline(m: Module, steps: Sequence[Step], stages: int, values: Values) -> Values:
    """What the last step gives, ``stages`` cycles later; registers are where steps end.

    The slowest stage is as fast as can be; of more stages than steps the last are registers alone.
    """
    last_of_stage = set(cuts(tuple(step.delay for step in steps), min(stages, len(steps))))
    values = _held("given", values, m.d.comb)
    for number, step in enumerate(steps):
        domain = m.d.sync if number in last_of_stage else m.d.comb
        values = _held(step.name, step.function(m, values), domain)
    for number in range(len(steps), stages):
        values = _held(f"wait{number}", values, m.d.sync)
    return values


def _held(name: str, values: Values, domain) -> Values:
    held: Values = {}
    for key, value in values.items():
        if isinstance(value, Const):
            held[key] = value
            continue
        held[key] = Signal(value.shape(), name=f"{name}_{key}", reset_less=True)
        domain += held[key].eq(value)
    return held


@cache
def cuts(delays: tuple[float, ...], stages: int) -> tuple[int, ...]:
    """The last step of each stage; of the fastest, that with the least sum of squares."""

    def cost(cuts: tuple[int, ...]) -> tuple[float, float]:
        bounds = [0, *(cut + 1 for cut in cuts)]
        times = [sum(delays[a:b]) for a, b in pairwise(bounds)]
        return max(times), sum(time * time for time in times)

    last = len(delays) - 1
    return min(((*cuts, last) for cuts in combinations(range(last), stages - 1)), key=cost)


def wire(m: Module, value: Value, name: str) -> Signal:
    """``value`` under a name, so that it is emitted once however often it is used."""
    signal = Signal(value.shape(), name=name)
    m.d.comb += signal.eq(value)
    return signal


def shift_right(bit: int, room: int = 0) -> Step:
    """A step that shifts ``smaller`` by ``1 << bit`` where that bit of ``by`` is set.

    ``room``: zeros that come below it first.  ``sticky``: whether a 1 was lost.
    """

    def align(m: Module, x: Values) -> Values:
        value, shifts = Cat(Const(0, room), x["smaller"]), x["by"][bit]
        lost = shifts & value[: 1 << bit].any()
        return x | {
            "smaller": Mux(shifts, value[1 << bit :], value)[: len(value)],
            "sticky": x["sticky"] | lost if "sticky" in x else lost,
        }

    return Step(align, 1.15)


def leading_zeros(m: Module, value: Value) -> tuple[Value, Value]:
    """How many zeros lead ``value``, or its width less one where all do; whether it has a 1."""
    parts = [(bit, Const(0, 0)) for bit in reversed(value)]  # from the highest bit on
    while len(parts) > 1:
        odd = parts[len(parts) & ~1 :]
        pairs = zip(parts[::2], parts[1::2], strict=False)
        parts = [
            (wire(m, some | more, "some"), wire(m, Cat(Mux(some, high, low), ~some), "zeros"))
            for (some, high), (more, low) in pairs
        ] + odd
    some, zeros = parts[0]
    return zeros, some
