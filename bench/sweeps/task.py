"""One stage of one configuration as a unit of work, and what executes many."""

import json
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...hdl import cache
from ...hdl.engine import Engine, engine
from ...models.config import EngineConfig
from .stages import Stage
from .trial import StageRecord


@dataclass(frozen=True)
class Limits:
    """Of one task; None is no bound."""

    seconds: float | None = 1800.0
    bytes: int | None = None
    """Of memory, that the worker and each of its tools may have."""


@dataclass(frozen=True)
class Task:
    """A stage to be run on a configuration; pickles."""

    stage: Stage
    engine: str
    config: EngineConfig
    limits: Limits = Limits()


@dataclass(frozen=True)
class Lost:
    """A task without a result: its worker died, took too long or the stage raised."""

    error: str
    """One sentence: what happened."""
    log: str = ""
    seconds: float = 0.0


class Executor(Protocol):
    """Runs tasks side by side.

    A worker that dies, or is stopped at a limit, costs the task that it had and no other.
    """

    def map(self, tasks: Sequence[Task]) -> Iterator[tuple[int, StageRecord | Lost]]:
        """The place of each task and its result, in the order in which they come about."""
        ...

    def close(self) -> None:
        """Lets all workers go, whatever they do; may be called twice."""
        ...


@contextmanager
def bounded(limits: Limits) -> Iterator[None]:
    """Within it, this process and those that it starts may not have more memory each.

    What asks for more fails, in Python with :class:`MemoryError`.  Without effect where the system
    does not count so (``RLIMIT_DATA``: Linux).
    """
    if limits.bytes is None or not hasattr(resource, "RLIMIT_DATA"):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limits.bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def attempt(task: Task) -> StageRecord | Lost:
    """:func:`perform` within the bound on memory; what it raises as what was lost."""
    start = time.monotonic()
    try:
        with bounded(task.limits):
            return perform(task)
    except Exception as error:  # a stage's end is its trial's, not the sweep's
        return lost(error, time.monotonic() - start)


def perform(task: Task) -> StageRecord:
    """The task's result, from the cache where it lies there.

    Results lie there under :meth:`Stage.key`, for all sweeps and executors.  Raises what the
    stage raises; then nothing is kept.
    """
    name, ran = task.stage.name, False
    chosen, start = engine(task.engine), time.monotonic()
    key = cache.key("sweep", name, task.stage.key(chosen, task.config))

    def make(entry: Path) -> None:
        nonlocal ran
        ran = True
        values: dict[str, Any] = dict(task.stage.run(chosen, task.config))
        found = {"values": values, "seconds": time.monotonic() - start}
        (entry / "result.json").write_text(json.dumps(found), encoding="utf-8")

    found = json.loads((cache.get(key, make) / "result.json").read_text(encoding="utf-8"))
    return StageRecord(name, key, found["values"], found["seconds"], not ran)


def quick(stage: Stage, chosen: Engine[Any], config: EngineConfig) -> StageRecord:
    """The result of a cheap stage, which nothing keeps."""
    try:
        return StageRecord(stage.name, "", stage.run(chosen, config), 0.0)
    except Exception as error:  # a stage's end is its trial's, not the sweep's
        return StageRecord(stage.name, "", {}, 0.0, error=f"{type(error).__name__}: {error}")


class Here:
    """Executes in this process, one after the other, without a bound on time: for looking into
    a stage."""

    def map(self, tasks: Sequence[Task]) -> Iterator[tuple[int, StageRecord | Lost]]:
        """See :class:`Executor`."""
        for place, task in enumerate(tasks):
            yield place, attempt(task)

    def close(self) -> None:
        """See :class:`Executor`."""


def lost(error: BaseException, seconds: float) -> Lost:
    """What is recorded of an exception."""
    log = str(getattr(error, "log", "") or "")
    return Lost(f"{type(error).__name__}: {error}", log[-20_000:], seconds)
