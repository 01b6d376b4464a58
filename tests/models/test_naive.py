"""Baselines against closed forms, slow loops and statsmodels' textbook variances."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskcast.errors import EntityError
from daskcast.models import Drift, Naive, SeasonalNaive, view_of
from daskcast.testing import ModelContract

FAMILIES = [Naive, SeasonalNaive, Drift]


class TestNaive(ModelContract):
    """The last observation."""

    @pytest.fixture
    def family(self):
        return Naive()


class TestSeasonalNaive(ModelContract):
    """The last observation of the same season."""

    @pytest.fixture
    def family(self):
        return SeasonalNaive()


class TestDrift(ModelContract):
    """The line through the first and the last observation."""

    @pytest.fixture
    def family(self):
        return Drift()


@st.composite
def holed_series(draw) -> np.ndarray:
    """Draw a series with at least one observation, some missing."""
    values = st.floats(-1e6, 1e6, allow_nan=False)
    observed = draw(st.lists(st.one_of(values, st.just(math.nan)), max_size=40))
    at = draw(st.integers(0, len(observed)))
    return np.array([*observed[:at], draw(values), *observed[at:]])


def finish(family, y, m=1, h=5):
    """Fit the one point that there is."""
    return family.finish(view_of(np.asarray(y, dtype=float), m, h), {"form": "baseline"})


@given(y=holed_series(), h=st.integers(1, 30))
def test_naive_is_a_random_walk_with_gaps(y, h):
    """The mean is the last observation; the variance grows by that of one step, from there on."""
    fitted = finish(Naive(), y, h=h)
    seen = [(t, v) for t, v in enumerate(y) if not math.isnan(v)]
    squares = [(b - a) ** 2 / (t - s) for (s, a), (t, b) in pairwise(seen)]
    for k in range(h):
        assert fitted.mean[k] == seen[-1][1]
        steps = len(y) + k - seen[-1][0]
        expected = math.sqrt(sum(squares) / len(squares) * steps) if squares else math.nan
        np.testing.assert_allclose(fitted.sd[k], expected, rtol=1e-9, atol=1e-12)


@given(y=holed_series(), m=st.integers(1, 13), h=st.integers(1, 30))
def test_seasonal_naive_takes_the_latest_of_its_season(y, m, h):
    """Mean and variance are those of the latest observation of the same season, found by a loop."""
    fitted = finish(SeasonalNaive(), y, m, h)
    seen = [t for t, v in enumerate(y) if not math.isnan(v)]
    squares = [(y[t] - y[t - m]) ** 2 for t in seen if t - m in seen]
    for k in range(h):
        ahead = len(y) + k
        same = [t for t in seen if (ahead - t) % m == 0]
        assert fitted.mean[k] == y[same[-1] if same else seen[-1]]
        if squares and same:
            expected = math.sqrt(sum(squares) / len(squares) * (ahead - same[-1]) / m)
            np.testing.assert_allclose(fitted.sd[k], expected, rtol=1e-9, atol=1e-12)
        assert fitted.sd[k] >= 0 or not squares


@given(y=holed_series(), h=st.integers(1, 30))
def test_drift_is_the_line_through_first_and_last(y, h):
    """The mean lies on the line through the first and the last observation."""
    fitted = finish(Drift(), y, h=h)
    seen = [t for t, v in enumerate(y) if not math.isnan(v)]
    first, last = seen[0], seen[-1]
    slope = (y[last] - y[first]) / (last - first) if last > first else 0.0
    line = [y[last] + slope * (len(y) + k - last) for k in range(h)]
    np.testing.assert_allclose(fitted.mean, line, rtol=1e-12, atol=1e-6)


def test_drift_has_the_variance_of_the_textbook(rng):
    """Its variance is ``s2 h (1 + h / (T - 1))``, s2 that of the steps around their mean."""
    y = np.cumsum(rng.normal(2.0, 3.0, 50))
    steps = np.diff(y)
    h = np.arange(1.0, 9.0)
    expected = np.mean((steps - steps.mean()) ** 2) * h * (1.0 + h / 49.0)
    np.testing.assert_allclose(finish(Drift(), y, h=8).sd ** 2, expected, rtol=1e-12)


def test_a_straight_line_drifts_without_doubt():
    """On a straight line with holes, drift is exact and its spread is nothing."""
    y = np.array([np.nan, 3.0, np.nan, 7.0, 9.0, np.nan])
    fitted = finish(Drift(), y, h=3)
    np.testing.assert_allclose(fitted.mean, [13.0, 15.0, 17.0])
    np.testing.assert_allclose(fitted.sd, 0.0, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_variance_is_that_of_simulated_walks(family, rng):
    """At the end of random walks of its own kind, the spread is that of what then comes."""
    m = 4 if family is SeasonalNaive else 1
    lag = m
    steps = rng.normal(0.0, 2.0, (4000, 68))
    walks = steps.copy()
    for t in range(lag, 68):
        walks[:, t] += walks[:, t - lag]
    found = [finish(family(), walk[:60], m, 8) for walk in walks]
    errors = walks[:, 60:] - np.array([one.mean for one in found])
    spread = np.sqrt(np.mean([one.sd**2 for one in found], axis=0))
    np.testing.assert_allclose(spread, errors.std(axis=0), rtol=0.06)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_learned_of_one_observation(family):
    """With one observation the mean is that value, and the spread is not known."""
    fitted = finish(family(), [np.nan, 7.0, np.nan], m=2)
    assert fitted.mean.tolist() == [7.0] * 5
    assert np.all(np.isnan(fitted.sd))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("y", [[], [np.nan], [np.nan] * 9])
def test_no_observation_is_refused(family, y):
    """Without an observation there is no forecast, and the message says so."""
    with pytest.raises(EntityError, match="expected at least one observation, found none"):
        finish(family(), y, m=3)


@pytest.mark.parametrize("family", FAMILIES)
def test_there_is_one_point_without_a_likelihood(family):
    """A baseline has one point, its own name, and no AICc."""
    view = view_of(np.arange(30.0), 4, 3, np.array([20, 24]))
    [point] = family().space(view).points
    assert family().label(point) == family.__name__
    assert np.all(np.isnan(family().roll(view, point).aicc))
    assert math.isnan(family().finish(view, point).aicc)
