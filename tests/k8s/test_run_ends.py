"""Runs on pods that end before their time, and those that do not begin: nothing is left behind."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from commands import HOW, SMALL, ended, left, n_batches, started
from little_kubernetes import Image, wait_until

if TYPE_CHECKING:
    from little_kubernetes import Cluster


def test_interrupted(
    kubernetes: Cluster, namespace: str, user: Path, airports: Path, tmp_path: Path
) -> None:
    """Ctrl-C ends the run with 3, takes the pods with it, and the run can be gone on with."""
    out = tmp_path / "run"
    call = ["run", str(airports), *HOW, *SMALL, "--namespace", namespace, "--no-tracking"]
    process = started(user, [*call, "--batch-size", "10", "--out", str(out)])
    wait_until(lambda: n_batches(out) > 1 or process.poll() is not None, 180)
    process.send_signal(signal.SIGINT)
    code, told = ended(process, 60)
    assert code == 3, told
    assert "--resume" in told
    assert not left(kubernetes, namespace)


def test_a_client_that_is_killed(
    kubernetes: Cluster, namespace: str, user: Path, airports: Path, tmp_path: Path
) -> None:
    """Nobody tells the cluster to go; without work, it goes after its idle time."""
    out = tmp_path / "run"
    call = ["run", str(airports), *HOW, *SMALL, "--namespace", namespace, "--no-tracking"]
    call += ["--batch-size", "10", "--out", str(out), "--idle-timeout", "3"]
    process = started(user, call)
    wait_until(lambda: n_batches(out) > 1 or process.poll() is not None, 180)
    process.kill()
    process.communicate()
    assert left(kubernetes, namespace)
    wait_until(lambda: not left(kubernetes, namespace), 60)


def test_other_versions_are_refused(
    kubernetes: Cluster, namespace: str, user: Path, airports: Path, tmp_path: Path
) -> None:
    """An image with another daskcast: a table of what differs, exit code 2, before any work."""
    fake = tmp_path / "other" / "daskcast-99.0.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: daskcast\nVersion: 99.0\n")
    dask = tmp_path / "bin" / "dask"
    dask.parent.mkdir()
    here = Path(sys.executable).parent / "dask"
    dask.write_text(f'#!/bin/sh\nPYTHONPATH="{fake.parent}:$PYTHONPATH" exec {here} "$@"\n')
    dask.chmod(0o755)
    kubernetes.image("daskcast:other", Image([str(dask.parent), str(here.parent)]))
    call = ["run", str(airports), *HOW, *SMALL, "--namespace", namespace, "--no-tracking"]
    call[call.index("daskcast:test")] = "daskcast:other"
    began = time.monotonic()
    code, told = ended(started(user, [*call, "--out", str(tmp_path / "run")]))
    assert code == 2, told
    assert "daskcast" in told
    assert "99.0" in told
    assert time.monotonic() - began < 60
    assert not (tmp_path / "run").exists()
    assert not left(kubernetes, namespace)


def test_another_namespace_is_refused(
    kubernetes: Cluster, namespace: str, user: Path, airports: Path, tmp_path: Path
) -> None:
    """Who has rights in one namespace is told what is lacking in another, and how to get it."""
    call = ["run", str(airports), *HOW, *SMALL, "--namespace", "default", "--no-tracking"]
    code, told = ended(started(user, [*call, "--out", str(tmp_path / "run")]))
    assert code == 2, told
    assert f"system:serviceaccount:{namespace}:daskcast" in told
    assert "daskclusters" in told
    assert "verbs" in told
    assert not kubernetes.pods("default")
