"""One build for all who want it, nothing half-made, the least used goes first."""

import os
import time
from concurrent.futures import ProcessPoolExecutor

import pytest
from thresher.hdl import cache


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path / "cache"))


def build_slowly(name):
    def make(place):
        time.sleep(0.2)
        (place / "built-by").write_text(str(os.getpid()))

    return (cache.get(name, make) / "built-by").read_text()


def fill(name, size, age=0.0):
    place = cache.get(name, lambda place: (place / "data").write_bytes(bytes(size)))
    os.utime(place, (time.time() - age,) * 2)


def test_parallel_processes_build_once():
    with ProcessPoolExecutor(4) as pool:
        assert len(set(pool.map(build_slowly, ["same"] * 8))) == 1
    assert [entry.name for entry in cache.entries()] == ["same"]


def test_a_failed_build_leaves_nothing():
    def make(place):
        (place / "half").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.get("x", make)
    assert cache.entries() == []
    assert cache.get("x", lambda place: (place / "whole").touch()).joinpath("whole").exists()


def test_least_recently_used_goes_first_and_recent_stays():
    fill("old", 1000, age=9000)
    fill("older", 1000, age=10000)
    fill("new", 1000)
    assert [entry.name for entry in cache.entries()] == ["new", "old", "older"]
    assert cache.evict(2500) == 1000
    assert [entry.name for entry in cache.entries()] == ["new", "old"]
    assert cache.evict(0) == 1000  # what was just used may be being loaded
    assert [entry.name for entry in cache.entries()] == ["new"]


def test_building_keeps_the_bound(monkeypatch):
    monkeypatch.setenv("THRESHER_CACHE_BYTES", "1500")
    fill("old", 1000, age=9000)
    fill("new", 1000)
    assert [entry.name for entry in cache.entries()] == ["new"]


def test_use_renews():
    fill("a", 1, age=9000)
    fill("b", 1, age=8000)
    cache.get("a", pytest.fail)
    assert [entry.name for entry in cache.entries()] == ["a", "b"]


def test_clear():
    fill("a", 10)
    fill("b", 20)
    assert cache.clear() == 30
    assert cache.entries() == []


def test_what_a_killed_process_left_goes(tmp_path):
    fill("a", 10)
    for number, age in enumerate((100, 100_000)):
        left = tmp_path / "cache" / ".locks" / f"half{number}" / "entry"
        left.mkdir(parents=True)
        os.utime(left.parent, (time.time() - age,) * 2)
    cache.evict(100)
    assert {path.name for path in (tmp_path / "cache" / ".locks").iterdir()} == {"half0", "a.lock"}


def test_key_counts_boundaries():
    assert cache.key("ab", "c") != cache.key("a", "bc")
    assert cache.key("ab", b"c") == cache.key("ab", "c")


def test_bad_bound_is_named(monkeypatch):
    monkeypatch.setenv("THRESHER_CACHE_BYTES", "2 GB")
    with pytest.raises(ValueError, match="THRESHER_CACHE_BYTES = '2 GB'"):
        cache.limit()
