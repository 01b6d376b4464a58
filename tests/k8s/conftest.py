"""A little cluster for the tests of this folder, with the real operator of Dask on it.

The operator is that of the installed ``dask_kubernetes``, deployed by the chart that it brings,
rendered by the real helm. Tests get a namespace each. ``KUBECONFIG`` names the little cluster, so
that no test reaches another one.
"""

from __future__ import annotations

import gc
import importlib.util
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from little_kubernetes import Cluster

HERE = Path(__file__).parent
LIFECYCLE = "node.kubernetes.io/lifecycle"
NODES = {
    "ondemand-0": {"cpu": "4", "memory": "16Gi", "labels": {LIFECYCLE: "on-demand"}},
    "spot-0": {
        "cpu": "8",
        "memory": "32Gi",
        "labels": {LIFECYCLE: "spot"},
        "taints": [{"key": LIFECYCLE, "value": "spot", "effect": "NoSchedule"}],
    },
}
# kr8s and the port-forward threads of KubeCluster never close their connections
LEFT_OPEN = (
    "ResourceWarning",
    "pytest.PytestUnraisableExceptionWarning",
    "pytest.PytestUnhandledThreadExceptionWarning",
)
END_S = 120  # the operator tries again once a minute
PURE = ("test_why.py", "test_pod_logs.py")
"""Modules that need nothing of what may be missing."""

LONGEST = ("test_run.py", "test_submit.py", "test_run_ends.py", "test_opening.py")
"""They begin first, where several processes share the modules."""


def missing() -> str:
    """Give why the tests of this folder cannot run, or nothing."""
    if sys.platform != "linux":
        return "each pod needs a loopback address: Linux only"
    for name in ("dask_kubernetes", "jsonpatch", "jsonschema"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed"
    from little_kubernetes.tools import tool

    absent = [name for name in ("helm", "kubectl") if tool(name) is None]
    return f"not there: {absent}; see little_kubernetes/tools.py" if absent else ""


MISSING = missing()


class SkippedModule(pytest.Module):
    """A module that is not imported, because what it imports is not there."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip(MISSING, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> object:
    if not MISSING or module_path.name in PURE:
        return None
    return SkippedModule.from_parent(parent, path=module_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [n for n, item in enumerate(items) if HERE in item.path.parents]
    ours = sorted((items[n] for n in places), key=lambda item: item.path.name not in LONGEST)
    for n, item in zip(places, ours, strict=True):
        items[n] = item
        item.add_marker(pytest.mark.k8s)
        for kind in LEFT_OPEN:
            item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind}"))


@pytest.fixture(autouse=True, scope="module")
def collected() -> Iterator[None]:
    """Collect what clients left open while its warnings are ignored, not in another module."""
    yield
    gc.collect()


@pytest.fixture(scope="package")
def kubernetes() -> Iterator[Cluster]:
    """Give a cluster of two nodes, one of them a spot node, with the operator of Dask."""
    from little_kubernetes import Cluster, Image
    from little_kubernetes.dask_operator import install_operator

    with Cluster(NODES) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        here = {"PYTHONPATH": str(HERE.parents[1])}  # this checkout, wherever the other one is
        cluster.image("daskcast:test", Image([str(Path(sys.executable).parent)], env=here))
        install_operator(cluster)
        yield cluster
    gc.collect()  # as above: this comes after the last module


@pytest.fixture
def namespace(kubernetes: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a fresh namespace; after the test it goes, with all that is in it."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_"))
    name = f"{words[:30].strip('-')}-{uuid.uuid4().hex[:4]}"
    kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    kubernetes.end_namespace(name, END_S)


@pytest.fixture
def user(kubernetes: Cluster, namespace: str) -> Path:
    """Give the kubeconfig of a user with the rendered rights."""
    from spaces import rendered_user

    return rendered_user(kubernetes, namespace)


@pytest.fixture(scope="session")
def airports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of Parquet that pods read themselves."""
    from spaces import N_AIRPORTS

    from daskcast import demo

    folder = tmp_path_factory.mktemp("airports") / "panel"
    folder.mkdir()
    demo.airports(N_AIRPORTS, months=48).to_parquet(folder / "1.parquet")
    return folder
