"""What the array's memories read and write, and when: three walks over each product's operands.

Every instruction goes to all three, which take it when they are done with the one before:

* :class:`RightWalk` runs ahead: it begins to load a fold's words into the array while the fold
  before streams by.
* :class:`LeftWalk` keeps time.
* :class:`SumsWalk` comes behind and writes what comes out.

A *pass* is what streams by without a gap: the rows of a fold and tile where weights are stationary,
the steps of a row tile and tile where sums are.  Counts are 1 or more.  Names as in
:mod:`...models.nm.program`.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.config import NmConfig
from ...models.nm.gemm_cycles import QUEUE, load_pace
from ...models.nm.program import COUNT_BITS, WIDTHS
from .array import Array
from .banks import left_read_layout, right_read_layout, sums_layout

STROBES = ("start", "used", "moved", "again", "done")
"""What :class:`LeftWalk` tells :class:`RightWalk`, in the cycle in which it decides."""

GEMM = data.StructLayout(WIDTHS["gemm"])


class RightWalk(Component):
    """Right words.

    Weight-stationary: ``load`` words, one every :func:`~thresher.models.nm.gemm_cycles.load_pace`
    cycles.  A fold's first word comes as long after the ``start`` of the fold before, with which
    that is swapped in, as that one's words could take.  ``loaded``: the fold may start, now or
    later, for its other words come in time; where a sum takes but a cycle through a cluster, they
    come before.

    Output-stationary: the present word where ``used``; ``moved`` goes on to the next one, also with
    ``again`` to the first, also with ``done`` to the next instruction.

    ``read`` comes a cycle later.
    """

    def __init__(self, config: NmConfig, row_skew: int):
        self.config = config
        self._pace = load_pace(config)
        self._all_first = row_skew == 1
        super().__init__(
            {
                "i": In(stream.Signature(GEMM)),
                **dict.fromkeys(STROBES, In(1)),
                "loaded": Out(1),
                "read": Out(right_read_layout(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        clusters = self.config.clusters
        i, address = self.i.p, self.read.address
        active, output = Signal(), Signal(reset_less=True)
        here = Signal.like(address, reset_less=True)
        fold = Signal.like(address, reset_less=True)  # where the first tile's fold is
        jump = Signal.like(address, reset_less=True)  # from a fold's last word to the next tile's
        folds, tiles, again = (Signal(COUNT_BITS, name=n, reset_less=True) for n in "fta")
        g = Signal(range(clusters))
        first, last = Signal(init=1), Signal(init=clusters == 1)  # g is
        full, odd = Signal(), Signal()  # a fold may start; of the fold whose words come
        load, word_over, over = Signal(), Signal(), Signal()
        m.d.comb += [
            self.loaded.eq(full | (word_over if self._all_first else load & first)),
            load.eq(active & ~output & ~self._waits(m, first, full, load & ~last)),
            word_over.eq(load & last),
            over.eq(Mux(output, self.moved & self.done, word_over & (tiles == 0) & (folds == 0))),
            self.i.ready.eq(~active | over),
        ]
        m.d.sync += [
            self.read.valid.eq(load | self.used),
            self.read.load.eq(load),
            self.read.odd.eq(odd),
            address.eq(here),
            full.eq(self.loaded & ~self.start),
            odd.eq(odd ^ word_over),
        ]
        with m.If(load):
            m.d.sync += [
                here.eq(here + 1),
                g.eq(Mux(last, 0, g + 1)),
                first.eq(last),
                last.eq(last if clusters == 1 else g == clusters - 2),
            ]
        with m.If(word_over):
            m.d.sync += [here.eq(here + jump), tiles.eq(tiles - 1)]
            with m.If(tiles == 0):
                m.d.sync += [
                    tiles.eq(again),
                    folds.eq(folds - 1),
                    here.eq(fold + clusters),
                    fold.eq(fold + clusters),
                ]
        with m.If(self.moved):
            m.d.sync += here.eq(Mux(self.again, fold, here + 1))
        with m.If(self.i.ready):
            m.d.sync += [
                active.eq(self.i.valid),
                output.eq(i.dataflow),
                here.eq(i.right),
                fold.eq(i.right),
                jump.eq((i.folds - 1) * clusters + 1),
                folds.eq(i.folds - 1),
                tiles.eq(i.tiles - 1),
                again.eq(i.tiles - 1),
            ]
        return m

    def _waits(self, m: Module, first, full, paced) -> Value:
        """Whether a word must wait: the first for shadow registers, others for the pace."""
        period = (self.config.clusters - 1) * self._pace + 1
        start = self.start & (not self._all_first)
        return Mux(
            first, full | self._after(m, "since", start, period - 1),
            self._after(m, "gap", paced, self._pace - 1),
        )  # fmt: skip

    @staticmethod
    def _after(m: Module, name: str, event, cycles: int) -> Value:
        """High for so many ``cycles`` after an ``event``."""
        if not cycles:
            return Const(0, 1)
        left, counts = Signal(range(cycles + 1), name=name), Signal(name=f"{name}_counts")
        with m.If(event):
            m.d.sync += [left.eq(cycles), counts.eq(1)]
        with m.Elif(counts):
            m.d.sync += [left.eq(left - 1), counts.eq(left != 1)]
        return counts


class LeftWalk(Component):
    """Left words, and the sums that weight-stationary products start from.

    ``left`` and ``sums`` come a cycle after the strobes for :class:`RightWalk`.  A pass begins when

    * weight-stationary: its words are ``loaded``, and the sums that it goes on from will be there:
      ``matured`` tells of each pass that a pass may now begin that reads what it wrote;
    * output-stationary: the array can drain its sums;
    * it is the first of an instruction and either the one before had the same dataflow and, where
      the instruction accumulates, the same ``rows``, ``tiles``, ``sums`` and ``half``, or all
      instructions before are ``written``.
    """

    def __init__(self, config: NmConfig, array: Array):
        self.config = config
        self._tile_period = array.tile_period
        self._most_passes = array.weight_latency + 3
        super().__init__(
            {
                "i": In(stream.Signature(GEMM)),
                "loaded": In(1),
                "matured": In(1),
                "written": In(1),
                **dict.fromkeys(STROBES, Out(1)),
                "left": Out(left_read_layout(config)),
                "sums": Out(sums_layout(config)),
                "active": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        i, now = self.i.p, Signal(GEMM, reset_less=True)
        output = now.dataflow
        inside = Signal()  # a pass has begun
        issue, pass_over, tile_over, fold_over = Signal(), Signal(), Signal(), Signal()
        step_over, turn_over, repeat_over, may_begin = Signal(), Signal(), Signal(), Signal()

        # Counters: how many are left.  The steps of a pass go by `inner`, `repeat`, `turn`.
        counts = ("outer", "middle", "inner", "repeat")
        outer, middle, inner, repeat = (
            Signal(COUNT_BITS, name=name, reset_less=True) for name in counts
        )
        turns = self.config.interleave
        turn = Signal(range(turns))
        m.d.comb += [
            issue.eq(self.active & (inside | may_begin)),
            turn_over.eq(~output | (turn == turns - 1)),
            repeat_over.eq(repeat == 0),
            step_over.eq(turn_over & (~output | repeat_over)),
            pass_over.eq(step_over & (inner == 0)),
            tile_over.eq(pass_over & (middle == 0)),
            fold_over.eq(tile_over & (outer == 0)),
            self.start.eq(issue & ~inside & ~output),
            self.used.eq(issue & output & (turn == 0)),
            self.moved.eq(issue & output & turn_over),
            self.again.eq(tile_over),
            self.done.eq(issue & fold_over),
            self.i.ready.eq(~self.active | self.done),
        ]
        with m.If(issue):
            m.d.sync += inside.eq(~pass_over)
            with m.If(output):
                m.d.sync += turn.eq(Mux(turn_over, 0, turn + 1))
            with m.If(Mux(output, turn_over, tile_over)):
                m.d.sync += repeat.eq(Mux(repeat_over, now.repeat - 1, repeat - 1))
            with m.If(step_over):
                m.d.sync += inner.eq(inner - 1)
            with m.If(pass_over):
                m.d.sync += [
                    inner.eq(Mux(output, now.folds, now.rows) - 1),
                    middle.eq(Mux(tile_over, now.tiles, middle) - 1),
                ]
            with m.If(tile_over):
                m.d.sync += outer.eq(outer - 1)
        with m.If(self.i.ready):
            m.d.sync += [
                self.active.eq(self.i.valid),
                outer.eq(Mux(i.dataflow, i.rows, i.folds) - 1),
                middle.eq(i.tiles - 1),
                inner.eq(Mux(i.dataflow, i.folds, i.rows) - 1),
                repeat.eq(i.repeat - 1),
            ]
            with m.If(self.i.valid):
                m.d.sync += now.eq(i)

        opening, onward = Signal(), Signal()  # the first turns of a pass; not the first fold
        begins = opening | ~inside
        last = output & repeat_over & (inner == 0)
        reads = ~output & (now.accumulate | onward)
        with m.If(issue):
            m.d.sync += opening.eq(begins & ~turn_over)
            m.d.sync += onward.eq(onward | tile_over)
        with m.If(self.i.ready):
            m.d.sync += onward.eq(0)
        m.d.comb += may_begin.eq(
            ~self._waits(m, now, issue)
            & Mux(
                output,
                self._drains(m, issue & last & (turn == 0)),
                self.loaded & ~(reads & self._open_passes(m)),
            )
        )
        m.d.sync += [
            self.left.valid.eq(issue),
            self.left.swap.eq(self.start),
            self.left.output.eq(output),
            self.left.first.eq(output & begins),
            self.left.last.eq(last),
            self.sums.valid.eq(issue & reads),
            self.sums.half.eq(now.half),
        ]
        self._left_address(m, now, issue, turn_over, repeat_over, pass_over, tile_over)
        address = Signal.like(self.sums.address, reset_less=True)
        m.d.sync += self.sums.address.eq(address)
        with m.If(issue):
            m.d.sync += address.eq(Mux(tile_over, now.sums, address + 1))
        with m.If(self.i.ready):
            m.d.sync += address.eq(i.sums)
        return m

    def _waits(self, m: Module, now, issue) -> Signal:
        """Whether this pass waits for all sums of the instructions before."""
        i = self.i.p
        flight = Signal(range(QUEUE + 2))  # instructions gone by that are not written
        first, apart, waits = Signal(), Signal(reset_less=True), Signal()
        same = [i[name] == now[name] for name in ("rows", "tiles", "sums", "half")]
        m.d.sync += flight.eq(flight + self.done - self.written)
        m.d.comb += waits.eq(first & apart & (flight != 0))
        with m.If(issue):
            m.d.sync += first.eq(0)
        with m.If(self.i.ready):
            m.d.sync += [
                first.eq(1),
                apart.eq((i.dataflow != now.dataflow) | (i.accumulate & ~Cat(same).all())),
            ]
        return waits

    def _open_passes(self, m: Module) -> Signal:
        """Whether the pass that wrote what this one reads has not matured."""
        i, most = self.i.p, self._most_passes
        passes, early = Signal(range(most)), Signal()
        tiles = Signal(range(most + 1), reset_less=True)  # no more than count here
        m.d.sync += passes.eq(passes + self.start - self.matured)
        m.d.comb += early.eq(passes >= tiles)
        with m.If(self.i.ready & self.i.valid):
            m.d.sync += tiles.eq(Mux(i.tiles > most, most, i.tiles))
        return early

    def _drains(self, m: Module, last) -> Signal:
        """Whether the array can drain a pass that begins now."""
        config, i = self.config, self.i.p
        left = Signal(range(self._tile_period))  # cycles until the next first `last` may come
        # From the first word to that, no more than counts here.
        length = Signal(range(self._tile_period), reset_less=True)
        drains = Signal()
        m.d.comb += drains.eq(left <= length)
        with m.If(last):
            m.d.sync += left.eq(self._tile_period - 1)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        steps = Mux(i.repeat == config.group, i.folds * config.group, i.folds * config.kept)
        whole, most = (steps - 1) * config.interleave, self._tile_period - 1
        with m.If(self.i.ready):
            m.d.sync += length.eq(Mux(whole > most, most, whole))
        return drains

    def _left_address(self, m, now, issue, turn_over, repeat_over, pass_over, tile_over):
        i, config = self.i.p, self.config
        here, group, home, stride, back = (
            Signal.like(self.left.address, name=name, reset_less=True)
            for name in ("here", "group", "home", "stride", "back")
        )
        m.d.sync += self.left.address.eq(here)
        # Where to from a pass, and (output-stationary) from a group's rows.
        with m.If(pass_over):
            on = Mux(now.dataflow, here + 1, home + repeat_over)
            m.d.comb += back.eq(Mux(tile_over, on, home))
        with m.Else():
            m.d.comb += back.eq(group + repeat_over)
        with m.If(issue):
            m.d.sync += here.eq(here + stride)
            with m.If(pass_over | (now.dataflow & turn_over)):
                m.d.sync += [here.eq(back), group.eq(back)]
            with m.If(pass_over):
                m.d.sync += home.eq(back)
        dense = config.group // config.kept
        with m.If(self.i.ready):
            m.d.sync += [signal.eq(i.left) for signal in (here, group, home)]
            m.d.sync += stride.eq(
                Mux(i.dataflow | (i.repeat == 1), i.folds, i.folds >> (dense.bit_length() - 1))
            )


class SumsWalk(Component):
    """Where sums that leave the first column are written: ``write``, in the cycle of ``valid``.

    ``done``: it was the instruction's last one.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(GEMM)),
                "valid": In(1),
                "write": Out(sums_layout(config)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        i, address = self.i.p, self.write.address
        active, output, half = Signal(), Signal(reset_less=True), Signal(reset_less=True)

        # Within a tile whose sums stayed: turns of a MAC, MACs of a cluster, clusters.
        turn_over = self._wrap(m, "turn", self.valid & output, config.interleave)
        mac_over = self._wrap(m, "mac", turn_over, config.kept)
        cluster_over = self._wrap(m, "cluster", mac_over, config.clusters)
        outer, middle, inner = (
            Signal(COUNT_BITS, name=name, reset_less=True) for name in ("outer", "middle", "inner")
        )
        tiles, rows = (Signal(COUNT_BITS, name=name, reset_less=True) for name in ("tiles", "rows"))
        pass_over, tile_over = Signal(), Signal()
        m.d.comb += [
            pass_over.eq(Mux(output, cluster_over, self.valid & (inner == 0))),
            tile_over.eq(pass_over & (middle == 0)),
            self.done.eq(tile_over & (outer == 0)),
            self.write.valid.eq(self.valid),
            self.write.half.eq(half),
            self.write.last.eq(self.done),
            self.i.ready.eq(~active | self.done),
        ]
        with m.If(self.valid):
            m.d.sync += inner.eq(Mux(pass_over, rows, inner - 1))
        with m.If(pass_over):
            m.d.sync += middle.eq(Mux(tile_over, tiles, middle - 1))
        with m.If(tile_over):
            m.d.sync += outer.eq(outer - 1)

        # Sums that stayed leave from the last MAC of a cluster to the first, a `plane` each.
        home, base, down, up, onward, step = (
            Signal.like(address, name=name, reset_less=True)
            for name in ("home", "base", "down", "up", "onward", "step")
        )
        m.d.comb += step.eq(Mux(mac_over, Mux(cluster_over, onward, up), down))
        with m.If(tile_over):
            following = Mux(output, base + config.interleave * config.clusters, base)
            m.d.sync += [signal.eq(following) for signal in (address, home, base)]
        with m.Elif(turn_over):
            m.d.sync += [signal.eq(home + step) for signal in (address, home)]
        with m.Elif(self.valid):
            m.d.sync += address.eq(address + Mux(output, config.clusters, 1))

        plane, planes, last_mac = (
            Signal.like(address, name=name) for name in ("plane", "planes", "last_mac")
        )
        m.d.comb += [
            plane.eq(i.rows * (config.interleave * config.clusters)),
            planes.eq(plane * config.kept),
            last_mac.eq(planes - plane),
        ]
        first = i.sums + Mux(i.dataflow, last_mac + config.clusters - 1, 0)
        with m.If(self.i.ready):
            m.d.sync += [
                active.eq(self.i.valid),
                output.eq(i.dataflow),
                half.eq(i.half),
                outer.eq(Mux(i.dataflow, i.rows, i.folds) - 1),
                middle.eq(i.tiles - 1),
                inner.eq(i.rows - 1),
                tiles.eq(i.tiles - 1),
                rows.eq(i.rows - 1),
                *(signal.eq(first) for signal in (address, home, base)),
                down.eq(-plane),
                up.eq(last_mac - 1),
                onward.eq(planes + last_mac + config.clusters - 1),
            ]
        return m

    @staticmethod
    def _wrap(m: Module, name: str, step: ValueLike, size: int) -> Signal:
        """A counter of ``size`` steps; whether this one is the last."""
        over = Signal(name=f"{name}_over")
        count = Signal(range(size), name=name)
        m.d.comb += over.eq(step & (count == size - 1))
        with m.If(step):
            m.d.sync += count.eq(Mux(over, 0, count + 1))
        return over
