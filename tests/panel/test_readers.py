"""Files: ids as written, every problem of the table in one message."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from panel_samples import frame, series_of

from daskcast.config import ForecastConfig
from daskcast.errors import DataError
from daskcast.panel import GridRules, open_source, regularise

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = ForecastConfig(h=3)
ODD_IDS = [
    "NA",
    "null",
    "007",
    " x",
    "nan",
    "None",
    "a,b",
    'q"q',
    "two\nlines",
    "../up",
    "é",
    "x" * 5000,
]


def write(folder: Path, text: str | bytes, name: str = "panel.csv") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def problems_of(data: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        open_source(data, ForecastConfig(h=3, **options))
    return caught.value.problems


def test_ids_are_kept_as_written(tmp_path) -> None:
    """No id of a CSV is a missing value or a number, and none loses a character."""
    path = tmp_path / "odd.csv"
    frame(4, tuple(ODD_IDS)).to_csv(path, index=False)
    source = open_source(path, CONFIG)
    assert source.ids == tuple(sorted(ODD_IDS))
    assert source.sizes.tolist() == [4] * len(ODD_IDS)


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1),
        min_size=1,
        unique=True,
    )
)
def test_any_text_can_be_an_id(tmp_path_factory, ids) -> None:
    """Whatever text names an entity, it is accounted for once."""
    path = tmp_path_factory.mktemp("ids") / "ids.csv"
    frame(2, tuple(ids)).to_csv(path, index=False, quoting=1)
    assert open_source(path, CONFIG).ids == tuple(sorted(ids))


@pytest.mark.parametrize("missing", ["", "NA", "NaN", "nan", "null", "None", "N/A"])
def test_missing_targets_of_a_csv(tmp_path, missing) -> None:
    """Empty and the usual words for missing are a missing observation, not a bad number."""
    text = f"unique_id,ds,y\na,2020-01-01,1\na,2020-02-01,{missing}\na,2020-03-01,3e2\n"
    np.testing.assert_array_equal(series_of(write(tmp_path, text))["a"].y, [1, np.nan, 300])


def to_csv(df: pd.DataFrame, folder: Path) -> str:
    df.to_csv(folder / "a.csv", index=False)
    return str(folder / "a.csv")


def to_gzip(df: pd.DataFrame, folder: Path) -> Path:
    df.to_csv(folder / "a.csv.gz", index=False)
    return folder / "a.csv.gz"


def to_bom(df: pd.DataFrame, folder: Path) -> str:
    return write(folder, b"\xef\xbb\xbf" + df.to_csv(index=False).replace("\n", "\r\n").encode())


def to_parquet(df: pd.DataFrame, folder: Path) -> Path:
    df.to_parquet(folder / "a.parquet", index=False)
    return folder / "a.parquet"


def to_memory(df: pd.DataFrame, _: Path) -> str:
    with fsspec.open("memory://panel/a.csv", "w") as file:
        file.write(df.to_csv(index=False))
    return "memory://panel/a.csv"


WRITERS = [to_csv, to_gzip, to_bom, to_parquet, to_memory]


@pytest.mark.parametrize("write_file", WRITERS)
def test_every_file_gives_the_same_panel(tmp_path, write_file: Callable[..., Any]) -> None:
    """The same data is the same panel, and has the same fingerprint, in any kind of file."""
    df = frame()
    expected = open_source(df, CONFIG)
    found = open_source(write_file(df.sample(frac=1, random_state=1), tmp_path), CONFIG)
    assert (found.ids, found.n_rows) == (expected.ids, expected.n_rows)
    assert found.fingerprint == expected.fingerprint
    a, b = (s.select(np.arange(4)).load() for s in (expected, found))
    for name in ("offsets", "times", "values"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_fingerprint_tells_data_apart() -> None:
    """One other value, time or id is other data."""
    df = frame()
    others = [
        df.assign(y=df["y"].where(df.index != 5, 0.0)),
        df.assign(ds=df["ds"].where(df.index != 5, pd.Timestamp("1999-01-01"))),
        df.assign(unique_id=df["unique_id"].replace("JFK", "JFL")),
        df.drop(index=5),
        df.assign(y=df["y"].where(df.index != 5)),
    ]
    prints = [open_source(data, CONFIG).fingerprint for data in (df, *others)]
    assert len(set(prints)) == len(prints)


def test_own_column_names(tmp_path) -> None:
    """Columns are found by the user's names, among others of any kind."""
    df = frame().rename(columns={"unique_id": "Airport Code", "ds": "when", "y": "pax"})
    path = to_csv(df.assign(note="x"), tmp_path)
    config = ForecastConfig(h=3, id_col="Airport Code", time_col="when", target_col="pax")
    source = open_source(path, config)
    assert source.describe() == {
        "kind": "csv",
        "rows": 96,
        "entities": 4,
        "fingerprint": open_source(frame(), CONFIG).fingerprint,
        "columns": {"entity": "Airport Code", "time": "when", "target": "pax"},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["unique_id", "ds", "'y'"]),
        ("unique_id,ds,y\n", ["no rows"]),
        ("unique_ID,date,Y\na,2020-01-01,1\n", ["mean 'unique_ID'", "mean 'Y'", "for the time"]),
        ("unique_id;ds;y\na;2020-01-01;1\n", ["separated by ';'"]),
        ("unique_id,ds,y,y\na,2020-01-01,1,1\n", ["'y'", "2 times"]),
        ("unique_id,ds,y\na,2020-01-01,1\na,2020-02-01,1.2.3\n", ["'y'", "'1.2.3'", "row 2"]),
        ("unique_id,ds,y\na,2020-01-01,\"1,200\"\n", ["'1,200'", "row 1"]),
        ("unique_id,ds,y\na,2020-01-01,true\n", ["'true'"]),
        ("unique_id,ds,y\na,01/02/2020,1\na,02/02/2020,1\n", ["2 of 2", "'01/02/2020'", "ISO"]),
        ("unique_id,ds,y\na,2020-01-01,1\na,2020-02-30,1\na,x,1\n", ["2 of 3", "'2020-02-30'"]),
        ("unique_id,ds,y\na,2020-01-01,1\na,,1\na,,1\n", ["2 of 3", "missing", "row 2"]),
        ("unique_id,ds,y\na,2020-01-01,1\na,2020-02-01,\xa05\n", ["'y'", "numeric", "row 2"]),
        ("unique_id,ds,y\na,2020-01-01,1\n,2020-01-01,1\n", ["1 of 2", "an id", "row 2"]),
        ("unique_id,ds,y\na,2020-01-01T00:00Z,1\n", ["zone", "tz_localize"]),
        ("unique_id,ds,y\na,2020-01-01 00:00:00+01:00,1\n", ["zone"]),
        ("unique_id,ds,y\na,202001,1\na,202101,1\n", ["YYYYMM", "202001"]),
        ("unique_id,ds,y\na,2020-01-01\n", ["as CSV", "Expected 3 columns"]),
        (b"unique_id,ds,y\n\xe9,2020-01-01,1\n", ["as CSV", "UTF"]),
        (b"PAR1\x00\xff\xfe", ["as CSV"]),
    ],
)  # fmt: skip
def test_unusable_csv_is_refused_in_words(tmp_path, text, words) -> None:
    """Each problem says what was found and where."""
    message = str(DataError(*problems_of(write(tmp_path, text))))
    assert [word for word in words if word not in message] == []


def test_all_problems_are_told_at_once(tmp_path) -> None:
    """A table that is wrong in three ways gets one message with three problems."""
    text = "unique_id,ds,y\n,2020-01-01,1\na,soon,2\nb,later,many\n"
    problems = problems_of(write(tmp_path, text))
    assert [problem.split("'")[1] for problem in problems] == ["y", "unique_id", "ds"]


@pytest.mark.parametrize(
    ("freq", "time", "word"),
    [("often", "2020-01-01", "no frequency"), ("MS", "7", "whole"), ("7", "2020-01-01", "dates")],
)
def test_frequency_that_does_not_fit_is_a_problem_of_the_table(tmp_path, freq, time, word) -> None:
    """A wrong frequency stops the run before any work."""
    path = write(tmp_path, f"unique_id,ds,y\na,{time},1\n")
    [problem] = problems_of(path, freq=freq)
    assert word in problem


@pytest.mark.parametrize(
    ("times", "first"),
    [
        (["2020-01", "2020-02"], "2020-01-01"),
        (["20200131", "20200229"], "2020-01-31"),
        (["2020-01-01 06:30", "2020-01-02 06:30"], "2020-01-01T06:30"),
        (["2020-01-01T06:30:00.5", "2020-01-02T06:30:00.5"], "2020-01-01T06:30:00.500"),
        (["2020-01-01", "2020-02"], "2020-01-01"),
        (["0001-01-01", "9999-12-31"], "0001-01-01"),
        ([" 2020-01-01", "2020-01-02 "], "2020-01-01"),
    ],
)
def test_dates_in_iso_form_are_read(tmp_path, times, first) -> None:
    """Every usual ISO form is a date, also mixed."""
    text = "unique_id,ds,y\n" + "".join(f"a,{time},1\n" for time in times)
    rows = open_source(write(tmp_path, text), CONFIG).select(np.array([0])).load()
    assert rows.times.dtype == "M8[us]"
    assert rows.times[0] == np.datetime64(first)


def test_whole_numbers_are_an_index(tmp_path) -> None:
    """Years as numbers are an index of whole numbers, and come back so."""
    text = "unique_id,ds,y\n" + "".join(f"a,{year},{year}\n" for year in range(1990, 2020))
    series = series_of(write(tmp_path, text))["a"]
    assert series.future.tolist() == [2020, 2021, 2022]
    assert series.problem is None


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.xlsx", b"x", "ends in .csv"),
        ("a.parquet", b"not a Parquet file at all", "as Parquet"),
        ("a.csv.gz", b"not gzip", "as CSV"),
        (
            "b.csv.gz",
            gzip.compress(b"unique_id,ds,y\na,2020-01-01,1\n" * 99, mtime=0)[:40],
            "as CSV",
        ),
    ],
)
def test_unreadable_files_are_refused(tmp_path, name, content, word) -> None:
    """A damaged or unknown file is a problem in words, not a traceback of a library."""
    [problem] = problems_of(write(tmp_path, content, name))
    assert word in problem


def test_missing_file_and_unknown_protocol_are_refused(tmp_path) -> None:
    """A path that leads nowhere is told as such."""
    assert "no file or folder" in problems_of(tmp_path / "none.csv")[0]
    assert "cannot open" in problems_of("nowhere://bucket/a.csv")[0]


@pytest.mark.parametrize(
    ("column", "array", "word"),
    [
        ("y", pa.array(["1", "2"]), "must be numeric, found string; convert"),
        ("y", pa.array([True, False]), "must be numeric, found bool"),
        ("ds", pa.array([1.5, 2.0]), "whole numbers"),
        ("ds", pa.array([True, False]), "must hold dates"),
        ("ds", pa.array([0, 1], pa.timestamp("us", "Europe/Berlin")), "zone Europe/Berlin"),
        ("ds", pa.array([20200131, 20200229]), "YYYYMMDD"),
        ("ds", pa.array([None, None], pa.int64()), "missing"),
        ("unique_id", pa.array([[1], [2]]), "written as text"),
        ("unique_id", pa.array([None, "a"]), "an id that is missing"),
    ],
)
def test_wrong_types_of_parquet_are_refused(tmp_path, column, array, word) -> None:
    """A column of the wrong type is named, with the type that was found."""
    good = {"unique_id": pa.array(["a", "a"]), "ds": pa.array([1, 2]), "y": pa.array([1.0, 2.0])}
    pq.write_table(pa.table({**good, column: array}), tmp_path / "a.parquet")
    [problem] = problems_of(tmp_path / "a.parquet")
    assert word in problem
    assert repr(column) in problem


@pytest.mark.parametrize("odd", ["", "soon", "2020-02-30"])
def test_a_row_without_a_date_is_the_trouble_of_its_entity(tmp_path, odd) -> None:
    """One unreadable time fails one entity, with the reason, and stops no other."""
    months = [f"2020-{month:02d}-01" for month in range(1, 9)]
    rows = [
        f"{airport},{month},{i}" for airport in ("JFK", "LGA") for i, month in enumerate(months)
    ]
    path = write(tmp_path, "\n".join(["unique_id,ds,y", *rows, f"LGA,{odd},9"]) + "\n")
    source = open_source(path, CONFIG)
    jfk, lga = regularise(source.select(np.arange(2)).load(), GridRules.of(CONFIG))
    assert jfk.problem is None
    assert lga.problem.error_type == "MissingTime"
    assert "1 of 9" in lga.problem.message
