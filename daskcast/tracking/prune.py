"""Old runs of daskcast, deleted from the tracking store.

Covers which runs are old (:func:`old_runs`) and deleting them with all that is below them
(:func:`delete_runs`). Does not cover the run folders, which stay.

What is deleted can be restored until ``mlflow gc`` removes it for good, as all that MLflow deletes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow import MlflowClient

from daskcast.tracking.base import PARENT_TAG
from daskcast.tracking.courtesy import SENDING, hush, patience, translated
from daskcast.tracking.searching import opened, pages
from daskcast.tracking.uris import redact, resolve_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlflow.entities import Run

logger = logging.getLogger(__name__)

KIND_TAG = "daskcast.kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class OldRun:
    """A parent run that may be deleted, and what is below it.

    Parameters
    ----------
    run_id, name : str
    start_ms : int
        Milliseconds since the epoch.
    below : tuple of str
        Ids of the runs below it: those of trials, then those of entities.
    """

    run_id: str
    name: str
    start_ms: int
    below: tuple[str, ...]


def old_runs(
    keep: int, *, experiment: str = "daskcast", tracking_uri: str | None = None
) -> list[OldRun]:
    """Find the runs of daskcast that are older than the latest so many.

    A run that is going on is neither counted nor old. One that has something below it which
    daskcast did not make stays, with a warning.

    Parameters
    ----------
    keep : int
    experiment : str
    tracking_uri : str, optional

    Returns
    -------
    list of OldRun
        The oldest first.

    Raises
    ------
    TrackingError
        Where the store cannot be reached, or has no such experiment.
    """
    with opened(tracking_uri, experiment, "list the runs") as (client, experiment_id):
        query = f"tags.`{KIND_TAG}` = 'run' AND attributes.status != 'RUNNING'"
        parents = list(pages(client, experiment_id, query))
        parents.sort(key=lambda run: (run.info.start_time, run.info.run_id))
        old = []
        for run in parents[: max(len(parents) - keep, 0)]:
            below = _below(client, run)
            if below is not None:
                info = run.info
                old.append(
                    OldRun(
                        run_id=info.run_id,
                        name=info.run_name,
                        start_ms=info.start_time,
                        below=below,
                    )
                )
        return old


def delete_runs(
    runs: Sequence[OldRun],
    *,
    tracking_uri: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Delete runs with all that is below them, what is below first.

    Stopped half way it leaves parents with fewer children, never children without a parent; the
    next time goes on.

    Parameters
    ----------
    runs : sequence of OldRun
    tracking_uri : str, optional
    on_progress : callable, optional
        Called with how many are deleted, and how many there are.

    Returns
    -------
    int
        How many were deleted.

    Raises
    ------
    TrackingError
        Where the store cannot be reached or refuses.
    """
    uri = resolve_uri(tracking_uri)
    doing = f"cannot delete runs at {redact(uri)}"
    ids = [run_id for run in runs for run_id in (*run.below, run.run_id)]
    with hush(), patience(SENDING), translated(uri, doing):
        client = MlflowClient(tracking_uri=uri)
        for n, run_id in enumerate(ids, 1):
            client.delete_run(run_id)
            if on_progress is not None:
                on_progress(n, len(ids))
    return len(ids)


def _below(client: MlflowClient, run: Run) -> tuple[str, ...] | None:
    """Give the runs below a run, the lowest first; None where one of them is not of daskcast."""
    info = run.info
    children = list(pages(client, info.experiment_id, f"tags.`{PARENT_TAG}` = '{info.run_id}'"))
    foreign = [child.info.run_id for child in children if KIND_TAG not in child.data.tags]
    if foreign:
        logger.warning(
            "the run %r (%s) stays: below it is the run %s, which daskcast did not make",
            info.run_name,
            info.run_id,
            foreign[0],
        )
        return None
    ids = {child.info.run_id for child in children}
    asked = f"tags.`{KIND_TAG}` = 'trial' AND attributes.start_time >= {info.start_time}"
    trials = pages(client, info.experiment_id, asked)
    of_trials = [one.info.run_id for one in trials if one.data.tags.get(PARENT_TAG) in ids]
    return (*of_trials, *sorted(ids))
