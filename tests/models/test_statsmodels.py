"""Families that stand on statsmodels: the contract, and the same figures as statsmodels itself."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from statsmodels.tsa.seasonal import STL
from statsmodels.tsa.statespace import structural
from statsmodels.tsa.statespace.sarimax import SARIMAX

from daskcast.errors import EntityError
from daskcast.models import ETS, Sarimax, StlEts, UnobservedComponents, statespace, view_of
from daskcast.testing import ModelContract


class TestSarimax(ModelContract):
    """Seasonal ARIMA."""

    every = 30

    @pytest.fixture
    def family(self):
        return Sarimax()


class TestUnobserved(ModelContract):
    """Unobserved components: dummies, and trigonometric seasons."""

    every = 30

    @pytest.fixture
    def family(self):
        return UnobservedComponents()


class TestStlEts(ModelContract):
    """STL with exponential smoothing."""

    @pytest.fixture
    def family(self):
        return StlEts()


# -- against statsmodels itself ---------------------------------------------------------------


def quarterly(n=48):
    """Give a positive quarterly series with growth and noise."""
    t = np.arange(float(n))
    return (50 + t) * (1 + 0.2 * np.cos(t * np.pi / 2)) * (1 + 0.03 * np.sin(t * t))


def points(family, view, *, log):
    """Give the points of one scale."""
    return [point for point in family.space(view).points if point["log"] is log]


@pytest.mark.parametrize("position", range(9))
def test_sarimax_is_that_of_statsmodels(position):
    """With the parameters found, statsmodels forecasts the same; its own maximum is no higher."""
    y, view = quarterly(), view_of(quarterly(), 4, 5)
    point = points(Sarimax(), view, log=False)[position]
    fitted = Sarimax().finish(view, point)
    model = SARIMAX(
        y,
        order=(point["p"], point["d"], point["q"]),
        seasonal_order=(point["P"], point["D"], point["Q"], 4),
        trend=point["trend"],
    )
    values = [fitted.params[name] for name in model.param_names]
    ahead = model.filter(values).get_forecast(5)
    np.testing.assert_allclose(fitted.mean, ahead.predicted_mean, rtol=1e-8)
    np.testing.assert_allclose(fitted.sd, ahead.se_mean, rtol=1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = model.fit(disp=0, maxiter=500)
    assert model.loglike(values) >= theirs.llf - 0.1


@pytest.mark.parametrize("season", ["dummy", "trigonometric", "none"])
@pytest.mark.parametrize("trend", ["local level", "local linear trend", "smooth trend"])
def test_unobserved_components_are_those_of_statsmodels(trend, season):
    """Parameters and forecasts are those of the same model made by hand, on logarithms."""
    view = view_of(quarterly(), 4, 5)
    point = {"trend": trend, "season": season, "log": True}
    fitted = UnobservedComponents().finish(view, point)
    model = structural.UnobservedComponents(
        np.log(view.y),
        trend,
        seasonal=4 if season == "dummy" else None,
        freq_seasonal=[{"period": 4, "harmonics": 2}] if season == "trigonometric" else None,
    )
    theirs = model.fit(disp=0, maxiter=200, optim_complex_step=False, warn_convergence=False)
    assert fitted.params == dict(zip(model.param_names, theirs.params, strict=True))
    np.testing.assert_allclose(np.log(fitted.mean), theirs.forecast(5), rtol=1e-9)


@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
def test_stl_takes_off_what_statsmodels_takes_off(kind):
    """The forecast is that of exponential smoothing of the adjusted series, and the last season."""
    y, view = quarterly(), view_of(quarterly(), 4, 6)
    form = {
        "error": "A", "trend": "Ad", "season": "N", "power": 1.0, "criterion": "likelihood"
    }  # fmt: skip
    fitted = StlEts().finish(view, {"stl": kind, **form})
    z = np.log(y) if kind == "multiplicative" else y
    season = STL(z, 4, 13).fit().seasonal
    rest = np.exp(z - season) if kind == "multiplicative" else z - season
    smoothed = ETS().finish(view_of(rest, 1, 6), form)
    last = season[-4:][np.arange(6) % 4]
    back = smoothed.mean * np.exp(last) if kind == "multiplicative" else smoothed.mean + last
    np.testing.assert_allclose(fitted.mean, back, rtol=1e-12)
    shift = 2 * season.sum() if kind == "multiplicative" else 0.0
    assert fitted.aicc == pytest.approx(smoothed.aicc + shift)


# -- spaces -----------------------------------------------------------------------------------


def test_the_airline_model_comes_first():
    """Seasonal data begin with the airline model on logarithms, other data with one difference."""
    assert labels(Sarimax(), view_of(quarterly(), 4, 5))[0] == "SARIMA(0,1,1)(0,1,1)[4] log"
    assert labels(Sarimax(), view_of(quarterly(), 1, 5))[0] == "SARIMA(0,1,1) log"
    assert 10 <= len(labels(Sarimax(), view_of(quarterly(), 4, 5))) <= 24


def labels(family, view):
    """Give the labels of all points."""
    return [family.label(point) for point in family.space(view).points]


def test_data_with_zeros_have_no_logarithms():
    """On zeros and negative values only the data themselves are modelled."""
    y = quarterly()
    y[3] = 0.0
    for family in (Sarimax(), UnobservedComponents()):
        found = labels(family, view_of(y, 4, 5))
        assert found
        assert not [label for label in found if "log" in label]
    assert not [label for label in labels(StlEts(), view_of(y, 4, 5)) if "multiplicative" in label]


def test_a_long_season_has_no_state_for_each_step():
    """Beyond 24 steps SARIMAX has no season, unobserved components have harmonics only."""
    t = np.arange(200.0)
    view = view_of(100 + t + 10 * np.sin(t * np.pi / 26), 52, 5)
    assert not [label for label in labels(Sarimax(), view) if "[" in label]
    assert {p["season"] for p in UnobservedComponents().space(view).points} == {"trigonometric"}


def test_a_season_must_have_been_seen():
    """A step of the season that was never observed twice leaves forms without a season."""
    y = quarterly()
    y[2::4] = np.nan
    for family in (Sarimax(), UnobservedComponents()):
        view = view_of(y, 4, 5)
        assert not [x for x in labels(family, view) if "[" in x or "dummy" in x]


def test_nothing_is_said_as_a_warning_and_no_convergence_is_an_error(monkeypatch):
    """An optimiser that runs out of iterations leaves the point out, with the reason."""
    monkeypatch.setattr(statespace, "MOST_ITERATIONS", 1)
    view = view_of(quarterly(), 4, 5)
    for family in (Sarimax(), UnobservedComponents()):
        with pytest.raises(EntityError, match="did not converge within 1 iterations"):
            family.finish(view, family.space(view).points[0])


def test_a_long_series_keeps_no_matrices():
    """What is pickled of a fit is a few numbers for each observation."""
    view = view_of(np.tile(quarterly(), 10), 4, 5)
    fitted = Sarimax().finish(view, Sarimax().space(view).points[0])
    assert len(pickle.dumps(fitted)) < 10 * view.y.nbytes
    assert np.nanstd(fitted.residuals) == pytest.approx(1.0, rel=0.1)
    assert np.isnan(fitted.residuals[:5]).all()
    assert not np.isnan(fitted.residuals[5:]).any()


def test_the_default_path_does_not_import_statsmodels():
    """Neither the families nor a forecast with the default ones load statsmodels."""
    code = (
        "import sys\nfrom daskcast import task\ntask.warm_up()\n"
        "assert not [m for m in sys.modules if m.startswith('statsmodels')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_an_adjusted_series_with_values_below_zero_is_not_transformed():
    """With zeros and a season, only forms are tried that need no positive values."""
    y = quarterly()
    y[::4] = 0.0
    view = view_of(y, 4, 5)
    found = StlEts().space(view).points
    assert {(p["stl"], p["error"], p["power"]) for p in found} == {("additive", "A", 1.0)}
    for point in found:
        assert np.all(np.isfinite(StlEts().finish(view, point).mean))
