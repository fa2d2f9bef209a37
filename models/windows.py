"""Where windows of an image lie."""

from dataclasses import dataclass

import numpy as np

Pair = tuple[int, int]
"""Along the height, along the width."""


@dataclass(frozen=True)
class Windows:
    """Where windows lie: ``size`` pixels, ``stride`` apart, ``padding`` pixels on either side."""

    size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    def __post_init__(self) -> None:
        if min(self.size) < 1 or min(self.stride) < 1 or min(self.padding) < 0:
            raise ValueError(
                f"a window of {self.size} pixels, stride {self.stride} and padding "
                f"{self.padding}: the first two are 1 or more, padding 0 or more"
            )

    def grid(self, shape: tuple[int, ...]) -> Pair:
        """How many windows an image has; raises :class:`ValueError` where it has none."""
        if len(shape) != 3:
            raise ValueError(f"reads images (height, width, channels), not {shape}")
        room = np.array(shape[:2]) + 2 * np.array(self.padding) - self.size
        if room.min() < 0:
            raise ValueError(
                f"a window of {self.size} pixels does not fit an image of {shape[:2]} "
                f"with padding {self.padding}"
            )
        rows, columns = room // self.stride + 1
        return int(rows), int(columns)

    def view(self, x: np.ndarray, pad: np.ndarray | int) -> np.ndarray:
        """[rows, height, width, window height, window width, channels]; a view where it can be."""
        if any(self.padding):
            (py, px), (rows, height, width, channels) = self.padding, x.shape
            padded = np.empty((rows, height + 2 * py, width + 2 * px, channels), x.dtype)
            padded[:] = pad
            padded[:, py : py + height, px : px + width] = x
            x = padded
        view = np.lib.stride_tricks.sliding_window_view(x, self.size, axis=(1, 2))
        return view[:, :: self.stride[0], :: self.stride[1]].transpose(0, 1, 2, 4, 5, 3)
