"""Which pods of a namespace may talk to which.

Covers network policies; a cluster enforces them where its network plugin does. Does not cover who
may ask what of the Kubernetes API (``rbac``).

Probes and ``kubectl port-forward`` come from the node a pod is on: policies let them through. What
goes to a service is judged where it arrives: by the port of a pod or endpoint behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from daskcast.k8s.manifests import (
    CLIENT_LABEL,
    MLFLOW,
    MLFLOW_PORT,
    NAME_LABEL,
    PART_LABEL,
    POSTGRES,
    STORE,
    SUBMIT,
    USERS,
    Document,
    manifest,
    named,
)
from daskcast.k8s.mlflow import POSTGRES_PORT, STORE_PORT
from daskcast.k8s.spec import COMPONENT_LABEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.k8s.surroundings import Surroundings

_SCHEDULER_PORTS = (8786, 8787)
_KINDS = ("scheduler", "worker", "job-runner")


def policies(
    around: Surroundings, *, mlflow: bool = True, elsewhere: str | None = None
) -> list[Document]:
    """Give the network policies.

    Parameters
    ----------
    around : Surroundings
    mlflow : bool
        Whether there is an MLflow server in the namespace.
    elsewhere : str, optional
        The address of one that is not.
    """
    found = [_nothing_comes_in(around), _dask(around), _scheduler(around), _submit(around)]
    if not mlflow:
        return [*found, _driver(around, [_to(None, (_port_of(elsewhere),))] if elsewhere else [])]
    ours = [_to(_pods(MLFLOW), (MLFLOW_PORT,))]
    found += [_driver(around, ours), _mlflow(around), _postgres(around)]
    return found if around.artifacts else [*found, _store(around)]


def _nothing_comes_in(around: Surroundings) -> Document:
    spec = {"podSelector": {}, "policyTypes": ["Ingress"]}
    return _policy("daskcast-default", around, spec, "Nothing comes in but what is named below.")


def _dask(around: Surroundings) -> Document:
    pods = _of_kind(*_KINDS)
    spec = {
        "podSelector": pods,
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"podSelector": pods}]}],
        "egress": [_to(pods), _dns(), _to(None, around.egress_ports)],
    }
    return _policy(
        "daskcast-dask", around, spec,
        "Scheduler, workers and driver talk to each other, on ports that they choose, and reach\n"
        "their data.",
    )  # fmt: skip


def _scheduler(around: Surroundings) -> Document:
    operator = {"kubernetes.io/metadata.name": around.operator_namespace}
    spec = {
        "podSelector": _of_kind("scheduler"),
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"namespaceSelector": {"matchLabels": operator}}, *_clients()],
                "ports": _ports(_SCHEDULER_PORTS),
            }
        ],
    }
    return _policy(
        "daskcast-scheduler", around, spec,
        "The operator asks schedulers whether they are idle, and which workers to retire.\n"
        f"A notebook in this namespace needs the label {CLIENT_LABEL}: \"true\".",
    )  # fmt: skip


def _driver(around: Surroundings, tracking: Sequence[dict[str, Any]]) -> Document:
    spec = {
        "podSelector": _of_kind("job-runner"),
        "policyTypes": ["Egress"],
        "egress": [_to(None, around.api_ports), *tracking],
    }
    return _policy(
        "daskcast-driver", around, spec,
        "The driver alone reaches MLflow and the Kubernetes API.",
    )  # fmt: skip


def _submit(around: Surroundings) -> Document:
    pods = {"matchLabels": {NAME_LABEL: USERS, PART_LABEL: SUBMIT}}
    spec = {
        "podSelector": pods,
        "policyTypes": ["Egress"],
        "egress": [_dns(), _to(None, around.api_ports)],
    }
    return _policy(SUBMIT, around, spec, "What submits a run reaches the Kubernetes API.")


def _mlflow(around: Surroundings) -> Document:
    outside = sorted({443, _port_of(around.artifacts_endpoint or "https://s3")})
    store = _to(None, outside) if around.artifacts else _to(_pods(STORE), (STORE_PORT,))
    spec = {
        "podSelector": _pods(MLFLOW),
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [{"podSelector": _of_kind("job-runner")}, *_clients()],
                "ports": _ports((MLFLOW_PORT,)),
            }
        ],
        "egress": [_dns(), _to(_pods(POSTGRES), (POSTGRES_PORT,)), store],
    }
    return _policy(MLFLOW, around, spec, "Workers do not reach MLflow.")


def _postgres(around: Surroundings) -> Document:
    return _policy(POSTGRES, around, _behind_mlflow(POSTGRES, POSTGRES_PORT), "Only MLflow's.")


def _store(around: Surroundings) -> Document:
    return _policy(STORE, around, _behind_mlflow(STORE, STORE_PORT), "Only MLflow's.")


def _behind_mlflow(name: str, port: int) -> dict[str, Any]:
    return {
        "podSelector": _pods(name),
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"podSelector": _pods(MLFLOW)}], "ports": _ports((port,))}],
        "egress": [],
    }


# -- pieces ------------------------------------------------------------------------------------


def _policy(name: str, around: Surroundings, spec: dict[str, Any], about: str) -> Document:
    metadata = named(name, around.namespace)
    return Document(manifest("NetworkPolicy", "networking.k8s.io/v1", metadata, spec=spec), about)


def _pods(name: str) -> dict[str, Any]:
    return {"matchLabels": {NAME_LABEL: name}}


def _of_kind(*kinds: str) -> dict[str, Any]:
    """Select pods of runs; the operator writes what kind each of them is."""
    kind = {"key": COMPONENT_LABEL, "operator": "In", "values": list(kinds)}
    return {**_pods(USERS), "matchExpressions": [kind]}


def _clients() -> list[dict[str, Any]]:
    return [{"podSelector": {"matchLabels": {CLIENT_LABEL: "true"}}}]


def _to(pods: dict[str, Any] | None, ports: Sequence[int] = ()) -> dict[str, Any]:
    """Let out, to some pods or anywhere, on some ports or all."""
    found: dict[str, Any] = {"to": [{"podSelector": pods}]} if pods else {}
    return {**found, "ports": _ports(ports)} if ports else found


def _ports(numbers: Sequence[int]) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": number} for number in numbers]


def _dns() -> dict[str, Any]:
    return {"ports": [{"protocol": kind, "port": 53} for kind in ("UDP", "TCP")]}


def _port_of(url: str) -> int:
    """Give the port of an address that is checked, as a driver of databases takes it, too."""
    scheme = url.partition(":")[0].partition("+")[0].lower()
    given = None if scheme == "databricks" else urlsplit(url).port  # it has profile:prefix there
    return given or _PORTS.get(scheme, 443)


_PORTS = {"http": 80, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
