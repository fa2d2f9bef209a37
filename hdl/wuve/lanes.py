"""The arithmetic: a pipeline that never stands still."""

from amaranth.hdl import Cat, Module, Value
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.update import REGISTERS
from ...models.nm.wuve_config import CONVERT, COPY, WuveConfig
from ..lib.delay import Delay
from ..lib.floating import Fp32Add, Fp32Multiply, Fp32Narrow, Int32ToFp32
from .layout import updated_layout, weights_layout
from .narrow import Fp32ToInt8

REGISTER_MEMBERS = {name: In(32) for name in REGISTERS} | {"weight_shift": In(5)}
"""Control registers; ``weight_shift`` is for int8 alone."""


class Lanes(Component):
    """``o`` = ``i`` updated, :attr:`latency` cycles later, as of :mod:`thresher.models.nm.update`.

    New weights every cycle.  Registers may change while no weights are on their way.  A lane has
    four multipliers and three adders of FP32.
    """

    def __init__(self, config: WuveConfig):
        self.config = config
        super().__init__(
            REGISTER_MEMBERS | {"i": In(weights_layout(config)), "o": Out(updated_layout(config))}
        )

    @property
    def latency(self) -> int:
        """Cycles."""
        return self.config.latency

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        convert = CONVERT if c.format == "int8" else 0
        product, total, copy = c.multiply_stages, c.add_stages, COPY

        def late(name: str, values: list[Value], cycles: int) -> list[Value]:
            """All lanes' FP32 ``values``, some cycles later."""
            if not cycles:
                return values
            m.submodules[name] = delay = Delay(32 * c.lanes, cycles)
            m.d.comb += delay.i.eq(Cat(values))
            return [delay.o.word_select(lane, 32) for lane in range(c.lanes)]

        def units(name: str, kind, *operands: list[Value], **options) -> list[Value]:
            """A unit a lane."""
            results = []
            for lane in range(c.lanes):
                m.submodules[f"{name}_{lane}"] = unit = kind(**options)
                ports = (unit.a, unit.b) if len(operands) == 2 else (unit.i,)
                for port, operand in zip(ports, operands, strict=True):
                    m.d.comb += port.eq(operand[lane])
                results.append(unit.o)
            return results

        def times(name: str, values: list[Value], register: Value) -> list[Value]:
            return units(name, Fp32Multiply, values, [register] * c.lanes, stages=product)

        def plus(name: str, a: list[Value], b: list[Value]) -> list[Value]:
            return units(name, Fp32Add, a, b, stages=total)

        gradients = [i.gradient for i in self.i]
        if convert:
            gradients = units("convert", Int32ToFp32, gradients, stages=convert)
        weights = late("weights", [i.weight for i in self.i], convert)
        velocities = late("velocities", [i.velocity for i in self.i], convert)
        steered = plus(
            "steer",
            times("scaled", gradients, self.scale),
            times("decayed", weights, self.decay),
        )
        kept = late("kept", times("slowed", velocities, self.momentum), total)
        velocities = plus("velocity", kept, steered)
        steps = times("step", velocities, self.rate)
        # From the registers' side of the conversion to the last sum.
        weights = late("masters", weights, 2 * (product + total))
        weights = plus("weight", weights, [Cat(step[:-1], ~step[-1]) for step in steps])
        velocities = late("velocity_out", velocities, product + total + copy)
        for lane, weight in enumerate(weights):
            m.submodules[f"copy_{lane}"] = copier = (
                Fp32ToInt8() if c.format == "int8" else Fp32Narrow(c.format)
            )
            m.d.comb += [copier.i.eq(weight), self.o[lane].operand.eq(copier.o)]
            if isinstance(copier, Fp32ToInt8):
                m.d.comb += copier.shift.eq(self.weight_shift)
        weights = late("weight_out", weights, copy)
        for o, weight, velocity in zip(self.o, weights, velocities, strict=True):
            m.d.comb += [o.weight.eq(weight), o.velocity.eq(velocity)]
        return m
