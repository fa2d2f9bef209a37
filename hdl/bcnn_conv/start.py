"""When stages start: pulses, some cycles later."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out


class Later(Component):
    """``o`` is ``i`` of ``cycles`` cycles ago; pulses come ``apart`` cycles apart, or more."""

    def __init__(self, cycles: int, apart: int):
        if cycles < 0 or apart < 1:
            raise ValueError(f"cycles = {cycles}, apart = {apart}; at least 0 and 1")
        self._cycles, self._apart = cycles, apart
        super().__init__({"i": In(1), "o": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        pulse, left, number = self.i, self._cycles, 0
        while left:  # a counter for each pulse that may be on its way
            step = min(left, self._apart)
            then = Signal(name=f"then_{number}")
            if step == 1:
                m.d.sync += then.eq(pulse)
            else:
                count = Signal(range(step), name=f"count_{number}")
                m.d.sync += [
                    count.eq(Mux(pulse, step - 1, Mux(count == 0, 0, count - 1))),
                    then.eq(count == 1),
                ]
            pulse, left, number = then, left - step, number + 1
        m.d.comb += self.o.eq(pulse)
        return m
