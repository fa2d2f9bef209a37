"""Evaluates combinational functions of Amaranth values over many operands at once."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from amaranth.hdl import Module, Shape, Signal, Value
from amaranth.sim import Simulator


@pytest.fixture
def evaluate():
    """The function :func:`evaluate_all`."""
    return evaluate_all


def evaluate_all(
    shapes: Sequence[Shape],
    function: Callable[..., Sequence[Value]],
    operands: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """What each result of ``function(*signals)`` is for each operand vector.

    ``operands`` holds one array a signal, all of one length.
    """
    inputs = [Signal(shape) for shape in shapes]
    m = Module()
    outputs = []
    for result in function(*inputs):
        outputs.append(Signal(result.shape()))
        m.d.comb += outputs[-1].eq(result)
    values = []

    async def bench(ctx):
        for vector in zip(*operands, strict=True):
            for signal, value in zip(inputs, vector, strict=True):
                ctx.set(signal, int(value))
            values.append([ctx.get(output) for output in outputs])

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    return [np.array(column) for column in zip(*values, strict=True)]
