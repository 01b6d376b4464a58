"""Runs of daskcast, found in the tracking store.

Covers :func:`find_runs`: a question, and the runs that answer it as a frame. Does not cover what a
run holds (``children``, ``parent``).
"""

from __future__ import annotations

import fnmatch
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

import pandas as pd

from daskcast.errors import ConfigError
from daskcast.records import Status
from daskcast.tracking.base import PARENT_TAG, SUPERSEDED_TAG
from daskcast.tracking.children import MAX_TEXT
from daskcast.tracking.limits import shorten
from daskcast.tracking.searching import opened, pages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mlflow.entities import Run

KINDS = ("entity", "run", "trial")
#: Columns that are always there, and the tags that they come from.
TAGS = {
    "entity": "daskcast.entity",
    "status": "daskcast.status",
    "model": "daskcast.model",
    "attempt": "daskcast.attempt",
    "error_type": "daskcast.error_type",
    "message": "daskcast.message",
    "parent_id": PARENT_TAG,
}


def find_runs(  # noqa: PLR0913 - what may be asked, each by its name
    *,
    entity: str | None = None,
    status: str | Sequence[str] | None = None,
    model: str | None = None,
    since: str | datetime | None = None,
    run: str | None = None,
    where: str | None = None,
    kind: str = "entity",
    superseded: bool = False,
    experiment: str = "daskcast",
    tracking_uri: str | None = None,
    max_results: int | None = None,
) -> pd.DataFrame:
    """Find runs of daskcast in the tracking store.

    The store looks for what is asked; what does not match is not read.

    Parameters
    ----------
    entity : str, optional
        The id.
    status : str or sequence of str, optional
        ``ok``, ``fallback`` or ``failed``.
    model : str, optional
        ``*`` stands for anything: ``"ETS*"``.
    since : str or datetime, optional
        Only what began then or later; without a time zone it is UTC.
    run : str, optional
        Id of the parent run.
    where : str, optional
        A filter of MLflow's own besides, such as ``"metrics.skill < 0"``.
    kind : {"entity", "run", "trial"}
    superseded : bool
        Whether attempts are among them that a later one took the place of.
    experiment : str
    tracking_uri : str, optional
        None takes ``MLFLOW_TRACKING_URI``, else ``sqlite:///mlflow.db``.
    max_results : int, optional

    Returns
    -------
    DataFrame
        One row for each run, the latest first. Columns ``run_id``, ``start`` (UTC), ``seconds``,
        ``entity``, ``status``, ``model``, ``attempt``, ``error_type``, ``message``, ``parent_id``;
        then one for each metric, and one ``params.NAME`` for each param that any of them has.

    Raises
    ------
    ConfigError
        Where a value cannot be asked for.
    TrackingError
        Where the store cannot be reached, has no such experiment, or does not take ``where``.

    Examples
    --------
    >>> from daskcast.tracking import find_runs
    >>> find_runs(status="failed", since="2026-01-01")  # doctest: +SKIP
    >>> find_runs(entity="JFK")[["start", "model", "status"]]  # doctest: +SKIP
    """
    if kind not in KINDS:
        raise ConfigError(f"kind must be one of {', '.join(KINDS)}; found {kind!r}")
    common = [_equals("daskcast.kind", kind)]
    common += [_equals(TAGS["entity"], shorten(entity, MAX_TEXT))] if entity is not None else []
    common += [_like(TAGS["model"], model.replace("*", "%"))] if model is not None else []
    common += [_equals(PARENT_TAG, run)] if run is not None else []
    common += [f"attributes.start_time >= {_milliseconds(since)}"] if since is not None else []
    common += [where] if where else []
    statuses = _statuses(status)

    def fits(one: Run) -> bool:
        tags = one.data.tags
        return (
            (superseded or SUPERSEDED_TAG not in tags)
            and (entity is None or tags.get(TAGS["entity"]) == shorten(entity, MAX_TEXT))
            and (model is None or fnmatch.fnmatchcase(tags.get(TAGS["model"], ""), _glob(model)))
        )

    runs: list[Run] = []
    with opened(tracking_uri, experiment, "search the runs") as (client, experiment_id):
        for one in statuses:
            query = " AND ".join([*common, *([_equals(TAGS["status"], one)] if one else [])])
            fitting = filter(fits, pages(client, experiment_id, query))
            runs += islice(fitting, max_results)
    runs.sort(key=lambda one: one.info.start_time, reverse=True)
    return _frame(runs[:max_results])


def _statuses(status: str | Sequence[str] | None) -> list[str]:
    """Give the statuses to ask for, one question each: MLflow knows no *or*."""
    if status is None:
        return [""]
    given = [status] if isinstance(status, str) else list(status)
    known = [one.value for one in Status]
    wrong = [one for one in given if one not in known]
    if wrong or not given:
        raise ConfigError(f"status must be of {', '.join(known)}; found {wrong or given}")
    return sorted({str(one) for one in given})


def _equals(tag: str, value: str) -> str:
    """Ask for a value; one with both kinds of quotes cannot be written, so more is asked for."""
    for quote in "'\"":
        if quote not in value:
            return f"tags.`{tag}` = {quote}{value}{quote}"
    return _like(tag, value)


def _like(tag: str, pattern: str) -> str:
    plain = re.sub("['\"]", "_", pattern)
    return f"tags.`{tag}` LIKE '{plain}'"


def _glob(pattern: str) -> str:
    """Give a pattern in which the star alone stands for something."""
    return re.sub(r"([\[\]?])", r"[\1]", pattern)


def _milliseconds(moment: str | datetime) -> int:
    try:
        stamp = pd.Timestamp(moment)
    except ValueError as error:
        raise ConfigError(f"since must be a time, such as 2026-01-31; found {moment!r}") from error
    utc = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
    return int(utc.timestamp() * 1000)


def _frame(runs: Sequence[Run]) -> pd.DataFrame:
    head = ["run_id", "start", "seconds", *TAGS]
    frame = pd.DataFrame([_row(one) for one in runs])
    more = [name for name in frame.columns if name not in head]
    frame = frame.reindex(columns=[*head, *sorted(more, key=lambda n: n.startswith("params."))])
    frame["start"] = pd.to_datetime(frame["start"], unit="ms", utc=True)
    return frame


def _row(run: Run) -> dict[str, Any]:
    info, tags = run.info, run.data.tags
    ended = info.end_time
    return {
        "run_id": info.run_id,
        "start": info.start_time,
        **{name: tags.get(tag) for name, tag in TAGS.items()},
        **run.data.metrics,
        # The metric of this name is that of the entity; a run has a duration of its own.
        "seconds": None if ended is None else (ended - info.start_time) / 1000,
        **{f"params.{name}": value for name, value in run.data.params.items()},
    }
