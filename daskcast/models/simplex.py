"""Compiled search for the parameters of one model: Nelder and Mead's simplex on the unit cube.

Covers the search, for every compiled objective. Does not cover the objectives (``kernels``,
``theta_kernels``, ``ces_kernels``). They are told apart by a number: a compiled function that takes
another as its argument cannot be cached on disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from daskcast.models import ces_kernels, kernels, theta_kernels
from daskcast.models.kernels import HEAD, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

#: what is fitted; the numbers below are those of ``theta_kernels``
ETS, CES = 10, 11
#: edge of the first simplex
_EDGE = 0.25

ets_objective = kernels.objective
theta_objective = theta_kernels.objective
ces_objective = ces_kernels.objective
end_states = kernels.end_states
set_smoothing = kernels.set_smoothing


@kernel
def evaluate(
    model: int,
    u: Floats,
    y: Floats,
    n: int,
    form: Ints,
    m: int,
    start: Floats,
    params: Floats,
    x: Floats,
) -> float:
    """Give what the fit of a model minimises at the point ``u`` of the unit cube."""
    if model == ETS:
        return ets_objective(u, y, n, form, m, start, params, x)
    if model == CES:
        return ces_objective(u, y, n, start, params, x)
    return theta_objective(model, u, y, n, start, params, x)


@kernel
def rank(values: Floats, p: int) -> tuple[int, int, int]:
    """Give the positions of the best, the worst and the second worst of ``p + 1`` values."""
    best = 0
    worst = 0
    for i in range(1, p + 1):
        if values[i] < values[best]:
            best = i
        if values[i] >= values[worst]:
            worst = i
    second = best
    for i in range(p + 1):
        if i != worst and values[i] > values[second]:
            second = i
    return best, worst, second


@kernel
def blend_points(a: Floats, b: Floats, share: float, p: int, out: Floats) -> None:
    """Write ``a + share * (b - a)`` to ``out``."""
    for j in range(p):
        out[j] = a[j] + share * (b[j] - a[j])


@kernel
def minimise(
    model: int,
    p: int,
    u: Floats,
    y: Floats,
    n: int,
    form: Ints,
    m: int,
    start: Floats,
    tolerance: float,
    most: int,
    params: Floats,
    x: Floats,
) -> int:
    """Minimise over ``p`` dimensions by the method of Nelder and Mead (1965), from ``u``.

    On return ``u`` is the best point, ``params`` its parameters, ``x`` the states after the last
    value. Gives the number of evaluations.
    """
    simplex = np.zeros((5, 4))
    values = np.zeros(5)
    for i in range(p + 1):
        for j in range(4):
            simplex[i, j] = u[j]
        if i > 0:
            simplex[i, i - 1] += _EDGE if u[i - 1] < 0.5 else -_EDGE
        values[i] = evaluate(model, simplex[i], y, n, form, m, start, params, x)
    used = p + 1
    centre = np.zeros(4)
    trial = np.zeros(4)
    other = np.zeros(4)
    while used < most:
        best, worst, second = rank(values, p)
        if values[worst] - values[best] <= tolerance:
            break
        for j in range(p):
            centre[j] = 0.0
            for i in range(p + 1):
                if i != worst:
                    centre[j] += simplex[i, j] / p
        blend_points(centre, simplex[worst], -1.0, p, trial)
        value = evaluate(model, trial, y, n, form, m, start, params, x)
        used += 1
        share = 0.0
        if value < values[best]:
            share = -2.0
        elif value >= values[worst]:
            share = 0.5
        elif value >= values[second]:
            share = -0.5
        if share != 0.0:
            blend_points(centre, simplex[worst], share, p, other)
            further = evaluate(model, other, y, n, form, m, start, params, x)
            used += 1
            if further < min(value, values[worst]):
                value = further
                blend_points(other, other, 0.0, p, trial)
            elif share == 0.5:
                for i in range(p + 1):
                    if i != best:
                        blend_points(simplex[i], simplex[best], 0.5, p, simplex[i])
                        values[i] = evaluate(model, simplex[i], y, n, form, m, start, params, x)
                        used += 1
                continue
        blend_points(trial, trial, 0.0, p, simplex[worst])
        values[worst] = value
    best = rank(values, p)[0]
    blend_points(simplex[best], simplex[best], 0.0, p, u)
    evaluate(model, u, y, n, form, m, start, params, x)
    return used


def fit(
    y: Floats,
    n: int,
    form: Ints,
    m: int,
    u: Floats,
    tolerance: float,
    most: int,
    smoothing: Floats,
    x: Floats,
) -> int:
    """Fit a form of exponential smoothing from ``u``; see :func:`minimise`. Not compiled itself."""
    end = np.zeros(HEAD + m)
    end_states(y, n, form[1], form[3], m, end)
    p = set_smoothing(u, form[1], form[2], form[3], smoothing)
    return minimise(ETS, p, u, y, n, form, m, end, tolerance, most, smoothing, x)
