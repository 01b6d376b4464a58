"""A folder of Parquet files: indexed on the client, read by the batches."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panel_samples import frame, series_of

from daskcast.config import ForecastConfig
from daskcast.errors import DataError
from daskcast.panel import GridRules, open_source, regularise
from daskcast.panel.columns import count_ids, plain_ids

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = ForecastConfig(h=3)


def spread(df: pd.DataFrame, folder: Path, parts: int = 3, **options: int) -> Path:
    """Write a frame to several files, each entity in all of them."""
    folder.mkdir(exist_ok=True)
    for i in range(parts):
        df[i::parts].to_parquet(folder / f"part-{i}.parquet", index=False, **options)
    return folder


@pytest.mark.parametrize("options", [{}, {"row_group_size": 5}])
def test_folder_is_the_panel_of_its_rows(tmp_path, options) -> None:
    """Entities spread over files and row groups come back whole, batch by batch."""
    df = frame()
    expected = open_source(df, CONFIG)
    source = open_source(spread(df, tmp_path / "panel", **options), CONFIG)
    assert source.ids == expected.ids
    assert source.sizes.tolist() == expected.sizes.tolist()
    assert source.n_rows == len(df)
    for positions in ([0], [1, 2], [3, 0]):
        chosen = np.array(positions)
        batch = pickle.loads(pickle.dumps(source.select(chosen)))
        found, wanted = batch.load(), expected.select(chosen).load()
        assert found.ids == wanted.ids
        for name in ("offsets", "times", "values"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_a_batch_names_only_its_own_files(tmp_path) -> None:
    """With files by entity a batch reads no file of another, and its message stays small."""
    for unique_id, rows in frame().groupby("unique_id"):
        rows.to_parquet(tmp_path / f"{unique_id}.parquet", index=False)
    batch = open_source(tmp_path, CONFIG).select(np.array([1]))
    assert [group.url.rpartition("/")[2] for group in batch.groups] == ["JFK.parquet"]
    assert len(pickle.dumps(batch)) < 1_000


def test_hive_folders_name_the_entity(tmp_path) -> None:
    """Ids in folder names are text as written, too."""
    df = frame(ids=("007", "a b/c", "NA"))
    for unique_id, rows in df.groupby("unique_id"):
        name = f"unique_id={unique_id.replace('/', '%2F').replace(' ', '%20')}"
        (tmp_path / name).mkdir()
        rows.drop(columns="unique_id").to_parquet(tmp_path / name / "part-0.parquet", index=False)
    found = series_of(tmp_path)
    assert list(found) == ["007", "NA", "a b/c"]
    for unique_id, series in series_of(df).items():
        np.testing.assert_array_equal(found[unique_id].y, series.y)


def test_hidden_and_other_files_are_no_data(tmp_path) -> None:
    """Markers, checksums and temporary folders of other tools are not read."""
    folder = spread(frame(), tmp_path / "panel")
    (folder / "_SUCCESS").touch()
    (folder / ".part-0.parquet.crc").write_text("x")
    (folder / "_temporary").mkdir()
    (folder / "_temporary" / "part-9.parquet").write_text("x")
    (folder / "notes.txt").write_text("x")
    assert open_source(folder, CONFIG).n_rows == 96


def test_folder_of_another_filesystem() -> None:
    """A folder may be any fsspec URL."""
    for i in range(2):
        with fsspec.open(f"memory://lake/part-{i}.parquet", "wb") as file:
            frame()[i::2].to_parquet(file, index=False)
    assert [s.problem for s in series_of("memory://lake").values()] == [None] * 4


def test_fingerprint_follows_names_and_content(tmp_path) -> None:
    """The same files elsewhere are the same data; other content or names are not."""
    df = frame()
    first = open_source(spread(df, tmp_path / "a"), CONFIG).fingerprint
    assert open_source(spread(df, tmp_path / "b"), CONFIG).fingerprint == first
    assert (
        open_source(spread(df.assign(y=df["y"] + 1), tmp_path / "c"), CONFIG).fingerprint != first
    )
    assert open_source(spread(df, tmp_path / "d", parts=2), CONFIG).fingerprint != first


@pytest.mark.parametrize(
    ("times", "freq"),
    [
        (pd.Series([f"2020-0{m}-01" for m in range(1, 10)]), "MS"),
        (pd.Series([f"20200{m}01" for m in range(1, 10)]), "MS"),
        (pd.Series(range(1, 10)), "1"),
        (pd.Series([f"{m}" for m in range(1, 10)]), "1"),
        (pd.Series(np.arange(1, 10) / 1.0), "1"),
        (pd.Series(pd.date_range("2020-01-01", periods=9, freq="MS").date), "MS"),
        (pd.Series([f"2020-0{m}-01" for m in range(1, 10)], dtype="category"), "MS"),
    ],
)
def test_times_of_every_type(tmp_path, times, freq) -> None:
    """Workers read dates, text and whole numbers as the client does."""
    df = pd.DataFrame({"unique_id": "a", "ds": times, "y": 1.0})
    assert series_of(spread(df, tmp_path / "panel"))["a"].freq == freq


def test_bad_times_are_the_problem_of_their_entity(tmp_path) -> None:
    """What only a worker can see stops one entity, and not its neighbours."""
    df = frame().astype({"ds": str})
    df.loc[30, "ds"] = "soon"
    df.loc[50, "ds"] = None
    found = series_of(spread(df, tmp_path / "panel"))
    kinds = {key: s.problem.error_type if s.problem else None for key, s in found.items()}
    assert kinds == {"007": None, "JFK": "MissingTime", "NA": "MissingTime", "null": None}


def test_problems_of_all_files_are_told_at_once(tmp_path) -> None:
    """Footers alone show wrong columns, types and files, each with its file."""
    spread(frame(), tmp_path)
    frame().astype({"y": str}).to_parquet(tmp_path / "part-7.parquet")
    frame().rename(columns={"ds": "DS"}).to_parquet(tmp_path / "part-8.parquet")
    (tmp_path / "part-9.parquet").write_text("broken")
    with pytest.raises(DataError) as caught:
        open_source(tmp_path, CONFIG)
    problems = caught.value.problems
    assert [problem[:14] for problem in problems] == [f"part-{i}.parquet" for i in (7, 8, 9)]


@pytest.mark.parametrize(
    ("table", "word"),
    [
        (pa.table({"unique_id": ["a", None], "ds": [1, 2], "y": [1, 2]}), "an id that is missing"),
        (pa.table({"unique_id": ["a"], "ds": [1], "y": [1]})[:0], "no rows"),
        (pa.table({"unique_id": ["a", "a"], "ds": [202001, 202112], "y": [1, 2]}), "YYYYMM"),
    ],
)
def test_unusable_folders_are_refused(tmp_path, table, word) -> None:
    """Missing ids, no rows and months as numbers are seen on the client."""
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=word):
        open_source(tmp_path, CONFIG)


def test_kinds_of_times_must_agree(tmp_path) -> None:
    """Dates in one file and whole numbers in another are refused with both names."""
    frame().to_parquet(tmp_path / "a.parquet")
    frame().assign(ds=1).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"a\.parquet and b\.parquet"):
        open_source(tmp_path, CONFIG)


def test_folder_without_parquet_is_refused(tmp_path) -> None:
    """A folder of something else is told what is in it."""
    (tmp_path / "a.csv").write_text("unique_id,ds,y\n")
    with pytest.raises(DataError, match=r"no Parquet files.*a\.csv"):
        open_source(tmp_path, CONFIG)


@pytest.mark.parametrize("damage", ["removed", "other-columns", "other-type"])
def test_files_that_change_meanwhile_are_noticed(tmp_path, damage) -> None:
    """A batch whose file is not what it was says so."""
    folder = spread(frame(), tmp_path / "panel", parts=1)
    batch = open_source(folder, CONFIG).select(np.array([0]))
    path = folder / "part-0.parquet"
    if damage == "removed":
        path.unlink()
    elif damage == "other-columns":
        frame().drop(columns="y").to_parquet(path)
    else:
        frame().astype({"y": str}).to_parquet(path)
    with pytest.raises(DataError, match=r"part-0\.parquet.*(any more|has changed)"):
        batch.load()


@settings(max_examples=30)
@given(st.data())
def test_any_split_into_files_gives_the_same_series(tmp_path_factory, data) -> None:
    """However rows are spread over files, every entity is the same, and there once."""
    df = frame(6)
    where = data.draw(st.lists(st.integers(0, 3), min_size=len(df), max_size=len(df)))
    folder = tmp_path_factory.mktemp("split")
    for i in sorted(set(where)):
        df[np.array(where) == i].to_parquet(folder / f"{i}.parquet", index=False)
    source = open_source(folder, CONFIG)
    batches = [source.select(np.array([i])).load() for i in range(len(source.ids))]
    found = [s for rows in batches for s in regularise(rows, GridRules.of(CONFIG))]
    for series, expected in zip(found, series_of(df).values(), strict=True):
        assert series.unique_id == expected.unique_id
        np.testing.assert_array_equal(series.y, expected.y)


@pytest.mark.parametrize(
    "ids",
    [
        pa.array(["b", "a", "b", "Zürich ✈"]),
        pa.array(["b", "a", "b", "a"]).dictionary_encode(),
        pa.array([3, 20, 3, 100]),
        pa.array(["b", None, "b", ""]),
        pa.array([b"\xff\xfe", b"a", b"a", b"a"]).view(pa.string()),
    ],
    ids=["text", "dictionary", "numbers", "missing", "no text"],
)
def test_ids_are_counted_as_they_are_read(ids) -> None:
    """Counting without texts of Python gives the ids, the rows and the problems of reading them."""
    column = pa.chunked_array([ids[:1], ids[1:]])
    codes, wanted, problems = plain_ids(column, "unique_id")
    found, counts, told = count_ids(column, "unique_id")
    assert told == problems
    rows = dict(zip(found.to_pylist(), counts.tolist(), strict=True))
    assert rows == dict(zip(wanted, np.bincount(codes, minlength=len(wanted)), strict=True))
