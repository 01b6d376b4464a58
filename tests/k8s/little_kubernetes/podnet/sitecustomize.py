"""What gives a Python process of a pod the address of the pod and the names of the cluster.

Covers: listening on all interfaces means the pod's own address; the usual ways to ask for one's
own address; names of services and their ports. Python imports this file by itself at its start.
Does not cover: programs that are not Python, IPv6; 127.0.0.1 is shared by all pods.
"""

import json
import os
import socket

_ADDRESS = os.environ.get("LITTLE_KUBERNETES_IP")
_NAMES = os.environ.get("LITTLE_KUBERNETES_NAMES")
_NAMESPACE = os.environ.get("LITTLE_KUBERNETES_NAMESPACE", "default")
_real_getaddrinfo = socket.getaddrinfo
_real_socket = socket.socket


def _look_up(host, port):
    name = host.decode() if isinstance(host, bytes) else host
    if not isinstance(name, str):
        return host, port
    name = name.rstrip(".").removesuffix(".cluster.local").removesuffix(".svc")
    with open(_NAMES) as file:  # noqa: PTH123 - at the start of each process: few imports
        table = json.load(file)
    found = table.get(name) or table.get(f"{name}.{_NAMESPACE}")
    if found is None:
        return host, port
    return found["ip"], found["ports"].get(str(port), port)


def _getaddrinfo(host, port, *args, **options):
    return _real_getaddrinfo(*_look_up(host, port), *args, **options)


class _Socket(_real_socket):
    def bind(self, address):
        if self.family == socket.AF_INET and address[0] in ("", "0.0.0.0"):
            address = (_ADDRESS, *address[1:])
        return super().bind(address)

    def connect(self, address):
        if self.family == socket.AF_INET and self.type == socket.SOCK_DGRAM:
            if self.getsockname()[1] == 0:  # the usual trick to learn one's own address
                super().bind((_ADDRESS, 0))
            if not address[0].startswith("127."):
                return None
        return super().connect(address)


if _ADDRESS and _NAMES:
    socket.getaddrinfo = _getaddrinfo
    socket.gethostbyname = lambda host: _getaddrinfo(host, 0, socket.AF_INET)[0][4][0]
    socket.socket = _Socket
    socket.has_ipv6 = False
