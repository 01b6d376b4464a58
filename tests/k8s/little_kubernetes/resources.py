"""The kinds of objects that the server knows, and discovery.

Covers: a table of built-in kinds, the kinds of CustomResourceDefinitions, discovery documents.
Does not cover: aggregated APIs, several versions of one kind, OpenAPI documents.

A resource is named as kubectl does: ``pods``, ``deployments.apps``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .errors import no_such_path
from .objects import Object

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
REVIEWS = "selfsubjectaccessreviews.authorization.k8s.io"
VERBS = ["create", "delete", "get", "list", "patch", "watch"]


@dataclass(frozen=True)
class Kind:
    """A kind of object: how it is named and what it has."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    has_status: bool = True
    subresources: tuple[str, ...] = ()
    short: str = ""

    @property
    def resource(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def _built_in() -> Iterator[Kind]:
    yield Kind("", "v1", "pods", "Pod", subresources=("log", "portforward"), short="po")
    yield Kind("", "v1", "serviceaccounts", "ServiceAccount", has_status=False, short="sa")
    yield Kind("", "v1", "services", "Service", short="svc")
    yield Kind("", "v1", "resourcequotas", "ResourceQuota", short="quota")
    yield Kind("", "v1", "namespaces", "Namespace", namespaced=False, short="ns")
    yield Kind("", "v1", "nodes", "Node", namespaced=False, short="no")
    plain = {"events": "Event", "configmaps": "ConfigMap", "secrets": "Secret"}
    for plural, kind in (plain | {"limitranges": "LimitRange"}).items():
        yield Kind("", "v1", plural, kind, has_status=False)
    for plural, kind in {"deployments": "Deployment", "replicasets": "ReplicaSet"}.items():
        yield Kind("apps", "v1", plural, kind, subresources=("scale",))
    yield Kind("batch", "v1", "jobs", "Job")
    yield Kind("batch", "v1", "cronjobs", "CronJob")
    yield Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
    yield Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", has_status=False)
    yield Kind("coordination.k8s.io", "v1", "leases", "Lease", has_status=False)
    rbac = "rbac.authorization.k8s.io"
    for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"):
        yield Kind(rbac, "v1", f"{kind.lower()}s", kind, not kind.startswith("Cluster"), False)
    group = "apiextensions.k8s.io"
    yield Kind(group, "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
    review = ("selfsubjectaccessreviews", "SelfSubjectAccessReview")
    yield Kind("authorization.k8s.io", "v1", *review, False, False)


BUILT_IN = {kind.resource: kind for kind in _built_in()}


def custom_kinds(definition: Object) -> Iterator[Kind]:
    """Give the kinds that a CustomResourceDefinition defines."""
    spec = definition["spec"]
    for version in spec["versions"]:
        parts = version.get("subresources") or {}
        yield Kind(
            spec["group"],
            version["name"],
            spec["names"]["plural"],
            spec["names"]["kind"],
            namespaced=spec["scope"] == "Namespaced",
            has_status="status" in parts,
            subresources=("scale",) if "scale" in parts else (),
        )


def describe(path: list[str], kinds: list[Kind]) -> Object:
    """Give the discovery document of ``/api``, ``/apis``, a group, or a group and its version."""
    if path == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == ["apis"]:
        names = dict.fromkeys(kind.group for kind in kinds if kind.group)
        groups = [_group(name, kinds) for name in names]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if len(path) == 2 and path[0] == "apis":
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(path[1], kinds)}
    api_version = "/".join(path[1:])
    found = [kind for kind in kinds if kind.api_version == api_version]
    if not found:
        raise no_such_path()
    rows = [row for kind in found for row in _rows(kind)]
    answer = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version}
    return answer | {"resources": rows}


def _group(name: str, kinds: list[Kind]) -> Object:
    versions = list(dict.fromkeys(kind.version for kind in kinds if kind.group == name))
    if not versions:
        raise no_such_path()
    rows = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": rows, "preferredVersion": rows[0]}


def _rows(kind: Kind) -> Iterator[Object]:
    base = {
        "singularName": kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
    }
    verbs = ["create"] if kind.resource == REVIEWS else VERBS
    short = [kind.short] if kind.short else []
    yield {"name": kind.plural, "verbs": verbs, "shortNames": short, **base}
    if kind.has_status:
        yield {"name": f"{kind.plural}/status", "verbs": ["get", "patch"], **base}
    for part in kind.subresources:
        verbs = ["get", "patch"] if part == "scale" else ["create", "get"]
        yield {"name": f"{kind.plural}/{part}", "verbs": verbs, **base}
