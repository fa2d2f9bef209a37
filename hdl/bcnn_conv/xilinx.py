"""How many bits are set, counted by look-up tables and carry chains of Xilinx' devices.

Two positions of a chain count seven bits of one weight: six, and the carry that comes in, make two
bits of the sum and a carry of four times the weight, which may meet six bits more.  So two LUT6
take four bits away, where a full adder of one takes one.  Levels of such chains leave columns of at
most three bits, which a last one adds up.

Products with weights are added two by two in the look-up tables that make them, with what another
of these tables has left.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple, TypeVar

from amaranth.hdl import C, Cat, Module, Value

from .cells import Bit, Carry4Chain, Lut6x2, later

T = TypeVar("T")
Columns = list[list[T]]
"""Bits by the power of two that they are worth."""

PRODUCTS = 6
"""That a row of look-up tables adds, two in each."""


class Rule(NamedTuple):
    """Which chains a level has."""

    start: int
    """As many bits of a column, or more, begin a chain."""
    go_on: int
    """As many bits are taken by a chain that comes from below."""


class Step(NamedTuple):
    """A chain's part that takes ``bits`` of a weight: a position, or two where they are more than
    two, the second of which has room for one of twice the weight."""

    weight: int
    bits: list
    more: list

    @property
    def positions(self) -> int:
        """Look-up tables."""
        return 1 if len(self.bits) < 3 else 2


class Chain(NamedTuple):
    """What is added up: a carry at the weight of the first step, and the steps."""

    carry: list
    steps: list[Step]


RULES = [Rule(*rule) for rule in product((3, 4, 5, 6, 7), (2, 3, 4, 5, 6, 99))]


def take(columns: Columns, rule: Rule) -> Iterator[Chain]:
    """The chains of a level, which take their bits off ``columns``; these have room above."""
    for start, column in enumerate(columns):
        while len(column) >= rule.start:
            chain, weight = Chain([column.pop()], []), start
            while len(columns[weight]) >= (rule.go_on if chain.steps else 2):
                bits = columns[weight]
                count = 2 if len(bits) == 3 else min(len(bits), 6)
                taken = [bits.pop() for _ in range(count)]
                above = columns[weight + 1]
                more = [above.pop()] if count == 4 and above else []
                chain.steps.append(Step(weight, taken, more))
                weight += chain.steps[-1].positions
            yield chain


def level(heights: tuple[int, ...], rule: Rule) -> tuple[tuple[int, ...], int]:
    """What a level leaves of columns so high, and its look-up tables."""
    columns = [[None] * height for height in (*heights, 0, 0, 0, 0)]
    cost, after = 0, [0] * (len(columns) + 2)
    for _, steps in take(columns, rule):
        for step in steps:
            cost += step.positions
            for k in range(step.positions):
                after[step.weight + k] += 1
        after[steps[-1].weight + steps[-1].positions] += 1
    for weight, column in enumerate(columns):
        after[weight] += len(column)
    while not after[-1]:
        after.pop()
    return tuple(after), cost


@lru_cache(maxsize=1 << 16)
def plan(heights: tuple[int, ...], width: int, levels: int) -> tuple[int, tuple[Rule, ...]] | None:
    """Look-up tables and levels of a sum of ``width`` bits, the fewest of both, in that order, and
    at most so many levels before the last chain; None where these are too few."""
    found: list[tuple[int, tuple[Rule, ...]]] = []
    if max(heights) <= 3:
        single = next((n for n, height in enumerate(heights) if height > 1), width)
        found.append((width - single, ()))
    for rule in RULES if levels else ():
        after, cost = level(heights, rule)
        rest = plan(after, width, levels - 1) if cost else None
        if rest is not None:
            found.append((cost + rest[0], (rule, *rest[1])))
    return min(found, key=lambda f: (f[0], len(f[1])), default=None)


def count(m: Module, lanes: Sequence[Bit], cycles: int) -> Value:
    """How many ``lanes`` are set; registers make it that of ``cycles - 1`` cycles ago."""
    width = len(lanes).bit_length()
    products = len(lanes) > 1 and any(len(lane.signals) > 1 for lane in lanes)
    columns: Columns[Value] = [[lane.value for lane in lanes]]
    heights = (-(-len(lanes) // PRODUCTS), -(-len(lanes) // 2)) if products else (len(lanes),)
    planned = plan(heights, width, width // 2 + 1)
    assert planned is not None  # a level leaves about three bits of seven
    rules = planned[1]
    last, now = len(rules) + products, 0
    for step in range(last + 1):
        then = step * (cycles - 1) // last if last else cycles - 1
        # With a reset, for shift registers would take look-up tables.
        columns = [[later(m, bit, then - now, reset_less=False) for bit in c] for c in columns]
        now = then
        if products and not step:
            columns = _added(m, lanes)
        elif step < last:
            columns = _level(m, columns, rules[step - products])
    return _sum(m, columns, width)


def _added(m: Module, lanes: Sequence[Bit]) -> Columns[Value]:
    """Sums of products, of each row the last and all carries."""
    ones, twos = [], []
    for start in range(0, len(lanes), PRODUCTS):
        row = lanes[start : start + PRODUCTS]
        left: list[Value] = []
        for k in range(0, len(row), 2):
            pair = row[k : k + 2]
            lut = Lut6x2(
                [signal for bit in pair for signal in bit.signals] + left,
                lambda *b, pair=pair: _ones(pair, b) % 2,
                lambda *b, pair=pair: _ones(pair, b) // 2,
            )
            m.submodules += lut
            left = [lut.low]
            twos.append(lut.high)
        ones += left
    return [ones, twos]


def _ones(pair: Sequence[Bit], signals: Sequence[int]) -> int:
    """How many of ``pair``, and of the signals behind theirs, are 1."""
    total, signals = 0, list(signals)
    for bit in pair:
        n = len(bit.signals)
        total, signals = total + bit.of(*signals[:n]), signals[n:]
    return total + sum(signals)


def _level(m: Module, columns: Columns[Value], rule: Rule) -> Columns[Value]:
    columns = [*columns, *([] for _ in range(4))]
    sums: Columns[Value] = [[] for _ in range(len(columns) + 2)]
    for (carry,), steps in take(columns, rule):
        m.submodules += (chain := Carry4Chain(carry))
        weight = steps[0].weight
        for step in steps:
            for total in chain.add(step.bits, *step.more):
                sums[weight].append(total)
                weight += 1
        sums[weight].append(chain.carry)
    for column, more in zip(sums, columns, strict=False):
        column += more
    while not sums[-1]:
        sums.pop()
    return sums


def _sum(m: Module, columns: Columns[Value], width: int) -> Value:
    """Of at most three bits of each weight."""
    columns = [*columns, *([] for _ in range(width - len(columns)))]
    first = next((n for n, column in enumerate(columns) if len(column) > 1), width)
    below: list[Value] = [column[0] if column else C(0, 1) for column in columns[:first]]
    if first == width:
        return Cat(below)
    a, b, *carry = columns[first]
    m.submodules += (chain := Carry4Chain(Cat(carry) if carry else C(0, 1)))
    sums, brought = chain.add([a, b]), None
    for n, bits in enumerate(columns[first + 1 : width], first + 1):
        if brought is None and not any(columns[n:]):
            sums.append(chain.carry)
            break
        if brought is None and len(bits) < 3:
            sums += chain.add(bits)
        else:
            total, brought = chain.add_three(bits, C(0, 1) if brought is None else brought)
            sums.append(total)
    return Cat(below, sums)
