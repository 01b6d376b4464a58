"""The command on a cluster of pods: the same forecasts, tracked, and nothing left behind."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from commands import HOW, PODS, ended, left, n_batches, started
from little_kubernetes import wait_until
from mlflow import MlflowClient
from spaces import N_AIRPORTS, mlflow_server

from daskcast import cluster, demo, forecast, pipeline
from daskcast.config import ForecastConfig, RunOptions
from daskcast.store import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from little_kubernetes import Cluster

CONFIG = ForecastConfig(h=6, search="portfolio", cv_windows=1)


def forecasts_of(folder: RunFolder) -> pd.DataFrame:
    frame = folder.read("forecasts").to_pandas()
    return frame.sort_values(["unique_id", "ds"], ignore_index=True)


def same(found: RunFolder, expected: RunFolder) -> None:
    """Assert that the forecasts are equal to the last bit."""
    pd.testing.assert_frame_equal(forecasts_of(found), forecasts_of(expected), check_exact=True)


@pytest.fixture(scope="module")
def serial(airports: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Forecast all airports in this process."""
    out = str(tmp_path_factory.mktemp("serial") / "run")
    options = RunOptions(cluster="serial", tracking=False, out=out)
    return pipeline.run(str(airports), CONFIG, options).folder


def test_a_thousand_airports_and_a_spot_node_that_goes(
    kubernetes: Cluster, namespace: str, user: Path, airports: Path, serial: RunFolder,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Four pods on two nodes, one node killed in mid-run and back: bits as in one process."""
    out, store = tmp_path / "run", mlflow_server(kubernetes, namespace, tmp_path)
    call = ["run", str(airports), *HOW, *PODS, "--namespace", namespace, "--workers", "4"]
    call += ["--worker-cpu", "2500m", "--worker-memory", "2Gi", "--batch-size", "10"]
    call += ["--out", str(out), "--tracking-uri", store]
    process = started(user, call)
    wait_until(lambda: n_batches(out) > 10 or process.poll() is not None, 180)
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
    client = MlflowClient(store)
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
