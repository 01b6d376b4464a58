"""The lease of a run folder that is not local: one driver at a time, also after one was lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from uuid import uuid4

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from s3_server import S3Server

from daskcast.errors import StoppedError, StoreError
from daskcast.store import Hold, RunFolder, lease, only_one
from daskcast.store.lease import Lease

pytest.importorskip("s3fs")
pytest.importorskip("moto")

NAME = ".forecasting.lease"


@pytest.fixture(params=["memory", "s3"])
def folder(request: pytest.FixtureRequest) -> RunFolder:
    """Give a run folder on a place that knows versions, and on one that does not."""
    if request.param == "memory":
        return RunFolder(f"memory://runs/{uuid4().hex}", (80.0,))
    request.getfixturevalue("server")
    return RunFolder(f"s3://bucket/runs/{uuid4().hex}", (80.0,))


def lease_of(folder: RunFolder, seconds: float) -> Lease:
    return Lease(*folder.files.reached(NAME), place=folder.place, seconds=seconds)


@pytest.fixture
def lost(folder: RunFolder) -> Iterator[Lease]:
    """Give the lease of a driver that is gone: held, and not renewed any more."""
    found = lease_of(folder, 1)
    assert found.take()
    found._end.set()
    found._thread.join(60)
    yield found
    found.give_back()


def test_it_is_there_while_it_is_held(folder: RunFolder) -> None:
    """Nothing is left of it afterwards, no thread either, however the block ends."""

    def interrupted() -> None:
        with only_one(folder.url, "forecasting", wait_s=0) as hold:
            hold.check()
            assert json.loads(folder.files.read(NAME))["seconds"] == 60
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not folder.files.exists(NAME)
    assert "daskcast-lease" not in {thread.name for thread in threading.enumerate()}


def test_a_second_is_refused_while_the_first_renews(folder: RunFolder) -> None:
    """It is told who works; the lease stays with the first."""
    first = lease_of(folder, 6)
    assert first.take()
    told = r"another driver works on this run folder .* \(process"
    with pytest.raises(StoreError, match=told, check=lambda error: error.may_pass):
        lease_of(folder, 6).take()
    assert first._is_ours()
    first.give_back()
    with only_one(folder.url, "forecasting", wait_s=0):
        pass


def test_that_of_a_lost_driver_is_taken_over(folder: RunFolder, lost: Lease) -> None:
    """After its time; who comes back is told, and takes nothing away."""
    began = time.monotonic()
    with only_one(folder.url, "forecasting", wait_s=0) as hold:
        assert 1 <= time.monotonic() - began < 30
        hold.check()
        lost._renew()
        assert lost.taken
        with pytest.raises(StoppedError, match=r"another driver .* has taken over"):
            lost.check()
        lost.give_back()
        assert folder.files.exists(NAME)


def test_of_two_that_take_over_one_does(server: S3Server, lost: Lease, folder: RunFolder) -> None:
    """On S3 at that very moment; elsewhere when the lease is next written."""
    version = folder.files._filesystem.info(folder.files.reached(NAME)[1]).get("ETag", "")
    files = [lease_of(folder, 1) for _ in range(2)]
    taken = [one._file.replace(one._content(), version) for one in files]
    assert taken == [True, not version]
    for one in files:
        one._renew()
    assert [one.taken for one in files] == [not version, bool(version)]


def test_one_of_many_makes_it(server: S3Server) -> None:
    """S3 alone decides."""
    folder = RunFolder(f"s3://bucket/runs/{uuid4().hex}", (80.0,))
    leases = [lease_of(folder, 60) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda one: one._file.create(one._content()), leases))
    assert sum(made) == 1
    assert leases[made.index(True)]._is_ours()


def test_it_cannot_be_renewed(
    folder: RunFolder, lost: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was late is renewed; one that cannot be is lost."""
    monkeypatch.setattr(lost, "_renewed", time.monotonic() - 50)
    lost._end.clear()
    lost.check()

    def away(*_: object) -> None:
        raise OSError("nobody is there")

    monkeypatch.setattr(lost, "_renewed", time.monotonic() - 50)
    monkeypatch.setattr(lost, "_renew", away)
    with pytest.raises(StoppedError, match="could not be renewed for 50 s, and another driver may"):
        lost.check()


def test_one_that_somebody_removed_is_made_again(folder: RunFolder, lost: Lease) -> None:
    """By its holder, at the next beat."""
    folder.files.remove(NAME)
    lost._end.clear()
    lost._renew()
    assert lost._is_ours()


def test_a_damaged_one_is_nobodys(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken over like any other."""
    monkeypatch.setenv(lease.SECONDS, "0.5")
    folder.files.write(NAME, b'{"owner": 1')
    with only_one(folder.url, "forecasting", wait_s=0):
        assert json.loads(folder.files.read(NAME))["seconds"] == 0.5


class Careless(MemoryFileSystem):
    """Makes a file twice."""

    protocol: ClassVar[Any] = "careless"
    store: ClassVar[dict[str, Any]] = {}

    def pipe_file(self, path: str, value: bytes, mode: str = "", **_: Any) -> None:  # noqa: ARG002
        super().pipe_file(path, value)


class Older(Careless):
    """Knows of no such thing."""

    protocol: ClassVar[Any] = "older"
    store: ClassVar[dict[str, Any]] = {}

    def pipe_file(self, path: str, value: bytes) -> None:
        super().pipe_file(path, value)


@pytest.mark.parametrize("kind", [Careless, Older])
def test_a_place_without_leases(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and the work goes on."""
    fsspec.register_implementation(kind.protocol, kind, clobber=True)
    caplog.set_level("INFO", logger="daskcast")
    url = f"{kind.protocol}://runs/{uuid4().hex}"
    with only_one(url, "forecasting", wait_s=0) as hold:
        assert type(hold) is Hold
        assert not RunFolder(url, ()).files.exists(NAME)
    assert "nothing keeps a second driver" in caplog.text


@pytest.mark.parametrize("told", ["soon", "0", "-1", "nan", "inf"])
def test_wrong_seconds(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told."""
    monkeypatch.setenv(lease.SECONDS, told)
    with (
        pytest.raises(StoreError, match=f"DASKCAST_LEASE_S must be seconds.*'{told}'"),
        only_one("memory://runs/x", "forecasting", wait_s=0),
    ):
        pass
