"""How much an update of weights moves, and how long it takes.

A *step* is L weights (``lanes``) of one input k; see :class:`.program.Update`.
"""

from collections import deque
from dataclasses import dataclass

from .config import NmConfig
from .program import Dataflow, Update
from .wuve_config import WuveConfig

MASTER_BITS = 64
"""Bits of a weight's FP32 masters: the weight, and above it its velocity."""


@dataclass(frozen=True)
class Tile:
    """What is gathered of one right operand before it is written.

    ``steps`` steps in a row give ``beats`` beats of ``lines`` lines of ``width`` beats each: those
    of a line lie next to each other, lines :meth:`pitch` apart.
    """

    steps: int
    word: int
    """Entries that lie next to each other in a beat and come from one step (of one lane, forward):
    N in a weight-stationary operand, else 1."""
    lines: int
    width: int

    @property
    def beats(self) -> int:
        """Of the tile."""
        return self.lines * self.width

    def pitch(self, config: NmConfig) -> int:
        """Beats from a line to the next: those of a word or slot of all columns."""
        return config.columns * self.word // config.beat_entries


def forward_tile(config: NmConfig, dataflow: Dataflow, sparse: bool) -> Tile:
    """A tile of the operand whose reduction axis is k: L columns, one or a few words each.

    Weight-stationary: words of N entries, of L columns next to each other: one line.
    Output-stationary: a line for each slot.
    """
    word = config.kept if dataflow == "weight" else 1
    steps = config.group if sparse else word
    slots = config.kept if sparse else word
    beats = config.lanes * slots // config.beat_entries
    lines = slots // word
    return Tile(steps, word, lines, beats // lines)


def backward_tile(config: NmConfig, dataflow: Dataflow, sparse: bool) -> Tile:
    """A tile of the operand whose reduction axis is n: as many k as make a beat, and a line for
    each word (weight-stationary) or slot (output-stationary) that L values of n give."""
    word = config.kept if dataflow == "weight" else 1
    slots = config.lanes * config.kept // config.group if sparse else config.lanes
    return Tile(config.beat_entries // word, word, slots // word, 1)


def step_beats(config: NmConfig) -> int:
    """Beats of a step's masters."""
    return -(-config.lanes * MASTER_BITS // config.beat_bits)


def row_lanes(config: NmConfig) -> int:
    """Weights that come at once: those of a beat, or one."""
    return max(1, min(config.lanes, config.beat_bits // MASTER_BITS))


def row_beats(config: NmConfig) -> int:
    """Beats of as many weights: 2 where a beat is half of one."""
    return max(1, MASTER_BITS // config.beat_bits)


def wuve_config(config: NmConfig) -> WuveConfig:
    """The arithmetic's."""
    return WuveConfig(lanes=row_lanes(config), format=config.format)


def in_flight(config: NmConfig) -> int:
    """Rows of masters between the ports: enough for the longest way through."""
    return wuve_config(config).latency + 24


def steps(config: NmConfig, instruction: Update) -> int:
    """Steps of ``instruction``."""
    return instruction.blocks * (config.columns // config.lanes) * instruction.rows


def tiles(config: NmConfig, instruction: Update) -> tuple[Tile, Tile]:
    """The forward and the backward operand's."""
    i = instruction
    return (
        forward_tile(config, i.forward_dataflow, i.forward_sparse),
        backward_tile(config, i.backward_dataflow, i.backward_sparse),
    )


class UpdateCycles:
    """The unit of updates, an instruction after the other, writes never stalled.

    Cycles, with f the one in which a row's last beat of masters is taken and W the latency of the
    arithmetic (:attr:`.wuve_config.WuveConfig.latency`):

    * A beat is taken once it is offered, there is room for its row and the instruction runs: from
      the cycle after its transfer; if operands are of another kind than those before, from two
      after it and after the end of the instruction before.
    * Its updated beats can be written from ``f + W + 5``, the forward tile of a step whose last row
      it is from ``f + W + 8``, the backward one from ``f + W + 12`` (dense: ``f + W + 7 + ceil(L /
      E)``), a beat a cycle, in their order.
    * There is room for :func:`in_flight` rows; that of a row returns with its last write.
    """

    def __init__(self, config: NmConfig):
        self._config = config
        self.ready = 0
        """First cycle in which the next instruction can be taken."""
        self._kind: tuple[Dataflow, Dataflow, bool, bool] = ("weight", "weight", False, False)
        self._chosen = -1  # when the latest write was chosen, a cycle before it is on the port
        self._room = deque([-1] * in_flight(config))  # when it came to be
        self._popped = -1  # when the latest instruction came to the end that writes

    def take(self, instruction: Update, cycle: int, offered: int) -> tuple[int, list[int]]:
        """Takes ``instruction`` in ``cycle``, not before :attr:`ready`; from ``offered`` on there
        is a beat of masters every cycle.  When it ends, and when each beat is taken."""
        c, i = self._config, instruction
        forward, backward = tiles(c, i)
        kind = (i.forward_dataflow, i.backward_dataflow, i.forward_sparse, i.backward_sparse)
        first = cycle + 1
        if kind != self._kind:
            first = max(cycle + 1, self._chosen + 2) + 1
        self._kind = kind
        popped = max(cycle + 1, self._chosen)
        latency = wuve_config(c).latency
        backward_after = latency + (11 if i.backward_sparse else 6 + -(-c.lanes // c.beat_entries))
        rows, halves = c.lanes // row_lanes(c), range(row_beats(c))

        taken: list[int] = []
        beat, chosen, room = max(first, offered) - 1, self._chosen, self._room
        for step in range(1, steps(c, i) + 1):
            complete = []
            for _ in range(rows):
                beat = max(beat, room.popleft())
                for _ in halves:
                    beat += 1
                    taken.append(beat)
                complete.append(beat)
            for row in complete:
                chosen = max(chosen + 1, row + latency + 4) + len(halves) - 1
                room.append(chosen)
            if step % forward.steps == 0:
                chosen = max(chosen + 1, beat + latency + 7) + forward.beats - 1
            if step % backward.steps == 0:
                chosen = max(chosen + 1, beat + backward_after) + backward.beats - 1
        self.ready = max(beat + 1, self._popped + 1)
        self._popped, self._chosen = popped, chosen
        return chosen + 1, taken
