"""From codes to results: tables, adders, bias, requantisation.

What rounds, half of ``2**shift``, is in the biases; so rounding is a cut.
"""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.hdl import Shape as Bits
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ..lib.arith import AdderTree
from ..lib.fixed import fit, saturate
from .contents import Contents
from .shape import Shape
from .store import Store


class Tables(Component):
    """Adds up what the codes choose; of ``groups`` payloads a beat of results.

    Latency from the last of them: ``2 + depth``, and a cycle each for tables that are
    ``buffered`` and for requantisation.  A payload a
    cycle; everything stands still while a result is not taken.

    ``table_en`` and ``bias_en`` write a part (``load_port`` values) of a word, the lowest bits
    first; ``table_en`` has a bit for each part of each lane.
    """

    def __init__(self, shape: Shape, contents: Contents | None = None):
        self._shape, self._contents = shape, contents
        self._words = shape.folds * shape.groups
        self._stages = shape.depth + 2 + shape.buffered
        members = {
            "i": In(stream.Signature(shape.codes)),
            "o": Out(stream.Signature(shape.results)),
        }
        if contents is None:
            members |= {
                "table_en": In(shape.config.parallel_codebooks * shape.parts),
                "table_addr": In(range(self._words * shape.prototypes)),
                "table_data": In(shape.entries),
                "bias_en": In(shape.parts),
                "bias_addr": In(range(shape.folds)),
                "bias_data": In(shape.biases),
            }
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        shape, c = self._shape, self._shape.config
        advance = Signal()
        m.d.comb += [advance.eq(~self.o.valid | self.o.ready), self.i.ready.eq(advance)]

        # What a payload is, from table to table.
        word = Signal(range(self._words))
        group, fold = Signal(range(shape.groups)), Signal(range(shape.folds))
        ends = group == shape.groups - 1
        with m.If(self.i.valid & advance):
            m.d.sync += [
                word.eq(Mux(word == self._words - 1, 0, word + 1)),
                group.eq(Mux(ends, 0, group + 1)),
            ]
            with m.If(ends):
                m.d.sync += fold.eq(Mux(fold == shape.folds - 1, 0, fold + 1))
        about = data.StructLayout(
            {"valid": 1, "first": 1, "ends": 1, "last": 1, "fold": range(shape.folds)}
        )
        stages = [Signal(about, name=f"stage_{number}") for number in range(self._stages)]
        m.d.comb += [
            stages[0].valid.eq(self.i.valid),
            stages[0].first.eq(group == 0),
            stages[0].ends.eq(ends),
            stages[0].last.eq(fold == shape.folds - 1),
            stages[0].fold.eq(fold),
        ]
        with m.If(advance):
            m.d.sync += [later.eq(now) for now, later in pairwise(stages)]

        lanes = [self._lane(m, lane, word, advance) for lane in range(c.parallel_codebooks)]
        before, now = stages[-2:]
        bias = self._bias(m, before.fold, advance)
        form = Bits(c.sum.bits, signed=True)
        totals = data.ArrayLayout(form, c.parallel_outputs)
        sums = Signal(totals, reset_less=True)
        ended, last = Signal(), Signal()
        for output in range(c.parallel_outputs):
            total = self._added(m, output, [lane[output] for lane in lanes], advance)
            so_far = fit(Mux(now.first, bias[output], sums[output]), form)
            with m.If(advance & now.valid):
                m.d.sync += sums[output].eq(so_far + total)
        with m.If(advance):
            m.d.sync += [ended.eq(now.valid & now.ends), last.eq(now.last)]
        if c.output is None:
            m.d.comb += [
                self.o.valid.eq(ended), self.o.p.values.eq(sums), self.o.p.last.eq(last),
            ]  # fmt: skip
            return m
        with m.If(advance):
            m.d.sync += [self.o.valid.eq(ended), self.o.p.last.eq(last)]
            for result, total in zip(self.o.p.values, sums, strict=True):
                m.d.sync += result.eq(saturate(total >> c.shift, c.output_bits, c.output_signed))
        return m

    def _lane(self, m: Module, lane: int, word: Signal, advance: Signal) -> data.View:
        """The entries that the codes of a lane chose in the last cycle, or the one before it."""
        shape, c = self._shape, self._shape.config
        layout = data.ArrayLayout(c.table_bits, c.parallel_outputs)
        contents = self._contents and self._contents.table_words(lane)
        depth = self._words * shape.prototypes
        store = Store(layout.size, depth, shape.parts, contents)
        m.submodules[f"tables_{lane}"] = store
        m.d.comb += [
            store.read_en.eq(advance),
            store.read_addr.eq(Cat(self.i.payload[lane], word)),
        ]
        if contents is None:
            enables = self.table_en[lane * shape.parts : (lane + 1) * shape.parts]
            m.d.comb += [
                store.write_en.eq(enables),
                store.write_addr.eq(self.table_addr),
                store.write_data.eq(self.table_data.as_value().replicate(shape.parts)),
            ]
        if not shape.buffered:
            return data.View(layout, store.read_data)
        entries = Signal(layout, name=f"entries_{lane}", reset_less=True)
        with m.If(advance):
            m.d.sync += entries.eq(store.read_data)
        return entries

    def _bias(self, m: Module, fold: Signal, advance: Signal) -> data.View:
        """The biases of the fold that was given in the last cycle."""
        shape, c = self._shape, self._shape.config
        layout = data.ArrayLayout(Bits(c.bias_bits, signed=True), c.parallel_outputs)
        contents = self._contents and self._contents.bias_words
        m.submodules.biases = store = Store(layout.size, shape.folds, shape.parts, contents)
        m.d.comb += [store.read_en.eq(advance), store.read_addr.eq(fold)]
        if contents is None:
            m.d.comb += [
                store.write_en.eq(self.bias_en),
                store.write_addr.eq(self.bias_addr),
                store.write_data.eq(self.bias_data.as_value().replicate(shape.parts)),
            ]
        return data.View(layout, store.read_data)

    def _added(self, m: Module, output: int, entries: list, advance: Signal):
        """The sum over the lanes, ``depth`` cycles later."""
        if len(entries) == 1:
            return entries[0]
        adders = AdderTree(self._shape.config.table_bits, len(entries))
        m.submodules[f"adders_{output}"] = adders
        m.d.comb += adders.en.eq(advance)
        m.d.comb += [i.eq(entry) for i, entry in zip(adders.i, entries, strict=True)]
        return adders.o
