"""Faults of what is around a run: a full disk, clocks that jump. As a person meets them."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from daskcast import demo
from daskcast.api import forecast
from daskcast.errors import StoppedError
from daskcast.store import RunFolder

N_ENTITIES, BATCH = 160, 8
MAIN = "import sys; from daskcast.cli import main; main(sys.argv[1:])"

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "airports.csv"
    demo.airports(N_ENTITIES, months=48).to_csv(path, index=False)
    return path


def daskcast(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, args)],
        env={**os.environ, **env},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def run(data: Path, out: Path, *more: object, **env: str) -> subprocess.CompletedProcess[str]:
    how = ["--horizon", 6, "--search", "portfolio", "--cv-windows", 1, "--workers", 2]
    how += ["--batch-size", BATCH, "--out", out]
    return daskcast("run", data, *how, *more, **env)


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    out = tmp_path_factory.mktemp("plain") / "run"
    done = run(data, out, "--cluster", "processes", "--no-tracking")
    assert done.returncode == 0, done.stderr
    return rows(out)


def rows(out: Path) -> pd.DataFrame:
    table = pd.read_parquet(out / "forecasts")
    return table.sort_values(["unique_id", "ds"]).reset_index(drop=True)


# -- a full disk -------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of 500 kB, which holds about half of the run."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(place)]
    if sys.platform != "linux":
        pytest.skip("needs the mount of Linux")
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("cluster", [pytest.param("processes", marks=pytest.mark.long), "local"])
def test_a_disk_that_fills_up(
    cluster: str, disk: Path, data: Path, undisturbed: pd.DataFrame
) -> None:
    """The run stops at once and says where there is no room; with room, it ends as any other."""
    how = ["--cluster", cluster, "--no-tracking"]
    stopped = run(data, disk / "run", *how)
    assert stopped.returncode == 3, stopped.stderr
    told = stopped.stderr[stopped.stderr.rindex("Error: ") :]
    assert f"the run folder {disk / 'run'} takes no more" in told
    assert "No space left on device" in told
    assert "make room there" in told
    n_kept = int(re.search(r"(\d+) of 20 batches are finished and kept", told)[1])
    assert 2 <= n_kept <= 18
    assert re.search(rf"go on with: daskcast run .* --out {disk}/run .*--resume\n$", told)
    assert "Traceback" not in stopped.stderr
    folder = RunFolder.open(str(disk / "run"))
    assert len(folder.finished()) == n_kept
    assert len(folder.finished_ids()) == n_kept * BATCH
    assert not [p for p in disk.rglob("*") if p.name.endswith(".tmp")]
    subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
    resumed = run(data, disk / "run", *how, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    pd.testing.assert_frame_equal(rows(disk / "run"), undisturbed, check_exact=True)


def test_a_disk_that_is_read_only(disk: Path, data: Path) -> None:
    """Refused before any work, with the reason."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    refused = run(data, disk / "run", "--cluster", "serial", "--no-tracking")
    assert refused.returncode == 2
    assert "cannot make the run folder" in refused.stderr
    assert "Read-only file system" in refused.stderr


# -- clocks that jump --------------------------------------------------------------------------

JUMPING = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The wall clock of each process goes to and fro by hours, four times a second; no other does. */
static const long HOURS[] = {0, 5, -7, 26, -3, 0, -49};

int clock_gettime(clockid_t which, struct timespec *now)
{
    struct timespec steady;
    int failed = syscall(SYS_clock_gettime, which, now);
    if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &steady);
        long quarters = steady.tv_sec * 4 + steady.tv_nsec / 250000000;
        now->tv_sec += 3600 * HOURS[(quarters + getpid()) % 7];
    }
    return failed;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec told;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &told);
    now->tv_sec = told.tv_sec;
    now->tv_usec = told.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where)
{
    struct timespec told;
    clock_gettime(CLOCK_REALTIME, &told);
    if (where) *where = told.tv_sec;
    return told.tv_sec;
}
"""


@pytest.fixture(scope="module")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the environment in which the clock of every process jumps.

    In C, as the datetime of Python cannot be replaced below pandas.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler, to stand between programs and their clock")
    place = tmp_path_factory.mktemp("clock")
    (place / "clock.c").write_text(JUMPING)
    library = place / "clock.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, place / "clock.c"], check=True
    )
    return {"LD_PRELOAD": str(library)}


def test_the_clock_of_the_test_jumps(jumping: dict[str, str]) -> None:
    """Within two seconds, a process sees times that differ by more than a day, and go back."""
    code = (
        "import datetime, time\nfor _ in range(20):\n"
        "    print(time.time(), datetime.datetime.now().timestamp()); time.sleep(0.1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **jumping},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    for seen in zip(*(map(float, line.split()) for line in done.stdout.splitlines()), strict=True):
        assert max(seen) - min(seen) > 86_400
        assert list(seen) != sorted(seen)


@pytest.mark.parametrize("cluster", [pytest.param("processes", marks=pytest.mark.long), "local"])
def test_clocks_that_jump(
    cluster: str, jumping: dict[str, str], data: Path, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    """The clocks of driver and workers go to and fro by hours: nothing of the run does."""
    begun = time.monotonic()
    done = run(
        data,
        tmp_path / "run",
        *("--cluster", cluster, "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"),
        **jumping,
    )
    lasted = time.monotonic() - begun
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(rows(tmp_path / "run"), undisturbed, check_exact=True)
    assert "Traceback" not in done.stderr
    check_seconds(tmp_path / "run", lasted)
    check_runs(tmp_path / "mlflow.db")
    told = daskcast("logs", tmp_path / "run")
    lines = told.stdout.splitlines()
    assert told.returncode == 0
    assert any("rows of 160 entities" in line for line in lines)
    assert all(re.match(r"20\d\d-\d\d-\d\dT[\d:.]+\+00:00 [A-Z]+ ", line) for line in lines)


def check_seconds(out: Path, lasted: float) -> None:
    """Check that what a run says of its time is between nothing and what it took."""
    manifest = json.loads((out / "run.json").read_text())
    spent = manifest["seconds"]
    walls = [one["wall"] for one in spent.values() if isinstance(one, dict) and "wall" in one]
    assert 0 < spent["total"] < lasted
    assert walls
    assert all(0 <= wall < lasted for wall in walls)
    entities = pd.read_parquet(out / "entities")
    assert entities["seconds"].between(0, lasted).all()
    assert not (entities["stopped_by"] == "time").any()
    assert pd.read_parquet(out / "trials")["seconds"].between(0, lasted).all()


def check_runs(store: Path) -> None:
    """Every run of MLflow ends, and not before it began."""
    with closing(sqlite3.connect(store)) as database:
        runs = database.execute("SELECT status, start_time, end_time FROM runs").fetchall()
    assert len(runs) == N_ENTITIES + 1
    assert {status for status, _, _ in runs} <= {"FINISHED", "FAILED"}
    assert all(end >= start for _, start, end in runs)


def test_a_run_resumed_at_an_earlier_time(data: Path, tmp_path: Path) -> None:
    """The clock was set back by a day between the two: nothing is missed, nothing done twice."""
    out = tmp_path / "run"
    how: dict[str, Any] = {"h": 6, "search": "portfolio", "cv_windows": 1, "cluster": "serial"}
    how |= {"tracking": None, "out": out, "batch_size": 40}

    def stop(progress: Any) -> None:
        if progress.counts.batches == 2:
            raise KeyboardInterrupt

    with pytest.raises(StoppedError):
        forecast(str(data), on_progress=stop, **how)
    folder = RunFolder.open(str(out))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    folder.write_manifest({**folder.manifest, "started": tomorrow.isoformat()})
    os.utime(out / "run.json", (tomorrow.timestamp(),) * 2)
    done = forecast(str(data), resume=True, **how)
    assert done.counts.done == N_ENTITIES
