"""From the words of left children to the bits of u that they encode."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from .shape import Shape


def mask(shape: Shape, rows: Value) -> Value:
    """``rows - 1`` of a power of two, 2 to ``shape.rows``, of rows."""
    return Cat(rows[bit + 1 :].any() for bit in range(shape.rows.bit_length() - 1))


class Transform(Component):
    """The polar transform of each left child, and of the last row.

    A decoding's ``rows`` rows are those of its left children, the largest first, and the last
    one; others follow without a gap.  ``row`` is the first one in the cycle after ``start``, and
    where ``take`` is high it is the next one in the next cycle; that has the number ``index``,
    counted on from 0 and modulo ``shape.rows``, in this cycle, and 0 in that of ``start``.

    ``chunk``, where ``valid``, has the next ``beat`` bits of u; it is passed over with ``ready``.
    The first one comes ``delay + 1`` cycles after the first row, and then no row is waited for.
    ``stop`` ends all that.

    A row passes a butterfly for each distance of rows, which adds to it the row so much further
    where both belong to one left child::

        y[t] = x[t] ^ (x[t + span] if bit log2(span) of t is 0 and t is not in the last 2 * span)

    The other distances are those in a row.
    """

    def __init__(self, shape: Shape):
        self.shape = shape
        config = shape.config
        self.delay = max(shape.rows // 2 - 1, 0)
        """Rows that are in the butterflies."""
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "rows": In(range(shape.rows + 1)),
                "row": In(config.pes),
                "take": Out(1),
                "index": Out(range(shape.rows)),
                "chunk": Out(config.beat),
                "valid": Out(1),
                "ready": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.shape.config
        running = Signal()
        word = Signal(config.pes, reset_less=True)  # a row of u but for the transform in it
        part = Signal(range(config.pes // config.beat))  # the chunk of it that is next
        final = Signal()
        m.d.comb += [
            final.eq(part.all() if len(part) else 1),
            self.take.eq(running & (~self.valid | (self.ready & final))),
        ]
        with m.If(self.valid & self.ready):
            m.d.sync += part.eq(part + 1)
        with m.If(self.take):
            m.d.sync += word.eq(self._butterflies(m))
            with m.If(self.index == self.delay + 1 & self.shape.rows - 1):
                m.d.sync += self.valid.eq(1)
        with m.If(self.take | self.start):
            m.d.sync += self.index.eq(self.index + 1)
        with m.If(self.start):
            m.d.sync += running.eq(1)
        with m.If(self.stop):
            m.d.sync += [running.eq(0), self.valid.eq(0), self.index.eq(0), part.eq(0)]
        m.d.comb += self.chunk.eq(_within(m, word, part, config.beat))
        return m

    def _butterflies(self, m: Module) -> Value:
        """The row that leaves the last butterfly as ``row`` enters the first one."""
        total, value = self.shape.rows, self.row
        limit = mask(self.shape, self.rows)
        ahead = 1  # how many rows the next one is ahead of that which enters a butterfly
        for level in reversed(range(total.bit_length() - 2)):
            number, adds = Signal(range(total)), Signal(name=f"adds{level}")
            m.d.comb += [
                number.eq(self.index - ahead),
                adds.eq(number[level] & ~(number | ~limit)[level + 1 :].all()),
            ]
            delays = [
                Signal(len(self.row), name=f"delay{level}_{k}", reset_less=True)
                for k in range(1 << level)
            ]
            for delay, before in zip(delays, [value, *delays[:-1]], strict=True):
                with m.If(self.take):
                    m.d.sync += delay.eq(before)
            butterfly = Signal(len(self.row), name=f"butterfly{level}")
            m.d.comb += butterfly.eq(delays[-1] ^ Mux(adds, value, 0))
            value, ahead = butterfly, ahead + (1 << level)
        return value


def _within(m: Module, word: Value, part: Value, beat: int) -> Value:
    """Chunk ``part`` of the transform of ``word``."""
    for bit in reversed(part):
        low, high = word[: len(word) // 2], word[len(word) // 2 :]
        word = Signal(len(low))
        m.d.comb += word.eq(high ^ Mux(bit, 0, low))
    span = 1
    while span < beat:
        added = Signal(beat, name=f"added{span}")
        blocks = [word[at : at + 2 * span] for at in range(0, beat, 2 * span)]
        m.d.comb += added.eq(
            Cat(Cat(block[:span] ^ block[span:], block[span:]) for block in blocks)
        )
        word, span = added, 2 * span
    return word
