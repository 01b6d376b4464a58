"""Old runs go with all that is below them; nothing else does."""

from __future__ import annotations

import dataclasses

import pytest
from click.testing import CliRunner
from mlflow.entities import ViewType

from daskcast.cli import main
from daskcast.errors import TrackingError
from daskcast.testing.trackers import START_MS, child_of, parent_of
from daskcast.tracking import RunStatus
from daskcast.tracking.prune import delete_runs, old_runs

# MLflow 3.17 asks SQLAlchemy 2.1 for a loader strategy that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


def tagged(child, kind, trials=()):
    return dataclasses.replace(child, tags={**child.tags, "daskcast.kind": kind}, trials=trials)


def a_run(store, number, *, ends=True):
    """Track a run of two entities, one with two trials; give its id."""
    tracker = store.open()
    name = f"run {number}"
    parent = tracker.start(dataclasses.replace(parent_of(name), start_ms=START_MS + number * 1000))
    trials = tuple(tagged(child_of(parent, f"{number} trial {n}"), "trial") for n in range(2))
    tracker.log_children(
        [
            tagged(child_of(parent, f"{number} JFK"), "entity", trials),
            tagged(child_of(parent, f"{number} LGA"), "entity"),
        ]
    )
    if ends:
        tracker.finish(RunStatus.FINISHED, {})
    return parent


@pytest.fixture(
    params=["sqlite_store", pytest.param("server_store", marks=pytest.mark.integration)]
)
def store(request):
    return request.getfixturevalue(request.param)


def names(store, view=ViewType.ACTIVE_ONLY):
    found = store.client.get_experiment_by_name(store.experiment)
    runs = store.client.search_runs([found.experiment_id], run_view_type=view, max_results=1000)
    return sorted(run.info.run_name for run in runs)


def all_of(number):
    return [f"{number} JFK", f"{number} LGA", f"{number} trial 0", f"{number} trial 1",
            f"run {number}"]  # fmt: skip


def test_the_latest_stay_and_the_others_go_whole(store):
    """Parents, entities and trials of the old runs are deleted, and nothing of the others."""
    parents = [a_run(store, number) for number in (2, 0, 3, 1)]
    old = old_runs(2, experiment=store.experiment, tracking_uri=store.uri)
    assert [(run.name, run.run_id, len(run.below)) for run in old] == [
        ("run 0", parents[1], 4), ("run 1", parents[3], 4),
    ]  # fmt: skip
    assert len(names(store)) == 20
    assert delete_runs(old, tracking_uri=store.uri) == 10
    assert names(store) == sorted(all_of(2) + all_of(3))
    assert names(store, ViewType.DELETED_ONLY) == sorted(all_of(0) + all_of(1))
    assert old_runs(2, experiment=store.experiment, tracking_uri=store.uri) == []


def test_what_is_not_ours_and_what_goes_on_stays(sqlite_store, caplog):
    """Runs of others are neither counted nor deleted, nor are those that still run."""
    first, _second = a_run(sqlite_store, 0), a_run(sqlite_store, 1)
    a_run(sqlite_store, 2, ends=False)
    client = sqlite_store.client
    experiment_id = client.get_experiment_by_name(sqlite_store.experiment).experiment_id
    client.create_run(experiment_id, run_name="alone", start_time=1)
    asked = {"experiment": sqlite_store.experiment, "tracking_uri": sqlite_store.uri}
    assert [run.name for run in old_runs(1, **asked)] == ["run 0"]
    client.create_run(experiment_id, run_name="theirs", tags={"mlflow.parentRunId": first})
    assert old_runs(1, **asked) == []
    assert "which daskcast did not make" in caplog.text


def test_stopped_half_way_no_run_is_an_orphan(sqlite_store):
    """What is below goes first, and the next time goes on."""
    a_run(sqlite_store, 0)
    a_run(sqlite_store, 1)
    asked = {"experiment": sqlite_store.experiment, "tracking_uri": sqlite_store.uri}
    old = old_runs(1, **asked)

    def stop(n, _n_all):
        if n == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        delete_runs(old, tracking_uri=sqlite_store.uri, on_progress=stop)
    left = names(sqlite_store)
    assert "run 0" in left
    assert not [name for name in left if name.startswith("0 trial")]
    delete_runs(old_runs(1, **asked), tracking_uri=sqlite_store.uri)
    assert names(sqlite_store) == all_of(1)


def test_the_command_shows_before_it_deletes(sqlite_store):
    """Without --yes nothing happens but words."""
    for number in range(3):
        a_run(sqlite_store, number)
    call = ["prune", "--keep", "1", "--experiment", sqlite_store.experiment]
    call += ["--tracking-uri", sqlite_store.uri]
    told = CliRunner().invoke(main, call)
    assert told.exit_code == 0
    assert "10 runs would be deleted" in told.output
    assert len(names(sqlite_store)) == 15
    assert "deleted 10 runs" in CliRunner().invoke(main, [*call, "--yes"]).output
    assert names(sqlite_store) == all_of(2)
    assert "nothing is older" in CliRunner().invoke(main, call).output


def test_what_cannot_be_is_refused(sqlite_store):
    """An experiment that is not there, and none to keep."""
    with pytest.raises(TrackingError, match="no experiment"):
        old_runs(1, experiment="nobody's", tracking_uri=sqlite_store.uri)
    assert CliRunner().invoke(main, ["prune", "--keep", "0"]).exit_code == 2
