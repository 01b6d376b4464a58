"""What half a write, a damaged disk, a killed process or a full disk leave behind."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import MANIFEST, failed_result, ok_result

from daskcast.errors import StoreError
from daskcast.store import TABLES, RunFolder

PARTS = [*(f"{table}/part-b1.parquet" for table in TABLES), "logs/part-b1.jsonl"]
HERE = str(Path(__file__).parent)


def written(folder: RunFolder) -> RunFolder:
    record = {"level": "INFO", "message": "m", "entity": "JFK"}
    folder.write_batch("b1", [ok_result(), failed_result()], [record])
    folder.write_batch("b2", [ok_result("EWR")], [record])
    return folder


@pytest.mark.parametrize("name", [*PARTS, "batches/b1.json"])
@pytest.mark.parametrize("damage", ["missing", "half", "empty", "longer"])
def test_a_damaged_file_unfinishes_its_batch(folder: RunFolder, name: str, damage: str) -> None:
    """The batch does not count, can be cleaned away and done again; its neighbour stands."""
    files = written(folder).files
    data = files.read(name)
    if damage == "missing":
        files.remove(name)
    else:
        damaged = {"half": data[: len(data) // 2], "empty": b"", "longer": data + b"x"}
        files.write(name, damaged[damage])
    assert set(folder.finished()) == {"b2"}
    assert folder.finished_ids() == {"EWR"}
    removed = folder.clean()
    expected = {*PARTS, "batches/b1.json"} - ({name} if damage == "missing" else set())
    assert set(removed) == expected
    folder.write_batch("b1", [ok_result(), failed_result()])
    assert folder.finished_ids() == {"EWR", "JFK", "LGA"}
    assert folder.read("forecasts").num_rows == 6


@settings(max_examples=60, deadline=None)
@given(which=st.sampled_from([*PARTS, "batches/b1.json"]), data=st.data())
def test_one_changed_byte_is_noticed(which: str, data: st.DataObject) -> None:
    """Whichever bit of a part or a marker flips, the batch does not count."""
    fsspec.filesystem("memory").store.clear()
    folder = written(RunFolder.create("memory://bits/run", MANIFEST))
    content = bytearray(folder.files.read(which))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    folder.files.write(which, bytes(content))
    assert set(folder.finished()) == {"b2"}
    if which.startswith("batches"):
        with pytest.raises(StoreError, match=r"b1 .* is unfinished or damaged"):
            folder.read("entities", ["b1"])


@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_part_is_never_read(folder: RunFolder, table: str) -> None:
    """Reading a table with a damaged part says so, rather than leave its entities out."""
    files = written(folder).files
    name = f"{table}/part-b1.parquet"
    files.write(name, files.read(name)[:-1] + b"\0")
    with pytest.raises(StoreError, match=r"b1 of the run folder .* damaged; resume"):
        folder.read(table)
    assert folder.read(table, ["b2"]).num_rows > 0


def test_a_marker_of_another_batch_does_not_count(folder: RunFolder) -> None:
    """A marker that was copied under another name stands for nothing."""
    files = written(folder).files
    files.write("batches/b3.json", files.read("batches/b1.json"))
    for table in TABLES:
        files.write(f"{table}/part-b3.parquet", files.read(f"{table}/part-b1.parquet"))
    assert set(folder.finished()) == {"b1", "b2"}


def test_clean_keeps_what_is_not_ours(local: RunFolder) -> None:
    """Logs of the run, files of others and finished batches stay; half writes go."""
    root = Path(written(local).url)
    local.write_logs("driver", [{"level": "INFO", "message": "m"}])
    (root / "entities" / "notes.txt").write_text("mine")
    (root / "batches" / "README").write_text("mine")
    (root / "entities" / f".part-b7.parquet.{'0' * 16}.tmp").write_bytes(b"half")
    (root / "trials" / "part-b7.parquet").write_bytes(b"whole, without a marker")
    assert local.clean() == [
        f"entities/.part-b7.parquet.{'0' * 16}.tmp",
        "trials/part-b7.parquet",
    ]
    assert local.clean() == []
    assert (root / "logs" / "part-run-driver.jsonl").exists()
    assert set(local.finished()) == {"b1", "b2"}


def test_half_writes_do_not_disturb_pandas(local: RunFolder) -> None:
    """A file that is being written beside its name is no part of the table."""
    root = Path(written(local).url)
    (root / "entities" / f".part-b7.parquet.{'0' * 16}.tmp").write_bytes(b"half")
    assert len(pd.read_parquet(root / "entities")) == 3


def test_a_failed_write_leaves_nothing_beside(
    local: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk refuses to sync, no batch counts and no half file stays."""

    def refuse(_number: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match=r"part-b1\.parquet"):
        local.write_batch("b1", [ok_result()])
    assert [p.name for p in Path(local.url).rglob("*") if p.is_file()] == ["run.json"]


def test_the_same_batch_by_two_writers_at_once(folder: RunFolder) -> None:
    """However the files of two that do the same work mix, each batch counts in the end."""
    names = [f"b{number:02d}" for number in range(15)]
    barrier = threading.Barrier(2, timeout=60)

    def write(seconds: float) -> None:
        for name in names:
            barrier.wait()
            folder.write_batch(name, [ok_result(f"{name}-{k}", seconds=seconds) for k in range(9)])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (1.0, 2.0)))
    assert sorted(folder.finished()) == names
    for name in names:
        assert len(set(folder.read("entities", [name])["seconds"].to_pylist())) == 1


def test_a_place_that_forgets(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not read back as it was written is told, not counted."""
    kind = type(folder.files)
    write = kind.write
    monkeypatch.setattr(
        kind, "write", lambda self, name, data: write(self, name, data.replace(b"PAR1", b"PAR0"))
    )
    with pytest.raises(OSError, match="does not read back"):
        folder.write_batch("b1", [ok_result()])
    assert folder.finished() == {}


# -- real processes ----------------------------------------------------------------------------

WRITER = """
import sys
sys.path.insert(0, {here!r})
from store_samples import failed_result, ok_result
from daskcast.store import RunFolder

folder = RunFolder.open(sys.argv[1])
for number in range(int(sys.argv[2]), 100_000):
    ids = [f"{{number}}-{{k}}" for k in range(20)]
    results = [*map(ok_result, ids), failed_result(f"{{number}}-failed")]
    folder.write_batch(f"b{{number:05d}}", results, [{{"level": "INFO", "message": "m"}}])
    sys.stdout.write("one\\n")
    sys.stdout.flush()
"""


def start_writer(folder: RunFolder, first: int) -> subprocess.Popen[str]:
    code = textwrap.dedent(WRITER).format(here=HERE)
    command = [sys.executable, "-c", code, folder.url, str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_killed_writers_leave_whole_batches(local: RunFolder) -> None:
    """Killed at random moments, a writer leaves only batches that are complete, or do not count."""
    rng = random.Random(7)
    n_before = 0
    for start in range(5):
        writer = start_writer(local, start * 20_000)
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "one\n"
            time.sleep(rng.uniform(0.01, 0.3))  # the moment of the kill is what is tested
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.communicate(timeout=60)
        finished = local.finished()
        assert len(finished) > n_before, "what was written before the kill is gone"
        n_before = len(finished)
    local.clean()
    check_whole(local, n_entities=21)


def check_whole(folder: RunFolder, *, n_entities: int) -> None:
    """Every batch has all its entities in all tables, as pandas reads them too."""
    finished = folder.finished()
    root = Path(folder.url)
    for batch in finished:
        ids = {f"{int(batch[1:])}-{k}" for k in range(n_entities - 1)}
        entities = folder.read("entities", [batch])["unique_id"].to_pylist()
        assert set(entities) == {*ids, f"{int(batch[1:])}-failed"}
        assert len(entities) == n_entities
        forecasts = folder.read("forecasts", [batch])["unique_id"].to_pylist()
        assert sorted(forecasts) == sorted([*ids] * 3)
    assert len(pd.read_parquet(root / "entities")) == n_entities * len(finished)
    assert len(pd.read_parquet(root / "forecasts")) == 3 * (n_entities - 1) * len(finished)
    names = {p.name.removeprefix("part-").partition(".")[0] for p in (root / "trials").iterdir()}
    assert names == set(finished)


LIMITED = """
import resource, signal, sys
sys.path.insert(0, {here!r})
from store_samples import ok_result
from daskcast.store import RunFolder

folder = RunFolder.open(sys.argv[1])
folder.write_batch("b1", [ok_result()])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))
try:
    folder.write_batch("b2", [ok_result(f"{{k:04d}}" * 20) for k in range(2_000)])
except OSError as error:
    sys.stdout.write(f"{{error.errno}} {{error.filename}}")
"""


def test_no_room_for_a_part(local: RunFolder) -> None:
    """A write that is refused midway is told with its file; the batch before it stands."""
    code = textwrap.dedent(LIMITED).format(here=HERE)
    command = [sys.executable, "-c", code, local.url]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    number, name = done.stdout.split(" ", 1)
    assert int(number) == errno.EFBIG
    assert name.endswith("part-b2.parquet")
    assert set(local.finished()) == {"b1"}
    assert not [p for p in Path(local.url).rglob("*") if p.name.endswith(".tmp")]
    local.clean()
    assert len(pd.read_parquet(Path(local.url) / "entities")) == 1


def write_many(folder: RunFolder, *, n: int) -> None:
    for number in range(n):
        folder.write_batch(f"b{number:03d}", [ok_result(f"{number}")])


def test_a_full_disk(tmp_path: Path) -> None:
    """On a disk that fills up, what was durable stays and the rest does not count."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if sys.platform != "linux":
        pytest.skip("needs the mount of Linux")
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk here")
    try:
        folder = RunFolder.create(str(disk / "run"), MANIFEST)
        with pytest.raises(OSError, match="No space left") as caught:
            write_many(folder, n=1_000)
        assert caught.value.errno == errno.ENOSPC
        finished = folder.finished()
        assert finished
        folder.clean()
        assert folder.finished() == finished
        assert len(pd.read_parquet(disk / "run" / "entities")) == len(finished)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
