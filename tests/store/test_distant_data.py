"""Data on S3: what is wrong with the place is told soon, in one sentence and without a secret."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from fsspec.registry import _registry
from s3_server import S3Server

from daskcast import demo, pipeline, reach
from daskcast.cli import main
from daskcast.config import ForecastConfig, RunOptions
from daskcast.errors import DataError
from daskcast.panel import distant, open_source
from daskcast.panel.footers import list_files
from daskcast.report import write_report
from daskcast.store import RunFolder

s3fs = pytest.importorskip("s3fs")
pytest.importorskip("moto")

KINDS = ["table.csv.gz", "table.parquet", "folder"]
CONFIG = ForecastConfig(h=3, search="portfolio", cv_windows=1)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return demo.airports(3, months=48)


@pytest.fixture
def data(server: S3Server, table: pd.DataFrame) -> str:
    """Give the URL under which the table is there in each of its kinds."""
    place = f"s3://bucket/data-{uuid4().hex[:12]}"
    table.to_csv(f"{place}/table.csv.gz", index=False)
    table.to_parquet(f"{place}/table.parquet", index=False)
    table.to_parquet(f"{place}/folder/part.parquet", index=False)
    s3fs.S3FileSystem.clear_instance_cache()
    return place


def told_of(data: str, out: Path) -> str:
    """Call a run of what cannot be read; give the sentence that it ends with."""
    args = ["run", data, "--horizon", "3", "--no-tracking", "--out", str(out)]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    [told] = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert "hunter2" not in done.output
    return told.removeprefix("Error: ")


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_read(data: str, table: pd.DataFrame, kind: str) -> None:
    """As a file of this machine would be."""
    source = open_source(f"{data}/{kind}", ForecastConfig(h=3))
    assert (source.n_rows, len(source.ids)) == (len(table), 3)


@pytest.mark.parametrize("kind", KINDS)
def test_keys_in_the_url(server: S3Server, tmp_path: Path, kind: str) -> None:
    """They are refused, and not repeated; within a chain, too."""
    told = told_of(f"s3://AKIA:hunter2@bucket/{kind}", tmp_path)
    assert told.startswith(f"cannot open 's3://bucket/{kind}': a URL of this kind takes no")
    assert "no credentials" in told_of(f"zip://x.csv::s3://AKIA:hunter2@bucket/{kind}", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_keys(data: str, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of the store, and what to look at."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "AKIAhunter2")
    told = told_of(f"{data}/{kind}", tmp_path)
    why = "Forbidden; check the credentials and what they allow"
    assert told == f"cannot open '{data}/{kind}': {why}"


def test_no_such_endpoint(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told within seconds."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    told = told_of(f"{data}/folder", tmp_path)
    assert told.startswith(f"cannot open '{data}/folder': Could not connect to the endpoint URL")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("kind", KINDS)
def test_an_endpoint_that_goes_away(data: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What answered first and does not any more is told in the same words."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    what = "folder" if kind == "folder" else "file"
    monkeypatch.setattr("daskcast.panel.readers.what_is_at", lambda path: (what, path))
    with pytest.raises(DataError, match=r"cannot (read|list) .*: Could not connect to the endp"):
        open_source(f"{data}/{kind}", ForecastConfig(h=3))


def test_what_a_file_raises_while_it_is_read(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes through Arrow as an error of files."""
    with distant.opened_bytes(f"{data}/table.parquet") as file, pq.ParquetFile(file) as parquet:

        def lost(*_: Any) -> None:
            raise RuntimeError("lost http://me:hunter2@host/x")

        monkeypatch.setattr(file._file, "read", lost)
        with pytest.raises(OSError, match="lost http://host/x"):
            parquet.read()


def test_what_others_write_is_seen(data: str, table: pd.DataFrame) -> None:
    """A process that lives long sees what is new in a folder that it has listed before."""
    fs, path = fsspec.core.url_to_fs(f"{data}/folder")
    assert [file.name for file in list_files(f"{data}/folder")] == ["part.parquet"]
    assert fs.isdir(path)
    code = "import sys, fsspec; fs, path = fsspec.core.url_to_fs(sys.argv[1])\n"
    code += "fs.copy(path + '/part.parquet', path + '/more.parquet')"
    subprocess.run([sys.executable, "-c", code, f"{data}/folder"], check=True)
    source = open_source(f"{data}/folder", ForecastConfig(h=3))
    assert source.n_rows == 2 * len(table)


def test_the_report_finds_the_history_again(data: str, tmp_path: Path) -> None:
    """The page of a later ``daskcast report`` draws what the first one drew, as long as it is."""
    out = str(tmp_path / "run")
    folder = pipeline.run(
        f"{data}/table.parquet", CONFIG, RunOptions(out=out, cluster="serial", tracking=False)
    ).folder
    write_report(folder)
    assert b"keeps no history" not in folder.files.read("report.html")
    fsspec.open(f"{data}/table.parquet").fs.rm(f"{data}/table.parquet")
    write_report(folder)
    assert b"keeps no history" in folder.files.read("report.html")


def test_a_worker_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not share the run folder; the driver writes what it did."""
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)
    assert reach._read_back(RunFolder("s3://bucket/x", (80.0,)), ".token") == b""
