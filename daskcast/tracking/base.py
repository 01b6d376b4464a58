"""What is tracked, and who takes it: the seam between a run and its tracking store.

Covers the frozen values of a parent run, its child runs and what became of them, and
:class:`Tracker`, the protocol that a tracking store implements. Does not cover how they are made
from the run folder (``children``, ``parent``), how they are sent while batches still run
(``writer``), or the two stores that ship (``memory``, ``mlflow_client``).

Times of children are told by when their work began, which the run folder keeps: the same child
always carries the same timestamps, so that sending it again changes nothing in the store.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from daskcast import mlflow_plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


# Names of the plugin for servers, which knows nothing of this package.
PARENT_TAG = mlflow_plugin.PARENT_TAG
KEY_TAG = mlflow_plugin.KEY_TAG
SUPERSEDED_TAG = mlflow_plugin.SUPERSEDED_TAG


class RunStatus(StrEnum):
    """How a run ended, in the words of MLflow."""

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class MetricPoint(NamedTuple):
    """One value of a metric. There are dozens for each entity, so it is a tuple: quick to make.

    Parameters
    ----------
    key : str
    value : float
        Finite: a value that is missing or undefined has no point.
    step : int
    after_ms : int
        Milliseconds after the start of the run.
    """

    key: str
    value: float
    step: int = 0
    after_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentRun:
    """The run of a whole panel.

    Parameters
    ----------
    name : str
    start_ms : int
        Start, in milliseconds since the epoch.
    params, tags : mapping of str to str
    run_id : str or None
        The run to go on with, where an earlier run is resumed.
    resumed : bool
        Whether an earlier process may have opened it, and died before it could say so: it is
        looked for by its tag ``daskcast.run_key``.
    context : mapping of str to str, optional
        User, source and git commit, where they are those of an earlier process; None takes those
        of this one.
    """

    name: str
    start_ms: int
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    run_id: str | None = None
    resumed: bool = False
    context: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildRun:
    """The run of one entity, or of one of its trials.

    Parameters
    ----------
    key : str
        See :func:`run_key`; also in the tags.
    name : str
    status : RunStatus
    duration_ms : int
    params, tags : mapping of str to str
    metrics : tuple of MetricPoint
    start_after_ms : int
        Start, in milliseconds after that of the parent run.
    trials : tuple of ChildRun
        Runs below this one.
    supersedes : tuple of str
        Keys of the runs of the attempts before.
    """

    key: str
    name: str
    status: RunStatus
    duration_ms: int
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[MetricPoint, ...] = ()
    start_after_ms: int = 0
    trials: tuple[ChildRun, ...] = ()
    supersedes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file to keep with the parent run.

    Parameters
    ----------
    path : Path
        A local file.
    folder : str
        Folder among the artifacts, empty for the root.
    """

    path: Path
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the children handed to a tracker.

    Parameters
    ----------
    sent : int
        Children that are complete in the store, those that were there before among them.
    refused : tuple of (str, str)
        Name of the child and the store's reason.
    stopped : str
        Why the store takes nothing more; empty where all children were tried.
    cpu_s : float
        CPU seconds of helper threads of the tracker.
    """

    sent: int
    refused: tuple[tuple[str, str], ...] = ()
    stopped: str = ""
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingInfo:
    """Where a run is tracked; holds no credentials.

    Parameters
    ----------
    uri : str
    experiment, experiment_id, run_id : str
    run_url : str
        Page of the parent run in a browser; empty where the store has no server.
    context : mapping of str to str
        User, source and git commit, which each run carries.
    """

    uri: str = ""
    experiment: str = ""
    experiment_id: str = ""
    run_id: str = ""
    run_url: str = ""
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingSummary:
    """What became of tracking.

    Parameters
    ----------
    info : TrackingInfo
        Where the run is tracked, ids among it.
    n_sent : int
        Children that are complete in the store.
    n_failed : int
        Children that are not, because the store refused them or tracking stopped.
    stopped : str
        Why tracking stopped before its end; empty where it did not.
    seconds : float
        From the start to the end of tracking.
    cpu_s : float
        CPU seconds that this process spent on it.
    """

    info: TrackingInfo = field(default_factory=TrackingInfo)
    n_sent: int = 0
    n_failed: int = 0
    stopped: str = ""
    seconds: float = 0.0
    cpu_s: float = 0.0


class Tracker(Protocol):
    """A store of runs: a parent, its children, nothing else.

    All calls come from one thread at a time, in this order: ``start``, ``log_children`` any number
    of times, ``finish``. A tracker is for one parent run. Test a new tracker with
    :class:`daskcast.testing.TrackerContract`.
    """

    @property
    def info(self) -> TrackingInfo:
        """Where the run is tracked; ids are empty before ``start``."""
        ...

    @property
    def n_at_once(self) -> int:
        """Children that are best handed over at a time; known after ``start``."""
        ...

    @property
    def requests_per_run(self) -> float:
        """About how many requests one child run takes; known after ``start``."""
        ...

    def start(self, parent: ParentRun) -> str:
        """Open the parent run, or open it again, and give its id.

        Raises
        ------
        TrackingError
            Where the store cannot be reached or refuses.
        """
        ...

    def log_children(self, children: Sequence[ChildRun]) -> Delivery:
        """Write children, each complete and ended, each key at most once."""
        ...

    def finish(
        self,
        status: RunStatus,
        metrics: Mapping[str, float],
        artifacts: Iterable[Artifact] = (),
        history: Iterable[MetricPoint] = (),
    ) -> None:
        """Write what is known at the end, and end the parent run.

        ``history`` holds metrics of the parent by time.

        Raises
        ------
        TrackingError
            Where the store cannot be reached or refuses.
        """
        ...

    def existing_keys(self) -> set[str]:
        """Give the keys of the children that are complete in the store.

        Raises
        ------
        TrackingError
            Where the store cannot be reached or refuses.
        """
        ...


def run_key(parent_id: str, *parts: str | int) -> str:
    """Give the key of a child run: a digest of its parent and of what it stands for.

    Parameters
    ----------
    parent_id : str
    *parts : str or int
        Entity and attempt, and the number of the trial for the run of a trial.

    Examples
    --------
    >>> run_key("a1", "JFK", 1)
    'fa31fb4ec418b3916a9a33b090ed8f94'
    >>> run_key("a1", "JFK", 1) == run_key("a1", "JFK", 2)
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (parent_id, *parts):
        encoded = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()
