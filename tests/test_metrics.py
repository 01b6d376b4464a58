"""Errors and scales against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskcast import metrics

VALUES = st.one_of(st.just(0.0), st.floats(1e-3, 1e6), st.floats(-1e6, -1e-3))


@st.composite
def windows(draw):
    """Draw forecasts [K, W, H] and a truth [W, H] with holes, at least one value in each window."""
    k, w, h = (draw(st.integers(1, n)) for n in (3, 4, 6))
    size = k * w * h
    forecasts = np.array(draw(st.lists(VALUES, min_size=size, max_size=size))).reshape(k, w, h)
    truth = np.array(draw(st.lists(VALUES, min_size=w * h, max_size=w * h))).reshape(w, h)
    holes = np.array(draw(st.lists(st.booleans(), min_size=w * h, max_size=w * h))).reshape(w, h)
    holes[:, draw(st.integers(0, h - 1))] = False
    return forecasts, np.where(holes, np.nan, truth)


def slow(forecasts, truth, error):
    """Average the errors of each window over the values that are known."""
    result = np.empty(forecasts.shape[:2])
    for k, of_point in enumerate(forecasts):
        for w, window in enumerate(of_point):
            pairs = zip(window, truth[w], strict=True)
            errors = [error(f, a) for f, a in pairs if not math.isnan(a)]
            result[k, w] = sum(errors) / len(errors)
    return result


ERRORS = {
    "mae": lambda f, a: abs(f - a),
    "mse": lambda f, a: (f - a) ** 2,
    "smape": lambda f, a: 200 * abs(f - a) / (abs(f) + abs(a)) if abs(f) + abs(a) else 0.0,
}


@pytest.mark.parametrize("name", ERRORS)
@given(windows())
def test_errors_are_those_of_plain_loops(name, case):
    """Each error is the mean over the known values, for one set of windows or several."""
    forecasts, truth = case
    found = getattr(metrics, name)(forecasts, truth)
    np.testing.assert_allclose(found, slow(forecasts, truth, ERRORS[name]), rtol=1e-12, atol=1e-9)
    np.testing.assert_array_equal(getattr(metrics, name)(forecasts[0], truth), found[0])


@given(windows())
def test_smape_lies_between_nothing_and_200(case):
    """It is 0 for the truth itself and never above 200."""
    forecasts, truth = case
    found = metrics.smape(forecasts, truth)
    assert np.all((found >= 0) & (found <= 200 + 1e-9))
    np.testing.assert_array_equal(metrics.smape(np.nan_to_num(truth), truth), 0.0)


def test_a_missing_truth_is_not_scored():
    """Where nothing is known the forecast does not matter, however wrong."""
    truth = np.array([[1.0, math.nan, 3.0]])
    forecasts = np.array([[2.0, 1e300, 3.0]])
    assert metrics.mae(forecasts, truth).tolist() == [0.5]
    assert metrics.smape(forecasts, truth).tolist() == [pytest.approx(100 / 3)]


@given(data=st.data(), m=st.integers(1, 13))
def test_scales_are_those_of_plain_loops(data, m):
    """Scales are means of the seasonal differences before each cutoff, NaN if there is none."""
    values = data.draw(st.lists(st.one_of(st.just(math.nan), VALUES), min_size=1, max_size=40))
    y = np.array(values)
    places = st.lists(st.integers(1, len(y)), min_size=1, max_size=4)
    cutoffs = np.array(sorted(data.draw(places)))
    mae, mse = metrics.naive_scales(y, cutoffs, m)
    for w, cutoff in enumerate(cutoffs):
        steps = [y[t] - y[t - m] for t in range(m, cutoff) if not math.isnan(y[t] - y[t - m])]
        expected = sum(map(abs, steps)) / len(steps) if steps else math.nan
        np.testing.assert_allclose(mae[w], expected, rtol=1e-9, atol=1e-6)
        expected = sum(d * d for d in steps) / len(steps) if steps else math.nan
        np.testing.assert_allclose(mse[w], expected, rtol=1e-9, atol=1e-6)


@given(data=st.data(), m=st.integers(1, 13))
def test_scales_do_not_see_the_future(data, m):
    """What comes after a cutoff does not change its scale, to the bit."""
    y = np.array(data.draw(st.lists(VALUES, min_size=2, max_size=40)))
    cutoff = data.draw(st.integers(1, len(y) - 1))
    other = y.copy()
    other[cutoff:] = math.nan
    for one, two in zip(
        metrics.naive_scales(y, np.array([cutoff]), m),
        metrics.naive_scales(other, np.array([cutoff]), m),
        strict=True,
    ):
        assert one.tobytes() == two.tobytes()


@given(n=st.integers(1, 40), h=st.integers(1, 10), data=st.data())
def test_actuals_are_what_comes_next(n, h, data):
    """Row w holds the values from cutoff w on."""
    y = np.arange(float(n + h))
    cutoffs = np.array(data.draw(st.lists(st.integers(1, n), min_size=1, max_size=4)))
    expected = [[float(c + k) for k in range(h)] for c in cutoffs]
    assert metrics.actuals(y, cutoffs, h).tolist() == expected


def test_arguments_are_left_alone(rng):
    """No argument is changed."""
    forecasts, truth = rng.normal(0, 1, (2, 3, 4)), rng.normal(0, 1, (3, 4))
    truth[0, 1] = math.nan
    kept = forecasts.copy(), truth.copy()
    for name in ERRORS:
        getattr(metrics, name)(forecasts, truth)
    np.testing.assert_array_equal(forecasts, kept[0])
    np.testing.assert_array_equal(truth, kept[1])
