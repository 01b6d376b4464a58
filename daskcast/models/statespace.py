"""Families whose arithmetic is a state-space model of statsmodels.

Covers estimation, windows and forecasts of any such model. Does not cover which models there are:
``sarimax`` and ``unobserved`` do.

statsmodels is imported when such a family is first fitted. What is kept of a fit is its parameters:
a result object holds matrices for every time, hundreds of megabytes of them for a long series
(statsmodels#8384). Forecasting again is one pass of the Kalman filter with these parameters, which
skips missing observations.

The Gaussian likelihood of one of these models is that of the data after differencing, or after the
first observations have settled a diffuse start. With other orders of differencing or another number
of diffuse states it is the likelihood of other data (Francke, Koopman and de Vos, 2010), so no AICc
is given: the points of these families are weighed by their errors on the windows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from daskcast.errors import EntityError
from daskcast.models.base import Fitted, Rolled, view_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.models.base import Point, Space, View
    from daskcast.records import Floats

#: longest season that is modelled by a state for each of its steps: the cost of a pass grows with
#: the square of the number of states, and more
LONGEST_SEASON = 24
#: most steps of the optimiser
MOST_ITERATIONS = 200


class StateSpace(ABC):
    """What the state-space families share: a fit by maximum likelihood, and the Kalman filter."""

    name: str
    scope: Literal["entity", "panel"] = "entity"

    @abstractmethod
    def space(self, view: View) -> Space:
        """Give all admissible points for this entity."""

    @abstractmethod
    def label(self, point: Point) -> str:
        """Give the short name of the form."""

    @abstractmethod
    def build(self, z: Floats, point: Point, season_length: int) -> Any:
        """Give the statsmodels model of a series on the scale of the fit."""

    @abstractmethod
    def estimate(self, z: Floats, point: Point, season_length: int) -> dict[str, float]:
        """Find the parameters, by name; :func:`maximise` does the work."""

    def roll(self, view: View, point: Point) -> Rolled:
        """Fit before the first cutoff and filter on with these parameters."""
        n_windows = len(view.cutoffs)
        forecasts, sd = np.empty((2, n_windows, view.h))
        params: Mapping[str, float] | None = None
        for w, cutoff in enumerate(view.cutoffs):
            past = view_of(view.y[:cutoff], view.season_length, view.h)
            fitted = self.finish(past, point, params)
            forecasts[w], sd[w], params = fitted.mean, fitted.sd, fitted.params
        return Rolled(forecasts, sd, np.full(n_windows + 1, np.nan))

    def finish(self, view: View, point: Point, params: Mapping[str, float] | None = None) -> Fitted:
        """Fit to all of the past, and forecast."""
        if point["log"] and view.low <= 0:
            raise EntityError(f"{self.label(point)} needs values above 0, found {view.low:g}")
        try:
            with np.errstate(all="ignore"):
                return self._finish(view, point, params)
        except EntityError:
            raise
        except (ValueError, ArithmeticError, LookupError) as error:  # singular matrices among them
            raise EntityError(f"{self.label(point)} could not be fitted: {error}") from error

    def _finish(self, view: View, point: Point, params: Mapping[str, float] | None) -> Fitted:
        m = view.season_length
        z = np.log(view.y) if point["log"] else view.y
        kept = self.estimate(z, point, m) if params is None else dict(params)
        model = self.build(z, point, m)
        _remember_little(model)
        result = model.filter(np.array([kept[name] for name in model.param_names]), cov_type="none")
        ahead = result.get_forecast(view.h)
        mean, sd = np.array(ahead.predicted_mean), np.array(ahead.se_mean)
        if point["log"]:
            mean, sd = np.exp(mean), 0.5 * (np.exp(mean + sd) - np.exp(mean - sd))
        if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(sd))):
            raise EntityError(f"{self.label(point)} has no finite forecast")
        return Fitted(mean, sd, float("nan"), kept, _residuals(result.filter_results, view.y))


def shows_season(view: View) -> bool:
    """Tell whether each step of the season was observed twice before the first window.

    A step that never was has no forecast: its state stays where it started, at a variance without
    bounds.
    """
    past = view.y[: view.cutoffs[0]] if len(view.cutoffs) else view.y
    phases = np.flatnonzero(~np.isnan(past)) % view.season_length
    return view.season_length > 1 and bool(
        np.bincount(phases, minlength=view.season_length).min() > 1
    )


def maximise(model: Any, start: Floats | None, label: str) -> Any:
    """Maximise a model's likelihood.

    Parameters
    ----------
    model : statsmodels MLEModel
    start : ndarray of float64 or None
        None takes what statsmodels proposes.
    label : str
        For the message.

    Returns
    -------
    statsmodels MLEResults
        With parameters; of little use for anything else.

    Raises
    ------
    EntityError
        Where the optimiser does not come to its end, or to one that is not finite.
    """
    result = model.fit(
        start,
        maxiter=MOST_ITERATIONS,
        disp=0,
        cov_type="none",
        low_memory=True,
        # finite differences of real numbers are twice as fast as those of complex ones
        optim_complex_step=False,
        warn_convergence=False,
    )
    # 2, a line search that finds nothing better, is what a maximum at a variance of 0 ends with
    if result.mle_retvals["warnflag"] == 1:
        raise EntityError(f"{label} did not converge within {MOST_ITERATIONS} iterations")
    if not (np.isfinite(result.llf) and np.all(np.isfinite(result.params))):
        raise EntityError(f"{label} has no finite likelihood")
    return result


def _remember_little(model: Any) -> None:
    """Keep of each time only the one-step error and its variance, no matrix of the states."""
    from statsmodels.tsa.statespace import kalman_filter as kf  # noqa: PLC0415 - heavy

    model.ssm.set_conserve_memory(
        kf.MEMORY_NO_PREDICTED | kf.MEMORY_NO_FILTERED | kf.MEMORY_NO_GAIN | kf.MEMORY_NO_SMOOTHING
    )


def _residuals(filtered: Any, y: Floats) -> Floats:
    """Give the standardised one-step errors [T]; NaN until the start has settled."""
    errors: Floats = filtered.forecasts_error[0] / np.sqrt(filtered.forecasts_error_cov[0, 0])
    errors[np.isnan(y)] = np.nan
    errors[: filtered.loglikelihood_burn] = np.nan
    return errors
