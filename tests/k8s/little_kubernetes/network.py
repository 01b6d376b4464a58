"""Addresses of pods, and the names of services.

Covers: a loopback network of its own for each cluster, an address for each pod, names of services,
ports of services that are others than those of the pods.
Does not cover: balancing (a service is its first ready pod), names of single pods, NodePort,
LoadBalancer, policies.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

from .events import Recorder
from .loops import Loop
from .objects import Object, is_ready, labels
from .registry import Registry

NOBODY = "127.255.255.254"  # nothing listens there: connections are refused
_PORT_OF_CLAIM = 10_250


class Network(Loop):
    """One of the networks ``127.x.0.0/16``, with a file of names for the processes of pods."""

    resources = ("pods", "services")

    def __init__(self, registry: Registry, recorder: Recorder, folder: Path) -> None:
        super().__init__(registry, recorder)
        self.names = folder / "names.json"
        self.names.write_text("{}")
        self._claim, self._number = _claim_network()
        self._next = 1

    def address(self) -> str:
        """Give an address that no pod has had."""
        self._next += 1
        third, fourth = divmod(self._next, 250)
        return f"127.{self._number}.{third}.{fourth + 1}"

    def close(self) -> None:
        self._claim.close()

    def sync(self) -> None:
        table = {}
        for service in self.store.list("services"):
            table |= self._entries(service)
        text = json.dumps(table)
        if text != self.names.read_text():
            fresh = self.names.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(self.names)

    def _entries(self, service: Object) -> dict[str, Object]:
        spec, meta = service["spec"], service["metadata"]
        name, selector = f"{meta['name']}.{meta['namespace']}", spec.get("selector")
        if not selector:
            return {}
        found = self.store.list("pods", meta["namespace"])
        pods = [pod for pod in found if selector.items() <= labels(pod).items()]
        ready = [p for p in pods if is_ready(p) or spec.get("publishNotReadyAddresses")]
        ready = [pod for pod in ready if pod["status"].get("podIP")]
        return {name: _entry(service, ready[0] if ready else None)}


def _entry(service: Object, pod: Object | None) -> Object:
    if pod is None:
        return {"ip": NOBODY, "ports": {}}
    ports = {}
    for port in service["spec"].get("ports") or []:
        target = port.get("targetPort") or port["port"]
        ports[str(port["port"])] = port_number(target, pod["spec"]["containers"])
    return {"ip": pod["status"]["podIP"], "ports": ports}


def port_number(port: int | str, containers: list[Object]) -> int:
    """Give the number of a port that may be a name."""
    if str(port).isdigit():
        return int(port)
    ports = [p for container in containers for p in container.get("ports") or []]
    found = [p["containerPort"] for p in ports if p.get("name") == port]
    if not found:
        raise ValueError(f"no container has a port named {port!r}")
    return found[0]


def _claim_network() -> tuple[socket.socket, int]:
    """Take a network that no other cluster on this machine has, until the socket is closed."""
    for number in range(10, 250):
        claim = socket.socket()
        try:
            claim.bind((f"127.{number}.0.1", _PORT_OF_CLAIM))
        except OSError:
            claim.close()
            continue
        claim.listen()
        return claim, number
    raise OSError("all loopback networks are taken")
