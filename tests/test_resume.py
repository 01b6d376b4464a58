"""``--resume``: what is missing is done, nothing twice, and only with the same data and options."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from daskcast import demo, pipeline
from daskcast.cli import main
from daskcast.config import ForecastConfig, RunOptions
from daskcast.errors import StoppedError, StoreError
from daskcast.progress import Progress
from daskcast.store import RunFolder, only_one

CONFIG = ForecastConfig(h=6, search="portfolio", cv_windows=1)
COMMAND = [sys.executable, "-c", "import sys; from daskcast.cli import main; main(sys.argv[1:])"]
HOW = ["--horizon", "6", "--search", "portfolio", "--cv-windows", "1"]
N, BATCH = 24, 6
Files = dict[str, tuple[int, bytes]]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return demo.airports(N, months=48)


@pytest.fixture(scope="module")
def folder_of_files(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of two Parquet files."""
    place = tmp_path_factory.mktemp("files") / "panel"
    place.mkdir()
    half = sorted(table["unique_id"].unique())[N // 2]
    table[table["unique_id"] < half].to_parquet(place / "1.parquet")
    table[table["unique_id"] >= half].to_parquet(place / "2.parquet")
    return place


@pytest.fixture(scope="module")
def undisturbed(
    table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pd.DataFrame]:
    return tables(run(table, tmp_path_factory.mktemp("plain") / "run"))


def run(data: object, out: Path, config: ForecastConfig = CONFIG, **options: Any) -> RunFolder:
    on_progress = options.pop("on_progress", None)
    given = {"cluster": "serial", "batch_size": BATCH, "tracking": False, **options}
    all_of_them = RunOptions(out=str(out), **given)
    return pipeline.run(data, config, all_of_them, on_progress=on_progress).folder


def tables(folder: RunFolder) -> dict[str, pd.DataFrame]:
    """Read all tables, in one order, without what is about time."""
    keys: dict[Any, list[str]] = {"forecasts": ["ds"], "entities": [], "trials": ["trial"]}
    return {
        name: folder.read(name)
        .to_pandas()
        .sort_values(["unique_id", *key])
        .drop(columns=["seconds", "batch"], errors="ignore")
        .reset_index(drop=True)
        for name, key in keys.items()
    }


def same(folder: RunFolder, expected: dict[str, pd.DataFrame]) -> None:
    for name, found in tables(folder).items():
        pd.testing.assert_frame_equal(found, expected[name], check_exact=True)


def files(out: Path) -> Files:
    """Read every file but the logs of the driver, with the time it was written."""
    found = [p for p in out.rglob("*") if p.is_file() and "driver" not in p.name]
    return {str(p.relative_to(out)): (p.stat().st_mtime_ns, p.read_bytes()) for p in found}


# -- only the same run goes on -----------------------------------------------------------------

OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "horizon": ({"h": 7}, "option h: the run has 6, now it is 7"),
    "levels": ({"level": (90,)}, "option level: the run has"),
    "seed": ({"seed": 1}, "option seed: the run has 0, now it is 1"),
    "models": ({"models": ("ets",)}, "option models: the run has"),
    "season": ({"season_length": 6}, "option season_length: the run has None, now it is 6"),
    "two": ({"gaps": "fail", "cv_windows": 2}, "option cv_windows: .*\n?.*option gaps"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_all_of_themare_refused(other: str, table: pd.DataFrame, tmp_path: Path) -> None:
    """Each that differs is named with both values, and no file of the run is touched."""
    changes, told = OTHERS[other]
    run(table, tmp_path / "run")
    before = files(tmp_path / "run")
    for how in ("resume", "retry_failed"):
        with pytest.raises(StoreError, match=told):
            run(table, tmp_path / "run", replace(CONFIG, **changes), **{how: True})
    assert files(tmp_path / "run") == before


def one_value(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(y=table["y"].where(table.index != table.index[100], 1234567.0))


def one_more(table: pd.DataFrame) -> pd.DataFrame:
    first = table[table["unique_id"] == table["unique_id"].iloc[0]]
    return pd.concat([table, first.assign(unique_id="one more")])


def one_less(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["unique_id"] != table["unique_id"].iloc[0]]


def one_renamed(table: pd.DataFrame) -> pd.DataFrame:
    first = table["unique_id"].iloc[0]
    return table.replace({"unique_id": {first: f"{first}!"}})


@pytest.mark.parametrize("change", [one_value, one_more, one_less, one_renamed])
def test_other_data_are_refused(change: Any, table: pd.DataFrame, tmp_path: Path) -> None:
    """However little differs, it is told, and no file of the run is touched."""
    run(table, tmp_path / "run")
    before = files(tmp_path / "run")
    with pytest.raises(StoreError, match=r"the data changed: .*; resume with the same, or start"):
        run(change(table), tmp_path / "run", resume=True)
    assert files(tmp_path / "run") == before


def test_rows_in_another_order_are_the_same_data(
    table: pd.DataFrame, undisturbed: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    """The run goes on."""
    run(table, tmp_path / "run")
    (tmp_path / "run" / "batches" / "b00002.json").unlink()
    same(run(table.sample(frac=1, random_state=1), tmp_path / "run", resume=True), undisturbed)


def test_a_further_file_is_other_data(folder_of_files: Path, tmp_path: Path) -> None:
    """A folder that grew since is refused."""
    run(folder_of_files, tmp_path / "run")
    more = pd.read_parquet(folder_of_files / "1.parquet").assign(unique_id="one more")
    more.to_parquet(folder_of_files / "3.parquet")
    try:
        with pytest.raises(StoreError, match="the data changed: rows were"):
            run(folder_of_files, tmp_path / "run", resume=True)
    finally:
        (folder_of_files / "3.parquet").unlink()


# -- what is damaged is made again -------------------------------------------------------------


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def emptied(_data: bytes) -> bytes:
    return b""


def other_json(_data: bytes) -> bytes:
    return json.dumps({"format": 1, "batch": "b00002"}).encode()


@pytest.mark.parametrize("damage", [cut, flipped, emptied, other_json, None])
@pytest.mark.parametrize("kind", ["forecasts", "entities", "trials", "logs", "batches"])
def test_a_damaged_batch_is_made_again_and_no_other(
    kind: str,
    damage: Any,
    table: pd.DataFrame,
    undisturbed: dict[str, pd.DataFrame],
    tmp_path: Path,
) -> None:
    """Whichever of its files was cut, changed, emptied or removed."""
    run(table, tmp_path / "run")
    before = files(tmp_path / "run")
    name = next(n for n in sorted(before) if n.startswith(f"{kind}/") and "b0000" in n)
    batch = name[name.index("b0000") :].partition(".")[0]
    place = tmp_path / "run" / name
    if damage is None:
        place.unlink()
    else:
        place.write_bytes(damage(place.read_bytes()))
    folder = run(table, tmp_path / "run", resume=True)
    same(folder, undisturbed)
    after = files(tmp_path / "run")
    others = [n for n in before if "b0000" in n and batch not in n]
    assert len(others) >= 3 * (N // BATCH - 1)
    assert [after[n] for n in others] == [before[n] for n in others]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', '"run"', "\x00" * 100])
def test_a_damaged_manifest_is_told(content: str, table: pd.DataFrame, tmp_path: Path) -> None:
    """The command names the file, exits with 2, and shows no traceback."""
    table.to_csv(tmp_path / "data.csv", index=False)
    run(table, tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text(content)
    call = ["run", str(tmp_path / "data.csv"), *HOW, "--resume", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)
    assert "run.json" in done.output
    assert "Traceback" not in done.output


# -- who goes on -------------------------------------------------------------------------------


@pytest.mark.integration
def test_two_that_go_on_at_once_harm_no_entity(
    table: pd.DataFrame, undisturbed: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    """One waits for the other, and then finds all done or is refused; every entity is the same."""
    table.to_parquet(tmp_path / "data.parquet")
    call = [*COMMAND, "run", str(tmp_path / "data.parquet"), *HOW, "--cluster", "serial"]
    call += ["--no-tracking", "--batch-size", "2", "--out", str(tmp_path / "run")]
    with subprocess.Popen(call, stderr=subprocess.DEVNULL) as process:
        while not any((tmp_path / "run").glob("batches/*.json")):
            time.sleep(0.01)
        process.kill()
    both = [
        subprocess.Popen([*call, "--resume"], stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [one.communicate(timeout=120)[1] for one in both]
    for one, words in zip(both, told, strict=True):
        assert one.returncode in (0, 3), words
        assert one.returncode == 0 or "another process is forecasting" in words, words
    assert 0 in [one.returncode for one in both]
    same(RunFolder.open(str(tmp_path / "run")), undisturbed)


@pytest.fixture(scope="module")
def others(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the same run in other batches."""
    return Path(run(table, tmp_path_factory.mktemp("others") / "run", batch_size=4).url)


def comes_late(others: Path, batch: str, out: Path) -> None:
    """Put a batch of another run into a folder, as a task whose driver is gone would."""
    for part in others.rglob(f"*{batch}.*"):
        shutil.copy(part, out / part.relative_to(others))


def stopped(table: pd.DataFrame, out: Path) -> Path:
    """Begin a run, and stop it after two of its four batches."""

    def stop(progress: Progress) -> None:
        if progress.counts.batches == 2:
            raise KeyboardInterrupt

    with pytest.raises(StoppedError):
        run(table, out, on_progress=stop)
    return out


def test_of_batches_that_share_entities_one_stays(
    table: pd.DataFrame,
    undisturbed: dict[str, pd.DataFrame],
    others: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever wrote them: each entity is there once, and none is lost."""
    out = stopped(table, tmp_path / "run")
    before = set(RunFolder.open(str(out)).finished_ids())
    comes_late(others, "b00004", out)
    comes_late(others, "b00005", out)
    both = RunFolder.open(str(out)).read("entities")["unique_id"].to_pylist()
    assert before < set(both)
    assert len(set(both)) < len(both)
    folder = run(table, out, resume=True)
    assert "hold entities that others hold, too" in caplog.text
    same(folder, undisturbed)


def test_a_batch_that_comes_during_the_run_is_taken_back(
    table: pd.DataFrame,
    undisturbed: dict[str, pd.DataFrame],
    others: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The run that goes on does the same entities itself, under names that nobody had before."""
    out = stopped(table, tmp_path / "run")
    assert {"b00001", "b00002"} == set(RunFolder.open(str(out)).finished())

    def late(progress: Progress) -> None:
        if progress.counts.batches == 3:
            comes_late(others, "b00004", out)

    folder = run(table, out, resume=True, on_progress=late)
    assert "batches b00004 came late" in caplog.text
    assert {"b00001", "b00002", "b00005", "b00006"} == set(folder.finished())
    assert not list(out.rglob("*b00004*"))
    same(folder, undisturbed)


def test_other_versions_are_told(
    table: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who goes on with other packages than those that began hears of it."""
    out = stopped(table, tmp_path / "run")
    folder = RunFolder.open(str(out))
    now = folder.manifest["versions"]["numpy"]
    folder.write_manifest(
        {**folder.manifest, "versions": {**folder.manifest["versions"], "numpy": "1.0"}}
    )
    run(table, out, resume=True)
    assert f"the run began with other versions: numpy 1.0, now {now};" in caplog.text


def test_a_run_at_work_is_left_alone(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who would go on with it is refused, and removes nothing that is not counted yet."""
    monkeypatch.setattr(pipeline, "LOCK_WAIT_S", 0.1)
    folder = run(table, tmp_path / "run")
    at_work = tmp_path / "run" / "forecasts" / "part-b000099.parquet"
    at_work.write_bytes(b"half a batch")
    with (
        only_one(folder.url, "forecasting", wait_s=0),
        pytest.raises(StoreError, match="another process is forecasting the run"),
    ):
        run(table, tmp_path / "run", resume=True)
    assert at_work.exists()
    run(table, tmp_path / "run", resume=True)
    assert not at_work.exists()


def test_a_lock_that_cannot_be_taken_is_told(table: pd.DataFrame, tmp_path: Path) -> None:
    """Of another user, say: the file is named."""
    run(table, tmp_path / "run")
    lock = tmp_path / "run" / ".forecasting.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()
    with pytest.raises(StoreError, match=r"cannot lock .*\.forecasting\.lock"):
        run(table, tmp_path / "run", resume=True)


@pytest.mark.long
@pytest.mark.integration
def test_a_driver_killed_again_and_again(
    table: pd.DataFrame, undisturbed: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    """In every stage: the tables are the same, and the tracking store has every run once."""
    table.to_parquet(tmp_path / "data.parquet")
    store = tmp_path / "mlflow.db"
    call = [*COMMAND, "run", str(tmp_path / "data.parquet"), *HOW, "--batch-size", "2"]
    call += ["--cluster", "processes", "--workers", "2", "--out", str(tmp_path / "run")]
    call += ["--tracking-uri", f"sqlite:///{store}"]
    rng = random.Random(4)
    for n_finished in (1, 4, 9, N // 2, N // 2):  # the last ones while it is tracked
        more = ["--resume"] if (tmp_path / "run" / "run.json").exists() else []
        with subprocess.Popen([*call, *more], stderr=subprocess.DEVNULL) as process:
            while process.poll() is None:
                if len(list((tmp_path / "run").glob("batches/*.json"))) >= n_finished:
                    break
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 1))
            process.kill()
    done = subprocess.run(
        [*call, "--resume"], check=False, timeout=120, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    same(RunFolder.open(str(tmp_path / "run")), undisturbed)
    children = "SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId'"
    with closing(sqlite3.connect(store)) as database:
        ended = database.execute("SELECT DISTINCT status FROM runs").fetchall()
        [n_runs] = database.execute("SELECT count(*) FROM runs").fetchone()
        [n_children] = database.execute(f"SELECT count(*) FROM ({children})").fetchone()
        ids = database.execute("SELECT DISTINCT value FROM tags WHERE key = 'daskcast.entity'")
        assert {unique_id for (unique_id,) in ids} == set(table["unique_id"])
    assert (n_runs, n_children) == (N + 1, N)
    assert {status for (status,) in ended} <= {"FINISHED", "FAILED"}


def test_resume_if_begun_begins_and_goes_on(
    table: pd.DataFrame, tmp_path: Path, undisturbed: dict[str, pd.DataFrame]
) -> None:
    """The same call begins a run, goes on with one that was stopped, and leaves one that ended."""
    stopped = run(table, tmp_path / "run", resume_if_begun=True)
    same(stopped, undisturbed)
    for part in sorted((tmp_path / "run" / "batches").glob("*.json"))[:2]:
        part.unlink()
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run" / "batches").iterdir()}
    same(run(table, tmp_path / "run", resume_if_begun=True), undisturbed)
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run" / "batches").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == N // BATCH
    run(table, tmp_path / "run", resume_if_begun=True)
    last = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run" / "batches").iterdir()}
    assert last == after
    with pytest.raises(StoreError, match="holds a run"):
        run(table, tmp_path / "run")
