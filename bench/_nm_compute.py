"""Compute cycles of the N:M array's core beside SCALE-Sim's, as rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from ..models import data
from ..models.nm.config import NmConfig
from ..models.nm.gemm_cycles import GemmCycles, Times
from ..models.nm.program import Dataflow, Gemm
from ._nm_core import Fed, Memories, simulate
from .report import Bar, Progress, Row

PRODUCTS = 8
"""Products one after the other: fills are paid once, as in a training step."""


class Point(NamedTuple):
    """A product [rows x reduction] by [reduction x columns] on a square array."""

    array: int
    dataflow: Dataflow
    rows: int
    columns: int
    reduction: int
    kept: int = 1
    group: int = 1
    """1: dense."""

    @property
    def product(self) -> str:
        """(M,N,K), as SCALE-Sim calls them."""
        return f"({self.rows},{self.columns},{self.reduction})"

    @property
    def kind(self) -> str:
        """All but the product."""
        ratio = "dense" if self.group == 1 else f"{self.kept}:{self.group}"
        return f"{self.array} x {self.array}, {self.dataflow}-stationary, {ratio}"

    def __str__(self) -> str:
        return f"{self.kind}, {self.product}"


QUICK = 8
"""Rows of the largest arrays that the quick mode simulates."""
Format = Literal["int8", "fp16"]
FORMATS: tuple[Format, ...] = get_args(Format)
HEADLINE = Point(32, "weight", 256, 64, 256, 2, 8)
SPARSE = [
    Point(8, dataflow, *product, 2, 8)
    for dataflow in get_args(Dataflow)
    for product in ((33, 17, 65), (64, 32, 64))
]
"""Of both dataflows, small enough to be simulated soon."""
SMALL = Point(32, "weight", 64, 32, 64, 2, 8)
"""Half of the array's reduction is padding."""


def array(kept: int, group: int, size: int, format: Format = "int8") -> NmConfig:
    """A square array whose memories hold the largest product of the table."""
    depth = 16384 if size < 32 else 4096
    return NmConfig(
        rows=size, columns=size, kept=kept, group=group, format=format,
        add_stages=1 if format == "int8" else 4, port_words=4,
        left_depth=depth, right_depth=depth, sums_depth=depth,
    )  # fmt: skip


def instruction(config: NmConfig, point: Point, dense: bool = False) -> Gemm:
    """The product as one instruction; ``dense`` on an N:M array: an entry for every k."""
    groups = -(-point.reduction // config.group)
    repeat = config.group if dense else config.kept
    if point.dataflow == "output":
        per_tile = config.clusters * config.interleave
        tiles = -(-point.columns // (config.kept * config.columns))
        return Gemm(dataflow="output", rows=-(-point.rows // per_tile), tiles=tiles, folds=groups,
                    repeat=repeat)  # fmt: skip
    repeat //= config.kept
    return Gemm(rows=point.rows, tiles=-(-point.columns // config.columns), repeat=repeat,
                folds=-(-groups // config.clusters) * repeat)  # fmt: skip


@dataclass(frozen=True)
class Product:
    """Random operands of a point, int8, and where they lie."""

    left: np.ndarray
    """[rows, reduction]"""
    right: np.ndarray
    """[reduction, columns], zero where a random mask of every column prunes."""
    memories: Memories
    gemm: Gemm

    @classmethod
    def random(
        cls, config: NmConfig, point: Point, seed: int = 0, dense: bool = False
    ) -> "Product":
        """Each column keeps entries of its own of every group."""
        rng = np.random.default_rng(seed)
        gemm = instruction(config, point, dense)
        kept, group, size = config.kept, config.group, config.columns
        weight = point.dataflow == "weight"
        rows = gemm.rows * (1 if weight else config.clusters * config.interleave)
        groups = gemm.folds * (config.clusters if weight else 1) // (gemm.repeat if weight else 1)
        columns = gemm.tiles * size * (1 if weight else kept)
        left = np.zeros((rows, groups * group), np.int64)
        left[: point.rows, : point.reduction] = rng.integers(
            -128, 128, (point.rows, point.reduction)
        )
        values = np.zeros((groups * group, columns), np.int64)
        values[: point.reduction, : point.columns] = rng.integers(
            -128, 128, (point.reduction, point.columns)
        )
        values = values.reshape(groups, group, columns)
        indices = np.broadcast_to(np.arange(group)[:, None], values.shape)
        if not dense:
            indices = np.sort(rng.random(values.shape).argsort(1)[:, :kept], 1)
        entries = np.take_along_axis(values, indices, 1)
        right = np.zeros_like(values)
        np.put_along_axis(right, indices, entries, 1)
        memories = Memories(
            _left_banks(config, gemm, left) & 255,
            _right_banks(config, gemm, entries) & 255,
            _right_banks(config, gemm, indices),
        )
        right = right.reshape(groups * group, columns)[: point.reduction, : point.columns]
        return cls(left[: point.rows, : point.reduction], right, memories, gemm)

    def wrong(self, config: NmConfig, sums: np.ndarray) -> int:
        """How many of the core's ``sums`` differ from NumPy's."""
        want = self.left @ self.right
        rows, columns = want.shape
        stride = self.gemm.rows * (
            1 if self.gemm.dataflow == "weight" else config.clusters * config.interleave
        )
        blocks, column = np.divmod(np.arange(columns), config.columns)
        got = sums[0, blocks * stride + np.arange(rows)[:, None], column]
        return int((got != want & 0xFFFFFFFF).sum())


def _left_banks(config: NmConfig, gemm: Gemm, left: np.ndarray) -> np.ndarray:
    """[rows, reduction] by group or by row: [bank, address, element]."""
    words = left.reshape(len(left), -1, config.group)
    if gemm.dataflow == "weight":
        words = words.reshape(len(left), -1, config.clusters, config.group).transpose(2, 0, 1, 3)
    else:
        words = words.reshape(-1, config.clusters, *words.shape[1:]).swapaxes(0, 1)
    return words.reshape(config.clusters, -1, config.group)


def _right_banks(config: NmConfig, gemm: Gemm, entries: np.ndarray) -> np.ndarray:
    """[groups, slots, columns] as words of each bank: [bank, address, entry]."""
    kept, columns = config.kept, config.columns
    groups, slots, _ = entries.shape
    if gemm.dataflow == "weight":
        entries = entries.reshape(-1, config.clusters, slots // kept, kept, gemm.tiles, columns)
        words = entries.transpose(5, 4, 0, 2, 1, 3)
    else:
        words = entries.reshape(groups, slots, gemm.tiles, kept, columns).transpose(4, 2, 0, 1, 3)
    return words.reshape(columns, -1, kept)


def compute_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Cycles beside SCALE-Sim's on 40 products, what N:M gains, and what it asks of memories."""
    try:
        peers = scalesim()
    except data.MissingData as missing:
        yield Row.skip("compute cycles of 40 products, over SCALE-Sim's", str(missing))
        return
    yield from modelled(peers)
    yield from _simulated(list(peers), quick, progress)


def scalesim() -> dict[Point, int]:
    """Compute cycles that SCALE-Sim v3 gives; :class:`~..models.data.MissingData` without them."""
    peers = {}
    for size, output, rows, columns, reduction, kept, group, cycles in data.load(
        "scalesim_v3_cycles.npz"
    )["table"].tolist():
        flow = "output" if output else "weight"
        peers[Point(size, flow, rows, columns, reduction, kept, group)] = cycles
    return peers


def modelled(peers: dict[Point, int]) -> Iterator[Row]:
    """What the cycle model says, which simulation holds to the clock."""
    yield from _beside_scalesim(peers)
    yield from _speedups(peers)
    yield from _bandwidth()


def _beside_scalesim(peers: dict[Point, int]) -> Iterator[Row]:
    """All products, by array, dataflow and sparsity."""
    kinds: dict[str, dict[Point, int]] = {}
    for point, want in peers.items():
        kinds.setdefault(point.kind, {})[point] = want
    for kind, wants in kinds.items():
        alone = {point: _times(point)[0] for point in wants}
        spans = ", ".join(f"{p.product} {_span(alone[p])}/{w}" for p, w in wants.items())
        yield Row(
            f"{kind}: cycles from the first left word to the last sum, over SCALE-Sim's, at most",
            max(_span(alone[point]) / want for point, want in wants.items()),
            Bar("<=", 1.0), f"{spans} (SCALE-Sim v3)",
        )  # fmt: skip
        dense = all(point.group == 1 for point in wants)
        yield Row(
            f"{kind}: the same from the instruction on, first words' loading included",
            max((alone[point].finished + 1) / want for point, want in wants.items()),
            Bar("<=", 1.0) if dense else None,
        )  # fmt: skip


def _simulated(points: list[Point], quick: bool, progress: Progress) -> Iterator[Row]:
    """The same products through RTL."""
    arrays: dict[tuple[int, int, int], list[Point]] = {}
    for point in [*points, *SPARSE]:
        arrays.setdefault((point.kept, point.group, point.array), []).append(point)
    products = wrong = late = 0
    for shape, chosen in arrays.items():
        if quick and shape[-1] > QUICK:
            continue
        config = array(*shape)
        progress(f"{chosen[0].kind}: {len(chosen)} products through RTL")
        fed = Fed(config)
        runs = [(point, False) for point in chosen]
        if config.group > 1:
            runs += [(point, True) for point in chosen]
        for point, dense in runs:
            product = Product.random(config, point, products, dense)
            times = _times(point, dense, PRODUCTS if point in (HEADLINE, SMALL) else 1)
            ran = simulate(fed, product.memories, [product.gemm] * len(times))
            seen = [
                Times(int(taken), int(reads[0]), int(reads[-1]), int(finished))
                for taken, reads, finished in zip(
                    ran.taken, np.split(ran.multiplies, len(times)), ran.finished, strict=True
                )
            ]
            late += seen != times
            wrong += product.wrong(config, ran.sums)
            products += 1
    where = f"arrays up to {QUICK} x {QUICK}" if quick else "all arrays"
    yield Row(f"sums of {products} products through RTL that differ from NumPy's, {where}; masks "
              "differ from column to column", wrong, Bar("==", 0))  # fmt: skip
    yield Row("of these, products whose cycles differ from the model's", late, Bar("==", 0))


def _speedups(peers: dict[Point, int]) -> Iterator[Row]:
    """What 2:8 gains over dense on as many multipliers."""
    for point in (HEADLINE, SMALL):
        dense = point._replace(kept=1, group=1)
        sparse_span, dense_span = _span(_times(point)[0]), _span(_times(dense)[0])
        what, peer = (
            f"{point}: speed-up over dense",
            f"{peers[dense] / peers[point]:.1f} (SCALE-Sim)",
        )
        bar = Bar(">=", 3.9) if point == HEADLINE else None
        yield Row(
            f"{what}, {PRODUCTS} products in turn", _in_turn(dense) / _in_turn(point), bar, peer
        )
        yield Row(f"{what} as SCALE-Sim runs it, alone", peers[dense] / sparse_span, bar, peer)
        yield Row(
            f"{what}, alone", dense_span / sparse_span, None,
            f"{dense_span} to {sparse_span} cycles, of which either pays the array's skew once",
        )  # fmt: skip
        yield Row(
            f"{point}: multiplications by kept weights, over multipliers times cycles, in turn",
            PRODUCTS * point.rows * point.columns * point.reduction * point.kept / point.group
            / (point.array**2 * _in_turn(point)), Bar("<=", 1.0),
        )  # fmt: skip
        yield Row(
            f"{what}, FP16, {PRODUCTS} products in turn",
            _in_turn(dense, "fp16") / _in_turn(point, "fp16"),
        )


def _bandwidth() -> Iterator[Row]:
    """What the left memory delivers while the array is full."""
    for format in FORMATS:
        for kept, group in ((1, 1), (HEADLINE.kept, HEADLINE.group)):
            config = array(kept, group, HEADLINE.array, format)
            ratio = "dense" if group == 1 else f"{kept}:{group}"
            what = f"{HEADLINE.array} x {HEADLINE.array}, {ratio}, {format}"
            yield Row(
                f"{what}: left memory, bits a cycle",
                config.clusters * config.word_bits, None,
                f"{config.clusters} words of {config.word_bits} bits, one from each bank",
            )  # fmt: skip


def _times(
    point: Point, dense: bool = False, count: int = 1, format: Format = "int8"
) -> list[Times]:
    """Of ``count`` products in turn."""
    config = array(point.kept, point.group, point.array, format)
    cycles = GemmCycles(config)
    gemm = instruction(config, point, dense)
    return [cycles.times(gemm, cycles.ready) for _ in range(count)]


def _span(times: Times) -> int:
    """Cycles from the first left word's read to the last sum's write, both counted."""
    return times.finished - times.first_read


def _in_turn(point: Point, format: Format = "int8") -> int:
    times = _times(point, count=PRODUCTS, format=format)
    return times[-1].finished - times[0].first_read
