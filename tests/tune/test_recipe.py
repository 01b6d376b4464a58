"""What is kept of a tuned entity forecasts as the tuned entity did."""

from __future__ import annotations

import json

import numpy as np
import pytest

from daskcast.errors import EntityError
from daskcast.models import families, view_of
from daskcast.tune import Form, Recipe, SearchRules, cook, tune
from daskcast.tune.reach import Reach

MULTIPLICATIVE = {
    "error": "M", "trend": "A", "season": "M", "power": 1.0, "criterion": "likelihood"
}  # fmt: skip


def airport(n: int = 84) -> np.ndarray:
    t = np.arange(float(n))
    return (100 + t) * (1 + 0.2 * np.sin(t * np.pi / 6)) * (1 + 0.03 * np.sin(t * t))


@pytest.fixture
def cooked():
    """Give a tuned entity, its view, and its recipe after a way through JSON."""
    view, known = view_of(airport(), 12, 12, np.array([48, 60, 72])), families(["ets", "naive"])
    tuned = tune(view, known, SearchRules(), "blend", "JFK")
    told = json.loads(json.dumps(tuned.recipe(1.0).to_dict()))
    return tuned, view, Recipe.from_dict(told), known


def test_a_recipe_forecasts_as_the_blend_did(cooked):
    """Means and spreads are the same to the bit, after a way through JSON."""
    tuned, view, recipe, known = cooked
    again = cook(view, recipe, known)
    assert again.mean.tobytes() == tuned.blend.mean.tobytes()
    assert again.sd.tobytes() == tuned.blend.sd.tobytes()
    assert again.n_left_out == 0


def test_other_horizons_share_their_first_steps(cooked):
    """A longer horizon needs no other recipe."""
    tuned, view, recipe, known = cooked
    longer = cook(view_of(view.y, 12, 30), recipe, known)
    assert longer.mean[:12].tobytes() == tuned.blend.mean.tobytes()


def test_kept_parameters_see_new_months(cooked):
    """On a past that has grown the states move on; fresh parameters are another forecast."""
    tuned, _, recipe, known = cooked
    grown = view_of(airport(96) * np.linspace(1, 1.3, 96), 12, 12)
    kept, fresh = cook(grown, recipe, known), cook(grown, recipe, known, keep=False)
    assert np.all(kept.mean > tuned.blend.mean)
    assert not np.array_equal(kept.mean, fresh.mean)
    assert [done.params for done in kept.fitted.values()] == [f.params for f in recipe.forms]


def test_a_family_that_is_missing_is_named(cooked):
    """A recipe says which families it needs."""
    _, view, recipe, _ = cooked
    with pytest.raises(EntityError, match="needs the model families ets"):
        cook(view, recipe, families(["naive"]))


def test_forms_that_cannot_be_fitted_leave_the_others_their_share(cooked):
    """On data with negative values multiplicative forms are lost, the rest sums to one."""
    _, view, recipe, known = cooked
    sunk = view_of(view.y - view.y.max(), 12, 12)
    found = cook(sunk, recipe, known)
    assert found.n_left_out == len(recipe.forms) - len(found.fitted)
    assert found.n_left_out > 0
    assert found.weights.sum() == pytest.approx(1.0)


def test_forms_that_explode_are_left_out(cooked):
    """After one absurd month what keeps within reach is left, and no forecast out of it."""
    _, view, recipe, known = cooked
    odd = view_of(np.append(view.y, 1e7 * view.y.max()), 12, 12)
    found = cook(odd, recipe, known)
    assert found.n_left_out > 0
    assert Reach.of(odd.y, 12).holds(found.mean)
    alone = Recipe((Form("ETS(M,A,M)", "ets", MULTIPLICATIVE, {}, 1.0),), 1.0)
    with pytest.raises(EntityError, match=r"none of the 1 forms of the recipe .* fit again"):
        cook(view_of(-view.y, 12, 12), alone, known)


def test_zeros_keep_their_shift():
    """On data with zeros a recipe forecasts on the scale on which its parameters were fitted."""
    y = np.concatenate([np.zeros(20), np.random.default_rng(0).random(10) + 1])
    view, known = view_of(y, 1, 3, np.array([21, 24, 27])), families(["ets"])
    tuned = tune(view, known, SearchRules(engine="portfolio"), "blend", "JFK")
    recipe = Recipe.from_dict(json.loads(json.dumps(tuned.recipe(1.0).to_dict())))
    assert any(form.params.get("shift") for form in recipe.forms)
    again = cook(view_of(y, 1, 3), recipe, known)
    assert again.mean.tobytes() == tuned.blend.mean.tobytes()
    assert again.sd.tobytes() == tuned.blend.sd.tobytes()
