"""Errors and intervals against what came, one number for each series.

Covers the measures of the accuracy benchmark, and their means with how many series they stand on.
Does not cover forecasting.

N series, H steps, L levels. ``mean`` and ``test`` are [N, H], ``low`` and ``high`` [N, L, H]. A
series without a forecast has NaN, and so has a scaled measure of a series whose scale is zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEVELS = (80, 95)
NAMES = ("mase", "smape", "coverage_80", "coverage_95", "msis_80", "msis_95")


def seasonal_scale(train: Sequence[np.ndarray], season: int) -> np.ndarray:
    """Give the mean error of the seasonal naive method within each past [N], NaN where zero."""
    scale = np.array([np.abs(y[season:] - y[:-season]).mean() for y in train])
    return np.where(scale > 0, scale, np.nan)


def mase(mean: np.ndarray, test: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Mean absolute error, in units of the scale [N] (Hyndman and Koehler, 2006)."""
    return np.abs(mean - test).mean(axis=1) / scale


def smape(mean: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Symmetric percentage error [N], from 0 to 200; a zero that was forecast as zero is right."""
    error, size = np.abs(mean - test), np.abs(mean) + np.abs(test)
    return 200 * np.divide(error, size, out=np.zeros_like(size), where=size != 0).mean(axis=1)


def coverage(low: np.ndarray, high: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Percentage of the steps that lie within one level's bounds [N, H]: [N]."""
    within = np.where(np.isnan(low) | np.isnan(high), np.nan, (low <= test) & (test <= high))
    return 100 * within.mean(axis=1)


def msis(
    low: np.ndarray, high: np.ndarray, test: np.ndarray, *, level: int, scale: np.ndarray
) -> np.ndarray:
    """Interval score of one level's bounds, in units of the scale [N] (Gneiting, Raftery, 2007).

    The width, and 2 / alpha times the distance of what lies outside, as in the M4 competition.
    """
    miss = np.clip(low - test, 0, None) + np.clip(test - high, 0, None)
    return (high - low + 2 / (1 - level / 100) * miss).mean(axis=1) / scale


def all_of(
    mean: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray] | None,
    test: np.ndarray,
    scale: np.ndarray,
) -> dict[str, np.ndarray]:
    """Give every measure [N] by name; without bounds there are two."""
    found = {"mase": mase(mean, test, scale), "smape": smape(mean, test)}
    if bounds is None:
        return found
    for k, level in enumerate(LEVELS):
        low, high = bounds[0][:, k], bounds[1][:, k]
        found[f"coverage_{level}"] = coverage(low, high, test)
        found[f"msis_{level}"] = msis(low, high, test, level=level, scale=scale)
    return found


def summary(values: np.ndarray) -> dict[str, float | int | None]:
    """Give the mean of what is there, and how many of how many series that is."""
    there = values[np.isfinite(values)]
    mean = round(float(there.mean()), 4) if there.size else None
    return {"mean": mean, "n_ok": int(there.size), "n_total": int(values.size)}
