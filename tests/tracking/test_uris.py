"""Addresses of tracking stores: defaults, refusals, and no credentials shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskcast.errors import ConfigError
from daskcast.tracking.uris import is_database, is_server, redact, resolve_uri


def test_the_default_is_sqlite_in_the_current_folder():
    """Without an option or a variable it is mlflow.db here, whatever the folder is later."""
    assert resolve_uri() == f"sqlite:///{Path.cwd()}/mlflow.db"


def test_the_variable_counts_where_there_is_no_option(monkeypatch):
    """MLFLOW_TRACKING_URI is the store, unless an option names one."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://one:5000")
    assert resolve_uri() == "http://one:5000"
    assert resolve_uri("http://two:5000") == "http://two:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", " ")
    assert resolve_uri() == f"sqlite:///{Path.cwd()}/mlflow.db"


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////data/mlflow.db", "sqlite://", "sqlite:///:memory:", "https://host/path",
        "postgresql+psycopg2://u:p@h/db", "mysql+pymysql://h/db", "databricks",
        "databricks://profile",
    ],
)  # fmt: skip
def test_what_mlflow_takes_is_taken_as_it_is(uri):
    """Servers, databases and Databricks are fine."""
    assert resolve_uri(uri) == uri


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("ftp://host", "unknown scheme 'ftp'"),
        ("htp://host:5000", "unknown scheme 'htp'"),
        ("http://", "expected an address"),
        ("http://:5000", "expected an address"),
        ("http://host:port", "expected an address"),
        ("http://[::1", "expected an address"),
        ("localhost:5000", "unknown scheme 'localhost'"),
        ("file:///tmp/mlruns", "plain folder"),
        ("/tmp/mlruns", "plain folder"),
        ("C:\\mlruns", "plain folder"),
        ("mlruns", "plain folder"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(uri, why, monkeypatch):
    """The message says why, and where the address came from."""
    with pytest.raises(ConfigError, match="--tracking-uri") as caught:
        resolve_uri(uri)
    assert why in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI"):
        resolve_uri()


def test_folders_are_taken_where_mlflow_is_told_to(monkeypatch):
    """MLflow's own switch for folders is respected."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert resolve_uri("file:///tmp/mlruns") == "file:///tmp/mlruns"


def test_a_refusal_does_not_show_the_password():
    """A mistyped scheme must not print the password."""
    with pytest.raises(ConfigError) as caught:
        resolve_uri("htp://ann:s3cret@host")
    assert "s3cret" not in str(caught.value)


WORDS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=4, max_size=12)


@given(WORDS, WORDS, st.sampled_from(["cannot reach {}", "{}: no", "GET {}/api/2.0 -> 401"]))
def test_no_password_survives(user, password, message):
    """Whatever the message, user and password of an address are gone."""
    uri = f"https://{user}:Pw{password}@mlflow.example:5000"
    shown = redact(message.format(uri) + f" (Pw{password})", uri)
    assert f"Pw{password}" not in shown
    assert "mlflow.example:5000" in shown


def test_kinds_of_stores_are_told_apart():
    """Databases are written by one thread; servers have pages."""
    assert [is_database(uri) for uri in ("sqlite:///x", "mysql+pymysql://h/d", "http://h")] == [
        True, True, False,
    ]  # fmt: skip
    assert [is_server(uri) for uri in ("https://h", "databricks", "sqlite:///x")] == [
        True, False, False,
    ]  # fmt: skip
