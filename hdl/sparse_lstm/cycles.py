"""How long the engine takes, cycle for cycle, without simulating it.

The engine is a chain of queues, so every event happens one cycle after the latest of the
few events that it waits for.  :func:`timing` follows these (max, +) recurrences over
passes and emissions: thousands of times fewer events than there are cycles times gates.
With G = ``groups`` and n passes in a step, a step takes about ``max(n * G, emissions *
folds)`` cycles: multipliers or cell unit, whichever is busier.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...models.sparse_lstm.config import SparseLstmConfig
from ..lib.fifo import BLOCK_DEPTH
from .cell import DEPTH
from .layout import multiplied_columns
from .multiplier import latency
from .sequencer import PASSES
from .shape import Shape

if TYPE_CHECKING:
    from ...models.sparse_lstm.golden import Trace


@dataclass
class Timing:
    """Predicted counts of a run in which no port stalls."""

    cycles: int = 0
    """From the first transfer on ``x`` to the last on ``h``, both included."""
    ideal: int = 0
    """Columns that had to be multiplied (all of them, where zeros are not skipped), times
    what the lanes need for one."""
    input_passes: int = 0
    state_passes: int = 0
    steps: int = 0
    passes: list[int] = field(default_factory=list)
    """Of each step, idle ones not counted."""
    ends: list[int] = field(default_factory=list)
    """Cycle of each step's last beat on ``h``."""


def timing(
    trace: "Trace", *, skip_inputs: bool | None = None, skip_states: bool | None = None
) -> Timing:
    """Timing of the run that ``trace`` describes, from the first input on.

    ``skip_*`` are the registers of that name; the configuration's values by default.
    """
    config = trace.config
    return _Engine(
        trace,
        config.skip_inputs if skip_inputs is None else skip_inputs,
        config.skip_states if skip_states is None else skip_states,
    ).run()


class _Inputs:
    """The input compactor and its queues: when each entry of each bank is pushed."""

    def __init__(self, trace: "Trace", kept: np.ndarray) -> None:
        config = trace.config
        self.kept = kept
        self.depth, banks = config.queue, range(config.banks)
        self.latency = 2 if config.queue > BLOCK_DEPTH else 1
        self.entries: list[deque[tuple[int, bool, bool]]] = [deque() for _ in banks]
        self.pops: list[list[int]] = [[] for _ in banks]
        self.pushed = [0] * config.banks
        self.full_since = 0
        self.beats = self._windows(trace)
        self.pushes = self._pushes()
        self.next_push = next(self.pushes, None)

    def _windows(self, trace: "Trace") -> Iterator[tuple[list[int], bool]]:
        """(columns to keep in each bank, whether the step ends) of every beat."""
        config, sizes = trace.config, Shape(trace.config)
        for t, context in enumerate(trace.steps.context.tolist()):
            beats, columns = sizes.input_beats(context), config.context_inputs(context)
            window = np.zeros(beats * config.window * config.banks, int)
            window[:columns] = self.kept[t, :columns]
            counts = window.reshape(beats, config.window, config.banks).sum(axis=1).tolist()
            yield from ((count, n == beats - 1) for n, count in enumerate(counts))

    def _pushes(self) -> Iterator[tuple[int, list[int], bool]]:
        """(earliest cycle, columns left in each bank, whether the step ends) of every push."""
        self.clock = 0  # the last push, or the cycle in which the next beat is taken
        for counts, last in self.beats:
            left = counts
            while True:
                more = [max(count - 1, 0) for count in left]
                end = last and not any(more)
                if any(left) or end:
                    yield self.clock + 1, left, end
                else:
                    self.clock += 1
                left = more
                if not any(left):
                    break

    def wait(self, done: list[bool]) -> int:
        """First cycle in which every bank not done offers an entry, or some queue is full."""
        while not all(self.entries[k] or done[k] for k in range(len(done))):
            full = [len(e) == self.depth for e in self.entries]
            if any(full):
                return self.full_since + 1
            self._push()
        return max(e[0][0] for e, d in zip(self.entries, done, strict=True) if not d) + self.latency

    def _push(self) -> None:
        assert self.next_push is not None
        cycle, left, end = self.next_push
        for k, pushed in enumerate(self.pushed):
            if pushed >= self.depth:
                cycle = max(cycle, self.pops[k][pushed - self.depth] + 1)
        for k, count in enumerate(left):
            if count or end:
                self.entries[k].append((cycle, bool(count), end))
                self.pushed[k] += 1
        self.clock = self.full_since = cycle
        self.next_push = next(self.pushes, None)

    def take(self, cycle: int, done: list[bool]) -> None:
        """Pop what is offered in ``cycle``; updates ``done``."""
        for k, entries in enumerate(self.entries):
            if not done[k] and entries and entries[0][0] + self.latency <= cycle:
                done[k] = entries.popleft()[2]
                self.pops[k].append(cycle)

    def columns(self, cycle: int, done: list[bool]) -> bool:
        """Whether what is offered in ``cycle`` holds a column."""
        return any(
            not done[k] and entries and entries[0][0] + self.latency <= cycle and entries[0][1]
            for k, entries in enumerate(self.entries)
        )


class _Multiplier:
    """Passes pushed into the queue and issued."""

    def __init__(self, config: SparseLstmConfig) -> None:
        self.groups = config.groups
        self.word = config.rows * config.banks // config.port if config.weights == "streamed" else 0
        self.taken: deque[int] = deque(maxlen=PASSES)  # cycles of the last few
        self.free = -1  # first cycle in which a last pass may be taken
        self.next_issue = 0
        self.next_word = 0
        self.issued: list[int] = []
        """Cycles in which the last pass's groups were issued."""

    def room(self, cycle: int) -> int:
        """The first cycle from ``cycle`` on in which a pass can be queued."""
        return max(cycle, self.taken[0] + 1) if len(self.taken) == PASSES else cycle

    def push(self, cycle: int, *, last: bool, idle: bool) -> None:
        take = max(cycle + 1, self.next_issue - 1, self.free if last else 0)
        self.taken.append(take)
        if self.word and not idle:
            self.issued = []
            issue = take
            for _ in range(self.groups):
                issue = max(issue + 1, self.next_word)
                self.next_word = issue + self.word
                self.issued.append(issue)
        else:
            self.issued = list(range(take + 1, take + 1 + self.groups)) if last else []
            issue = take + self.groups
        self.next_issue = issue + 1


class _Engine:
    """The whole engine, step by step."""

    def __init__(self, trace: "Trace", skip_inputs: bool, skip_states: bool) -> None:
        self.trace, self.config, self.sizes = trace, trace.config, Shape(trace.config)
        kept, self.state_columns = multiplied_columns(
            trace, skip_inputs=skip_inputs, skip_states=skip_states
        )
        self.inputs = _Inputs(trace, kept)
        self.multiplier = _Multiplier(self.config)
        self.hp = trace.hp
        self.skip_states = skip_states
        self.lists: dict[int, tuple[list[list[tuple[int, int]]], int]] = {}
        """By context: (cycle, unit) of each bank's entries, and when they are complete."""
        self.slots = self.sizes.unit_of_slot.reshape(-1, self.sizes.window, self.config.banks)
        self.slots = self.slots.transpose(0, 2, 1).tolist()
        self.cell_time = -1  # the cell unit's last move
        self.compactor = 0  # first cycle in which the state compactor takes an emission
        self.freezes: deque[tuple[int, int]] = deque(maxlen=DEPTH)
        """The latest spans of cycles in which it did not, and the pipeline stood."""
        self.index_pushes: list[int] = []
        self.index_pops: list[int] = []
        self.result = Timing()

    def run(self) -> Timing:
        result, trace, config = self.result, self.trace, self.config
        begin = 0
        for t in range(len(trace.steps)):
            before = result.input_passes + result.state_passes
            begin = self._sequence(t, begin) + 1
            result.passes.append(result.input_passes + result.state_passes - before)
            self._cell(t)
        result.steps = len(trace.steps)
        result.cycles = result.ends[-1] + 1 if result.ends else 0
        columns = int(self.inputs.kept.sum() + self.state_columns.sum())
        result.ideal = -(-columns * 4 * config.hidden_size * config.batch // config.lanes)
        return result

    def _sequence(self, t: int, begin: int) -> int:
        """Queue the passes of step ``t``; returns when the sequencer is through."""
        context = int(self.trace.steps.context[t])
        held = False
        multiplier = self.multiplier

        def form(cycle: int) -> int:
            nonlocal held
            if held:
                cycle = multiplier.room(cycle)
                multiplier.push(cycle, last=False, idle=False)
            held = True
            return cycle

        cycle = begin - 1
        if self.config.input_kind == "index":
            cycle = self._index(t, begin)
        else:
            done = [False] * self.config.banks
            while not all(done):
                cycle = max(cycle + 1, self.inputs.wait(done))
                if self.inputs.columns(cycle, done):
                    cycle = form(cycle)
                    self.result.input_passes += 1
                self.inputs.take(cycle, done)
        finish = self._states(t, context, cycle + 1, form)
        finish = multiplier.room(finish)
        multiplier.push(finish, last=True, idle=not held)
        return finish

    def _index(self, t: int, begin: int) -> int:
        """When step ``t``'s indices are taken from their queue."""
        depth = self.config.queue
        pushed = self.index_pushes[-1] + 1 if t else 0
        if t >= depth:
            pushed = max(pushed, self.index_pops[t - depth] + 1)
        self.index_pushes.append(pushed)
        self.index_pops.append(max(begin, pushed + self.inputs.latency))
        return self.index_pops[-1]

    def _states(self, t: int, context: int, begin: int, form: Callable[[int], int]) -> int:
        """Form the passes of the state columns; returns when the step is known to be over."""
        steps = self.trace.steps
        if context not in self.lists:
            return begin
        lists, complete = self.lists[context]
        complete += 1  # to be seen
        if steps.start[t].all():
            return max(begin, complete)
        useful = self.state_columns[t]

        at = [0] * len(lists)
        free = [begin - 1] * len(lists)  # last cycle in which the bank's entry was taken
        while True:
            offers = []
            for k, entries in enumerate(lists):
                while at[k] < len(entries):
                    appended, unit = entries[at[k]]
                    if begin <= appended and free[k] <= appended:
                        offer = appended + 1
                    else:
                        offer = max(begin + 2, appended + 3, free[k] + 1)
                    if useful[unit]:
                        offers.append((offer, k))
                        break
                    free[k] = offer  # dropped
                    at[k] += 1
            ended = [k for k in range(len(lists)) if at[k] == len(lists[k])]
            drained = [free[k] + 1 if lists[k] else begin for k in ended]
            if ended:
                drained.append(complete)
            if not offers:
                return max(begin, *drained)
            cycle = form(max(*(offer for offer, _ in offers), *drained, 0))
            self.result.state_passes += 1
            for _, k in offers:
                free[k] = cycle
                at[k] += 1

    def _cell(self, t: int) -> None:
        """Follow step ``t`` through the cell unit into the lists and out."""
        config, sizes = self.config, self.sizes
        context = int(self.trace.steps.context[t])
        kept = (self.hp[t] != 0).any(axis=0) | (not self.skip_states)
        lists: list[list[tuple[int, int]]] = [[] for _ in range(config.banks)]

        # The step is loaded when the one before it makes its last move.
        move = max(self.multiplier.taken[-1] + 1, self.cell_time)
        valid = 0
        for emission, slots in enumerate(self.slots):
            move += 1
            if emission % sizes.group_emissions == 0:
                group = emission // sizes.group_emissions
                move = self._unfrozen(max(move, self.multiplier.issued[group] + latency(config)))
                if group == config.groups - 1:
                    self.multiplier.free = move + 1
            else:
                move = self._unfrozen(move)
            end = move + sizes.folds - 1
            valid = end + DEPTH + sum(b - a for a, b in self.freezes if a > end)
            accept = max(valid, self.compactor)
            if accept > valid:
                self.freezes.append((valid, accept))
            longest = 1
            for k, units in enumerate(slots):
                places = [unit for unit in units if unit >= 0 and kept[unit]]
                lists[k] += ((accept + 1 + n, unit) for n, unit in enumerate(places))
                longest = max(longest, len(places))
            self.compactor = accept + longest
            move = end
        self.cell_time = move
        self.lists[context] = lists, self.compactor
        self.result.ends.append(valid)

    def _unfrozen(self, cycle: int) -> int:
        """The first cycle from ``cycle`` on in which the cell unit's pipeline moves."""
        for begin, end in self.freezes:
            if begin <= cycle < end:
                cycle = end
        return cycle
