"""Runs written into the tables of a database: as MLflow's own calls leave them, each once."""

from __future__ import annotations

import dataclasses
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daskcast.testing.trackers import AWKWARD_IDS, START_MS, child_of, parent_of
from daskcast.tracking import MetricPoint, MlflowTracker
from daskcast.tracking.uris import sqlite_path

# MLflow 3.17 asks SQLAlchemy 2.1 for a loader strategy that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


@pytest.fixture
def warned(caplog):
    """Give the warnings of the package."""
    return lambda: [r.getMessage() for r in caplog.records if r.name.startswith("daskcast")]


def test_the_way_is_chosen_by_the_store(sqlite_store):
    """A SQLite file is written to in bulk, unless that is turned off."""
    for bulk, requests in (("auto", 0), ("database", 0), ("off", 3)):
        tracker = MlflowTracker(sqlite_store.uri, sqlite_store.experiment, bulk=bulk)
        tracker.start(parent_of())
        assert tracker.requests_per_run == requests


def test_what_is_read_back_is_what_the_calls_of_mlflow_leave(sqlite_store, content_after):
    """Names, tags, params, history, latest values, times and status are equal."""
    one_by_one, in_bulk = (content_after(sqlite_store, bulk) for bulk in ("off", "auto"))
    assert len(in_bulk) == len(AWKWARD_IDS) + 3
    assert in_bulk == one_by_one


POINTS = st.lists(
    st.builds(
        MetricPoint,
        st.sampled_from(["a", "b"]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(-3, 3),
        st.integers(0, 3),
    ),
    max_size=8,
)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(POINTS)
def test_the_latest_value_is_the_one_that_mlflow_would_say(sqlite_uri, points):
    """Of any points, in any order and repeated, MLflow gives the same latest and history."""
    found = []
    for bulk in ("off", "auto"):
        tracker = MlflowTracker(sqlite_uri, "latest", bulk=bulk)
        parent = tracker.start(parent_of())
        child = dataclasses.replace(child_of(parent), metrics=tuple(points))
        assert tracker.log_children([child]).sent == 1
        client = tracker._open_place().client
        (run,) = client.search_runs(
            [tracker.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'"
        )
        history = {
            key: sorted(
                (point.step, point.timestamp, point.value)
                for point in client.get_metric_history(run.info.run_id, key)
            )
            for key in run.data.metrics
        }
        found.append((run.data.metrics, history))
    assert found[0] == found[1]


def test_a_run_begun_one_by_one_goes_on_in_bulk(sqlite_store):
    """Children that are there are left alone; one that was left unfinished is written whole."""
    first = MlflowTracker(sqlite_store.uri, sqlite_store.experiment, bulk="off")
    parent = first.start(parent_of())
    done, half, new = (child_of(parent, name) for name in ("JFK", "LGA", "EWR"))
    first.log_children([done])
    first._open_way()._create(half, parent, START_MS)
    before = {run.name: run for run in sqlite_store.children(parent)}
    second = MlflowTracker(sqlite_store.uri, sqlite_store.experiment)
    assert second.start(parent_of(run_id=parent)) == parent
    assert second.log_children([done, half, new]).sent == 3
    after = sqlite_store.children(parent)
    assert sorted((run.name, run.status) for run in after) == [
        ("EWR", "FINISHED"), ("JFK", "FINISHED"), ("LGA", "FINISHED"),
    ]  # fmt: skip
    assert before["JFK"] in after
    again = dataclasses.replace(child_of(parent, attempt=2))
    second.log_children([again])
    (old,) = [run for run in sqlite_store.children(parent) if run.run_id == before["JFK"].run_id]
    (new,) = [
        run for run in sqlite_store.children(parent) if run.tags["daskcast.run_key"] == again.key
    ]
    assert old.tags["daskcast.superseded_by"] == new.run_id


@pytest.mark.integration
def test_another_database_is_written_to_where_that_is_asked_for(postgres_store, content_after):
    """By itself it is not: its permissions and its audit would be passed by."""
    tracker = MlflowTracker(postgres_store.uri, postgres_store.experiment)
    tracker.start(parent_of())
    assert tracker.requests_per_run == 3
    one_by_one, in_bulk = (content_after(postgres_store, bulk) for bulk in ("off", "database"))
    assert in_bulk == one_by_one


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("UPDATE alembic_version SET version_num = 'another'", "revision another"),
        ("ALTER TABLE runs ADD COLUMN cost FLOAT NOT NULL DEFAULT 0", ""),
        ("ALTER TABLE params RENAME COLUMN value TO worth", "params has no column value"),
    ],
)
def test_unknown_tables_are_not_written_to(tmp_path, change, word):
    """A schema that is not known is told; a column that has a default of its own is no trouble."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracker = MlflowTracker(uri)
    tracker.start(parent_of())
    with closing(sqlite3.connect(sqlite_path(uri))) as database, database:
        database.execute(change)
    from daskcast.mlflow_plugin.tables import table_problems

    problems = table_problems(tracker._open_place().store)
    assert (word in problems[0]) if word else (problems == [])


def test_where_tables_are_unknown_runs_are_sent_one_by_one(sqlite_store, monkeypatch, warned):
    """The run is tracked all the same, with one warning that says why it is slow."""
    monkeypatch.setattr(
        "daskcast.tracking.choice.table_problems", lambda _store: ["the table runs is red"]
    )
    tracker = sqlite_store.open()
    parent = tracker.start(parent_of())
    assert tracker.log_children([child_of(parent)]).sent == 1
    assert tracker.requests_per_run == 3
    (message,) = warned()
    assert "the table runs is red" in message


@pytest.mark.parametrize("kind", ["sqlite_store", "postgres_store"])
def test_a_child_that_the_database_refuses_stops_no_other(kind, request):
    """The rest of its group is written; the refusal names it."""
    store = request.getfixturevalue(kind)
    tracker = store.open()
    parent = tracker.start(parent_of())
    children = [child_of(parent, f"e{n}") for n in range(60)]
    children[13] = dataclasses.replace(children[13], params={"alpha": None})
    delivery = tracker.log_children(children)
    assert delivery.sent == 59
    assert not delivery.stopped
    ((name, why),) = delivery.refused
    assert name == "e13"
    assert "not null" in why.lower().replace("-", " ")
    assert len(store.children(parent)) == 59


@pytest.mark.parametrize("kind", ["sqlite_store", "bulk_store"])
def test_a_child_that_was_deleted_is_brought_back(kind, request):
    """Sent again it is there again: what counts as sent can be seen."""
    store = request.getfixturevalue(kind)
    tracker = store.open()
    parent = tracker.start(parent_of())
    children = [child_of(parent, f"e{n}") for n in range(5)]
    tracker.log_children(children)
    before = {run.run_id for run in store.children(parent)}
    for run_id in sorted(before)[:3]:
        store.client.delete_run(run_id)
    again = store.open()
    again.start(parent_of(run_id=parent))
    assert again.log_children(children).sent == 5
    assert {run.run_id for run in store.children(parent)} == before


def test_a_child_and_its_trials_are_in_one_transaction(postgres_store):
    """Of a child with a trial that the database refuses nothing is there, now or later."""
    tracker = postgres_store.open()
    parent = tracker.start(parent_of())
    children = [
        dataclasses.replace(
            child_of(parent, f"e{n}"),
            trials=tuple(child_of(parent, f"e{n} trial {k}") for k in range(30)),
        )
        for n in range(4)
    ]
    bad = dataclasses.replace(children[1].trials[7], params={"alpha": None})
    trials = (*children[1].trials[:7], bad, *children[1].trials[8:])
    children[1] = dataclasses.replace(children[1], trials=trials)
    delivery = tracker.log_children(children)
    assert (delivery.sent, [name for name, _ in delivery.refused]) == (3, ["e1"])
    seen = {run.name: run.run_id for run in postgres_store.children(parent)}
    assert sorted(seen) == ["e0", "e2", "e3"]
    assert {len(postgres_store.children(run_id)) for run_id in seen.values()} == {30}


def test_a_locked_database_is_waited_for(sqlite_store):
    """While somebody else writes for a second, nothing is lost."""
    tracker = sqlite_store.open()
    parent = tracker.start(parent_of())
    locked = threading.Event()

    def hold():
        with closing(sqlite3.connect(sqlite_path(sqlite_store.uri), isolation_level=None)) as own:
            own.execute("BEGIN EXCLUSIVE")
            locked.set()
            time.sleep(1)
            own.execute("COMMIT")

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(30)
    delivery = tracker.log_children([child_of(parent, f"e{n}") for n in range(5)])
    holder.join()
    assert (delivery.sent, delivery.stopped) == (5, "")
    assert len(sqlite_store.children(parent)) == 5


@pytest.mark.integration
def test_a_database_that_stays_locked_stops_tracking(sqlite_store, monkeypatch):
    """The reason is told, what was sent before stays, and what was not can be sent later."""
    monkeypatch.setattr("daskcast.tracking.database.PAUSES_S", ())
    tracker = sqlite_store.open()
    parent = tracker.start(parent_of())
    children = [child_of(parent, f"e{n}") for n in range(20)]
    tracker.log_children(children[:5])
    with closing(sqlite3.connect(sqlite_path(sqlite_store.uri), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        delivery = tracker.log_children(children)
    assert (delivery.sent, delivery.refused) == (0, ())
    assert "locked" in delivery.stopped
    assert len(sqlite_store.children(parent)) == 5
    assert tracker.log_children(children).sent == 20
    assert len(sqlite_store.children(parent)) == 20


AT_ONCE = """
    import sys
    from daskcast.testing.trackers import child_of, parent_of
    from daskcast.tracking import MlflowTracker

    uri, experiment, parent = sys.argv[1:]
    tracker = MlflowTracker(uri, experiment, bulk="database")
    tracker.start(parent_of(run_id=parent))
    children = [child_of(parent, f"e{n}") for n in range(400)]
    print("ready", flush=True)
    sys.stdin.readline()
    delivery = tracker.log_children(children)
    assert (delivery.sent, delivery.refused, delivery.stopped) == (400, (), ""), delivery
"""


@pytest.mark.integration
@pytest.mark.parametrize("name", ["sqlite_store", "postgres_store"])
def test_two_processes_at_once_write_each_run_once(request, name):
    """Both say that all is there, and all is there once."""
    store = request.getfixturevalue(name)
    tracker = store.open()
    parent = tracker.start(parent_of())
    writers = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", textwrap.dedent(AT_ONCE)),
                *(store.uri, store.experiment, parent),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    seen = store.children(parent)
    assert sorted(run.name for run in seen) == sorted(f"e{n}" for n in range(400))
    assert {run.start_ms for run in seen} == {START_MS}
