"""Any kind of object of a Kubernetes cluster: made, read, removed; and what one may do there.

Covers requests that submitting and checking take beyond those of a Dask cluster (``api``). Does not
cover what the answers mean (``submit``, ``check``).
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from daskcast.errors import ClusterError
from daskcast.k8s.answers import RefusedError
from daskcast.k8s.api import Kubernetes, in_cluster, need_dask_kubernetes
from daskcast.k8s.bodies import table_of
from daskcast.k8s.ending import as_error
from daskcast.redact import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

NEW_POD_S = 30.0
"""For the network of a pod that has just begun."""

_NOT_FOUND = 404
_REVIEWS = "authorization.k8s.io/v1"
_LONGEST_VERSION = 100


class Objects(Kubernetes):
    """The API of a cluster, for objects of any kind; close it.

    Parameters
    ----------
    namespace : str, optional
        As of :class:`daskcast.k8s.api.Kubernetes`.
    """

    def get(self, plural: str, name: str, *, version: str = "v1") -> dict[str, Any] | None:
        """Give an object; None where there is none of that name.

        Raises
        ------
        RefusedError
        """
        try:
            return self._wait(self.read("GET", f"{plural}/{name}", version=version))
        except RefusedError as refused:
            if refused.status == _NOT_FOUND and f'"{name}"' in refused.text:
                return None
            raise

    def all_of(
        self, plural: str, labels: str = "", *, version: str = "v1", everywhere: bool = False
    ) -> list[dict[str, Any]]:
        """List objects, of all namespaces where asked for.

        Raises
        ------
        RefusedError
        """
        more: dict[str, Any] = {"namespace": None} if everywhere else {}
        params = {"labelSelector": labels} if labels else {}
        return self._wait(self.items(plural, version=version, params=params, **more))

    def make(self, plural: str, manifest: Mapping[str, Any], *, version: str) -> dict[str, Any]:
        """Create an object.

        Raises
        ------
        RefusedError
        """
        content = json.dumps(manifest)
        return self._wait(self.read("POST", plural, version=version, content=content))

    def delete(self, plural: str, name: str, *, version: str) -> None:
        """Remove an object, and what belongs to it; nothing happens where there is none.

        Nor without a name: Kubernetes would remove all objects of the kind.

        Raises
        ------
        RefusedError
        """
        if not name:
            return
        content = json.dumps({"propagationPolicy": "Background"})
        try:
            work = self.answer("DELETE", f"{plural}/{name}", version=version, content=content)
            self._wait(work)
        except RefusedError as refused:
            if refused.status != _NOT_FOUND:
                raise

    def log(self, pod: str, container: str, *, since: str = "") -> list[str]:
        """Give the lines that a container wrote, each after its time, from a time on.

        Raises
        ------
        RefusedError
        """
        params: dict[str, Any] = {"container": container, "timestamps": "true"}
        if since:
            params["sinceTime"] = since
        return self._wait(self.log_of(pod, **params)).splitlines()

    def may(self, verb: str, group: str, resource: str) -> bool:
        """Tell whether we may do something in the namespace; ``pods/log`` is of pods.

        Raises
        ------
        RefusedError
        """
        kind, _, part = resource.partition("/")
        asked = {"namespace": self.namespace, "verb": verb, "group": group, "resource": kind}
        if part:
            asked["subresource"] = part
        review = {
            "apiVersion": _REVIEWS,
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        work = self.answer(
            "POST", "selfsubjectaccessreviews", version=_REVIEWS, namespace=None,
            content=json.dumps(review),
        )  # fmt: skip
        found = table_of(self._wait(work), {"status": {}})
        return (found.get("status") or {}).get("allowed") is True

    def server_version(self) -> str:
        """Give the version of the cluster, such as ``v1.34.1``.

        Raises
        ------
        RefusedError
        """
        work = self.answer("GET", "", version="", base="/version", namespace=None)
        told = table_of(self._wait(work), {"gitVersion": str}).get("gitVersion") or ""
        return printable(told)[:_LONGEST_VERSION]

    def kinds(self, version: str) -> set[str]:
        """Name the kinds of objects of an API group; empty where the cluster has no such group.

        Raises
        ------
        RefusedError
        """
        try:
            answer = self._wait(self.answer("GET", "", version=version, namespace=None))
        except RefusedError as refused:
            if refused.status == _NOT_FOUND:
                return set()
            raise
        found = table_of(answer, {"resources": [{}]})
        return {str(kind.get("name")) for kind in found.get("resources") or ()}

    def told(self, refused: RefusedError, doing: str) -> ClusterError:
        """Say why a request was refused: to stop, where it may do later, or for good."""
        return as_error(refused, doing=doing, namespace=self.namespace, server=self.server)


def connected(namespace: str | None) -> Objects:
    """Connect to the cluster of the kubeconfig, or of the pod that this runs in.

    Raises
    ------
    ClusterError
        Says in one sentence why not; ``may_pass`` where the cluster does not answer.
    """
    need_dask_kubernetes()
    until = time.monotonic() + (NEW_POD_S if in_cluster() else 0)
    while True:
        try:
            return Objects(namespace)
        except RefusedError as refused:
            if not refused.passing or time.monotonic() > until:
                where = {"doing": "connect to the cluster", "namespace": namespace or ""}
                raise as_error(refused, **where) from refused
            time.sleep(1)
