"""The command on a real Kubernetes: kind, in Docker, with the image of ``.ci/image``.

For who has both; it takes some minutes, and downloads images and a chart::

    DASKCAST_KIND=1 .venv/bin/pytest tests/k8s/test_kind.py

It has not been run where this was developed, which had no Docker. All the others of this folder
run on a small API server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import yaml
from little_kubernetes.tools import tool

from daskcast import demo
from daskcast.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
IMAGE = f"daskcast:{tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']}"
SPACE = "forecast"
HOW = ["--horizon", "6", "--search", "portfolio", "--cv-windows", "1", "--no-tracking"]
PODS = ["--cluster", "kubernetes", "--image", IMAGE, "--namespace", SPACE, "--workers", "2"]
PODS += ["--worker-cpu", "250m", "--worker-memory", "1Gi"]
PODS += ["--scheduler-cpu", "250m", "--scheduler-memory", "1Gi"]
CHART = ["dask-operator", "dask-kubernetes-operator", "--repo", "https://helm.dask.org"]

IS_WANTED = os.environ.get("DASKCAST_KIND") == "1" and all(map(shutil.which, ["docker", "kind"]))
pytestmark = [
    pytest.mark.kind,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not IS_WANTED, reason="DASKCAST_KIND=1, docker and kind are needed"),
]


def told(*call: str, stdin: str | None = None, **env: str) -> str:
    """Run a program to its end; give what it printed, or fail with all of it."""
    program = (tool(call[0]) if call[0] in ("helm", "kubectl") else None) or call[0]
    done = subprocess.run(
        [program, *call[1:]],
        input=stdin,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, f"{call}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def daskcast(folder: Path, *args: str) -> str:
    """Run the command in the image: the versions are those of its pods, whatever is here."""
    where = ["--network", "host", "--user", f"{os.getuid()}:0", "-v", f"{folder}:{folder}"]
    call = ["docker", "run", "--rm", *where, "-e", f"KUBECONFIG={folder}/user", IMAGE]
    return told(*call, "daskcast", *args)


def forecasts_of(folder: Path) -> pd.DataFrame:
    frame = RunFolder.open(str(folder)).read("forecasts").to_pandas()
    return frame.sort_values(["unique_id", "ds"], ignore_index=True)


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the kubeconfig of a cluster with our image and the operator."""
    config = tmp_path_factory.mktemp("kind") / "config"
    name = f"daskcast-{uuid.uuid4().hex[:6]}"
    try:
        told("kind", "create", "cluster", "--name", name, "--kubeconfig", str(config))
        told(str(ROOT / ".ci" / "image" / "build"), "worker", ENGINE="docker")
        told("kind", "load", "docker-image", IMAGE, "--name", name)
        home = ["--namespace", "dask-operator", "--create-namespace", "--wait"]
        told("helm", "install", *CHART, *home, KUBECONFIG=str(config))
        yield config
    finally:
        told("kind", "delete", "cluster", "--name", name)


@pytest.fixture
def folder(admin: Path, tmp_path: Path) -> Path:
    """Give a folder with data and the kubeconfig of who has the rendered rights alone."""
    demo.airports(20, months=48).to_parquet(tmp_path / "airports.parquet")
    part = ["--out", "s3://none/{run}", "--part", "rbac", *PODS[2:]]
    rights = daskcast(tmp_path, "k8s", "render", "s3://none/airports", *HOW, *part)
    told("kubectl", "apply", "-f", "-", stdin=rights, KUBECONFIG=str(admin))
    token = told("kubectl", "create", "token", "daskcast", "-n", SPACE, KUBECONFIG=str(admin))
    config = yaml.safe_load(admin.read_text())
    config["users"][0]["user"] = {"token": token.strip()}
    (tmp_path / "user").write_text(yaml.safe_dump(config))
    return tmp_path


def test_the_same_forecasts_and_nothing_left(admin: Path, folder: Path) -> None:
    """Pods forecast what one process of the same image does, to the last bit, and are gone."""
    data = str(folder / "airports.parquet")
    daskcast(folder, "run", data, *HOW, *PODS, "--out", str(folder / "pods"))
    daskcast(folder, "run", data, *HOW, "--cluster", "serial", "--out", str(folder / "serial"))
    there, here = forecasts_of(folder / "pods"), forecasts_of(folder / "serial")
    assert there["unique_id"].nunique() > 15
    pd.testing.assert_frame_equal(there, here, check_exact=True)
    left = ["kubectl", "get", "daskclusters,pods", "-n", SPACE, "-o", "name"]
    assert told(*left, KUBECONFIG=str(admin)) == ""
