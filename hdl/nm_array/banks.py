"""The array's local memories, each in the time of the cluster or column that it serves.

What all banks read or write alike is told to the first one and goes from bank to bank with the
skew of the systolic array: addresses and flags are delayed, never data.  Reading takes a cycle.
No word is read while it is written: programs order that by semaphores.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Member, Out

from ...models.nm.config import NmConfig
from ..lib.memory import Ram
from .array import left_layout, right_layout
from .steering import RIGHT


def left_read_layout(config: NmConfig) -> data.StructLayout:
    """A left word to read and what its clusters do with it."""
    flags = ("valid", "swap", "first", "last", "output")
    return data.StructLayout({"address": range(config.left_depth)} | dict.fromkeys(flags, 1))


def right_read_layout(config: NmConfig) -> data.StructLayout:
    """A right word to read: to be loaded, or used as it passes."""
    return data.StructLayout({"address": range(config.right_depth)} | RIGHT)


def sums_layout(config: NmConfig) -> data.StructLayout:
    """A row of sums to read or write, one in each column; the ``last`` of an instruction."""
    address = range(config.sums_depth)
    return data.StructLayout({"address": address, "half": 1, "valid": 1, "last": 1})


def sums_members(config: NmConfig) -> dict[str, Member]:
    """Of who reads sums through :class:`SumsBanks`' second port: data a cycle after the request."""
    return {
        "sums_en": Out(1),
        "sums_half": Out(1),
        "sums_address": Out(range(config.sums_depth)),
        "sums_data": In(data.ArrayLayout(32, config.columns)),
    }


class LeftBanks(Component):
    """G banks of ``left_depth`` words.

    ``o[g]`` answers ``read`` after 1 cycle and g times the skew: ``row_skew`` cycles, 1 for words
    with ``output``.  Words of different skews are apart so far that they do not meet.  ``swapped``:
    a word with ``swap`` reads the last bank.  Bank b takes ``data[b mod port_words]`` where
    ``en[b]``.
    """

    def __init__(self, config: NmConfig, row_skew: int):
        self.config = config
        self._row_skew = row_skew
        super().__init__(
            {
                "read": In(left_read_layout(config)),
                "swapped": Out(1),
                "o": Out(left_layout(config)).array(config.clusters),
                "en": In(config.clusters),
                "address": In(range(config.left_depth)),
                "data": In(data.ArrayLayout(config.word_bits, config.port_words)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        read = self.read
        for g, o in enumerate(self.o):
            if g:
                read = self._next(m, read)
            ram = Ram(config.word_bits, config.left_depth, collides=False)
            m.submodules[f"bank{g}"] = ram
            m.d.comb += [
                ram.write_en.eq(self.en[g]),
                ram.write_addr.eq(self.address),
                ram.write_data.eq(self.data[g % config.port_words]),
                ram.read_en.eq(read.valid),
                ram.read_addr.eq(read.address),
                o.word.as_value().eq(ram.read_data),
            ]
            m.d.sync += [o[name].eq(read[name]) for name in ("swap", "first", "last", "output")]
            m.d.sync += o.valid.eq(read.valid)
        m.d.comb += self.swapped.eq(read.valid & read.swap)
        return m

    def _next(self, m: Module, read):
        """What the next cluster's bank reads."""
        early = _delayed(m, read)
        if self._row_skew == 1:
            return early
        # Only what words without `output` need goes the long way.
        moves = data.StructLayout({"address": read.address.shape(), "valid": 1, "swap": 1})
        late = Signal(moves)
        m.d.comb += [
            late.address.eq(early.address),
            late.valid.eq(early.valid & ~early.output),
            late.swap.eq(early.swap),
        ]
        late = delayed(m, late, self._row_skew - 1)
        chosen = Signal.like(read)
        stays = early.valid & early.output
        m.d.comb += [
            chosen.address.eq(Mux(stays, early.address, late.address)),
            chosen.valid.eq(stays | late.valid),
            chosen.swap.eq(late.swap & ~stays),
            chosen.first.eq(early.first),
            chosen.last.eq(early.last),
            chosen.output.eq(stays),
        ]
        return chosen


class RightBanks(Component):
    """C banks of ``right_depth`` words.

    ``o[c]`` answers ``read`` after 1 + c cycles.  Entry j of bank c takes ``data[(c mod (E / N)) *
    N + j]``, or ``data[c mod E]`` where ``single``; written where ``columns[c]`` and
    ``entries[j]``.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(
            {
                "read": In(right_read_layout(config)),
                "o": Out(right_layout(config)).array(config.columns),
                "columns": In(config.columns),
                "entries": In(config.kept),
                "single": In(1),
                "address": In(range(config.right_depth)),
                "data": In(data.ArrayLayout(config.entry_bits, config.beat_entries)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        kept, at_once = self.config.kept, self.config.beat_entries
        shape = data.ArrayLayout(self.config.entry_bits, kept)
        read = self.read
        for c, o in enumerate(self.o):
            if c:
                read = _delayed(m, read)
            ram = Ram(shape, self.config.right_depth, parts=kept, collides=False)
            m.submodules[f"bank{c}"] = ram
            m.d.comb += [
                ram.write_en.eq(Mux(self.columns[c], self.entries, 0)),
                ram.write_addr.eq(self.address),
                ram.read_en.eq(read.valid),
                ram.read_addr.eq(read.address),
                o.entries.eq(ram.read_data),
            ]
            first = c % (at_once // kept) * kept
            m.d.comb += [
                ram.write_data[j].eq(Mux(self.single, self.data[c % at_once], self.data[first + j]))
                for j in range(kept)
            ]
            m.d.sync += [o[name].eq(read[name]) for name in RIGHT]
        return m


class SumsBanks(Component):
    """Two halves of C banks of ``sums_depth`` sums.

    ``top[c]`` answers ``read`` after 2 + c cycles, 0 where it is not valid.  ``write`` is of
    ``bottom[c]`` c cycles later; ``written`` tells of its ``last`` that it is there in all columns.
    ``data`` answers ``en``, ``half``, ``address`` after a cycle, and stays.

    A half has one port to read: it is ``en``'s in a cycle in which both want it, so programs leave
    the half that a product accumulates in alone.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(
            {
                "read": In(sums_layout(config)),
                "top": Out(32).array(config.columns),
                "write": In(sums_layout(config)),
                "bottom": In(32).array(config.columns),
                "written": Out(1),
                "en": In(1),
                "half": In(1),
                "address": In(range(config.sums_depth)),
                "data": Out(data.ArrayLayout(32, config.columns)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        half = Signal()
        with m.If(self.en):
            m.d.sync += half.eq(self.half)
        read, write = self.read, self.write
        for c in range(self.config.columns):
            if c:
                read, write = _delayed(m, read), _delayed(m, write)
            shown = [self._bank(m, c, x, read, write) for x in range(2)]
            answers = Signal(2, name=f"answers{c}")  # which half has been read for `top`
            m.d.sync += answers.eq(Mux(read.valid, 1 << read.half, 0))
            # A register between a block RAM, which is slow, and an adder.
            top = Signal(32, name=f"top{c}", reset_less=True)
            m.d.sync += top.eq(Mux(answers[0], shown[0], 0) | Mux(answers[1], shown[1], 0))
            m.d.comb += [
                self.top[c].eq(top),
                self.data[c].eq(Mux(half, shown[1], shown[0])),
            ]
        m.d.sync += self.written.eq(write.valid & write.last)
        return m

    def _bank(self, m: Module, c: int, half: int, read, write) -> Value:
        ram = Ram(32, self.config.sums_depth, collides=False)
        m.submodules[f"bank{c}_{half}"] = ram
        outside = Signal(name=f"outside{c}_{half}")
        m.d.comb += [
            outside.eq(self.en & (self.half == half)),
            ram.read_en.eq(outside | (read.valid & (read.half == half))),
            ram.read_addr.eq(Mux(outside, self.address, read.address)),
            ram.write_en.eq(write.valid & (write.half == half)),
            ram.write_addr.eq(write.address),
            ram.write_data.eq(self.bottom[c]),
        ]
        return ram.read_data


def delayed(m: Module, value, cycles: int):
    """``value``, a struct with a member ``valid``, ``cycles`` cycles ago."""
    for _ in range(cycles):
        value = _delayed(m, value)
    return value


def _delayed(m: Module, value):
    """A struct a cycle ago.  Nothing but ``valid`` needs a reset, so shift registers suffice."""
    shape = value.shape()
    others = {name: field for name, field in shape.members.items() if name != "valid"}
    held, valid = Signal(data.StructLayout(others), reset_less=True), Signal()
    after = Signal(shape)
    m.d.sync += valid.eq(value.valid)
    m.d.comb += after.valid.eq(valid)
    for name in others:
        m.d.sync += held[name].eq(value[name])
        m.d.comb += after[name].eq(held[name])
    return after
