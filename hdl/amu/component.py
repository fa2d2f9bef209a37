"""The whole engine."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...models.amu.config import AmuConfig
from ..lib.arith import count_ones
from ..lib.counters import walk
from .constant import Constant
from .contents import Contents, fixed_layer
from .descent import Pipelined, Serial
from .replay import Replay
from .shape import Shape
from .tables import Tables

COUNTERS = ("rows", "load_beats", "load_cycles", "wait_input", "wait_output")


class Amu(wiring.Component):
    """A matrix product by table lookup (:class:`thresher.models.amu.layer.Layer`).

    ``thresholds``, ``tables``, ``biases``
        Beats of :class:`.contents.Contents`; not there where contents are fixed.  First of all
        each is loaded, whole; a reset asks for them again.  Later each may be loaded again by
        itself: as soon as beats are offered no more rows are begun, they are taken once those
        under way have been delivered, and rows wait until it is complete.
    ``x``
        Rows, ``groups`` beats each.  Lane p of beat g has what the tree of codebook
        ``g * parallel_codebooks + p`` looks at, level by level; lanes of no codebook have anything.
    ``y``
        Results in the order of the rows, ``folds`` beats each: lane p of beat f is output
        ``f * parallel_outputs + p``, lanes of no output are 0; ``last`` with the row's last
        beat.

    A row takes ``groups * folds`` cycles; :mod:`.cycles` counts exactly.
    """

    def __init__(self, config: AmuConfig):
        self.config = config
        shape = self._shape = Shape(config)
        members = {
            "x": In(stream.Signature(shape.row)),
            "y": Out(stream.Signature(shape.results)),
            **{name: Out(32) for name in COUNTERS},
        }
        if config.contents == "loaded":
            members = {
                "thresholds": In(stream.Signature(shape.pair)),
                "tables": In(stream.Signature(shape.entries)),
                "biases": In(stream.Signature(shape.biases)),
            } | members
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        accept, leave = Signal(), Signal()
        i, o, hungry = self._rows(m, accept, leave)
        m.d.comb += [
            i.payload.eq(self.x.payload),
            i.valid.eq(self.x.valid & accept),
            self.x.ready.eq(i.ready & accept),
            leave.eq(self.y.valid & self.y.ready & self.y.p.last),
        ]
        wiring.connect(m, o, wiring.flipped(self.y))
        with m.If(leave):
            m.d.sync += self.rows.eq(self.rows + 1)
        with m.If(accept & hungry & ~self.x.valid):
            m.d.sync += self.wait_input.eq(self.wait_input + 1)
        with m.If(self.y.valid & ~self.y.ready):
            m.d.sync += self.wait_output.eq(self.wait_output + 1)
        return m

    def _rows(self, m, accept, leave):
        """What rows go through: its input, its output, and whether it would work on a beat.

        ``accept``: rows may come; ``leave``: one has gone.
        """
        shape, contents = self._shape, None
        if shape.unrolled:
            m.submodules.constant = constant = Constant(shape)
            m.d.comb += accept.eq(1)
            return constant.i, constant.o, constant.i.ready
        if self.config.contents == "fixed":
            contents = Contents.of(self.config, fixed_layer(self.config))
        m.submodules.descent = descent = (Serial if shape.serial else Pipelined)(shape, contents)
        m.submodules.tables = tables = Tables(shape, contents)
        if shape.folds == 1:
            wiring.connect(m, descent.o, tables.i)
        else:
            m.submodules.replay = replay = Replay(shape)
            wiring.connect(m, descent.o, replay.i)
            wiring.connect(m, replay.o, tables.i)
        if contents is None:
            self._load(m, descent, tables, accept, leave)
        else:
            m.d.comb += accept.eq(1)
        return descent.i, tables.o, descent.hungry

    def _load(self, m, descent, tables, accept, leave):
        """Takes what is loaded while no row is under way, and rows while all is loaded."""
        shape = self._shape
        flying = Signal(range(shape.config.levels + shape.depth + 8))  # rows begun, not delivered
        m.d.sync += flying.eq(flying + descent.begins - leave)
        ports = (self.thresholds, self.tables, self.biases)
        whole, taken = Signal(len(ports)), Signal(len(ports))
        settled, loading = Signal(), Signal()  # what was written last can be read
        wanted, quiet = Signal(), Signal()
        m.d.sync += settled.eq(whole.all())
        m.d.comb += [
            wanted.eq(Cat(port.valid for port in ports).any()),
            quiet.eq(~descent.open & (flying == 0)),
            accept.eq(settled & whole.all() & (descent.open | ~wanted)),
        ]
        lanes = shape.config.parallel_codebooks
        orders = (
            {"pair": shape.pairs, "lane": lanes, "group": shape.groups},
            {
                "part": shape.parts, "code": shape.prototypes, "lane": lanes,
                "word": shape.folds * shape.groups,
            },
            {"part": shape.parts, "fold": shape.folds},
        )  # fmt: skip
        places = []
        for number, (port, order) in enumerate(zip(ports, orders, strict=True)):
            m.d.comb += [port.ready.eq(quiet), taken[number].eq(port.valid & quiet)]
            place, last = walk(m, taken[number], order, "_loaded")
            places.append(place)
            with m.If(taken[number]):
                m.d.sync += whole[number].eq(last)
        of_pair, of_entry, of_bias = places
        part = [of_entry["part"] == number for number in range(shape.parts)]
        m.d.comb += [
            descent.write_en.eq(_chosen(taken[0], of_pair["lane"], lanes)),
            descent.write_addr.eq(Cat(of_pair["pair"], of_pair["group"])),
            descent.write_data.eq(self.thresholds.payload),
            tables.table_en.eq(
                Cat(
                    lane & chosen
                    for lane in _chosen(taken[1], of_entry["lane"], lanes)
                    for chosen in part
                )
            ),
            tables.table_addr.eq(Cat(of_entry["code"], of_entry["word"])),
            tables.table_data.eq(self.tables.payload),
            tables.bias_en.eq(_chosen(taken[2], of_bias["part"], shape.parts)),
            tables.bias_addr.eq(of_bias["fold"]),
            tables.bias_data.eq(self.biases.payload),
        ]
        with m.If(taken.any()):
            m.d.sync += loading.eq(1)
        with m.Elif(whole.all()):
            m.d.sync += loading.eq(0)
        with m.If(taken.any() | (loading & ~whole.all())):
            m.d.sync += self.load_cycles.eq(self.load_cycles + 1)
        m.d.sync += self.load_beats.eq(self.load_beats + count_ones(taken))


def _chosen(enable, number, count):
    """One bit of ``count``, that of ``number``, while ``enable``."""
    return Cat(enable & (number == each) for each in range(count))
