"""A problem under a given order: which gaps between uses may be given up, and what that saves."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from .plan import Plan, Residence
from .problem import BudgetError, Problem


@dataclass(frozen=True)
class Gap:
    """Between two uses of a buffer that lie apart; kept, or left and fetched again."""

    buffer: int
    first: int
    """Position of the use before."""
    last: int
    """Position of the use after."""
    freed: range
    """Positions at which leaving frees the buffer's place; none is empty."""
    fetch: int
    """Bytes that leaving costs."""
    version: int
    """How many steps have written the buffer before."""
    store: int
    """Bytes that it costs besides, once for all gaps of this buffer and version."""


class FixedOrder:
    """A problem and an order of its steps.

    Raises :class:`ValueError` for an order that is none and :class:`BudgetError` where what must
    be in the scratchpad at some position exceeds the budget.
    """

    def __init__(self, problem: Problem, order: Sequence[int] | None = None) -> None:
        """``order``: None is the default one."""
        self.problem = problem
        self.order = tuple(range(len(problem.steps)) if order is None else order)
        problem.check_order(self.order)
        margin = int(problem.memory.double_buffered)
        uses: list[list[int]] = [[] for _ in problem.buffers]
        writes: list[list[int]] = [[] for _ in problem.buffers]
        for position, s in enumerate(self.order):
            for b in problem.steps[s].uses:
                uses[b].append(position)
            for b in problem.steps[s].writes:
                writes[b].append(position)
        self.uses = tuple(map(tuple, uses))
        """Of every buffer: positions of the steps that use it."""
        gaps: list[Gap] = []
        required = [0] * len(self.order)
        for b, buffer in enumerate(problem.buffers):
            fetched = buffer.clean and b not in problem.loads
            stop = uses[b][-1] + 1 + margin * buffer.delivered
            held = {*range(max(uses[b][0] - margin * fetched, 0), min(stop, len(required)))}
            for first, last in zip(uses[b], uses[b][1:], strict=False):
                freed = range(first + 1 + margin, last - margin)
                if not freed:
                    continue
                version = sum(w <= first for w in writes[b])
                clean = buffer.clean and version <= (b in problem.loads)
                final = buffer.delivered and version == len(writes[b])
                store = 0 if clean or final else buffer.bytes
                gaps.append(Gap(b, first, last, freed, buffer.bytes, version, store))
                held.difference_update(freed)
            for position in held:
                required[position] += buffer.size
        self.gaps = tuple(gaps)
        """Of all buffers; what leaves nothing free is always kept and none of them."""
        self.required = tuple(required)
        """Bytes that lie in the scratchpad at each position whatever is left."""
        worst = max(range(len(required)), key=required.__getitem__)
        if required[worst] > problem.memory.budget:
            raise BudgetError(
                f"{problem.name}: around operator {problem.steps[self.order[worst]].name!r}, "
                f"{required[worst]} bytes are needed at once, the budget is "
                f"{problem.memory.budget}; take that many bytes or more, or another order"
            )

    @cached_property
    def peak(self) -> int:
        """The most bytes at one position if everything is kept."""
        load = list(self.required)
        for gap in self.gaps:
            for position in gap.freed:
                load[position] += self.problem.buffers[gap.buffer].size
        return max(load)

    def cost(self, left: Iterable[int]) -> int:
        """Non-compulsory bytes if these gaps (places in :attr:`gaps`) are left."""
        gaps = [self.gaps[i] for i in left]
        stores = {(gap.buffer, gap.version): gap.store for gap in gaps}
        return sum(gap.fetch for gap in gaps) + sum(stores.values())

    def residences(self, left: Collection[int]) -> tuple[Residence, ...]:
        """Sorted, with no addresses yet, if these gaps are left."""
        cuts: dict[int, list[tuple[int, int]]] = {}
        for i in left:
            cuts.setdefault(self.gaps[i].buffer, []).append((self.gaps[i].first, self.gaps[i].last))
        found = []
        for b, uses in enumerate(self.uses):
            first = uses[0]
            for end, start in sorted(cuts.get(b, ())):
                found.append(Residence(b, first, end))
                first = start
            found.append(Residence(b, first, uses[-1]))
        return tuple(found)

    def plan(self, left: Collection[int], addresses: Mapping[int, int] | Sequence[int]) -> Plan:
        """The plan that leaves these gaps and has :meth:`residences` at these addresses."""
        found = (
            Residence(r.buffer, r.first, r.last, addresses[i])
            for i, r in enumerate(self.residences(left))
        )
        return Plan(self.problem, self.order, tuple(found))
