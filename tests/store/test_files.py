"""Whole files: every kind of place does the same."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from daskcast.store.files import (
    Files,
    LocalFiles,
    RemoteFiles,
    absolute,
    files_at,
    is_local,
    is_temporary,
)


@pytest.fixture(params=["local", "memory", "folders"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    """Give the disk, an object store, and a remote place that wants its folders made."""
    if request.param == "local":
        found = LocalFiles(str(tmp_path))
        found.make_folders(("", "a"))
        return found
    if request.param == "memory":
        return RemoteFiles(fsspec.filesystem("memory"), f"/files/{uuid4().hex}/")
    return RemoteFiles(fsspec.filesystem("file"), str(tmp_path / "new"))


def test_write_read_remove(files: Files) -> None:
    """A file holds what was written last, until it is removed."""
    assert not files.exists("a/x")
    files.write("a/x", b"1")
    files.write("a/x", b"22")
    assert files.read("a/x") == b"22"
    assert files.exists("a/x")
    files.remove("a/x")
    files.remove("a/x")
    assert not files.exists("a/x")
    with pytest.raises(FileNotFoundError):
        files.read("a/x")


def test_names_are_of_files(files: Files) -> None:
    """Only the files of a subfolder itself are named, in order."""
    assert files.names("nowhere") == []
    for name in ("a/z", "a/b", "c"):
        files.write(name, b"1")
    assert files.names("a") == ["b", "z"]
    assert "a" not in files.names("")


def test_create_happens_once(files: Files) -> None:
    """What is there already is not replaced."""
    files.create("x", b"1")
    with pytest.raises(FileExistsError):
        files.create("x", b"2")
    assert files.read("x") == b"1"
    assert files.names("") == ["x"]


def test_large_and_empty_files(files: Files) -> None:
    """Any number of bytes is one file."""
    for data in (b"", bytes(range(256)) * 20_000):
        files.write("a/x", data)
        assert files.read("a/x") == data


def test_filesystem_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two names cannot share a file, creating still refuses what is there."""

    def refuse(_self: Path, _target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    files = LocalFiles(str(tmp_path))
    files.create("x", b"1")
    with pytest.raises(FileExistsError):
        files.create("x", b"2")
    assert files.names("") == ["x"]
    assert files.read("x") == b"1"


def test_kinds_of_places(tmp_path: Path) -> None:
    """Paths and file URLs are local, all else is fsspec's."""
    assert is_local("runs/x")
    assert is_local("file:///runs/x")
    assert not is_local("s3://bucket/x")
    assert isinstance(files_at(f"file://{tmp_path}"), LocalFiles)
    assert isinstance(files_at("memory://x"), RemoteFiles)
    assert absolute(f"file://{tmp_path}") == absolute(tmp_path) == str(tmp_path)
    assert absolute("s3://bucket/x/") == "s3://bucket/x"


def test_temporary_names() -> None:
    """Only names of our own half writes count as such."""
    assert is_temporary(f"entities/.part-b1.parquet.{'0a' * 8}.tmp")
    assert not is_temporary("entities/part-b1.parquet")
    assert not is_temporary("entities/.mine.tmp")
