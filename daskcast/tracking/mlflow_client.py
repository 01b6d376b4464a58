"""Runs in MLflow, through its tracking server or its database.

Covers :class:`MlflowTracker`: three requests for a child run, a few of them in flight where a
server takes them (``sending``). Does not cover what a run holds (``children``, ``parent``), nor
when it is sent (``writer``).

Everything goes through one client for one address: the address that the process uses for its own
runs, and the runs that are active there, are left alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.entities import RunStatus as MlflowStatus
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_USER

from daskcast.errors import TrackingError
from daskcast.tracking.base import KEY_TAG, PARENT_TAG, Delivery, MetricPoint, TrackingInfo
from daskcast.tracking.courtesy import (
    SENDING,
    STARTING,
    hush,
    patience,
    probe,
    translated,
)
from daskcast.tracking.limits import log_batches
from daskcast.tracking.new_store import make_whole
from daskcast.tracking.sending import IN_FLIGHT, Sending
from daskcast.tracking.uris import is_database, is_server, redact, resolve_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from daskcast.tracking.base import Artifact, ChildRun, ParentRun, RunStatus

PAGE = 1000
SUPERSEDED_TAG = "daskcast.superseded_by"


@dataclass(frozen=True, slots=True)
class _Known:
    """A child that is in the store already."""

    run_id: str
    ended: bool


@dataclass(frozen=True, slots=True)
class _Parent:
    """The open parent run."""

    run_id: str
    start_ms: int


class MlflowTracker:
    """Write runs to MLflow.

    Made in the thread of the user's code: a run of the user's that is active there, on the same
    store, becomes the parent of the parent run, in its experiment.

    Parameters
    ----------
    uri : str or None
        Address of the store; None takes ``MLFLOW_TRACKING_URI``, else
        ``sqlite:///mlflow.db`` in the current folder.
    experiment : str
        Made where it does not exist.

    Raises
    ------
    ConfigError
        Where no tracking store can have this address.
    """

    def __init__(self, uri: str | None = None, experiment: str = "daskcast") -> None:
        self._uri = resolve_uri(uri)
        self._experiment = experiment
        self._experiment_id = ""
        self._enclosing = _enclosing_run(self._uri)
        # One thread for a database: several exhaust its pool of connections, or lock SQLite.
        self._in_flight = 1 if is_database(self._uri) else IN_FLIGHT
        self._context: dict[str, str] = {}
        self._known: dict[str, _Known] = {}
        self._parent: _Parent | None = None
        self._repeated = False
        self._client: MlflowClient | None = None

    @property
    def info(self) -> TrackingInfo:
        """Where the run is tracked, without credentials."""
        run_id = self._parent.run_id if self._parent else ""
        page = f"/#/experiments/{self._experiment_id}/runs/{run_id}"
        uri = redact(self._uri)
        return TrackingInfo(
            uri=uri,
            experiment=self._experiment,
            experiment_id=self._experiment_id,
            run_id=run_id,
            run_url=uri.rstrip("/") + page if run_id and is_server(self._uri) else "",
        )

    def start(self, parent: ParentRun) -> str:
        """Open the parent run, or open it again where it is in the store.

        Parameters
        ----------
        parent : ParentRun

        Returns
        -------
        str
            Id of the parent run: a new one where the one to go on with is gone.

        Raises
        ------
        TrackingError
            Where the store cannot be reached or refuses.
        """
        doing = f"cannot start a run at {redact(self._uri)}"
        with hush(), patience(STARTING), translated(self._uri, doing):
            probe(self._uri)
            make_whole(self._uri)
            self._client = MlflowClient(tracking_uri=self._uri)
            self._context = {key: redact(value) for key, value in resolve_tags().items()}
            found = self._reopened(parent.run_id) or self._reopened(self._run_of(parent))
            self._parent = found or self._created(parent)
        if found:
            self.existing_keys()
        return self._parent.run_id

    def log_children(self, children: Sequence[ChildRun]) -> Delivery:
        """Write the children that are not complete in the store, three requests each.

        A child that an earlier run left unfinished is completed, not made again.

        Parameters
        ----------
        children : sequence of ChildRun

        Returns
        -------
        Delivery
        """
        parent_id = self._open().run_id
        sending = Sending(children, lambda child: self._send(child, parent_id, self._known))
        with patience(SENDING):
            delivery = sending.run(self._in_flight, uri=self._uri)
        self._repeated |= sending.repeated
        return delivery

    def finish(
        self, status: RunStatus, metrics: Mapping[str, float], artifacts: Iterable[Artifact] = ()
    ) -> None:
        """Write metrics and artifacts, and end the parent run.

        Raises
        ------
        TrackingError
            Where the store cannot be reached or refuses.
        """
        parent, client = self._open(), self._open_client()
        if self._repeated:
            self.existing_keys()
        doing = f"cannot finish the run at {redact(self._uri)}"
        with hush(), patience(SENDING), translated(self._uri, doing):
            values = [MetricPoint(key, float(value)) for key, value in metrics.items()]
            now = max(_now_ms(), parent.start_ms)
            self._log(parent.run_id, values, {}, {}, start_ms=now)
            for artifact in artifacts:
                client.log_artifact(parent.run_id, str(artifact.path), artifact.folder or None)
            self._end(parent.run_id, status, now)

    def existing_keys(self) -> set[str]:
        """Give the keys of the children that are complete in the store, read page by page.

        Raises
        ------
        TrackingError
            Where the store cannot be reached or refuses.
        """
        doing = f"cannot list the runs at {redact(self._uri)}"
        with hush(), patience(SENDING), translated(self._uri, doing):
            self._known = self._children_of(self._open().run_id)
        return {key for key, known in self._known.items() if known.ended}

    def _open(self) -> _Parent:
        if self._parent is None:
            raise TrackingError("the parent run is not open; call start() first")
        return self._parent

    def _open_client(self) -> MlflowClient:
        if self._client is None:
            raise TrackingError("the parent run is not open; call start() first")
        return self._client

    @property
    def _store(self) -> Any:
        # The client's own calls for these steps do more than is wanted here: `create_run` sends
        # telemetry each time, `log_batch` adds the user's active model, `update_run` and
        # `set_terminated` are two requests each, and one of them prints.
        return self._open_client()._tracking_client.store

    def _run_of(self, parent: ParentRun) -> str:
        """Find the run that was opened for this parent by a process that died before it said so."""
        key = parent.tags.get(KEY_TAG)
        experiment = self._open_client().get_experiment_by_name(self._experiment)
        if not parent.resumed or key is None or experiment is None:
            return ""
        asked = f"tags.`{KEY_TAG}` = '{key}'"
        found = self._open_client().search_runs([experiment.experiment_id], asked, max_results=1)
        return str(found[0].info.run_id) if found else ""

    def _reopened(self, run_id: str | None) -> _Parent | None:
        if not run_id:
            return None
        try:
            run = self._open_client().get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        if run.info.lifecycle_stage != "active":
            return None
        self._experiment_id = run.info.experiment_id
        self._experiment = self._open_client().get_experiment(self._experiment_id).name
        self._store.update_run_info(run_id, MlflowStatus.RUNNING, None, None)
        return _Parent(run.info.run_id, run.info.start_time)

    def _created(self, parent: ParentRun) -> _Parent:
        client = self._open_client()
        above = {}
        if self._enclosing:
            self._experiment_id = self._enclosing.info.experiment_id
            self._experiment = client.get_experiment(self._experiment_id).name
            above = {PARENT_TAG: self._enclosing.info.run_id}
        else:
            self._experiment_id = _experiment_id(client, self._experiment)
        tags = {**self._context, **parent.tags, **above}
        run = client.create_run(self._experiment_id, parent.start_ms, tags, parent.name)
        self._log(run.info.run_id, (), parent.params, {}, start_ms=parent.start_ms)
        return _Parent(run.info.run_id, parent.start_ms)

    def _children_of(self, run_id: str) -> dict[str, _Known]:
        """List the children of a run; of those with the same key, one that is complete."""
        known: dict[str, _Known] = {}
        for key, found in sorted(self._listed(run_id), key=lambda pair: not pair[1].ended):
            if key not in known:
                known[key] = found
            elif not found.ended:
                # A request that was repeated because its answer got lost made two runs.
                self._open_client().delete_run(found.run_id)
        return known

    def _listed(self, run_id: str) -> list[tuple[str, _Known]]:
        runs, token = [], None
        query = f"tags.`{PARENT_TAG}` = '{run_id}'"
        while True:
            page = self._open_client().search_runs(
                [self._experiment_id], query, max_results=PAGE, page_token=token
            )
            runs += [
                (run.data.tags[KEY_TAG], _Known(run.info.run_id, run.info.status != "RUNNING"))
                for run in page
                if KEY_TAG in run.data.tags
            ]
            token = page.token
            if not token:
                return runs

    def _send(self, child: ChildRun, parent_id: str, known: Mapping[str, _Known]) -> None:
        """Write one child, with the runs of its trials, and end it last."""
        found = known.get(child.key)
        if found and found.ended:
            return
        start = self._open().start_ms
        run_id = found.run_id if found else self._create(child, parent_id)
        self._log(run_id, child.metrics, child.params, {}, start_ms=start)
        if child.trials:
            trials = self._children_of(run_id) if found else {}
            for trial in child.trials:
                self._send(trial, run_id, trials)
        for key in known.keys() & set(child.supersedes):
            self._store.set_tag(known[key].run_id, RunTag(SUPERSEDED_TAG, run_id))
        self._end(run_id, child.status, start + child.duration_ms)
        if parent_id == self._open().run_id:
            self._known[child.key] = _Known(run_id, ended=True)

    def _create(self, child: ChildRun, parent_id: str) -> str:
        tags = {**self._context, **child.tags, PARENT_TAG: parent_id}
        run = self._store.create_run(
            self._experiment_id,
            self._context.get(MLFLOW_USER, "unknown"),
            self._open().start_ms,
            [RunTag(key, value) for key, value in tags.items()],
            child.name,
        )
        return str(run.info.run_id)

    def _log(
        self,
        run_id: str,
        metrics: Sequence[MetricPoint],
        params: Mapping[str, str],
        tags: Mapping[str, str],
        *,
        start_ms: int,
    ) -> None:
        for batch in log_batches(metrics, params, tags):
            self._store.log_batch(
                run_id,
                [Metric(m.key, m.value, start_ms + m.after_ms, m.step) for m in batch.metrics],
                [Param(key, value) for key, value in batch.params],
                [RunTag(key, value) for key, value in batch.tags],
            )

    def _end(self, run_id: str, status: RunStatus, end_ms: int) -> None:
        code = MlflowStatus.from_string(status.value)
        self._store.update_run_info(run_id, code, end_ms, None)


def _experiment_id(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # made by somebody else meanwhile
    if found is None or found.lifecycle_stage != "active":
        raise TrackingError(
            f"the experiment {name!r} is deleted in MLflow; restore it with `mlflow experiments "
            "restore`, or choose another with --experiment"
        )
    return str(found.experiment_id)


def _enclosing_run(uri: str) -> Any:
    """Give the user's active run where it is in the same store."""
    run = mlflow.active_run()
    if run is None:
        return None
    theirs = resolve_uri(mlflow.get_tracking_uri())
    return run if redact(theirs).rstrip("/") == redact(uri).rstrip("/") else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
