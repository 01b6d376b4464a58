"""Compiled kernels of complex exponential smoothing.

Covers one pass over a series without a season, start values, and what a fit minimises. Does not
cover the minimum (``simplex``) nor the season (``adjusted_kernels``).

Svetunkov, Kourentzes and Ord (2022), Complex exponential smoothing: the level and a second,
unobserved component are the real and the imaginary part of one smoothed number; level and trend are
not told apart, so that the same model follows both stationary and growing series. Start values
are backcast: forth, back, and forth again.

State vector ``x``: the two components, sum of squared errors, number of observations. Parameters:
real and imaginary part of the complex smoothing parameter. Missing observations (NaN), and
steps past the end, move the states on without an error.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from daskcast.models.kernels import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Whole = int | np.int64

#: positions in the state vector
LEVEL, SECOND, SSE, COUNT = range(4)
N_STATES = 4

#: values whose mean is the first start
_FIRST = 10
_BIG = 1e300


@kernel
def begin(y: Floats, n: int, start: Floats) -> None:
    """Write the first start values of ``n`` values to ``start``."""
    total = 0.0
    count = 0.0
    for i in range(n):
        if not math.isnan(y[i]) and count < _FIRST:
            total += y[i]
            count += 1.0
    start[LEVEL] = total / count
    start[SECOND] = start[LEVEL] / 1.1


@kernel
def walk(
    y: Floats, n: int, first: Whole, steps: int, step: Whole, params: Floats, x: Floats, out: Floats
) -> None:
    """Walk ``steps`` steps from ``first``; write one-step means to ``out``, if it has a length."""
    real, imaginary = params[0], params[1]
    level, second = x[LEVEL], x[SECOND]
    sse = 0.0
    count = 0.0
    for k in range(steps):
        i = first + k * step
        if len(out) > 0:
            out[i] = level
        error = 0.0
        if i < n and not math.isnan(y[i]):
            error = y[i] - level
            sse += error * error
            count += 1.0
        before = level
        level = before - (1.0 - imaginary) * second + (real - imaginary) * error
        second = before + (1.0 - real) * second + (real + imaginary) * error
    x[LEVEL], x[SECOND], x[SSE], x[COUNT] = level, second, sse, count


@kernel
def settle(y: Floats, n: int, start: Floats, params: Floats, x: Floats) -> None:
    """Write to ``x`` the states before the first value: forth and back from the first start."""
    x[LEVEL], x[SECOND] = start[LEVEL], start[SECOND]
    nothing = np.empty(0)
    walk(y, n, np.int64(0), n, np.int64(1), params, x, nothing)
    walk(y, n, n - 1, n, np.int64(-1), params, x, nothing)


@kernel
def set_params(u: Floats, params: Floats) -> int:
    """Map a point of the unit cube to parameters; give the number of dimensions that matter."""
    params[0] = 0.01 + 1.8 * u[0]
    params[1] = 0.01 + 1.89 * u[1]
    return 2


@kernel
def objective(u: Floats, y: Floats, n: int, start: Floats, params: Floats, x: Floats) -> float:
    """Give what the fit minimises at the point ``u`` of the unit cube."""
    penalty = 0.0
    for j in range(2):
        if u[j] < 0.0:
            penalty -= u[j]
            u[j] = 0.0
        elif u[j] > 1.0:
            penalty += u[j] - 1.0
            u[j] = 1.0
    set_params(u, params)
    settle(y, n, start, params, x)
    walk(y, n, np.int64(0), n, np.int64(1), params, x, np.empty(0))
    if not x[SSE] < _BIG or x[COUNT] == 0.0:
        return _BIG
    value: float = x[COUNT] * math.log(max(x[SSE], 1e-300)) + penalty
    return value
