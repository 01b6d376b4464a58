"""Compiled kernels of exponential smoothing in innovations state-space form.

Covers one pass over a series, start values, the search for smoothing parameters, forecasts and
their variance. Does not cover which forms are admissible (``ets``) nor what is tuned (``tune``).

The recursions of an additive and a multiplicative error are the same in terms of the plain
one-step error ``d = y - mu`` (Hyndman, Koehler, Ord and Snyder, 2008, table 2.2 and 2.3): the error
type changes the likelihood and the variance, not the states. So one pass serves both.

State vector ``x``, length ``HEAD + m``: level, slope, sum of d**2, sum of (d / mu)**2, sum of
log(mu), observations, then the season of each phase ``t % m``. A multiplicative one-step mean that is not
positive makes the sums infinite. Missing observations (NaN) move the states on without an error.

Kernels are scalar on purpose: array expressions cost seconds of compilation each.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

#: positions in the state vector
LEVEL, SLOPE, SSE, RSSE, LOGS, COUNT, ABSE, HEAD = range(8)
#: season kinds
NONE, ADDITIVE, MULTIPLICATIVE = range(3)
#: what the parameters minimise
LIKELIHOOD, ABSOLUTE = range(2)

_TWO_PI = 2.0 * math.pi
_BIG = 1e300

kernel = njit(cache=True, nogil=True, error_model="numpy")


@kernel
def advance(y, first, count, step, season, m, smoothing, x):
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
        if d == d:
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
def reset_sums(x):
    """Set the running sums of ``x`` to zero."""
    x[SSE] = 0.0
    x[RSSE] = 0.0
    x[LOGS] = 0.0
    x[COUNT] = 0.0
    x[ABSE] = 0.0


@kernel
def seasonal_indices(y, n, season, m, x):
    """Write to ``x`` the mean seasonal deviation from a centred moving average, normalised."""
    half = m // 2
    sums = np.zeros(m)
    hits = np.zeros(m)
    for t in range(half, n - half):
        total = 0.0
        weight = 0.0
        for k in range(t - half, t + half + 1):
            w = 0.5 if (m % 2 == 0 and (k == t - half or k == t + half)) else 1.0
            if y[k] == y[k]:
                total += w * y[k]
                weight += w
        if y[t] == y[t] and weight > 0.0:
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
def end_states(y, n, trend, season, m, x):
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
        if y[t] == y[t]:
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
def backcast(y, n, season, m, smoothing, end, x):
    """Write to ``x`` the states before the first value: a pass back from the states ``end``."""
    for j in range(HEAD + m):
        x[j] = end[j]
    phi = smoothing[3]
    smoothing[3] = 1.0
    advance(y, n - 1, n, -1, season, m, smoothing, x)
    smoothing[3] = phi
    x[LEVEL] += x[SLOPE]
    x[SLOPE] = -x[SLOPE]
    reset_sums(x)


@kernel
def minus_two_loglik(x, relative):
    """Give -2 log-likelihood of the sums in ``x``, the variance concentrated out."""
    n = x[COUNT]
    total = x[RSSE] if relative else x[SSE]
    if not total < _BIG or n == 0.0:
        return _BIG
    value = n * (math.log(_TWO_PI * max(total, 1e-300) / n) + 1.0)
    return value + 2.0 * x[LOGS] if relative else value


@kernel
def set_smoothing(u, trend, damped, season, smoothing):
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
def objective(u, y, n, form, m, end, smoothing, x):
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
    advance(y, 0, n, 1, season, m, smoothing, x)
    if criterion == ABSOLUTE:
        if not x[ABSE] < _BIG:
            return _BIG
        return 2.0 * n * math.log(max(x[ABSE], 1e-300)) + penalty
    return minus_two_loglik(x, relative) + penalty


@kernel
def fit(y, n, form, m, u, tolerance, most, smoothing, x):
    """Minimise the objective over the unit cube by Nelder and Mead (1965) from ``u``.

    On return ``u`` is the best point, ``smoothing`` its parameters, ``x`` the states after the
    last value. Gives the number of evaluations.
    """
    end = np.zeros(HEAD + m)
    end_states(y, n, form[1], form[3], m, end)
    p = set_smoothing(u, form[1], form[2], form[3], smoothing)
    simplex = np.zeros((5, 4))
    values = np.zeros(5)
    centre = np.zeros(4)
    trial = np.zeros(4)
    other = np.zeros(4)
    for i in range(p + 1):
        for j in range(4):
            simplex[i, j] = u[j]
        if i > 0:
            j = i - 1
            simplex[i, j] += 0.25 if u[j] < 0.5 else -0.25
    for i in range(p + 1):
        values[i] = objective(simplex[i], y, n, form, m, end, smoothing, x)
    used = p + 1
    while used < most:
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
        if values[worst] - values[best] <= tolerance:
            break
        for j in range(p):
            centre[j] = 0.0
            for i in range(p + 1):
                if i != worst:
                    centre[j] += simplex[i, j] / p
            trial[j] = 2.0 * centre[j] - simplex[worst, j]
        value = objective(trial, y, n, form, m, end, smoothing, x)
        used += 1
        if value < values[best]:
            for j in range(p):
                other[j] = 3.0 * centre[j] - 2.0 * simplex[worst, j]
            further = objective(other, y, n, form, m, end, smoothing, x)
            used += 1
            if further < value:
                value = further
                for j in range(p):
                    trial[j] = other[j]
        elif value >= values[second]:
            side = 0.5 if value < values[worst] else -0.5
            for j in range(p):
                other[j] = centre[j] + side * (centre[j] - simplex[worst, j])
            inside = objective(other, y, n, form, m, end, smoothing, x)
            used += 1
            if inside < min(value, values[worst]):
                value = inside
                for j in range(p):
                    trial[j] = other[j]
            elif value >= values[worst]:
                for i in range(p + 1):
                    if i != best:
                        for j in range(p):
                            simplex[i, j] = 0.5 * (simplex[i, j] + simplex[best, j])
                        values[i] = objective(simplex[i], y, n, form, m, end, smoothing, x)
                        used += 1
                continue
        for j in range(p):
            simplex[worst, j] = trial[j]
        values[worst] = value
    best = 0
    for i in range(1, p + 1):
        if values[i] < values[best]:
            best = i
    for j in range(4):
        u[j] = simplex[best, j]
    objective(u, y, n, form, m, end, smoothing, x)
    return used


@kernel
def forecast(x, n, season, m, phi, mean):
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
def roll(y, form, m, cutoffs, u, tolerance, most, smoothing, x, forecasts, loglik):
    """Fit before the first cutoff, then walk on: what each window would have been told.

    Writes the forecasts [W, H] made at each cutoff with the parameters of the first, and -2
    log-likelihood at each cutoff and at the end [W + 1]. Gives the number of evaluations.
    """
    used = fit(y, cutoffs[0], form, m, u, tolerance, most, smoothing, x)
    at = cutoffs[0]
    for w in range(len(cutoffs)):
        advance(y, at, cutoffs[w] - at, 1, form[3], m, smoothing, x)
        at = cutoffs[w]
        loglik[w] = minus_two_loglik(x, form[0])
        forecast(x, at, form[3], m, smoothing[3], forecasts[w])
    advance(y, at, len(y) - at, 1, form[3], m, smoothing, x)
    loglik[len(cutoffs)] = minus_two_loglik(x, form[0])
    return used


@kernel
def variance(x, n, form, m, smoothing, mean, out):
    """Write the variance of the forecasts ``mean`` [H] to ``out`` [H].

    Hyndman, Koehler, Ord and Snyder (2008), table 6.1: class 1 for an additive error, class 2 for
    a multiplicative error with at most an additive season, class 3 with a multiplicative season.
    """
    relative, season = form[0], form[3]
    alpha, beta, gamma, phi = smoothing[0], smoothing[1], smoothing[2], smoothing[3]
    sigma2 = (x[RSSE] if relative else x[SSE]) / x[COUNT]
    h = len(mean)
    # c[j], the effect of an error on the level-and-trend j steps on; theta as in the table
    c = np.zeros(h)
    theta = np.zeros(h)
    growth = 0.0
    power = 1.0
    for k in range(h):
        s = 1.0
        if season == MULTIPLICATIVE:
            s = x[HEAD + (n + k) % m]
        base = mean[k] / s
        spread = 0.0
        for j in range(1, k + 1):
            spread += c[j] * c[j] * (theta[k - j] if relative else 1.0)
        theta[k] = base * base + sigma2 * spread
        if not relative:
            out[k] = sigma2 * (1.0 + spread)
        elif season == MULTIPLICATIVE:
            seasons = (1.0 + gamma * gamma * sigma2) ** (k // m)
            out[k] = s * s * (theta[k] * (1.0 + sigma2) * seasons - base * base)
        else:
            out[k] = theta[k] * (1.0 + sigma2) - base * base
        power *= phi
        growth += power
        if k + 1 < h:
            c[k + 1] = alpha + beta * growth
            if season == ADDITIVE and (k + 1) % m == 0:
                c[k + 1] += gamma


@kernel
def boxcox(y, lam, out):
    """Write the Box-Cox transform of ``y`` to ``out``; NaN stays NaN. Gives the sum of log(y)."""
    logs = 0.0
    for t in range(len(y)):
        if y[t] == y[t]:
            if lam == 0.0:
                out[t] = math.log(y[t])
            else:
                out[t] = (y[t] ** lam - 1.0) / lam
            if y[t] > 0.0:
                logs += math.log(y[t])
        else:
            out[t] = y[t]
    return logs


@kernel
def inverse_boxcox(z, lam, out):
    """Write the inverse of the Box-Cox transform to ``out``; below its range gives 0."""
    for k in range(len(z)):
        if lam == 0.0:
            out[k] = math.exp(z[k])
        else:
            base = lam * z[k] + 1.0
            out[k] = base ** (1.0 / lam) if base > 0.0 else 0.0
