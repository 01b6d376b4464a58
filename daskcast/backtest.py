"""One entity forecast again from cutoffs in its past, and compared with what came.

Covers the windows, each of which sees its own past and nothing else, when a model is tuned again,
and what the windows amount to: one forecast of all rows, honest scores. Does not cover forecasting
from one cutoff (``task``) nor choosing the cutoffs (``windows``).

Shapes: T steps of one entity, W windows, H steps of the horizon, L levels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from daskcast import checks, metrics, windows
from daskcast.models import view_of
from daskcast.records import EntityResult, Failure, Forecast, Scores, Series, Status
from daskcast.tune import Judge, scores_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daskcast.config import ForecastConfig
    from daskcast.records import Floats

    #: Forecasts a past; by the recipe of an earlier one where that is given.
    ForecastPast = Callable[[Series, Mapping[str, Any] | None], EntityResult]

#: fewest observations before a cutoff: what any forecast needs
FEWEST = 2
_MIDNIGHT = "T00:00:00.000000"


@dataclass(frozen=True, slots=True)
class BacktestRules:
    """What decides the windows of each entity.

    Parameters
    ----------
    n_windows : int
    step_size : int
        Steps between two cutoffs.
    tune_every : int
        Windows that share one recipe; 0 where all do.
    input_size : int or None
        Steps before each cutoff that are seen; None for all.
    """

    n_windows: int
    step_size: int
    tune_every: int = 1
    input_size: int | None = None

    @classmethod
    def of(cls, config: ForecastConfig) -> BacktestRules | None:
        """Take the rules from the options of a run; None where it is no backtest."""
        if not config.n_windows:
            return None
        step_size = config.backtest_step or config.h
        return cls(config.n_windows, step_size, int(config.refit), config.input_size)


@dataclass(frozen=True, slots=True)
class Window:
    """A cutoff of one entity.

    Parameters
    ----------
    place : int
        Steps of the entity up to the cutoff.
    past : Series
        The entity as it was then, nothing of what came later; ``future`` are the times to forecast.
    """

    place: int
    past: Series


def open_windows(series: Series, rules: BacktestRules) -> list[Window]:
    """Cut a series off at each of its windows, the earliest first.

    Parameters
    ----------
    series : Series
        With ``past``, the times of its last steps.
    rules : BacktestRules

    Returns
    -------
    list of Window
        Those of which the past holds two observations and the future one.
    """
    places = windows.cutoffs(
        series.y,
        len(series.future),
        n_windows=rules.n_windows,
        step_size=rules.step_size,
        least=FEWEST,
    )
    held = [Window(int(place), _cut(series, int(place), rules.input_size)) for place in places]
    return [one for one in held if np.count_nonzero(~np.isnan(one.past.y)) >= FEWEST]


def _cut(series: Series, place: int, input_size: int | None) -> Series:
    assert series.past is not None
    seen = series.y[max(place - (input_size or place), 0) : place]
    known = np.flatnonzero(~np.isnan(seen))
    at = place - len(series.y) + len(series.past)
    h = len(series.future)
    return replace(
        series,
        y=seen[known[0] :] if len(known) else seen[:0],
        cutoff=series.past[at - 1],
        future=series.past[at : at + h],
        past=None,
    )


def too_short(series: Series, rules: BacktestRules) -> Failure:
    """Say why not one window holds."""
    seen = f" among the {rules.input_size} steps before it" if rules.input_size else ""
    return Failure(
        "TooShort",
        f"expected a cutoff with at least {FEWEST} observations{seen} and one among the "
        f"{len(series.future)} steps after it, found {len(series.y)} steps with "
        f"{np.count_nonzero(~np.isnan(series.y))} observations",
    )


def walk(held: Sequence[Window], tune_every: int, forecast: ForecastPast) -> list[EntityResult]:
    """Forecast each window, with a recipe kept as long as the rules say.

    What fell back left nothing to keep: the next window is tuned.

    Parameters
    ----------
    held : sequence of Window, [W]
    tune_every : int
    forecast : callable

    Returns
    -------
    list of EntityResult, [W]
    """
    results: list[EntityResult] = []
    recipe: Mapping[str, Any] | None = None
    age = 0
    for window in held:
        if age == tune_every:
            recipe = None
        result = forecast(window.past, recipe)
        if recipe is None:
            recipe = result.params if result.status is Status.OK else None
            age = 0
        results.append(result)
        age += 1
    return results


def summary(
    series: Series,
    held: Sequence[Window],
    results: Sequence[EntityResult],
    rules: BacktestRules,
    level: Sequence[float],
) -> EntityResult:
    """Make one result of all windows.

    Model and parameters are those of the last window, trials and checks of a search those of the
    last window that was tuned; scores, intervals and rows are of all. A window that failed fails
    the entity: a mean over the others would flatter.

    Parameters
    ----------
    series : Series
    held : sequence of Window, [W]
        At least one.
    results : sequence of EntityResult, [W]
    rules : BacktestRules
    level : sequence of float, [L]
    """
    last = results[-1]
    whole: dict[str, Any] = {
        "n_obs": int(np.count_nonzero(~np.isnan(series.y))),
        "cutoff": series.cutoff,
    }
    failed = next((one for one in results if one.status is Status.FAILED), None)
    if failed is not None:
        return replace(failed, **whole, trials=())
    tuned = next((one for one in reversed(results) if one.trials), last)
    stopped_by = "time" if any(one.stopped_by == "time" for one in results) else tuned.stopped_by
    forecast = joined(held, results, series.y)
    scores, scaled = score(series, held, forecast, tuned.scores.tune_loss)
    noted = checks.check_entity(
        series,
        scores,
        wanted_windows=rules.n_windows,
        needed=FEWEST,
        scaled=scaled,
        stopped_by=stopped_by,
    )
    of_windows = {
        "windows": told(series, len(held), rules),
        "tuned": sum(bool(one.trials) for one in results),
        "coverage": coverage(forecast, level),
    }
    reason = fallen(held, results)
    return replace(
        last,
        **whole,
        status=Status.OK if reason is None else Status.FALLBACK,
        scores=scores,
        checks={**tuned.checks, **noted, **of_windows},
        stopped_by=stopped_by,
        failure=reason,
        forecast=forecast,
        trials=tuned.trials,
    )


def joined(held: Sequence[Window], results: Sequence[EntityResult], y: Floats) -> Forecast:
    """Put the forecasts of all windows one after the other, beside what came.

    Parameters
    ----------
    held : sequence of Window, [W]
    results : sequence of EntityResult, [W]
        All with a forecast.
    y : ndarray of float64, shape [T]
    """
    parts = [one.forecast for one in results if one.forecast is not None]
    cutoffs = [np.full(len(one.past.future), one.past.cutoff) for one in held]
    return Forecast(
        times=np.concatenate([part.times for part in parts]),
        mean=np.concatenate([part.mean for part in parts]),
        lo=np.concatenate([part.lo for part in parts], axis=1),
        hi=np.concatenate([part.hi for part in parts], axis=1),
        cutoffs=np.concatenate(cutoffs),
        actual=np.concatenate([y[one.place :][: len(one.past.future)] for one in held]),
    )


def score(
    series: Series, held: Sequence[Window], forecast: Forecast, tune_loss: float
) -> tuple[Scores, bool]:
    """Score the windows; the scale of each is the seasonal naive error before its cutoff.

    Parameters
    ----------
    series : Series
    held : sequence of Window, [W]
    forecast : Forecast
        Of all windows.
    tune_loss : float

    Returns
    -------
    scores : Scores
    scaled : bool
        False where the scale of some window is zero or unknown.
    """
    h, unit = len(series.future), metrics.unit_of(series.y)
    places = np.array([one.place for one in held], dtype=np.int64)
    view = view_of(series.y / unit, series.season_length, h, places)
    judge = Judge(view, "mase")
    means = forecast.mean.reshape(len(held), h) / unit
    return scores_of(view, judge, means, tune_loss), judge.scaled


def coverage(forecast: Forecast, levels: Sequence[float]) -> dict[str, float]:
    """Give the share of what came that each interval holds, by level; empty where nothing came."""
    assert forecast.actual is not None
    known = ~np.isnan(forecast.actual)
    inside = (forecast.actual >= forecast.lo) & (forecast.actual <= forecast.hi)
    if not known.any():
        return {}
    shares = inside[:, known].mean(axis=1)
    return {f"{level:g}": float(share) for level, share in zip(levels, shares, strict=True)}


def told(series: Series, n_held: int, rules: BacktestRules) -> str:
    """Say how many of the windows held, and why not more."""
    text = f"{n_held} of {rules.n_windows}"
    if n_held == rules.n_windows:
        return text
    return (
        f"{text}: the others want {FEWEST} observations before their cutoff and one in the "
        f"{len(series.future)} steps after it, the series has {len(series.y)} steps"
    )


def fallen(held: Sequence[Window], results: Sequence[EntityResult]) -> Failure | None:
    """Say of how many windows a simpler model made the forecast, and why; None where of none."""
    reasons = [
        (window, result.failure)
        for window, result in zip(held, results, strict=True)
        if result.failure is not None
    ]
    if not reasons:
        return None
    kinds = Counter(failure.error_type for _, failure in reasons)
    [(kind, _)] = kinds.most_common(1)
    window, first = next(pair for pair in reasons if pair[1].error_type == kind)
    return Failure(
        kind,
        f"{len(reasons)} of {len(held)} windows fell back, such as the one after "
        f"{str(window.past.cutoff).removesuffix(_MIDNIGHT)}: {first.message}",
        first.traceback,
    )
