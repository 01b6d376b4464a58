"""The contract of a model family, as tests to inherit.

Covers what every :class:`daskcast.models.Family` promises to the tuner. Does not cover whether its
forecasts are any good. Needs pytest.

Shapes: W windows, H steps of the horizon.
"""

from __future__ import annotations

import json
import math
import pickle
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np
import pytest

from daskcast.errors import EntityError
from daskcast.models import Family, View, view_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from daskcast.models.base import Point
    from daskcast.records import Floats

H = 6
SEASON_LENGTH = 12
CUTOFFS = np.array([60, 66, 72])
PLAIN = (str, int, float, bool, type(None))

T = TypeVar("T")


def airport(n_steps: int = 78) -> Floats:
    """Give monthly passengers: growth, seasons, noise that is no random number."""
    t = np.arange(float(n_steps))
    season = 1.0 + 0.2 * np.sin(t * math.pi / 6.0)
    y: Floats = (100.0 + t) * season * (1.0 + 0.03 * np.sin(t * t))
    return y


def holed(*missing: int | slice) -> Floats:
    """Give the same with missing observations."""
    y = airport()
    for where in missing:
        y[where] = np.nan
    return y


def awkward(n_steps: int = 78) -> dict[str, Floats]:
    """Give series on which a model may give up, but only by saying so."""
    t = np.arange(float(n_steps))
    return {
        "constant": np.full(n_steps, 5.0),
        "zeros": np.zeros(n_steps),
        "mostly zeros": np.where(t % 7 == 0, t, 0.0),
        "negative": -airport(n_steps),
        "around zero": np.sin(t),
        "tiny": 1e-12 * airport(n_steps),
        "huge": 1e12 * airport(n_steps),
        "a jump": np.where(t < CUTOFFS[0] + 3, 1e-3, 1e9),
        "one observation before the first window": np.where(
            (t > 0) & (t < CUTOFFS[0]), np.nan, t + 1
        ),
    }


def seen(y: Floats) -> View:
    """Give the view of a series with the windows of this contract."""
    return view_of(y, SEASON_LENGTH, H, CUTOFFS)


def attempt(do: Callable[[], T]) -> T | None:
    """Give what is done, or None where the family says that it cannot."""
    try:
        return do()
    except EntityError:
        return None


class ModelContract(ABC):
    """Tests that a model family passes; a subclass gives the family.

    Examples
    --------
    ::

        class TestMyFamily(ModelContract):
            @pytest.fixture
            def family(self):
                return MyFamily()     # a daskcast.models.Family

    Attributes
    ----------
    every : int
        Points that are fitted here: all, or each second, third ... of a family that is slow.
    """

    every: ClassVar[int] = 1

    @pytest.fixture
    @abstractmethod
    def family(self) -> Family:
        """Give the family."""

    @pytest.fixture
    def view(self) -> View:
        """Give an ordinary series with three windows."""
        return seen(airport())

    @pytest.fixture
    def points(self, family: Family, view: View) -> tuple[Point, ...]:
        """Give the points to fit to the ordinary series."""
        return self.some(family, view)

    def some(self, family: Family, view: View) -> tuple[Point, ...]:
        """Give the points to fit to a series."""
        return family.space(view).points[:: self.every]

    def test_it_is_a_family_of_one_entity(self, family: Family) -> None:
        """It has what the protocol asks for, a name, and travels between processes."""
        assert isinstance(family, Family)
        assert family.name
        assert family.name == family.name.strip().lower()
        assert family.scope in {"entity", "panel"}
        assert pickle.loads(pickle.dumps(family)).name == family.name

    def test_points_are_plain_alike_and_unique(self, family: Family, view: View) -> None:
        """Points have the same names in the same order, plain Python scalars, and none is twice."""
        points = family.space(view).points
        assert points
        assert len({tuple(point) for point in points}) == 1
        assert {type(value) for point in points for value in point.values()} <= set(PLAIN)
        assert json.loads(json.dumps(points)) == [dict(point) for point in points]
        assert len({tuple(point.values()) for point in points}) == len(points)

    def test_codes_tell_points_apart(self, family: Family, view: View) -> None:
        """Each point has finite coordinates that no other has."""
        space = family.space(view)
        assert space.codes.ndim == 2  # noqa: PLR2004
        assert len(space.codes) == len(space.points)
        assert np.all(np.isfinite(space.codes))
        assert len(np.unique(space.codes, axis=0)) == len(space.points)
        assert 1 <= space.n_portfolio <= len(space.points)

    def test_the_space_repeats(self, family: Family, view: View) -> None:
        """The same series has the same points in the same order each time."""
        first, second = family.space(view), family.space(seen(airport()))
        assert first.points == second.points
        assert first.codes.tobytes() == second.codes.tobytes()

    def test_points_have_labels(self, family: Family, points: tuple[Point, ...]) -> None:
        """The label is a short text in one line."""
        for point in points:
            label = family.label(point)
            assert isinstance(label, str)
            assert label
            assert label.isprintable()
            assert len(label) <= 60  # noqa: PLR2004

    def test_windows_have_shapes(
        self, family: Family, view: View, points: tuple[Point, ...]
    ) -> None:
        """A judged point has finite forecasts [W, H]; AICc [W + 1] is NaN throughout or nowhere."""
        for point in points:
            rolled = family.roll(view, point)
            assert rolled.forecasts.shape == (len(CUTOFFS), H)
            assert rolled.forecasts.dtype == np.float64
            assert np.all(np.isfinite(rolled.forecasts))
            assert rolled.sd.shape == (len(CUTOFFS), H)
            assert np.all(rolled.sd >= 0) or np.all(np.isnan(rolled.sd))
            assert rolled.aicc.shape == (len(CUTOFFS) + 1,)
            assert np.all(np.isfinite(rolled.aicc)) or np.all(np.isnan(rolled.aicc))

    def test_a_window_does_not_see_what_follows(
        self, family: Family, view: View, points: tuple[Point, ...]
    ) -> None:
        """Other values after a cutoff leave what was said until then as it was, to the bit."""
        for w, cutoff in enumerate(CUTOFFS):
            other = airport()
            other[cutoff:] = 37.0 + 400.0 * np.cos(np.arange(len(other) - cutoff)) ** 2
            for point in points:
                before, after = family.roll(view, point), family.roll(seen(other), point)
                said = slice(w + 1)
                assert before.forecasts[said].tobytes() == after.forecasts[said].tobytes()
                assert before.aicc[said].tobytes() == after.aicc[said].tobytes()

    def test_the_first_window_is_a_fit_to_its_past(
        self, family: Family, view: View, points: tuple[Point, ...]
    ) -> None:
        """At the first cutoff is said what a fit to the values before it says."""
        past = view_of(airport()[: CUTOFFS[0]], SEASON_LENGTH, H)
        for point in points:
            rolled, fitted = family.roll(view, point), family.finish(past, point)
            np.testing.assert_allclose(rolled.forecasts[0], fitted.mean, rtol=1e-6)
            np.testing.assert_allclose(rolled.aicc[0], fitted.aicc, rtol=1e-6)

    def test_a_fitted_point_has_mean_and_spread(
        self, family: Family, view: View, points: tuple[Point, ...]
    ) -> None:
        """A fitted point has a finite mean [H], a spread [H] not below zero, plain parameters."""
        for point in points:
            fitted = family.finish(view, point)
            assert fitted.mean.shape == fitted.sd.shape == (H,)
            assert np.all(np.isfinite(fitted.mean))
            assert np.all(np.isfinite(fitted.sd))
            assert np.all(fitted.sd >= 0)
            assert type(fitted.aicc) is float
            assert {type(value) for value in fitted.params.values()} <= {float}
            assert json.loads(json.dumps(fitted.params)) == dict(fitted.params)

    def test_parameters_are_all_that_is_kept(
        self, family: Family, view: View, points: tuple[Point, ...]
    ) -> None:
        """With its own parameters, through JSON, a point forecasts the same, to the bit."""
        for point in points:
            fitted = family.finish(view, point)
            kept = json.loads(json.dumps(dict(fitted.params)))
            again = family.finish(view, point, kept)
            assert again.mean.tobytes() == fitted.mean.tobytes()
            assert again.sd.tobytes() == fitted.sd.tobytes()
            assert dict(again.params) == dict(fitted.params)

    def test_parameters_are_taken_as_they_are(
        self, family: Family, view: View, points: tuple[Point, ...]
    ) -> None:
        """On a past that has grown nothing is estimated: the parameters stay."""
        past = view_of(view.y[: CUTOFFS[-1]], SEASON_LENGTH, H)
        for point in points:
            kept = dict(family.finish(past, point).params)
            assert dict(family.finish(view, point, kept).params) == kept

    def test_residuals_are_of_the_past(
        self, family: Family, view: View, points: tuple[Point, ...]
    ) -> None:
        """Residuals, where a family has them, stand at the observations [T]."""
        for point in points:
            residuals = family.finish(view, point).residuals
            assert residuals is None or residuals.shape == view.y.shape

    @pytest.mark.parametrize("h", [1, 2, 31])
    def test_any_horizon(self, family: Family, h: int) -> None:
        """The forecast is as long as asked for, and its first steps do not depend on that."""
        short, view = view_of(airport(), SEASON_LENGTH, h), view_of(airport(), SEASON_LENGTH, 40)
        for point in self.some(family, view):
            few, many = family.finish(short, point), family.finish(view, point)
            assert few.mean.tobytes() == many.mean[:h].tobytes()
            assert few.sd.tobytes() == many.sd[:h].tobytes()

    @pytest.mark.parametrize(
        "missing",
        [slice(1, 4), slice(30, 43), slice(58, 61), slice(70, 78), slice(1, 78, 3)],
        ids=["start", "middle", "around a cutoff", "end", "everywhere"],
    )
    def test_missing_observations_are_accepted(self, family: Family, missing: slice) -> None:
        """Missing observations need no filling: forecasts are finite."""
        view = seen(holed(missing))
        for point in self.some(family, view):
            rolled = family.roll(view, point)
            fitted = family.finish(view, point)
            for part in (rolled.forecasts, fitted.mean, fitted.sd):
                assert np.all(np.isfinite(part))

    @pytest.mark.parametrize("kind", awkward())
    def test_trouble_is_said_or_absent(self, family: Family, kind: str) -> None:
        """On an awkward series a point is fitted or refused by ``EntityError``, nothing else."""
        view = seen(awkward()[kind])
        for point in self.some(family, view):
            with np.errstate(all="ignore"):
                rolled = attempt(partial(family.roll, view, point))
                fitted = attempt(partial(family.finish, view, point))
            assert rolled is None or rolled.forecasts.shape == (len(CUTOFFS), H)
            assert fitted is None or fitted.mean.shape == (H,)

    def test_nothing_is_changed_and_all_repeats(
        self, family: Family, view: View, points: tuple[Point, ...]
    ) -> None:
        """The view stays as it was, and a second call gives the same to the bit."""
        frozen = view.y.copy()
        for point in points:
            first, second = family.roll(view, point), family.roll(view, point)
            assert first.forecasts.tobytes() == second.forecasts.tobytes()
            again = [family.finish(view, point) for _ in range(2)]
            assert again[0].mean.tobytes() == again[1].mean.tobytes()
            assert again[0].sd.tobytes() == again[1].sd.tobytes()
        assert view.y.tobytes() == frozen.tobytes()
