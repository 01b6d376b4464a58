"""What a pod of a run is, and which options say what it gets: words for a sentence.

Covers scheduler, workers and the driver of a DaskJob. Does not cover what is wrong with them
(``why``, ``room``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from daskcast.k8s.pods import component_of, name_of
from daskcast.k8s.spec import COMPONENT_LABEL

if TYPE_CHECKING:
    from daskcast.k8s.pods import Object

Part = Literal["scheduler", "worker", "driver"]

_DRIVER = "job-runner"
"""As the operator calls it."""


def part_of(pod: Object) -> Part:
    """Give what a pod is."""
    labels = pod["metadata"].get("labels") or {}
    if labels.get(COMPONENT_LABEL) == _DRIVER:
        return "driver"
    return "scheduler" if component_of(pod) == "scheduler" else "worker"


def called(pod: Object) -> str:
    """Name a pod within a sentence."""
    return f"the {part_of(pod)} (pod {name_of(pod)})"


def in_file(part: Part, *names: str) -> str:
    """Name options that only a file sets.

    Examples
    --------
    >>> in_file("driver", "cpu", "memory")
    'cpu and memory of [kubernetes.driver] in the file of --config'
    """
    return f"{' and '.join(names)} of [kubernetes.{part}] in the file of --config"


def size_options(part: Part, *names: str) -> str:
    """Name the options for the cpu and memory of a pod; the driver's have no flags.

    Examples
    --------
    >>> size_options("worker", "cpu", "memory")
    '--worker-cpu, --worker-memory'
    """
    if part == "driver":
        return in_file(part, *names)
    return ", ".join(f"--{part}-{name}" for name in names)


def taint_option(part: Part) -> str:
    """Name the option for the taints that a pod does not mind."""
    return "--toleration KEY=VALUE:EFFECT" if part == "worker" else in_file(part, "tolerations")


def place_options(part: Part) -> str:
    """Name the options for the nodes that a pod may be on."""
    own = "--node-selector" if part == "worker" else in_file(part, "node_selector")
    return f"{own} or --spot"


def too_little_memory(pod: Object, container: Object) -> str:
    """Say why a container was killed, and which option mends it."""
    limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    most = f"its limit of {limit}" if limit else "its node had left"
    option = size_options(part_of(pod), "memory")
    return f"needs more memory than {most} and was killed; raise {option}"
