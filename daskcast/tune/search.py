"""The search of one entity's space.

Covers which points are tried, in which order, and their loss on the windows. Does not cover how
the points that were tried are weighted (``blend``).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from skopt import Optimizer

from daskcast import metrics
from daskcast.errors import EntityError
from daskcast.models import Rolled
from daskcast.tune.space import FiniteSpace, pool
from daskcast.tune.surrogate import FixedGP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.models import Family, View
    from daskcast.models.base import Point
    from daskcast.records import Floats
    from daskcast.tune.space import Pool

#: points that are drawn for each ask: fewer than there are, so that the seed matters
_CANDIDATES = 32


@dataclass(frozen=True, slots=True)
class SearchRules:
    """What bounds the search of each entity.

    Parameters
    ----------
    engine : {"skopt", "portfolio"}
    trials : int
    seconds : float or None
    loss : str
    seed : int
        Of the run; that of an entity also depends on its id, and on nothing else.
    """

    engine: str = "skopt"
    trials: int = 24
    seconds: float | None = None
    loss: str = "mase"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Tried:
    """One point that was tried.

    Parameters
    ----------
    family : Family
    point : mapping
    rolled : Rolled or None
        None where the point could not be fitted.
    losses : ndarray of float64, shape [W]
        On each window; NaN where it could not be fitted.
    seconds : float
    origin : {"design", "ask", "portfolio"}
    """

    family: Family
    point: Point
    rolled: Rolled | None
    losses: Floats
    seconds: float
    origin: str

    @property
    def loss(self) -> float:
        """Mean over the windows; NaN where there is none, or the point could not be fitted."""
        n_windows = len(self.losses)
        return float(np.add.reduce(self.losses)) / n_windows if n_windows else math.nan


def entity_seed(seed: int, unique_id: str) -> int:
    """Give the seed of one entity, from the seed of the run and its id alone.

    Examples
    --------
    >>> entity_seed(0, "JFK") == entity_seed(0, "JFK") != entity_seed(1, "JFK")
    True
    """
    digest = hashlib.blake2b(f"{seed}\0{unique_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


class Judge:
    """Scores forecasts of an entity's windows.

    Parameters
    ----------
    view : View
    loss : str
        Name of the loss; one that needs a scale falls back to the mean absolute error where the
        scale of any window is zero or unknown.
    """

    def __init__(self, view: View, loss: str) -> None:
        self.truth = metrics.actuals(view.y, view.cutoffs, view.h)
        self.scale_mae, self.scale_mse = metrics.naive_scales(
            view.y, view.cutoffs, view.season_length
        )
        self.scaled = bool(np.all(self.scale_mae > 0))
        self.loss = loss if self.scaled or loss not in {"mase", "rmsse"} else "mae"
        self.unit_free = self.loss not in {"mae", "rmse"}

    def losses(self, forecasts: Floats) -> Floats:
        """Give the loss on each window, shape [..., W], of forecasts [..., W, H]."""
        if self.loss == "smape":
            return metrics.smape(forecasts, self.truth)
        if self.loss in {"mase", "mae"}:
            error = metrics.mae(forecasts, self.truth)
            return error / self.scale_mae if self.loss == "mase" else error
        error = metrics.mse(forecasts, self.truth)
        if self.loss == "rmsse":
            error = error / self.scale_mse
        root: Floats = np.sqrt(error)
        return root


def search(
    view: View, families: Sequence[Family], judge: Judge, rules: SearchRules, unique_id: str
) -> tuple[list[Tried], str]:
    """Try points of an entity's space.

    Half of the trials are first points that are known to do well, the rest is asked of a
    ``skopt.Optimizer``. No point is tried twice.

    Returns
    -------
    tried : list of Tried
        In the order of evaluation.
    stopped_by : {"trials", "exhausted", "time"}
    """
    able = [(family, space) for family in families if (space := family.space(view)).points]
    if not able:
        return [], "exhausted"
    points = pool(*map(tuple, zip(*able, strict=True)))
    deadline = math.inf if rules.seconds is None else time.monotonic() + rules.seconds
    walk = _walk(points, view, rules, entity_seed(rules.seed, unique_id))
    return _evaluate_all(_Bench(view, points, judge, deadline), walk)


@dataclass(frozen=True, slots=True)
class _Bench:
    """Where points are evaluated."""

    view: View
    points: Pool
    judge: Judge
    deadline: float

    def evaluate(self, position: int, origin: str) -> Tried:
        """Fit a point on the windows and score it; a point that cannot be fitted has no loss."""
        family, point = self.points.families[position], self.points.points[position]
        if not len(self.view.cutoffs):
            none = np.empty((0, self.view.h))
            unscored = Rolled(none, none, np.full(1, math.nan))
            return Tried(family, point, unscored, np.empty(0), 0.0, origin)
        begun = time.perf_counter()
        try:
            rolled = family.roll(self.view, point)
            losses = self.judge.losses(rolled.forecasts)
        except EntityError:
            rolled = None
        if rolled is None or not np.all(np.isfinite(losses)):
            rolled, losses = None, np.full(len(self.view.cutoffs), math.nan)
        return Tried(family, point, rolled, losses, time.perf_counter() - begun, origin)


#: yields positions in the pool and their origin, takes losses, returns why it ended
Walk = Generator[tuple[int, str], float, str]


def _evaluate_all(bench: _Bench, walk: Walk) -> tuple[list[Tried], str]:
    """Evaluate what the walk proposes, tell it each loss; say why it ended."""
    tried: list[Tried] = []
    loss = None
    while True:
        # around the walk alone: a family that raises StopIteration has failed, it ends no search
        try:
            position, origin = next(walk) if loss is None else walk.send(loss)
        except StopIteration as end:
            return tried, str(end.value)
        tried.append(bench.evaluate(position, origin))
        if time.monotonic() > bench.deadline:
            return tried, "time"
        loss = tried[-1].loss


def _walk(points: Pool, view: View, rules: SearchRules, seed: int) -> Walk:
    """Choose how the pool is walked; without a window there is no loss to search by."""
    if rules.engine == "portfolio":
        return _listed(points.n_portfolio, "portfolio")
    if not len(view.cutoffs):
        return _listed(min(points.n_portfolio, rules.trials), "design")
    return _ask(points, rules, seed)


def _listed(n_points: int, origin: str) -> Walk:
    for position in range(n_points):
        yield position, origin
    return "exhausted"


def _ask(points: Pool, rules: SearchRules, seed: int) -> Walk:
    """Propose the first points, then what the optimizer asks for, until the trials are spent."""
    finite = FiniteSpace(points)
    n_design = min(max(rules.trials // 2, 1), len(points.points))
    losses = []
    for position, row in enumerate(finite.rows[:n_design]):
        finite.see(row)
        losses.append((yield position, "design"))
    if rules.trials <= n_design or not finite.unseen:
        return "exhausted" if not finite.unseen else "trials"
    optimizer = Optimizer(
        finite.dimensions,
        base_estimator=FixedGP(),
        n_initial_points=n_design,
        acq_func="LCB",
        acq_optimizer="sampling",
        acq_optimizer_kwargs={"n_points": _CANDIDATES},
        model_queue_size=1,
        random_state=seed,
    )
    optimizer.space = finite
    optimizer.tell(finite.rows[:n_design], _told(losses))
    for left in reversed(range(rules.trials - n_design)):
        row = optimizer.ask()
        loss = yield finite.see(row), "ask"
        if not finite.unseen:
            return "exhausted"
        if left:  # nobody asks after the last
            optimizer.tell(row, _told([loss], worst=max(optimizer.yi))[0])
    return "trials"


def _told(losses: Sequence[float], worst: float = -math.inf) -> list[float]:
    """Give what the optimizer is told: log losses; a failed point counts as the worst seen."""
    logs = [math.nan if math.isnan(loss) else math.log(max(loss, 1e-12)) for loss in losses]
    worst = max([worst, *(x for x in logs if not math.isnan(x))])
    stand_in = worst if math.isfinite(worst) else 0.0
    return [stand_in if math.isnan(x) else x for x in logs]
