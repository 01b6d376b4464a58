"""Models of the user: what is asked of them, their points, spread, and trouble."""

# ruff: noqa: ARG002 - what a model is called with
from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from skopt.space import Categorical, Integer, Real

from daskcast import OwnModel
from daskcast.errors import ConfigError, EntityError
from daskcast.models import families, view_of
from daskcast.models.ranges import MOST, ranges_of
from daskcast.testing import ModelContract, OwnModelContract
from daskcast.testing.models import SEASON_LENGTH, airport, holed, seen


class Phases(BaseEstimator):
    """Mean of the last seasons, drawn to the overall mean; takes missing values."""

    accepts_missing = True

    def __init__(self, n: int = 2, shrink: float = 0.1, kind: str | None = None) -> None:
        self.n = n
        self.shrink = shrink
        self.kind = kind

    def fit(self, y, X=None):
        m = SEASON_LENGTH
        level = np.nanmean(y)
        last = y[-self.n * m :]
        phase = (len(y) - len(last) + np.arange(len(last))) % m
        means = [np.nanmean([level, *last[phase == p]]) for p in range(m)]
        self.means_ = (1 - self.shrink) * np.array(means) + self.shrink * level
        self.end_ = len(y)
        return self

    def predict(self, h, X=None):
        return self.means_[(self.end_ + np.arange(h)) % SEASON_LENGTH]


class Walk:
    """A random walk without get_params, which knows its intervals and takes nothing missing."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def fit(self, y, X=None):
        self.last = float(y[-1])
        self.sd = self.scale * float(np.std(np.diff(y)))

    def predict(self, h, X=None, level=None):
        mean = np.full(h, self.last)
        if level is None:
            return mean
        width = 1.2815515655446004 * self.sd * np.sqrt(np.arange(1.0, h + 1))
        return pd.DataFrame({"mean": mean, "lo-80": mean - width, "hi-80": mean + width})


class TestPhasesAsAFamily(ModelContract):
    """Wrapped, a model of the user is a family like any other."""

    every = 16

    @pytest.fixture
    def family(self):
        return OwnModel(Phases(), {"n": (1, 4), "shrink": (0.0, 1.0)})


class TestPhases(OwnModelContract):
    """A scikit-learn style estimator."""

    @pytest.fixture
    def estimator(self):
        return Phases()

    @pytest.fixture
    def search_space(self):
        return {"n": [1, 2, 3], "kind": [None, "plain"]}


class TestWalk(OwnModelContract):
    """A plain object with intervals."""

    @pytest.fixture
    def estimator(self):
        return Walk()


# -- the search space -------------------------------------------------------------------------


def points(space, estimator=None):
    """Give the points of a search space."""
    return OwnModel(estimator or Phases(), space).space(seen(airport())).points


def test_a_small_space_is_listed_whole_and_its_own_parameters_first():
    """Choices and few whole numbers are all there; the estimator as given is the first point."""
    found = points({"n": (1, 3), "kind": ["a", None, "b"]})
    assert found[0] == {"n": 2, "kind": None}
    assert len(found) == 9
    assert {type(p["n"]) for p in found} == {int}


def test_numeric_ranges_are_spread_evenly():
    """64 points, within the range, a quarter of them in each quarter of it, logarithms too."""
    found = points({"n": (1, 1000, "log-uniform"), "shrink": (0.0, 1.0)})
    assert len(found) == MOST
    assert found[0] == {"n": 2, "shrink": 0.1}
    for shares in (
        np.log([p["n"] for p in found[1:]]) / math.log(1000),
        np.array([p["shrink"] for p in found[1:]]),
    ):
        assert np.all((shares >= 0) & (shares <= 1))
        quarters = np.bincount((4 * np.minimum(shares, 0.999)).astype(int), minlength=4)
        assert quarters.min() >= 12


def test_dimensions_of_skopt_mean_the_same():
    """A dimension of skopt is read as the tuple or the list that it stands for."""
    plain = {"n": (1, 9), "shrink": (0.01, 1.0, "log-uniform"), "kind": ["a", "b"]}
    dims = {
        "n": Integer(1, 9),
        "shrink": Real(0.01, 1.0, prior="log-uniform"),
        "kind": Categorical(["a", "b"]),
    }
    assert ranges_of(dims)[0] == ranges_of(plain)[0]
    assert points(dims) == points(plain)


def test_own_parameters_that_do_not_fit_are_no_point():
    """A default that is not among the choices is not tried."""
    assert {p["kind"] for p in points({"kind": ["a", "b"]})} == {"a", "b"}


def test_the_space_may_stand_in_the_class():
    """Without a search space the attribute of the estimator is taken, and a class is called."""

    class Searched(Phases):
        search_space = {"n": [1, 2, 3]}  # noqa: RUF012

    assert len(OwnModel(Searched).space(seen(airport())).points) == 3


@pytest.mark.parametrize(
    "given",
    [
        [], (1,), (2, 1), (1, 1), (0.0, 1.0, "log-uniform"), (1, 2, "normal"), ("a", "b"),
        (True, 3), (0.0, math.inf), [len], [1, 1], "abc", 3,
    ],
    ids=repr,
)  # fmt: skip
def test_a_wrong_range_is_refused(given):
    """The message names the parameter, what was expected and what was found."""
    with pytest.raises(ConfigError, match="n must be a list of plain values"):
        OwnModel(Phases(), {"n": given})


def test_other_faults_are_refused_at_once():
    """No fit, another signature, unknown parameters, no mapping: each is told when it is made."""
    from sklearn.linear_model import Ridge

    with pytest.raises(ConfigError, match="no fit and no predict"):
        OwnModel(object())
    with pytest.raises(ConfigError, match=r"Ridge.fit must be callable as fit\(y\)"):
        OwnModel(Ridge())
    with pytest.raises(ConfigError, match="depth, which are no parameters of Phases"):
        OwnModel(Phases(), {"depth": [1, 2]})
    with pytest.raises(ConfigError, match="expected a mapping"):
        OwnModel(Phases(), [("n", [1])])


# -- fits and spread --------------------------------------------------------------------------


def test_forecasts_are_those_of_the_object_itself():
    """Each window is a fit to its past, and the end one to all."""
    view, point = seen(airport()), {"n": 3, "shrink": 0.5}
    own = OwnModel(Phases(), {"n": [1, 3], "shrink": (0.0, 1.0)})
    rolled = own.roll(view, point)
    for w, cutoff in enumerate(view.cutoffs):
        expected = Phases(3, 0.5).fit(view.y[:cutoff]).predict(view.h)
        np.testing.assert_array_equal(rolled.forecasts[w], expected)
    expected = Phases(3, 0.5).fit(view.y).predict(view.h)
    np.testing.assert_array_equal(own.finish(view, point).mean, expected)


def test_the_spread_is_that_of_refits():
    """Without intervals the spread is the error of two refits over the season that followed."""
    y, own = airport(), OwnModel(Phases())
    errors = [
        y[end : end + 12] - Phases().fit(y[:end]).predict(12) for end in (len(y) - 24, len(y) - 12)
    ]
    expected = np.sqrt(np.mean(np.square(errors)))
    fitted = own.finish(seen(y), own.space(seen(y)).points[0])
    np.testing.assert_allclose(fitted.sd, expected, rtol=1e-12)


def test_the_spread_of_a_window_knows_its_past_only():
    """Other values after a cutoff leave the spread until then as it was; later ones differ."""
    view, own = seen(airport()), OwnModel(Phases())
    other = airport()
    other[view.cutoffs[1] :] *= 5
    point = own.space(view).points[0]
    before, after = own.roll(view, point).sd, own.roll(seen(other), point).sd
    np.testing.assert_array_equal(before[:2], after[:2])
    assert np.all(before[2] != after[2])
    assert np.all(before > 0)


def test_intervals_of_the_model_are_taken():
    """Half an interval of 80 % over 1.28 is the standard deviation."""
    y, own = airport(), OwnModel(Walk())
    expected = np.std(np.diff(y)) * np.sqrt(np.arange(1.0, 7))
    fitted = own.finish(seen(y), own.space(seen(y)).points[0])
    np.testing.assert_allclose(fitted.sd, expected, rtol=1e-9)


def test_a_short_past_has_the_spread_of_a_random_walk():
    """Where no refit is possible the spread is finite and grows."""
    view = view_of(np.arange(6.0) ** 2, 1, 3)
    fitted = OwnModel(Phases()).finish(view, {"parameters": "as given"})
    assert np.all(np.isfinite(fitted.sd))
    assert np.all(np.diff(fitted.sd) > 0)


# -- trouble ----------------------------------------------------------------------------------


class Troubled(Walk):
    """Does what it is told to do wrong."""

    def __init__(self, how: str = "") -> None:
        super().__init__()
        self.how = how

    def predict(self, h, X=None):
        mean = super().predict(h)
        if self.how == "raises":
            raise np.linalg.LinAlgError("singular matrix")
        if self.how == "fault":
            raise AttributeError("no such thing")
        return {"nan": mean * np.nan, "short": mean[1:], "keys": {"mean": mean}}[self.how]


@pytest.mark.parametrize(
    ("how", "error", "told"),
    [
        ("raises", EntityError, "could not be fitted: singular matrix"),
        ("nan", EntityError, "no finite forecast"),
        ("fault", AttributeError, "no such thing"),
        ("short", TypeError, r"shape \(6,\), found \(5,\)"),
        ("keys", TypeError, "gave no lo-80, hi-80"),
    ],
)
def test_trouble_with_a_series_is_no_fault(how, error, told):
    """What a series may do to a model is left out of the blend; a fault of the model is raised."""
    own = OwnModel(Troubled(how))
    with pytest.raises(error, match=told):
        own.finish(seen(airport()), {"parameters": "as given"})


def test_missing_values_are_refused_unless_declared():
    """A model that does not say accepts_missing gets no series with a gap."""
    view = seen(holed(50))
    with pytest.raises(EntityError, match="accepts_missing = True"):
        OwnModel(Walk()).roll(view, {"parameters": "as given"})
    assert np.all(np.isfinite(OwnModel(Phases()).roll(view, {"parameters": "as given"}).forecasts))


def test_a_model_that_writes_into_its_data_does_no_harm():
    """Each fit gets a copy of the series."""

    class Writes(Walk):
        def fit(self, y, X=None):
            super().fit(y)
            y[:] = 0.0

    view = seen(airport())
    OwnModel(Writes()).roll(view, {"parameters": "as given"})
    assert view.y.tobytes() == airport().tobytes()


# -- looking models up ------------------------------------------------------------------------


def test_anything_that_is_a_model_becomes_a_family(tmp_path, monkeypatch):
    """Names, objects, classes and text to import all become families."""
    (tmp_path / "mine_of_test.py").write_text(
        "class Last:\n"
        "    search_space = {'n': [1, 2]}\n"
        "    n = 1\n"
        "    def fit(self, y): self.y = y[-self.n]\n"
        "    def predict(self, h): return [self.y] * h\n"
        "class Box: made = Last()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = families(
        ["ets", Phases(), OwnModel(Walk(), name="W2"), "mine_of_test:Last", "daskcast.models:Drift"]
    )
    assert [family.name for family in found] == ["ets", "phases", "w2", "last", "drift"]
    assert len(found[3].space(seen(airport())).points) == 2
    assert families(["mine_of_test:Box.made"])[0].name == "last"


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (["no_such_module_here:X"], "cannot be imported.*no_such_module_here"),
        (["daskcast.models:Nothing"], "cannot be imported"),
        (["nothing"], "known are ets"),
        ([Phases(), Phases(3)], "'phases' more than once; give each OwnModel a name"),
        ([OwnModel(Phases(), scope="panel")], "must see all entities at once"),
        ([{"class": "here:Gone", "n": 1}], "only a description was kept.*give the object itself"),
        ([object()], "object has no fit"),
    ],
)
def test_what_is_no_model_is_refused(models, told):
    """The message says which, and what to do."""
    with pytest.raises(ConfigError, match=told):
        families(models)


def test_an_own_model_is_frozen():
    """It is a value: options of a run do not change under it."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        OwnModel(Phases()).name = "other"


def test_a_task_makes_a_family_once():
    """Objects and texts are families by the time a batch begins, or the batch is refused."""
    from daskcast.config import ForecastConfig
    from daskcast.settings import TaskSettings

    found = TaskSettings.of(ForecastConfig(h=1, models=["ets", Phases()])).models
    assert found[0] == "ets"
    assert isinstance(found[1], OwnModel)
    with pytest.raises(ConfigError, match="cannot be imported"):
        TaskSettings.of(ForecastConfig(h=1, models=["no_such_module_here:X"]))
