"""The contract of a tracker, as tests to inherit.

Covers what every :class:`daskcast.tracking.Tracker` promises. Does not cover what only MLflow can
do wrong: the tests of ``daskcast.tracking.mlflow_client`` do. Needs pytest.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pytest

from daskcast.errors import TrackingError
from daskcast.tracking import (
    Artifact,
    ChildRun,
    MetricPoint,
    ParentRun,
    RunStatus,
    Tracker,
    run_key,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

START_MS = 1_700_000_000_000
AWKWARD_IDS = (
    "NA", "null", "007", " x", "a/b", "../../etc/passwd", "Zürich ✈", "'; DROP TABLE runs; --",
    "`tick`", '"quoted"', "100%", "a\nb", "<script>", "x" * 250,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRun:
    """A run as the store gives it back.

    Parameters
    ----------
    metrics : mapping of str to list of (int, float, int)
        Step, value and timestamp, by key, in the order of steps.
    artifacts : mapping of str to bytes
        By path.
    """

    run_id: str
    name: str
    status: str
    start_ms: int
    end_ms: int | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, list[tuple[int, float, int]]]
    artifacts: Mapping[str, bytes] = field(default_factory=dict)


class TrackerStore(Protocol):
    """A store under test."""

    def open(self) -> Tracker:
        """Give a new tracker on the store."""
        ...

    def run(self, run_id: str) -> SeenRun:
        """Read a run back, not through the tracker."""
        ...

    def children(self, run_id: str) -> list[SeenRun]:
        """Read the children of a run back, not through the tracker."""
        ...


def parent_of(name: str = "airports", *, run_id: str | None = None) -> ParentRun:
    """Give a parent run."""
    return ParentRun(
        name=name,
        start_ms=START_MS,
        params={"h": "12", "level": "[80, 95]"},
        tags={"daskcast.kind": "run", "team": "network"},
        run_id=run_id,
    )


def child_of(parent_id: str, entity: str = "JFK", *, attempt: int = 1) -> ChildRun:
    """Give the child run of an entity."""
    key = run_key(parent_id, entity, attempt)
    losses = tuple(MetricPoint("trial_loss", 1 / (n + 1), n, 10 * n) for n in range(3))
    return ChildRun(
        key=key,
        name=entity,
        status=RunStatus.FINISHED,
        duration_ms=30,
        params={"trend": "Ad", "alpha": "0.25"},
        tags={"daskcast.run_key": key, "daskcast.entity": entity},
        metrics=(MetricPoint("cv_mase", 0.875, 0, 30), *losses),
        supersedes=tuple(run_key(parent_id, entity, i) for i in range(1, attempt)),
    )


class TrackerContract(ABC):
    """Tests that a tracker passes; a subclass gives the store.

    Examples
    --------
    ::

        class TestMyTracker(TrackerContract):
            @pytest.fixture
            def store(self, tmp_path):
                return MyStore(tmp_path)     # a TrackerStore
    """

    @pytest.fixture
    @abstractmethod
    def store(self) -> TrackerStore:
        """Give an empty store."""

    def test_a_started_parent_runs(self, store: TrackerStore) -> None:
        """A started parent is in the store with its name, params and tags, and runs."""
        seen = store.run(store.open().start(parent_of()))
        assert (seen.name, seen.status, seen.start_ms) == ("airports", "RUNNING", START_MS)
        assert seen.params == parent_of().params
        assert parent_of().tags.items() <= seen.tags.items()

    def test_before_the_start_nothing_can_be_sent(self, store: TrackerStore) -> None:
        """Without a parent run, sending and finishing are errors of tracking."""
        tracker = store.open()
        assert tracker.info.run_id == ""
        with pytest.raises(TrackingError, match="start"):
            tracker.log_children([])
        with pytest.raises(TrackingError, match="start"):
            tracker.finish(RunStatus.FINISHED, {})

    def test_info_names_the_run_in_plain_values(self, store: TrackerStore) -> None:
        """Where a run is tracked can be written as JSON."""
        tracker = store.open()
        parent = tracker.start(parent_of())
        assert json.loads(json.dumps(dataclasses.asdict(tracker.info)))["run_id"] == parent

    def test_a_child_arrives_whole(self, store: TrackerStore) -> None:
        """A child has its name, status, times, params, tags and metrics, and its parent."""
        tracker = store.open()
        parent = tracker.start(parent_of())
        child = child_of(parent)
        delivery = tracker.log_children([child])
        assert (delivery.sent, delivery.refused, delivery.stopped) == (1, (), "")
        (seen,) = store.children(parent)
        assert (seen.name, seen.status) == ("JFK", "FINISHED")
        assert (seen.start_ms, seen.end_ms) == (START_MS, START_MS + 30)
        assert seen.params == child.params
        assert child.tags.items() <= seen.tags.items()
        assert seen.tags["mlflow.parentRunId"] == parent
        assert seen.metrics["cv_mase"] == [(0, 0.875, START_MS + 30)]
        assert seen.metrics["trial_loss"] == [
            (0, 1.0, START_MS), (1, 0.5, START_MS + 10), (2, 1 / 3, START_MS + 20),
        ]  # fmt: skip

    def test_a_failed_entity_is_a_failed_run(self, store: TrackerStore) -> None:
        """The run of an entity without a forecast ends as failed."""
        tracker = store.open()
        parent = tracker.start(parent_of())
        child = dataclasses.replace(
            child_of(parent), status=RunStatus.FAILED, params={}, metrics=()
        )
        tracker.log_children([child])
        assert [run.status for run in store.children(parent)] == ["FAILED"]

    def test_ids_are_data(self, store: TrackerStore) -> None:
        """Ids that look like paths, SQL, markup or missing values come back as they were."""
        tracker = store.open()
        parent = tracker.start(parent_of())
        delivery = tracker.log_children([child_of(parent, entity) for entity in AWKWARD_IDS])
        assert delivery.sent == len(AWKWARD_IDS)
        seen = store.children(parent)
        assert sorted(run.tags["daskcast.entity"] for run in seen) == sorted(AWKWARD_IDS)
        assert sorted(run.name for run in seen) == sorted(AWKWARD_IDS)

    def test_more_than_fits_in_one_request_arrives(self, store: TrackerStore) -> None:
        """Children larger than the limits of a request lose nothing."""
        tracker = store.open()
        parent = tracker.start(parent_of())
        child = dataclasses.replace(
            child_of(parent),
            params={f"p{n}": "é" * 6000 for n in range(130)},
            metrics=tuple(MetricPoint("trial_loss", float(n), n, n) for n in range(2100)),
        )
        assert tracker.log_children([child]).sent == 1
        (seen,) = store.children(parent)
        assert seen.params == child.params
        assert [value for _, value, _ in seen.metrics["trial_loss"]] == list(range(2100))

    def test_sending_twice_changes_nothing(self, store: TrackerStore) -> None:
        """The same child sent again is not a second run."""
        tracker = store.open()
        parent = tracker.start(parent_of())
        first = tracker.log_children([child_of(parent)])
        before = store.children(parent)
        second = tracker.log_children([child_of(parent), child_of(parent, "LGA")])
        assert (first.sent, second.sent) == (1, 2)
        seen = {run.name: run for run in store.children(parent)}
        assert sorted(seen) == ["JFK", "LGA"]
        assert seen["JFK"] == before[0]

    def test_a_resumed_run_goes_on(self, store: TrackerStore) -> None:
        """A new tracker takes up the parent run and knows what is there."""
        parent = (first := store.open()).start(parent_of())
        children = [child_of(parent, name) for name in ("JFK", "LGA", "EWR")]
        first.log_children(children[:2])
        second = store.open()
        assert second.start(parent_of(run_id=parent)) == parent
        assert second.existing_keys() == {child.key for child in children[:2]}
        second.log_children(children)
        second.finish(RunStatus.FINISHED, {})
        assert sorted(run.name for run in store.children(parent)) == ["EWR", "JFK", "LGA"]
        assert store.run(parent).status == "FINISHED"

    def test_a_finished_run_can_be_resumed(self, store: TrackerStore) -> None:
        """A parent that ended runs again once it is taken up."""
        (first := store.open()).start(parent_of())
        parent = first.info.run_id
        first.finish(RunStatus.KILLED, {})
        assert store.open().start(parent_of(run_id=parent)) == parent
        assert store.run(parent).status == "RUNNING"

    def test_a_parent_that_nobody_noted_is_found(self, store: TrackerStore) -> None:
        """A process that died after it opened the parent leaves a run that is gone on with."""
        lost = dataclasses.replace(parent_of(), tags={"daskcast.run_key": uuid.uuid4().hex})
        first = store.open().start(lost)
        assert store.open().start(dataclasses.replace(lost, resumed=True)) == first
        assert store.open().start(lost) != first

    def test_a_parent_that_is_gone_is_made_anew(self, store: TrackerStore) -> None:
        """Where the run to go on with is not in the store, there is a new one."""
        gone = "0123456789abcdef0123456789abcdef"
        parent = store.open().start(parent_of(run_id=gone))
        assert parent != gone
        assert store.run(parent).name == "airports"

    def test_existing_keys_are_those_of_this_parent(self, store: TrackerStore) -> None:
        """Children of another run do not count."""
        other = store.open()
        other.log_children([child_of(other.start(parent_of("other")))])
        tracker = store.open()
        parent = tracker.start(parent_of())
        assert tracker.existing_keys() == set()
        tracker.log_children([child_of(parent, "LGA")])
        assert tracker.existing_keys() == {run_key(parent, "LGA", 1)}

    def test_trials_are_runs_below_their_entity(self, store: TrackerStore) -> None:
        """Runs of trials are children of the entity's run, not of the parent."""
        tracker = store.open()
        parent = tracker.start(parent_of())
        trials = tuple(child_of(parent, f"JFK trial {n}") for n in range(2))
        tracker.log_children([dataclasses.replace(child_of(parent), trials=trials)])
        (entity,) = store.children(parent)
        seen = store.children(entity.run_id)
        assert sorted(run.name for run in seen) == ["JFK trial 0", "JFK trial 1"]
        assert {run.status for run in seen} == {"FINISHED"}
        assert tracker.existing_keys() == {run_key(parent, "JFK", 1)}

    def test_a_new_attempt_supersedes_the_old(self, store: TrackerStore) -> None:
        """A retried entity has a new run, and the old one says so."""
        parent = (first := store.open()).start(parent_of())
        first.log_children([child_of(parent)])
        second = store.open()
        second.start(parent_of(run_id=parent))
        second.log_children([child_of(parent, attempt=2)])
        old, new = sorted(
            store.children(parent), key=lambda run: "daskcast.superseded_by" not in run.tags
        )
        assert old.tags["daskcast.superseded_by"] == new.run_id
        assert "daskcast.superseded_by" not in new.tags

    def test_a_finished_parent_has_metrics_and_artifacts(
        self, store: TrackerStore, tmp_path: Path
    ) -> None:
        """What is known at the end is with the parent, which has ended."""
        (tmp_path / "run.json").write_text("{}", encoding="utf-8")
        (tmp_path / "part-1.parquet").write_bytes(b"PAR1")
        kept = (
            Artifact(tmp_path / "run.json"),
            Artifact(tmp_path / "part-1.parquet", "entities"),
        )
        tracker = store.open()
        parent = tracker.start(parent_of())
        tracker.finish(RunStatus.FINISHED, {"n_ok": 3, "mean_cv_mase": 0.5}, iter(kept))
        seen = store.run(parent)
        assert seen.status == "FINISHED"
        assert seen.end_ms is not None
        assert seen.end_ms >= START_MS
        assert [seen.metrics[key][0][1] for key in ("n_ok", "mean_cv_mase")] == [3, 0.5]
        assert seen.artifacts == {"run.json": b"{}", "entities/part-1.parquet": b"PAR1"}

    def test_nothing_is_sent_for_no_children(self, store: TrackerStore) -> None:
        """No children are no trouble."""
        tracker = store.open()
        parent = tracker.start(parent_of())
        assert tracker.log_children([]).sent == 0
        assert store.children(parent) == []
