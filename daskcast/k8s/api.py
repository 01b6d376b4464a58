"""Requests to the API of a Kubernetes cluster: plain dicts, from any thread, each with a limit.

Covers who we are there (kubeconfig or pod, as ``KubeCluster`` itself finds it), the namespace, and
the few requests that starting, watching and removing a Dask cluster takes. Does not cover what the
answers mean (``why``) or when something is asked (``watch``, ``opening``).

All requests run on one event loop in a daemon thread, which the watch and the logs share.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from daskcast.errors import ClusterError
from daskcast.k8s.answers import (
    FORBIDDEN,
    NO_ACCOUNT,
    NOT_FOUND,
    PATIENCE_S,
    REQUEST_S,
    STRANGE,
    UNREACHABLE,
    RefusedError,
    answered,
    entered,
    words_of,
)
from daskcast.k8s.bodies import items_of, object_of, table_of
from daskcast.k8s.copies import remove_copies, tidy
from daskcast.k8s.kubeconfig import why_no_account
from daskcast.k8s.refused import LOG_IN
from daskcast.k8s.spec import API_VERSION, COMPONENT_LABEL, NAME_LABEL

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from concurrent.futures import Future

T = TypeVar("T")

_LATE_S = 5
"""More for whoever waits, who else would hear of its own limit only."""

_APPS = "apps/v1"
_MERGE = {"Content-Type": "application/merge-patch+json"}
_OPERATOR = "kopf.zalando.org/"
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def need_dask_kubernetes() -> None:
    """Refuse where the extra is not installed.

    Raises
    ------
    ClusterError
    """
    if any(importlib.util.find_spec(name) is None for name in ("dask_kubernetes", "kr8s")):
        raise ClusterError(
            "a cluster on Kubernetes needs dask-kubernetes, which is not installed: "
            'pip install "daskcast[kubernetes]"'
        )


class Kubernetes:
    """The API of a cluster, seen from one namespace; close it.

    Parameters
    ----------
    namespace : str, optional
        None is that of the kubeconfig's context, or of the pod that this runs in.

    Raises
    ------
    RefusedError
        Where there is no account, or no answer.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="daskcast-kubernetes", daemon=True
        )
        self._thread.start()
        self._api: Any = None
        self.server = ""
        self.namespace = namespace or ""
        try:
            self._wait(self._sign_in(), 2 * PATIENCE_S + _LATE_S)
        except BaseException:
            self.close()
            raise

    async def _sign_in(self) -> None:
        import kr8s.asyncio  # noqa: PLC0415 - optional, and heavy

        # What kr8s.asyncio.api() makes, but at hand where signing in fails, so that it is closed,
        # and in two steps, so that a program that signs in is told from an API that is silent.
        self._api = kr8s.asyncio.Api(bypass_factory=True)
        self._api.timeout = REQUEST_S
        tidy(self._api.auth)
        try:
            await answered(_awaited(self._api.auth))
        except RefusedError as refused:
            if isinstance(refused.__cause__, TimeoutError):  # nothing was asked of the API yet
                told = why_no_account(refused.__cause__, hung=True)
                raise RefusedError(NO_ACCOUNT, told) from refused
            raise
        await _look(self._api)
        self.server = str(self._api.auth.server)
        self.namespace = self.namespace or self._own_namespace()

    def _own_namespace(self) -> str:
        # Asked of kr8s, a pod would be in `default`: it never reads the pod's own (it finds the
        # fallback already there), which is dask-kubernetes#921 as well.
        auth = self._api.auth
        if auth.active_context:
            return str(auth.kubeconfig.current_namespace or "default")
        try:
            return _POD_NAMESPACE.read_text().strip()
        except OSError as error:
            raise RefusedError(
                NO_ACCOUNT, f"the namespace of this pod cannot be read ({error}); give --namespace"
            ) from error

    # -- the thread ----------------------------------------------------------------------------

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Let something run beside, on the loop of the requests."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _wait(self, work: Coroutine[Any, Any, T], limit_s: float = PATIENCE_S + _LATE_S) -> T:
        future = self.begin(asyncio.wait_for(work, limit_s))
        try:
            return future.result()
        except TimeoutError as error:
            raise RefusedError(UNREACHABLE, f"no answer within {limit_s:g} s") from error
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End what runs beside, and the thread."""
        with suppress(OSError, TimeoutError, RuntimeError):
            self.begin(self._end()).result(2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)
        if not self._thread.is_alive():
            self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        session = getattr(self._api, "_session", None)  # kr8s has no other way to end it
        if session is not None:
            await session.aclose()
        if self._api is not None:
            remove_copies(self._api.auth)

    # -- one request ---------------------------------------------------------------------------

    async def answer(self, method: str, url: str, *, version: str = "v1", **more: Any) -> Any:
        """Make a request of our namespace, and give what it answered.

        Parameters
        ----------
        method, url, version : str
            ``url`` is what comes after the namespace.
        **more
            As :meth:`kr8s.Api.call_api` has it; ``namespace`` None asks about the whole cluster.

        Returns
        -------
        httpx.Response

        Raises
        ------
        RefusedError
        """
        asked = {"namespace": self.namespace, **more}
        call = self._api.call_api(method, version=version, url=url, **asked)
        return await answered(entered(call))

    async def read(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        """Make a request as :meth:`answer` does, and give the object that it answered.

        Raises
        ------
        RefusedError
            Also where it is none, such as a page to log in that stands in the way.
        """
        return object_of(await self.answer(method, url, **more), made=method == "POST")

    async def items(self, url: str, **more: Any) -> list[dict[str, Any]]:
        """List objects.

        Raises
        ------
        RefusedError
            As :meth:`read` does.
        """
        return items_of(await self.answer("GET", url, **more))

    # -- what is there -------------------------------------------------------------------------

    async def pods_of(self, cluster: str) -> list[dict[str, Any]]:
        """List the pods of a Dask cluster; the driver of a DaskJob is none of them."""
        parts = f"{COMPONENT_LABEL} in (scheduler,worker)"
        labels = f"{NAME_LABEL}={cluster},{parts}"
        return await self.items("pods", params={"labelSelector": labels})

    def pods(self, cluster: str) -> list[dict[str, Any]]:
        """List the pods of a Dask cluster."""
        return self._wait(self.pods_of(cluster))

    def dask_cluster(self, name: str) -> dict[str, Any] | None:
        """Give the ``DaskCluster`` object; None where there is none of that name."""
        try:
            return self._wait(self.read("GET", f"daskclusters/{name}", version=API_VERSION))
        except RefusedError as refused:
            if refused.status == NOT_FOUND and f'"{name}"' in refused.text:
                return None  # and not the kind of objects that is missing
            raise

    def deployments(self, cluster: str) -> list[dict[str, Any]]:
        """List the deployments of a Dask cluster."""
        params = {"labelSelector": f"{NAME_LABEL}={cluster}"}
        return self._wait(self.items("deployments", version=_APPS, params=params))

    def events(self) -> list[dict[str, Any]]:
        """List the events of the namespace."""
        return self._wait(self.items("events"))

    def nodes(self) -> list[dict[str, Any]]:
        """List the nodes of the cluster; few users may."""
        return self._wait(self.items("nodes", namespace=None))

    def pods_anywhere(self) -> list[dict[str, Any]]:
        """List the pods that nodes have, of all namespaces; fewer users may."""
        alive = "status.phase!=Succeeded,status.phase!=Failed"
        return self._wait(self.items("pods", namespace=None, params={"fieldSelector": alive}))

    async def log_of(self, pod: str, **params: Any) -> str:
        """Give what a pod's container wrote; ``params`` as the API has them."""
        answer = await self.answer("GET", f"pods/{pod}/log", params=params)
        text: str = answer.content.decode("utf-8", "replace")
        return text

    def last_lines(self, pod: str, container: str, n: int, *, previous: bool) -> list[str]:
        """Give the last lines of a container, or of the one before it; none where none are kept."""
        params: dict[str, Any] = {"container": container, "tailLines": n}
        if previous:
            params["previous"] = "true"
        try:
            return self._wait(self.log_of(pod, **params)).splitlines()[-n:]
        except RefusedError:
            return []

    def try_forwarding(self, pod: str, port: int) -> None:
        """Open a way to a port of a pod, and close it; KubeCluster would try for ever.

        Raises
        ------
        RefusedError
        """
        self._wait(self._try_forwarding(pod, port))

    async def _try_forwarding(self, pod: str, port: int) -> None:
        import httpx_ws  # noqa: PLC0415 - comes with kr8s

        asked = {"ports": str(port), "name": pod, "namespace": self.namespace}
        where = {"version": "v1", "url": f"pods/{pod}/portforward", "namespace": self.namespace}
        try:
            await answered(entered(self._api.open_websocket(params=asked, **where)))
        except httpx_ws.WebSocketUpgradeError as error:
            url = f"pods/{pod}/portforward"
            try:
                await self.answer("GET", url, params=asked)  # the same, with words to read
            except RefusedError as refused:
                if refused.status == FORBIDDEN:
                    raise
            status = error.response.status_code
            text = f"{url}: HTTP {status}"
            if status == FORBIDDEN:  # newer clusters want more for a websocket than for the request
                text = (
                    'User "this account" cannot create resource "pods/portforward" in API group "" '
                    f'in the namespace "{self.namespace}"'
                )
            raise RefusedError(status, text) from error
        except httpx_ws.HTTPXWSException as error:
            raise RefusedError(UNREACHABLE, words_of(error)) from error

    # -- what is changed -----------------------------------------------------------------------

    def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create a ``DaskCluster``."""
        content = json.dumps(manifest)
        return self._wait(self.read("POST", "daskclusters", version=API_VERSION, content=content))

    def set_phase(self, cluster: str, phase: str) -> None:
        """Write the phase of a ``DaskCluster``."""
        content = json.dumps({"status": {"phase": phase}})
        url = f"daskclusters/{cluster}"
        self._wait(self.answer("PATCH", url, version=API_VERSION, content=content, headers=_MERGE))

    def remove(self, cluster: str, uid: str) -> None:
        """Remove a ``DaskCluster``; not another one that has its name by now."""
        self._delete(f"daskclusters/{cluster}", API_VERSION, preconditions={"uid": uid})

    def _delete(self, url: str, version: str, **how: Any) -> None:
        content = json.dumps({"propagationPolicy": "Background", **how})
        self._wait(self.answer("DELETE", url, version=version, content=content))

    def remove_autoscaler(self, cluster: str) -> None:
        """Remove the ``DaskAutoscaler`` of a cluster.

        It stays where its cluster goes before the operator has tied the one to the other.
        """
        with suppress(RefusedError):
            self._delete(f"daskautoscalers/{cluster}", API_VERSION)

    def release(self, cluster: str) -> None:
        """Take the operator's hold on a removed ``DaskCluster`` away; all that it owns goes too.

        The hold is there to end two timers of the operator, which end with the object as well.
        """
        for plural in ("daskclusters", "daskautoscalers"):
            url = f"{plural}/{cluster}"
            with suppress(RefusedError):
                found = self._wait(self.read("GET", url, version=API_VERSION))["metadata"]
                held_by = found.get("finalizers") or []
                others = [holder for holder in held_by if not holder.startswith(_OPERATOR)]
                if found.get("deletionTimestamp") and others != held_by:
                    content = json.dumps({"metadata": {"finalizers": others or None}})
                    more = {"content": content, "headers": _MERGE}
                    self._wait(self.answer("PATCH", url, version=API_VERSION, **more))

    def sweep(self, cluster: str) -> None:
        """Remove what was made for a ``DaskCluster`` that is gone; as far as that is allowed."""
        params = {"labelSelector": f"{NAME_LABEL}={cluster}"}
        kinds = [("daskworkergroups", API_VERSION), ("deployments", _APPS), ("services", "v1")]
        for plural, version in kinds:
            with suppress(RefusedError):
                for found in self._wait(self.items(plural, version=version, params=params)):
                    self._delete(f"{plural}/{found['metadata']['name']}", version)


async def _awaited(work: Any) -> Any:
    return await work


async def _look(api: Any) -> None:
    """Refuse what answers and is no Kubernetes, such as a page to log in."""
    try:
        answer = await answered(entered(api.call_api("GET", version="", base="/version")))
        if table_of(answer, {"gitVersion": str}).get("gitVersion"):
            return
    except RefusedError as refused:
        if refused.status not in (NOT_FOUND, STRANGE):
            raise
    raise RefusedError(
        NO_ACCOUNT,
        f"what answers at {api.auth.server} is not the API of a Kubernetes cluster: mend the "
        f"server in the kubeconfig, or {LOG_IN}",
    )


def in_cluster() -> bool:
    """Tell whether this process is in a pod."""
    return "KUBERNETES_SERVICE_HOST" in os.environ
