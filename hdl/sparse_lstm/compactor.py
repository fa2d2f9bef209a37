"""Zero skipping: a window of columns in, the columns that matter out."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2


def columns_layout(window: int, banks: int, batch: int, bits: int) -> data.ArrayLayout:
    """Values of ``window * banks`` columns, slot ``w * banks + k`` in bank ``k``."""
    return data.ArrayLayout(data.ArrayLayout(signed(bits), batch), window * banks)


def entry_layout(batch: int, bits: int, offset_bits: int) -> data.StructLayout:
    """One column of a bank: whether there is one, its word offset and its values."""
    return data.StructLayout(
        {
            "has": unsigned(1),
            "offset": unsigned(offset_bits),
            "values": data.ArrayLayout(signed(bits), batch),
        }
    )


class Compactor(wiring.Component):
    """Passes on the columns that are nonzero in any batch element, one a bank and cycle.

    A beat of ``i`` holds ``window`` columns of each of ``banks`` banks and takes as many
    cycles as its fullest bank has columns to keep, at least one.  A beat of ``o`` holds
    the next column of each bank (``has`` = 0 where the bank has none left in the window)
    with its offset: the number of columns of this bank before it in the step times
    ``stride``.  ``last`` marks the step's final beat at both ends.

    ``keep`` forces columns to be kept (dense operation), ``valid`` masks slots that hold
    none.  Latency 1 cycle.
    """

    def __init__(self, window: int, banks: int, batch: int, bits: int, stride: int, columns: int):
        self.window, self.banks, self.stride = window, banks, stride
        self.offset_bits = max(1, ceil_log2(columns * stride))
        slots = window * banks
        entry = entry_layout(batch, bits, self.offset_bits)
        super().__init__(
            {
                "i": In(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "values": columns_layout(window, banks, batch, bits),
                                "valid": unsigned(slots),
                                "keep": unsigned(1),
                                "last": unsigned(1),
                            }
                        )
                    )
                ),
                "o": Out(
                    stream.Signature(
                        data.StructLayout(
                            {"entries": data.ArrayLayout(entry, banks), "last": unsigned(1)}
                        )
                    )
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        window, banks = self.window, self.banks
        values = Signal.like(self.i.p.values)
        pending = Signal(window * banks)  # columns of the held beat still to go out
        held = Signal()
        last = Signal()
        base = Signal(self.offset_bits)

        rest = Signal.like(pending)
        for k in range(banks):
            mine = Cat(pending[w * banks + k] for w in range(window))
            first = Signal(window, name=f"first_{k}")  # one-hot: lowest pending column
            m.d.comb += first.eq(mine & (~mine + 1))
            entry = self.o.p.entries[k]
            chosen, offset = values[k], 0
            for w in range(1, window):
                chosen = Mux(first[w], values[w * banks + k], chosen)
                offset = Mux(first[w], w * self.stride, offset)
            m.d.comb += [
                entry.has.eq(mine.any()),
                entry.values.eq(chosen),
                entry.offset.eq(base + offset),
                Cat(rest[w * banks + k] for w in range(window)).eq(mine & ~first),
            ]

        done = Signal()
        m.d.comb += [
            done.eq(~rest.any()),
            self.o.p.last.eq(last & done),
            self.o.valid.eq(held & (pending.any() | last)),
            self.i.ready.eq(~held | (done & (self.o.ready | ~self.o.valid))),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += pending.eq(rest)
        with m.If(self.i.ready):
            m.d.sync += held.eq(self.i.valid)
            with m.If(held):
                m.d.sync += base.eq(Mux(last, 0, base + window * self.stride))
            with m.If(self.i.valid):
                nonzero = Cat(column.as_value().any() for column in self.i.p.values)
                m.d.sync += [
                    values.eq(self.i.p.values),
                    pending.eq((nonzero | self.i.p.keep.replicate(len(nonzero))) & self.i.p.valid),
                    last.eq(self.i.p.last),
                ]
        return m
