"""Metrics of forecasts against what came, each mean with how many it stands on.

Covers :func:`evaluate`: errors, percentage errors, scaled errors, scores of intervals, for the run
of a backtest or any table of its shape. Does not cover the scores that a run keeps of each entity
(``backtest``, ``tune``) nor making forecasts.

What can be left to ``utilsforecast`` is: all but the interval score, and the scales, which here
skip gaps and know each entity's own season. Before it sees them, rows without an observation are
taken out, for it would count them as not covered.

A value is of one window, that is of an entity and a cutoff; that of an entity is the mean of its
windows. Undefined is what cannot be told, never what is left out: NaN, and counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import pandas as pd
from utilsforecast import losses

from daskcast import metrics as scales
from daskcast import panel
from daskcast.config import ForecastConfig
from daskcast.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POINT = ("mae", "rmse", "mape", "smape", "wape", "bias")
SCALED = ("mase", "rmsse")
INTERVAL = ("pinball", "coverage", "scaled_crps")
SCALED_INTERVAL = ("msis",)
METRICS = (*POINT, *SCALED, *INTERVAL, *SCALED_INTERVAL)

_BOUND = re.compile(r"(.+)-lo-(\d+(?:\.\d+)?)")
_WINDOW = ["unique_id", "cutoff"]
#: Steps of histories that are put on grids at a time, and of one history.
_AT_A_TIME, _ALL_STEPS = 2_000_000, 10_000_000


class HasForecasts(Protocol):
    """A run, as far as it is evaluated."""

    @property
    def config(self) -> ForecastConfig:
        """Its options."""
        ...

    @property
    def forecasts(self) -> pd.DataFrame:
        """Its forecasts, beside what came."""
        ...

    @property
    def entities(self) -> pd.DataFrame:
        """Its entities, those without a forecast among them."""
        ...


def evaluate(  # noqa: PLR0913 - names of columns, as everywhere in this field
    forecasts: HasForecasts | pd.DataFrame,
    metrics: Sequence[str] | None = None,
    *,
    by: str | None = None,
    train_df: object = None,
    season_length: int | None = None,
    freq: str | None = None,
    id_col: str = "unique_id",
    time_col: str = "ds",
    target_col: str = "y",
) -> pd.DataFrame:
    """Compare forecasts with what came.

    Parameters
    ----------
    forecasts : Run or DataFrame
        The run of :func:`daskcast.cross_validation`, or a table with the columns of its forecasts:
        id, time, target, maybe ``cutoff``; every other column of numbers is a model, its bounds
        ``MODEL-lo-80``, ``MODEL-hi-80``.
    metrics : sequence of str, optional
        Of ``mae``, ``rmse``, ``mape``, ``smape``, ``wape``, ``bias``, ``mase``, ``rmsse``,
        ``pinball``, ``coverage``, ``scaled_crps``, ``msis``; None takes all that can be computed.
    by : str, optional
        The id column for a value of each entity, ``cutoff`` for one of each cutoff; None takes the
        mean over all entities.
    train_df : DataFrame or path, optional
        The history, which ``mase``, ``rmsse`` and ``msis`` are scaled by: the table that the run
        was given. What comes after a cutoff is not looked at.
    season_length : int, optional
        Of the scales; None takes the run's, else infers it for each entity.
    freq : str, optional
        Of ``train_df``; inferred where not given.
    id_col, time_col, target_col : str
        Names in a DataFrame; those of a run are known.

    Returns
    -------
    DataFrame
        Columns ``model, metric, value, n_ok, n_total``, after the column of ``by``. With ``by`` an
        id they count windows, and a value is NaN unless all windows have one; else entities, and it
        is the mean over those that have one.

    Raises
    ------
    ConfigError
        An unknown metric, or one that needs what is not given.
    DataError
        No such column, no rows, nothing that came.

    Notes
    -----
    ``mape``, ``smape`` (0 to 200) and ``wape`` are in percent. ``bias`` is forecast minus
    observation. ``mape`` is undefined where an observation is zero, ``wape`` and ``scaled_crps``
    where all are. Scales are the mean absolute (``mase``, ``msis``) or squared (``rmsse``)
    difference from the season before, up to the cutoff; zero is undefined. ``pinball`` is the
    quantile loss of each bound, ``coverage`` a share. ``scaled_crps`` is twice the mean quantile
    loss over the bounds, by the mean size of the observations. ``msis`` is the interval score
    (Gneiting and Raftery, 2007) by the scale, as in the M4 competition.

    References
    ----------
    Hyndman and Koehler (2006), Another look at measures of forecast accuracy.
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"unique_id": "JFK", "ds": [1, 2], "y": [2.0, 4.0], "m": [3.0, 4.0]})
    >>> evaluate(table, ["mae", "bias", "wape"])
      model metric      value  n_ok  n_total
    0     m    mae   0.500000     1        1
    1     m   bias   0.500000     1        1
    2     m   wape  16.666667     1        1
    """
    config = ForecastConfig(
        h=1, id_col=id_col, time_col=time_col, target_col=target_col, freq=freq,
        season_length=season_length,
    )  # fmt: skip
    missing, table = list[str](), forecasts
    if not isinstance(forecasts, pd.DataFrame) and hasattr(forecasts, "forecasts"):
        own = forecasts.config
        config = own if season_length is None else _with_season(own, season_length)
        table = forecasts.forecasts
        missing = sorted(set(forecasts.entities[own.id_col]) - set(table[own.id_col]))
    found = _Table.of(table, config)
    asked = _asked(metrics, found, scaled=train_df is not None)
    values = _values(found, asked, None if train_df is None else _history(train_df, config, found))
    return _gathered(values, by, config.id_col, missing)


def _with_season(config: ForecastConfig, season_length: int) -> ForecastConfig:
    return ForecastConfig.from_dict({**config.to_dict(), "season_length": season_length})


@dataclass(frozen=True, slots=True)
class _Table:
    """Forecasts under fixed names.

    ``rows`` has ``unique_id, ds, cutoff, y`` and the models; ``windows`` each entity and cutoff
    once, with the first time forecast; ``levels`` those of each model, as in the column names.
    """

    rows: pd.DataFrame
    windows: pd.DataFrame
    models: list[str]
    levels: dict[str, list[str]]
    has_cutoff: bool

    @classmethod
    def of(cls, table: Any, config: ForecastConfig) -> _Table:
        if not isinstance(table, pd.DataFrame):
            if not hasattr(table, "to_pandas"):
                raise DataError(f"expected a run or a data frame, found {type(table).__qualname__}")
            table = table.to_pandas()
        names = {config.id_col: "unique_id", config.time_col: "ds", config.target_col: "y"}
        lost = [name for name in names if name not in table]
        if lost:
            raise DataError(
                f"the forecasts have no column {', '.join(map(repr, lost))}; an ordinary run does "
                "not know what came: merge it in, or use cross_validation"
            )
        rows = table.rename(columns=names)
        rows = rows.assign(unique_id=rows["unique_id"].astype(str), y=rows["y"].astype(np.float64))
        has_cutoff = "cutoff" in rows
        if not has_cutoff:
            rows = rows.assign(cutoff=0)
        bounds = {str(name) for name in rows if re.search(r"-(lo|hi)-\d", str(name))}
        known = {*names.values(), "cutoff", *bounds}
        models = [str(name) for name in rows.select_dtypes("number") if name not in known]
        if not models or not rows["y"].notna().any():
            what = "observation" if models else "column of a model"
            raise DataError(f"the forecasts have no {what}: there is nothing to compare")
        pairs = [match.groups() for name in rows if (match := _BOUND.fullmatch(str(name)))]
        levels = {
            model: [x for of, x in pairs if of == model and f"{model}-hi-{x}" in bounds]
            for model in models
        }
        windows = rows.groupby(_WINDOW, sort=True, as_index=False)["ds"].min()
        return cls(rows, windows, models, levels, has_cutoff)


def _asked(metrics: Sequence[str] | None, table: _Table, *, scaled: bool) -> list[str]:
    """Check the names of metrics, or choose all that can be computed."""
    has_levels = any(table.levels.values())
    out = {*(() if scaled else (*SCALED, *SCALED_INTERVAL))}
    out |= {*(() if has_levels else (*INTERVAL, *SCALED_INTERVAL))}
    if metrics is None:
        return [name for name in METRICS if name not in out]
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    problems = [
        f"unknown metric {name!r}; known are {', '.join(METRICS)}"
        for name in names
        if name not in METRICS
    ]
    for name in out & set(names):
        need = "columns MODEL-lo-LEVEL and MODEL-hi-LEVEL" if not has_levels else "train_df"
        problems.append(f"{name} needs {need}")
    if problems:
        raise ConfigError(*problems)
    return names


# -- scales ------------------------------------------------------------------------------------


def _history(train: object, config: ForecastConfig, table: _Table) -> pd.DataFrame:
    """Give the scales of each window: ``scale_mae`` and ``scale_mse``, NaN where unknown."""
    source = panel.open_source(train, config)
    wanted = set(table.windows["unique_id"])
    places = np.array([i for i, name in enumerate(source.ids) if name in wanted], dtype=np.int64)
    rules = panel.GridRules(
        h=1, freq=config.freq, season_length=config.season_length, duplicates=config.duplicates,
        n_past=_ALL_STEPS,
    )  # fmt: skip
    groups = dict(tuple(table.windows.groupby("unique_id")))
    parts = [pd.DataFrame({"unique_id": [], "cutoff": [], "scale_mae": [], "scale_mse": []})]
    n_parts = 1 + int(len(places) * source.sizes[places].max(initial=0)) // _AT_A_TIME
    for some in np.array_split(places, min(n_parts, max(len(places), 1))):
        for series in panel.regularise(source.select(some).load(), rules):
            if series.past is not None:
                own = groups[series.unique_id]
                ends = own["cutoff" if table.has_cutoff else "ds"].to_numpy()
                side: Any = "right" if table.has_cutoff else "left"
                past: Any = series.past
                at = np.searchsorted(past, _as(ends, past.dtype), side=side)
                mae, mse = scales.naive_scales(series.y, at, series.season_length)
                parts.append(own[_WINDOW].assign(scale_mae=mae, scale_mse=mse))
    return pd.concat([part for part in parts if len(part)] or parts)


def _as(times: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> Any:
    if times.dtype.kind != dtype.kind:
        raise DataError(
            f"the times of the forecasts are {times.dtype}, those of train_df {dtype}; make them "
            "one type"
        )
    return times.astype(dtype)


# -- values of windows -------------------------------------------------------------------------


def _values(table: _Table, asked: Sequence[str], history: pd.DataFrame | None) -> pd.DataFrame:
    """Compute all metrics: ``unique_id, cutoff, model, metric, value``, NaN where undefined."""
    known = table.rows[table.rows["y"].notna()]
    scale = None if history is None else history.set_index(_WINDOW)
    windows = pd.MultiIndex.from_frame(table.windows[_WINDOW])
    parts = []
    for name in asked:
        for model in table.models:
            for label, values, needs in _of_model(name, known, model, table.levels[model], scale):
                whole = known[needs].notna().all(axis=1).groupby([known[c] for c in _WINDOW]).all()
                sure = values.where(whole).reindex(windows)
                value = sure.to_numpy(dtype=np.float64, na_value=np.nan)
                value = np.where(np.isfinite(value), value, np.nan)
                frame = windows.to_frame(index=False)
                parts.append(frame.assign(model=model, metric=label, value=value))
    return pd.concat(parts, ignore_index=True)


def _of_model(
    name: str, rows: pd.DataFrame, model: str, levels: Sequence[str], scale: pd.DataFrame | None
) -> list[tuple[str, pd.Series[Any], list[str]]]:
    """Give label, values by window, and the columns they need, for a metric of one model."""
    bounds = [f"{model}-{side}-{level}" for level in levels for side in ("lo", "hi")]
    if name in (*POINT, *SCALED):
        return [(name, _point(name, rows, model, scale), [model])]
    if name == "scaled_crps":
        return [(name, _crps(rows, bounds, levels), bounds)] if levels else []
    found = []
    for level in levels:
        lo, hi = pair = [f"{model}-{side}-{level}" for side in ("lo", "hi")]
        if name == "pinball":
            for column, q in ((lo, _tail(level)), (hi, 1 - _tail(level))):
                values = _loss(losses.quantile_loss, rows, {"m": column}, q=q)
                found.append((f"pinball-{q:g}", values, [column]))
        elif name == "coverage":
            values = _loss(losses.coverage, rows, [model], level=level)
            found.append((f"coverage-{level}", values, pair))
        else:
            assert scale is not None
            values = interval_score(rows["y"], rows[lo], rows[hi], float(level))
            found.append((f"msis-{level}", _mean(rows, values) / scale["scale_mae"], pair))
    return found


def _point(name: str, rows: pd.DataFrame, model: str, scale: pd.DataFrame | None) -> pd.Series[Any]:
    if name == "mase" and scale is not None:
        return _loss(losses.mae, rows, [model]) / scale["scale_mae"]
    if name == "rmsse" and scale is not None:
        return cast(
            "pd.Series[Any]", np.sqrt(_loss(losses.mse, rows, [model]) / scale["scale_mse"])
        )
    if name == "mape":  # utilsforecast leaves the steps out whose observation is zero
        zero = (rows["y"] == 0).groupby([rows[c] for c in _WINDOW]).any()
        return 100 * _loss(losses.mape, rows, [model]).mask(zero)
    if name == "smape":
        return 200 * _loss(losses.smape, rows, [model])
    if name == "wape":
        return 100 * _loss(losses.nd, rows, [model])
    return _loss(getattr(losses, name), rows, [model])


def _crps(rows: pd.DataFrame, bounds: list[str], levels: Sequence[str]) -> pd.Series[Any]:
    quantiles = np.array([q for x in levels for q in (_tail(x), 1 - _tail(x))])
    values = _loss(losses.scaled_crps, rows, {"m": bounds}, quantiles=quantiles)
    size = _mean(rows, rows["y"].abs())
    return values.where(size > 0)


def interval_score(
    y: pd.Series[Any], lo: pd.Series[Any], hi: pd.Series[Any], level: float
) -> pd.Series[Any]:
    """Give the interval score: the width, and what lies outside by the share it should have.

    Parameters
    ----------
    y, lo, hi : Series
    level : float
        In percent.

    Examples
    --------
    >>> import pandas as pd
    >>> y, lo, hi = pd.Series([1.0, 5.0]), pd.Series([2.0, 2.0]), pd.Series([4.0, 6.0])
    >>> interval_score(y, lo, hi, 80).tolist()
    [12.0, 4.0]
    """
    outside = (lo - y).clip(lower=0) + (y - hi).clip(lower=0)
    return hi - lo + outside / _tail(level)


def _tail(level: str | float) -> float:
    """Give the share below an interval."""
    return (100 - float(level)) / 200


def _loss(
    loss: Callable[..., pd.DataFrame], rows: pd.DataFrame, models: Any, **options: Any
) -> pd.Series[Any]:
    """Let ``utilsforecast`` compute a loss of one model, by window."""
    done = loss(rows, models=models, **options).set_index(_WINDOW)
    return done.iloc[:, 0]


def _mean(rows: pd.DataFrame, values: pd.Series[Any]) -> pd.Series[Any]:
    return values.groupby([rows[c] for c in _WINDOW]).mean()


# -- means -------------------------------------------------------------------------------------


def _gathered(
    values: pd.DataFrame, by: str | None, id_col: str, missing: Sequence[str]
) -> pd.DataFrame:
    """Average over windows, then over entities; entities without a forecast are counted."""
    what = ["model", "metric"]
    if by not in (None, "unique_id", id_col, "cutoff"):
        raise ConfigError(f"by must be None, {id_col!r} or 'cutoff', found {by!r}")
    if by == "cutoff":
        return _averaged(values, ["cutoff", *what], strict=False)
    each = _averaged(values, ["unique_id", *what], strict=True)
    kinds = values[what].drop_duplicates()
    lost = kinds.merge(pd.DataFrame({"unique_id": missing}, dtype=each["unique_id"].dtype), "cross")
    each = pd.concat([each, lost.assign(value=np.nan, n_ok=0, n_total=0)[each.columns]])
    if by is None:
        return _averaged(each, what, strict=False)
    return each.rename(columns={"unique_id": id_col}).reset_index(drop=True)


def _averaged(values: pd.DataFrame, keys: list[str], *, strict: bool) -> pd.DataFrame:
    groups = values.groupby(keys, sort=False)["value"]
    told = groups.agg(value="mean", n_ok="count", n_total="size").reset_index()
    if strict:
        told = told.assign(value=told["value"].where(told["n_ok"] == told["n_total"]))
    return told
