"""Where the tiles of an update's operands go; see :class:`thresher.models.nm.program.Update`.

Both tell the address of the tile's next beat, one after the other, and never stand in its way.
"""

from collections.abc import Callable

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.config import NmConfig
from ...models.nm.program import ADDRESS_BITS, COUNT_BITS, Dataflow
from ...models.nm.update_cycles import backward_tile, forward_tile

_MEMBERS = {
    "flow": In(1),
    "sparse": In(1),
    "begin": In(1),
    "base": In(ADDRESS_BITS),
    "take": In(1),
    "tail": In(1),
    "address": Out(ADDRESS_BITS),
    "last": Out(1),
}


def by_kind(flow: Value, sparse: Value, number: Callable[[Dataflow, bool], int]) -> Value:
    """The number that goes with a dataflow (``flow``: 1 is output-stationary), sparse or not."""
    return Mux(
        flow,
        Mux(sparse, number("output", True), number("output", False)),
        Mux(sparse, number("weight", True), number("weight", False)),
    )


class ForwardAddresses(Component):
    """Of the operand whose reduction axis is k.

    ``begin``: the operand starts at ``base``.  ``take``: the beat at ``address`` leaves, the
    ``last`` one of its tile or not.  ``tail``: a segment is over, with ``block_ends`` the last one
    of a block; never together with ``take``.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(_MEMBERS | {"block_ends": In(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        segments = c.columns // c.lanes

        def number(get: Callable) -> Value:
            return by_kind(self.flow, self.sparse, lambda *kind: get(forward_tile(c, *kind)))

        width, lines = number(lambda tile: tile.width), number(lambda tile: tile.lines)
        pitch = number(lambda tile: tile.pitch(c))
        line_start, segment_start = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        beat, line = Signal(range(c.lanes)), Signal(range(c.kept))
        following = Signal(ADDRESS_BITS)
        wide = Signal()  # more of this line
        m.d.comb += [
            wide.eq(beat != width - 1),
            self.last.eq(~wide & (line == lines - 1)),
            following.eq(line_start + pitch),
        ]
        with m.If(self.take):
            with m.If(wide):
                m.d.sync += [beat.eq(beat + 1), self.address.eq(self.address + 1)]
            with m.Else():
                m.d.sync += [
                    beat.eq(0),
                    line.eq(Mux(self.last, 0, line + 1)),
                    line_start.eq(following),
                    self.address.eq(following),
                ]
        segment = Signal(ADDRESS_BITS)
        m.d.comb += segment.eq(
            # The line after the block's last one, of the first segment again.
            Mux(self.block_ends, line_start - (segments - 1) * width, segment_start + width)
        )
        for condition, start in ((self.tail, segment), (self.begin, self.base)):
            with m.If(condition):
                m.d.sync += [x.eq(start) for x in (self.address, line_start, segment_start)]
        return m


class BackwardAddresses(Component):
    """Of the operand whose reduction axis is n, of ``blocks`` blocks of columns.

    As :class:`ForwardAddresses`, but that ``tail`` comes with the ``take`` of a tile's last beat.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(_MEMBERS | {"blocks": In(COUNT_BITS)})

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        segments = c.columns // c.lanes

        def number(get: Callable) -> Value:
            return by_kind(self.flow, self.sparse, lambda *kind: get(backward_tile(c, *kind)))

        lines, pitch = number(lambda tile: tile.lines), number(lambda tile: tile.pitch(c))
        size = number(lambda tile: tile.lines * tile.pitch(c))  # beats of C of k in a segment
        shift = number(lambda tile: _log2(tile.lines * tile.pitch(c) * segments))
        tile_start, column_start, segment_start = (Signal(ADDRESS_BITS) for _ in range(3))
        line, tile = Signal(range(c.lanes)), Signal(range(c.columns))
        over = Signal()  # the columns of a block
        following = Signal(ADDRESS_BITS)
        m.d.comb += [
            self.last.eq(line == lines - 1),
            over.eq(tile == pitch - 1),
            following.eq(
                Mux(
                    self.tail,
                    segment_start + size,
                    Mux(over, column_start + (self.blocks << shift), tile_start + 1),
                )
            ),
        ]
        with m.If(self.take):
            with m.If(self.last):
                m.d.sync += [
                    line.eq(0),
                    tile.eq(Mux(over, 0, tile + 1)),
                    tile_start.eq(following),
                    self.address.eq(following),
                ]
                with m.If(over):
                    m.d.sync += column_start.eq(following)
                with m.If(self.tail):
                    m.d.sync += segment_start.eq(following)
            with m.Else():
                m.d.sync += [line.eq(line + 1), self.address.eq(self.address + pitch)]
        with m.If(self.begin):
            starts = (self.address, tile_start, column_start, segment_start)
            m.d.sync += [x.eq(self.base) for x in starts]
        return m


def _log2(number: int) -> int:
    return number.bit_length() - 1
