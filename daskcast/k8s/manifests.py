"""Kubernetes objects as plain values, and as YAML that a person can read.

Covers their names, what several of them share, and writing them with comments. Does not cover which
objects there are (``rbac``, ``network``, ``mlflow``, ``jobs``) or their order (``render``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daskcast.k8s.spec import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

USERS, SUBMIT, DRIVER, WORKER = "daskcast", "daskcast-submit", "daskcast-driver", "daskcast-worker"
"""Service accounts, each with a role of its name, but for the last, which may nothing."""

MLFLOW, POSTGRES, STORE = "daskcast-mlflow", "daskcast-postgres", "daskcast-store"
SERVER_SECRET = "daskcast-mlflow-server"
"""Holds what the MLflow server needs; no other pod gets it."""

DRIVER_SECRET = "daskcast-mlflow"
"""Holds who the driver is to MLflow; workers do not get it."""

MLFLOW_PORT = 5000
NAME_LABEL, PART_LABEL = "app.kubernetes.io/name", "app.kubernetes.io/component"
RUN_LABEL = "daskcast/run"
CLIENT_LABEL = "daskcast/client"
"""On a pod of the namespace, ``"true"`` lets it connect to schedulers and to MLflow."""

_PLAIN = re.compile(r"(--)?[A-Za-z][^\n]+|/[^\n]*")
_NO_TEXT = re.compile(r"yes|no|on|off|true|false|null|nan|inf", flags=re.IGNORECASE)

SECURE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


@dataclass(frozen=True, slots=True)
class Document:
    """An object, and what is to be said of it."""

    manifest: Mapping[str, Any]
    about: str = ""


def named(name: str, namespace: str | None, **labels: str) -> dict[str, Any]:
    """Give the metadata of an object; a dash in a label is ``_``, its prefix is left out."""
    found: dict[str, Any] = {"name": name}
    if namespace:
        found["namespace"] = namespace
    extra = {f"app.kubernetes.io/{key}": value for key, value in labels.items()}
    return {**found, "labels": {**LABELS, **extra}}


def manifest(
    kind: str, api_version: str, metadata: Mapping[str, Any], **rest: Any
) -> dict[str, Any]:
    """Give an object, its keys in the usual order."""
    return {"apiVersion": api_version, "kind": kind, "metadata": dict(metadata), **rest}


def from_secret(variable: str, secret: str, key: str = "", *, optional: bool = False) -> Any:
    """Give an environment variable whose value stays in a Secret."""
    ref: dict[str, Any] = {"name": secret, "key": key or variable}
    if optional:
        ref["optional"] = True
    return {"name": variable, "valueFrom": {"secretKeyRef": ref}}


def literal(argument: str) -> str:
    """Keep an argument, or the value of a variable, from being expanded by Kubernetes.

    It replaces ``$(NAME)`` in both, and reads ``$$`` as ``$``.

    Examples
    --------
    >>> literal("s3://$(x)/y")
    's3://$$(x)/y'
    >>> literal("pa$$word")
    'pa$$$$word'
    """
    return argument.replace("$", "$$")


def secured(uid: int, *, with_volume: bool = False) -> dict[str, Any]:
    """Give the security context of a pod: who it is, and whose its volume is."""
    files = {
        "runAsGroup": uid,
        "fsGroup": uid,
        "fsGroupChangePolicy": "OnRootMismatch",
    }
    return {
        "runAsNonRoot": True,
        "runAsUser": uid,
        **(files if with_volume else {}),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def to_yaml(documents: Iterable[Document], head: str = "") -> str:
    """Write objects one after the other, each below its comment.

    Parameters
    ----------
    documents : iterable of Document
    head : str
        Said before the first.

    Examples
    --------
    >>> print(to_yaml([Document({"kind": "Namespace"}, "Where all of it is.")]), end="")
    ---
    # Where all of it is.
    kind: Namespace
    """
    parts = [_comment(head)] if head else []
    parts += [f"---\n{_comment(d.about)}{_dump(d.manifest)}" for d in documents]
    return "".join(parts)


def _comment(text: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())


def _dump(values: Mapping[str, Any]) -> str:
    import yaml  # noqa: PLC0415 - not needed to say how the command is used

    class Plain(yaml.SafeDumper):  # type: ignore[misc]
        """Writes what occurs twice twice, and long texts as they are."""

        def ignore_aliases(self, _data: object) -> bool:
            return True

    def write_text(dumper: yaml.SafeDumper, text: str) -> Any:
        style = "|" if "\n" in text else None if _is_plainly_text(text) else "'"
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Plain.add_representer(str, write_text)
    written: str = yaml.dump(
        dict(values), Dumper=Plain, sort_keys=False, default_flow_style=False, width=110
    )
    return written


def _is_plainly_text(text: str) -> bool:
    """Tell whether no reader of YAML takes a text for something else.

    kubectl's takes ``1e5``, ``0o17`` and ``y`` for numbers and truth; PyYAML's writer does not know
    that. So only what begins like a word, an option or a path goes without quotes.
    """
    return bool(_PLAIN.fullmatch(text)) and not _NO_TEXT.fullmatch(text)
