"""What stands between streams: buffers, width converters, forks and joins.

Payloads have any shape.  Everywhere ``valid`` never depends on ``ready``, a ``valid``
once raised stays with its payload until it is taken, and blocks relay one payload a
cycle.  Each block says whether a combinational path leads from ``o.ready`` to
``i.ready``; a :class:`SkidBuffer` cuts such a path.
"""

from collections.abc import Mapping

from amaranth.hdl import Cat, Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, Signature


class SkidBuffer(Component):
    """Cuts every path between two streams: payload, valid and ready are registers.

    Latency 1; holds up to two payloads.
    """

    def __init__(self, shape: ShapeLike):
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        m = Module()
        payload = Signal(self._shape, reset_less=True)
        skid = Signal(self._shape, reset_less=True)
        skidded = Signal()
        m.d.comb += [self.i.ready.eq(~skidded), self.o.payload.eq(payload)]
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [
                self.o.valid.eq(self.i.valid | skidded),
                skidded.eq(0),
                payload.eq(Mux(skidded, skid, self.i.payload)),
            ]
        with m.Elif(self.i.valid):
            m.d.sync += skidded.eq(1)
        with m.If(~skidded):
            m.d.sync += skid.eq(self.i.payload)
        return m


class WidthConverter(Component):
    """Regroups elements: ``i_width`` a payload in, ``o_width`` a payload out.

    Payloads are ``ArrayLayout(element, width)``, the earliest element at index 0.
    One width divides the other.  The wider side transfers one payload every
    ``ratio`` cycles, the narrower one every cycle; latency 1 from the transfer that
    completes a payload.  ``o.ready`` leads to ``i.ready``.

    An incomplete wide payload waits for its missing elements: whoever sends a
    number of elements that does not fill the last payload pads it.
    """

    def __init__(self, element: ShapeLike, i_width: int, o_width: int):
        if min(i_width, o_width) < 1 or max(i_width, o_width) % min(i_width, o_width):
            raise ValueError(
                f"cannot convert {i_width} elements to {o_width}; one must be a multiple of the "
                "other (chain two converters through a common multiple or divisor)"
            )
        self._element = element
        self._widths = i_width, o_width
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(element, i_width))),
                "o": Out(stream.Signature(data.ArrayLayout(element, o_width))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        i_width, o_width = self._widths
        part = min(self._widths) * Shape.cast(self._element).width  # bits of a narrow payload
        ratio = max(self._widths) // min(self._widths)
        store = Signal(ratio * part, reset_less=True)
        filled = Signal(range(ratio + 1))  # narrow payloads in the store
        enter, leave = Signal(), Signal()
        m.d.comb += [
            enter.eq(self.i.valid & self.i.ready),
            leave.eq(self.o.valid & self.o.ready),
            Value.cast(self.o.payload).eq(store),  # from its low end
        ]
        if i_width <= o_width:
            m.d.comb += self.o.valid.eq(filled == ratio)
            m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
            m.d.sync += filled.eq(Mux(leave, 0, filled) + enter)
            with m.If(enter):
                m.d.sync += store.eq(Cat(store[part:], self.i.payload))
        else:
            m.d.comb += self.o.valid.eq(filled != 0)
            m.d.comb += self.i.ready.eq(~self.o.valid | ((filled == 1) & self.o.ready))
            with m.If(enter):
                m.d.sync += [store.eq(self.i.payload), filled.eq(ratio)]
            with m.Elif(leave):
                m.d.sync += [store.eq(store[part:]), filled.eq(filled - 1)]
        return m


class Fork(Component):
    """Gives every payload to each of ``count`` consumers, whenever each is ready.

    Latency 0.  ``o[k].valid`` depends on no ``ready``; ``i.ready`` comes with the last
    consumer's ``ready``, in the same cycle.
    """

    def __init__(self, shape: ShapeLike, count: int):
        if count < 1:
            raise ValueError(f"count = {count}; a Fork has at least 1 consumer")
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)).array(count),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        served = Signal(len(self.o))  # who has taken the present payload before
        taken = Signal(len(self.o))  # and who will have by the end of the cycle
        m.d.comb += self.i.ready.eq(taken.all())
        for k, o in enumerate(self.o):
            m.d.comb += [
                o.valid.eq(self.i.valid & ~served[k]),
                o.payload.eq(self.i.payload),
                taken[k].eq(served[k] | o.ready),
            ]
        with m.If(self.i.valid):
            m.d.sync += served.eq(Mux(self.i.ready, 0, taken))
        return m


class Join(Component):
    """Makes one payload, a ``StructLayout``, of one from each stream in ``i``.

    ``Join({"a": shape, ...})`` has the inputs ``i.a``, ...  Latency 0.  An input is
    ready once all inputs are valid and ``o`` is ready.
    """

    def __init__(self, shapes: Mapping[str, ShapeLike]):
        if not shapes:
            raise ValueError("a Join needs at least one input stream")
        self._names = tuple(shapes)
        inputs = {name: Out(stream.Signature(shape)) for name, shape in shapes.items()}
        super().__init__(
            {
                "i": In(Signature(inputs)),
                "o": Out(stream.Signature(data.StructLayout(dict(shapes)))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        inputs = {name: getattr(self.i, name) for name in self._names}
        m.d.comb += self.o.valid.eq(Cat(i.valid for i in inputs.values()).all())
        for name, i in inputs.items():
            m.d.comb += [
                self.o.payload[name].eq(i.payload),
                i.ready.eq(self.o.valid & self.o.ready),
            ]
        return m
