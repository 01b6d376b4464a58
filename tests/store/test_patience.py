"""A distant store that fails now and then costs time, never a result."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest
from flaky_store import FlakyFileSystem
from store_samples import MANIFEST, failed_result, ok_result

from daskcast import demo
from daskcast.errors import StoreError
from daskcast.store import RunFolder, patience
from daskcast.store.files import RemoteFiles

HERE = Path(__file__).parent
OPERATIONS = {
    *("read", "info", "list", "remove before", "remove after"),
    *("write before", "write after", "write torn", "write torn in silence"),
}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect the waits instead of sleeping, with the longest of each by chance."""
    found: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", found.append)
    monkeypatch.setattr(patience.random, "uniform", lambda _low, high: high)
    return found


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, waits: list[float]) -> str:
    """Give the URL of a flaky store that is known to fsspec here."""
    monkeypatch.setenv("FLAKY_SEED", "7")
    monkeypatch.setenv("FLAKY_LOG", str(tmp_path / "faults.log"))
    fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)
    return f"flaky://{tmp_path}/store"


def faults(tmp_path: Path) -> Counter[str]:
    return Counter((tmp_path / "faults.log").read_text().splitlines())


def failing(errors: list[OSError]) -> Any:
    def operation() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    return operation


def test_waits_double_up_to_a_bound(waits: list[float]) -> None:
    """Six failures are waited out, each longer than the one before; the seventh is raised."""
    assert patience.patiently("x", failing([TimeoutError()] * 6)) == "done"
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
    with pytest.raises(ConnectionResetError):
        patience.patiently("x", failing([ConnectionResetError()] * 7))


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file"),
        PermissionError(13, "Permission denied"),
        FileExistsError(17, "File exists"),
        IsADirectoryError(21, "Is a directory"),
        NotADirectoryError(20, "Not a directory"),
        OSError(28, "No space left on device"),
        OSError(30, "Read-only file system"),
    ],
)
def test_what_stays_is_raised_at_once(error: OSError, waits: list[float]) -> None:
    """No second look makes a file appear, a right be granted or a disk empty."""
    with pytest.raises(type(error)):
        patience.patiently("x", failing([error]))
    assert waits == []


def test_what_takes_long_is_not_tried_seven_times(waits: list[float]) -> None:
    """After its time nothing is tried once more; before the first try has failed it has none."""
    errors: list[OSError] = [TimeoutError()] * 7
    with pytest.raises(TimeoutError):
        patience.patiently("x", failing(errors), within_s=-1)
    assert (waits, len(errors)) == ([], 6)


def test_what_was_given_up_is_asked_once_until_it_answers(waits: list[float]) -> None:
    """A run that ends because of a store does not wait for it again and again."""
    errors: list[OSError] = [TimeoutError()] * 10
    for left in (3, 2, 1):
        with pytest.raises(TimeoutError):
            patience.patiently("x", failing(errors), place="bucket/run")
        assert (len(waits), len(errors)) == (6, left)
    assert patience.patiently("x", failing([]), place="bucket/run") == "done"
    assert patience.patiently("x", failing(errors), place="bucket/run") == "done"
    assert (len(waits), len(errors)) == (7, 0)
    assert patience.patiently("x", failing([TimeoutError()]), place="another") == "done"


def test_the_log_tells_without_secrets(
    waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """What was done again is logged once each, without the credentials of a URL."""
    error = OSError(5, "https://me:hunter2@store/x answered 503")
    with caplog.at_level("INFO", "daskcast"):
        patience.patiently("reading https://me:hunter2@store/x", failing([error]))
    [record] = caplog.records
    assert "reading https://store/x failed, once more" in record.getMessage()
    assert "hunter2" not in record.getMessage()


def test_every_kind_of_fault_passes(flaky: str, tmp_path: Path) -> None:
    """Whatever fails, a run folder holds, lists and removes what it should."""
    folder = RunFolder.create(flaky, MANIFEST)
    names = [f"b{number:03d}" for number in range(60)]
    for name in names:
        folder.write_batch(name, [ok_result(name), failed_result(f"{name}-failed")], [])
    for name in names[::3]:
        folder.files.remove(f"batches/{name}.json")
    left = [name for name in names if name not in names[::3]]
    assert sorted(folder.finished()) == left
    assert len(folder.clean()) == 3 * len(names[::3])
    assert len(folder.read("entities")) == 2 * len(left)
    folder.write_manifest({**MANIFEST, "counts": {"ok": len(left)}})
    assert folder.manifest["counts"] == {"ok": len(left)}
    assert set(faults(tmp_path)) == OPERATIONS


def test_a_run_that_cannot_be_seen_is_not_written_over(
    flaky: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that fails when it is asked for a run never counts as an empty one."""
    RunFolder.create(flaky, MANIFEST)
    for seed in range(20):
        monkeypatch.setenv("FLAKY_SEED", str(seed))
        with pytest.raises(StoreError, match="holds a run"):
            RunFolder.create(flaky, MANIFEST)
    monkeypatch.setenv("FLAKY_SHARE", "1")
    with pytest.raises(OSError, match=r"Input/output|reset|answer|unavailable"):
        RemoteFiles(FlakyFileSystem(), str(tmp_path / "store")).exists("run.json")


def test_two_files_of_one_name(flaky: str, tmp_path: Path) -> None:
    """Creating refuses what is there, also where an earlier write said that it failed."""
    files = RunFolder.create(flaky, MANIFEST).files
    for number in range(20):
        files.create(f"logs/{number}", b"mine")
        with pytest.raises(FileExistsError):
            files.create(f"logs/{number}", b"yours")
        assert files.read(f"logs/{number}") == b"mine"


# -- a whole run -------------------------------------------------------------------------------


def forecast_in(out: str, data: Path, **env: str) -> subprocess.CompletedProcess[str]:
    args = ["run", str(data), "--horizon", "6", "--search", "portfolio", "--cv-windows", "1"]
    args += ["--cluster", "processes", "--workers", "2", "--batch-size", "8"]
    args += ["--no-tracking", "--out", out]
    code = "import sys; from daskcast.cli import main; main(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        env={**os.environ, **env},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def rows(folder: Path) -> pd.DataFrame:
    table = pd.read_parquet(folder / "forecasts")
    return table.sort_values(["unique_id", "ds"]).reset_index(drop=True)


@pytest.mark.integration
def test_a_run_on_a_flaky_store_is_the_same_run(tmp_path: Path) -> None:
    """With processes that write there, and all kinds of operations failing: equal to the bit."""
    known = tmp_path / "site" / "flaky_store-1.dist-info"
    known.mkdir(parents=True)
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: flaky-store\nVersion: 1\n")
    (known / "entry_points.txt").write_text("[fsspec.specs]\nflaky = flaky_store:FlakyFileSystem\n")
    paths = [str(known.parent), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    data = tmp_path / "airports.csv"
    demo.airports(60, months=48).to_csv(data, index=False)
    plain = forecast_in(str(tmp_path / "plain"), data)
    assert plain.returncode == 0, plain.stderr
    found = forecast_in(
        f"flaky://{tmp_path}/flaky",
        data,
        PYTHONPATH=os.pathsep.join(paths),
        FLAKY_SEED="3",
        FLAKY_LOG=str(tmp_path / "faults.log"),
    )
    assert found.returncode == 0, found.stderr
    assert sum(faults(tmp_path).values()) >= 10
    pd.testing.assert_frame_equal(
        rows(tmp_path / "flaky"), rows(tmp_path / "plain"), check_exact=True
    )
