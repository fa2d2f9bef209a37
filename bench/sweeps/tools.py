"""The stages that every engine has: simulation, synthesis, place and route."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ...fpga import tools
from ...fpga.devices import Device
from ...fpga.devices import device as named
from ...fpga.nextpnr import TARGET_MHZ, place_and_route
from ...fpga.resources import Resources
from ...fpga.yosys import Synthesis, synthesise
from ...hdl import cache
from ...hdl.engine import Engine
from ...hdl.generate import Bus, describe_top
from ...hdl.verilog import Rtlil, netlist
from ...models.config import EngineConfig, unknown
from ...sim.stalls import Kind
from .depends import sources

RESOURCES = tuple(Resources().to_json())


def rtl(engine: Engine[Any], config: EngineConfig, bus: Bus = "stream") -> str:
    """A hash of the generated RTL, which is looked up where it was generated from this code
    before."""

    def make(entry: Path) -> None:
        text = _generated(engine, config, bus)
        (entry / "hash").write_text(cache.key(text), encoding="utf-8")

    name = cache.key("rtl", sources(), engine.name, config.model_dump_json(), bus)
    return (cache.get(name, make) / "hash").read_text(encoding="utf-8")


_last: dict[tuple[str, str, Bus], Rtlil] = {}
"""Kept from a stage's ``key`` to its ``run``."""


def _generated(engine: Engine[Any], config: EngineConfig, bus: Bus) -> Rtlil:
    wanted = engine.name, config.model_dump_json(), bus
    if wanted not in _last:
        _last.clear()
        _last[wanted] = netlist(describe_top(engine, config, bus).component, engine.name)
    return _last[wanted]


@dataclass(frozen=True)
class Simulate:
    """A workload on the RTL in Verilator, held against the golden model.

    Raises :class:`ValueError`, with what differs, where it does not hold.
    """

    workload: str | None = None
    """None is the engine's first that runs a configuration as it is.  One that would fit it to
    itself is refused where it has to, as other stages' figures are of what was asked."""
    samples: int | None = None
    """Of the workload; None is all."""
    seed: int = 0
    stall: Kind = "none"
    activity: bool = False
    """Counts ``toggles``, all changes of registers' bits in the run, and ``toggles_per_cycle``:
    proxies of dynamic energy and power, before a layout says what each wire weighs.  Configurations
    compare by them where they do the same work; see :mod:`.sim.activity`."""

    @property
    def name(self) -> str:
        """See :class:`.Stage`."""
        return "simulate"

    @property
    def gives(self) -> tuple[str, ...]:
        """See :class:`.Stage`."""
        toggles = ("toggles", "toggles_per_cycle") if self.activity else ()
        return ("cycles", "utilisation", *toggles)

    @property
    def cheap(self) -> bool:
        """See :class:`.Stage`."""
        return False

    def check(self, engine: Engine[Any]) -> None:
        """See :class:`.Stage`."""
        if self.workload is not None and self.workload not in engine.workloads:
            raise ValueError(unknown(f"workload of {engine.name}", self.workload, engine.workloads))

    def key(self, engine: Engine[Any], config: EngineConfig) -> str:
        """See :class:`.Stage`; a workload is its golden model's code, its name, its seed and the
        configuration, of which the RTL need not have all: registers are loaded."""
        return cache.key(
            "simulate", rtl(engine, config), config.model_dump_json(),
            metadata.version("verilator"), sources(), repr(self),
        )  # fmt: skip

    def chosen(self, engine: Engine[Any], config: EngineConfig) -> str:
        """The workload's name; raises :class:`ValueError`, with what it would change, where none
        runs ``config`` as it is."""
        names = [self.workload] if self.workload is not None else list(engine.workloads)
        refused = []
        for name in names:
            fitted = engine.workloads[name].configure(config).model_dump()
            wanted = config.model_dump()
            changes = [f"{k} = {v}" for k, v in fitted.items() if v != wanted[k]]
            if not changes:
                return name
            refused.append(f"workload {name!r} needs {', '.join(changes)}")
        raise ValueError(f"{'; '.join(refused)}: fix these in the space, or take another workload")

    def run(self, engine: Engine[Any], config: EngineConfig) -> Mapping[str, Any]:
        """Cycles, utilisation, counters by their names, toggles by submodule
        (``toggles.NAME``), and the workload's own figures."""
        from ...sim import simulate

        report = simulate(
            engine, config, self.chosen(engine, config), samples=self.samples, seed=self.seed,
            stall=self.stall, activity=self.activity,
        )  # fmt: skip
        if not report.holds:
            raise ValueError("; ".join(report.failures()) or "the run does not hold")
        metrics = {k: v for k, v in report.metrics.items() if isinstance(v, int | float | str)}
        toggles = {}
        if report.activity is not None:
            toggles = {
                **{f"toggles.{n or 'top'}": t for n, (t, _) in report.activity.parts().items()},
                "toggles": report.activity.toggles,
                "toggles_per_cycle": report.activity.per_cycle,
            }
        return {
            **{f"register.{name}": value for name, value in report.registers.items()},
            **metrics,
            **toggles,
            "cycles": report.cycles,
            "utilisation": report.utilisation,
        }


@dataclass(frozen=True)
class Synthesise:
    """Yosys' count of the engine's cells."""

    device: str = "ecp5-85k"
    bus: Bus = "stream"
    timeout: float = 1800.0
    """Seconds."""

    @property
    def name(self) -> str:
        """See :class:`.Stage`."""
        return "synthesise"

    @property
    def gives(self) -> tuple[str, ...]:
        """See :class:`.Stage`."""
        return RESOURCES

    @property
    def cheap(self) -> bool:
        """See :class:`.Stage`."""
        return False

    def target(self) -> Device:
        """Raises :class:`ValueError` for unknown devices."""
        try:
            return named(self.device)
        except KeyError as error:
            raise ValueError(error.args[0]) from None

    def check(self, engine: Engine[Any]) -> None:
        """See :class:`.Stage`."""
        self.target()
        tools.version("pyosys")

    def key(self, engine: Engine[Any], config: EngineConfig) -> str:
        """See :class:`.Stage`."""
        command = self.target().synthesis
        return cache.key(
            "synthesise", rtl(engine, config, self.bus), command, tools.version("pyosys")
        )

    def map(self, engine: Engine[Any], config: EngineConfig) -> Synthesis:
        """The netlist."""
        text = _generated(engine, config, self.bus)
        return synthesise(text, self.target(), engine.name, timeout=self.timeout)

    def run(self, engine: Engine[Any], config: EngineConfig) -> Mapping[str, Any]:
        """Resources."""
        return self.map(engine, config).resources.to_json()


@dataclass(frozen=True)
class Layout(Synthesise):
    """nextpnr's clock, with the resources of the synthesis before it."""

    seed: int = 1
    mhz: float = TARGET_MHZ
    """What nextpnr strives for."""

    @property
    def name(self) -> str:
        """See :class:`.Stage`."""
        return "layout"

    @property
    def gives(self) -> tuple[str, ...]:
        """See :class:`.Stage`."""
        return ("fmax_mhz", *RESOURCES)

    def check(self, engine: Engine[Any]) -> None:
        """See :class:`.Stage`."""
        super().check(engine)
        program = self.target().nextpnr
        if program is None:
            raise ValueError(
                f"{self.device} has resources only: no free tool lays it out; take stage "
                "'synthesise', or another device"
            )
        tools.version(f"yowasp-nextpnr-{program}")

    def key(self, engine: Engine[Any], config: EngineConfig) -> str:
        """See :class:`.Stage`."""
        target = self.target()
        return cache.key(
            "layout", super().key(engine, config), *target.arguments, str(self.seed),
            str(float(self.mhz)), tools.version(f"yowasp-nextpnr-{target.nextpnr}"),
        )  # fmt: skip

    def run(self, engine: Engine[Any], config: EngineConfig) -> Mapping[str, Any]:
        """``fmax_mhz`` and resources."""
        mapped = self.map(engine, config)
        found = place_and_route(mapped, seed=self.seed, mhz=self.mhz, timeout=self.timeout)
        return {**mapped.resources.to_json(), "fmax_mhz": found.fmax_mhz}
