"""Rolling-origin windows: where the past ends and what is then scored.

Covers the choice of cutoffs. Does not cover what is scored on them (``metrics``, ``tune``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from daskcast.records import Floats


def cutoffs(
    y: Floats, h: int, *, n_windows: int, step_size: int | None, least: int
) -> NDArray[np.int64]:
    """Choose the cutoffs of an entity's windows.

    The last window ends with the series. Without a step, windows follow each other without
    overlap where the past is long enough, and move closer together where it is not.

    Parameters
    ----------
    y : ndarray of float64, shape [T]
        NaN where an observation is missing.
    h : int
        Steps scored after each cutoff.
    n_windows : int
        Windows wanted; fewer are given where they do not hold.
    step_size : int or None
        Steps between two cutoffs.
    least : int
        Fewest observations before the first cutoff.

    Returns
    -------
    ndarray of int64, shape [W]
        Ascending positions in ``y``; empty where not one window holds. A window without any
        observation to score is left out.

    Examples
    --------
    >>> import numpy as np
    >>> cutoffs(np.arange(60.0), 12, n_windows=3, step_size=None, least=24)
    array([24, 36, 48])
    """
    if n_windows < 1:
        return np.empty(0, dtype=np.int64)
    last = len(y) - h
    seen = np.cumsum(~np.isnan(y))
    first = int(np.searchsorted(seen, least)) + 1
    step = step_size
    if step is None:
        step = h if n_windows == 1 else min(max((last - first) // (n_windows - 1), 1), h)
    places = [last - k * step for k in range(n_windows)]
    held = [c for c in places if c >= first and seen[c + h - 1] > seen[c - 1]]
    return np.array(held[::-1], dtype=np.int64)
