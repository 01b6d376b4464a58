"""Intervals around a point forecast.

Covers normal intervals from a standard deviation. Does not cover the variance itself (``models``,
``tune``).
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from daskcast.records import Floats


@lru_cache(maxsize=64)
def half_widths(levels: tuple[float, ...]) -> tuple[float, ...]:
    """Give the half width of each central normal interval, in standard deviations.

    Parameters
    ----------
    levels : tuple of float
        In percent.

    Examples
    --------
    >>> [round(w, 2) for w in half_widths((80, 95))]
    [1.28, 1.96]
    """
    return tuple(NormalDist().inv_cdf(0.5 + level / 200.0) for level in levels)


def normal(mean: Floats, sd: Floats, levels: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Give the bounds of the central normal intervals.

    Parameters
    ----------
    mean, sd : ndarray of float64, shape [H]
    levels : tuple of float, length L
        In percent.

    Returns
    -------
    lo, hi : ndarray of float64, shape [L, H]
    """
    reach = np.array(half_widths(levels))[:, None] * sd
    return mean - reach, mean + reach
