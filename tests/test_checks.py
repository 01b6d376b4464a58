"""What is verified and noted of each entity."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from statsmodels.stats.diagnostic import acorr_ljungbox

from daskcast import checks
from daskcast.records import Forecast, Scores, Series


def series(y=(1.0, math.nan, 3.0, math.nan), **other):
    """Give an entity."""
    return Series("JFK", np.array(y), 3, np.arange(4, 16), "1", 12, **other)


def checked(one=None, scores=None, **other):
    """Check an entity that is in order but for what is given."""
    options = {
        "wanted_windows": 3,
        "needed": 25,
        "scaled": True,
        "stopped_by": "trials",
        **other,
    }
    return checks.check_entity(one or series(), scores or Scores(n_windows=3, skill=0.1), **options)


def test_names_are_fixed_and_json_takes_them():
    """Names are those that other people's scripts read; values are JSON's own."""
    found = checked()
    assert sorted(found) == [
        "beats_seasonal_naive", "missing", "not_modelled", "repairs", "reproducible",
        "scale_defined", "windows",
    ]  # fmt: skip
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(("skill", "expected"), [(0.1, True), (-0.1, False), (0.0, False)])
def test_skill_beats_the_baseline(skill, expected):
    """A skill above zero beats the seasonal naive forecast."""
    assert checked(scores=Scores(3, skill=skill))["beats_seasonal_naive"] is expected


def test_without_a_skill_nobody_knows():
    """An unknown skill is null, not a defeat."""
    assert checked(scores=Scores(3))["beats_seasonal_naive"] is None


def test_missing_and_repairs_are_told():
    """Missing observations are counted, repairs listed as they were noted."""
    assert checked()["missing"] == 2
    assert checked(series((1.0, 2.0)))["missing"] == 0
    assert checked(series(repairs=("2 duplicates summed",)))["repairs"] == ["2 duplicates summed"]


@pytest.mark.parametrize(
    ("stopped_by", "expected"), [("trials", True), ("exhausted", True), ("", True), ("time", False)]
)
def test_a_time_limit_is_not_reproducible(stopped_by, expected):
    """Only an entity stopped by time is marked."""
    assert checked(stopped_by=stopped_by)["reproducible"] is expected


@pytest.mark.parametrize(
    ("n_windows", "scaled", "expected"), [(3, True, True), (1, False, False), (0, False, None)]
)
def test_a_scale_is_known_where_there_are_windows(n_windows, scaled, expected):
    """Without a window it is not known whether the scale is defined."""
    found = checked(scores=Scores(n_windows), scaled=scaled)["scale_defined"]
    assert found is expected


def test_windows_are_counted_against_those_wanted():
    """How many windows there were, of how many; with none, why."""
    assert checked()["windows"] == "3 of 3"
    assert checked(scores=Scores(1))["windows"] == "1 of 3"
    assert checked(scores=Scores(0), wanted_windows=0)["windows"] == "none wanted"
    assert checked(scores=Scores(0), needed=None)["windows"] == "none: nothing was tuned"
    reason = checked(scores=Scores(0))["windows"]
    assert reason.startswith("none")
    for number in ("25", "12", "4"):
        assert number in reason


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_one_wrong_step_is_enough(wrong):
    """A forecast is finite only if each step is."""
    assert checks.finite(np.array([1.0, 2.0]))
    assert not checks.finite(np.array([1.0, wrong]))


# -- hard checks -----------------------------------------------------------------------------


def forecast(**other):
    """Give a forecast that is in order but for what is given."""
    mean = np.arange(12.0)
    wide = np.arange(1.0, 3.0)[:, None]
    parts = {"times": np.arange(4, 16), "mean": mean, "lo": mean - wide, "hi": mean + wide}
    return Forecast(**{**parts, **other})


def test_a_sound_forecast_breaks_nothing():
    """Finite, nested, on its dates, within reach."""
    assert checks.broken(series(), forecast(), within_reach=True) == []


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"mean": np.full(12, math.inf)}, "finite"),
        ({"lo": np.full((2, 12), math.nan)}, "finite"),
        ({"lo": np.arange(12.0) + np.ones((2, 1))}, "nested"),
        ({"hi": np.arange(12.0) + np.array([[2.0], [1.0]])}, "nested"),
        ({"times": np.arange(3, 15)}, "dates"),
        ({"times": np.array([4, 5, 5, *range(6, 15)])}, "dates"),
        ({"times": np.arange(4, 15)}, "dates"),
    ],
)
def test_what_is_broken_is_named(other, name):
    """Each hard check finds its own trouble."""
    assert name in checks.broken(series(), forecast(**other), within_reach=True)
    assert checks.broken(series(), forecast(), within_reach=False) == ["growth"]


@pytest.mark.parametrize("m", [1, 4, 12])
@pytest.mark.parametrize("pattern", [0.0, 0.7])
def test_ljung_box_is_that_of_statsmodels(m, pattern, rng):
    """The p value is that of statsmodels' test for the same lags, and small for a pattern."""
    noise = rng.normal(size=150)
    residuals = noise.copy()
    for t in range(1, 150):
        residuals[t] += pattern * residuals[t - 1]
    lags = min(2 * m if m > 1 else 10, 30)
    expected = acorr_ljungbox(residuals, lags=[lags])["lb_pvalue"].iloc[0]
    found = checks.ljung_box(residuals, m)
    assert found == pytest.approx(expected, rel=1e-9)
    assert (found < 0.01) == (pattern > 0)


@pytest.mark.parametrize("residuals", [np.zeros(40), np.arange(3.0), np.full(20, math.nan)])
def test_without_residuals_nothing_is_tested(residuals):
    """Too few, or none that differ: null."""
    assert checks.ljung_box(residuals, 12) is None


def test_coverage_counts_what_is_known():
    """The share inside, by level, of the values that came."""
    truth = np.array([[1.0, 5.0, math.nan], [9.0, 2.0, 3.0]])
    lo, hi = np.zeros((2, 2, 3)), np.ones((2, 2, 3)) * np.array([[3.0], [6.0]])
    assert checks.coverage(truth, lo, hi, (80.0, 97.5)) == {"80": 0.6, "97.5": 0.8}
    assert checks.coverage(truth * math.nan, lo, hi, (80.0,)) is None
