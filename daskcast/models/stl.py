"""STL with exponential smoothing.

Covers the decomposition (by statsmodels), and forecasts of what is left by the package's own
compiled exponential smoothing (``ets``). ``STLForecast`` of statsmodels would fit each form with
statsmodels' exponential smoothing: at two hundred times the cost, without the backcast initial
states, the multiplicative errors and the parameters that this package keeps, and not on a series
with a gap.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from daskcast.errors import EntityError
from daskcast.models.base import Fitted, Rolled, Space, view_of
from daskcast.models.ets import ETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.models.base import Point, View
    from daskcast.records import Floats

#: values that a seasonal smoother of STL spans; R's stlf takes this many for a single season
_SPAN = 13
_ETS = ETS()


class StlEts:
    """A season by loess (STL), taken off; exponential smoothing of the rest; the season put back.

    The season is additive, or multiplicative (additive on logarithms) where all values are
    positive; the last year of it is repeated. Without two seasons before the first window there is
    none, and this is exponential smoothing. Gaps are bridged for the decomposition alone.

    AICc is that of the adjusted series, its Jacobian included, as if the season were known: every
    point has the same freedom in its season, so it compares within this family. Standard deviations
    take the season as known too.

    References
    ----------
    Cleveland, Cleveland, McRae and Terpenning (1990), STL: a seasonal-trend decomposition procedure
    based on loess, Journal of Official Statistics 6, 3-73.

    Examples
    --------
    >>> point = {"stl": "multiplicative", "error": "A", "trend": "Ad", "season": "N", "power": 1.0,
    ...          "criterion": "likelihood"}
    >>> StlEts().label(point)
    'STL multiplicative ETS(A,Ad,N)'
    """

    name = "stl_ets"
    scope: Literal["entity", "panel"] = "entity"

    def space(self, view: View) -> Space:
        """Give all admissible points: those of exponential smoothing, for each kind of season."""
        plain = view_of(view.y, 1, view.h, view.cutoffs)
        if view.season_length == 1 or view.first_obs < 2 * view.season_length + 1:
            return _space(_ETS.space(plain), ("none",))
        if view.low > 0:
            return _space(_ETS.space(plain), ("multiplicative", "additive"))
        # with its season off, a series with zeros has values below: no transforms
        return _space(_ETS.space(replace(plain, low=-1.0)), ("additive",))

    def label(self, point: Point) -> str:
        """Give the kind of season, and the form."""
        kind = "" if point["stl"] == "none" else f" {point['stl']}"
        return f"STL{kind} {_ETS.label(point)}"

    def roll(self, view: View, point: Point) -> Rolled:
        """Fit before the first cutoff; decompose again at each, and keep the parameters."""
        n_windows = len(view.cutoffs)
        forecasts, sd = np.empty((2, n_windows, view.h))
        aicc = np.empty(n_windows + 1)
        params: Mapping[str, float] | None = None
        for w, end in enumerate((*view.cutoffs, len(view.y))):
            fitted = self.finish(_past(view, int(end)), point, params)
            params, aicc[w] = fitted.params, fitted.aicc
            if w < n_windows:
                forecasts[w], sd[w] = fitted.mean, fitted.sd
        return Rolled(forecasts, sd, aicc)

    def finish(self, view: View, point: Point, params: Mapping[str, float] | None = None) -> Fitted:
        """Decompose, fit to the adjusted past, forecast, and put the season back."""
        season, ahead = _season(view, str(point["stl"]))
        multiplied = point["stl"] == "multiplicative"
        rest = view_of(view.y / season if multiplied else view.y - season, 1, view.h)
        transformed = point["error"] == "M" or point["power"] != 1
        if transformed and (rest.low < 0 or rest.low <= 0 < view.low):
            raise EntityError(f"{self.label(point)} needs values above 0, found {rest.low:g}")
        fitted = _ETS.finish(rest, point, params)
        if not multiplied:
            mean, sd, aicc = fitted.mean + ahead, fitted.sd, fitted.aicc
        else:
            mean, sd = fitted.mean * ahead, fitted.sd * ahead
            aicc = fitted.aicc + 2.0 * float(np.nansum(np.log(season) + 0.0 * view.y))
        return Fitted(mean, sd, aicc, fitted.params, fitted.residuals)


@lru_cache(maxsize=16)
def _past(view: View, end: int) -> View:
    """Give the same view of a past each time: forms that share it share its decomposition."""
    return view_of(view.y[:end], view.season_length, view.h)


@lru_cache(maxsize=64)
def _space(inner: Space, kinds: tuple[str, ...]) -> Space:
    """Put a kind of season before each point; kinds take turns, so that both are tried early."""
    points = tuple({"stl": kind, **point} for point in inner.points for kind in kinds)
    codes = np.array([(0.7 * i, *code) for code in inner.codes for i in range(len(kinds))])
    return Space(points, codes, len(kinds) * inner.n_portfolio)


def _season(view: View, kind: str) -> tuple[Floats, Floats]:
    """Give the season of the past [T] and of the horizon [H]: terms, or factors."""
    if kind == "none":
        return np.zeros(len(view.y)), np.zeros(view.h)
    season = _decompose(view, kind)
    last = season[-view.season_length :]
    return season, last[np.arange(view.h) % view.season_length]


@lru_cache(maxsize=16)
def _decompose(view: View, kind: str) -> Floats:
    """Give the season by STL; a search fits many forms to one view, and decomposes it once."""
    from statsmodels.tsa.seasonal import STL  # noqa: PLC0415 - heavy

    if len(view.y) < 2 * view.season_length + 1:
        raise EntityError(f"STL needs two seasons and one observation, found {len(view.y)} steps")
    if kind == "additive":
        found = STL(_bridged(view.y, view.season_length), view.season_length, _SPAN).fit()
        return np.array(found.seasonal)
    if view.low <= 0:
        raise EntityError(f"a multiplicative season needs values above 0, found {view.low:g}")
    logs = _bridged(np.log(view.y), view.season_length)
    factors: Floats = np.exp(np.array(STL(logs, view.season_length, _SPAN).fit().seasonal))
    return factors


def _bridged(z: Floats, season_length: int) -> Floats:
    """Fill gaps by a line between neighbours, after the mean of each season is taken off."""
    missing = np.isnan(z)
    if not missing.any():
        return z
    phase = np.arange(len(z)) % season_length
    n = np.bincount(phase, ~missing, season_length)
    sums = np.bincount(phase, np.where(missing, 0.0, z - np.nanmean(z)), season_length)
    means = (sums / np.maximum(n, 1.0))[phase]
    known = np.flatnonzero(~missing)
    line: Floats = np.interp(np.arange(len(z)), known, (z - means)[known])
    return np.where(missing, line + means, z)
