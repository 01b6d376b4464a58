"""Runs that begin with a fitted panel, or make one: fit, forecast by recipes, update.

Covers the work behind ``Forecaster``. Does not cover the class that people call (``forecaster``),
what is kept (``bundle``) or drawing it (``picture``).
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daskcast.api import forecast
from daskcast.bundle import Bundle, reading
from daskcast.errors import DataError
from daskcast.panel import Rows, grow, open_source
from daskcast.panel.columns import plain_ids, shorten
from daskcast.panel.memory import MemorySource
from daskcast.panel.rows import join_rows, sort_rows
from daskcast.records import Status
from daskcast.runs import Run
from daskcast.store.model import SavedModel, history_schema, load_model, save_model
from daskcast.versions import own_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike
    from typing import Unpack

    import pandas as pd
    from distributed import Client

    from daskcast.panel import Source
    from daskcast.progress import Progress
    from daskcast.tracking import Tracker

logger = logging.getLogger(__name__)

_LEFT_OUT = r'"left_out":[1-9]'


class Where(TypedDict, total=False):
    """Where and how the work is done; as in :func:`daskcast.forecast`."""

    client: Client | None
    cluster: str | None
    workers: int | None
    threads_per_worker: int
    batch_size: int | None
    tracking: str | Tracker | None
    experiment: str
    track_detail: str
    tags: Mapping[str, str] | None
    out: str | PathLike[str] | None
    resume: bool
    retry_failed: bool
    entity_timeout: float | None
    on_progress: Callable[[Progress], None] | None


def fit(
    df: object, h: int, options: Mapping[str, Any], **where: Unpack[Where]
) -> tuple[Bundle, Run]:
    """Tune a model for every entity; give what to keep, and the run.

    Parameters
    ----------
    df : DataFrame or path
    h : int
    options : mapping
        Of :func:`daskcast.forecast`, by name.
    **where
        Where and how.

    Raises
    ------
    DataError
        Where the data changes meanwhile; and what :func:`daskcast.forecast` raises.
    """
    source = open_source(df, reading(options))
    # of a run that began with a path, the report can be made again
    run = forecast(df if isinstance(df, str | os.PathLike) else source, h, **options, **where)
    if run.manifest["data"]["fingerprint"] != source.fingerprint:
        raise DataError("the data changed while it was fitted; fit again")
    return Bundle(options, run.config.h, _entities_of(run), _all_of(source)), run


def cook(
    bundle: Bundle,
    h: int | None = None,
    level: float | Sequence[float] | None = None,
    *,
    refit: bool = False,
    **where: Unpack[Where],
) -> Run:
    """Forecast by recipes; say in the log which of them were not usable any more.

    Parameters
    ----------
    bundle : Bundle
    h : int, optional
    level : float or sequence of float, optional
        None takes those of the fit.
    refit : bool
        Estimate the parameters afresh.
    **where
        Where and how.
    """
    options = dict(bundle.options) if level is None else {**bundle.options, "level": level}
    run = forecast(bundle.source(refit=refit), bundle.h if h is None else h, **options, **where)
    _warn(_entities_of(run), bundle.entities)
    return run


def update(
    bundle: Bundle, df: object, *, revise: bool, fit_new: bool, **where: Unpack[Where]
) -> Bundle:
    """Append new rows to a history; see :meth:`daskcast.Forecaster.update`.

    Parameters
    ----------
    bundle : Bundle
    df : DataFrame or path
    revise : bool
        Take corrections of the history.
    fit_new : bool
        Tune models for entities that are new, or failed and have new rows; else refuse the new.
    **where
        Where and how they are tuned.

    Raises
    ------
    DataError
        Names the rows or entities that are refused.
    """
    rows = _all_of(open_source(df, bundle.reading))
    known = set(bundle.ids)
    strange = [i for i, unique_id in enumerate(rows.ids) if unique_id not in known]
    if strange and not fit_new:
        raise DataError(
            f"the model does not know {len(strange)} of {len(rows.ids)} entities: "
            f"{shorten([rows.ids[i] for i in strange])}; leave them out, or have models tuned for "
            "them: new='fit'"
        )
    fresh = rows.take(np.array(strange, np.int64))
    old = rows.take(np.setdiff1d(np.arange(len(rows.ids)), strange))
    duplicates = bundle.reading.duplicates
    history = grow(bundle.history, old, duplicates=duplicates, revise=revise)
    grown = bundle.with_history(history)
    again = sorted(set(old.ids) & set(bundle.where_status(Status.FAILED))) if fit_new else []
    if not len(fresh.ids) and not again:
        return grown
    wanted = join_rows(fresh, grown.take(again).history)
    source = MemorySource(wanted, "update", bundle.columns)
    run = forecast(source, bundle.h, **bundle.options, **where)
    return grown.with_fits(_entities_of(run), fresh)


def refit(bundle: Bundle, **where: Unpack[Where]) -> tuple[Bundle, pd.DataFrame]:
    """Estimate the parameters afresh; give the failures of that, too.

    Parameters
    ----------
    bundle : Bundle
    **where
        Where and how.
    """
    run = cook(bundle, refit=True, **where)
    return bundle.with_params(_entities_of(run)), run.failures


def save(bundle: Bundle, path: str | PathLike[str], *, overwrite: bool) -> None:
    """Write the folder of a model; see :func:`daskcast.store.model.save_model`."""
    rows = bundle.history
    owners = np.repeat(np.arange(len(rows.ids)), np.diff(rows.offsets))
    ids = pa.array(rows.ids, pa.string()).take(pa.array(owners))
    arrays = [ids, pa.array(rows.times), pa.array(rows.values)]
    history = pa.Table.from_arrays(arrays, schema=history_schema(rows.times.dtype))
    model = SavedModel(dict(bundle.options), bundle.h, bundle.entities, history)
    save_model(path, model, versions=own_versions(), overwrite=overwrite)


def load(path: str | PathLike[str], models: Mapping[str, Any] | None) -> Bundle:
    """Read the folder of a model; see :func:`daskcast.store.model.load_model`."""
    model = load_model(path, models)
    codes, ids, _ = plain_ids(model.history["unique_id"], "unique_id")
    times, values = (model.history[name].to_numpy() for name in ("ds", "y"))
    return Bundle(model.options, model.h, model.entities, sort_rows(codes, ids, times, values))


def _warn(now: pa.Table, fit: pa.Table) -> None:
    """Say aloud which recipes could not be used as they are."""
    for told, which in (
        ("could not be used; failures_ says why", pc.not_equal(now["status"], fit["status"])),
        ("lost some of their forms", pc.match_substring_regex(now["checks"], _LEFT_OUT)),
    ):
        ids = now.filter(which)["unique_id"].to_pylist()
        if ids:
            logger.warning("%d of %d recipes %s: %s", len(ids), len(now), told, shorten(ids))


def _all_of(source: Source) -> Rows:
    return source.select(np.arange(len(source.ids))).load()


def _entities_of(run: Run) -> pa.Table:
    return run.folder.read("entities").sort_by("unique_id")
