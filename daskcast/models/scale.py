"""The scale on which a form is fitted: a Box-Cox power of the data, and the way back.

Covers the shift of data with zeros, the Jacobian, and moments on the scale of the data. Does not
cover the compiled transform (``boxcox``) nor which powers are tried (``ets``, ``adjusted``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from daskcast.errors import EntityError
from daskcast.models import boxcox

if TYPE_CHECKING:
    from daskcast.models.base import View
    from daskcast.records import Floats


def transform(view: View, power: float, kept_shift: float | None = None) -> tuple[Floats, float]:
    """Give the series on the scale of the fit, and the shift that made it positive.

    Parameters that are kept hold on the scale on which they were fitted: its shift is kept too.
    """
    if power == 1:
        return view.y, 0.0
    if view.low < 0:
        raise EntityError(f"a power of {power:g} needs values from 0 on, found {view.low:g}")
    shift = _logs(view)[0] if kept_shift is None else kept_shift
    z = np.empty_like(view.y)
    boxcox.transform(view.y + shift, power, z)
    return z, shift


def restore(mean: Floats, variance: Floats, power: float, shift: float) -> tuple[Floats, Floats]:
    """Give mean and standard deviation on the scale of the data.

    On a scale of its own the point becomes a median, and the standard deviation half of what lies
    between one below and one above it.
    """
    sd = np.sqrt(variance)
    if power == 1:
        return mean, sd
    low, high = mean - sd, mean + sd
    for part in (mean, low, high):
        flat = part.reshape(-1)
        boxcox.inverse(flat, power, flat)
    return mean - shift, 0.5 * (high - low)


def log_sums(view: View) -> Floats:
    """Give the sum of the logs before each cutoff and in all, [W + 1], for the Jacobian."""
    return _logs(view)[1]


@lru_cache(maxsize=16)
def _logs(view: View) -> tuple[float, Floats]:
    """Give the shift of a view, and its sums of logs.

    Where there are zeros the shift is half the smallest positive value before the first window.
    """
    shift = 0.0
    if view.low <= 0:
        past = view.y[: view.cutoffs[0]] if len(view.cutoffs) else view.y
        positive = past[past > 0]
        shift = 0.5 * float(positive.min()) if len(positive) else 1.0
    log_y = np.log(view.y + shift)
    sums = np.cumsum(np.where(np.isnan(log_y), 0.0, log_y))
    return shift, sums[[*(view.cutoffs - 1), -1]]
