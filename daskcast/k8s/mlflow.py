"""An MLflow server with PostgreSQL and an object store, as Kubernetes objects.

Covers what runs in the namespace for tracking, and how its secrets get where they belong. Does not
cover what the server does with many runs in a request (``mlflow_plugin``) or who may reach it
(``network``).

No secret is in a manifest or in a command: PostgreSQL's client reads user and password from the
environment, boto3 its keys. The database holds MLflow's users, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daskcast.k8s.manifests import (
    DRIVER_SECRET,
    MLFLOW,
    MLFLOW_PORT,
    NAME_LABEL,
    POSTGRES,
    SECURE,
    SERVER_SECRET,
    STORE,
    Document,
    from_secret,
    literal,
    manifest,
    named,
    secured,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daskcast.k8s.surroundings import Surroundings

POSTGRES_PORT, STORE_PORT = 5432, 7070
BUCKET = "mlflow"
ADMIN = "admin"
_SERVER_UID, _POSTGRES_UID, _STORE_UID = 1000, 999, 1000
_TMP = {"name": "scratch", "mountPath": "/tmp"}
_DATABASE = f"postgresql+psycopg://{POSTGRES}:{POSTGRES_PORT}/mlflow"


def server(around: Surroundings, *, pull_secrets: Sequence[str] = ()) -> list[Document]:
    """Give the server and its two stores, in the order to apply.

    Parameters
    ----------
    around : Surroundings
    pull_secrets : sequence of str
        For the images of all three.
    """
    pulled = {"imagePullSecrets": [{"name": name} for name in pull_secrets]} if pull_secrets else {}
    own = [] if around.artifacts else _store(around, pulled)
    return [*_postgres(around, pulled), *own, *_mlflow(around, pulled)]


# -- the server --------------------------------------------------------------------------------


def _mlflow(around: Surroundings, pulled: Mapping[str, Any]) -> list[Document]:
    labels = {NAME_LABEL: MLFLOW}
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": _server_pod(around, pulled)},
    }
    metadata = named(MLFLOW, around.namespace)
    return [
        Document(
            manifest("ConfigMap", "v1", metadata, data={"auth.ini": _AUTH}),
            "Who may do what on the MLflow server: all may read, each writes his own.",
        ),
        Document(_service(MLFLOW, around, MLFLOW_PORT)),
        Document(
            manifest("Deployment", "apps/v1", metadata, spec=spec),
            _SERVER_ABOUT.format(namespace=around.namespace),
        ),
    ]


_SERVER_ABOUT = """\
MLflow, with the route that takes many runs in a request, behind its login. To look at it:
  kubectl port-forward -n {namespace} service/daskcast-mlflow 5000
It takes requests by the names below --allowed-hosts alone: add that of an Ingress there."""

_AUTH = f"""\
[mlflow]
default_permission = READ
database_uri = {_DATABASE}
admin_username = {ADMIN}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


def _server_pod(around: Surroundings, pulled: Mapping[str, Any]) -> dict[str, Any]:
    shared = {
        "image": around.server_image,
        "env": _server_env(around),
        "workingDir": "/tmp",
        "securityContext": SECURE,
        "volumeMounts": [_TMP, {"name": "settings", "mountPath": "/etc/daskcast"}],
    }
    bucket = [] if around.artifacts else [f"s3://{BUCKET}"]
    prepare = {
        "name": "prepare",
        **shared,
        "args": ["python", "-m", "daskcast.mlflow_plugin.prepare", *bucket],
        "resources": _resources("100m", "1Gi"),
    }
    prepare["env"] = [*shared["env"], *map(_driver_secret, ("USERNAME", "PASSWORD"))]
    serve = {
        "name": "mlflow",
        **shared,
        "args": [*map(literal, _command(around))],
        "ports": [{"name": "http", "containerPort": MLFLOW_PORT}],
        "startupProbe": {**_get("/health"), "periodSeconds": 5, "failureThreshold": 60},
        "readinessProbe": {**_get("/health"), "periodSeconds": 5, "timeoutSeconds": 5},
        "livenessProbe": {**_get("/health"), "periodSeconds": 20, "timeoutSeconds": 10},
        "resources": _resources("500m", "2Gi"),
    }
    settings = {"name": "settings", "configMap": {"name": MLFLOW}}
    return {
        "initContainers": [prepare],
        "containers": [serve],
        "automountServiceAccountToken": False,
        **pulled,
        "securityContext": secured(_SERVER_UID),
        "volumes": [{"name": "scratch", "emptyDir": {}}, settings],
    }


def _command(around: Surroundings) -> list[str]:
    in_cluster = [f"{MLFLOW}{suffix}" for suffix in _suffixes(around.namespace)]
    hosts = [f"{host}:{MLFLOW_PORT}" for host in in_cluster]
    hosts += ["localhost:*", "127.0.0.1:*"]  # kubectl port-forward
    return [
        *("mlflow", "server", "--app-name", "daskcast"),
        *("--host", "0.0.0.0", "--port", str(MLFLOW_PORT), "--workers", "2"),
        *("--backend-store-uri", _DATABASE),
        *("--serve-artifacts", "--artifacts-destination", around.artifacts or f"s3://{BUCKET}"),
        *("--allowed-hosts", ",".join(hosts)),
    ]


def _suffixes(namespace: str) -> tuple[str, ...]:
    """Name the ways to address a service from its namespace and from others."""
    return ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")


def _server_env(around: Surroundings) -> list[Any]:
    external = around.artifacts is not None
    endpoint = around.artifacts_endpoint if external else f"http://{STORE}:{STORE_PORT}"
    told = {
        "HOME": "/tmp",
        "DASKCAST_MLFLOW_APP": "basic-auth",
        "MLFLOW_AUTH_CONFIG_PATH": "/etc/daskcast/auth.ini",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **({} if external else {"AWS_DEFAULT_REGION": "us-east-1"}),
        **({"MLFLOW_S3_ENDPOINT_URL": endpoint} if endpoint else {}),
    }
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return [
        *({"name": name, "value": literal(value)} for name, value in told.items()),
        from_secret("PGUSER", SERVER_SECRET, "POSTGRES_USER"),
        from_secret("PGPASSWORD", SERVER_SECRET, "POSTGRES_PASSWORD"),
        *(from_secret(key, SERVER_SECRET, optional=external) for key in keys),
        from_secret("MLFLOW_AUTH_ADMIN_PASSWORD", SERVER_SECRET),
        from_secret("MLFLOW_FLASK_SERVER_SECRET_KEY", SERVER_SECRET),
    ]


def _driver_secret(name: str) -> Any:
    return from_secret(f"MLFLOW_TRACKING_{name}", DRIVER_SECRET)


# -- its stores --------------------------------------------------------------------------------


def _postgres(around: Surroundings, pulled: Mapping[str, Any]) -> list[Document]:
    ready = {"exec": {"command": ["sh", "-c", 'pg_isready -U "$POSTGRES_USER" -d mlflow']}}
    container = {
        "name": "postgres",
        "image": around.postgres_image,
        "env": [
            {"name": "POSTGRES_DB", "value": "mlflow"},
            {"name": "PGDATA", "value": "/var/lib/postgresql/data/pgdata"},
            from_secret("POSTGRES_USER", SERVER_SECRET),
            from_secret("POSTGRES_PASSWORD", SERVER_SECRET),
        ],
        "ports": [{"name": "postgres", "containerPort": POSTGRES_PORT}],
        "startupProbe": {**ready, "periodSeconds": 5, "failureThreshold": 60},
        "readinessProbe": {**ready, "periodSeconds": 5, "timeoutSeconds": 5},
        "livenessProbe": {**ready, "periodSeconds": 20, "timeoutSeconds": 10},
        "resources": _resources("250m", "1Gi"),
        "securityContext": SECURE,
        "volumeMounts": [
            {"name": "data", "mountPath": "/var/lib/postgresql/data"},
            {"name": "socket", "mountPath": "/var/run/postgresql"},
            _TMP,
        ],
    }
    about = "Runs, their parameters and metrics, and MLflow's users. Its volume is what to back up."
    secured_so = secured(_POSTGRES_UID, with_volume=True)
    return _stateful(POSTGRES, around, container, {**pulled, "securityContext": secured_so}, about)


def _store(around: Surroundings, pulled: Mapping[str, Any]) -> list[Document]:
    health = {"httpGet": {"path": "/health", "port": "s3"}}
    container = {
        "name": "store",
        "image": around.store_image,
        "args": ["--port", f":{STORE_PORT}", "--health", "/health", "posix", "/data"],
        "env": [
            from_secret("ROOT_ACCESS_KEY", SERVER_SECRET, "AWS_ACCESS_KEY_ID"),
            from_secret("ROOT_SECRET_KEY", SERVER_SECRET, "AWS_SECRET_ACCESS_KEY"),
        ],
        "ports": [{"name": "s3", "containerPort": STORE_PORT}],
        "readinessProbe": {**health, "periodSeconds": 5, "timeoutSeconds": 5},
        "livenessProbe": {**health, "periodSeconds": 20, "timeoutSeconds": 10},
        "resources": _resources("100m", "512Mi"),
        "securityContext": SECURE,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, _TMP],
    }
    secured_so = secured(_STORE_UID, with_volume=True)
    return _stateful(
        STORE, around, container, {**pulled, "securityContext": secured_so}, _STORE_ABOUT
    )


_STORE_ABOUT = """\
Tables and reports of runs, in folders of a volume that are served as S3 (VersityGW). A bucket
that you have already is better: --artifacts s3://BUCKET."""


def _stateful(
    name: str,
    around: Surroundings,
    container: Mapping[str, Any],
    of_pod: Mapping[str, Any],
    about: str,
) -> list[Document]:
    """Give a service of one pod with a volume, and its address."""
    labels = {NAME_LABEL: name}
    size = around.database_size if name == POSTGRES else around.artifacts_size
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
        },
    }
    mounted = [mount["name"] for mount in container["volumeMounts"]]
    pod = {
        "containers": [dict(container)],
        "automountServiceAccountToken": False,
        **of_pod,
        "volumes": [{"name": volume, "emptyDir": {}} for volume in mounted if volume != "data"],
    }
    spec = {
        "serviceName": name,
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
        "volumeClaimTemplates": [claim],
    }
    port = container["ports"][0]["containerPort"]
    metadata = named(name, around.namespace)
    return [
        Document(_service(name, around, port), about),
        Document(manifest("StatefulSet", "apps/v1", metadata, spec=spec)),
    ]


def _service(name: str, around: Surroundings, port: int) -> dict[str, Any]:
    ports = [{"name": "tcp" if port == POSTGRES_PORT else "http", "port": port, "targetPort": port}]
    spec = {"selector": {NAME_LABEL: name}, "ports": ports}
    return manifest("Service", "v1", named(name, around.namespace), spec=spec)


def _get(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}}


def _resources(cpu: str, memory: str) -> dict[str, Any]:
    """Ask for as much memory as it may have: it is never taken away again."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}
