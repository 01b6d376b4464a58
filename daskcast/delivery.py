"""From a blend to the forecast that is delivered: bounds, unit, hard checks.

Covers how intervals keep to zero and above, what refuses a forecast, and what is told of intervals
and residuals. Does not cover half widths (``intervals``), the checks (``checks``), or what becomes
of an entity whose forecast is refused (``task``).

A series comes here in its unit, near one in size; forecasts leave in the unit of the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from daskcast import checks, intervals
from daskcast.errors import EntityError
from daskcast.records import Forecast
from daskcast.tune import Reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.records import Floats, Series
    from daskcast.tune import Windows
    from daskcast.tune.blend import Blend

#: how intervals keep to zero and above
POSITIVE = "bounds in proportion, as the data is positive"
CENSORED = "bounds below zero are zero, as the data has zeros"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the forecasts of a run are delivered.

    Parameters
    ----------
    level : tuple of float, length L
        In percent, ascending.
    non_negative : bool
        Keep data without negative values from falling below zero.
    """

    level: tuple[float, ...] = (80, 95)
    non_negative: bool = False

    def kind(self, series: Series) -> str:
        """Say how the intervals of an entity keep to zero and above; empty where they need not."""
        if not self.non_negative:
            return ""
        low = float(np.nanmin(series.y))
        if low > 0:
            return POSITIVE
        if low == 0:
            return CENSORED
        return f"not applied: {np.count_nonzero(series.y < 0)} values are below zero"

    def floor(self, series: Series) -> float:
        """Give what no forecast of an entity may fall below."""
        return 0.0 if self.kind(series) in (POSITIVE, CENSORED) else -math.inf

    def bounds(
        self,
        series: Series,
        mean: Floats,
        sd: Floats,
        errors: Sequence[Sequence[float]] = (),
    ) -> tuple[Floats, Floats]:
        """Give the bounds of all levels around a mean, each of shape [L, H]."""
        widths = intervals.half_widths(sd, self.level, series.season_length, errors)
        make = {
            POSITIVE: intervals.positive_bounds,
            CENSORED: intervals.censored_bounds,
        }.get(self.kind(series), intervals.bounds)
        return make(mean, widths)

    def forecast(
        self,
        series: Series,
        blend: Blend,
        *,
        unit: float,
        errors: Sequence[Sequence[float]] = (),
        simple: bool = False,
    ) -> Forecast:
        """Make the forecast of an entity.

        Parameters
        ----------
        series : Series
        blend : Blend
        unit : float
            What the series was divided by.
        errors : sequence of sequence of float
            On the windows; see :func:`daskcast.intervals.scores`.
        simple : bool
            Go on with the past as it was, however far a season or a jump reaches: growth is then
            no check.

        Raises
        ------
        EntityError
            Where a hard check fails.
        """
        mean = blend.mean
        lo, hi = self.bounds(series, mean, blend.sd, errors)
        forecast = Forecast(series.future, unit * mean, unit * lo, unit * hi)
        reach = Reach.of(series.y, len(mean), self.floor(series))
        within_reach = simple or bool(reach.holds(mean))
        failed = checks.broken(series, forecast, within_reach=within_reach)
        if failed:
            raise EntityError(
                f"the forecast of {series.unique_id!r} fails the checks {', '.join(failed)}: "
                f"{unit * mean}, standard deviation {unit * blend.sd}"
            )
        return forecast

    def notes(self, series: Series, blend: Blend) -> dict[str, Any]:
        """Tell what the blend leaves of the past, and how its bounds keep to zero and above."""
        heaviest = next(iter(blend.fitted.values()))
        p_value = None
        if heaviest.residuals is not None:
            p_value = checks.ljung_box(heaviest.residuals, series.season_length)
        found: dict[str, Any] = {"left_out": blend.n_left_out, "ljung_box": p_value}
        if self.non_negative:
            found["non_negative"] = self.kind(series)
        return found

    def coverage(self, series: Series, windows: Windows | None) -> dict[str, float] | None:
        """Judge the intervals of each window, made as they would have been made then."""
        if windows is None or not np.all(np.isfinite(windows.sd)):
            return None
        made = [
            self.bounds(series, mean, sd) for mean, sd in zip(windows.mean, windows.sd, strict=True)
        ]
        lo, hi = (np.array(side) for side in zip(*made, strict=True))
        return checks.coverage(windows.truth, lo, hi, self.level)
