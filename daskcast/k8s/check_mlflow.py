"""Is there an MLflow server for runs, and does it take what they send.

Covers the one of the namespace, one that is named, and what the answers to ``probe`` are worth.
Does not cover asking from a pod (``check_image``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daskcast.k8s import probe
from daskcast.k8s.finding import Finding
from daskcast.k8s.manifests import MLFLOW, NAME_LABEL
from daskcast.k8s.pods import is_ready

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.k8s.objects import Objects

_GOOD, _NO_LOGIN = "200", ("401", "403")
_NO_ROUTE = ("404", "405", "501")  # 403 is of the experiment that was asked about


def mlflow_finding(api: Objects, tracking_uri: str | None) -> Finding:
    """Look at MLflow from here: at an address, or at the pods of the namespace's own.

    Raises
    ------
    RefusedError
        Where its pods may not be seen.
    """
    if tracking_uri is not None:
        return answer_finding(tracking_uri, probe.look([], tracking_uri)["mlflow"], "from here")
    pods = api.all_of("pods", f"{NAME_LABEL}={MLFLOW}")
    ready = [str(pod["metadata"]["name"]) for pod in pods if is_ready(pod)]
    if ready:
        return Finding("ok", f"MLflow answers its own probe: {ready[0]}; --image asks from a pod")
    told = f"the pod {pods[0]['metadata']['name']} is not ready" if pods else "there is none"
    more = "`daskcast k8s render --part mlflow` has one; or name another (--tracking-uri)"
    return Finding("missing", f"MLflow in the namespace {api.namespace}: {told}; {more}")


def answer_finding(uri: str, told: Mapping[str, str], where: str) -> Finding:
    """Say what the answers to ``probe`` are worth; ``where`` they were heard."""
    if told["health"] != _GOOD:
        return Finding("missing", f"MLflow at {uri} does not answer {where}: {told['health']}")
    if told["account"] in _NO_LOGIN:
        return Finding(
            "missing",
            f"MLflow at {uri} wants a login ({told['account']}): give MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, to pods by the secret daskcast-mlflow",
        )
    if told["account"] != _GOOD:
        return Finding("missing", f"MLflow at {uri} takes no requests {where}: {told['account']}")
    if told["bulk"] in _NO_ROUTE:
        return Finding(
            "warning",
            f"MLflow at {uri} answers {where}, without the route that takes many runs "
            f"({told['bulk']}): mlflow server --app-name daskcast",
        )
    return Finding("ok", f"MLflow at {uri} answers {where}, and takes many runs in a request")
