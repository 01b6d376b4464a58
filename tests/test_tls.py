"""A Dask cluster over TLS: the way Dask itself is told of certificates, and no other."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import pandas as pd
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed import Client
from distributed.security import Security

from daskcast import cluster, demo
from daskcast.api import forecast
from daskcast.cluster import open_cluster
from daskcast.config import RunOptions
from daskcast.errors import ClusterError

pytestmark = pytest.mark.integration

MAIN = "import sys; from daskcast.cli import main; main(sys.argv[1:])"
TLS = "DASK_DISTRIBUTED__COMM__TLS__"


def certificate(folder: Path) -> dict[str, str]:
    """Write an authority that is its own only member; give Dask's options for all sides."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "daskcast test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    sides = {
        f"{TLS}{side}__{what}": str(file)
        for side in ("CLIENT", "SCHEDULER", "WORKER")
        for what, file in (("CERT", cert_file), ("KEY", key_file))
    }
    return {f"{TLS}CA_FILE": str(cert_file), **sides}


def settings(env: dict[str, str]) -> dict[str, str]:
    """Give what Dask makes of its environment variables."""
    return {
        name.removeprefix("DASK_").replace("__", ".").replace("_", "-").lower(): value
        for name, value in env.items()
    }


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return certificate(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def address(certs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a scheduler and a worker that speak TLS alone; give the address."""
    place = tmp_path_factory.mktemp("dask")
    env = {**os.environ, **certs, "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    found = place / "scheduler.json"
    scheduler = ["scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", "0"]
    scheduler += ["--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(found)]
    worker = ["worker", "--scheduler-file", str(found), "--nthreads", "1", "--no-nanny"]
    worker += ["--dashboard-address", "127.0.0.1:0", "--local-directory", str(place)]
    with running(scheduler, env), running(worker, env):
        with dask.config.set(settings(certs)), Client(scheduler_file=str(found)) as client:
            client.wait_for_workers(1, timeout=60)
            told = client.scheduler.address
        yield told


@contextmanager
def running(args: list[str], env: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *args],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def daskcast(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, args)],
        env={**os.environ, **env},
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_the_command_over_tls(address: str, certs: dict[str, str], tmp_path: Path) -> None:
    """With Dask's own configuration in the environment, a run is as any other."""
    assert address.startswith("tls://")
    table = demo.airports(6, months=48)
    table.to_csv(tmp_path / "airports.csv", index=False)
    args = ["run", tmp_path / "airports.csv", "--horizon", 6, "--search", "portfolio"]
    args += ["--cv-windows", 1, "--no-tracking", "--cluster", address, "--out", tmp_path / "run"]
    done = daskcast(*args, **certs)
    assert done.returncode in (0, 1), done.stderr
    plain = forecast(table, h=6, search="portfolio", cv_windows=1, cluster="serial", tracking=None)
    found = pd.read_parquet(tmp_path / "run" / "forecasts").sort_values(["unique_id", "ds"])
    pd.testing.assert_frame_equal(found.reset_index(drop=True), plain.forecasts, check_exact=True)
    told = (tmp_path / "run" / "run.json").read_text() + done.stdout + done.stderr
    assert not [path for path in certs.values() if path in told]


def test_a_client_of_the_users(address: str, certs: dict[str, str]) -> None:
    """A call takes a client that was made with a Security of its own."""
    security = Security(
        tls_ca_file=certs[f"{TLS}CA_FILE"],
        tls_client_cert=certs[f"{TLS}CLIENT__CERT"],
        tls_client_key=certs[f"{TLS}CLIENT__KEY"],
        require_encryption=True,
    )
    table = demo.airports(3, months=48)
    with Client(address, security=security, set_as_default=False) as client:
        run = forecast(table, h=6, search="portfolio", cv_windows=0, client=client, tracking=None)
    assert run.counts.done == 3


def refusal(address: str) -> str:
    with pytest.raises(ClusterError) as caught, open_cluster(RunOptions(cluster=address)):
        pass
    return str(caught.value)


def test_without_certificates(address: str) -> None:
    """Who has none is told which settings are missing, at once."""
    told = refusal(address)
    assert f"{address} needs certificates" in told
    assert f"{TLS}CA_FILE" in told


def test_with_certificates_that_are_not_there(address: str, tmp_path: Path) -> None:
    """A file that is missing or no certificate is told as such."""
    for content in (None, "nonsense"):
        file = tmp_path / "cert.pem"
        if content is not None:
            file.write_text(content)
        wrong = {f"{TLS}{what}": str(file) for what in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY")}
        with dask.config.set(settings(wrong)):
            assert "cannot be used" in refusal(address)


def test_with_certificates_of_another_authority(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither side trusts the other: refused in words, within the time of any connection."""
    monkeypatch.setattr(cluster, "CONNECT_S", 4)
    with dask.config.set(settings(certificate(tmp_path / "theirs"))):
        told = refusal(address)
    assert f"no Dask scheduler answers at {address} within 4 s" in told
    assert "certificate" in told


def test_a_plain_connection(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without TLS gets nothing from a scheduler with it, and does not hang."""
    monkeypatch.setattr(cluster, "CONNECT_S", 4)
    plain = address.replace("tls://", "tcp://")
    told = refusal(plain)
    assert f"no Dask scheduler answers at {plain} within 4 s" in told
    assert "tls://" in told
