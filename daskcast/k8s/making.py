"""A ``DaskCluster`` object on Kubernetes: made, or found by its name, and what we made removed.

Covers the object and waiting until none of its pods is left. Does not cover its manifest
(``spec``) or waiting until it runs (``opening``).
"""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daskcast.errors import ClusterError
from daskcast.k8s.answers import CONFLICT, NOT_FOUND, RefusedError
from daskcast.k8s.ending import as_error
from daskcast.k8s.pods import name_of
from daskcast.k8s.spec import cluster_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daskcast.k8s.api import Kubernetes
    from daskcast.kubernetes_options import KubernetesOptions

logger = logging.getLogger(__name__)

MADE_BY = "daskcast/made-by"
"""Annotation with a token of ours: what another one made under the same name is never removed."""

REMOVED_S = 60
"""How long the pods of a removed cluster may take to go."""

HELP_S = 5
"""After so long the operator is not waited for: it may be dead, or block itself.

Its ``is_comm_open`` sleeps on its event loop, 200 s where a scheduler's service goes as it looks.
"""

EVERY_S = 0.3


@dataclass(frozen=True, slots=True)
class Made:
    """A ``DaskCluster`` that exists.

    Parameters
    ----------
    name : str
    n_workers : int
        How many it is to have at first.
    own : bool
        Whether it was made here, and is removed here.
    """

    name: str
    n_workers: int
    own: bool


@contextmanager
def made(
    kubernetes: Kubernetes, options: KubernetesOptions, *, n_workers: int, n_threads: int
) -> Iterator[Made]:
    """Find the cluster that the options name, or make one; remove what was made.

    Parameters
    ----------
    kubernetes : Kubernetes
    options : KubernetesOptions
    n_workers, n_threads : int

    Yields
    ------
    Made

    Raises
    ------
    ClusterError
        Where it is refused.
    """
    found = _found(kubernetes, options.name) if options.name else None
    if found is not None:
        logger.info(
            "uses the Dask cluster %s in namespace %s, and leaves it", found.name,
            kubernetes.namespace,
        )  # fmt: skip
        yield found
        return
    name, token = options.name or f"daskcast-{secrets.token_hex(4)}", secrets.token_hex(8)
    manifest = cluster_manifest(name, options, n_workers=n_workers, n_threads=n_threads)
    ours = {"namespace": kubernetes.namespace, "annotations": {MADE_BY: token}}
    manifest = {**manifest, "metadata": {**manifest["metadata"], **ours}}
    with ExitStack() as stack:
        if options.adaptive:
            stack.callback(kubernetes.release, name)
        stack.callback(_remove, kubernetes, name, token)
        if options.adaptive:
            stack.callback(kubernetes.remove_autoscaler, name)
        try:
            kubernetes.create(manifest)
        except RefusedError as refused:
            if not refused.passing:
                stack.pop_all()  # nothing was made; where it may pass, the answer may be lost
            raise _refused(kubernetes, refused, f"create the Dask cluster {name}") from refused
        logger.info("made the Dask cluster %s in namespace %s", name, kubernetes.namespace)
        yield Made(name, manifest["spec"]["worker"]["replicas"], own=True)


def _found(kubernetes: Kubernetes, name: str) -> Made | None:
    try:
        found = kubernetes.dask_cluster(name)
    except RefusedError as refused:
        raise _refused(kubernetes, refused, f"look for the Dask cluster {name}") from refused
    if found is None:
        return None
    if found["metadata"].get("deletionTimestamp"):
        raise ClusterError(
            f"the Dask cluster {name} in namespace {kubernetes.namespace} is being removed: wait "
            f"until it is gone, or give another --cluster-name",
            may_pass=True,
        )
    replicas = ((found.get("spec") or {}).get("worker") or {}).get("replicas") or 0
    return Made(name, int(replicas), own=False)


def _refused(kubernetes: Kubernetes, refused: RefusedError, doing: str) -> ClusterError:
    where = {"namespace": kubernetes.namespace, "server": kubernetes.server}
    return as_error(refused, doing=doing, **where)


# -- the end ------------------------------------------------------------------------------------


def _remove(kubernetes: Kubernetes, name: str, token: str) -> None:
    """Remove what has our token, and wait until it is gone; interrupted, wait no longer."""
    try:
        left = _removed(kubernetes, name, token)
    except KeyboardInterrupt:
        left = "all of it"
        with suppress(RefusedError):
            left = "what is going now" if _ask(kubernetes, name, token) else ""
        _warn(kubernetes, name, left)
        raise
    _warn(kubernetes, name, left)


def _removed(kubernetes: Kubernetes, name: str, token: str) -> str:
    """Ask until all is gone, and say what is not."""
    start, helped_at, asked = time.monotonic(), 0.0, False
    left = "perhaps all of it: the Kubernetes API does not answer"
    while (seconds := time.monotonic() - start) < REMOVED_S:
        try:
            there = _ask(kubernetes, name, token)
            asked = asked or there
            if not asked:
                return ""  # it was never made, or is another's
            left = _what_is_left(kubernetes, name, there=there)
            if not left:
                logger.info("removed the Dask cluster %s", name)
                return ""
            if seconds > helped_at + HELP_S:
                helped_at = seconds
                help_on = kubernetes.release if there else kubernetes.sweep
                help_on(name)
        except RefusedError as refused:
            if not refused.passing:
                return f"perhaps all of it: {refused}"
        time.sleep(EVERY_S)
    return left


def _ask(kubernetes: Kubernetes, name: str, token: str) -> bool:
    """Ask for the removal, once; tell whether our cluster is there."""
    found = kubernetes.dask_cluster(name)
    metadata = (found or {}).get("metadata") or {}
    if (metadata.get("annotations") or {}).get(MADE_BY) != token:
        return False
    if not metadata.get("deletionTimestamp"):
        try:
            kubernetes.remove(name, metadata["uid"])
        except RefusedError as refused:
            if refused.status not in (NOT_FOUND, CONFLICT):
                raise
    return True


def _what_is_left(kubernetes: Kubernetes, name: str, *, there: bool) -> str:
    pods = [name_of(pod) for pod in kubernetes.pods(name)]
    if pods:
        return f"{len(pods)} pods ({', '.join(sorted(pods)[:5])})"
    if there:
        return "the object alone, which waits for the Dask operator (does it run?)"
    return ""


def _warn(kubernetes: Kubernetes, name: str, left: str) -> None:
    if left:
        logger.warning(
            "of the Dask cluster %(name)s in namespace %(ns)s there is left: %(left)s; see "
            "`kubectl get pods -n %(ns)s -l dask.org/cluster-name=%(name)s`, and remove it with "
            "`kubectl delete daskcluster %(name)s -n %(ns)s`",
            {"name": name, "ns": kubernetes.namespace, "left": left},
        )
