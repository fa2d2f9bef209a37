"""How long an engine takes, cycle for cycle, without simulating it.

A decoding takes its program's cycles; what is left are the few things that wait for one
another: rows of a frame for its buffer, a decoding's first instructions for rows, its last one
for the verdict of the decoding before, and messages for one another.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .compiler import Program
from .deliver import latency
from .flips import WALK
from .sequencer import FETCH
from .shape import Shape

if TYPE_CHECKING:
    from ...models.fast_sclf.decoder import Decoded


@dataclass
class Timing:
    """Predicted counts of a run in which no port stalls."""

    cycles: int
    """From the first transfer on ``llr`` to the last on ``message``, both included."""
    ideal: int
    """All decodings' cycles, or all beats, whichever are more."""
    ends: list[int]
    """Of each message's last beat, the first LLR beat being cycle 0."""


def timing(
    shape: Shape, program: Program, n: int, k: int, decoded: "Decoded", attempts: int
) -> Timing:
    """Timing of the run that decodes the frames of ``decoded``, each of n LLRs."""
    run = _Run(shape, program, n, k, min(attempts, program.selections))
    tries = decoded.costs["attempts"].tolist()
    for made, slot, found in zip(
        tries, decoded.slots.tolist(), decoded.found.tolist(), strict=True
    ):
        run.frame(made, slot + 1 if found else None)
    decodings = len(tries) + sum(tries)
    beats = len(tries) * max(n // shape.config.lanes, run.beats)
    return Timing(run.end + 1, max(decodings * program.cycles, beats), run.ends)


class _Run:
    """The events of a run, in cycles."""

    def __init__(self, shape: Shape, program: Program, n: int, k: int, limit: int):
        config, instructions = shape.config, program.instructions
        self.shape, self.program, self.limit = shape, program, limit
        self.rows = n // config.pes
        self.row_beats = config.pes // config.lanes
        self.beats = -(-k // config.beat)
        self.reads = [  # of the channel, whose rows may still be on their way
            (cycle, i.get("read", 0)) for cycle, i in enumerate(instructions) if i.get("channel")
        ]
        splits = sum(i.get("split", 0) for i in instructions)
        self.slots = min(1 << splits, config.list_size)
        self.came = -1  # the last LLR beat
        self.begin = 0  # the next decoding's first instruction, if nothing holds it up
        self.verdict = -1  # that of the last decoding
        self.first_beat = self.end = -1  # of the last message
        self.released: list[int] = []
        self.ends: list[int] = []

    def frame(self, made: int, checked: int | None) -> None:
        """Decodes the next frame, flipping ``made`` selections; at last slot number ``checked``
        is right, None: none is."""
        begin, started = max(self.begin, self._arrives()), 0
        for attempt in range(made + 1):
            finish = begin + self.program.cycles - 1
            if attempt:
                walked = started + self.program.selections + WALK
                finish = max(finish, walked)
            finish = max(finish, self.verdict + 1, self.first_beat)
            right = checked if attempt == made else None
            self.verdict = finish + latency(self.shape, self.rows, right or self.slots)
            started, begin = finish, finish + 1
            turns = attempt in (0, self.limit)  # the next frame is begun meanwhile
            if (attempt == 0 and made) or (attempt == made and not turns):
                started, begin = self.verdict, self.verdict + FETCH
        self.begin = begin
        self.released.append(self.verdict)
        self.first_beat = max(self.verdict + (checked is None), self.end + 1)
        self.end = self.first_beat + self.beats - 1
        self.ends.append(self.end)

    def _arrives(self) -> int:
        """When the next frame's first instruction would be executed if none were held up before
        those that read the channel."""
        if len(self.released) >= 2:
            self.came = max(self.came, self.released[-2])
        first, self.came = self.came, self.came + self.rows * self.row_beats
        there = (
            first + (self.rows // 2 + read + 1) * self.row_beats + 1 - cycle
            for cycle, read in self.reads
        )
        return max(there)
