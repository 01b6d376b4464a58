"""Child runs, made from the tables of the run folder.

Covers what a child run of an entity holds: its name, tags, params and metrics. Does not cover
the parent (``parent``) or sending (``writer``, ``mlflow_client``).

A score that is missing or undefined (NaN, infinite) is not sent: a filter of MLflow never
matches NaN, its charts break on it, and infinity is stored as a huge number. So a missing
metric is an undefined score, and a missing step of ``trial_loss`` a trial that failed.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from daskcast.records import Status
from daskcast.redact import printable
from daskcast.tracking.base import KEY_TAG, ChildRun, MetricPoint, RunStatus, run_key
from daskcast.tracking.limits import (
    MAX_NAME,
    MAX_PARAM_VALUE,
    MAX_TAG_VALUE,
    clean,
    keyed,
    shorten,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

#: Characters of an id or of a message in a tag; beyond, shortened with a digest.
MAX_TEXT = 1000
SCORES = ("tune_loss", "cv_mase", "cv_rmsse", "cv_smape", "naive_mase", "skill")
_METRICS = (*SCORES, "n_obs", "n_windows", "n_trials", "seconds")
_TEXTS = ("unique_id", "status", "model", "params", "stopped_by", "error_type", "message", "batch")
_CHECKS = "checks"
#: What is needed of the two tables.
ENTITY_COLUMNS = [*_TEXTS, *_METRICS, _CHECKS, "attempt", "traceback"]
TRIAL_COLUMNS = [
    "unique_id",
    "trial",
    "model",
    "params",
    "tune_loss",
    "weight",
    "seconds",
    "state",
]

Row = dict[str, Any]


def child_runs(
    entities: pa.Table,
    trials: pa.Table,
    parent_id: str,
    *,
    detail: str = "entity",
    after_ms: Mapping[int, int] | None = None,
) -> list[ChildRun]:
    """Make the child runs of some entities.

    Parameters
    ----------
    entities, trials : pyarrow.Table
        Of the same batches, as the run folder has them.
    parent_id : str
        Id of the parent run.
    detail : {"entity", "trial"}
        ``trial`` adds a run for each trial below its entity's run.
    after_ms : mapping of int to int, optional
        When the work of each attempt began, in milliseconds after the start of the parent run.

    Returns
    -------
    list of ChildRun
        One for each row of ``entities``, in its order.
    """
    by_entity = _trials_by_entity(trials)
    return [
        _child(
            row,
            by_entity.get(row["unique_id"], ()),
            parent_id,
            detail=detail,
            start=(after_ms or {}).get(row["attempt"], 0),
        )
        for row in entities.select(ENTITY_COLUMNS).to_pylist()
    ]


def points(values: Mapping[str, float | None], *, after_ms: int = 0) -> tuple[MetricPoint, ...]:
    """Give one point for each value that is finite."""
    return tuple(
        MetricPoint(key, float(value), 0, after_ms)
        for key, value in values.items()
        if value is not None and math.isfinite(value)
    )


def _trials_by_entity(trials: pa.Table) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = {}
    for row in trials.select(TRIAL_COLUMNS).to_pylist():
        grouped.setdefault(row["unique_id"], []).append(row)
    for rows in grouped.values():
        rows.sort(key=lambda row: row["trial"])
    return grouped


def _child(row: Row, trials: Sequence[Row], parent_id: str, *, detail: str, start: int) -> ChildRun:
    entity, attempt = row["unique_id"], int(row["attempt"] or 1)
    duration = _milliseconds(row["seconds"])
    key = run_key(parent_id, entity, attempt)
    runs = tuple(_trial_run(t, row, parent_id, start) for t in trials) if detail == "trial" else ()
    return ChildRun(
        key=key,
        name=shorten(printable(entity), MAX_NAME) or "(empty id)",
        status=RunStatus.FAILED if row["status"] == Status.FAILED else RunStatus.FINISHED,
        duration_ms=duration,
        start_after_ms=start,
        params=keyed({**_chosen(trials), **_flat(row["params"])}, MAX_PARAM_VALUE),
        tags=_tags(row, key, attempt),
        metrics=(
            *points({name: row[name] for name in _METRICS}, after_ms=duration),
            *points(_checks(row[_CHECKS]), after_ms=duration),
            *_losses(trials),
        ),
        trials=runs,
        supersedes=tuple(run_key(parent_id, entity, i) for i in range(1, attempt)),
    )


def _tags(row: Row, key: str, attempt: int) -> dict[str, str]:
    tags = {
        "daskcast.kind": "entity",
        "daskcast.entity": row["unique_id"],
        "daskcast.status": row["status"],
        "daskcast.model": row["model"] or "",
        KEY_TAG: key,
        "daskcast.attempt": str(attempt),
    }
    for name in ("batch", "stopped_by", "error_type", "message"):
        if row[name]:
            tags[f"daskcast.{name}"] = row[name]
    found = {name: shorten(value, MAX_TEXT) for name, value in tags.items()}
    if row["traceback"]:  # its end says where it was
        found["daskcast.traceback"] = clean(row["traceback"])[-MAX_TAG_VALUE:]
    return found


def _chosen(trials: Sequence[Row]) -> dict[str, str]:
    """Give the point of the search space with the largest weight in the blend."""
    best = max(trials, key=lambda trial: trial["weight"] or 0.0, default=None)
    return _flat(best["params"]) if best and best["weight"] else {}


def _flat(params: str | None) -> dict[str, str]:
    """Give params as texts: plain values as they are, lists and mappings as JSON."""
    values = json.loads(params) if params else {}
    return {str(name): _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(value)  # as JSON has it
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _checks(told: str | None) -> dict[str, float]:
    """Give the checks that are numbers, or yes (1) and no (0), each as ``check_NAME``.

    What has parts, such as the coverage of each level, is one number for each of them.
    """
    found: dict[str, float] = {}
    for name, value in (json.loads(told) if told else {}).items():
        parts = value if isinstance(value, dict) else {"": value}
        for part, number in parts.items():
            if isinstance(number, int | float):
                found[f"check_{name}_{part}".rstrip("_")] = float(number)
    return found


def _losses(trials: Iterable[Row]) -> tuple[MetricPoint, ...]:
    """Give one step of ``trial_loss`` for each trial that has a loss, at the end of the trial."""
    found, spent_ms = [], 0.0
    for trial in trials:
        spent_ms += 1000 * (trial["seconds"] or 0.0)
        loss = trial["tune_loss"]
        if loss is not None and math.isfinite(loss):
            after_ms = round(spent_ms) if math.isfinite(spent_ms) else 0
            found.append(MetricPoint("trial_loss", loss, trial["trial"], after_ms))
    return tuple(found)


def _trial_run(trial: Row, entity: Row, parent_id: str, start: int) -> ChildRun:
    duration = _milliseconds(trial["seconds"])
    attempt = int(entity["attempt"] or 1)
    key = run_key(parent_id, entity["unique_id"], attempt, trial["trial"])
    tags = {
        "daskcast.kind": "trial",
        "daskcast.entity": entity["unique_id"],
        "daskcast.trial": str(trial["trial"]),
        "daskcast.status": trial["state"],
        "daskcast.model": trial["model"] or "",
        KEY_TAG: key,
        "daskcast.attempt": str(attempt),
    }
    name = f"{shorten(printable(entity['unique_id']), MAX_NAME - 20)} trial {trial['trial']}"
    values = {field: trial[field] for field in ("tune_loss", "weight", "seconds")}
    return ChildRun(
        key=key,
        name=name,
        status=RunStatus.FAILED if trial["state"] == "failed" else RunStatus.FINISHED,
        duration_ms=duration,
        start_after_ms=start,
        params=keyed(_flat(trial["params"]), MAX_PARAM_VALUE),
        tags={name: shorten(value, MAX_TEXT) for name, value in tags.items()},
        metrics=points(values, after_ms=duration),
    )


def _milliseconds(seconds: float | None) -> int:
    return round(1000 * seconds) if seconds and math.isfinite(seconds) else 0
