"""Baselines: naive, seasonal naive, drift.

Covers the three as families of one point each, missing observations included. They are what a
tuned model must beat, and what an entity falls back to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

import numpy as np

from daskcast.errors import EntityError
from daskcast.models.base import Fitted, Rolled, Space, View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from daskcast.models.base import Point
    from daskcast.records import Floats


_SPACE = Space(points=({"form": "baseline"},), codes=np.zeros((1, 1)), n_portfolio=1)


class _Baseline(ABC):
    """What the baselines share: one point, no search, no likelihood."""

    name: str
    scope: Literal["entity", "panel"] = "entity"

    def space(self, view: View) -> Space:  # noqa: ARG002
        """Give the space of the one point there is."""
        return _SPACE

    def label(self, point: Point) -> str:  # noqa: ARG002
        """Give the name of the baseline."""
        return type(self).__name__

    def roll(self, view: View, point: Point) -> Rolled:  # noqa: ARG002
        """Forecast from each cutoff."""
        told = [self.forecast(view.y[:c], view) for c in view.cutoffs]
        means, sds = np.array(told).reshape(-1, 2, view.h).swapaxes(0, 1)
        return Rolled(means, sds, np.full(len(view.cutoffs) + 1, np.nan))

    def finish(
        self,
        view: View,
        point: Point,  # noqa: ARG002
        params: Mapping[str, float] | None = None,  # noqa: ARG002
    ) -> Fitted:
        """Forecast from the end."""
        mean, sd = self.forecast(view.y, view)
        return Fitted(mean, sd, float("nan"), {})

    @abstractmethod
    def forecast(self, past: Floats, view: View) -> tuple[Floats, Floats]:
        """Give mean and standard deviation, each of shape [H]."""


class Naive(_Baseline):
    """The last observation, with the variance of a random walk.

    Examples
    --------
    >>> import numpy as np
    >>> from daskcast.models.base import view_of
    >>> Naive().finish(view_of(np.array([1.0, 2.0, 1.0]), 1, 2), {}).mean
    array([1., 1.])
    """

    name = "naive"

    def forecast(self, past: Floats, view: View) -> tuple[Floats, Floats]:
        """Give mean and standard deviation, each of shape [H]."""
        known = _known(past)
        steps = _steps(past, known, view.h)
        mean = np.full(view.h, past[known[-1]])
        return mean, _rms(_increments(past, known)) * np.sqrt(steps)


class SeasonalNaive(_Baseline):
    """The last observation of the same season, with the variance of a seasonal random walk.

    A season never observed takes the last observation.
    """

    name = "seasonal_naive"

    def forecast(self, past: Floats, view: View) -> tuple[Floats, Floats]:
        """Give mean and standard deviation, each of shape [H]."""
        m = view.season_length
        known = _known(past)
        latest = np.full(m, known[-1])
        latest[known % m] = known
        ahead = len(past) + np.arange(view.h)
        source = latest[ahead % m]
        seasons = -((source - ahead) // m)
        differences = past[m:] - past[:-m]
        errors = differences[~np.isnan(differences)]
        rms = _rms(errors) if len(errors) else _rms(_increments(past, known))
        return past[source], rms * np.sqrt(seasons)


class Drift(_Baseline):
    """The line through the first and the last observation."""

    name = "drift"

    def forecast(self, past: Floats, view: View) -> tuple[Floats, Floats]:
        """Give mean and standard deviation, each of shape [H]."""
        known = _known(past)
        span = known[-1] - known[0]
        slope = (past[known[-1]] - past[known[0]]) / span if span else 0.0
        steps = _steps(past, known, view.h)
        errors = _increments(past, known) - slope * np.sqrt(np.diff(known))
        mean = past[known[-1]] + slope * steps
        return mean, _rms(errors) * np.sqrt(steps * (1.0 + steps / max(span, 1)))


def _known(past: Floats) -> NDArray[np.int64]:
    known = np.flatnonzero(~np.isnan(past))
    if not len(known):
        raise EntityError("expected at least one observation, found none")
    return known


def _steps(past: Floats, known: NDArray[np.int64], h: int) -> Floats:
    """Give how far each forecast is from the last observation."""
    steps: Floats = len(past) - 1 - known[-1] + np.arange(1.0, h + 1)
    return steps


def _increments(past: Floats, known: NDArray[np.int64]) -> Floats:
    """Give the differences between observations, each as that of one step of a random walk."""
    increments: Floats = np.diff(past[known]) / np.sqrt(np.diff(known))
    return increments


def _rms(errors: Floats) -> float:
    """Give the root mean square; NaN where there is no error to learn from."""
    return float(np.sqrt(np.mean(errors * errors))) if len(errors) else float("nan")
