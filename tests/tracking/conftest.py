"""Stores to track into: one MLflow server for the whole session, SQLite files, and results."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import postgres
import pytest
from mlflow import MlflowClient

from daskcast.config import ForecastConfig
from daskcast.records import EntityResult, Failure, Forecast, Scores, Status, Trial
from daskcast.store import RunFolder
from daskcast.testing import SeenRun
from daskcast.testing.trackers import AWKWARD_IDS, child_of, parent_of
from daskcast.tracking import MemoryTracker, MetricPoint, MlflowTracker, RunStatus

START_S = 120


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Keep what MLflow writes into the current folder in the test's own."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory):
    """Address of a real MLflow server on SQLite, started once for the session."""
    with running_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def bulk_server(tmp_path_factory):
    """Address of an MLflow server that takes many runs in a request."""
    with running_server(tmp_path_factory.mktemp("bulk"), "--app-name", "daskcast") as server:
        yield server


@pytest.fixture(scope="session")
def server_of(tmp_path_factory):
    """Give a function that makes a server with options and settings of one's own."""

    def server(*options, **environment):
        return running_server(tmp_path_factory.mktemp("server"), *options, **environment)

    return server


class running_server:
    """An MLflow server on a free port of the loopback, ended at exit."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.folder = folder
        self.options = options
        self.environment = environment
        self.port = free_port()

    def __enter__(self) -> str:
        database = f"sqlite:///{self.folder / 'mlflow.db'}"
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(self.port), "--workers", "1", "--backend-store-uri", database),
            *("--artifacts-destination", str(self.folder / "artifacts")),
            *self.options,
        ]
        self.log = (self.folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            command,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **self.environment},
            start_new_session=True,
        )
        address = f"http://127.0.0.1:{self.port}"
        try:
            self._wait(address)
        except BaseException:
            self.stop()
            raise
        return address

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and the processes it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
        self.process.wait(30)
        self.log.close()

    def _wait(self, address: str) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        text = (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"the MLflow server did not start in {START_S} s:\n{text[-3000:]}")


def free_port() -> int:
    """Give a port of the loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="session")
def sqlite_uri(tmp_path_factory):
    """Address of a SQLite file for the session; each test takes an experiment of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'mlflow.db'}"


@pytest.fixture
def memory_store():
    """Give a store in memory."""
    return MemoryStore()


@pytest.fixture
def sqlite_store(sqlite_uri, tmp_path, request):
    """MLflow on SQLite, in an experiment of the test's own."""
    return MlflowStore(sqlite_uri, request.node.name, tmp_path / "scratch")


@pytest.fixture
def one_by_one_store(sqlite_uri, tmp_path, request):
    """MLflow on SQLite, in an experiment of the test's own, each run by the calls of MLflow."""
    return MlflowStore(sqlite_uri, f"single {request.node.name}", tmp_path / "scratch", bulk="off")


@pytest.fixture(scope="session")
def postgres_uri():
    """Address of a database of PostgreSQL, started once for the session."""
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed: there is no initdb")
    with postgres.RunningPostgres() as server:
        yield server.uri


@pytest.fixture
def postgres_store(postgres_uri, tmp_path, request):
    """MLflow on PostgreSQL, in an experiment of the test's own, in bulk."""
    scratch = tmp_path / "scratch"
    return MlflowStore(postgres_uri, request.node.name, scratch, bulk="database")


@pytest.fixture
def server_store(mlflow_server, tmp_path, request):
    """MLflow behind a server, in an experiment of the test's own."""
    return MlflowStore(mlflow_server, f"server {request.node.name}", tmp_path / "scratch")


@pytest.fixture
def bulk_store(bulk_server, tmp_path, request):
    """MLflow behind a server that takes many runs in a request."""
    return MlflowStore(bulk_server, f"bulk {request.node.name}", tmp_path / "scratch")


@pytest.fixture
def run_folder(tmp_path):
    """Give a run folder without batches."""
    config = ForecastConfig(h=2)
    return RunFolder.create(str(tmp_path / "run"), {"config": config.to_dict()})


@pytest.fixture
def results_of():
    """Give a function that makes the result of each of some entities."""
    return lambda *names: [result(name) for name in names]


def result(name: str, *, status: Status = Status.OK) -> EntityResult:
    """Give the result of an entity: its search and its scores, or its failure."""
    if name.startswith("bad"):
        failure = Failure("TooShort", "2 observations, 4 needed; give a longer history")
        return EntityResult(name, Status.FAILED, failure=failure)
    trials = tuple(
        Trial(n, f"ETS({n})", {"trend": "A", "alpha": 0.5 + n}, 1 / (n + 1), float(n == 2), 0.01)
        for n in range(3)
    )
    return EntityResult(
        name,
        status,
        model="ETS(2)",
        params={"forms": {"ETS(2)": 1.0}},
        n_obs=120,
        scores=Scores(3, 0.5, 0.75, 0.7, 12.0, 1.0, 0.25),
        stopped_by="trials",
        seconds=0.25,
        forecast=Forecast(
            np.array(["2026-01-01", "2026-02-01"], "datetime64[us]"),
            np.array([1.0, 2.0]),
            np.zeros((2, 2)),
            np.ones((2, 2)),
        ),
        trials=trials,
    )


RANDOM_TAGS = ("mlflow.parentRunId", "daskcast.run_key")


@pytest.fixture
def content_after():
    """Give a function that sends children of all kinds one way, and reads back what is there.

    By name, without ids that are made at random.
    """

    def content(store, bulk):
        tracker = MlflowTracker(store.uri, store.experiment, bulk=bulk)
        parent = tracker.start(parent_of())
        delivery = tracker.log_children(children_of_all_kinds(parent))
        assert not delivery.refused
        return {
            run.name: dataclasses.replace(
                run,
                run_id="",
                tags={k: v for k, v in run.tags.items() if k not in RANDOM_TAGS},
            )
            for run in store.children(parent)
        }

    return content


def children_of_all_kinds(parent):
    """Give children with awkward ids, one that failed, and two with more or odder metrics."""
    back = tuple(MetricPoint("loss", float(-n), 5 - n, n) for n in range(5))
    return [
        *(child_of(parent, entity) for entity in AWKWARD_IDS),
        dataclasses.replace(
            child_of(parent, "bad"), status=RunStatus.FAILED, params={}, metrics=()
        ),
        dataclasses.replace(child_of(parent, "back"), metrics=(*back, back[0])),
        dataclasses.replace(
            child_of(parent, "large"),
            params={f"p{n}": "é" * 6000 for n in range(130)},
            metrics=tuple(MetricPoint("loss", float(n), n, n) for n in range(2100)),
        ),
    ]


class MemoryStore:
    """Runs in a dictionary that several trackers share."""

    def __init__(self) -> None:
        self.runs = {}

    def open(self):
        return MemoryTracker(self.runs)

    def run(self, run_id):
        found = self.runs[run_id]
        metrics = {}
        for point in found.metrics:
            seen = (point.step, point.value, found.start_ms + point.after_ms)
            metrics.setdefault(point.key, []).append(seen)
        return SeenRun(
            run_id=run_id,
            name=found.name,
            status=found.status,
            start_ms=found.start_ms,
            end_ms=found.end_ms,
            params=dict(found.params),
            tags=dict(found.tags),
            metrics=metrics,
            artifacts=found.artifacts,
        )

    def children(self, run_id):
        return [
            self.run(child)
            for child, found in self.runs.items()
            if found.tags.get("mlflow.parentRunId") == run_id
        ]


class MlflowStore:
    """Runs in MLflow, read back with a client of MLflow's own."""

    def __init__(self, uri: str, experiment: str, scratch: Path, *, bulk: str = "auto") -> None:
        self.uri = uri
        self.experiment = experiment
        self.scratch = scratch
        self.bulk = bulk

    def open(self):
        return MlflowTracker(self.uri, self.experiment, bulk=self.bulk)

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.uri)

    def run(self, run_id):
        return self._seen(self.client.get_run(run_id), self._artifacts(run_id))

    def children(self, run_id):
        found = self.client.get_experiment_by_name(self.experiment)
        runs = self.client.search_runs(
            [found.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'", max_results=5000
        )
        return [self._seen(run) for run in runs]

    def _seen(self, run, artifacts=()) -> SeenRun:
        history = {
            key: sorted(
                (point.step, point.value, point.timestamp)
                for point in self.client.get_metric_history(run.info.run_id, key)
            )
            for key in run.data.metrics
        }
        return SeenRun(
            run_id=run.info.run_id,
            name=run.info.run_name,
            status=run.info.status,
            start_ms=run.info.start_time,
            end_ms=run.info.end_time,
            params=run.data.params,
            tags=run.data.tags,
            metrics=history,
            artifacts=dict(artifacts),
        )

    def _artifacts(self, run_id: str, folder: str | None = None) -> dict[str, bytes]:
        found = {}
        for item in self.client.list_artifacts(run_id, folder):
            if item.is_dir:
                found |= self._artifacts(run_id, item.path)
            else:
                target = self.scratch / run_id
                target.mkdir(parents=True, exist_ok=True)
                local = self.client.download_artifacts(run_id, item.path, str(target))
                found[item.path] = Path(local).read_bytes()
        return found


REFUSALS = {
    401: b"You are not authenticated. Please see the documentation.",
    403: b'{"error_code": "PERMISSION_DENIED", "message": "Permission denied"}',
    429: b"slow down",
    500: b'{"error_code": "INTERNAL_ERROR", "message": "boom"}',
    503: b"busy",
}


class Proxy:
    """A server between the tracker and MLflow that counts requests, and can misbehave.

    ``fault`` is asked for each request, with its number and path: None lets it through, a number
    is answered as a status, ``"hang"`` is never answered, ``"drop"`` closes the connection,
    ``"lose"`` does so once the request is done.
    """

    def __init__(self, target: str) -> None:
        self.target = target.removeprefix("http://")
        self.requests: list[tuple[str, str]] = []
        self.authorizations: set[str | None] = set()
        self.fault = lambda *_: None
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop to listen, as a server that was killed."""
        if not self.ended.is_set():
            self.ended.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(30)

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        with self._lock:
            self.requests.append((handler.command, path))
            self.authorizations.add(handler.headers["Authorization"])
            number = len(self.requests)
        fault = self.fault(number, path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if fault == "hang":
            self.ended.wait(30)
        if fault == "lose":
            self._forward(handler, body)
        if fault in ("hang", "drop", "lose"):
            handler.close_connection = True
            handler.connection.close()
            return
        status, data = (fault, REFUSALS[fault]) if fault else self._forward(handler, body)
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _forward(
        self, handler: http.server.BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, bytes]:
        onward = http.client.HTTPConnection(self.target, timeout=60)
        kept = ("Content-Type", "Authorization")
        headers = {name: handler.headers[name] for name in kept if handler.headers[name]}
        onward.request(handler.command, handler.path, body, headers)
        answer = onward.getresponse()
        found = answer.status, answer.read()
        onward.close()
        return found

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                # A client that has given up is no trouble here.
                with contextlib.suppress(OSError):
                    proxy.answer(self)

            do_GET = do_PUT = do_PATCH = do_POST

            def log_message(self, *args: object) -> None:
                """Stay quiet."""

        return Handler


@pytest.fixture
def proxy(mlflow_server):
    """Give a proxy before the MLflow server."""
    found = Proxy(mlflow_server)
    yield found
    found.close()


@pytest.fixture
def proxy_to():
    """Give a function that makes a proxy before a server."""
    with contextlib.ExitStack() as stack:

        def make(address):
            found = Proxy(address)
            stack.callback(found.close)
            return found

        yield make


@pytest.fixture
def proxied(proxy, server_store):
    """Give the store of the server, reached by trackers through the proxy."""

    class Proxied:
        def open(self):
            return MlflowTracker(proxy.uri, server_store.experiment)

        run, children, client = server_store.run, server_store.children, server_store.client

    return Proxied()


@pytest.fixture
def hasty(monkeypatch):
    """Have the settings of a user who does not wait."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
