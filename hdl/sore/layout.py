"""What passes the ports of SORE."""

from amaranth.lib import data

from ...models.nm.sore_config import SoreConfig


def weights_layout(config: SoreConfig) -> data.ArrayLayout:
    """A beat of weights: a ``magnitude``, an FP32 number without its sign, decides; the ``value``
    goes with it."""
    weight = data.StructLayout({"magnitude": 31, "value": config.element_bits})
    return data.ArrayLayout(weight, config.lanes)


def entries_layout(config: SoreConfig) -> data.ArrayLayout:
    """[groups][kept] entries, in the order of their weights."""
    return data.ArrayLayout(data.ArrayLayout(config.entry_bits, config.kept), config.groups)
