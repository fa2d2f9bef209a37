"""How codes and frames are laid out in beats, and messages are read from them.

:func:`.outbox.message_beats` has the beats of messages.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from amaranth.hdl import signed
from amaranth.lib import data

from ...models.fast_sclf.config import FastSclfConfig
from .compiler import Program
from .extract import control_layout, controls
from .layout import code as code_layout
from .layout import instruction
from .shape import Shape

if TYPE_CHECKING:
    from ...models.codes.polar import PolarCode

CODE, INSTRUCTION, CONTROL = range(3)
"""What a beat of a program is."""


def program_layout(shape: Shape) -> data.StructLayout:
    """A ``word`` for the next row of the memory that ``target`` tells; ``last`` with the last one.

    There is one :data:`CODE` (:func:`.layout.code`), an :data:`INSTRUCTION` for each cycle
    (:func:`.layout.instruction`), and :data:`CONTROL` words (:func:`.extract.controls`).
    """
    layouts = code_layout(shape), instruction(shape), control_layout(shape)
    word = max(layout.size for layout in layouts)
    return data.StructLayout({"target": 2, "word": word, "last": 1})


def llr_layout(config: FastSclfConfig) -> data.ArrayLayout:
    """LLRs of a beat; negative ones mean 1."""
    return data.ArrayLayout(signed(config.llr_bits), config.lanes)


def program_beats(shape: Shape, program: Program, code: "PolarCode") -> dict[str, Any]:
    """Beats that load ``program``, that of the frozen set of ``code``.

    Raises :class:`ValueError` where the code's CRC is not the engine's.
    """
    if code.crc is None or (code.crc.length, code.crc.polynomial) != (
        shape.config.check.length,
        shape.config.check.polynomial,
    ):
        raise ValueError(
            f"{code.name} has the CRC {code.crc}, the engine checks {shape.config.check}; "
            f"generate it with crc={code.crc.name if code.crc else 'that of a code with one'}"
        )
    fields = {
        "rows": code.n // shape.config.pes, "k": code.k, "selections": program.selections,
    }  # fmt: skip
    words = {
        CODE: [code_layout(shape).const(fields).as_value().value],
        INSTRUCTION: program.beats,
        CONTROL: controls(shape, code.frozen),
    }
    target = np.repeat(list(words), [len(rows) for rows in words.values()])
    word = np.array([row for rows in words.values() for row in rows], object)
    return {"target": target, "word": word, "last": np.arange(len(word)) == len(word) - 1}


def llr_beats(config: FastSclfConfig, received: np.ndarray) -> np.ndarray:
    """Beats [beats, lanes] of quantised frames [frames, n]."""
    return np.asarray(received).reshape(-1, config.lanes)


def messages_of(config: FastSclfConfig, k: int, beats: Any) -> tuple[np.ndarray, np.ndarray]:
    """Messages uint8 [frames, k] of their beats, and which were found: bool [frames]."""
    each = -(-k // config.beat)
    bits = np.asarray(beats["bits"], np.uint8).reshape(-1, each * config.beat)[:, :k]
    return bits, np.asarray(beats["found"]).reshape(-1, each)[:, 0].astype(bool)
