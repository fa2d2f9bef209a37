"""Importing the mapper with what it can do without, and without that."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import util

from .report import Bar, Progress, Row

_OPTIONAL = ("highspy", "ortools", "onnx", "matplotlib", "plotly")

# None in sys.modules: as if it were not installed.
_BLOCK = f"import sys\nsys.modules.update(dict.fromkeys({_OPTIONAL}))\n"

# Modules by name, so that every file of the folder is imported.
_ALL = """
import importlib, pkgutil, thresher.mapper
for module in pkgutil.walk_packages(thresher.mapper.__path__, 'thresher.mapper.'):
    importlib.import_module(module.name)
"""

_USE = """
from thresher.mapper.exact import solve
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.problem import Memory, lower
ops = [Op('x', 'load', (), ('x',)), Op('y', 'relu', ('x',), ('y',))]
result = solve(lower(Graph('two', [Tensor('x', 2), Tensor('y', 2)], ops), Memory(4)))
assert (result.status, result.objective) == ('optimal', 0), result
"""


def import_rows(progress: Progress) -> Iterator[Row]:
    """Each in a process of its own, which imports every module and solves a problem."""
    ways = {
        f"without {', '.join(_OPTIONAL)}": (_BLOCK, ()),
        "after highspy and ortools": ("import highspy\nimport ortools.sat.python.cp_model\n",
                                      ("highspy", "ortools")),
        "after ortools and highspy": ("import ortools.sat.python.cp_model\nimport highspy\n",
                                      ("highspy", "ortools")),
        "before both": ("", ("highspy", "ortools")),
    }  # fmt: skip
    for way, (before, needed) in ways.items():
        what = f"import thresher.mapper {way}"
        missing = [name for name in needed if util.find_spec(name) is None]
        if missing:
            reason = f"{' and '.join(missing)} missing: pip install 'thresher[ortools]'"
            yield Row.skip(what, reason, Bar("==", "works"))
            continue
        progress(what)
        after = ""
        if way == "before both":
            after = "import ortools.sat.python.cp_model\nimport highspy\n"
        run = subprocess.run(
            [sys.executable, "-c", before + _ALL + after + _USE], capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip
        last = run.stderr.strip().splitlines()[-1:] or [f"exit status {run.returncode}"]
        works = "works" if run.returncode == 0 else last[0]
        yield Row(what, works, Bar("==", "works"), "every module, and a problem solved")
