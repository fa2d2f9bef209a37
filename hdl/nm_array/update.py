"""The weight update: masters in and out, and the right operands of the next step."""

from typing import Literal

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ...models.nm.config import NmConfig
from ...models.nm.program import WIDTHS
from ...models.nm.sore_config import SoreConfig
from ...models.nm.update_cycles import forward_tile, in_flight, row_lanes, wuve_config
from ..lib.fifo import Fifo
from ..sore.across import Across
from ..sore.along import Along
from ..sore.layout import entries_layout, weights_layout
from ..wuve.lanes import REGISTER_MEMBERS, Lanes
from ..wuve.layout import updated_layout
from .banks import sums_members
from .load import beat_layout
from .store import write_layout
from .transpose import Transpose
from .update_addresses import by_kind
from .update_front import Front
from .update_writes import MODE, Writes


class UpdateUnit(Component):
    """Runs :class:`thresher.models.nm.program.Update`, one after the other.

    ``masters``
        Beats of FP32 weights and velocities; a beat a cycle.
    ``sums_...``
        Reads of all columns' gradients; data a cycle after ``sums_en``.
    ``write``
        Beats in the order of :mod:`thresher.models.nm.update`; a beat a cycle.
    ``rate``, ``momentum``, ``decay``, ``scale``, ``weight_shift``
        Registers, which stand still while an instruction runs.
    ``finished``
        High for a cycle for each instruction, when its last beat is taken.

    The arithmetic keeps up with the ports.  It never stands still: masters are taken as long as
    there is room for all that becomes of them.  Instructions that make the same kinds of operands
    follow each other without a bubble; another kind waits for the end of what is before it.
    Cycles: :class:`thresher.models.nm.update_cycles.UpdateCycles`.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout(WIDTHS["update"]))),
                "masters": In(stream.Signature(beat_layout(config))),
                **sums_members(config),
                "write": Out(stream.Signature(write_layout(config))),
                "finished": Out(1),
            }
            | REGISTER_MEMBERS
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        m.submodules.front = front = Front(c)
        m.submodules.lanes = lanes = Lanes(wuve_config(c))
        m.submodules.gather = gather = Gather(c)
        m.submodules.forward = forward = ForwardTiles(c)
        m.submodules.backward = backward = BackwardTiles(c)
        m.submodules.writes = writes = Writes(c)
        connect(m, flipped(self.i), front.i)
        connect(m, flipped(self.masters), front.masters)
        connect(m, front.jobs, writes.jobs)
        connect(m, forward.o, writes.forward)
        connect(m, backward.o, writes.backward)
        connect(m, writes.write, flipped(self.write))
        there = Signal(lanes.latency)
        m.d.sync += there.eq(Cat(front.valid, there))
        m.d.comb += [
            self.sums_en.eq(front.sums_en),
            self.sums_half.eq(front.sums_half),
            self.sums_address.eq(front.sums_address),
            front.sums_data.eq(self.sums_data),
            front.released.eq(writes.released),
            front.finished.eq(writes.finished),
            self.finished.eq(writes.finished),
            *(getattr(lanes, name).eq(getattr(self, name)) for name in REGISTER_MEMBERS),
            lanes.i.eq(front.row),
            gather.valid.eq(there[-1]),
            gather.row.eq(lanes.o),
            writes.push.eq(there[-1]),
            writes.row.eq(Cat(Cat(o.weight, o.velocity) for o in lanes.o)),
            writes.mode.eq(front.mode),
            backward.clear.eq(front.clear),
        ]
        for part in (forward, backward):
            m.d.comb += [
                part.mode.eq(front.mode),
                part.valid.eq(gather.step_valid),
                part.step.eq(gather.step),
            ]
        return m


def step_config(config: NmConfig, direction: Literal["along", "across"]) -> SoreConfig:
    """The selector of steps."""
    return SoreConfig(
        lanes=config.lanes,
        kept=config.kept,
        group=config.group,
        format=config.format,
        direction=direction,
    )


def steps_in_flight(config: NmConfig) -> int:
    """Most steps whose masters have not all been written."""
    return -(-in_flight(config) * row_lanes(config) // config.lanes)


class Gather(Component):
    """Rows of a step become the step, a cycle after the last of them."""

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(
            {
                "valid": In(1),
                "row": In(updated_layout(wuve_config(config))),
                "step_valid": Out(1),
                "step": Out(weights_layout(step_config(config, "along"))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes = row_lanes(self.config)
        rows = self.config.lanes // lanes
        number = Signal(range(rows))
        last = number == rows - 1
        m.d.sync += self.step_valid.eq(self.valid & last)
        with m.If(self.valid):
            m.d.sync += number.eq(Mux(last, 0, number + 1))
        for lane, weight in enumerate(self.step):
            row = self.row[lane % lanes]
            with m.If(number == lane // lanes):
                m.d.sync += [
                    weight.magnitude.eq(row.weight[:-1]),
                    weight.value.eq(row.operand),
                ]
        return m


class ForwardTiles(Component):
    """Beats of the forward operand: a stack in each lane, tiles in a queue, a beat at a time."""

    def __init__(self, config: NmConfig):
        self.config = config
        self._sore = step_config(config, "along")
        beat = data.ArrayLayout(config.entry_bits, config.beat_entries)
        super().__init__(
            {
                "mode": In(MODE),
                "valid": In(1),
                "step": In(weights_layout(self._sore)),
                "o": Out(stream.Signature(beat)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c, o = self.config, self.o
        flow, sparse = self.mode.forward_flow, self.mode.forward_sparse
        m.submodules.select = select = Along(self._sore, dense=True)
        # A tile for each step, if it is dense and output-stationary.
        m.submodules.tiles = tiles = Fifo(
            entries_layout(self._sore), steps_in_flight(c) + 2, block=True
        )
        m.d.comb += [
            select.keep_all.eq(~sparse),
            select.each.eq(flow),
            select.weights.valid.eq(self.valid),
            select.weights.payload.eq(self.step),
            select.entries.ready.eq(1),
            tiles.i.valid.eq(select.entries.valid),
            tiles.i.payload.eq(select.entries.payload),
        ]
        # Words lane by lane; or slots one by one, of dense operands the last one alone.
        slots = [Cat(lane[s] for lane in tiles.o.payload) for s in range(c.kept)]
        words = Cat(Cat(lane) for lane in tiles.o.payload)
        bits = c.entry_bits * c.beat_entries
        beat = Signal(range(c.kept * c.lanes // c.beat_entries))
        moves, last = Signal(), Signal()
        count = by_kind(flow, sparse, lambda *kind: forward_tile(c, *kind).beats)
        m.d.comb += [
            moves.eq(o.ready | ~o.valid),
            last.eq(beat == count - 1),
            tiles.o.ready.eq(moves & last),
        ]
        by_slot = Mux(sparse, Cat(slots), slots[-1])
        with m.If(moves):
            m.d.sync += [
                o.valid.eq(tiles.o.valid),
                o.payload.as_value().eq(Mux(flow, by_slot, words).word_select(beat, bits)),
            ]
            with m.If(tiles.o.valid):
                m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        return m


class BackwardTiles(Component):
    """Beats of the backward operand: groups across lanes, and a transposition."""

    def __init__(self, config: NmConfig):
        self.config = config
        self._sore = step_config(config, "across")
        beat = data.ArrayLayout(config.entry_bits, config.beat_entries)
        super().__init__(
            {
                "mode": In(MODE),
                "clear": In(1),
                "valid": In(1),
                "step": In(weights_layout(self._sore)),
                "o": Out(stream.Signature(beat)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        sparse = self.mode.backward_sparse
        m.submodules.select = select = Across(self._sore)
        m.submodules.transpose = transpose = Transpose(c, steps_in_flight(c) + 1)
        connect(m, transpose.o, flipped(self.o))
        index = (Const(lane % c.group, c.index_bits) for lane in range(c.lanes))
        dense = Cat(Cat(w.value, i) for w, i in zip(self.step, index, strict=True))
        m.d.comb += [
            select.weights.valid.eq(self.valid & sparse),
            select.weights.payload.eq(self.step),
            select.entries.ready.eq(1),
            transpose.flow.eq(self.mode.backward_flow),
            transpose.is_sparse.eq(sparse),
            transpose.clear.eq(self.clear),
            transpose.valid.eq(Mux(sparse, select.entries.valid, self.valid)),
            transpose.sparse.as_value().eq(select.entries.payload.as_value()),
            transpose.dense.as_value().eq(dense),
        ]
        return m
