"""RTL in the loop: some steps of a training by PyTorch are made by the simulated array.

In such a step the array makes every product, forward, backward and of the weights' gradients, the
update, and the N:M operands of the next step.  What it writes is what the training goes on from.
PyTorch keeps what lies between: biases, ReLU, the loss.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..hdl.nm_array.engine import ENGINE
from ..hdl.nm_array.workloads import workload
from ..models import data
from ..models.nm import layout, tensors
from ..models.nm.compile import Compiler
from ..models.nm.config import NmConfig
from ..models.nm.examples import EXAMPLES, Example, accuracy, cnn, mlp
from ..models.nm.layers import PASSES, Layer, Pass
from ..models.nm.operands import Operands
from ..models.nm.optimise import LossScale, Momentum
from ..models.nm.program import Dataflow, Instruction
from ..models.nm.pruning import Pruned, PrunedConv2d, Pruning, convert
from ..models.nm.scheduler import Choice, choose, products
from ..models.threads import one_thread
from ..sim.simulate import simulate
from .report import Bar, Progress, Row

CONFIG = NmConfig(
    rows=4, columns=8, port_words=2, left_depth=1024, right_depth=1024, sums_depth=1024
)
"""2:8, FP16, 32 multiply-accumulates."""
LOSS_SCALE = 2.0**10
STEPS = 3
"""Of the array, one after the other."""
_NONE = Bar("==", 0)


@dataclass(frozen=True)
class Case:
    """A training and its place for the array."""

    name: str
    example: Example
    batch: int
    before: int
    """Steps of PyTorch before the array's,"""
    after: int
    """and after them."""


def cases(quick: bool) -> list[Case]:
    """Quick: narrow layers, few images in a step."""
    widths, channels = (
        ((784, 32, 16, 10), (8, 16)) if quick else ((784, 256, 256, 10), (16, 32, 32))
    )
    networks = {
        f"MLP {'-'.join(map(str, widths))}, MNIST": ("mlp", lambda: mlp(widths)),
        f"CNN of {len(channels)} convolutions, digits": ("cnn", lambda: cnn(channels)),
    }
    return [
        Case(what, replace(EXAMPLES[name], build=build), 16 if quick else 32, 40, 160)
        for what, (name, build) in networks.items()
    ]


def loop_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """For each training: what differs from the golden model, and where the training goes."""
    for case in cases(quick):
        try:
            yield from _case(case, progress)
        except data.MissingData as missing:
            yield Row.skip(f"{case.name}: RTL in the loop", str(missing), _NONE)


class Array:
    """The simulated array, and what was found out about it."""

    def __init__(self, config: NmConfig, progress: Progress) -> None:
        self.config, self.progress = config, progress
        self.registers: dict[str, int] = {}
        self.failures: list[str] = []
        self.off: list[str] = []
        self.programs = self.cycles = self.beats = 0

    def set(self, **registers: float) -> None:
        """The registers of updates."""
        self.registers = {
            name: int(np.float32(value).view(np.uint32)) for name, value in registers.items()
        } | {"weight_shift": 0}

    def run(self, what: str, program: Sequence[Instruction], memory: np.ndarray) -> None:
        """Simulates ``program``; ``memory`` then holds what the RTL wrote."""
        self.progress(what)
        report = simulate(
            ENGINE, self.config, workload(what, self.config, program, memory, self.registers)
        )
        if report.hang or not report.bit_exact or report.counters_wrong:
            self.failures += [f"{what}: {failure}" for failure in report.failures()]
        if report.cycles != report.cycles_formula:
            self.off.append(f"{what}: {report.cycles} for {report.cycles_formula}")
        written = cast("dict[str, np.ndarray]", report.outputs["write"])
        memory[written["address"]] = written["data"]
        self.programs += 1
        self.cycles += report.cycles
        self.beats += len(written["address"])


class Resident:
    """A layer whose operands and weights lie in the array's memory."""

    def __init__(
        self,
        array: Array,
        name: str,
        layer: Pruned,
        velocity: Tensor,
        shape: torch.Size,
        first: bool,
    ) -> None:
        self.array, self.module = array, layer
        outputs, inputs = layer.weight.shape[:2]
        size, window = (1, 1), {}
        if isinstance(layer, PrunedConv2d):
            (kernel, _), (stride, _) = layer.kernel_size, layer.stride
            size, window = shape[2:], {"kernel": kernel, "stride": stride}
            window["padding"] = cast("tuple[int, int]", layer.padding)[0]
        self.layer = Layer(
            name, inputs, outputs, shape[0], *size, **window,
            sparse=layer.pruning.method == "bdwp", backward=not first,
        )  # fmt: skip
        config = array.config
        choices: dict[Pass, Choice] = {
            way: choose(config, self.layer, way, shortlist=2) for way in self.layer.passes
        }
        dataflows: dict[Pass, Dataflow] = {
            way: choice.operands.dataflows[way] for way, choice in choices.items()
        }
        shifted = choices["gradient"].operands.shifted
        self.operands = Operands(config, self.layer, dataflows, shifted)
        self._tilings = {way: choice.tilings for way, choice in choices.items()}
        self._memory = np.zeros((self.operands.end, config.beat_bits // 32), np.uint32)
        tensors.put_weights(self.operands, self._memory, _images(layer.weight), _images(velocity))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` times the weights, rounded to the operands' format."""
        tensors.put_input(self.operands, self._memory, _images(x))
        self._run("forward")
        return self._tensor(tensors.output(self.operands, self._memory))

    def backward(self, dy: Tensor) -> Tensor | None:
        """The gradient of the input, if it is wanted; the weights learn from ``dy``."""
        tensors.put_output_gradient(self.operands, self._memory, _images(dy))
        self._run(*self.layer.passes[1:])
        if not self.layer.backward:
            return None
        return self._tensor(tensors.input_gradient(self.operands, self._memory))

    def masters(self) -> tuple[Tensor, Tensor]:
        """Weights and velocities, as PyTorch has them."""
        found = tensors.weights(self.operands, self._memory)
        shape = self.module.weight.shape
        return tuple(torch.from_numpy(part.copy()).reshape(shape) for part in found)  # type: ignore[return-value]

    def wrong_operands(self) -> int:
        """Weights of the next step's right operands that differ from those that PyTorch masks."""
        weight, _ = self.masters()
        pruning = self.module.pruning
        masks = {
            "forward": pruning.forward_mask(weight), "backward": pruning.backward_mask(weight)
        }  # fmt: skip
        ways: tuple[Pass, ...] = PASSES[: 2 if self.layer.backward else 1]
        return sum(
            int((self._right(way) != _images(pruning.right(weight, masks[way]))).sum())
            for way in ways
        )

    def _run(self, *ways: Pass) -> None:
        compiler = Compiler(self.array.config, self.operands)
        for way in ways:
            for product, tiling in zip(
                products(self.operands, way), self._tilings[way], strict=True
            ):
                compiler.add(product, tiling)
        what = f"{self.layer.name}, {' and '.join(ways)}"
        self.array.run(what, compiler.program(), self._memory)

    def _right(self, way: Pass) -> np.ndarray:
        """The weights [outputs, inputs, kernel, kernel] of a right operand, zeros where none is."""
        o, c = self.operands, self.array.config
        at, size = o.regions[way]
        bits, index = layout.entries(c, self._memory[at : at + size])
        values, (_, along_in, along_out) = layout.values(c, bits), o.fragments
        # A fragment: its extent along the reduction axis, and its columns.
        inputs = o.fragment_blocks * c.columns
        reduced, columns = (inputs, o.fragment_rows)[:: 1 if way == "forward" else -1]
        kept = c.kept if self.layer.sparse else c.group
        blocks = (-1, columns // c.columns, reduced // c.group)
        if o.dataflows[way] == "weight":
            shape = (*blocks, kept // c.kept, c.columns, c.kept)
            parts = [x.reshape(shape).swapaxes(-1, -2) for x in (values, index)]
        else:
            parts = [x.reshape(*blocks, kept, c.columns) for x in (values, index)]
        values, index = (x.reshape(*blocks, kept, c.columns) for x in parts)
        whole = np.zeros((*values.shape[:3], c.group, c.columns), np.float32)
        np.put_along_axis(whole, index.astype(np.int64), values, axis=3)
        # [fragment, block, group, position, column] to [fragment, reduced, columns]
        whole = whole.transpose(0, 2, 3, 1, 4).reshape(-1, reduced, columns)
        if way == "forward":
            whole = whole.swapaxes(1, 2)
        kernel = self.layer.kernel
        whole = whole.reshape(kernel, kernel, along_in, along_out, o.fragment_rows, inputs)
        whole = whole.transpose(3, 4, 2, 5, 0, 1).reshape(o.outputs, o.inputs, kernel, kernel)
        return whole[: self.layer.outputs, : self.layer.inputs]

    def _tensor(self, values: np.ndarray) -> Tensor:
        found = torch.from_numpy(np.ascontiguousarray(values, np.float32))
        return found if isinstance(self.module, PrunedConv2d) else found.flatten(1)


class _OnArray(torch.autograd.Function):
    """A product whose passes the array makes; it keeps the weights' gradient to itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, resident: Resident) -> Tensor:
        ctx.resident = resident
        return resident.forward(x)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        return ctx.resident.backward(gradients[0]), None, None


@dataclass
class Training:
    """A network, its optimiser and its data, step by step."""

    case: Case
    module: nn.Sequential = field(init=False)
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        case = self.case
        torch.manual_seed(0)
        pruning = Pruning("bdwp", CONFIG.kept, CONFIG.group, format="fp16")
        module = convert(case.example.build(), pruning, case.example.keep_dense).module
        self.module = cast("nn.Sequential", module)
        recipe = case.example.recipe
        self.optimiser = Momentum(module.parameters(), 0.02, recipe.momentum, recipe.decay)
        self._scaled = LossScale(module, self.optimiser, LOSS_SCALE, patience=None)
        self.split = case.example.split()
        self.batches = torch.randperm(len(self.split.train[0])).split(case.batch)

    def step(self, residents: dict[nn.Module, Resident] | None = None) -> None:
        """By PyTorch or, where layers are resident, by the array."""
        images, labels = self.split.train
        chosen = self.batches[len(self.losses) % (len(self.batches) - 1)]
        x = images[chosen]
        for part in self.module:
            resident = (residents or {}).get(part)
            x = part(x) if resident is None else _on_array(x, resident)
        loss = functional.cross_entropy(x, labels[chosen])
        self.losses.append(loss.item())
        if not self._scaled.step(loss):
            raise ValueError(f"gradients overflow at a loss scale of {LOSS_SCALE}; lower it")

    def residents(self, array: Array) -> dict[nn.Module, Resident]:
        """The layers, with their weights as they are now, in the array's memory."""
        found: dict[nn.Module, Resident] = {}
        x = self.split.train[0][: self.case.batch]
        for name, part in self.module.named_children():
            if isinstance(part, Pruned):
                velocity = self.optimiser.state[part.weight]["velocity"]
                found[part] = Resident(array, name, part, velocity, x.shape, not found)
            x = part(x)
        return found

    def take_back(self, residents: dict[nn.Module, Resident]) -> None:
        """PyTorch's weights and velocities become the array's."""
        for resident in residents.values():
            weight, velocity = resident.masters()
            with torch.no_grad():
                resident.module.weight.copy_(weight)
            self.optimiser.state[resident.module.weight]["velocity"] = velocity


def _case(case: Case, progress: Progress) -> Iterator[Row]:
    last = case.before + STEPS - 1
    what = f"{case.name}, {case.batch} images a step, steps {case.before} to {last} by RTL"
    array = Array(CONFIG, lambda part: progress(f"{case.name}: {part}"))
    with one_thread(), torch.random.fork_rng(devices=[]):
        training = Training(case)
        for _ in range(case.before):
            training.step()
        residents = training.residents(array)
        group = training.optimiser.param_groups[0]
        array.set(rate=group["lr"], momentum=group["momentum"], decay=group["decay"],
                  scale=1 / LOSS_SCALE)  # fmt: skip
        twin = copy.deepcopy(training)
        wrong = distance = 0.0
        for step in range(STEPS):
            training.step(residents)
            wrong += sum(resident.wrong_operands() for resident in residents.values())
            if not step:
                twin.step()
                distance = _distance(training, twin, residents)
        training.take_back(residents)
        for _ in range(case.after):
            training.step()
        reached = accuracy(training.module, *training.split.test)
    yield Row(f"{what}: beats of {array.beats:,} written, or their order, that differ from the "
              "golden model", "; ".join(array.failures) or 0, _NONE)  # fmt: skip
    yield Row(
        f"{what}: programs of {array.programs} ({array.cycles:,} cycles) that take other cycles "
        "than the formula says", len(array.off), _NONE, "; ".join(array.off),
    )  # fmt: skip
    yield Row(f"{what}: weights of the next steps' operands, both directions, that differ from "
              "PyTorch's masked ones", int(wrong), _NONE)  # fmt: skip
    yield Row(f"{what}: new weights after a step, largest distance from PyTorch's step over the "
              "largest change", distance, Bar("<=", 0.01))  # fmt: skip
    by = [training.losses[at] for at in (0, case.before, last, -1)]
    yield Row(
        f"{what}: accuracy in % after {case.after} more steps by PyTorch", 100 * reached, None,
        "losses: first {:.3f}, the array's {:.3f} to {:.3f}, last {:.3f}".format(*by),
    )  # fmt: skip


def _distance(training: Training, twin: Training, residents: dict[nn.Module, Resident]) -> float:
    """Largest over the layers."""
    found = []
    for part, other in zip(training.module, twin.module, strict=True):
        if part in residents:
            weight, _ = residents[part].masters()
            old, new = (cast("Tensor", x.weight).detach() for x in (part, other))
            found.append(float((weight - new).abs().max() / (new - old).abs().max()))
    return max(found)


def _on_array(x: Tensor, resident: Resident) -> Tensor:
    module = resident.module
    y = cast("Tensor", _OnArray.apply(x, module.weight, resident))
    if module.bias is None:
        return y
    return y + (module.bias[:, None, None] if isinstance(module, PrunedConv2d) else module.bias)


def _images(x: Tensor) -> np.ndarray:
    """[images, channels, height, width] or, of weights, [outputs, inputs, kernel, kernel]."""
    return x.detach().reshape(*x.shape, *(1,) * (4 - x.ndim)).numpy()
