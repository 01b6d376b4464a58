"""Stores to track into: one MLflow server for the whole session, SQLite files, and results."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import postgres
import pytest
from mlflow import MlflowClient
from mlflow_server import RunningServer
from proxy import Proxy

from daskcast.config import ForecastConfig
from daskcast.records import EntityResult, Failure, Forecast, Scores, Status, Trial
from daskcast.store import RunFolder
from daskcast.testing import SeenRun
from daskcast.testing.trackers import AWKWARD_IDS, child_of, parent_of
from daskcast.tracking import MemoryTracker, MetricPoint, MlflowTracker, RunStatus


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Keep what MLflow writes into the current folder in the test's own."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory):
    """Address of a real MLflow server on SQLite, started once for the session."""
    with RunningServer(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def bulk_server(tmp_path_factory):
    """Address of an MLflow server that takes many runs in a request."""
    with RunningServer(tmp_path_factory.mktemp("bulk"), "--app-name", "daskcast") as server:
        yield server


@pytest.fixture(scope="session")
def server_of(tmp_path_factory):
    """Give a function that makes a server with options and settings of one's own."""

    def server(*options, **environment):
        return RunningServer(tmp_path_factory.mktemp("server"), *options, **environment)

    return server


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
def make_store(tmp_path):
    """Give a function that makes a store to read back from."""
    return lambda address, experiment: MlflowStore(address, experiment, tmp_path / "scratch")


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
