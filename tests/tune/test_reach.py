"""How far a forecast may leave its history."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskcast.tune.reach import Reach


def bounds(y, h):
    """Give the reach of a past as three numbers."""
    reach = Reach.of(y, h)
    return reach.low, reach.high, reach.sd


def within(y, mean, sd=None):
    """Tell whether one forecast keeps within reach of a past."""
    return bool(Reach.of(y, len(mean)).holds(mean, sd))


@given(
    n=st.integers(6, 200),
    h=st.integers(1, 60),
    scale=st.floats(1e-3, 1e6),
    shift=st.floats(-1e6, 1e6),
    seed=st.integers(0, 99),
)
def test_the_rule_is_the_same_in_other_units(n, h, scale, shift, seed):
    """Units and origin of the data do not matter."""
    y = np.random.default_rng(seed).normal(size=n)
    plain, moved = np.array(bounds(y, h)), np.array(bounds(shift + scale * y, h))
    assert moved[:2] == pytest.approx(shift + scale * plain[:2], rel=1e-6, abs=1e-6 * abs(shift))
    assert moved[2] == pytest.approx(scale * plain[2], rel=1e-6, abs=1e-6 * abs(shift))


def test_the_range_and_the_horizon_decide():
    """Up to a quarter of the past one range more is allowed, then as much more as it is longer."""
    y = np.array([0.0, 10.0] * 20)
    assert bounds(y, 10) == (-10.0, 20.0, 10.0)
    assert bounds(y, 20) == (-20.0, 30.0, 20.0)


def test_each_side_and_the_spread_count():
    """A step below, a step above, a wide step and a step that is no number are all out."""
    y, fine = np.array([0.0, 10.0, np.nan, 5.0] * 5), np.full(3, 5.0)
    assert within(y, fine, np.ones(3))
    assert within(y, fine)
    for step in (-10.1, 20.1, np.nan, np.inf):
        assert not within(y, np.array([5.0, step, 5.0]), np.ones(3))
    for step in (10.1, np.nan, np.inf):
        assert not within(y, fine, np.array([1.0, step, 1.0]))


def test_many_forecasts_are_told_apart_at_once():
    """Leading axes are kept: one answer for each forecast."""
    means = np.array([[[5.0, 5.0], [5.0, 99.0]], [[np.nan, 5.0], [-9.0, 9.0]]])
    found = Reach.of(np.array([0.0, 10.0] * 20), 2).holds(means)
    assert found.tolist() == [[True, False], [False, True]]
