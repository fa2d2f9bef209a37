"""Simulated workloads of engines, and how many frames went as the golden model says."""

from dataclasses import dataclass, field
from typing import Any

from ..hdl.engine import Workload, engine
from ..models.config import EngineConfig
from ..sim.simulate import Report, simulate
from .report import Bar, Progress, Row


@dataclass
class Runs:
    """Simulates, and counts what status registers count."""

    progress: Progress
    counts: str
    """The register that counts frames."""
    failures: str
    """That of frames for which no word was found."""
    frames: int = 0
    failed: int = 0
    wrong: list[str] = field(default_factory=list)

    def __call__(
        self,
        name: str,
        config: EngineConfig,
        workload: str | Workload,
        frames: int | None = None,
        stall: Any = "none",
        seed: int = 0,
    ) -> Report:
        """``frames`` of a workload on the engine called ``name``; all of one that is given."""
        what = f"{name}: {workload if isinstance(workload, str) else workload.name}"
        self.progress(what + ("" if stall == "none" else f", stalls {stall}"))
        report = simulate(engine(name), config, workload, samples=frames, seed=seed, stall=stall)
        self.frames += report.registers[self.counts]
        self.failed += report.registers[self.failures]
        self.wrong += [f"{what}: {failure}" for failure in report.failures()]
        return report

    def row(self, what: str, least: int) -> Row:
        """How many frames all went as they should, none where any did not."""
        return Row(
            what, 0 if self.wrong else self.frames, Bar(">=", least),
            "; ".join(self.wrong) or "random codewords always",
        )  # fmt: skip
