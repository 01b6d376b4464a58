"""What a worker does: one entity after another, each ending in a result.

Covers the order of steps for an entity, the fallback, and the one broad ``except`` around them.
Does not cover reading (``panel``), storing (``store``) or who calls (``engine``).
"""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from daskcast import checks, intervals, logs, windows
from daskcast.errors import EntityError
from daskcast.models import Naive, SeasonalNaive, families, view_of
from daskcast.models.ets import LEAST, needs
from daskcast.records import EntityResult, Failure, Forecast, Scores, Series, Status, Trial
from daskcast.tune import Form, Reach, Recipe, SearchRules, Tuned, cook, tune

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.config import ForecastConfig
    from daskcast.models import Family, View
    from daskcast.records import Floats
    from daskcast.tune import Windows
    from daskcast.tune.blend import Blend

logger = logging.getLogger(__name__)

#: how intervals keep to zero and above
_POSITIVE = "bounds in proportion, as the data is positive"
_CENSORED = "bounds below zero are zero, as the data has zeros"
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
    non_negative : bool
    """

    rules: SearchRules
    models: tuple[str, ...] = ("ets", "theta", "ces")
    level: tuple[float, ...] = (80, 95)
    cv_windows: int = 3
    step_size: int | None = None
    select: str = "blend"
    non_negative: bool = False

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
            non_negative=config.non_negative,
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
    n_obs = int(np.count_nonzero(~np.isnan(series.y)))
    if n_obs < _FEWEST:
        told = f"expected at least {_FEWEST} observations, as one gives no interval, found {n_obs}"
        return _failed(series, Failure("TooShort", told))
    unit = _unit(series.y)
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
        return _fallback(plain, settings, Failure(type(error).__name__, str(error)), unit)


def _unit(y: Floats) -> float:
    """Give the power of two near the mean size of a series.

    Models see the series in this unit, so that neither squares of huge values overflow nor those of
    tiny ones vanish. Dividing by a power of two loses no bit.
    """
    size = float(np.nanmean(np.abs(y)))
    return float(2.0 ** min(max(math.frexp(size)[1], -1022), 1023)) if size > 0 else 1.0


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
    return view_of(series.y, m, h, cutoffs, floor=_floor(series, settings))


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
            **_of_the_blend(series, settings, blend),
            "coverage": _coverage(series, settings, tuned.windows),
            "trials": _origins(tuned),
        },
        stopped_by=tuned.stopped_by,
        forecast=_forecast(series, settings, blend, unit=unit, errors=recipe.scores),
        trials=_trials(tuned, loss_unit),
    )


def _of_the_blend(series: Series, settings: TaskSettings, blend: Blend) -> dict[str, Any]:
    """Check what the blend says of the past, and how it keeps to zero and above."""
    heaviest = next(iter(blend.fitted.values()))
    p_value = None
    if heaviest.residuals is not None:
        p_value = checks.ljung_box(heaviest.residuals, series.season_length)
    found: dict[str, Any] = {"left_out": blend.n_left_out, "ljung_box": p_value}
    if settings.non_negative:
        found["non_negative"] = _kind_of_bounds(series, settings)
    return found


def _coverage(
    series: Series, settings: TaskSettings, windows: Windows | None
) -> dict[str, float] | None:
    """Judge intervals made on each window as they would have been made then."""
    if windows is None or not np.all(np.isfinite(windows.sd)):
        return None
    made = [
        _bounds(series, settings, mean, _widths(series, settings, sd))
        for mean, sd in zip(windows.mean, windows.sd, strict=True)
    ]
    lo, hi = np.array([lo for lo, _ in made]), np.array([hi for _, hi in made])
    return checks.coverage(windows.truth, lo, hi, settings.level)


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
            **checks.check_entity(
                series,
                Scores(),
                wanted_windows=settings.cv_windows,
                needed=None,
                scaled=False,
                stopped_by="",
            ),
            **_of_the_blend(series, settings, blend),
        },
        failure=reason,
        forecast=_forecast(series, settings, blend, unit=unit, simple=True),
    )


def _floor(series: Series, settings: TaskSettings) -> float:
    """Give what no forecast of an entity may fall below."""
    return 0.0 if _kind_of_bounds(series, settings) in (_POSITIVE, _CENSORED) else -math.inf


def _kind_of_bounds(series: Series, settings: TaskSettings) -> str:
    """Say how the intervals of an entity keep to zero and above."""
    if not settings.non_negative:
        return ""
    low = float(np.nanmin(series.y))
    if low > 0:
        return _POSITIVE
    return _CENSORED if low == 0 else f"not applied: {np.sum(series.y < 0)} values are below zero"


def _widths(
    series: Series, settings: TaskSettings, sd: Floats, errors: Sequence[Sequence[float]] = ()
) -> Floats:
    return intervals.half_widths(sd, settings.level, series.season_length, errors)


def _bounds(
    series: Series, settings: TaskSettings, mean: Floats, widths: Floats
) -> tuple[Floats, Floats]:
    kind = _kind_of_bounds(series, settings)
    if kind == _POSITIVE:
        return intervals.positive_bounds(mean, widths)
    if kind == _CENSORED:
        return intervals.censored_bounds(mean, widths)
    return intervals.bounds(mean, widths)


def _forecast(
    series: Series,
    settings: TaskSettings,
    blend: Blend,
    *,
    unit: float,
    errors: Sequence[Sequence[float]] = (),
    simple: bool = False,
) -> Forecast:
    """Make the forecast with its intervals; raise ``EntityError`` where a hard check fails.

    The series is in its unit. A ``simple`` forecast goes on with the past as it was, however far
    a season or a jump reaches: for it growth is no check.
    """
    mean = blend.mean
    lo, hi = _bounds(series, settings, mean, _widths(series, settings, blend.sd, errors))
    reach = Reach.of(series.y, len(mean), _floor(series, settings))
    forecast = Forecast(series.future, unit * mean, unit * lo, unit * hi)
    within_reach = simple or bool(reach.holds(mean))
    failed = checks.broken(series, forecast, within_reach=within_reach)
    if failed:
        raise EntityError(
            f"the forecast of {series.unique_id!r} fails the checks {', '.join(failed)}: "
            f"{unit * mean}, standard deviation {unit * blend.sd}"
        )
    return forecast


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
