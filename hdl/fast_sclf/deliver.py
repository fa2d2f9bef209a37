"""The way out: which path's CRC is right, and its message.

A decoding's partial sums are all that is needed of it: they are the words of the left children,
whose polar transforms are u.  While they are read, the next decoding may run.
"""

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from .extract import Extract, control_layout
from .outbox import Outbox, message_layout
from .shape import Shape
from .transform import Transform, mask


def latency(shape: Shape, rows: int, checked: int) -> int:
    """Cycles from ``finish`` to ``verdict`` on the ``checked``-th slot, of codes of so many rows.

    In the verdict's cycle the first beat of the message is there, if the one before has left.
    """
    chunks = rows * shape.config.pes // shape.config.beat
    fill = shape.rows // 2 - 1
    return 4 + fill + checked * (chunks + 1)


class Deliver(Component):
    """Finds the first slot whose CRC is right and sends its message.

    ``rows``: n / pes of the loaded code, a power of two of at least 2; ``k``: message bits without
    the CRC; ``control_write``, ``control_address``, ``control``: :func:`.extract.controls`.  All
    stand still while anything is under way.

    ``finish``, only where ``ready`` is high: a decoding ends; with it come the ``half`` of
    :class:`.sums.Sums` where its rows are, ``pointers`` [levels - row_level, list_size], the slots
    that are ``active`` (slot 0, and none above one that is not), and whether it is the ``first``
    one of its frame.  Its last row may be stored in this very cycle.  The rows are read by
    ``row_enable``, ``row_half``, ``row_bank`` and ``row_address``, and none may be stored until
    ``verdict``, which tells by ``passed`` whether a slot's CRC was right (:func:`latency`).

    Then the first such slot's message is sent.  If none was right, ``give_up``, in the cycle of the
    verdict or later and before the frame's next ``finish``, sends slot 0's of the frame's first
    decoding instead; it is not ``found``.  A message waits for the one before it, the next
    decoding only for a message that waits.
    """

    def __init__(self, shape: Shape):
        self.shape = shape
        config = shape.config
        slot = range(config.list_size)
        slots = data.ArrayLayout(slot, config.list_size)
        super().__init__(
            {
                "rows": In(range(shape.rows + 1)),
                "k": In(range(config.length + 1)),
                "control_write": In(1),
                "control_address": In(range(config.length // config.beat + 1)),
                "control": In(control_layout(shape)),
                "finish": In(1),
                "half": In(1),
                "pointers": In(data.ArrayLayout(slots, shape.levels - shape.row_level)),
                "active": In(config.list_size),
                "first": In(1),
                "ready": Out(1),
                "row_enable": Out(1),
                "row_half": Out(1),
                "row_bank": Out(slot),
                "row_address": Out(range(shape.rows)),
                "row": In(config.pes),
                "verdict": Out(1),
                "passed": Out(1),
                "give_up": In(1),
                "message": Out(stream.Signature(message_layout(config))),
            }
        )
        self.pointers: data.View

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.shape.config
        m.submodules.transform = transform = Transform(self.shape)
        m.submodules.extract = extract = Extract(self.shape)
        m.submodules.outbox = outbox = Outbox(self.shape)
        connect(m, flipped(self.message), outbox.message)
        running = Signal()
        left = Signal(config.list_size)  # the slots not judged yet, from the next one on
        right, stop = Signal(), Signal()
        index = Signal.like(outbox.index)  # of the next word
        more = Signal()  # which is one of the message
        final = Signal()

        self._read(m, transform)
        self._chunks(m, transform, extract, stop)
        m.d.comb += [
            extract.control_write.eq(self.control_write),
            extract.control_address.eq(self.control_address),
            extract.control.eq(self.control),
            right.eq(self._remainder(m, extract) == 0),
            stop.eq(extract.end & (right | ~left[1:].any())),
            final.eq(index == outbox.last_index),
            outbox.index.eq(index),
            outbox.word.eq(extract.word & Mux(final, extract.last_lanes, ~0)),
            outbox.write.eq(extract.word_valid & more),
            outbox.send.eq((stop & right) | self.give_up),
            outbox.found.eq(~self.give_up),
            outbox.last_index.eq((self.k - 1)[config.beat.bit_length() - 1 :]),
            self.ready.eq(~running & ~outbox.waits & ~self.give_up),
        ]
        m.d.sync += [self.verdict.eq(stop), self.passed.eq(right)]
        with m.If(extract.word_valid):
            m.d.sync += index.eq(index + 1)
            with m.If(final):
                m.d.sync += more.eq(0)
        with m.If(extract.end):
            m.d.sync += [index.eq(0), more.eq(1), left.eq(left[1:])]
            with m.If(~right):
                # Slot 0's of the first decoding is kept; and given up to, in the end.
                m.d.sync += outbox.other.eq(~stop)
        with m.If(stop):
            m.d.sync += running.eq(0)
        with m.If(self.finish):
            m.d.sync += [
                running.eq(1),
                left.eq(self.active),
                outbox.other.eq(~self.first),
                more.eq(1),
            ]
        return m

    def _read(self, m: Module, transform: Transform) -> None:
        """Presents row after row, slot after slot."""
        config = self.shape.config
        half = Signal()
        pointers = Signal(self.pointers.shape(), reset_less=True)
        slot = Signal.like(self.row_bank)
        limit, left, above = (Signal(transform.index.shape()) for _ in range(3))
        bank = self.row_bank
        m.d.comb += [
            transform.start.eq(self.finish),
            transform.rows.eq(self.rows),
            transform.row.eq(self.row),
            limit.eq(mask(self.shape, self.rows)),
            # The rows behind this one: their number's highest bit tells the left child.
            left.eq(~transform.index & limit),
            above.eq(Cat(left[bit + 1 :].any() for bit in range(len(left)))),
            self.row_address.eq((left & ~above) | (transform.index & above)),
            self.row_enable.eq(self.finish | transform.take),
            self.row_half.eq(Mux(self.finish, self.half, half)),
            bank.eq(slot),
        ]
        for level, is_level in enumerate(left & ~above):
            chosen = Signal.like(bank, name=f"pointer{level}")
            with m.Switch(slot):
                for number in range(config.list_size):
                    with m.Case(number):
                        m.d.comb += chosen.eq(pointers[level][number])
            with m.If(self.finish):
                m.d.comb += chosen.eq(self.pointers[level][0])
            with m.If(is_level):
                m.d.comb += bank.eq(chosen)
        with m.If(self.row_enable & (left == 0)):
            m.d.sync += slot.eq(slot + 1)
        with m.If(transform.stop):
            m.d.sync += slot.eq(0)
        with m.If(self.finish):
            m.d.sync += [half.eq(self.half), pointers.eq(self.pointers)]

    def _chunks(self, m: Module, transform: Transform, extract: Extract, stop: Value) -> None:
        """The chunks of each u, and a cycle for what is left of it."""
        index, flush = Signal.like(extract.index), Signal()
        final = Signal()  # the u's last one
        limit = mask(self.shape, self.rows)
        parts = len(index) - len(limit)
        m.d.comb += [
            final.eq(Cat(index[:parts], index[parts:] | ~limit).all()),
            transform.ready.eq(~flush),
            transform.stop.eq(stop),
            extract.stop.eq(stop),
            extract.chunk.eq(transform.chunk),
            extract.valid.eq(transform.valid & ~flush),
            extract.flush.eq(flush),
            extract.index.eq(index),
        ]
        with m.If(extract.valid):
            m.d.sync += [index.eq(Mux(final, 0, index + 1)), flush.eq(final)]
        with m.If(flush):
            m.d.sync += flush.eq(0)
        with m.If(stop):
            m.d.sync += [index.eq(0), flush.eq(0)]

    def _remainder(self, m: Module, extract: Extract) -> Value:
        """Of all words of a u up to this one, as a polynomial, by the CRC's.

        It is 0 where the CRC is right, whatever zeros follow.
        """
        crc, beat = self.shape.config.check, self.shape.config.beat
        remainder, after = Signal(crc.length), Signal(crc.length)
        # What each power of x leaves, the highest one first.
        powers = np.concatenate([crc.matrix(beat), np.eye(crc.length, dtype=np.uint8)])
        bits = Cat(remainder, extract.word)
        for number, column in enumerate(powers.T):
            m.d.comb += after[number].eq(
                Cat(bits[i] for i in np.flatnonzero(column).tolist()).xor()
            )
        with m.If(extract.word_valid):
            m.d.sync += remainder.eq(after)
        with m.If(extract.end):
            m.d.sync += remainder.eq(0)
        return after
