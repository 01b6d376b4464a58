"""What a model family is to the tuner, and what the tuner hands to it.

Covers the protocol :class:`Family` and the values that pass through it. Does not cover any
family's arithmetic (``ets``, ``naive``) nor the search (``tune``).

Shapes: T values of one entity, W windows, H steps of the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from daskcast.records import Floats, Scalar

    #: One point of a search space: names of choices to plain scalars.
    Point = Mapping[str, Scalar]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One entity's past, and the windows on which its models are judged.

    Parameters
    ----------
    y : ndarray of float64, shape [T]
        NaN where an observation is missing; the first is not.
    season_length : int
    h : int
    cutoffs : ndarray of int64, shape [W]
        Ascending; window w sees ``y[:cutoffs[w]]`` and is scored on the next ``h`` values.
    first_obs : int
        Observations before the first cutoff, or in all where there is no window.
    n_obs : int
        Observations in all.
    counts : ndarray of float64, shape [W + 1]
        Observations before each cutoff, and in all.
    low : float
        The smallest observation.
    floor : float
        No forecast may lie below.
    """

    y: Floats
    season_length: int
    h: int
    cutoffs: NDArray[np.int64]
    first_obs: int
    n_obs: int
    counts: Floats
    low: float
    floor: float = -np.inf


def view_of(
    y: Floats,
    season_length: int,
    h: int,
    cutoffs: NDArray[np.int64] | None = None,
    *,
    floor: float = -np.inf,
) -> View:
    """Make the view of a series.

    Parameters
    ----------
    y : ndarray of float64, shape [T]
        With at least one observation.
    season_length, h : int
    cutoffs : ndarray of int64, shape [W], optional
    floor : float
        No forecast may lie below.
    """
    places = np.empty(0, dtype=np.int64) if cutoffs is None else cutoffs
    known = ~np.isnan(y)
    seen = np.concatenate([[0.0], np.cumsum(known)])
    counts = seen[[*places, -1]]
    return View(
        y=np.ascontiguousarray(y, dtype=np.float64),
        season_length=season_length,
        h=h,
        cutoffs=places,
        first_obs=int(counts[0]),
        n_obs=int(counts[-1]),
        counts=counts,
        low=float(np.min(y, where=known, initial=np.inf)),
        floor=floor,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """All admissible points of a family for one entity.

    Parameters
    ----------
    points : tuple of mapping
        The best first ones in front; all have the same names.
    codes : ndarray of float64, shape [n, d]
        Coordinates of each point, no two alike; about one unit apart where points behave
        differently.
    n_portfolio : int
        How many of the leading points are evaluated where nothing is searched.
    """

    points: tuple[Point, ...]
    codes: Floats
    n_portfolio: int


@dataclass(frozen=True, slots=True)
class Rolled:
    """A point judged on the windows.

    Parameters
    ----------
    forecasts : ndarray of float64, shape [W, H]
    sd : ndarray of float64, shape [W, H]
        Standard deviation around them, as known at each cutoff; NaN where a family cannot say.
    aicc : ndarray of float64, shape [W + 1]
        At each cutoff and at the end, on the scale of the data; NaN where a family has no
        likelihood.
    """

    forecasts: Floats
    sd: Floats
    aicc: Floats


@dataclass(frozen=True, slots=True)
class Fitted:
    """A point fitted to all of the past.

    Parameters
    ----------
    mean, sd : ndarray of float64, shape [H]
        Point forecast and the standard deviation around it, on the scale of the data.
    aicc : float
        NaN where the family has no likelihood.
    params : mapping
        Fitted parameters, plain scalars; with them :meth:`Family.finish` needs no estimation.
    residuals : ndarray of float64, shape [T], optional
        One-step errors within the past, of about constant variance; NaN where an observation is
        missing. None where a family has none.
    """

    mean: Floats
    sd: Floats
    aicc: float
    params: Mapping[str, float]
    residuals: Floats | None = None


@runtime_checkable
class Family(Protocol):
    """A family of models that share a search space.

    Attributes
    ----------
    name : str
    scope : {"entity", "panel"}
        A family that must see several entities at once says ``panel``, and is refused: each task
        sees one entity alone.
    """

    name: str
    scope: Literal["entity", "panel"]

    def space(self, view: View) -> Space:
        """Give all admissible points for this entity."""
        ...

    def label(self, point: Point) -> str:
        """Give the short name of the form, such as ``ETS(M,Ad,M)``."""
        ...

    def roll(self, view: View, point: Point) -> Rolled:
        """Judge a point on the windows; raise ``EntityError`` where it cannot be fitted."""
        ...

    def finish(self, view: View, point: Point, params: Mapping[str, float] | None = None) -> Fitted:
        """Fit a point to all of the past and forecast; raise ``EntityError`` as above.

        With ``params``, those of an earlier fit, nothing is estimated: they are taken as they are,
        on a past that may have grown. With those of the same past the forecast is the same, to the
        bit.
        """
        ...
