"""``daskcast track``: what a run folder holds gets into the store, once, whenever it is sent."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from daskcast import demo, pipeline
from daskcast.cli import main
from daskcast.config import ForecastConfig, RunOptions
from daskcast.errors import StoppedError, StoreError
from daskcast.store import RunFolder
from daskcast.track import track
from daskcast.tracking import MemoryTracker, TrackingWriter

if TYPE_CHECKING:
    from daskcast.progress import Progress

# MLflow 3.17 asks SQLAlchemy 2.1 for a loader strategy that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

CONFIG = ForecastConfig(h=3, search="portfolio", cv_windows=1)
N = 40
COMMAND = [sys.executable, "-c", "import sys; from daskcast.cli import main; main(sys.argv[1:])"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what MLflow writes into the current folder in the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    found = demo.airports(N, months=48)
    return found.drop(found.index[found["unique_id"] == found["unique_id"].iloc[0]][2:])


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions(
        cluster="serial", tracking=False, batch_size=7, out=str(tmp_path / "run"), tags={"t": "1"}
    )


@pytest.fixture
def out(table: pd.DataFrame, options: RunOptions) -> str:
    """Give a run that was not tracked."""
    pipeline.run(table, CONFIG, options)
    assert options.out is not None
    return options.out


def children(uri: str, parent_id: str) -> list[Any]:
    client = MlflowClient(tracking_uri=uri)
    experiment_id = client.get_run(parent_id).info.experiment_id
    asked = f"tags.`mlflow.parentRunId` = '{parent_id}'"
    return list(client.search_runs([experiment_id], asked, max_results=1000))


def parents(uri: str, experiment: str = "daskcast") -> list[Any]:
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id], "tags.`daskcast.kind` = 'run'"))


def accounted(uri: str, out: str) -> None:
    """Check that each entity of a run is in the store once, with what its account says."""
    (parent,) = parents(uri)
    assert parent.info.status == "FINISHED"
    seen = {run.data.tags["daskcast.entity"]: run for run in children(uri, parent.info.run_id)}
    entities = RunFolder.open(out).read("entities").to_pandas().set_index("unique_id")
    assert len(children(uri, parent.info.run_id)) == len(entities) == len(seen)
    for name, row in entities.iterrows():
        run = seen[name]
        assert run.data.tags["daskcast.status"] == row["status"]
        assert run.info.status == ("FAILED" if row["status"] == "failed" else "FINISHED")
        for score in ("cv_mase", "tune_loss"):
            assert run.data.metrics.get(score) == (None if pd.isna(row[score]) else row[score])
    assert parent.data.metrics["n_entities"] == len(entities)


def test_a_run_is_tracked_later(out: str) -> None:
    """All is there, as if it had been tracked while it worked; the folder knows where."""
    summary = track(out)
    assert (summary.n_sent, summary.n_failed, summary.stopped) == (N, 0, "")
    uri = summary.info.uri
    accounted(uri, out)
    (parent,) = parents(uri)
    assert parent.data.tags["t"] == "1"
    assert parent.data.params["h"] == "3"
    assert parent.info.run_name == "run"
    names = {item.path for item in MlflowClient(uri).list_artifacts(parent.info.run_id)}
    assert {"run.json", "entities", "forecasts", "report.html"} <= names
    told = RunFolder.open(out).manifest["mlflow"]
    assert told["run_id"] == parent.info.run_id
    used = RunFolder.open(out).manifest["usage"]
    assert used
    history = MlflowClient(uri).get_metric_history(parent.info.run_id, "system/cluster_cpu_percent")
    assert [point.value for point in history] == [sample["cpu_percent"] for sample in used]


def test_tracked_at_once_and_later_is_the_same(
    table: pd.DataFrame, options: RunOptions, tmp_path: Path
) -> None:
    """Params, metrics and tags of the children do not tell when they were sent."""

    def content(runs: dict[str, Any]) -> dict[str, Any]:
        return {
            run.name: (run.params, run.status, {(m.key, m.step, m.value) for m in run.metrics})
            for run in runs.values()
            if run.tags["daskcast.kind"] == "entity"
        }

    at_once, later = MemoryTracker(), MemoryTracker()
    pipeline.run(table, CONFIG, options, tracker=at_once)
    track(str(options.out), tracker=later)
    assert len(later.runs) == N + 1
    assert content(later.runs) == content(at_once.runs)


@pytest.mark.parametrize("times", [2, 3])
def test_repeated_it_changes_nothing(out: str, times: int) -> None:
    """The second time finds all there."""
    uri = track(out).info.uri
    (parent,) = parents(uri)
    before = sorted(
        (run.info.run_id, run.info.end_time) for run in children(uri, parent.info.run_id)
    )
    for _ in range(times):
        assert track(out).n_sent == N
    assert [run.info.run_id for run in parents(uri)] == [parent.info.run_id]
    after = sorted(
        (run.info.run_id, run.info.end_time) for run in children(uri, parent.info.run_id)
    )
    assert after == before


def test_another_store_gets_all_of_it(out: str, tmp_path: Path) -> None:
    """Each store has a parent of its own, and the first is not forgotten: it goes on there."""
    first = track(out).info.uri
    second = f"sqlite:///{tmp_path / 'other.db'}"
    track(out, tracking_uri=second, experiment="elsewhere")
    assert len(children(second, parents(second, "elsewhere")[0].info.run_id)) == N
    track(out, tracking_uri=first, experiment="daskcast")
    accounted(first, out)


def test_a_stopped_run_is_tracked_as_far_as_it_came(
    table: pd.DataFrame, options: RunOptions
) -> None:
    """Its parent says that it was stopped; once the run came to its end, so does the parent."""

    def on_progress(progress: Progress) -> None:
        if progress.stage == "work" and progress.counts.batches == 2:
            raise KeyboardInterrupt

    with pytest.raises(StoppedError):
        pipeline.run(table, CONFIG, options, on_progress=on_progress)
    out = str(options.out)
    summary = track(out)
    (parent,) = parents(summary.info.uri)
    assert 0 < summary.n_sent < N
    assert parent.info.status == "KILLED"
    assert len(children(summary.info.uri, parent.info.run_id)) == summary.n_sent
    pipeline.run(table, CONFIG, replace(options, resume=True))
    track(out)
    accounted(summary.info.uri, out)


def test_a_server_that_was_away_gets_the_run_later(
    table: pd.DataFrame, options: RunOptions, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names the command; the run keeps who made it, and where it was meant to go."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    summary = pipeline.run(table, CONFIG, replace(options, tracking=True, tracking_uri=uri))
    assert summary.tracking is not None
    assert summary.tracking.n_failed == N
    (warned,) = [r.getMessage() for r in caplog.records if "tracking stopped" in r.getMessage()]
    assert f"`daskcast track {options.out}`" in warned
    told = summary.folder.manifest["mlflow"]
    assert told["uri"] == uri
    assert told["context"]["mlflow.user"]
    result = CliRunner().invoke(main, ["track", str(options.out)])
    assert result.exit_code == 3
    assert "no connection to the server" in result.stdout
    result = CliRunner().invoke(
        main, ["track", str(options.out), "--tracking-uri", "sqlite:///later.db"]
    )
    assert result.exit_code == 0, result.output
    assert f"{N} entities, 0 not" in result.stdout
    accounted(f"sqlite:///{Path.cwd() / 'later.db'}", str(options.out))


def test_a_resume_while_the_store_is_away_keeps_the_parent(
    table: pd.DataFrame, options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ids stay in the run folder, below an active run of the user's as well."""
    uri, experiment = f"sqlite:///{tmp_path / 'mlflow.db'}", "of the user"
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", uri)
    theirs = MlflowClient(uri).create_experiment(experiment)

    def stop_after(n: int, progress: Progress) -> None:
        if progress.stage == "work" and progress.counts.batches == n:
            raise KeyboardInterrupt

    tracked = replace(options, tracking=True, tracking_uri=uri)
    with mlflow.start_run(experiment_id=theirs), pytest.raises(StoppedError):
        pipeline.run(table, CONFIG, tracked, on_progress=partial(stop_after, 2))
    before = RunFolder.open(str(options.out)).manifest["mlflow"]
    assert (before["experiment"], before["asked"]) == (experiment, "daskcast")
    store = tmp_path / "mlflow.db"
    store.rename(tmp_path / "away.db")
    store.mkdir()  # no database can be opened there
    with pytest.raises(StoppedError):
        pipeline.run(
            table, CONFIG, replace(tracked, resume=True), on_progress=partial(stop_after, 3)
        )
    after = RunFolder.open(str(options.out)).manifest["mlflow"]
    assert {key: after[key] for key in before} == before
    store.rmdir()
    (tmp_path / "away.db").rename(store)
    summary = pipeline.run(table, CONFIG, replace(tracked, resume=True))
    assert summary.tracking is not None
    assert summary.tracking.info.run_id == before["run_id"]
    assert len(parents(uri, experiment)) == 1


def test_who_made_the_run_is_said_not_who_sends_it(out: str) -> None:
    """Source and commit of the process that sends are not those of the run."""
    manifest = RunFolder.open(out).manifest
    manifest["mlflow"] = {"context": {"mlflow.user": "ann", "mlflow.source.git.commit": "abc"}}
    RunFolder.open(out).write_manifest(manifest)
    uri = track(out).info.uri
    (parent,) = parents(uri)
    (child, *_) = children(uri, parent.info.run_id)
    for run in (parent, child):
        assert run.data.tags["mlflow.user"] == "ann"
        assert run.data.tags["mlflow.source.git.commit"] == "abc"
        assert "mlflow.source.name" not in run.data.tags


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """There is nothing to send."""
    with pytest.raises(StoreError, match="run"):
        track(tmp_path)
    assert CliRunner().invoke(main, ["track", str(tmp_path)]).exit_code == 2


def test_credentials_stay_out_of_the_folder(
    out: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of an address are used, and kept nowhere."""
    uri = "http://ann:s3cret@127.0.0.1:9"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert track(out).stopped
    assert "s3cret" not in caplog.text
    assert "s3cret" not in json.dumps(RunFolder.open(out).manifest)


@pytest.mark.integration
def test_killed_again_and_again_each_run_is_there_once(out: str, tmp_path: Path) -> None:
    """Whatever moment the sender is killed at, the next goes on, and all is there once."""
    rng = random.Random(7)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    call = [*COMMAND, "track", out, "--tracking-uri", uri]
    n_killed = 0
    for _ in range(4):
        sender = subprocess.Popen(call, stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(1, 9))
        if sender.poll() is None:
            sender.send_signal(signal.SIGKILL)
            n_killed += 1
        sender.wait(60)
    assert n_killed
    assert subprocess.run(call, timeout=120, check=False).returncode == 0
    accounted(uri, out)


@pytest.mark.integration
def test_two_at_once_make_each_run_once(out: str, tmp_path: Path) -> None:
    """One waits for the other, and finds all there; the parent is one."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    call = [*COMMAND, "track", out, "--tracking-uri", uri]
    senders = [subprocess.Popen(call, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [sender.wait(120) for sender in senders] == [0, 0]
    accounted(uri, out)


def test_who_comes_second_waits_no_longer_than_it_says(
    out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is being tracked is not tracked a second time."""
    monkeypatch.setattr("daskcast.tracking.writer.LOCK_WAIT_S", 0.2)
    from daskcast.testing.trackers import parent_of

    first = TrackingWriter(MemoryTracker(), RunFolder.open(out))
    first.start(parent_of())
    assert first.wait_until_open()
    second = track(out, tracker=MemoryTracker())
    assert "another process" in second.stopped
    assert second.n_sent == 0
    first.close()
    assert track(out, tracker=MemoryTracker()).n_sent == N
