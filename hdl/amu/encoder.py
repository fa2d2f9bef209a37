"""Hash trees with constant thresholds: the codes of a row, a new row every cycle."""

from collections.abc import Iterable, Sequence

import numpy as np
from amaranth.hdl import Cat, Const, Module, Shape, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.amu.encoder import Encoder
from ...models.amu.layer import Format

CHAIN = 6
"""From so many inputs on, a look-up table takes a table's bit and an adder's operand at once."""


class Trees(Component):
    """The codes of :class:`~thresher.models.amu.encoder.Encoder`, ``latency`` cycles later.

    ``x[c][l]`` is what level l of codebook c looks at: whoever drives it has gathered the inputs,
    which are wires where all are there at once.  A register follows every ``levels_a_stage``
    levels and the last one.  While ``en`` is low everything stands still.  ``lut_inputs``: for
    which look-up tables comparisons are made.

    Raises :class:`ValueError` for thresholds that are no integers, and for other numbers that
    make no sense.
    """

    def __init__(
        self, encoder: Encoder, input: Format, *, lut_inputs: int = 6, levels_a_stage: int = 1
    ):
        if encoder.thresholds.dtype.kind not in "iu":
            raise ValueError(
                f"thresholds are {encoder.thresholds.dtype}; quantise them and the inputs"
            )
        if lut_inputs < 4:
            raise ValueError(f"lut_inputs = {lut_inputs}; at least 4 make a comparison")
        if levels_a_stage < 1:
            raise ValueError(f"levels_a_stage = {levels_a_stage} is not at least 1")
        self.encoder, self._input = encoder, input
        self._lut_inputs, self._levels_a_stage = lut_inputs, levels_a_stage
        self.latency = -(-encoder.levels // levels_a_stage)
        super().__init__(
            {
                "en": In(1, init=1),
                "x": In(tree_order(encoder, input)),
                "codes": Out(data.ArrayLayout(encoder.levels, encoder.codebooks)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        for book in range(self.encoder.codebooks):
            m.d.comb += self.codes[book].eq(self._tree(m, book))
        return m

    def _tree(self, m: Module, book: int) -> Value:
        low, _ = self._input.limits
        signed = 1 << self._input.bits - 1 if self._input.signed else 0
        # With the sign inverted, two's complement numbers are in order from 0 on.
        inputs = [
            Value.cast(x).as_unsigned() ^ Const(signed, self._input.bits) for x in self.x[book]
        ]
        code: Value = Const(0, 0)
        for level in range(self.encoder.levels):
            nodes = self.encoder.thresholds[book, (1 << level) - 1 :][: 1 << level]
            name = f"tree_{book}_{level}"
            # x > t where x >= t + 1, of numbers that start from 0
            right = at_least(
                m, inputs[level], [int(t) - low + 1 for t in nodes], code, self._lut_inputs, name
            )
            code = Cat(right, code)
            if (level + 1) % self._levels_a_stage and level + 1 < self.encoder.levels:
                continue
            held = Signal(len(code), name=f"{name}_code", reset_less=True)
            with m.If(self.en):
                m.d.sync += held.eq(code)
            code = held
            for later in range(level + 1, self.encoder.levels):
                # With a reset: a shift register would take as many look-up tables as bits.
                delayed = Signal(len(inputs[later]), name=f"{name}_input_{later}")
                with m.If(self.en):
                    m.d.sync += delayed.eq(inputs[later])
                inputs[later] = delayed
        return code


def tree_order(encoder: Encoder, input: Format) -> data.ArrayLayout:
    """``[codebooks][levels]`` of integers: a row in tree order."""
    level = data.ArrayLayout(Shape(input.bits, input.signed), encoder.levels)
    return data.ArrayLayout(level, encoder.codebooks)


def at_least(
    m: Module, x: Value, bounds: Sequence[int], index: Value, lut_inputs: int, name: str
) -> Value:
    """``x >= bounds[index]``, both unsigned; bounds from 0 (always) to ``2**len(x)`` (never).

    No threshold is chosen anywhere.  A carry ripples through the bits from the lowest that
    matters on, in steps as large as a look-up table of (carry, bits, index) takes.  Where the
    index leaves too little room for that, an adder's carry compares ``x`` with the bound, whose
    table is part of the adder's look-up tables if they have :data:`CHAIN` inputs.
    """
    bits = len(x)
    steps = _steps(bits, bounds, lut_inputs)
    chain = (bits - _first(bits, bounds)) * (1 if lut_inputs >= CHAIN else 2)
    if steps is None or (len(steps) > 2 and 4 * len(steps) > 3 * chain):
        return _by_adder(bits, x, bounds, index)
    carry: Value = Const(1, 1)
    for number, (start, stop) in enumerate(steps):
        table = _step(bits, bounds, start, stop)
        if not number:
            table = table[:, :, 1:]
        if table.all() or not table.any():
            carry = Const(int(table.flat[0]), 1)
            continue
        # Kept apart where steps are large: Yosys would find the ripple too slow and double it.
        out = Signal(name=f"{name}_{number}", attrs={"keep": 1} if lut_inputs >= CHAIN else {})
        choice = Cat(x[start:stop], index)
        m.d.comb += out.eq(lookup(table.ravel(), Cat(carry, choice) if number else choice))
        carry = out
    return carry


def lookup(table: Iterable[int], index: Value) -> Value:
    """The bit ``table[index]``, as an inverter behind the inverted table.

    So a register that takes it gets no reset from constant parts of the table, for which
    Yosys would spend look-up tables.
    """
    bits = [not bit for bit in table]
    word = sum(bit << number for number, bit in enumerate(bits))
    return ~Const(word, len(bits)).bit_select(index, 1)


def _by_adder(bits: int, x: Value, bounds: Sequence[int], index: Value) -> Value:
    """As :func:`at_least`, by an adder's carry, whose operand is a table."""
    first = _first(bits, bounds)
    width = max(bound.bit_length() for bound in bounds) - first  # a bit more to say never
    bound = Cat(lookup([b >> first + i & 1 for b in bounds], index) for i in range(width))
    return x[first:] >= bound


def _first(bits: int, bounds: Sequence[int]) -> int:
    """The lowest bit that decides anything."""
    some = np.bitwise_or.reduce([bound for bound in bounds if 0 < bound < 1 << bits] or [1 << bits])
    return int(some & -some).bit_length() - 1


def _steps(bits: int, bounds: Sequence[int], lut_inputs: int) -> list[tuple[int, int]] | None:
    """The bits, from and to, of each step of a ripple; None where a step has no room for any."""
    start = _first(bits, bounds)
    if start == bits:
        return [(bits, bits)]
    steps = []
    while start < bits:
        stop = start
        while (
            stop < bits and _support(_step(bits, bounds, start, stop + 1), not steps) <= lut_inputs
        ):
            stop += 1
        if stop == start:
            return None
        steps.append((start, stop))
        start = stop
    return steps


def _step(bits: int, bounds: Sequence[int], start: int, stop: int) -> np.ndarray:
    """[bounds, numbers, carry]: what the step carries on of the bits from ``start`` to ``stop``."""
    number = np.arange(1 << stop - start)[:, None]
    carry = np.arange(2)
    bound = np.array(bounds)[:, None, None]
    part = bound >> start & (1 << stop - start) - 1
    never = (bound == 1 << bits) & (stop == bits)
    return ((number > part) | (number == part) & (carry == 1)) & ~never


def _support(table: np.ndarray, first: bool) -> int:
    """On how many bits a step's result depends; the ``first`` one's carry is 1."""
    if first:
        table = table[:, :, 1]
    table = table.reshape([2] * (table.size.bit_length() - 1))
    return sum(
        bool((table.take(0, axis) != table.take(1, axis)).any()) for axis in range(table.ndim)
    )
