"""Weights, blend and honest scores against slow, obvious versions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskcast.errors import EntityError
from daskcast.models import ETS, Fitted, Naive, Rolled, SeasonalNaive, Space, view_of
from daskcast.tune import tune
from daskcast.tune.blend import blend, prequential, score, weigh
from daskcast.tune.search import Judge, SearchRules, Tried, search

CUTOFFS = np.array([48, 60, 72])


def airport(rng, n=84):
    """Give monthly passengers."""
    t = np.arange(n)
    return (200 + 2 * t) * (1 + 0.3 * np.sin(t * np.pi / 6)) * rng.lognormal(0, 0.05, n)


@pytest.fixture
def view(rng):
    """Give an ordinary entity with three windows."""
    return view_of(airport(rng), 12, 12, CUTOFFS)


def tried_on(view, families=None, **rules):
    """Give what a search tried, and its judge."""
    rules = SearchRules(**{"engine": "portfolio", **rules})
    judge = Judge(view, rules.loss)
    return search(view, families or [ETS()], judge, rules, "JFK")[0], judge


@dataclass(frozen=True)
class Fake:
    """A family that says what it is told to say: by point, a mean, a spread and an AICc."""

    name: str = "fake"
    scope: str = "entity"

    def space(self, view):  # noqa: ARG002
        return Space(({"mean": 0.0},), np.zeros((1, 1)), 1)

    def label(self, point):  # noqa: ARG002
        return self.name

    def roll(self, view, point):
        raise NotImplementedError

    def finish(self, view, point, params=None):  # noqa: ARG002
        if math.isnan(point["mean"]):
            raise EntityError("cannot be fitted")
        steps = np.arange(1.0, view.h + 1)
        return Fitted(point["mean"] * steps, point["sd"] * np.sqrt(steps), point["aicc"], {})


def faked(mean, sd, aicc, loss, family=None, origin="design", rolled=None):
    """Give a tried point of a fake family with one loss for all three windows."""
    point = {"mean": mean, "sd": sd, "aicc": aicc}
    n = len(CUTOFFS)
    judged = Rolled(np.full((n, 12), mean), np.ones((n, 12)), np.full(n + 1, aicc))
    return Tried(family or Fake(), point, rolled or judged, np.full(n, loss), 0.0, origin)


# -- weights ----------------------------------------------------------------------------------

AICC = st.floats(-500, 5000)
LOSS = st.floats(0.01, 100)


def slow_weights(aicc, losses, names):
    """Give the weights as documented, one number after another."""
    weights = []
    for a, loss, name in zip(aicc, losses or [None] * len(aicc), names, strict=True):
        own = [i for i, other in enumerate(names) if other == name]
        lowest = min(aicc[i] for i in own)
        shares = []
        for i in own:
            share = 1.0 if math.isnan(lowest) else math.exp(-(aicc[i] - lowest) / 20)
            shares.append(share if losses is None else share * losses[i] ** -2)
        share = 1.0 if math.isnan(lowest) else math.exp(-(a - lowest) / 20)
        share = share if losses is None else share * loss**-2
        family = 1.0
        if losses is not None:
            shared = zip(shares, own, strict=True)
            family = (sum(x * losses[i] for x, i in shared) / sum(shares)) ** -2
        weights.append(family * share / sum(shares))
    return [w / sum(weights) for w in weights]


@given(data=st.data(), n=st.integers(1, 12), windows=st.booleans())
def test_weights_are_those_documented(data, n, windows):
    """Weights are ``exp(-dAICc / 20) / loss ** 2`` in a family, by its mean loss across them."""
    aicc = np.array(data.draw(st.lists(AICC, min_size=n, max_size=n)))
    losses = data.draw(st.lists(LOSS, min_size=n, max_size=n)) if windows else None
    names = data.draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n))
    aicc[[name == "c" for name in names]] = math.nan
    families = [Fake(name) for name in names]
    found = weigh(aicc, None if losses is None else np.array(losses), families)
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.all(found >= 0)
    np.testing.assert_allclose(found, slow_weights(aicc, losses, names), rtol=1e-9, atol=1e-300)


@given(data=st.data(), n=st.integers(1, 12), shift=st.floats(-1e4, 1e4), power=st.integers(-6, 6))
def test_weights_do_not_depend_on_constants(data, n, shift, power):
    """A constant added to AICc and a factor on the losses change no weight."""
    aicc = np.array(data.draw(st.lists(AICC, min_size=n, max_size=n)))
    losses = np.array(data.draw(st.lists(LOSS, min_size=n, max_size=n)))
    families = [Fake()] * n
    one = weigh(aicc, losses, families)
    other = weigh(aicc + shift, losses * 10.0**power, families)
    np.testing.assert_allclose(other, one, rtol=1e-8, atol=1e-300)


@pytest.mark.parametrize("losses", [None, np.full(5, 0.7)])
@pytest.mark.parametrize("aicc", [123.0, math.nan])
def test_equal_points_weigh_the_same(aicc, losses):
    """Points that nothing tells apart have equal weights."""
    np.testing.assert_allclose(weigh(np.full(5, aicc), losses, [Fake()] * 5), 0.2)


def test_likelihoods_of_families_are_not_compared():
    """A family's AICc says nothing of another family: the mean losses of their points do."""
    families = [Fake("one"), Fake("one"), Fake("other")]
    found = weigh(np.array([1e4, 1e4, -1e4]), np.array([1.0, 1.0, 2.0]), families)
    np.testing.assert_allclose(found, [0.4, 0.4, 0.2])
    found = weigh(np.array([1e4, 1e4, math.nan]), None, families)
    np.testing.assert_allclose(found, [0.25, 0.25, 0.5])


def test_better_is_heavier():
    """Of two points the one with the lower AICc, or the lower loss, weighs more."""
    pair = [Fake(), Fake()]
    assert np.diff(weigh(np.array([10.0, 20.0]), np.ones(2), pair)) < 0
    assert np.diff(weigh(np.zeros(2), np.array([1.0, 2.0]), pair)) < 0


@pytest.mark.parametrize(
    ("aicc", "losses"),
    [([1e300, 5.0], [1.0, 1.0]), ([1e300, 1e300], [1.0, 2.0]), ([0.0, 1e6], [1e9, 1e-9]),
     ([0.0, 0.0], [0.0, 0.0]), ([0.0, 0.0], [0.0, 1.0])],
)  # fmt: skip
def test_extreme_weights_are_numbers(aicc, losses):
    """A lost likelihood, a perfect forecast, a hopeless one: weights still sum to one."""
    found = weigh(np.array(aicc), np.array(losses), [Fake()] * 2)
    assert np.all(np.isfinite(found))
    assert found.sum() == pytest.approx(1.0)


# -- the blend --------------------------------------------------------------------------------


def slow_mixture(weights, means, sds):
    """Give mean and spread of a mixture by its moments, step by step."""
    mean, sd = [], []
    for h in range(len(means[0])):
        first = sum(w * m[h] for w, m in zip(weights, means, strict=True))
        second = sum(
            w * (s[h] ** 2 + m[h] ** 2) for w, m, s in zip(weights, means, sds, strict=True)
        )
        mean.append(first)
        sd.append(math.sqrt(max(second - first**2, 0.0)))
    return mean, sd


@given(data=st.data(), n=st.integers(1, 8))
def test_the_blend_has_the_moments_of_a_mixture(data, n):
    """Mean and variance of the blend are those of the mixture of its points."""
    view = view_of(np.linspace(-1500.0, 1500.0, 84), 12, 12, CUTOFFS)
    draws = st.tuples(st.floats(-100, 100), st.floats(0.1, 50), st.floats(0, 30), st.floats(0.5, 2))
    tried = [faked(*one) for one in data.draw(st.lists(draws, min_size=n, max_size=n))]
    found = blend(view, tried, "blend")
    assert found.weights.sum() == pytest.approx(1.0)
    parts = [found.fitted[i] for i in found.fitted]
    weights = [found.weights[i] for i in found.fitted]
    mean, sd = slow_mixture(weights, [p.mean for p in parts], [p.sd for p in parts])
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.sd, sd, rtol=1e-6, atol=1e-6)


def test_the_blend_of_ets_is_the_weighted_mean(view):
    """On a real search the blend is made of refitted points with the weights documented."""
    tried, _ = tried_on(view, engine="skopt")
    found = blend(view, tried, "blend")
    assert len(found.weights) == len(tried)
    taken = np.flatnonzero(found.weights)
    assert set(taken) == set(found.fitted)
    assert len(taken) > 1
    fits = [ETS().finish(view, tried[i].point) for i in taken]
    weights = slow_weights(
        [fit.aicc for fit in fits], [tried[i].loss for i in taken], ["ets"] * len(taken)
    )
    np.testing.assert_allclose(found.weights[taken], weights, rtol=1e-9)
    mean, sd = slow_mixture(weights, [fit.mean for fit in fits], [fit.sd for fit in fits])
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(found.sd, sd, rtol=1e-6)


def test_light_points_are_left_out(view):
    """A point below three hundredths of the largest weight is not fitted at the end."""
    tried = [faked(1.0, 1.0, 0.0, 1.0), faked(9.0, 1.0, 0.0, 5.7), faked(5.0, 1.0, 0.0, 5.9)]
    assert set(blend(view, tried, "blend").fitted) == {0, 1}


def test_best_is_the_lowest_loss_alone(view):
    """With ``best`` one point has all the weight: that of the lowest loss, whatever its AICc."""
    tried, _ = tried_on(view, engine="skopt")
    found = blend(view, tried, "best")
    lowest = int(np.argmin([one.loss for one in tried]))
    assert found.weights.tolist() == [float(i == lowest) for i in range(len(tried))]
    fitted = ETS().finish(view, tried[lowest].point)
    np.testing.assert_array_equal(found.mean, fitted.mean)
    np.testing.assert_allclose(found.sd, fitted.sd, rtol=1e-12)


def test_best_of_what_can_be_fitted(view):
    """Where the best point cannot be fitted to all of the past the next best one is taken."""
    tried = [faked(1.0, 1.0, 0.0, 3.0), faked(math.nan, 1.0, 0.0, 1.0), faked(2.0, 1.0, 9.0, 2.0)]
    assert blend(view, tried, "best").weights.tolist() == [0.0, 0.0, 1.0]


def test_best_of_equals_is_one(view):
    """Of equal points ``best`` takes the first, with and without windows."""
    tried = [faked(1.0, 1.0, 0.0, 1.0), faked(2.0, 1.0, 0.0, 1.0)]
    assert blend(view, tried, "best").weights.tolist() == [1.0, 0.0]
    bare = view_of(view.y, 12, 12)
    bare_tried = [replace(one, losses=np.empty(0)) for one in tried]
    assert blend(bare, bare_tried, "best").weights.tolist() == [1.0, 0.0]


def test_light_points_stand_in_where_heavy_ones_cannot_be_fitted(view):
    """If none of the points that matter can be fitted at the end, the others are."""
    tried = [faked(math.nan, 1.0, 0.0, 0.01), faked(2.0, 1.0, 0.0, 1.0), faked(4.0, 1.0, 0.0, 1.0)]
    found = blend(view, tried, "blend")
    assert found.weights.tolist() == [0.0, 0.5, 0.5]
    assert found.mean[0] == 3.0


@pytest.mark.parametrize("select", ["blend", "best"])
def test_no_point_that_can_be_fitted_is_an_error(view, select):
    """Where nothing can be fitted the entity is told to fall back, with the count."""
    tried = [faked(math.nan, 1.0, 0.0, 1.0), replace(faked(1.0, 1.0, 0.0, 1.0), rolled=None)]
    with pytest.raises(EntityError, match="none of the 2 forms tried could be fitted"):
        blend(view, tried, select)
    with pytest.raises(EntityError, match="none of the 0 forms"):
        blend(view, [], select)


@pytest.mark.parametrize(("mean", "sd"), [(math.inf, 1.0), (1.0, math.inf), (1.0, math.nan)])
def test_a_forecast_that_is_no_number_takes_no_part(view, mean, sd):
    """A point with an infinite mean or an unknown spread is left out of the blend."""
    tried = [faked(mean, sd, 0.0, 1.0), faked(2.0, 1.0, 0.0, 1.0)]
    found = blend(view, tried, "blend")
    assert found.weights.tolist() == [0.0, 1.0]
    assert np.all(np.isfinite(found.mean))
    assert np.all(np.isfinite(found.sd))


def test_without_windows_likelihood_decides(rng):
    """Without a window weights are those of AICc, over all points that were listed."""
    view = view_of(airport(rng, 30), 12, 12)
    tried, _ = tried_on(view)
    found = blend(view, tried, "blend")
    aicc = [found.fitted[i].aicc for i in found.fitted]
    np.testing.assert_allclose(
        found.weights[list(found.fitted)], slow_weights(aicc, None, ["ets"] * len(aicc)), rtol=1e-9
    )


# -- honest scores ----------------------------------------------------------------------------


def said_of(view, tried, select="blend"):
    """Give the blended forecasts of the windows."""
    return prequential(view, tried, Judge(view, "mase"), select).mean


def scored(view, tried, judge):
    """Score the blend on the windows."""
    return score(view, judge, prequential(view, tried, judge), tried)


def slow_spread(tried, means, n_windows, h):
    """Give the spread of the mixture of each window, one number after another."""
    design = [one for one in tried if one.origin != "ask" and one.rolled is not None]
    names = [one.family.name for one in design]
    spread = np.empty((n_windows, h))
    for w in range(n_windows):
        past = [sum(one.losses[:w]) / w for one in design] if w else None
        weights = slow_weights([one.rolled.aicc[w] for one in design], past, names)
        for k in range(h):
            square = 0.0
            for x, one in zip(weights, design, strict=True):
                off = one.rolled.forecasts[w, k] - means[w, k]
                square += x * (one.rolled.sd[w, k] ** 2 + off * off)
            spread[w, k] = math.sqrt(square)
    return spread


def slow_prequential(tried, n_windows, h):
    """Blend the forecasts of each window from its past, one number after another."""
    design = [one for one in tried if one.origin != "ask" and one.rolled is not None]
    names = [one.family.name for one in design]
    blended = []
    for w in range(n_windows):
        aicc = [one.rolled.aicc[w] for one in design]
        past = [sum(one.losses[:w]) / w for one in design] if w else None
        weights = slow_weights(aicc, past, names)
        blended.append(
            [
                sum(x * one.rolled.forecasts[w, k] for x, one in zip(weights, design, strict=True))
                for k in range(h)
            ]
        )
    return np.array(blended)


def slow_scores(y, m, cutoffs, forecasts):
    """Give MASE, RMSSE and sMAPE as means over windows, one number after another."""
    mase, rmsse, smape = [], [], []
    for c, forecast in zip(cutoffs, forecasts, strict=True):
        pairs = [(f, a) for f, a in zip(forecast, y[c:], strict=False) if not math.isnan(a)]
        steps = [y[t] - y[t - m] for t in range(m, c) if not math.isnan(y[t] - y[t - m])]
        scale = sum(map(abs, steps)) / len(steps)
        square = sum(d * d for d in steps) / len(steps)
        mase.append(sum(abs(f - a) for f, a in pairs) / len(pairs) / scale)
        rmsse.append(math.sqrt(sum((f - a) ** 2 for f, a in pairs) / len(pairs) / square))
        smape.append(200 * sum(abs(f - a) / (abs(f) + abs(a)) for f, a in pairs) / len(pairs))
    return [sum(part) / len(part) for part in (mase, rmsse, smape)]


@pytest.mark.parametrize("engine", ["skopt", "portfolio"])
@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_a_slow_version(engine, seed):
    """Scores equal a plain re-implementation: blend each window from its past, then score it."""
    rng = np.random.default_rng(seed)
    y = airport(rng)
    y[rng.choice(np.arange(1, 84), 5, replace=False)] = np.nan
    view = view_of(y, 12, 12, CUTOFFS)
    tried, judge = tried_on(view, [ETS(), SeasonalNaive()], engine=engine)
    blended = slow_prequential(tried, 3, 12)
    found = scored(view, tried, judge)
    known = [one for one in tried if one.rolled is not None]
    windows = prequential(view, known, judge)
    np.testing.assert_allclose(windows.mean, blended, rtol=1e-9)
    np.testing.assert_allclose(windows.sd, slow_spread(tried, blended, 3, 12), rtol=1e-9)
    np.testing.assert_array_equal(windows.truth, [y[c : c + 12] for c in CUTOFFS])
    mase, rmsse, smape = slow_scores(y, 12, CUTOFFS, blended)
    baseline = [SeasonalNaive().forecast(y[:c], view)[0] for c in CUTOFFS]
    naive_mase = slow_scores(y, 12, CUTOFFS, baseline)[0]
    np.testing.assert_allclose(
        [found.cv_mase, found.cv_rmsse, found.cv_smape, found.naive_mase, found.skill],
        [mase, rmsse, smape, naive_mase, 1 - mase / naive_mase],
        rtol=1e-9,
    )
    assert found.n_windows == 3
    assert found.tune_loss == min(one.loss for one in known)


@pytest.mark.parametrize("engine", ["skopt", "portfolio"])
@given(data=st.data())
def test_scores_are_blind_to_the_future(engine, data):
    """Other values after a cutoff leave what was blended at it and before as it was, to the bit."""
    w = data.draw(st.integers(0, 2))
    y = airport(np.random.default_rng(data.draw(st.integers(0, 5))))
    other = y.copy()
    n_changed = len(y) - int(CUTOFFS[w])
    values = st.one_of(st.floats(1.0, 1e5), st.floats(1e-9, 1.0), st.just(math.nan))
    other[CUTOFFS[w] :] = data.draw(st.lists(values, min_size=n_changed, max_size=n_changed))
    other[[*CUTOFFS, 83]] = np.where(np.isnan(other[[*CUTOFFS, 83]]), 7.0, other[[*CUTOFFS, 83]])
    said = []
    for values in (y, other):
        view = view_of(values, 12, 12, CUTOFFS)
        tried, _ = tried_on(view, [ETS(), Naive()], engine=engine)
        said.append(said_of(view, [one for one in tried if one.rolled is not None]))
    assert said[0][: w + 1].tobytes() == said[1][: w + 1].tobytes()


def test_scores_do_see_the_past(rng):
    """The blend of a window does change with the values before its cutoff."""
    y = airport(rng)
    other = y.copy()
    other[50] *= 1.5
    said = []
    for values in (y, other):
        view = view_of(values, 12, 12, CUTOFFS)
        said.append(said_of(view, tried_on(view)[0]))
    assert said[0][0].tobytes() == said[1][0].tobytes()
    assert not np.allclose(said[0][1:], said[1][1:])


def test_points_that_were_asked_for_take_no_part_in_scores(view):
    """Losses of all windows chose them, so the scores with and without them are the same."""
    tried, judge = tried_on(view, engine="skopt")
    design = [one for one in tried if one.origin == "design"]
    assert len(design) < len(tried)
    full, part = scored(view, tried, judge), scored(view, design, judge)
    assert replace(full, tune_loss=part.tune_loss) == part
    assert full.tune_loss <= part.tune_loss


def test_if_only_asked_points_were_fitted_the_first_of_them_is_scored(view):
    """Where no first point could be fitted, one that no loss had chosen is scored."""
    failed = replace(faked(1.0, 1.0, 0.0, 1.0), rolled=None, losses=np.full(3, math.nan))
    asked = [faked(mean, 1.0, 0.0, 1.0, origin="ask") for mean in (5.0, 9.0)]
    assert np.all(said_of(view, [asked[0], asked[1]]) == 5.0)
    found = scored(view, [failed, *asked], Judge(view, "mase"))
    assert math.isfinite(found.cv_mase)


def test_the_tuning_loss_flatters(rng):
    """Over many entities the loss that was searched is below the honest score."""
    flattered = []
    for _ in range(20):
        view = view_of(airport(rng), 12, 12, CUTOFFS)
        tuned = tune(view, [ETS()], SearchRules(), "blend", "JFK")
        flattered.append(tuned.scores.cv_mase - tuned.scores.tune_loss)
    assert np.mean(flattered) > 0


def test_without_windows_scores_are_empty(rng):
    """Without a window, or without a point that could be judged, scores are empty."""
    view = view_of(airport(rng, 30), 12, 12)
    tried, judge = tried_on(view)
    found = scored(view, tried, judge)
    assert found.n_windows == 0
    assert math.isnan(found.cv_mase)
    view = view_of(airport(rng), 12, 12, CUTOFFS)
    failed = replace(faked(1.0, 1.0, 0.0, 1.0), rolled=None)
    found = scored(view, [failed], Judge(view, "mase"))
    assert found.n_windows == 3
    assert math.isnan(found.cv_smape)


def test_without_a_scale_scaled_scores_are_empty():
    """A scale of zero is undefined: MASE, RMSSE and skill are empty, sMAPE is not."""
    y = np.tile([1.0, 5.0, 3.0, 2.0], 15)
    y[50:] += np.arange(10)
    view = view_of(y, 4, 4, np.array([40, 48]))
    tried, judge = tried_on(view)
    found = scored(view, tried, judge)
    assert all(map(math.isnan, (found.cv_mase, found.cv_rmsse, found.naive_mase, found.skill)))
    assert math.isfinite(found.cv_smape)
    assert math.isfinite(found.tune_loss)


def test_a_perfect_baseline_has_no_skill_beside_it():
    """Where the naive error of all windows is zero, skill is not defined rather than infinite."""
    y = np.concatenate([np.arange(40.0) % 3 + np.arange(40.0) ** 1.1, np.full(20, 88.0)])
    view = view_of(y, 1, 4, np.array([50, 54]))
    found = scored(view, *tried_on(view))
    assert found.naive_mase == 0.0
    assert math.isnan(found.skill)


@pytest.mark.parametrize("engine", ["skopt", "portfolio"])
def test_scores_of_best_are_those_of_the_best(view, engine):
    """With ``best`` each window scores the form with the lowest loss so far, not the blend."""
    tried, _ = tried_on(view, engine=engine)
    design = [one for one in tried if one.origin != "ask" and one.rolled is not None]
    found = said_of(view, design, "best")
    heaviest = int(np.argmin([one.rolled.aicc[0] for one in design]))
    np.testing.assert_allclose(found[0], design[heaviest].rolled.forecasts[0], rtol=1e-12)
    for w in (1, 2):
        best = int(np.argmin([one.losses[:w].mean() for one in design]))
        np.testing.assert_allclose(found[w], design[best].rolled.forecasts[w], rtol=1e-12)


# -- what leaves the past too far -------------------------------------------------------------


def test_a_form_that_explodes_is_left_out(view):
    """A mean or a deviation beyond reach of the past takes a form out of the blend."""
    good = faked(1.0, 1.0, 0.0, 1.0)
    for mean, sd in ((1e6, 1.0), (-1e6, 1.0), (1.0, 1e6), (math.inf, 1.0), (1.0, math.inf)):
        found = blend(view, [good, faked(mean, sd, -50.0, 0.5)], "blend")
        assert set(found.fitted) == {0}
        assert found.n_left_out == 1


def test_a_form_that_exploded_has_no_share_in_the_scores(view):
    """On a window a form beyond reach of that window's past weighs nothing."""
    low, high = float(np.nanmin(view.y[:48])), float(np.nanmax(view.y[:48]))
    inside = faked((low + high) / 2, 1.0, 0.0, 1.0)
    found = said_of(view, [inside, faked(100 * high, 1.0, -50.0, 0.5)])
    np.testing.assert_allclose(found, (low + high) / 2)


def test_where_all_explode_the_entity_is_not_modelled(view):
    """If no form keeps within reach that is an error that says so."""
    with pytest.raises(EntityError, match="within reach"):
        blend(view, [faked(1e6, 1.0, 0.0, 1.0), faked(-1e6, 1.0, 0.0, 1.0)], "blend")
