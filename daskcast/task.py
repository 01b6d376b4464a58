"""What a worker does: one entity after another, each ending in a result.

Covers the order of steps for an entity, the fallback, and the one broad ``except`` around them.
Does not cover reading (``panel``), the windows of a backtest (``backtest``), storing (``store``) or
who calls (``engine``).
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from daskcast import backtest, checks, logs, metrics, windows
from daskcast.blas import blas_at_one
from daskcast.errors import EntityError
from daskcast.models import Naive, SeasonalNaive, families, view_of
from daskcast.models.ets import LEAST, needs
from daskcast.records import EntityResult, Failure, Scores, Series, Status, Trial
from daskcast.settings import TaskSettings
from daskcast.tune import Form, Recipe, SearchRules, Tuned, cook, tune

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daskcast.backtest import BacktestRules
    from daskcast.models import Family, View
    from daskcast.records import Kept
    from daskcast.tune.blend import Blend

logger = logging.getLogger(__name__)

#: fewest observations for any forecast
_FEWEST = 2


def run_batch(
    batch: Sequence[Series],
    settings: TaskSettings,
    attempt: int = 1,
    kept: Mapping[str, Kept] | None = None,
) -> list[EntityResult]:
    """Forecast the entities of a batch, one after another.

    Parameters
    ----------
    batch : sequence of Series
    settings : TaskSettings
    attempt : int
    kept : mapping of str to Kept, optional
        What an earlier fit left of each entity: forecasts come from there, without a search.

    Returns
    -------
    list of EntityResult
        One for each entity, in the same order; an entity's trouble is its result.

    Examples
    --------
    >>> import numpy as np
    >>> from daskcast.records import Series
    >>> from daskcast.settings import TaskSettings
    >>> from daskcast.tune import SearchRules
    >>> y = 100 + 10 * np.sin(np.arange(60) * np.pi / 6)
    >>> future = np.arange(60, 72)
    >>> jfk = Series("JFK", y, 59, future, freq="1", season_length=12)
    >>> [result] = run_batch([jfk], TaskSettings(SearchRules(engine="portfolio")))
    >>> str(result.status), result.forecast.mean.shape
    ('ok', (12,))
    """
    left = {} if kept is None else {series.unique_id: kept[series.unique_id] for series in batch}
    with blas_at_one():
        results = [run_entity(one, settings, attempt, left.get(one.unique_id)) for one in batch]
    assert len(results) == len(batch)
    return results


def run_entity(
    series: Series, settings: TaskSettings, attempt: int = 1, kept: Kept | None = None
) -> EntityResult:
    """Forecast one entity; never raises."""
    begun = time.perf_counter()
    with logs.bound(entity=series.unique_id):
        try:
            # overflow inside a hopeless form is an expected outcome of trying it
            with np.errstate(all="ignore"):
                result = _run(series, settings) if kept is None else _cook(series, settings, kept)
        # One entity's trouble never stops another's, whatever a model raises.
        except KeyboardInterrupt:  # of the person at the keyboard
            raise
        except BaseException as error:  # noqa: BLE001
            result = _failed(series, Failure.of(error, traced=True))
        _log(result)
    return replace(result, seconds=time.perf_counter() - begun, attempt=attempt)


def stopped(
    series: Series, failure: Failure, *, attempt: int, seconds: float, stopped_by: str = ""
) -> EntityResult:
    """Give the result of an entity whose process was ended while it was worked on."""
    with logs.bound(entity=series.unique_id):
        result = _failed(series, failure)
        _log(result)
    return replace(result, attempt=attempt, seconds=seconds, stopped_by=stopped_by)


def warm_up() -> None:
    """Compile or load every kernel, so that no entity pays for it."""
    t = np.arange(60.0)
    y = 100.0 + t + 10.0 * np.sin(t * np.pi / 6.0) + t % 5
    series = Series("warm-up", y, 59, np.arange(60, 64), freq="1", season_length=12)
    settings = TaskSettings(SearchRules(trials=16))
    _again(series, settings, _run(series, settings).params)


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
    return backtest.summary(series, held, results, rules, settings.delivery.level)


def _again(series: Series, settings: TaskSettings, kept: Mapping[str, Any]) -> EntityResult:
    """Forecast by the recipe of an earlier past; nothing is tuned, only states move on."""
    recipe = Recipe.from_dict(kept)
    return _by_recipe(replace(series, y=series.y / recipe.unit), settings, recipe)


def _from_the_end(series: Series, settings: TaskSettings) -> EntityResult:
    n_obs = int(np.count_nonzero(~np.isnan(series.y)))
    if n_obs < _FEWEST:
        told = f"expected at least {_FEWEST} observations, as one gives no interval, found {n_obs}"
        return _failed(series, Failure("TooShort", told))
    unit = metrics.unit_of(series.y)
    plain = replace(series, y=series.y / unit)
    if (reason := _unfit(series, n_obs)) is not None:
        return _fallback(plain, settings, reason, unit)
    view = _view(plain, settings)
    try:
        tuned = tune(
            view, _families(settings.models), settings.rules, settings.select, series.unique_id
        )
        return _tuned_result(plain, settings, tuned, unit)
    except EntityError as error:
        return _fallback(plain, settings, Failure.of(error), unit)


@lru_cache(maxsize=16)
def _families(models: tuple[str | Family, ...]) -> tuple[Family, ...]:
    return families(models)


def _view(series: Series, settings: TaskSettings) -> View:
    m, h = series.season_length, len(series.future)
    cutoffs = windows.cutoffs(
        series.y,
        h,
        n_windows=settings.cv_windows,
        step_size=settings.step_size,
        least=_least(m),
    )
    return view_of(series.y, m, h, cutoffs, floor=settings.delivery.floor(series))


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
    recipe = tuned.recipe(unit)
    return EntityResult(
        unique_id=series.unique_id,
        status=Status.OK,
        model=recipe.forms[0].label,
        params=recipe.to_dict(),
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
            **settings.delivery.notes(series, blend),
            "coverage": settings.delivery.coverage(series, tuned.windows),
            "trials": _origins(tuned),
        },
        stopped_by=tuned.stopped_by,
        forecast=settings.delivery.forecast(series, blend, unit=unit, errors=recipe.scores),
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
    [point] = baseline.space(view).points
    recipe = Recipe((Form(baseline.label(point), baseline.name, point, {}, 1.0),), unit)
    blend = cook(view, recipe, [baseline], within_reach=False)
    return EntityResult(
        unique_id=series.unique_id,
        status=Status.FALLBACK,
        model=recipe.forms[0].label,
        params=recipe.to_dict(),
        n_obs=n_obs,
        cutoff=series.cutoff,
        checks={
            **_untuned_checks(series, settings),
            **settings.delivery.notes(series, blend),
        },
        failure=reason,
        forecast=settings.delivery.forecast(series, blend, unit=unit, simple=True),
    )


def _cook(series: Series, settings: TaskSettings, kept: Kept) -> EntityResult:
    """Forecast by what a fit left; where that cannot be done any more, fall back and say why."""
    if series.problem is not None or not kept.recipe:
        return _failed(series, series.problem or kept.failure or Failure("Unknown", "never fitted"))
    recipe = Recipe.from_dict(json.loads(kept.recipe))
    plain = replace(series, y=series.y / recipe.unit)
    if kept.failure is not None:
        return _fallback(plain, settings, kept.failure, recipe.unit)
    return _by_recipe(plain, settings, recipe, refit=kept.refit)


def _by_recipe(
    series: Series, settings: TaskSettings, recipe: Recipe, *, refit: bool = False
) -> EntityResult:
    """Forecast a series, in the unit of a recipe, by that recipe; else fall back and say why."""
    try:
        return _cooked(series, settings, recipe, refit=refit)
    except EntityError as error:
        return _fallback(series, settings, Failure.of(error), recipe.unit)


def _cooked(series: Series, settings: TaskSettings, recipe: Recipe, *, refit: bool) -> EntityResult:
    floor = settings.delivery.floor(series)
    view = view_of(series.y, series.season_length, len(series.future), floor=floor)
    blend = cook(view, recipe, _families(settings.models), keep=not refit)
    return EntityResult(
        unique_id=series.unique_id,
        status=Status.OK,
        model=recipe.forms[0].label,
        params=_refitted(recipe, blend).to_dict(),
        n_obs=view.n_obs,
        cutoff=series.cutoff,
        checks={
            **_untuned_checks(series, settings),
            **settings.delivery.notes(series, blend),
        },
        forecast=settings.delivery.forecast(series, blend, unit=recipe.unit, errors=recipe.scores),
    )


def _untuned_checks(series: Series, settings: TaskSettings) -> dict[str, Any]:
    """Check an entity for which nothing was tuned."""
    return checks.check_entity(
        series,
        Scores(),
        wanted_windows=settings.cv_windows,
        needed=None,
        scaled=False,
        stopped_by="",
    )


def _refitted(recipe: Recipe, blend: Blend) -> Recipe:
    """Take over the parameters of a fit; a form that could not be fitted keeps its own."""
    forms = tuple(
        replace(form, params=blend.fitted[i].params) if i in blend.fitted else form
        for i, form in enumerate(recipe.forms)
    )
    return replace(recipe, forms=forms)


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
    for told in result.checks.get("not_modelled", ()):
        logger.warning("%s", told)
    if (reason := result.failure) is None:
        logger.debug("%s, %d trials", result.model, len(result.trials))
        return
    level = logging.ERROR if result.status is Status.FAILED else logging.WARNING
    logger.log(level, "%s: %s: %s", result.status, reason.error_type, reason.message)
