"""Child runs by three requests each, as every MLflow server takes them.

Covers :class:`RestWay`: create, one ``log_batch``, end; also through the store of a database that
is not to be written to in bulk. Does not cover the requests (``calls``, ``server``), how many are
in flight (``pace``), nor which trouble stops all of them (``sending``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daskcast.tracking.base import KEY_TAG, PARENT_TAG, SUPERSEDED_TAG
from daskcast.tracking.courtesy import SENDING, patience
from daskcast.tracking.limits import log_batches
from daskcast.tracking.searching import pages
from daskcast.tracking.sending import Sending

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daskcast.tracking.base import ChildRun, Delivery, MetricPoint
    from daskcast.tracking.place import Place

GROUP = 20


@dataclass(frozen=True, slots=True)
class _Known:
    """A child that is in the store already."""

    run_id: str
    ended: bool


class RestWay:
    """Send each child by itself; one that an earlier run left unfinished is completed.

    Parameters
    ----------
    place : Place
    """

    name = "rest"
    n_at_once = GROUP
    requests_per_run = 3.0

    def __init__(self, place: Place) -> None:
        self._place = place
        self._known: dict[str, _Known] = {}
        self._with_trials: set[str] = set()

    def look(self) -> set[str]:
        """List the children, page by page, and give the keys of those that are complete."""
        self._known = self._children_of(self._place.parent_id)
        return {key for key, known in self._known.items() if known.ended}

    def send(self, children: Sequence[ChildRun]) -> Delivery:
        """Write the children that are not complete in the store."""
        parent_id = self._place.parent_id
        sending = Sending(children, lambda child: self._send(child, parent_id, self._known))
        with patience(SENDING):
            return sending.run(self._place.calls.n_at_once, uri=self._place.uri)

    def settle(self) -> None:
        """List the children again where one may have been made late, and delete what is twice."""
        if self._place.calls.doubtful:
            self.look()
            for run_id in self._with_trials:
                self._children_of(run_id)

    def _children_of(self, run_id: str) -> dict[str, _Known]:
        """List the children of a run; of those with the same key, one that is complete."""
        known: dict[str, _Known] = {}
        for key, child_id, ended in sorted(listed(self._place, run_id), key=lambda c: not c[2]):
            if key not in known:
                known[key] = _Known(child_id, ended)
            elif not ended:
                # A request that was repeated because its answer got lost made two runs.
                self._place.client.delete_run(child_id)
        return known

    def _send(self, child: ChildRun, parent_id: str, known: Mapping[str, _Known]) -> None:
        """Write one child, with the runs of its trials, and end it last."""
        found = known.get(child.key)
        if found and found.ended:
            return
        start = self._place.start_ms + child.start_after_ms
        run_id = found.run_id if found else self._create(child, parent_id, start)
        log(self._place, run_id, child.metrics, child.params, start_ms=start)
        if child.trials:
            self._with_trials.add(run_id)
            trials = self._children_of(run_id) if found else {}
            for trial in child.trials:
                self._send(trial, run_id, trials)
        for key in known.keys() & set(child.supersedes):
            self._place.calls.set_tag(known[key].run_id, SUPERSEDED_TAG, run_id)
        self._place.calls.set_status(run_id, child.status, start + child.duration_ms)
        if parent_id == self._place.parent_id:
            self._known[child.key] = _Known(run_id, ended=True)

    def _create(self, child: ChildRun, parent_id: str, start_ms: int) -> str:
        tags = {**self._place.context, **child.tags, PARENT_TAG: parent_id}
        place = self._place
        return place.calls.create(place.experiment_id, place.user, start_ms, tags, child.name)


def listed(place: Place, run_id: str) -> list[tuple[str, str, bool]]:
    """List the children of a run, page by page.

    Parameters
    ----------
    place : Place
    run_id : str

    Returns
    -------
    list of (str, str, bool)
        Key, run id, and whether the run has ended.
    """
    query = f"tags.`{PARENT_TAG}` = '{run_id}'"
    return [
        (run.data.tags[KEY_TAG], run.info.run_id, run.info.status != "RUNNING")
        for run in pages(place.client, place.experiment_id, query)
        if KEY_TAG in run.data.tags
    ]


def log(
    place: Place,
    run_id: str,
    metrics: Sequence[MetricPoint],
    params: Mapping[str, str],
    *,
    start_ms: int,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log metrics, params and tags of a run, in as few requests as the limits allow.

    Parameters
    ----------
    place : Place
    run_id : str
    metrics : sequence of MetricPoint
    params : mapping of str to str
    start_ms : int
        What the times of the metrics count from.
    tags : mapping of str to str, optional
    """
    for batch in log_batches(metrics, params, tags or {}):
        place.calls.log(run_id, batch, start_ms)
