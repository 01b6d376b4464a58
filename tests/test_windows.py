"""Cutoffs: properties that hold for any series."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskcast.windows import cutoffs


@st.composite
def asked(draw):
    """Draw a series with holes and what is asked of its windows."""
    known = draw(st.lists(st.booleans(), min_size=1, max_size=120))
    y = np.where(known, 1.0 + np.arange(len(known)), np.nan)
    y[0] = 1.0
    return y, {
        "h": draw(st.integers(1, 30)),
        "n_windows": draw(st.integers(0, 6)),
        "step_size": draw(st.none() | st.integers(1, 20)),
        "least": draw(st.integers(1, 40)),
    }


@given(asked())
def test_windows_hold(case):
    """Cutoffs ascend, each window is whole, has truth to score and enough observations before."""
    y, options = case
    places = cutoffs(y, **options)
    assert places.dtype == np.int64
    assert len(places) <= options["n_windows"]
    assert places.tolist() == sorted(set(places.tolist()))
    for place in places:
        assert np.count_nonzero(~np.isnan(y[:place])) >= options["least"]
        window = y[place : place + options["h"]]
        assert len(window) == options["h"]
        assert not np.all(np.isnan(window))


@given(asked())
def test_steps_are_those_asked_for(case):
    """Cutoffs lie a whole number of steps before the last one that is possible."""
    y, options = case
    places = cutoffs(y, **options)
    if len(places) and options["step_size"]:
        back = (len(y) - options["h"] - places) // options["step_size"]
        np.testing.assert_array_equal(len(y) - options["h"] - back * options["step_size"], places)
        assert back.max() < options["n_windows"]


@given(asked())
def test_no_window_that_holds_is_left_out(case):
    """With a step, the windows found are all of those wanted that hold, by a plain loop."""
    y, options = case
    h, step = options["h"], options["step_size"] or 3
    expected = []
    for k in range(options["n_windows"]):
        place = len(y) - h - k * step
        past, truth = y[: max(place, 0)], y[max(place, 0) :][:h]
        enough = np.count_nonzero(~np.isnan(past)) >= options["least"]
        if place > 0 and enough and not np.all(np.isnan(truth)):
            expected.insert(0, place)
    assert cutoffs(y, **{**options, "step_size": step}).tolist() == expected


@given(asked())
def test_without_a_step_a_full_series_has_as_many_as_it_can(case):
    """Without holes and without a step: no overlap if long enough, else closer, at least by one."""
    y, options = case
    y = 1.0 + np.arange(float(len(y)))
    n, h, least = options["n_windows"], options["h"], options["least"]
    places = cutoffs(y, **{**options, "step_size": None})
    room = len(y) - h - least
    assert len(places) == (0 if room < 0 else min(n, room + 1))
    if len(places):
        assert places[-1] == len(y) - h
    if n > 1 and len(places) > 1:
        expected = h if room >= (n - 1) * h else max(room // (n - 1), 1)
        assert set(np.diff(places).tolist()) == {expected}


@given(asked())
def test_the_series_is_not_changed(case):
    """What is asked leaves the values alone, and values do not matter, only which are missing."""
    y, options = case
    kept = y.copy()
    places = cutoffs(y, **options)
    np.testing.assert_array_equal(y, kept)
    np.testing.assert_array_equal(cutoffs(-7.0 * y, **options), places)


@pytest.mark.parametrize(
    ("n_windows", "step_size", "expected"),
    [
        (3, None, [24, 36, 48]),
        (4, None, [24, 32, 40, 48]),
        (1, None, [48]),
        (0, None, []),
        (3, 1, [46, 47, 48]),
        (3, 20, [28, 48]),
        (3, 25, [48]),
    ],
)
def test_by_hand(n_windows, step_size, expected):
    """Sixty months, a year ahead, two years at least before the first."""
    y = np.arange(60.0)
    found = cutoffs(y, 12, n_windows=n_windows, step_size=step_size, least=24)
    assert found.tolist() == expected


def test_a_window_without_truth_is_left_out():
    """Where a whole window is missing, the other windows stay where they are."""
    y = np.arange(60.0)
    y[36:48] = math.nan
    assert cutoffs(y, 12, n_windows=3, step_size=None, least=24).tolist() == [24, 48]


def test_missing_observations_move_the_first_window():
    """Observations count, not steps."""
    y = np.arange(60.0)
    y[1:7] = math.nan
    assert cutoffs(y, 12, n_windows=4, step_size=None, least=24).tolist() == [30, 36, 42, 48]
    y[:] = math.nan
    assert len(cutoffs(y, 12, n_windows=3, step_size=None, least=1)) == 0
