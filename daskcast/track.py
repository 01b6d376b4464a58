"""Tracking a run from its folder alone, whenever and wherever.

Covers :func:`track`: what ``daskcast track`` does. Does not cover what is sent and how
(``tracking``), nor tracking while a run works (``pipeline``).

The run folder is the outbox: all that is sent is read there, and a run that is in the store
already is left alone. So this may be done any number of times, after any trouble.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from daskcast.config import ForecastConfig, RunOptions
from daskcast.progress import Counts
from daskcast.store import RunFolder
from daskcast.tracking import (
    RunStatus,
    TrackingWriter,
    open_tracker,
    parent_from,
    usage_points,
)
from daskcast.tracking.uris import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from daskcast.store.marker import Marker
    from daskcast.tracking import Tracker, TrackingSummary

logger = logging.getLogger(__name__)


def track(  # noqa: PLR0913 - options, each with a default
    run: str | PathLike[str],
    *,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    detail: str | None = None,
    bulk: str = "auto",
    tracker: Tracker | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> TrackingSummary:
    """Send to the tracking store what of a run folder is not there yet.

    Parameters
    ----------
    run : path
        The run folder, a path or an fsspec URL.
    tracking_uri : str, optional
        Where not given, the store that the run was meant for, else ``MLFLOW_TRACKING_URI``, else
        ``sqlite:///mlflow.db``.
    experiment : str, optional
    detail : {"summary", "entity", "trial"}, optional
        Where not given, both are as the run had them.
    bulk : {"auto", "database", "off"}
    tracker : Tracker, optional
        Used instead of what ``tracking_uri`` names.
    on_progress : callable, optional
        Called with the children sent and the children expected, a few times a second.

    Returns
    -------
    TrackingSummary
        ``stopped`` says why not all is sent; the same call goes on.

    Raises
    ------
    StoreError
        Where there is no run.
    ConfigError
        Where the store cannot be used.
    """
    folder = RunFolder.open(str(run))
    manifest = folder.manifest
    before = manifest["mlflow"]
    options = RunOptions(
        tracking_uri=tracking_uri or meant_for(before, os.environ.get("MLFLOW_TRACKING_URI", "")),
        experiment=experiment or before.get("experiment") or "daskcast",
        track_detail=detail or before.get("detail") or "entity",
        tracking_bulk=bulk,
    )
    tracker = tracker or open_tracker(options)
    assert tracker is not None
    config, counts = ForecastConfig.from_dict(manifest["config"]), Counts(**manifest["counts"])
    finished = folder.finished()
    writer = TrackingWriter(tracker, folder, detail=options.track_detail, advises=False)
    name = folder.url.rstrip("/").rpartition("/")[2]
    parent = parent_from(manifest, name=name, now=writer.info, resumed=True)
    writer.start(
        # Source and commit of this process are not those of the run: better none.
        replace(parent, context=parent.context or {}),
        n_entities=counts.entities,
        n_trials=config.trials,
    )
    try:
        summary = _send(writer, folder, manifest, finished, on_progress)
    except BaseException:
        writer.give_up("interrupted")
        raise
    logger.info("tracked %d entities, not tracked %d", summary.n_sent, summary.n_failed)
    return summary


def _send(
    writer: TrackingWriter,
    folder: RunFolder,
    manifest: dict[str, Any],
    finished: Mapping[str, Marker],
    on_progress: Callable[[int, int], None] | None,
) -> TrackingSummary:
    """Send all batches, and the end of the run."""
    before, counts = manifest["mlflow"], Counts(**manifest["counts"])
    for batch, marker in finished.items():
        writer.batch_done(batch, marker.n_entities)
    told = writer.told() if writer.wait_until_open(on_progress) else {}
    # A copy for another store does not change where the run was meant to go.
    if told and all(before.get(name, told[name]) == told[name] for name in ("uri", "experiment")):
        manifest["mlflow"] = {**told, "asked": before.get("asked", told["asked"])}
        _keep(folder, manifest)
    done = sum(marker.n_entities for marker in finished.values())
    status = RunStatus.FINISHED if done == counts.entities else RunStatus.KILLED
    seconds = {
        f"seconds_{stage}": spent["wall"]
        for stage, spent in manifest["seconds"].items()
        if isinstance(spent, dict) and "wall" in spent
    }
    return writer.close(status, seconds, on_progress, usage_points(manifest.get("usage", ())))


def meant_for(before: Mapping[str, Any], environment: str = "") -> str | None:
    """Name the store that a run was meant for, with the credentials that the environment has.

    Parameters
    ----------
    before : mapping
        What ``run.json`` tells of tracking.
    environment : str
        The value of ``MLFLOW_TRACKING_URI``.

    Examples
    --------
    >>> meant_for({"uri": "http://mlflow:5000"}, "http://ann:s3cret@mlflow:5000")
    'http://ann:s3cret@mlflow:5000'
    >>> meant_for({"uri": "http://mlflow:5000"}, "sqlite:///mlflow.db")
    'http://mlflow:5000'
    >>> meant_for({})
    """
    uri = before.get("uri") or None
    return environment if environment and redact(environment) == uri else uri


def _keep(folder: RunFolder, manifest: Mapping[str, Any]) -> None:
    try:
        folder.write_manifest(manifest)
    except OSError as error:  # a folder that may only be read can be tracked all the same
        logger.warning("run.json does not name the run in the store: %s", error)
