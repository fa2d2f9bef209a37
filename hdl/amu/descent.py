"""From the values that trees look at to codes: one comparison a level.

Both blocks take the beats of rows and give their codes, in order.  A tree's thresholds are kept
as pairs of siblings (:class:`.contents.Contents`): the pair of a node's children can be read while
the node compares, whose bit then chooses between the two.  So a memory with a register behind it,
be it block RAM or LUT RAM, costs no cycle a level.

Thresholds are written while ``open`` is low and no codes are awaited; rows may come in the next
cycle but one.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from .contents import Contents, packed
from .shape import Shape
from .store import Store


def comparable(shape: Shape, value: Value) -> Value:
    """An input as it is compared: its bits, read as an integer, order half-precision numbers."""
    if shape.config.input_kind != "float16":
        return value
    # Among negative numbers more magnitude is less; thresholds of zero are positive.
    return Cat(value[:15] ^ value[15].replicate(15), value[15]).as_signed()


class _Descent(Component):
    """What both have in common.

    ``open``: a beat or a row is begun and not ended; ``begins``: a row's first beat is taken;
    ``hungry``: a beat would be worked on if there were one.
    """

    def __init__(self, shape: Shape, contents: Contents | None = None):
        self._shape, self._contents = shape, contents
        members = {
            "i": In(stream.Signature(shape.row)),
            "o": Out(stream.Signature(shape.codes)),
            "open": Out(1),
            "begins": Out(1),
            "hungry": Out(1),
        }
        if contents is None:
            members |= {
                "write_en": In(shape.config.parallel_codebooks),
                "write_addr": In(range(shape.groups * shape.pairs)),
                "write_data": In(shape.pair),
            }
        super().__init__(members)

    def _groups(self, m: Module) -> tuple[Signal, Signal]:
        """The group of the next beat to be taken, and that of the beat at hand a cycle later."""
        group, following = Signal(range(self._shape.groups)), Signal(range(self._shape.groups))
        m.d.comb += following.eq(group)
        with m.If(self.i.valid & self.i.ready):
            last = group == self._shape.groups - 1
            m.d.comb += [following.eq(Mux(last, 0, group + 1)), self.begins.eq(group == 0)]
        m.d.sync += group.eq(following)
        return group, following


class Pipelined(_Descent):
    """A comparator for each level; a beat a cycle, latency ``levels``."""

    def elaborate(self, platform) -> Module:
        m = Module()
        levels, lanes = self._shape.config.levels, self._shape.config.parallel_codebooks
        group, following = self._groups(m)
        m.d.comb += self.open.eq(group != 0)
        advance, busy = Signal(), Signal(levels)
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(advance),
            self.hungry.eq(advance),
            self.o.valid.eq(busy[-1]),
        ]
        with m.If(advance):
            m.d.sync += busy.eq(Cat(self.i.valid, busy[:-1]))
        groups = [group]  # of the beat before each level but the last, which read for the next one
        for level in range(1, levels - 1):
            groups.append(Signal.like(group, name=f"group_{level}", reset_less=True))
            with m.If(advance):
                m.d.sync += groups[level].eq(groups[level - 1])
        for lane in range(lanes):
            self._lane(m, lane, groups, following, advance)
        return m

    def _lane(
        self, m: Module, lane: int, groups: list[Signal], following: Signal, advance: Signal
    ) -> None:
        shape = self._shape
        levels = shape.config.levels
        values = [comparable(self._shape, value) for value in self.i.payload[lane]]
        code: Value = Const(0, 0)
        address: Value = following
        for level in range(levels):
            store = self._store(m, lane, level)
            m.d.comb += store.read_addr.eq(address)
            if level == 0:
                threshold = data.View(data.ArrayLayout(shape.threshold, 1), store.read_data)[0]
            else:
                m.d.comb += store.read_en.eq(advance)
                pair = data.View(shape.pair, store.read_data)
                threshold = Mux(code[0], pair[1], pair[0])
            if level < levels - 1:
                address = Cat(code, groups[level])
            taken = Signal(level + 1, name=f"code_{lane}_{level}", reset_less=True)
            waiting = [
                Signal(shape.threshold, name=f"value_{lane}_{level}_{later}", reset_less=True)
                for later in range(level + 1, levels)
            ]
            with m.If(advance):
                m.d.sync += taken.eq(Cat(values[0] > threshold, code))
                m.d.sync += [old.eq(new) for old, new in zip(waiting, values[1:], strict=True)]
            code, values = taken, waiting
        m.d.comb += self.o.payload[lane].eq(code)

    def _store(self, m: Module, lane: int, level: int) -> Store:
        """The pairs of a level: those of its parents' numbers; of the first level the root."""
        shape = self._shape
        first, count = (0, 1) if level == 0 else (1 << (level - 1), 1 << (level - 1))
        width = shape.config.input_bits * (1 if level == 0 else 2)
        words = None
        if self._contents is not None:
            pairs = self._contents.threshold_words(lane)[:, first : first + count]
            values = pairs[..., 1:] if level == 0 else pairs
            words = packed(values.reshape(-1, values.shape[-1]), shape.config.input_bits)
        store = Store(width, shape.groups * count, contents=words)
        m.submodules[f"thresholds_{lane}_{level}"] = store
        if words is None:
            digits = shape.config.levels - 1
            node, group = self.write_addr[:digits], self.write_addr[digits:]
            mine = node == 0 if level == 0 else node >> (level - 1) == 1
            word = Value.cast(self.write_data)
            m.d.comb += [
                store.write_en.eq(self.write_en[lane] & mine),
                store.write_addr.eq(Cat(node[: max(level - 1, 0)], group)),
                store.write_data.eq(word[len(word) - width :]),
            ]
        return store


class Serial(_Descent):
    """A comparator for all levels, one after the other; a beat in ``levels`` cycles."""

    def elaborate(self, platform) -> Module:
        m = Module()
        shape = self._shape
        levels, lanes = shape.config.levels, shape.config.parallel_codebooks
        group, following = self._groups(m)
        level = Signal(range(levels))
        last, step = Signal(), Signal()
        m.d.comb += [
            last.eq(level == levels - 1),
            self.hungry.eq(~last | ~self.o.valid | self.o.ready),
            self.i.ready.eq(last & self.hungry),
            step.eq(self.i.valid & self.hungry),
            self.open.eq((group != 0) | (level != 0)),
        ]
        with m.If(step):
            m.d.sync += level.eq(Mux(last, 0, level + 1))
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(step & last):
            m.d.sync += self.o.valid.eq(1)
        for lane in range(lanes):
            node = Signal(levels, init=1, name=f"node_{lane}")
            value = Signal(shape.threshold, name=f"value_{lane}")
            child = Signal(levels + 1, name=f"child_{lane}")
            store = self._store(m, lane)
            pair = data.View(shape.pair, store.read_data)
            threshold = Mux(node[0], pair[1], pair[0])
            with m.Switch(level):
                for number in range(levels):
                    with m.Case(number):
                        m.d.comb += value.eq(comparable(shape, self.i.payload[lane][number]))
            # A pair is read again and again until it has been used.
            pair_next = Mux(step, Mux(last, 0, node[:-1]), node[1:])
            m.d.comb += [
                child.eq(Cat(value > threshold, node)),
                store.read_addr.eq(Cat(pair_next, following)),
            ]
            with m.If(step):
                m.d.sync += node.eq(Mux(last, 1, child))
            with m.If(step & last):
                m.d.sync += self.o.payload[lane].eq(child)
        return m

    def _store(self, m: Module, lane: int) -> Store:
        shape = self._shape
        words = None
        if self._contents is not None:
            pairs = self._contents.threshold_words(lane).reshape(-1, 2)
            words = packed(pairs, shape.config.input_bits)
        store = Store(2 * shape.config.input_bits, shape.groups * shape.pairs, contents=words)
        m.submodules[f"thresholds_{lane}"] = store
        if words is None:
            m.d.comb += [
                store.write_en.eq(self.write_en[lane]),
                store.write_addr.eq(self.write_addr),
                store.write_data.eq(self.write_data),
            ]
        return store
