"""Codes by name, as configurations and commands write them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..config import unknown
from .bch import bch
from .crc import Crc, crc
from .linear import LinearCode, crc_code, random_code
from .polar import PolarCode, order_gaussian, polar_5g

_EXAMPLES = ("polar-128-105-crc11", "bch-127-113", "random-128-105", "crc-128-104-crc24a")


def code(name: str) -> LinearCode:
    """The code called ``FAMILY-n-k`` or ``FAMILY-n-k-OPTION``.

    ================ =====================================================================
    ``polar``        5G, its option a CRC appended to the k information bits
    ``gaussian``     polar by Gaussian approximation, the option a design Es/N0 in dB
    ``frozen``       polar, the option a file of the frozen bits' indices
    ``bch``          n = 2**m - 1, or 2**m with a parity bit; no option
    ``random``       random parity bits, the option a seed (0)
    ``crc``          a message and the CRC that the option names, n - k bits long
    ================ =====================================================================

    Polar codes of the second and third kind may have a CRC, too, before their option:
    ``gaussian-512-256-crc24c-1.5`` and ``frozen-512-256-crc24c-set.txt``.  What files hold, says
    :func:`frozen_set`.  Raises :class:`ValueError` that says what is wrong and what there is.
    """
    if _family(name) in _POLAR:
        return polar(name).linear
    n, k, option = _parts(name)
    return _OTHERS[_family(name)](n, k, option)


def polar(name: str) -> PolarCode:
    """The polar code of that name, for decoders that need its structure.

    Raises :class:`ValueError` for other families, and as :func:`code`.
    """
    family = _family(name)
    if family not in _POLAR:
        raise ValueError(
            f"list decoding needs a polar code, as {_EXAMPLES[0]} or those of the families "
            f"{' and '.join(sorted(_POLAR)[:-1])}; {name!r} is none"
        )
    return _POLAR[family](name)


def frozen_set(file: Path, n: int) -> np.ndarray:
    """bool [n]: the frozen bits of u whose indices stand in ``file``.

    A ``.npy`` file holds integers or a true or false for every bit, a ``.json`` file a list of
    integers, any other integers between blanks or commas; ``#`` begins a comment.

    Raises :class:`ValueError` for all that is no such set.
    """
    try:
        if file.suffix == ".npy":
            found = np.load(file, allow_pickle=False)
        elif file.suffix == ".json":
            found = np.array(json.loads(file.read_text(encoding="utf-8")))
        else:
            lines = file.read_text(encoding="utf-8").splitlines()
            words = re.split(r"[\s,]+", " ".join(line.partition("#")[0] for line in lines))
            found = np.array([int(word) for word in words if word], int)
    except OSError as error:
        raise ValueError(f"the frozen set {file} cannot be read: {error.strerror}") from error
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{file} is no list of the frozen bits' indices: {error}") from error
    if found.shape == (n,) and found.dtype == bool:
        return found
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ValueError(
            f"{file} holds {found.dtype} of shape {found.shape}: neither a list of the frozen "
            f"bits' indices nor a true or false for each of n = {n} bits"
        )
    if len(wrong := found[(found < 0) | (found >= n)]):
        raise ValueError(f"{file} freezes bit {wrong[0]} of a code with bits 0 to {n - 1}")
    values, counts = np.unique(found, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{file} freezes bit {values[counts > 1][0]} twice")
    return np.isin(np.arange(n), found)


def _family(name: str) -> str:
    family, families = name.partition("-")[0], [*_POLAR, *_OTHERS]
    if family not in families:
        raise ValueError(f"{unknown('code family', family, families)}, as in {_EXAMPLES[0]}")
    return family


def _parts(name: str) -> tuple[int, int, str]:
    """n, k and the option of ``FAMILY-n-k-OPTION``."""
    if not (found := re.fullmatch(r"[a-z]+-(\d+)-(\d+)(?:-([^-]+))?", name)):
        raise ValueError(f"code {name!r} is not written like {' or '.join(_EXAMPLES)}")
    return int(found[1]), int(found[2]), found[3] or ""


def _constructed(name: str, example: str) -> tuple[int, int, Crc | None, str]:
    """n, k, CRC and the option of ``FAMILY-n-k-OPTION`` or ``FAMILY-n-k-CRC-OPTION``."""
    if not (found := re.fullmatch(r"[a-z]+-(\d+)-(\d+)(?:-(crc[^-]+))?-(.+)", name)):
        raise ValueError(f"code {name!r} is not written like {example}")
    return int(found[1]), int(found[2]), crc(found[3]) if found[3] else None, found[4]


def _polar(name: str) -> PolarCode:
    n, k, option = _parts(name)
    return polar_5g(n, k, crc(option) if option else None)


def _gaussian(name: str) -> PolarCode:
    n, k, check, option = _constructed(name, example := "gaussian-512-256-crc24c-1.5")
    try:
        esn0 = float(option)
    except ValueError:
        raise ValueError(f"the design Es/N0 {option!r} is not dB as in {example}") from None
    if not -20 <= esn0 <= 20:
        raise ValueError(f"the design Es/N0 {option} is not from -20 to 20 dB")
    return PolarCode.of_order(order_gaussian(n, esn0), k, check, name)


def _frozen(name: str) -> PolarCode:
    n, k, check, option = _constructed(name, "frozen-512-256-crc24c-set.txt")
    frozen = frozen_set(file := Path(option), n)
    bits, used = k + (check.length if check else 0), n - int(frozen.sum())
    if used != bits:
        raise ValueError(
            f"{file} freezes {n - used} of {n} bits, but a message of {k} and a CRC of {bits - k} "
            f"leave {n - bits} to be frozen"
        )
    return PolarCode(frozen, check, name.removesuffix(option) + file.name)


_POLAR: dict[str, Callable[[str], PolarCode]] = {
    "polar": _polar,
    "gaussian": _gaussian,
    "frozen": _frozen,
}


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


_OTHERS: dict[str, Callable[[int, int, str], LinearCode]] = {
    "bch": _bch,
    "random": _random,
    "crc": _crc,
}
