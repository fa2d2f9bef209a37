"""The codes of a row, again and again: once for each fold of the outputs."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from .shape import Shape
from .store import Store


class Replay(Component):
    """Gives each row of ``groups`` payloads ``folds`` times, while the next one comes in.

    Keeps two rows.  A payload a cycle; latency 2 the first time.
    """

    def __init__(self, shape: Shape):
        self._shape = shape
        super().__init__(
            {"i": In(stream.Signature(shape.codes)), "o": Out(stream.Signature(shape.codes))}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        groups, folds = self._shape.groups, self._shape.folds
        width = self._shape.codes.size
        # The upper half of the memory has every other row.
        m.submodules.rows = rows = Store(width, 2 << (groups - 1).bit_length())
        enter, step, there = Signal(), Signal(), Signal()
        kept = Signal(range(2 * groups + 1))  # payloads that are to be given yet again
        fresh = Signal(range(2 * groups + 1))  # of them those that were not given before
        fold = Signal(range(folds))
        first, final = Signal(), Signal()
        m.d.comb += [
            first.eq(fold == 0),
            final.eq(fold == folds - 1),
            there.eq(~first | (fresh != 0)),
            enter.eq(self.i.valid & self.i.ready),
            step.eq(there & (~self.o.valid | self.o.ready)),
            self.i.ready.eq(kept != 2 * groups),
            rows.write_en.eq(enter),
            rows.write_data.eq(Value.cast(self.i.payload)),
            rows.read_en.eq(step),
            Value.cast(self.o.payload).eq(rows.read_data),
        ]
        written = self._walk(m, enter, "written")
        m.d.comb += rows.write_addr.eq(Cat(*written))
        group, row = self._walk(m, step, "given", repeat=~final)
        m.d.comb += rows.read_addr.eq(Cat(group, row))
        with m.If(step & (group == groups - 1)):
            m.d.sync += fold.eq(Mux(final, 0, fold + 1))
        m.d.sync += [
            kept.eq(kept + enter - (step & final)),
            fresh.eq(fresh + enter - (step & first)),
        ]
        with m.If(step):
            m.d.sync += self.o.valid.eq(1)
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m

    def _walk(
        self, m: Module, enable: Signal, name: str, repeat: Value | None = None
    ) -> tuple[Signal, Signal]:
        """Group and parity of the row of a payload; the next row comes unless ``repeat``."""
        groups = self._shape.groups
        group, row = Signal(range(groups), name=name), Signal(name=f"{name}_row")
        with m.If(enable):
            m.d.sync += group.eq(Mux(group == groups - 1, 0, group + 1))
            with m.If((group == groups - 1) & (1 if repeat is None else ~repeat)):
                m.d.sync += row.eq(~row)
        return group, row
