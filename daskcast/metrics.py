"""Errors of forecasts and their scales.

Covers what windows are scored with; a missing actual value is not scored. Does not cover which
forecasts are compared (``tune``).

Shapes: W windows, H steps; the error arrays are [W].
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from daskcast.records import Floats


def unit_of(y: Floats) -> float:
    """Give the power of two near the mean size of a series.

    Models see the series in this unit, so that neither squares of huge values overflow nor those of
    tiny ones vanish. Dividing by a power of two loses no bit.

    Parameters
    ----------
    y : ndarray of float64, shape [T]
        With at least one observation.

    Examples
    --------
    >>> import numpy as np
    >>> unit_of(np.array([3.0, 5.0, np.nan]))
    8.0
    """
    size = float(np.nanmean(np.abs(y)))
    return float(2.0 ** min(max(math.frexp(size)[1], -1022), 1023)) if size > 0 else 1.0


def actuals(y: Floats, cutoffs: NDArray[np.int64], h: int) -> Floats:
    """Gather what came after each cutoff.

    Parameters
    ----------
    y : ndarray of float64, shape [T]
    cutoffs : ndarray of int64, shape [W]
    h : int

    Returns
    -------
    ndarray of float64, shape [W, H]

    Examples
    --------
    >>> import numpy as np
    >>> actuals(np.arange(5.0), np.array([2, 3]), 2)
    array([[2., 3.],
           [3., 4.]])
    """
    truth: Floats = y[cutoffs[:, None] + np.arange(h)]
    return truth


def naive_scales(
    y: Floats, cutoffs: NDArray[np.int64], season_length: int
) -> tuple[Floats, Floats]:
    """Give the in-sample errors of the seasonal naive forecast before each cutoff.

    Parameters
    ----------
    y : ndarray of float64, shape [T]
    cutoffs : ndarray of int64, shape [W]
    season_length : int

    Returns
    -------
    mae, mse : ndarray of float64, shape [W]
        Mean absolute and mean squared seasonal difference; NaN where there is none.

    References
    ----------
    Hyndman and Koehler (2006), Another look at measures of forecast accuracy.

    Examples
    --------
    >>> import numpy as np
    >>> naive_scales(np.array([1.0, 2.0, 4.0, 7.0]), np.array([3, 4]), 1)
    (array([1.5, 2. ]), array([2.5       , 4.66666667]))
    """
    differences = y[season_length:] - y[:-season_length] if len(y) > season_length else y[:0]
    known = ~np.isnan(differences)
    filled = np.where(known, differences, 0.0)
    at = np.maximum(cutoffs - season_length, 0)
    count = np.concatenate([[0.0], np.cumsum(known)])[at]
    absolute = np.concatenate([[0.0], np.cumsum(np.abs(filled))])[at]
    square = np.concatenate([[0.0], np.cumsum(filled * filled)])[at]
    count = np.where(count > 0, count, np.nan)
    return absolute / count, square / count


def mae(forecasts: Floats, truth: Floats) -> Floats:
    """Give the mean absolute error of each window, shape [..., W]."""
    return _mean(np.abs(forecasts - truth), truth)


def mse(forecasts: Floats, truth: Floats) -> Floats:
    """Give the mean squared error of each window, shape [..., W]."""
    return _mean((forecasts - truth) ** 2, truth)


def smape(forecasts: Floats, truth: Floats) -> Floats:
    """Give the symmetric mean absolute percentage error of each window, from 0 to 200.

    Where forecast and truth are both zero the error is zero.

    Examples
    --------
    >>> import numpy as np
    >>> smape(np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]]))
    array([50.])
    """
    size = np.abs(forecasts) + np.abs(truth)
    ratio = np.abs(forecasts - truth) / np.where(size > 0, size, 1.0)
    return _mean(200.0 * ratio, truth)


def _mean(errors: Floats, truth: Floats) -> Floats:
    """Average over the last axis where the truth is known."""
    known = ~np.isnan(truth)
    total = np.where(known, errors, 0.0).sum(axis=-1)
    result: Floats = total / known.sum(axis=-1)
    return result
