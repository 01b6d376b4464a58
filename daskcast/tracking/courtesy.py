"""Manners of the MLflow client: how long it waits, and what it says on the way.

Covers bounds on retries and timeouts, keeping the client's own log lines off the terminal, and
telling hopeless trouble from the refusal of one run. Does not cover what is sent
(``mlflow_client``).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sqlite3
from contextvars import ContextVar
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException, RestException

from daskcast.errors import TrackingError
from daskcast.tracking.uris import redact, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: With these a server that refuses connections is given up after about 15 seconds, one that
#: never answers after about 75. MLflow's own 7 retries of 120 seconds take over a quarter of an
#: hour.
SENDING = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "12",
    # A server may say an hour.
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
}
#: At the start somebody waits for it.
STARTING = {**SENDING, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_PROBE_S = 5.0
_LOGGERS = (
    "alembic.runtime.migration",
    "alembic.runtime.plugins",
    "mlflow.store.db.utils",
    "mlflow.tracking.context.registry",
    "mlflow.utils.databricks_utils",
    "mlflow.utils.git_utils",
    "urllib3.connectionpool",
)
_FINAL_CODES = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"})
_WHO = (
    "(who you are say MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
    "MLFLOW_TRACKING_TOKEN; you need the right to write into the experiment)"
)
_TROUBLE = (
    MlflowException,
    requests.exceptions.RequestException,
    sqlalchemy.exc.SQLAlchemyError,
    sqlite3.Error,
    OSError,
    ImportError,  # of a database's driver
)
_SILENCE = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.RetryError,
    ConnectionError,
    TimeoutError,
    socket.gaierror,
)
_NO_WAY = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN})
_hushed: ContextVar[bool] = ContextVar("daskcast_hushed", default=False)


@contextlib.contextmanager
def patience(settings: Mapping[str, str]) -> Iterator[None]:
    """Bound the waiting of the MLflow client, where the user has not said how long.

    MLflow reads these settings from the environment alone, at each request: so they are set
    for as long as a call of ours takes, and taken away again.
    """
    ours = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def probe(uri: str) -> None:
    """Fail at once where a database cannot be opened; MLflow itself would try for 100 seconds.

    Raises
    ------
    OSError, sqlite3.Error
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    path = sqlite_path(uri)
    if path is not None and path.parent.is_dir():
        with contextlib.closing(sqlite3.connect(path, timeout=_PROBE_S)) as database:
            database.execute("PRAGMA schema_version")
    elif scheme in _PORTS and parts.hostname:
        port = parts.port or _PORTS[scheme]
        socket.create_connection((parts.hostname, port), timeout=_PROBE_S).close()


@contextlib.contextmanager
def hush() -> Iterator[None]:
    """Keep what the client logs during a call of ours off the terminal; other threads log on."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_heard)
    token = _hushed.set(True)
    try:
        yield
    finally:
        _hushed.reset(token)


@contextlib.contextmanager
def translated(uri: str, doing: str) -> Iterator[None]:
    """Turn trouble of the client into a TrackingError that holds no credentials."""
    try:
        yield
    except _TROUBLE as error:
        # The original message may hold the address with its password: it is not chained.
        told = f"{doing}: {reason(error, uri)}"
        raise TrackingError(told, may_pass=is_silence(error)) from None


def reason(error: BaseException, uri: str) -> str:
    """Say in one short line what the trouble was, without credentials."""
    cause = error.__context__
    if isinstance(cause, requests.exceptions.RequestException) and _is_timeout(cause):
        return "the server did not answer in time"
    if isinstance(cause, requests.exceptions.RetryError):
        return "the server answered with errors (HTTP 5xx or 429) again and again"
    if isinstance(cause, requests.exceptions.ConnectionError):
        return f"no connection to the server ({_short(_deepest(cause))})"
    lines = redact(str(error), uri).strip().splitlines() or [type(error).__name__]
    if isinstance(error, MlflowException) and error.error_code in _FINAL_CODES:
        return f"{lines[0][:200]} {_WHO}"
    return lines[0][:300]


def is_silence(error: BaseException) -> bool:
    """Tell a server that does not answer, or not yet, from one that answers with a refusal."""
    cause = error.__context__ if isinstance(error, MlflowException) else error
    if isinstance(cause, requests.exceptions.SSLError):
        return False
    return isinstance(cause, _SILENCE) or getattr(cause, "errno", None) in _NO_WAY


def is_hopeless(error: MlflowException) -> bool:
    """Tell trouble that the next run would meet too from the refusal of this run alone."""
    if isinstance(error, RestException) or error.error_code in _FINAL_CODES:
        return error.error_code in _FINAL_CODES
    cause = error.__context__
    if isinstance(cause, requests.exceptions.RetryError):
        return False  # the server is there and answers: it may choke on this run alone
    if isinstance(cause, requests.exceptions.RequestException):
        return True
    return "OperationalError" in str(error)  # of the database: gone, locked, full, read-only


def _is_heard(_record: logging.LogRecord) -> bool:
    return not _hushed.get()


def _is_timeout(error: BaseException) -> bool:
    return isinstance(error, requests.exceptions.Timeout) or isinstance(
        _deepest(error), TimeoutError
    )


def _deepest(error: BaseException) -> BaseException:
    while error.__context__ is not None:
        error = error.__context__
    return error


def _short(error: BaseException) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
