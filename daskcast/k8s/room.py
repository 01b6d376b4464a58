"""Why no node takes a pod, in one sentence: what it asks for, and what each node has and wants.

Covers amounts as Kubernetes writes them, what is free on a node, taints, labels and required
affinity to nodes. Does not cover affinity between pods or volumes: there the scheduler's own words
are all there is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from daskcast.k8s.parts import place_options, size_options, taint_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daskcast.k8s.parts import Part

    Object = Mapping[str, Any]

N_NODES = 5
"""So many nodes are told about one by one."""

_SUFFIXES = {
    **{"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12},
    **{"P": 1e15, "E": 1e18, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40},
    **{"Pi": 2.0**50, "Ei": 2.0**60},
}
_QUANTITY = re.compile(r"([+-]?\d*\.?\d+(?:[eE][+-]?\d+)?)([numkMGTPE]|[KMGTPE]i|)")
_ALMOST = 1e-6


def quantity(text: object) -> float:
    """Read an amount as Kubernetes writes it; 0 for what is none.

    Examples
    --------
    >>> quantity("1500m"), quantity("2Gi"), quantity(3)
    (1.5, 2147483648.0, 3.0)
    """
    read = _QUANTITY.fullmatch(str(text))
    return float(read[1]) * _SUFFIXES[read[2]] if read else 0.0


def no_room(
    pod: Object,
    who: str,
    part: Part,
    told: str,
    *,
    nodes: Sequence[Object] | None,
    others: Sequence[Object] | None,
) -> str:
    """Say why no node takes a pod.

    Parameters
    ----------
    pod : mapping
    who : str
        What it is called.
    part : {'scheduler', 'worker', 'driver'}
        Whose options say where it may be.
    told : str
        The words of Kubernetes' scheduler.
    nodes, others : sequence of mapping, optional
        All nodes, and all pods on them; None where they may not be read.
    """
    cpu, memory = asked(pod)
    start = f"no node has room for {who}, which asks for {_cpu(cpu)} and {_memory(memory)}"
    if not nodes:
        words = told.partition(" preemption:")[0].strip().rstrip(".")
        return f"{start}: {words or 'the cluster has no nodes'}; {_hint(words, part)}"
    against = [f"{node['metadata']['name']} {_against(node, pod, others)}" for node in nodes]
    shown = "; ".join(against[:N_NODES])
    if len(against) > N_NODES:
        shown += f"; and {len(against) - N_NODES} nodes more"
    return f"{start}: {shown}; {_hint(shown, part)}"


def asked(pod: Object) -> tuple[float, float]:
    """Give the cores and bytes that a pod asks for."""
    spec = pod.get("spec") or {}
    amounts = []
    for name in ("cpu", "memory"):
        sides = [_requests(spec.get(part) or ()) for part in ("containers", "initContainers")]
        at_once = sum(quantity(requests.get(name, 0)) for requests in sides[0])
        first = max((quantity(requests.get(name, 0)) for requests in sides[1]), default=0.0)
        amounts.append(max(at_once, first))
    return amounts[0], amounts[1]


def _requests(containers: Sequence[Object]) -> list[Object]:
    resources = [container.get("resources") or {} for container in containers]
    return [{**(r.get("limits") or {}), **(r.get("requests") or {})} for r in resources]


def _against(node: Object, pod: Object, others: Sequence[Object] | None) -> str:
    """Say the first thing that keeps a pod from a node."""
    spec, labels = node.get("spec") or {}, node["metadata"].get("labels") or {}
    conditions = (node.get("status") or {}).get("conditions") or ()
    if any(c.get("type") == "Ready" and c.get("status") != "True" for c in conditions):
        return "is not ready"
    wanted = (pod.get("spec") or {}).get("nodeSelector") or {}
    lacking = [f"{k}={v}" for k, v in wanted.items() if labels.get(k) != v]
    if lacking:
        return f"lacks the label {', '.join(lacking)}"
    if not _likes(pod, labels):
        return "has labels that the pod keeps away from, or lacks some"
    for taint in spec.get("taints") or ():
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not _tolerates(pod, taint):
            return f"has the taint {_taint(taint)}"
    if spec.get("unschedulable"):
        return "takes no new pods (cordoned)"
    return _lacks(node, pod, others)


def _lacks(node: Object, pod: Object, others: Sequence[Object] | None) -> str:
    there = (node.get("status") or {}).get("allocatable") or {}
    name = node["metadata"]["name"]
    on_it = [other for other in others or () if (other.get("spec") or {}).get("nodeName") == name]
    taken = [asked(other) for other in on_it if not _over(other)]
    cpu = quantity(there.get("cpu", 0)) - sum(amount[0] for amount in taken)
    memory = quantity(there.get("memory", 0)) - sum(amount[1] for amount in taken)
    of_cpu, of_memory = asked(pod)
    free = "free" if others is not None else "in all"
    if len(taken) >= quantity(there.get("pods", 1e9)):
        return f"holds {len(taken)} pods, as many as it may"
    short = of_cpu > cpu + _ALMOST or of_memory > memory + _ALMOST
    has = f"has {_cpu(max(cpu, 0))} and {_memory(max(memory, 0))} {free}"
    return has if short or others is None else f"{has}, and refuses for another reason"


def _over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _tolerates(pod: Object, taint: Object) -> bool:
    for toleration in (pod.get("spec") or {}).get("tolerations") or ():
        key, exists = toleration.get("key"), toleration.get("operator") == "Exists"
        same_key = key == taint.get("key") or (not key and exists)
        same_value = exists or (toleration.get("value") or "") == (taint.get("value") or "")
        same_effect = toleration.get("effect") in (None, "", taint.get("effect"))
        if same_key and same_value and same_effect:
            return True
    return False


def _taint(taint: Object) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key')}{value}:{taint.get('effect')}"


def _likes(pod: Object, labels: Mapping[str, str]) -> bool:
    """Tell whether the labels of a node meet one term of the affinity that a pod requires."""
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms") or ()
    return not terms or any(
        all(_matches(match, labels) for match in term.get("matchExpressions") or ())
        for term in terms
    )


def _matches(match: Object, labels: Mapping[str, str]) -> bool:
    found, values = labels.get(str(match.get("key"))), match.get("values") or ()
    operator = match.get("operator")
    if operator == "In":
        return bool(found in values)
    if operator == "NotIn":
        return bool(found not in values)
    if operator in ("Exists", "DoesNotExist"):
        return bool((found is not None) == (operator == "Exists"))
    return True  # Gt and Lt: not worth a reader's time


def _hint(shown: str, part: Part) -> str:
    hints = []
    if " cpu" in shown or "nsufficient" in shown:
        hints.append(f"ask for less ({size_options(part, 'cpu', 'memory')}) or add nodes")
    if "taint" in shown:
        hints.append(f"tolerate the taint ({taint_option(part)})")
    if "label" in shown or "affinity/selector" in shown or "node selector" in shown:
        hints.append(f"mend {place_options(part)}")
    return ", or ".join(hints) or "add nodes"


def _cpu(amount: float) -> str:
    return f"{amount:.3g} cpu"


def _memory(amount: float) -> str:
    for suffix in ("Ti", "Gi", "Mi", "Ki"):
        if amount >= _SUFFIXES[suffix]:
            return f"{amount / _SUFFIXES[suffix]:.3g}{suffix}"
    return f"{amount:g} bytes"
