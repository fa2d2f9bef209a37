"""How much an update of weights moves, and how long it takes.

A *step* is L weights (``lanes``) of one input k; see :class:`.program.Update`.
"""

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
