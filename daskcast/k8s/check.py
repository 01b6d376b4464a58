"""Is a Kubernetes cluster ready for runs: what is there, what is missing, what to do about it.

Covers the API and its version, the operator and its kinds, what we may do, and secrets. MLflow is
looked at by ``check_mlflow``, an image by ``check_image``, which starts it. Does not cover a
cluster that starts or runs (``watch``).

Only what the rendered roles allow is needed. What may not be seen is said to be so; an image shows
it all the same, as nothing starts without an operator, accounts, secrets and room.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

from daskcast.errors import DaskcastError
from daskcast.k8s.answers import RefusedError
from daskcast.k8s.check_image import image_findings
from daskcast.k8s.check_mlflow import mlflow_finding
from daskcast.k8s.finding import Finding
from daskcast.k8s.manifests import NAME_LABEL
from daskcast.k8s.objects import Objects, connected
from daskcast.k8s.pods import is_ready
from daskcast.k8s.rbac import DASK, USER_RULES
from daskcast.k8s.refused import OPERATOR, rule
from daskcast.k8s.spec import API_VERSION
from daskcast.k8s.surroundings import tracking_uri_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from daskcast.kubernetes_options import KubernetesOptions

OLDEST, NEWEST = (1, 30), (1, 37)
"""Versions of Kubernetes that rendered manifests are checked against."""

_KINDS = ("daskclusters", "daskjobs", "daskworkergroups", "daskautoscalers")
_OPERATOR_LABEL = f"{NAME_LABEL}=dask-kubernetes-operator"
_PULLS = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")
_FORBIDDEN = 403


def findings(
    options: KubernetesOptions,
    *,
    tracking_uri: str | None = None,
    tracking: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Generator[Finding]:
    """Look at a cluster, one thing after the other.

    Parameters
    ----------
    options : KubernetesOptions
        Of the runs that it is meant for. An image is started, as their pods would be.
    tracking_uri : str, optional
        Of an MLflow server that is not the one of the namespace.
    tracking : bool
        Whether MLflow is needed.
    say : callable
        Takes what a waiting person is told.

    Yields
    ------
    Finding
        One alone where the cluster cannot be reached.
    """
    try:
        api = connected(options.namespace)
    except DaskcastError as error:
        yield Finding("missing", str(error))
        return
    with closing(api):
        yield from _tried(api, "look at its version", lambda: [_version(api)])
        yield from _tried(api, "look for the operator", lambda: _operator(api))
        yield from _tried(api, "ask what we may do", lambda: _rights(api))
        yield from _tried(api, "look for secrets", lambda: _secrets(api, options))
        if options.image is not None:
            uri = (tracking_uri or tracking_uri_of(api.namespace)) if tracking else ""
            yield from image_findings(api, options, uri, say)
        elif tracking:
            yield from _tried(api, "look for MLflow", lambda: [mlflow_finding(api, tracking_uri)])


def _tried(api: Objects, doing: str, look: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
    try:
        return look()
    except RefusedError as refused:
        return [Finding("missing", str(api.told(refused, doing)))]


# -- the cluster -------------------------------------------------------------------------------


def _version(api: Objects) -> Finding:
    told = api.server_version()
    read = re.match(r"v?(\d+)\.(\d+)", told)
    version = (int(read[1]), int(read[2])) if read else (0, 0)
    at = f"Kubernetes {told} at {api.server}"
    if OLDEST <= version <= NEWEST:
        return Finding("ok", at)
    known = " to ".join(".".join(map(str, end)) for end in (OLDEST, NEWEST))
    return Finding("warning", f"{at}: manifests are checked against {known} alone")


def _operator(api: Objects) -> list[Finding]:
    absent = [kind for kind in _KINDS if kind not in api.kinds(API_VERSION)]
    if absent:
        told = f"the cluster has no {', '.join(absent)}: install the Dask operator: {OPERATOR}"
        return [Finding("missing", told)]
    return [Finding("ok", f"the kinds of the Dask operator: {', '.join(_KINDS)}"), _runs(api)]


def _runs(api: Objects) -> Finding:
    try:
        pods = api.all_of("pods", _OPERATOR_LABEL, everywhere=True)
    except RefusedError as refused:
        if refused.status != _FORBIDDEN:
            raise
        told = "whether the Dask operator runs may not be seen from here: --image IMAGE shows it"
        return Finding("unknown", told)
    ready = [pod for pod in pods if is_ready(pod)]
    if ready:
        meta = ready[0]["metadata"]
        return Finding("ok", f"the Dask operator runs: {meta.get('namespace', '?')}/{meta['name']}")
    if pods:
        meta = pods[0]["metadata"]
        where = f"kubectl logs -n {meta.get('namespace', '?')} {meta['name']}"
        return Finding("missing", f"the Dask operator is there and not ready: see {where}")
    told = "no pod looks like a Dask operator; if none of another name runs: "
    return Finding("missing", told + OPERATOR)


# -- what we may do ----------------------------------------------------------------------------


def _rights(api: Objects) -> list[Finding]:
    found = []
    for group, resources, verbs in USER_RULES:
        for resource in resources:
            lacking = [verb for verb in verbs if not api.may(verb, group, resource)]
            found.append(_right(api.namespace, group, resource, verbs, lacking))
    return found


def _right(
    namespace: str, group: str, resource: str, verbs: Sequence[str], lacking: Sequence[str]
) -> Finding:
    where = f"in the namespace {namespace}"
    if not lacking:
        return Finding("ok", f"may {', '.join(verbs)} {resource} {where}")
    needed = "\n".join(rule(group=group, resource=resource, verb=verb) for verb in lacking)
    return Finding(
        "missing" if group in ("", DASK) else "warning",
        f"may not {', '.join(lacking)} {resource} {where}; `daskcast k8s render --part rbac` has "
        f"the role daskcast, which needs the rule\n{needed}",
    )


def _secrets(api: Objects, options: KubernetesOptions) -> list[Finding]:
    pods = (options.worker, options.driver, options.scheduler)
    names = dict.fromkeys(name for pod in pods for name in pod.secrets)
    pulls = dict.fromkeys(options.pull_secrets)
    return [_secret(api, name) for name in names] + [_secret(api, n, pulls=True) for n in pulls]


def _secret(api: Objects, name: str, *, pulls: bool = False) -> Finding:
    """Look for a secret, whose keys are told; ``pulls`` is one of a registry."""
    try:
        found = api.get("secrets", name)
    except RefusedError as refused:
        if refused.status != _FORBIDDEN:
            raise
        told = f"the secret {name} may not be seen from here, rightly: --image IMAGE shows it"
        return Finding("unknown", told)
    if found is None:
        kind, source = ("docker-registry", "docker-server=HOST --docker-username=USER")
        if not pulls:
            kind, source = ("generic", "from-env-file=FILE")
        create = f"kubectl create secret {kind} {name} -n {api.namespace} --{source}"
        return Finding("missing", f"there is no secret {name}: {create}")
    if pulls and found.get("type") not in _PULLS:
        told = f"the secret {name} is no pull secret: its type is {found.get('type')}, and must be "
        return Finding("missing", f"{told}{_PULLS[0]}: kubectl create secret docker-registry")
    return Finding("ok", f"the secret {name}: {', '.join(found.get('data') or {}) or 'empty'}")
