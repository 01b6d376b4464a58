"""Faults of what is around a run: a full disk, clocks that jump. As a person meets them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from daskcast import demo
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


@pytest.mark.parametrize("cluster", ["processes", "local"])
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
