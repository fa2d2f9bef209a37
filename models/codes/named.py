"""Codes by name, as configurations and commands write them."""

from collections.abc import Callable

from ..config import unknown
from .bch import bch
from .crc import crc
from .linear import LinearCode, crc_code, random_code
from .polar import polar_5g

_EXAMPLES = ("polar-128-105-crc11", "bch-127-113", "random-128-105", "crc-128-104-crc24a")


def code(name: str) -> LinearCode:
    """The code called ``FAMILY-n-k`` or ``FAMILY-n-k-OPTION``.

    ================ =====================================================================
    ``polar``        5G, its option a CRC appended to the k information bits
    ``bch``          n = 2**m - 1, or 2**m with a parity bit; no option
    ``random``       random parity bits, the option a seed (0)
    ``crc``          a message and the CRC that the option names, n - k bits long
    ================ =====================================================================

    Raises :class:`ValueError` that says what is wrong and what there is.
    """
    family, *rest = name.split("-")
    if family not in _FAMILIES:
        raise ValueError(f"{unknown('code family', family, _FAMILIES)}, as in {_EXAMPLES[0]}")
    try:
        n, k, option = int(rest[0]), int(rest[1]), rest[2] if len(rest) > 2 else ""
    except (IndexError, ValueError):
        n = k = 0
        option = ""
    if not n or len(rest) > 3:
        raise ValueError(f"code {name!r} is not written like {' or '.join(_EXAMPLES)}")
    return _FAMILIES[family](n, k, option)


def _polar(n: int, k: int, option: str) -> LinearCode:
    return polar_5g(n, k, crc(option) if option else None).linear


def _bch(n: int, k: int, option: str) -> LinearCode:
    if option:
        raise ValueError(f"a BCH code has no option {option!r}; write bch-{n}-{k}")
    return bch(n, k)


def _random(n: int, k: int, option: str) -> LinearCode:
    if option and not option.isdigit():
        raise ValueError(f"the option {option!r} of a random code is not a seed, like 0")
    return random_code(n, k, int(option or 0))


def _crc(n: int, k: int, option: str) -> LinearCode:
    chosen = crc(option or f"crc{n - k}")
    if chosen.length != n - k:
        raise ValueError(f"{chosen.name} has {chosen.length} bits, but n - k = {n - k}")
    return crc_code(n, chosen)


_FAMILIES: dict[str, Callable[[int, int, str], LinearCode]] = {
    "polar": _polar,
    "bch": _bch,
    "random": _random,
    "crc": _crc,
}
