"""The files to which kr8s copies keys and certificates out of a kubeconfig, and leaves them.

Does not cover signing in (``api``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_COPIES = {
    "client_key_file": "client-key-data",
    "client_cert_file": "client-certificate-data",
    "server_ca_file": "certificate-authority-data",
}


def tidy(auth: Any) -> None:
    """Let kr8s remove the keys that it wrote before it writes them once more."""
    sign_in = auth.reauthenticate

    async def tidily() -> None:
        remove_copies(auth)
        await sign_in()

    auth.reauthenticate = tidily


def remove_copies(auth: Any) -> None:
    """Remove the files to which kr8s copied keys and certificates out of the kubeconfig."""
    parts = (part for part in (auth._cluster, auth._user) if isinstance(part, dict))
    given = {what: value for part in parts for what, value in part.items()}
    for name, what in _COPIES.items():
        copy = getattr(auth, name)
        if copy and given.get(what):
            Path(copy).unlink(missing_ok=True)
            setattr(auth, name, None)
