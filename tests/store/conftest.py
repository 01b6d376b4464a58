"""Places for run folders: the local disk, an object store in memory, and S3 of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from s3_server import S3Server
from store_samples import MANIFEST

from daskcast.store import RunFolder


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give a place for a run folder, for each kind of place."""
    return str(tmp_path / "run") if request.param == "local" else f"memory://runs/{uuid4().hex}"


@pytest.fixture
def folder(place: str) -> RunFolder:
    """Give an empty run folder, for each kind of place."""
    return RunFolder.create(place, MANIFEST)


@pytest.fixture
def local(tmp_path: Path) -> RunFolder:
    """Give an empty run folder on the local disk."""
    return RunFolder.create(str(tmp_path / "run"), MANIFEST)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Give a server that runs for all tests, with one bucket."""
    with S3Server(tmp_path_factory.mktemp("s3")) as found:
        found.make_bucket("bucket")
        yield found


@pytest.fixture
def server(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Give the server, which this process and its children reach by their environment."""
    from s3fs import S3FileSystem

    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    yield running
    running.misbehave()
    S3FileSystem.clear_instance_cache()
