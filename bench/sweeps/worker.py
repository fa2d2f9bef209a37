"""What a worker process runs: ``python -m thresher.bench.sweeps.worker DESCRIPTOR``."""

import ctypes
import os
import pickle
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from types import FrameType

_PR_SET_PDEATHSIG = 1


def main(descriptor: int) -> None:
    """Takes tasks from the socket until its other end closes."""
    _end_with_parent()
    tell = Connection(descriptor)
    sys.path[:] = pickle.loads(tell.recv_bytes())
    from .task import attempt  # what it imports may lie on the path that was told just now

    while True:
        try:
            task = pickle.loads(tell.recv_bytes())
        except EOFError:
            return
        tell.send_bytes(pickle.dumps(attempt(task)))


def _end_with_parent() -> None:
    """Ends this process and its tools when the one that started it goes, however it does.

    Between tasks the closed socket does that; within one, on Linux, a signal.
    """

    def end(number: int, frame: FrameType | None) -> None:
        os.killpg(0, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]))
