"""Networks as stages: what one unit of hardware does at once is brought together, and each
convolution's products are put in the order in which they are computed.

Sums go one way: from a Convolution over Add, Sum and Bias to a Threshold, or to the end of the
network.  All of that is a stage.  A MaxPool is one, too.  Parts is nothing but a view.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from ..windows import Windows
from . import operations, stages
from .network import Network, Node
from .operations import Convolution, Kind
from .pacing import paced
from .stages import Arithmetic, Fold, Input, Reader, Shortcut, Stage, Tap

Folds: TypeAlias = Mapping[str, Fold] | Sequence[Fold]


def lower(network: Network, folds: Folds, lanes_in: int = 0) -> list[Input | Stage]:
    """The stages of ``network``, each behind those whose results it reads; the first is the input.

    ``folds``: by the name of the Convolution (of the first one where an Add adds up several), or
    one for each stage of products in their order.  A MaxPool takes as many channels at once as its
    source gives, where its name has no fold.  ``lanes_in``: channels of the input in a word; 0: all
    of a pixel's.  Fast stages are spread (:mod:`.pacing`).

    Raises :class:`ValueError`, naming the node, where a fold does not divide what it folds, names
    differ from the network's, or sums are read by several or added up in a way that no stage does.
    """
    return paced(_Lowering(network, folds, lanes_in).stages)


def word_channels(network: Network, lanes_in: int) -> int:
    """Channels of the input in a word; raises :class:`ValueError` as :func:`lower`."""
    channels = network.input.channels
    if lanes_in < 0 or channels % (lanes_in or 1):
        raise ValueError(
            f"lanes_in = {lanes_in} does not divide the {channels} channels of the input"
        )
    return lanes_in or channels


def parts(network: Network) -> list["Part"]:
    """What ``network`` computes, by stages, whatever their folds; the input left out."""
    return _Parts(network).found


@dataclass(frozen=True, eq=False)
class View:
    """Values that a stage gives."""

    stage: int
    kind: Kind


@dataclass(frozen=True, eq=False)
class Term:
    """A convolution of a stage."""

    name: str
    convolution: Convolution
    view: View


@dataclass(frozen=True, eq=False)
class Pool:
    """A stage of pooling."""

    name: str
    windows: Windows
    view: View
    kind: Kind


@dataclass(frozen=True, eq=False)
class Sums:
    """A stage of products."""

    name: str
    terms: tuple[Term, ...]
    kind: Kind
    """Of what leaves."""
    grid: tuple[int, int]
    high: int
    """Bound of the size of a pixel's sums, biases left out."""
    bias: np.ndarray
    """int64 [channels], or [channels, 2], of what leaves."""
    shortcuts: tuple[tuple[View, int], ...] = ()
    total: bool = False
    threshold: operations.Threshold | None = None

    @property
    def arithmetic(self) -> Arithmetic:
        """That of all its terms."""
        return _arithmetic(self.terms[0])

    @property
    def complex(self) -> bool:
        """Whether sums are."""
        return self.terms[0].convolution.complex


Part: TypeAlias = Pool | Sums


class _Parts:
    """Walks a network and gathers what a stage does."""

    def __init__(self, network: Network):
        self.found: list[Part] = []
        self._network = network
        self._values: list[View | Sums] = []
        for node, readers in zip(network.nodes, network.consumers(), strict=True):
            try:
                value = self._value(node, network.kinds[len(self._values)])
            except ValueError as error:
                raise ValueError(f"node {node.name!r}: {error}") from error
            if isinstance(value, Sums) and len(readers) > 1:
                names = " and ".join(repr(network.nodes[r].name) for r in readers)
                raise ValueError(
                    f"node {node.name!r}: its sums are read by {names}, but sums go one way; "
                    "compute them twice, or let the others read bits"
                )
            self._values.append(value)
        last = self._values[-1]
        if isinstance(last, Sums):
            self._close(last)
        elif isinstance(network.nodes[-1].operation, operations.Input | operations.Parts):
            raise ValueError(
                f"node {network.nodes[-1].name!r} computes nothing, and no stage gives it; leave "
                "it out"
            )

    def _close(self, part: Part) -> View:
        self.found.append(part)
        return View(len(self.found), part.kind)

    def _value(self, node: Node, kind: Kind) -> View | Sums:
        sources = [self._values[s] for s in node.sources]
        match node.operation, sources:
            case operations.Input(), _:
                return View(0, kind)
            case operations.Convolution() as operation, [View() as view]:
                grid = kind.shape[:2]
                shape = (kind.channels, 2) if kind.complex else (kind.channels,)
                term = Term(node.name, operation, view)
                return Sums(node.name, (term,), kind, grid, kind.high, np.zeros(shape, np.int64))
            case operations.MaxPool() as operation, [View() as view]:
                windows = Windows(operation.size, operation.stride, operation.padding)
                return self._close(Pool(node.name, windows, view, kind))
            case operations.Parts(), [View(stage)]:
                return View(stage, kind)
            case operations.Add(factors), [Sums() as first, *others]:
                for other, factor in zip(others, factors, strict=True):
                    first = _added(first, other, factor)
                return replace(first, name=node.name, kind=kind)
            case operations.Sum(), [Sums() as sums]:
                pixels = 1 if sums.total else sums.grid[0] * sums.grid[1]
                total = sums.total or pixels > 1
                return replace(
                    sums, name=node.name, kind=kind, bias=sums.bias * pixels, total=total
                )
            case operations.Bias(biases), [Sums() as sums]:
                return replace(sums, name=node.name, kind=kind, bias=sums.bias + biases)
            case operations.Threshold() as operation, [Sums() as sums]:
                return self._close(replace(sums, name=node.name, kind=kind, threshold=operation))
        raise AssertionError(f"{node.operation} reads what the network does not let it")


def _added(first: Sums, other: View | Sums, factor: int) -> Sums:
    """An Add's operands as one."""
    if isinstance(other, View):
        if first.total:
            raise ValueError("adds bits to a Sum; add them before it")
        return replace(
            first,
            shortcuts=(*first.shortcuts, (other, factor)),
            high=first.high + abs(factor),
        )
    terms = (*first.terms, *other.terms)
    if len(terms) > 2:
        raise ValueError(
            f"adds up the Convolutions {', '.join(repr(t.name) for t in terms)}; two at most"
        )
    if (first.total, first.grid) != (other.total, other.grid):
        raise ValueError("adds a Sum to what is none of as many pixels; add before summing")
    one, two = first.terms[0], other.terms[0]
    if _arithmetic(one) != _arithmetic(two) or _bits(one.view.kind) != _bits(two.view.kind):
        raise ValueError(
            f"adds a Convolution of {one.view.kind} and one of {two.view.kind}; let both read "
            "values of one format"
        )
    return replace(
        first,
        terms=terms,
        high=first.high + other.high,
        bias=first.bias + other.bias,
        shortcuts=first.shortcuts + other.shortcuts,
    )


def _arithmetic(term: Term) -> Arithmetic:
    if term.view.kind.format == "integers":
        return "integers"
    return "complex" if term.view.kind.complex else "binary"


def _bits(kind: Kind) -> tuple[int, int]:
    return kind.low, kind.high


class _Lowering:
    """Folds the parts of a network."""

    def __init__(self, network: Network, folds: Folds, lanes_in: int):
        found = parts(network)
        self._folds = _named(found, folds)
        first = Input(network.nodes[0].name, network.input, word_channels(network, lanes_in))
        self.stages: list[Input | Stage] = [first]
        for part in found:
            self.stages.append(self._pool(part) if isinstance(part, Pool) else self._sums(part))

    def _pool(self, part: Pool) -> Stage:
        source = self.stages[part.view.stage]
        own = self._folds.get(part.name)
        channels = own.channels if own else stages.beat_channels(source, part.view.kind)
        if own and own.outputs != own.channels:
            raise ValueError(f"{part.name!r}: {own} of a MaxPool; outputs and channels are equal")
        _divides(part.name, "channels", channels, part.kind.channels)
        rows, columns = part.windows.size
        up, left = part.windows.padding
        groups = tuple(
            tuple(Tap(0, i - up, j - left, word) for i in range(rows) for j in range(columns))
            for word in range(part.kind.channels // channels)
        )
        return Stage(
            name=part.name,
            unit="pool",
            arithmetic="complex" if part.kind.complex else "binary",
            readers=(Reader(part.view.stage, part.view.kind, channels, part.windows),),
            fold=Fold(channels, channels),
            grid=part.kind.shape[:2],
            groups=groups,
            weights=np.zeros((sum(map(len, groups)), 0, 0), np.int8),
            shortcuts=(),
            complex=part.kind.complex,
            low=-1,
            high=1,
            thresholds=None,
            flips=None,
            biases=None,
            total=False,
            kind=part.kind,
        )

    def _sums(self, part: Sums) -> Stage:
        fold = self._folds[part.terms[0].name]
        for term in part.terms:
            check(fold, term)
        groups, weights = _products(part.terms, fold)
        readers = tuple(
            Reader(
                t.view.stage, t.view.kind, fold.channels, t.convolution.windows, t.convolution.fill
            )
            for t in part.terms
        )
        pixel = Windows((1, 1))
        shortcuts = tuple(
            Shortcut(Reader(view.stage, view.kind, fold.outputs, pixel), factor)
            for view, factor in part.shortcuts
        )
        thresholds = flips = biases = None
        if part.threshold is None:
            biases = part.bias if part.bias.any() else None
        else:
            # What a bias adds, thresholds need not reach; all above the largest sum are alike.
            most = part.high * (part.grid[0] * part.grid[1] if part.total else 1)
            thresholds = np.clip(part.threshold.thresholds - part.bias, -most, most + 1)
            flips = part.threshold.flips
        return Stage(
            name=part.name,
            unit="products",
            arithmetic=part.arithmetic,
            readers=readers,
            fold=fold,
            grid=part.grid,
            groups=groups,
            weights=weights,
            shortcuts=shortcuts,
            complex=part.complex,
            low=-part.high,
            high=part.high,
            thresholds=thresholds,
            flips=flips,
            biases=biases,
            total=part.total,
            kind=part.kind,
        )


def _named(found: list[Part], folds: Folds) -> dict[str, Fold]:
    """Folds by the names of Convolutions, all there, and of MaxPools.

    Raises :class:`ValueError`.
    """
    sums = [part for part in found if isinstance(part, Sums)]
    if not isinstance(folds, Mapping):
        if len(folds) != len(sums):
            raise ValueError(f"{len(folds)} folds for {len(sums)} stages of products")
        return {part.terms[0].name: fold for part, fold in zip(sums, folds, strict=True)}
    named = dict(folds)
    for part in sums:
        first, *others = (term.name for term in part.terms)
        if first not in named:
            raise ValueError(f"there is no fold for {first!r}")
        for other in others:
            if named.setdefault(other, named[first]) != named[first]:
                raise ValueError(
                    f"{first!r} and {other!r} are one stage, but their folds differ: "
                    f"{named[first]} and {named[other]}"
                )
    names = {t.name for part in sums for t in part.terms}
    names |= {part.name for part in found if isinstance(part, Pool)}
    if extra := set(named) - names:
        raise ValueError(f"folds of {', '.join(map(repr, sorted(extra)))}, which the network lacks")
    return named


def check(fold: Fold, term: Term) -> None:
    """Raises :class:`ValueError` where ``fold`` does not divide a convolution, or its blocks."""
    convolution = term.convolution
    outputs, channels = convolution.outputs, convolution.channels
    _divides(term.name, "outputs", fold.outputs, outputs)
    _divides(term.name, "channels", fold.channels, channels)
    if convolution.block is not None and not convolution.kept.all():
        what = f"of a block of {convolution.block[0]} x {convolution.block[1]}, which is pruned,"
        _divides(term.name, f"outputs {what}", fold.outputs, convolution.block[0])
        _divides(term.name, f"channels {what}", fold.channels, convolution.block[1])


def _divides(name: str, what: str, part: int, whole: int) -> None:
    if part < 1 or whole % part:
        fitting = ", ".join(str(n) for n in range(1, whole + 1) if whole % n == 0)
        raise ValueError(f"{name!r}: {part} {what} at once do not divide {whole}; take {fitting}")


def _products(
    terms: tuple[Term, ...], fold: Fold
) -> tuple[tuple[tuple[Tap, ...], ...], np.ndarray]:
    """Taps of every group and their weights [taps, P, S], or [..., 2]."""
    count = terms[0].convolution.outputs // fold.outputs
    taps: list[list[Tap]] = [[] for _ in range(count)]
    weights: list[list[np.ndarray]] = [[] for _ in range(count)]
    for reader, term in enumerate(terms):
        for group, tap, block in _of(term.convolution, fold, reader):
            taps[group].append(tap)
            weights[group].append(block)
    null = np.ones_like(_blocks(terms[0].convolution, fold)[0, 0, 0, 0])
    for group in range(count):
        if not taps[group]:
            taps[group].append(Tap(0, 0, 0, 0, null=True))
            weights[group].append(null)
    return tuple(map(tuple, taps)), np.stack([block for group in weights for block in group])


def _of(convolution: Convolution, fold: Fold, reader: int) -> Iterator[tuple[int, Tap, np.ndarray]]:
    """What is not pruned: the group, the tap and its weights, group by group."""
    blocks = _blocks(convolution, fold)
    up, left = convolution.windows.padding
    kept = blocks.reshape(*blocks.shape[:4], -1).any(axis=4)
    for group, i, j, word in np.argwhere(kept).tolist():
        yield group, Tap(reader, i - up, j - left, word), blocks[group, i, j, word]


def _blocks(convolution: Convolution, fold: Fold) -> np.ndarray:
    """Weights [groups, height, width, words, P, S], or [..., 2]."""
    weights = convolution.weights
    outputs, rows, columns, channels = weights.shape[:4]
    parted = weights.reshape(
        outputs // fold.outputs, fold.outputs, rows, columns,
        channels // fold.channels, fold.channels, *weights.shape[4:],
    )  # fmt: skip
    return np.moveaxis(parted, 1, 4)
