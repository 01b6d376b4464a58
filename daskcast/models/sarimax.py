"""Seasonal ARIMA, by statsmodels.

Covers which orders are tried for an entity, in which order. Does not cover estimation and
forecasts (``statespace``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from daskcast.models.base import Space
from daskcast.models.statespace import LONGEST_SEASON, StateSpace, maximise, shows_season

if TYPE_CHECKING:
    from daskcast.models.base import Point, View
    from daskcast.records import Floats


class Order(NamedTuple):
    """Orders of a seasonal ARIMA model, and its trend: ``n`` for none, ``c`` for a constant.

    The constant is one of the differenced series: with one difference it is a drift.
    """

    p: int
    d: int
    q: int
    P: int = 0
    D: int = 0
    Q: int = 0
    trend: str = "n"

    def needs(self, season_length: int) -> int:
        """Give the fewest observations on which the order is tried: six for each parameter."""
        lost = self.d + self.D * season_length
        return lost + max(6 * (self.n_params + 1), season_length * (self.P + self.D + self.Q > 0))

    @property
    def n_params(self) -> int:
        """Count the coefficients, without the variance."""
        return self.p + self.q + self.P + self.Q + (self.trend == "c")


#: in order of merit, the airline model first
SEASONAL = (
    Order(0, 1, 1, 0, 1, 1),
    Order(1, 1, 1, 0, 1, 1),
    Order(0, 1, 2, 0, 1, 1),
    Order(1, 0, 0, 0, 1, 1, "c"),
    Order(2, 1, 0, 0, 1, 1),
    Order(1, 0, 1, 0, 1, 1, "c"),
    Order(2, 1, 1, 0, 1, 1),
    Order(1, 1, 0, 1, 1, 0),
    Order(0, 1, 1, 1, 0, 0),
)
PLAIN = (
    Order(0, 1, 1),
    Order(0, 1, 1, trend="c"),
    Order(1, 1, 0, trend="c"),
    Order(0, 2, 2),
    Order(1, 1, 1),
    Order(1, 0, 0, trend="c"),
    Order(2, 1, 0),
    Order(1, 0, 1, trend="c"),
)
_PORTFOLIO = 4


class Sarimax(StateSpace):
    """Seasonal ARIMA on the data or their logarithm, a small search over orders.

    Parameters are estimated by exact maximum likelihood within the stationary and invertible
    region. Seasons longer than 24 steps are left to other families: the orders are not seasonal
    then. On a logarithm the point forecast is a median.

    References
    ----------
    Box and Jenkins (1970), Time Series Analysis: Forecasting and Control, Holden-Day.

    Examples
    --------
    >>> point = dict(p=0, d=1, q=1, P=0, D=1, Q=1, trend="n", m=12, log=True)
    >>> Sarimax().label(point)
    'SARIMA(0,1,1)(0,1,1)[12] log'
    """

    name = "sarimax"

    def space(self, view: View) -> Space:
        """Give all admissible points for this entity."""
        m = view.season_length
        if m > LONGEST_SEASON or not shows_season(view):
            m = 1
        orders = tuple(
            order
            for order in ((*SEASONAL, *PLAIN[:2]) if m > 1 else PLAIN)
            if view.first_obs >= order.needs(m)
        )
        return _space(orders or PLAIN[:1], m, view.low > 0)

    def label(self, point: Point) -> str:
        """Give the orders, as the literature writes them."""
        text = f"SARIMA({point['p']},{point['d']},{point['q']})"
        if any(point[name] for name in "PDQ"):
            text += f"({point['P']},{point['D']},{point['Q']})[{point['m']}]"
        return text + " with constant" * (point["trend"] == "c") + " log" * bool(point["log"])

    def build(self, z: Floats, point: Point, season_length: int) -> Any:  # noqa: ARG002
        """Give the statsmodels model, with its variance among the parameters."""
        return _model(z, point, concentrate_scale=False)

    def estimate(self, z: Floats, point: Point, season_length: int) -> dict[str, float]:  # noqa: ARG002
        """Find the coefficients; the variance follows from them, which saves a dimension."""
        model = _model(z, point, concentrate_scale=True)
        result = maximise(model, _start(model.param_names), self.label(point))
        found = dict(zip(model.param_names, map(float, result.params), strict=True))
        return {**found, "sigma2": float(result.scale)}


def _model(z: Floats, point: Point, *, concentrate_scale: bool) -> Any:
    from statsmodels.tsa.statespace.sarimax import SARIMAX  # noqa: PLC0415 - heavy

    season = tuple(point[name] for name in "PDQ")
    return SARIMAX(
        z,
        order=tuple(point[name] for name in "pdq"),
        seasonal_order=(*season, point["m"]) if any(season) else (0, 0, 0, 0),
        trend=point["trend"],
        concentrate_scale=concentrate_scale,
    )


def _start(names: list[str]) -> Floats:
    """Give where the search for coefficients begins.

    The same everywhere: what statsmodels proposes costs as much as it saves, differs for each
    series, and warns where it falls outside of the region.
    """
    typical = {"ar.L1": 0.2, "ma.L1": -0.3}
    seasonal = {"ar.S": 0.1, "ma.S": -0.5}
    return np.array([typical.get(name, seasonal.get(name[:4], 0.0)) for name in names])


@lru_cache(maxsize=64)
def _space(orders: tuple[Order, ...], m: int, positive: bool) -> Space:
    logs = (True, False) if positive else (False,)
    points: list[Point] = [
        {**order._asdict(), "m": m, "log": log} for order in orders for log in logs
    ]
    codes = np.array([_encode(order, log) for order in orders for log in logs])
    return Space(tuple(points), codes, n_portfolio=min(_PORTFOLIO, len(points)))


def _encode(order: Order, log: bool) -> tuple[float, ...]:
    """Give the coordinates of a point: differencing and scale matter most."""
    p, d, q, *season, trend = order
    return (0.5 * p, 1.0 * d, 0.5 * q, *(0.7 * x for x in season), 0.5 * (trend == "c"), 0.7 * log)
