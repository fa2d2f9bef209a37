"""What goes from block to block, and how words and codes are laid out in beats."""

from typing import Any

import numpy as np
from amaranth.hdl import signed
from amaranth.lib import data

from ...models.grand.config import GrandConfig


def column_layout(config: GrandConfig) -> data.StructLayout:
    """A column of H, bit i of row i."""
    return data.StructLayout({"column": config.checks, "last": 1})


def llr_layout(config: GrandConfig) -> data.ArrayLayout:
    """LLRs of a beat; negative ones mean 1."""
    return data.ArrayLayout(signed(config.llr_bits), config.lanes)


def word_layout(config: GrandConfig) -> data.StructLayout:
    """Bits of a beat, whether they are those of a word of the code, and the word's end."""
    return data.StructLayout({"bits": data.ArrayLayout(1, config.lanes), "found": 1, "last": 1})


def hard_layout(config: GrandConfig) -> data.StructLayout:
    """A row of hard decisions; ``failed``, in all rows, where they are no word of the code."""
    return data.StructLayout({"bits": config.lanes, "failed": 1, "last": 1})


def suspect_layout(config: GrandConfig) -> data.StructLayout:
    """A row of a word whose hard decision is wrong.

    ``syndrome`` and ``odd``, whether the hard decision has an odd number of ones, are the same
    in all rows.
    """
    return data.StructLayout(
        {"llrs": llr_layout(config), "syndrome": config.checks, "odd": 1, "last": 1}
    )


def flip_layout(config: GrandConfig) -> data.StructLayout:
    """A position to flip, ``last`` with the last one of a word.

    A word without ``found`` is abandoned: it has one entry, whose position means nothing.
    """
    return data.StructLayout({"position": range(config.length), "found": 1, "last": 1})


def column_beats(columns: np.ndarray) -> dict[str, Any]:
    """Beats that load a code of these ``columns``, integers [n]."""
    return {"column": columns, "last": np.arange(len(columns)) == len(columns) - 1}


def llr_beats(config: GrandConfig, received: np.ndarray) -> np.ndarray:
    """Beats [beats, lanes] of words [words, n]; the last of each is filled with the largest LLR."""
    return _beats(config, received, (1 << config.llr_bits - 1) - 1)


def word_beats(config: GrandConfig, words: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """Beats of decoded ``words`` [words, n]; ``found`` [words]: which are words of the code."""
    bits = _beats(config, words, 0)
    beats = config.beats_of(words.shape[1])
    last = np.arange(len(bits)) % beats == beats - 1
    return {"bits": bits, "found": np.repeat(found, beats), "last": last}


def words_of(config: GrandConfig, n: int, beats: Any) -> np.ndarray:
    """Words [words, n] of their beats."""
    return np.asarray(beats["bits"]).reshape(-1, config.beats_of(n) * config.lanes)[:, :n]


def _beats(config: GrandConfig, words: np.ndarray, fill: int) -> np.ndarray:
    n = words.shape[1]
    size = config.beats_of(n) * config.lanes
    padded = np.pad(words, ((0, 0), (0, size - n)), constant_values=fill)
    return padded.reshape(-1, config.lanes)
