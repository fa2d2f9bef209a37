"""What the tools know of the engine."""

from typing import Literal

import numpy as np

from ...models.fast_sclf.config import FastSclfConfig
from ..engine import Engine
from .component import FastSclf
from .workloads import WORKLOADS


def random_config(rng: np.random.Generator) -> FastSclfConfig:
    """A small random configuration."""
    length = 1 << int(rng.integers(4, 8))
    pes = 1 << int(rng.integers(2, length.bit_length() - 1))

    def below(least: int) -> int:
        return 1 << int(rng.integers(least, pes.bit_length()))

    lists: tuple[Literal[1, 2, 4, 8], ...] = (1, 2, 2, 4, 4, 8)
    return FastSclfConfig(
        length=length,
        list_size=lists[int(rng.integers(len(lists)))],
        pes=pes,
        leaf=below(1),
        llr_bits=int(rng.integers(3, 8)),
        metric_bits=int(rng.integers(4, 11)),
        lanes=below(0),
        beat=below(2),
        crc="crc6" if length < 64 else str(rng.choice(["crc6", "crc11", "crc16"])),
        program=1024,
        lut_inputs=4 if rng.integers(2) else 6,
    )


ENGINE = Engine(
    name="fast_sclf",
    summary="decodes polar codes by lists of paths, again with a path selection flipped",
    paper="Doan, Hashemi, Gross: Fast Successive-Cancellation List Flip Decoding of Polar Codes "
    "(IEEE Access 2022)",
    headline="up to 73.4 % less average latency than SCL-flip at a frame error rate of 1e-4, "
    "N = 512, K = 256",
    config=FastSclfConfig,
    component=FastSclf,
    workloads=WORKLOADS,
    registers={
        "attempts": "most path selections that are flipped, one at a time, where no CRC is right",
        "alpha": "parameter of the error model that chooses them, in 1 / 32",
        "frames": "messages delivered",
        "attempts_made": "decodings with a flip, of frames that are done with",
        "given_up": "frames in which no decoding gave a right CRC",
        "steps": "instructions executed",
        "splits": "path splits, of all decodings",
        "wait_llr": "cycles in which LLRs were held up because two frames were kept",
    },
    random_config=random_config,
    cycles="a decoding takes the cycles of its program, a frame one and one more for each attempt; "
    "its CRC is checked while the next one is decoded; exactly: "
    "thresher.hdl.fast_sclf.cycles.timing",
)
