"""Whole training steps of the N:M array by cycle formulas, and the formulas beside the RTL."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..hdl.engine import engine
from ..hdl.nm_array.workloads import workload
from ..models.nm import tensors
from ..models.nm.compile import Compiler, Tiling, TilingError
from ..models.nm.config import NmConfig
from ..models.nm.layers import Layer, Pass, linear, resnet18
from ..models.nm.operands import Operands
from ..models.nm.program import Instruction
from ..models.nm.scheduler import Choice, Cost, choose, estimate, layouts, products, tilings
from ..sim.simulate import Report, simulate
from ._bars import Bars
from ._bars import draw as draw_bars
from ._curves import Figure, Panel, Series, draw
from .report import Bar, Progress, Row, show

BATCH = 256
CLOCK = 200e6
"""Hz; to say what a width of memory means."""
RATIOS = ((4, 8), (2, 4), (1, 4), (2, 8), (1, 8), (2, 16), (1, 16))
PAPER = "1.75 (paper, average of its networks)"
NETWORK = f"ResNet-18, ImageNet, batch {BATCH}"
BODY = Layer("body", 256, 256, BATCH, 14, 14, 3, 1, 1)
"""What stands for a network where little time is given."""


@dataclass(frozen=True)
class Step:
    """Costs of a training step, sparse or dense, by pass."""

    costs: dict[Pass, Cost]

    @property
    def total(self) -> Cost:
        """Of all passes."""
        return Cost(*map(sum, zip(*self.costs.values(), strict=True)))


def array(kept: int = 2, group: int = 8) -> NmConfig:
    """The paper's array, 32 x 32 in FP16, for N:M: whatever the ratio, with the same bits of
    memories, and with memory ports of 1,024 bits that read and 1,024 that write."""
    whole = NmConfig.preset("large")
    clusters = whole.rows // kept
    return whole.replace(
        kept=kept,
        group=group,
        port_words=min(1024 // (16 * group), clusters),
        left_depth=whole.left_depth * whole.clusters * whole.group // (clusters * group),
        right_depth=whole.right_depth * whole.kept // kept,
    )


def bound(kept: int, group: int) -> float:
    """The most that a step can gain: two of three products skip."""
    return 3 / (1 + 2 * kept / group)


def steps(
    config: NmConfig, layers: Sequence[Layer], shortlist: int, progress: Progress
) -> tuple[Step, Step, dict[str, float]]:
    """The sparse step, the dense one on the same array, and cycles of the sparse one by layer."""
    found = {True: {}, False: {}}
    by_layer: dict[str, float] = {}
    known: dict[tuple[Layer, Pass], Cost] = {}  # layers of one shape are many
    for layer in layers:
        for way in layer.passes:
            for sparse in (True, False):
                shape = replace(layer, name="", sparse=sparse and layer.sparse), way
                if shape not in known:
                    progress(f"{layer.name}, {way}")
                    known[shape] = choose(config, *shape, shortlist=shortlist).cost
                cost = known[shape]
                before = found[sparse].get(way, Cost(*[0] * len(cost)))
                found[sparse][way] = Cost(*map(sum, zip(before, cost, strict=True)))
                if sparse:
                    by_layer[layer.name] = by_layer.get(layer.name, 0) + cost.cycles
    return Step(found[True]), Step(found[False]), by_layer


def step_rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """What sparsity gains in a whole step, where its cycles go, and whether formulas are right."""
    yield from _network(quick, progress, pictures)
    yield from _ratios(quick, progress, pictures)
    yield from _rtl(quick, progress)


def _network(quick: bool, progress: Progress, pictures: Path | None) -> Iterator[Row]:
    config = array()
    sparse, dense, by_layer = steps(config, resnet18(BATCH), 1 if quick else 12, progress)
    gain = dense.total.cycles / sparse.total.cycles
    most = bound(config.kept, config.group)
    yield Row(
        f"{NETWORK}, 2:8, 32 x 32, FP16: whole step, speed-up over dense on the same array",
        gain, Bar(">=", 1.75), f"{PAPER}; bound {show(most)}",
    )  # fmt: skip
    yield Row(f"{NETWORK}: speed-up, of the bound 3 / (1 + 2 N / M)", gain / most, Bar("<=", 1))
    for step, name in ((dense, "dense"), (sparse, "2:8")):
        total = step.total
        yield Row(f"{NETWORK}, {name}: million cycles of a step", total.cycles / 1e6)
        for way, cost in step.costs.items():
            yield Row(
                f"{NETWORK}, {name}: million cycles {_WAYS[way]}",
                (cost.cycles - cost.update) / 1e6, None,
                f"{show(cost.cycles / total.cycles * 100)} % of the step; the array multiplies in "
                f"{show(cost.streaming / cost.cycles * 100)} % of them, memory is read in "
                f"{show(cost.read / cost.cycles * 100)} %",
            )  # fmt: skip
        yield Row(
            f"{NETWORK}, {name}: million cycles of updates (WUVE, SORE) that nothing hides",
            total.update / 1e6, None, f"{show(total.update / total.cycles * 100)} % of the step",
        )  # fmt: skip
        yield Row(
            f"{NETWORK}, {name}: million cycles in which the array does not multiply (memory, "
            "fills, updates)", (total.cycles - total.streaming) / 1e6,
        )  # fmt: skip
        bits = (total.read + total.written) * config.beat_bits / total.cycles
        yield Row(
            f"{NETWORK}, {name}: bits of external memory a cycle, read and written", bits,
            Bar("<=", 2 * config.beat_bits),
            f"{2 * config.beat_bits} of the ports; {show(bits * CLOCK / 8e9)} GB/s at "
            f"{CLOCK / 1e6:.0f} MHz",
        )  # fmt: skip
    worst = max(by_layer, key=lambda name: by_layer[name])
    yield Row(
        f"{NETWORK}, 2:8: the layer that takes longest, of the step",
        by_layer[worst] / sparse.total.cycles, None,
        f"{worst}, dense: 147 of 256 positions of its reduction are used"
        if worst == "conv1" else worst,
    )  # fmt: skip
    if pictures is not None:
        _breakdown(dense, sparse, pictures)


def _breakdown(dense: Step, sparse: Step, pictures: Path) -> None:
    """Where the cycles of a step go."""
    both = (dense, sparse)
    parts: dict[str, list[float]] = {
        way: [(s.costs[way].cycles - s.costs[way].update) / 1e6 for s in both] for way in _WAYS
    }
    parts["update, not hidden"] = [s.total.update / 1e6 for s in both]
    bars = Bars(f"A training step of {NETWORK}", "million cycles", ("dense", "2:8"), parts)
    draw_bars(bars, pictures, "nm_breakdown")


_WAYS: dict[Pass, str] = {
    "forward": "forward",
    "backward": "backward",
    "gradient": "of gradients, which are dense",
}


def _ratios(quick: bool, progress: Progress, pictures: Path | None) -> Iterator[Row]:
    """Speed-up over ratios."""
    layers = [BODY] if quick else resnet18(BATCH)
    what = "layer of 256 channels, 14 x 14" if quick else NETWORK
    gains = []
    for kept, group in RATIOS:
        sparse, dense, _ = steps(array(kept, group), layers, 4, progress)
        gains.append(dense.total.cycles / sparse.total.cycles)
        most = bound(kept, group)
        # Not judged: padding of reductions to whole blocks of the array is skipped, too, so that a
        # step can gain more than the bound says.
        share = dense.total.streaming / dense.total.cycles * 100
        yield Row(
            f"{what}, {kept}:{group}: whole step, speed-up over dense", gains[-1], None,
            f"{show(gains[-1] / most * 100)} % of the bound, {show(most)}; the array multiplies in "
            f"{show(share)} % of the dense step's cycles",
        )  # fmt: skip
    if pictures is None:
        return
    by_share = sorted(zip(RATIOS, gains, strict=True), key=lambda pair: pair[0][0] / pair[0][1])
    shares = [kept / group for (kept, group), _ in by_share]
    line = np.linspace(min(shares), 1, 50)
    panel = Panel(
        "speed-up of a training step over dense",
        [
            Series(what, shares, [gain for _, gain in by_share]),
            Series("bound 3 / (1 + 2 N / M)", line.tolist(), (3 / (1 + 2 * line)).tolist()),
            Series("SAT, 2:8 (paper)", [0.25], [1.75], reference=True),
        ],
    )
    draw(Figure("N:M training", "N / M, weights kept", [panel], ""), pictures, "nm_step")


CONFIGS = {
    "4 x 8, 2:4, int8": NmConfig.preset("small", left_depth=256, right_depth=256, sums_depth=256),
    "8 x 8, 2:8, FP16": NmConfig(
        rows=8, columns=8, kept=2, group=8, add_stages=4, left_depth=256, right_depth=256,
        sums_depth=256, port_words=4,
    ),
}  # fmt: skip
SCALED = (
    linear("linear", 32, 32, 16),
    linear("few rows", 64, 32, 8),
    Layer("convolution", 16, 32, 8, 6, 6, 3, 1, 1),
    Layer("strided", 16, 32, 8, 6, 6, 3, 2, 1),
    Layer("downsample", 16, 32, 8, 6, 6, 1, 2),
    Layer("first", 24, 32, 8, 5, 5, sparse=False, backward=False),
)
MOST = 16
"""Tilings of a pass that are measured beside the chosen one."""


def _rtl(quick: bool, progress: Progress) -> Iterator[Row]:
    """Formulas and choices beside what the RTL takes."""
    configs = list(CONFIGS.items())[: 1 if quick else None]
    for name, config in configs:
        wrong, runs, best, passes = [], 0, 0, 0
        for layer in SCALED[: 3 if quick else None]:
            for way in layer.passes:
                progress(f"{name}: {layer.name}, {way}")
                chosen = choose(config, layer, way)
                report = _simulate(config, chosen.operands, chosen.program())
                least = report.cycles
                reports = [report]
                for other in _others(config, layer, way, 4 if quick else MOST):
                    reports.append(_simulate(config, other.operands, other.program()))
                    least = min(least, reports[-1].cycles)
                runs += len(reports)
                passes += 1
                best += report.cycles == least
                wrong += [f"{layer.name}, {way}: {f}" for r in reports for f in r.failures()]
        yield Row(
            f"{name}, scaled-down layers: programs by RTL, bit for bit and in as many cycles as "
            "the formula says", runs - len(wrong), Bar("==", runs), "; ".join(wrong[:3]),
        )  # fmt: skip
        yield Row(
            f"{name}, scaled-down layers: passes whose chosen dataflow and tiles took fewest "
            "cycles in RTL", best, Bar("==", passes), f"{runs} programs measured",
        )  # fmt: skip


def _others(config: NmConfig, layer: Layer, way: Pass, most: int) -> Iterator[Choice]:
    """Other ways to run a pass: of each layout of operands the tilings that look best."""
    places = layouts(config, layer, way)
    for operands in places:
        made = tuple(products(operands, way))
        fits = [
            sorted(tilings(config, operands, p), key=partial(estimate, config, operands, p))
            for p in made
        ]
        for number in range(min(most // len(places), max(map(len, fits)))):
            cuts = tuple(of[min(number, len(of) - 1)] for of in fits if of)
            if len(cuts) < len(made) or not _possible(config, operands, made, cuts):
                continue
            yield Choice(operands, made, cuts, ())


def _possible(config: NmConfig, operands: Operands, made: Sequence, cuts: Sequence[Tiling]) -> bool:
    compiler = Compiler(config, operands)
    try:
        for product, tiling in zip(made, cuts, strict=True):
            compiler.add(product, tiling)
        compiler.program()
    except TilingError:
        return False
    return True


def _simulate(config: NmConfig, operands: Operands, program: Sequence[Instruction]) -> Report:
    """``program`` on the engine, on random tensors."""
    random = np.random.default_rng(1)
    layer = operands.layer
    memory = np.zeros((operands.end, config.beat_bits // 32), np.uint32)

    def drawn(*shape: int) -> np.ndarray:
        x = random.normal(scale=20, size=shape).round()
        return x.clip(-128, 127).astype(np.int8) if config.format == "int8" else x

    weights = random.normal(size=(layer.outputs, layer.inputs, layer.kernel, layer.kernel))
    tensors.put_input(operands, memory, drawn(layer.batch, layer.inputs, layer.height, layer.width))
    tensors.put_output_gradient(operands, memory, drawn(layer.batch, layer.outputs, *layer.output))
    tensors.put_weights(operands, memory, weights, np.zeros_like(weights))
    registers = {
        name: int(np.float32(value).view(np.uint32))
        for name, value in (("rate", 1e-3), ("momentum", 0.9), ("decay", 1e-4), ("scale", 1e-2))
    }
    chosen = engine("nm_array")
    task = workload("step", config, program, memory, registers)
    return simulate(chosen, config, task)
