"""One engine, one workload, one backend: run it and hold it against its golden model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast, get_args

from amaranth.lib.wiring import Component

from ..hdl.engine import Beats, Engine, Workload, engine
from ..hdl.verilog import Ports, ports, write
from ..models.config import EngineConfig, unknown
from . import beats, stalls
from .activity import Activity
from .activity import activity as counted
from .build import design
from .compare import Difference, compare
from .run import Backend, Hang, Run, Wave

BACKENDS = ("verilator", "cocotb", "amaranth")
"""Modules of this package with a ``run`` that is a :class:`~thresher.sim.run.Backend`."""

Where = Literal["inputs", "outputs", "both"]


@dataclass
class Report:
    """What a simulation showed.

    ``cycles`` counts from the first transfer on the workload's ``start`` port to the
    last on its ``stop`` port, both included.
    """

    engine: str
    config: EngineConfig
    workload: str
    backend: str
    samples: int | None
    """As asked for; None is the whole workload."""
    seed: int
    stall: str
    bit_exact: bool
    """Every output beat equals the golden model's, none is missing, none too many."""
    mismatches: int
    """Numbers that differ; a missing or surplus beat counts as one."""
    difference: Difference | None
    """The first of them, earliest in simulated time."""
    hang: str
    """Which ports waited, if the engine stopped; else empty."""
    cycles: int
    cycles_formula: int
    """Closed form, for a run without stalls."""
    utilisation: float
    """Work bound over measured cycles: 1 if the scarcest resource never idled."""
    cycles_per_second: float
    """Of the simulator."""
    registers: dict[str, int]
    """Status registers at the end: counters, stall breakdown."""
    counters_wrong: dict[str, tuple[int, int]]
    """Got and expected of every counter that the workload foresees and that differs."""
    metrics: dict[str, Any]
    """The workload's own figures of the outputs."""
    outputs: dict[str, Beats] = dataclass_field(repr=False)
    run: Run = dataclass_field(repr=False)
    activity: Activity | None = None
    """Toggles of registers, where they were asked for."""

    @property
    def holds(self) -> bool:
        """Bit-exact, counters right and, where nothing was stalled, cycles as the formula says."""
        timely = self.stall != "none" or self.cycles == self.cycles_formula
        return self.bit_exact and not self.counters_wrong and timely

    def failures(self) -> list[str]:
        """What does not hold, a sentence each; empty if all does."""
        found = [self.hang] if self.hang else []
        if self.difference is not None:
            found.append(f"{self.mismatches} mismatches; first: {self.difference}")
        for name, (got, expected) in self.counters_wrong.items():
            found.append(f"counter {name} is {got}, expected {expected}")
        if self.stall == "none" and self.cycles != self.cycles_formula and not found:
            found.append(f"took {self.cycles} cycles; the formula says {self.cycles_formula}")
        return found

    def to_json(self) -> dict[str, Any]:
        """The report in JSON's types, outputs left out."""
        return {
            "engine": self.engine,
            "config": self.config.model_dump(mode="json"),
            "workload": self.workload,
            "backend": self.backend,
            "samples": self.samples,
            "seed": self.seed,
            "stall": self.stall,
            "holds": self.holds,
            "bit_exact": self.bit_exact,
            "mismatches": self.mismatches,
            "failures": self.failures(),
            "cycles": self.cycles,
            "cycles_formula": self.cycles_formula,
            "utilisation": self.utilisation,
            "cycles_per_second": self.cycles_per_second,
            "registers": self.registers,
            "metrics": self.metrics,
            **({} if self.activity is None else {"activity": self.activity.to_json()}),
        }


def runner(name: str) -> Backend:
    """The backend's ``run``; :class:`ValueError` naming the known ones otherwise."""
    if name not in BACKENDS:
        raise ValueError(unknown("backend", name, BACKENDS))
    return import_module(f".{name}", __package__).run


def simulate(
    engine_or_name: Engine[Any] | str,
    config: EngineConfig | None = None,
    workload: str | Workload | None = None,
    *,
    backend: str = "verilator",
    samples: int | None = None,
    seed: int = 0,
    stall: stalls.Kind = "none",
    where: Where = "both",
    wave: Wave | Path | str | None = None,
    reset_at: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    verilog: str | Callable[[Component], str] | None = None,
    activity: bool = False,
) -> Report:
    """Run a workload on generated RTL and compare every output beat with the golden model.

    ``config`` defaults to the engine's own; ``workload`` to its first, which also fits
    the configuration to itself (a :class:`~thresher.hdl.engine.Workload` is taken as it
    is).  ``stall`` holds up the streams that ``where`` names.  ``reset_at`` resets the
    engine in that cycle and starts over.  ``progress`` is called now and then with the
    cycles simulated and those expected.  ``verilog`` runs in place of the generated RTL, a
    mapped netlist for instance: a module ``top`` with the same ports, or what makes it of the
    component (Verilator only).  ``activity`` counts toggles of registers (Verilator only, the
    generated RTL only, and without ``wave``); the clock loop takes 8 times as long in runs of a
    million cycles, 20 to 35 times in those of some thousand, which last milliseconds.

    Never raises for a wrong result: see :attr:`Report.holds`.  Raises
    :class:`ValueError` or :class:`KeyError` for names and values that do not exist.
    """
    chosen = engine(engine_or_name) if isinstance(engine_or_name, str) else engine_or_name
    task = _workload(chosen, config, workload, samples, seed)
    execute: Any = runner(backend)
    if verilog is not None and backend != "verilator":
        raise ValueError(f'backend "{backend}" cannot run other Verilog; use "verilator"')
    component = _component(chosen.component, cast(Any, task.config))
    if verilog is not None:
        text = verilog if isinstance(verilog, str) else verilog(component)
        execute = partial(execute, verilog=text)
    known = ports(component)
    wave = Wave(Path(wave)) if isinstance(wave, str | Path) else wave
    if activity and (backend != "verilator" or verilog is not None or wave is not None):
        raise ValueError(
            'activity is counted in generated RTL alone, by backend "verilator" and without a '
            "waveform; leave out the other"
        )
    hang, toggles = "", None
    with TemporaryDirectory() as scratch:
        saif = Wave(Path(scratch) / "run.saif")
        try:
            result = execute(
                component,
                {name: beats.pack(known.inputs[name].shape, b) for name, b in task.inputs.items()},
                {name: beats.count(b) for name, b in task.outputs.items()},
                registers=task.registers,
                stalls=_patterns(known, stall, where, seed),
                reset_at=reset_at,
                timeout=10_000 + task.cycles,
                wave=saif if activity else wave,
                progress=None if progress is None else lambda cycles: progress(cycles, task.cycles),
            )
        except Hang as error:
            result, hang = error.run, str(error)
        if activity:
            toggles = counted(saif.path, write(design(component)))
    outputs = {
        name: beats.unpack(port.shape, result.outputs[name]) for name, port in known.outputs.items()
    }
    wrong, first = _compare(known, result, outputs, task.outputs)
    complete = not hang and all(
        beats.count(outputs[name]) == beats.count(golden) for name, golden in task.outputs.items()
    )
    stamps = {**result.input_cycles, **result.output_cycles}
    begin, end = stamps[task.start], stamps[task.stop]
    cycles = int(end[-1] - begin[0]) + 1 if len(begin) and len(end) else 0
    return Report(
        engine=chosen.name,
        config=task.config,
        workload=task.name,
        backend=backend,
        samples=samples,
        seed=seed,
        stall=stall,
        bit_exact=not wrong and complete,
        mismatches=wrong,
        difference=first,
        hang=hang,
        cycles=cycles,
        cycles_formula=task.cycles,
        utilisation=task.ideal_cycles / cycles if cycles else 0.0,
        cycles_per_second=result.cycles / max(result.seconds, 1e-9),
        registers=result.registers,
        counters_wrong={
            name: (result.registers[name], value)
            for name, value in task.counters.items()
            if result.registers[name] != value
        },
        metrics=task.evaluate(outputs) if complete else {},
        outputs=outputs,
        run=result,
        activity=toggles,
    )


@lru_cache(maxsize=16)
def _component(generator: Callable[[Any], Component], config: EngineConfig) -> Component:
    """One object a configuration, so that repeated runs elaborate it once."""
    return generator(config)


def _workload(
    chosen: Engine[Any],
    config: EngineConfig | None,
    workload: str | Workload | None,
    samples: int | None,
    seed: int,
) -> Workload:
    if isinstance(workload, Workload):
        return workload
    name = workload or next(iter(chosen.workloads))
    if name not in chosen.workloads:
        raise ValueError(unknown("workload", name, chosen.workloads))
    source = chosen.workloads[name]
    return source.build(source.configure(config or chosen.config()), samples, seed)


def _patterns(known: Ports, stall: stalls.Kind, where: Where, seed: int) -> dict[str, Any]:
    if where not in get_args(Where):
        raise ValueError(f"where = {where!r} is not one of {', '.join(get_args(Where))}")
    stalled = {"inputs": known.inputs, "outputs": known.outputs, "both": known.streams}[where]
    return {name: stalls.pattern(stall, name, seed) for name in stalled}


def _compare(
    known: Ports, result: Run, outputs: Mapping[str, Beats], golden: Mapping[str, Beats]
) -> tuple[int, Difference | None]:
    """Mismatches of all ports, and the one that came first; a missing beat comes last."""
    total, found = 0, []
    for name, port in known.outputs.items():
        want = golden.get(name, beats.unpack(port.shape, result.outputs[name][:0]))
        wrong, first = compare(name, port.shape, outputs[name], want)
        total += wrong
        if first is not None:
            stamps = result.output_cycles[name]
            missing = first.beat >= len(stamps)
            found.append((missing, 0 if missing else int(stamps[first.beat]), first))
    return total, min(found, key=lambda entry: entry[:2])[2] if found else None
