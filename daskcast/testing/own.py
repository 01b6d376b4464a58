"""The contract of a model of your own, as tests to inherit.

Covers what :class:`daskcast.OwnModel` relies on in an object with ``fit`` and ``predict``. Does not
cover whether its forecasts are any good, nor model families (``models``). Needs pytest.

Shapes: T values of a series, H steps of the horizon.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import pytest

from daskcast.described import described
from daskcast.errors import EntityError
from daskcast.models import OwnModel
from daskcast.models.own import LEVEL
from daskcast.testing.models import H, airport, holed, seen

if TYPE_CHECKING:
    from daskcast.records import Floats


class OwnModelContract(ABC):
    """Tests that a model with ``fit`` and ``predict`` passes; a subclass gives the model.

    Override ``series`` where the model needs other data than 78 months of growing passengers.

    Examples
    --------
    ::

        class TestMyModel(OwnModelContract):
            @pytest.fixture
            def estimator(self):
                return MyModel()

            @pytest.fixture
            def search_space(self):
                return {"alpha": (0.001, 1.0, "log-uniform")}
    """

    @pytest.fixture
    @abstractmethod
    def estimator(self) -> Any:
        """Give the model, not fitted."""

    @pytest.fixture
    def search_space(self) -> Any:
        """Give its search space; None takes the one that it brings, if any."""
        return None

    @pytest.fixture
    def series(self) -> Floats:
        """Give a series [T]."""
        return airport()

    @pytest.fixture
    def own(self, estimator: Any, search_space: Any) -> OwnModel:
        """Give the model as daskcast sees it."""
        return OwnModel(estimator, search_space)

    def test_every_point_forecasts(self, own: OwnModel, series: Floats) -> None:
        """Each point of the search space is set, fitted, and gives finite values [H]."""
        view = seen(series)
        for point in own.space(view).points:
            fitted = own.finish(view, point)
            assert fitted.mean.shape == fitted.sd.shape == (H,)
            assert np.all(np.isfinite(fitted.mean))
            assert np.all(np.isfinite(fitted.sd))

    def test_a_copy_is_not_fitted_and_has_the_same_parameters(
        self, own: OwnModel, series: Floats
    ) -> None:
        """Fitting happens on copies: the model itself stays as it was, and so does its copy."""
        before = described(own.estimator), copy.deepcopy(vars(own.estimator))
        own.finish(seen(series), own.space(seen(series)).points[0])
        assert described(own.estimator) == before[0]
        assert vars(own.estimator).keys() == before[1].keys()
        assert described(copy.deepcopy(own.estimator)) == before[0]

    def test_the_series_is_not_changed(self, own: OwnModel, series: Floats) -> None:
        """Neither fit nor predict writes into the values that they were given."""
        point = own.space(seen(series)).points[0]
        model, given = own.copy(point), series.copy()
        model.fit(given)
        model.predict(H)
        assert given.tobytes() == series.tobytes()

    def test_it_repeats(self, own: OwnModel, series: Floats) -> None:
        """The same series gives the same forecast, to the bit, whatever was fitted before."""
        point = own.space(seen(series)).points[0]
        first = own.finish(seen(series), point)
        own.finish(seen(2.0 * series[::-1]), point)
        assert own.finish(seen(series), point).mean.tobytes() == first.mean.tobytes()

    def test_fitting_again_forgets(self, own: OwnModel, series: Floats) -> None:
        """A second fit leaves nothing of the first."""
        point = own.space(seen(series)).points[0]
        once, twice = own.copy(point), own.copy(point)
        twice.fit(2.0 * series[::-1])
        for model in (once, twice):
            model.fit(series.copy())
        assert _mean(once).tobytes() == _mean(twice).tobytes()

    def test_it_travels(self, own: OwnModel, series: Floats) -> None:
        """It reaches a worker by pickling, and forecasts the same there."""
        there: OwnModel = cloudpickle.loads(cloudpickle.dumps(own))
        point = own.space(seen(series)).points[0]
        assert described(there) == described(own)
        here, away = (model.finish(seen(series), point) for model in (own, there))
        assert here.mean.tobytes() == away.mean.tobytes()

    def test_a_window_does_not_see_what_follows(self, own: OwnModel, series: Floats) -> None:
        """Other values after the last cutoff change no forecast made there."""
        point, view = own.space(seen(series)).points[0], seen(series)
        other = series.copy()
        other[view.cutoffs[-1] :] *= 3.0
        rolled, again = own.roll(view, point), own.roll(seen(other), point)
        assert rolled.forecasts.tobytes() == again.forecasts.tobytes()
        assert rolled.sd.tobytes() == again.sd.tobytes()

    @pytest.mark.parametrize("h", [1, 2, 31])
    def test_any_horizon(self, own: OwnModel, series: Floats, h: int) -> None:
        """The forecast is as long as asked for."""
        model = own.copy(own.space(seen(series)).points[0])
        model.fit(series.copy())
        assert _mean(model, h).shape == (h,)

    def test_levels_are_ordered(self, own: OwnModel, series: Floats) -> None:
        """Where it gives intervals, each encloses the mean."""
        model = own.copy(own.space(seen(series)).points[0])
        if not own.takes_level:
            pytest.skip("predict has no argument level")
        model.fit(series.copy())
        told = model.predict(H, level=[LEVEL])
        if hasattr(told, "keys"):
            low, high = (np.asarray(told[f"{end}-{LEVEL}"]) for end in ("lo", "hi"))
            assert np.all(low <= np.asarray(told["mean"]))
            assert np.all(np.asarray(told["mean"]) <= high)

    def test_missing_values_are_taken_or_refused(self, own: OwnModel) -> None:
        """It says ``accepts_missing`` and forecasts, or such a series is not modelled by it."""
        view = seen(holed(slice(30, 43)))
        point = own.space(view).points[0]
        if getattr(own.estimator, "accepts_missing", False):
            assert np.all(np.isfinite(own.finish(view, point).mean))
        else:
            with pytest.raises(EntityError, match="missing"):
                own.finish(view, point)


def _mean(model: Any, h: int = H) -> Floats:
    told = model.predict(h)
    return np.asarray(told["mean"] if hasattr(told, "keys") else told, dtype=np.float64)
