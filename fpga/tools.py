"""Running a synthesis tool in a process of its own, under a time limit.

Neither a crash nor a hang of a tool reaches the caller.  The tools come with the extra
``fpga``.
"""

import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path


class ToolFailed(RuntimeError):  # noqa: N818  (a condition more than an error)
    """A tool ended with an error, which the text holds."""

    def __init__(self, text: str, log: str) -> None:
        super().__init__(text)
        self.log = log
        """All that the tool said."""


def version(package: str) -> str:
    """Of an installed package; :class:`ModuleNotFoundError` that says how to get it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise ModuleNotFoundError(
            f"{package} was not found: install it with `pip install {package}`"
        ) from None


def run(package: str, program: str, arguments: Sequence[str], here: Path, timeout: float) -> None:
    """Runs Python's ``program``, which uses ``package``, in the folder ``here``.

    Raises :class:`ModuleNotFoundError` without the package, :class:`ToolFailed` with the
    tool's error, :class:`TimeoutError` after ``timeout`` seconds.
    """
    version(package)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(
            f"{package} did not end within {timeout:g} s; raise timeout or shrink the design"
        ) from None
    if done.returncode:
        log = done.stdout + done.stderr
        lines = log.splitlines()
        errors = [line for line in lines if "ERROR" in line] or lines[-3:]
        raise ToolFailed(f"{package} failed (status {done.returncode}): {' '.join(errors)}", log)


def yosys(here: Path, commands: Sequence[str], timeout: float) -> None:
    """Runs Yosys' ``commands`` in the folder ``here``.  Raises as :func:`run`."""
    program = (
        "import sys; from pyosys import libyosys as y; design = y.Design(); "
        "[y.run_pass(command, design) for command in sys.argv[1:]]"
    )
    run("pyosys", program, commands, here, timeout)


def nextpnr(name: str, here: Path, arguments: Sequence[str], timeout: float) -> None:
    """Runs nextpnr-``name`` in the folder ``here``.  Raises as :func:`run`."""
    function = f"nextpnr_{name.replace('-', '_')}"
    program = (
        f"import sys; from yowasp_{function} import run_{function} as n; sys.exit(n(sys.argv[1:]))"
    )
    run(f"yowasp-nextpnr-{name}", program, arguments, here, timeout)
