"""A content-addressed cache of what tools made of a design: simulators, netlists, layouts.

Safe under parallel processes.  An entry is a folder named by a hash of everything that
went into it.  It lies in ``$THRESHER_CACHE`` or the user's cache folder.  Entries that
were not used for longest go first when all together exceed ``$THRESHER_CACHE_BYTES``
(default 2 GiB).
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

DEFAULT_BYTES = 2 << 30
_IN_USE = 600.0
"""Seconds since its last use before an entry may be evicted: it may be being loaded."""

_STALE = 86400.0
"""Seconds after which nobody is still building."""


@dataclass(frozen=True)
class Entry:
    """One cached result."""

    name: str
    bytes: int
    used: float
    """Seconds since the epoch."""


def folder() -> Path:
    """Where the cache lies."""
    given = os.environ.get("THRESHER_CACHE")
    return Path(given).expanduser() if given else user_cache_path("thresher") / "builds"


def limit() -> int:
    """Bytes that the cache may hold.  Raises :class:`ValueError` for a bad setting."""
    given = os.environ.get("THRESHER_CACHE_BYTES")
    if not given:
        return DEFAULT_BYTES
    if not given.isdecimal():
        raise ValueError(f"THRESHER_CACHE_BYTES = {given!r} is not a number of bytes")
    return int(given)


def key(*parts: str | bytes) -> str:
    """A hash of ``parts``; their boundaries count."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:32]


def get(name: str, make: Callable[[Path], None]) -> Path:
    """The entry ``name``; ``make(path)`` fills a new folder where there is none yet.

    One process builds, others that want the same entry wait for it.  A ``make``
    that raises leaves nothing behind.
    """
    place = folder() / name
    if _touch(place):
        return place
    locks = folder() / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"{name}.lock"):
        if _touch(place):
            return place
        with tempfile.TemporaryDirectory(dir=locks, prefix=name) as scratch:
            fresh = Path(scratch) / "entry"
            fresh.mkdir()
            make(fresh)
            fresh.rename(place)
        _touch(place)
    evict(limit())
    return place


def entries() -> list[Entry]:
    """What is cached, the most recently used first."""
    found: list[Entry] = []
    for path in folder().glob("[!.]*"):
        try:
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            found.append(Entry(path.name, size, path.stat().st_mtime))
        except FileNotFoundError:  # evicted by another process meanwhile
            continue
    return sorted(found, key=lambda entry: -entry.used)


def evict(bytes: int) -> int:
    """Drops the least recently used entries until ``bytes`` hold the rest.

    Spares what was used within the last minutes.  Returns the bytes freed.
    """
    _sweep()
    held = freed = 0
    for entry in entries():
        held += entry.bytes
        if held > bytes and time.time() - entry.used > _IN_USE:
            _remove(entry)
            freed += entry.bytes
    return freed


def clear() -> int:
    """Drops every entry; returns the bytes freed.  Simulations that run keep theirs."""
    _sweep()
    found = entries()
    for entry in found:
        _remove(entry)
    return sum(entry.bytes for entry in found)


def _sweep() -> None:
    """Drop locks of long ago and what killed processes left half-made."""
    for path in (folder() / ".locks").glob("*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _touch(place: Path) -> bool:
    try:
        os.utime(place)
    except FileNotFoundError:
        return False
    return True


def _remove(entry: Entry) -> None:
    # Renamed first, so that no other process finds a half-removed entry.
    locks = folder() / ".locks"
    doomed = Path(tempfile.mkdtemp(dir=locks, prefix="removed"))
    with suppress(FileNotFoundError):
        (folder() / entry.name).rename(doomed / "entry")
    shutil.rmtree(doomed, ignore_errors=True)
