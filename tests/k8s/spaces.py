"""What tests put into a namespace, and who is there: MLflow without a login, secrets, a user."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner
from little_kubernetes import wait_until

from daskcast.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from little_kubernetes import Cluster

N_AIRPORTS = 1000
SERVER = """
apiVersion: v1
kind: Service
metadata: {{name: daskcast-mlflow}}
spec:
  selector: {{app.kubernetes.io/name: daskcast-mlflow}}
  ports: [{{name: http, port: 5000, targetPort: 5000}}]
---
apiVersion: v1
kind: Pod
metadata:
  name: daskcast-mlflow-0
  labels: {{app.kubernetes.io/name: daskcast-mlflow}}
spec:
  containers:
    - name: mlflow
      image: daskcast:test
      args:
        - mlflow
        - server
        - --app-name=daskcast
        - --host=0.0.0.0
        - --workers=1
        - --allowed-hosts=*
        - --backend-store-uri=sqlite:///{folder}/mlflow.db
        - --artifacts-destination={folder}/artifacts
      env: [{{name: MLFLOW_SERVER_ENABLE_JOB_EXECUTION, value: "false"}}]
      ports: [{{name: http, containerPort: 5000}}]
      readinessProbe: {{httpGet: {{path: /health, port: 5000}}, periodSeconds: 1}}
      resources: {{requests: {{cpu: 100m, memory: 500Mi}}}}
"""


def mlflow_server(kubernetes: Cluster, namespace: str, folder: Path) -> str:
    """Start an MLflow server as a pod, and wait until it answers; give its address."""
    kubernetes.apply(SERVER.format(folder=folder), namespace)
    wait_until(lambda: kubernetes.is_ready(namespace, "daskcast-mlflow-0"), 120)
    pod = kubernetes.get("pods", namespace, "daskcast-mlflow-0")
    assert pod is not None
    return f"http://{pod['status']['podIP']}:5000"


def rendered_user(kubernetes: Cluster, namespace: str) -> Path:
    """Make who has the rights that are rendered for users, and no others; give its kubeconfig."""
    call = ["k8s", "render", "s3://a/b", "--horizon", "6", "--image", "daskcast:test"]
    call += ["--out", "s3://a/{run}", "--namespace", namespace, "--part", "rbac", "--workers", "1"]
    done = CliRunner().invoke(main, call, catch_exceptions=False)
    kubernetes.apply(done.output)
    return kubernetes.user_kubeconfig(namespace, "daskcast")


def secret(name: str, values: dict[str, str]) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
