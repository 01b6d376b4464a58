"""Child runs written into the tables of MLflow's database, hundreds in a transaction.

Covers :class:`DatabaseWay`. Does not cover the rows (``mlflow_plugin.tables``), nor whether a
database is written to like this at all (``choice``).

The id of a run is its key, so a run that is there is not written again, however often and from
however many processes it is sent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from daskcast.mlflow_plugin.tables import CompleteRun, runs_below, write_runs
from daskcast.tracking.base import PARENT_TAG, Delivery
from daskcast.tracking.courtesy import hush, is_hopeless, reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from daskcast.tracking.base import ChildRun
    from daskcast.tracking.place import Place

#: Runs in a transaction, those of trials among them.
RUNS_AT_ONCE = 500
#: Pauses before a database that is locked or away is tried again.
PAUSES_S = (1.0, 2.0, 4.0)


class DatabaseWay:
    """Write complete runs, all of a group or none.

    Parameters
    ----------
    place : Place
    """

    name = "database"
    n_at_once = 250
    requests_per_run = 0.0

    def __init__(self, place: Place) -> None:
        self._place = place
        self._elsewhere: dict[str, str] = {}

    def look(self) -> set[str]:
        """List the children, and give the keys of those that are complete.

        What another way left unfinished is deleted: it is written whole, under its own id.
        """
        complete: set[str] = set()
        unfinished = []
        for key, run_id, ended in runs_below(self._place.store, self._place.parent_id):
            if not ended:
                unfinished.append(run_id)
                continue
            complete.add(key)
            if run_id != key:
                self._elsewhere[key] = run_id
        for run_id in unfinished:
            self._place.client.delete_run(run_id)
        return complete

    def send(self, children: Sequence[ChildRun]) -> Delivery:
        """Write the children that are not there; a child that is refused stops no other."""
        refused: list[tuple[str, str]] = []
        stopped, n_sent = "", 0
        with hush():
            for group in _groups(children):
                stopped = self._write(group, refused)
                if stopped:
                    break
                n_sent += len(group)
        return Delivery(n_sent - len(refused), tuple(refused), stopped)

    def settle(self) -> None:
        """Nothing is there twice."""

    def _write(self, group: Sequence[ChildRun], refused: list[tuple[str, str]]) -> str:
        """Write a group, by halves where it is refused; say why nothing more can be written."""
        try:
            self._try(group)
        except MlflowException as error:
            why = reason(error, self._place.uri)
            if is_hopeless(error):
                return why
            if len(group) > 1:
                half = len(group) // 2
                return self._write(group[:half], refused) or self._write(group[half:], refused)
            refused.append((group[0].name, why))
        return ""

    def _try(self, group: Sequence[ChildRun]) -> None:
        runs = [
            run
            for child in group
            if child.key not in self._elsewhere
            for run in self._complete(child, self._place.parent_id)
        ]
        for pause in (*PAUSES_S, None):
            try:
                write_runs(
                    self._place.store, self._place.experiment_id, runs, user=self._place.user
                )
            except MlflowException as error:
                if pause is None or not is_hopeless(error):
                    raise
                time.sleep(pause)
            else:
                return

    def _complete(self, child: ChildRun, parent_id: str) -> Iterator[CompleteRun]:
        """Give the run of a child, then those of its trials."""
        start = self._place.start_ms
        yield CompleteRun(
            run_id=child.key,
            name=child.name,
            status=child.status.value,
            start_time=start,
            end_time=start + child.duration_ms,
            tags={**self._place.context, **child.tags, PARENT_TAG: parent_id},
            params=dict(child.params),
            metrics=[(m.key, m.value, start + m.after_ms, m.step) for m in child.metrics],
            supersedes=[self._elsewhere.get(key, key) for key in child.supersedes],
        )
        for trial in child.trials:
            yield from self._complete(trial, child.key)


def _groups(children: Sequence[ChildRun]) -> Iterator[Sequence[ChildRun]]:
    """Divide children into groups of about ``RUNS_AT_ONCE`` runs."""
    group: list[ChildRun] = []
    n_runs = 0
    for child in children:
        group.append(child)
        n_runs += 1 + len(child.trials)
        if n_runs >= RUNS_AT_ONCE:
            yield group
            group, n_runs = [], 0
    if group:
        yield group
