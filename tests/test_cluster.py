"""Who computes: opened, prepared, checked, closed."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest
from distributed import Client, LocalCluster
from threadpoolctl import threadpool_info

from daskcast import cluster
from daskcast.cluster import current_client, n_slots, open_cluster
from daskcast.config import RunOptions
from daskcast.engine import run_batches
from daskcast.errors import ClusterError, StoppedError
from daskcast.pool import ProcessPool
from daskcast.reach import shares
from daskcast.records import BatchReceipt
from daskcast.store import RunFolder
from daskcast.versions import mismatches
from daskcast.work import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this file

VERSIONS = {
    "python": "3.11.7.final.0",
    "daskcast": "0.1.0",
    "dask": "2026.8.0",
    "distributed": "2026.8.0",
    "numpy": "2.4.6",
    "pandas": "3.1.1",
    "numba": "0.68.1",
    "pyarrow": "25.0.1",
    "scikit-optimize": "0.10.2",
}


def blas_threads() -> set[int]:
    """Give the thread counts of the BLAS libraries that are loaded."""
    import numpy  # noqa: F401

    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def sides(**there: str | None) -> dict[str, Any]:
    """Make what a client, a scheduler and two workers tell; the second worker differs."""
    same = {"packages": VERSIONS}
    other = {"packages": {**VERSIONS, **there}}
    return {
        "client": same,
        "scheduler": same,
        "workers": {"tcp://10.0.0.1:1": same, "tcp://10.0.0.2:1": other},
    }


# -- versions ----------------------------------------------------------------------------------


def test_equal_versions_fit() -> None:
    """Nothing to tell."""
    assert mismatches(sides()) == []


@pytest.mark.parametrize(
    ("package", "version"),
    [("daskcast", "0.1.1"), ("dask", "2026.8.1"), ("numpy", "2.5.0"), ("python", "3.12.0.final.0")],
)
def test_a_mismatch_is_named_with_both_sides(package: str, version: str) -> None:
    """The table names the package, both versions and the place."""
    [told] = mismatches(sides(**{package: version}))
    assert package in told
    assert VERSIONS[package] in told
    assert version in told
    assert "10.0.0.2" in told
    assert "10.0.0.1" not in told


def test_all_mismatches_are_told_at_once() -> None:
    """One message for all packages."""
    [told] = mismatches(sides(numba="0.61.0", pandas="2.3.0", daskcast=None))
    assert all(word in told for word in ("numba", "pandas", "daskcast", "missing"))


@pytest.mark.parametrize("package", ["numpy", "pandas", "numba", "python"])
def test_a_patch_release_fits(package: str) -> None:
    """The third number may differ where neither results nor pickles depend on it."""
    assert mismatches(sides(**{package: VERSIONS[package].replace(".1", ".1") + "9"})) == []


def test_a_scheduler_needs_no_numba() -> None:
    """The scheduler computes nothing: what only workers need may be missing there."""
    versions = sides()
    versions["scheduler"] = {
        "packages": {k: v for k, v in VERSIONS.items() if k not in ("numba", "scikit-optimize")}
    }
    assert mismatches(versions) == []


def test_a_side_that_tells_nothing_does_not_fit() -> None:
    """No versions at all is a mismatch, not a crash."""
    versions = sides()
    versions["workers"]["tcp://10.0.0.2:1"] = None
    [told] = mismatches(versions)
    assert "missing" in told


def test_a_long_table_is_cut() -> None:
    """A thousand wrong workers make a table that can be read."""
    wrong = {"packages": {**VERSIONS, "dask": "2020.1.0"}}
    versions = {**sides(), "workers": {f"tcp://10.0.0.{i}:1": wrong for i in range(1000)}}
    [told] = mismatches(versions)
    assert told.count("\n") < 30
    assert "and 980 more" in told


# -- executors of this machine -----------------------------------------------------------------


def test_serial_limits_blas_and_lets_it_go() -> None:
    """BLAS has one thread inside, and what it had before afterwards."""
    before = blas_threads()
    with open_cluster(RunOptions(cluster="serial")) as scheduler:
        assert scheduler == "synchronous"
        assert n_slots(scheduler) == 1
        assert blas_threads() == {1}
    assert blas_threads() == before


def test_threads_are_as_many_as_asked_for() -> None:
    """A pool of threads, closed at the end."""
    with open_cluster(RunOptions(cluster="threads", workers=3)) as scheduler:
        assert isinstance(scheduler, ThreadPoolExecutor)
        assert n_slots(scheduler) == 3
    with pytest.raises(RuntimeError, match="shutdown"):
        scheduler.submit(int)


@pytest.mark.integration
def test_processes_are_prepared() -> None:
    """Each process has one BLAS thread and leaves Ctrl-C to the driver."""
    with open_cluster(RunOptions(cluster="processes", workers=1)) as scheduler:
        assert isinstance(scheduler, ProcessPool)
        assert n_slots(scheduler) == 1
        assert scheduler.executor.submit(blas_threads).result(60) == {1}
        assert scheduler.executor.submit(_ignores_interrupts).result(60)


def _ignores_interrupts() -> bool:
    import signal

    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.integration
def test_local_opens_workers_and_leaves_nothing_behind() -> None:
    """A worker of two slots, one BLAS thread; not the default client, gone at the end."""
    options = RunOptions(cluster="local", workers=1, threads_per_worker=2)
    with open_cluster(options) as scheduler:
        assert isinstance(scheduler, Client)
        assert n_slots(scheduler) == 2
        assert set(map(frozenset, scheduler.run(blas_threads).values())) == {frozenset({1})}
        assert current_client() is None
    assert scheduler.status == "closed"


@pytest.mark.integration
def test_a_client_is_used_and_left_open() -> None:
    """The caller's client computes, is found as the current one, and stays as it was."""
    with (
        LocalCluster(
            n_workers=1, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0"
        ) as local,
        Client(local) as client,
    ):
        assert current_client() is client
        with open_cluster(RunOptions(), client) as scheduler:
            assert scheduler is client
        assert client.status == "running"
        assert client.submit(int, "3").result(30) == 3


# -- clusters over the network -----------------------------------------------------------------


@contextmanager
def dask_processes(tmp_path: Path, *, worker: bool = True) -> Iterator[str]:
    """Start a real scheduler, and a worker, as processes; give the address."""
    started = []
    file = tmp_path / "scheduler.json"
    flags = ["--no-dashboard", "--scheduler-file", str(file)]
    scheduler = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0"]
    try:
        started.append(_start([*scheduler, *flags]))
        address = _address(started[0])
        if worker:
            place = ["--local-directory", str(tmp_path), "--nthreads", "1", "--no-nanny"]
            started.append(_start([sys.executable, "-m", "dask", "worker", address, *place]))
        yield address
    finally:
        for process in reversed(started):
            process.kill()
            process.communicate()


def _start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _address(scheduler: subprocess.Popen[str]) -> str:
    assert scheduler.stderr is not None
    for line in scheduler.stderr:
        if "Scheduler at:" in line:
            return line.split("Scheduler at:")[1].strip()
    raise AssertionError("the scheduler did not start")


@pytest.mark.integration
def test_a_cluster_over_tcp_is_checked_and_prepared(tmp_path: Path) -> None:
    """A real scheduler and worker: versions fit, BLAS is limited, the folder is found shared."""
    with dask_processes(tmp_path) as address, open_cluster(RunOptions(cluster=address)) as found:
        assert isinstance(found, Client)
        assert n_slots(found) == 1
        assert set(map(frozenset, found.run(blas_threads).values())) == {frozenset({1})}
        folder = RunFolder.create(str(tmp_path / "run"), {"config": {"level": [80]}})
        assert shares(found, folder)
        assert not [path for path in (tmp_path / "run").iterdir() if "token" in path.name]


@pytest.mark.integration
def test_other_versions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that runs another numpy stops the run before any work, in one message."""
    monkeypatch.setattr(Client, "get_versions", lambda *_, **__: sides(numpy="1.26.0"))
    with (
        dask_processes(tmp_path) as address,
        pytest.raises(ClusterError, match=r"numpy +2\.4\.6 +1\.26\.0"),
        open_cluster(RunOptions(cluster=address)),
    ):
        pytest.fail("opened")


@pytest.mark.integration
def test_a_scheduler_without_workers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would ever compute: say so."""
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with (
        dask_processes(tmp_path, worker=False) as address,
        pytest.raises(ClusterError, match="no worker", check=lambda error: error.may_pass),
        open_cluster(RunOptions(cluster=address)),
    ):
        pytest.fail("opened")


@pytest.mark.integration
def test_an_address_where_nobody_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the address."""
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with (
        pytest.raises(ClusterError, match=r"127\.0\.0\.1:9", check=lambda error: error.may_pass),
        open_cluster(RunOptions(cluster="tcp://127.0.0.1:9")),
    ):
        pytest.fail("opened")


@pytest.mark.integration
def test_a_scheduler_that_dies_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process of the scheduler is killed while batches run: stopped, never hung."""
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0"]
    scheduler = _start([*command, "--no-dashboard", "--scheduler-file", str(file)])
    address = _address(scheduler)
    worker = _start(
        [sys.executable, "-m", "dask", "worker", address, "--nthreads", "1", "--no-nanny",
         "--local-directory", str(tmp_path), "--death-timeout", "5"]
    )  # fmt: skip
    told: list[str] = []

    def slow_work(batch: Batch) -> BatchReceipt:
        time.sleep(0.3)
        return BatchReceipt(batch.name, 1, 1, 0, 0, {}, 0.3, "worker")

    def on_receipt(receipt: BatchReceipt) -> None:
        told.append(receipt.batch)
        scheduler.kill()

    some = [Batch(f"b{i:05d}", None, 1) for i in range(20)]  # type: ignore[arg-type]
    try:
        with Client(address, timeout=30, set_as_default=False) as first:
            first.wait_for_workers(1, timeout=30)
        monkeypatch.setattr(cluster, "CONNECT_S", 2)  # a client looks as long for a lost scheduler
        with (
            open_cluster(RunOptions(cluster=address)) as found,
            pytest.raises(StoppedError, match="cluster was lost"),
        ):
            run_batches(some, slow_work, found, on_receipt)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.communicate(timeout=30)
    assert 1 <= len(told) < 20


DRIVER = """
import os, sys, time
from daskcast.cluster import open_cluster
from daskcast.config import RunOptions

def pid(_):
    time.sleep(0.5)
    return os.getpid()

if __name__ == "__main__":
    with open_cluster(RunOptions(cluster="processes", workers=2)) as pool:
        print(*set(pool.executor.map(pid, range(4))), flush=True)
        time.sleep(120)
"""


@pytest.mark.integration
def test_processes_end_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    """A driver that gets no chance to say goodbye leaves no worker behind."""
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    workers = [int(word) for word in driver.stdout.readline().split()]
    assert workers
    driver.kill()
    driver.communicate(timeout=30)
    end = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < end, "workers outlive their driver"
        time.sleep(0.1)


def test_a_client_that_cannot_close_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask may stumble when it closes the connections to a scheduler that is gone."""

    class Stumbling(Client):  # clients of other tests, collected meanwhile, are of another class
        def close(self, *given: object, **more: object) -> None:
            open_before = self.status == "running"
            super().close(*given, **more)
            if open_before:
                raise RuntimeError("Cannot change state of expiring Timeout")

    monkeypatch.setattr("daskcast.cluster.Client", Stumbling)
    options = RunOptions(cluster="local", workers=1, tracking=False)
    with pytest.raises(StoppedError, match="the disk is full"), open_cluster(options):
        raise StoppedError("the disk is full")
