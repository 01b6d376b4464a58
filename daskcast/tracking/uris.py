"""Addresses of tracking stores.

Covers the default store, refusing an address that cannot work before any work is done, and
keeping credentials out of everything that is written or shown. Does not cover connecting
(``mlflow_client``). Imports no MLflow.
"""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from daskcast.errors import ConfigError
from daskcast.redact import redact_text

DEFAULT_URI = "sqlite:///mlflow.db"
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_KNOWN = ("http", "https", "databricks", *_DATABASES)
_PLUGINS = "mlflow.tracking_store"
_FOLDERS = (
    "MLflow no longer tracks into a plain folder; use a database such as sqlite:///mlflow.db, or "
    "the address of a server (existing folders: `mlflow migrate-filestore`)"
)


def resolve_uri(uri: str | None = None) -> str:
    """Give the address of the store to use, checked.

    Parameters
    ----------
    uri : str or None
        None takes ``MLFLOW_TRACKING_URI``, and where that is not set
        ``sqlite:///mlflow.db`` in the current folder.

    Returns
    -------
    str
        A path to SQLite is made absolute.

    Raises
    ------
    ConfigError
        Where no tracking store can have this address.

    Examples
    --------
    >>> resolve_uri("http://localhost:5000")
    'http://localhost:5000'
    """
    found = uri or os.environ.get("MLFLOW_TRACKING_URI", "").strip() or DEFAULT_URI
    origin = "--tracking-uri" if uri else "MLFLOW_TRACKING_URI"
    problem = _problem(found)
    if problem:
        raise ConfigError(
            f"the tracking store {redact(found)!r} ({origin}) cannot be used: {problem}"
        )
    return _absolute(found)


def redact(text: str, uri: str = "") -> str:
    """Remove credentials from a text.

    Parameters
    ----------
    text : str
        An address, or a message that holds one.
    uri : str
        An address whose user and password are removed wherever they stand in the text.

    Examples
    --------
    >>> redact("cannot reach http://ann:s3cret@host:5000/api")
    'cannot reach http://host:5000/api'
    """
    text = redact_text(text)
    for secret in _secrets(uri):
        text = text.replace(secret, "***")
    return text


def is_database(uri: str) -> bool:
    """Tell whether MLflow would talk to a database itself, without a server."""
    return _scheme(uri) in _DATABASES


def is_server(uri: str) -> bool:
    """Tell whether the store is an MLflow server with pages for a browser."""
    return _scheme(uri) in ("http", "https")


def _problem(uri: str) -> str:
    scheme = _scheme(uri)
    if scheme in ("", "file"):
        allowed = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1")
        return "" if allowed else _FOLDERS
    if scheme in ("http", "https"):
        return _address_problem(uri)
    if scheme in _KNOWN or scheme in {e.name for e in metadata.entry_points(group=_PLUGINS)}:
        return ""
    return f"unknown scheme {scheme!r}; expected one of {', '.join(_KNOWN)}"


def _address_problem(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        named = parts.hostname and parts.port != 0
    except ValueError:  # of brackets, or of a port that is none
        named = False
    return "" if named else "expected an address such as http://localhost:5000"


def sqlite_path(uri: str) -> Path | None:
    """Give the file of a SQLite store; None for others, and for one in memory.

    Examples
    --------
    >>> sqlite_path("sqlite:////data/mlflow.db").as_posix()
    '/data/mlflow.db'
    >>> sqlite_path("http://localhost:5000")
    """
    parts = urlsplit(uri)
    path = Path(parts.path[1:])
    if parts.scheme.partition("+")[0] != "sqlite" or not path.name or str(path) == ":memory:":
        return None
    return path


def _scheme(uri: str) -> str:
    if uri == "databricks":
        return uri
    head, colon, _ = uri.partition(":")
    # One letter is the drive of a path; a dialect names its driver after a plus sign.
    return head.partition("+")[0].lower() if colon and len(head) > 1 else ""


def _absolute(uri: str) -> str:
    prefix = "sqlite:///"
    path, mark, options = uri.removeprefix(prefix).partition("?")
    if not uri.startswith(prefix) or not path or path == ":memory:" or Path(path).is_absolute():
        return uri
    return f"{prefix}{(Path.cwd() / path).as_posix()}{mark}{options}"


def _secrets(uri: str) -> list[str]:
    userinfo, at, _ = urlsplit(uri).netloc.rpartition("@") if "://" in uri else ("", "", "")
    if not at:
        return []
    _, _, password = userinfo.partition(":")
    return [part for part in (userinfo, password, unquote(password)) if part]
