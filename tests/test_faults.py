"""Whatever dies, hangs or is cut off during a run: nobody is lost, and all else is the same."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import pandas as pd
import psutil
import pytest
from distributed import Client, LocalCluster
from poison import ILL, Poison, values

from daskcast import OwnModel, demo, machine, pipeline
from daskcast.config import ForecastConfig, RunOptions
from daskcast.engine import flight
from daskcast.errors import StoppedError
from daskcast.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daskcast.progress import Progress, RunSummary

pytestmark = pytest.mark.integration
COMMAND = str(Path(sys.executable).parent / "daskcast")
POISONED = ForecastConfig(h=3, search="portfolio", cv_windows=1, models=("naive", OwnModel(Poison)))
PLAIN = ForecastConfig(h=3, search="portfolio", cv_windows=1)
#: other processes find the poisonous model
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "apart")}
QUIET = {"dashboard_address": "127.0.0.1:0", "silence_logs": 50}
POISONOUS = {"E05": "segfault", "E06": "exit", "E17": "kill", "E23": "exit"}


def panel(acts: dict[str, str], n: int = 30) -> pd.DataFrame:
    """Make entities E00, E01 ..., some of which tell the model to do harm."""
    ids = [f"E{i:02d}" for i in range(n)]
    months = pd.date_range("2020-01-01", periods=60, freq="MS")
    parts = [
        pd.DataFrame({"unique_id": x, "ds": months, "y": values(acts.get(x), level=100.0 + i)})
        for i, x in enumerate(ids)
    ]
    return pd.concat(parts, ignore_index=True)


def run(df: Any, config: ForecastConfig, out: Path, **options: Any) -> RunSummary:
    """Run with small batches, untracked."""
    client, on_progress = options.pop("client", None), options.pop("on_progress", None)
    given = RunOptions(**{"tracking": False, "batch_size": 4, "out": str(out), **options})
    return pipeline.run(df, config, given, client=client, on_progress=on_progress)


def forecasts(folder: RunFolder) -> dict[str, bytes]:
    """Give each entity's forecast as bytes: equal only where equal to the last bit."""
    frame = folder.read("forecasts").to_pandas().sort_values(["unique_id", "ds"])
    return {
        str(unique_id): rows.drop(columns="unique_id").to_records(index=False).tobytes()
        for unique_id, rows in frame.groupby("unique_id")
    }


def failures(folder: RunFolder) -> dict[str, str]:
    """Give the failed entities and their kind of trouble."""
    frame = folder.read("entities").to_pandas()
    failed = frame[frame["status"] == "failed"]
    return dict(zip(failed["unique_id"], failed["error_type"], strict=True))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Forecasts of the good entities, made without the poisonous ones."""
    df = panel(POISONOUS)
    good = df[~df["unique_id"].isin(POISONOUS)]
    folder = run(good, POISONED, tmp_path_factory.mktemp("good") / "run", cluster="serial").folder
    return forecasts(folder)


# -- poisonous entities ------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["local", pytest.param("processes", marks=pytest.mark.long)])
def test_poisonous_entities_alone_fail(
    executor: str, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """They end their workers; they are named with the reason, the others are as without them."""
    folder = run(panel(POISONOUS), POISONED, tmp_path / "run", cluster=executor, workers=2).folder
    assert failures(folder) == dict.fromkeys(POISONOUS, "ProcessDied")
    assert forecasts(folder) == undisturbed
    assert folder.read("entities").num_rows == 30


@pytest.mark.long
def test_a_cluster_with_rules_of_its_own_finds_them_too(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """Dask blames after four deaths there, neighbours too, and two batches share a worker."""
    df = panel(POISONOUS)
    df = df[~df["unique_id"].isin(["E17", "E23"])]
    with scheduler(tmp_path) as (_, target), worker(f"tcp://{target}", tmp_path, "--nthreads", "2"):
        folder = run(df, POISONED, tmp_path / "run", cluster=f"tcp://{target}").folder
    assert failures(folder) == {"E05": "ProcessDied", "E06": "ProcessDied"}
    assert forecasts(folder) == undisturbed


def test_an_entity_that_fills_the_memory_is_found(tmp_path: Path) -> None:
    """The nanny ends its worker; apart, it fails with what it held, and nobody else does."""
    rules = {
        "distributed.scheduler.allowed-failures": 0,
        # a machine that is busy starts no worker in the 15 s after which the cluster forgets it
        "distributed.deploy.lost-worker-timeout": "120s",
    }
    with (
        dask.config.set(rules),
        LocalCluster(n_workers=1, threads_per_worker=1, memory_limit="1.2GB", **QUIET) as local,
        Client(local, set_as_default=False) as client,
    ):
        df = panel({"E02": "memory"}, n=6)
        folder = run(df, POISONED, tmp_path / "run", client=client).folder
    assert failures(folder) == {"E02": "OutOfMemory"}
    assert folder.read("forecasts").num_rows == 5 * 3


@pytest.mark.parametrize(
    "executor", ["serial", pytest.param("processes", marks=pytest.mark.long), "local"]
)
def test_a_time_limit_stops_an_endless_entity(
    executor: str, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """With any executor: the others have their forecasts, the endless one is marked."""
    df = panel({**POISONOUS, "E05": "endless", "E06": "endless"})
    df = df[~df["unique_id"].isin(["E17", "E23"])]
    options = {"cluster": executor, "workers": 2, "entity_timeout": 2.0}
    folder = run(df, POISONED, tmp_path / "run", **options).folder
    assert failures(folder) == {"E05": "EntityTimeout", "E06": "EntityTimeout"}
    assert forecasts(folder) == undisturbed
    stopped = folder.read("entities").to_pandas().set_index("unique_id").loc[["E05", "E06"]]
    assert set(stopped["stopped_by"]) == {"time"}


# -- workers -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def airports() -> pd.DataFrame:
    return demo.airports(300, months=60)


@pytest.fixture(scope="module")
def expected(airports: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = run(airports, PLAIN, tmp_path_factory.mktemp("plain") / "run", cluster="serial").folder
    return forecasts(folder)


def workers() -> list[psutil.Process]:
    """Find the worker processes of the local cluster of this process."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "multiprocessing.forkserver" in " ".join(child.cmdline()):
                return sorted(child.children(), key=lambda worker: worker.pid)
    return []


def test_workers_killed_again_and_again(
    airports: pd.DataFrame, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """Every few batches a worker gets SIGKILL: all forecasts are there, and the same."""
    killed = []

    def on_progress(progress: Progress) -> None:
        if progress.stage == "work" and progress.counts.batches % 10 == 5:
            with contextlib.suppress(psutil.Error, IndexError):
                workers()[-1].kill()
                killed.append(progress.counts.batches)

    options = {"cluster": "local", "workers": 2, "on_progress": on_progress}
    folder = run(airports, PLAIN, tmp_path / "run", **options).folder
    assert len(killed) > 4
    assert forecasts(folder) == expected


def deafen(dask_scheduler: Any) -> None:
    """Lose what the scheduler sends to one of its workers from now on; heartbeats go on."""
    stream = dask_scheduler.stream_comms[min(dask_scheduler.workers)]
    stream.send = lambda *_messages: None


@pytest.mark.parametrize("nannies", [True, pytest.param(False, marks=pytest.mark.long)])
def test_lost_messages_lose_no_batch(
    nannies: bool,
    airports: pd.DataFrame,
    expected: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that waits for work, while the scheduler waits for it, is started again.

    One that nobody can start again stops the run, which then goes on elsewhere, unless the
    batches that the scheduler waits for are kept already.
    """
    monkeypatch.setattr(flight, "QUIET_S", 2.0)
    monkeypatch.setattr(flight, "TICK_S", 1.0)
    deaf: list[int] = []

    def on_progress(progress: Progress) -> None:
        if progress.counts.batches >= 1 and not deaf:
            deaf.append(progress.counts.batches)
            client.run_on_scheduler(deafen)

    how = {"n_workers": 2, "threads_per_worker": 1, "processes": nannies}
    with LocalCluster(**how, **QUIET) as there, Client(there) as client:
        options = {"client": client, "on_progress": on_progress}
        if nannies:
            folder = run(airports, PLAIN, tmp_path / "run", **options).folder
        else:
            stopped = ""
            try:
                folder = run(airports, PLAIN, tmp_path / "run", **options).folder
            except StoppedError as error:
                stopped = str(error)
            if stopped:
                assert re.search("the cluster has lost batches: .*nanny", stopped)
                assert "75 of 75 batches" not in stopped
                again = {"cluster": "serial", "resume": True}
                folder = run(airports, PLAIN, tmp_path / "run", **again).folder
    assert deaf
    assert forecasts(folder) == expected


def test_a_frozen_worker_is_replaced(
    airports: pd.DataFrame,
    expected: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of two workers is stopped in its tracks: its batch is done by another."""
    monkeypatch.setattr(machine, "WORKER_TTL", "5s")
    frozen: list[psutil.Process] = []

    def on_progress(progress: Progress) -> None:
        if progress.counts.batches >= 5 and not frozen:
            frozen.append(workers()[0])
            frozen[0].suspend()

    options = {"cluster": "local", "workers": 2, "on_progress": on_progress}
    try:
        folder = run(airports, PLAIN, tmp_path / "run", **options).folder
    finally:
        with contextlib.suppress(psutil.Error):
            frozen[0].kill()
    assert forecasts(folder) == expected


def test_a_cluster_that_loses_all_workers_stops_the_run(
    airports: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is left to work: stopped with a reason, resumable, not hung."""
    monkeypatch.setattr("daskcast.engine.flight.MOST_SILENT_S", 2.0)
    monkeypatch.setattr("daskcast.engine.flight.TICK_S", 0.5)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, **QUIET) as local,
        Client(local, set_as_default=False) as client,
    ):

        def on_progress(progress: Progress) -> None:
            if progress.counts.batches == 3:
                local.scale(0)

        with pytest.raises(StoppedError, match="no worker for 2 s"):
            run(airports, PLAIN, tmp_path / "run", client=client, on_progress=on_progress)
    assert len(RunFolder.open(str(tmp_path / "run")).finished()) >= 3


def at_work(dask_worker: Any) -> bool:
    """Tell whether a worker is at a task."""
    return bool(dask_worker.state.executing or dask_worker.active_threads)


def test_a_task_that_outlives_its_driver_comes_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its driver stops, another goes on with other batches: no entity is there twice."""
    gate = tmp_path / "gate"
    gate.touch()
    plain = run(panel({}, n=8), POISONED, tmp_path / "plain", cluster="serial", batch_size=2)
    first = plain.folder.read("entities", ["b00001"])["unique_id"].to_pylist()
    df = panel({f"E{i:02d}": "held" for i in range(8) if f"E{i:02d}" not in first}, n=8)

    def stop(progress: Progress) -> None:
        if progress.counts.batches:
            raise KeyboardInterrupt

    monkeypatch.setenv(ILL, str(gate))  # holds the workers alone
    with (
        dask.config.set({"distributed.scheduler.worker-saturation": 1.0}),
        LocalCluster(n_workers=2, threads_per_worker=1, **QUIET) as local,
        Client(local, set_as_default=False) as client,
    ):
        monkeypatch.setenv(ILL, str(tmp_path / "no-gate"))
        options = {"client": client, "on_progress": stop, "batch_size": 2}
        with pytest.raises(StoppedError, match="1 of 4 batches"):
            run(df, POISONED, tmp_path / "run", **options)
        again = {"cluster": "serial", "resume": True, "batch_size": 3}
        folder = run(df, POISONED, tmp_path / "run", **again).folder
        assert any(client.run(at_work).values())
        gate.unlink()
        while any(client.run(at_work).values()):
            time.sleep(0.1)
    assert sorted(folder.read("entities")["unique_id"].to_pylist()) == sorted(set(df["unique_id"]))
    whole = run(df, POISONED, tmp_path / "whole", cluster="serial").folder
    assert forecasts(folder) == forecasts(whole)


# -- the network and the scheduler -------------------------------------------------------------


class Wire:
    """A connection between worker and scheduler that can be cut.

    Parameters
    ----------
    target : str
        ``HOST:PORT`` of the scheduler.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.n_cut = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._open += [near, far]
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Cut all connections; new ones pass."""
        cut, self._open = self._open, []
        for end in cut:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.n_cut += bool(cut)

    def close(self) -> None:
        self._listener.close()
        self.cut()


@contextlib.contextmanager
def scheduler(place: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start a scheduler as a process; give it and its HOST:PORT."""
    file = place / "scheduler.json"
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--no-dashboard", "--scheduler-file", str(file)],
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=ENVIRONMENT,
    )  # fmt: skip
    try:
        until(lambda: file.exists() and file.read_text().endswith("}"), process)
        yield process, json.loads(file.read_text())["address"].removeprefix("tcp://")
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def worker(address: str, place: Path, *flags: str) -> Iterator[None]:
    """Keep a worker with its nanny there, as Kubernetes does: started again when it ends.

    Dask's own command ends when the connection to the scheduler breaks.
    """
    command = [sys.executable, "-m", "dask", "worker", address, *flags]
    command += ["--no-dashboard", "--local-directory", str(place)]
    running: list[subprocess.Popen[bytes]] = []
    over = threading.Event()

    def keep() -> None:
        while not over.wait(0.2):
            if not running or running[-1].poll() is not None:
                running.append(
                    subprocess.Popen(
                        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                        env=ENVIRONMENT, start_new_session=True,
                    )
                )  # fmt: skip

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_cut_network_costs_nobody(
    airports: pd.DataFrame, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """All connections of a worker to its scheduler are cut, three times, while it works."""
    with scheduler(tmp_path) as (_, target):
        wire = Wire(target)

        def on_progress(progress: Progress) -> None:
            if progress.counts.batches in (5, 20, 40) and wire.n_cut < 3:
                wire.cut()

        with worker(wire.address, tmp_path), Client(f"tcp://{target}", set_as_default=False) as c:
            c.wait_for_workers(1, timeout=60)
            folder = run(
                airports, PLAIN, tmp_path / "run", client=c, on_progress=on_progress
            ).folder
        wire.close()
    assert wire.n_cut >= 3
    assert forecasts(folder) == expected


def test_a_lost_scheduler_ends_with_three_and_the_run_goes_on(
    airports: pd.DataFrame, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """The scheduler is killed: exit code 3, a line that resumes, and the same forecasts then."""
    airports.to_parquet(tmp_path / "data.parquet")
    place = tmp_path / "run"
    with scheduler(tmp_path) as (process, target), worker(f"tcp://{target}", tmp_path):
        call = [COMMAND, "run", "data.parquet", "--horizon", "3", "--search", "portfolio",
                "--cv-windows", "1", "--batch-size", "4", "--no-tracking", "--out", str(place),
                "--cluster", f"tcp://{target}"]  # fmt: skip
        running = subprocess.Popen(
            call, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        until(lambda: len(list(place.glob("batches/*.json"))) >= 3, running)
        process.kill()
        _, stderr = running.communicate(timeout=120)
    assert running.returncode == 3, stderr
    assert "Traceback" not in stderr, stderr
    [line] = [line for line in stderr.splitlines() if line.startswith("go on with: ")]
    assert line.endswith("--resume")
    options = {"cluster": "serial", "resume": True}
    assert forecasts(run(airports_as_read(tmp_path), PLAIN, place, **options).folder) == expected


def airports_as_read(folder: Path) -> str:
    return str(folder / "data.parquet")


def until(condition: Any, running: subprocess.Popen[Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


# -- signals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("executor", "number"),
    [
        ("serial", signal.SIGTERM),
        ("threads", signal.SIGINT),
        ("processes", signal.SIGTERM),
        ("local", signal.SIGINT),
        ("local", signal.SIGTERM),
    ],
)
def test_a_signal_is_heard_while_an_entity_never_ends(
    executor: str, number: int, tmp_path: Path
) -> None:
    """Within 10 s, exit code 3 and the resume line; no process is left."""
    panel({f"E{i:02d}": "endless" for i in range(4, 30)}).to_parquet(tmp_path / "data.parquet")
    call = [COMMAND, "run", "data.parquet", "--horizon", "3", "--search", "portfolio",
            "--cv-windows", "1", "--batch-size", "4", "--no-tracking", "--out", "run", "--workers",
            "2", "--models", "naive,poison:Poison", "--cluster", executor]  # fmt: skip
    running = subprocess.Popen(
        call, cwd=tmp_path, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    place = tmp_path / "run"
    below: list[psutil.Process] = []
    try:
        until(lambda: len(list(place.glob("batches/*.json"))) >= 1, running)
        time.sleep(1)
        below = psutil.Process(running.pid).children(recursive=True)
        begun = time.monotonic()
        os.killpg(running.pid, number) if number == signal.SIGINT else running.send_signal(number)
        stdout, stderr = running.communicate(timeout=30)
        assert time.monotonic() - begun < 10
        assert running.returncode == 3, stderr
        assert "go on with: " in stderr, stdout
        _, alive = psutil.wait_procs(below, 10)
        assert not alive
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        for left in below:
            with contextlib.suppress(psutil.Error):
                left.kill()
