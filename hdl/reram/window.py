"""Values under the windows of a convolution, of images that come pixel by pixel."""

from itertools import accumulate

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.reram.layer_config import ReramLayerConfig
from ...models.reram.window_cycles import LATENCY, buffer_depth, buffer_lines, passes
from ..lib.memory import Ram


def value_layout(config: ReramLayerConfig) -> data.StructLayout:
    """An unsigned value, and whether it is the last of its vector."""
    return data.StructLayout({"value": config.input_bits, "last": 1})


class Window(Component):
    """Images in, pixels row by row, channels of a pixel innermost; out, window by window, row by
    row, what lies under each, in the mapping's order of inputs (:func:`thresher.models.reram.
    mapping.patches`); ``last`` with a window's last value.  One value a cycle, either side.

    Around the image lies ``padding``, of zeros.  Where inputs are signed, the highest bit leaves
    inverted: ``2**(input_bits-1)`` is added, to the padding too.

    Lines wait in a ring of :func:`~thresher.models.reram.window_cycles.buffer_depth` values, so
    that those of the next row of windows, or of the next frame, enter while a row leaves.  A row's
    first value can leave :attr:`latency` cycles after the last of all lines under it entered;
    :mod:`thresher.models.reram.window_cycles` has all cycles.  ``i.ready`` comes from registers.

    Windows of a pixel each, side by side, need no buffer: values pass in the same cycle, and
    ``i.ready`` is ``o.ready``.
    """

    def __init__(self, config: ReramLayerConfig):
        self._config = config
        super().__init__(
            {
                "i": In(stream.Signature(config.input_bits)),
                "o": Out(stream.Signature(value_layout(config))),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a value to the first that waited for it."""
        return 0 if passes(self._config) else LATENCY

    def elaborate(self, platform) -> Module:
        m = Module()
        if passes(self._config):
            self._pass(m)
        else:
            self._buffer(m)
        return m

    def _pass(self, m: Module) -> None:
        """Every value as it comes."""
        channel, ends = Signal(range(self._config.channels)), Signal()
        m.d.comb += [
            ends.eq(channel == self._config.channels - 1),
            self.o.valid.eq(self.i.valid),
            self.o.p.value.eq(self._unsigned(self.i.payload)),
            self.o.p.last.eq(ends),
            self.i.ready.eq(self.o.ready),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += channel.eq(Mux(ends, 0, channel + 1))

    def _unsigned(self, value: Value) -> Value:
        c = self._config
        return value ^ (1 << c.input_bits - 1) if c.signed_inputs else value

    def _buffer(self, m: Module) -> None:
        """Lines come and go; while all lines under a row of windows are there, its values are
        read."""
        c = self._config
        held, turn = buffer_lines(c), c.kernel + c.stride
        rows = (c.windows[0] - 1) * c.stride  # from the first row of windows to the last
        m.submodules.lines = Ram(c.input_bits, buffer_depth(c), collides=False, clear=True)
        m.submodules.walk = walk = _Walk(c)
        # Complete lines beyond those under the row of windows.  Padding below an image is complete
        # with its last line, that above with the frame before.
        most = held + c.padding * (held // c.height + 2)
        ahead = Signal(range(-turn, most + turn), init=c.padding - c.kernel)
        m.d.comb += walk.en.eq(~ahead[-1])
        # Lines that there is room for, beyond one.  Padding above an image, while windows see it,
        # counts as if it took room.
        room = Signal(range(-turn - c.padding, held + turn), init=held - c.padding - 1)
        line, bottom = self._write(m, ~room[-1])
        row, frame = self._read(m, walk)
        m.d.sync += [
            ahead.eq(
                ahead
                + Mux(line, Mux(bottom, 1 + c.padding, 1), 0)
                - Mux(walk.row, c.stride, Mux(walk.frame, c.height + c.padding - rows, 0))
            ),
            room.eq(room - line + Mux(row, c.stride, Mux(frame, c.height - rows, 0))),
        ]

    def _write(self, m: Module, room: Value) -> tuple[Value, Signal]:
        """Whether a line is complete with the present cycle, and is its image's last."""
        c, lines = self._config, m.submodules.lines
        place, line = Signal(range(c.width * c.channels)), Signal(range(c.height))
        address, depth = Signal.like(lines.write_addr), buffer_depth(c)
        top = Const(0) if _is_power(depth) else address == depth - 1
        taken, ends, bottom, begun = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(begun | room),  # a line that has begun keeps its room
            taken.eq(self.i.valid & self.i.ready),
            ends.eq(place == c.width * c.channels - 1),
            bottom.eq(line == c.height - 1),
            lines.write_en.eq(taken),
            lines.write_addr.eq(address),
            lines.write_data.eq(self.i.payload),
        ]
        with m.If(taken):
            m.d.sync += [
                address.eq(Mux(top, 0, address + 1)),
                begun.eq(~ends),
                place.eq(Mux(ends, 0, place + 1)),
            ]
            with m.If(ends):
                m.d.sync += line.eq(Mux(bottom, 0, line + 1))
        return taken & ends, bottom

    def _read(self, m: Module, walk: "_Walk") -> tuple[Value, Value]:
        """Whether the last value of a row of windows is read, and it is none of an image's last
        row, or it is."""
        c, lines, step = self._config, m.submodules.lines, walk.o.p
        above = -c.padding * (c.width + 1) * c.channels
        address = Signal.like(lines.read_addr, init=above % buffer_depth(c))
        read, last = Signal(), Signal(reset_less=True)
        m.d.comb += [
            walk.o.ready.eq(~self.o.valid | self.o.ready),
            read.eq(walk.o.valid & walk.o.ready),
            lines.read_en.eq(read),
            lines.read_addr.eq(address),
            lines.read_clear.eq(~step.inside),
            self.o.p.value.eq(self._unsigned(lines.read_data)),
            self.o.p.last.eq(last),
        ]
        with m.If(walk.o.ready):
            m.d.sync += [self.o.valid.eq(walk.o.valid), last.eq(step.last)]
        way, depth = Signal.like(address), buffer_depth(c)
        back = Signal(range(-depth, 0))  # the same way round the ring
        with m.Switch(step.level):
            for level, distance in enumerate(_distances(c)):
                with m.Case(level):
                    m.d.comb += [way.eq(distance % depth), back.eq(distance % depth - depth)]
        beyond = Signal(range(-depth, depth))
        m.d.comb += beyond.eq(address + back)
        with m.If(read):
            m.d.sync += address.eq(address + way)
            if not _is_power(depth):
                with m.If(~beyond[-1]):
                    m.d.sync += address.eq(beyond)
        return read & (step.level == _ROW), read & (step.level == _FRAME)


_ROW, _FRAME = 4, 5
"""Loops over an image's rows of windows, and over frames, counted from the innermost."""


def _loops(config: ReramLayerConfig) -> list[tuple[int, int]]:
    """From the innermost to :data:`_ROW`: how often, and how far apart in the stream of values."""
    c = config
    line = c.width * c.channels
    channels, window = [(c.channels, 1)], [(c.kernel, c.channels), (c.kernel, line)]
    inner = window + channels if c.layout == "channel" else channels + window
    down, across = c.windows
    return [*inner, (across, c.stride * c.channels), (down, c.stride * line)]


def _distances(config: ReramLayerConfig) -> list[int]:
    """From a value to the next, by the loop that goes on."""
    loops = [*_loops(config), (0, config.height * config.width * config.channels)]
    ways = accumulate(((count - 1) * apart for count, apart in loops), initial=0)
    return [apart - back for (_, apart), back in zip(loops, ways, strict=False)]


def _is_power(number: int) -> bool:
    return number & (number - 1) == 0


class _Walk(Component):
    """Visits the values of all windows, in order: the first of a row only while ``en``.

    ``o``: the loop that goes on with the next value (``level``), whether the value is ``inside`` of
    the image, and the ``last`` of its window.  ``row`` and ``frame``: in the present cycle, the
    last value of a row of windows is visited; none of an image's last row, or one of these.
    """

    def __init__(self, config: ReramLayerConfig):
        self._config = config
        step = data.StructLayout({"level": range(_FRAME + 1), "inside": 1, "last": 1})
        super().__init__(
            {
                "en": In(1),
                "o": Out(stream.Signature(step)),
                "row": Out(1),
                "frame": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self._config
        go, level = Signal(), Signal(range(_FRAME + 1))
        m.d.comb += go.eq(self.en & (~self.o.valid | self.o.ready))
        window = 0 if c.layout == "channel" else 1  # the loop along a row of the window
        x, y = Signal(range(c.width + 2 * c.padding)), Signal(range(c.height + 2 * c.padding))
        down, across = c.windows
        ends: list[Value] = []
        for k, (count, _) in enumerate(_loops(c)[:3]):
            place = Signal(range(count), name=f"place_{k}")
            ends.append(place == count - 1)
            with m.If(go & Cat(ends[:-1]).all()):
                m.d.sync += place.eq(Mux(ends[-1], 0, place + 1))
        ends += [
            x == (across - 1) * c.stride + c.kernel - 1,
            y == (down - 1) * c.stride + c.kernel - 1,
        ]
        # A loop goes on when all inside of it have ended.
        m.d.comb += level.eq(_FRAME)
        for k, end in reversed(list(enumerate(ends))):
            with m.If(~end):
                m.d.comb += level.eq(k)
        for place, along, outer in (x, window, _ROW - 1), (y, window + 1, _ROW):
            back = 1 - c.kernel
            ways = {along: 1, outer: c.stride + back}
            ways |= dict.fromkeys(range(along + 1, outer), back)
            with m.If(go), m.Switch(level):
                for k, way in ways.items():
                    with m.Case(k):
                        m.d.sync += place.eq(place + way)
                for k in range(outer + 1, _FRAME + 1):
                    with m.Case(k):
                        m.d.sync += place.eq(0)
        inside = [
            (place >= c.padding) & (place < c.padding + size)
            for place, size in ((x, c.width), (y, c.height))
        ]
        m.d.comb += [self.row.eq(go & (level == _ROW)), self.frame.eq(go & (level == _FRAME))]
        with m.If(go):
            m.d.sync += [
                self.o.p.level.eq(level),
                self.o.p.inside.eq(Cat(inside).all() if c.padding else 1),
                self.o.p.last.eq(Cat(ends[:3]).all()),
            ]
        with m.If(go | self.o.ready):
            m.d.sync += self.o.valid.eq(go)
        return m
