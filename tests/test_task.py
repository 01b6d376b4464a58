"""Entities of any kind: each ends in a result, on its own, to the bit."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.linalg import LinAlgError
from scipy import stats

from daskcast import intervals, logs, models, task
from daskcast.config import ForecastConfig
from daskcast.delivery import Delivery
from daskcast.errors import EntityError
from daskcast.models import ETS, Naive
from daskcast.records import Failure, Series, Status
from daskcast.settings import TaskSettings
from daskcast.task import run_batch, run_entity, warm_up
from daskcast.tune import SearchRules

QUICK = TaskSettings(SearchRules(trials=8))
DEFAULT = ("ets", "theta", "ces")
NON_NEGATIVE = Delivery(non_negative=True)
PORTFOLIO = TaskSettings(SearchRules(engine="portfolio"))


def entity(y, unique_id="JFK", h=6, m=12, **other):
    """Make a series of integer times."""
    y = np.asarray(y, dtype=float)
    return Series(unique_id, y, len(y) - 1, len(y) + np.arange(h), "1", m, **other)


def airport(n=60, seed=0):
    """Give monthly passengers."""
    rng, t = np.random.default_rng(seed), np.arange(n)
    return (200 + 2 * t) * (1 + 0.3 * np.sin(t * np.pi / 6)) * rng.lognormal(0, 0.05, n)


def refused(unique_id="LGA"):
    """Make an entity that reading has refused."""
    reason = Failure("DuplicateTimes", "expected each time once, found 2024-01 twice")
    return Series(unique_id, np.empty(0), None, np.empty(0), "", 1, ("noted",), reason)


def content(result):
    """Give all of a result that does not depend on the clock, arrays as bytes."""
    trials = [dataclasses.replace(trial, seconds=0.0) for trial in result.trials]
    forecast = result.forecast
    arrays = (forecast.times, forecast.mean, forecast.lo, forecast.hi) if forecast else ()
    plain = dataclasses.replace(result, seconds=0.0, trials=(), forecast=None)
    return repr(plain), repr(trials), [array.tobytes() for array in arrays]


# -- any series -------------------------------------------------------------------------------

MAGNITUDE = st.integers(-12, 12).map(lambda power: 10.0**power)
NUMBERS = st.one_of(
    st.floats(-1.0, 1.0), st.floats(0.01, 1.0), st.just(0.0), st.sampled_from([1.0, 2.0, 3.0])
)


@st.composite
def any_series(draw, unique_id="A"):
    """Draw an entity of any length, scale and season: zeros, constants, gaps, refusals."""
    if draw(st.integers(0, 9)) == 0:
        return refused(unique_id)
    n = draw(st.integers(1, 60) | st.integers(45, 60))
    kind = draw(st.sampled_from(["mixed", "positive", "counts", "two scales", "mixed", "constant"]))
    if kind == "constant":
        y = np.full(n, draw(NUMBERS))
    elif kind == "counts":
        y = np.array(draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)), dtype=float)
    else:
        strategy = st.floats(0.01, 1.0) if kind == "positive" else NUMBERS | st.just(math.nan)
        y = np.array(draw(st.lists(strategy, min_size=n, max_size=n)))
    y = y * draw(MAGNITUDE)
    if kind == "two scales":
        y[draw(st.integers(0, n - 1)) :] *= draw(MAGNITUDE)
    gaps = draw(st.sets(st.integers(1, n), max_size=n // 2))
    y[sorted(gaps - {n})] = np.nan
    if math.isnan(y[0]):
        y[0] = 1.0
    m, h = draw(st.sampled_from([1, 4, 2, 7, 12, 24])), draw(st.integers(1, 14))
    return entity(y, unique_id, h=h, m=m)


@st.composite
def any_settings(draw):
    """Draw the settings of a task."""
    rules = SearchRules(
        engine=draw(st.sampled_from(["skopt", "portfolio"])),
        trials=draw(st.sampled_from([16, 24, 6, 1])),
        loss=draw(st.sampled_from(["mase", "rmsse", "mae", "rmse", "smape"])),
        seed=draw(st.integers(0, 3)),
    )
    return TaskSettings(
        rules,
        models=draw(
            st.sampled_from(
                [
                    DEFAULT,
                    ("ets",),
                    ("theta", "ces"),
                    ("ets", "seasonal_naive", "drift"),
                    ("naive",),
                ]
            )
        ),
        delivery=draw(st.sampled_from([Delivery(), NON_NEGATIVE])),
        cv_windows=draw(st.sampled_from([3, 2, 5, 1, 0, 20])),
        step_size=draw(st.none() | st.integers(1, 5)),
        select=draw(st.sampled_from(["blend", "best"])),
    )


def check_result(series, result, level):
    """Check what is promised of every result."""
    assert result.unique_id == series.unique_id
    assert result.n_obs == np.count_nonzero(~np.isnan(series.y))
    json.dumps([result.params, result.checks], allow_nan=False)
    assert (result.failure is None) == (result.status is Status.OK)
    if result.status is Status.FAILED:
        assert result.forecast is None
        if series.problem is None:
            assert (result.failure.error_type, result.n_obs) == ("TooShort", 1), result.failure
        else:
            assert result.failure == series.problem
        return
    assert series.problem is None
    forecast = result.forecast
    np.testing.assert_array_equal(forecast.times, series.future)
    assert forecast.mean.shape == series.future.shape
    assert np.all(np.isfinite(forecast.mean))
    assert forecast.lo.shape == forecast.hi.shape == (len(level), len(series.future))
    known = np.isfinite(forecast.lo).all(axis=0) & np.isfinite(forecast.hi).all(axis=0)
    assert np.all(known)
    if np.all(known):
        steps = [*forecast.lo[::-1], forecast.mean, *forecast.hi]
        assert np.all(np.diff(steps, axis=0) >= 0)
    weights = [form["weight"] for form in result.params["forms"]]
    assert sum(weights) == pytest.approx(1.0)
    assert weights == sorted(weights, reverse=True)
    assert result.params["forms"][0]["form"] == result.model
    if result.status is Status.OK:
        assert sum(trial.weight for trial in result.trials) == pytest.approx(1.0)
        assert [trial.number for trial in result.trials] == list(range(len(result.trials)))


@settings(max_examples=150)
@given(batch=st.lists(any_series(), max_size=4), how=any_settings())
def test_every_entity_ends_in_a_whole_result(batch, how):
    """Whatever comes in: as many results as entities, forecast or reason, and no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = run_batch(batch, how)
    assert len(results) == len(batch)
    for series, result in zip(batch, results, strict=True):
        check_result(series, result, how.delivery.level)


@settings(max_examples=30)
@given(data=st.data(), how=any_settings())
def test_neighbours_and_order_do_not_matter(data, how):
    """An entity's result is the same to the bit alone, in a batch, and in a batch turned round."""
    batch = [data.draw(any_series(unique_id)) for unique_id in ("A", "B", "C")]
    alone = [content(run_entity(series, how)) for series in batch]
    together = [content(result) for result in run_batch(batch, how)]
    turned = [content(result) for result in run_batch(batch[::-1], how)]
    assert together == alone
    assert turned[::-1] == alone


@settings(max_examples=30)
@given(series=any_series(), how=any_settings())
def test_what_is_given_is_not_changed(series, how):
    """The series is as it was, and its result travels between processes."""
    kept = series.y.copy()
    result = run_entity(series, how)
    assert series.y.tobytes() == kept.tobytes()
    assert content(pickle.loads(pickle.dumps(result))) == content(result)


@pytest.mark.parametrize("wrong", [math.inf, -math.inf, 1e308, -1e308, 5e-324])
@pytest.mark.parametrize("at", [0, 30, 59])
def test_numbers_at_the_end_of_all_numbers(wrong, at):
    """An infinite or barely finite value ends in a result too: a finite forecast or a reason."""
    y = airport()
    y[at] = wrong
    [result] = run_batch([entity(y)], QUICK)
    if result.status is Status.FAILED:
        assert result.failure.message
        assert result.failure.error_type != "RuntimeWarning"
        assert result.forecast is None
    else:
        assert np.all(np.isfinite(result.forecast.mean))


@pytest.mark.parametrize("engine", ["skopt", "portfolio"])
@pytest.mark.parametrize("exponent", [-1000, -300, -40, 40, 300, 1000])
def test_the_unit_of_the_data_does_not_matter(exponent, engine):
    """Data in a unit of any power of two gives the same forecast in that unit, to the bit."""
    settings = dataclasses.replace(QUICK, rules=SearchRules(engine=engine, loss="mae"))
    plain, scaled = (
        run_entity(entity(airport() * unit), settings) for unit in (1.0, 2.0**exponent)
    )
    assert scaled.status is Status.OK
    np.testing.assert_array_equal(scaled.forecast.mean, plain.forecast.mean * 2.0**exponent)
    np.testing.assert_array_equal(scaled.forecast.hi, plain.forecast.hi * 2.0**exponent)
    assert scaled.scores.tune_loss == plain.scores.tune_loss * 2.0**exponent
    assert scaled.scores.cv_mase == plain.scores.cv_mase


# -- an ordinary entity -----------------------------------------------------------------------


def test_an_ordinary_entity_is_ok():
    """A tuned entity has its forms, scores, trials, checks and no failure."""
    result = run_entity(entity(airport(84), h=12), TaskSettings(SearchRules()))
    assert result.status is Status.OK
    assert result.model == result.params["forms"][0]["form"]
    assert {form["family"] for form in result.params["forms"]} == {"ets", "theta", "ces"}
    assert (result.n_obs, result.cutoff, result.stopped_by) == (84, 83, "trials")
    assert result.scores.n_windows == 3
    assert math.isfinite(result.scores.cv_mase)
    assert result.checks["windows"] == "3 of 3"
    assert result.checks["reproducible"] is True
    assert len(result.trials) == 24
    assert sum(trial.origin == "ask" for trial in result.trials) >= 12
    assert {trial.state for trial in result.trials} == {"complete"}
    for form in result.params["forms"]:
        assert set(form) == {"form", "family", "weight", "point", "params"}
        assert {"season", "power"} <= set(form["point"])
        assert form["params"]


def test_the_forecast_follows_growth_and_season():
    """On a clean series the forecast is close to how the series goes on."""
    y = airport(96)
    t = np.arange(96)
    clean = (200 + 2 * t) * (1 + 0.3 * np.sin(t * np.pi / 6))
    result = run_entity(entity(y[:84], h=12), TaskSettings(SearchRules()))
    np.testing.assert_allclose(result.forecast.mean, clean[84:], rtol=0.12)
    assert np.all(result.forecast.lo[1] < clean[84:])
    assert np.all(clean[84:] < result.forecast.hi[1])


def test_levels_are_rows_in_their_order():
    """One row for each level, as scipy's Student t has it from the same spread."""
    how = dataclasses.replace(PORTFOLIO, delivery=Delivery((50, 80, 95)))
    forecast = run_entity(entity(airport()), how).forecast
    half = (forecast.hi - forecast.lo) / 2
    widening = intervals.inflation(12)
    t = stats.t.ppf([0.75, 0.9, 0.975], widening.degrees)
    np.testing.assert_allclose(half[1] / half[0], t[1] / t[0], rtol=1e-9)
    np.testing.assert_allclose(half[2] / half[0], t[2] / t[0], rtol=1e-9)
    np.testing.assert_allclose((forecast.hi + forecast.lo) / 2, forecast.mean[None].repeat(3, 0))


def test_enough_windows_give_intervals_of_their_own_errors():
    """From four windows on 80 % is conformal, from nineteen on 95 % too; the recipe keeps them."""
    y = airport(180)
    few = run_entity(entity(y), dataclasses.replace(PORTFOLIO, cv_windows=3))
    some = run_entity(entity(y), dataclasses.replace(PORTFOLIO, cv_windows=4))
    many = run_entity(entity(y), dataclasses.replace(PORTFOLIO, cv_windows=19))
    assert "scores" not in few.params
    for result, n in ((some, 4), (many, 19)):
        assert [len(step) for step in result.params["scores"]] == [n] * 6
    half = (some.forecast.hi - some.forecast.lo) / 2
    ratio = half[1] / half[0]
    t = stats.t.ppf([0.9, 0.975], intervals.inflation(12).degrees)
    assert not np.allclose(ratio, t[1] / t[0], rtol=1e-3)
    widest = np.array([step[-1] for step in many.params["scores"]])
    third = np.array([step[15] for step in many.params["scores"]])
    half = (many.forecast.hi - many.forecast.lo) / 2
    np.testing.assert_allclose(half[1] / half[0], widest / third, rtol=1e-9)


@pytest.mark.parametrize("how", [QUICK, PORTFOLIO], ids=["skopt", "portfolio"])
def test_non_negative_data_can_stay_so(how):
    """A series that falls towards zero keeps above it, and no bound is cut where none is needed."""
    rng = np.random.default_rng(5)
    t = np.arange(72.0)
    y = np.maximum(70 - t, 1) * (1 + 0.3 * np.sin(t * np.pi / 6)) * rng.lognormal(0, 0.1, 72)
    free = run_entity(entity(y, h=12), how)
    kept = run_entity(entity(y, h=12), dataclasses.replace(how, delivery=NON_NEGATIVE))
    assert free.forecast.lo.min() < 0
    assert kept.forecast.mean.min() > 0
    assert kept.forecast.lo.min() > 0
    assert "positive" in kept.checks["non_negative"]
    assert "non_negative" not in free.checks
    assert np.all(kept.forecast.lo[1] <= kept.forecast.lo[0])
    assert np.all(kept.forecast.lo[0] <= kept.forecast.mean)
    assert np.all(kept.forecast.mean <= kept.forecast.hi[0])


def test_zeros_are_zeros_and_negatives_are_told():
    """With zeros bounds may be zero; data below zero is forecast freely, and the check says so."""
    how = dataclasses.replace(QUICK, delivery=NON_NEGATIVE)
    rare = np.where(np.arange(60) % 4 == 0, 5.0, 0.0) + np.arange(60) % 3
    found = run_entity(entity(rare), how)
    assert found.forecast.lo.min() == 0.0
    assert found.forecast.mean.min() >= 0
    assert "zeros" in found.checks["non_negative"]
    below = airport() - 250
    found, free = run_entity(entity(below), how), run_entity(entity(below), QUICK)
    assert found.forecast.lo.tobytes() == free.forecast.lo.tobytes()
    assert found.checks["non_negative"].startswith("not applied: ")
    assert f"{(below < 0).sum()} values are below zero" in found.checks["non_negative"]


def test_checks_judge_intervals_and_residuals():
    """Coverage is the share of the windows inside their intervals; residuals are tested."""
    result = run_entity(entity(airport(84), h=12), TaskSettings(SearchRules()))
    assert set(result.checks["coverage"]) == {"80", "95"}
    assert 0 <= result.checks["coverage"]["80"] <= result.checks["coverage"]["95"] <= 1
    assert 0 <= result.checks["ljung_box"] <= 1


def test_best_has_one_form():
    """With ``best`` the forecast is that of the lowest loss."""
    how = dataclasses.replace(QUICK, select="best")
    result = run_entity(entity(airport()), how)
    assert len(result.params["forms"]) == 1
    losses = [trial.tune_loss for trial in result.trials]
    assert result.trials[int(np.argmin(losses))].weight == 1.0


def test_seconds_and_attempt_are_stamped():
    """Each result says how long it took and which attempt it was."""
    for series in (entity(airport()), entity([1.0, 2.0]), refused()):
        [result] = run_batch([series], QUICK, attempt=3)
        assert result.attempt == 3
        assert 0 < result.seconds < 60
    assert run_entity(refused(), QUICK).attempt == 1


def test_an_entity_stopped_by_time_is_marked():
    """A budget that is spent at once leaves one trial, a forecast, and the mark."""
    how = TaskSettings(SearchRules(seconds=1e-9))
    result = run_entity(entity(airport()), how)
    assert (result.status, result.stopped_by, len(result.trials)) == (Status.OK, "time", 1)
    assert result.checks["reproducible"] is False


def test_the_id_and_the_seed_decide_the_search():
    """The same entity again is the same; under another id other points may be asked for."""
    one, again = (run_entity(entity(airport()), QUICK) for _ in range(2))
    assert content(one) == content(again)
    seeds = {
        entity_id: content(run_entity(entity(airport(), entity_id), QUICK)) for entity_id in "AB"
    }
    assert seeds["A"][0] != seeds["B"][0]


# -- fallbacks and failures -------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5])
def test_too_short_falls_back(n):
    """Below six observations the last one is carried on, with the reason."""
    y = np.array([3.0, 1.0, 4.0, 1.5, 5.0])[:n]
    result = run_entity(entity(np.append(y, [np.nan, np.nan])), QUICK)
    assert (result.status, result.model) == (Status.FALLBACK, "Naive")
    assert result.failure == Failure(
        "TooShort", f"expected at least 6 observations to tune a model, found {n}"
    )
    assert result.forecast.mean.tolist() == [y[-1]] * 6
    assert (result.trials, result.stopped_by, result.scores.n_windows) == ((), "", 0)


def test_short_with_whole_seasons_repeats_them():
    """Where a season is known the fallback repeats it."""
    result = run_entity(entity([3.0, 1.0, 4.0, 2.0, 5.0], m=2), QUICK)
    assert result.model == "SeasonalNaive"
    assert result.forecast.mean.tolist() == [2.0, 5.0] * 3


def test_a_fallback_has_the_intervals_of_its_walk():
    """Bounds are those of a random walk, widened as all are, growing with time."""
    forecast = run_entity(entity([1.0, 3.0, 1.0, 3.0]), QUICK).forecast
    reach = intervals.half_widths(2.0 * np.sqrt(np.arange(1, 7)), (80,), 12)[0]
    np.testing.assert_allclose(forecast.lo[0], 3.0 - reach)
    np.testing.assert_allclose(forecast.hi[0], 3.0 + reach)


@pytest.mark.parametrize("value", [5.0, 0.0, -1e-12])
def test_constants_fall_back_without_doubt(value):
    """A constant is carried on, with the reason and intervals of no width."""
    y = np.full(40, value)
    y[[3, 39]] = np.nan
    result = run_entity(entity(y), QUICK)
    assert (result.status, result.failure.error_type) == (Status.FALLBACK, "Constant")
    assert f"all 38 observations are {value:g}" in result.failure.message
    assert np.all(result.forecast.mean == value)
    assert np.all(result.forecast.lo == value)
    assert np.all(result.forecast.hi == value)


def test_what_reading_refused_has_failed():
    """The reason is the one that reading gave, repairs are told, nothing is forecast."""
    result = run_entity(refused(), QUICK)
    assert (result.status, result.failure) == (Status.FAILED, refused().problem)
    assert result.checks == {"repairs": ["noted"]}
    assert (result.forecast, result.model, result.n_obs) == (None, "", 0)


def test_no_observation_at_all_has_failed():
    """If nothing is observed the result says so, though reading let it through."""
    result = run_entity(entity([math.nan] * 9), QUICK)
    assert result.status is Status.FAILED
    assert "found 0" in result.failure.message


class Broken(Naive):
    """A family with a fault in it."""

    name = "broken"
    error: Exception = ValueError("a fault")
    where = "roll"

    def roll(self, view, point):
        """Fail, if it is here."""
        if self.where == "roll":
            raise self.error
        return super().roll(view, point)

    def finish(self, view, point, params=None):  # noqa: ARG002
        """Fail, if it is here."""
        raise self.error


@pytest.fixture
def broken(monkeypatch):
    """Register the broken family; give a function that says how it breaks."""
    monkeypatch.setitem(models._FAMILIES, "broken", Broken)
    task._families.cache_clear()

    def breaks(error, where="roll"):
        monkeypatch.setattr(Broken, "error", error)
        monkeypatch.setattr(Broken, "where", where)
        return dataclasses.replace(QUICK, models=("ets", "broken"))

    yield breaks
    task._families.cache_clear()


@pytest.mark.parametrize("where", ["roll", "finish"])
@pytest.mark.parametrize(
    "kind",
    [ValueError, KeyError, StopIteration, RecursionError, MemoryError, AssertionError, LinAlgError],
)
def test_a_fault_is_a_result_with_its_traceback(kind, where, broken):
    """Whatever a family raises, the entity has failed with type, message and traceback."""
    batch = [entity(airport(), "A"), entity([1.0, 2.0], "B"), refused("C"), entity(airport(), "D")]
    results = run_batch(batch, broken(kind("a fault"), where))
    assert [result.unique_id for result in results] == list("ABCD")
    failure = results[0].failure
    assert [result.status.value for result in results] == ["failed", "fallback", "failed", "failed"]
    assert failure.error_type == kind.__name__
    assert "a fault" in failure.message
    assert failure.traceback.startswith("Traceback (most recent call last)")
    assert f"in {where}" in failure.traceback
    assert results[0].forecast is None


def test_who_stops_the_process_is_not_stopped(broken):
    """An interrupt is no entity's trouble."""
    with pytest.raises(KeyboardInterrupt):
        run_entity(entity(airport()), broken(KeyboardInterrupt()))


def test_a_model_that_exits_has_failed(broken):
    """``sys.exit`` in the code of a model is the trouble of its entity, not the end of the run."""
    result = run_entity(entity(airport()), broken(SystemExit("enough")))
    assert result.status is Status.FAILED
    assert (result.failure.error_type, result.failure.message) == ("SystemExit", "enough")


class MuteError(Exception):
    """Cannot tell its text, nor be pickled."""

    def __str__(self):
        raise RuntimeError("no text")

    def __reduce__(self):
        raise RuntimeError("no pickle")


class CancelledError(BaseException):
    """No Exception, as those of asyncio are."""


@pytest.mark.parametrize(
    "error", [GeneratorExit(), MuteError(), CancelledError("gone"), StopIteration()]
)
def test_whatever_a_model_raises_is_the_trouble_of_its_entity(broken, error):
    """Also what is no Exception, and what cannot be pickled or even told."""
    result = run_entity(entity(airport()), broken(error))
    assert result.status is Status.FAILED
    assert result.failure.error_type == type(error).__name__
    assert pickle.loads(pickle.dumps(result)).failure == result.failure
    assert "Traceback" in result.failure.traceback


def test_an_endless_message_is_kept_at_both_ends(broken):
    """The row of an entity stays small, and says how much it leaves out."""
    result = run_entity(entity(airport()), broken(RuntimeError("a" * 10**7 + "end")))
    for text in (result.failure.message, result.failure.traceback):
        assert len(text) < 50_000
        assert text.strip().endswith("end")
        assert "characters are left out" in text
    assert "9,960,003 characters" in result.failure.message


def test_who_presses_the_keys_stops_the_run(broken):
    """Ctrl-C is no trouble of an entity."""
    with pytest.raises(KeyboardInterrupt):
        run_entity(entity(airport()), broken(KeyboardInterrupt()))


def test_an_expected_failure_of_one_family_leaves_the_others(broken):
    """A family that says it cannot is a failed trial; the entity is well without it."""
    result = run_entity(entity(airport()), broken(EntityError("cannot")))
    assert result.status is Status.OK
    assert [trial.model for trial in result.trials if trial.state == "failed"] == ["Broken"]
    assert all(math.isnan(t.tune_loss) == (t.state == "failed") for t in result.trials)


def test_an_entity_that_no_family_can_model_falls_back(broken):
    """If no form can be fitted the entity falls back, with the reason and without a traceback."""
    how = dataclasses.replace(broken(EntityError("cannot")), models=("broken",))
    result = run_entity(entity(airport()), how)
    assert (result.status, result.model) == (Status.FALLBACK, "SeasonalNaive")
    assert result.failure == Failure(
        "EntityError",
        "none of the 1 forms tried could be fitted and keeps within reach of the past",
    )


def test_a_forecast_that_is_no_number_is_no_forecast(monkeypatch):
    """A fallback beyond all numbers is a failure that names the entity."""

    def forecast(_self, _past, view):
        return np.full(view.h, math.inf), np.ones(view.h)

    monkeypatch.setattr(Naive, "forecast", forecast)
    result = run_entity(entity([1.0, 2.0]), QUICK)
    assert result.status is Status.FAILED
    assert "'JFK' fails the checks finite" in result.failure.message


# -- around it --------------------------------------------------------------------------------


@pytest.mark.parametrize("falls_back", [False, True])
def test_what_no_model_follows_is_a_check_and_a_warning(falls_back, monkeypatch):
    """A shock is told in the checks and logged with the entity, of a tuned one and a fallback."""
    y = airport(96)
    y[60:70] *= 0.1
    if falls_back:
        monkeypatch.setattr(task, "_unfit", lambda *_: Failure("Unfit", "for a test"))
    with logs.capture() as records:
        result = run_entity(entity(y), PORTFOLIO)
    assert result.status == (Status.FALLBACK if falls_back else Status.OK)
    [told] = result.checks["not_modelled"]
    assert told.startswith("shock: 60 to 69 (10 steps)")
    found = [r for r in records if r["message"] == told]
    assert [(r["entity"], r["level"]) for r in found] == [("JFK", "WARNING")]


def test_the_log_names_the_entity():
    """What is logged is tied to its entity: a warning for a fallback, an error for a failure."""
    with logs.capture() as records:
        run_batch([entity([1.0, 2.0], "B"), refused("C"), entity(airport(), "A")], QUICK)
    told = {(r["entity"], r["level"]) for r in records if r["logger"] == "daskcast.task"}
    assert {("B", "WARNING"), ("C", "ERROR")} <= told
    assert not [pair for pair in told if pair[0] == "A" and pair[1] != "DEBUG"]


def test_settings_are_those_of_the_config():
    """Every option that decides a forecast reaches the task."""
    config = ForecastConfig(
        h=6, search="portfolio", trials=7, search_seconds=1.5, loss="smape", seed=9,
        models=("naive", "ets"), level=(50,), cv_windows=5, step_size=2, select="best",
        non_negative=True,
    )  # fmt: skip
    found = TaskSettings.of(config)
    rules = SearchRules(engine="portfolio", trials=7, seconds=1.5, loss="smape", seed=9)
    assert found == TaskSettings(rules, ("naive", "ets"), Delivery((50,), True), 5, 2, "best")
    assert TaskSettings.of(ForecastConfig(h=6)) == TaskSettings(SearchRules())
    assert pickle.loads(pickle.dumps(found)) == found


def test_windows_are_those_asked_for():
    """The number of windows and their step reach the scores."""
    how = dataclasses.replace(PORTFOLIO, cv_windows=5, step_size=1)
    assert run_entity(entity(airport()), how).scores.n_windows == 5
    how = dataclasses.replace(PORTFOLIO, cv_windows=5, step_size=20)
    assert run_entity(entity(airport()), how).scores.n_windows == 2
    none = run_entity(entity(airport()), dataclasses.replace(PORTFOLIO, cv_windows=0))
    assert (none.status, none.scores.n_windows) == (Status.OK, 0)
    assert none.checks["windows"] == "none wanted"


def test_warming_up_touches_every_kernel(caplog):
    """Warming up says nothing and leaves no kernel to be compiled by an entity."""
    with caplog.at_level(logging.DEBUG, logger="daskcast"):
        warm_up()
    assert not caplog.records
    kernels = [one for one in vars(models.kernels).values() if hasattr(one, "signatures")]
    before = [len(one.signatures) for one in kernels]
    run_batch([entity(airport()), entity(airport(40) - 300), entity(np.arange(30.0))], PORTFOLIO)
    run_batch([entity(airport(), m=1), entity(airport()[::2], m=4)], QUICK)
    assert [len(one.signatures) for one in kernels] == before


def test_an_empty_batch_is_no_trouble():
    """Nothing in, nothing out."""
    assert run_batch([], QUICK) == []


def test_the_families_are_looked_up_by_name():
    """A task gets the families of its settings."""
    [family] = task._families(("ets",))
    assert isinstance(family, ETS)


def test_weights_beyond_numbers_are_a_fallback():
    """Losses whose square overflows weigh nothing: the entity falls back and says so."""
    y = 10.0 ** np.random.default_rng(5).integers(-200, 200, 60)
    how = TaskSettings(SearchRules(trials=6, loss="mae"), models=("ets",))
    result = run_entity(entity(y, h=3, m=4), how)
    assert result.status is Status.FALLBACK
    assert result.failure.error_type == "EntityError"
