"""The compute core: the systolic array, its memories, and the sequencer that runs products."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.config import NmConfig
from ...models.nm.gemm_cycles import QUEUE
from ..lib.fifo import Fifo
from .array import Array
from .banks import LeftBanks, RightBanks, SumsBanks, delayed
from .sequencer import GEMM, STROBES, LeftWalk, RightWalk, SumsWalk


class Core(Component):
    """Runs :class:`thresher.models.nm.program.Gemm`, one after the other, from and to its memories.

    ``gemm``
        Instructions; counts are 1 or more.  Weights of the next one are loaded while one streams
        by, and nothing drains between instructions but where :class:`.sequencer.LeftWalk` says so.
        Cycles: :mod:`thresher.models.nm.gemm_cycles`.
    ``finished``
        High for a cycle for each instruction, when all its sums are in their memory.
    ``left_...``, ``right_...``
        Writes: bank b of the left memory takes ``left_data[b mod port_words]`` where
        ``left_en[b]``; entry j of column c of the right memory ``right_data[(c mod (E / N)) * N +
        j]``, with ``right_single`` ``right_data[c mod E]``, where ``right_columns[c]`` and
        ``right_entries[j]`` (E: ``beat_entries``, N: ``kept``).
    ``sums_...``
        A read of all columns; data a cycle after ``sums_en``.  It takes the half's port from an
        instruction that reads there in the same cycle (one that accumulates, or has several
        folds), whose sums are then wrong.
    ``macs``
        Multiply-accumulates of left elements by entries since reset, entries that pad included:
        R * C in each cycle in which a left word enters the array.
    ``busy``
        Cycles since reset in which an instruction was here.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(
            {
                "gemm": In(stream.Signature(GEMM)),
                "finished": Out(1),
                "left_en": In(config.clusters),
                "left_address": In(range(config.left_depth)),
                "left_data": In(data.ArrayLayout(config.word_bits, config.port_words)),
                "right_columns": In(config.columns),
                "right_entries": In(config.kept),
                "right_single": In(1),
                "right_address": In(range(config.right_depth)),
                "right_data": In(data.ArrayLayout(config.entry_bits, config.beat_entries)),
                "sums_en": In(1),
                "sums_half": In(1),
                "sums_address": In(range(config.sums_depth)),
                "sums_data": Out(data.ArrayLayout(32, config.columns)),
                "macs": Out(48),
                "busy": Out(48),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        m.submodules.array = array = Array(config)
        m.submodules.left = left = LeftBanks(config, array.row_skew)
        m.submodules.right = right = RightBanks(config)
        m.submodules.sums = sums = SumsBanks(config)
        m.submodules.right_walk = right_walk = RightWalk(config, array.row_skew)
        m.submodules.left_walk = left_walk = LeftWalk(config, array)
        m.submodules.sums_walk = sums_walk = SumsWalk(config)
        self._distribute(m, right_walk, left_walk, sums_walk)

        m.d.comb += [
            *(getattr(right_walk, name).eq(getattr(left_walk, name)) for name in STROBES),
            left_walk.loaded.eq(right_walk.loaded),
            left_walk.written.eq(sums_walk.done),
            left.read.eq(left_walk.left),
            right.read.eq(right_walk.read),
            # A left word reaches the array a cycle after its read, a sum two.
            sums.read.eq(delayed(m, left_walk.sums, array.top_offset - 1)),
            sums_walk.valid.eq(array.bottom[0].valid),
            sums.write.eq(sums_walk.write),
            *(port.eq(o) for port, o in zip(array.left, left.o, strict=True)),
            *(port.eq(o) for port, o in zip(array.right, right.o, strict=True)),
        ]
        for c in range(config.columns):
            m.d.comb += [array.top[c].eq(sums.top[c]), sums.bottom[c].eq(array.bottom[c].sum)]
        # From a pass's first word at the last bank to when a pass may begin that reads its sums.
        matured = [left.swapped]
        for _ in range(array.row_skew + 2):
            matured.append(Signal(name="matured"))
            m.d.sync += matured[-1].eq(matured[-2])
        m.d.comb += left_walk.matured.eq(matured[-1])

        m.d.comb += [
            left.en.eq(self.left_en),
            left.address.eq(self.left_address),
            left.data.eq(self.left_data),
            right.columns.eq(self.right_columns),
            right.entries.eq(self.right_entries),
            right.single.eq(self.right_single),
            right.address.eq(self.right_address),
            right.data.eq(self.right_data),
            sums.en.eq(self.sums_en),
            sums.half.eq(self.sums_half),
            sums.address.eq(self.sums_address),
            self.sums_data.eq(sums.data),
            self.finished.eq(sums.written),
        ]
        self._count(m, left_walk.left.valid)
        return m

    def _distribute(self, m: Module, *walks) -> None:
        """Gives each instruction to all walks at once."""
        queues = [Fifo(GEMM, QUEUE) for _ in walks]
        m.d.comb += self.gemm.ready.eq(Cat(queue.i.ready for queue in queues).all())
        for name, queue, walk in zip(("right", "left", "sums"), queues, walks, strict=True):
            m.submodules[f"{name}_queue"] = queue
            m.d.comb += [
                queue.i.valid.eq(self.gemm.valid & self.gemm.ready),
                queue.i.payload.eq(self.gemm.payload),
                walk.i.valid.eq(queue.o.valid),
                walk.i.payload.eq(queue.o.payload),
                queue.o.ready.eq(walk.i.ready),
            ]

    def _count(self, m: Module, multiplies: Signal) -> None:
        here = Signal(range(QUEUE + 2 + self.config.columns))  # instructions that have not finished
        m.d.sync += here.eq(here + (self.gemm.valid & self.gemm.ready) - self.finished)
        with m.If(here != 0):
            m.d.sync += self.busy.eq(self.busy + 1)
        with m.If(multiplies):
            m.d.sync += self.macs.eq(self.macs + self.config.rows * self.config.columns)
