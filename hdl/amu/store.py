"""What thresholds, tables and biases are kept in."""

from collections.abc import Sequence

from amaranth.hdl import Const, Module, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from ..lib.memory import BLOCK, NEVER_COLLIDES

BLOCK_DEPTH = 256
"""Fixed words from which on they are block RAM: in logic, a bit of them takes 5 tables of six
inputs or 16 of four.  What is written tools put where it takes least."""


class Store(Component):
    """``depth`` words of ``width`` bits: fixed ones, or such as are written part by part.

    ``read_data`` is the word that was addressed in the last cycle with ``read_en``.  A single
    word is always there.  Each bit of ``write_en`` writes one of ``parts`` equal parts, at other
    times than words are read for use.
    """

    def __init__(
        self, width: int, depth: int, parts: int = 1, contents: Sequence[int] | None = None
    ):
        self._width, self._depth, self._parts = width, depth, parts
        self._contents = contents
        members = {
            "read_en": In(1, init=1),
            "read_addr": In(range(depth)),
            "read_data": Out(width),
        }
        if contents is None:
            members |= {
                "write_en": In(parts),
                "write_addr": In(range(depth)),
                "write_data": In(width),
            }
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        if self._depth == 1:
            self._register(m)
            return m
        contents = self._contents
        if contents is None:
            attributes = NEVER_COLLIDES  # who reads what is written just then does not look
        else:
            attributes = BLOCK if self._depth >= BLOCK_DEPTH else {}
        m.submodules.memory = memory = Memory(
            shape=self._width, depth=self._depth, init=contents or [], attrs=attributes
        )
        if contents is None:
            write = memory.write_port(granularity=self._width // self._parts)
            m.d.comb += [
                write.en.eq(self.write_en),
                write.addr.eq(self.write_addr),
                write.data.eq(self.write_data),
            ]
        read = memory.read_port()
        m.d.comb += [
            read.en.eq(self.read_en),
            read.addr.eq(self.read_addr),
            self.read_data.eq(read.data),
        ]
        return m

    def _register(self, m: Module) -> None:
        if self._contents is not None:
            m.d.comb += self.read_data.eq(Const(self._contents[0], self._width))
            return
        word = Signal(self._width, reset_less=True)
        part = self._width // self._parts
        for number, enable in enumerate(self.write_en):
            chosen = slice(number * part, (number + 1) * part)
            with m.If(enable):
                m.d.sync += word[chosen].eq(self.write_data[chosen])
        m.d.comb += self.read_data.eq(word)
