"""A cluster of the systolic array: ``kept`` MACs of a column that share a left word."""

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.config import NmConfig
from ..lib.floating import Accumulate, Multiply, operand_layout

MAC = data.StructLayout({"load": 1, "swap": 1, "above": 1, "own": 1, "keep": 1, "shift": 1})
"""What a MAC does in a cycle.

* ``load``: its shadow register takes the right entry that passes.
* ``swap``: the entry at work becomes what the shadow register held.
* ``above``, ``own``: the sum that a product joins, of the MAC above or of this one; else 0.
* ``shift``: its buffer takes a sum, what leaves the buffer above, or with ``keep`` its own.
"""


def right_operands(config: NmConfig) -> data.StructLayout:
    """A right word in the array: the indices, and the values as operands of a multiplication."""
    return data.StructLayout(
        {
            "index": data.ArrayLayout(config.index_bits, config.kept),
            "value": data.ArrayLayout(operand_layout(config.format), config.kept),
        }
    )


def delayed(m: Module, value: Value, cycles: int, reset: bool = False) -> Value:
    """``value`` of ``cycles`` ago; with ``reset``, 0 before."""
    shape = value.shape()
    for _ in range(cycles):
        register = Signal(shape, reset_less=not reset)
        m.d.sync += register.eq(value)
        value = register
    return value


def select(index: Value, values: Sequence[Value]) -> Value:
    """``values[index]``, of ``2**len(index)`` values."""
    for bit in index:
        values = [Mux(bit, b, a) for a, b in zip(values[::2], values[1::2], strict=True)]
    return values[0]


class Cluster(Component):
    """``kept`` MACs, one above the other.

    What comes along the row (``left``, ``steps``) and down the column (``right``) passes on a cycle
    later.  MAC j is ``j * interleave`` cycles late: its element is delayed here, its steps and its
    right value come late; all indices come in time, as ``steps[0]`` does.  With

    * a left word at t, the entry at work is what ``swap`` made it until t,
    * the sum that its product joins comes at ``t + latency``, as ``above`` and ``own``,
    * the new sum is there, and kept, ``interleave`` cycles later.

    A MAC's buffer has ``interleave`` sums, through all of which what is drained passes.
    """

    latency = 1 + Multiply.latency

    def __init__(self, config: NmConfig):
        self.config = config
        word = data.ArrayLayout(operand_layout(config.format), config.group)
        steps = data.ArrayLayout(MAC, config.kept)
        super().__init__(
            {
                "left": In(word),
                "right": In(right_operands(config)),
                "steps": In(steps),
                "left_o": Out(word),
                "right_o": Out(right_operands(config)),
                "steps_o": Out(steps),
                "sum": In(32),
                "sum_o": Out(32),
                "drain": In(32),
                "drain_o": Out(32),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        for name in ("left", "right", "steps"):
            register = Signal.like(getattr(self, name), name=f"{name}_register", reset_less=True)
            m.d.sync += register.eq(getattr(self, name))
            m.d.comb += getattr(self, f"{name}_o").eq(register)
        above, drained = self.sum, self.drain
        for j in range(self.config.kept):
            above, drained = self._mac(m, j, above, drained)
        m.d.comb += [self.sum_o.eq(above), self.drain_o.eq(drained)]
        return m

    def _mac(self, m: Module, j: int, above: Value, drained: Value) -> tuple[Value, Value]:
        """MAC j; its sum and its register in the drain chain."""
        config, step = self.config, self.steps[j]
        m.submodules[f"multiply{j}"] = multiply = Multiply(config.format)
        m.submodules[f"add{j}"] = add = Accumulate(config.format, config.add_stages)
        index = self._at_work(m, self.steps[0], self.right.index[j], f"index{j}")
        value = self._at_work(m, step, self.right.value[j], f"value{j}")
        element = select(index, [Value.cast(word) for word in self.left_o])
        element = delayed(m, element, j * config.interleave)
        m.d.comb += [
            Value.cast(multiply.a).eq(element),
            Value.cast(multiply.b).eq(value),
            add.product.eq(multiply.product),
            add.sum.eq(Mux(step.above, above, Mux(step.own, add.o, 0))),
        ]
        drained = Mux(step.keep, add.o, drained)
        for k in range(config.interleave):
            register = Signal(32, name=f"kept{j}_{k}", reset_less=True)
            with m.If(step.shift):
                m.d.sync += register.eq(drained)
            drained = register
        return add.o, drained

    def _at_work(self, m: Module, step, entry: ShapeLike, name: str) -> Value:
        """The part of an entry that is at work, behind a shadow register."""
        entry = Value.cast(entry)
        shape = Shape.cast(entry.shape())
        shadow = Signal(shape, name=f"{name}_shadow", reset_less=True)
        at_work = Signal(shape, name=name, reset_less=True)
        with m.If(step.load):
            m.d.sync += shadow.eq(entry)
        with m.If(step.swap):
            m.d.sync += at_work.eq(shadow)
        return at_work
