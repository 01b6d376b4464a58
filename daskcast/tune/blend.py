"""The blend of the points that were tried, and its honest scores.

Covers weights, the prequential scores of the blend on the windows, and the final forecast with
its variance. Does not cover which points are tried (``search``).

Within a family a weight is ``exp(-(AICc - min AICc) / 20) * loss ** -2``. Plain AICc weights
(temperature 1) stake nearly all on one form; the lowest rolling error alone is a noisy judge. Both
together, tempered, are far ahead on the monthly series of M1, and within 2 % of plain AICc weights
on the others (bench/weights.py). Across families, whose likelihoods do not compare, each as a whole
weighs ``loss ** -2``: nearly alike where they do about as well, little where one fails.

Shapes: K points, W windows, H steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from daskcast import metrics
from daskcast.errors import EntityError
from daskcast.models import SeasonalNaive
from daskcast.records import Scores
from daskcast.tune.reach import Reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from daskcast.models import Family, Fitted, View
    from daskcast.records import Floats
    from daskcast.tune.search import Judge, Tried

_TEMPERATURE = 10.0
_SHARPNESS = 2.0
#: points below this share of their family's largest weight are not fitted to all of the past
_TRIM = 0.03


@dataclass(frozen=True, slots=True)
class Blend:
    """A weighted mean of fitted points.

    Parameters
    ----------
    mean, sd : ndarray of float64, shape [H]
        The variance is the points' own and the spread between them.
    weights : ndarray of float64, shape [K]
        Of every point that was tried; 0 where it takes no part.
    fitted : mapping of int to Fitted
        By position among the points, those that take part, the heaviest first.
    n_left_out : int
        Points that weighed something and were refused: not fitted, or beyond reach of the past.
    """

    mean: Floats
    sd: Floats
    weights: Floats
    fitted: dict[int, Fitted]
    n_left_out: int


def weigh(aicc: Floats, losses: Floats | None, families: Sequence[Family]) -> Floats:
    """Give the weights of points.

    Likelihoods compare only within a family. Across families each as a whole is weighed by
    the loss that its points have on average, and all alike before the first window.

    Parameters
    ----------
    aicc : ndarray of float64, shape [K]
        NaN where a family has no likelihood.
    losses : ndarray of float64, shape [K], or None
        Mean loss so far; None before the first window.
    families : sequence of Family, length K

    Returns
    -------
    ndarray of float64, shape [K]
        Sum to one.
    """
    members = _members(families)
    weights = np.zeros(len(aicc))
    for member in members:
        share = _tempered(aicc[member])
        if losses is not None:
            share *= _inverse(losses[member])
        weights[member] = share / share.sum()
    if losses is not None:
        averages = np.array([(weights[member] * losses[member]).sum() for member in members])
        for member, share_of_all in zip(members, _inverse(averages), strict=True):
            weights[member] *= share_of_all
    weights /= weights.sum()
    return weights


def _members(families: Sequence[Family]) -> list[NDArray[np.bool_]]:
    """Tell of each family which points are its."""
    names = [family.name for family in families]
    return [np.array([name == one for name in names]) for one in dict.fromkeys(names)]


def _tempered(aicc: Floats) -> Floats:
    if np.any(np.isnan(aicc)):
        return np.ones(len(aicc))
    share: Floats = np.exp((aicc.min() - aicc) / (2.0 * _TEMPERATURE))
    return share


def _inverse(losses: Floats) -> Floats:
    floor = max(float(losses.min()), 1e-12)
    share: Floats = (floor / np.maximum(losses, 1e-12)) ** _SHARPNESS
    return share


@dataclass(frozen=True, slots=True)
class Windows:
    """What the blend would have said on each window.

    Parameters
    ----------
    mean, sd : ndarray of float64, shape [W, H]
        ``sd`` is NaN where no form could say.
    truth : ndarray of float64, shape [W, H]
    """

    mean: Floats
    sd: Floats
    truth: Floats


def prequential(
    view: View, tried: Sequence[Tried], judge: Judge, select: str = "blend"
) -> Windows | None:
    """Blend the forecasts of each window, or take the best one, as it would have been done then.

    On each window the weights know the windows before it, and the likelihood of its own past.
    Points that the optimizer asked for take no part: they were chosen by the losses of all windows.
    One thing is known too early: which forms are admissible is decided once, by the whole series,
    so that a zero in the last window rules out multiplicative errors on the first as well.

    Parameters
    ----------
    view : View
    tried : sequence of Tried
        In the order of evaluation.
    judge : Judge
    select : {"blend", "best"}

    Returns
    -------
    Windows or None
        None without a window, or a point that could be fitted.
    """
    known = [t for t in tried if t.rolled is not None]
    if not len(view.cutoffs) or not known:
        return None
    design = [t for t in known if t.origin != "ask"] or known[:1]
    forecasts = np.array([t.rolled.forecasts for t in design if t.rolled])
    spreads = np.array([t.rolled.sd for t in design if t.rolled])
    aicc = np.array([t.rolled.aicc for t in design if t.rolled])
    losses = np.array([t.losses for t in design])
    families = [t.family for t in design]
    mean, sd = np.empty((2, len(view.cutoffs), view.h))
    for w, cutoff in enumerate(view.cutoffs):
        so_far = losses[:, :w].mean(axis=1) if w else None
        weights = weigh(aicc[:, w], so_far, families)
        sane = Reach.of(view.y[:cutoff], view.h, view.floor).holds(forecasts[:, w])
        if sane.any():
            weights = np.where(sane, weights, 0.0)
        if select == "best":
            weights = _best(weights, so_far)
        mean[w], sd[w] = _moments(weights / weights.sum(), forecasts[:, w], spreads[:, w])
    return Windows(mean, sd, judge.truth)


def _moments(weights: Floats, means: Floats, sds: Floats) -> tuple[Floats, Floats]:
    """Give mean and standard deviation of a mixture, [H]; a form without weight says nothing.

    Sums over the first axis, not matrix products: equal to the bit with any BLAS.
    """
    part = weights > 0
    column, means, sds = weights[part, None], means[part], sds[part]
    mean = (column * means).sum(axis=0)
    return mean, np.sqrt((column * (sds * sds + (means - mean) ** 2)).sum(axis=0))


def _best(weights: Floats, losses: Floats | None) -> Floats:
    """Give all the weight to the lowest loss; to the heaviest point where nothing was scored."""
    ranked = -weights if losses is None else np.where(weights > 0, losses, np.inf)
    chosen: Floats = np.where(np.arange(len(weights)) == ranked.argmin(), 1.0, 0.0)
    return chosen


def score(view: View, judge: Judge, windows: Windows | None, tried: Sequence[Tried]) -> Scores:
    """Score what :func:`prequential` gave, beside the seasonal naive forecast."""
    if windows is None:
        return Scores(n_windows=len(view.cutoffs))
    lowest = min(t.loss for t in tried if t.rolled is not None)
    return scores_of(view, judge, windows.mean, lowest)


def scores_of(view: View, judge: Judge, blended: Floats, tune_loss: float) -> Scores:
    """Score forecasts [W, H] of the windows, beside the seasonal naive forecast."""
    naive = SeasonalNaive()
    baseline = np.array([naive.forecast(view.y[:c], view)[0] for c in view.cutoffs])
    mase, naive_mase, rmsse = (math.nan,) * 3
    if judge.scaled:
        mase = float((metrics.mae(blended, judge.truth) / judge.scale_mae).mean())
        naive_mase = float((metrics.mae(baseline, judge.truth) / judge.scale_mae).mean())
        rmsse = float(np.sqrt(metrics.mse(blended, judge.truth) / judge.scale_mse).mean())
    return Scores(
        n_windows=len(view.cutoffs),
        tune_loss=tune_loss,
        cv_mase=mase,
        cv_rmsse=rmsse,
        cv_smape=float(metrics.smape(blended, judge.truth).mean()),
        naive_mase=naive_mase,
        skill=1.0 - mase / naive_mase if naive_mase > 0 else math.nan,
    )


def blend(view: View, tried: Sequence[Tried], select: str) -> Blend:
    """Fit the points that matter to all of the past, and average their forecasts.

    Without a window there is no loss, and likelihood alone decides.

    Raises
    ------
    EntityError
        Where not one point could be fitted.
    """
    known = [i for i, t in enumerate(tried) if t.rolled is not None]
    losses = np.array([tried[i].loss for i in known])
    worthy = known
    if len(view.cutoffs) and known:
        worthy = [known[i] for i in _worth_fitting([tried[i] for i in known], losses, select)]
    fitted = _finish_each(view, tried, worthy) or _finish_each(view, tried, known)
    if not fitted:
        raise EntityError(
            f"none of the {len(tried)} forms tried could be fitted and keeps within reach of the "
            "past"
        )
    chosen = [tried[i] for i in fitted]
    left = np.array([t.loss for t in chosen]) if len(view.cutoffs) else None
    weights = weigh(
        np.array([done.aicc for done in fitted.values()]), left, [t.family for t in chosen]
    )
    if select == "best":
        weights = _best(weights, left)
    n_left_out = len(worthy) - len(set(worthy) & set(fitted))
    share = dict(zip(fitted, map(float, weights), strict=True))
    heaviest = sorted((i for i in fitted if share[i] > 0), key=lambda i: (-share[i], i))
    if not heaviest:  # losses beyond all numbers
        raise EntityError(f"none of the {len(tried)} forms tried has a weight that is a number")
    return average(
        np.array([share[i] for i in heaviest]),
        {i: fitted[i] for i in heaviest},
        len(tried),
        n_left_out,
    )


def _worth_fitting(known: Sequence[Tried], losses: Floats, select: str) -> list[int]:
    """Give the positions of the points that may weigh something in the end."""
    if select == "best":
        return [int(losses.argmin())]
    aicc = np.array([t.rolled.aicc[-1] for t in known if t.rolled])
    families = [t.family for t in known]
    weights = weigh(aicc, losses, families)
    floor = np.zeros(len(known))
    for member in _members(families):
        floor[member] = _TRIM * weights[member].max()
    return [int(i) for i in np.flatnonzero(weights >= floor)]


def _finish_each(view: View, tried: Sequence[Tried], positions: Sequence[int]) -> dict[int, Fitted]:
    """Fit points to all of the past; what cannot be fitted, or forecasts absurdly, is left out."""
    reach = Reach.of(view.y, view.h, view.floor)
    done = {i: _finish(view, tried[i]) for i in positions}
    return {
        i: fitted
        for i, fitted in done.items()
        if fitted is not None and reach.holds(fitted.mean, fitted.sd)
    }


def _finish(view: View, tried: Tried) -> Fitted | None:
    try:
        return tried.family.finish(view, tried.point)
    except EntityError:
        return None


def average(weights: Floats, fitted: dict[int, Fitted], n_tried: int, n_left_out: int) -> Blend:
    """Average fitted points; the variance holds the spread between them.

    Parameters
    ----------
    weights : ndarray of float64, length of ``fitted``
        Sum to one.
    fitted : dict of int to Fitted
        By position among the ``n_tried`` points.
    n_tried, n_left_out : int
    """
    means = np.array([done.mean for done in fitted.values()])
    sds = np.array([done.sd for done in fitted.values()])
    mean, sd = _moments(weights, means, sds)
    spread = np.zeros(n_tried)
    spread[list(fitted)] = weights
    return Blend(mean, sd, spread, fitted, n_left_out)
