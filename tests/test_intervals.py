"""Intervals against scipy, by rank, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from daskcast import intervals

LEVELS = st.lists(st.floats(1, 99.9), min_size=1, max_size=5, unique=True).map(sorted)
SIZES = st.lists(st.floats(1e-6, 1e6), min_size=4, max_size=4).map(np.array)
SEASONS = st.sampled_from([1, 2, 4, 5, 7, 12, 24, 52])


@given(levels=LEVELS, m=SEASONS, h=st.integers(1, 40))
def test_widths_are_scipys_t_scaled(levels, m, h):
    """Without windows half widths are quantiles of Student's t times a scale that never falls."""
    sd = np.linspace(1.0, 2.0, h)
    widening = intervals.inflation(m)
    found = intervals.half_widths(sd, levels, m)
    assert found.shape == (len(levels), h)
    scale = widening.scale(h)
    for row, level in zip(found, levels, strict=True):
        t = stats.t.ppf(0.5 + level / 200, widening.degrees)
        np.testing.assert_allclose(row, t * scale * sd, rtol=1e-9)
    assert np.all(np.diff(scale) >= 0)
    assert np.all(np.diff(scale[intervals.LAST_STEP - 1 :]) == 0)


@given(levels=LEVELS, m=SEASONS, sd=SIZES, data=st.data())
def test_wider_levels_hold_narrower_ones(levels, m, sd, data):
    """Whatever the windows said, a higher level is never narrower, and all widths are positive."""
    errors = st.lists(st.floats(0, 1e3), max_size=30).map(sorted)
    known = data.draw(st.lists(errors, max_size=4))
    widths = intervals.half_widths(sd, levels, m, known)
    assert np.all(np.diff(widths, axis=0) >= 0)
    assert np.all(widths >= 0)


@pytest.mark.parametrize(
    ("level", "n", "conformal"),
    [(80, 3, False), (80, 4, True), (95, 18, False), (95, 19, True), (50, 4, True)],
)
def test_a_level_needs_its_number_of_errors(level, n, conformal):
    """80 % needs 4 errors a step, 95 % needs 19; with fewer the model's spread is used."""
    errors = [1000.0 + i for i in range(n)]
    [[width]] = intervals.half_widths(np.array([2.0]), (level,), 12, [errors])
    rank = math.ceil((n + 1) * level / 100)
    assert (width == 2.0 * errors[min(rank, n) - 1]) == conformal
    if not conformal:
        assert width < 100


@given(n=st.integers(4, 40), level=st.sampled_from([50, 80, 90, 95]))
def test_conformal_widths_cover_new_errors(n, level):
    """Of exchangeable errors the next lies inside with at least the level's chance."""
    rng = np.random.default_rng(n)
    if math.ceil((n + 1) * level / 100) > n:
        return
    draws = np.abs(rng.standard_t(2, (4000, n + 1)))
    inside = [
        one[-1] <= intervals.half_widths(np.ones(1), (level,), 12, [sorted(one[:-1])])[0, 0]
        for one in draws[:1500]
    ]
    assert np.mean(inside) >= level / 100 - 0.035


def test_errors_on_windows_are_kept_from_four_on(rng):
    """Absolute errors in standard deviations, sorted, by step; unknown ones are left out."""
    truth, mean, sd = rng.normal(size=(3, 5, 2))
    sd = np.abs(sd) + 0.1
    truth[1, 0] = np.nan
    found = intervals.scores(truth, mean, sd)
    z = np.abs(truth - mean) / sd
    assert [len(step) for step in found] == [4, 5]
    np.testing.assert_allclose(found[0], sorted(np.delete(z[:, 0], 1)))
    np.testing.assert_allclose(found[1], sorted(z[:, 1]))
    assert intervals.scores(truth[:3], mean[:3], sd[:3]) == ()


def test_no_spread_and_an_unknown_one():
    """Without spread the bounds are the mean; with an unknown one they are unknown."""
    for sd, expected in ((0.0, 5.0), (math.nan, math.nan)):
        widths = intervals.half_widths(np.array([sd]), (80,), 12)
        lo, hi = intervals.bounds(np.array([5.0]), widths)
        np.testing.assert_array_equal([lo, hi], [[[expected]], [[expected]]])


MEANS = st.lists(st.floats(1e-6, 1e6), min_size=4, max_size=4).map(np.array)


@given(mean=MEANS, sd=SIZES, levels=LEVELS)
def test_positive_bounds_are_even_on_logs(mean, sd, levels):
    """Above zero, around the mean, as wide as asked for, with the same ratio on both sides."""
    widths = intervals.half_widths(sd, levels, 12)
    lo, hi = intervals.positive_bounds(mean, widths)
    assert np.all(lo > 0)
    assert np.all(lo <= mean * (1 + 1e-12))
    assert np.all(mean <= hi)
    np.testing.assert_allclose(hi / mean, mean / lo, rtol=1e-9)
    np.testing.assert_allclose(hi - lo, 2 * widths, rtol=1e-9, atol=1e-12 * mean.max())
    assert np.all(np.diff(lo, axis=0) <= 0)


@given(mean=MEANS, sd=SIZES, levels=LEVELS)
def test_censored_bounds_end_at_zero(mean, sd, levels):
    """Bounds are the even ones where these are not below zero, and zero there."""
    widths = intervals.half_widths(sd, levels, 12)
    lo, hi = intervals.censored_bounds(mean, widths)
    even = intervals.bounds(mean, widths)
    np.testing.assert_array_equal(hi, even[1])
    np.testing.assert_array_equal(lo, np.where(even[0] < 0, 0.0, even[0]))


def test_narrow_positive_bounds_are_the_even_ones():
    """Far from zero both kinds of bounds are alike."""
    mean, widths = np.array([1000.0]), np.array([[1.0]])
    for one, other in zip(
        intervals.positive_bounds(mean, widths), intervals.bounds(mean, widths), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6)
