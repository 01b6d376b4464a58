"""Runs in MLflow, through its tracking server or its database.

Covers :class:`MlflowTracker`: the parent run, and the way that its children take. Does not cover
the ways (``choice``, ``database``, ``rest``), what a run holds (``children``, ``parent``), nor when
it is sent (``writer``).

Everything goes through one client for one address: the address that the process uses for its own
runs, and the runs that are active there, are left alone.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.rest_store import RestStore
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_USER

from daskcast.errors import TrackingError
from daskcast.tracking.base import KEY_TAG, PARENT_TAG, MetricPoint, TrackingInfo
from daskcast.tracking.calls import StoreCalls
from daskcast.tracking.choice import way_to
from daskcast.tracking.courtesy import SENDING, STARTING, hush, patience, probe, translated
from daskcast.tracking.keeping import keep, warn_where_impossible
from daskcast.tracking.new_store import make_whole
from daskcast.tracking.place import Place
from daskcast.tracking.rest import log
from daskcast.tracking.searching import pages
from daskcast.tracking.server import ServerCalls
from daskcast.tracking.uris import is_server, redact, resolve_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from daskcast.tracking.base import Artifact, ChildRun, Delivery, ParentRun, RunStatus
    from daskcast.tracking.place import Way

logger = logging.getLogger(__name__)


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
    bulk : {"auto", "database", "off"}
        Whether many runs are written at a time, see :func:`daskcast.tracking.choice.way_to`.

    Raises
    ------
    ConfigError
        Where no tracking store can have this address.
    """

    def __init__(
        self, uri: str | None = None, experiment: str = "daskcast", *, bulk: str = "auto"
    ) -> None:
        self._uri = resolve_uri(uri)
        self._experiment = experiment
        self._bulk = bulk
        self._enclosing = _enclosing_run(self._uri)
        self._context: dict[str, str] = {}
        self._key = ""
        self._n_starts = 0
        self._place: Place | None = None
        self._way: Way | None = None

    @property
    def info(self) -> TrackingInfo:
        """Where the run is tracked, without credentials."""
        run_id = self._place.parent_id if self._place else ""
        experiment_id = self._place.experiment_id if self._place else ""
        page = f"/#/experiments/{experiment_id}/runs/{run_id}"
        uri = redact(self._uri)
        return TrackingInfo(
            uri=uri,
            experiment=self._experiment,
            experiment_id=experiment_id,
            run_id=run_id,
            run_url=uri.rstrip("/") + page if run_id and is_server(self._uri) else "",
            context=self._context,
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
        self._n_starts += 1
        with hush(), patience(STARTING), translated(self._uri, doing):
            self._context = _context(parent)
            self._key = parent.tags.get(KEY_TAG, "")
            probe(self._uri)
            make_whole(self._uri)
            client = MlflowClient(tracking_uri=self._uri)
            found = self._reopened(client, parent.run_id, parent) or self._reopened(
                client, self._run_of(client, parent), parent
            )
            self._place = found or self._created(client, parent)
            self._way = way_to(self._place, self._bulk)
            warn_where_impossible(self._place)
        if found:
            self.existing_keys()
        return self._place.parent_id

    @property
    def n_at_once(self) -> int:
        """Children that are best handed over at a time."""
        return self._open_way().n_at_once

    @property
    def requests_per_run(self) -> float:
        """About how many requests one child run takes."""
        return self._open_way().requests_per_run

    def log_children(self, children: Sequence[ChildRun]) -> Delivery:
        """Write the children that are not complete in the store.

        Parameters
        ----------
        children : sequence of ChildRun

        Returns
        -------
        Delivery
        """
        return self._open_way().send(children)

    def finish(
        self,
        status: RunStatus,
        metrics: Mapping[str, float],
        artifacts: Iterable[Artifact] = (),
        history: Iterable[MetricPoint] = (),
    ) -> None:
        """Write metrics and artifacts, and end the parent run, with all artifacts or not.

        Raises
        ------
        TrackingError
            Where the store cannot be reached or refuses, or does not take the artifacts.
        """
        place, way = self._open_place(), self._open_way()
        doing = f"cannot finish the run at {redact(self._uri)}"
        with hush(), patience(SENDING), translated(self._uri, doing):
            way.settle()
            self._remove_doubles(place)
            now = max(_now_ms(), place.start_ms)
            after_ms = now - place.start_ms
            values = [MetricPoint(key, float(v), 0, after_ms) for key, v in metrics.items()]
            log(place, place.parent_id, [*values, *history], {}, start_ms=place.start_ms)
            trouble = keep(place, artifacts)
            place.calls.set_status(place.parent_id, status.value, now)
        if trouble:
            raise TrackingError(trouble)

    def existing_keys(self) -> set[str]:
        """Give the keys of the children that are complete in the store.

        Raises
        ------
        TrackingError
            Where the store cannot be reached or refuses.
        """
        doing = f"cannot list the runs at {redact(self._uri)}"
        with hush(), patience(SENDING), translated(self._uri, doing):
            return self._open_way().look()

    def _open_place(self) -> Place:
        if self._place is None:
            raise TrackingError("the parent run is not open; call start() first")
        return self._place

    def _open_way(self) -> Way:
        if self._way is None:
            raise TrackingError("the parent run is not open; call start() first")
        return self._way

    def _run_of(self, client: MlflowClient, parent: ParentRun) -> str:
        """Find the run that was opened for this parent by a process that died before it said so."""
        key = parent.tags.get(KEY_TAG)
        experiment = client.get_experiment_by_name(self._experiment)
        if not parent.resumed or key is None or experiment is None:
            return ""
        asked = f"tags.`{KEY_TAG}` = '{key}'"
        found = client.search_runs([experiment.experiment_id], asked, max_results=1)
        return str(found[0].info.run_id) if found else ""

    def _remove_doubles(self, place: Place) -> None:
        """Remove what a request to create the parent, long without an answer, made late."""
        is_doubtful = place.calls.doubtful or self._n_starts > 1
        if not is_doubtful or not self._key:
            return
        asked = f"tags.`{KEY_TAG}` = '{self._key}'"
        for run in pages(place.client, place.experiment_id, asked):
            if run.info.run_id != place.parent_id:
                place.client.delete_run(run.info.run_id)

    def _reopened(
        self, client: MlflowClient, run_id: str | None, parent: ParentRun
    ) -> Place | None:
        if not run_id:
            return None
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        if run.info.lifecycle_stage != "active":
            logger.warning(
                "the run %s was deleted in MLflow; a new one is made. To go on with it instead: "
                "`mlflow runs restore --run-id %s`",
                run_id,
                run_id,
            )
            return None
        self._experiment = client.get_experiment(run.info.experiment_id).name
        place = self._place_of(client, run.info.experiment_id, run.info.run_id, run.info.start_time)
        log(place, run_id, (), parent.params, start_ms=place.start_ms, tags=parent.tags)
        place.calls.set_status(run_id, "RUNNING")
        return place

    def _created(self, client: MlflowClient, parent: ParentRun) -> Place:
        above = {}
        if self._enclosing:
            experiment_id = self._enclosing.info.experiment_id
            self._experiment = client.get_experiment(experiment_id).name
            above = {PARENT_TAG: self._enclosing.info.run_id}
        else:
            experiment_id = _experiment_id(client, self._experiment)
        tags = {**self._context, **parent.tags, **above}
        place = self._place_of(client, experiment_id, "", parent.start_ms)
        run_id = place.calls.create(experiment_id, place.user, parent.start_ms, tags, parent.name)
        log(place, run_id, (), parent.params, start_ms=parent.start_ms)
        return replace(place, parent_id=run_id)

    def _place_of(
        self, client: MlflowClient, experiment_id: str, run_id: str, start_ms: int
    ) -> Place:
        store = client._tracking_client.store
        return Place(
            client=client,
            calls=ServerCalls(store) if isinstance(store, RestStore) else StoreCalls(store),
            uri=self._uri,
            experiment_id=experiment_id,
            parent_id=run_id,
            start_ms=start_ms,
            context=self._context,
        )


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


def _context(parent: ParentRun) -> dict[str, str]:
    """Give user, source and git commit of this process, or of the one that the run is of."""
    here = {key: redact(value) for key, value in resolve_tags().items()}
    if parent.context is None:
        return here
    return {MLFLOW_USER: here.get(MLFLOW_USER, "unknown"), **parent.context}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
