"""From the bits of u to those that are not frozen, in whole words."""

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ..lib.memory import Ram
from .shape import Shape


def control_layout(shape: Shape) -> data.StructLayout:
    """What to do with a chunk of u.

    ``swap``: which pairs of lanes change places, of distance 1 first, those of the lowest lanes
    first.  ``fresh``: the lanes of the word that are not filled by earlier chunks.  ``complete``:
    the word is full then, or u ends.
    """
    beat = shape.config.beat
    return data.StructLayout(
        {"swap": beat // 2 * (beat.bit_length() - 1), "fresh": beat, "complete": 1}
    )


def controls(shape: Shape, frozen: np.ndarray) -> list[int]:
    """The memory's contents for a code: those of each chunk and, last, of the message's end.

    ``frozen``: bool [n], of which more bits are not frozen than the CRC has.  The place in the
    list is the address; chunks beyond n have 0.  The last entry, at ``length / beat``, has in
    ``fresh`` the lanes of the message's last word.
    """
    beat, layout = shape.config.beat, control_layout(shape)
    contents, offset, chunks = [], 0, len(frozen) // beat
    for number, free in enumerate(~frozen.reshape(chunks, beat)):
        end = offset + int(free.sum())
        complete = end >= beat or (number == chunks - 1 and end > 0)
        fresh = (1 << beat) - (1 << offset)
        fields = {"swap": _swaps(free, offset), "fresh": fresh, "complete": int(complete)}
        contents.append(layout.const(fields).as_value().value)
        offset = end % beat
    message = int((~frozen).sum()) - shape.config.check.length
    end = {"fresh": (2 << (message - 1) % beat) - 1}
    empty = shape.config.length // beat - chunks
    return [*contents, *[0] * empty, layout.const(end).as_value().value]


class Extract(Component):
    """Gathers the bits that are not frozen.

    ``chunk``, where ``valid``, is chunk ``index`` of u, whose frozen bits are 0; after the last
    one of each u comes a cycle with ``flush`` instead, which delivers what is left.  Two cycles
    later follow ``word`` and, where it is complete, ``word_valid``; behind those of one u, zeros
    and perhaps a word of zeros.  ``end`` is ``flush``, as much later.  ``stop`` drops what is on
    its way.

    ``control_write`` writes ``control`` to ``control_address``: the entries of :func:`controls`.
    ``last_lanes`` has the lanes of the message's last word.

    The lanes are permuted by a butterfly network so that those not frozen follow one another, the
    first one behind the last one of the chunk before.  A reverse butterfly, distance 1 first, can
    do that: its last stage has in each half the bits of half a chunk, one behind the other and
    cyclically, so no two that meet there want to go to the same place.
    """

    def __init__(self, shape: Shape):
        self.shape = shape
        beat = shape.config.beat
        chunks = shape.config.length // beat
        super().__init__(
            {
                "chunk": In(beat),
                "valid": In(1),
                "flush": In(1),
                "index": In(range(chunks)),
                "stop": In(1),
                "word": Out(beat),
                "word_valid": Out(1),
                "end": Out(1),
                "last_lanes": Out(beat),
                "control_write": In(1),
                "control_address": In(range(chunks + 1)),
                "control": In(control_layout(shape)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        beat, layout = self.shape.config.beat, control_layout(self.shape)
        chunks = self.shape.config.length // beat
        m.submodules.controls = ram = Ram(layout, chunks, collides=False, clear=True, block=True)
        m.d.comb += [
            ram.write_en.eq(self.control_write & ~self.control_address[-1]),
            ram.write_addr.eq(self.control_address),
            ram.write_data.eq(self.control),
            ram.read_addr.eq(self.index),
            ram.read_clear.eq(self.flush),  # nothing is fresh: the word is what is held
        ]
        with m.If(self.control_write & self.control_address[-1]):
            m.d.sync += self.last_lanes.eq(self.control.fresh)

        chunk = Signal(beat, reset_less=True)
        valid, flush = Signal(), Signal()
        control = ram.read_data
        packed, word, complete = Signal(beat), Signal(beat), Signal()
        held = Signal(beat, reset_less=True)
        m.d.sync += [
            chunk.eq(self.chunk),
            valid.eq(self.valid & ~self.stop),
            flush.eq(self.flush & ~self.stop),
            held.eq(Mux(complete, packed & ~control.fresh, word)),
            self.word.eq(word),
            self.word_valid.eq((valid & control.complete | flush) & ~self.stop),
            self.end.eq(flush & ~self.stop),
        ]
        m.d.comb += [
            packed.eq(_network(m, chunk, control.swap)),
            word.eq((packed & control.fresh) | (held & ~control.fresh)),
            complete.eq(control.complete),
        ]
        return m


def _network(m: Module, word: Value, swap: Value) -> Value:
    """``word`` with its lanes swapped."""
    span, at = 1, 0
    while span < len(word):
        blocks = []
        for block in range(0, len(word), 2 * span):
            low, high = word[block : block + span], word[block + span : block + 2 * span]
            here = swap[at : at + span]
            blocks += [(low & ~here) | (high & here), (high & ~here) | (low & here)]
            at += span
        swapped = Signal(len(word), name=f"swapped{span}")
        m.d.comb += swapped.eq(Cat(blocks))
        word, span = swapped, 2 * span
    return word


def _swaps(wanted: np.ndarray, offset: int) -> int:
    """The swaps that bring the i-th lane of those ``wanted`` [beat] to lane offset + i, cyclic."""
    size = len(wanted)
    swaps, at = 0, 0
    span = 1
    while span < size:
        for block in range(0, size, 2 * span):
            for start, upper in ((block, 0), (block + span, 1)):
                first = offset + int(wanted[:start].sum())
                for target in range(first, first + int(wanted[start : start + span].sum())):
                    if (target // span & 1) != upper:
                        swaps |= 1 << at + target % span
            at += span
        span *= 2
    return swaps
