"""Memories of LLRs, the crossbar between banks and slots, and the processing elements."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from .layout import instruction, llrs
from .shape import Shape


class Llrs(Component):
    """The f and g of every slot, ``pes`` a cycle, from bank to bank.

    ``instruction``
        What to do.  Source and results of f and g lie as :mod:`.shape` says.
    ``select``
        The bank that holds the source of each slot; 0, in whose place it is read, for the channel.
    ``lower``
        Of each slot, that bit 1 of ``select`` is clear.
    ``channel_low``, ``channel_high``
        Word ``instruction.read`` of the channel.
    ``rows``
        The left child's bits, ``u`` of g, of each slot.  g with ``zero`` takes 0 instead.
    ``results``, ``checks``
        The first ``leaf`` lanes of what each slot computes, and of its f, in the same cycle.

    With a and b from the low and the high half::

        f      sign a ^ b, magnitude min(|a|, |b|)
        g(u)   b - a if u else b + a, saturating; opposite equals give +0, equal signs keep theirs

    Results are written to the slot's own bank at the end of the cycle.
    """

    def __init__(self, shape: Shape):
        self.shape = shape
        config = shape.config
        word = llrs(shape, config.pes)
        leaf = data.ArrayLayout(llrs(shape, config.leaf), config.list_size)
        super().__init__(
            {
                "instruction": In(instruction(shape)),
                "select": In(data.ArrayLayout(range(config.list_size), config.list_size)),
                "lower": In(config.list_size),
                "rows": In(data.ArrayLayout(config.pes, config.list_size)),
                "channel_low": In(word),
                "channel_high": In(word),
                "results": Out(leaf),
                "checks": Out(leaf),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        shape, i = self.shape, self.instruction
        slots = range(shape.config.list_size)
        writes = {half: [self._results(f"{half}_{l}") for l in slots] for half in ("low", "high")}
        sources = [
            self._crossbar(m, half, [self._bank(m, half, l, writes[half][l]) for l in slots])
            for half in ("low", "high")
        ]
        for l in slots:
            results = writes["low"][l]
            for lane, result in enumerate(results):
                a, b = (side[l][lane] for side in sources)
                u = self.rows[l][lane] & ~i.zero
                check = self._element(m, f"{l}_{lane}", result, a, b, u)
                if lane < shape.config.leaf:
                    m.d.comb += [
                        Value.cast(self.results[l][lane]).eq(result),
                        Value.cast(self.checks[l][lane]).eq(check),
                    ]
            m.d.comb += [
                high.eq(self._folded(results, lane)) for lane, high in enumerate(writes["high"][l])
            ]
        return m

    def _results(self, name: str) -> list[Signal]:
        """A row of LLRs."""
        width = self.shape.config.llr_bits
        return [Signal(width, name=f"{name}_{lane}") for lane in range(self.shape.config.pes)]

    def _folded(self, results: list[Signal], lane: int) -> Value:
        """What the high half takes: the row, or the upper half of a node of at most a row."""
        folded = results[lane]
        for level in range(self.shape.row_level, 0, -1):
            if lane < (half := 1 << level - 1):
                folded = Mux(self.instruction.level == level, results[lane + half], folded)
        return folded

    def _bank(self, m: Module, half: str, slot: int, row: list[Signal]) -> Value:
        """One half of a slot's bank, which takes ``row``; word ``read`` of it, or of the channel.

        The channel is read in the place of bank 0.
        """
        i = self.instruction
        bank = Memory(
            shape=Value.cast(Cat(row)).shape(), depth=max(2, self.shape.bank_words), init=[]
        )
        m.submodules[f"{half}_{slot}"] = bank
        write, read = bank.write_port(), bank.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(i.pe & i[half]),
            write.addr.eq(i.write),
            write.data.eq(Cat(row)),
            read.addr.eq(i.read),
        ]
        if slot:
            return read.data
        channel = self.channel_low if half == "low" else self.channel_high
        source = Signal(read.data.shape(), name=f"{half}_source")
        m.d.comb += source.eq(Mux(i.channel, channel.as_value(), read.data))
        return source

    def _crossbar(self, m: Module, half: str, banks: list[Value]) -> list[list[Value]]:
        """One half of each slot's source, lane by lane."""
        width = self.shape.config.llr_bits
        sources = []
        for l, select in enumerate(self.select):
            source = Signal(len(banks[0]), name=f"{half}_source_{l}")
            if len(banks) < 4 or self.shape.config.lut_inputs == 6:
                bank = Signal.like(select, name=f"{half}_bank_{l}")
                # It is 0 anyway; tables of six inputs come out fewer where that is said here.
                m.d.comb += bank.eq(Mux(self.instruction.channel, 0, select))
                chosen = _choose(banks, bank)
            else:
                fours = [
                    _choose_of_four(banks[at : at + 4], select, self.lower[l])
                    for at in range(0, len(banks), 4)
                ]
                chosen = _choose(fours, select[2:])
            m.d.comb += source.eq(chosen)
            sources.append([source[at : at + width] for at in range(0, len(source), width)])
        return sources

    def _element(
        self, m: Module, name: str, result: Signal, a: Value, b: Value, u: Value
    ) -> Signal:
        """A processing element: drives ``result``, gives that of f.

        Sum and both differences are ready when ``u``, which comes last, chooses between them.
        """
        width = len(result) - 1
        a, a_sign, b, b_sign = a[:width], a[width], b[:width], b[width]
        total, down, up = (Signal(width + 1, name=f"{x}_{name}") for x in ("sum", "down", "up"))
        least, check = Signal(width, name=f"least_{name}"), Signal(width + 1, name=f"check_{name}")
        same = Signal(width + 1, name=f"same_{name}")
        apart = Signal(width + 1, name=f"apart_{name}")
        differ = Signal(name=f"differ_{name}")
        g = self.instruction.g
        m.d.comb += [total.eq(a + b), down.eq(a - b), up.eq(b - a)]
        below, above = down[width], up[width]  # a < b, a > b
        m.d.comb += [
            least.eq(Mux(above, b, a)),
            check.eq(Cat(least, a_sign ^ b_sign)),
            same.eq(Cat(total[:width] | total[width].replicate(width), b_sign)),
            # b_sign is not that of a, if subtracted, and of opposite equals the sign is +.
            apart.eq(
                Cat(Mux(above, down[:width], up[:width]), Mux(above, ~b_sign, b_sign & below))
            ),
            differ.eq(g & (a_sign ^ b_sign ^ u)),
            result.eq(Mux(differ, apart, Mux(g, same, check))),
        ]
        return check


def _choose_of_four(values: list[Value], index: Value, lower: Value) -> Value:
    """``values[index]`` in two tables of four inputs a bit, not three.

    Beyond the first two values the first table passes on bit 0.  ``lower``, the inverse of bit 1,
    has to be a register of its own, or synthesis sees through this.
    """
    low, high = index[0], index[1]
    first = Mux(high, low.replicate(len(values[0])), Mux(low, values[1], values[0]))
    return Mux(lower, first, (values[3] & first) | (values[2] & ~first))


def _choose(values: list[Value], index: Value) -> Value:
    """``values[index]``; their number is a power of two."""
    for bit in index:
        values = [Mux(bit, high, low) for low, high in zip(values[::2], values[1::2], strict=True)]
    return values[0]
