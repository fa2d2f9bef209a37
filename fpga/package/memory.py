"""An address map word by word, for formats whose registers are one word of the bus."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ...hdl.generate import Top
from ...hdl.registers import Register


@dataclass(frozen=True)
class Word:
    """32 bits at an address; the upper ones that :attr:`bits` leaves out mean nothing."""

    name: str
    offset: int
    """Byte address."""
    access: Literal["ro", "rw", "wo"]
    bits: int
    reset: int
    """The low :attr:`bits`, in reset."""
    text: str
    constant: bool = False
    """Always reads as :attr:`reset`."""
    moves: bool = False
    """Every access moves a stream."""


def words(top: Top) -> list[Word]:
    """Every word of the map in order of address.

    A register of several words is ``NAME_word0``, ``NAME_word1``, ...; a stream in the map
    is ``mailbox_NAME_data`` and ``mailbox_NAME_level``.
    """
    found = [word for register in top.table.registers for word in _of(register)]
    return found + [word for stream in top.description["streams"] for word in _mailbox(stream)]


def _of(register: Register) -> Iterator[Word]:
    text = register.text.rstrip(".")
    for k in range(register.words):
        bits = min(register.width - 32 * k, 32)
        reset = register.init >> (32 * k) & ((1 << bits) - 1)
        name, about = register.name, text
        if register.words > 1:
            name = f"{name}_word{k}"
            about = f"{text}: bits {32 * k + bits - 1} to {32 * k} of {register.width}"
        if register.signed:
            about += ", two's complement"
        yield Word(name, register.offset + 4 * k, register.access, bits, reset, about,
                   register.constant)  # fmt: skip


def _mailbox(stream: dict) -> Iterator[Word]:
    if "mailbox" not in stream:
        return
    name, box = f"mailbox_{stream['name']}", stream["mailbox"]
    offset, room = box["offset"], box["depth_words"]
    text = f"Words of {stream['name']}, {box['words']} a beat, low word first"
    if stream["direction"] == "in":
        yield Word(f"{name}_data", offset, "wo", 32, 0, text, moves=True)
        yield Word(f"{name}_level", offset + 4, "ro", 32, room, "Words that may be written now")
    else:
        yield Word(f"{name}_data", offset, "ro", 32, 0, text, moves=True)
        yield Word(f"{name}_level", offset + 4, "ro", 32, 0, "Words that may be read now")
