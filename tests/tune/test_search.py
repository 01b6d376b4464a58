"""The search: what is tried, in which order, what the optimizer is asked and told."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from skopt import Optimizer

from daskcast import metrics
from daskcast.errors import EntityError
from daskcast.models import CES, ETS, Naive, Rolled, Space, Theta, view_of
from daskcast.tune.search import Judge, SearchRules, entity_seed, search

MODULE = importlib.import_module("daskcast.tune.search")
CUTOFFS = np.array([48, 60])


def airport(rng, n=72):
    """Give monthly passengers."""
    t = np.arange(n)
    return (200 + 2 * t) * (1 + 0.3 * np.sin(t * np.pi / 6)) * rng.lognormal(0, 0.05, n)


@pytest.fixture
def view(rng):
    """Give an ordinary entity with two windows."""
    return view_of(airport(rng), 12, 12, CUTOFFS)


def run(view, families=None, unique_id="JFK", **rules):
    """Search with the rules given."""
    rules = SearchRules(**rules)
    return search(view, families or [ETS()], Judge(view, rules.loss), rules, unique_id)


def points_of(tried):
    """Give the points in the order of evaluation."""
    return [tuple(one.point.values()) for one in tried]


def rows_of(tried):
    """Give the points as the optimizer knows them: with the family in front."""
    return [(one.family.name, *one.point.values()) for one in tried]


@dataclass
class Spy:
    """What real optimizers were asked and told."""

    asked: list = field(default_factory=list)
    told: list = field(default_factory=list)
    made: int = 0


@pytest.fixture
def spy(monkeypatch):
    """Watch every ``skopt.Optimizer`` at its real work."""
    seen = Spy()
    ask, tell, init = Optimizer.ask, Optimizer.tell, Optimizer.__init__

    def spy_ask(self, *args, **kwargs):
        seen.asked.append(ask(self, *args, **kwargs))
        return seen.asked[-1]

    def spy_tell(self, x, y, *args, **kwargs):
        seen.told.append((x, y))
        return tell(self, x, y, *args, **kwargs)

    def spy_init(self, *args, **kwargs):
        seen.made += 1
        init(self, *args, **kwargs)

    monkeypatch.setattr(Optimizer, "ask", spy_ask)
    monkeypatch.setattr(Optimizer, "tell", spy_tell)
    monkeypatch.setattr(Optimizer, "__init__", spy_init)
    return seen


class Listed:
    """A family whose losses are given by position; NaN for a point that cannot be fitted."""

    name = "listed"
    scope = "entity"

    def __init__(self, losses, codes=None):
        self.losses = losses
        places = range(len(losses))
        codes = np.array([[float(i)] for i in places]) if codes is None else codes
        self.listed = Space(tuple({"place": i} for i in places), codes, len(losses) // 2)
        self.evaluated = []

    def space(self, view):  # noqa: ARG002
        return self.listed

    def roll(self, view, point):
        self.evaluated.append(point["place"])
        loss = self.losses[point["place"]]
        if math.isnan(loss):
            raise EntityError("cannot be fitted")
        n = len(view.cutoffs)
        return Rolled(np.full((n, view.h), loss), np.ones((n, view.h)), np.zeros(n + 1))


#: takes the forecasts for the losses
FORECAST_IS_LOSS = SimpleNamespace(losses=lambda forecasts: forecasts.mean(axis=-1))


def run_listed(family, view, **rules):
    """Search a family whose forecasts are its losses."""
    return search(view, [family], FORECAST_IS_LOSS, SearchRules(**rules), "JFK")


# -- asks and tells ---------------------------------------------------------------------------


@pytest.mark.parametrize("trials", [2, 3, 7, 24, 60])
def test_at_least_half_of_the_trials_are_asked_of_skopt(trials, view, spy):
    """A real optimizer is asked for half of the trials or more, and each answer is evaluated."""
    tried, stopped_by = run(view, trials=trials)
    assert stopped_by == "trials"
    assert len(tried) == trials
    assert spy.made == 1
    assert len(spy.asked) >= trials / 2
    asked = [one for one in tried if one.origin == "ask"]
    assert rows_of(asked) == [tuple(row) for row in spy.asked]


def test_first_points_are_told_at_once(view, spy):
    """The design is one tell, in the order of the space; each ask but the last is then told."""
    tried, _ = run(view, trials=24)
    design = [one for one in tried if one.origin == "design"]
    assert points_of(design) == points_of(
        [SimpleNamespace(point=p) for p in ETS().space(view).points[:12]]
    )
    (rows, losses), *others = spy.told
    assert [tuple(row) for row in rows] == rows_of(design)
    np.testing.assert_allclose(losses, [math.log(one.loss) for one in design])
    assert len(spy.asked) == 12
    assert [tuple(row) for row, _ in others] == rows_of(tried[12:-1])
    np.testing.assert_allclose([y for _, y in others], [math.log(one.loss) for one in tried[12:-1]])


def test_one_trial_is_the_first_point(view, spy):
    """With one trial there is nothing to ask."""
    tried, stopped_by = run(view, trials=1)
    assert (len(tried), stopped_by, spy.made) == (1, "trials", 0)


@pytest.mark.parametrize("trials", [24, 90, 500])
def test_no_point_is_paid_for_twice(trials, rng):
    """Points are evaluated once, however many trials there are."""
    family = Listed(rng.lognormal(0, 1, 70).tolist())
    tried, _ = run_listed(family, view_of(airport(rng), 12, 12, CUTOFFS), trials=trials)
    assert len(family.evaluated) == len(set(family.evaluated)) == len(tried) == min(trials, 70)


def test_an_exhausted_space_ends_the_search(view, spy):
    """Where all points are tried the search stops and says so: while asking, or before."""
    tried, stopped_by = run_listed(Listed([3.0, 1.0, 2.0, 5.0, 4.0]), view, trials=8)
    assert (len(tried), stopped_by) == (5, "exhausted")
    assert [one.origin for one in tried] == ["design"] * 4 + ["ask"]
    tried, stopped_by = run_listed(Listed([3.0, 1.0, 2.0]), view, trials=24)
    assert (len(tried), stopped_by, spy.made) == (3, "exhausted", 1)


def test_negative_series_exhaust_their_space():
    """A non-seasonal series with negative values has six points, all of them tried."""
    y = np.sin(np.arange(60.0) ** 1.5)
    tried, stopped_by = run(view_of(y, 1, 6, np.array([40, 50])))
    assert (len(tried), stopped_by) == (6, "exhausted")


def test_the_search_finds_what_it_looks_for(view):
    """Losses that are smooth in the codes lead to the best point far more often than chance."""
    codes = ETS().space(view).codes
    found = 0
    for goal in range(0, len(codes), 3):
        distance = ((codes - codes[goal]) ** 2).sum(axis=1)
        tried, _ = run_listed(Listed((1.0 + distance).tolist(), codes), view, trials=24)
        found += min(one.loss for one in tried) == 1.0
    by_chance = 24 / len(codes)
    assert found / len(range(0, len(codes), 3)) > 3 * by_chance


# -- budget of time ---------------------------------------------------------------------------


class Clock:
    """A clock that moves a second each time it is read."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 1.0
        return self.now

    perf_counter = monotonic


@pytest.mark.parametrize("engine", ["skopt", "portfolio"])
def test_a_budget_of_time_stops_the_search(engine, view, monkeypatch):
    """The search stops after the first evaluation past its time, and says why."""
    monkeypatch.setattr(MODULE, "time", Clock())
    tried, stopped_by = run(view, engine=engine, seconds=14.5)
    assert stopped_by == "time"
    assert len(tried) == 5


def test_the_budget_is_shared_by_all_families(view, monkeypatch):
    """One point is evaluated all the same: an entity always has something to forecast with."""
    monkeypatch.setattr(MODULE, "time", Clock())
    tried, stopped_by = run(view, [ETS(), Naive()], seconds=1e-9)
    assert stopped_by == "time"
    assert [one.family.name for one in tried] == ["ets"]


def test_without_a_budget_time_does_not_matter(view, monkeypatch):
    """However slow the clock, all trials are done."""
    monkeypatch.setattr(MODULE, "time", Clock())
    tried, stopped_by = run(view, trials=24)
    assert (len(tried), stopped_by) == (24, "trials")


# -- seed -------------------------------------------------------------------------------------


def test_the_same_seed_and_id_try_the_same_points(view):
    """The search repeats to the bit: points, order, losses."""
    one, other = run(view, seed=3)[0], run(view, seed=3)[0]
    assert points_of(one) == points_of(other)
    assert [t.loss for t in one] == [t.loss for t in other]


def test_global_seeds_do_not_matter(view):
    """What others did to numpy's global generator does not reach the search."""
    np.random.seed(1)  # noqa: NPY002
    one = points_of(run(view)[0])
    np.random.seed(2)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert points_of(run(view)[0]) == one
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("other", [{"unique_id": "LGA"}, {"seed": 1}], ids=["id", "seed"])
def test_the_seed_reaches_the_optimizer(other, view, monkeypatch):
    """Another id or another seed of the run is another state of the optimizer."""
    seeds = []
    monkeypatch.setattr(
        MODULE, "Optimizer", lambda *a, **k: seeds.append(k["random_state"]) or Optimizer(*a, **k)
    )
    run(view)
    run(view, **other)
    expected = {"unique_id": "JFK", "seed": 0, **other}
    assert seeds == [entity_seed(0, "JFK"), entity_seed(expected["seed"], expected["unique_id"])]
    assert seeds[0] != seeds[1]


def test_proposals_depend_on_the_id(rng):
    """Where more points are left than are drawn, entities draw different ones."""
    losses = np.ones(400).tolist()
    view = view_of(airport(rng), 12, 12, CUTOFFS)
    proposed = set()
    for unique_id in ("JFK", "LGA", "EWR"):
        tried, _ = search(view, [Listed(losses)], FORECAST_IS_LOSS, SearchRules(), unique_id)
        proposed.add(tuple(one.point["place"] for one in tried))
    assert len(proposed) == 3


def test_seeds_are_fixed_for_good():
    """Seeds are those of earlier versions, in the range that numpy takes, without collisions."""
    assert entity_seed(0, "JFK") == 1699990857
    assert entity_seed(1, "2") != entity_seed(12, "")
    seeds = {entity_seed(seed, f"airport {i}") for seed in range(3) for i in range(1000)}
    assert len(seeds) == 3000
    assert all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds)
    assert entity_seed(0, "Zürich ✈\n\0") != entity_seed(0, "Zürich ✈")


# -- what comes out ---------------------------------------------------------------------------


def test_proposals_are_plain_python(view, spy):
    """No numpy scalar leaves the search: JSON takes the points, and types are exact."""
    tried, _ = run(view, trials=60)
    for one in tried:
        kinds = [type(value) for value in one.point.values()]
        assert kinds == [str, str, str, float, str]
        assert type(one.loss) is float
        json.dumps(dict(one.point))
    assert {type(value) for row in spy.asked for value in row} == {str, float}


def test_a_portfolio_makes_no_optimizer(view, monkeypatch):
    """The portfolio is all its points in order, without skopt."""
    monkeypatch.setattr(MODULE, "Optimizer", None)
    tried, stopped_by = run(view, engine="portfolio", trials=3)
    space = ETS().space(view)
    assert stopped_by == "exhausted"
    assert [one.point for one in tried] == list(space.points[: space.n_portfolio])
    assert {one.origin for one in tried} == {"portfolio"}


@pytest.mark.parametrize("engine", ["skopt", "portfolio"])
def test_without_a_window_nothing_is_searched(engine, rng, monkeypatch):
    """Without a window there is no loss: points of the portfolio are listed, not judged."""
    monkeypatch.setattr(MODULE, "Optimizer", None)
    view = view_of(airport(rng, 30), 12, 12)
    tried, stopped_by = run(view, engine=engine)
    assert stopped_by == "exhausted"
    assert tried
    portfolio = ETS().space(view).points[: ETS().space(view).n_portfolio]
    assert [one.point for one in tried] == list(portfolio[: len(tried)])
    assert all(math.isnan(one.loss) and one.rolled is not None for one in tried)


def test_what_cannot_be_fitted_is_recorded_and_told_as_the_worst(view, spy):
    """A failed point has no forecasts and no loss; the optimizer hears the worst loss so far."""
    losses = [2.0, math.nan, 8.0, 4.0, math.nan, 1.0, math.nan, 3.0, math.nan, 16.0, 5.0, 6.0]
    tried, _ = run_listed(Listed(losses), view, trials=12)
    for one in tried:
        failed = math.isnan(losses[one.point["place"]])
        assert (one.rolled is None) == math.isnan(one.loss) == failed
        assert one.losses.shape == (2,)
    (_, design), *others = spy.told
    np.testing.assert_allclose(design, np.log([2.0, 8.0, 8.0, 4.0, 8.0, 1.0]))
    worst = 8.0
    for [_, place], told in others:
        worst = np.fmax(worst, losses[place])
        expected = worst if math.isnan(losses[place]) else losses[place]
        assert told == pytest.approx(math.log(expected))


def test_where_nothing_can_be_fitted_all_is_recorded(view):
    """If every point fails the search still ends, and says so of each."""
    tried, stopped_by = run_listed(Listed([math.nan] * 30), view, trials=24)
    assert (len(tried), stopped_by) == (24, "trials")
    assert all(one.rolled is None for one in tried)


@pytest.mark.parametrize("loss", [math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_a_failure(loss, view):
    """A forecast beyond all numbers is a point that failed."""
    tried, _ = run_listed(Listed([1.0, loss, 2.0]), view, trials=24)
    assert [one.rolled is None for one in tried] == [False, True, False]


@pytest.mark.parametrize("error", [ValueError, KeyError, StopIteration])
def test_other_errors_are_not_swallowed(error, view):
    """Only ``EntityError`` is an expected outcome; anything else leaves the search."""

    class Broken(Naive):
        def roll(self, view, point):  # noqa: ARG002
            raise error("broken")

    with pytest.raises(error, match="broken"):
        run(view, [Broken()])


def test_no_loss_is_told_as_minus_infinity(view, spy):
    """A perfect forecast has a finite logarithm."""
    run_listed(Listed([0.0, 1.0, 1e-300, 2.0, 0.0, 3.0]), view, trials=6)
    told = [*spy.told[0][1], *(y for _, y in spy.told[1:])]
    assert np.all(np.isfinite(told))
    assert min(told) == pytest.approx(math.log(1e-12))


def test_families_share_the_trials_and_take_turns(view):
    """The first points are those of each family in turn; all families are searched together."""
    tried, stopped_by = run(view, [Naive(), ETS(), Theta()], trials=10)
    assert [one.family.name for one in tried[:5]] == ["naive", "ets", "theta", "ets", "theta"]
    assert (len(tried), stopped_by) == (10, "trials")
    tried, _ = run(view, [ETS(), Theta(), CES()], trials=48)
    assert {one.family.name for one in tried if one.origin == "ask"} >= {"ets", "theta"}
    assert run(view, [Naive()], trials=8)[1] == "exhausted"


def test_the_scale_of_the_data_changes_no_choice(rng):
    """Passengers or thousands of passengers: the same points are tried, with the same loss."""
    y = airport(rng)
    for unique_id in ("JFK", "LGA", "EWR", "BOS"):
        one, other = (
            run(view_of(c * y, 12, 12, CUTOFFS), unique_id=unique_id)[0] for c in (1, 1000)
        )
        assert points_of(one) == points_of(other)
        np.testing.assert_allclose([t.loss for t in one], [t.loss for t in other], rtol=1e-6)


# -- judge ------------------------------------------------------------------------------------


def slow_loss(y, cutoff, m, forecast, loss):
    """Give the loss of one window by plain loops."""
    pairs = [(f, a) for f, a in zip(forecast, y[cutoff:], strict=False) if not math.isnan(a)]
    errors = [abs(f - a) for f, a in pairs]
    past = [y[t] - y[t - m] for t in range(m, cutoff) if not math.isnan(y[t] - y[t - m])]
    mae = sum(errors) / len(errors)
    mse = sum(e * e for e in errors) / len(errors)
    return {
        "mae": mae,
        "rmse": math.sqrt(mse),
        "mase": mae / (sum(map(abs, past)) / len(past)),
        "rmsse": math.sqrt(mse / (sum(d * d for d in past) / len(past))),
        "smape": 200 * sum(abs(f - a) / (abs(f) + abs(a)) for f, a in pairs) / len(pairs),
    }[loss]


@pytest.mark.parametrize("loss", ["mase", "rmsse", "mae", "rmse", "smape"])
def test_losses_are_those_of_plain_loops(loss, rng):
    """Each loss is the textbook's, gaps in past and truth left out."""
    y = airport(rng)
    y[[5, 17, 50, 70]] = np.nan
    forecasts = rng.normal(300, 50, (2, 12))
    ours = Judge(view_of(y, 12, 12, CUTOFFS), loss).losses(forecasts)
    slow = [slow_loss(y, c, 12, f, loss) for c, f in zip(CUTOFFS, forecasts, strict=True)]
    np.testing.assert_allclose(ours, slow, rtol=1e-12)


@pytest.mark.parametrize(("loss", "used"), [("mase", "mae"), ("rmsse", "mae"), ("rmse", "rmse")])
def test_without_a_scale_the_plain_error_decides(loss, used):
    """A past that repeats its season exactly has a scale of zero: selection goes by MAE."""
    y = np.tile([1.0, 5.0, 3.0], 12)
    y[30:] += np.arange(6)
    judge = Judge(view_of(y, 3, 3, np.array([24, 30])), loss)
    assert not judge.scaled
    assert judge.loss == used
    forecasts = np.ones((2, 3))
    expected = getattr(metrics, "mse" if used == "rmse" else used)(forecasts, judge.truth)
    np.testing.assert_allclose(
        judge.losses(forecasts), np.sqrt(expected) if used == "rmse" else expected
    )
