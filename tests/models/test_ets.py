"""Exponential smoothing: which forms, their AICc against statsmodels, scale and gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from daskcast.errors import EntityError
from daskcast.models import ETS, kernels, view_of
from daskcast.models.ets import POWERS, needs
from daskcast.testing import ModelContract

WORDS = {"A": "add", "M": "mul", "N": None}
PLAIN = {"power": 1.0, "criterion": "likelihood"}


class TestEts(ModelContract):
    """Exponential smoothing."""

    @pytest.fixture
    def family(self):
        return ETS()


def form(text: str, **other):
    """Give a point from a short text such as ``A,Ad,M``."""
    error, trend, season = text.split(",")
    return {"error": error, "trend": trend, "season": season, **PLAIN, **other}


def monthly(rng, n=60, m=12):
    """Give a positive seasonal series with growth and noise."""
    t = np.arange(n)
    season = 1 + 0.3 * np.sin(2 * np.pi * t / max(m, 2)) * (m > 1)
    return (200 + 2 * t) * season * rng.lognormal(0, 0.05, n)


# -- the space --------------------------------------------------------------------------------


@given(
    m=st.sampled_from([1, 4, 7, 12, 24]),
    more=st.integers(0, 30),
    zero=st.booleans(),
    data=st.data(),
)
def test_two_seasons_give_at_least_48_points(m, more, zero, data):
    """Any series of two seasons, positive or with zeros, has 48 points or more, no code twice."""
    n = max(2 * m, 9) + more
    y = np.array(data.draw(st.lists(st.floats(1e-12, 1e12), min_size=n, max_size=n)))
    if zero:
        y[data.draw(st.integers(0, n - 1))] = 0.0
    missing = data.draw(st.sets(st.integers(1, n - 1), max_size=more))
    holed = np.insert(y, sorted(missing), np.nan)
    space = ETS().space(view_of(holed, m, 6))
    assert len(space.points) >= 48
    assert len(np.unique(space.codes, axis=0)) == len(space.points)
    for point in space.points:
        assert point["error"] == "A" or not zero
        assert point["power"] > 0 or not zero
        assert point["season"] == "N" or m > 1
        assert not (point["error"] == "A" and point["season"] == "M")
        assert point["power"] == 1 or point["error"] == "A"
        assert n >= needs(point["trend"], point["season"], m)


@pytest.mark.parametrize(
    ("m", "low", "count"),
    [
        (12, 1.0, 15 * 2 + 6 * 2 * 8),
        (12, 0.0, 6 * 2 + 6 * 2 * 7),
        (12, -1.0, 6 * 2),
        (1, 1.0, 6 * 2 + 3 * 2 * 8),
        (1, 0.0, 3 * 2 + 3 * 2 * 7),
        (1, -1.0, 3 * 2),
    ],
)
def test_all_admissible_points_and_no_others(m, low, count):
    """All forms, the additive ones by eight powers too, each by two criteria, are there."""
    y = 5.0 + np.arange(40.0)
    y[7] = low
    assert len(ETS().space(view_of(y, m, 6)).points) == count


@pytest.mark.parametrize(("n", "seasons"), [(24, "N"), (25, "AMN"), (7, "N")])
def test_seasons_need_two_of_them_and_one_value(n, seasons):
    """A seasonal form is there from two seasons and one observation on."""
    space = ETS().space(view_of(1.0 + np.arange(float(n)), 12, 6))
    assert {point["season"] for point in space.points} == set(seasons)


def test_only_observations_before_the_first_window_count():
    """What comes after the first cutoff, and what is missing, does not make a form admissible."""
    y = 1.0 + np.arange(60.0)
    few = view_of(y, 12, 6, np.array([24, 54]))
    assert {point["season"] for point in ETS().space(few).points} == {"N"}
    y[3] = np.nan
    assert {p["season"] for p in ETS().space(view_of(y, 12, 6, np.array([25]))).points} == {"N"}
    assert len({p["season"] for p in ETS().space(view_of(y, 12, 6, np.array([26]))).points}) == 3


def test_too_few_observations_have_no_points():
    """Below six observations there is no form, and no error either."""
    for n in range(1, 6):
        space = ETS().space(view_of(1.0 + np.arange(float(n)), 12, 6))
        assert (len(space.points), len(space.codes), space.n_portfolio) == (0, 0, 0)
    assert len(ETS().space(view_of(1.0 + np.arange(6.0), 12, 6)).points) > 0


def test_first_points_are_plain_forms_then_roots_and_logs():
    """Plain forms come first, by merit; roots and logs follow and end the portfolio."""
    space = ETS().space(view_of(1.0 + np.arange(60.0), 12, 6))
    first = space.points[:15]
    assert all(point["power"] == 1 and point["criterion"] == "likelihood" for point in first)
    labels = [ETS().label(point) for point in first]
    assert labels[:4] == ["ETS(M,Ad,M)", "ETS(A,Ad,A)", "ETS(M,N,M)", "ETS(A,N,A)"]
    assert len(set(labels)) == 15
    portfolio = space.points[: space.n_portfolio]
    assert len(portfolio) == 15 + 2 * 6
    assert {point["power"] for point in portfolio[15:]} == {0.0, 0.5}
    assert {point["criterion"] for point in portfolio} == {"likelihood"}
    rest = space.points[space.n_portfolio :]
    plain = [point["power"] == 1 for point in rest]
    assert plain == sorted(plain, reverse=True)


def test_seasonal_forms_go_first_where_there_are_seasons():
    """Half of a small number of trials is spent on seasonal forms, or on all there are."""
    seasonal = ETS().space(view_of(1.0 + np.arange(60.0), 4, 6)).points
    assert all(point["season"] != "N" for point in seasonal[:9])
    plain = ETS().space(view_of(1.0 + np.arange(60.0), 1, 6)).points
    assert [p["error"] + p["trend"] for p in plain[:6]] == ["AAd", "AN", "AA", "MAd", "MN", "MA"]


def test_spaces_are_shared_between_entities(rng):
    """Two entities with the same forms have one space in memory."""
    first, second = (ETS().space(view_of(monthly(rng), 12, h)) for h in (6, 12))
    assert first is second


def test_labels_name_form_and_power():
    """The power is named where the data are transformed."""
    assert ETS().label(form("M,Ad,M")) == "ETS(M,Ad,M)"
    assert ETS().label(form("A,N,N", power=0.0)) == "ETS(A,N,N) power 0"
    assert ETS().label(form("A,N,N", power=0.125)) == "ETS(A,N,N) power 0.125"


# -- likelihood -------------------------------------------------------------------------------


def statsmodels_loglik(z, m, point, params) -> float:
    """Give statsmodels' log-likelihood at fitted parameters and backcast initial states."""
    season = "NAM".index(point["season"])
    smoothing = np.array([params[name] for name in ("alpha", "beta", "gamma", "phi")])
    end, start = np.zeros(kernels.HEAD + m), np.zeros(kernels.HEAD + m)
    kernels.end_states(z, len(z), point["trend"] != "N", season, m, end)
    kernels.backcast(z, len(z), season, m, smoothing, end, start)
    trend = point["trend"] != "N"
    model = ETSModel(
        z,
        error=WORDS[point["error"]],
        trend=WORDS[point["trend"][0]],
        damped_trend=point["trend"] == "Ad",
        seasonal=WORDS[point["season"]],
        seasonal_periods=m if season else None,
        initialization_method="known",
        initial_level=start[kernels.LEVEL],
        initial_trend=start[kernels.SLOPE] if trend else None,
        initial_seasonal=start[kernels.HEAD :] if season else None,
    )
    chosen = [params["alpha"]]
    chosen += [params["beta"]] if trend else []
    chosen += [params["gamma"]] if season else []
    chosen += [params["phi"]] if point["trend"] == "Ad" else []
    return float(model.smooth(np.array(chosen)).llf)


def by_hand(loglik, n, point, m) -> float:
    """Give AICc from a log-likelihood, the parameters counted one by one."""
    names = ["alpha", "level", "variance"]
    names += ["beta", "slope"] if point["trend"] != "N" else []
    names += ["phi"] if point["trend"] == "Ad" else []
    names += ["gamma", *(f"season {j}" for j in range(m - 1))] if point["season"] != "N" else []
    k = len(names)
    return -2 * loglik + 2 * k + 2 * k * (k + 1) / (n - k - 1)


@pytest.mark.parametrize(
    "text", ["A,N,N", "A,A,N", "A,Ad,N", "M,N,N", "M,A,N", "A,N,A", "A,Ad,A", "M,Ad,A", "M,A,A"]
)
@pytest.mark.parametrize("criterion", ["likelihood", "absolute"])
def test_aicc_is_that_of_statsmodels(text, criterion, rng):
    """AICc equals that of statsmodels' log-likelihood at the fitted parameters."""
    y, m = monthly(rng, 64, 4), 4
    point = form(text, criterion=criterion)
    fitted = ETS().finish(view_of(y, m, 6), point)
    theirs = by_hand(statsmodels_loglik(y, m, point, fitted.params), len(y), point, m)
    np.testing.assert_allclose(fitted.aicc, theirs, rtol=1e-9)


@pytest.mark.parametrize("power", POWERS)
def test_transformed_aicc_is_on_the_scale_of_the_data(power, rng):
    """The density of y is that of its transform times the slope ``y ** (power - 1)``."""
    y, m = monthly(rng, 64, 4), 4
    point = form("A,Ad,A", power=power)
    fitted = ETS().finish(view_of(y, m, 6), point)
    z = special.boxcox(y, power)
    loglik = statsmodels_loglik(z, m, point, fitted.params) + np.log(y ** (power - 1)).sum()
    np.testing.assert_allclose(fitted.aicc, by_hand(loglik, len(y), point, m), rtol=1e-9)


def test_logs_win_on_exponentials_of_random_walks(rng):
    """With the Jacobian, the transform that made the data has the best AICc of all powers."""
    y = np.exp(5 + np.cumsum(rng.normal(0, 0.3, 300)))
    view = view_of(y, 1, 6)
    aicc = {power: ETS().finish(view, form("A,N,N", power=power)).aicc for power in POWERS}
    aicc[1.0] = ETS().finish(view, form("A,N,N")).aicc
    assert min(aicc, key=aicc.get) == 0.0
    assert list(aicc.values()) == sorted(aicc.values())


@pytest.mark.parametrize(
    ("text", "power"),
    [*((text, 1.0) for text in ("A,N,N", "M,A,N", "A,Ad,A", "M,Ad,M", "M,N,A"))]
    + [(text, power) for text in ("A,N,N", "A,Ad,A") for power in (0.5, 0.0)],
)
def test_aicc_of_windows_counts_observations(text, power, rng):
    """At each cutoff and at the end AICc is that of what is observed until then, gaps and all."""
    y, m = monthly(rng, 80, 4), 4
    y[[9, 10, 63]] = np.nan
    cutoffs = np.array([60, 68, 74])
    point = form(text, power=power)
    rolled = ETS().roll(view_of(y, m, 6, cutoffs), point)
    sooner = ETS().roll(view_of(y[:74], m, 6, cutoffs[:2]), point)
    np.testing.assert_allclose(sooner.aicc, rolled.aicc[:3], rtol=1e-13)
    first = ETS().finish(view_of(y[:60], m, 6), point)
    assert rolled.aicc[0] == pytest.approx(first.aicc, rel=1e-12)


def test_too_few_degrees_of_freedom_stay_finite():
    """With hardly more observations than parameters the penalty is large and finite."""
    y = 10.0 + np.array([0, 1, 0, 2, 1, 3, 2, 4.0])
    view = view_of(y, 1, 6)
    aicc = [ETS().finish(view, form(text)).aicc for text in ("A,N,N", "A,A,N", "A,Ad,N")]
    assert all(map(math.isfinite, aicc))
    assert aicc == sorted(aicc)


# -- forecasts --------------------------------------------------------------------------------


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("factor", [1000.0, 1e-9])
def test_forecasts_follow_the_scale(zeros, factor, rng):
    """A factor on the data is a factor on forecast and spread, for every point of the space."""
    y = monthly(rng, 72)
    if zeros:
        y[[20, 33]] = 0.0
    cutoffs = np.array([48, 60])
    view, scaled = (view_of(c * y, 12, 12, cutoffs) for c in (1.0, factor))
    for point in ETS().space(view).points:
        one, other = (ETS().finish(v, point) for v in (view, scaled))
        np.testing.assert_allclose(other.mean, factor * one.mean, rtol=1e-6)
        np.testing.assert_allclose(other.sd, factor * one.sd, rtol=1e-6)
        # the density of each of n values changes by the factor
        shift = 2 * len(y) * math.log(factor)
        np.testing.assert_allclose(other.aicc - one.aicc, shift, rtol=1e-6)
        few, many = (ETS().roll(v, point).forecasts for v in (view, scaled))
        np.testing.assert_allclose(many, factor * few, rtol=1e-6)


@pytest.mark.parametrize("missing", [slice(0, 3), slice(30, 41), slice(55, 60)], ids=str)
@pytest.mark.parametrize("text", ["A,N,N", "A,A,A", "M,Ad,M"])
def test_missing_observations_need_no_filling(missing, text, rng):
    """Gaps at the start, in the middle and at the end leave a forecast near the one without."""
    y = monthly(rng)
    holed = y.copy()
    holed[missing] = np.nan
    full, gaps = (ETS().finish(view_of(v, 12, 12), form(text)) for v in (y, holed))
    assert np.all(np.isfinite(gaps.mean))
    assert np.all(gaps.sd > 0)
    np.testing.assert_allclose(gaps.mean, full.mean, rtol=0.35)


def test_a_transform_is_undone_and_never_leaves_its_range(rng):
    """Forecasts of transformed data are on the data's scale; logs stay positive in a fall."""
    y = 1000.0 * 0.8 ** np.arange(40.0) * rng.lognormal(0, 0.05, 40)
    view = view_of(y, 1, 24)
    for point in ETS().space(view).points:
        if point["power"] < 1:
            fitted = ETS().finish(view, point)
            assert np.all(fitted.mean >= 0)
            assert fitted.mean[0] < y[-6:].max()
    assert np.all(ETS().finish(view, form("A,A,N", power=0.0)).mean > 0)


def test_zeros_are_shifted_by_half_the_smallest_positive_value_of_the_past(rng):
    """The shift comes from before the first window: later values do not move it."""
    y = monthly(rng, 72)
    y[20] = 0.0
    cutoffs = np.array([48, 60])
    later = y.copy()
    later[50] = 1e-3
    for power in (0.125, 0.5):
        point = form("A,Ad,A", power=power)
        one, other = (ETS().roll(view_of(v, 12, 12, cutoffs), point) for v in (y, later))
        assert one.forecasts[0].tobytes() == other.forecasts[0].tobytes()


def test_parameters_lie_in_the_usual_region(rng):
    """Fitted parameters keep to the region that the docstring names."""
    view = view_of(monthly(rng, 60), 12, 12)
    for point in ETS().space(view).points:
        p = ETS().finish(view, point).params
        assert 0 < p["alpha"] < 1
        assert 0 <= p["beta"] <= p["alpha"]
        assert 0 <= p["gamma"] <= 1 - p["alpha"]
        assert p["phi"] == 1 if point["trend"] != "Ad" else 0.8 <= p["phi"] <= 0.98
        assert (p["beta"] > 0) <= (point["trend"] != "N")
        assert (p["gamma"] > 0) <= (point["season"] != "N")


# -- trouble ----------------------------------------------------------------------------------


def test_a_form_without_likelihood_is_refused_by_name():
    """A multiplicative error whose means are not positive has no likelihood: the form is named."""
    y = np.where(np.arange(40.0) < 30, 100.0, -100.0)
    with pytest.raises(EntityError, match=r"ETS\(M,A,N\) needs values above 0, found -100"):
        ETS().finish(view_of(y, 1, 6), form("M,A,N"))
    with pytest.raises(EntityError, match=r"ETS\(M,A,N\) has no finite likelihood"):
        ETS().roll(view_of(y, 1, 6, np.array([34])), form("M,A,N"))


def test_a_likelihood_lost_later_does_not_undo_earlier_windows(rng):
    """A crash after the first cutoff is no reason to have refused the form before it."""
    y = 1000.0 + np.cumsum(np.cumsum(rng.normal(0, 1, 80)))
    crash = np.where(np.arange(80) < 70, y, 1e-6)
    cutoffs = np.array([60, 66, 74])
    n_lost = 0
    for point in ETS().space(view_of(crash, 1, 6)).points:
        calm, crashed = (ETS().roll(view_of(v, 1, 6, cutoffs), point) for v in (y, crash))
        assert calm.forecasts[:2].tobytes() == crashed.forecasts[:2].tobytes()
        assert calm.aicc[:2].tobytes() == crashed.aicc[:2].tobytes()
        lost = crashed.aicc > 1e200
        assert lost.tolist() == sorted(lost)
        n_lost += lost[-1]
    assert n_lost
