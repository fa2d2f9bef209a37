"""Where reference data is looked for."""

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
