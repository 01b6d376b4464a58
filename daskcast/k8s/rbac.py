"""Who may do what in a namespace: its service accounts and their roles.

Covers the namespace itself, with the strictest of Kubernetes' own profiles for its pods, and four
accounts: users, what submits a run, its driver, its workers. Does not cover the operator, which
brings its own (its Helm chart), or which pods may talk to each other (``network``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from daskcast.k8s.manifests import DRIVER, SUBMIT, USERS, WORKER, Document, manifest, named

DASK = "kubernetes.dask.org"
READ = ("get", "list", "watch")
CHANGE = (*READ, "create", "patch", "delete")


class Rule(NamedTuple):
    """What may be done with some kinds of objects of an API group."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]

    def manifest(self) -> dict[str, Any]:
        """Give it as it stands in a role."""
        found = self._asdict()
        return {
            "apiGroups": [found["group"]],
            "resources": list(found["resources"]),
            "verbs": list(found["verbs"]),
        }


_CLUSTERS = ("daskclusters", "daskworkergroups")
_SEEN = Rule("", ("pods", "pods/log", "services", "events"), READ)

USER_RULES = (
    Rule(DASK, (*_CLUSTERS, "daskautoscalers", "daskjobs"), CHANGE),
    _SEEN,
    Rule("apps", ("deployments",), READ),
    # From outside the cluster: to the scheduler, and to MLflow.
    Rule("", ("pods/portforward",), ("get", "create")),
    # To run what is scheduled now: kubectl create job NAME --from=cronjob/daskcast
    Rule("batch", ("jobs",), (*READ, "create", "delete")),
    Rule("batch", ("cronjobs",), READ),
)
SUBMIT_RULES = (
    Rule(DASK, ("daskjobs",), (*READ, "create", "delete")),
    Rule("", ("pods", "pods/log", "events"), READ),
)
DRIVER_RULES = (
    Rule(DASK, _CLUSTERS, READ),
    Rule(DASK, ("daskclusters",), ("patch",)),
    _SEEN,
)
ADAPTIVE_RULE = Rule(DASK, ("daskautoscalers",), ("create",))


def namespace(name: str) -> Document:
    """Give the namespace, in which only restricted pods start."""
    level = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in _MODES}
    metadata = named(name, None)
    metadata["labels"] = {**metadata["labels"], **level}
    return Document(
        manifest("Namespace", "v1", metadata),
        "No pod of this namespace runs as root, gains rights, or sees its node.",
    )


_MODES = ("enforce", "audit", "warn")


def accounts(namespace: str, *, adaptive: bool = False) -> list[Document]:
    """Give the service accounts, and roles that are just enough.

    Parameters
    ----------
    namespace : str
    adaptive : bool
        Whether the number of workers of a run is to follow its work.
    """
    submit = (*SUBMIT_RULES, ADAPTIVE_RULE) if adaptive else SUBMIT_RULES
    return [
        *_account(USERS, namespace, USER_RULES, _USERS_ABOUT.format(namespace=namespace)),
        *_account(SUBMIT, namespace, submit, _SUBMIT_ABOUT),
        *_account(DRIVER, namespace, DRIVER_RULES, _DRIVER_ABOUT),
        Document(_service_account(WORKER, namespace), _WORKER_ABOUT),
    ]


_USERS_ABOUT = """\
For people, notebooks and CI jobs that run daskcast. A person gets it by
  kubectl create rolebinding daskcast-ann -n {namespace} --role=daskcast --user=ann"""
_SUBMIT_ABOUT = "For the Job that submits a run, follows it, and ends as it ends."
_DRIVER_ABOUT = "For the driver of a run: it sees its cluster, and starts nothing."
_WORKER_ABOUT = "For scheduler and workers: no token, no rights. They run what they are sent."


def _account(name: str, namespace: str, rules: tuple[Rule, ...], about: str) -> list[Document]:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    version = "rbac.authorization.k8s.io/v1"
    metadata = named(name, namespace)
    return [
        Document(_service_account(name, namespace), about),
        Document(manifest("Role", version, metadata, rules=[rule.manifest() for rule in rules])),
        Document(manifest("RoleBinding", version, metadata, roleRef=role, subjects=[subject])),
    ]


def _service_account(name: str, namespace: str) -> dict[str, Any]:
    """Give an account; a pod gets its token where the pod itself asks for it, and nowhere else."""
    metadata = named(name, namespace)
    return manifest("ServiceAccount", "v1", metadata, automountServiceAccountToken=False)
