"""Chooses, ahead of time, how each product of a layer runs: what is stationary, and its tiles."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import product as combinations
from typing import Any, NamedTuple

from .compile import Compiler, Tiling, TilingError
from .config import NmConfig
from .gemm_cycles import GemmCycles
from .layers import Layer, Pass
from .operands import Operands, Product
from .port_cycles import LoadCycles, StoreCycles, beat_cycles, beats
from .program import Dataflow, Fence, Gemm, Instruction, Load, Store, Update
from .program_cycles import schedule
from .update_cycles import UpdateCycles, step_beats, steps
from .update_cycles import tiles as tiles_of

DATAFLOWS: tuple[Dataflow, ...] = ("weight", "output")
SHORTLIST = 12
"""Tilings of which the estimate is best, and whose programs are then looked at cycle by cycle."""

TILES = 6
"""Tiles (or chunks, of a gradient) of a program from which longer ones are extrapolated."""


class Cost(NamedTuple):
    """What a program takes, in cycles but for the beats."""

    cycles: float
    streaming: float
    """In which the array multiplies."""
    loading: float
    """In which the load unit writes beats, one or more cycles each."""
    update: float
    """That updates of weights (and their right operands) add."""
    read: float
    """Beats."""
    written: float
    """Beats."""


@dataclass(frozen=True)
class Choice:
    """How the products of a pass run, one after the other."""

    operands: Operands
    products: tuple[Product, ...]
    tilings: tuple[Tiling, ...]
    costs: tuple[Cost, ...]

    @property
    def cost(self) -> Cost:
        """Of all of them."""
        return Cost(*map(sum, zip(*self.costs, strict=True)))

    def program(self) -> list[Instruction]:
        """All of them."""
        compiler = Compiler(self.operands.config, self.operands)
        for product, tiling in zip(self.products, self.tilings, strict=True):
            compiler.add(product, tiling)
        return compiler.program()


def units(config: NmConfig) -> dict[str, Any]:
    """The engine's units, for :func:`.program_cycles.schedule`."""
    return {
        "load": LoadCycles(config),
        "gemm": GemmCycles(config),
        "store": StoreCycles(config),
        "update": UpdateCycles(config),
    }


def program_cycles(config: NmConfig, program: Sequence[Instruction]) -> int:
    """From the first word of ``program``, taken, to the tag of its last fence, nothing stalled."""
    return schedule(program, units(config))[-1].end + 1


def program_cost(config: NmConfig, program: Sequence[Instruction]) -> Cost:
    """What ``program`` takes."""
    cycles = program_cycles(config, program)
    streaming = loading = read = written = updates = 0
    for i in program:
        match i:
            case Gemm():
                turns = config.interleave * i.repeat if i.dataflow == "output" else 1
                streaming += i.rows * i.tiles * i.folds * turns
            case Load():
                count = beats(i.pattern)
                loading += count * beat_cycles(config, i)
                read += count
            case Store():
                written += beats(i.pattern)
            case Update():
                updates += 1
                count = steps(config, i)
                written += count * step_beats(config)
                written += sum(count // tile.steps * tile.beats for tile in tiles_of(config, i))
    still = program_cycles(config, without_updates(program)) if updates else cycles
    return Cost(cycles, streaming, loading, cycles - still, read, written)


def without_updates(program: Sequence[Instruction]) -> list[Instruction]:
    """``program`` with fences in place of updates, which need no masters."""
    return [
        Fence(i.wait, i.signal) if isinstance(i, Update) else i
        for i in program
        if not (isinstance(i, Load) and i.target == "masters")
    ]


def tilings(config: NmConfig, operands: Operands, product: Product) -> Iterator[Tiling]:
    """Those worth a look that fit the memories, each as large as can be in what is left open."""
    c, p = config, product
    gradient = p.kind == "gradient"
    inner_unit = operands.fragment_rows // c.port_words if gradient else c.group
    block_unit = operands.fragment_blocks if gradient else _store_blocks(c)
    inners = _divisors(len(p.inner), inner_unit)
    blocks = _divisors(len(p.columns), min(block_unit, len(p.columns)))
    if p.dataflow == "output":
        chunks = [p.groups]
    else:
        unit = 1 if gradient else c.port_words
        spans = {-(-p.groups // cuts) for cuts in range(1, 65)} | set(_divisors(p.groups, unit))
        spans |= {c.clusters << x for x in range(8)}
        chunks = sorted({min(-(-span // unit) * unit, p.groups) for span in spans})
        # Whole blocks of the array, or what there is.
        chunks = [g for g in chunks if g % c.clusters == 0 or g == p.groups or g < c.clusters]
    tiles = sorted({1 << x for x in range(len(p.columns).bit_length())} | {len(p.columns)})
    if p.dataflow == "output":
        tiles = sorted({-(-t // c.kept) * c.kept for t in tiles})
    for inner, block, chunk in combinations(inners, blocks, chunks):
        best: dict[int, Tiling] = {}
        for tile in tiles:
            if tile > max(block, c.kept):
                continue
            outer = _outer(config, operands, p, Tiling(p.dataflow, 1, inner, chunk, block, tile))
            if outer:
                cut = -(-len(p.outer) // -(-len(p.outer) // outer))  # tiles of about one size
                best[tile] = Tiling(p.dataflow, cut, inner, chunk, block, tile)
        yield from best.values()


def estimate(config: NmConfig, operands: Operands, product: Product, tiling: Tiling) -> float:
    """About how many cycles it takes: whichever of its units is busiest, and what cannot overlap.

    The steps of a program overlap but for the first load and the last store.
    """
    c, p, t = config, product, tiling
    deep = c.port_words if p.rows_in_beat else 1
    rows = t.outer * t.inner * deep
    row_tiles = len(p.outer) / t.outer * len(p.inner) / t.inner
    block_tiles = len(p.columns) / t.blocks
    chunks, slices = -(-p.groups // t.groups), -(-t.blocks // t.tiles)
    repeat = p.right.shape[1]
    if t.dataflow == "weight":
        skew = c.kept * c.interleave
        period = max(rows, (c.clusters - 1) * max(1, skew - 1) + 1)
        folds = chunks * -(-min(t.groups, p.groups) // c.clusters)
        gemm = period * folds * repeat * t.blocks
        if chunks > 1 and slices > 1:
            gemm += chunks * slices * c.rows * c.interleave
    else:
        line = c.clusters * c.interleave
        steps = max(p.groups * repeat * c.interleave, c.rows * (c.interleave + 1))
        gemm = -(-rows // line) * -(-t.blocks // c.kept) * steps
    shared = p.rows_in_beat == (t.dataflow == "weight")
    left = rows * p.groups / (1 if shared else c.port_words)
    left *= row_tiles * (block_tiles if chunks > 2 else 1)
    right = p.groups * repeat * p.beats * t.blocks
    right *= row_tiles * block_tiles if chunks * slices * block_tiles > 2 else 1
    out = rows * t.blocks * len(p.outputs)
    total = max(gemm * row_tiles * block_tiles, left + right, out * row_tiles * block_tiles)
    return total + rows * t.groups / c.port_words / chunks + out


def cost(config: NmConfig, operands: Operands, product: Product, tiling: Tiling) -> Cost:
    """What the program of ``product`` takes.

    Of the whole program where it is short; of a long one, what a beginning takes and, for the rest,
    as much each tile (or chunk, of a gradient) as the beginning's second half.
    """
    along = len(product.right) if product.kind == "gradient" else len(product.outer)
    part = tiling.groups if product.kind == "gradient" else tiling.outer
    if along <= 2 * TILES * part:
        return _exact(config, operands, product, tiling)
    half, whole = (
        _exact(config, operands, _beginning(product, tiles * part), tiling)
        for tiles in (TILES, 2 * TILES)
    )
    more = (along / part - 2 * TILES) / TILES
    return Cost(*(w + more * (w - h) for w, h in zip(whole, half, strict=True)))


def choose(
    config: NmConfig,
    layer: Layer,
    way: Pass,
    dataflows: Sequence[Dataflow] = DATAFLOWS,
    shortlist: int = SHORTLIST,
) -> Choice:
    """The fastest of what fits for the pass ``way`` of ``layer``.

    Raises :class:`TilingError` where nothing fits.
    """
    best: Choice | None = None
    for operands in layouts(config, layer, way, dataflows):
        try:
            choice = _choose(config, operands, way, shortlist)
        except TilingError:
            continue
        if best is None or choice.cost.cycles < best.cost.cycles:
            best = choice
    if best is None:
        raise TilingError(
            f"nothing of layer {layer.name}'s {way} pass fits the memories; raise left_depth, "
            "right_depth or sums_depth"
        )
    return best


def choose_step(
    config: NmConfig, layer: Layer, passes: Sequence[Pass] | None = None, shortlist: int = SHORTLIST
) -> tuple[Operands, list[Instruction]]:
    """The fastest program of ``passes`` (all) of a step of ``layer``, and where operands lie.

    Raises as :func:`choose`.
    """
    ways = layer.passes if passes is None else passes
    choices: dict[Pass, Choice] = {
        way: choose(config, layer, way, shortlist=shortlist) for way in ways
    }
    dataflows: dict[Pass, Dataflow] = {
        way: choice.tilings[0].dataflow for way, choice in choices.items()
    }
    shifted = "gradient" in choices and choices["gradient"].operands.shifted
    operands = Operands(config, layer, dataflows, shifted)
    compiler = Compiler(config, operands)
    for way, choice in choices.items():
        for product, tiling in zip(products(operands, way), choice.tilings, strict=True):
            compiler.add(product, tiling)
    return operands, compiler.program()


def layouts(
    config: NmConfig, layer: Layer, way: Pass, dataflows: Sequence[Dataflow] = DATAFLOWS
) -> list[Operands]:
    """The ways in which the operands of a pass can lie."""
    shifts = (False, True) if way == "gradient" and layer.kernel > 1 == layer.stride else (False,)
    both = combinations(dataflows, shifts)
    return [Operands(config, layer, {way: dataflow}, shifted) for dataflow, shifted in both]


def _choose(config: NmConfig, operands: Operands, way: Pass, shortlist: int) -> Choice:
    chosen = []
    for product in products(operands, way):
        fits = list(tilings(config, operands, product))
        fits.sort(key=partial(estimate, config, operands, product))
        ranked: list[tuple[Cost, Tiling]] = []
        for tiling in fits:
            if len(ranked) == shortlist:
                break
            with suppress(TilingError):  # addresses that are no pattern
                ranked.append((cost(config, operands, product, tiling), tiling))
        if not ranked:
            raise TilingError(f"no tiling of the {way} pass fits")
        chosen.append((product, *min(ranked, key=lambda pair: pair[0].cycles)))
    made, costs, cuts = zip(*chosen, strict=True)
    return Choice(operands, made, cuts, costs)


def products(operands: Operands, way: Pass) -> list[Product]:
    """Those of a pass."""
    if way == "forward":
        return [operands.forward()]
    return operands.backward() if way == "backward" else [operands.gradient()]


def _exact(config: NmConfig, operands: Operands, product: Product, tiling: Tiling) -> Cost:
    compiler = Compiler(config, operands)
    compiler.add(product, tiling)
    return program_cost(config, compiler.program())


def _beginning(product: Product, size: int) -> Product:
    """The first ``size`` outer rows or, of a gradient, groups."""
    if product.kind == "gradient":
        return replace(product, left=product.left[:size], right=product.right[:size])
    outputs = tuple(replace(o, outer=o.outer[:size]) for o in product.outputs)
    return replace(product, outer=product.outer[:size], outputs=outputs)


def _outer(config: NmConfig, operands: Operands, product: Product, tiling: Tiling) -> int:
    """The most outer rows that fit, 0 if none."""
    low, high = 0, len(product.outer)
    while low < high:
        middle = (low + high + 1) // 2
        try:
            Compiler(config, operands).check(product, replace(tiling, outer=middle))
            low = middle
        except TilingError:
            high = middle - 1
    return low


def _store_blocks(config: NmConfig) -> int:
    """Column blocks of which whole beats can be stored."""
    return max(1, config.port_words * config.group // config.columns)


def _divisors(size: int, unit: int) -> list[int]:
    """Divisors of ``size`` that are multiples of ``unit``; ``size`` if there is none."""
    return [d for d in range(unit, size + 1, unit) if size % d == 0] or [size]
