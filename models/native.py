"""C++ compiled for the processor at hand when it is first needed.

Libraries are kept in the cache of builds (``$THRESHER_CACHE`` or the user's cache folder) under
a key of all that they depend on: sources, flags, compiler and processor.
"""

import ctypes
import hashlib
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from shutil import which

from platformdirs import user_cache_path

FLAGS = ("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC")


class KernelMissing(RuntimeError):  # noqa: N818  (a condition more than an error)
    """A compiled kernel cannot be had; says how to get it."""


def library(
    source: Path, headers: Sequence[Path] = (), flags: Sequence[str] = (), otherwise: str = ""
) -> ctypes.CDLL:
    """``source`` compiled with :data:`FLAGS` and ``flags``, and loaded.

    ``headers``: what it includes that changes with it.  ``otherwise``: what errors offer instead
    of a compiler, such as ``"or take how='numpy'"``.  Raises :class:`KernelMissing`.
    """
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    compiler = next((found for name in names if (found := which(name))), None)
    if compiler is None:
        raise KernelMissing(
            f"no C++ compiler found (looked for {', '.join(names)}): install one (Debian: "
            + ", ".join(filter(None, ("`apt install g++`), set CXX", otherwise)))
        )
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    sources = (path.read_text(encoding="utf-8") for path in (source, *headers))
    parts = (*sources, *FLAGS, *flags, compiler, version, _processor())
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    given = os.environ.get("THRESHER_CACHE")
    folder = Path(given).expanduser() if given else user_cache_path("thresher") / "builds"
    made = folder / key / "kernel.so"
    if not made.is_file():
        _compile([compiler, *FLAGS, *flags, str(source)], made, otherwise)
    os.utime(made.parent)  # what was not used for longest is evicted first
    return ctypes.CDLL(str(made))


def _compile(command: list[str], made: Path, otherwise: str) -> None:
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
        fresh = Path(scratch) / made.name
        command = [*command, "-o", str(fresh)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise KernelMissing(
                f"{' '.join(command)} fails: {done.stderr.strip()[-500:]}; "
                + ", ".join(filter(None, ("set CXX to another compiler", otherwise)))
            )
        fresh.replace(made)  # at once: another process may be loading it


def _processor() -> str:
    """What ``-march=native`` depends on: a cache may be shared by different machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {platform.processor()} {flags}"
