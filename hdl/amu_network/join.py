"""Branches that meet again: those that are early wait."""

from collections.abc import Sequence

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.amu.operations import Add
from ..lib.fifo import BLOCK_DEPTH, Fifo
from ..lib.fixed import round_shift, saturate
from .flow import Flow, values
from .schedule import Arrival, Frame, Raster


class Join(Component):
    """One pixel of each branch, with the channels of all.

    A branch whose pixels may come before another's has a queue of the :attr:`depths` that
    :meth:`.schedule.Arrival.waiting` says it needs, and none can overflow; 0: each of its pixels
    is taken as it comes.
    """

    def __init__(
        self,
        layouts: Sequence[data.ArrayLayout],
        arrivals: Sequence[Arrival],
        raster: Raster,
        frame: Frame,
    ):
        self._layouts = layouts
        self.depths = depths(arrivals, raster, frame)
        self.arrival = Arrival.of_all(
            arrival.later(_latency(depth))
            for arrival, depth in zip(arrivals, self.depths, strict=True)
        )
        branches = {f"branch_{n}": In(Flow(layout)) for n, layout in enumerate(layouts)}
        super().__init__(branches | {"o": Out(Flow(joined(layouts)))})

    @property
    def branches(self) -> list:
        """The flows that are joined."""
        return [getattr(self, f"branch_{n}") for n in range(len(self._layouts))]

    def elaborate(self, platform):
        m = Module()
        # Where one branch has no queue, its pixels come last.
        leader = self.depths.index(0) if 0 in self.depths else 0
        there = Signal(len(self.depths))
        m.d.comb += self.o.valid.eq(there.all())
        for n, (layout, depth) in enumerate(zip(self._layouts, self.depths, strict=True)):
            branch, part = self.branches[n], self.o.payload[f"branch_{n}"]
            if not depth:
                m.d.comb += [there[n].eq(branch.valid), part.eq(branch.payload)]
                if n == leader:
                    m.d.comb += self.o.first.eq(branch.first)
                continue
            row = data.StructLayout({"payload": layout, "first": 1 if n == leader else 0})
            m.submodules[f"queue_{n}"] = queue = Fifo(row, depth)
            m.d.comb += [
                queue.i.valid.eq(branch.valid),
                queue.i.p.payload.eq(branch.payload),
                queue.i.p.first.eq(branch.first),
                queue.o.ready.eq(self.o.valid),
                there[n].eq(queue.o.valid),
                part.eq(queue.o.p.payload),
            ]
            if n == leader:
                m.d.comb += self.o.first.eq(queue.o.p.first)
        return m


class Sum(Component):
    """``o`` = the sum of two pixels as ``add`` says, channel by channel, 2 cycles later."""

    latency = 2

    def __init__(self, add: Add, layouts: Sequence[data.ArrayLayout]):
        self._add, self._channels = add, layouts[0].length
        output = values(add.output, self._channels)
        super().__init__({"i": In(joined(layouts)), "o": Out(output)})

    def elaborate(self, platform):
        m = Module()
        output = self._add.output
        for channel in range(self._channels):
            a, b = self.i.branch_0[channel], self.i.branch_1[channel]
            aligned = a.shift_left(self._add.shifts[0]) + b.shift_left(self._add.shifts[1])
            total = Signal(aligned.shape(), name=f"sum_{channel}", reset_less=True)
            m.d.sync += [
                total.eq(aligned),
                self.o[channel].eq(
                    saturate(round_shift(total, self._add.shift), output.bits, output.signed)
                ),
            ]
        return m


def joined(layouts: Sequence[data.ArrayLayout]) -> data.StructLayout:
    """One pixel of each branch."""
    return data.StructLayout({f"branch_{n}": layout for n, layout in enumerate(layouts)})


def depths(arrivals: Sequence[Arrival], raster: Raster, frame: Frame) -> list[int]:
    """Of each branch's queue.

    Branches that are never early, whatever the others' queues cost, have none.
    """
    branches = range(len(arrivals))

    def needed(latencies: Sequence[int]) -> list[int]:
        late = [a.later(more) for a, more in zip(arrivals, latencies, strict=True)]
        return [
            max(
                (arrivals[n].waiting(late[k], frame, raster) for k in branches if k != n), default=0
            )
            for n in branches
        ]

    if not any(needed([0 for _ in branches])):
        return [0 for _ in branches]
    slowest = _latency(BLOCK_DEPTH + 1)
    queued = [depth > 0 for depth in needed([slowest for _ in branches])]
    return [
        q * depth for q, depth in zip(queued, needed([slowest * q for q in queued]), strict=True)
    ]


def _latency(depth: int) -> int:
    """Of a queue."""
    return (depth > 0) + (depth > BLOCK_DEPTH)
