"""Where loaded words go, and when activations and loads wait for each other."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.reram.layer_config import ReramLayerConfig
from ..lib.counters import walk


class CellLoad(Component):
    """Says where words of levels go: with ``write``, a cycle after the word was taken.

    Words come in the order of crossbars (plane, row, across), fragments, ADCs, columns of an ADC.
    ``last``: the word that is due is the last of all, after which the first is due again.
    """

    def __init__(self, config: ReramLayerConfig):
        self.config = c = config
        levels = data.ArrayLayout(c.cell_bits, c.fragment_rows)
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"levels": levels}))),
                "write": Out(1),
                "number": Out(range(c.planes * c.down * c.across)),
                "adc": Out(range(c.adcs)),
                "address": Out(range(c.fragments * c.scan)),
                "levels": Out(levels),
                "last": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        order = {
            "column": c.scan,
            "adc": c.adcs,
            "fragment": c.fragments,
            "number": c.planes * c.down * c.across,
        }
        place, last = walk(m, self.i.valid & self.i.ready, order, "_due")
        m.d.comb += [self.i.ready.eq(1), self.last.eq(last)]
        m.d.sync += [
            self.write.eq(self.i.valid & self.i.ready),
            self.number.eq(place["number"]),
            self.adc.eq(place["adc"]),
            self.address.eq(place["fragment"] * c.scan + place["column"]),
            Value.cast(self.levels).eq(Value.cast(self.i.p.levels)),
        ]
        return m


class Admission(Component):
    """Lets activations in while all is ``loaded``, and loads while no activations are inside.

    ``accept``
        Activations may be taken: of a frame that has begun, or of a new one, which waits while a
        load is ``wanted``.
    ``quiet``
        Words of loads may be taken.
    ``taken``, ``delivered``
        An activation, or a result, was transferred.
    ``vectors``
        Results' pixels that were.
    """

    def __init__(self, config: ReramLayerConfig):
        self.config = config
        super().__init__(
            {
                "loaded": In(1),
                "wanted": In(1),
                "taken": In(1),
                "delivered": In(1),
                "accept": Out(1),
                "quiet": Out(1),
                "vectors": Out(32),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        down, across = c.windows
        frame = {"activation": c.height * c.width * c.channels}
        _, last = walk(m, self.taken, frame, "s_taken")
        _, last_feature = walk(m, self.delivered, {"feature": c.features}, "s_delivered")
        vector, enters, leaves, inside = Signal(), Signal(), Signal(), Signal()
        m.d.comb += vector.eq(self.delivered & last_feature)
        _, last_vector = walk(m, vector, {"vector": down * across}, "s_delivered")
        # Frames, of which queues have no room for so many, whatever their size.
        flying = Signal(8)
        m.d.comb += [enters.eq(self.taken & ~inside), leaves.eq(vector & last_vector)]
        with m.If(self.taken):
            m.d.sync += inside.eq(~last)
        with m.If(enters != leaves):
            m.d.sync += flying.eq(Mux(enters, flying + 1, flying - 1))
        with m.If(vector):
            m.d.sync += self.vectors.eq(self.vectors + 1)
        m.d.comb += [
            self.accept.eq(inside | (self.loaded & ~self.wanted)),
            self.quiet.eq(~inside & (flying == 0)),
        ]
        return m
