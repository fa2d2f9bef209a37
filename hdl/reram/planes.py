# amaranth: UnusedElaboratable=no
"""Bit planes of vectors of inputs, without those that a crossbar need not read."""

from typing import Any, NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.reram.layer_config import ReramLayerConfig
from ..lib.arith import find_first, tree_sum
from ..lib.fifo import Fifo
from ..lib.memory import Ram
from .window import value_layout

COUNTED = 16
"""Most terms that are added up in a cycle."""


def step_layout(config: ReramLayerConfig) -> data.StructLayout:
    """What a row of crossbars converts in a step.

    ============ ===================================================================
    ``lines``    bit ``bit`` of each row of fragment ``fragment``; 0 in rows beyond
                 the inputs
    ``ones``     how many of these are 1
    ``first``    of a vector
    ``last``     of a vector
    ``empty``    a vector without steps, nothing to convert; first and last, lines 0
    ``total``    with the last step, where weights have an offset: the sum of the
                 vector's values
    ============ ===================================================================
    """
    fields: dict[str, Any] = {
        "lines": config.fragment_rows,
        "fragment": config.fragment_bits,
        "bit": range(config.input_bits),
        "ones": range(config.fragment_rows + 1),
        "first": 1,
        "last": 1,
        "empty": 1,
    }
    if config.offset:
        fields["total"] = (config.rows * ((1 << config.input_bits) - 1)).bit_length()
    return data.StructLayout(fields)


class Planes(Component):
    """Vectors of ``inputs`` unsigned values in, one a cycle; steps out, one a cycle.

    The last of a vector's ``inputs`` values comes with ``last``.  Fragments leave in order, bits of
    a fragment from the highest down, as ``config.skip`` has it (:mod:`thresher.models.reram.
    skipping`).  What is skipped takes no cycle; a vector of which everything is takes one.
    :attr:`held` vectors are inside at most: the next enters while steps of the one before leave.

    A step can leave in the cycle after the one before, and not until the queue has its fragment:

    * the last fragment with steps, and a vector that is ``empty``: :attr:`latency` cycles after the
      vector's last value entered;
    * others: :attr:`latency` - 1 cycles after the last value of the next fragment with steps.

    A vector's first value can enter in the cycle after the last step of the :attr:`held`-th vector
    before it has left; the others in any cycle.

    ``i.ready`` and ``o.valid`` come from registers.
    """

    def __init__(self, config: ReramLayerConfig, inputs: int):
        if not 1 <= inputs <= config.rows:
            raise ValueError(
                f"inputs = {inputs}, of 1 to {config.rows} rows of a crossbar; put more crossbars "
                "below each other"
            )
        self._config, self._inputs = config, inputs
        self._fragments = -(-inputs // config.fragment_rows)
        # A row of the memory for each fragment of these; addresses wrap round by themselves.
        self._depth = max(4, 1 << (self.held * self._fragments - 1).bit_length())
        super().__init__(
            {
                "i": In(stream.Signature(value_layout(config))),
                "o": Out(stream.Signature(step_layout(config))),
            }
        )

    @property
    def held(self) -> int:
        """Vectors inside at once: 2, or as many as cover the latency where they are short."""
        return 1 + -(-self.latency // self._inputs)

    @property
    def latency(self) -> int:
        """Cycles from a vector's last value to the first step of its last fragment with steps."""
        return 6 + self._levels

    @property
    def _levels(self) -> int:
        """Cycles that counting lines takes."""
        terms, levels = self._config.fragment_rows, 0
        while terms > 1:
            terms, levels = -(-terms // COUNTED), levels + 1
        return levels

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self._config
        # What leaves the queue stands in a register: the next step is found in one cycle.
        m.submodules.queue = Fifo(_entry_layout(c), self._depth, block=True)
        word = data.ArrayLayout(c.input_bits, c.fragment_rows)
        m.submodules.words = Ram(word, self._depth, c.fragment_rows, collides=False)
        left = Signal()
        m.d.comb += left.eq(self.o.valid & self.o.ready & self.o.p.last)
        taken = self._admit(m, left)
        self._gather(m, taken)
        self._give(m)
        if c.offset:
            self._add_up(m, taken, left)
        return m

    def _admit(self, m: Module, left: Signal) -> Signal:
        """Whether a value enters: of a vector that is inside, or that finds room."""
        taken, begun, entered = Signal(), Signal(), Signal()
        inside = Signal(range(self.held + 1))
        m.d.comb += [
            self.i.ready.eq(begun | (inside != self.held)),
            taken.eq(self.i.valid & self.i.ready),
            entered.eq(taken & ~begun),
        ]
        with m.If(taken):
            m.d.sync += begun.eq(~self.i.p.last)
        with m.If(entered != left):
            m.d.sync += inside.eq(inside + Mux(entered, 1, -1))
        return taken

    def _gather(self, m: Module, taken: Signal) -> None:
        """Values to the memory; what is to be read of a fragment to the queue.

        A fragment whose bits are all skipped leaves its row to the next.  The queue's last entry
        waits until it is known whether it is its vector's last.
        """
        c, words, queue = self._config, m.submodules.words, m.submodules.queue.i
        lane, complete = Signal(range(c.fragment_rows)), Signal()
        m.d.comb += complete.eq((lane == c.fragment_rows - 1) | self.i.p.last)
        with m.If(taken):
            m.d.sync += lane.eq(Mux(complete, 0, lane + 1))
        value = Signal(c.input_bits, reset_less=True)
        enable = Signal(c.fragment_rows)
        done, ended = Signal(), Signal()  # with a fragment's, or a vector's, last value
        m.d.sync += [
            value.eq(self.i.p.value),
            enable.eq(Cat(taken & (lane == k) for k in range(c.fragment_rows))),
            done.eq(taken & complete),
            ended.eq(taken & self.i.p.last),
        ]
        row, number = Signal(range(self._depth)), Signal(range(self._fragments))
        m.d.comb += [
            words.write_en.eq(enable),
            words.write_addr.eq(row),
            *(lane.eq(value) for lane in words.write_data),
        ]
        bits, some = self._union(m, taken, complete)
        entry = Signal(_entry_layout(c), reset_less=True)
        waits, opens, closes = Signal(), Signal(), Signal()
        m.d.comb += opens.eq(done & (some | (ended & ~waits)))
        m.d.sync += closes.eq(ended)
        with m.If(done):
            m.d.sync += number.eq(Mux(ended, 0, number + 1))
            m.d.sync += waits.eq(~ended & (waits | some))
        with m.If(opens):
            m.d.sync += [row.eq(row + 1), entry.fragment.eq(number), entry.bits.eq(bits)]
        m.d.comb += [
            queue.valid.eq(closes | (opens & waits)),
            queue.payload.eq(entry),
            queue.p.last.eq(closes),
        ]

    def _union(self, m: Module, taken: Signal, complete: Signal) -> tuple[Value, Value]:
        """Of the fragment that was completed in the last cycle: what the queue keeps of the OR of
        its values, and whether it has steps."""
        c = self._config
        if c.skip == "none":
            return Const(0, 0), Const(1, 1)
        union, fresh = Signal(c.input_bits, reset_less=True), Signal(init=1)
        with m.If(taken):
            m.d.sync += union.eq(Mux(fresh, 0, union) | self.i.p.value)
            m.d.sync += fresh.eq(complete)
        if c.skip == "any":
            return union, union.any()
        highest = _highest(union)
        return Cat(highest.bit, ~highest.any), highest.any

    def _give(self, m: Module) -> None:
        """Steps of one fragment after the other, through registers in which no bubble stays."""
        stages = 2 + self._levels
        valid = [Signal(name=f"valid_{k}") for k in range(stages)]
        free = [Signal(name=f"free_{k}") for k in range(stages)]
        following = [*free[1:], self.o.ready]
        m.d.comb += [free[k].eq(~valid[k] | following[k]) for k in range(stages)]
        step, load = self._pick(m, valid[0], free[0])
        present = step._asdict() | {"lines": self._lines(m, step.bit, load)}
        counts: list[Value] = []
        for k in range(1, stages):
            if k > 1:
                terms = counts or list(present["lines"])
                groups = (terms[n : n + COUNTED] for n in range(0, len(terms), COUNTED))
                counts = [tree_sum(group) for group in groups]
            before = present | {f"count_{n}": count for n, count in enumerate(counts)}
            after = {n: Signal.like(v, name=f"{n}_{k}", reset_less=True) for n, v in before.items()}
            with m.If(free[k]):
                m.d.sync += [valid[k].eq(valid[k - 1]), *(after[n].eq(before[n]) for n in after)]
            counts = [after.pop(f"count_{n}") for n in range(len(counts))]
            present = after
        m.d.comb += [
            self.o.valid.eq(valid[-1]),
            *(self.o.p[name].eq(value) for name, value in present.items()),
            self.o.p.ones.eq(counts[0] if counts else present["lines"]),
        ]

    def _pick(self, m: Module, valid: Signal, free: Signal) -> tuple["_Step", Signal]:
        """The next step; and whether that is a fragment's first."""
        c, queue = self._config, m.submodules.queue.o
        entry = queue.p
        step = _Step(
            fragment=Signal(c.fragment_bits, reset_less=True),
            bit=Signal(range(c.input_bits), reset_less=True),
            first=Signal(reset_less=True),
            last=Signal(),
            empty=Signal(reset_less=True),
        )
        final = Signal(init=1)  # of its fragment; or there is none
        closing = Signal(init=1)  # the fragment its vector; or there is none
        load, bit, finishes, empty = Signal(), Signal.like(step.bit), Signal(), Signal()
        if c.skip == "any":
            present, rest = Signal(c.input_bits), Signal(c.input_bits, reset_less=True)
            highest = _highest(present)
            m.d.comb += [
                present.eq(Mux(final, entry.bits, rest)),
                bit.eq(highest.bit),
                finishes.eq(~highest.below.any()),
                empty.eq(~highest.any),
            ]
            with m.If(free):
                m.d.sync += rest.eq(highest.below)
        else:
            leading = c.skip == "leading"
            top = entry.bits[: len(bit)] if leading else Const(c.input_bits - 1, len(bit))
            m.d.comb += [
                bit.eq(Mux(final, top, step.bit - 1)),
                finishes.eq(bit == 0),
                empty.eq(entry.bits[-1] if leading else 0),
            ]
        m.d.comb += [
            queue.ready.eq(free & final),
            load.eq(queue.valid & queue.ready),
            step.last.eq(closing & final),
        ]
        with m.If(free):
            m.d.sync += [valid.eq(~final | queue.valid), step.bit.eq(bit)]
            m.d.sync += step.first.eq(final & closing)
            with m.If(~final | queue.valid):
                m.d.sync += final.eq(finishes)
        with m.If(load):
            m.d.sync += [
                step.fragment.eq(entry.fragment),
                step.empty.eq(empty),
                closing.eq(entry.last),
            ]
        return step, load

    def _lines(self, m: Module, bit: Value, load: Signal) -> Value:
        """The present step's bit of each of its fragment's values."""
        words, filled = m.submodules.words, self._inputs % self._config.fragment_rows
        row = Signal(range(self._depth))
        with m.If(load):
            m.d.sync += row.eq(row + 1)
        m.d.comb += [words.read_en.eq(load), words.read_addr.eq(row)]
        lines = Cat(Value.cast(lane).bit_select(bit, 1) for lane in words.read_data)
        if not filled:
            return lines
        # The memory has anything where the last fragment has no inputs.
        partly = Signal(reset_less=True)
        with m.If(load):
            m.d.sync += partly.eq(m.submodules.queue.o.p.fragment == self._fragments - 1)
        return Cat(lines[:filled], Mux(partly, 0, lines[filled:]))

    def _add_up(self, m: Module, taken: Signal, left: Signal) -> None:
        """Totals of the vectors inside."""
        total = Signal((self._inputs * ((1 << self._config.input_bits) - 1)).bit_length())
        m.submodules.totals = totals = Fifo(total.shape(), self.held, block=False)
        fresh = Signal(init=1)
        with m.If(taken):
            m.d.sync += [
                total.eq(Mux(fresh, 0, total) + self.i.p.value),
                fresh.eq(self.i.p.last),
            ]
        m.d.sync += totals.i.valid.eq(taken & self.i.p.last)
        m.d.comb += [
            totals.i.payload.eq(total),
            self.o.p.total.eq(totals.o.payload),
            totals.o.ready.eq(left),
        ]


class _Step(NamedTuple):
    """Members of :func:`step_layout`."""

    fragment: Value
    bit: Value
    first: Value
    last: Value
    empty: Value


class _Highest(NamedTuple):
    """The highest 1 of a mask."""

    any: Value
    """Whether there is one."""
    bit: Value
    """Where it is; 0 where there is none."""
    below: Value
    """The mask without it."""


def _highest(mask: Value) -> _Highest:
    width = 1 << (len(mask) - 1).bit_length()
    found = find_first(Cat(mask, Const(0, width - len(mask)))[::-1])
    ones = found.one_hot[::-1][: len(mask)]
    return _Highest(found.valid, ~found.index, mask & ~ones)


def _entry_layout(config: ReramLayerConfig) -> data.StructLayout:
    """Of a fragment, ``bits``: the OR of its values; or the number of its highest 1, and whether
    it has none; or nothing, as ``config.skip`` needs."""
    bits = {
        "any": config.input_bits,
        "leading": (config.input_bits - 1).bit_length() + 1,
        "none": 0,
    }
    return data.StructLayout(
        {"bits": bits[config.skip], "fragment": config.fragment_bits, "last": 1}
    )
