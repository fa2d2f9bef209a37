"""SC, SCL, fast SCL, SCL-flip and Fast-SCLF: the golden decoders, of many frames at a time.

1. A list decoding (:mod:`.lists`) gives up to ``lists`` words.  In the order of their slots, the
   first whose CRC is right is the result.
2. Where none is right the path selections are put in order (:mod:`.selection`), and up to
   ``attempts`` decodings from scratch flip one of them each, until one gives such a word.
3. Where none does, the result is the first slot's word of the first decoding.

Received values may be floats (the scale does not matter) or integers of
:class:`..codes.channel.Quantiser`: their sign and magnitude count, a level's half step left
out.  Results depend neither on the device nor on which frames are decoded together.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ..codes.channel import hard, magnitude
from ..codes.polar import PolarCode, transform
from ..threads import one_thread
from .config import FastSclfConfig
from .formats import Formats
from .lists import ListDecoder, Paths
from .nodes import Leaf, leaves, steps
from .selection import Evidence, order

ALPHA = 1.1875
"""The error model's parameter, 38/32: from 1.1 to 1.3 it matters little for 5G's 512 bits."""

_TOGETHER = 128
"""Decodings that take about as long as a single one."""


@dataclass(frozen=True, eq=False)
class Rescued:
    """The frames whose CRC a flip put right, in order: what is learned from (:mod:`.training`)."""

    kept: np.ndarray
    """[rescued, selections]: as in :class:`.selection.Evidence`, of the first decoding."""
    dropped: np.ndarray
    """[rescued, selections]"""
    flips: np.ndarray
    """int64 [rescued]: the selection."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """What became of received frames."""

    words: np.ndarray
    """uint8 [frames, n]."""
    found: np.ndarray
    """bool [frames]: whether the word's CRC is right."""
    flips: np.ndarray
    """int64 [frames]: the selection whose flip gave the word; -1: none."""
    slots: np.ndarray
    """int64 [frames]: the slot in which the word came out; 0 where none is right."""
    costs: dict[str, np.ndarray]
    """int64 [frames] each: ``attempts`` beside the first decoding, and time ``steps`` of all."""
    rescued: Rescued


@dataclass(frozen=True)
class Options:
    """How frames are decoded; the defaults are Fast-SCLF's."""

    lists: int = 4
    attempts: int = 50
    """Most flips that are tried; 0: plain list decoding."""
    alpha: float = ALPHA
    leaf: int | None = None
    """Largest special node in bits, None: any; 1 is plain SCL."""
    formats: Formats = field(default_factory=Formats)
    scale: float | None = None
    """Natural LLRs a unit received: judges flips by exact logarithms, not by max*."""

    @classmethod
    def of(cls, config: FastSclfConfig, attempts: int, alpha: float) -> "Options":
        """Those of an engine."""
        formats = Formats.of(config)
        return cls(config.list_size, attempts, alpha, config.leaf, formats)


class Decoder:
    """Decodes a polar code."""

    def __init__(
        self, code: PolarCode, options: Options | None = None, device: torch.device | str = "cpu"
    ):
        self.polar, self.code = code, code.linear
        self.options = options or Options()
        self.alpha = self.options.alpha
        """The error model's parameter; it may be changed from frame to frame."""
        self.device = torch.device(device)
        self.leaves: list[Leaf] = leaves(code.frozen, self.options.leaf)
        self.lists = ListDecoder(self.leaves, self.options.lists, self.options.formats)
        self.steps = steps(self.leaves, self.options.lists)
        """Time steps of one decoding, by the literature's model (:func:`.nodes.steps`)."""
        self._checks = torch.from_numpy(_checks(code)).to(self.device, torch.float32)

    def __str__(self) -> str:
        o = self.options
        parts = [f"{o.lists} paths", "any leaf" if o.leaf is None else f"leaves to {o.leaf} bits"]
        if o.attempts:
            parts.append(f"{o.attempts} flips by alpha {self.alpha:g}")
            parts += [f"scale {o.scale:g}"] if o.scale is not None else []
        return ", ".join([*parts, str(o.formats)])

    def __call__(self, received: np.ndarray) -> Decoded:
        """Decodes ``received`` [frames, n]; raises :class:`ValueError` on other shapes and NaN."""
        o = self.options
        llrs = self.llrs(received)
        count = len(llrs)
        signs = torch.empty_like(llrs)
        found = torch.zeros(count, dtype=torch.bool, device=self.device)
        flips = torch.full((count,), -1, device=self.device)
        attempts, slots = torch.zeros(2, count, dtype=torch.int64, device=self.device)
        with one_thread():
            evidence = Evidence(o.scale)
            paths = self.lists(llrs, selected=evidence if o.attempts else None)
            signs[:], found[:], slots[:] = self.choose(paths)
            left = torch.nonzero(~found)[:, 0]
            kept = dropped = llrs.new_empty(0, self.lists.selections)
            if o.attempts and len(left) and self.lists.selections:
                kept, dropped = evidence.kept[left], evidence.dropped[left]
                turns = order(kept, dropped, self.alpha, o.attempts)
                while turns.shape[1] and not found[left].all():
                    wrong = ~found[left]
                    at, width = left[wrong], max(_TOGETHER // int(wrong.sum()), 1)
                    turn, turns = turns[wrong, :width], turns[:, width:]
                    tried = self.lists(llrs[at].repeat_interleave(turn.shape[1], 0), turn.flatten())
                    word, right, slot = self.choose(tried)
                    # Of a frame's decodings the first right one counts, and those before it.
                    right, rows = right.reshape(turn.shape), torch.arange(len(at), device=at.device)
                    first, saved = right.to(torch.uint8).argmax(1), right.any(1)
                    attempts[at] += torch.where(saved, first + 1, turn.shape[1])
                    first, at = (rows * turn.shape[1] + first)[saved], at[saved]
                    found[at], flips[at] = True, turn.flatten()[first]
                    signs[at], slots[at] = word[first], slot[first]
                kept, dropped = kept[found[left]], dropped[found[left]]
        costs = {"attempts": attempts, "steps": self.steps * (1 + attempts)}
        return Decoded(
            (signs < 0).to(torch.uint8).cpu().numpy(),
            found.cpu().numpy(),
            flips.cpu().numpy(),
            slots.cpu().numpy(),
            {name: values.cpu().numpy() for name, values in costs.items()},
            Rescued(kept.cpu().numpy(), dropped.cpu().numpy(), flips[flips >= 0].cpu().numpy()),
        )

    def with_options(self, **changes: object) -> "Decoder":
        """The same decoder, but for some of its options."""
        options = replace(self.options, **{"alpha": self.alpha, **changes})  # pyright: ignore[reportArgumentType]
        return Decoder(self.polar, options, self.device)

    def llrs(self, received: np.ndarray) -> torch.Tensor:
        """[frames, n]: what the decoder makes of received values."""
        received = np.asarray(received)
        if received.ndim != 2 or received.shape[1] != self.polar.n:
            raise ValueError(
                f"received values are [frames, n = {self.polar.n}], not the shape {received.shape}"
            )
        if np.isnan(received).any():
            raise ValueError("a received value is NaN; where nothing was received it is 0")
        llrs = received
        if received.dtype.kind != "f":
            llrs = np.copysign(magnitude(received).astype(np.float32), 0.5 - hard(received))
        found = torch.from_numpy(np.ascontiguousarray(llrs)).to(self.device)
        found = found.to(self.options.formats.dtype)
        most = self.options.formats.llr
        return found if most is None else found.clamp(-most, most)

    def choose(self, paths: Paths) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The word of the first slot with the right CRC, as signs [frames, n]; whether there is
        one; and that slot.  Where none is right they are those of slot 0.
        """
        bits = (paths.signs < 0).to(torch.float32)
        right = (bits @ self._checks % 2 == 0).all(2)
        slot = right.to(torch.uint8).argmax(1)
        rows = torch.arange(len(slot), device=slot.device)
        return paths.signs[rows, slot], right.any(1), slot


def _checks(code: PolarCode) -> np.ndarray:
    """uint8 [n, length of the CRC]: ``word @ checks`` is 0 where the word's CRC is right."""
    if code.crc is None:
        return np.zeros((code.n, 1), np.uint8)
    of_u = np.zeros((code.n, code.crc.length), np.uint8)
    ones = np.eye(code.crc.length, dtype=np.uint8)
    of_u[code.information] = np.concatenate([code.crc.matrix(code.k), ones])
    # u is word @ F; F's columns, reversed both ways, are its rows.
    return transform(of_u.T[:, ::-1])[:, ::-1].T.copy()
