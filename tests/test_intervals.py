"""Intervals against scipy and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from daskcast import intervals

LEVELS = st.lists(st.floats(0.5, 99.9), min_size=1, max_size=5, unique=True).map(sorted)


@given(levels=LEVELS, data=st.data(), h=st.integers(1, 8))
def test_bounds_are_scipys(levels, data, h):
    """Bounds are the central quantiles of the normal distribution, one row for each level."""
    mean = np.array(data.draw(st.lists(st.floats(-1e6, 1e6), min_size=h, max_size=h)))
    sd = np.array(data.draw(st.lists(st.floats(0.01, 1e6), min_size=h, max_size=h)))
    lo, hi = intervals.normal(mean, sd, tuple(levels))
    assert lo.shape == hi.shape == (len(levels), h)
    for row, level in enumerate(levels):
        expected = stats.norm.interval(level / 100, mean, sd)
        np.testing.assert_allclose(lo[row], expected[0], rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(hi[row], expected[1], rtol=1e-9, atol=1e-6)


@given(levels=LEVELS)
def test_wider_levels_hold_narrower_ones(levels):
    """Bounds hold the mean, and those of a higher level hold those of a lower one."""
    mean, sd = np.array([5.0, -3.0, 0.0]), np.array([1.0, 0.0, 1e9])
    lo, hi = intervals.normal(mean, sd, tuple(levels))
    assert np.all(lo <= mean)
    assert np.all(mean <= hi)
    assert np.all(np.diff(lo, axis=0) <= 0)
    assert np.all(np.diff(hi, axis=0) >= 0)


def test_levels_cover_what_they_say(rng):
    """Of normal draws, 80 % and 95 % lie inside."""
    lo, hi = intervals.normal(np.array([10.0]), np.array([2.0]), (80, 95))
    draws = rng.normal(10.0, 2.0, 100_000)
    inside = [np.mean((draws >= low) & (draws <= high)) for low, high in zip(lo, hi, strict=True)]
    np.testing.assert_allclose(inside, [0.80, 0.95], atol=0.005)


@pytest.mark.parametrize(("sd", "expected"), [(0.0, 5.0), (math.nan, math.nan)])
def test_no_spread_and_an_unknown_one(sd, expected):
    """Without spread the bounds are the mean; with an unknown one they are unknown."""
    lo, hi = intervals.normal(np.array([5.0]), np.array([sd]), (80,))
    np.testing.assert_array_equal([lo, hi], [[[expected]], [[expected]]])
