"""What people import: one call to forecast a table, one to see how well that would have gone.

Covers :func:`forecast` and :func:`cross_validation`. Does not cover the command line (``cli``), the
run itself (``pipeline``), reading it (``runs``) or metrics (``evaluation``).
"""

from __future__ import annotations

import inspect
import operator
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from daskcast import pipeline
from daskcast.config import ForecastConfig, RunOptions
from daskcast.errors import ConfigError
from daskcast.runs import Run, check_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike

    from distributed import Client

    from daskcast.progress import Progress
    from daskcast.tracking import Tracker

_FORECAST = {field.name for field in fields(ForecastConfig)}


def forecast(  # noqa: PLR0913 - names that users of this field know, one for each option
    df: object,
    h: int,
    *,
    id_col: str = "unique_id",
    time_col: str = "ds",
    target_col: str = "y",
    freq: str | int | None = None,
    season_length: int | None = None,
    level: float | Sequence[float] = (80, 95),
    search: str = "skopt",
    trials: int = 24,
    search_seconds: float | None = None,
    cv_windows: int = 3,
    step_size: int | None = None,
    loss: str = "mase",
    select: str = "blend",
    models: Any = ("ets", "theta", "ces"),
    seed: int = 0,
    gaps: str = "skip",
    duplicates: str = "fail",
    non_negative: bool = False,
    client: Client | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    threads_per_worker: int = 1,
    batch_size: int | None = None,
    tracking: str | Tracker | None = None,
    experiment: str = "daskcast",
    track_detail: str = "entity",
    tags: Mapping[str, str] | None = None,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    entity_timeout: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Forecast every entity of a table.

    Parameters
    ----------
    df : DataFrame or path
        Long: one row for each entity and time. A pandas, polars or Dask data frame, a pyarrow
        table, or the path of a CSV file, a Parquet file or a folder of Parquet files.
    h : int
        Steps to forecast.
    id_col, time_col, target_col : str
        Columns of the entity, the time and the value.
    freq : str or int, optional
        Pandas alias such as ``"MS"``, or a whole number for whole-numbered times. Inferred for
        each entity where not given.
    season_length : int, optional
        Steps in a season. Inferred from the frequency where not given.
    level : float or sequence of float
        Intervals, in percent.
    search : {"skopt", "portfolio"}
        Tune each entity, or evaluate all admissible forms without a search.
    trials : int
        Points that the search of one entity evaluates.
    search_seconds : float, optional
        Budget of the search of one entity. What it stops is marked, and not reproducible.
    cv_windows, step_size : int
        Windows of the rolling origin on which a point is scored, and the steps between them.
    loss : {"mase", "rmsse", "mae", "rmse", "smape"}
        What the search minimises.
    select : {"blend", "best"}
        Forecast with a weighted blend of what was tried, or with the single best.
    models : str, object or sequence of them
        Families of models that take part: names, :class:`daskcast.OwnModel`, any object with
        ``fit(y)`` and ``predict(h)``, or ``"module:attribute"`` of one.
    seed : int
        The same seed gives the same forecasts, to the bit, with any executor.
    gaps : {"skip", "fail"}
        What an entity with missing times gets.
    duplicates : {"fail", "sum", "mean", "last"}
        What an entity with repeated times gets.
    non_negative : bool
        Keep forecasts and intervals of data without negative values from falling below zero.
    client : distributed.Client, optional
        Compute there; it stays open.
    cluster : str, optional
        ``serial``, ``threads``, ``processes``, ``local`` or ``tcp://HOST:PORT``. Without this and
        ``client``, the current Dask client computes where there is one, else this thread. For pods
        see :func:`daskcast.cluster.kubernetes`, which gives a client.
    workers, threads_per_worker : int
        Of the executors of this machine.
    batch_size : int, optional
        Most entities that one task goes through.
    tracking : str or Tracker, optional
        The URI of an MLflow store, or a tracker; None does not track.
    experiment : str
        Name in the tracking store, and of the run folder where that has none.
    track_detail : {"summary", "entity", "trial"}
        The parent run alone, a child for each entity, or for each trial too.
    tags : mapping of str to str, optional
        Put on the parent run.
    out : path or URL, optional
        The run folder. None takes a temporary one that lives as long as the returned run.
    resume : bool
        Go on with the run in ``out``.
    retry_failed : bool
        Go on with it, and do its entities that failed or fell back once more, as a new attempt.
    entity_timeout : float, optional
        Seconds that one entity may take. One that takes longer is stopped, whatever it is at, and
        failed. Each worker gets a helper process for this, on Linux and macOS.
    on_progress : callable, optional
        Called after each batch with a :class:`daskcast.progress.Progress`.

    Returns
    -------
    Run

    Raises
    ------
    ConfigError, DataError, StoreError, ClusterError
        Before any work is done, with every problem found.
    StoppedError
        The run did not come to its end; with ``out``, ``resume=True`` goes on.

    Notes
    -----
    In a script, ``processes`` and ``local`` start processes that import the script: put the call
    below ``if __name__ == "__main__":``. In a notebook nothing is needed.

    Examples
    --------
    >>> from daskcast import demo, forecast
    >>> run = forecast(demo.airports(8), h=12, search="portfolio")  # doctest: +SKIP
    >>> run.forecasts.columns.tolist()[:4]  # doctest: +SKIP
    ['unique_id', 'ds', 'cutoff', 'daskcast']
    """
    return _start(
        df,
        {
            "h": h,
            "id_col": id_col,
            "time_col": time_col,
            "target_col": target_col,
            "freq": freq,
            "season_length": season_length,
            "level": level,
            "search": search,
            "trials": trials,
            "search_seconds": search_seconds,
            "cv_windows": cv_windows,
            "step_size": step_size,
            "loss": loss,
            "select": select,
            "models": models,
            "seed": seed,
            "gaps": gaps,
            "duplicates": duplicates,
            "non_negative": non_negative,
            "client": client,
            "cluster": cluster,
            "workers": workers,
            "threads_per_worker": threads_per_worker,
            "batch_size": batch_size,
            "tracking": tracking,
            "experiment": experiment,
            "track_detail": track_detail,
            "tags": tags,
            "out": out,
            "resume": resume,
            "retry_failed": retry_failed,
            "entity_timeout": entity_timeout,
            "on_progress": on_progress,
        },
    )


def cross_validation(  # noqa: PLR0913 - names that users of this field know
    df: object,
    h: int,
    *,
    n_windows: int = 3,
    step_size: int | None = None,
    refit: bool | int = True,
    input_size: int | None = None,
    cv_step: int | None = None,
    **options: Any,
) -> Run:
    """Forecast every entity from cutoffs in its past, and put what came beside it.

    At each cutoff an entity is what it was then: nothing after it is seen by the search, its
    windows, repairs or scales. All else is as in :func:`forecast`: engine, executors, run folder,
    tracking.

    Parameters
    ----------
    df : DataFrame or path
    h : int
        Steps to forecast from each cutoff.
    n_windows : int
        Cutoffs. An entity that is too short for all has fewer, and one too short for any fails.
    step_size : int, optional
        Steps between two cutoffs; None takes ``h``, so that windows follow each other.
    refit : bool or int
        Tune again at each cutoff, or at every so manieth. False tunes at the first one, and keeps
        its forms, weights and parameters: only the states move on.
    input_size : int, optional
        Steps before each cutoff that are seen; None for all.
    cv_step : int, optional
        ``step_size`` of :func:`forecast`: between the windows on which the search scores a point.
    **options
        All other options of :func:`forecast`.

    Returns
    -------
    Run
        ``forecasts`` has ``n_windows * h`` rows for each entity, with ``cutoff`` and the target, as
        ``utilsforecast.evaluate`` and :func:`daskcast.evaluate` take it; scores in ``entities`` are
        those of these windows.

    Raises
    ------
    ConfigError, DataError, StoreError, ClusterError, StoppedError
        As :func:`forecast`.
    TypeError
        For an option that :func:`forecast` has not.

    Examples
    --------
    >>> from daskcast import cross_validation, demo, evaluate
    >>> run = cross_validation(demo.airports(8), 12, n_windows=2)  # doctest: +SKIP
    >>> evaluate(run, ["mae", "coverage"])  # doctest: +SKIP
    """
    if _whole(n_windows) == 0:
        raise ConfigError(
            "n_windows must be at least 1, found 0: without a cutoff it is a forecast"
        )
    given = inspect.signature(forecast).bind(df, h, step_size=cv_step, **options)
    given.apply_defaults()
    of_windows = {
        "n_windows": n_windows,
        "backtest_step": step_size,
        "refit": refit,
        "input_size": input_size,
    }
    return _start(df, {**given.arguments, **of_windows})


def _start(df: object, given: Mapping[str, Any]) -> Run:
    """Run with the options of a call, each by its name there."""
    config = ForecastConfig(**{k: _option(k, v) for k, v in given.items() if k in _FORECAST})
    check_names(config)
    out, tracking = given["out"], given["tracking"]
    place, temporary = (str(out), None) if out is not None else _temporary()
    here = {"cluster", "workers", "threads_per_worker", "batch_size", "experiment", "track_detail"}
    options = RunOptions(
        **{name: _whole(given[name]) for name in here},
        entity_timeout=_number(given["entity_timeout"]),
        out=place,
        resume=given["resume"],
        retry_failed=given["retry_failed"],
        tracking_uri=tracking if isinstance(tracking, str) else None,
        tracking=tracking is not None,
        tags=given["tags"] or {},
    )
    tracker = None if tracking is None or isinstance(tracking, str) else tracking
    try:
        summary = pipeline.run(
            df,
            config,
            options,
            client=given["client"],
            tracker=tracker,
            on_progress=given["on_progress"],
        )
    except BaseException:
        _remove(temporary)
        raise
    run = Run(summary.folder)
    weakref.finalize(run, _remove, temporary)
    return run


def _option(name: str, value: Any) -> Any:
    """Take what people pass for an option: names and numbers alone, numbers of other libraries."""
    if name == "freq":
        return None if value is None else str(value)
    if name == "level":
        return tuple(map(_number, value)) if isinstance(value, Iterable) else (_number(value),)
    if name == "models":
        return tuple(value) if isinstance(value, list | tuple) else (value,)
    return _number(value)


def _whole(value: Any) -> Any:
    """Take the whole numbers of other libraries, such as numpy's; the rest is the config's."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return value
    with suppress(TypeError):  # of an array
        return operator.index(value)
    return value


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, np.floating) else _whole(value)


def _temporary() -> tuple[str, Path]:
    place = Path(tempfile.mkdtemp(prefix="daskcast-"))
    return str(place / "run"), place


def _remove(place: Path | None) -> None:
    if place is not None:
        shutil.rmtree(place, ignore_errors=True)
