"""Data frames of every kind: the same panel, the caller's table untouched."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from panel_samples import frame, series_of

from daskcast.config import ForecastConfig
from daskcast.errors import DataError
from daskcast.panel import open_source

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = ForecastConfig(h=3)
DAY, NOON = datetime.date(2020, 1, 31), datetime.datetime(2020, 1, 31, 12)  # noqa: DTZ001

KINDS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda df: df,
    "pandas-arrow": lambda df: df.convert_dtypes(dtype_backend="pyarrow"),
    "pandas-object": lambda df: df.astype({"unique_id": object}),
    "polars": pl.from_pandas,
    "polars-lazy": lambda df: pl.from_pandas(df).lazy(),
    "polars-categorical": lambda df: pl.from_pandas(df).with_columns(
        pl.col("unique_id").cast(pl.Categorical)
    ),
    "pyarrow": lambda df: pa.Table.from_pandas(df, preserve_index=False),
    "record-batch": lambda df: pa.RecordBatch.from_pandas(df, preserve_index=False),
    "dictionary": lambda df: pa.table(
        {name: pa.array(df[name]).dictionary_encode() if name != "y" else df[name] for name in df}
    ),
    "chunked": lambda df: pa.concat_tables(
        [
            pa.Table.from_pandas(df[a : a + 7], preserve_index=False).cast(
                pa.schema(
                    {
                        "unique_id": pa.dictionary(pa.int8(), pa.string()),
                        "ds": pa.timestamp("us"),
                        "y": pa.float64(),
                    }
                )
            )
            for a in range(0, len(df), 7)
        ]
    ),
    "dask": lambda df: dd.from_pandas(df, npartitions=3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_gives_the_same_panel(kind) -> None:
    """One table in any kind of frame is one panel with one fingerprint."""
    df = frame()
    source = open_source(KINDS[kind](df), CONFIG)
    assert source.ids == ("007", "JFK", "NA", "null")
    assert source.fingerprint == open_source(df, CONFIG).fingerprint


@pytest.mark.parametrize("kind", ["pandas", "pandas-object"])
def test_the_callers_frame_is_not_changed(kind) -> None:
    """Reading and regularising write nothing into the caller's table."""
    df = KINDS[kind](frame().sample(frac=1, random_state=2))
    before = df.copy(deep=True)
    series_of(df)
    pd.testing.assert_frame_equal(df, before)


@given(st.permutations(range(24)))
def test_order_of_rows_does_not_matter(order) -> None:
    """Shuffled rows are the same series to the last bit."""
    df = frame(6)
    df.loc[5, "y"] = np.nan
    expected, found = series_of(df), series_of(df.iloc[list(order)])
    assert list(expected) == list(found)
    for unique_id, series in expected.items():
        np.testing.assert_array_equal(series.y, found[unique_id].y)
        np.testing.assert_array_equal(series.future, found[unique_id].future)


def test_last_of_duplicates_is_last_in_the_input() -> None:
    """Here alone the order of rows counts."""
    df = pd.DataFrame(
        {"unique_id": "a", "ds": ["2020-02", "2020-01", "2020-02", "2020-03"], "y": [9, 1, 2, 3]}
    )
    assert series_of(df, duplicates="last")["a"].y.tolist() == [1, 2, 3]
    assert series_of(df[::-1], duplicates="last")["a"].y.tolist() == [1, 9, 3]


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2020-01-01", periods=4, freq="D"),
        pd.date_range("2020-01-01", periods=4, freq="D").astype("M8[s]"),
        pd.period_range("2020-01-01", periods=4, freq="D"),
        [datetime.date(2020, 1, day) for day in range(1, 5)],
        [f"2020-01-0{day}" for day in range(1, 5)],
        pd.Categorical([f"2020-01-0{day}" for day in range(1, 5)]),
        pd.Series(pd.period_range("2020-01-01", periods=4, freq="D")).astype(object),
        pd.Series(pd.date_range("2020-01-01", periods=4, freq="D")).astype(object),
    ],
    ids=["ns", "s", "period", "date", "text", "category", "period-object", "timestamp-object"],
)
def test_dates_of_every_type(times) -> None:
    """Dates of any type are the same dates."""
    series = series_of(pd.DataFrame({"unique_id": "a", "ds": times, "y": range(4)}))["a"]
    assert (series.freq, series.problem) == ("D", None)
    assert str(series.future[0].astype("M8[D]")) == "2020-01-05"


@pytest.mark.parametrize("dtype", ["int8", "uint64", "Int64", "float64", "int64[pyarrow]"])
def test_whole_times_of_every_type(dtype) -> None:
    """Whole numbers of any type are an index."""
    times = pd.Series(range(4)).astype(dtype)
    series = series_of(pd.DataFrame({"unique_id": "a", "ds": times, "y": range(4)}))["a"]
    assert series.future.tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([7, 10, 7], ("10", "7")),
        (pd.Categorical(["b", "a", "b"], categories=["z", "b", "a"]), ("a", "b")),
        (pd.array(["007", " x", "NA"], dtype="string"), (" x", "007", "NA")),
        (pd.array([1, 2, 1], dtype="Int32"), ("1", "2")),
    ],
)
def test_ids_of_every_type_are_text(ids, expected) -> None:
    """Ids become text; categories without rows are no entities."""
    df = pd.DataFrame({"unique_id": ids, "ds": [1, 2, 3], "y": 1.0})
    assert open_source(df, CONFIG).ids == expected


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, 3],
        pd.array([1, None, 3], dtype="Int16"),
        pd.Series([Decimal("1.5"), None, 3]),
        np.array([1, 2, 3], np.float32),
        pd.Series([1, 2.5, None], dtype=object),
    ],
    ids=["int", "nullable", "decimal", "float32", "object"],
)
def test_targets_of_every_numeric_type(values) -> None:
    """Every kind of number is a number, and every kind of missing is NaN."""
    df = pd.DataFrame({"unique_id": "a", "ds": [1, 2, 3], "y": values})
    rows = open_source(df, CONFIG).select(np.array([0])).load()
    np.testing.assert_array_equal(rows.values, [np.nan if pd.isna(v) else float(v) for v in values])


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("unique_id", ["a", 7, "a"], ["unique_id", "'a'", "7", "row 2"]),
        ("unique_id", ["a", None, "a"], ["1 of 3", "row 2"]),
        ("unique_id", ["a", "", "a"], ["1 of 3", "empty", "row 2"]),
        ("unique_id", pd.Series(["\ud800", "b", "c"], dtype=object), ["unique_id", "cannot hold"]),
        ("ds", [pd.Timestamp("2020-01-01"), "2020-01-02", 3], ["ds", "Timestamp", "row 2"]),
        ("ds", pd.to_datetime(["2020-01-01", None, None]), ["2 of 3", "missing", "row 2"]),
        ("ds", pd.date_range("2020", periods=3, tz="UTC"), ["zone UTC"]),
        ("y", ["1", "2", "x"], ["numeric", "'1'"]),
        ("y", [1, "x", 3], ["numbers", "'x'", "row 2"]),
        ("y", [True, False, True], ["numeric", "bool"]),
        ("y", [1 + 2j, 1, 2], ["'y'"]),
        ("y", pd.Series([2.0, False, 1.0], dtype=object), ["numbers", "False", "row 2"]),
        ("ds", pd.Series([DAY, 7, 8], dtype=object), ["one type", "date", "row 2"]),
        ("ds", pd.Series([7, DAY, 8], dtype=object), ["one type", "date", "row 2"]),
        ("ds", pd.Series([DAY, NOON, DAY], dtype=object), ["one type", "datetime", "row 2"]),
        ("ds", pd.Series([NOON, 7.0, NOON], dtype=object), ["one type", "float", "row 2"]),
        ("ds", pd.Series([DAY, np.datetime64(DAY), DAY], dtype=object), ["one type", "row 2"]),
    ],
)
def test_wrong_columns_of_a_frame_are_named(column, values, words) -> None:
    """A column of a frame that cannot be used is told with its first odd value."""
    df = pd.DataFrame({"unique_id": "a", "ds": [1, 2, 3], "y": 1.0}).assign(
        **{column: pd.Series(values)}
    )
    with pytest.raises(DataError) as caught:
        open_source(df, CONFIG)
    assert [word for word in words if word not in str(caught.value)] == []
    assert len(caught.value.problems) == 1


def test_missing_dates_among_objects_are_of_no_type() -> None:
    """Whatever stands for a missing date does not make a column mixed."""
    known = [DAY + datetime.timedelta(day) for day in range(4)]
    times = pd.Series([*known, None, pd.NaT, np.nan], dtype=object)
    df = pd.DataFrame({"unique_id": "a", "ds": times, "y": 1.0})
    rows = open_source(df, CONFIG).select(np.array([0])).load()
    assert int(np.isnat(rows.times).sum()) == 3


def test_a_whole_number_beyond_all_floats_is_infinite() -> None:
    """It is its entity's trouble, as other infinite values are."""
    values = pd.Series([1, 10**400, -(10**400)], dtype=object)
    df = pd.DataFrame({"unique_id": "a", "ds": [1, 2, 3], "y": values})
    assert series_of(df)["a"].problem.error_type == "InfiniteValue"
    assert series_of(df)["a"].y.tolist() == [1.0, np.inf, -np.inf]


def test_column_in_the_index_is_found_there() -> None:
    """A column that hides in the index is worth a hint."""
    with pytest.raises(DataError, match="reset_index"):
        open_source(frame().set_index("unique_id"), CONFIG)


def test_repeated_columns_are_refused_where_they_matter() -> None:
    """Two columns of one name are a problem only if the name is used."""
    df = frame().assign(note="x")
    other = pd.concat([df, df[["note"]]], axis=1)
    assert len(open_source(other, CONFIG).ids) == 4
    with pytest.raises(DataError, match="2 times"):
        open_source(pd.concat([df, df[["y"]]], axis=1), CONFIG)


@pytest.mark.parametrize("data", [None, 7, [1, 2], {"unique_id": ["a"]}, frame()["y"]])
def test_what_is_no_table_is_refused(data) -> None:
    """Anything but a path or a frame is told what is expected."""
    with pytest.raises(DataError, match=r"expected|no column"):
        open_source(data, CONFIG)


def test_what_arrow_cannot_take_over_is_told() -> None:
    """A frame of polars with a type that Arrow has not is refused in Arrow's words."""
    data = pl.from_pandas(frame()).with_columns(pl.col("y").cast(pl.Int128))
    with pytest.raises(DataError, match=r"[Ii]nt128|format"):
        open_source(data, CONFIG)


@pytest.mark.parametrize("data", [frame()[:0], pl.from_pandas(frame())[:0], pd.DataFrame()])
def test_empty_frames_are_refused(data) -> None:
    """No rows or no columns are a problem of the table."""
    with pytest.raises(DataError, match=r"no rows|no column"):
        open_source(data, CONFIG)
