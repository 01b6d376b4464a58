"""Run folders on S3: a real server, and all that may be wrong with one."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
from click.testing import CliRunner
from fsspec.registry import _registry
from s3_server import S3Server
from store_samples import MANIFEST, failed_result, ok_result

from daskcast import demo, foreign, pipeline
from daskcast.cli import main
from daskcast.config import ForecastConfig, RunOptions
from daskcast.errors import StoppedError, StoreError
from daskcast.runs import Run
from daskcast.store import RunFolder, lease, patience

s3fs = pytest.importorskip("s3fs")
pytest.importorskip("moto")

CONFIG = ForecastConfig(h=6, search="portfolio", cv_windows=1)
HOW = ["--horizon", "6", "--search", "portfolio", "--cv-windows", "1", "--no-tracking"]
COMMAND = [sys.executable, "-c", "import sys; from daskcast.cli import main; main(sys.argv[1:])"]
N, BATCH = 24, 2


@pytest.fixture
def place(server: S3Server) -> str:
    """Give the URL of a run folder that is not there yet."""
    return f"s3://bucket/runs/{uuid4().hex}"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return demo.airports(N, months=48)


@pytest.fixture(scope="module")
def undisturbed(
    table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pd.DataFrame]:
    """Give the tables of the same run in a local folder."""
    out = str(tmp_path_factory.mktemp("local") / "run")
    options = RunOptions(out=out, cluster="serial", batch_size=BATCH, tracking=False)
    pipeline.run(table, CONFIG, options)
    return tables(out)


def tables(out: str) -> dict[str, pd.DataFrame]:
    """Read a run as others do, with pandas alone; without what is about time."""
    return {
        name: pd.read_parquet(f"{out}/{name}")
        .sort_values(["unique_id", *keys])
        .drop(columns=["seconds", "batch"], errors="ignore")
        .reset_index(drop=True)
        for name, keys in {"forecasts": ["ds"], "entities": [], "trials": ["trial"]}.items()
    }


def same(out: str, expected: dict[str, pd.DataFrame]) -> None:
    for name, found in tables(out).items():
        pd.testing.assert_frame_equal(found, expected[name], check_exact=True)


def call(data: str, out: str, *more: str) -> list[str]:
    return [*COMMAND, "run", data, *HOW, "--batch-size", str(BATCH), "--out", out, *more]


def told_by_command(*args: str, code: int = 2) -> str:
    """Call a command that ends with a code; give the sentence that it ends with."""
    done = CliRunner().invoke(main, args)
    assert done.exit_code == code, done.output
    assert isinstance(done.exception, SystemExit)
    [told] = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert done.output.endswith(f"{told}\n")
    return told


# -- a whole run -------------------------------------------------------------------------------


@pytest.mark.integration
def test_a_run_on_s3_is_the_same_run(
    server: S3Server, place: str, table: pd.DataFrame, undisturbed: dict[str, pd.DataFrame]
) -> None:
    """Workers read Parquet and write there: equal to the bit, readable, and without a secret."""
    data = f"{place}-data"
    half = sorted(table["unique_id"].unique())[N // 2]
    table[table["unique_id"] < half].to_parquet(f"{data}/1.parquet")
    table[table["unique_id"] >= half].to_parquet(f"{data}/2.parquet")
    done = subprocess.run(
        call(data, place, "--cluster", "local", "--workers", "2"),
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    same(place, undisturbed)
    assert len(Run.open(place).forecasts) == len(undisturbed["forecasts"])
    some = table["unique_id"].iloc[0]
    for args in (["show", place, some], ["logs", place], ["report", place]):
        again = CliRunner().invoke(main, args)
        assert again.exit_code == 0, again.output
    kept = server.objects("bucket", place.removeprefix("s3://bucket/"))
    names = {name.partition(place[-32:])[2] for name in kept}
    assert {"/run.json", "/report.html", "/batches/b00001.json"} <= names
    assert not any(".token" in name for name in names)
    for told in (*(content for content, _ in kept.values()), done.stderr.encode()):
        assert server.secret.encode() not in told
        assert server.key.encode() not in told


@pytest.mark.long
@pytest.mark.integration
def test_a_killed_driver_is_resumed_by_another(
    server: S3Server,
    place: str,
    table: pd.DataFrame,
    undisturbed: dict[str, pd.DataFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What counted stays as it was, to the second; the tables are those of one run."""
    data = str(tmp_path / "data.parquet")
    table.to_parquet(data)
    monkeypatch.setenv(lease.SECONDS, "5")
    key = place.removeprefix("s3://bucket/")
    batches = f"{key}/batches/"
    first = call(data, place, "--cluster", "processes", "--workers", "2")
    with subprocess.Popen(first, stderr=subprocess.DEVNULL) as process:
        while len(server.objects("bucket", batches)) < 3 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    before = server.objects("bucket", batches)
    assert 3 <= len(before) < N // BATCH
    assert f"{key}/.forecasting.lease" in server.objects("bucket", key)
    second = call(data, place, "--cluster", "serial", "--resume")
    done = subprocess.run(second, check=False, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    same(place, undisturbed)
    after = server.objects("bucket", batches)
    assert len(after) == N // BATCH
    assert {name: after[name] for name in before} == before
    assert f"{key}/.forecasting.lease" not in server.objects("bucket", key)


def test_a_second_driver_is_refused(
    server: S3Server,
    place: str,
    table: pd.DataFrame,
    undisturbed: dict[str, pd.DataFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the first one works; it changes nothing of what that one does."""
    monkeypatch.setenv(lease.SECONDS, "8")
    table.to_parquet(tmp_path / "data.parquet")
    second = call(str(tmp_path / "data.parquet"), place, "--cluster", "serial", "--resume")
    told: list[str] = []

    def try_another(progress: Any) -> None:
        if progress.counts.done >= N // 2 and not told:
            told.append(told_by_command(*second[3:], code=3))

    options = RunOptions(out=place, cluster="serial", batch_size=BATCH, tracking=False)
    pipeline.run(table, CONFIG, options, on_progress=try_another)
    assert told[0].startswith(f"Error: another driver works on this run folder {place} (process ")
    same(place, undisturbed)
    assert not RunFolder.open(place).files.exists(".forecasting.lease")


def test_a_lease_that_is_lost_stops_the_run(
    server: S3Server, place: str, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends at its next batch, and leaves to the other what is of the other."""
    monkeypatch.setenv(lease.SECONDS, "2")
    files = RunFolder(place, (80.0,)).files
    others = b'{"owner": "another", "pid": 7, "host": "elsewhere", "n": 1, "seconds": 60}'
    manifest: list[bytes] = []

    def take_over(progress: Any) -> None:
        if progress.counts.done and not manifest:
            files.write(".forecasting.lease", others)
            manifest.append(files.read("run.json"))
            for thread in threading.enumerate():
                if thread.name == "daskcast-lease":
                    thread.join(60)

    options = RunOptions(out=place, cluster="serial", batch_size=BATCH, tracking=False)
    with pytest.raises(StoppedError, match=r"another driver \(process 7 on elsewhere\) has taken"):
        pipeline.run(table, CONFIG, options, on_progress=take_over)
    assert len(RunFolder.open(place).finished()) == 1
    assert files.read(".forecasting.lease") == others
    assert files.read("run.json") == manifest[0]


def test_a_store_that_goes_away_stops_the_run(
    server: S3Server,
    place: str,
    table: pd.DataFrame,
    undisturbed: dict[str, pd.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It can be resumed, and what was kept before counts."""
    monkeypatch.setattr(patience, "_N_TRIES", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv(lease.SECONDS, "5")  # it cannot be given back
    options: dict[str, Any] = {"cluster": "serial", "batch_size": BATCH, "tracking": False}

    def go_away(progress: Any) -> None:
        server.misbehave(status=503, share=int(progress.counts.done >= N // 2))

    with pytest.raises(StoppedError, match=f"{place} could not be written or read: "):
        pipeline.run(table, CONFIG, RunOptions(out=place, **options), on_progress=go_away)
    server.misbehave()
    begun = len(RunFolder.open(place).finished())
    assert N // BATCH // 2 <= begun < N // BATCH
    pipeline.run(table, CONFIG, RunOptions(out=place, resume=True, **options))
    same(place, undisturbed)


@pytest.mark.parametrize("status", [500, 503])
def test_errors_now_and_then_pass(server: S3Server, place: str, status: int) -> None:
    """One request in seven is refused: the folder holds what it should."""
    server.misbehave(status=status, share=7)
    folder = RunFolder.create(place, MANIFEST)
    markers = {
        name: folder.write_batch(name, [ok_result(name), failed_result(f"{name}-failed")])
        for name in ("b1", "b2")
    }
    assert folder.finished() == markers
    assert folder.clean() == []
    assert len(RunFolder.open(place).read("entities")) == 4


def test_the_requests_of_a_batch(server: S3Server, place: str) -> None:
    """A look whether it is new, a PUT for each file, a GET of each; nothing is asked twice."""
    folder = RunFolder.create(place, MANIFEST)
    n_before = len(server.requests())
    folder.write_batch("b1", [ok_result("one")], [{"message": "logged"}])
    asked = [request.partition(" ")[0] for request in server.requests()[n_before:]]
    assert asked == ["GET"] + ["PUT"] * 5 + ["GET"] * 5
    n_before = len(server.requests())
    assert list(folder.finished()) == ["b1"]
    assert len(server.requests()) - n_before == 6


def test_what_others_write_is_seen(server: S3Server, place: str) -> None:
    """What was listed before hides no file of another process, and shows none that is gone."""
    folder = RunFolder.create(place, MANIFEST)
    folder.files.write("batches/b1.json", b"one")
    assert folder.files.names("batches") == ["b1.json"]
    code = "import sys, fsspec; fsspec.open(sys.argv[1], 'wb').open().close()\n"
    code += "fs, path = fsspec.core.url_to_fs(sys.argv[1]); fs.pipe_file(path, b'another')\n"
    code += "fs.rm_file(path.replace('b2.json', 'b1.json'))"
    subprocess.run([sys.executable, "-c", code, f"{place}/batches/b2.json"], check=True)
    assert folder.files.read("batches/b2.json") == b"another"
    assert folder.files.exists("batches/b2.json")
    assert not folder.files.exists("batches/b1.json")
    assert folder.files.names("batches") == ["b2.json"]


# -- what is wrong is told soon, in one sentence -----------------------------------------------


def test_no_bucket(server: S3Server, table: pd.DataFrame, tmp_path: Path) -> None:
    """A mistyped one is told, and not made."""
    table.to_parquet(tmp_path / "data.parquet")
    told = told_by_command(*call(str(tmp_path / "data.parquet"), "s3://buckte/runs/x")[3:])
    assert told.startswith("Error: cannot make the run folder s3://buckte/runs/x: ")
    assert "bucket does not exist" in told
    assert server.buckets() == ["bucket"]
    assert "there is no run at s3://buckte/x" in told_by_command("report", "s3://buckte/x")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_keys(place: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of the store, and what to look at; nothing of the key."""
    RunFolder.create(place, MANIFEST)
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv(name, "AKIAhunter2")
    told = told_by_command("report", place)
    assert told.startswith(f"Error: cannot read the run folder {place}: The ")
    assert told.endswith("; check the credentials and what they allow")
    assert "hunter2" not in told
    with pytest.raises(StoreError, match=f"cannot make the run folder {place}-b: The .*; check"):
        RunFolder.create(f"{place}-b", MANIFEST)


def test_no_keys(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client says of them is no traceback."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert told_by_command("report", place).endswith(": Unable to locate credentials")


def test_keys_in_the_url(server: S3Server) -> None:
    """They are refused, and not repeated."""
    told = told_by_command("report", "s3://AKIA:hunter2@bucket/x")
    assert told.startswith("Error: cannot use the run folder s3://bucket/x: ")
    assert "in the environment" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("http://127.0.0.1:9", "Could not connect to the endpoint URL"),
        ("minio:9000", "Invalid endpoint: minio:9000"),
    ],
)
def test_no_such_endpoint(
    place: str, endpoint: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told within seconds, however often the client tries by itself."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    began = time.monotonic()
    assert f"cannot read the run folder {place}: {words}" in told_by_command("report", place)
    assert time.monotonic() - began < 25


def test_no_such_endpoint_for_a_new_run(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told before the data are looked at."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    told = told_by_command(*call(str(tmp_path / "nothing.parquet"), place)[3:])
    assert told.startswith(f"Error: cannot use the run folder {place}: Could not connect")


@pytest.mark.parametrize("status", [0, 503])
def test_how_to_go_on(
    server: S3Server, place: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away is no sign that nothing was begun."""
    if status:
        monkeypatch.setattr(patience, "_N_TRIES", 1)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    def stop(*_: Any, **__: Any) -> None:
        server.misbehave(status=status, share=int(status > 0))
        raise StoppedError("the store is away")

    monkeypatch.setattr(pipeline, "run", stop)
    done = CliRunner().invoke(main, call("data.parquet", place)[3:])
    assert done.exit_code == 3
    assert ("nothing was begun" in done.output) == (status == 0)
    assert ("go on with: daskcast run data.parquet" in done.output) == (status == 503)


def test_an_endpoint_that_never_answers(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for a while, not for the client's many tries of a minute each."""
    monkeypatch.setattr(foreign, "ANSWER_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(StoreError, match=r"cannot use the run folder .*: no answer in time"):
            RunFolder.is_at(place)
        assert time.monotonic() - began < 20


def test_no_s3fs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that is missing is named."""
    monkeypatch.delitem(_registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    told = told_by_command("report", "s3://bucket/x")
    assert told == "Error: cannot use the run folder s3://bucket/x: Install s3fs to access S3"


def test_is_a_run_there(place: str) -> None:
    """A damaged one is there, too."""
    assert not RunFolder.is_at(place)
    folder = RunFolder.create(place, MANIFEST)
    assert RunFolder.is_at(place)
    folder.files.write("run.json", b"{")
    assert RunFolder.is_at(place)
