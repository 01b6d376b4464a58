"""Compiled kernels of the theta models in state-space form.

Covers one pass over a series without a season, the line through it, and what a fit minimises. Does
not cover the minimum (``simplex``) nor the season (``adjusted_kernels``).

Fiorucci, Pellegrini, Louzada, Petropoulos and Koehler (2016), Models for optimising the theta
method and their relationship to state space models: a theta line and a straight line, put together
so that they give the series back. The standard model fixes theta at 2, the optimised ones estimate
it; the dynamic one learns its straight line as it goes, the others take that of least squares.

State vector ``x``: level, intercept and slope of the line so far, mean so far, ``(1 - alpha)**t``,
sum of squared errors, number of errors. Parameters: alpha, theta, level before the first value.
Missing observations (NaN), and steps past the end, move the states on as if the mean had come.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from daskcast.models.kernels import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: the models
STANDARD, OPTIMISED, DYNAMIC = range(3)
#: positions in the state vector
LEVEL, INTERCEPT, SLOPE, MEAN, POWER, SSE, COUNT = range(7)
N_STATES = 7

#: the first values are not scored: their line is not known yet
_UNSCORED = 2
_BIG = 1e300


@kernel
def line(y: Floats, n: int, start: Floats) -> None:
    """Write to ``start`` the line of least squares through ``n`` values, their size, the first."""
    count = 0.0
    st = 0.0
    sy = 0.0
    stt = 0.0
    sty = 0.0
    size = 0.0
    for i in range(n):
        if not math.isnan(y[i]):
            t = i + 1.0
            count += 1.0
            st += t
            sy += y[i]
            stt += t * t
            sty += t * y[i]
            size += abs(y[i])
    det = count * stt - st * st
    start[1] = (count * sty - st * sy) / det if det > 0.0 else 0.0
    start[0] = (sy - start[1] * st) / count
    start[2] = size / count
    start[3] = y[0]


@kernel
def walk(
    model: int, y: Floats, n: int, steps: int, params: Floats, start: Floats, x: Floats, out: Floats
) -> None:
    """Walk ``steps`` steps, of which ``n`` have values; write one-step means to ``out`` if it is.

    ``out`` has the length ``steps``, or 0 where nobody needs the means.
    """
    alpha, theta = params[0], params[1]
    share = 1.0 - 1.0 / theta
    dynamic = model == DYNAMIC
    level = params[2]
    a, b, mean = start[0], start[1], 0.0
    if dynamic:
        a, b = 0.0, 0.0
    power = 1.0
    sse = 0.0
    count = 0.0
    for i in range(steps):
        t = i + 1.0
        after = power * (1.0 - alpha)
        mu = level + share * (power * a + (1.0 - after) / alpha * b)
        if dynamic and i == 0:
            mu = y[0]
        if len(out) > 0:
            out[i] = mu
        v = mu
        if i < n and not math.isnan(y[i]):
            v = y[i]
            if i >= _UNSCORED:
                sse += (v - mu) * (v - mu)
                count += 1.0
        level = alpha * v + (1.0 - alpha) * level
        if dynamic:
            slope = 0.0
            if i > 0:
                slope = ((t - 2.0) * b + 6.0 / t * (v - mean)) / (t + 1.0)
            mean = ((t - 1.0) * mean + v) / t
            b = slope
            a = mean - 0.5 * (t + 1.0) * b
        power = after
    x[LEVEL], x[INTERCEPT], x[SLOPE], x[MEAN], x[POWER] = level, a, b, mean, power
    x[SSE], x[COUNT] = sse, count


@kernel
def set_params(model: int, u: Floats, start: Floats, params: Floats) -> int:
    """Map a point of the unit cube to parameters; give the number of dimensions that matter."""
    params[0] = 0.1 + 0.89 * u[0]
    params[1] = 2.0
    params[2] = 0.5 * start[3] + 10.0 * (u[1] - 0.5) * start[2]
    if model == STANDARD:
        return 2
    params[1] = 1.0 + 2.0 * u[2] / (1.0 - 0.98 * u[2])
    return 3


@kernel
def objective(
    model: int, u: Floats, y: Floats, n: int, start: Floats, params: Floats, x: Floats
) -> float:
    """Give what the fit minimises at the point ``u`` of the unit cube."""
    penalty = 0.0
    for j in range(3):
        if u[j] < 0.0:
            penalty -= u[j]
            u[j] = 0.0
        elif u[j] > 1.0:
            penalty += u[j] - 1.0
            u[j] = 1.0
    set_params(model, u, start, params)
    walk(model, y, n, n, params, start, x, np.empty(0))
    if not x[SSE] < _BIG or x[COUNT] == 0.0:
        return _BIG
    value: float = x[COUNT] * math.log(max(x[SSE], 1e-300)) + penalty
    return value
