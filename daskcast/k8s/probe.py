"""What a pod of an image has and reaches, printed as one line of JSON.

Covers the versions of packages, and an MLflow server. Sent to a pod as text and run there by
whatever Python it has: nothing but the standard library is needed. Does not cover what the answers
are worth (``check``).
"""

from __future__ import annotations

import base64
import importlib.metadata
import json
import os
import sys
import urllib.error
import urllib.request

ROUTE = "/api/2.0/daskcast/runs?experiment_id=0"
EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"


def status_of(url: str) -> str:
    """Give the status of an answer, or why there is none."""
    request = urllib.request.Request(url)
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    if user:
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def version_of(package: str) -> str:
    """Give the version of a package here."""
    if package == "python":
        return ".".join(map(str, sys.version_info[:3]))
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def look(packages: list[str], tracking_uri: str = "") -> dict[str, dict[str, str]]:
    """Look around.

    Parameters
    ----------
    packages : list of str
    tracking_uri : str
        Of an MLflow server; empty for none.

    Returns
    -------
    dict
        ``versions`` by package, and ``mlflow``: what it answers to ``health``, ``account`` and
        ``bulk``.
    """
    found = {"versions": {package: version_of(package) for package in packages}}
    if tracking_uri:
        at = tracking_uri.rstrip("/")
        asked = {"health": "/health", "account": EXPERIMENTS, "bulk": ROUTE}
        found["mlflow"] = {what: status_of(at + path) for what, path in asked.items()}
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(sys.argv[2:], sys.argv[1])) + "\n")
