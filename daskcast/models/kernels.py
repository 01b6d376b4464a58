"""Compiled kernels of exponential smoothing in innovations state-space form.

Covers one pass over a series, start values, and what a fit minimises. Does not cover the minimum
(``simplex``), forecasts and their variance (``ahead``), nor which forms are admissible (``ets``).

The recursions of an additive and a multiplicative error are the same in terms of the plain
one-step error ``d = y - mu`` (Hyndman, Koehler, Ord and Snyder, 2008, table 2.2 and 2.3): the error
type changes the likelihood and the variance, not the states. So one pass serves both.

State vector ``x``, length ``HEAD + m``: level, slope, sum of d**2, of (d / mu)**2, of log(mu),
number of observations, sum of abs(d), then the season of each phase ``t % m``. A one-step mean
that is not positive makes the relative sum infinite. Missing observations (NaN) move the states
on without an error.

Kernels are scalar on purpose: array expressions cost seconds of compilation each. So does every
kernel that calls another, which compiles it again, and every constant among the arguments, which
makes a version of its own: hence ``np.int64(1)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Whole = int | np.int64

#: positions in the state vector
LEVEL, SLOPE, SSE, RSSE, LOGS, COUNT, ABSE, HEAD = range(8)
#: season kinds
NONE, ADDITIVE, MULTIPLICATIVE = range(3)
#: what the parameters minimise
LIKELIHOOD, ABSOLUTE = range(2)

_TWO_PI = 2.0 * math.pi
_BIG = 1e300
_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """Compile a function: cached on disk, without the GIL, strict IEEE arithmetic."""
    compiled = njit(cache=True, nogil=True, error_model="numpy")(function)
    return cast("_Function", compiled)


@kernel
def advance(
    y: Floats,
    first: Whole,
    count: Whole,
    step: Whole,
    season: int,
    m: int,
    smoothing: Floats,
    x: Floats,
) -> None:
    """Move the states ``x`` over ``count`` values of ``y`` from ``first``, in place."""
    alpha, beta, gamma, phi = smoothing[0], smoothing[1], smoothing[2], smoothing[3]
    level, slope = x[LEVEL], x[SLOPE]
    sse, rsse, logs, n, abse = x[SSE], x[RSSE], x[LOGS], x[COUNT], x[ABSE]
    phase = first % m
    for k in range(count):
        t = first + k * step
        q = level + phi * slope
        s = x[HEAD + phase]
        mu = q
        if season == ADDITIVE:
            mu = q + s
        elif season == MULTIPLICATIVE:
            mu = q * s
        d = y[t] - mu
        level = q
        slope = phi * slope
        if not math.isnan(d):
            if mu > 0.0:
                logs += math.log(mu)
                rsse += (d / mu) * (d / mu)
            else:
                rsse = math.inf
            sse += d * d
            abse += abs(d)
            n += 1.0
            if season == MULTIPLICATIVE:
                level += alpha * d / s
                slope += beta * d / s
                x[HEAD + phase] = s + gamma * d / q
            else:
                level += alpha * d
                slope += beta * d
                if season == ADDITIVE:
                    x[HEAD + phase] = s + gamma * d
        phase += step
        if phase == m:
            phase = 0
        elif phase < 0:
            phase = m - 1
    x[LEVEL], x[SLOPE] = level, slope
    x[SSE], x[RSSE], x[LOGS], x[COUNT], x[ABSE] = sse, rsse, logs, n, abse


@kernel
def reset_sums(x: Floats) -> None:
    """Set the running sums of ``x`` to zero."""
    x[SSE] = 0.0
    x[RSSE] = 0.0
    x[LOGS] = 0.0
    x[COUNT] = 0.0
    x[ABSE] = 0.0


@kernel
def seasonal_indices(y: Floats, n: int, season: int, m: int, x: Floats) -> None:
    """Write to ``x`` the mean seasonal deviation from a centred moving average, normalised."""
    half = m // 2
    sums = np.zeros(m)
    hits = np.zeros(m)
    for t in range(half, n - half):
        total = 0.0
        weight = 0.0
        for k in range(t - half, t + half + 1):
            w = 0.5 if (m % 2 == 0 and (k == t - half or k == t + half)) else 1.0
            if not math.isnan(y[k]):
                total += w * y[k]
                weight += w
        if not math.isnan(y[t]) and weight > 0.0:
            base = total / weight
            if season == MULTIPLICATIVE:
                if base > 0.0:
                    sums[t % m] += y[t] / base
                    hits[t % m] += 1.0
            else:
                sums[t % m] += y[t] - base
                hits[t % m] += 1.0
    neutral = 1.0 if season == MULTIPLICATIVE else 0.0
    mean = 0.0
    for j in range(m):
        x[HEAD + j] = sums[j] / hits[j] if hits[j] > 0.0 else neutral
        if season == MULTIPLICATIVE and x[HEAD + j] < 0.01:
            x[HEAD + j] = 0.01
        mean += x[HEAD + j] / m
    for j in range(m):
        x[HEAD + j] = x[HEAD + j] / mean if season == MULTIPLICATIVE else x[HEAD + j] - mean


@kernel
def end_states(y: Floats, n: int, trend: int, season: int, m: int, x: Floats) -> None:
    """Write to ``x`` states just past the end: seasonal indices and a straight line."""
    if season != NONE:
        seasonal_indices(y, n, season, m, x)
    else:
        for j in range(m):
            x[HEAD + j] = 0.0
    count = 0.0
    st = 0.0
    sy = 0.0
    stt = 0.0
    sty = 0.0
    for t in range(n):
        if not math.isnan(y[t]):
            v = y[t]
            if season == ADDITIVE:
                v -= x[HEAD + t % m]
            elif season == MULTIPLICATIVE:
                v /= x[HEAD + t % m]
            count += 1.0
            st += t
            sy += v
            stt += float(t) * t
            sty += t * v
    det = count * stt - st * st
    if trend and det > 0.0:
        b = (count * sty - st * sy) / det
        x[LEVEL] = (sy - b * st) / count + b * n
        x[SLOPE] = -b
    else:
        x[LEVEL] = sy / count
        x[SLOPE] = 0.0


@kernel
def backcast(
    y: Floats, n: int, season: int, m: int, smoothing: Floats, end: Floats, x: Floats
) -> None:
    """Write to ``x`` the states before the first value: a pass back from the states ``end``."""
    for j in range(HEAD + m):
        x[j] = end[j]
    phi = smoothing[3]
    smoothing[3] = 1.0
    advance(y, n - 1, n, np.int64(-1), season, m, smoothing, x)
    smoothing[3] = phi
    x[LEVEL] += x[SLOPE]
    x[SLOPE] = -x[SLOPE]
    reset_sums(x)


@kernel
def minus_two_loglik(x: Floats, relative: int) -> float:
    """Give -2 log-likelihood of the sums in ``x``, the variance concentrated out."""
    n = x[COUNT]
    total = x[RSSE] if relative else x[SSE]
    if not total < _BIG or n == 0.0:
        return _BIG
    value: float = n * (math.log(_TWO_PI * max(total, 1e-300) / n) + 1.0)
    if relative:
        value += 2.0 * x[LOGS]
    return value


@kernel
def set_smoothing(u: Floats, trend: int, damped: int, season: int, smoothing: Floats) -> int:
    """Map a point of the unit cube to parameters within the usual, admissible region."""
    k = 1
    smoothing[0] = 1e-4 + u[0] * 0.9998
    smoothing[1] = 0.0
    smoothing[2] = 0.0
    smoothing[3] = 1.0
    if trend:
        smoothing[1] = u[k] * smoothing[0]
        k += 1
    if season != NONE:
        smoothing[2] = u[k] * (1.0 - smoothing[0])
        k += 1
    if damped:
        smoothing[3] = 0.8 + u[k] * 0.18
        k += 1
    return k


@kernel
def objective(
    u: Floats, y: Floats, n: int, form: Ints, m: int, end: Floats, smoothing: Floats, x: Floats
) -> float:
    """Give what the fit minimises at the point ``u`` of the unit cube."""
    relative, trend, damped, season, criterion = form[0], form[1], form[2], form[3], form[4]
    penalty = 0.0
    for j in range(4):
        if u[j] < 0.0:
            penalty -= u[j]
            u[j] = 0.0
        elif u[j] > 1.0:
            penalty += u[j] - 1.0
            u[j] = 1.0
    set_smoothing(u, trend, damped, season, smoothing)
    backcast(y, n, season, m, smoothing, end, x)
    advance(y, np.int64(0), n, np.int64(1), season, m, smoothing, x)
    if criterion == ABSOLUTE:
        if not x[ABSE] < _BIG:
            return _BIG
        return 2.0 * n * math.log(max(x[ABSE], 1e-300)) + penalty
    return minus_two_loglik(x, relative) + penalty


@kernel
def settle(y: Floats, n: int, form: Ints, m: int, smoothing: Floats, x: Floats) -> None:
    """Write to ``x`` the states after ``n`` values, as ``fit`` leaves them."""
    end = np.zeros(HEAD + m)
    end_states(y, n, form[1], form[3], m, end)
    backcast(y, n, form[3], m, smoothing, end, x)
    advance(y, np.int64(0), n, np.int64(1), form[3], m, smoothing, x)


@kernel
def residuals(y: Floats, n: int, form: Ints, m: int, smoothing: Floats, out: Floats) -> None:
    """Write the one-step errors of ``n`` values to ``out``; relative ones where the error is."""
    x = np.zeros(HEAD + m)
    end = np.zeros(HEAD + m)
    season = form[3]
    end_states(y, n, form[1], season, m, end)
    backcast(y, n, season, m, smoothing, end, x)
    for t in range(n):
        mu = x[LEVEL] + smoothing[3] * x[SLOPE]
        if season == ADDITIVE:
            mu += x[HEAD + t % m]
        elif season == MULTIPLICATIVE:
            mu *= x[HEAD + t % m]
        out[t] = (y[t] - mu) / mu if form[0] else y[t] - mu
        advance(y, t, np.int64(1), np.int64(1), season, m, smoothing, x)
