"""Cyclic redundancy checks as 5G uses them (TS 38.212, 5.1).

Bit 0 of a message is the coefficient of the highest power of x; the register starts at
zero and nothing is reflected or inverted, so that the CRC is linear.
"""

from dataclasses import dataclass

import numpy as np

from ..config import unknown
from . import gf2


@dataclass(frozen=True)
class Crc:
    """The remainder of ``message(x) * x**length`` by ``x**length + polynomial``.

    ``polynomial`` is written without its highest term: 0x621 is
    x^11 + x^10 + x^9 + x^5 + 1 at ``length`` 11.
    """

    length: int
    polynomial: int
    name: str = "crc"

    def __post_init__(self) -> None:
        if not 1 <= self.length <= 64:
            raise ValueError(f"a CRC of {self.length} bits is not one of 1 to 64")
        if not (0 < self.polynomial < 1 << self.length and self.polynomial & 1):
            raise ValueError(
                f"polynomial {self.polynomial:#x} is not odd and below 2**{self.length}; "
                "it is written without its highest term and ends in + 1"
            )

    def matrix(self, k: int) -> np.ndarray:
        """uint8 [k, length]: the CRC of a message of k bits is ``message @ matrix``."""
        rows, register = np.zeros((k, self.length), np.uint8), self.polynomial
        for i in reversed(range(k)):  # x**length mod g for the last bit, times x a row upwards
            rows[i] = [register >> self.length - 1 - j & 1 for j in range(self.length)]
            register <<= 1
            if register >> self.length:
                register ^= 1 << self.length | self.polynomial
        return rows

    def compute(self, message: np.ndarray) -> np.ndarray:
        """uint8 [..., length], the highest power first, of ``message`` [..., k]."""
        return gf2.multiply(message, self.matrix(message.shape[-1]))

    def append(self, message: np.ndarray) -> np.ndarray:
        """[..., k + length]: ``message`` [..., k] followed by its CRC."""
        return np.concatenate([message, self.compute(message)], axis=-1)


CRCS = {
    crc.name: crc
    for crc in (
        Crc(6, 0x21, "crc6"),
        Crc(11, 0x621, "crc11"),
        Crc(16, 0x1021, "crc16"),
        Crc(24, 0x864CFB, "crc24a"),
        Crc(24, 0x800063, "crc24b"),
        Crc(24, 0xB2B117, "crc24c"),
    )
}
"""The CRCs of TS 38.212, 5.1, by name."""


def crc(name: str) -> Crc:
    """``crc11``, or one of your own as ``LENGTHxPOLYNOMIAL`` in hexadecimal: ``crc11x621``."""
    if name in CRCS:
        return CRCS[name]
    length, separator, polynomial = name.removeprefix("crc").partition("x")
    try:
        if not separator:
            raise ValueError
        made = int(length), int(polynomial, 16)
    except ValueError:
        raise ValueError(
            f"{unknown('CRC', name, CRCS)}; or write your own like crc11x621"
        ) from None
    return Crc(*made, name)
