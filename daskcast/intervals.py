"""Intervals around a point forecast.

Covers half widths from a standard deviation (a scaled Student's t, learned) or from the errors on
enough windows (conformal), and bounds that keep to zero and above. Does not cover the standard
deviation itself (``models``, ``tune``).

Few windows give no quantiles: of W errors the largest covers W / (W + 1), so that 80 % needs 4 and
95 % needs 19. With fewer, the half width is the standard deviation times a quantile of Student's t,
scaled by ``inflation``: models are too sure of themselves, the more so the further they look.

Shapes: W windows, H steps, L levels.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import stdtrit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.records import Floats


class Inflation(NamedTuple):
    """What an interval is widened by: degrees of freedom, and a scale that grows with the step."""

    degrees: float
    first: float
    growth: float

    def scale(self, h: int) -> Floats:
        """Give the scale of each step, ``first * step ** growth``, [H]."""
        steps = np.minimum(np.arange(1.0, h + 1), LAST_STEP)
        scales: Floats = self.first * steps**self.growth
        return scales


#: By the shortest season length that it is for; learned by bench/inflation.py.
INFLATION: dict[int, Inflation] = {
    1: Inflation(3.0, 0.763, 0.361),
    2: Inflation(3.0, 0.918, 0.175),
    5: Inflation(4.0, 0.932, 0.02),
}
#: Steps from which on the scale no longer grows: nothing was learned that far ahead.
LAST_STEP = 24
#: Fewest windows from which errors are kept: those that the lowest usual level needs.
LEAST_WINDOWS = 4


def inflation(season_length: int) -> Inflation:
    """Look up what an interval of data with this season length is widened by.

    Examples
    --------
    >>> inflation(4) == inflation(2) != inflation(12)
    True
    """
    seasons = sorted(INFLATION)
    return INFLATION[seasons[bisect_right(seasons, season_length) - 1]]


@lru_cache(maxsize=256)
def quantile(level: float, degrees: float) -> float:
    """Give the half width of a central interval of Student's t.

    Examples
    --------
    >>> round(quantile(95, 4.0), 3)
    2.776
    """
    return float(stdtrit(degrees, 0.5 + level / 200.0))


def scores(truth: Floats, mean: Floats, sd: Floats) -> tuple[tuple[float, ...], ...]:
    """Give the absolute errors on windows in standard deviations, sorted, for each step.

    Parameters
    ----------
    truth, mean, sd : ndarray of float64, shape [W, H]
        Of each window, as known then; errors that are not known are left out.

    Returns
    -------
    tuple of tuple of float, length H
        Empty where there are too few windows for any usual level.
    """
    if len(truth) < LEAST_WINDOWS:
        return ()
    with np.errstate(all="ignore"):
        errors = np.abs(truth - mean) / sd
    return tuple(tuple(sorted(map(float, step[np.isfinite(step)]))) for step in errors.T)


def half_widths(
    sd: Floats,
    levels: Sequence[float],
    season_length: int,
    known: Sequence[Sequence[float]] = (),
) -> Floats:
    """Give the half width of each central interval.

    Parameters
    ----------
    sd : ndarray of float64, shape [H]
    levels : sequence of float, length L
        In percent, ascending.
    season_length : int
    known : sequence of sequence of float
        What :func:`scores` gave; steps beyond it have none.

    Returns
    -------
    ndarray of float64, shape [L, H]
        Never narrower for a higher level.

    References
    ----------
    Vovk, Gammerman and Shafer (2005), Algorithmic Learning in a Random World, for the rank of the
    error that covers a level.

    Examples
    --------
    >>> import numpy as np
    >>> narrow, wide = half_widths(np.array([1.0, 2.0]), (80, 95), 12)
    >>> bool(np.all(narrow < wide))
    True
    """
    widening = inflation(season_length)
    scale = widening.scale(len(sd))
    factors = np.array([scale * quantile(level, widening.degrees) for level in levels])
    for row, level in zip(factors, levels, strict=True):
        for step, errors in enumerate(known[: len(sd)]):
            rank = math.ceil((len(errors) + 1) * level / 100.0 - 1e-9)
            if 1 <= rank <= len(errors):
                row[step] = errors[rank - 1]
    widths: Floats = np.maximum.accumulate(factors, axis=0) * sd
    return widths


def bounds(mean: Floats, widths: Floats) -> tuple[Floats, Floats]:
    """Give the bounds of intervals that lie evenly around their mean.

    Parameters
    ----------
    mean : ndarray of float64, shape [H]
    widths : ndarray of float64, shape [L, H]

    Returns
    -------
    lo, hi : ndarray of float64, shape [L, H]
    """
    return mean - widths, mean + widths


def positive_bounds(mean: Floats, widths: Floats) -> tuple[Floats, Floats]:
    """Give bounds of the same width that lie evenly around their mean on the scale of logs.

    They stay above zero, unless a bound is too small for a number. With mean m and half width w
    the ratio of both bounds to the mean is the same, and their distance 2 w:
    ``sqrt(m ** 2 + w ** 2) -+ w``.

    Parameters
    ----------
    mean : ndarray of float64, shape [H]
        Above zero.
    widths : ndarray of float64, shape [L, H]

    Examples
    --------
    >>> import numpy as np
    >>> positive_bounds(np.array([3.0]), np.array([[4.0]]))
    (array([[1.]]), array([[9.]]))
    """
    middle = np.hypot(mean, widths)
    # by the product of both bounds, not by their difference: no digit is lost near zero
    return mean * (mean / (middle + widths)), middle + widths


def censored_bounds(mean: Floats, widths: Floats) -> tuple[Floats, Floats]:
    """Give even bounds of what cannot be below zero and is often zero itself.

    What a forecast puts below zero is the chance of a zero: a bound there is zero.

    Parameters
    ----------
    mean : ndarray of float64, shape [H]
        Not below zero.
    widths : ndarray of float64, shape [L, H]
    """
    return np.maximum(mean - widths, 0.0), mean + widths
