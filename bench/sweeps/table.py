"""Trials as tables: CSV, lines of JSON, Parquet."""

import csv
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...models.config import unknown


def write(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Writes ``rows`` as the suffix of ``path`` says: ``.csv``, ``.jsonl`` or ``.parquet``.

    Columns are those of any row, in the order of their first appearance.  Raises
    :class:`ValueError` for other suffixes, :class:`ModuleNotFoundError` for Parquet without
    PyArrow; a file is there whole or not at all.
    """
    path = Path(path)
    writers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    if path.suffix not in writers:
        raise ValueError(unknown("format of tables", path.suffix, writers))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        writers[path.suffix]([{name: row.get(name) for name in columns} for row in rows], part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _csv(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _jsonl(rows: list[dict[str, Any]], path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _parquet(rows: list[dict[str, Any]], path: Path) -> None:
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'Parquet needs PyArrow: pip install "thresher[sweep]", or write .csv or .jsonl'
        ) from None
    columns = {}
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        kinds = {type(v) for v in values if v is not None}
        # A column of several types is text in Parquet, as it is in CSV.
        plain = len(kinds) <= 1 or kinds <= {int, float}
        columns[name] = (
            [float(v) if v is not None and float in kinds else v for v in values]
            if plain
            else [None if v is None else str(v) for v in values]
        )
    parquet.write_table(arrow.table(columns), path)
