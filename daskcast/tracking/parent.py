"""The parent run: what describes the run of a whole panel.

Covers the params and tags at its start and the aggregates at its end. Does not cover child runs
(``children``) or sending (``writer``).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from daskcast.config import ForecastConfig
from daskcast.records import Status
from daskcast.tracking.base import KEY_TAG, MetricPoint, ParentRun, run_key
from daskcast.tracking.children import SCORES
from daskcast.tracking.limits import MAX_NAME, MAX_PARAM_VALUE, MAX_TAG_VALUE, keyed, shorten
from daskcast.tracking.uris import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from daskcast.tracking.base import TrackingInfo

    Floats = NDArray[np.float64]

_RESERVED = ("daskcast.", "mlflow.parentRunId", "mlflow.runName")
_IDS = ("run_id", "run_url", "experiment", "experiment_id")


def parent_run(
    config: ForecastConfig,
    *,
    name: str,
    start_ms: int,
    fingerprint: str = "",
    tags: Mapping[str, str] | None = None,
    run_id: str | None = None,
) -> ParentRun:
    """Describe the run of a panel before its work begins.

    Parameters
    ----------
    config : ForecastConfig
        Becomes the params.
    name : str
        Such as the name of the run folder.
    start_ms : int
        Milliseconds since the epoch.
    fingerprint : str
        Of the data.
    tags : mapping of str to str, optional
        The user's own.
    run_id : str or None
        The parent run to go on with.

    Returns
    -------
    ParentRun
    """
    params = {key: _text(value) for key, value in config.to_dict().items()}
    own = {
        "daskcast.kind": "run",
        "daskcast.version": metadata.version("daskcast"),
        "daskcast.config_hash": config.hash,
        "daskcast.data_fingerprint": fingerprint,
        KEY_TAG: run_key(f"{config.hash} {fingerprint}", start_ms),
    }
    safe = {key: redact(str(value)) for key, value in (tags or {}).items()}
    return ParentRun(
        name=shorten(name, MAX_NAME),
        start_ms=start_ms,
        params=keyed(params, MAX_PARAM_VALUE),
        tags={**keyed(safe, MAX_TAG_VALUE), **own},
        run_id=run_id,
    )


def parent_from(
    manifest: Mapping[str, Any], *, name: str, now: TrackingInfo, resumed: bool
) -> ParentRun:
    """Describe the run of a run folder.

    Parameters
    ----------
    manifest : mapping
        What ``run.json`` holds.
    name : str
        Of the folder.
    now : TrackingInfo
        Where the run is to be tracked: in the same store and experiment as before, it goes on
        with the parent run that is there.
    resumed : bool
        Whether an earlier process may have opened it.

    Returns
    -------
    ParentRun
    """
    before = manifest["mlflow"]
    same = _is_same_place(before, now.uri, now.experiment)
    started = datetime.fromisoformat(manifest["started"])
    found = parent_run(
        ForecastConfig.from_dict(manifest["config"]),
        name=name,
        start_ms=round(started.timestamp() * 1000),
        fingerprint=manifest["data"]["fingerprint"],
        tags=manifest.get("tags"),
        run_id=before.get("run_id") if same else None,
    )
    return replace(found, resumed=resumed, context=before.get("context"))


def noted(before: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Note in ``run.json`` where a run is tracked; a store that is away takes no ids away.

    Parameters
    ----------
    before : mapping
        What ``run.json`` tells of tracking.
    told : mapping
        What there is to tell now.
    """
    same = _is_same_place(before, told["uri"], told["asked"])
    kept = before if same and not told["run_id"] else {}
    return {**told, **{key: kept[key] for key in _IDS if kept.get(key)}}


def _is_same_place(before: Mapping[str, Any], uri: str, experiment: str) -> bool:
    """Tell whether a run was tracked where it is to be tracked now.

    Below an active run of the user's it is in that run's experiment, whatever was asked for.
    """
    known = (before.get("asked"), before.get("experiment"))
    return before.get("uri") == uri and experiment in known


def usage_points(samples: Iterable[Mapping[str, float]]) -> tuple[MetricPoint, ...]:
    """Give what a run used of its cluster as metrics of the system, as MLflow shows them.

    Parameters
    ----------
    samples : iterable of mapping
        As ``run.json`` keeps them, see :class:`daskcast.usage.Usage`.

    Examples
    --------
    >>> usage_points([{"at_s": 5.0, "cpu_percent": 180.0}])
    (MetricPoint(key='system/cluster_cpu_percent', value=180.0, step=5, after_ms=5000),)
    """
    return tuple(
        MetricPoint(f"system/cluster_{name}", value, round(at_s), round(1000 * at_s))
        for sample in samples
        for at_s in [sample["at_s"]]
        for name, value in sample.items()
        if name != "at_s"
    )


def tag_problems(tags: Mapping[str, str]) -> list[str]:
    """Say what is wrong with the user's tags, one sentence for each problem.

    Parameters
    ----------
    tags : mapping of str to str

    Examples
    --------
    >>> tag_problems({"team": "network", "daskcast.kind": "mine"})
    ["the tag 'daskcast.kind' is set by daskcast itself; choose another name"]
    """
    problems = []
    for key, value in tags.items():
        if key.startswith(_RESERVED):
            problems.append(f"the tag {key!r} is set by daskcast itself; choose another name")
        elif list(keyed({key: ""}, MAX_TAG_VALUE)) != [key]:
            problems.append(
                f"the tag {key[:80]!r} must be at most 250 letters, digits, dots, dashes, "
                "underscores and spaces"
            )
        elif len(value) > MAX_TAG_VALUE:
            problems.append(
                f"the value of tag {key!r} has {len(value)} characters; {MAX_TAG_VALUE} fit"
            )
    return problems


class Aggregates:
    """Counts and mean scores over all entities, taken batch by batch.

    Every mean comes with ``n_<score>``, the number of entities it stands on, because an entity
    without a defined score takes no part.

    Examples
    --------
    >>> import pyarrow as pa
    >>> found = Aggregates()
    >>> found.add(pa.table({"status": ["ok", "failed"], "cv_mase": [0.5, None]}))
    >>> found.metrics()
    {'n_entities': 2, 'n_ok': 1, 'n_fallback': 0, 'n_failed': 1, 'mean_cv_mase': 0.5, \
'median_cv_mase': 0.5, 'n_cv_mase': 1}
    """

    def __init__(self) -> None:
        self._statuses: Counter[str] = Counter()
        self._scores: dict[str, list[Floats]] = {}

    def add(self, entities: pa.Table) -> None:
        """Take the entities of one batch.

        Parameters
        ----------
        entities : pyarrow.Table
            Columns ``status`` and any of the scores.
        """
        self._statuses.update(entities["status"].to_pylist())
        for score in SCORES:
            if score in entities.column_names:
                values = entities[score].to_numpy(zero_copy_only=False).astype(np.float64)
                self._scores.setdefault(score, []).append(values[np.isfinite(values)])

    def metrics(self) -> dict[str, float]:
        """Give counts, and mean and median of each score with the number it stands on."""
        found: dict[str, float] = {"n_entities": self._statuses.total()}
        found |= {f"n_{status.value}": self._statuses[status.value] for status in Status}
        for score, parts in self._scores.items():
            values = np.concatenate(parts)
            if len(values):
                found[f"mean_{score}"] = float(values.mean())
                found[f"median_{score}"] = float(np.median(values))
            found[f"n_{score}"] = len(values)
        return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
