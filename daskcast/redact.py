"""Removing credentials from text.

Covers URIs (user, password, secrets of the query), alone, within a text, and within JSON-ready
values. Does not cover deciding what is written where: ``logs`` and ``store`` send what they write
through here.
"""

from __future__ import annotations

import re
from typing import Any

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s\"<>]+")
_SECRET = re.compile(
    r"pass|pwd|secret|token|key|sig|credential|auth|sas|session", flags=re.IGNORECASE
)
_PORT = re.compile(r"(\[.*\]|[^:\[\]]*)(:\d*)?")


def redact_uri(uri: str) -> str:
    """Remove user, password and the secrets of the query from a URI; other text stays.

    Parameters
    ----------
    uri : str
        A URI or a path; what has no ``://`` comes back as it is.

    Examples
    --------
    >>> redact_uri("postgresql://me:pa@ss@db.example:5432/mlflow?sslmode=require&password=x")
    'postgresql://db.example:5432/mlflow?sslmode=require&password=***'
    >>> redact_uri("s3://bucket/runs/1")
    's3://bucket/runs/1'
    """
    scheme, found, rest = uri.partition("://")
    if not found:
        return uri
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{_without_user(place)}{_without_secrets(rest[len(place) :])}"


def _without_user(place: str) -> str:
    """Drop all up to the ``@`` of the authority, also where a password holds ``@`` or ``/``."""
    if "@" not in place:
        return place
    authority = place.partition("/")[0]
    user, found, host = authority.rpartition("@")
    if (found and ":" in user) or not (found or _PORT.fullmatch(authority)):
        return place.rpartition("@")[2]
    return host + place[len(authority) :] if found else place


def _without_secrets(query: str) -> str:
    def hide(part: str) -> str:
        name, found, _ = part.partition("=")
        return f"{name}=***" if found and _SECRET.search(name) else part

    return "".join(hide(part) for part in re.split(r"([?&;#])", query))


def redact_text(text: str) -> str:
    """Remove credentials from every URI in a text.

    Examples
    --------
    >>> redact_text("cannot reach https://me:secret@host/api, will go on")
    'cannot reach https://host/api, will go on'
    """
    if "://" not in text:
        return text
    return _URI.sub(lambda match: redact_uri(match.group()), text)


def redacted(value: Any) -> Any:
    """Copy a JSON-ready value with credentials removed from all its texts."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {key: redacted(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(part) for part in value]
    return value
