"""Workers of a Ray cluster."""

import importlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .task import Lost, Task, attempt
from .trial import StageRecord

_ALONE = {"OMP_NUM_THREADS": "1", "THRESHER_COMPILERS": "1"}


class Ray:
    """Executes on a cluster that Ray knows; by default on one of this machine's processors.

    A task takes a processor.  Where the cluster has several machines, each has a cache of its own
    unless ``$THRESHER_CACHE`` names a folder that they share; thresher, and the modules of a user's
    own stages, must be importable there.
    """

    def __init__(self, jobs: int | None = None, address: str | None = None) -> None:
        """``jobs``: tasks at once; by default as many as the cluster has processors.
        ``address``: as ``ray.init`` takes it; None begins a cluster here, unless one is connected.

        Raises :class:`ModuleNotFoundError` without Ray, :class:`ValueError` for fewer jobs than 1.
        """
        if jobs is not None and jobs < 1:
            raise ValueError(f"jobs = {jobs} is not at least 1")
        try:
            self._ray: Any = importlib.import_module("ray")
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                'clusters need Ray: pip install "thresher[ray]", or take the executor "local"'
            ) from None
        self._mine = not self._ray.is_initialized()
        if self._mine:
            begins = {} if address else {"num_cpus": jobs, "include_dashboard": False}
            self._ray.init(address=address, log_to_driver=False, logging_level="ERROR", **begins)
        self.jobs = jobs or max(int(self._ray.cluster_resources().get("CPU", 1)), 1)
        kept = {k: v for k, v in os.environ.items() if k.startswith("THRESHER_")}
        # A retry is the sweep's to decide on, as a crash may be the task's own.
        self._attempt = self._ray.remote(
            num_cpus=1, max_retries=0, runtime_env={"env_vars": {**kept, **_ALONE}}
        )(_attempt)

    def map(self, tasks: Sequence[Task]) -> Iterator[tuple[int, StageRecord | Lost]]:
        """See :class:`.Executor`."""
        ray, waiting = self._ray, list(enumerate(tasks))[::-1]
        busy: dict[Any, tuple[int, float, float | None]] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < self.jobs:
                    place, task = waiting.pop()
                    begun = time.monotonic()
                    limit = task.limits.seconds
                    reference = self._attempt.remote(sys.path, task)
                    busy[reference] = place, begun, None if limit is None else begun + limit
                now = time.monotonic()
                left = [end - now for _, _, end in busy.values() if end is not None]
                timeout = max(min(left), 0.0) if left else None
                ready, _ = ray.wait(list(busy), num_returns=1, timeout=timeout)
                for reference in ready:
                    place, begun, _ = busy.pop(reference)
                    yield place, self._result(reference, begun)
                now = time.monotonic()
                for reference, (place, begun, end) in list(busy.items()):
                    if end is not None and end <= now:
                        del busy[reference]
                        ray.cancel(reference, force=True)
                        seconds = now - begun
                        yield (
                            place,
                            Lost(f"took more than {seconds:.0f} s; raise the limit", "", seconds),
                        )
        finally:
            for reference in busy:
                ray.cancel(reference, force=True)

    def _result(self, reference: Any, begun: float) -> StageRecord | Lost:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:  # the worker or its machine is gone
            text = next(iter(str(error).splitlines()), "")
            return Lost(
                f"the worker ended: {type(error).__name__}: {text}", str(error),
                time.monotonic() - begun,
            )  # fmt: skip

    def close(self) -> None:
        """See :class:`.Executor`; a cluster that was connected before stays so."""
        if self._mine and self._ray.is_initialized():
            self._ray.shutdown()


def _attempt(path: list[str], task: Task) -> StageRecord | Lost:
    sys.path[:] = [*path, *(entry for entry in sys.path if entry not in path)]
    return attempt(task)
