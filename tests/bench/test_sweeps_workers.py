"""Sweeps on worker processes: killed, late, greedy, and a driver that is killed itself."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from thresher.bench.sweeps.cluster import Ray
from thresher.bench.sweeps.local import Local
from thresher.bench.sweeps.space import Space
from thresher.bench.sweeps.stages import Measure
from thresher.bench.sweeps.sweep import Sweep
from thresher.bench.sweeps.task import Here, Limits, Task

FIGURES = """
import os, pathlib, signal, subprocess, time

def plain(config, wait=0.0):
    time.sleep(wait)
    return {"cycles": 64 // config.lanes, "lut": 10 * config.lanes + config.threshold,
            "pid": os.getpid()}

def deadly(config, folder, lanes):
    mark = pathlib.Path(folder) / f"{config.lanes}-{config.threshold}"
    if config.lanes == lanes and not mark.exists():
        mark.touch()
        print("about to die", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(config)

def doomed(config):
    if config.lanes == 8:
        print("the tool said no", flush=True)
        os._exit(3)
    return plain(config)

def slow(config, folder):
    if config.lanes == 8:
        tool = subprocess.Popen(["sleep", "60"])
        (pathlib.Path(folder) / "tool").write_text(str(tool.pid))
        if tool.wait():
            raise RuntimeError("the tool was killed")
    return plain(config)

def greedy(config):
    if config.lanes == 8:
        bytearray(1 << 30)
    return plain(config)
"""

SPACE = Space({"lanes": [4, 8, 16], "threshold": [0, 1]}, presets=("small",))


@pytest.fixture(autouse=True)
def _module(monkeypatch, tmp_path):
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "figures.py").write_text(FIGURES)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("figures", None)


def sweep(function: str, limits: Limits | None = None, **arguments) -> Sweep:
    stage = Measure("synthesise", f"figures:{function}", ("cycles", "lut"), arguments=arguments)
    return Sweep("sparse_lstm", SPACE, (stage,), {"cycles": "min", "lut": "min"},
                 limits=limits or Limits())  # fmt: skip


@pytest.fixture(params=["local", "ray"])
def executor(request):
    if request.param == "ray":
        request.getfixturevalue("cluster")
        made = Ray(2)
    else:
        made = Local(2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="needs the extra [ray]")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def without_pids(outcome):
    return [{k: v for k, v in t.values.items() if k != "pid"} for t in outcome]


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_two_workers_find_what_one_process_does(executor, monkeypatch, tmp_path) -> None:
    found = sweep("plain", wait=0.05).run(executor=executor)
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path / "other"))
    alone = sweep("plain", wait=0.05).run(executor=Here())
    assert without_pids(found) == without_pids(alone)
    assert [t.number for t in found.front] == [t.number for t in alone.front]
    pids = {t.values["pid"] for t in found}
    assert len(pids) == 2
    assert os.getpid() not in pids
    executor.close()
    if isinstance(executor, Local):
        assert all(map(gone, pids))


def test_a_killed_worker_costs_one_attempt_of_one_trial(executor, tmp_path) -> None:
    found = sweep("deadly", folder=str(tmp_path), lanes=8).run(executor=executor)
    assert all(t.state == "done" for t in found)
    assert {t.config.lanes: t.records[0].attempts for t in found} == {4: 1, 8: 2, 16: 1}


def test_what_fails_twice_is_recorded_with_its_log(executor) -> None:
    found = sweep("doomed").run(executor=executor)
    failed = [t for t in found if t.state == "failed"]
    assert [t.config.lanes for t in failed] == [8, 8]
    for trial in failed:
        assert trial.error.startswith("the worker ended")
        if isinstance(executor, Local):
            assert trial.error == "the worker ended with status 3"
            assert "the tool said no" in trial.records[0].log
    assert sorted({t.config.lanes for t in found.front}) == [4, 16]


def test_what_takes_too_long_ends_with_its_tools(executor, tmp_path) -> None:
    limits = Limits(seconds=4.0)
    found = sweep("slow", limits, folder=str(tmp_path)).run(executor=executor)
    failed = {t.config.lanes: t.error for t in found if t.state == "failed"}
    assert list(failed) == [8]
    assert failed[8] == "took more than 4 s; raise the limit"
    assert gone(int((tmp_path / "tool").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts so on Linux alone")
def test_what_takes_too_much_memory_fails(executor) -> None:
    found = sweep("greedy", Limits(bytes=1 << 29)).run(executor=executor)
    assert {t.config.lanes: t.error for t in found if t.state == "failed"} == {8: "MemoryError: "}


def test_workers_end_where_nobody_asks_further() -> None:
    local, pids = Local(2), []
    results = local.map(_tasks(sweep("plain", wait=30.0)))

    def interrupt(*_):
        pids.extend(local.pids())
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 2.0)
    with pytest.raises(KeyboardInterrupt):
        next(results)
    signal.signal(signal.SIGALRM, before)
    assert len(pids) == 2
    assert all(map(gone, pids))


def _tasks(sweep: Sweep):
    return [Task(sweep.stages[0], sweep.engine, config) for config in sweep.found.configs]


DRIVER = """
import sys
from thresher.bench.sweeps.cluster import Ray
from thresher.bench.sweeps.local import Local
from thresher.bench.sweeps.space import Space
from thresher.bench.sweeps.stages import Measure
from thresher.bench.sweeps.sweep import Sweep

stage = Measure("synthesise", "figures:plain", ("cycles", "lut"), arguments={"wait": 0.4})
space = Space({"lanes": [4, 8, 16], "threshold": [0, 1]}, presets=("small",))
sweep = Sweep("sparse_lstm", space, (stage,), {"cycles": "min", "lut": "min"})
executor = Ray(2, sys.argv[2]) if len(sys.argv) > 2 else Local(2)
found = sweep.run(executor=executor, folder=sys.argv[1], resume=True)
executor.close()
print([(t.config.lanes, t.config.threshold, t.values["lut"]) for t in found.front])
"""


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_a_killed_driver_leaves_no_workers_and_goes_on_to_the_same_front(
    kind, tmp_path, request
) -> None:
    where = [request.getfixturevalue("cluster")] if kind == "ray" else []
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)  # no guard: workers must not run it again

    def start(folder: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path),
                       "THRESHER_CACHE": str(tmp_path / folder / "cache")}  # fmt: skip
        return subprocess.Popen(
            [sys.executable, script, tmp_path / folder, *where], env=environment, text=True,
            stdout=subprocess.PIPE,
        )  # fmt: skip

    whole = start("whole")
    driver = start("cut")
    journal = tmp_path / "cut" / "journal.jsonl"
    for _ in range(600):
        if journal.exists() and len(journal.read_text().splitlines()) >= 3:
            break
        time.sleep(0.05)
    workers = [int(p) for p in Path(f"/proc/{driver.pid}/task/{driver.pid}/children")
               .read_text().split()] if sys.platform == "linux" else []  # fmt: skip
    driver.kill()
    driver.wait()
    assert all(map(gone, workers))
    done = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    assert 2 <= len(done) < 6
    again = start("cut")
    fronts = [process.communicate(timeout=120)[0] for process in (whole, again)]
    assert fronts[0] == fronts[1] != ""
    kept = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    assert kept[: len(done)] == done
    assert len(kept) == 6


def test_there_is_a_job_at_least() -> None:
    with pytest.raises(ValueError, match="jobs = 0 is not at least 1"):
        Local(0)
