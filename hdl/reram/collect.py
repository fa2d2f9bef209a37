"""From the sums of all crossbars to results: bias, scale, activation, clip."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.reram.layer_config import ReramLayerConfig
from .accumulator import Drain


def vector_layout(config: ReramLayerConfig) -> data.StructLayout:
    """A vector that all crossbars have converted: ``total``, the sum of its inputs, padding and
    offsets of signed inputs included; no bits but where the mapping is ``offset``."""
    most = config.inputs * ((1 << config.input_bits) - 1)
    return data.StructLayout({"total": most.bit_length() if config.offset else 0})


class Collect(Component):
    """``o``: the results of every vector that ``vector`` announces, features in order.

    Of a feature, with half-up rounding::

        sum = sum over planes and rows of crossbars + bias - offset*total
        y = round(sum * multiplier * 2**-shift)
        relu: 0 where y < 0;   beyond the threshold: the threshold, or 0 (``clip``)

    ``drains``, of readout ``(plane*down + d)*across + a``, read the sums of bank 0, then 1, then 0
    again, in the cycle that ``vector`` is valid and after; ``freed`` with the last that is read of
    a bank, which may be overwritten from the next cycle on.  ``clipped`` with a result that the
    threshold changes, as it is made.  A feature a cycle, no bubble between vectors.  Registers and
    biases stand still while vectors are inside.
    """

    def __init__(self, config: ReramLayerConfig):
        self.config = c = config
        relu = c.activation == "relu"
        super().__init__(
            {
                "write": In(1),
                "write_address": In(range(c.features)),
                "bias": In(signed(c.bias_bits)),
                "multiplier": In(c.scale_bits),
                "shift": In(c.shift_bits),
                "threshold": In(c.output_bits if relu else c.output_bits - 1),
                "vector": In(stream.Signature(vector_layout(c))),
                "drains": Out(Drain(c)).array(c.planes * c.down * c.across),
                "freed": Out(1),
                "o": Out(stream.Signature(c.output_bits if relu else signed(c.output_bits))),
                "clipped": Out(1),
            }
        )
