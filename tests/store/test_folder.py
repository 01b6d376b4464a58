"""The run folder: what was written comes back, on a disk and on an object store."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import LEVELS, MANIFEST, ODD_IDS, batches_of, failed_result, ok_result

from daskcast.errors import StoreError
from daskcast.records import EntityResult, Forecast
from daskcast.store import TABLES, RunFolder, schema_of

RECORD = {"time": "2026-01-01T00:00:00+00:00", "level": "INFO", "message": "m", "entity": "JFK"}


def all_files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


# -- create and open ---------------------------------------------------------------------------


def test_open_gives_what_create_made(folder: RunFolder) -> None:
    """A folder opened again is the same, with its levels and its kind of time."""
    assert RunFolder.open(folder.url) == folder
    assert folder.levels == (80, 97.5)
    assert folder.times == "timestamp"
    assert folder.manifest == {"format": 1, **MANIFEST}


def test_create_refuses_a_run(folder: RunFolder) -> None:
    """A run is never written over."""
    with pytest.raises(StoreError, match="holds a run"):
        RunFolder.create(folder.url, MANIFEST)


def test_create_refuses_files_of_others(local: RunFolder) -> None:
    """A folder with files where a run has its own is not taken over: cleaning would remove them."""
    local.write_batch("b1", [ok_result()])
    Path(local.url, "run.json").unlink()
    with pytest.raises(StoreError, match="holds files under forecasts, entities, trials, batches"):
        RunFolder.create(local.url, MANIFEST)


def test_create_leaves_other_files_alone(tmp_path: Path) -> None:
    """A folder that holds something else entirely may be used."""
    (tmp_path / "notes.txt").write_text("mine")
    folder = RunFolder.create(str(tmp_path), MANIFEST)
    assert folder.clean() == []
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_create_where_a_file_is(tmp_path: Path) -> None:
    """A file in the place of the folder is told as trouble of the folder."""
    (tmp_path / "run").write_text("")
    with pytest.raises(StoreError, match="cannot make the run folder"):
        RunFolder.create(str(tmp_path / "run"), MANIFEST)


def test_of_two_that_create_one_is_refused(tmp_path: Path) -> None:
    """The second of two runs that begin in the same folder at once gets no run.json in."""
    folder = RunFolder.create(str(tmp_path), MANIFEST)
    with pytest.raises(FileExistsError):
        folder.files.create("run.json", b"{}")
    assert folder.manifest["config"] == MANIFEST["config"]
    assert all_files(tmp_path) == {"run.json"}


def test_open_refuses_what_is_no_run(place: str) -> None:
    """There must be a manifest."""
    with pytest.raises(StoreError, match="there is no run at"):
        RunFolder.open(place)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"format": 1, "config', "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b'{"format": 2, "config": {}}', "format 2"),
        (b'{"config": {"level": [80]}}', "format None"),
        (b"[]", "format None"),
        (b'{"format": 1, "config": {}}', "names no levels"),
    ],
)
def test_open_refuses_what_it_cannot_read(tmp_path: Path, content: bytes, told: str) -> None:
    """A damaged manifest, or one of another version, is named as such."""
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(StoreError, match=told):
        RunFolder.open(str(tmp_path))


def test_unknown_kind_of_place() -> None:
    """A protocol that fsspec does not know is an error of the run folder."""
    with pytest.raises(StoreError, match="cannot use the run folder nowhere://h/run"):
        RunFolder.create("nowhere://u:secret@h/run", MANIFEST)


def test_path_does_not_depend_on_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path means the same folder in a process that stands elsewhere."""
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.create("run", MANIFEST)
    monkeypatch.chdir("/")
    assert folder.url == str(tmp_path / "run")
    assert RunFolder.open(Path(folder.url)).manifest == folder.manifest
    assert RunFolder.open(f"file://{folder.url}") == folder


def test_travels_light(folder: RunFolder) -> None:
    """A folder costs a task less than 400 bytes, and works where it arrives."""
    data = pickle.dumps(folder)
    assert len(data) < 400
    pickle.loads(data).write_batch("b1", [ok_result()])
    assert folder.finished_ids() == {"JFK"}


# -- batches -----------------------------------------------------------------------------------


def test_files_of_a_batch(local: RunFolder) -> None:
    """Names come from the batch, and nothing else is left."""
    local.write_batch("b00012", [ok_result(x) for x in ODD_IDS], [RECORD])
    assert all_files(Path(local.url)) == {
        "run.json",
        *(f"{table}/part-b00012.parquet" for table in TABLES),
        "logs/part-b00012.jsonl",
        "batches/b00012.json",
    }


def test_odd_ids_come_back(folder: RunFolder) -> None:
    """Ids are data, whatever they hold."""
    folder.write_batch("b1", [ok_result(x) for x in ODD_IDS])
    assert folder.finished_ids() == set(ODD_IDS)
    for unique_id in ODD_IDS:
        assert folder.entity(unique_id).unique_id == unique_id


@settings(max_examples=20, deadline=None)
@given(batches=st.lists(batches_of(integer=False), max_size=3))
def test_any_batches_come_back(batches: list[list[EntityResult]]) -> None:
    """All rows of all batches are read, in order, with their counts in the markers."""
    fsspec.filesystem("memory").store.clear()
    folder = RunFolder.create("memory://any/run", MANIFEST)
    for number, results in enumerate(batches):
        folder.write_batch(f"b{number}", results)
    markers = folder.finished()
    assert [m.n_entities for m in markers.values()] == [len(results) for results in batches]
    flat = [result for results in batches for result in results]
    assert folder.read("entities")["unique_id"].to_pylist() == [r.unique_id for r in flat]
    assert sum(m.n_failed for m in markers.values()) == sum(r.forecast is None for r in flat)
    assert folder.read("trials").num_rows == sum(len(r.trials) for r in flat)
    assert folder.clean() == []


def test_marker_tells_the_batch(folder: RunFolder) -> None:
    """Counts, sizes, rows and digests of the parts stand in the marker."""
    marker = folder.write_batch("b1", [ok_result(), failed_result()], [RECORD])
    assert folder.finished() == {"b1": marker}
    assert (marker.n_entities, marker.n_ok, marker.n_fallback, marker.n_failed) == (2, 1, 0, 1)
    assert {name: part.rows for name, part in marker.parts.items()} == {
        **{"forecasts": 3, "entities": 2},
        **{"trials": 2, "logs": 1},
    }
    assert all(part.size > 0 and len(part.blake2b) == 32 for part in marker.parts.values())


def test_twice_the_same_work_is_kept(local: RunFolder) -> None:
    """A task that ran twice changes no byte of what was durable first."""
    first = local.write_batch("b1", [ok_result()])
    before = {p: p.stat().st_mtime_ns for p in Path(local.url).rglob("*") if p.is_file()}
    assert local.write_batch("b1", [ok_result(seconds=99.0)]) == first
    assert before == {p: p.stat().st_mtime_ns for p in Path(local.url).rglob("*") if p.is_file()}


def test_a_new_attempt_replaces(folder: RunFolder) -> None:
    """The same entities at a later attempt take the place of the earlier."""
    folder.write_batch("b1", [failed_result("JFK")])
    folder.write_batch("b1", [ok_result("JFK", attempt=2)])
    assert folder.read("entities").select(["status", "attempt"]).to_pylist() == [
        {"status": "ok", "attempt": 2}
    ]
    assert folder.entity("JFK").attempt == 2


def test_other_entities_never_replace(folder: RunFolder) -> None:
    """A name used twice for other entities is refused, and what was durable stays."""
    folder.write_batch("b1", [ok_result("JFK")])
    with pytest.raises(StoreError, match="holds other entities"):
        folder.write_batch("b1", [ok_result("LGA")])
    assert folder.finished_ids() == {"JFK"}


@pytest.mark.parametrize("name", ["", "../b1", "a/b", "b.1", "run-1", "b" * 65, "é", "b\n"])
def test_names_that_are_refused(folder: RunFolder, name: str) -> None:
    """A batch's name is a safe file name, and never that of a log of the run."""
    with pytest.raises(StoreError, match="name must be"):
        folder.write_batch(name, [ok_result()])


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A worker that does not reach the folder says so, and makes none of its own."""
    folder = RunFolder(str(tmp_path / "gone"), LEVELS, "timestamp")
    with pytest.raises(StoreError, match="every worker must reach it"):
        folder.write_batch("b1", [ok_result()])
    assert not (tmp_path / "gone").exists()


# -- who works on it ---------------------------------------------------------------------------


def test_what_an_earlier_driver_computed_comes_too_late(folder: RunFolder) -> None:
    """From the next claim on, nothing of an earlier one is written, new or amended."""
    first = folder.claimed()
    first.write_batch("b1", [ok_result("one")])
    second = RunFolder.open(folder.url).claimed()
    late = pickle.loads(pickle.dumps(first))
    with pytest.raises(StoreError, match="batch b2 comes too late"):
        late.write_batch("b2", [ok_result("two")])
    with pytest.raises(StoreError, match="batch b1 comes too late"):
        late.amend_batch("b1", [failed_result("one")])
    assert second.batches() == ["b1"]
    assert second.clean() == []
    second.write_batch("b3", [ok_result("two")])
    assert second.finished_ids() == {"one", "two"}


def test_batches_are_taken_back_whole(folder: RunFolder) -> None:
    """Marker, parts and log are gone; other batches stay; nothing happens where none is."""
    folder.write_batch("b1", [ok_result("one")], [RECORD])
    folder.write_batch("b2", [ok_result("two")], [RECORD])
    folder.drop(["b1", "never"])
    assert folder.finished_ids() == {"two"}
    assert folder.clean() == []
    assert len(list(folder.read_logs())) == 1


# -- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("kind", ["timestamp", "integer"])
def test_pandas_reads_the_folders(tmp_path: Path, kind: str, order: tuple[int, int]) -> None:
    """Each table reads as a folder with types that no batch of failed entities changes."""
    folder = RunFolder.create(str(tmp_path), {**MANIFEST, "data": {"times": kind}})
    good = ok_result()
    if kind == "integer":
        times = np.arange(3)
        good = replace(good, cutoff=9, forecast=replace(good.forecast, times=times))
    for number, at in enumerate(order):
        folder.write_batch(f"b{number}", [[good, failed_result()], [failed_result("EWR")]][at])
    for table in TABLES:
        found = pd.read_parquet(tmp_path / table)
        assert list(found.columns) == schema_of(table, LEVELS, folder.times).names
        pd.testing.assert_frame_equal(found, folder.read(table).to_pandas())
    forecasts = pd.read_parquet(tmp_path / "forecasts")
    expected = "int64" if kind == "integer" else "datetime64[us]"
    assert {str(forecasts[name].dtype) for name in ("ds", "cutoff")} == {expected}
    assert list(forecasts["unique_id"]) == ["JFK"] * 3
    assert list(pd.read_parquet(tmp_path / "entities")["unique_id"].sort_values()) == [
        *("EWR", "JFK"),
        "LGA",
    ]


@pytest.mark.parametrize("kind", ["timestamp", "integer"])
def test_pandas_reads_failed_entities_alone(tmp_path: Path, kind: str) -> None:
    """Where all failed there are tables nonetheless, with their types."""
    folder = RunFolder.create(str(tmp_path), {**MANIFEST, "data": {"times": kind}})
    folder.write_batch("b1", [failed_result()])
    found = pd.read_parquet(tmp_path / "forecasts")
    expected = "int64" if kind == "integer" else "datetime64[us]"
    assert [str(t) for t in found.dtypes[1:]] == [expected, expected, *["float64"] * 5]
    assert pd.read_parquet(tmp_path / "entities")["message"].to_list() == [
        "expected 3 observations, found 1"
    ]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_times_of_unknown_kind(tmp_path: Path, order: tuple[int, int]) -> None:
    """Where the manifest does not tell the kind of time, a part of no time spoils no other."""
    folder = RunFolder.create(str(tmp_path), {"config": MANIFEST["config"]})
    forecast = Forecast(np.arange(3), np.ones(3), np.ones((2, 3)), np.ones((2, 3)))
    good = ok_result(cutoff=-1, forecast=forecast)
    for number, at in enumerate(order):
        folder.write_batch(f"b{number}", [[good], [failed_result()]][at])
    assert list(pd.read_parquet(tmp_path / "forecasts")["ds"]) == [0, 1, 2]
    assert folder.read("forecasts")["ds"].to_pylist() == [0, 1, 2]
    assert folder.read("forecasts").schema.field("ds").type == pa.int64()
    assert folder.finished_ids() == {"JFK", "LGA"}


def test_reading_no_batches(folder: RunFolder) -> None:
    """A run without batches has tables without rows."""
    for table in TABLES:
        assert folder.read(table).schema.equals(schema_of(table, LEVELS, "timestamp"))
        assert folder.read(table, []).num_rows == 0
    assert folder.finished_ids() == set()


def test_reading_some_batches_and_columns(folder: RunFolder) -> None:
    """The batches named are read, in the order named."""
    for name in ("b1", "b2", "b3"):
        folder.write_batch(name, [ok_result(f"id-{name}")])
    found = folder.read("entities", ["b3", "b1"], columns=["unique_id", "batch"])
    assert found.to_pydict() == {"unique_id": ["id-b3", "id-b1"], "batch": ["b3", "b1"]}
    with pytest.raises(StoreError, match=r"b9 of the run folder .* is unfinished"):
        folder.read("entities", ["b9"])


# -- manifest and secrets ----------------------------------------------------------------------


def test_manifest_is_replaced_whole(folder: RunFolder) -> None:
    """The manifest is that of the last write."""
    folder.write_manifest({**MANIFEST, "counts": {"ok": 3, "mean": float("nan")}})
    assert folder.manifest == {"format": 1, **MANIFEST, "counts": {"ok": 3, "mean": None}}
    assert RunFolder.open(folder.url) == folder


def test_no_credential_reaches_a_file(tmp_path: Path) -> None:
    """Neither a tracking URI's nor a folder URL's password is in any byte of a run."""
    secret = "hunter2"
    uri = f"https://me:{secret}@mlflow.example/api?token={secret}"
    manifest = {**MANIFEST, "mlflow": {"uri": uri, "seen": [f"at {uri}, ok"]}, "versions": {}}
    folder = RunFolder.create(str(tmp_path), manifest)
    folder.write_manifest(manifest)
    failure = type(failed_result().failure)("OSError", f"no {uri}", f"open('{uri}')")
    trial = replace(ok_result().trials[0], params={"from": uri})
    results = [failed_result(failure=failure), ok_result(params={"p": uri}, trials=(trial,))]
    folder.write_batch("b1", results, [{**RECORD, "message": uri, "traceback": f"x {uri}"}])
    folder.write_logs("driver", [{**RECORD, "message": f"sent to {uri}"}])
    for name in all_files(tmp_path):
        data = (tmp_path / name).read_bytes()
        text = str(pd.read_parquet(tmp_path / name).to_dict()) if name.endswith("t") else ""
        assert secret.encode() not in data, name
        assert secret not in text, name
    assert "mlflow.example" in json.dumps(folder.manifest)


def test_place_hides_credentials() -> None:
    """What is shown or told of a folder has no password, what travels to a worker has."""
    folder = RunFolder("ftp://me:hunter2@host/run", LEVELS)
    assert repr(folder) == "RunFolder('ftp://host/run')"
    assert pickle.loads(pickle.dumps(folder)).url == folder.url


def test_umask_is_respected(local: RunFolder) -> None:
    """Colleagues may read a run as they may any new file."""
    mask = os.umask(0)
    os.umask(mask)
    local.write_batch("b1", [ok_result()])
    mode = Path(local.url, "entities/part-b1.parquet").stat().st_mode & 0o777
    assert mode == 0o666 & ~mask
