"""The way in: beats of external memory to the left or the right memory, or to the update."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.config import NmConfig
from ...models.nm.port_cycles import OUTSTANDING
from ...models.nm.program import ADDRESS_BITS, COUNT_BITS, LOOPS, WIDTHS
from ..lib.fifo import Fifo
from ..lib.stream import SkidBuffer
from .addresses import Addresses, pattern_layout

LEFT, RIGHT, MASTERS = range(3)


def beat_layout(config: NmConfig) -> data.ArrayLayout:
    """A beat of the memory port as 32-bit numbers, low end first."""
    return data.ArrayLayout(32, config.beat_bits // 32)


class Load(Component):
    """Runs :class:`thresher.models.nm.program.Load`, one after the other.

    ``request``
        Addresses of beats, in order, as early as can be: up to
        :data:`~thresher.models.nm.port_cycles.OUTSTANDING` ahead of ``data``, also those of the
        next instruction.  So a memory of a latency below that costs no throughput.
    ``data``
        The beats, in the same order; none is taken that was not requested.
    ``left_...``, ``right_...``
        Writes: bank b of the left memory takes ``left_data[b mod port_words]`` where
        ``left_en[b]``; entry j of column c of the right memory ``right_data[(c mod (E / N)) * N +
        j]``, with ``right_single`` ``right_data[c mod E]``, where ``right_columns[c]`` and
        ``right_entries[j]`` (E: ``beat_entries``, N: ``kept``).
    ``masters``
        Beats for the next update.
    ``finished``
        High for a cycle for each instruction, together with its last write, or once its last beat
        is on its way to ``masters``.

    The pattern alone says how many beats an instruction has.  An instruction taken in cycle t
    requests in t + 1 and on, takes beats from t + 2 on and writes each two cycles later; its
    beats follow those of the instruction before without a bubble.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        beat = beat_layout(config)
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout(WIDTHS["load"]))),
                "request": Out(stream.Signature(ADDRESS_BITS)),
                "data": In(stream.Signature(beat)),
                "left_en": Out(config.clusters),
                "left_address": Out(range(config.left_depth)),
                "left_data": Out(data.ArrayLayout(config.word_bits, config.port_words)),
                "right_columns": Out(config.columns),
                "right_entries": Out(config.kept),
                "right_single": Out(1),
                "right_address": Out(range(config.right_depth)),
                "right_data": Out(data.ArrayLayout(config.entry_bits, config.beat_entries)),
                "masters": Out(stream.Signature(beat)),
                "finished": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        held = Signal(self.config.beat_bits, reset_less=True)
        valid, last, advance, over = Signal(), Signal(), Signal(), Signal()
        info = self._request(m, valid, last, held, advance & over)
        now, begin = self._turns(m, info, valid & last & advance & over)
        m.submodules.masters = masters = SkidBuffer(self.data.p.shape())
        m.d.comb += [
            masters.i.valid.eq(valid & (now.target == MASTERS)),
            masters.i.payload.as_value().eq(held),
            self.masters.valid.eq(masters.o.valid),
            self.masters.payload.eq(masters.o.payload),
            masters.o.ready.eq(self.masters.ready),
            advance.eq(valid & ((now.target != MASTERS) | masters.i.ready)),
        ]
        m.d.sync += self.finished.eq(advance & over & last)
        self._left(m, info.p, begin, now, held, advance, over)
        self._right(m, info.p, begin, now, held, advance)
        return m

    def _request(self, m, valid, last, held, leave):
        """Requests beats and takes them, a beat at a time, into ``held``.

        Returns the stream of what to do with them, an instruction at a time.
        """
        shape = {name: width for name, width in WIDTHS["load"].items() if name in _INFO}
        m.submodules.addresses = addresses = Addresses(LOOPS, ADDRESS_BITS, COUNT_BITS)
        m.submodules.info = info = Fifo(data.StructLayout(shape), 2)
        m.submodules.pending = pending = Fifo(1, OUTSTANDING, block=False)
        free = Signal()
        m.d.comb += [
            self.i.ready.eq(addresses.i.ready & info.i.ready),
            addresses.i.valid.eq(self.i.valid & info.i.ready),
            info.i.valid.eq(self.i.valid & addresses.i.ready),
            *(info.i.p[name].eq(self.i.p[name]) for name in shape),
            *(
                addresses.i.p[name].eq(self.i.p[name])
                for name in pattern_layout(LOOPS, ADDRESS_BITS, COUNT_BITS).members
            ),
            self.request.valid.eq(addresses.o.valid & pending.i.ready),
            self.request.payload.eq(addresses.o.p.address),
            addresses.o.ready.eq(self.request.ready & pending.i.ready),
            pending.i.valid.eq(addresses.o.valid & self.request.ready),
            pending.i.payload.eq(addresses.o.p.last),
            free.eq(~valid | leave),
            self.data.ready.eq(free & pending.o.valid),
            pending.o.ready.eq(free & self.data.valid),
        ]
        with m.If(free):
            m.d.sync += [
                valid.eq(self.data.valid & pending.o.valid),
                last.eq(pending.o.payload),
                held.eq(self.data.payload),
            ]
        return info.o

    @staticmethod
    def _turns(m, info, end):
        """Who beats are for: the instruction of the present ones, and when the next begins."""
        now = Signal.like(info.p, reset_less=True)
        active, begin = Signal(), Signal()
        m.d.comb += [info.ready.eq(~active | end), begin.eq(info.valid & info.ready)]
        with m.If(info.ready):
            m.d.sync += active.eq(info.valid)
        with m.If(begin):
            m.d.sync += now.eq(info.p)
        return now, begin

    def _left(self, m, info, begin, now, held, advance, over):
        """Writes words; ``over`` with the last ones of the beat."""
        config = self.config
        clusters, words = config.clusters, config.port_words
        bank, part = Signal(range(clusters)), Signal(range(words))
        address, blocks = Signal(COUNT_BITS), Signal(COUNT_BITS, reset_less=True)
        home = Signal(COUNT_BITS, reset_less=True)  # where the next bank begins
        beats, left = Signal(COUNT_BITS, reset_less=True), Signal(COUNT_BITS, reset_less=True)
        serial, row_over, wrap = Signal(), Signal(), Signal()
        m.d.comb += [
            # Words of one bank: by row, if they are groups of a row, and the other way round.
            serial.eq((now.target == LEFT) & (now.dataflow ^ now.rows_in_beat)),
            over.eq(~serial | (part == words - 1)),
            row_over.eq(left == 0),
            wrap.eq(bank == Mux(serial, clusters - 1, clusters - words)),
        ]
        with m.If(advance):
            m.d.sync += part.eq(Mux(over, 0, part + 1))
        with m.If(begin):
            count = Mux(info.rows_in_beat, info.groups, info.groups >> _log2(words))
            m.d.sync += [
                bank.eq(0),
                address.eq(info.base),
                home.eq(info.base),
                blocks.eq(_divided_up(info.groups, clusters)),
                beats.eq(count - 1),
                left.eq(count - 1),
            ]
        with m.Elif(advance):
            after = Signal(COUNT_BITS)
            m.d.comb += after.eq(address + 1)
            moves = Signal()  # on to the next bank or, if it wraps, back to the first
            with m.If(over):
                m.d.sync += left.eq(Mux(row_over, beats, left - 1))
            with m.If(now.dataflow):  # by row: a bank has a row
                m.d.comb += moves.eq(row_over & over)
                m.d.sync += address.eq(Mux(moves & ~wrap, home, after))
                with m.If(moves & wrap):
                    m.d.sync += home.eq(after)
            with m.Else():  # by group: a bank has a group
                m.d.comb += moves.eq(over)
                with m.If(~over):
                    m.d.sync += address.eq(address + blocks)
                with m.Elif(row_over):
                    m.d.sync += [address.eq(after), home.eq(after)]
                with m.Elif(wrap):
                    m.d.sync += [address.eq(home + 1), home.eq(home + 1)]
                with m.Else():
                    m.d.sync += address.eq(home)
            with m.If(moves):
                step = Mux(serial, 1, words)
                restart = wrap | (row_over & ~now.dataflow)
                m.d.sync += bank.eq(Mux(restart, 0, bank + step))
        chosen = held.word_select(part, config.word_bits)
        for b in range(clusters):
            mine = Mux(serial, bank == b, bank[_log2(words) :] == b // words)
            m.d.sync += self.left_en[b].eq(advance & (now.target == LEFT) & mine)
        m.d.sync += [
            self.left_address.eq(address),
            self.left_data.eq(Mux(serial, chosen.replicate(words), held)),
        ]

    def _right(self, m, info, begin, now, held, advance):
        """Writes entries."""
        config = self.config
        columns, kept, entries = config.columns, config.kept, config.beat_entries
        step = Signal(range(columns * kept // entries))
        address = Signal(COUNT_BITS, reset_less=True)
        last = Mux(now.single, columns // entries - 1, columns * kept // entries - 1)
        with m.If(begin):
            m.d.sync += [step.eq(0), address.eq(info.base)]
        with m.Elif(advance):
            wrap = Signal()
            m.d.comb += wrap.eq(step == last)
            m.d.sync += [step.eq(Mux(wrap, 0, step + 1)), address.eq(address + wrap)]
        for c in range(columns):
            mine = Mux(now.single, step == c // entries, step == c * kept // entries)
            m.d.sync += self.right_columns[c].eq(advance & (now.target == RIGHT) & mine)
        m.d.sync += [
            self.right_entries.eq(Mux(now.single, 1 << now.entry[: _log2(kept)], (1 << kept) - 1)),
            self.right_single.eq(now.single),
            self.right_address.eq(address),
            self.right_data.eq(held),
        ]


_INFO = ("target", "base", "dataflow", "rows_in_beat", "groups", "single", "entry")


def _log2(power: int) -> int:
    return power.bit_length() - 1


def _divided_up(value: Value, divisor: int) -> Value:
    """``ceil(value / divisor)`` of 16 bits, as a product."""
    shift = COUNT_BITS + 1 + (divisor - 1).bit_length()
    factor = -(-(1 << shift) // divisor)
    return ((value + (divisor - 1)) * factor) >> shift
