"""Finds reference data that the project's own code did not make.

The files are not part of the repository.  They are looked for in the folder that the
environment variable ``THRESHER_DATA`` names or, where it is not set, in ``shared/data``
beside or in the checkout.
"""

import csv
import os
from pathlib import Path

import numpy as np

_CHECKOUT = Path(__file__).resolve().parents[1]


class MissingData(FileNotFoundError):  # noqa: N818  (a condition more than an error)
    """A file of reference data is absent."""


def path(name: str) -> Path:
    """Where the reference file ``name`` lies; raises :class:`MissingData`."""
    if folder := os.environ.get("THRESHER_DATA"):
        folders = [Path(folder)]
    else:
        folders = [base / "shared" / "data" for base in (_CHECKOUT.parent, _CHECKOUT)]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise MissingData(
        f"reference data {name} is not in {' or '.join(map(str, folders))}; "
        "set THRESHER_DATA to the folder that holds it"
    )


def table(name: str, delimiter: str = ",") -> list[list[str]]:
    """The rows, as text, of the reference ``.csv`` ``name``; raises :class:`MissingData`."""
    with path(name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of the reference file ``name`` (an ``.npz``); raises :class:`MissingData`."""
    with np.load(path(name), allow_pickle=False) as file:
        return dict(file)
