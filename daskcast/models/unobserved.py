"""Unobserved components (structural time series), by statsmodels.

Covers which components are tried for an entity, in which order. Does not cover estimation and
forecasts (``statespace``).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from daskcast.models.base import Space
from daskcast.models.statespace import LONGEST_SEASON, StateSpace, maximise, shows_season

if TYPE_CHECKING:
    from daskcast.models.base import Point, View
    from daskcast.records import Floats

#: trends in order of merit, by the name that statsmodels has for them
TRENDS = {"local linear trend": "LLT", "local level": "LL", "smooth trend": "IRW"}
#: a state for each step, or as many pairs of sine and cosine as it takes
SEASONS = ("dummy", "trigonometric")
#: pairs of sine and cosine at most
_MOST_HARMONICS = 6
_PORTFOLIO = 4


class UnobservedComponents(StateSpace):
    """A stochastic trend, a stochastic season and noise, on the data or their logarithm.

    Variances are estimated by maximum likelihood from a diffuse start. A season is a dummy for
    each step, or trigonometric with up to six harmonics; one that is longer than 24 steps is only
    the latter. On a logarithm the point forecast is a median.

    References
    ----------
    Harvey (1989), Forecasting, Structural Time Series Models and the Kalman Filter, Cambridge.

    Examples
    --------
    >>> UnobservedComponents().label(
    ...     {"trend": "local linear trend", "season": "dummy", "log": True})
    'UC(LLT,dummy) log'
    """

    name = "unobserved"

    def space(self, view: View) -> Space:
        """Give all admissible points for this entity."""
        m = view.season_length
        seasons: tuple[str, ...] = ("none",)
        if shows_season(view):
            seasons = SEASONS if m <= LONGEST_SEASON else SEASONS[1:]
        return _space(seasons, view.low > 0)

    def label(self, point: Point) -> str:
        """Give the components."""
        season = "" if point["season"] == "none" else f",{point['season']}"
        return f"UC({TRENDS[str(point['trend'])]}{season})" + " log" * bool(point["log"])

    def build(self, z: Floats, point: Point, season_length: int) -> Any:
        """Give the statsmodels model."""
        from statsmodels.tsa.statespace.structural import (  # noqa: PLC0415 - heavy
            UnobservedComponents as Model,
        )

        harmonics = min(season_length // 2, _MOST_HARMONICS)
        waves = [{"period": season_length, "harmonics": harmonics}]
        return Model(
            z,
            level=point["trend"],
            seasonal=season_length if point["season"] == "dummy" else None,
            freq_seasonal=waves if point["season"] == "trigonometric" else None,
        )

    def estimate(self, z: Floats, point: Point, season_length: int) -> dict[str, float]:
        """Find the variances."""
        model = self.build(z, point, season_length)
        result = maximise(model, None, self.label(point))
        return dict(zip(model.param_names, map(float, result.params), strict=True))


@lru_cache(maxsize=64)
def _space(seasons: tuple[str, ...], positive: bool) -> Space:
    logs = (True, False) if positive else (False,)
    points: list[Point] = [
        {"trend": trend, "season": season, "log": log}
        for season, trend, log in product(seasons, TRENDS, logs)
    ]
    codes = np.array([_encode(point) for point in points])
    return Space(tuple(points), codes, n_portfolio=min(_PORTFOLIO, len(points)))


def _encode(point: Point) -> tuple[float, ...]:
    trend = {"local level": (0.0, 0.0), "smooth trend": (1.0, 0.0)}.get(str(point["trend"]))
    return (*(trend or (1.0, 0.7)), 0.5 * (point["season"] == "trigonometric"), 0.7 * point["log"])  # type: ignore[operator]
