"""A component as an executable with cocotb in it, and running it."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from amaranth.lib.wiring import Component

from ...hdl import cache
from ...hdl.verilog import write
from ..build import (
    Trace,
    call,
    compile_all,
    compile_flags,
    compile_model,
    design,
    fingerprint,
    runtime,
    verilate,
)
from ..substitute import Substitute, substituted
from ..toolchain import ToolMissing, compiler, verilator

_RUNTIME = ("verilated", "verilated_threads", "verilated_vpi")
_HERE = Path(__file__).parent


def executable(
    component: Component,
    names: list[str],
    trace: Trace = "",
    substitutes: Sequence[Substitute] = (),
) -> Path:
    """Compile ``component``, or find it in the cache; ``names`` are the ports to be seen.

    Nothing but the ports is public: making all signals so, as cocotb's own runner
    does, costs much of the speed.  Raises as :func:`thresher.sim.build.build` does.
    """
    config = _cocotb()
    libraries, share = Path(config.libs_dir), Path(config.share_dir)
    versions = (metadata.version("cocotb"), str(libraries), sys.version, Path(__file__).read_text())

    def vpi_runtime(place: Path) -> None:
        # The simulator's VPI functions are called from cocotb's libraries.
        flags = [*compile_flags(), "-fvisibility=default", "-O1"]
        include = verilator().root / "include"
        compile_all([(include / f"{name}.cpp", flags) for name in _RUNTIME], place)

    def make(place: Path) -> None:
        with ThreadPoolExecutor(1) as pool, TemporaryDirectory() as scratch:
            name = cache.key("cocotb runtime", *fingerprint(""), *versions)
            common = pool.submit(cache.get, name, vpi_runtime)
            folder = Path(scratch)
            public = [f'public_flat_rw -module "top" -var "{name}"\n' for name in names]
            (folder / "ports.vlt").write_text("`verilator_config\n" + "".join(public))
            text = substituted(write(design(component)), substitutes)
            sources = verilate(text, folder, trace, ["--vpi", folder / "ports.vlt"])
            sources += [source for substitute in substitutes for source in substitute.sources]
            main = share / "lib" / "verilator" / "verilator.cpp"
            # Most of a run is Python: better optimised, the model would hardly be faster.
            objects = compile_model([*sources, main], folder, trace, "-O1")
            objects += common.result().glob("*.o")
            if trace:
                objects += runtime(trace).glob("*.o")
            call(
                [
                    compiler()[0], "-pthread", *objects,
                    f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-lcocotbvpi_verilator",
                    "-o", place / "top",
                ]
            )  # fmt: skip

    others = [part for substitute in substitutes for part in substitute.parts]
    key = cache.key("cocotb", *fingerprint(trace), *versions, *names, design(component), *others)
    return cache.get(key, make) / "top"


def launch(
    program: Path,
    folder: Path,
    wave: Path | None,
    progress: Callable[[int], object],
    arguments: Sequence[str] = (),
) -> None:
    """Run the bench of ``inside.py`` in ``folder``; ``arguments`` are the simulator's.

    Raises :class:`RuntimeError` with the simulator's words where it leaves no result.
    """
    from find_libpython import find_libpython

    config = _cocotb()
    library = os.environ.get("LIBPYTHON_LOC") or find_libpython()
    if library is None:
        raise ToolMissing(
            "cocotb needs Python as a shared library, and none was found; install it "
            "(Debian: `apt install libpython3-dev`) or name it in LIBPYTHON_LOC"
        )
    receive, send = os.pipe()
    environment = {
        **os.environ,
        "COCOTB_TEST_MODULES": "inside",
        "COCOTB_TOPLEVEL": "top",
        "TOPLEVEL_LANG": "verilog",
        "COCOTB_LOG_LEVEL": "WARNING",
        "COCOTB_ANSI_OUTPUT": "0",
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "GPI_LOG_LEVEL": "WARNING",
        "GPI_USERS": f"{library};{config.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYTHONPATH": os.pathsep.join([str(_HERE), os.environ.get("PYTHONPATH", "")]),
        "THRESHER_PROGRESS": str(send),
    }
    tracing = [] if wave is None else ["--trace", "--trace-file", str(wave.absolute())]
    log = folder / "log.txt"
    with (
        os.fdopen(receive) as cycles,
        log.open("w") as output,
        subprocess.Popen(
            [program, *tracing, *arguments],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, pass_fds=[send],
        ) as process,
    ):  # fmt: skip
        os.close(send)
        try:
            for line in cycles:
                progress(int(line))
        except BaseException:
            process.kill()
            raise
    if not (folder / "result.npz").is_file():
        words = log.read_text(errors="replace").strip()[-4000:]
        raise RuntimeError(f"the simulator ended with status {process.returncode}:\n{words}")


def _cocotb():
    try:
        import cocotb_tools.config
    except ImportError as error:
        raise ToolMissing("cocotb was not found: install it with `pip install cocotb`") from error
    return cocotb_tools.config
