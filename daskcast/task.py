"""What a worker does: one entity after another, each ending in a result.

Covers the order of steps for an entity, the fallback, and the one broad ``except`` around them.
Does not cover reading (``panel``), the windows of a backtest (``backtest``), storing (``store``) or
who calls (``engine``).
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from daskcast import backtest, checks, intervals, logs, metrics, windows
from daskcast.backtest import BacktestRules
from daskcast.errors import EntityError
from daskcast.models import Naive, SeasonalNaive, families, view_of
from daskcast.models.ets import LEAST, needs
from daskcast.records import EntityResult, Failure, Forecast, Scores, Series, Status, Trial
from daskcast.tune import Form, Recipe, SearchRules, Tuned, cook, tune

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from daskcast.config import ForecastConfig
    from daskcast.models import Family, View
    from daskcast.records import Floats

logger = logging.getLogger(__name__)

#: fewest observations for any forecast
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """What every task of a run is told.

    Parameters
    ----------
    rules : SearchRules
    models : tuple of str
    level : tuple of float
    cv_windows : int
    step_size : int or None
    select : {"blend", "best"}
    backtest : BacktestRules or None
        None forecasts from the end.
    """

    rules: SearchRules
    models: tuple[str, ...] = ("ets",)
    level: tuple[float, ...] = (80, 95)
    cv_windows: int = 3
    step_size: int | None = None
    select: str = "blend"
    backtest: BacktestRules | None = None

    @classmethod
    def of(cls, config: ForecastConfig) -> TaskSettings:
        """Take what a task needs from the options of a run."""
        rules = SearchRules(
            engine=config.search,
            trials=config.trials,
            seconds=config.search_seconds,
            loss=config.loss,
            seed=config.seed,
        )
        return cls(
            rules=rules,
            models=config.models,
            level=config.level,
            cv_windows=config.cv_windows,
            step_size=config.step_size,
            select=config.select,
            backtest=BacktestRules.of(config),
        )


def run_batch(
    batch: Sequence[Series], settings: TaskSettings, attempt: int = 1
) -> list[EntityResult]:
    """Forecast the entities of a batch, one after another.

    Parameters
    ----------
    batch : sequence of Series
    settings : TaskSettings
    attempt : int

    Returns
    -------
    list of EntityResult
        One for each entity, in the same order; an entity's trouble is its result.

    Examples
    --------
    >>> import numpy as np
    >>> from daskcast.records import Series
    >>> y = 100 + 10 * np.sin(np.arange(60) * np.pi / 6)
    >>> future = np.arange(60, 72)
    >>> jfk = Series("JFK", y, 59, future, freq="1", season_length=12)
    >>> [result] = run_batch([jfk], TaskSettings(SearchRules(engine="portfolio")))
    >>> str(result.status), result.forecast.mean.shape
    ('ok', (12,))
    """
    results = [run_entity(series, settings, attempt) for series in batch]
    assert len(results) == len(batch)
    return results


def run_entity(series: Series, settings: TaskSettings, attempt: int = 1) -> EntityResult:
    """Forecast one entity; never raises."""
    begun = time.perf_counter()
    with logs.bound(entity=series.unique_id):
        try:
            # overflow inside a hopeless form is an expected outcome of trying it
            with np.errstate(all="ignore"):
                result = _run(series, settings)
        except Exception as error:  # noqa: BLE001  one entity's trouble never stops another's
            failure = Failure(type(error).__name__, str(error), traceback.format_exc())
            result = _failed(series, failure)
        _log(result)
    return replace(result, seconds=time.perf_counter() - begun, attempt=attempt)


def warm_up() -> None:
    """Compile or load every kernel, so that no entity pays for it."""
    t = np.arange(60.0)
    y = 100.0 + t + 10.0 * np.sin(t * np.pi / 6.0) + t % 5
    series = Series("warm-up", y, 59, np.arange(60, 64), freq="1", season_length=12)
    _run(series, TaskSettings(SearchRules(trials=16)))


def _run(series: Series, settings: TaskSettings) -> EntityResult:
    if series.problem is not None:
        return _failed(series, series.problem)
    if settings.backtest is not None:
        return _backtest(series, settings, settings.backtest)
    return _from_the_end(series, settings)


def _backtest(series: Series, settings: TaskSettings, rules: BacktestRules) -> EntityResult:
    """Forecast from cutoffs in the past."""
    held = backtest.open_windows(series, rules)
    if not held:
        return _failed(series, backtest.too_short(series, rules))
    results = backtest.walk(
        held,
        rules.tune_every,
        lambda past, recipe: (
            _from_the_end(past, settings) if recipe is None else _again(past, settings, recipe)
        ),
    )
    return backtest.summary(series, held, results, rules, settings.level)


def _again(series: Series, settings: TaskSettings, kept: Mapping[str, Any]) -> EntityResult:
    """Forecast by the recipe of an earlier past; nothing is tuned, only states move on."""
    recipe = Recipe.from_dict(kept)
    plain = replace(series, y=series.y / recipe.unit)
    view = view_of(plain.y, series.season_length, len(series.future))
    try:
        blend = cook(view, recipe, _families(settings.models))
        forecast = _forecast(plain, settings, recipe.unit * blend.mean, recipe.unit * blend.sd)
    except EntityError as error:
        reason = Failure(type(error).__name__, str(error))
        return _fallback(plain, settings, reason, recipe.unit)
    return EntityResult(
        unique_id=series.unique_id,
        status=Status.OK,
        model=recipe.forms[0].label,
        params=kept,
        n_obs=int(np.count_nonzero(~np.isnan(series.y))),
        cutoff=series.cutoff,
        forecast=forecast,
    )


def _from_the_end(series: Series, settings: TaskSettings) -> EntityResult:
    n_obs = int(np.count_nonzero(~np.isnan(series.y)))
    if n_obs < _FEWEST:
        told = f"expected at least {_FEWEST} observations, as one gives no interval, found {n_obs}"
        return _failed(series, Failure("TooShort", told))
    unit = metrics.unit_of(series.y)
    plain = replace(series, y=series.y / unit)
    reason = _unfit(series, n_obs)
    if reason is not None:
        return _fallback(plain, settings, reason, unit)
    view = _view(plain, settings)
    try:
        tuned = tune(
            view, _families(settings.models), settings.rules, settings.select, series.unique_id
        )
    except EntityError as error:
        return _fallback(plain, settings, Failure(type(error).__name__, str(error)), unit)
    return _tuned_result(plain, settings, tuned, unit)


@lru_cache(maxsize=16)
def _families(names: tuple[str, ...]) -> tuple[Family, ...]:
    return families(names)


def _view(series: Series, settings: TaskSettings) -> View:
    m, h = series.season_length, len(series.future)
    cutoffs = windows.cutoffs(
        series.y,
        h,
        n_windows=settings.cv_windows,
        step_size=settings.step_size,
        least=_least(m),
    )
    return view_of(series.y, m, h, cutoffs)


def _least(season_length: int) -> int:
    """Give the observations before the first window: enough for the largest form."""
    return needs("Ad", "A" if season_length > 1 else "N", season_length)


def _unfit(series: Series, n_obs: int) -> Failure | None:
    """Say why no model is tuned for a series, where none can be."""
    if n_obs < LEAST:
        return Failure(
            "TooShort", f"expected at least {LEAST} observations to tune a model, found {n_obs}"
        )
    if np.nanmin(series.y) == np.nanmax(series.y):
        return Failure(
            "Constant", f"all {n_obs} observations are {series.y[0]:g}: there is nothing to tune"
        )
    return None


def _origins(tuned: Tuned) -> dict[str, int]:
    """Count how the trials came about: first points, asked of the optimizer, portfolio."""
    return dict(Counter(one.origin for one in tuned.tried))


def _tuned_result(
    series: Series, settings: TaskSettings, tuned: Tuned, unit: float
) -> EntityResult:
    blend = tuned.blend
    loss_unit = 1.0 if tuned.unit_free else unit
    main = int(blend.weights.argmax())
    return EntityResult(
        unique_id=series.unique_id,
        status=Status.OK,
        model=tuned.label(main),
        params=tuned.recipe(unit).to_dict(),
        n_obs=int(np.count_nonzero(~np.isnan(series.y))),
        cutoff=series.cutoff,
        scores=replace(tuned.scores, tune_loss=loss_unit * tuned.scores.tune_loss),
        checks={
            **checks.check_entity(
                series,
                tuned.scores,
                wanted_windows=settings.cv_windows,
                needed=_least(series.season_length),
                scaled=tuned.scaled,
                stopped_by=tuned.stopped_by,
            ),
            "trials": _origins(tuned),
            "left_out": blend.n_left_out,
        },
        stopped_by=tuned.stopped_by,
        forecast=_forecast(series, settings, unit * blend.mean, unit * blend.sd),
        trials=_trials(tuned, loss_unit),
    )


def _trials(tuned: Tuned, unit: float) -> tuple[Trial, ...]:
    return tuple(
        Trial(
            number=i,
            model=tuned.label(i),
            params=one.point,
            tune_loss=unit * one.loss,
            weight=float(tuned.blend.weights[i]),
            seconds=one.seconds,
            state="failed" if one.rolled is None else "complete",
            origin=one.origin,
        )
        for i, one in enumerate(tuned.tried)
    )


def _fallback(series: Series, settings: TaskSettings, reason: Failure, unit: float) -> EntityResult:
    """Forecast by a baseline, and say why."""
    n_obs = int(np.count_nonzero(~np.isnan(series.y)))
    seasonal = 1 < series.season_length < n_obs
    baseline = SeasonalNaive() if seasonal else Naive()
    view = view_of(series.y, series.season_length, len(series.future))
    mean, sd = baseline.forecast(series.y, view)
    return EntityResult(
        unique_id=series.unique_id,
        status=Status.FALLBACK,
        model=type(baseline).__name__,
        params=_recipe_of(baseline, view, unit).to_dict(),
        n_obs=n_obs,
        cutoff=series.cutoff,
        checks=checks.check_entity(
            series,
            Scores(),
            wanted_windows=settings.cv_windows,
            needed=None,
            scaled=False,
            stopped_by="",
        ),
        failure=reason,
        forecast=_forecast(series, settings, unit * mean, unit * sd),
    )


def _recipe_of(baseline: SeasonalNaive | Naive, view: View, unit: float) -> Recipe:
    [point] = baseline.space(view).points
    return Recipe((Form(baseline.label(point), baseline.name, point, {}, 1.0),), unit)


def _forecast(series: Series, settings: TaskSettings, mean: Floats, sd: Floats) -> Forecast:
    lo, hi = intervals.normal(mean, sd, settings.level)
    if not all(map(checks.finite, (mean, lo, hi))):
        raise EntityError(f"the forecast of {series.unique_id!r} is not finite: {mean}, {sd}")
    return Forecast(series.future, mean, lo, hi)


def _failed(series: Series, failure: Failure) -> EntityResult:
    return EntityResult(
        unique_id=series.unique_id,
        status=Status.FAILED,
        n_obs=int(np.count_nonzero(~np.isnan(series.y))),
        cutoff=series.cutoff,
        checks={"repairs": list(series.repairs)},
        failure=failure,
    )


def _log(result: EntityResult) -> None:
    if result.failure is None:
        logger.debug("%s, %d trials", result.model, len(result.trials))
        return
    level = logging.ERROR if result.status is Status.FAILED else logging.WARNING
    reason = result.failure
    logger.log(level, "%s: %s: %s", result.status, reason.error_type, reason.message)
