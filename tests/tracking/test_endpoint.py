"""A server that takes many runs in a request: who may, what is taken, and each run once."""

from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from daskcast.mlflow_plugin.messages import ROUTE, CompleteRun, RefusedError, body_of, read_body
from daskcast.testing.trackers import AWKWARD_IDS, child_of, parent_of
from daskcast.tracking import MlflowTracker, RunStatus

# MLflow 3.17 asks SQLAlchemy 2.1 for a loader strategy that is to go, its server Starlette for a
# module.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:starlette.middleware.wsgi is deprecated"),
]


def a_run(**more):
    """Give a run that is as it must be, but for what is said."""
    fields = {
        "run_id": "0f" * 16,
        "name": "JFK",
        "status": "FINISHED",
        "start_time": 1000,
        "end_time": 2000,
        "tags": {"daskcast.entity": "JFK"},
        "params": {"alpha": "0.5"},
        "metrics": [("cv_mase", 0.5, 1000, 0)],
        "supersedes": [],
    }
    return CompleteRun(**{**fields, **more})


def asked(uri, body=None, *, user="", experiment_id="1"):
    """Send a request to the route; give status, what was answered, and its headers."""
    address = f"{uri}{ROUTE}" + ("" if body else f"?experiment_id={experiment_id}")
    request = urllib.request.Request(address, body)
    if user:
        told = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {told}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read()), answer.headers
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text.startswith(b"{") else {}, error.headers


# -- what is said ------------------------------------------------------------------------------


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5, unique=True))
def test_what_is_written_is_read(names):
    """Any name and value comes through as it was."""
    runs = [
        a_run(run_id=f"{n:032x}", name=name, tags={"t": name}, params={"p": name * 9})
        for n, name in enumerate(names)
    ]
    assert read_body(body_of("7", runs)) == ("7", runs)


WRONG = [
    {"run_id": "0F" * 16}, {"run_id": "0f" * 17}, {"run_id": "../etc"}, {"name": ""},
    {"name": "x" * 251}, {"status": "RUNNING"}, {"start_time": -1}, {"end_time": "now"},
    {"tags": {"a/../b": "x"}}, {"tags": {"": "x"}}, {"tags": {"k": "x" * 5001}},
    {"tags": {f"k{n}": "" for n in range(101)}}, {"params": {"p": "x" * 6001}},
    {"params": {"p": 1}}, {"metrics": [("m", float("nan"), 0, 0)]},
    {"metrics": [("m", float("inf"), 0, 0)]}, {"metrics": [("m", 1.0, 0, 2**63)]},
    {"metrics": [("m;--", 1.0, 0, 0)]}, {"metrics": [("m", "1", 0, 0)]},
    {"supersedes": ["x"]},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=[f"{n}-{next(iter(w))}" for n, w in enumerate(WRONG)])
def test_a_wrong_field_is_named(wrong):
    """Each field has its form; a request with a wrong one is refused whole."""
    body = body_of("1", [a_run(run_id="0a" * 16), a_run(**wrong)])
    with pytest.raises(RefusedError, match=f"runs.1.{next(iter(wrong))}"):
        read_body(body)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"null", b'{"runs": []}', b'{"experiment_id": "1", "runs": []}',
             b'{"experiment_id": "1; DROP", "runs": [{}]}', b"\xff" * 99]
)  # fmt: skip
def test_what_is_no_request_is_refused(body):
    """Whatever comes is refused in words, not by an exception of a library."""
    with pytest.raises(RefusedError, match="not what they must be"):
        read_body(body)


def test_the_plugin_needs_mlflow_alone():
    """On a server that has nothing of daskcast's dependencies but MLflow it can be imported."""
    code = """
import sys
for name in ("dask", "distributed", "numba", "skopt", "statsmodels", "utilsforecast", "filelock",
             "psutil", "threadpoolctl", "fsspec"):
    sys.modules[name] = None
import daskcast.mlflow_plugin.app
own = {m for m in sys.modules if m.startswith("daskcast.")}
assert all(m.startswith("daskcast.mlflow_plugin") for m in own), own
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# -- a server without users --------------------------------------------------------------------


@pytest.mark.integration
def test_the_route_is_taken_where_it_is(bulk_store, server_store, bulk_server):
    """A server that has it is sent many runs in a request, another is not; off is off."""
    for store, bulk, requests in (
        (bulk_store, "auto", 0.01), (bulk_store, "off", 3), (server_store, "auto", 3),
    ):  # fmt: skip
        tracker = MlflowTracker(store.uri, store.experiment, bulk=bulk)
        tracker.start(parent_of())
        assert tracker.requests_per_run == requests


@pytest.mark.integration
def test_what_is_read_back_is_what_plain_requests_leave(bulk_store, content_after):
    """Names, tags, params, history, latest values, times and status are equal."""
    one_by_one, in_bulk = (content_after(bulk_store, bulk) for bulk in ("off", "auto"))
    assert len(in_bulk) == len(AWKWARD_IDS) + 3
    assert in_bulk == one_by_one


@pytest.mark.integration
def test_hundreds_of_runs_are_one_request(bulk_store, bulk_server, proxy_to):
    """Two hundred children are one request."""
    proxy = proxy_to(bulk_server)
    tracker = MlflowTracker(proxy.uri, bulk_store.experiment)
    parent = tracker.start(parent_of())
    before = len(proxy.requests)
    assert tracker.log_children([child_of(parent, f"e{n}") for n in range(200)]).sent == 200
    assert proxy.requests[before:] == [("POST", ROUTE)]
    assert len(bulk_store.children(parent)) == 200


@pytest.mark.integration
def test_lost_answers_make_no_run_twice(bulk_store, bulk_server, proxy_to):
    """Every second answer is lost after the server has acted: each run is there once."""
    proxy = proxy_to(bulk_server)
    tracker = MlflowTracker(proxy.uri, bulk_store.experiment)
    parent = tracker.start(parent_of())
    proxy.fault = lambda number, path: "lose" if path == ROUTE and number % 2 else None
    for at in range(4):
        children = [child_of(parent, f"e{n}") for n in range(30 * at, 30 * at + 30)]
        assert tracker.log_children(children).sent == 30
    seen = bulk_store.children(parent)
    assert sorted(run.name for run in seen) == sorted(f"e{n}" for n in range(120))


@pytest.mark.integration
def test_a_server_that_is_gone_stops_tracking(bulk_store, bulk_server, proxy_to, hasty):
    """The reason is told once, not for each half of a group."""
    proxy = proxy_to(bulk_server)
    tracker = MlflowTracker(proxy.uri, bulk_store.experiment)
    parent = tracker.start(parent_of())
    proxy.fault = lambda *_: 503
    before = len(proxy.requests)
    delivery = tracker.log_children([child_of(parent, f"e{n}") for n in range(200)])
    assert (delivery.sent, delivery.refused) == (0, ())
    assert delivery.stopped
    assert len(proxy.requests) - before == 1


@pytest.mark.integration
def test_a_child_that_the_server_refuses_stops_no_other(bulk_store):
    """The rest of its group is written; the refusal names the field."""
    tracker = bulk_store.open()
    parent = tracker.start(parent_of())
    children = [child_of(parent, f"e{n}") for n in range(20)]
    children[13] = dataclasses.replace(children[13], params={"a;b": "1"})
    delivery = tracker.log_children(children)
    assert (delivery.sent, delivery.stopped) == (19, "")
    ((name, why),) = delivery.refused
    assert name == "e13"
    assert "params" in why
    assert len(bulk_store.children(parent)) == 19


@pytest.mark.integration
def test_only_below_a_run_of_the_same_experiment(bulk_store, bulk_server):
    """A run of another experiment gets no children from this one."""
    tracker = bulk_store.open()
    parent = tracker.start(parent_of())
    elsewhere = bulk_store.client.create_experiment(f"{bulk_store.experiment} 2")
    run = a_run(run_id="1e" * 16, tags={"mlflow.parentRunId": parent})
    status, told, _ = asked(bulk_server, body_of(elsewhere, [run]))
    assert status == 400
    assert "own experiment" in told["message"]
    assert bulk_store.children(parent) == []


@pytest.mark.integration
def test_a_foreign_parent_is_not_let_in_by_naming_it_as_a_run(bulk_store, bulk_server):
    """A run that is in another experiment is none of this request, whatever the request says."""
    parent = bulk_store.open().start(parent_of())
    elsewhere = bulk_store.client.create_experiment(f"{bulk_store.experiment} 3")
    run = a_run(run_id="2e" * 16, tags={"mlflow.parentRunId": parent})
    for runs in ([run, a_run(run_id=parent)], [a_run(run_id=parent)]):
        status, told, _ = asked(bulk_server, body_of(elsewhere, runs))
        assert status == 400
        assert "experiment" in told["message"]
    assert bulk_store.children(parent) == []


def test_a_request_has_each_run_once_and_none_below_itself():
    """Which of two would be kept is nobody's guess."""
    twice = [a_run(), a_run(name="LGA")]
    below_itself = [a_run(tags={"mlflow.parentRunId": "0f" * 16})]
    for runs, why in ((twice, "once"), (below_itself, "below itself")):
        with pytest.raises(RefusedError, match=why):
            read_body(body_of("1", runs))
    with pytest.raises(RefusedError, match="experiment_id"):
        read_body(body_of("01", [a_run()]))


@pytest.mark.integration
def test_a_child_and_its_trials_are_there_together(bulk_store, bulk_server, proxy_to, monkeypatch):
    """Divided into requests, one of which fails: no child without its trials, now or later."""
    monkeypatch.setattr("daskcast.tracking.endpoint.MAX_BYTES", 9_000)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    proxy = proxy_to(bulk_server)
    tracker = MlflowTracker(proxy.uri, bulk_store.experiment)
    parent = tracker.start(parent_of())
    children = [
        dataclasses.replace(
            child_of(parent, f"e{n}"),
            trials=tuple(child_of(parent, f"e{n} trial {k}") for k in range(4)),
        )
        for n in range(4)
    ]
    posts = []

    def second_fails(_number, path):
        posts.extend([path] * path.endswith("daskcast/runs"))
        return 503 if len(posts) == 3 else None  # the first asks whether the route is there

    proxy.fault = second_fails
    posts.append("the question")
    assert tracker.log_children(children).stopped
    assert len(posts) == 3
    proxy.fault = lambda *_: None
    again = MlflowTracker(proxy.uri, bulk_store.experiment)
    again.start(parent_of(run_id=parent))
    assert again.log_children(children).sent == 4
    for run in bulk_store.children(parent):
        assert len(bulk_store.children(run.run_id)) == 4


@pytest.mark.integration
def test_keys_that_mlflow_takes_are_taken(bulk_store):
    """A slash in a tag, as of a team."""
    tracker = bulk_store.open()
    parent = tracker.start(parent_of())
    child = child_of(parent)
    child = dataclasses.replace(child, tags={**child.tags, "team/name": "network"})
    assert tracker.log_children([child]).sent == 1
    assert bulk_store.children(parent)[0].tags["team/name"] == "network"


@pytest.mark.integration
def test_what_is_not_there_or_too_much_is_refused(bulk_server):
    """An experiment that is not there, a body without end: nothing is written."""
    status, told, _ = asked(bulk_server, body_of("987654", [a_run()]))
    assert (status, told["error_code"]) != (200, None)
    status, _, _ = asked(bulk_server, body_of("0", [a_run(params={"p": "x" * 17_000_000})]))
    assert status == 413
    with pytest.raises(Exception, match="not found"):
        MlflowClient(bulk_server).get_run("0f" * 16)


@pytest.mark.integration
def test_it_can_be_switched_off_and_slowed_down(server_of, tmp_path):
    """A setting leaves the server as it is; another lets a user ask so often and no more."""
    with server_of("--app-name", "daskcast", DASKCAST_MLFLOW_BULK="off") as uri:
        assert asked(uri)[0] == 404
    with server_of("--app-name", "daskcast", DASKCAST_MLFLOW_RATE="0.5") as uri:
        found = [asked(uri, body_of("0", [a_run(run_id=f"{n:032x}")])) for n in range(3)]
        assert [status for status, _, _ in found] == [200, 429, 429]
        assert int(found[-1][2]["Retry-After"]) >= 1


# -- a server with users -----------------------------------------------------------------------

PASSWORD = "a long password 1"


@pytest.fixture(scope="module")
def guarded(server_of, tmp_path_factory):
    """Give a server with users, ann and bob, with an experiment of ann's."""
    from mlflow.server import get_app_client

    folder = tmp_path_factory.mktemp("auth")
    settings = folder / "auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{folder / 'auth.db'}\nadmin_username = admin\n"
        f"admin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
        encoding="utf-8",
    )
    environment = {
        "DASKCAST_MLFLOW_APP": "basic-auth",
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a secret of the test's own",
    }
    with (
        pytest.MonkeyPatch.context() as patch,
        server_of("--app-name", "daskcast", **environment) as uri,
    ):
        patch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        users = get_app_client("basic-auth", tracking_uri=uri)
        for user in ("ann", "bob"):
            users.create_user(user, PASSWORD)
        experiment_id = MlflowClient(uri).create_experiment("of ann")
        users.grant_user_permission("ann", "experiment", experiment_id, "EDIT")
        users.grant_user_permission("bob", "experiment", experiment_id, "READ")
        yield uri, experiment_id


@pytest.mark.integration
@pytest.mark.parametrize(
    ("user", "status"), [("ann", 200), ("bob", 403), ("", 401), ("nobody", 401), ("admin", 200)]
)
def test_who_may_create_runs_may_and_nobody_else(guarded, user, status):
    """The permission on the experiment decides, for asking and for writing."""
    uri, experiment_id = guarded
    assert asked(uri, user=user, experiment_id=experiment_id)[0] == status
    run = a_run(run_id=f"{len(user):032x}")
    assert asked(uri, body_of(experiment_id, [run]), user=user)[0] == status


@pytest.mark.integration
def test_runs_are_of_who_sent_them(guarded, monkeypatch):
    """A user who says to be another is not believed; the whole way works with a password."""
    uri, experiment_id = guarded
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    tracker = MlflowTracker(uri, "of ann")
    parent = tracker.start(dataclasses.replace(parent_of(), context={"mlflow.user": "bob"}))
    assert tracker.requests_per_run < 1
    assert tracker.log_children([child_of(parent, f"e{n}") for n in range(5)]).sent == 5
    tracker.finish(RunStatus.FINISHED, {})
    client = MlflowClient(uri)
    children = client.search_runs([experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert [run.info.user_id for run in children] == ["ann"] * 5
    assert {run.data.tags["mlflow.user"] for run in children} == {"ann"}


@pytest.mark.integration
def test_who_may_not_bulk_is_told_by_the_plain_way(guarded, monkeypatch):
    """Without the permission the run is not tracked, and the reason is the server's."""
    uri, _ = guarded
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    from daskcast.errors import TrackingError

    with pytest.raises(TrackingError, match=r"[Pp]ermission"):
        MlflowTracker(uri, "of ann").start(parent_of())
