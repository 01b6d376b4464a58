"""Regular series: frequencies against pandas, holes, trouble of one entity."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from panel_samples import one

from daskcast.panel import GridRules, Rows, regularise

ALIASES = [
    "MS", "ME", "BMS", "BME", "2MS", "6ME", "QS", "QS-FEB", "QS-MAR", "QE", "QE-OCT", "QE-NOV",
    "BQS", "BQE", "YS", "YS-APR", "YE", "YE-JUN", "BYE", "2YS", "W-SUN", "W-WED", "2W-TUE",
    "4W-MON", "5W-FRI", "D", "2D", "10D", "30D", "B", "h", "2h", "6h", "12h", "22h", "36h",
    "30min", "15min", "5min", "min", "30s", "s", "100ms",
]  # fmt: skip
STARTS = st.datetimes(pd.Timestamp("1900-01-01"), pd.Timestamp("2200-01-01")).map(
    lambda start: pd.Timestamp(start).normalize()
)
YEAR_MONTHS = np.arange("2019-01", "2021-07", dtype="M8[M]")
STARTS_OF_MONTHS = YEAR_MONTHS.astype("M8[D]")
DAYS = np.arange("2019-01-01", "2019-02-01", dtype="M8[D]")
YEAR_ONE, YEAR_9999 = np.array(["0001-01-01", "9999-12-31"], "M8[D]")


@given(st.sampled_from(ALIASES), STARTS, st.integers(26, 60), st.integers(1, 13))
def test_dates_continue_as_pandas_would(alias, start, n, h) -> None:
    """Frequency and future of a complete series are those of pandas, for every alias."""
    dates = pd.date_range(start, periods=n + h, freq=alias).to_numpy().astype("M8[us]")
    series = one(dates[:n], h=h)
    assert series.problem is None
    np.testing.assert_array_equal(series.future, dates[n:])
    np.testing.assert_array_equal(series.y, np.arange(1.0, n + 1))
    assert series.cutoff == dates[n - 1]
    again = pd.date_range(series.cutoff, periods=h + 1, freq=series.freq)[1:]
    np.testing.assert_array_equal(series.future, again.to_numpy().astype("M8[us]"))


@given(st.sampled_from(ALIASES), STARTS, st.integers(26, 60), st.data())
def test_holes_become_nan_where_pandas_has_them(alias, start, n, data) -> None:
    """With up to a fifth of the rows gone, the others stand where a reindexed frame has them."""
    dates = pd.date_range(start, periods=n + 3, freq=alias).to_numpy().astype("M8[us]")
    gone = data.draw(st.sets(st.integers(1, n - 2), max_size=n // 5))
    kept = [i for i in range(n) if i not in gone]
    series = one(dates[kept], values=np.array(kept, float))
    expected = pd.Series(kept, index=dates[kept], dtype=float).reindex(dates[:n])
    np.testing.assert_array_equal(series.y, expected.to_numpy())
    np.testing.assert_array_equal(series.future, dates[n:])


@pytest.mark.parametrize("day", [2, 15, 28, 29, 30])
def test_day_of_the_month_comes_back(day) -> None:
    """A user who writes the 15th gets the 15th; the 30th is the last of February."""
    dates = [
        pd.Timestamp(str(month))
        + pd.Timedelta(days=min(day, pd.Timestamp(str(month)).days_in_month) - 1)
        for month in np.arange("2019-01", "2021-03", dtype="M8[M]")
    ]
    series = one(np.array(dates[:-4]), h=4)
    assert series.season_length == 12
    assert series.future.astype("M8[ns]").view("i8").tolist() == [
        date.as_unit("ns").value for date in dates[-4:]
    ]


def test_time_of_day_comes_back() -> None:
    """Month ends at one second to midnight stay there."""
    ends = pd.date_range("2020-01-31", periods=14, freq="ME") + pd.Timedelta("23:59:59")
    series = one(ends[:12].to_numpy(), h=2)
    assert series.freq == "ME"
    np.testing.assert_array_equal(series.future, ends[12:].to_numpy().astype("M8[us]"))


def test_one_odd_day_does_not_undo_a_month() -> None:
    """With one observation in each month the series is monthly, on the day that most share."""
    dates = STARTS_OF_MONTHS.copy()
    dates[10] += 14
    series = one(dates)
    assert (series.freq, len(series.y)) == ("MS", 30)
    assert str(series.future[0].astype("M8[D]")) == "2021-07-01"


def test_sparse_months_are_months() -> None:
    """A step that occurs only once still counts if nothing else explains the dates."""
    series = one(STARTS_OF_MONTHS[[0, 4, 5, 9, 20, 29]])
    assert (series.freq, len(series.y)) == ("MS", 30)
    assert np.flatnonzero(~np.isnan(series.y)).tolist() == [0, 4, 5, 9, 20, 29]


def test_days_shifted_by_summer_time_are_days() -> None:
    """Local midnights written in UTC move by an hour twice a year and stay daily."""
    local = pd.date_range("2019-01-01", periods=300, freq="D", tz="Europe/Berlin")
    series = one(local.tz_convert("UTC").tz_localize(None).to_numpy())
    assert (series.freq, len(series.y)) == ("D", 300)


@pytest.mark.parametrize(
    ("times", "freq", "ahead"),
    [(np.arange(1977, 2000), "1", [2000, 2001]), (np.arange(-5, 50, 5), "5", [50, 55])],
)
def test_index_of_whole_numbers(times, freq, ahead) -> None:
    """Whole numbers step by whole numbers, without a season."""
    series = one(times, h=2)
    assert (series.freq, series.season_length) == (freq, 1)
    assert series.future.dtype == np.int64
    assert series.future.tolist() == ahead
    assert series.cutoff == times[-1]
    assert isinstance(series.cutoff, int)


@pytest.mark.parametrize("freq", ["M", "ME", "MS", "BME"])
def test_given_frequency_keeps_the_users_days(freq) -> None:
    """Whichever alias of months is given, month ends stay month ends."""
    ends = pd.date_range("2020-01-31", periods=6, freq="ME").to_numpy()
    series = one(ends[:4], h=2, freq=freq)
    assert series.freq == "ME"
    np.testing.assert_array_equal(series.future, ends[4:].astype("M8[us]"))


def test_given_frequency_serves_one_observation() -> None:
    """One observation is too short to infer from, and enough with a frequency."""
    alone = np.array(["2020-02-29"], "M8[D]")
    assert one(alone).problem.error_type == "TooShort"
    assert "--freq" in one(alone).problem.message
    series = one(alone, freq="M")
    assert series.problem is None
    assert [str(day) for day in series.future.astype("M8[D]")] == [
        "2020-03-31", "2020-04-30", "2020-05-31",
    ]  # fmt: skip


def test_given_season_length_wins() -> None:
    """The user's season length replaces the one of the frequency."""
    assert one(STARTS_OF_MONTHS, season_length=6).season_length == 6


ENDS = np.array([-(2**63) + 1, 5, 2**63 - 1])


@pytest.mark.parametrize("freq", [None, "1"])
@pytest.mark.parametrize("times", [ENDS, ENDS // 2 - np.array([3, 0, -3]), 2**62 + np.arange(1, 9)])
def test_times_whose_distance_is_no_number_are_out_of_reach(times, freq) -> None:
    """Whole numbers so far apart are their entity's trouble, and nobody else's."""
    series = one(times, freq=freq)
    assert series.problem.error_type == "TimeOutOfReach"
    assert "18 digits" in series.problem.message


@pytest.mark.parametrize("freq", [None, "us", "YS", "B"])
def test_dates_at_both_ends_of_time_are_out_of_reach(freq) -> None:
    """The same for dates."""
    times = np.array(["-290000-01-01", "2020-01-01", "290000-01-01"], "M8[us]")
    series = one(times, freq=freq)
    assert series.problem.error_type == "TimeOutOfReach"
    assert "290000-01-01" in series.problem.message


def test_leading_missing_values_are_trimmed_and_trailing_kept() -> None:
    """The series begins with an observation, and ends with the table."""
    values = np.arange(30.0)
    values[[0, 1, 5, 28, 29]] = np.nan
    series = one(STARTS_OF_MONTHS, values)
    np.testing.assert_array_equal(series.y, values[2:])
    assert str(series.cutoff.astype("M8[M]")) == "2021-06"
    assert series.repairs == ()


def odd_hour() -> np.ndarray:
    hours = np.arange("2019-01-06T00", "2019-01-07T12", dtype="M8[h]").astype("M8[m]")
    return np.append(hours, np.datetime64("2019-01-06T05:07"))


def odd_week() -> np.ndarray:
    weeks = np.arange("2019-01-06", "2019-09-01", 7, dtype="M8[D]")
    weeks[20] += 2
    return weeks


def semi_monthly() -> np.ndarray:
    return np.concatenate([STARTS_OF_MONTHS, STARTS_OF_MONTHS + 14])


@pytest.mark.parametrize(
    ("times", "options", "kind", "named"),
    [
        (odd_hour(), {}, "IrregularTimes", "2019-01-06 05:07"),
        (odd_week(), {}, "IrregularTimes", "2019-05-28"),
        (semi_monthly(), {}, "IrregularTimes", "no"),
        (np.append(STARTS_OF_MONTHS, STARTS_OF_MONTHS[3] + 14), {}, "IrregularTimes", "2019-04-15"),
        (np.array([0, 10, 20, 30, 40, 43, 50, 60, 70]), {}, "IrregularTimes", "43"),
        (STARTS_OF_MONTHS, {"freq": "Q"}, "IrregularTimes", "20 of 30"),
        (DAYS, {"freq": "M"}, "IrregularTimes", "30"),
        (DAYS[:7], {"freq": "B"}, "IrregularTimes", "2019-01-05"),
        (DAYS[[0, 1, 4]], {"freq": "B"}, "IrregularTimes", "2019-01-05"),
        (np.append(STARTS_OF_MONTHS[1:], YEAR_ONE), {}, "GridTooLong", "0001-01-01"),
        (np.append(STARTS_OF_MONTHS, YEAR_9999), {}, "GridTooLong", "9999-12-31"),
        (np.append(STARTS_OF_MONTHS, STARTS_OF_MONTHS[:2]), {}, "DuplicateTimes", "2019-01-01"),
        (STARTS_OF_MONTHS[[0, 1, 2, 5, 6, 7]], {"gaps": "fail"}, "Gap", "2019-03-01"),
        (STARTS_OF_MONTHS[:1], {}, "TooShort", "2019-01-01"),
        (np.append(STARTS_OF_MONTHS, np.datetime64("NaT")), {}, "MissingTime", "1 of 31"),
    ],
)  # fmt: skip
def test_trouble_with_times_is_told(times, options, kind, named) -> None:
    """Each trouble has its name and says which times are wrong."""
    series = one(times, **options)
    assert series.problem is not None
    assert series.problem.error_type == kind
    assert named in series.problem.message
    assert len(series.future) == 0
    assert len(series.y) == len(times)


@pytest.mark.parametrize(
    ("values", "options", "kind"),
    [
        ([1, np.inf, 3, 4], {}, "InfiniteValue"),
        ([1, -np.inf, np.nan, 4], {"gaps": "fail"}, "InfiniteValue"),
        ([np.nan] * 4, {}, "NoObservations"),
        ([1, 2, np.nan, 4], {"gaps": "fail"}, "MissingValue"),
    ],
)
def test_trouble_with_values_is_told(values, options, kind) -> None:
    """Infinite, missing and absent values have their names."""
    series = one(STARTS_OF_MONTHS[:4], values, **options)
    assert series.problem is not None
    assert series.problem.error_type == kind


def test_gaps_are_fine_where_the_user_skips_them() -> None:
    """By default missing steps and values are left to the models."""
    assert one(STARTS_OF_MONTHS[[0, 1, 2, 5, 6, 7]], [1, 2, np.nan, 4, 5, 6]).problem is None


@pytest.mark.parametrize(("how", "joined"), [("sum", 2.0 + 5.0), ("mean", 3.5), ("last", 5.0)])
def test_duplicates_are_joined_as_asked(how, joined) -> None:
    """Repeated times are joined, and the repair is recorded with its count."""
    times = STARTS_OF_MONTHS[[0, 1, 1, 2, 3]]
    series = one(times, [1, 2, 5, 3, 4], duplicates=how)
    assert series.y.tolist() == [1, joined, 3, 4]
    assert series.repairs == (f"1 rows with a repeated time joined: {how}",)


@pytest.mark.parametrize(
    ("how", "expected"),
    [("sum", [1, 2, np.nan]), ("mean", [1, 2, np.nan]), ("last", [1, 2, np.nan])],
)
def test_missing_duplicates_take_no_part(how, expected) -> None:
    """A missing value is not zero; where all are missing the step stays missing."""
    times = STARTS_OF_MONTHS[[0, 1, 1, 2, 2]]
    series = one(times, [1, np.nan, 2, np.nan, np.nan], duplicates=how)
    np.testing.assert_array_equal(series.y, expected)


def test_sum_that_overflows_is_an_infinite_value() -> None:
    """Joining may make a value infinite, which is then this entity's problem."""
    series = one(STARTS_OF_MONTHS[[0, 1, 1]], [1, 1.7e308, 1.7e308], duplicates="sum")
    assert series.problem is not None
    assert series.problem.error_type == "InfiniteValue"


@given(st.permutations(range(12)), st.sampled_from(["sum", "mean"]))
def test_joining_does_not_depend_on_the_order(order, how) -> None:
    """A sum of the same values is the same to the last bit in any order of the input."""
    times = STARTS_OF_MONTHS[[0, 1, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6]]
    values = np.array([1, 0.1, 1e16, -1e16, 0.3, 1e-9, np.nan, 2, 3, 4, 5, 6])
    expected = one(times, values, duplicates=how)
    found = one(times[list(order)], values[list(order)], duplicates=how)
    np.testing.assert_array_equal(found.y, expected.y)


ENTITY = st.tuples(
    st.sampled_from(["MS", "ME", "W", "D", "B", "h", "QE", "YS", "odd", "one", "empty", "twice"]),
    st.integers(6, 30),
)


def entity_times(kind: str, n: int) -> np.ndarray:
    special = {
        "odd": np.append(odd_week()[:n], np.datetime64("2031-01-01")),
        "one": STARTS_OF_MONTHS[:1],
        "empty": STARTS_OF_MONTHS[:0],
        "twice": STARTS_OF_MONTHS[[0, 1, 2, 2, 3]],
    }
    if kind in special:
        return special[kind].astype("M8[us]")
    return pd.date_range("2020-01-01", periods=n, freq=kind).to_numpy().astype("M8[us]")


@given(
    st.lists(ENTITY, min_size=1, max_size=12),
    st.sampled_from([None, "M", "D"]),
    st.sampled_from(["fail", "mean", "last"]),
)
def test_an_entity_does_not_depend_on_its_neighbours(entities, freq, duplicates) -> None:
    """Alone or in a batch, an entity becomes the same series, good or bad."""
    rules = GridRules(h=4, freq=freq, duplicates=duplicates)
    times = [entity_times(*entity) for entity in entities]
    offsets = np.cumsum([0, *map(len, times)]).astype(np.int64)
    ids = tuple(f"e{i:02d}" for i in range(len(times)))
    values = [np.arange(1.0, len(t) + 1) for t in times]
    together = regularise(Rows(ids, offsets, np.concatenate(times), np.concatenate(values)), rules)
    assert [series.unique_id for series in together] == list(ids)
    for series, own, y in zip(together, times, values, strict=True):
        rows = Rows((series.unique_id,), np.array([0, len(own)]), own, y)
        [alone] = regularise(rows, rules)
        np.testing.assert_array_equal(series.y, alone.y)
        np.testing.assert_array_equal(series.future, alone.future)
        assert (series.problem, series.repairs) == (alone.problem, alone.repairs)
        assert (series.freq, series.season_length) == (alone.freq, alone.season_length)
        assert series.cutoff == alone.cutoff


@given(
    st.lists(st.integers(-(10**17), 10**17), min_size=1, max_size=40),
    st.sampled_from([None, "M", "Q", "Y", "W", "D", "B", "h", "15min"]),
)
def test_any_dates_give_a_regular_series_or_a_problem(ticks, freq) -> None:
    """No dates, however wild, raise; a series without a problem accounts for every row."""
    series = one(np.array(sorted(ticks)).view("M8[us]"), freq=freq)
    if series.problem is None:
        assert np.isfinite(series.y).sum() == len(ticks)
        assert (np.diff(series.future.view(np.int64)) > 0).all()
        assert series.future[0] > series.cutoff
    else:
        assert series.problem.message


def test_no_entities_are_no_series() -> None:
    """An empty batch is an empty list."""
    rows = Rows((), np.array([0]), np.empty(0, "M8[us]"), np.empty(0))
    assert regularise(rows, GridRules(h=1)) == []


@given(st.sampled_from(ALIASES), STARTS, st.integers(26, 60), st.integers(1, 70), st.data())
def test_times_of_the_last_steps_come_back(alias, start, n, n_past, data) -> None:
    """The past is written as the future would have been, holes included."""
    dates = pd.date_range(start, periods=n, freq=alias).to_numpy().astype("M8[us]")
    gone = data.draw(st.sets(st.integers(1, n - 2), max_size=n // 6))
    series = one(dates[[i for i in range(n) if i not in gone]], n_past=n_past)
    np.testing.assert_array_equal(series.past, dates[-n_past:])
    assert one(dates).past is None


def test_a_step_with_a_row_keeps_the_users_own_time() -> None:
    """A date off the common day, or an hour of summer time, is told as it was written."""
    dates = STARTS_OF_MONTHS.copy()
    dates[10] += 14
    np.testing.assert_array_equal(one(dates, n_past=30).past, dates.astype("M8[us]"))
    local = pd.date_range("2019-01-01", periods=300, freq="D", tz="Europe/Berlin")
    days = local.tz_convert("UTC").tz_localize(None).to_numpy().astype("M8[us]")
    np.testing.assert_array_equal(one(days, n_past=299).past, days[1:])


def test_the_past_of_whole_numbers_and_of_neighbours() -> None:
    """Entities of other lengths in the batch do not matter; nor does a leading gap."""
    times = np.r_[np.arange(0, 50, 5), np.arange(7, 10)]
    values = np.r_[np.nan, np.arange(9.0), np.ones(3)]
    rows = Rows(("A", "B"), np.array([0, 10, 13]), times, values)
    a, b = regularise(rows, GridRules(h=2, n_past=20))
    assert a.past.tolist() == list(range(5, 50, 5))
    assert b.past.tolist() == [7, 8, 9]
    assert (len(a.y), len(b.y)) == (9, 3)
