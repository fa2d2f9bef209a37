"""Workers on this machine: processes that are told tasks one by one."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path

from .task import Lost, Task
from .trial import StageRecord

_ALONE = {"OMP_NUM_THREADS": "1", "THRESHER_COMPILERS": "1"}
"""What a worker does in one thread: others work beside it."""


class Local:
    """So many worker processes, by default as many as there are processors.

    Each leads a process group, so that whatever tools it has started end with it: at a limit, by
    :meth:`close`, and when this process goes.  Not ``multiprocessing``: its workers import the main
    script again, and leave their children behind when they are killed.
    """

    def __init__(self, jobs: int | None = None) -> None:
        """Raises :class:`ValueError` for fewer jobs than one."""
        if jobs is not None and jobs < 1:
            raise ValueError(f"jobs = {jobs} is not at least 1")
        affinity = getattr(os, "sched_getaffinity", None)
        self.jobs = jobs or (len(affinity(0)) if affinity else os.cpu_count() or 1)
        self._workers: list[Worker] = []

    def map(self, tasks: Sequence[Task]) -> Iterator[tuple[int, StageRecord | Lost]]:
        """See :class:`.Executor`."""
        waiting = deque(enumerate(tasks))
        busy: dict[Worker, int] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < self.jobs:
                    place, task = waiting.popleft()
                    worker = next((w for w in self._workers if w not in busy), None)
                    if worker is None:
                        self._workers.append(worker := Worker())
                    busy[worker] = place
                    worker.begin(task)
                limits = [w.remaining() for w in busy]
                timeout = min((s for s in limits if s is not None), default=None)
                ready = connection.wait([w.connection for w in busy], timeout)
                for worker in [w for w in busy if w.connection in ready or w.remaining() == 0]:
                    place = busy.pop(worker)
                    result = worker.result() if worker.connection in ready else worker.late()
                    if not worker.alive:
                        self._workers.remove(worker)
                    yield place, result
        finally:  # who asks no further, or interrupts, does not want what is under way
            for worker in busy:
                worker.kill()
                self._workers.remove(worker)

    def close(self) -> None:
        """See :class:`.Executor`."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def pids(self) -> list[int]:
        """Of the workers that there are."""
        return [worker.process.pid for worker in self._workers]


class Worker:
    """One process, and the socket by which it is told."""

    def __init__(self) -> None:
        mine, its = socket.socketpair()
        self.said = tempfile.TemporaryFile()  # noqa: SIM115  (as long as the process)
        """What it and its tools print: nobody reads it but where it dies."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "thresher.bench.sweeps.worker", str(its.fileno())],
            pass_fds=[its.fileno()],
            env={**os.environ, **_ALONE},
            stdin=subprocess.DEVNULL,
            stdout=self.said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=Path.cwd(),
        )
        its.close()
        self.connection = connection.Connection(mine.detach())
        self.alive = True
        self.deadline: float | None = None
        self.since = time.monotonic()
        with suppress(OSError):  # it died already: result() says so
            self.connection.send_bytes(pickle.dumps(sys.path))

    def begin(self, task: Task) -> None:
        """Tells it a task."""
        self.since = time.monotonic()
        limit = task.limits.seconds
        self.deadline = None if limit is None else self.since + limit
        with suppress(OSError):
            self.connection.send_bytes(pickle.dumps(task))

    def remaining(self) -> float | None:
        """Seconds until the task is late."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)

    def result(self) -> StageRecord | Lost:
        """What it sent; where it has died instead, that."""
        try:
            return pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError, pickle.UnpicklingError):
            self.kill()
            code = self.process.returncode
            how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
            return Lost(f"the worker ended {how}", self._log(), time.monotonic() - self.since)

    def late(self) -> Lost:
        """Ends it for taking too long."""
        seconds = time.monotonic() - self.since
        self.kill()
        return Lost(f"took more than {seconds:.0f} s; raise the limit", self._log(), seconds)

    def kill(self) -> None:
        """Ends it and all that it has started."""
        self.alive = False
        self.connection.close()
        # The group may outlive its leader.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _log(self) -> str:
        size = self.said.seek(0, os.SEEK_END)
        self.said.seek(max(size - 20_000, 0))
        return self.said.read().decode(errors="replace")
