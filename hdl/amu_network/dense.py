"""A few exact weights, where a network has them."""

import numpy as np
from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.amu.operations import Dense
from ..lib.fixed import fit, narrowest
from .flow import values


class Products(Component):
    """``o[m] = bias[m] + half + sum over d of i[d] * weights[d, m]``, ``latency`` cycles later.

    ``half`` is one half of what sums are divided by.  A product by a constant, and a register; then
    the exact sum in a tree with a register after each level.
    """

    def __init__(self, dense: Dense):
        self._dense = dense
        terms = len(dense.weights) + 1
        self.latency = 1 + (terms - 1).bit_length()
        self._half = 1 << dense.shift >> 1 if dense.output is not None else 0
        low, high = (
            int(f(b)) + self._half for f, b in zip((np.min, np.max), dense.bounds, strict=True)
        )
        self._sum = narrowest(low, high, low < 0)
        outputs = dense.weights.shape[1]
        super().__init__(
            {
                "i": In(values(dense.input, len(dense.weights))),
                "o": Out(data.ArrayLayout(self._sum, outputs)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        limits = self._dense.input.limits
        biases = (self._dense.bias + self._half).tolist()
        for o, bias, weights in zip(self.o, biases, self._dense.weights.T.tolist(), strict=True):
            terms = []
            for x, weight in zip(self.i, weights, strict=True):
                ends = sorted(weight * limit for limit in limits)
                if weight:
                    terms.append((x * weight, *ends))
            terms.append((Const(bias, narrowest(bias, bias, bias < 0)), bias, bias))
            for level in range(self.latency):
                if level:
                    terms = [_sum(terms[n : n + 2]) for n in range(0, len(terms), 2)]
                terms = [_registered(m, *term) for term in terms]
            m.d.comb += o.eq(terms[0][0])
        return m


def _sum(pair: list[tuple[Value, int, int]]) -> tuple[Value, int, int]:
    """Of one or two terms, each with its range."""
    total = pair[0][0] + pair[-1][0] if len(pair) > 1 else pair[0][0]
    return total, sum(term[1] for term in pair), sum(term[2] for term in pair)


def _registered(m: Module, value: Value, low: int, high: int) -> tuple[Value, int, int]:
    shape = narrowest(low, high, low < 0)
    register = Signal(shape, reset_less=True)
    m.d.sync += register.eq(fit(value, shape))
    return register, low, high
