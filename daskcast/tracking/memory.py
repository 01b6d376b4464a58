"""A tracking store in memory.

Covers :class:`MemoryTracker`, for tests and for looking at what would be tracked. Does not cover
the protocol (``base``) or MLflow (``mlflow_client``).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daskcast.errors import TrackingError
from daskcast.tracking.base import (
    KEY_TAG,
    PARENT_TAG,
    ChildRun,
    Delivery,
    MetricPoint,
    TrackingInfo,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from daskcast.tracking.base import Artifact, ParentRun, RunStatus


@dataclass(slots=True)
class MemoryRun:
    """One run, as it stands now.

    Times are milliseconds since the epoch; ``artifacts`` maps paths to contents.
    """

    run_id: str
    name: str
    start_ms: int
    status: str = "RUNNING"
    end_ms: int | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[MetricPoint] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)


class MemoryTracker:
    """Keep the runs in a dictionary.

    Parameters
    ----------
    runs : dict of str to MemoryRun, optional
        The store; give the same one to two trackers to resume a run.

    Examples
    --------
    >>> from daskcast.tracking import ChildRun, MemoryTracker, ParentRun, RunStatus, run_key
    >>> tracker = MemoryTracker()
    >>> parent = tracker.start(ParentRun(name="airports", start_ms=0))
    >>> key = run_key(parent, "JFK", 1)
    >>> child = ChildRun(key=key, name="JFK", status=RunStatus.FINISHED, duration_ms=7,
    ...                  tags={"daskcast.run_key": key})
    >>> tracker.log_children([child]).sent
    1
    >>> tracker.finish(RunStatus.FINISHED, {"n_ok": 1})
    >>> [(run.name, run.status) for run in tracker.runs.values()]
    [('airports', 'FINISHED'), ('JFK', 'FINISHED')]
    """

    n_at_once = 20
    requests_per_run = 0.0

    def __init__(self, runs: dict[str, MemoryRun] | None = None) -> None:
        self.runs: dict[str, MemoryRun] = {} if runs is None else runs
        self._parent: MemoryRun | None = None
        self._ids = (f"run{n}" for n in itertools.count(1))

    @property
    def info(self) -> TrackingInfo:
        """Where the run is tracked."""
        run_id = self._parent.run_id if self._parent else ""
        return TrackingInfo(uri="memory", experiment="memory", experiment_id="0", run_id=run_id)

    def start(self, parent: ParentRun) -> str:
        """Open the parent run, or open it again."""
        found = self.runs.get(parent.run_id or "") or self._run_of(parent)
        if found is None:
            found = self._create(parent.name, parent.start_ms)
            found.params.update(parent.params)
        found.status = "RUNNING"
        found.tags.update(parent.tags)
        self._parent = found
        return found.run_id

    def _run_of(self, parent: ParentRun) -> MemoryRun | None:
        """Find the run that was opened for this parent by who did not live to say so."""
        key = parent.tags.get(KEY_TAG) if parent.resumed else None
        runs = self.runs.values()
        return next((run for run in runs if key and run.tags.get(KEY_TAG) == key), None)

    def log_children(self, children: Sequence[ChildRun]) -> Delivery:
        """Write the children whose keys are not there yet."""
        parent = self._open()
        known = self.existing_keys()
        for child in children:
            if child.key not in known:
                self._write(child, parent.run_id)
                known.add(child.key)
        return Delivery(len(children))

    def finish(
        self,
        status: RunStatus,
        metrics: Mapping[str, float],
        artifacts: Iterable[Artifact] = (),
        history: Iterable[MetricPoint] = (),
    ) -> None:
        """Write metrics and artifacts, and end the parent run."""
        parent = self._open()
        parent.metrics += history
        parent.metrics += [MetricPoint(key, value) for key, value in metrics.items()]
        for artifact in artifacts:
            name = "/".join(filter(None, (artifact.folder, artifact.path.name)))
            parent.artifacts[name] = artifact.path.read_bytes()
        parent.status = status.value
        parent.end_ms = parent.start_ms

    def existing_keys(self) -> set[str]:
        """Give the keys of the children of the parent run."""
        parent = self._open().run_id
        return {
            run.tags[KEY_TAG] for run in self.runs.values() if run.tags.get(PARENT_TAG) == parent
        }

    def _open(self) -> MemoryRun:
        if self._parent is None:
            raise TrackingError("the parent run is not open; call start() first")
        return self._parent

    def _create(self, name: str, start_ms: int) -> MemoryRun:
        run_id = next(run_id for run_id in self._ids if run_id not in self.runs)
        self.runs[run_id] = run = MemoryRun(run_id, name, start_ms)
        return run

    def _write(self, child: ChildRun, parent_id: str) -> None:
        start = self._open().start_ms + child.start_after_ms
        run = self._create(child.name, start)
        run.params.update(child.params)
        run.tags.update({**child.tags, PARENT_TAG: parent_id})
        run.metrics += child.metrics
        for trial in child.trials:
            self._write(trial, run.run_id)
        if child.supersedes:
            for other in self.runs.values():
                if other.tags.get(KEY_TAG) in child.supersedes:
                    other.tags["daskcast.superseded_by"] = run.run_id
        run.status, run.end_ms = child.status.value, start + child.duration_ms
