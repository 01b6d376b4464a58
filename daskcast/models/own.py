"""Your own model: any object with ``fit(y)`` and ``predict(h)``, as a family.

Covers what is asked of such an object, its windows, and the spread around its forecasts. Does not
cover its search space (``ranges``) or finding it by name (the package's ``families``).
"""

from __future__ import annotations

import inspect
import logging
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from daskcast.errors import ConfigError, EntityError
from daskcast.models.base import Fitted, Rolled, Space, view_of
from daskcast.models.naive import Naive
from daskcast.models.ranges import points_of, ranges_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.models.base import Point, View
    from daskcast.records import Floats

logger = logging.getLogger(__name__)

#: the interval that a model with a ``level`` is asked for, and its width in standard deviations
LEVEL = 80
_WIDTH = 2.0 * NormalDist().inv_cdf(0.5 + LEVEL / 200.0)
#: steps of the refits whose errors are the spread, at least; where the past has so many
_STEPS = 6
_SHARE = 4
_FEWEST = 6
_AS_GIVEN: Point = {"parameters": "as given"}
_LONGEST_LABEL = 60


@dataclass(frozen=True, slots=True, eq=False)
class OwnModel:
    """A model of your own, which takes part in search, blend, cross-validation and intervals.

    Parameters
    ----------
    estimator : object or class
        With ``fit(y, X=None)`` and ``predict(h, X=None)``, and parameters that its constructor
        takes and keeps under their names. A copy of it is fitted each time: by
        ``sklearn.base.clone`` where it has ``get_params``, else by ``copy.deepcopy``. See Notes.
    search_space : mapping, optional
        Parameters to search: a list of choices, ``(low, high)`` or ``(low, high, "log-uniform")``,
        or a dimension of ``skopt.space``. Without it the estimator's attribute ``search_space`` is
        taken, where there is one.
    name : str, optional
        In the results; by default the name of the class, in lower case.
    scope : {"entity", "panel"}
        A model that must see several entities at once says ``panel``, and is refused.

    Raises
    ------
    ConfigError
        Where the object or its search space is not as described here.

    Notes
    -----
    - ``fit`` takes an array [T] of float64, a copy, oldest value first. Where a value is missing
      it is NaN, and the model must say ``accepts_missing = True``: otherwise such an entity is not
      modelled by it.
    - ``predict`` gives an array [H]. If it has an argument ``level`` it is called with
      ``level=[80]`` and may give a mapping (or a data frame) of arrays [H] instead: ``mean``,
      ``lo-80`` and ``hi-80``; half of their distance over 1.28 is the standard deviation.
    - Without intervals the standard deviation is the same at each step: the root mean square error
      of two refits, a season and two before the end, over the season that followed (six steps, or a
      quarter of a short past). On a window the errors on earlier windows are taken, and those of
      one refit before the first. That is three fits for each form of the blend, and one for
      each window and one more for each trial. With a past too short for a refit it is that of a
      random walk.
    - A ``ValueError``, an ``ArithmeticError`` or a ``LookupError`` says that this series cannot be
      modelled with these parameters: the point is left out. Any other exception is a fault: the
      entity fails, with the traceback.
    - Nothing is kept of a fit, because an object need not survive JSON: forecasting again fits
      again.

    Examples
    --------
    >>> import numpy as np
    >>> class Mean:
    ...     def __init__(self, n=12):
    ...         self.n = n
    ...     def fit(self, y, X=None):
    ...         self.mean_ = y[-self.n :].mean()
    ...         return self
    ...     def predict(self, h, X=None):
    ...         return np.full(h, self.mean_)
    >>> model = OwnModel(Mean(), {"n": [6, 12, 24]})
    >>> model.name, model.label({"n": 6})
    ('mean', 'mean(n=6)')
    """

    estimator: Any
    search_space: Any = None
    name: str = ""
    scope: Literal["entity", "panel"] = "entity"

    def __post_init__(self) -> None:
        estimator = self.estimator() if isinstance(self.estimator, type) else self.estimator
        given = self.search_space
        if given is None:
            given = getattr(estimator, "search_space", None)
        name = (self.name or type(estimator).__name__).strip().lower()
        problems = _problems(estimator)
        ranges, wrong = ranges_of(given or {})
        unknown = [at for at in ranges if not _has(estimator, at)] if not problems else []
        problems += [f"the search space of {name}: {told}" for told in wrong]
        if unknown:
            problems.append(
                f"the search space of {name} names {', '.join(unknown)}, which are no parameters "
                f"of {type(estimator).__name__}"
            )
        if problems:
            raise ConfigError(*problems)
        plain = {at: one.plain for at, one in ranges.items()}
        for field, value in (("estimator", estimator), ("search_space", plain), ("name", name)):
            object.__setattr__(self, field, value)

    def space(self, view: View) -> Space:  # noqa: ARG002
        """Give up to 64 points, the estimator's own parameters first."""
        return _space(self)

    def label(self, point: Point) -> str:
        """Give the name and what was searched."""
        told = ", ".join(f"{at}={_short(point[at])}" for at in self.search_space)
        text = f"{self.name}({told})" if told else self.name
        return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 3] + "..."

    def roll(self, view: View, point: Point) -> Rolled:
        """Fit before each cutoff, and forecast from there."""
        told = {int(c): self._forecast(view.y[:c], point, view.h) for c in view.cutoffs}
        means = np.array([mean for mean, _ in told.values()]).reshape(-1, view.h)
        spreads = [sd for _, sd in told.values() if sd is not None]
        if len(spreads) < len(told):
            known = {c: mean for c, (mean, _) in told.items()}
            first = min(known)
            known = {**self._before(view_of(view.y[:first], *_shape(view)), point, 1), **known}
            spreads = [_spread(view_of(view.y[:c], *_shape(view)), known) for c in told]
        sd = np.array(spreads).reshape(-1, view.h)
        return Rolled(means, sd, np.full(len(view.cutoffs) + 1, np.nan))

    def finish(self, view: View, point: Point, params: Mapping[str, float] | None = None) -> Fitted:  # noqa: ARG002
        """Fit to all of the past and forecast, with ``params`` too: nothing was kept."""
        mean, sd = self._forecast(view.y, point, view.h)
        if sd is None:
            sd = _spread(view, self._before(view, point, 2))
        return Fitted(mean, sd, float("nan"), {})

    def _before(self, view: View, point: Point, n: int) -> dict[int, Floats]:
        """Forecast from ``n`` earlier ends, where the past is long enough; by end."""
        steps = _steps(view)
        ends = [len(view.y) - steps * back for back in range(n, 0, -1)]
        known = {}
        for end in ends:
            if np.count_nonzero(~np.isnan(view.y[:end])) >= _FEWEST:
                try:
                    known[end], _ = self._forecast(view.y[:end], point, steps)
                except EntityError:  # of a shorter past: the others tell enough
                    continue
        return known

    def _forecast(self, past: Floats, point: Point, h: int) -> tuple[Floats, Floats | None]:
        """Fit a copy to a past; give its mean [h], and its standard deviation where it has one."""
        estimator = self.copy(point)
        if np.isnan(past).any() and not getattr(estimator, "accepts_missing", False):
            raise EntityError(
                f"{self.name} takes no missing values, and this series has some: fill them, or say "
                "accepts_missing = True in its class"
            )
        try:
            estimator.fit(past.copy())
            asked = {"level": [LEVEL]} if self.takes_level else {}
            mean, sd = _read(estimator.predict(h, **asked), h, self.name)
        except EntityError:
            raise
        except (ValueError, ArithmeticError, LookupError) as error:
            logger.info("%s was refused: %r", self.label(point), error)
            raise EntityError(f"{self.label(point)} could not be fitted: {error}") from error
        if not (np.all(np.isfinite(mean)) and (sd is None or np.all(np.isfinite(sd)))):
            raise EntityError(f"{self.label(point)} has no finite forecast")
        return mean, sd

    @property
    def takes_level(self) -> bool:
        """Tell whether ``predict`` has an argument ``level``."""
        return "level" in inspect.signature(self.estimator.predict).parameters

    def copy(self, point: Point) -> Any:
        """Give a copy of the estimator with the parameters of a point, not fitted."""
        wanted = {at: point[at] for at in self.search_space}
        if not hasattr(self.estimator, "get_params"):
            estimator = deepcopy(self.estimator)
            for at, value in wanted.items():
                setattr(estimator, at, value)
            return estimator
        from sklearn.base import clone  # noqa: PLC0415 - heavy

        return clone(self.estimator).set_params(**wanted)


def _problems(estimator: Any) -> list[str]:
    """Tell what an object lacks that is to be a model."""
    called = type(estimator).__name__
    missing = [x for x in ("fit", "predict") if not callable(getattr(estimator, x, None))]
    if missing:
        return [f"{called} has no {' and no '.join(missing)}; a model has fit(y) and predict(h)"]
    return [
        f"{called}.{method} must be callable as {method}({argument}), found {signature}"
        for method, argument in (("fit", "y"), ("predict", "h"))
        if not _callable_with_one(signature := inspect.signature(getattr(estimator, method)))
    ]


def _callable_with_one(signature: inspect.Signature) -> bool:
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True


def _has(estimator: Any, name: str) -> bool:
    if hasattr(estimator, "get_params"):
        return name in estimator.get_params()
    return hasattr(estimator, name)


def _read(told: Any, h: int, name: str) -> tuple[Floats, Floats | None]:
    """Read what ``predict`` gave; what it must not give is a fault of the model, not a series'."""
    if not hasattr(told, "keys"):
        return _array(told, h, name, "predict"), None
    lo, hi = f"lo-{LEVEL}", f"hi-{LEVEL}"
    absent = [key for key in ("mean", lo, hi) if key not in told.keys()]  # noqa: SIM118 - a frame
    if absent:
        raise TypeError(f"{name}.predict(level=[{LEVEL}]) gave no {', '.join(absent)}")
    mean, low, high = (_array(told[key], h, name, key) for key in ("mean", lo, hi))
    return mean, np.maximum(high - low, 0.0) / _WIDTH


def _array(values: Any, h: int, name: str, what: str) -> Floats:
    found: Floats = np.array(values, dtype=np.float64)
    if found.shape != (h,):
        raise TypeError(f"{name}: expected {what} of shape ({h},), found {found.shape}")
    return found


def _shape(view: View) -> tuple[int, int]:
    return view.season_length, view.h


def _steps(view: View) -> int:
    """Give over how many steps a refit is judged: a season, or a quarter of a short past."""
    return min(max(view.season_length, _STEPS), max(1, len(view.y) // _SHARE))


def _spread(view: View, known: Mapping[int, Floats]) -> Floats:
    """Give the standard deviation [H] from forecasts of earlier ends, as far as they are past."""
    steps = _steps(view)
    errors = [
        view.y[end : end + steps][: len(mean)] - mean[:steps][: len(view.y) - end]
        for end, mean in known.items()
        if end < len(view.y)
    ]
    all_errors = np.concatenate(errors) if errors else np.empty(0)
    seen = all_errors[~np.isnan(all_errors)]
    if not len(seen):
        return Naive().forecast(view.y, view)[1]
    return np.full(view.h, float(np.sqrt(np.mean(seen * seen))))


@lru_cache(maxsize=16)
def _space(model: OwnModel) -> Space:
    if not model.search_space:
        return Space((_AS_GIVEN,), np.zeros((1, 1)), n_portfolio=1)
    ranges, _ = ranges_of(model.search_space)
    own = model.estimator.get_params() if hasattr(model.estimator, "get_params") else None
    first = {at: own[at] if own else getattr(model.estimator, at) for at in ranges}
    return points_of(ranges, first)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
