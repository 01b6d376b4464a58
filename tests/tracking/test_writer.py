"""The writer: what it sends while batches still run, and that its trouble is its own."""

from __future__ import annotations

import json
import logging
import pickle
import threading
import time
from dataclasses import replace

import fsspec
import pytest

from daskcast import logs
from daskcast.errors import TrackingError
from daskcast.store import RunFolder, only_one
from daskcast.testing.trackers import parent_of
from daskcast.tracking import (
    Delivery,
    MemoryTracker,
    MlflowTracker,
    RunStatus,
    TrackingWriter,
    n_requests,
)
from daskcast.tracking import writer as writer_module
from daskcast.tracking.artifacts import artifacts

# MLflow 3.17 asks SQLAlchemy 2.1 for a loader strategy that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


@pytest.fixture
def warned(caplog):
    """Give a function that tells the warnings of daskcast so far."""
    caplog.set_level(logging.WARNING, logger="daskcast")
    return lambda: [record.getMessage() for record in caplog.records]


class Troubled(MemoryTracker):
    """A tracker that fails where it is told to."""

    def __init__(self, at: str, trouble: Exception, after: int = 0) -> None:
        super().__init__()
        self._at, self._trouble, self._after = at, trouble, after

    def _maybe(self, step):
        if step == self._at:
            self._after -= 1
            if self._after < 0:
                raise self._trouble

    def start(self, parent):
        self._maybe("start")
        return super().start(parent)

    def log_children(self, children):
        self._maybe("log_children")
        return super().log_children(children)

    def finish(self, status, metrics, artifacts=()):
        self._maybe("finish")
        super().finish(status, metrics, artifacts)


def write(folder, results_of, n_batches, size=3):
    """Write batches of entities, the last of each without a forecast."""
    names = []
    for batch in range(n_batches):
        names.append(f"b{batch}")
        ids = [f"e{batch}-{n}" for n in range(size - 1)] + [f"bad{batch}"]
        folder.write_batch(names[-1], results_of(*ids))
    return names


def tracked(tracker, folder, names, size=3, **options):
    """Run a writer over batches and give its summary."""
    writer = TrackingWriter(tracker, folder, **options)
    writer.start(parent_of())
    for name in names:
        writer.batch_done(name, size)
    return writer.close()


def test_every_entity_of_finished_batches_is_tracked(run_folder, results_of):
    """Children, counts, aggregates, artifacts: all of it, once."""
    tracker = MemoryTracker()
    names = write(run_folder, results_of, 4)
    summary = tracked(tracker, run_folder, names)
    assert (summary.n_sent, summary.n_failed, summary.stopped) == (12, 0, "")
    parent, *children = tracker.runs.values()
    assert parent.status == "FINISHED"
    assert sorted(run.name for run in children) == sorted(
        [f"e{b}-{n}" for b in range(4) for n in range(2)] + [f"bad{b}" for b in range(4)]
    )
    metrics = {point.key: point.value for point in parent.metrics}
    assert (metrics["n_entities"], metrics["n_ok"], metrics["n_failed"]) == (12, 8, 4)
    assert (metrics["mean_cv_mase"], metrics["n_cv_mase"]) == (0.75, 8)
    assert {name.partition("/")[0] for name in parent.artifacts} == {
        "run.json", "entities", "forecasts", "trials",
    }  # fmt: skip
    assert len(parent.artifacts) == 1 + 3 * 4


def test_batches_are_sent_while_others_run(run_folder, results_of):
    """What is finished arrives before anything is closed."""
    tracker = MemoryTracker()
    writer = TrackingWriter(tracker, run_folder)
    writer.start(parent_of())
    (name,) = write(run_folder, results_of, 1)
    writer.batch_done(name, 3)
    until = time.monotonic() + 30
    while len(tracker.runs) < 4 and time.monotonic() < until:
        threading.Event().wait(0.01)
    assert len(tracker.runs) == 4
    writer.close()


def test_summary_tracks_the_parent_alone(run_folder, results_of):
    """The aggregates are there, the children are not, and none is missed."""
    tracker = MemoryTracker()
    summary = tracked(tracker, run_folder, write(run_folder, results_of, 2), detail="summary")
    assert (summary.n_sent, summary.n_failed) == (0, 0)
    (parent,) = tracker.runs.values()
    assert {m.key: m.value for m in parent.metrics}["n_entities"] == 6


def test_trials_are_runs_where_asked_for(run_folder, results_of, warned):
    """The plain way warns of the number of requests, then sends a run for each trial."""
    tracker = MemoryTracker()
    tracker.requests_per_run = 3.0
    writer = TrackingWriter(tracker, run_folder, detail="trial")
    writer.start(parent_of(), n_entities=3, n_trials=3)
    for name in write(run_folder, results_of, 1):
        writer.batch_done(name, 3)
    assert writer.close().n_sent == 3
    assert len(tracker.runs) == 1 + 3 + 2 * 3
    (message,) = warned()
    assert f"{n_requests(3, 3, detail='trial')} requests" in message


def test_status_and_metrics_of_the_caller_reach_the_parent(run_folder):
    """A run that was stopped says so; seconds of stages are metrics."""
    tracker = MemoryTracker()
    writer = TrackingWriter(tracker, run_folder)
    writer.start(parent_of())
    writer.close(RunStatus.KILLED, {"seconds_fit": 1.5})
    (parent,) = tracker.runs.values()
    assert parent.status == "KILLED"
    assert ("seconds_fit", 1.5) in [(m.key, m.value) for m in parent.metrics]


@pytest.mark.parametrize(
    "trouble",
    [TrackingError("http://ann:s3cret@host is gone"), ValueError("boom"), RuntimeError("odd")],
)
@pytest.mark.parametrize("at", ["start", "log_children", "finish"])
def test_any_trouble_is_one_warning(run_folder, results_of, warned, at, trouble):
    """Whatever a tracker raises, the caller meets nothing but one warning and the summary."""
    names = write(run_folder, results_of, 4)
    before = run_folder.finished()
    summary = tracked(Troubled(at, trouble), run_folder, names)
    (message,) = warned()
    assert "tracking stopped" in message
    assert "forecasts are not affected" in message
    assert run_folder.url in message
    assert "s3cret" not in message + summary.stopped
    assert summary.stopped
    assert run_folder.finished() == before
    assert (summary.n_sent == 12) == (at == "finish")
    assert summary.n_sent + summary.n_failed == 12


def test_after_trouble_nothing_more_is_sent(run_folder, results_of):
    """What arrived before the trouble counts, what came after does not."""
    names = write(run_folder, results_of, 4)
    tracker = Troubled("log_children", ValueError("boom"), after=2)
    summary = tracked(tracker, run_folder, names)
    assert (summary.n_sent, summary.n_failed) == (6, 6)
    assert next(iter(tracker.runs.values())).status == "RUNNING"


def test_refused_entities_are_told_once(run_folder, results_of, warned):
    """Refusals of single entities are counted and told at the end, with the first by name."""

    class Choosy(MemoryTracker):
        def log_children(self, children):
            kept = [child for child in children if not child.name.startswith("bad")]
            super().log_children(kept)
            refused = [(child.name, "no") for child in children if child not in kept]
            return Delivery(len(kept), tuple(refused))

    summary = tracked(Choosy(), run_folder, write(run_folder, results_of, 3))
    assert (summary.n_sent, summary.n_failed, summary.stopped) == (6, 3, "")
    (message,) = warned()
    assert "refused 3 of 9 entities" in message
    assert "'bad0'" in message


def test_a_store_that_hangs_does_not_keep_the_run(run_folder, results_of, warned):
    """Without progress, closing gives up after its patience."""
    release = threading.Event()

    class Hanging(MemoryTracker):
        def log_children(self, children):
            release.wait(60)
            return super().log_children(children)

    names = write(run_folder, results_of, 1)
    began = time.monotonic()
    summary = tracked(Hanging(), run_folder, names, patience_s=0.5)
    release.set()
    assert time.monotonic() - began < 10
    assert summary.n_failed == 3
    assert "took nothing" in warned()[0]


def test_batches_do_not_wait_for_the_store_to_open(run_folder, results_of):
    """A store that opens slowly is sent all batches that were finished meanwhile."""
    release = threading.Event()

    class Slow(MemoryTracker):
        def start(self, parent):
            assert release.wait(60)
            return super().start(parent)

    tracker = Slow()
    writer = TrackingWriter(tracker, run_folder)
    writer.start(parent_of())
    for name in write(run_folder, results_of, 2):
        writer.batch_done(name, 3)
    assert not tracker.runs
    assert not writer.info.run_id
    release.set()
    assert writer.wait_until_open()
    assert writer.info.run_id
    assert writer.close().n_sent == 6


def test_a_store_that_never_opens_does_not_keep_the_run(run_folder, results_of, warned):
    """Waiting for the parent run has an end, with one warning."""
    release = threading.Event()

    class Hanging(MemoryTracker):
        def start(self, parent):
            release.wait(60)
            return super().start(parent)

    writer = TrackingWriter(Hanging(), run_folder, patience_s=0.5)
    writer.start(parent_of())
    for name in write(run_folder, results_of, 1):
        writer.batch_done(name, 3)
    assert not writer.wait_until_open()
    summary = writer.close()
    release.set()
    assert (summary.n_sent, summary.n_failed) == (0, 3)
    (message,) = warned()
    assert "took nothing" in message
    # Once the store is there after all, the thread ends, and others may track the folder.
    with only_one(run_folder.url, "tracking", wait_s=20):
        pass


def test_what_the_thread_logs_belongs_to_the_run(run_folder, results_of):
    """The warning of the writer's own thread is captured where the writer was started."""
    with logs.capture() as records, logs.bound(run="mine"):
        tracked(
            Troubled("log_children", ValueError("boom")),
            run_folder,
            write(run_folder, results_of, 1),
        )
    (record,) = [record for record in records if record["level"] == "WARNING"]
    assert record["run"] == "mine"
    assert "boom" in record["message"]


def test_closing_shows_progress(run_folder, results_of):
    """Progress ascends to all entities."""
    seen = []
    writer = TrackingWriter(MemoryTracker(), run_folder)
    writer.start(parent_of())
    for name in write(run_folder, results_of, 3):
        writer.batch_done(name, 3)
    writer.close(on_progress=lambda sent, expected: seen.append((sent, expected)))
    assert seen[-1] == (9, 9)
    assert seen == sorted(seen)


def test_a_batch_that_cannot_be_read_stops_tracking_alone(run_folder, warned):
    """A damaged part is a warning here; the store itself tells the run."""
    summary = tracked(MemoryTracker(), run_folder, ["never-written"])
    assert summary.stopped
    assert len(warned()) == 1


def test_a_resumed_run_sends_nothing_twice(run_folder, results_of, sqlite_store):
    """All batches told again, after trouble: each entity is there once."""
    names = write(run_folder, results_of, 3)
    first = TrackingWriter(sqlite_store.open(), run_folder)
    first.start(parent_of())
    first.batch_done(names[0], 3)
    parent = first.close(RunStatus.KILLED).info.run_id
    second = TrackingWriter(sqlite_store.open(), run_folder)
    second.start(parent_of(run_id=parent))
    for name in names:
        second.batch_done(name, 3)
    summary = second.close()
    assert summary.info.run_id == parent
    assert summary.n_sent == 9
    children = sqlite_store.children(parent)
    assert len(children) == 9
    assert len({run.tags["daskcast.run_key"] for run in children}) == 9
    found = sqlite_store.client.search_runs(
        [summary.info.experiment_id], "tags.`daskcast.entity` = 'e1-0'"
    )
    assert [run.info.run_name for run in found] == ["e1-0"]


@pytest.mark.integration
@pytest.mark.usefixtures("hasty")
def test_a_server_killed_midway_costs_a_warning(run_folder, results_of, proxied, proxy, warned):
    """The server goes while batches are sent: forecasts stay, one warning, an exact account."""
    names = write(run_folder, results_of, 6, size=5)
    killed = []

    def kill(number, path):
        if path.endswith("update"):
            killed.append(number)
        return "drop" if len(killed) > 8 else None

    proxy.fault = kill
    tracker = proxied.open()
    summary = tracked(tracker, run_folder, names, size=5)
    assert summary.stopped
    assert (summary.n_sent, summary.n_failed) == (8, 22)
    assert len(warned()) == 1
    ended = [run for run in proxied.children(summary.info.run_id) if run.status != "RUNNING"]
    assert len(ended) == 8
    proxy.fault = lambda *_: None
    again = TrackingWriter(proxied.open(), run_folder)
    again.start(parent_of(run_id=summary.info.run_id))
    for name in names:
        again.batch_done(name, 5)
    assert again.close().n_sent == 30
    ended = proxied.children(summary.info.run_id)
    assert len(ended) == 30
    assert {run.status for run in ended} == {"FINISHED", "FAILED"}


def test_an_unreachable_server_turns_tracking_off(run_folder, results_of, warned):
    """The run goes on without tracking, after one warning without credentials."""
    tracker = MlflowTracker("http://ann:s3cret@127.0.0.1:9")
    writer = TrackingWriter(tracker, run_folder)
    writer.start(parent_of())
    assert not writer.wait_until_open()
    for name in write(run_folder, results_of, 2):
        writer.batch_done(name, 3)
    summary = writer.close()
    (message,) = warned()
    assert "no connection to the server" in message
    assert "s3cret" not in message
    assert (summary.n_sent, summary.n_failed) == (0, 6)


@pytest.mark.integration
@pytest.mark.usefixtures("hasty")
def test_a_server_that_comes_late_gets_all_of_it(
    run_folder, results_of, proxied, proxy, warned, monkeypatch
):
    """While the run works it is asked again, after one warning."""
    monkeypatch.setattr(writer_module, "AGAIN_S", 0.2)
    asked = threading.Semaphore(0)

    def away(*_):
        asked.release()
        return "drop"

    proxy.fault = away
    writer = TrackingWriter(proxied.open(), run_folder)
    writer.start(parent_of())
    for name in write(run_folder, results_of, 2):
        writer.batch_done(name, 3)
    for _ in range(3):
        assert asked.acquire(timeout=60)
    assert not writer.info.run_id
    proxy.fault = lambda *_: None
    while not writer.info.run_id:
        time.sleep(0.05)
    summary = writer.close()
    (message,) = warned()
    assert "asked again while the run works" in message
    assert (summary.n_sent, summary.n_failed, summary.stopped) == (6, 0, "")
    assert len(proxied.children(summary.info.run_id)) == 6


def test_a_server_that_never_comes_does_not_keep_the_run(run_folder, results_of, warned):
    """The end of the work ends the wait for it."""
    away = Troubled("start", TrackingError("nobody is there", may_pass=True))
    writer = TrackingWriter(away, run_folder)
    writer.start(parent_of())
    for name in write(run_folder, results_of, 2):
        writer.batch_done(name, 3)
    while not warned():
        time.sleep(0.01)
    began = time.monotonic()
    assert not writer.wait_until_open()
    summary = writer.close()
    assert time.monotonic() - began < writer_module.AGAIN_S / 2
    assert (summary.n_sent, summary.n_failed) == (0, 6)
    assert "nobody is there" in summary.stopped
    assert len(warned()) == 2


def test_a_store_that_is_silent_at_the_end_is_not_waited_for(run_folder, results_of, monkeypatch):
    """It did not answer before: what is under way when the work ends gets seconds, no more."""
    monkeypatch.setattr(writer_module, "AGAIN_S", 0.01)
    monkeypatch.setattr(writer_module, "LAST_S", 0.5)
    release, again = threading.Event(), threading.Event()

    class Swallowing(MemoryTracker):
        def start(self, parent):
            if not parent.resumed:
                raise TrackingError("no answer", may_pass=True)
            again.set()
            release.wait(60)
            return super().start(parent)

    writer = TrackingWriter(Swallowing(), run_folder)
    writer.start(parent_of())
    for name in write(run_folder, results_of, 2):
        writer.batch_done(name, 3)
    assert again.wait(60)
    began = time.monotonic()
    assert not writer.wait_until_open()
    summary = writer.close(RunStatus.KILLED)
    assert time.monotonic() - began < 10
    assert (summary.n_sent, summary.n_failed, summary.stopped) == (0, 6, "no answer")
    release.set()
    with only_one(run_folder.url, "tracking", wait_s=20):
        pass


@pytest.mark.integration
@pytest.mark.usefixtures("hasty")
def test_a_parent_whose_opening_was_not_answered_is_there_once(
    run_folder, results_of, proxied, proxy, warned, monkeypatch
):
    """The server made it, and all answers after that were lost: asked again, it is found."""
    monkeypatch.setattr(writer_module, "AGAIN_S", 0.2)
    made = []

    def lose(_number, path):
        if not path.endswith("log-batch") or warned():  # of its parameters
            return None
        made.append(path)
        return "lose"

    proxy.fault = lose
    writer = TrackingWriter(proxied.open(), run_folder)
    parent = replace(parent_of(), tags={"daskcast.run_key": f"{time.time_ns():032x}"})
    writer.start(parent)
    for name in write(run_folder, results_of, 1):
        writer.batch_done(name, 3)
    while not writer.info.run_id:
        time.sleep(0.05)
    summary = writer.close()
    assert made
    assert (summary.n_sent, summary.stopped) == (3, "")
    key = parent.tags["daskcast.run_key"]
    asked = f"tags.`daskcast.run_key` = '{key}'"
    found = proxied.client.search_runs([summary.info.experiment_id], asked)
    assert [run.info.run_id for run in found] == [summary.info.run_id]


@pytest.mark.parametrize(
    ("uri", "may_pass"),
    [
        ("http://127.0.0.1:9", True),
        ("http://nowhere.invalid", True),
        ("postgresql://ann@127.0.0.1:9/mlflow", True),
        ("mysql://ann@nowhere.invalid/mlflow", True),
        ("sqlite:////proc/no/such/folder/mlflow.db", False),
    ],
)
@pytest.mark.usefixtures("hasty")
def test_a_store_that_is_away_is_no_store_that_refuses(uri, may_pass):
    """Only what does not answer is worth another look."""
    with pytest.raises(TrackingError) as caught:
        MlflowTracker(uri).start(parent_of())
    assert caught.value.may_pass == may_pass
    assert pickle.loads(pickle.dumps(caught.value)).may_pass == may_pass


@pytest.mark.integration
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("status", "may_pass"), [(403, False), (400, False), (503, True)])
def test_a_server_that_refuses_is_not_asked_again(proxied, proxy, status, may_pass):
    """A refusal stays one; errors of the server pass."""
    code = {403: "PERMISSION_DENIED", 400: "INVALID_PARAMETER_VALUE"}.get(status, "INTERNAL_ERROR")
    answer = json.dumps({"error_code": code, "message": "no"}).encode()
    proxy.fault = lambda *_: (status, answer)
    with pytest.raises(TrackingError) as caught:
        proxied.open().start(parent_of())
    assert caught.value.may_pass == may_pass


def test_artifacts_of_a_remote_folder_are_fetched_one_by_one(results_of, tmp_path, run_folder):
    """Files of an object store are local while they are looked at, and gone afterwards."""
    url = f"memory://{tmp_path.name}/run"
    folder = RunFolder.create(url, run_folder.manifest)
    folder.write_batch("b0", results_of("JFK"))
    seen = {}
    places = []
    for artifact in artifacts(url):
        name = "/".join(filter(None, (artifact.folder, artifact.path.name)))
        seen[name] = artifact.path.read_bytes()
        places.append(artifact.path)
    assert set(seen) == {
        "run.json", "entities/part-b0.parquet", "forecasts/part-b0.parquet",
        "trials/part-b0.parquet",
    }  # fmt: skip
    memory = fsspec.filesystem("memory")
    assert seen["run.json"] == memory.cat_file(f"/{tmp_path.name}/run/run.json")
    assert not [path for path in places if path.exists()]
