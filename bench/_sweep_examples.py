"""The sweeps that thresher ships."""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from ..models.data import MissingData
from ._sweep_execution import empty_cache
from .report import Bar, Progress, Row
from .sweeps import spec
from .sweeps.local import Local
from .sweeps.output import write

MINUTES = 15


def example_rows(quick: bool, progress: Progress, pictures: Path | None) -> Iterator[Row]:
    """Each as it is shipped, with an empty cache, and what it finds; their reports go to
    ``pictures``."""
    for path in spec.shipped().values():
        what = f"{path.stem}.toml: minutes [min]"
        if quick:
            yield Row.skip(what, f"takes minutes: --full, or thresher sweep {path.name}")
            continue
        said = spec.read(path)
        sweep = said.sweep()
        progress(f"{path.name}: {len(sweep.found.configs)} candidates")
        with empty_cache(), TemporaryDirectory() as scratch:
            workers, start = Local(), time.monotonic()
            try:
                found = sweep.run(said.search.made(), workers, folder=scratch)
            except (MissingData, ModuleNotFoundError) as missing:
                yield Row.skip(what, str(missing), Bar("<=", MINUTES))
                continue
            finally:
                workers.close()
            minutes = (time.monotonic() - start) / 60
        if pictures is not None:
            write(found, pictures / path.stem, path.stem, said.summary)
        states = {state: sum(t.state == state for t in found) for state in sorted(
            {t.state for t in found})}  # fmt: skip
        told = ", ".join(f"{count} {state}" for state, count in states.items())
        yield Row(what, minutes, Bar("<=", MINUTES), told)
        yield Row(f"{path.stem}.toml: trials that failed", states.get("failed", 0), Bar("==", 0))
        yield Row(f"{path.stem}.toml: trials in front", len(found.front), Bar(">=", 1),
                  said.summary)  # fmt: skip
