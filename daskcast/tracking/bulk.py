"""Children as complete runs, many at a time.

Covers :class:`BulkWay`: what the ways have in common that write whole runs under ids of their own.
Does not cover how they get into the store (``database``, ``endpoint``).

The id of a run follows from its key and from when its work began, which the run folder keeps: so a
run that is there is not written again, however often and from however many processes it is sent.
Ids begin with the time because a database keeps its indexes in their order. With ids at random each
run goes into other pages, and a run costs the more the more there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from daskcast.mlflow_plugin.messages import CompleteRun
from daskcast.tracking.base import PARENT_TAG, Delivery
from daskcast.tracking.courtesy import SENDING, hush, is_hopeless, patience, reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from daskcast.tracking.base import ChildRun
    from daskcast.tracking.place import Place

#: The run of a child and those of its trials. They are never divided: a child that is there is
#: taken for complete.
Family = list[CompleteRun]
#: Runs that are put at a time, those of trials among them.
RUNS_AT_ONCE = 500
#: What tells that something of these runs is wrong; all else, others would meet too.
_OF_A_RUN = frozenset({"BAD_REQUEST", "INVALID_PARAMETER_VALUE"})


class BulkWay(ABC):
    """Write complete runs, a group at a time.

    Parameters
    ----------
    place : Place
    """

    name: str
    n_at_once = 250
    requests_per_run: float

    def __init__(self, place: Place) -> None:
        self._place = place
        self._there: dict[str, str] = {}
        self._helpers_s = 0.0

    @abstractmethod
    def _put(self, families: Sequence[Family]) -> None:
        """Write those that are not there, each family whole or not at all.

        Raises
        ------
        MlflowException
        """

    @abstractmethod
    def _listed(self) -> Iterable[tuple[str, str, bool]]:
        """List the children: key, run id, and whether the run has ended."""

    def look(self) -> set[str]:
        """List the children, and give the keys of those that are complete.

        What another way left unfinished is deleted: it is written whole, under its own id.
        """
        unfinished = []
        for key, run_id, ended in self._listed():
            if ended:
                self._there[key] = run_id
            else:
                unfinished.append(run_id)
        for run_id in unfinished:
            self._place.client.delete_run(run_id)
        return set(self._there)

    def send(self, children: Sequence[ChildRun]) -> Delivery:
        """Write the children that are not there; a child that is refused stops no other."""
        refused: list[tuple[str, str]] = []
        stopped, n_tried = "", 0
        before_s = self._helpers_s
        with hush(), patience(SENDING):
            for group in _groups(children):
                stopped = self._write(group, refused)
                if stopped:
                    break
                n_tried += len(group)
        n_sent = max(n_tried - len(refused), 0)
        return Delivery(n_sent, tuple(refused), stopped, self._helpers_s - before_s)

    def settle(self) -> None:  # noqa: B027 - there is nothing to do
        """Nothing is there twice."""

    def _write(self, group: Sequence[ChildRun], refused: list[tuple[str, str]]) -> str:
        """Write a group, by halves where it is refused; say why nothing more can be written."""
        families = [
            list(self._complete(child, self._place.parent_id))
            for child in group
            if child.key not in self._there
        ]
        try:
            if families:
                self._put(families)
        except MlflowException as error:
            why = reason(error, self._place.uri)
            if is_hopeless(error) or error.error_code not in _OF_A_RUN:
                return why
            if len(group) > 1:
                half = len(group) // 2
                return self._write(group[:half], refused) or self._write(group[half:], refused)
            refused.append((group[0].name, why))
        return ""

    def _complete(self, child: ChildRun, parent_id: str) -> Iterator[CompleteRun]:
        """Give the run of a child, then those of its trials."""
        start = self._place.start_ms + child.start_after_ms
        run_id = f"{start:012x}{child.key[:20]}"
        yield CompleteRun(
            run_id=run_id,
            name=child.name,
            status=child.status.value,
            start_time=start,
            end_time=start + child.duration_ms,
            tags={**self._place.context, **child.tags, PARENT_TAG: parent_id},
            params=dict(child.params),
            metrics=[(m.key, m.value, start + m.after_ms, m.step) for m in child.metrics],
            supersedes=[self._there[key] for key in child.supersedes if key in self._there],
        )
        for trial in child.trials:
            yield from self._complete(trial, run_id)


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
