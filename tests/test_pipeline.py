"""A run from data to report: accounted for, resumable, the same with any executor."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

from daskcast import demo, pipeline, work
from daskcast.config import ForecastConfig, RunOptions
from daskcast.errors import ClusterError, ConfigError, DataError, StoppedError, StoreError
from daskcast.out import folder_of
from daskcast.store import RunFolder
from daskcast.tracking import MemoryTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daskcast.progress import Progress, RunSummary
    from daskcast.records import BatchReceipt

CONFIG = ForecastConfig(h=6, search="portfolio", cv_windows=1)
SERIAL = RunOptions(cluster="serial", tracking=False, batch_size=5)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return demo.airports(16, months=60)


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return replace(SERIAL, out=str(tmp_path / "run"))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def forecasts(summary: RunSummary) -> dict[str, bytes]:
    """Give each entity's forecast as bytes: equal only where equal to the last bit."""
    frame = summary.folder.read("forecasts").to_pandas().sort_values(["unique_id", "ds"])
    numbers = [name for name in frame.columns if name.startswith("daskcast")]
    return {
        str(unique_id): rows[numbers].to_numpy().tobytes() + rows["ds"].to_numpy().tobytes()
        for unique_id, rows in frame.groupby("unique_id")
    }


def stopping_after(n: int) -> Callable[[Progress], None]:
    """Interrupt a run when some batches are finished, as Ctrl-C does."""

    def on_progress(progress: Progress) -> None:
        if progress.stage == "work" and progress.counts.batches == n:
            raise KeyboardInterrupt

    return on_progress


# -- accounting --------------------------------------------------------------------------------


def test_every_entity_is_accounted_for(table: pd.DataFrame, options: RunOptions) -> None:
    """Entities of the input, of the folder and of the counts are the same, good or bad."""
    summary = pipeline.run(table, CONFIG, options)
    entities = summary.folder.read("entities").to_pandas()
    assert sorted(entities["unique_id"]) == sorted(table["unique_id"].unique())
    by_status = entities["status"].value_counts()
    counts = summary.counts
    assert (counts.ok, counts.fallback, counts.failed) == tuple(
        by_status.get(status, 0) for status in ("ok", "fallback", "failed")
    )
    assert counts.failed >= 1  # the demo has a repeated month
    assert set(
        summary.folder.read("forecasts", columns=["unique_id"])["unique_id"].to_pylist()
    ) == (set(entities.loc[entities["status"] != "failed", "unique_id"]))


def test_the_manifest_tells_all(table: pd.DataFrame, options: RunOptions) -> None:
    """Config, data, versions, counts, seconds of each stage; valid JSON; the input unchanged."""
    before = table.copy()
    summary = pipeline.run(table, CONFIG, options)
    manifest = json.loads((Path(summary.folder.url) / "run.json").read_text())
    assert ForecastConfig.from_dict(manifest["config"]) == CONFIG
    assert manifest["data"]["entities"] == 16
    assert manifest["data"]["rows"] == len(table)
    assert manifest["counts"]["entities"] == 16
    assert {"python", "daskcast", "dask", "pandas", "numpy", "numba", "mlflow"} <= set(
        manifest["versions"]
    )
    seconds = manifest["seconds"]
    assert {"read", "cluster", "work", "report"} <= set(seconds)
    assert set(seconds["workers"]) == {"read", "fit", "store"}
    assert seconds["total"] >= seconds["work"]["wall"] > 0
    assert (Path(summary.folder.url) / "report.html").stat().st_size > 1000
    pd.testing.assert_frame_equal(table, before)


def test_progress_is_told_batch_by_batch(table: pd.DataFrame, options: RunOptions) -> None:
    """Counts only grow, end with every entity, and every stage is entered in order."""
    told: list[Progress] = []
    pipeline.run(table, CONFIG, options, on_progress=told.append)
    done = [p.counts.done for p in told]
    assert done == sorted(done)
    assert done[-1] == 16
    assert len({p.counts.batches for p in told}) == 1 + 4
    stages = list(dict.fromkeys(p.stage for p in told))
    assert stages == ["check", "read", "cluster", "warm-up", "folder", "work", "report"]


def test_what_this_process_logged_is_kept(table: pd.DataFrame, options: RunOptions) -> None:
    """The driver's own records are in the run folder beside those of the tasks."""
    summary = pipeline.run(table, CONFIG, options)
    messages = [record["message"] for record in summary.folder.read_logs()]
    assert any("16 entities" in message for message in messages)
    assert any("DuplicateTimes" in message for message in messages)


def test_one_entity_is_enough(options: RunOptions) -> None:
    """The smallest table there is runs as any other."""
    one = pd.DataFrame({"unique_id": "A", "ds": pd.date_range("2020-01-01", periods=1), "y": 1.0})
    summary = pipeline.run(one, CONFIG, options)
    assert summary.counts.done == summary.counts.entities == 1


def test_whole_numbered_times_run(options: RunOptions) -> None:
    """Times may be whole numbers, and come back as such."""
    t = np.arange(60)
    one = pd.DataFrame({"unique_id": "A", "ds": t, "y": 5 + np.sin(t)})
    summary = pipeline.run(one, replace(CONFIG, freq="1"), options)
    assert summary.folder.read("forecasts")["ds"].to_pylist() == [60, 61, 62, 63, 64, 65]


# -- refusals ----------------------------------------------------------------------------------


def test_a_folder_that_holds_a_run_is_refused_before_reading(options: RunOptions) -> None:
    """No data is read, nothing in the folder changes."""
    table = demo.airports(1, months=36)
    pipeline.run(table, CONFIG, options)
    with pytest.raises(StoreError, match="holds a run"):
        pipeline.run("no-such-file.csv", CONFIG, options)


def test_bad_data_leaves_no_folder(options: RunOptions) -> None:
    """What cannot be used is refused before anything is made."""
    with pytest.raises(DataError, match="unique_id"):
        pipeline.run(pd.DataFrame({"a": [1]}), CONFIG, options)
    assert not Path(str(options.out)).exists()


def test_a_cluster_that_cannot_be_used_leaves_no_folder(
    table: pd.DataFrame, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command works once the cluster is there."""
    monkeypatch.setattr("daskcast.cluster.CONNECT_S", 1)
    with pytest.raises(ClusterError):
        pipeline.run(table, CONFIG, replace(options, cluster="tcp://127.0.0.1:9"))
    assert not Path(str(options.out)).exists()


def test_wrong_tags_are_refused_before_reading(options: RunOptions) -> None:
    """Options of tracking are checked first."""
    wrong = replace(options, tracking=True, tags={"daskcast.kind": "mine"})
    with pytest.raises(ConfigError, match=r"daskcast\.kind"):
        pipeline.run("no-such-file.csv", CONFIG, wrong)


# -- stopping and going on ---------------------------------------------------------------------


def test_a_stopped_run_goes_on_where_it_was(
    table: pd.DataFrame, options: RunOptions, tmp_path: Path
) -> None:
    """Finished batches stay as they are, the others are done, the forecasts are the same."""
    with pytest.raises(StoppedError, match="2 of 4 batches"):
        pipeline.run(table, CONFIG, options, on_progress=stopping_after(2))
    place = Path(str(options.out))
    before = {path.name: path.read_bytes() for path in (place / "batches").iterdir()}
    assert len(before) == 2
    assert json.loads((place / "run.json").read_text())["counts"]["batches"] == 2
    (place / "forecasts" / "part-b00099.parquet").write_bytes(b"half")
    summary = pipeline.run(table, CONFIG, replace(options, resume=True, batch_size=3))
    after = {path.name: path.read_bytes() for path in (place / "batches").iterdir()}
    assert before.items() <= after.items()
    new = sorted(after.keys() - before)  # no name that a task of the first may still write
    assert new == [f"b{n:05d}.json" for n in range(5, 5 + len(new))]
    assert not (place / "forecasts" / "part-b00099.parquet").exists()
    assert summary.counts.done == 16
    whole = pipeline.run(table, CONFIG, replace(SERIAL, out=str(tmp_path / "whole")))
    assert forecasts(summary) == forecasts(whole)


def test_progress_of_a_resumed_run_counts_what_was_there(
    table: pd.DataFrame, options: RunOptions
) -> None:
    """The rate is that of this run alone: what was finished before is told apart."""
    with pytest.raises(StoppedError):
        pipeline.run(table, CONFIG, options, on_progress=stopping_after(1))
    told: list[Progress] = []
    pipeline.run(table, CONFIG, replace(options, resume=True), on_progress=told.append)
    begun = next(p for p in told if p.stage == "work")
    assert begun.n_before == begun.counts.done == 5
    assert told[-1].counts.done == 16


def test_a_finished_run_resumes_to_itself(table: pd.DataFrame, options: RunOptions) -> None:
    """Nothing is left: no cluster is opened, no batch is written."""
    first = pipeline.run(table, CONFIG, options)
    markers = first.folder.finished()
    again = pipeline.run(table, CONFIG, replace(options, resume=True, cluster="tcp://127.0.0.1:9"))
    assert again.counts == first.counts
    assert again.folder.finished() == markers


def test_another_config_or_other_data_do_not_resume(
    table: pd.DataFrame, options: RunOptions
) -> None:
    """The message says what differs; nothing is changed."""
    pipeline.run(table, CONFIG, options)
    resume = replace(options, resume=True)
    with pytest.raises(StoreError, match="seed"):
        pipeline.run(table, replace(CONFIG, seed=1), resume)
    with pytest.raises(StoreError, match="data changed"):
        pipeline.run(table.iloc[:-1], CONFIG, resume)


def test_nothing_resumes_where_there_is_no_run(table: pd.DataFrame, options: RunOptions) -> None:
    """Resume never begins a new run by mistake."""
    with pytest.raises(StoreError, match="no run"):
        pipeline.run(table, CONFIG, replace(options, resume=True))


def test_a_lost_entity_fails_the_run(
    table: pd.DataFrame, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that gives back fewer entities than it took never passes for done."""
    from daskcast import task

    real = task.run_batch
    monkeypatch.setattr(task, "run_batch", lambda *given: real(*given)[1:])
    with pytest.raises(StoppedError, match="5 entities went in"):
        pipeline.run(table, CONFIG, options)


def test_a_full_disk_stops_the_run(
    table: pd.DataFrame, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was stored before counts; the run can go on when there is room."""
    real = RunFolder.write_batch

    def write_batch(folder: RunFolder, batch: str, *rest: Any, **more: Any) -> Any:
        if batch == "b00003":
            raise OSError(28, "No space left on device")
        return real(folder, batch, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write_batch", write_batch)
        with pytest.raises(
            StoppedError, match=r"takes no more .*No space left.* 2 of 4 batches are finished"
        ):
            pipeline.run(table, CONFIG, options)
    summary = pipeline.run(table, CONFIG, replace(options, resume=True))
    assert summary.counts.done == 16


# -- tracking ----------------------------------------------------------------------------------


def test_every_entity_is_tracked_below_the_run(table: pd.DataFrame, options: RunOptions) -> None:
    """A parent that is finished, a child for each entity; the manifest knows the ids."""
    tracker = MemoryTracker()
    summary = pipeline.run(table, CONFIG, options, tracker=tracker)
    parent_id = summary.folder.manifest["mlflow"]["run_id"]
    children = [run for key, run in tracker.runs.items() if key != parent_id]
    assert sorted(run.name for run in children) == sorted(table["unique_id"].unique())
    assert tracker.runs[parent_id].status == "FINISHED"
    assert "report.html" in tracker.runs[parent_id].artifacts
    assert summary.tracking is not None
    assert summary.tracking.n_sent == 16


def test_a_resumed_run_is_tracked_once(table: pd.DataFrame, options: RunOptions) -> None:
    """The same parent goes on, no entity has two children, whatever was sent before the stop."""
    runs: dict[str, Any] = {}
    with pytest.raises(StoppedError):
        pipeline.run(
            table, CONFIG, options, tracker=MemoryTracker(runs), on_progress=stopping_after(2)
        )
    [parent] = [run for run in runs.values() if run.tags.get("daskcast.kind") == "run"]
    assert parent.status == "KILLED"
    pipeline.run(table, CONFIG, replace(options, resume=True), tracker=MemoryTracker(runs))
    assert len([run for run in runs.values() if run is not parent]) == 16
    assert len(runs) == 17
    assert parent.status == "FINISHED"


@pytest.mark.parametrize("last", ["lost", "interrupted"])
def test_a_cluster_that_is_lost_after_its_last_batch_stops_nothing(
    last: str, table: pd.DataFrame, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is kept, though nobody told of the last batches: the run ends, unless interrupted."""
    real = pipeline.run_batches

    def lost(batches: Any, work: Any, scheduler: Any, on_receipt: Any) -> None:
        told: list[BatchReceipt] = []
        real(batches, work, scheduler, told.append)
        on_receipt(told[0])
        cause = KeyboardInterrupt() if last == "interrupted" else OSError("gone")
        raise StoppedError(last) from cause

    monkeypatch.setattr(pipeline, "run_batches", lost)
    tracker = MemoryTracker()
    if last == "interrupted":
        with pytest.raises(StoppedError, match="interrupted"):
            pipeline.run(table, CONFIG, options, tracker=tracker)
        return
    summary = pipeline.run(table, CONFIG, options, tracker=tracker)
    assert summary.counts.done == summary.counts.entities == 16
    assert summary.tracking is not None
    assert summary.tracking.n_sent == 16
    children = [run for run in tracker.runs.values() if run.tags["daskcast.kind"] == "entity"]
    assert len({run.name for run in children}) == len(children) == 16


class BrokenTracker(MemoryTracker):
    """Takes the parent and nothing else."""

    def log_children(self, _children: Any) -> Any:
        raise RuntimeError("the server burns")


def test_a_broken_tracker_costs_no_forecast(
    table: pd.DataFrame, options: RunOptions, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning, and everything is in the run folder."""
    with caplog.at_level(logging.WARNING, "daskcast.tracking"):
        summary = pipeline.run(table, CONFIG, options, tracker=BrokenTracker())
    assert summary.counts.done == 16
    assert summary.tracking is not None
    assert summary.tracking.n_failed == 16
    warned = [r for r in caplog.records if r.name.startswith("daskcast.tracking")]
    assert len(warned) == 1
    kept = [r["message"] for r in summary.folder.read_logs()]
    assert any("the server burns" in text for text in kept)


# -- the same with any executor ----------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    config = replace(CONFIG, search="skopt", trials=12)
    out = str(tmp_path_factory.mktemp("reference") / "run")
    return forecasts(pipeline.run(table, config, replace(SERIAL, out=out)))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("cluster", "workers", "shuffled"),
    [
        ("serial", None, True),
        ("threads", 2, False),
        ("processes", 2, False),
        ("local", 1, False),
        ("local", 2, True),
    ],
)
def test_forecasts_are_the_same_to_the_bit(
    table: pd.DataFrame,
    options: RunOptions,
    reference: dict[str, bytes],
    cluster: str,
    workers: int | None,
    shuffled: bool,
) -> None:
    """Executor, number of workers, batches and row order leave no trace in any forecast."""
    data = table.sample(frac=1.0, random_state=3) if shuffled else table
    changed = replace(options, cluster=cluster, workers=workers, batch_size=4 if workers else 7)
    summary = pipeline.run(data, replace(CONFIG, search="skopt", trials=12), changed)
    assert forecasts(summary) == reference


@pytest.mark.integration
def test_a_client_computes_and_stays_open(
    table: pd.DataFrame, options: RunOptions, client: Client
) -> None:
    """A client that is given computes, whatever the options say."""
    summary = pipeline.run(table, CONFIG, options, client=client)
    workers = {r["worker"] for r in summary.folder.read_logs() if r["batch"]}
    assert workers
    assert not any(worker.endswith(f":{os.getpid()}") for worker in workers)
    assert client.status == "running"


@pytest.mark.integration
def test_workers_that_cannot_reach_the_folder_send_their_results(
    table: pd.DataFrame, options: RunOptions, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver stores instead; the run folder is the same."""
    monkeypatch.setattr("daskcast.reach._read_back", lambda *_: b"")
    stored: list[str] = []
    real = work.Computed.store

    def store(computed: work.Computed) -> BatchReceipt:
        stored.append(computed.batch)
        return real(computed)

    monkeypatch.setattr(work.Computed, "store", store)
    far = pipeline.run(table, CONFIG, options, client=client)
    assert sorted(stored) == ["b00001", "b00002", "b00003", "b00004"]
    assert far.counts.done == 16


def test_the_current_client_computes_where_nothing_else_is_named(
    table: pd.DataFrame, options: RunOptions
) -> None:
    """As with Dask itself: an open client is used without being passed."""
    with (
        LocalCluster(
            n_workers=1, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        seen = client.run(lambda dask_worker: dask_worker.state.executed_count)
        summary = pipeline.run(table, CONFIG, replace(options, cluster=None))
        after = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert summary.counts.done == 16
    assert sum(after.values()) - sum(seen.values()) >= 4


def test_files_that_workers_do_not_see_are_refused_before_the_work(
    table: pd.DataFrame, options: RunOptions, client: Client
) -> None:
    """A folder of this machine says nothing to pods: one sentence, and no run folder."""
    fsspec.filesystem("memory").mkdirs("panel", exist_ok=True)
    with fsspec.open("memory://panel/1.parquet", "wb") as file:  # memory of this process alone
        table.to_parquet(file)
    with pytest.raises(ClusterError, match=r"2 of 2 workers cannot read .*1.parquet.* s3://"):
        pipeline.run("memory://panel", CONFIG, options, client=client)
    assert not Path(str(options.out)).exists()


def test_default_out_is_a_plain_name() -> None:
    """No experiment's name leads out of the folder of runs."""
    for name in ("../../etc", "a/b", "..", "", "ünïcode", "x" * 500):
        out = folder_of(RunOptions(experiment=name))
        assert out.startswith("runs/")
        assert out.count("/") == 1
        assert len(out) < 100
        assert not out.removeprefix("runs/").startswith(".")


def test_the_name_of_a_new_run_in_its_folder() -> None:
    """As in a cluster; a run to go on with has its name already."""
    out = folder_of(RunOptions(out="s3://bucket/{run}/x", experiment="air"))
    assert re.fullmatch(r"s3://bucket/air-\d{8}T\d{6}Z/x", out)
    for how in ({"resume": True}, {"retry_failed": True}):
        with pytest.raises(ConfigError, match=r"out must name it; found 's3://bucket/\{run\}'"):
            folder_of(RunOptions(out="s3://bucket/{run}", **how))


def test_what_a_stopped_run_kept_is_counted_in_its_folder(
    table: pd.DataFrame, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that became durable after the last was told counts too."""
    real = pipeline.run_batches

    def untold(batches: Any, work: Any, scheduler: Any, on_receipt: Any) -> None:
        try:
            real(batches, work, scheduler, on_receipt)
        finally:
            work(batches[-1])

    monkeypatch.setattr(pipeline, "run_batches", untold)
    with pytest.raises(StoppedError, match="interrupted; 3 of 4 batches are finished and kept"):
        pipeline.run(table, CONFIG, options, on_progress=stopping_after(2))
    folder = RunFolder.open(str(options.out))
    assert len(folder.finished()) == folder.manifest["counts"]["batches"] == 3


def test_every_trial_as_a_run_is_warned_of_with_its_number(
    table: pd.DataFrame, options: RunOptions, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning counts the entities and trials of this run."""
    one_each, tracker = replace(options, track_detail="trial"), MemoryTracker()
    tracker.requests_per_run = 3.0
    with caplog.at_level(logging.WARNING, "daskcast.tracking"):
        pipeline.run(table, replace(CONFIG, trials=2), one_each, tracker=tracker)
    [warned] = [r.getMessage() for r in caplog.records if "--track-detail trial" in r.getMessage()]
    assert f"about {3 * 16 * 3 + 4} requests" in warned


class SlowTracker(MemoryTracker):
    """Opens when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def start(self, parent: Any) -> str:
        assert self.release.wait(60)
        return super().start(parent)


def test_work_does_not_wait_for_the_tracking_store(
    table: pd.DataFrame, options: RunOptions
) -> None:
    """All batches are done before the store is open, and all entities are tracked."""
    tracker = SlowTracker()

    def on_progress(progress: Progress) -> None:
        if progress.stage == "report":
            assert not tracker.runs
            tracker.release.set()

    summary = pipeline.run(table, CONFIG, options, tracker=tracker, on_progress=on_progress)
    assert len(tracker.runs) == 17
    assert summary.folder.manifest["mlflow"]["run_id"] in tracker.runs
