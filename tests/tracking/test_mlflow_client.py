"""What only MLflow can do wrong: requests, faults, noise, and the state of the user's process."""

from __future__ import annotations

import base64
import dataclasses
import os
import subprocess
import sys
import time
from collections import Counter
from urllib.parse import unquote

import mlflow
import pytest

from daskcast.errors import ConfigError, TrackingError
from daskcast.testing.trackers import child_of, parent_of
from daskcast.tracking import (
    Artifact,
    MetricPoint,
    MlflowTracker,
    RunStatus,
    courtesy,
    pace,
    searching,
    sending,
)

# MLflow 3.17 asks SQLAlchemy 2.1 for a loader strategy that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

RUNS = "/api/2.0/mlflow/runs/"
THREE = {f"{RUNS}create": 1, f"{RUNS}log-batch": 1, f"{RUNS}update": 1}


@pytest.mark.integration
def test_a_child_costs_three_requests(proxied, proxy):
    """Each child is one request to create it, one for all it holds, one to end it."""
    tracker = proxied.open()
    parent = tracker.start(parent_of())
    before = len(proxy.requests)
    tracker.log_children([child_of(parent, f"e{n}") for n in range(12)])
    counted = Counter(path for _, path in proxy.requests[before:])
    assert counted == dict.fromkeys(THREE, 12)
    assert len(proxied.children(parent)) == 12


@pytest.mark.integration
def test_a_large_child_costs_as_few_requests_as_the_limits_allow(proxied, proxy):
    """1,001 metrics are two batches."""
    tracker = proxied.open()
    parent = tracker.start(parent_of())
    points = tuple(MetricPoint("trial_loss", 1.0, n, n) for n in range(1001))
    child = dataclasses.replace(child_of(parent), metrics=points, params={})
    before = len(proxy.requests)
    tracker.log_children([child])
    assert Counter(path for _, path in proxy.requests[before:]) == THREE | {f"{RUNS}log-batch": 2}


@pytest.mark.integration
def test_a_few_requests_are_in_flight_at_most(proxied, proxy):
    """A server never sees more than a few requests at a time, and more than one."""
    flying, most = [], []

    def watch(number, path):
        flying.append(number)
        most.append(len(flying))
        time.sleep(0.005)
        flying.remove(number)

    tracker = proxied.open()
    parent = tracker.start(parent_of())
    proxy.fault = watch
    tracker.log_children([child_of(parent, f"e{n}") for n in range(40)])
    assert 1 < max(most) <= pace.MOST_IN_FLIGHT


@pytest.mark.integration
@pytest.mark.parametrize("step", ["log-batch", "update"])
def test_a_child_left_unfinished_is_completed(proxied, proxy, hasty, step):
    """A child whose second or third request was lost is completed by the next run, not doubled."""
    tracker = proxied.open()
    parent = tracker.start(parent_of())
    proxy.fault = lambda _, path: "drop" if path.endswith(step) else None
    delivery = tracker.log_children([child_of(parent)])
    assert delivery.sent == 0
    assert "no connection" in delivery.stopped
    assert [run.status for run in proxied.children(parent)] == ["RUNNING"]
    proxy.fault = lambda *_: None
    again = proxied.open()
    again.start(parent_of(run_id=parent))
    assert again.existing_keys() == set()
    assert again.log_children([child_of(parent)]).sent == 1
    (seen,) = proxied.children(parent)
    assert seen.status == "FINISHED"
    assert seen.params == child_of(parent).params
    assert [len(points) for points in seen.metrics.values()] == [1, 3]


@pytest.mark.integration
def test_trials_left_unfinished_are_completed(proxied, proxy, hasty):
    """The runs of trials that were sent before the server went are not sent again."""
    tracker = proxied.open()
    parent = tracker.start(parent_of())
    trials = tuple(child_of(parent, f"trial {n}") for n in range(4))
    child = dataclasses.replace(child_of(parent), trials=trials)
    created = []

    def third_create_is_lost(number, path):
        created.extend([path] * path.endswith("create"))
        return "drop" if len(created) > 3 else None

    proxy.fault = third_create_is_lost
    assert tracker.log_children([child]).sent == 0
    proxy.fault = lambda *_: None
    again = proxied.open()
    again.start(parent_of(run_id=parent))
    assert again.log_children([child]).sent == 1
    (entity,) = proxied.children(parent)
    assert sorted(run.name for run in proxied.children(entity.run_id)) == [
        f"trial {n}" for n in range(4)
    ]


@pytest.mark.integration
def test_a_refused_child_does_not_stop_the_others(proxied, proxy, hasty):
    """One child that the server chokes on is told by name; all others arrive."""
    tracker = proxied.open()
    parent = tracker.start(parent_of())
    children = [child_of(parent, f"e{n}") for n in range(6)]
    children[2] = dataclasses.replace(children[2], params={"p" * 300: "x"})
    delivery = tracker.log_children(children)
    assert (delivery.sent, delivery.stopped) == (5, "")
    ((name, why),) = delivery.refused
    assert name == "e2"
    assert "exceeds" in why or "length" in why


@pytest.mark.integration
def test_a_server_that_answers_errors_is_left_alone(proxied, proxy, hasty):
    """After some refusals in a row nothing more is sent."""
    tracker = proxied.open()
    parent = tracker.start(parent_of())
    proxy.fault = lambda *_: 500
    before = len(proxy.requests)
    delivery = tracker.log_children([child_of(parent, f"e{n}") for n in range(60)])
    assert delivery.sent == 0
    assert "in a row" in delivery.stopped
    limit = sending.REFUSALS_IN_A_ROW
    assert limit <= len(proxy.requests) - before < limit + pace.MOST_IN_FLIGHT


@pytest.mark.integration
@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_wants_another_user_is_left_alone(proxied, proxy, hasty, status):
    """Without permission there is no second try."""
    tracker = proxied.open()
    parent = tracker.start(parent_of())
    proxy.fault = lambda *_: status
    delivery = tracker.log_children([child_of(parent, f"e{n}") for n in range(30)])
    assert (delivery.sent, delivery.refused) == (0, ())
    assert delivery.stopped


@pytest.mark.integration
def test_a_server_that_hangs_is_given_up(proxied, proxy, hasty):
    """A server that takes requests and never answers costs the timeout, once."""
    tracker = proxied.open()
    parent = tracker.start(parent_of())
    proxy.fault = lambda *_: "hang"
    began = time.monotonic()
    delivery = tracker.log_children([child_of(parent, f"e{n}") for n in range(30)])
    assert time.monotonic() - began < 8
    assert "did not answer in time" in delivery.stopped


@pytest.mark.integration
def test_a_passing_fault_is_outlived(proxied, proxy):
    """A server that is busy for a moment gets everything, without the user's settings."""
    tracker = proxied.open()
    parent = tracker.start(parent_of())
    busy = iter([503, 503, 429])
    proxy.fault = lambda *_: next(busy, None)
    delivery = tracker.log_children([child_of(parent, f"e{n}") for n in range(5)])
    assert (delivery.sent, delivery.refused, delivery.stopped) == (5, (), "")
    assert len(proxied.children(parent)) == 5


@pytest.mark.integration
@pytest.mark.parametrize("step", ["create", "log-batch", "update"])
def test_a_request_whose_answer_is_lost_leaves_nothing_twice(proxied, proxy, step):
    """A request is repeated where its answer was lost; no run and no value is there twice."""
    tracker = proxied.open()
    parent = tracker.start(parent_of())
    lost = iter(["lose"])
    proxy.fault = lambda _, path: next(lost, None) if path.endswith(step) else None
    assert tracker.log_children([child_of(parent), child_of(parent, "LGA")]).sent == 2
    tracker.finish(RunStatus.FINISHED, {})
    assert not list(lost)
    seen = proxied.children(parent)
    assert sorted(run.name for run in seen) == ["JFK", "LGA"]
    assert {run.status for run in seen} == {"FINISHED"}
    assert [[len(points) for points in run.metrics.values()] for run in seen] == [[1, 3]] * 2


@pytest.mark.integration
@pytest.mark.parametrize("body", [b"<html>please log in</html>", b"{}", b"[]", b'{"run": 1}', b""])
def test_an_answer_that_names_no_run_is_no_run(proxied, proxy, hasty, body):
    """A page of a proxy, or nothing, in place of an answer: refused with the reason, not sent."""
    tracker = proxied.open()
    parent = tracker.start(parent_of())
    proxy.fault = lambda _, path: (200, body) if path.endswith("create") else None
    delivery = tracker.log_children([child_of(parent, f"e{n}") for n in range(3)])
    assert delivery.sent == 0
    assert len(delivery.refused) == 3
    assert all("names no run" in why or "JSON" in why for _, why in delivery.refused)


@pytest.mark.integration
def test_odd_answers_lose_no_child(proxied, proxy, hasty):
    """A date that no calendar has, an error without a word: each child is accounted for."""
    tracker = proxied.open()
    parent = tracker.start(parent_of())
    for body, wait in (
        (b'{"error_code": {"a": 1}}', ""),
        (b"busy", "Mon, 01 Jan 12026 00:00:00 GMT"),
        (b"busy", "9" * 5000),
    ):
        proxy.retry_after = wait
        proxy.fault = lambda _, path, body=body: (503, body) if path.endswith("create") else None
        delivery = tracker.log_children([child_of(parent, f"e{n}") for n in range(3)])
        assert delivery.sent == 0
        assert len(delivery.refused) == 3


@pytest.mark.integration
def test_a_trial_that_is_made_late_is_removed(proxied, proxy, monkeypatch):
    """Runs of trials are looked at as well, where there was doubt."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    tracker = proxied.open()
    parent = tracker.start(parent_of())
    created = []

    def second_is_lost_before_it_is_found(_number, path):
        created.extend([path] * path.endswith("create"))
        if path.endswith("create") and len(created) == 2:
            return "lose"
        return (200, b'{"runs": []}') if path.endswith("search") and len(created) == 2 else None

    proxy.fault = second_is_lost_before_it_is_found
    child = dataclasses.replace(child_of(parent), trials=(child_of(parent, "trial"),))
    assert tracker.log_children([child]).sent == 1
    (entity,) = proxied.children(parent)
    assert len(proxied.children(entity.run_id)) == 2
    tracker.finish(RunStatus.FINISHED, {})
    assert [run.status for run in proxied.children(entity.run_id)] == ["FINISHED"]


def test_a_server_that_is_not_there_is_told_soon(proxied_nowhere):
    """Nobody waits long for a server that refuses connections."""
    began = time.monotonic()
    with pytest.raises(TrackingError, match="no connection to the server") as caught:
        MlflowTracker(proxied_nowhere).start(parent_of())
    assert time.monotonic() - began < 10
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(caught.value.__cause__)


@pytest.fixture
def proxied_nowhere():
    """Address, with a password, at which nobody listens."""
    return "http://ann:s3cret@127.0.0.1:9"


@pytest.mark.parametrize("user", ["ann:s3cret", "ann:s3%40cret"], ids=["plain", "quoted"])
@pytest.mark.integration
def test_credentials_are_used_and_never_shown(proxied, proxy, server_store, user, caplog):
    """A password in the address reaches the server, and no tag, message, log or info."""
    uri = proxy.uri.replace("//", f"//{user}@")
    tracker = MlflowTracker(uri, server_store.experiment)
    with caplog.at_level("DEBUG", logger="daskcast"):
        parent = tracker.start(parent_of())
        tracker.log_children([child_of(parent)])
        proxy.fault = lambda *_: 403
        delivery = tracker.log_children([child_of(parent, "LGA")])
        with pytest.raises(TrackingError) as caught:
            tracker.finish(RunStatus.FINISHED, {"n": 1})
    expected = base64.b64encode(unquote(user).encode()).decode()
    assert proxy.authorizations == {f"Basic {expected}"}
    shown = [
        *(str(tracker.info), delivery.stopped, str(caught.value), caplog.text),
        *(str(server_store.run(parent)), str(server_store.children(parent))),
    ]
    assert not [text for text in shown if "cret" in text]


def test_existing_keys_are_read_page_by_page(one_by_one_store, monkeypatch):
    """More children than a page holds are all found."""
    monkeypatch.setattr(searching, "PAGE", 3)
    tracker = one_by_one_store.open()
    parent = tracker.start(parent_of())
    children = [child_of(parent, f"e{n}") for n in range(10)]
    tracker.log_children(children)
    assert tracker.existing_keys() == {child.key for child in children}


def test_a_deleted_parent_is_made_anew(sqlite_store):
    """A run that somebody deleted is not written to."""
    parent = sqlite_store.open().start(parent_of())
    sqlite_store.client.delete_run(parent)
    assert sqlite_store.open().start(parent_of(run_id=parent)) != parent


def test_a_deleted_experiment_is_explained(sqlite_store):
    """A deleted experiment is named, with what to do."""
    sqlite_store.open().start(parent_of())
    found = sqlite_store.client.get_experiment_by_name(sqlite_store.experiment)
    sqlite_store.client.delete_experiment(found.experiment_id)
    with pytest.raises(TrackingError, match="is deleted in MLflow; restore it"):
        sqlite_store.open().start(parent_of())


def test_user_and_source_are_tagged_as_mlflow_does(sqlite_store, monkeypatch):
    """Parent and children carry the tags that MLflow's own API would set."""
    tracker = sqlite_store.open()
    parent = tracker.start(parent_of())
    tracker.log_children([child_of(parent)])
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", sqlite_store.uri)
    with mlflow.start_run(experiment_id=tracker.info.experiment_id) as theirs:
        expected = {k: v for k, v in theirs.data.tags.items() if k != "mlflow.runName"}
    assert {"mlflow.user", "mlflow.source.name", "mlflow.source.type"} <= set(expected)
    for run in (sqlite_store.run(parent), *sqlite_store.children(parent)):
        assert expected.items() <= run.tags.items()


def test_inside_a_users_run_the_parent_nests(sqlite_store, monkeypatch):
    """The parent is a child of the user's active run, in its experiment, which stays active."""
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", sqlite_store.uri)
    theirs = sqlite_store.client.create_experiment(f"{sqlite_store.experiment} of the user")
    with mlflow.start_run(experiment_id=theirs) as outer:
        tracker = sqlite_store.open()
        parent = tracker.start(parent_of())
        tracker.log_children([child_of(parent)])
        tracker.finish(RunStatus.FINISHED, {})
        assert mlflow.active_run().info.run_id == outer.info.run_id
        assert mlflow.get_tracking_uri() == sqlite_store.uri
    seen = sqlite_store.client.get_run(parent)
    assert seen.info.experiment_id == theirs
    assert seen.data.tags["mlflow.parentRunId"] == outer.info.run_id
    assert sqlite_store.client.get_run(outer.info.run_id).info.status == "FINISHED"


def test_a_relative_path_is_the_same_store(tmp_path, monkeypatch):
    """MLflow's own default is a relative path: the user's run there is in our store too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", "sqlite:///a.db")
    with mlflow.start_run() as outer:
        tracker = MlflowTracker("sqlite:///a.db")
        parent = tracker.start(parent_of())
        tracker.finish(RunStatus.FINISHED, {})
    seen = mlflow.MlflowClient("sqlite:///a.db").get_run(parent)
    assert seen.data.tags["mlflow.parentRunId"] == outer.info.run_id


def test_a_users_run_in_another_store_is_not_ours(sqlite_store, tmp_path, monkeypatch):
    """A run that is active in another store is no parent, and stays untouched."""
    other = f"sqlite:///{tmp_path / 'other.db'}"
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", other)
    with mlflow.start_run() as outer:
        parent = sqlite_store.open().start(parent_of())
        assert mlflow.active_run().info.run_id == outer.info.run_id
    assert "mlflow.parentRunId" not in sqlite_store.run(parent).tags


def test_the_environment_is_left_as_it_was(sqlite_store):
    """Bounds on waiting are gone after each call, and a user's own are kept."""
    before = dict(os.environ)
    tracker = sqlite_store.open()
    parent = tracker.start(parent_of())
    tracker.log_children([child_of(parent)])
    tracker.finish(RunStatus.FINISHED, {})
    assert dict(os.environ) == before


def test_a_users_own_patience_is_respected(monkeypatch):
    """What the user has set is not changed; the rest is bounded."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    with courtesy.patience(courtesy.SENDING):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "4"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"


def test_the_first_use_of_sqlite_is_quiet(tmp_path):
    """Making the tables, and all else, writes nothing on the terminal."""
    code = """
from daskcast.testing.trackers import child_of, parent_of
from daskcast.tracking import MlflowTracker, RunStatus
tracker = MlflowTracker()
parent = tracker.start(parent_of())
assert tracker.log_children([child_of(parent)]).sent == 1
tracker.finish(RunStatus.FINISHED, {"n": 1})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, timeout=120, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    assert (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("kind", ["folder", "text", "nobody"])
def test_a_database_that_cannot_be_opened_is_told_soon(tmp_path, kind):
    """Databases that are none cost seconds, not MLflow's hundred."""
    (tmp_path / "text.db").write_text("this is not a database, " * 50, encoding="utf-8")
    uri = {
        "folder": f"sqlite:///{tmp_path}",
        "text": f"sqlite:///{tmp_path / 'text.db'}",
        "nobody": "postgresql+psycopg2://ann:s3cret@127.0.0.1:9/mlflow",
    }[kind]
    began = time.monotonic()
    with pytest.raises(TrackingError, match="cannot start a run") as caught:
        MlflowTracker(uri).start(parent_of())
    assert time.monotonic() - began < 10
    assert "s3cret" not in str(caught.value)


def test_a_database_locked_by_another_is_no_disaster(one_by_one_store, monkeypatch):
    """Trouble of the database stops sending with the reason; what was sent stays."""
    tracker = one_by_one_store.open()
    parent = tracker.start(parent_of())
    tracker.log_children([child_of(parent)])
    locked = mlflow.exceptions.MlflowException("(sqlite3.OperationalError) database is locked")

    def lock(*args):
        raise locked

    monkeypatch.setattr(tracker._open_place().store, "log_batch", lock)
    delivery = tracker.log_children([child_of(parent, f"e{n}") for n in range(20)])
    assert (delivery.sent, delivery.refused) == (0, ())
    assert "locked" in delivery.stopped


def test_a_plain_folder_is_refused_with_the_reason(tmp_path):
    """MLflow no longer tracks into folders: that is said before any work."""
    for uri in (str(tmp_path), tmp_path.as_uri(), "./mlruns"):
        with pytest.raises(ConfigError, match="no longer tracks into a plain folder"):
            MlflowTracker(uri)


@pytest.mark.parametrize("where", ["a file", "s3"])
def test_artifacts_that_cannot_be_kept_are_told_at_the_start(
    where, sqlite_uri, make_store, tmp_path, monkeypatch, caplog, request
):
    """Before the work, with the reason; at the end the parent ends, and the trouble is told."""
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    locations = {"a file": (tmp_path / "file" / "artifacts").as_uri(), "s3": "s3://none/of/mine"}
    monkeypatch.setitem(sys.modules, "boto3", None)  # not installed
    store = make_store(sqlite_uri, request.node.name)
    store.client.create_experiment(store.experiment, artifact_location=locations[where])
    tracker = store.open()
    with caplog.at_level("WARNING", logger="daskcast"):
        parent = tracker.start(parent_of())
    (told,) = [r.getMessage() for r in caplog.records if "artifacts" in r.getMessage()]
    assert {"a file": "takes no files", "s3": "boto3"}[where] in told
    assert tracker.log_children([child_of(parent)]).sent == 1
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TrackingError, match="cannot keep the artifacts"):
        tracker.finish(RunStatus.FINISHED, {"n": 1.0}, [Artifact(tmp_path / "run.json")])
    run = store.client.get_run(parent)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"n": 1.0})
