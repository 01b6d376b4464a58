"""Theta and complex exponential smoothing: models for a series whose season is taken out first.

Covers the two families, their points, and calls of the compiled kernels. Does not cover the
arithmetic (``adjusted_kernels``, ``theta_kernels``, ``ces_kernels``).

Each window is fitted afresh to its own past, season and parameters both.

Shapes: T values, W windows, H steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from daskcast.errors import EntityError
from daskcast.models import adjusted_kernels, scale, simplex, theta_kernels
from daskcast.models.base import Fitted, Rolled, Space

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.models.base import Point, View

SEASONS = ("N", "A", "M")
#: fewest observations for a form without a season
LEAST = 6

_INFINITE = 1e299


class _Adjusted(ABC):
    """What both families share: points of method, season and power; the way through the kernels."""

    name: str
    scope: Literal["entity", "panel"] = "entity"
    #: what a point may name: a number of the kernels, and the names of parameters
    methods: ClassVar[Mapping[str, tuple[int, tuple[str, ...]]]]

    def space(self, view: View) -> Space:
        """Give all admissible points for this entity."""
        seasons = SEASONS if _is_seasonal(view) else "N"
        if view.first_obs < LEAST:
            seasons = ""
        return _space(self, "".join(seasons), view.low > 0, view.season_length > 1)

    @abstractmethod
    def label(self, point: Point) -> str:
        """Give the name of the form, with its season, and ``log`` where it is fitted to logs."""

    @abstractmethod
    def rank(self, point: Point) -> tuple[int, int]:
        """Give the group of a point among the first trials, and its place there."""

    @abstractmethod
    def encode(self, point: Point) -> tuple[float, ...]:
        """Give the coordinates of a point: forms that forecast alike lie close together."""

    def roll(self, view: View, point: Point) -> Rolled:
        """Fit before each cutoff; the likelihood of the whole past comes with the last fit."""
        ends = [*map(int, view.cutoffs), len(view.y)]
        told = [self._fit(view, point, end, None) for end in ends]
        windows = told[:-1]
        return Rolled(
            np.array([one.mean for one in windows]).reshape(-1, view.h),
            np.array([one.sd for one in windows]).reshape(-1, view.h),
            np.array([one.aicc for one in told]),
        )

    def finish(self, view: View, point: Point, params: Mapping[str, float] | None = None) -> Fitted:
        """Fit to all of the past, and forecast."""
        return self._fit(view, point, len(view.y), params)

    def _fit(self, view: View, point: Point, end: int, given: Mapping[str, float] | None) -> Fitted:
        model, names = self.methods[str(point["method"])]
        power = float(point["power"])  # type: ignore[arg-type]
        z, shift = scale.transform(view, power, 0.0)
        params = np.zeros(3)
        if given is not None:
            params[: len(names)] = [given[name] for name in names]
        mean, variance, residuals = np.empty(view.h), np.empty(view.h), np.empty(end)
        season = SEASONS.index(str(point["season"]))
        value = adjusted_kernels.estimate(
            model, z, end, season, view.season_length, given is not None, params, mean, variance,
            residuals,
        )  # fmt: skip
        if not value < _INFINITE:
            raise EntityError(f"{self.label(point)} has no finite likelihood")
        mean, sd = scale.restore(mean, variance, power, shift)
        return Fitted(
            mean,
            sd,
            self._aicc(view, point, end, value),
            dict(zip(names, map(float, params), strict=False)),
            residuals,
        )

    def _aicc(self, view: View, point: Point, end: int, value: float) -> float:
        at = int(np.searchsorted(view.cutoffs, end)) if end < len(view.y) else -1
        power = float(point["power"])  # type: ignore[arg-type]
        n_seasons = view.season_length - 1 if point["season"] != "N" else 0
        k = len(self.methods[str(point["method"])][1]) + 1 + n_seasons
        left = max(float(view.counts[at]) - k - 1.0, 0.5)
        value += 2.0 * k + 2.0 * k * (k + 1.0) / left
        if power != 1:
            value -= 2.0 * (power - 1.0) * float(scale.log_sums(view)[at])
        return value


class Theta(_Adjusted):
    """The theta method: standard, optimised, dynamic optimised.

    Half of the standard method's slope is that of the line of least squares; the optimised methods
    estimate how much of it there should be, the dynamic one from a line that moves on with the
    series. The season is taken out by shrunken indices, additive or multiplicative, and never by a
    test: forms with and without a season are both judged.

    References
    ----------
    Assimakopoulos and Nikolopoulos (2000), The theta model: a decomposition approach.
    Fiorucci, Pellegrini, Louzada, Petropoulos and Koehler (2016), Models for optimising the theta
    method and their relationship to state space models. Both International Journal of Forecasting.

    Examples
    --------
    >>> Theta().label({"method": "dynamic", "season": "M", "power": 1.0})
    'DOTM(M)'
    """

    name = "theta"
    methods: ClassVar[Mapping[str, tuple[int, tuple[str, ...]]]] = {
        "dynamic": (theta_kernels.DYNAMIC, ("alpha", "theta", "level")),
        "standard": (theta_kernels.STANDARD, ("alpha", "theta", "level")),
        "optimised": (theta_kernels.OPTIMISED, ("alpha", "theta", "level")),
    }
    _labels: ClassVar[Mapping[str, str]] = {
        "dynamic": "DOTM",
        "standard": "STM",
        "optimised": "OTM",
    }

    def label(self, point: Point) -> str:
        """Give the name of the form, with its season, and ``log`` where it is fitted to logs."""
        return f"{self._labels[str(point['method'])]}({_suffix(point)})"

    def rank(self, point: Point) -> tuple[int, int]:
        """Give the group of a point among the first trials, and its place there."""
        place = ("dynamic", "standard", "optimised").index(str(point["method"]))
        late = point["method"] == "optimised"
        return _group(point) + 2 * late, 3 * place + "MAN".index(str(point["season"]))

    def encode(self, point: Point) -> tuple[float, ...]:
        """Give the coordinates of a point: forms that forecast alike lie close together."""
        method = {"standard": (0.0, 0.0), "optimised": (0.6, 0.0), "dynamic": (0.6, 0.5)}
        return (*method[str(point["method"])], *_codes(point))


class CES(_Adjusted):
    """Complex exponential smoothing, of a series whose season is taken out by shrunken indices.

    It knows no border between level and trend, and follows growth further than the other families
    do: good on yearly data, and a different voice in the blend.

    References
    ----------
    Svetunkov, Kourentzes and Ord (2022), Complex exponential smoothing, Naval Research Logistics.

    Examples
    --------
    >>> CES().label({"method": "complex", "season": "N", "power": 0.0})
    'CES(N, log)'
    """

    name = "ces"
    methods: ClassVar[Mapping[str, tuple[int, tuple[str, ...]]]] = {
        "complex": (simplex.CES, ("alpha_0", "alpha_1")),
    }

    def label(self, point: Point) -> str:
        """Give the name of the form, with its season, and ``log`` where it is fitted to logs."""
        return f"CES({_suffix(point)})"

    def rank(self, point: Point) -> tuple[int, int]:
        """Give the group of a point among the first trials, and its place there."""
        return _group(point), "MAN".index(str(point["season"]))

    def encode(self, point: Point) -> tuple[float, ...]:
        """Give the coordinates of a point: forms that forecast alike lie close together."""
        return _codes(point)


def _suffix(point: Point) -> str:
    return f"{point['season']}, log" if point["power"] == 0 else str(point["season"])


def _group(point: Point) -> int:
    return 0 if point["power"] == 1 else 1


def _codes(point: Point) -> tuple[float, ...]:
    season = {"N": (0.0, 0.0), "A": (1.0, 0.0), "M": (1.0, 0.7)}[str(point["season"])]
    return (*season, 0.8 * (point["power"] == 0))


def _is_seasonal(view: View) -> bool:
    return view.season_length > 1 and view.first_obs > 2 * view.season_length


@lru_cache(maxsize=64)
def _space(family: _Adjusted, seasons: str, positive: bool, in_seasons: bool) -> Space:
    """Build the space; on logs a multiplicative season is an additive one, and is left out.

    Where there are seasons to a year, forms on logs are among the first; where there are none,
    a horizon is many cycles long, and a growth that compounds is tried last.
    """
    points: list[Point] = [
        {"method": method, "season": season, "power": power}
        for method in family.methods
        for season in seasons
        for power in ((1.0, 0.0) if positive else (1.0,))
        if (positive or season != "M") and not (power == 0 and season == "M")
    ]
    points.sort(key=family.rank)
    codes = np.array([family.encode(point) for point in points])
    last = 1 if in_seasons else 0
    n_portfolio = sum(family.rank(point)[0] <= last for point in points)
    n_codes = codes.shape[1] if points else 1
    return Space(tuple(points), codes.reshape(len(points), n_codes), n_portfolio=n_portfolio)
