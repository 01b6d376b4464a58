"""Each child once and whole, whatever happens between the client and the server."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from itertools import pairwise

import pytest
from mlflow_server import RunningServer

from daskcast.errors import TrackingError
from daskcast.testing.trackers import child_of, parent_of
from daskcast.tracking import MlflowTracker, RunStatus

# MLflow 3.17 asks SQLAlchemy 2.1 for a loader strategy that is to go.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
]

N = 36
KEY = "daskcast.run_key"


@pytest.fixture
def quick(monkeypatch):
    """Have the settings of a user who asks again at once."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")


@pytest.fixture
def named():
    """Give a parent that can be found by its key."""
    key = f"{random.getrandbits(128):032x}"
    return dataclasses.replace(parent_of(), tags={**parent_of().tags, KEY: key}, resumed=True)


@pytest.fixture
def whole(make_store):
    """Give a function that checks that a store holds one parent, and each child once and whole."""

    def check(address, experiment, parent):
        store = make_store(address, experiment)
        seen = store.children(parent)
        expected = {f"e{n}": child_of(parent, f"e{n}") for n in range(N)}
        assert sorted(run.name for run in seen) == sorted(expected)
        for run in seen:
            child = expected[run.name]
            assert (run.status, run.params) == ("FINISHED", child.params)
            assert child.tags.items() <= run.tags.items()
            assert run.end_ms - run.start_ms == child.duration_ms
            values = sorted((m.key, m.step, m.value) for m in child.metrics)
            assert values == sorted(
                (key, step, value)
                for key, points in run.metrics.items()
                for step, value, _ in points
            )
        found = store.client.get_experiment_by_name(experiment)
        parents = store.client.search_runs([found.experiment_id], "tags.`daskcast.kind` = 'run'")
        assert [run.info.run_id for run in parents] == [parent]

    return check


def children(parent):
    return [child_of(parent, f"e{n}") for n in range(N)]


@pytest.mark.parametrize("bulk", ["auto", "off"], ids=["endpoint", "rest"])
def test_answers_lost_and_requests_refused(
    bulk, bulk_server, proxy_to, quick, named, whole, request
):
    """Of all requests 5 % lose their answer and 10 % are refused for now."""
    proxy = proxy_to(bulk_server)
    rng = random.Random(11)
    happened = []

    def fault(number, path):
        drawn = rng.random()
        found = "lose" if drawn < 0.05 else 429 if drawn < 0.15 else None
        happened.append(found)
        return found

    proxy.fault = fault
    tracker = MlflowTracker(proxy.uri, request.node.name, bulk=bulk)
    parent = tracker.start(named)
    sent = 0
    for at in range(0, N, 4):
        delivery = tracker.log_children(children(parent)[at : at + 4])
        assert (delivery.refused, delivery.stopped) == ((), "")
        sent += delivery.sent
    tracker.finish(RunStatus.FINISHED, {"n_entities": N})
    assert sent == N
    assert {"lose", 429} <= set(happened)
    whole(bulk_server, request.node.name, parent)


@pytest.mark.parametrize("fault", ["lose", 503])
def test_a_parent_whose_creation_has_no_answer_is_one(
    fault, mlflow_server, proxy_to, quick, named, make_store, request
):
    """What was made is found by its key; a server that was busy made none."""
    proxy = proxy_to(mlflow_server)
    first = iter([fault])
    proxy.fault = lambda _, path: next(first, None) if path.endswith("runs/create") else None
    tracker = MlflowTracker(proxy.uri, request.node.name)
    parent = tracker.start(named)
    tracker.finish(RunStatus.FINISHED, {"n": 1.0})
    assert not list(first)
    store = make_store(mlflow_server, request.node.name)
    found = store.client.get_experiment_by_name(request.node.name)
    runs = store.client.search_runs([found.experiment_id])
    assert [run.info.run_id for run in runs] == [parent]


def test_a_run_that_is_made_late_is_removed(
    mlflow_server, proxy_to, monkeypatch, named, make_store, request
):
    """A server so slow that it makes a run after the client has asked again: one stays."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    proxy = proxy_to(mlflow_server)
    tracker = MlflowTracker(proxy.uri, request.node.name)
    parent = tracker.start(named)
    asked = []

    def slow(_number, path):
        asked.extend([path] * path.endswith("runs/create"))
        if path.endswith("runs/create") and len(asked) == 1:
            time.sleep(3)

    proxy.fault = slow
    assert tracker.log_children([child_of(parent)]).sent == 1
    until = time.monotonic() + 20
    store = make_store(mlflow_server, request.node.name)
    while len(store.children(parent)) < 2:
        assert time.monotonic() < until, "the late request made no run"
        time.sleep(0.05)
    tracker.finish(RunStatus.FINISHED, {})
    (left,) = store.children(parent)
    assert left.status == "FINISHED"


def test_a_server_that_asks_to_wait_is_left_alone_so_long(
    mlflow_server, proxy_to, quick, named, request
):
    """All threads wait, not only the one that was told."""
    proxy = proxy_to(mlflow_server)
    tracker = MlflowTracker(proxy.uri, request.node.name)
    parent = tracker.start(named)
    times = []
    refused = iter([429])
    proxy.retry_after = "2"

    def fault(*_):
        times.append(time.monotonic())
        return next(refused, None) if len(times) > 20 else None

    proxy.fault = fault
    assert tracker.log_children(children(parent)).sent == N
    gaps = [after - before for before, after in pairwise(times)]
    # Those in flight at that moment may still come.
    assert max(gaps) > 1.5


def opened_again(address, bulk, this, parent):
    """Come back as ``daskcast track`` does, once the server is there."""
    until = time.monotonic() + 60
    while True:
        tracker = MlflowTracker(address, bulk, bulk=bulk)
        try:
            assert tracker.start(dataclasses.replace(this, run_id=parent)) == parent
        except TrackingError:
            assert time.monotonic() < until, "the server does not come back"
            time.sleep(0.2)
        else:
            return tracker


def test_a_server_killed_and_started_again(tmp_path, named, whole):
    """Both ways go on, or say that they stopped and go on when asked again; nothing is twice."""
    server = RunningServer(tmp_path, "--app-name", "daskcast")
    with server as address:
        open_ways = {}
        for bulk in ("auto", "off"):
            key = {KEY: f"{random.getrandbits(128):032x}"}
            this = dataclasses.replace(named, tags={**named.tags, **key})
            tracker = MlflowTracker(address, bulk, bulk=bulk)
            open_ways[bulk] = this, tracker.start(this), tracker
        stop = threading.Event()

        def kill_twice():
            for _ in range(2):
                if stop.wait(0.3):
                    return
                server.stop()
                server.__enter__()

        killer = threading.Thread(target=kill_twice)
        killer.start()
        try:
            for at in range(0, N, 4):
                for bulk, (this, parent, _) in open_ways.items():
                    some = children(parent)[at : at + 4]
                    while (delivery := open_ways[bulk][2].log_children(some)).stopped:
                        again = opened_again(address, bulk, this, parent)
                        open_ways[bulk] = this, parent, again
                    assert delivery.refused == ()
            killer.join(120)
        finally:
            stop.set()
            killer.join()
        for bulk, (_, parent, tracker) in open_ways.items():
            tracker.finish(RunStatus.FINISHED, {"n_entities": N})
            whole(address, bulk, parent)
