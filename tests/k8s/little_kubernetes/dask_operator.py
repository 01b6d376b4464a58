"""The real operator of Dask, as its own chart installs it.

Covers: the custom resources and the chart of the installed ``dask_kubernetes``, rendered by the
real helm; the operator's image; waiting until it watches all that it works on.
Does not cover: the role of a single namespace, several operators.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from .cluster import Cluster, wait_until
from .images import Image
from .tools import tool

SPACE = "dask-operator"
_IMAGE = "ghcr.io/dask/dask-kubernetes-operator"
_COMMAND = ["kopf", "run", "-m", "dask_kubernetes.operator.controller"]
_PLURALS = ("daskclusters", "daskworkergroups", "daskjobs", "daskautoscalers")
_WATCHED = {"pods", "services"} | {f"{plural}.kubernetes.dask.org" for plural in _PLURALS}
_START_S = 120


def install_kinds(cluster: Cluster) -> None:
    """Install the kinds of objects that the operator works on."""
    for file in sorted((_chart() / "crds").glob("*.yaml")):
        cluster.apply(file.read_text())


def install_operator(cluster: Cluster) -> None:
    """Install the operator into a namespace of its own, and wait until it is at work."""
    here, tag = str(Path(sys.executable).parent), version("dask-kubernetes")
    cluster.image(f"{_IMAGE}:{tag}", Image([here], _COMMAND, ["--all-namespaces"]))
    install_kinds(cluster)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    cluster.apply(_rendered(cluster.folder / "helm", tag), namespace=SPACE)

    def watched() -> set[str]:
        requests = [r for r in cluster.requests if r.verb == "watch" and SPACE in r.user]
        return {request.resource for request in requests if request.code == 200}

    try:
        wait_until(lambda: watched() >= _WATCHED, _START_S)
    except TimeoutError as err:
        pods = cluster.pods(SPACE)
        logs = "\n".join(cluster.logs(SPACE, pod["metadata"]["name"]) for pod in pods)
        raise RuntimeError(f"the operator does not start: {pods}\n{logs}") from err


def _chart() -> Path:
    package = Path(importlib.util.find_spec("dask_kubernetes").origin).parent
    return package / "operator/deployment/helm/dask-kubernetes-operator"


def _rendered(folder: Path, tag: str) -> str:
    """Give the manifests of the operator, as helm renders its chart."""
    homes = {f"HELM_{name}_HOME": str(folder / name) for name in ("CACHE", "CONFIG", "DATA")}
    command = [tool("helm") or "helm", "template", SPACE, str(_chart()), "--namespace", SPACE]
    command += ["--set", f"image.tag={tag}"]
    env = {**os.environ, **homes}
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
