"""Messages that may yet be delivered, and the one that is."""

from typing import Any

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.fast_sclf.config import FastSclfConfig
from ..lib.memory import Ram
from .shape import Shape


def message_layout(config: FastSclfConfig) -> data.StructLayout:
    """Bits of a beat, bit 0 the earliest, whether the CRC is right, and the message's end."""
    return data.StructLayout({"bits": data.ArrayLayout(1, config.beat), "found": 1, "last": 1})


def message_beats(
    config: FastSclfConfig, messages: np.ndarray, found: np.ndarray
) -> dict[str, Any]:
    """Beats of decoded ``messages`` [frames, k], filled up with 0; ``found``: [frames]."""
    frames, k = messages.shape
    beats = -(-k // config.beat)
    padded = np.pad(messages, ((0, 0), (0, beats * config.beat - k)))
    last = np.arange(frames * beats) % beats == beats - 1
    bits = padded.reshape(-1, config.beat)
    return {"bits": bits, "found": np.repeat(found, beats), "last": last}


class Outbox(Component):
    """Keeps two messages of a frame, one of which it sends while those of the next one come.

    ``write`` puts ``word`` into the place ``index`` of the message of this frame that ``other``
    tells.  With ``send``, whose ``found`` goes with it, the message of ``other`` is sent and the
    frame is over: its first beat is there in the next cycle if the message before has left by
    then.  If not, ``waits`` is high until it has, and there must be neither ``write`` nor ``send``,
    nor may ``other`` change.  ``last_index``: of a message's last word.
    """

    def __init__(self, shape: Shape):
        self.shape = shape
        config = shape.config
        index = range(config.length // config.beat)
        super().__init__(
            {
                "write": In(1),
                "index": In(index),
                "other": In(1),
                "word": In(config.beat),
                "send": In(1),
                "found": In(1),
                "waits": Out(1),
                "last_index": In(index),
                "message": Out(stream.Signature(message_layout(config))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, o = self.shape.config, self.message
        m.submodules.words = ram = Ram(
            config.beat, 4 * (config.length // config.beat), collides=False, block=True
        )
        frame = Signal()  # which half of the words is this frame's
        waiting_found = Signal()
        place, shown = Signal(2), Signal.like(self.index)  # of the word that is offered
        free, begin = Signal(), Signal()
        m.d.comb += [
            free.eq(~o.valid | (o.ready & o.p.last)),
            begin.eq(free & (self.send | self.waits)),
            o.p.last.eq(shown == self.last_index),
            o.p.bits.eq(ram.read_data),
            ram.write_en.eq(self.write),
            ram.write_addr.eq(Cat(self.index, self.other, frame)),
            ram.write_data.eq(self.word),
            ram.read_en.eq(o.ready | ~o.valid),
            ram.read_addr.eq(
                Mux(free, Cat(shown & 0, self.other, frame), Cat((shown + 1)[: len(shown)], place))
            ),
        ]
        m.d.sync += self.waits.eq((self.send | self.waits) & ~free)
        with m.If(self.send):
            m.d.sync += waiting_found.eq(self.found)
        with m.If(begin):
            m.d.sync += [
                place.eq(Cat(self.other, frame)),
                frame.eq(~frame),
                shown.eq(0),
                o.p.found.eq(Mux(self.send, self.found, waiting_found)),
                o.valid.eq(1),
            ]
        with m.Elif(free):
            m.d.sync += o.valid.eq(0)
        with m.Elif(o.ready):
            m.d.sync += shown.eq(shown + 1)
        return m
