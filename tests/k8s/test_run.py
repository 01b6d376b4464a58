"""The command on a cluster of pods: the same forecasts, tracked, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from little_kubernetes import Image, wait_until
from mlflow import MlflowClient
from spaces import SERVER

from daskcast import cluster, demo, forecast, pipeline
from daskcast.cli import main
from daskcast.config import ForecastConfig, RunOptions
from daskcast.store import RunFolder

if TYPE_CHECKING:
    from little_kubernetes import Cluster

N_AIRPORTS = 1000
HOW = ["--horizon", "6", "--search", "portfolio", "--cv-windows", "1"]
CONFIG = ForecastConfig(h=6, search="portfolio", cv_windows=1)
SPOT = "node.kubernetes.io/lifecycle=spot"
DASKCAST = [sys.executable, "-c", "import sys; from daskcast.cli import main; main(sys.argv[1:])"]
PODS = ["--cluster", "kubernetes", "--image", "daskcast:test", "--spot", SPOT]
SMALL = [*PODS, "--workers", "1", "--worker-cpu", "500m", "--scheduler-cpu", "500m"]


def started(user: Path, call: list[str]) -> subprocess.Popen[str]:
    """Start the command as a user of the cluster does."""
    return subprocess.Popen(
        [*DASKCAST, *call],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "KUBECONFIG": str(user)},
    )


@pytest.fixture
def user(kubernetes: Cluster, namespace: str) -> Path:
    """Give who has the rights that are rendered for users, and no others."""
    call = ["k8s", "render", "s3://a/b", *HOW, "--image", "daskcast:test", "--workers", "1"]
    call += ["--out", "s3://a/{run}", "--namespace", namespace, "--part", "rbac"]
    done = CliRunner().invoke(main, call, catch_exceptions=False)
    kubernetes.apply([part for part in yaml.safe_load_all(done.output) if part])
    return kubernetes.user_kubeconfig(namespace, "daskcast")


def ended(process: subprocess.Popen[str], seconds: float = 120) -> tuple[int, str]:
    """Give the exit code and all that the command told."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"the command does not end; it told {process.communicate()}")
    return process.returncode, out + err


def forecasts_of(folder: RunFolder) -> pd.DataFrame:
    frame = folder.read("forecasts").to_pandas()
    return frame.sort_values(["unique_id", "ds"], ignore_index=True)


def same(found: RunFolder, expected: RunFolder) -> None:
    """Assert that the forecasts are equal to the last bit."""
    pd.testing.assert_frame_equal(forecasts_of(found), forecasts_of(expected), check_exact=True)


def n_batches(out: Path) -> int:
    return len(list((out / "batches").glob("*.json")))


def left(kubernetes: Cluster, namespace: str) -> list[str]:
    """Name the pods of Dask clusters that are there."""
    return [
        pod["metadata"]["name"]
        for pod in kubernetes.pods(namespace)
        if "dask.org/cluster-name" in pod["metadata"].get("labels", {})
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of Parquet that pods read themselves."""
    folder = tmp_path_factory.mktemp("airports") / "panel"
    folder.mkdir()
    demo.airports(N_AIRPORTS, months=48).to_parquet(folder / "1.parquet")
    return folder


@pytest.fixture(scope="module")
def serial(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = str(tmp_path_factory.mktemp("serial") / "run")
    options = RunOptions(cluster="serial", tracking=False, out=out)
    return pipeline.run(str(data), CONFIG, options).folder


@pytest.fixture
def mlflow_pod(kubernetes: Cluster, namespace: str, tmp_path: Path) -> str:
    """Start an MLflow server as a pod; give its address."""
    kubernetes.apply(SERVER.format(folder=tmp_path), namespace=namespace)

    def address() -> str | None:
        for pod in kubernetes.pods(namespace):
            ready = any(s["ready"] for s in pod.get("status", {}).get("containerStatuses", ()))
            if pod["metadata"]["name"] == "daskcast-mlflow-0" and ready:
                return f"http://{pod['status']['podIP']}:5000"
        return None

    found: str = wait_until(address, 90)
    return found


def test_a_thousand_airports_and_a_spot_node_that_goes(
    kubernetes: Cluster, namespace: str, user: Path, data: Path, serial: RunFolder,
    mlflow_pod: str, tmp_path: Path,
) -> None:  # fmt: skip
    """Four pods on two nodes, one node killed in mid-run and back: bits as in one process."""
    out = tmp_path / "run"
    call = ["run", str(data), *HOW, *PODS, "--namespace", namespace, "--workers", "4"]
    call += ["--worker-cpu", "2500m", "--worker-memory", "2Gi", "--batch-size", "10"]
    call += ["--out", str(out), "--tracking-uri", mlflow_pod]
    process = started(user, call)
    wait_until(lambda: n_batches(out) > 10 or process.poll() is not None, 120)
    nodes = {pod["spec"].get("nodeName") for pod in kubernetes.pods(namespace)}
    gone = kubernetes.preempt("spot-0")
    time.sleep(1)
    n_then = n_batches(out)
    kubernetes.restore("spot-0")
    code, told = ended(process)
    assert code == 0, told
    assert nodes == {"ondemand-0", "spot-0"}
    assert sum("worker" in name for name in gone) == 3, gone
    assert n_then < N_AIRPORTS / 10, "the node went too late to show anything"
    same(RunFolder.open(str(out)), serial)
    assert not left(kubernetes, namespace)
    client = MlflowClient(mlflow_pod)
    experiment = client.get_experiment_by_name("daskcast").experiment_id
    runs = client.search_runs([experiment], max_results=5000)
    assert len(runs) == 1 + N_AIRPORTS
    (parent,) = client.search_runs([experiment], "tags.`daskcast.kind` = 'run'")
    kept = [one.path for one in client.list_artifacts(parent.info.run_id, "logs")]
    assert sum("run-pod-" in path for path in kept) >= 5
    pods = {record["worker"] for record in logs_of(out, "run-pod-")}
    assert len(pods) >= 5  # the scheduler, four workers, and those that came instead


def logs_of(out: Path, kind: str) -> list[dict[str, Any]]:
    """Read the records of a kind of log files."""
    lines = [
        line
        for path in sorted((out / "logs").glob(f"part-{kind}*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return [json.loads(line) for line in lines]


def test_a_call_in_python(kubernetes: Cluster, namespace: str, monkeypatch: Any) -> None:
    """The context manager gives a client of a real KubeCluster; nothing is left afterwards."""
    monkeypatch.setenv("KUBECONFIG", str(kubernetes.kubeconfig))
    table = demo.airports(6, months=48)
    pods = {"cpu": "500m", "memory": "1Gi"}
    with cluster.kubernetes(
        "daskcast:test", workers=1, namespace=namespace, scheduler=pods, worker=pods
    ) as client:
        assert type(client.cluster).__name__ == "KubeCluster"
        there = forecast(table, 6, search="portfolio", cv_windows=1, client=client).forecasts
    assert not left(kubernetes, namespace)
    here = forecast(table, 6, search="portfolio", cv_windows=1).forecasts
    pd.testing.assert_frame_equal(there, here, check_exact=True)


def test_interrupted(
    kubernetes: Cluster, namespace: str, user: Path, data: Path, tmp_path: Path
) -> None:
    """Ctrl-C ends the run with 3, takes the pods with it, and the run can be gone on with."""
    out = tmp_path / "run"
    call = ["run", str(data), *HOW, *SMALL, "--namespace", namespace, "--no-tracking"]
    process = started(user, [*call, "--batch-size", "10", "--out", str(out)])
    wait_until(lambda: n_batches(out) > 1 or process.poll() is not None, 90)
    process.send_signal(signal.SIGINT)
    code, told = ended(process, 60)
    assert code == 3, told
    assert "--resume" in told
    assert not left(kubernetes, namespace)


def test_a_client_that_is_killed(
    kubernetes: Cluster, namespace: str, user: Path, data: Path, tmp_path: Path
) -> None:
    """Nobody tells the cluster to go; without work, it goes after its idle time."""
    out = tmp_path / "run"
    call = ["run", str(data), *HOW, *SMALL, "--namespace", namespace, "--no-tracking"]
    call += ["--batch-size", "10", "--out", str(out), "--idle-timeout", "3"]
    process = started(user, call)
    wait_until(lambda: n_batches(out) > 1 or process.poll() is not None, 90)
    process.kill()
    process.communicate()
    assert left(kubernetes, namespace)
    wait_until(lambda: not left(kubernetes, namespace), 60)


def test_other_versions_are_refused(
    kubernetes: Cluster, namespace: str, user: Path, data: Path, tmp_path: Path
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
    call = ["run", str(data), *HOW, *SMALL, "--namespace", namespace, "--no-tracking"]
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
    kubernetes: Cluster, namespace: str, user: Path, data: Path, tmp_path: Path
) -> None:
    """Who has rights in one namespace is told what is lacking in another, and how to get it."""
    call = ["run", str(data), *HOW, *SMALL, "--namespace", "default", "--no-tracking"]
    code, told = ended(started(user, [*call, "--out", str(tmp_path / "run")]))
    assert code == 2, told
    assert f"system:serviceaccount:{namespace}:daskcast" in told
    assert "daskclusters" in told
    assert "verbs" in told
    assert not kubernetes.pods("default")
