"""Windows of one entity: each as an entity of its own that knows no future."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daskcast import metrics, task
from daskcast.backtest import BacktestRules, open_windows, walk
from daskcast.config import ForecastConfig
from daskcast.errors import EntityError
from daskcast.models import families, view_of
from daskcast.records import EntityResult, Failure, Series, Status
from daskcast.settings import TaskSettings
from daskcast.task import run_entity
from daskcast.tune import Recipe, SearchRules, cook

H, M = 6, 12
PLAIN = TaskSettings(SearchRules(engine="portfolio"), cv_windows=2)


def entity(y: Any, h: int = H, **other: Any) -> Series:
    """Make a series of integer times that do not begin at zero."""
    y = np.asarray(y, dtype=float)
    times = 100 + np.arange(len(y) + h)
    return Series("JFK", y, int(times[-h - 1]), times[-h:], "1", M, past=times[:-h], **other)


def airport(n: int = 72, seed: int = 0) -> np.ndarray:
    """Give monthly passengers."""
    rng, t = np.random.default_rng(seed), np.arange(n)
    return (200 + 2 * t) * (1 + 0.3 * np.sin(t * np.pi / 6)) * rng.lognormal(0, 0.05, n)


def backtested(y: Any, how: TaskSettings = PLAIN, h: int = H, **rules: Any) -> EntityResult:
    """Backtest a series."""
    asked = BacktestRules(**{"n_windows": 3, "step_size": H, **rules})
    return run_entity(entity(y, h), dataclasses.replace(how, backtest=asked))


def rows(result: EntityResult, window: int, h: int = H) -> list[list[float]]:
    """Give cutoff, times, mean, bounds of one window."""
    forecast, own = result.forecast, slice(window * h, (window + 1) * h)
    assert forecast is not None
    assert forecast.cutoffs is not None
    arrays = [forecast.cutoffs, forecast.times, forecast.mean, *forecast.lo, *forecast.hi]
    return [array[own].tolist() for array in arrays]


# -- windows ----------------------------------------------------------------------------------


@given(
    known=st.lists(st.booleans(), min_size=1, max_size=60),
    h=st.integers(1, 8),
    n_windows=st.integers(1, 5),
    step_size=st.integers(1, 8),
    input_size=st.none() | st.integers(1, 70),
)
def test_a_window_sees_its_own_past_alone(
    known: list[bool], h: int, n_windows: int, step_size: int, input_size: int | None
) -> None:
    """Past and times to forecast meet at the cutoff, and the past begins with an observation."""
    y = np.where([True, *known], np.arange(len(known) + 1.0), np.nan)
    series = entity(y, h)
    rules = BacktestRules(n_windows, step_size, input_size=input_size)
    held = open_windows(series, rules)
    assert len(held) <= n_windows
    assert [one.place for one in held] == sorted({one.place for one in held})
    for one in held:
        seen = y[: one.place] if input_size is None else y[: one.place][-input_size:]
        assert np.isfinite(one.past.y[0])
        np.testing.assert_array_equal(one.past.y, seen[len(seen) - len(one.past.y) :])
        assert np.isnan(seen[: len(seen) - len(one.past.y)]).all()
        assert np.count_nonzero(np.isfinite(one.past.y)) >= 2
        assert one.past.cutoff == 99 + one.place
        assert one.past.future.tolist() == list(range(100 + one.place, 100 + one.place + h))
        assert np.isfinite(y[one.place : one.place + h]).any()
        assert one.past.past is None


@given(tune_every=st.integers(0, 5), fallen=st.lists(st.booleans(), max_size=12))
def test_a_recipe_is_kept_as_long_as_the_rules_say(tune_every: int, fallen: list[bool]) -> None:
    """Tuned at the first window, at every so manieth, and after a window that left nothing."""
    held = open_windows(entity(airport(90), 1), BacktestRules(12, 1))[: len(fallen)]
    given_: list[int | None] = []

    def forecast(past: Series, recipe: Any) -> EntityResult:
        number = len(given_)
        given_.append(None if recipe is None else recipe["made"])
        if recipe is None and fallen[number]:
            return EntityResult("JFK", Status.FALLBACK, params={"made": -1})
        return EntityResult("JFK", Status.OK, params=recipe or {"made": number})

    assert len(walk(held, tune_every, forecast)) == len(held)
    expected: list[int | None] = []
    made: int | None = None
    for number in range(len(held)):
        if made is not None and tune_every and number - made == tune_every:
            made = None
        expected.append(made)
        if made is None and not fallen[number]:
            made = number
    assert given_ == expected


@pytest.mark.parametrize(("refit", "every"), [(True, 1), (False, 0), (1, 1), (4, 4)])
def test_rules_come_from_the_options(refit: int, every: int) -> None:
    """The step is the horizon unless it is given."""
    config = ForecastConfig(h=12, n_windows=2, refit=refit, input_size=36)
    assert BacktestRules.of(config) == BacktestRules(2, 12, every, 36)
    other = ForecastConfig(h=12, n_windows=2, backtest_step=1)
    assert BacktestRules.of(other) == BacktestRules(2, 1, 1, None)
    assert BacktestRules.of(ForecastConfig(h=12)) is None


# -- what a window is worth -------------------------------------------------------------------


def test_each_window_is_an_entity_that_ended_there() -> None:
    """Tuned afresh, a window is to the bit what the series cut off there gets."""
    y = airport()
    result = backtested(y)
    assert (result.status, result.checks["windows"], result.checks["tuned"]) == ("ok", "3 of 3", 3)
    for window, place in enumerate((54, 60, 66)):
        alone = run_entity(entity(y[:place]), PLAIN)
        assert alone.forecast is not None
        told = [alone.forecast.times, alone.forecast.mean, *alone.forecast.lo, *alone.forecast.hi]
        cutoff = [99 + place] * H
        assert rows(result, window) == [cutoff, *[array.tolist() for array in told]]
    assert (result.model, result.params, result.checks["left_out"]) == (
        alone.model,
        alone.params,
        alone.checks["left_out"],
    )
    assert [t.tune_loss for t in result.trials] == [t.tune_loss for t in alone.trials]
    assert (result.n_obs, result.cutoff) == (72, 171)


@pytest.mark.parametrize("tune_every", [0, 1, 2])
@pytest.mark.parametrize("place", [54, 60, 66])
def test_nothing_after_a_cutoff_is_seen_before_it(place: int, tune_every: int) -> None:
    """Other values after a cutoff leave its forecast and all earlier ones as they were."""
    y = airport()
    other = y.copy()
    other[place:] = -1e6 * np.arange(1, len(y) - place + 1)
    one, two = (backtested(values, tune_every=tune_every) for values in (y, other))
    for window in range((place - 54) // H + 1):
        assert rows(one, window) == rows(two, window)
    assert one.scores.cv_mase != two.scores.cv_mase


def test_without_refit_the_first_recipe_is_kept() -> None:
    """Later windows are cooked from what the first one found; only the past grows."""
    y = airport()
    kept, fresh = backtested(y, tune_every=0), backtested(y)
    assert rows(kept, 0) == rows(fresh, 0)
    assert rows(kept, 1) != rows(fresh, 1)
    first = run_entity(entity(y[:54]), PLAIN)
    assert kept.params == first.params
    assert kept.checks["tuned"] == 1
    assert [t.tune_loss for t in kept.trials] == [t.tune_loss for t in first.trials]
    recipe = Recipe.from_dict(first.params)
    for window, place in ((1, 60), (2, 66)):
        blend = cook(
            view_of(y[:place] / recipe.unit, M, H), recipe, families(["ets", "theta", "ces"])
        )
        assert rows(kept, window)[2] == (recipe.unit * blend.mean).tolist()


def test_a_recipe_serves_so_many_windows() -> None:
    """With 2, the first and the third window are tuned."""
    y = airport()
    every_second, fresh, kept = (backtested(y, tune_every=k) for k in (2, 1, 0))
    assert every_second.checks["tuned"] == 2
    assert rows(every_second, 1) == rows(kept, 1)
    assert rows(every_second, 2) == rows(fresh, 2)


def test_a_recipe_that_no_longer_fits_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none of its forms can go on, a baseline does, and the reason is told."""

    def refuse(*_: object, **__: object) -> None:
        raise EntityError("none of the 2 forms of the recipe could be fitted")

    monkeypatch.setattr(task, "_cooked", refuse)
    result = backtested(airport(), tune_every=0)
    assert (result.status, result.model) == (Status.FALLBACK, "SeasonalNaive")
    assert result.failure is not None
    assert result.failure.message == (
        "2 of 3 windows fell back, such as the one after 159: none of the 2 forms of the recipe "
        "could be fitted"
    )
    assert result.trials


def test_a_window_that_fails_fails_the_entity(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean over the windows that went well would flatter."""
    whole = task._from_the_end

    def fail_once(past: Series, how: TaskSettings) -> EntityResult:
        if past.cutoff == 159:
            return EntityResult("JFK", Status.FAILED, failure=Failure("Odd", "for this test"))
        return whole(past, how)

    monkeypatch.setattr(task, "_from_the_end", fail_once)
    result = backtested(airport())
    assert (result.status, result.failure) == (Status.FAILED, Failure("Odd", "for this test"))
    assert (result.forecast, result.trials, result.n_obs, result.cutoff) == (None, (), 72, 171)


def test_only_the_last_steps_are_seen() -> None:
    """With an input size, a window is what the last steps before its cutoff alone would get."""
    y = airport()
    result = backtested(y, input_size=30)
    short = entity(y[36:66])
    alone = run_entity(short, PLAIN)
    assert alone.forecast is not None
    assert rows(result, 2)[2] == alone.forecast.mean.tolist()
    before = y.copy()
    before[:20] = 5.0
    assert rows(backtested(before, input_size=30), 0) == rows(result, 0)


def test_scores_are_those_of_the_rows() -> None:
    """MASE, RMSSE, sMAPE and skill by hand, each window scaled by its own past."""
    y = airport()
    result = backtested(y, n_windows=2, step_size=4)
    forecast, scores = result.forecast, result.scores
    assert forecast is not None
    assert forecast.actual is not None
    mase, naive, rmsse, smape = [], [], [], []
    for window, place in enumerate((62, 66)):
        mean = forecast.mean[window * H : (window + 1) * H]
        truth = y[place : place + H]
        np.testing.assert_array_equal(forecast.actual[window * H : (window + 1) * H], truth)
        season = np.abs(y[M:place] - y[: place - M])
        mase.append(np.abs(mean - truth).mean() / season.mean())
        naive.append(np.abs(y[place - M : place - M + H] - truth).mean() / season.mean())
        rmsse.append(math.sqrt(((mean - truth) ** 2).mean() / (season**2).mean()))
        smape.append(200 * (np.abs(mean - truth) / (np.abs(mean) + np.abs(truth))).mean())
    assert scores.n_windows == 2
    found = [scores.cv_mase, scores.naive_mase, scores.cv_rmsse, scores.cv_smape, scores.skill]
    expected = [*map(np.mean, (mase, naive, rmsse, smape)), 1 - np.mean(mase) / np.mean(naive)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    inside = (forecast.lo <= forecast.actual) & (forecast.actual <= forecast.hi)
    assert result.checks["coverage"] == {"80": inside[0].mean(), "95": inside[1].mean()}


def test_a_missing_observation_is_a_row_without_truth() -> None:
    """It is forecast, kept as missing, and takes no part in scores and coverage."""
    y = airport()
    y[63] = math.nan
    result = backtested(y, n_windows=2)
    forecast = result.forecast
    assert forecast is not None
    assert forecast.actual is not None
    assert np.flatnonzero(np.isnan(forecast.actual)).tolist() == [3]
    assert np.isfinite(forecast.mean).all()
    assert math.isfinite(result.scores.cv_mase)
    assert result.n_obs == 71


# -- few windows, none, other ends ------------------------------------------------------------


def test_an_entity_that_is_too_short_fails() -> None:
    """Without one window there is nothing to tell but why."""
    result = backtested(airport(7))
    assert (result.status, result.forecast) == (Status.FAILED, None)
    assert result.failure is not None
    assert result.failure.error_type == "TooShort"
    assert "found 7 steps with 7 observations" in result.failure.message


def test_an_input_size_may_leave_nothing() -> None:
    """One step gives no forecast; the message names the option's value."""
    result = backtested(airport(), input_size=1)
    assert result.failure is not None
    assert "among the 1 steps before it" in result.failure.message


def test_fewer_windows_are_told() -> None:
    """A series that holds two of three windows has two, and says why."""
    result = backtested(airport(30), n_windows=3, step_size=12)
    assert result.scores.n_windows == 2
    assert result.checks["windows"].startswith("2 of 3: the others want 2 observations before")


def test_a_window_that_falls_back_makes_a_fallback() -> None:
    """The first window is too short to tune, the others are not: reason and count are told."""
    result = backtested(airport(22), step_size=8, n_windows=3)
    assert result.scores.n_windows == 2
    assert result.status is Status.OK
    result = backtested(airport(20), step_size=5, n_windows=3)
    assert result.status is Status.FALLBACK
    assert result.failure is not None
    assert result.failure.error_type == "TooShort"
    assert result.failure.message == (
        "1 of 3 windows fell back, such as the one after 103: expected at least 6 observations to "
        "tune a model, found 4"
    )
    assert result.trials
    assert result.checks["tuned"] == 2


def test_a_constant_series_has_no_scale() -> None:
    """Scores that are undefined are empty, and the check says so."""
    result = backtested(np.full(60, 5.0))
    assert (result.status, result.checks["scale_defined"]) == (Status.FALLBACK, False)
    assert math.isnan(result.scores.cv_mase)
    assert result.scores.cv_smape == 0.0
    assert result.checks["coverage"] == {"80": 1.0, "95": 1.0}
    assert result.scores.n_windows == 3


@settings(max_examples=60)
@given(
    n=st.integers(2, 60),
    seed=st.integers(0, 10),
    gaps=st.sets(st.integers(1, 59)),
    tune_every=st.integers(0, 3),
    input_size=st.none() | st.integers(1, 40),
    step_size=st.integers(1, 10),
    exponent=st.integers(-12, 12),
)
def test_every_entity_ends_in_a_whole_result(
    n: int,
    seed: int,
    gaps: set[int],
    tune_every: int,
    input_size: int | None,
    step_size: int,
    exponent: int,
) -> None:
    """Whatever comes in: rows of whole windows with their truth, or a reason."""
    y = airport(n, seed) * 10.0**exponent
    y[sorted(gap for gap in gaps if gap < n)] = np.nan
    result = backtested(y, tune_every=tune_every, input_size=input_size, step_size=step_size)
    if result.status is Status.FAILED:
        assert result.failure is not None
        assert result.failure.error_type == "TooShort"
        assert result.forecast is None
        return
    forecast, n_windows = result.forecast, result.scores.n_windows
    assert forecast is not None
    assert forecast.cutoffs is not None
    assert forecast.actual is not None
    assert 1 <= n_windows <= 3
    assert len(forecast.mean) == len(forecast.times) == n_windows * H
    assert np.isfinite(forecast.mean).all()
    np.testing.assert_array_equal(forecast.actual, y[forecast.times - 100])
    assert len(set(forecast.cutoffs.tolist())) == n_windows
    assert (forecast.times > forecast.cutoffs).all()
    assert (result.failure is None) == (result.status is Status.OK)


def test_the_unit_of_the_data_does_not_matter() -> None:
    """Scores of huge and of tiny numbers are the same."""
    scores = [backtested(airport() * 2.0**k).scores for k in (-900, 0, 900)]
    assert scores[0].cv_mase == scores[1].cv_mase == scores[2].cv_mase
    assert scores[0].cv_rmsse == scores[1].cv_rmsse == scores[2].cv_rmsse
    assert metrics.unit_of(np.zeros(3)) == 1.0
