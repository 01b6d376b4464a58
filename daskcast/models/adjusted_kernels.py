"""Compiled kernels of models for a series whose season was taken out first.

Covers the seasonal indices, and the whole way of one past: take the season out, fit, look ahead,
put the season back. Does not cover the models themselves (``theta_kernels``, ``ces_kernels``).

The indices are those of classical decomposition, with two changes. Recent seasons count more, by
the factor ``MEMORY`` a season. And the indices are shrunk towards no season by the rule of James
and Stein, as far as they differ by no more than their own noise (Miller and Williams, 2003,
Shrinkage estimators of time series seasonal factors and their effect on forecasting accuracy). No
test decides whether there is a season: with and without it are different forms, both are judged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from daskcast.models import ces_kernels, theta_kernels
from daskcast.models.kernels import ADDITIVE, MULTIPLICATIVE, NONE, kernel
from daskcast.models.simplex import CES, minimise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: what a season weighs beside the one after it
MEMORY = 0.8

_TOLERANCE = 1e-2
_MOST = 400
_LEAST_INDEX = 0.01
_BIG = 1e300
_TWO_PI = 2.0 * math.pi
_NO_FORM = np.zeros(1, np.int64)
#: what each model searches
_N_PARAMS = {
    theta_kernels.STANDARD: 2,
    theta_kernels.OPTIMISED: 3,
    theta_kernels.DYNAMIC: 3,
    CES: 2,
}
#: fewest phases for which shrinkage is defined
_SHRINKABLE = 4

theta_line, theta_walk = theta_kernels.line, theta_kernels.walk
ces_begin, ces_walk, ces_settle = ces_kernels.begin, ces_kernels.walk, ces_kernels.settle
_N_STATES = theta_kernels.N_STATES
_SSE, _COUNT = theta_kernels.SSE, theta_kernels.COUNT
_CES_SSE, _CES_COUNT = ces_kernels.SSE, ces_kernels.COUNT


@kernel
def deviation(y: Floats, t: int, season: int, m: int) -> float:
    """Give a value's ratio to, or difference from, the moving average centred on it; else NaN."""
    half = m // 2
    total = 0.0
    weight = 0.0
    for k in range(t - half, t + half + 1):
        w = 0.5 if (m % 2 == 0 and (k == t - half or k == t + half)) else 1.0
        if not math.isnan(y[k]):
            total += w * y[k]
            weight += w
    if weight == 0.0:
        return math.nan
    base = total / weight
    value: float = math.nan
    if season == ADDITIVE:
        value = y[t] - base
    elif base > 0.0:
        value = y[t] / base
    return value


@kernel
def indices(y: Floats, n: int, season: int, m: int, out: Floats) -> None:
    """Write the seasonal indices [m] of ``n`` values, by phase ``t % m``, to ``out``."""
    half = m // 2
    neutral = 1.0 if season == MULTIPLICATIVE else 0.0
    noise = 0.0
    judged = 0.0
    mean = 0.0
    for j in range(m):
        # a season back weighs MEMORY as much: from the first value on, all so far lose weight
        weight = 0.0
        square = 0.0
        average = 0.0
        spread = 0.0
        for t in range(j, n - half, m):
            weight *= MEMORY
            square *= MEMORY * MEMORY
            spread *= MEMORY
            if t < half:
                continue
            d = deviation(y, t, season, m)
            if math.isnan(d):
                continue
            weight += 1.0
            square += 1.0
            change = d - average
            average += change / weight
            spread += change * (d - average)
        out[j] = average if weight > 0.0 else neutral
        if weight > 0.0:
            effective = weight * weight / square
            if effective > 1.0:
                noise += spread / weight / max(effective - 1.0, 0.5)
                judged += 1.0
        if season == MULTIPLICATIVE and out[j] < _LEAST_INDEX:
            out[j] = _LEAST_INDEX
        mean += out[j] / m
    signal = 0.0
    for j in range(m):
        out[j] = out[j] / mean if season == MULTIPLICATIVE else out[j] - mean
        signal += (out[j] - neutral) * (out[j] - neutral)
    if m < _SHRINKABLE or judged == 0.0 or signal == 0.0:
        return
    share = min((m - 3.0) * (noise / judged) / signal, 1.0)
    for j in range(m):
        out[j] = share * neutral + (1.0 - share) * out[j]


@kernel
def take_out(y: Floats, n: int, season: int, m: int, index: Floats, z: Floats) -> float:
    """Write ``n`` values without their season to ``z``; give the sum of the logs of the scale."""
    logs = 0.0
    for t in range(n):
        z[t] = y[t]
        if season == ADDITIVE:
            z[t] -= index[t % m]
        elif season == MULTIPLICATIVE:
            z[t] /= index[t % m]
            if not math.isnan(y[t]):
                logs += math.log(index[t % m])
    return logs


@kernel
def begin(
    model: int,
    y: Floats,
    n: int,
    season: int,
    m: int,
    index: Floats,
    z: Floats,
    start: Floats,
    u: Floats,
) -> float:
    """Take the season out of ``n`` values; write where the fit starts to ``start`` and ``u``.

    Gives the sum of the logs of the scale.
    """
    if season != NONE:
        indices(y, n, season, m, index)
    logs = take_out(y, n, season, m, index, z)
    u[0], u[1], u[2], u[3] = 0.45, 0.5, 0.35, 0.5
    if model == CES:
        ces_begin(z, n, start)
        u[0], u[1] = 0.72, 0.53
    else:
        theta_line(z, n, start)
    return logs


@kernel
def finish(
    model: int,
    z: Floats,
    n: int,
    season: int,
    m: int,
    index: Floats,
    start: Floats,
    params: Floats,
    mean: Floats,
    variance: Floats,
    residuals: Floats,
) -> float:
    """Look ahead with the season put back; give -2 log-likelihood of the values without it."""
    h = len(mean)
    x = np.zeros(_N_STATES)
    told = np.zeros(n + h)
    if model == CES:
        ces_settle(z, n, start, params, x)
        ces_walk(z, n, np.int64(0), n, np.int64(1), params, x, told)
        sse, count = x[_CES_SSE], x[_CES_COUNT]
        ces_walk(z, n, n, h, np.int64(1), params, x, told)
    else:
        theta_walk(model, z, n, n + h, params, start, x, told)
        sse, count = x[_SSE], x[_COUNT]
    for t in range(n):
        residuals[t] = z[t] - told[t]
    if not sse < _BIG or count == 0.0:
        return _BIG
    sigma2 = sse / count
    growing(model, params, sigma2, variance)
    for k in range(h):
        mean[k] = told[n + k]
        if season == ADDITIVE:
            mean[k] += index[(n + k) % m]
        elif season == MULTIPLICATIVE:
            s = index[(n + k) % m]
            mean[k] *= s
            variance[k] *= s * s
    value: float = count * (math.log(_TWO_PI * max(sigma2, 1e-300)) + 1.0)
    return value


def estimate(
    model: int,
    y: Floats,
    n: int,
    season: int,
    m: int,
    given: bool,
    params: Floats,
    mean: Floats,
    variance: Floats,
    residuals: Floats,
) -> float:
    """Fit ``n`` values unless parameters are ``given``; look ahead.

    Writes the parameters [3], means and variances [H], residuals [n] of the series without its
    season. Gives -2 log-likelihood on the scale of ``y``, the variance concentrated out, or
    a huge number where there is none. Not compiled: each kernel that calls another has it
    compiled again.
    """
    index, z, start, u = np.zeros(m), np.empty(n), np.zeros(4), np.empty(4)
    logs = begin(model, y, n, season, m, index, z, start, u)
    if not given:
        x, p = np.zeros(_N_STATES), _N_PARAMS[model]
        minimise(model, p, u, z, n, _NO_FORM, m, start, _TOLERANCE, _MOST, params, x)
    value = finish(model, z, n, season, m, index, start, params, mean, variance, residuals)
    return value + 2.0 * logs


@kernel
def growing(model: int, params: Floats, sigma2: float, variance: Floats) -> None:
    """Write the variance of each step ahead [H].

    That of a theta model is that of simple smoothing with drift (Hyndman and Billah, 2003,
    Unmasking the theta method); the error in the line is left out.
    """
    alpha, beta = params[0], params[1]
    total = 1.0
    # how an error moves the two components of CES, step by step
    level, second = alpha - beta, alpha + beta
    for k in range(len(variance)):
        variance[k] = sigma2 * total
        if model == CES:
            total += level * level
            before = level
            level = before - (1.0 - beta) * second
            second = before + (1.0 - alpha) * second
        else:
            total += alpha * alpha
