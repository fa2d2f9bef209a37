"""What WUVE is run on: random weights and corners of the numbers."""

from collections.abc import Mapping

import numpy as np

from ...models.nm.update import REGISTERS, learn, operands
from ...models.nm.wuve_config import WuveConfig
from ..engine import Beats, Workload, WorkloadSource
from .component import cycles

BEATS = 256
"""Beats where the caller does not say how many."""

USUAL = {"rate": 0.1, "momentum": 0.9, "decay": 5e-4, "scale": 1 / 128}


def registers(values: Mapping[str, float], weight_shift: int = 0) -> dict[str, int]:
    """All registers, FP32 ones as their bits."""
    bits = {name: int(np.float32(values[name]).view(np.uint32)) for name in REGISTERS}
    return bits | {"weight_shift": weight_shift}


def workload(
    name: str,
    config: WuveConfig,
    weights: np.ndarray,
    velocities: np.ndarray,
    gradients: np.ndarray,
    chosen: Mapping[str, int],
) -> Workload:
    """FP32 weights and velocities [beats, lanes], gradients of FP32 or int32, register bits."""
    new_weights, new_velocities = learn(weights, velocities, gradients, chosen)
    count = len(weights)
    predicted = cycles(config, count)

    def bits(numbers: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(numbers).view(np.uint32).astype(np.int64)

    copies = operands(new_weights, config.format, chosen["weight_shift"])
    outputs: dict[str, Beats] = {
        "weight": bits(new_weights), "velocity": bits(new_velocities), "operand": copies,
    }  # fmt: skip
    return Workload(
        name=name,
        config=config,
        inputs={
            "weights": {
                "weight": bits(weights),
                "velocity": bits(velocities),
                "gradient": bits(gradients),
            }
        },
        outputs={"updated": outputs},
        start="weights",
        stop="updated",
        cycles=predicted,
        ideal_cycles=count,
        registers=chosen,
        counters={"count": weights.size},
        evaluate=lambda outputs: {"weights_a_cycle": weights.size / predicted},
    )


def _random(config: WuveConfig, samples: int | None, seed: int) -> Workload:
    rng = np.random.default_rng(seed)
    shape = samples or BEATS, config.lanes
    weights, velocities = rng.normal(size=(2, *shape)).astype(np.float32)
    if config.format == "int8":
        gradients = rng.integers(-(1 << 20), 1 << 20, shape, dtype=np.int32)
        return workload("random", config, weights, velocities, gradients, registers(USUAL, 5))
    gradients = (100 * rng.normal(size=shape)).astype(np.float32)
    return workload("random", config, weights, velocities, gradients, registers(USUAL))


def _corners(config: WuveConfig, samples: int | None, seed: int) -> Workload:
    """All bits are random: half of the exponents near each other, others anything."""
    rng = np.random.default_rng(seed)
    shape = samples or BEATS, config.lanes

    def any_bits(size: tuple[int, ...]) -> np.ndarray:
        numbers = rng.integers(0, 1 << 32, size, dtype=np.uint32)
        near = (numbers & 0x83FFFFFF) + np.uint32(0x3C000000)
        special = rng.choice(np.array([0, 0x80000000, 0x7F800000, 0x7FC00001, 1], np.uint32), size)
        kind = rng.random(size)
        return np.where(kind < 0.5, near, np.where(kind < 0.9, numbers, special))

    weights, velocities = any_bits((2, *shape)).view(np.float32)
    gradients = any_bits(shape).view(np.int32 if config.format == "int8" else np.float32)
    bits = [int(value) for value in any_bits((len(REGISTERS),))]
    chosen = dict(zip(REGISTERS, bits, strict=True))
    chosen["weight_shift"] = int(rng.integers(32))
    return workload("corners", config, weights, velocities, gradients, chosen)


WORKLOADS = {
    "random": WorkloadSource("Gaussian weights, velocities and gradients", _random),
    "corners": WorkloadSource("any bits, in the registers too", _corners),
}
