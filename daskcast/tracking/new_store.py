"""The tables of a new SQLite store, made in one step.

Covers a file that has no tables yet. Does not cover stores that exist, nor other databases, whose
owners make them.

MLflow makes its tables in a hundred steps that take seconds. A process that is killed among them
leaves a store that MLflow itself can never open again: so the steps are gone through in a draft,
and what came of them is written in one transaction.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient

from daskcast.tracking.uris import sqlite_path

_WAIT_S = 30.0


def make_whole(uri: str) -> None:
    """Make the tables where the store is a SQLite file without any.

    Parameters
    ----------
    uri : str

    Raises
    ------
    OSError, sqlite3.Error, MlflowException
    """
    path = sqlite_path(uri)
    if path is None or not path.parent.is_dir():
        return
    with closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as store:
        if not _is_empty(store):
            return
        with TemporaryDirectory(prefix="daskcast-") as place:
            steps = _drafted(Path(place) / path.name)
        store.execute("BEGIN EXCLUSIVE")
        if _is_empty(store):  # nobody else was quicker
            for step in steps:
                store.execute(step)
        store.execute("COMMIT")


def _drafted(draft: Path) -> list[str]:
    """Let MLflow make a store, and give what is in it as SQL."""
    client = MlflowClient(tracking_uri=f"sqlite:///{draft.as_posix()}")
    client.search_experiments(max_results=1)
    client._tracking_client.store._dispose_engine()
    with closing(sqlite3.connect(draft)) as made:
        return [step for step in made.iterdump() if step not in {"BEGIN TRANSACTION;", "COMMIT;"}]


def _is_empty(store: sqlite3.Connection) -> bool:
    (n_tables,) = store.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(n_tables == 0)
