"""Solvers as processes: read line by line while they run, interrupted and ended for certain."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_GRACE = 5.0
"""Seconds to an end after an interrupt."""


@dataclass(frozen=True)
class Ended:
    """How a process did."""

    status: int
    stopped: bool
    """By a limit or Ctrl-C, before it was done by itself."""
    interrupted: bool
    """By Ctrl-C."""


def run(command: list[str], heard: Callable[[str], None], limit: float) -> Ended:
    """Runs ``command`` and calls ``heard`` with every line that it prints, while it runs.

    After ``limit`` seconds, and at Ctrl-C, it is interrupted, so that it may still write what it
    has, and killed if it goes on for seconds, or at another Ctrl-C.  Whatever ``heard`` raises
    kills it too.
    """
    # Programs print line by line to a terminal alone.
    ours, theirs = _terminal()
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
            start_new_session=True,  # Ctrl-C comes through us
        )  # fmt: skip
    except OSError:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(ours, lines), daemon=True)
    reader.start()
    until, stopped, interrupted = time.monotonic() + limit, False, False
    try:
        while True:
            try:
                line = lines.get(timeout=0.1)
                if line is None:
                    break
                heard(line)
            except queue.Empty:
                pass
            except KeyboardInterrupt:
                if interrupted:
                    break
                interrupted, until = True, time.monotonic()
            if time.monotonic() > until:
                if stopped:
                    break
                stopped, until = True, time.monotonic() + _GRACE
                with contextlib.suppress(OSError):
                    process.send_signal(signal.SIGINT)
        if not stopped:
            process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        stopped = True
    finally:
        if process.poll() is None and stopped:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()
    return Ended(process.returncode, stopped, interrupted)


def _terminal() -> tuple[int, int]:
    """Ends to read from and to write to: a terminal's, or a pipe's where there are none."""
    if hasattr(os, "openpty"):
        with contextlib.suppress(OSError):
            return os.openpty()
    return os.pipe()


def _read(end: int, lines: "queue.SimpleQueue[str | None]") -> None:
    rest = b""
    while True:
        try:
            found = os.read(end, 1 << 16)
        except OSError:  # a terminal's way to say that the other end is closed
            found = b""
        if not found:
            break
        *whole, rest = (rest + found).split(b"\n")
        for line in whole:
            lines.put(line.decode(errors="replace").strip())
    if rest:
        lines.put(rest.decode(errors="replace").strip())
    lines.put(None)
    os.close(end)
