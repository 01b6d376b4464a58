"""Exponential smoothing: error, trend, season, optional Box-Cox.

Covers which forms are admissible for an entity, their AICc, and calls of the compiled kernels.
Does not cover the arithmetic (``kernels``) nor how forms are chosen and blended (``tune``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from daskcast.errors import EntityError
from daskcast.models import ahead, kernels, scale, simplex
from daskcast.models.base import Fitted, Rolled, Space

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.models.base import Point, View
    from daskcast.records import Floats

TRENDS = ("N", "Ad", "A")
SEASONS = ("N", "A", "M")
CRITERIA = ("likelihood", "absolute")
POWERS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
ORDER = (
    "MAdM",
    "AAdA",
    "MNM",
    "ANA",
    "MAM",
    "AAA",
    "MAdA",
    "MNA",
    "MAA",
    "AAdN",
    "ANN",
    "AAN",
    "MAdN",
    "MNN",
    "MAN",
)
#: fewest observations for any form
LEAST = 6

_NAMES = ("alpha", "beta", "gamma", "phi")
_TOLERANCE = 1e-2
_MOST = 400
_START = 0.3
#: groups of points that make the portfolio, see _rank
_PORTFOLIO = 1
_INFINITE = 1e299
#: coordinates of a point, see _encode
_N_CODES = 6


def admissible(error: str, trend: str, season: str) -> bool:
    """Tell whether a form is stable and has a forecast variance: not ``(A, *, M)``."""
    return trend in TRENDS and season in SEASONS and not (error == "A" and season == "M")


def n_params(trend: str, season: str, season_length: int) -> int:
    """Count smoothing parameters, initial states and the variance, as AICc does."""
    return 3 + 2 * (trend != "N") + (trend == "Ad") + (season_length if season != "N" else 0)


def needs(trend: str, season: str, season_length: int) -> int:
    """Give the fewest observations on which the form is tried."""
    seasons = 2 * season_length + 1 if season != "N" else 0
    return max(LEAST, seasons, n_params(trend, season, season_length) + 2)


class ETS:
    """Exponential smoothing in innovations state-space form (Hyndman et al., 2008).

    Initial states are backcast: a pass over the series from its end gives the states before its
    first value. Parameters are found by Nelder and Mead's method within the usual region,
    ``0 < alpha < 1, 0 < beta < alpha, 0 < gamma < 1 - alpha, 0.8 <= phi <= 0.98``, by likelihood
    or by the sum of absolute errors. Additive forms are also fitted to Box-Cox transforms, then
    the likelihood carries the Jacobian and the point forecast is a median.

    References
    ----------
    Hyndman, Koehler, Ord and Snyder (2008), Forecasting with Exponential Smoothing, Springer.

    Examples
    --------
    >>> from daskcast.models.ets import ETS
    >>> ETS().label({"error": "M", "trend": "Ad", "season": "M", "power": 1.0,
    ...              "criterion": "likelihood"})
    'ETS(M,Ad,M)'
    """

    name = "ets"
    scope: Literal["entity", "panel"] = "entity"

    def space(self, view: View) -> Space:
        """Give all admissible points for this entity."""
        forms = tuple(
            (e, t, s) for s in SEASONS for t in TRENDS for e in ("A", "M") if _fits(view, e, t, s)
        )
        return _space(forms, 1 if view.low > 0 else 0 if view.low == 0 else -1)

    def label(self, point: Point) -> str:
        """Give the name of the form, with the Box-Cox power where there is one."""
        form = f"ETS({point['error']},{point['trend']},{point['season']})"
        return form if point["power"] == 1 else f"{form} power {point['power']:g}"

    def roll(self, view: View, point: Point) -> Rolled:
        """Fit before the first cutoff and walk on with these parameters."""
        power = _power(point)
        z, shift = scale.transform(view, power)
        m = view.season_length
        form = _form(point)
        n_windows = len(view.cutoffs)
        forecasts = np.empty((n_windows, view.h))
        spread = np.empty((n_windows, view.h))
        loglik = np.empty(n_windows + 1)
        u = np.full(4, _START)
        smoothing = np.empty(4)
        x = np.empty(kernels.HEAD + m)
        first = int(view.cutoffs[0])
        simplex.fit(z, first, form, m, u, _TOLERANCE, _MOST, smoothing, x)
        ahead.walk_on(z, form, m, view.cutoffs, smoothing, x, forecasts, spread, loglik)
        # a likelihood lost later weighs nothing from there on; windows before it must not know
        if not loglik[0] < _INFINITE:
            raise EntityError(f"{self.label(point)} has no finite likelihood")
        forecasts, sd = scale.restore(forecasts, spread, power, shift)
        return Rolled(forecasts, sd, _aicc(loglik, point, view))

    def finish(self, view: View, point: Point, params: Mapping[str, float] | None = None) -> Fitted:
        """Fit to all of the past, and forecast."""
        if point["error"] == "M" and view.low <= 0:  # of a past that has grown since the search
            raise EntityError(f"{self.label(point)} needs values above 0, found {view.low:g}")
        power = _power(point)
        kept_shift = None if params is None else params.get("shift")
        z, shift = scale.transform(view, power, kept_shift)
        m = view.season_length
        form = _form(point)
        x = np.empty(kernels.HEAD + m)
        if params is None:
            smoothing = np.empty(len(_NAMES))
            u = np.full(4, _START)
            simplex.fit(z, len(z), form, m, u, _TOLERANCE, _MOST, smoothing, x)
        else:
            smoothing = np.array([params[name] for name in _NAMES])
            kernels.settle(z, len(z), form, m, smoothing, x)
        value = kernels.minus_two_loglik(x, form[0])
        if not value < _INFINITE:
            raise EntityError(f"{self.label(point)} has no finite likelihood")
        mean = np.empty(view.h)
        spread = np.empty(view.h)
        ahead.forecast(x, len(z), form[3], m, smoothing[3], mean)
        ahead.variance(x, len(z), form, m, smoothing, mean, spread)
        mean, sd = scale.restore(mean, spread, power, shift)
        aicc = float(_aicc(np.array([value]), point, view, last=True)[0])
        residuals = np.empty(len(z))
        kernels.residuals(z, len(z), form, m, smoothing, residuals)
        found = dict(zip(_NAMES, map(float, smoothing), strict=True))
        if power != 1:
            found["shift"] = shift
        return Fitted(mean, sd, aicc, found, residuals)


def _fits(view: View, error: str, trend: str, season: str) -> bool:
    if not admissible(error, trend, season):
        return False
    if error == "M" and view.low <= 0:
        return False
    if season != "N" and view.season_length == 1:
        return False
    return view.first_obs >= needs(trend, season, view.season_length)


@lru_cache(maxsize=256)
def _space(forms: tuple[tuple[str, str, str], ...], sign: int) -> Space:
    """Build the space of the forms for data that is positive (1), has zeros (0) or less (-1)."""
    plain: list[Point] = [
        {"error": e, "trend": t, "season": s, "power": 1.0, "criterion": c}
        for c in CRITERIA
        for e, t, s in forms
    ]
    powers = [p for p in POWERS if sign > 0 or (sign == 0 and p > 0)]
    transformed = [{**p, "power": power} for power in powers for p in plain if p["error"] == "A"]
    points = tuple(sorted([*plain, *transformed], key=_rank))
    codes = np.array([_encode(p) for p in points]).reshape(len(points), _N_CODES)
    return Space(points, codes, n_portfolio=sum(_rank(p)[0] <= _PORTFOLIO for p in points))


def _encode(point: Point) -> tuple[float, ...]:
    """Give the coordinates of a point: forms that forecast alike lie close together."""
    season = {"N": (0.0, 0.0), "A": (1.0, 0.0), "M": (1.0, 0.7)}[str(point["season"])]
    return (
        0.7 * (point["error"] == "M"),
        {"N": 0.0, "Ad": 0.7, "A": 1.2}[str(point["trend"])],
        *season,
        float(point["power"] or 0.0),
        0.5 * (point["criterion"] == "absolute"),
    )


def _rank(point: Point) -> tuple[int, int]:
    """Rank points for the first trials: plain forms by merit, then roots, logs, the rest."""
    power, criterion = point["power"], point["criterion"]
    if power == 1 and criterion == "likelihood":
        group = 0
    elif power in (0.5, 0.0) and criterion == "likelihood":
        group = 1
    elif power == 1:
        group = 2
    else:
        group = 3
    return group, ORDER.index(f"{point['error']}{point['trend']}{point['season']}")


def _form(point: Point) -> np.ndarray:
    return np.array(
        [
            point["error"] == "M",
            point["trend"] != "N",
            point["trend"] == "Ad",
            SEASONS.index(str(point["season"])),
            CRITERIA.index(str(point["criterion"])),
        ],
        dtype=np.int64,
    )


def _aicc(minus_two_loglik: Floats, point: Point, view: View, *, last: bool = False) -> Floats:
    """Give AICc on the scale of the data, before each cutoff and in all, or in all alone."""
    at = slice(-1, None) if last else slice(None)
    power = _power(point)
    k = n_params(str(point["trend"]), str(point["season"]), view.season_length)
    left = np.maximum(view.counts[at] - k - 1.0, 0.5)
    value = minus_two_loglik + 2.0 * k + 2.0 * k * (k + 1.0) / left
    return value if power == 1 else value - 2.0 * (power - 1.0) * scale.log_sums(view)[at]


def _power(point: Point) -> float:
    return float(point["power"])  # type: ignore[arg-type]
