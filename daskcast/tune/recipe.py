"""The recipe of a tuned entity: all that a forecast needs beside a past.

Covers writing it as plain JSON values and forecasting from it without a search. Does not cover how
forms and weights were found (``search``, ``blend``), nor where recipes are kept (``store``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from daskcast.errors import EntityError
from daskcast.tune.blend import Blend, average
from daskcast.tune.reach import Reach

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daskcast.models import Family, Fitted, View
    from daskcast.models.base import Point


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a blend.

    Parameters
    ----------
    label : str
        Such as ``ETS(M,Ad,M)``.
    family : str
    point : mapping
        Of the family's space.
    params : mapping
        As fitted; a family whose fits are not parameters has none, and is fitted anew.
    weight : float
    """

    label: str
    family: str
    point: Point
    params: Mapping[str, float]
    weight: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """The forms of a blend, the heaviest first.

    Parameters
    ----------
    forms : tuple of Form
    unit : float
        What the series was divided by before it was modelled; some parameters depend on it.

    Examples
    --------
    >>> told = {"unit": 4.0, "forms": [{"form": "Naive", "family": "naive", "weight": 1.0,
    ...         "point": {"form": "baseline"}, "params": {}}]}
    >>> Recipe.from_dict(told).to_dict() == told
    True
    """

    forms: tuple[Form, ...]
    unit: float

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
        forms = [
            {
                "form": form.label,
                "family": form.family,
                "weight": form.weight,
                "point": dict(form.point),
                "params": dict(form.params),
            }
            for form in self.forms
        ]
        return {"unit": self.unit, "forms": forms}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """Take what :meth:`to_dict` gave."""
        forms = tuple(
            Form(one["form"], one["family"], one["point"], one["params"], one["weight"])
            for one in told["forms"]
        )
        return cls(forms, told["unit"])


def cook(view: View, recipe: Recipe, families: Sequence[Family], *, keep: bool = True) -> Blend:
    """Forecast by a recipe, without a search.

    A form that cannot be fitted to this past, or forecasts absurdly from it, is left out, as it is
    after a search.

    Parameters
    ----------
    view : View
        In the unit of the recipe; the past may have grown since.
    recipe : Recipe
    families : sequence of Family
        Those that the recipe names, at least.
    keep : bool
        Take the parameters of the recipe; else estimate them afresh from this past.

    Raises
    ------
    EntityError
        Where a family is missing, or no form is left.
    """
    known = {family.name: family for family in families}
    missing = sorted({form.family for form in recipe.forms} - set(known))
    if missing:
        raise EntityError(
            f"the recipe needs the model families {', '.join(missing)}, which are not given"
        )
    done: dict[int, Fitted] = {}
    reach = Reach.of(view.y, view.h)
    for i, form in enumerate(recipe.forms):
        try:
            params = form.params if keep and form.params else None
            fitted = known[form.family].finish(view, form.point, params)
        except EntityError:
            continue
        if reach.holds(fitted.mean, fitted.sd):
            done[i] = fitted
    if not done:
        raise EntityError(
            f"none of the {len(recipe.forms)} forms of the recipe can be fitted to what the "
            "history is now and keeps within its reach; fit again"
        )
    weights = np.array([recipe.forms[i].weight for i in done])
    n_lost = len(recipe.forms) - len(done)
    if n_lost:  # else they sum to one, and dividing would change the last bit
        weights /= weights.sum()
    return average(weights, done, len(recipe.forms), n_lost)
