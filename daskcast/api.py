"""What people import: one call to forecast a table, and the run that it gives.

Covers :func:`forecast` and :class:`Run`. Does not cover the command line (``cli``) or the run
itself (``pipeline``).
"""

from __future__ import annotations

import html
import operator
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from daskcast import pipeline
from daskcast.config import ForecastConfig, RunOptions
from daskcast.errors import ConfigError
from daskcast.progress import Counts, closing_facts
from daskcast.records import Columns, Status
from daskcast.store import RunFolder, forecast_columns, schema_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike

    import pandas as pd
    from distributed import Client

    from daskcast.progress import Progress
    from daskcast.tracking import Tracker

#: Columns of ``Run.failures``, beside the id.
FAILURE_COLUMNS = ("status", "model", "error_type", "message", "traceback", "attempt", "batch")


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
        ``client``, the current Dask client computes where there is one, else this thread.
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
    config = ForecastConfig(
        h=_whole(h),
        id_col=id_col,
        time_col=time_col,
        target_col=target_col,
        freq=None if freq is None else str(freq),
        season_length=_whole(season_length),
        level=tuple(map(_number, level)) if isinstance(level, Iterable) else (_number(level),),
        search=search,
        trials=_whole(trials),
        search_seconds=_number(search_seconds),
        cv_windows=_whole(cv_windows),
        step_size=_whole(step_size),
        loss=loss,
        select=select,
        models=tuple(models) if isinstance(models, list | tuple) else (models,),
        seed=_whole(seed),
        gaps=gaps,
        duplicates=duplicates,
        non_negative=non_negative,
    )
    _check_names(config.columns, config.level)
    place, temporary = (str(out), None) if out is not None else _temporary()
    options = RunOptions(
        cluster=cluster,
        workers=_whole(workers),
        threads_per_worker=_whole(threads_per_worker),
        batch_size=_whole(batch_size),
        out=place,
        resume=resume,
        tracking_uri=tracking if isinstance(tracking, str) else None,
        tracking=tracking is not None,
        experiment=experiment,
        track_detail=track_detail,
        tags=tags or {},
    )
    tracker = None if tracking is None or isinstance(tracking, str) else tracking
    try:
        summary = pipeline.run(
            df, config, options, client=client, tracker=tracker, on_progress=on_progress
        )
    except BaseException:
        _remove(temporary)
        raise
    run = Run(summary.folder)
    weakref.finalize(run, _remove, temporary)
    return run


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


class Run:
    """A run, read from its folder.

    All frames are sorted by entity, then time or trial, whatever the batches were, and carry the
    user's own names for the columns of entity and time.

    Parameters
    ----------
    folder : RunFolder
        See :meth:`open`.

    Examples
    --------
    >>> run = Run.open("runs/daskcast-20260101T000000Z")  # doctest: +SKIP
    >>> run.failures[["unique_id", "error_type", "message"]]  # doctest: +SKIP
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Self:
        """Open the run in a folder.

        Raises
        ------
        StoreError
            Where there is no run.
        """
        return cls(RunFolder.open(str(path)))

    @property
    def path(self) -> str:
        """The run folder, a path or a URL."""
        return self.folder.url

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What ``run.json`` holds: config, data, versions, counts, seconds, mlflow."""
        return self.folder.manifest

    @property
    def config(self) -> ForecastConfig:
        """The options that decided the forecasts."""
        return ForecastConfig.from_dict(self.manifest["config"])

    @property
    def counts(self) -> Counts:
        """How the entities ended."""
        return Counts(**self.manifest["counts"])

    @cached_property
    def forecasts(self) -> pd.DataFrame:
        """One row for each entity and future time: cutoff, forecast, interval bounds."""
        return self._frame("forecasts", "ds")

    @cached_property
    def entities(self) -> pd.DataFrame:
        """One row for each entity of the input: status, model, scores, checks, failure."""
        return self._frame("entities", "attempt")

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row for each point of a search space that was evaluated."""
        return self._frame("trials", "trial")

    @property
    def failures(self) -> pd.DataFrame:
        """The entities that failed or fell back to a simpler model, with the reason."""
        entities = self.entities
        columns = [self.config.id_col, *FAILURE_COLUMNS]
        found = entities.loc[entities["status"] != Status.OK.value, columns]
        return found.reset_index(drop=True)

    def _frame(self, table: Any, then: str) -> pd.DataFrame:
        columns = self.config.columns
        _check_names(columns, self.config.level)
        found = self.folder.read(table).sort_by([("unique_id", "ascending"), (then, "ascending")])
        frame: pd.DataFrame = found.to_pandas()
        return frame.rename(columns={"unique_id": columns.entity, "ds": columns.time})

    @property
    def summary(self) -> str:
        """What became of the run and where everything is, in a few lines."""
        return "\n".join(f"{name:<10} {text}" for name, text in closing_facts(self.folder))

    def __repr__(self) -> str:
        """Tell the counts and the place, without credentials."""
        counts = self.counts
        return f"<Run of {counts.entities} entities ({counts.told}) at {self.folder.place}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in closing_facts(self.folder)
        )
        return f"<table><caption>daskcast run</caption>{rows}</table>"


def _check_names(columns: Columns, levels: Sequence[float]) -> None:
    """Refuse the user's names where the frames of a run have columns of that name already."""
    taken = {*forecast_columns(levels)}
    for table in ("entities", "trials"):
        taken |= {*schema_of(table, levels, "timestamp").names}
    taken -= {"unique_id", "ds"}
    wrong = sorted({columns.entity, columns.time} & taken)
    if wrong:
        raise ConfigError(
            f"the columns {', '.join(map(repr, wrong))} have the names of columns of the result; "
            f"rename them"
        )
