"""The leaf of each bank: its hard decisions, its sums, and its least reliable bits in order."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from .layout import half_sums, instruction, llrs
from .shape import Shape


class Minima(Component):
    """Holds the LLRs of each slot's leaf, by the bank that they went to.

    ``instruction``, ``results``, ``checks``
        With ``leaf`` the results are the leaf's LLRs: LA, and S, too; with ``zero`` the checks are
        S.  Lanes from ``2**instruction.level`` on do not count.
    ``negative``, ``positive``
        Two halves each of the sums of the magnitudes in S of sign 1 and of sign 0, in the cycle
        after; where the checks are S, ``positive`` is as ``negative``.
    ``hard``, ``odd``
        The signs of LA, 0 in lanes that do not count, and their parity; until the next leaf.
    ``minimum``, ``which``
        From the second cycle after (that of ``enter`` between them) the least magnitude of LA and,
        one-hot, its lane, the lowest of equals; after every cycle with ``fix`` or ``split`` the
        next one of the lanes that are left; anything once none is.  Behind an ``enter`` with
        ``repeat`` 0 and all lanes, until the next split.
    """

    def __init__(self, shape: Shape):
        self.shape = shape
        config = shape.config
        lists = config.list_size
        leaf = data.ArrayLayout(llrs(shape, config.leaf), lists)
        super().__init__(
            {
                "instruction": In(instruction(shape)),
                "results": In(leaf),
                "checks": In(leaf),
                "negative": Out(data.ArrayLayout(half_sums(shape), lists)),
                "positive": Out(data.ArrayLayout(half_sums(shape), lists)),
                "hard": Out(data.ArrayLayout(config.leaf, lists)),
                "odd": Out(data.ArrayLayout(1, lists)),
                "minimum": Out(data.ArrayLayout(shape.magnitude, lists)),
                "which": Out(data.ArrayLayout(config.leaf, lists)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        # A lane counts from that level on of which it is a part.
        levels = range(self.shape.leaf_level + 1)
        part = Signal(len(levels))
        m.d.comb += part.eq(Cat(1, (self.instruction.level >= level for level in levels[1:])))
        for slot in range(self.shape.config.list_size):
            m.submodules[f"bank_{slot}"] = bank = Bank(self.shape)
            m.d.comb += [
                bank.instruction.eq(self.instruction),
                bank.part.eq(part),
                bank.results.eq(self.results[slot]),
                bank.checks.eq(self.checks[slot]),
                self.negative[slot].eq(bank.negative),
                self.positive[slot].eq(bank.positive),
                self.hard[slot].eq(bank.hard),
                self.odd[slot].eq(bank.odd),
                self.minimum[slot].eq(bank.minimum),
                self.which[slot].eq(bank.which),
            ]
        return m


class Bank(Component):
    """One bank of :class:`Minima`; lanes of bit length k count where bit k of ``part`` is set."""

    def __init__(self, shape: Shape):
        self.shape = shape
        config = shape.config
        leaf = llrs(shape, config.leaf)
        super().__init__(
            {
                "instruction": In(instruction(shape)),
                "part": In(shape.leaf_level + 1),
                "results": In(leaf),
                "checks": In(leaf),
                "negative": Out(half_sums(shape)),
                "positive": Out(half_sums(shape)),
                "hard": Out(config.leaf),
                "odd": Out(1),
                "minimum": Out(shape.magnitude),
                "which": Out(config.leaf),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        self._leaf(m)
        i, half = self.instruction, len(self.results) // 2
        lanes = list(enumerate(zip(self.results, self.checks, strict=True)))
        for sums, name, sign in ((self.negative, "charge", 1), (self.positive, "credit", 0)):
            terms = []
            for lane, (result, check) in lanes:
                counts = self.part[lane.bit_length()]
                term = Signal(self.shape.magnitude, name=f"{name}_{lane}", reset_less=True)
                by_result, by_check = Signal(name=f"{name}_r{lane}"), Signal(name=f"{name}_c{lane}")
                m.d.comb += [
                    by_result.eq(counts & ~i.zero & (result.sign == sign)),
                    by_check.eq(counts & i.zero & check.sign),
                ]
                with m.If(i.leaf | i.zero):
                    m.d.sync += term.eq(
                        (result.magnitude & by_result.replicate(len(term)))
                        | (check.magnitude & by_check.replicate(len(term)))
                    )
                terms.append(term)
            for side in range(2):
                mine = terms[side * half :][:half]
                m.d.comb += sums[side].eq(_sum(m, mine, f"{name}s_{side}"))
        m.d.comb += self.odd.eq(self.hard.xor())
        return m

    def _leaf(self, m: Module) -> None:
        """Holds LA, 0 in lanes that do not count; drives what depends on its order."""
        i = self.instruction
        magnitudes = []
        gone = Signal(self.shape.config.leaf, reset_less=True)  # was least, or does not count
        for lane, result in enumerate(self.results):
            counts = self.part[lane.bit_length()]
            magnitude = Signal(self.shape.magnitude, name=f"magnitude_{lane}", reset_less=True)
            with m.If(i.leaf):
                m.d.sync += [magnitude.eq(result.magnitude), self.hard[lane].eq(result.sign)]
                with m.If(~counts):
                    m.d.sync += [magnitude.eq(0), self.hard[lane].eq(0)]
            magnitudes.append(magnitude)

        keys = [Cat(magnitude, gone[lane]) for lane, magnitude in enumerate(magnitudes)]
        least, lanes = _least(m, keys)
        with m.If(i.enter | i.fix | i.split):
            m.d.sync += [
                self.minimum.eq(least[: len(self.minimum)]),
                self.which.eq(lanes),
                gone.eq(gone | lanes),
            ]
        with m.If(i.enter & i.repeat):
            m.d.sync += [self.minimum.eq(0), self.which.eq(-1)]
        with m.If(i.leaf):
            m.d.sync += gone.eq(~Cat(self.part[lane.bit_length()] for lane in range(len(gone))))


def _sum(m: Module, terms: list[Signal], name: str) -> Signal:
    """The exact sum of ``terms``, a power of two of them and of one width, by a tree of adders.

    They are kept apart: Yosys would make them one sum, of twice the look-up tables.
    """
    while len(terms) > 1:
        sums = [
            Signal(len(a) + 1, name=f"{name}_{len(terms) // 2}_{number}", attrs={"keep": 1})
            for number, a in enumerate(terms[::2])
        ]
        m.d.comb += [o.eq(a + b) for o, a, b in zip(sums, terms[::2], terms[1::2], strict=True)]
        terms = sums
    return terms[0]


def _least(m: Module, keys: list[Value], name: str = "least") -> tuple[Value, Value]:
    """The least of ``keys`` and, one-hot, the lowest lane that has it: a knock-out tournament.

    The last four all play each other at once: two rounds in little more than the time of one.
    """
    if len(keys) == 1:
        return keys[0], Const(1, 1)
    if len(keys) >= 4 and name == "least":
        return _last_four(m, keys)
    half = len(keys) // 2
    low, low_lane = _least(m, keys[:half], f"{name}_0")
    high, high_lane = _least(m, keys[half:], f"{name}_1")
    least, upper = Signal(len(low), name=name), Signal(name=f"{name}_upper")
    m.d.comb += [upper.eq(high < low), least.eq(Mux(upper, high, low))]
    return least, Cat(Mux(upper, 0, low_lane), Mux(upper, high_lane, 0))


def _last_four(m: Module, keys: list[Value]) -> tuple[Value, Value]:
    """As :func:`_least`, of four quarters' winners, compared in pairs."""
    quarter = len(keys) // 4
    four = [_least(m, keys[k * quarter :][:quarter], f"least_{k}") for k in range(4)]
    won: list[Value] = [Const(1, 1)] * 4
    for high in range(4):
        for low in range(high):
            upper = Signal(name=f"upper_{low}_{high}")
            m.d.comb += upper.eq(four[high][0] < four[low][0])
            won[low], won[high] = won[low] & ~upper, won[high] & upper
    lanes = Cat(lane & w.replicate(quarter) for (_, lane), w in zip(four, won, strict=True))
    chosen = [key & w.replicate(len(key)) for (key, _), w in zip(four, won, strict=True)]
    return chosen[0] | chosen[1] | chosen[2] | chosen[3], lanes
