"""When values leave the unit that finds the windows of an image: exactly as in hardware.

A line buffer holds whole lines of the images, one frame after the other.  A row of windows begins
when all lines under it are complete; when it ends, the lines that the next one does not need are
given up, and others may come in.  Frames follow each other without a gap.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from .layer_config import ReramLayerConfig

LATENCY = 3
"""Cycles from the last value of the lines that a row of windows needs to the row's first value."""
SMALL = 1024
"""Values of a buffer of which the depth does not matter: a block RAM holds them."""


def passes(config: ReramLayerConfig) -> bool:
    """Whether windows are the pixels themselves, which need no buffer and no cycle."""
    return (config.kernel, config.stride, config.padding) == (1, 1, 0)


def buffer_depth(config: ReramLayerConfig) -> int:
    """Values that the buffer holds: the lines under a row of windows, and those that come in
    meanwhile; a power of two where not more than a quarter of that is wasted, or little."""
    needed = (config.kernel + config.stride) * config.width * config.channels
    power = max(2, 1 << (needed - 1).bit_length())
    return power if power <= SMALL or 4 * needed >= 3 * power else needed


def buffer_lines(config: ReramLayerConfig) -> int:
    """Whole lines of these."""
    return buffer_depth(config) // (config.width * config.channels)


class Rows:
    """Rows of windows, frame after frame, of values that are offered in the cycles ``arrivals``,
    one after the other; or, where None, whenever one can enter.

    By turns: :meth:`begin` says when the next row's first value can leave, :meth:`end` takes when
    its last value could.  In between, with o the cycle in which a value can leave and t the one in
    which it does, ``o = max(begin(), t of the value before + 1)``.
    """

    def __init__(self, config: ReramLayerConfig, arrivals: np.ndarray | None = None):
        if passes(config):
            raise ValueError("windows of a pixel each pass without a line buffer; use arrivals")
        self._config = config
        self._line = config.width * config.channels
        self._arrivals = arrivals
        self._row = 0  # that begins next, over all frames
        self._room = buffer_lines(config) - config.padding  # lines, as the hardware counts
        self._turns: list[tuple[int, int]] = []  # that room was not told of: cycle, lines given up
        self._completed: list[int] = []  # cycle of each line's last value

    def begin(self) -> int:
        """Raises :class:`ValueError` where ``arrivals`` end before the row is complete."""
        c = self._config
        frame, y = divmod(self._row, c.windows[0])
        needed = frame * c.height + min(y * c.stride - c.padding + c.kernel, c.height)
        while len(self._completed) < needed:
            self._completed.append(self._enter(len(self._completed)))
        return self._completed[needed - 1] + LATENCY

    def end(self, offered: int) -> None:
        """The row's last value could leave in the cycle ``offered``."""
        c = self._config
        rows = c.windows[0]
        ends = self._row % rows == rows - 1
        freed = c.height - (rows - 1) * c.stride if ends else c.stride
        self._turns.append((offered, freed))
        self._row += 1

    def _enter(self, line: int) -> int:
        """The cycle in which the last value of ``line`` enters."""
        first = self._completed[-1] + 1 if self._completed else 0
        arrivals = None
        if self._arrivals is not None:
            arrivals = self._arrivals[line * self._line : (line + 1) * self._line]
            if len(arrivals) < self._line:
                raise ValueError(
                    f"row {self._row} of windows needs {(line + 1) * self._line} values, and "
                    f"{len(self._arrivals)} arrive"
                )
            first = max(first, int(arrivals[0]))
        while self._turns and (self._turns[0][0] <= first or self._room <= 0):
            cycle, freed = self._turns.pop(0)
            first, self._room = max(first, cycle), self._room + freed
        self._room -= 1
        if arrivals is None:
            return first + self._line - 1
        ahead = int((arrivals - np.arange(self._line)).max())
        return max(first, ahead) + self._line - 1


def window_cycles(
    config: ReramLayerConfig, frames: int, arrivals: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """int64 [frames, height', width', inputs]: the cycle in which each value leaves.

    Values of the images are offered in the cycles ``arrivals``, or from cycle 0 on whenever one
    can enter; what leaves is never held up.
    """
    down, across = config.windows
    shape = frames, down, across, config.inputs
    if arrivals is not None:
        arrivals = np.asarray(arrivals, np.int64)
    if passes(config):
        count = int(np.prod(shape))
        order = np.arange(count)
        arrivals = order if arrivals is None else arrivals
        return (np.maximum.accumulate(arrivals[:count] - order) + order).reshape(shape)
    return np.stack(
        [*_rows(Rows(config, arrivals), frames * down, across * config.inputs)]
    ).reshape(shape)


def _rows(rows: Rows, count: int, values: int) -> Iterator[np.ndarray]:
    """When the values of each of ``count`` rows of windows leave."""
    left = -1
    for _ in range(count):
        first = max(rows.begin(), left + 1)
        left = first + values - 1
        rows.end(left)
        yield np.arange(first, left + 1)
