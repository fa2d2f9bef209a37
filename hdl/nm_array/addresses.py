"""Addresses of nested loops, one a cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out


def pattern_layout(loops: int, address_bits: int, count_bits: int) -> data.StructLayout:
    """``address``, then ``count`` and ``stride`` of each loop, outermost first.

    Of 4 loops, 32 and 16 bits: the first fields of a load and of a store
    (:data:`thresher.models.nm.program.WIDTHS`).
    """
    fields: dict[str, int] = {"address": address_bits}
    for x in range(loops):
        fields |= {f"count{x}": count_bits, f"stride{x}": address_bits}
    return data.StructLayout(fields)


class Addresses(Component):
    """``address + sum of i_x * stride_x`` modulo ``2**address_bits``, for ``i_x < count_x``.

    ``i`` takes a pattern of ``loops`` loops (:func:`pattern_layout`), ``o`` delivers its addresses,
    last loop fastest: ``wraps`` with the last one of each round of that loop, ``last`` with the
    last one of all.  A count of 0 is 1.  Latency 1; an address a cycle, also from one pattern to
    the next: ``o.ready`` leads to ``i.ready``.
    """

    def __init__(self, loops: int, address_bits: int, count_bits: int):
        self._loops = loops
        self._shape = pattern_layout(loops, address_bits, count_bits)
        super().__init__(
            {
                "i": In(stream.Signature(self._shape)),
                "o": Out(
                    stream.Signature(
                        data.StructLayout({"address": address_bits, "wraps": 1, "last": 1})
                    )
                ),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        i, o, loops = self.i.p, self.o, range(self._loops)
        count_bits = Value.cast(i.count0).shape().width
        # Where the present iteration of each loop began; that of the innermost is the address.
        begin = [Signal.like(i.address, name=f"begin{x}", reset_less=True) for x in loops]
        stride = [Signal.like(i.address, name=f"stride{x}", reset_less=True) for x in loops]
        again = [Signal(count_bits, name=f"again{x}", reset_less=True) for x in loops]
        left = [Signal(count_bits, name=f"left{x}", reset_less=True) for x in loops]
        over = Signal(self._loops)  # which loops are in their last iteration
        following = Signal.like(i.address)  # the innermost loop that is not steps
        inner = Signal(self._loops)  # which loops begin anew then, or step
        m.d.comb += [
            over.eq(Cat(value == 0 for value in left)),
            following.eq(begin[0] + stride[0]),
            inner.eq((1 << self._loops) - 1),
            o.p.address.eq(begin[-1]),
            o.p.wraps.eq(over[-1]),
            o.p.last.eq(over.all()),
            self.i.ready.eq(~o.valid | (o.ready & o.p.last)),
        ]
        for x in loops[1:]:
            with m.If(~over[x:].all()):
                m.d.comb += following.eq(begin[x] + stride[x])
                m.d.comb += inner.eq((1 << self._loops) - (1 << x))
        with m.If(self.i.ready):
            m.d.sync += o.valid.eq(self.i.valid)
            for x in loops:
                count = i[f"count{x}"]
                less = Mux(count == 0, 0, count - 1)
                m.d.sync += [
                    begin[x].eq(i.address),
                    stride[x].eq(i[f"stride{x}"]),
                    again[x].eq(less),
                    left[x].eq(less),
                ]
        with m.Elif(o.ready):
            for x in loops:
                with m.If(inner[x]):
                    m.d.sync += begin[x].eq(following)
                    with m.If(over[x]):
                        m.d.sync += left[x].eq(again[x])
                    with m.Else():
                        m.d.sync += left[x].eq(left[x] - 1)
        return m
