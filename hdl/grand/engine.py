"""What the two engines tell the tools, but for their names."""

from typing import Any

import numpy as np

REGISTERS = {
    "skip_parity": "leave out patterns of the wrong parity: for codes of even weight alone",
    "words": "words delivered",
    "suspects": "words whose hard decision failed its check",
    "abandoned": "words that no tested pattern mends",
    "tests": "cycles in which patterns were tested, of all cores",
    "wait_window": "cycles in which LLRs were held up because the window was full",
}

CYCLES = (
    "a beat a cycle; a suspect takes about its rank of cycles in the tests' order and a "
    "constant; exactly: thresher.hdl.grand.cycles.timing"
)


def random_shape(rng: np.random.Generator) -> dict[str, Any]:
    """What small random configurations of both engines have in common."""
    length = int(rng.integers(8, 41))
    lanes = 1 << int(rng.integers(0, (length - 1).bit_length() + 1))
    return {
        "length": length,
        "checks": int(rng.integers(4, 15)),
        "llr_bits": int(rng.integers(2, 7)),
        "lanes": lanes,
        "window": 1 << int(rng.integers(3, 7)),
        "cores": int(rng.choice([1, 1, 2])),
    }


def limit(rng: np.random.Generator, h: int, most: int) -> int:
    """A limit of Hamming weight ``h`` that some pattern keeps, or 0."""
    least = h * (h + 1) // 2
    return int(rng.integers(least, most + 1)) if most >= least else 0
