"""What the engine is run on: programs, and what the golden executor makes of them."""

from collections.abc import Mapping, Sequence

import numpy as np

from ...models.nm import tensors
from ...models.nm.config import NmConfig
from ...models.nm.execute import execute
from ...models.nm.layers import Layer, Pass
from ...models.nm.operands import Operands
from ...models.nm.program import Gemm, Instruction, pack
from ...models.nm.random_program import RandomProgram
from ...models.nm.scheduler import choose_step, program_cycles
from ..engine import Workload, WorkloadSource

Source = WorkloadSource[NmConfig]

JOBS = 12
"""Of a random program where the caller does not say how many."""

BATCH = 8
"""Images, where the caller does not say how many."""


def workload(
    name: str,
    config: NmConfig,
    program: Sequence[Instruction],
    memory: np.ndarray,
    registers: Mapping[str, int] | None = None,
) -> Workload:
    """``program``, which ends with a fence, on ``memory`` (uint32 [beats, ``beat_bits`` / 32])."""
    trace = execute(config, program, memory.copy(), registers)
    cycles = program_cycles(config, program)
    work = sum(macs(config, i) for i in program if isinstance(i, Gemm))
    return Workload(
        name=name,
        config=config,
        inputs={
            "program": np.array([pack(instruction) for instruction in program], object),
            "data": trace.data,
        },
        outputs={
            "request": trace.requests,
            "write": {"address": trace.addresses, "data": trace.writes},
            "done": np.array(trace.done),
        },
        start="program",
        stop="done",
        cycles=cycles,
        ideal_cycles=max(
            work // (config.rows * config.columns), len(trace.data), len(trace.writes)
        ),
        registers=registers or {},
        counters={
            "beats_read": len(trace.data),
            "beats_written": len(trace.writes),
            "macs": work,
        },
    )


def macs(config: NmConfig, gemm: Gemm) -> int:
    """Multiply-accumulates of entries, padding included: R * C in each cycle that is not idle."""
    turns = config.interleave if gemm.dataflow == "output" else 1
    words = gemm.rows * gemm.tiles * gemm.folds * turns
    repeat = gemm.repeat if gemm.dataflow == "output" else 1
    return words * repeat * config.rows * config.columns


def step_program(
    config: NmConfig, layer: Layer, passes: Sequence[Pass] | None = None
) -> tuple[list[Instruction], Operands]:
    """The fastest program of ``passes`` (all) of a step of ``layer``, and its operands."""
    operands, program = choose_step(config, layer, passes, shortlist=2)
    return program, operands


def _registers(config: NmConfig, rng: np.random.Generator) -> dict[str, int]:
    numbers = rng.uniform(0, [0.1, 1, 0.01, 2], 4).astype(np.float32).view(np.uint32)
    registers = dict(zip(("rate", "momentum", "decay", "scale"), map(int, numbers), strict=True))
    return registers | {"weight_shift": int(rng.integers(9)) if config.format == "int8" else 0}


def _random(config: NmConfig, samples: int | None, seed: int) -> Workload:
    rng = np.random.default_rng(seed)
    drawn = RandomProgram.draw(config, samples or JOBS, rng)
    return workload("random", config, drawn.instructions, drawn.memory, _registers(config, rng))


def _of_layer(config: NmConfig, layer: Layer, passes: Sequence[Pass], seed: int) -> Workload:
    """``passes`` of a step on random operands."""
    rng = np.random.default_rng(seed)
    registers = _registers(config, rng)
    program, operands = step_program(config, layer, passes)
    memory = np.zeros((operands.end, config.beat_bits // 32), np.uint32)
    shapes = (
        (layer.batch, layer.inputs, layer.height, layer.width),
        (layer.batch, layer.outputs, *layer.output),
    )
    x, gradient = (
        rng.integers(-9, 10, shape).astype(np.int8)
        if config.format == "int8"
        else rng.standard_normal(shape, np.float32)
        for shape in shapes
    )
    weights, velocities = rng.standard_normal(
        (2, layer.outputs, layer.inputs, layer.kernel, layer.kernel), np.float32
    )
    tensors.put_input(operands, memory, x)
    tensors.put_output_gradient(operands, memory, gradient)
    tensors.put_weights(operands, memory, weights, velocities, registers["weight_shift"])
    return workload(layer.name, config, program, memory, registers)


def _step(config: NmConfig, samples: int | None, seed: int) -> Workload:
    batch = -(-(samples or BATCH) // config.group) * config.group
    layer = Layer("step", config.columns, 2 * config.columns, batch, 3, 3, 3, 1, 1)
    return _of_layer(config, layer, layer.passes, seed)


def _gemm(config: NmConfig, samples: int | None, seed: int) -> Workload:
    batch = -(-(samples or 4 * BATCH) // config.group) * config.group
    layer = Layer("gemm", 2 * config.rows, 2 * config.columns, batch)
    return _of_layer(config, layer, ("forward",), seed)


WORKLOADS: dict[str, Source] = {
    "random": Source("random programs of all instructions; ``samples`` jobs", _random),
    "step": Source(
        "a training step of a convolution: forward, backward, gradient, update; ``samples`` images",
        _step,
        lambda config: config.replace(**_roomy(config)),
    ),
    "gemm": Source(
        "a sparse product by weights that stay, or sums; ``samples`` rows",
        _gemm,
        lambda config: config.replace(**_roomy(config)),
    ),
}


def _roomy(config: NmConfig) -> dict[str, int]:
    """Memories in which a small layer's tiles find room."""
    room = max(64, 8 * config.columns, 4 * config.rows * config.interleave)
    names = ("left_depth", "right_depth", "sums_depth")
    return {name: max(getattr(config, name), 2 * room) for name in names}
