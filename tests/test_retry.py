"""``--retry-failed``: what failed or fell back is done again, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
import pytest
from click.testing import CliRunner
from poison import ILL, Poison, values

from daskcast import OwnModel, forecast, pipeline
from daskcast.cli import main
from daskcast.config import ForecastConfig, RunOptions
from daskcast.errors import StoppedError, StoreError
from daskcast.store import RunFolder
from daskcast.tracking import MemoryTracker

if TYPE_CHECKING:
    from daskcast.progress import Progress, RunSummary

ACTS = {"E02": "ill", "E03": "quits", "E07": "quits", "E11": "ill"}
#: too short for a search, whatever is done
SHORT = "E05"
BAD = {*ACTS, SHORT}
N, BATCH = 14, 3


@pytest.fixture
def illness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the file while which is there some entities have no forecast of their model."""
    place = tmp_path / "ill"
    monkeypatch.setenv(ILL, str(place))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "apart"), prepend=os.pathsep)
    place.touch()
    return place


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    months = pd.date_range("2020-01-01", periods=60, freq="MS")
    parts = []
    for i in range(N):
        unique_id = f"E{i:02d}"
        y = values(ACTS.get(unique_id), level=100.0 + i)
        y = y[:2] if unique_id == SHORT else y
        parts.append(pd.DataFrame({"unique_id": unique_id, "ds": months[: len(y)], "y": y}))
    return pd.concat(parts, ignore_index=True)


def run(df: pd.DataFrame, out: Path, **options: Any) -> RunSummary:
    model = OwnModel(Poison(str(out.parent / "ill")))
    config = ForecastConfig(h=3, search="portfolio", cv_windows=1, models=(model,))
    tracker, on_progress = options.pop("tracker", None), options.pop("on_progress", None)
    given = {"cluster": "serial", "batch_size": BATCH, "tracking": tracker is not None, **options}
    return pipeline.run(
        df, config, RunOptions(out=str(out), **given), tracker=tracker, on_progress=on_progress
    )


def rows(folder: RunFolder, table: Any = "entities") -> pd.DataFrame:
    order = {"entities": [], "forecasts": ["ds"], "trials": ["trial"]}[table]
    frame: pd.DataFrame = folder.read(table).to_pandas()
    return frame.sort_values(["unique_id", *order]).reset_index(drop=True)


def without(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    return frame.drop(columns=[n for n in names if n in frame])


@pytest.mark.parametrize(
    "executor", ["serial", pytest.param("processes", marks=pytest.mark.long), "local"]
)
def test_what_failed_is_done_again_and_nothing_else(
    executor: str, illness: Path, data: pd.DataFrame, tmp_path: Path
) -> None:
    """When the cause is gone, the run is as one without it, but for the attempt."""
    how = {"cluster": executor, "workers": 2}
    first = run(data, tmp_path / "run", **how)
    assert (first.counts.ok, first.counts.fallback, first.counts.failed) == (N - 5, 1, 4)
    before = rows(first.folder)
    illness.unlink()
    again = run(data, tmp_path / "run", retry_failed=True, **how)
    assert (again.counts.ok, again.counts.batches) == (N - 1, first.counts.batches)
    after = rows(again.folder)
    redone = after["unique_id"].isin(BAD)
    pd.testing.assert_frame_equal(after[~redone], before[~redone])  # the seconds too
    assert after["attempt"].tolist() == [2 if x in BAD else 1 for x in after["unique_id"]]
    assert again.folder.manifest["counts"]["ok"] == N - 1
    healthy = run(data, tmp_path / "healthy").folder
    noise = ("seconds", "attempt")
    for table in ("entities", "forecasts", "trials"):
        pd.testing.assert_frame_equal(
            without(rows(again.folder, table), *noise),
            without(rows(healthy, table), *noise),
            check_exact=True,
        )


def test_what_fails_again_is_a_new_attempt(
    illness: Path, data: pd.DataFrame, tmp_path: Path
) -> None:
    """Each pass is an attempt; who fails again is told so, once."""
    run(data, tmp_path / "run")
    for attempt in (2, 3):
        counts = run(data, tmp_path / "run", retry_failed=True).counts
        assert (counts.entities, counts.ok, counts.fallback, counts.failed) == (N, N - 5, 1, 4)
        after = rows(RunFolder.open(str(tmp_path / "run")))
        tried = dict(zip(after["unique_id"], after["attempt"], strict=True))
        assert tried == {x: attempt if x in BAD else 1 for x in tried}
        assert len(after) == N
    assert illness.exists()


def test_without_anything_to_do_nothing_changes(
    illness: Path, data: pd.DataFrame, tmp_path: Path
) -> None:
    """A run in which all is well stays as it is."""
    illness.unlink()
    data = data[data["unique_id"] != SHORT]
    run(data, tmp_path / "run")
    tables = [p for p in (tmp_path / "run").rglob("part-b*") if p.is_file()]
    before = {p: p.stat().st_mtime_ns for p in tables}
    assert run(data, tmp_path / "run", retry_failed=True).counts.ok == N - 1
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_a_stopped_pass_goes_on(illness: Path, data: pd.DataFrame, tmp_path: Path) -> None:
    """``--resume`` ends the pass: who was done again in it is not done a third time."""
    run(data, tmp_path / "run")

    def stop(progress: Progress) -> None:
        if progress.stage == "work" and progress.counts.done > N - len(BAD):
            raise StoppedError("enough")

    with pytest.raises(StoppedError, match=r"enough; 5 of 5 batches .* left to be done again"):
        run(data, tmp_path / "run", retry_failed=True, on_progress=stop)
    folder = RunFolder.open(str(tmp_path / "run"))
    between = rows(folder)
    assert 0 < (between["attempt"] == 2).sum() < len(BAD)
    illness.unlink()
    summary = run(data, tmp_path / "run", resume=True)
    after = rows(folder)
    assert (after["attempt"] == 2).sum() == len(BAD)
    kept = (between["attempt"] == 2) | ~between["unique_id"].isin(BAD)
    pd.testing.assert_frame_equal(after[kept], between[kept])
    late = between["unique_id"].isin(ACTS) & ~kept
    assert summary.counts.ok == N - len(BAD) + late.sum()


def test_missing_entities_are_done_too(illness: Path, data: pd.DataFrame, tmp_path: Path) -> None:
    """A pass over a run that was never finished does what is missing as well."""
    run(data, tmp_path / "run")
    (tmp_path / "run" / "batches" / "b00002.json").unlink()
    illness.unlink()
    assert run(data, tmp_path / "run", retry_failed=True).counts.ok == N - 1


def test_the_data_must_be_the_same(illness: Path, data: pd.DataFrame, tmp_path: Path) -> None:
    """A pass over other data is refused, as a resumed run is."""
    run(data, tmp_path / "run")
    before = rows(RunFolder.open(str(tmp_path / "run")))
    with pytest.raises(StoreError, match="the data changed"):
        run(data.assign(y=data["y"] + 1), tmp_path / "run", retry_failed=True)
    pd.testing.assert_frame_equal(rows(RunFolder.open(str(tmp_path / "run"))), before)
    assert illness.exists()


def test_the_tracking_store_shows_the_last_attempt(
    illness: Path, data: pd.DataFrame, tmp_path: Path
) -> None:
    """A retried entity has a new child; the one before says what took its place."""
    store: dict[str, Any] = {}
    run(data, tmp_path / "run", tracker=MemoryTracker(store))
    illness.unlink()
    run(data, tmp_path / "run", tracker=MemoryTracker(store), retry_failed=True)
    run(data, tmp_path / "run", tracker=MemoryTracker(store), resume=True)
    children = [one for one in store.values() if "mlflow.parentRunId" in one.tags]
    current = [one for one in children if "daskcast.superseded_by" not in one.tags]
    assert len(children) == N + len(BAD)
    assert sorted(one.tags["daskcast.entity"] for one in current) == sorted(set(data["unique_id"]))
    assert {one.status for one in current} == {"FINISHED"}


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
def test_mlflow_shows_the_last_attempt(illness: Path, data: pd.DataFrame, tmp_path: Path) -> None:
    """The same in a real store, where the parent's counts are those of the last attempt."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    given = {"tracking": True, "tracking_uri": uri, "experiment": "retried"}
    run(data, tmp_path / "run", **given)
    illness.unlink()
    run(data, tmp_path / "run", retry_failed=True, **given)
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("retried")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    parents = [one for one in found if "mlflow.parentRunId" not in one.data.tags]
    children = [one for one in found if "mlflow.parentRunId" in one.data.tags]
    replaced = [one for one in children if "daskcast.superseded_by" in one.data.tags]
    assert (len(parents), len(children)) == (1, N + len(BAD))
    assert {one.data.tags["daskcast.entity"] for one in replaced} == BAD
    by = {one.info.run_id: one for one in children}
    for one in replaced:
        new = by[one.data.tags["daskcast.superseded_by"]]
        assert new.data.tags["daskcast.entity"] == one.data.tags["daskcast.entity"]
        assert (new.data.tags["daskcast.attempt"], new.info.status) == ("2", "FINISHED")
    assert parents[0].data.metrics["n_ok"] == N - 1
    assert parents[0].data.metrics["n_failed"] == 0


@pytest.mark.integration
def test_a_killed_pass_goes_on_from_the_command_line(
    illness: Path, data: pd.DataFrame, tmp_path: Path
) -> None:
    """Killed in a pass, resumed, the run is as after a pass without a kill."""
    data.to_csv(tmp_path / "data.csv", index=False)
    command = [
        sys.executable,
        "-c",
        "import sys; from daskcast.cli import main; main(sys.argv[1:])",
    ]
    command += ["run", str(tmp_path / "data.csv"), "--horizon", "3", "--search", "portfolio"]
    command += ["--cv-windows", "1", "--models", "poison:Poison", "--batch-size", "1"]
    command += [
        "--cluster",
        "serial",
        "--no-tracking",
        "--max-failed",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    assert subprocess.run(command, check=False, timeout=120).returncode == 0
    illness.unlink()
    with subprocess.Popen([*command, "--retry-failed"]) as process:
        marker = tmp_path / "run" / "batches" / "b00003.json"
        before, patience = marker.stat().st_mtime_ns, time.monotonic() + 60
        while marker.exists() and marker.stat().st_mtime_ns == before:
            assert time.monotonic() < patience
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert subprocess.run([*command, "--resume"], check=False, timeout=120).returncode == 0
    folder = RunFolder.open(str(tmp_path / "run"))
    assert rows(folder)["status"].value_counts().to_dict() == {"ok": N - 1, "fallback": 1}
    assert set(rows(folder).loc[lambda one: one["attempt"] == 2, "unique_id"]) == BAD
    expected = rows(run(data, tmp_path / "healthy").folder, "forecasts")
    pd.testing.assert_frame_equal(
        without(rows(folder, "forecasts"), "batch"), without(expected, "batch"), check_exact=True
    )


def test_from_python(illness: Path, data: pd.DataFrame, tmp_path: Path) -> None:
    """The call has the option, and its failures are those of the last attempt."""
    options: dict[str, Any] = {
        "search": "portfolio",
        "cv_windows": 1,
        "models": OwnModel(Poison(str(illness))),
    }
    run = forecast(data, 3, out=tmp_path / "run", **options)
    assert len(run.failures) == len(BAD)
    illness.unlink()
    run = forecast(data, 3, out=tmp_path / "run", retry_failed=True, **options)
    assert run.failures["unique_id"].tolist() == [SHORT]
    assert len(run.entities) == N


def test_without_a_run_there_is_nothing_to_retry(data: pd.DataFrame, tmp_path: Path) -> None:
    """The command line says what it looked for, and exits with 2."""
    data.to_csv(tmp_path / "data.csv", index=False)
    args = ["run", str(tmp_path / "data.csv"), "--horizon", "3", "--retry-failed"]
    result = CliRunner().invoke(main, [*args, "--out", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "none" in result.output
    assert not (tmp_path / "none").exists()
