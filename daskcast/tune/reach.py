"""How far a forecast may leave its history.

Covers the rule by which a form is left out of the blend as absurd. Does not cover the blend.

A form fitted to few observations, or to a scale that is exponential, can explode: its likelihood
is fine, and even a small weight of it spoils the blend. The rule: over a horizon of up to a quarter
of the past, the mean leaves the range of the past by no more than that range, and the standard
deviation is no larger than it; over a longer horizon, by as much more as it is longer. Where
forecasts have a floor, the mean does not fall below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from daskcast.records import Floats


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the forecasts of an entity may lie.

    Parameters
    ----------
    low, high : float
        The lowest and the highest mean.
    sd : float
        The largest standard deviation.
    """

    low: float
    high: float
    sd: float

    @classmethod
    def of(cls, past: Floats, h: int, floor: float = -np.inf) -> Self:
        """Take the reach of a past.

        Parameters
        ----------
        past : ndarray of float64, shape [T]
            NaN where an observation is missing.
        h : int
        floor : float

        Examples
        --------
        >>> import numpy as np
        >>> Reach.of(np.array([10.0, 20.0, 15.0, 12.0]), 2)
        Reach(low=-10.0, high=40.0, sd=20.0)
        """
        known = past[~np.isnan(past)]
        low, high = float(known.min()), float(known.max())
        reach = (high - low) * max(1.0, 4.0 * h / len(past))
        return cls(max(low - reach, floor), high + reach, reach)

    def holds(self, mean: Floats, sd: Floats | None = None) -> NDArray[np.bool_]:
        """Tell whether forecasts keep within reach.

        Parameters
        ----------
        mean, sd : ndarray of float64, shape [..., H]

        Returns
        -------
        ndarray of bool, shape [...]
        """
        inside: Any = (mean >= self.low) & (mean <= self.high)
        if sd is not None:
            inside &= sd <= self.sd
        kept: NDArray[np.bool_] = inside.all(axis=-1)
        return kept
