"""A memory in which words wait for a stage, the newest in the place of the oldest."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from ..lib.memory import Ram
from .flow import Entry

_BLOCK_ROWS = 1024
"""Up to so many rows, however wide, a power of two costs no more block RAM of ECP5 or Xilinx."""

_BLOCK_BITS = 16384
"""Nor does it where all of them are in one."""


def rows(depth: int, bits: int) -> int:
    """Those of a ring that holds ``depth`` words of so many bits at least.

    A power of two where it costs nothing, for then addresses wrap by themselves.
    """
    power = 1 << (max(depth, 2) - 1).bit_length()
    return power if power <= _BLOCK_ROWS or power * bits <= _BLOCK_BITS else depth


def following(address: Value, step: int, count: int) -> Value:
    """The address ``step`` rows after ``address``, of ``count`` rows in a ring."""
    step %= count
    if count & (count - 1) == 0:
        return (address + step)[: len(address)]
    wraps = address >= count - step
    return (address + Mux(wraps, step - count, step))[: len(address)]


class Ring(Component):
    """Takes a word whenever ``write.en``, each in the next of ``count`` rows, from row 0 on.

    ``word`` is the row of ``address`` of the last cycle.  No row is read while it is written.
    """

    def __init__(self, bits: int, count: int):
        self._bits, self._count = bits, count
        super().__init__({"write": In(Entry(bits)), "address": In(range(count)), "word": Out(bits)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = memory = Ram(self._bits, self._count, collides=False)
        place = Signal(range(self._count))
        m.d.comb += [
            memory.write_en.eq(self.write.en),
            memory.write_addr.eq(place),
            memory.write_data.eq(self.write.word),
            memory.read_addr.eq(self.address),
            self.word.eq(memory.read_data),
        ]
        with m.If(self.write.en):
            m.d.sync += place.eq(following(place, 1, self._count))
        return m
