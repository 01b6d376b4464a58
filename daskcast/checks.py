"""Validation checks of one entity's forecast.

Covers what is verified and noted of each entity, as JSON-ready values under fixed names. Does not
cover what a failed check leads to (``task``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import chdtrc

from daskcast.features import not_modelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.records import Floats, Forecast, Scores, Series


def check_entity(
    series: Series,
    scores: Scores,
    *,
    wanted_windows: int,
    needed: int | None,
    scaled: bool,
    stopped_by: str,
) -> dict[str, Any]:
    """Check one entity.

    Parameters
    ----------
    series : Series
    scores : Scores
    wanted_windows : int
    needed : int or None
        Observations before the first window; None where nothing was tuned.
    scaled : bool
        False where the seasonal naive error is zero or unknown before some window.
    stopped_by : str

    Returns
    -------
    dict
        ``beats_seasonal_naive`` (null where not known), ``missing`` (missing observations),
        ``not_modelled`` (seasons, holidays and shocks, one sentence each), ``repairs``,
        ``reproducible``, ``scale_defined``, ``windows``.
    """
    return {
        "beats_seasonal_naive": None if math.isnan(scores.skill) else scores.skill > 0,
        "missing": int(np.count_nonzero(np.isnan(series.y))),
        "not_modelled": [
            str(found)
            for found in not_modelled(series.y, series.cutoff, series.freq, series.season_length)
        ],
        "repairs": list(series.repairs),
        "reproducible": stopped_by != "time",
        "scale_defined": scaled if scores.n_windows else None,
        "windows": _windows(series, scores, wanted_windows, needed),
    }


def broken(series: Series, forecast: Forecast, *, within_reach: bool) -> list[str]:
    """Name the hard checks that a forecast fails: what fails one is not delivered.

    Parameters
    ----------
    series : Series
    forecast : Forecast
    within_reach : bool
        Whether the point forecast keeps within reach of the past; see the rule in ``tune.reach``.

    Returns
    -------
    list of str
        ``finite``, ``nested``, ``dates``, ``growth``.
    """
    lo, mean, hi = forecast.lo, forecast.mean, forecast.hi
    times = forecast.times
    sound = {
        "finite": all(map(finite, (mean, lo, hi))),
        "nested": bool(
            np.all(lo <= mean)
            and np.all(mean <= hi)
            and np.all(np.diff(lo, axis=0) <= 0)
            and np.all(np.diff(hi, axis=0) >= 0)
        ),
        "dates": len(times) == len(mean)
        and bool(np.all(times[1:] > times[:-1]))  # type: ignore[operator]  # alike, both
        and (series.cutoff is None or not len(times) or bool(times[0] > series.cutoff)),
        "growth": within_reach,
    }
    return [name for name, holds in sound.items() if not holds]


def coverage(
    truth: Floats, lo: Floats, hi: Floats, levels: Sequence[float]
) -> dict[str, float] | None:
    """Give the share of what came that lies within the intervals of the windows, by level.

    Parameters
    ----------
    truth : ndarray of float64, shape [W, H]
    lo, hi : ndarray of float64, shape [W, L, H]
    levels : sequence of float, length L

    Returns
    -------
    dict or None
        Level to share; None where nothing that came is known.
    """
    known = ~np.isnan(truth)
    if not known.any():
        return None
    inside = (lo <= truth[:, None]) & (truth[:, None] <= hi)
    shares = [float(inside[:, k][known].mean()) for k in range(len(levels))]
    return {f"{level:g}": share for level, share in zip(levels, shares, strict=True)}


def ljung_box(residuals: Floats, season_length: int) -> float | None:
    """Give the p value of Ljung and Box's test: small where residuals still hold a pattern.

    Over two seasons of lags, ten without a season, and no more than a fifth of the series. Own
    code, since importing the library that has it would cost each worker a second.

    Parameters
    ----------
    residuals : ndarray of float64, shape [T]
        NaN where an observation is missing.
    season_length : int

    Returns
    -------
    float or None
        None where there are too few residuals, or none that differ.

    References
    ----------
    Ljung and Box (1978), On a measure of lack of fit in time series models.

    Examples
    --------
    >>> ljung_box(np.tile([1.0, -1.0], 30), 1) < 0.001
    True
    """
    known = ~np.isnan(residuals)
    n = int(known.sum())
    lags = min(2 * season_length if season_length > 1 else 10, n // 5)
    if lags < 1:
        return None
    centred = np.where(known, residuals - residuals[known].mean(), 0.0)
    total = float((centred * centred).sum())
    if not total > 0.0:
        return None
    q = 0.0
    for k in range(1, lags + 1):
        correlation = float((centred[k:] * centred[:-k]).sum()) / total
        q += correlation * correlation / (n - k)
    return float(chdtrc(lags, n * (n + 2.0) * q))


def finite(values: Floats) -> bool:
    """Tell whether every value is a finite number."""
    return bool(np.all(np.isfinite(values)))


def _windows(series: Series, scores: Scores, wanted: int, needed: int | None) -> str:
    if scores.n_windows:
        return f"{scores.n_windows} of {wanted}"
    if not wanted:
        return "none wanted"
    if needed is None:
        return "none: nothing was tuned"
    return (
        f"none: the first needs {needed} observations before a horizon of {len(series.future)}, "
        f"the series has {len(series.y)} steps"
    )
