"""Asking MLflow for runs.

Covers an experiment that is there (:func:`opened`) and all pages of an answer (:func:`pages`). Does
not cover the questions (``find``, ``prune``, ``rest``).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlflow import MlflowClient

from daskcast.errors import TrackingError
from daskcast.tracking.courtesy import STARTING, hush, patience, probe, translated
from daskcast.tracking.uris import redact, resolve_uri, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import Run

PAGE = 1000
N_NAMED = 10
"""Experiments that are named where the one that was asked for is not there."""


@contextmanager
def opened(
    tracking_uri: str | None, experiment: str, doing: str
) -> Iterator[tuple[MlflowClient, str]]:
    """Open an experiment; trouble in the block is told without credentials.

    Parameters
    ----------
    tracking_uri : str or None
        See :func:`daskcast.tracking.uris.resolve_uri`.
    experiment : str
    doing : str
        What cannot be done where there is trouble, such as ``search the runs``.

    Yields
    ------
    MlflowClient and str
        The id of the experiment.

    Raises
    ------
    ConfigError
        Where no tracking store can have the address.
    TrackingError
        Where the store cannot be reached, refuses, or has no such experiment.
    """
    uri = resolve_uri(tracking_uri)
    with hush(), patience(STARTING), translated(uri, f"cannot {doing} at {redact(uri)}"):
        path = sqlite_path(uri)
        if path is not None and not path.exists():
            raise TrackingError(f"there is no file {path}")
        probe(uri)
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            known = [one.name for one in client.search_experiments(max_results=N_NAMED)]
            raise TrackingError(
                f"there is no experiment {experiment!r} at {redact(uri)}; some that are there: "
                f"{', '.join(map(repr, known)) or 'none'}"
            )
        yield client, str(found.experiment_id)


def pages(client: MlflowClient, experiment_id: str, query: str) -> Iterator[Run]:
    """Give the runs that a filter finds, page after page as they are asked for."""
    token = None
    while True:
        page = client.search_runs([experiment_id], query, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
