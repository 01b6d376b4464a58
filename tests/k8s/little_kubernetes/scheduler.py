"""The scheduler: which node a pod goes to, and why none will do.

Covers: requests against what a node has, nodeSelector, required and preferred node affinity,
taints and tolerations, cordoned nodes; messages as the real scheduler words them.
Does not cover: affinity between pods, topology spread, preemption by priority.
"""

from __future__ import annotations

from collections import Counter

from .loops import Loop
from .objects import Object, is_done, is_leaving, labels, quantity, requested, with_condition
from .selectors import expression

_NOT_SELECTED = "node(s) didn't match Pod's node affinity/selector"


class Scheduler(Loop):
    """Binds pods to nodes."""

    resources = ("pods", "nodes")

    def sync(self) -> None:
        for pod in self.store.list("pods"):
            if not pod["spec"].get("nodeName") and not is_leaving(pod) and not is_done(pod):
                self._place(pod)

    def _place(self, pod: Object) -> None:
        nodes = sorted(self.store.list("nodes"), key=lambda node: node["metadata"]["name"])
        free = {node["metadata"]["name"]: self._free(node) for node in nodes}
        reasons: Counter[str] = Counter()
        fitting = []
        for node in nodes:
            why_not = obstacles(pod, node, free[node["metadata"]["name"]])
            reasons.update(why_not)
            if not why_not:
                fitting.append(node)
        if not fitting:
            self._tell_unschedulable(pod, len(nodes), reasons)
            return
        best = max(fitting, key=lambda n: (liking(pod, n), free[n["metadata"]["name"]]["cpu"]))
        self._bind(pod, best["metadata"]["name"])

    def _free(self, node: Object) -> Counter[str]:
        allocatable = node["status"].get("allocatable", {})
        free = Counter({name: quantity(amount) for name, amount in allocatable.items()})
        for pod in self.store.list("pods"):
            if pod["spec"].get("nodeName") == node["metadata"]["name"] and not is_done(pod):
                free.subtract(requested(pod) + Counter(pods=1))
        return free

    def _bind(self, pod: Object, node: str) -> None:
        conditions = with_condition(pod, "PodScheduled", True)
        status = pod["status"] | {"conditions": conditions}
        bound = pod | {"spec": pod["spec"] | {"nodeName": node}, "status": status}
        self.store.put("pods", bound)
        meta = pod["metadata"]
        message = f"Successfully assigned {meta['namespace']}/{meta['name']} to {node}"
        self.recorder.normal("default-scheduler", pod, "Scheduled", message)

    def _tell_unschedulable(self, pod: Object, n_nodes: int, reasons: Counter[str]) -> None:
        parts = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
        start = f"0/{n_nodes} nodes are available:"
        message = (
            f"{start} {parts or 'no nodes available'}. preemption: {start} "
            f"{n_nodes} No preemption victims found for incoming pod."
        )
        more = {"reason": "Unschedulable", "message": message}
        conditions = with_condition(pod, "PodScheduled", False, **more)
        if conditions != pod["status"].get("conditions"):
            self.registry.set_status("pods", pod, {"conditions": conditions})
            self.recorder.warning("default-scheduler", pod, "FailedScheduling", message)


def obstacles(pod: Object, node: Object, free: Counter[str]) -> list[str]:
    """Give why a pod cannot be on a node: the first kind of reason that there is."""
    if node["spec"].get("unschedulable"):
        return ["node(s) were unschedulable"]
    for taint in node["spec"].get("taints") or []:
        if taint["effect"] != "PreferNoSchedule" and not _tolerates(pod, taint):
            return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"]
    if not _selects(pod, node):
        return [_NOT_SELECTED]
    wanted = requested(pod) + Counter(pods=1)
    short = [name for name, amount in sorted(wanted.items()) if amount > free[name] + 1e-9]
    return ["Too many pods" if name == "pods" else f"Insufficient {name}" for name in short]


def liking(pod: Object, node: Object) -> int:
    """Give the sum of the weights of what a pod prefers of a node."""
    terms = _affinity(pod).get("preferredDuringSchedulingIgnoredDuringExecution") or []
    return sum(term["weight"] for term in terms if _term(term["preference"], node))


def _affinity(pod: Object) -> Object:
    return (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}


def _selects(pod: Object, node: Object) -> bool:
    wanted = pod["spec"].get("nodeSelector") or {}
    required = _affinity(pod).get("requiredDuringSchedulingIgnoredDuringExecution")
    terms = required["nodeSelectorTerms"] if required else []
    matches = not required or any(_term(term, node) for term in terms)
    return wanted.items() <= labels(node).items() and matches


def _term(term: Object, node: Object) -> bool:
    return all(expression(e, labels(node)) for e in term.get("matchExpressions") or [])


def _tolerates(pod: Object, taint: Object) -> bool:
    def covers(toleration: Object) -> bool:
        same_value = toleration.get("value", "") == taint.get("value", "")
        return (
            toleration.get("key") in (None, "", taint["key"])
            and toleration.get("effect") in (None, "", taint["effect"])
            and (toleration.get("operator", "Equal") == "Exists" or same_value)
        )

    return any(covers(toleration) for toleration in pod["spec"].get("tolerations") or [])
