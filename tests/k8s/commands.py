"""The command as a user of the little cluster calls it, and what is seen of it from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from little_kubernetes import Cluster

DASKCAST = [sys.executable, "-c", "import sys; from daskcast.cli import main; main(sys.argv[1:])"]
HOW = ["--horizon", "6", "--search", "portfolio", "--cv-windows", "1"]
SPOT = "node.kubernetes.io/lifecycle=spot"
PODS = ["--cluster", "kubernetes", "--image", "daskcast:test", "--spot", SPOT]
SMALL = [*PODS, "--workers", "1", "--worker-cpu", "500m", "--scheduler-cpu", "500m"]


def started(user: Path, call: list[str]) -> subprocess.Popen[str]:
    """Start the command with a kubeconfig."""
    return subprocess.Popen(
        [*DASKCAST, *call],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "KUBECONFIG": str(user)},
    )


def ended(process: subprocess.Popen[str], seconds: float = 180) -> tuple[int, str]:
    """Give the exit code and all that the command told."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"the command does not end; it told {process.communicate()}")
    return process.returncode, out + err


def n_batches(out: Path) -> int:
    """Count the batches that a run folder has."""
    return len(list((out / "batches").glob("*.json")))


def left(kubernetes: Cluster, namespace: str) -> list[str]:
    """Name the pods of Dask clusters that are there."""
    return [pod["metadata"]["name"] for pod in kubernetes.pods(namespace, "dask.org/cluster-name")]
