"""The tuning of one entity's model: search, blend, honest scores.

Covers the order of these steps. Does not cover the families (``models``) nor what becomes of an
entity that cannot be tuned (``task``). The only package that imports skopt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daskcast import intervals
from daskcast.tune.blend import Blend, Windows, blend, prequential, score, scores_of
from daskcast.tune.reach import Reach
from daskcast.tune.recipe import Form, Recipe, cook
from daskcast.tune.search import Judge, SearchRules, Tried, entity_seed, search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.models import Family, View
    from daskcast.records import Scores

__all__ = [
    "Form",
    "Judge",
    "Reach",
    "Recipe",
    "SearchRules",
    "Tuned",
    "Windows",
    "cook",
    "entity_seed",
    "scores_of",
    "tune",
]


@dataclass(frozen=True, slots=True)
class Tuned:
    """A tuned entity.

    Parameters
    ----------
    blend : Blend
    scores : Scores
    windows : Windows or None
        What the blend would have said on each window; None without one.
    tried : list of Tried
        In the order of evaluation.
    stopped_by : str
        ``trials``, ``exhausted`` or ``time``.
    scaled : bool
        False where the seasonal naive error is zero or unknown, so that losses are unscaled.
    unit_free : bool
        False where losses are in the unit of the data.
    """

    blend: Blend
    scores: Scores
    windows: Windows | None
    tried: list[Tried]
    stopped_by: str
    scaled: bool
    unit_free: bool

    def recipe(self, unit: float) -> Recipe:
        """Give what to keep of it; ``unit`` is what the series was divided by."""
        told = self.windows
        errors = intervals.scores(told.truth, told.mean, told.sd) if told else ()
        return Recipe(tuple(map(self._form, self.blend.fitted)), unit, errors)

    def label(self, position: int) -> str:
        """Name the form of a point that was tried."""
        one = self.tried[position]
        return one.family.label(one.point)

    def _form(self, position: int) -> Form:
        one, done = self.tried[position], self.blend.fitted[position]
        return Form(
            self.label(position),
            one.family.name,
            one.point,
            done.params,
            float(self.blend.weights[position]),
        )


def tune(
    view: View, families: Sequence[Family], rules: SearchRules, select: str, unique_id: str
) -> Tuned:
    """Search an entity's space, blend what was tried, score it honestly.

    Parameters
    ----------
    view : View
    families : sequence of Family
    rules : SearchRules
    select : {"blend", "best"}
    unique_id : str
        Goes into the seed.

    Raises
    ------
    EntityError
        Where not one point could be fitted.
    """
    judge = Judge(view, rules.loss)
    tried, stopped_by = search(view, families, judge, rules, unique_id)
    windows = prequential(view, tried, judge, select)
    return Tuned(
        blend=blend(view, tried, select),
        scores=score(view, judge, windows, tried),
        windows=windows,
        tried=tried,
        stopped_by=stopped_by,
        scaled=judge.scaled,
        unit_free=judge.unit_free,
    )
