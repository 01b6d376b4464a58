"""What a pod of an image has and reaches, printed as one line of JSON.

Covers the versions of packages, and an MLflow server, each answer with a limit. Sent to a pod as
text and run there by whatever Python it has: nothing but the standard library is needed. Does not
cover what the answers are worth (``check``).
"""

from __future__ import annotations

import base64
import http.client
import importlib.metadata
import json
import os
import sys
import threading
import urllib.error
import urllib.request

ROUTE = "/api/2.0/daskcast/runs?experiment_id=0"
EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"
ANSWER_S = 20.0
"""For an answer with all that is before it: a name server may be silent, a server drip."""

MISSING = "missing"
NOT_ASKED = "not asked"


class _Staying(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: requests that write would not, and a login is for one server alone."""

    def redirect_request(self, *_: object) -> None:
        return None


def status_of(url: str, limit_s: float = ANSWER_S) -> str:
    """Give the status of an answer, or why there is none."""
    told: list[str] = []
    asking = threading.Thread(target=lambda: told.append(_asked(url, limit_s)), daemon=True)
    asking.start()
    asking.join(limit_s)
    return told[0] if told else f"no answer within {limit_s:g} s"


def _asked(url: str, limit_s: float) -> str:
    opener = urllib.request.build_opener(_Staying)
    try:
        request = urllib.request.Request(url, headers=_login())
        with opener.open(request, timeout=limit_s) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            to = error.headers.get("Location")
            return f"{error.code}, to {to}" if to else str(error.code)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__


def _login() -> dict[str, str]:
    """Give who we are, as MLflow itself reads it."""
    user, token = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "TOKEN"))
    if user:
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {"Authorization": f"Bearer {token}"} if token else {}


def version_of(package: str) -> str:
    """Give the version of a package here, or that it is missing."""
    if package == "python":
        return ".".join(map(str, sys.version_info[:3]))
    try:
        return importlib.metadata.version(package) or MISSING
    except (importlib.metadata.PackageNotFoundError, KeyError):  # or what is left of it
        return MISSING


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
        found["mlflow"] = _mlflow(tracking_uri.rstrip("/"))
    return found


def _mlflow(at: str) -> dict[str, str]:
    """Ask one thing after the other, as long as there is an answer with a status."""
    told = {"health": NOT_ASKED, "account": NOT_ASKED, "bulk": NOT_ASKED}
    for what, path in (("health", "/health"), ("account", EXPERIMENTS), ("bulk", ROUTE)):
        told[what] = status_of(at + path)
        if not told[what].isdigit():
            break
    return told


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(sys.argv[2:], sys.argv[1])) + "\n")
