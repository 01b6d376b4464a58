"""Tables that are bombs: refused in words, before they fill the memory."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daskcast.config import ForecastConfig
from daskcast.errors import DataError
from daskcast.panel import limits, open_source

ROW = b"a,2024-01-01,1\n"
HEADER = b"unique_id,ds,y\n"

OPENING = """
import json, os, resource, sys
import numpy, pandas, pyarrow.csv, pyarrow.parquet
from distributed import system  # what it takes to import is not what the table takes
resource.setrlimit(resource.RLIMIT_RSS, (1 << 30, 1 << 30))
system.MEMORY_LIMIT = system.memory_limit()  # now 1 GiB: a small machine
from daskcast.config import ForecastConfig
from daskcast.errors import DataError
from daskcast.panel import open_source

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = peak()
try:
    source = open_source(sys.argv[1], ForecastConfig(h=1))
    source.select(numpy.arange(len(source.ids))).load()
    problems = []
except DataError as error:
    problems = list(error.problems)
print(json.dumps({"problems": problems, "grown_mb": (peak() - before) / 1024}), flush=True)
os._exit(0)  # threads of Arrow that still read ahead abort the end of a process now and then
"""


def opened(path: Path) -> tuple[str, float]:
    """Open a table on a machine of 1 GiB; give what was said and the megabytes that it took."""
    done = subprocess.run(
        [sys.executable, "-c", OPENING, str(path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return "\n".join(told["problems"]), told["grown_mb"]


def repeated(n: int, unique_id: str = "a") -> pa.Table:
    """Give one row, said ``n`` times, as long runs."""
    ids = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), n), [unique_id])
    times = pa.repeat(pa.scalar(1, pa.int64()), n)
    return pa.table({"unique_id": ids, "ds": times, "y": pa.repeat(pa.scalar(1.0), n)})


def parquet(path: Path, table: pa.Table, **options: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path, store_schema=False, **options)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give 40 million rows in a file of a few hundred kilobytes, in row groups of ten million."""
    path = tmp_path_factory.mktemp("bomb") / "runs.parquet"
    with pq.ParquetWriter(path, repeated(1).schema, compression="zstd") as writer:
        table = repeated(10_000_000)
        for _ in range(4):
            writer.write_table(table, row_group_size=len(table))
    assert path.stat().st_size < 1_000_000
    return path


def test_a_parquet_of_long_runs(runs: Path) -> None:
    """Its footer promises more than half of the memory: refused with the numbers, unopened."""
    told, grown_mb = opened(runs)
    assert "runs.parquet" in told
    assert "it promises 40,000,000 rows, which take 2.6 GB in memory" in told
    assert "at most 536.9 MB, 50.0% of the memory here" in told
    assert "give a folder of Parquet files" in told
    assert grown_mb < 60


def test_a_row_group_of_long_runs(runs: Path) -> None:
    """A folder is read in parts, so it is the row group that must not be too large."""
    told, grown_mb = opened(runs.parent)
    assert "runs.parquet: row groups that are read at once promise 10,000,000 rows" in told
    assert "12.5% of the memory" in told
    assert "smaller row groups" in told
    assert grown_mb < 60


def test_a_compressed_column(tmp_path: Path) -> None:
    """Few rows of long numbers that compress to nothing are counted by their bytes."""
    n = 40
    texts = pa.array(["1" * 20_000_000] * n)
    table = pa.table({"unique_id": ["a"] * n, "ds": texts, "y": [1.0] * n})
    path = parquet(tmp_path / "a.parquet", table, use_dictionary=False, compression="zstd")
    assert path.stat().st_size < 1_000_000
    told, grown_mb = opened(path)
    assert "it promises 40 rows, which take 800.0 MB" in told
    assert grown_mb < 60


def test_one_long_text_in_many_rows(tmp_path: Path) -> None:
    """An id of 60 kB in 100,000 rows is 6 GB as plain text, and one text as it is read."""
    path = parquet(tmp_path / "a.parquet", repeated(100_000, "x" * 60_000))
    for place in (path, tmp_path):
        told, grown_mb = opened(place)
        assert told == ""
        assert grown_mb < 150


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_endless_id(tmp_path: Path, kind: str) -> None:
    """An id of 100 MB names nobody."""
    table = pa.table({"unique_id": ["x" * 100_000_000], "ds": [1], "y": [1.0]})
    path = parquet(tmp_path / "a.parquet", table)
    told, grown_mb = opened(path if kind == "file" else tmp_path)
    assert "column 'unique_id' holds an id of 100,000,000 bytes, at most 65,536 are taken" in told
    assert grown_mb < 500


def test_a_long_id_is_fine(tmp_path: Path) -> None:
    """The limit is far beyond any name."""
    path = tmp_path / "a.csv"
    path.write_bytes(HEADER + b"x" * limits.LONGEST_ID + b",2024-01-01,1\n")
    assert len(open_source(path, ForecastConfig(h=1)).ids[0]) == limits.LONGEST_ID


@pytest.mark.long
def test_very_many_columns(tmp_path: Path) -> None:
    """A table as wide as that is no long table, whatever the file."""
    names = [f"c{i}" for i in range(limits.MOST_COLUMNS)]
    wide = parquet(tmp_path / "a.parquet", pa.table({name: [1] for name in ["y", *names]}))
    text = tmp_path / "b.csv"
    text.write_text(",".join(["y", *names[:-1], "d", "e"]) + "\n")
    for path in (wide, text):
        told, grown_mb = opened(path)
        assert "found 100,00" in told
        assert "at most 100,000 are read; expected a long table" in told
        assert grown_mb < 600


def test_a_huge_footer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Very many row groups are refused by the size of the footer, not read first."""
    table = repeated(200)
    path = parquet(tmp_path / "a.parquet", table, row_group_size=1)
    monkeypatch.setattr(limits, "LARGEST_FOOTER", 10_000)
    monkeypatch.setattr(pq, "ParquetFile", None)
    for place in (path, tmp_path):
        with pytest.raises(DataError, match=r"footer has .* kB, at most 10.0 kB .* larger row gr"):
            open_source(place, ForecastConfig(h=1))


@pytest.mark.parametrize("size", [8, 2_000_000_000])
def test_a_footer_of_a_length_that_cannot_be(tmp_path: Path, size: int) -> None:
    """A length beyond the file, or of nothing, is damage, told as such."""
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + b"x" * 100 + size.to_bytes(4, "little") + b"PAR1")
    with pytest.raises(DataError, match="as Parquet"):
        open_source(path, ForecastConfig(h=1))


def test_a_bomb_of_gzip(tmp_path: Path) -> None:
    """40 million rows in a megabyte: reading stops at the limit."""
    path = tmp_path / "a.csv.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(HEADER)
        for _ in range(40):
            file.write(ROW * 1_000_000)
    assert path.stat().st_size < 3_000_000
    told, grown_mb = opened(path)
    assert "it holds more than 8,4" in told
    assert "50.0% of the memory" in told
    assert grown_mb < 500


@pytest.mark.parametrize("start", [b"", HEADER, HEADER + ROW, HEADER + ROW + b'"'])
def test_an_endless_line(tmp_path: Path, start: bytes) -> None:
    """500 MB without an end of the line, at the start or later, are not read to their end."""
    path = tmp_path / "a.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(start)
        for _ in range(50):
            file.write(b"x" * 10_000_000)
    told, grown_mb = opened(path)
    assert "a line of it has no end within 1.0 MB; expected one line for each row" in told
    assert grown_mb < 100


def test_a_bomb_from_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fsspec reaches is read as a stream, too, and the process goes on."""
    monkeypatch.setattr(limits, "memory", lambda: 1 << 24)
    place = fsspec.filesystem("memory")
    for name, n_rows in (("ok", 1_000), ("bomb", 1_000_000)):
        place.pipe_file(f"/limits/{name}.csv.gz", gzip.compress(HEADER + ROW * n_rows))
    assert open_source("memory://limits/ok.csv.gz", ForecastConfig(h=1)).n_rows == 1_000
    with pytest.raises(DataError, match=r"bomb.*it holds more than [\d,]+ rows"):
        open_source("memory://limits/bomb.csv.gz", ForecastConfig(h=1))


def test_the_limit_is_a_share_of_the_memory_there_is() -> None:
    """Of this machine or container, as Dask finds it."""
    from distributed.system import MEMORY_LIMIT

    assert limits.memory() == MEMORY_LIMIT
    n_most = int(MEMORY_LIMIT * limits.TABLE_SHARE) // limits.ROW_BYTES
    limits.check_rows(n_most, 0, limits.TABLE_SHARE, "it holds")
    with pytest.raises(DataError, match="rows"):
        limits.check_rows(n_most + 1, 0, limits.TABLE_SHARE, "it holds")
