"""The file that a sweep writes as it goes, and resumes from."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ...models.config import EngineConfig
from .trial import StageRecord


class Journal:
    """Records by configuration and stage, each on disk as soon as it is there.

    The first line says what the sweep is; a line that was cut off by the end of its writer is
    dropped.  One process writes.
    """

    def __init__(self, path: Path | None, records: dict[tuple[str, str], StageRecord]) -> None:
        """Use :meth:`open`."""
        self.path = path
        self.records = records
        self._file = None if path is None else path.open("a", encoding="utf-8")

    @classmethod
    def open(cls, folder: Path | None, header: Mapping[str, Any], resume: bool) -> Self:
        """The journal in ``folder``; None is one in memory alone.

        Raises :class:`ValueError` where there is one and ``resume`` is not set, and where it is of
        a sweep with another header, with what differs.
        """
        if folder is None:
            return cls(None, {})
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "journal.jsonl"
        records: dict[tuple[str, str], StageRecord] = {}
        lines = _whole(path)
        if lines:
            if not resume:
                raise ValueError(
                    f"{path} is there already; resume that sweep, or choose another folder"
                )
            found = json.loads(lines[0])
            differ = sorted(k for k in {*found, *header} if found.get(k) != header.get(k))
            if differ:
                raise ValueError(
                    f"{path} is of another sweep: {', '.join(differ)} differ; choose another folder"
                )
            for line in lines[1:]:
                entry = json.loads(line)
                record = StageRecord.from_json(entry["record"])
                records[entry["config"], record.stage] = record
        else:
            path.write_text(json.dumps(dict(header)) + "\n", encoding="utf-8")
        return cls(path, records)

    def get(self, config: EngineConfig, stage: str) -> StageRecord | None:
        """What was found out before."""
        return self.records.get((config.model_dump_json(), stage))

    def put(self, config: EngineConfig, record: StageRecord) -> None:
        """Keeps it."""
        name = config.model_dump_json()
        self.records[name, record.stage] = record
        if self._file is not None:
            entry = {"config": name, "record": record.to_json()}
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Ends writing."""
        if self._file is not None:
            self._file.close()


def _whole(path: Path) -> list[str]:
    """The lines that were written to their ends; the file is cut behind them."""
    if not path.exists():
        return []
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)
    return content[:end].decode().splitlines()
