"""Proofs of bounds at a given order that integers alone check, whoever found them.

A certificate is a tree.  Each branch decides a gap: kept, or left.  Each leaf has multipliers,
none of them negative, that show by linear programming's duality that plans which decide so cost
more than ``bound - unit``, where ``unit`` divides all costs.  With ``l[g]`` 1 where gap g is
left, every plan fulfils::

    at each position p   sum w[g] l[g] >= need        over the gaps that cover p
                         need = required[p] + sum size[g] - budget,  w[g] = min(size[g], need)
    for each cut         sum l[g] >= need             (:class:`.cuts.Cut`)
    for each gap g       stored[v] >= l[g]            where leaving g stores its version v

so that with multipliers y, z and u of these, its cost is at least::

    sum y need + sum z need + sum over g of least(l[g]) + sum over v of min(0, store[v] - sum u[g])
    least(l) = min over what is decided, or 0 and 1, of l (fetch[g] + u[g] - sum y w[g] - sum z)
"""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cuts import Cut, clash, covers
from .fixed import FixedOrder
from .master import size
from .plan import Result

_OVER = 1 << 40
"""What multipliers are divided by."""


@dataclass(frozen=True)
class Certificate:
    """Of a bound at a given order; gaps are places in :attr:`.fixed.FixedOrder.gaps`."""

    bound: int
    """Non-compulsory bytes."""
    cuts: tuple[Cut, ...]
    tree: Mapping[str, Any]
    """``{"gap": g, "kept": tree, "left": tree}`` or a leaf, ``{"positions": {p: y}, "cuts":
    {place: z}, "stored": {g: u}}``, whose numbers are multiples of 2**-40; keys are strings."""

    @property
    def leaves(self) -> int:
        """How many the tree has."""
        return sum("gap" not in node for node, _ in _nodes(self.tree))

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "bound": self.bound,
            "cuts": [[list(c.gaps), c.need, c.window.start, c.window.stop] for c in self.cuts],
            "tree": dict(self.tree),
        }  # fmt: skip

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Certificate":
        """Of what :meth:`to_json` gave."""
        cuts = (Cut(tuple(g), need, range(a, z)) for g, need, a, z in found["cuts"])
        return cls(found["bound"], tuple(cuts), found["tree"])


def verify(fixed: FixedOrder, certificate: Certificate, limit: float = 60.0) -> None:
    """Raises :class:`ValueError` unless the certificate proves its bound.

    Capacity by integers alone; that the gaps of a cut cannot all be kept by an exact search for a
    placement, which may take ``limit`` seconds for each.
    """
    every = frozenset(range(len(fixed.gaps)))
    for place, cut in enumerate(certificate.cuts):
        gaps, least = set(cut.gaps), len(set(cut.gaps)) - cut.need + 1
        if not gaps or not every.issuperset(gaps) or not 0 < least <= len(gaps):
            raise ValueError(f"cut {place} has gaps {list(cut.gaps)} and needs {cut.need}")
        kept = sorted(gaps, key=lambda i: size(fixed, i))[:least]
        if cut.need > 1 and not all(covers(fixed, i, cut.window) for i in gaps):
            raise ValueError(f"cut {place} has gaps that do not free all of {cut.window}")
        if clash(fixed, every.difference(kept), cut.window, limit) is None:
            raise ValueError(f"cut {place} is not proved: keeping gaps {kept} may be possible")
    rows, unit = _rows(fixed), _unit(fixed)
    for node, decided in _nodes(certificate.tree):
        if "gap" in node:
            continue
        proved = _leaf(fixed, rows, certificate.cuts, node, decided)
        if proved <= (certificate.bound - unit) * _OVER:
            raise ValueError(
                f"the leaf that decides {decided} proves {proved / _OVER:.6g} bytes, not more than "
                f"{certificate.bound - unit}"
            )


def certify(result: Result, limit: float = 60.0) -> Certificate | None:
    """A certificate of the bound of :func:`.exact.solve`'s result; None as :func:`prove`.

    Raises :class:`ValueError` for a result without a plan.
    """
    if result.plan is None:
        raise ValueError(f"{result.problem.name} has no plan: a certificate is of a plan's order")
    fixed = FixedOrder(result.problem, result.plan.order)
    buffers = result.problem.buffers
    places = {(buffers[g.buffer].name, g.first, g.last): i for i, g in enumerate(fixed.gaps)}
    cuts = [
        Cut(tuple(places[tuple(g)] for g in cut["gaps"]), cut["need"], range(*cut["positions"]))
        for cut in result.notes.get("conflicts", ())
    ]
    return prove(fixed, result.bound, cuts, limit)


def prove(
    fixed: FixedOrder, bound: int, cuts: Sequence[Cut] = (), limit: float = 60.0
) -> Certificate | None:
    """A certificate of ``bound``, found with SciPy's linear programs; None if ``limit`` seconds
    do not suffice.

    Raises :class:`ValueError`, with the gaps, where something that costs less fulfils all rows.
    """
    begun = time.monotonic()
    relaxed = _Relaxed(fixed, cuts)
    root: dict[str, Any] = {}
    open_: list[tuple[dict[str, Any], dict[int, int]]] = [(root, {})]
    while open_:
        node, decided = open_.pop()
        left, leaf = relaxed.solved(decided, bound)
        target = (bound - _unit(fixed)) * _OVER
        if leaf and _leaf(fixed, relaxed.rows, cuts, leaf, decided) > target:
            node.update(leaf)
            continue
        if time.monotonic() - begun > limit:
            return None
        free = [i for i in range(len(left)) if i not in decided]
        doubt = np.minimum(left, 1 - left)
        choice = max(free, key=lambda i: (doubt[i] * relaxed.costs[i], doubt[i]), default=None)
        if choice is None or doubt[choice] < 1e-9:
            chosen = [i for i, value in enumerate(left) if value > 0.5]
            if fixed.cost(chosen) < bound and relaxed.fulfilled(chosen):
                raise ValueError(f"{bound} bytes are no bound: leaving gaps {chosen} costs "
                                 f"{fixed.cost(chosen)}")  # fmt: skip
            if choice is None:
                return None
        node.update(gap=choice, kept={}, left={})
        open_ += [(node["left"], {**decided, choice: 1}), (node["kept"], {**decided, choice: 0})]
    return Certificate(bound, tuple(cuts), root)


def _nodes(tree: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], dict[int, int]]]:
    """All, each with what is decided there; raises :class:`ValueError` where one decides twice."""
    found: list[tuple[Mapping[str, Any], dict[int, int]]] = [(tree, {})]
    for node, decided in found:
        if "gap" not in node:
            continue
        if node["gap"] in decided:
            raise ValueError(f"gap {node['gap']} is decided twice")
        found.append((node["kept"], {**decided, node["gap"]: 0}))
        found.append((node["left"], {**decided, node["gap"]: 1}))
    return found


def _unit(fixed: FixedOrder) -> int:
    """What every plan's cost is a multiple of."""
    return math.gcd(*(c for gap in fixed.gaps for c in (gap.fetch, gap.store))) or 1


def _rows(fixed: FixedOrder) -> dict[int, tuple[int, dict[int, int]]]:
    """At each position where not everything can be kept: ``need``, and ``w`` of the gaps."""
    buffers, budget = fixed.problem.buffers, fixed.problem.memory.budget
    covering: list[dict[int, int]] = [{} for _ in fixed.required]
    for i, gap in enumerate(fixed.gaps):
        for position in gap.freed:
            covering[position][i] = buffers[gap.buffer].size
    found = {}
    for position, sizes in enumerate(covering):
        need = fixed.required[position] + sum(sizes.values()) - budget
        if need > 0:
            found[position] = need, {i: min(size, need) for i, size in sizes.items()}
    return found


def _leaf(
    fixed: FixedOrder,
    rows: Mapping[int, tuple[int, dict[int, int]]],
    cuts: Sequence[Cut],
    leaf: Mapping[str, Any],
    decided: Mapping[int, int],
) -> int:
    """What its multipliers prove, in units of 2**-40 bytes."""
    reduced = [gap.fetch * _OVER for gap in fixed.gaps]
    stores = {(g.buffer, g.version): g.store * _OVER for g in fixed.gaps}
    total = 0
    for kind in ("positions", "cuts", "stored"):
        for key, y in leaf.get(kind, {}).items():
            if not isinstance(y, int) or y < 0:
                raise ValueError(f"the multiplier of {kind} {key} is {y!r}; it is an integer >= 0")
            try:
                if kind == "positions":
                    need, weights = rows[int(key)]
                elif kind == "cuts":
                    cut = cuts[int(key)]
                    need, weights = cut.need, dict.fromkeys(cut.gaps, 1)
                else:
                    gap = fixed.gaps[int(key)]
                    stores[gap.buffer, gap.version] -= y
                    need, weights = 0, {int(key): -1}
            except (KeyError, IndexError):
                raise ValueError(f"there is no row of {kind} {key}") from None
            total += y * need
            for i, weight in weights.items():
                reduced[i] -= y * weight
    total += sum(min(0, rest) for rest in stores.values())
    for i, rest in enumerate(reduced):
        total += decided[i] * rest if i in decided else min(0, rest)
    return total


class _Relaxed:
    """The linear program, in which gaps may be left in part."""

    def __init__(self, fixed: FixedOrder, cuts: Sequence[Cut]) -> None:
        from scipy.sparse import coo_array

        self.fixed, self.cuts = fixed, cuts
        self.rows = _rows(fixed)
        self.unit = _unit(fixed)
        gaps = fixed.gaps
        self.costs = np.array([g.fetch + g.store for g in gaps], float) / self.unit
        versions = sorted({(g.buffer, g.version) for g in gaps if g.store})
        column = {version: len(gaps) + i for i, version in enumerate(versions)}
        store = {(g.buffer, g.version): g.store for g in gaps}
        self.cost = np.array(
            [*(g.fetch for g in gaps), *(store[v] for v in versions)], float
        ) / self.unit  # fmt: skip
        self.names: list[tuple[str, int, int]] = []
        """Of each row: kind, key, and what it was divided by."""
        entries: list[tuple[int, int, float]] = []
        right: list[float] = []

        def add(kind: str, key: int, need: int, weights: Mapping[int, int], over: int) -> None:
            entries.extend((len(right), i, -w / over) for i, w in weights.items())
            right.append(-need / over)
            self.names.append((kind, key, over))

        covers = [(frozenset(weights), need, p) for p, (need, weights) in self.rows.items()]
        sharing: dict[int, list[tuple[frozenset[int], int, int]]] = {}
        for cover in covers:
            for i in cover[0]:
                sharing.setdefault(i, []).append(cover)
        for position, (need, weights) in self.rows.items():
            kept, first = frozenset(weights), next(iter(weights))
            # Not those that another position with the same gaps implies.
            if any(k == kept and (n, -p) > (need, -position) for k, n, p in sharing[first]):
                continue
            add("positions", position, need, weights, need)
        for place, cut in enumerate(cuts):
            add("cuts", place, cut.need, dict.fromkeys(cut.gaps, 1), 1)
        for i, gap in enumerate(gaps):
            if gap.store:
                add("stored", i, 0, {column[gap.buffer, gap.version]: 1, i: -1}, 1)
        where = [(r, c) for r, c, _ in entries]
        self.right = np.array(right)
        self.matrix = coo_array(
            ([v for *_, v in entries], tuple(np.array(where, int).reshape(-1, 2).T)),
            shape=(len(right), len(self.cost)),
        ).tocsr()

    def solved(self, decided: Mapping[int, int], bound: int) -> tuple[Any, dict[str, Any]]:
        """How far each gap is left at best, and multipliers; ``bound``: more is not needed."""
        gaps = len(self.fixed.gaps)
        if not len(self.right):
            return np.zeros(gaps), {"positions": {}}
        limits = np.tile([0.0, 1.0], (len(self.cost), 1))
        for i, value in decided.items():
            limits[i] = value
        found = self._least(self.cost, self.matrix, limits)
        if found.status == 0:
            return found.x[:gaps], self._leaf(-found.ineqlin.marginals, 1.0)
        # Nothing fulfils the rows: by how much they are missed in all proves any bound.
        from scipy.sparse import eye_array, hstack

        missed = len(self.right)
        cost = np.concatenate([np.zeros(len(self.cost)), np.ones(missed)])
        matrix = hstack([self.matrix, -eye_array(missed)]).tocsr()
        limits = np.concatenate([limits, np.tile([0.0, np.inf], (missed, 1))])
        found = self._least(cost, matrix, limits)
        if found.status != 0 or found.fun <= 1e-12:
            return np.full(gaps, 0.5), {}
        factor = (bound / self.unit + 1) / found.fun * 2
        return np.full(gaps, 0.5), self._leaf(-found.ineqlin.marginals, factor)

    def fulfilled(self, left: Collection[int]) -> bool:
        """Whether leaving these gaps fulfils all rows, in integers."""
        return all(
            sum(w for i, w in weights.items() if i in left) >= need
            for need, weights in self.rows.values()
        ) and all(len(set(cut.gaps).intersection(left)) >= cut.need for cut in self.cuts)

    def _least(self, cost: Any, matrix: Any, limits: Any) -> Any:
        from scipy.optimize import linprog

        return linprog(cost, matrix, self.right, bounds=limits, method="highs")

    def _leaf(self, multipliers: Any, factor: float) -> dict[str, Any]:
        leaf: dict[str, Any] = {"positions": {}}
        for (kind, key, over), y in zip(self.names, multipliers, strict=True):
            numerator = round(float(y) * factor * self.unit / over * _OVER)
            if numerator > 0:
                leaf.setdefault(kind, {})[str(key)] = numerator
        return leaf
