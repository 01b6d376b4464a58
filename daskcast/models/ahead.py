"""Compiled kernels that look ahead: forecasts, their variance, forecasts from each cutoff.

Covers what is made of states and parameters. Does not cover how these are found (``kernels``, whose
state vector and codes are used here).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from daskcast.models.kernels import (
    ADDITIVE,
    COUNT,
    HEAD,
    LEVEL,
    MULTIPLICATIVE,
    NONE,
    RSSE,
    SLOPE,
    SSE,
    advance,
    kernel,
    minus_two_loglik,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@kernel
def forecast(x: Floats, n: int, season: int, m: int, phi: float, mean: Floats) -> None:
    """Write the point forecasts made after ``n`` values to ``mean`` [H]."""
    q = x[LEVEL]
    slope = x[SLOPE]
    for k in range(len(mean)):
        slope *= phi
        q += slope
        s = x[HEAD + (n + k) % m]
        mean[k] = q
        if season == ADDITIVE:
            mean[k] = q + s
        elif season == MULTIPLICATIVE:
            mean[k] = q * s


@kernel
def variance(
    x: Floats, n: int, form: Ints, m: int, smoothing: Floats, mean: Floats, out: Floats
) -> None:
    """Write the variance of the forecasts ``mean`` [H] to ``out`` [H].

    Hyndman, Koehler, Ord and Snyder (2008), table 6.1: class 1 for an additive error, class 2 for
    a multiplicative one. With a multiplicative season (class 3) the table takes level and season
    as independent, though the same errors move both: beyond one season its variance is up to
    14 % too small against simulation. Here the error's effect on the season joins its effect on
    the level before it is squared.
    """
    relative, season = form[0], form[3]
    alpha, beta, gamma, phi = smoothing[0], smoothing[1], smoothing[2], smoothing[3]
    sigma2 = (x[RSSE] if relative else x[SSE]) / x[COUNT]
    h = len(mean)
    # c[j]: effect of an error on what is expected j steps on; theta: its second moment
    c = np.zeros(h)
    theta = np.zeros(h)
    base = np.zeros(h)
    spread = 0.0
    growth = 0.0
    power = 1.0
    for k in range(h):
        s = x[HEAD + (n + k) % m] if season == MULTIPLICATIVE else 1.0
        base[k] = mean[k] / s
        if relative:
            spread = 0.0
            for j in range(1, k + 1):
                effect = c[j]
                if season != NONE and j % m == 0:
                    effect += gamma * (base[k] / base[k - j] if season == MULTIPLICATIVE else 1.0)
                spread += effect * effect * theta[k - j]
        elif k > 0:
            effect = c[k] + (gamma if season != NONE and k % m == 0 else 0.0)
            spread += effect * effect
        theta[k] = base[k] * base[k] + sigma2 * spread
        if relative:
            out[k] = s * s * (theta[k] * (1.0 + sigma2) - base[k] * base[k])
        else:
            out[k] = sigma2 * (1.0 + spread)
        power *= phi
        growth += power
        if k + 1 < h:
            c[k + 1] = alpha + beta * growth


@kernel
def walk_on(
    y: Floats,
    form: Ints,
    m: int,
    cutoffs: Ints,
    smoothing: Floats,
    x: Floats,
    forecasts: Floats,
    spread: Floats,
    loglik: Floats,
) -> None:
    """Walk on from the states ``x`` at the first cutoff: what each window would have been told.

    Writes the forecasts [W, H] made at each cutoff, their variance [W, H], and -2 log-likelihood
    at each cutoff and at the end [W + 1].
    """
    at = cutoffs[0]
    for w in range(len(cutoffs)):
        advance(y, at, cutoffs[w] - at, np.int64(1), form[3], m, smoothing, x)
        at = cutoffs[w]
        loglik[w] = minus_two_loglik(x, form[0])
        forecast(x, at, form[3], m, smoothing[3], forecasts[w])
        variance(x, at, form, m, smoothing, forecasts[w], spread[w])
    advance(y, at, len(y) - at, np.int64(1), form[3], m, smoothing, x)
    loglik[len(cutoffs)] = minus_two_loglik(x, form[0])
