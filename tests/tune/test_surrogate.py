"""The light Gaussian process against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from daskcast.models import ETS, view_of
from daskcast.tune.surrogate import FixedGP


def theirs(x, y, points, noise):
    """Give scikit-learn's posterior with the same fixed kernel, on standardised targets."""
    y = np.asarray(y)
    centre, scale = y.mean(), y.std()
    model = GaussianProcessRegressor(RBF(1.0, "fixed"), alpha=noise, optimizer=None)
    mean, std = model.fit(x, (y - centre) / scale).predict(points, return_std=True)
    return centre + scale * mean, scale * std


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.5])
@pytest.mark.parametrize(("n", "d"), [(2, 1), (12, 6), (24, 6), (60, 3)])
def test_posterior_is_scikit_learns(n, d, noise, rng):
    """Mean and standard deviation agree to 1e-8."""
    x, points = rng.uniform(0, 2, (n, d)), rng.uniform(-1, 3, (40, d))
    y = rng.normal(3.0, 7.0, n)
    mean, std = FixedGP(noise).fit(x, y).predict(points, return_std=True)
    expected_mean, expected_std = theirs(x, y, points, noise)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(std, expected_std, rtol=1e-8, atol=1e-8)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 30), power=st.integers(-6, 6))
def test_posterior_is_scikit_learns_on_the_space_it_is_for(seed, n, power):
    """On points of the exponential smoothing space, losses of any size, the two agree."""
    rng = np.random.default_rng(seed)
    codes = ETS().space(view_of(1.0 + np.arange(60.0), 12, 6)).codes
    x = codes[rng.choice(len(codes), n, replace=False)]
    y = 10.0**power * rng.normal(0.0, 1.0, n)
    mean, std = FixedGP().fit(x, y).predict(codes, return_std=True)
    expected_mean, expected_std = theirs(x, y, codes, 0.05)
    scale = 10.0**power
    np.testing.assert_allclose(mean / scale, expected_mean / scale, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(std / scale, expected_std / scale, rtol=1e-8, atol=1e-8)


def test_far_away_it_knows_the_mean_alone(rng):
    """Far from all trials the posterior is their mean and their spread."""
    y = [1.0, 2.0, 6.0]
    model = FixedGP().fit(rng.uniform(0, 1, (3, 2)), y)
    mean, std = model.predict(np.full((1, 2), 1e3), return_std=True)
    np.testing.assert_allclose(mean, np.mean(y))
    np.testing.assert_allclose(std, np.std(y))


def test_equal_losses_are_no_division_by_zero():
    """Where all losses are equal the mean is that loss, everywhere."""
    mean, std = FixedGP().fit(np.eye(3), [4.0] * 3).predict(np.eye(3), return_std=True)
    np.testing.assert_allclose(mean, 4.0)
    assert np.all((std > 0) & (std < 1))


def test_the_same_trial_twice_is_no_singular_matrix():
    """Two trials at one place are averaged; the spread stays a number."""
    model = FixedGP(1e-9).fit(np.zeros((2, 2)), [1.0, 3.0])
    mean, std = model.predict(np.zeros((1, 2)), return_std=True)
    np.testing.assert_allclose(mean, 2.0, rtol=1e-6)
    assert np.all(np.isfinite(std))


def test_without_std_the_mean_alone(rng):
    """What is asked for is what is given; arguments stay as they are; any memory layout will do."""
    x, y = np.asfortranarray(rng.uniform(0, 1, (9, 3))), rng.normal(0, 1, 9)
    kept = x.copy(), y.copy()
    model = FixedGP().fit(x, y)
    mean = model.predict(x[::-1])
    assert isinstance(mean, np.ndarray)
    np.testing.assert_array_equal(mean, model.predict(x[::-1], return_std=True)[0])
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(y, kept[1])


def test_a_clone_is_unfitted_and_alike():
    """scikit-learn clones it as skopt does: same noise, nothing fitted."""
    model = FixedGP(0.2).fit(np.eye(2), [0.0, 1.0])
    copy = clone(model)
    assert copy is not model
    assert copy.get_params() == {"noise": 0.2}
    assert not hasattr(copy, "X_")
