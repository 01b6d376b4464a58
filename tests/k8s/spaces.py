"""What tests put into a namespace: an MLflow server without a login, and secrets."""

from __future__ import annotations

import base64
from typing import Any

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


def secret(name: str, values: dict[str, str]) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
