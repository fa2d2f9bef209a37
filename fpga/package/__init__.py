"""An engine as other people's tools take it in: sources, descriptions, wrappers, a driver."""

from pathlib import Path
from typing import TypeVar

from ...hdl.engine import Engine
from ...hdl.generate import Top, describe_top, write_files
from ...models.config import EngineConfig
from . import ipxact
from .fusesoc import core
from .litex import litex
from .systemrdl import systemrdl

C = TypeVar("C", bound=EngineConfig)

_HERE = Path(__file__).parent
DRIVERS = {"thresher_driver.py": _HERE / "driver.py", "thresher_dma.py": _HERE / "dma.py"}
"""Modules that packages ship as they are, by their names there."""


def package(
    engine: Engine[C], config: C, directory: str | Path, name: str | None = None
) -> list[Path]:
    """Write an engine into ``directory`` with everything that a design needs to use it.

    There are two top levels, ``NAME`` with AXI4-Stream and ``NAME_lite``, whose streams are
    words behind AXI4-Lite (:func:`~thresher.hdl.generate.describe_top`):

    ========================= ======================================================
    ``NAME.v``                the Verilog
    ``NAME.json``             everything about it, which the driver reads
    ``NAME.h``                its registers, for C
    ``NAME.rdl``              its address map in SystemRDL
    ``NAME.f``                its sources, for simulators
    ``NAME_lite.*``           the same five of the other top level
    ``component.xml``         IP-XACT of ``NAME``
    ``component_lite.xml``    IP-XACT of ``NAME_lite``
    ``NAME.core``             both, for FuseSoC
    ``NAME_litex.py``         both, for LiteX
    ``thresher_driver.py``    Python class that drives either (:mod:`.driver`)
    ``thresher_dma.py``       its way to ``NAME``'s streams on Zynq (:mod:`.dma`)
    ========================= ======================================================

    ``name``: the engine's where left out.  The same configuration gives the same bytes.  All
    files appear complete, or none changes.  Returns their paths.  Raises as
    :func:`~thresher.hdl.generate.generate`.
    """
    name = engine.name if name is None else name
    tops = {
        "axi": describe_top(engine, config, "axi", name),
        "lite": describe_top(engine, config, "lite", f"{name}_lite"),
    }
    files: dict[str, str] = {}
    for top in tops.values():
        files |= _of(top)
    files["component.xml"] = ipxact.component(tops["axi"])
    files["component_lite.xml"] = ipxact.component(tops["lite"])
    files[f"{name}.core"] = core(name, tops)
    files[f"{name}_litex.py"] = litex([*tops.values()])
    files |= {shipped: path.read_text(encoding="utf-8") for shipped, path in DRIVERS.items()}
    return write_files(Path(directory), files)


def _of(top: Top) -> dict[str, str]:
    return {
        **top.files(),
        f"{top.name}.rdl": systemrdl(top),
        f"{top.name}.f": f"{top.name}.v\n",
    }
