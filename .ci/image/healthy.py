#!/opt/venv/bin/python -IS
"""Say whether what runs in this container is well: Docker's health check.

Covers a Dask scheduler, a Dask worker with a port for its dashboard, and an MLflow server, each by
its own page; anything else is well while it runs. Kubernetes asks by the probes of the manifests.
"""

from __future__ import annotations

import http.client
import sys
from pathlib import Path


def port_of(command: list[str]) -> int | None:
    """Give the port of the page that tells the health of a command, if it has one."""
    words = {Path(word).name for word in command[:4]}
    if "mlflow" in words and "server" in words:
        return int(_option(command, "--port", "-p") or 5000)
    if not words & {"dask", "dask-scheduler", "dask-worker"}:
        return None
    default = "8787" if words & {"scheduler", "dask-scheduler"} else ""
    address = _option(command, "--dashboard-address") or default
    port = address.rpartition(":")[2]
    return int(port) if port.strip("0") else None


def _option(command: list[str], *names: str) -> str:
    for i, word in enumerate(command):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else "".join(command[i + 1 : i + 2])
    return ""


def main() -> int:
    """Ask, without proxies; 0 where all is well, as Docker has it."""
    port = port_of(Path("/proc/1/cmdline").read_text().strip("\0").split("\0"))
    if port is None:
        return 0
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except OSError as error:
        sys.stdout.write(f"nothing answers at port {port}: {error}\n")
        return 1
    return int(status != http.client.OK)


if __name__ == "__main__":
    sys.exit(main())
