"""What passes the ports of WUVE."""

from amaranth.lib import data

from ...models.nm.wuve_config import WuveConfig


def weights_layout(config: WuveConfig) -> data.ArrayLayout:
    """A beat of weights with their velocities, FP32, and gradients, FP32 or int32."""
    weight = data.StructLayout({"gradient": 32, "weight": 32, "velocity": 32})
    return data.ArrayLayout(weight, config.lanes)


def updated_layout(config: WuveConfig) -> data.ArrayLayout:
    """A beat of new weights and velocities, and the weights' copies."""
    weight = data.StructLayout({"weight": 32, "velocity": 32, "operand": config.element_bits})
    return data.ArrayLayout(weight, config.lanes)
