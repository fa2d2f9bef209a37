"""Look-up tables and carry chains of FPGAs, cell by cell, and how they behave.

In emitted Verilog they are instances of the vendors' cells, which Yosys, Diamond and Vivado know
(Verilator finds them in :mod:`..lib.primitives`); in Amaranth's simulator and in proofs they are
what these cells compute.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import C, Cat, Const, Elaboratable, Instance, Module, Mux, Signal, Value

from ..lib.repeated import emitting


@dataclass(frozen=True, eq=False)
class Bit:
    """The parity of one or two signals, or its negation: look-up tables take it as it is."""

    signals: tuple[Value, ...]
    inverted: bool = False

    def __invert__(self) -> "Bit":
        return Bit(self.signals, not self.inverted)

    def of(self, *signals: int) -> int:
        """Its value where its signals have these."""
        return sum(signals) % 2 ^ self.inverted

    @property
    def value(self) -> Value:
        """As logic."""
        found = self.signals[0] if len(self.signals) == 1 else self.signals[0] ^ self.signals[1]
        return ~found if self.inverted else found

    def later(self, m: Module, cycles: int) -> "Bit":
        """The same so many cycles later."""
        return Bit(tuple(later(m, signal, cycles) for signal in self.signals), self.inverted)


def later(m: Module, value: Value, cycles: int, reset_less: bool = True) -> Value:
    """``value`` so many cycles later."""
    for _ in range(cycles):
        register = Signal(value.shape(), reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


def table(inputs: int, function: Callable[..., int]) -> int:
    """Contents of a look-up table: bit k is ``function`` of the bits of k, the lowest first."""
    rows = range(1 << inputs)
    return sum(int(function(*(k >> n & 1 for n in range(inputs)))) << k for k in rows)


class Lut6x2(Elaboratable):
    """Two functions of the same inputs, at most five: a LUT6_2 of Xilinx' devices."""

    def __init__(self, inputs: Sequence[Value], low: Callable[..., int], high: Callable[..., int]):
        self._lut = _Lut(inputs, low, high)
        self.low, self.high = self._lut.low, self._lut.high
        """The functions."""

    def elaborate(self, platform) -> Module:
        m = Module()
        self._lut.place(m)
        return m


class _Lut:
    """A LUT6_2: O5 = ``low`` of up to five inputs, O6 = ``high`` of up to six.  Where there is a
    sixth ``low`` is not to be chosen, but what ``high`` is where that is 0."""

    def __init__(self, inputs: Sequence[Value], low: Callable[..., int], high: Callable[..., int]):
        n = len(inputs)
        if n == 6:
            self._init, self._inputs = table(6, high), list(inputs)
        else:
            self._init = table(5, lambda *bits: low(*bits[:n]))
            self._init |= table(5, lambda *bits: high(*bits[:n])) << 32
            self._inputs = [*inputs, *[C(0, 1)] * (5 - n), C(1, 1)]
        self.low, self.high = Signal(), Signal()

    def place(self, m: Module) -> None:
        if emitting():
            m.submodules += Instance(
                "LUT6_2",
                ("p", "INIT", Const(self._init, 64)),
                *(("i", f"I{n}", value) for n, value in enumerate(self._inputs)),
                ("o", "O5", self.low),
                ("o", "O6", self.high),
            )
            return
        low = Const(self._init & (1 << 32) - 1, 32)
        m.d.comb += [
            self.low.eq(low.bit_select(Cat(self._inputs[:5]), 1)),
            self.high.eq(Const(self._init, 64).bit_select(Cat(self._inputs), 1)),
        ]


class Carry4Chain(Elaboratable):
    """An addition on a carry chain of Xilinx' devices, which has a LUT6_2 at every position::

        sum = O6 ^ carry,  next carry = O6 ? carry : DI,  DI = O5, or any signal

    ``carry`` is what begins; where it is a signal the first position's DI is O5.
    """

    def __init__(self, carry: Value):
        self._luts: list[_Lut] = []
        self._given: list[Value | None] = []
        self._sums: list[Signal] = []
        self._carries: list[Value] = [carry]

    @property
    def carry(self) -> Value:
        """Of all positions so far."""
        return self._carries[-1]

    def add(self, bits: Sequence[Value], more: Value | None = None) -> list[Signal]:
        """The sum's bit, or two, of a position's ``bits``.

        Of none to two they are added up, in one position.  Of three to six what two make is added
        in the next position, where ``more`` is of weight two too; at most four with it.
        """
        rest = bits[:-1]
        self._position(bits, lambda *b: sum(b) % 2, lambda *b: sum(b[: len(rest)]) % 2)
        if len(bits) < 3:
            return self._sums[-1:]
        n = len(rest)

        def twos(*b: int) -> int:
            return sum(b[:n]) // 2 + sum(b[n:])

        inputs = rest if more is None else [*rest, more]
        self._position(inputs, lambda *b: twos(*b) % 2, lambda *b: twos(*b) // 2)
        return self._sums[-2:]

    def add_three(self, bits: Sequence[Value], brought: Value) -> tuple[Signal, Signal]:
        """The sum's bit of up to three bits and what the position before ``brought``, and what is
        for the next one to bring: whether two of the bits are set."""
        n = len(bits)
        lut = self._position(
            [*bits, brought], lambda *b: sum(b) % 2, lambda *b: sum(b[:n]) // 2, brought
        )
        return self._sums[-1], lut.low

    def _position(
        self,
        inputs: Sequence[Value],
        high: Callable[..., int],
        low: Callable[..., int],
        given: Value | None = None,
    ) -> _Lut:
        self._luts.append(lut := _Lut(inputs, low, high))
        self._given.append(given)
        self._sums.append(Signal())
        self._carries.append(Signal())
        return lut

    def elaborate(self, platform) -> Module:
        m = Module()
        for lut in self._luts:
            lut.place(m)
        f = [lut.high for lut in self._luts]
        pairs = zip(self._luts, self._given, strict=True)
        g = [lut.low if given is None else given for lut, given in pairs]
        carries: list[Any] = self._carries
        if not emitting():
            for k, total in enumerate(self._sums):
                m.d.comb += total.eq(f[k] ^ carries[k])
                m.d.comb += carries[k + 1].eq(Mux(f[k], carries[k], g[k]))
            return m
        for k in range(0, len(f), 4):
            count = len(f[k : k + 4])
            spare = [Signal() for _ in range(2 * (4 - count))]
            m.submodules += Instance(
                "CARRY4",
                ("i", "CYINIT", C(0, 1) if k else carries[0]),
                ("i", "CI", carries[k] if k else C(0, 1)),
                ("i", "DI", Cat(g[k : k + 4], C(0, 4 - count))),
                ("i", "S", Cat(f[k : k + 4], C(0, 4 - count))),
                ("o", "O", Cat(self._sums[k : k + 4], spare[: 4 - count])),
                ("o", "CO", Cat(carries[k + 1 : k + 5], spare[4 - count :])),
            )
        return m


class Ccu2cChain(Elaboratable):
    """Additions one behind the other in a single carry chain of ECP5s, each of bits of its own.

    A position has a look-up table of A, B, C, D::

        f = INIT[D C B A],  g = INIT[0 0 B A],  sum = f ^ carry,  next carry = f ? carry : g

    Where f is 0 the sum is the carry, and the next one g: one position hands out the last carry of
    an addition and takes the first of the next.  A full adder has f = p ^ q, and g = p, which is
    q too where f is 0: p and q may each be a parity of two signals, as long as q is 0 where its
    signals are, for then f is p there.  Where both are negated the addition is of all bits
    negated, which negates its sum and its carry.
    """

    LONGEST = 16
    """Positions of a chain that takes one more addition."""

    def __init__(self) -> None:
        self._tables: list[int] = []
        self._inputs: list[list[Value]] = []
        self._sums: list[Signal] = []

    @property
    def full(self) -> bool:
        """Whether another addition would make it too long."""
        return len(self._sums) >= self.LONGEST

    def add(self, carry: Bit, pairs: Sequence[tuple[Bit, ...]]) -> list[Bit]:
        """The sum of one bit and of one or two bits of each weight, a bit longer than ``pairs``."""
        negated = any(
            len(pair) == 2 and all(len(bit.signals) == 2 and bit.inverted for bit in pair)
            for pair in pairs
        )
        if negated:
            carry = ~carry
        init = table(2, lambda *ab: carry.of(*ab[: len(carry.signals)]))
        if self._tables:
            self._tables[-1], self._inputs[-1][:2] = init, self._two(carry)
        else:
            self._position(init, [*self._two(carry), C(0, 1), C(1, 1)])
        sums = []
        for pair in pairs:
            # Of two parities the second is not negated.
            p, *rest = sorted(
                (~bit if negated else bit for bit in pair),
                key=lambda bit: (-len(bit.signals), not bit.inverted),
            )
            sums.append(self._full_adder(p, rest[0] if rest else Bit((C(0, 1),))))
        sums.append(self._position(0, [C(0, 1), C(0, 1), C(0, 1), C(1, 1)]))
        return [Bit((s,), negated) for s in sums]

    def _full_adder(self, p: Bit, q: Bit) -> Signal:
        left, right = len(p.signals), len(q.signals)
        if right == 2:
            init = table(4, lambda *abcd: p.of(*abcd[:left]) ^ q.of(*abcd[2:]))
            return self._position(init, [*self._two(p), *q.signals])
        init = table(2, lambda *ab: p.of(*ab[:left]))
        init |= table(3, lambda *abc: p.of(*abc[:left]) ^ q.of(abc[2])) << 8
        return self._position(init, [*self._two(p), q.signals[0], C(1, 1)])

    def _two(self, bit: Bit) -> list[Value]:
        return [*bit.signals, C(0, 1)][:2]

    def _position(self, init: int, inputs: list[Value]) -> Signal:
        self._tables.append(init)
        self._inputs.append(inputs)
        self._sums.append(Signal())
        return self._sums[-1]

    def elaborate(self, platform) -> Module:
        m = Module()
        carry: Value = C(0, 1)
        positions = list(zip(self._tables, self._inputs, self._sums, strict=True))
        if not emitting():
            for init, inputs, total in positions:
                f, after = Signal(), Signal()
                m.d.comb += [
                    f.eq(Const(init, 16).bit_select(Cat(inputs), 1)),
                    total.eq(f ^ carry),
                    after.eq(Mux(f, carry, Const(init, 4).bit_select(Cat(inputs[:2]), 1))),
                ]
                carry = after
            return m
        if len(positions) % 2:
            positions.append((0, [C(0, 1)] * 4, Signal()))
        for low, high in zip(positions[::2], positions[1::2], strict=True):
            after = Signal()
            ports: list[tuple] = [("i", "CIN", carry), ("o", "COUT", after)]
            for n, (init, inputs, total) in enumerate((low, high)):
                ports += [("p", f"INIT{n}", Const(init, 16)), ("p", f"INJECT1_{n}", "NO")]
                ports += [("i", f"{x}{n}", value) for x, value in zip("ABCD", inputs, strict=True)]
                ports.append(("o", f"S{n}", total))
            m.submodules += Instance("CCU2C", *ports)
            carry = after
        return m
