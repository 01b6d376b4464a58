"""Many complete runs into the tables of MLflow, in one transaction.

Covers whether the tables are those that are known (:func:`table_problems`), and writing
(:func:`write_runs`) and listing (:func:`runs_below`) runs. Does not cover what a complete run is
(``messages``), who may write (``app``) or how runs come here (the tracking package).

Everything goes through MLflow's own SQLAlchemy tables and sessions. MLflow has no call that makes
many runs: one run by its calls is dozens of statements in three transactions, here it is a share
of a few statements for hundreds.

Imports nothing but MLflow and what MLflow brings.
"""

from __future__ import annotations

import sqlite3
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels import models
from mlflow.utils.uri import append_to_uri_path
from sqlalchemy import insert, inspect, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from daskcast.mlflow_plugin import KEY_TAG, PARENT_TAG, SUPERSEDED_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Table
    from sqlalchemy.orm import Session

    from daskcast.mlflow_plugin.messages import CompleteRun

_NAME_TAG = "mlflow.runName"

_RUNS: Table = models.SqlRun.__table__
_TAGS: Table = models.SqlTag.__table__
_PARAMS: Table = models.SqlParam.__table__
_METRICS: Table = models.SqlMetric.__table__
_LATEST: Table = models.SqlLatestMetric.__table__
#: The columns that are written, of each table: those of its primary key first.
WRITTEN = {
    _RUNS: (
        *("run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id"),
        *("status", "start_time", "end_time", "deleted_time", "source_version"),
        *("lifecycle_stage", "artifact_uri", "experiment_id"),
    ),
    _TAGS: ("key", "run_uuid", "value"),
    _PARAMS: ("key", "run_uuid", "value"),
    _METRICS: ("key", "timestamp", "step", "run_uuid", "value", "is_nan"),
    _LATEST: ("key", "run_uuid", "value", "timestamp", "step", "is_nan"),
}
_IN_A_QUERY = 500
_ROWS_IN_A_STATEMENT = 500
_T = TypeVar("_T")


def table_problems(store: Any) -> list[str]:
    """Say why the tables of a store are not to be written to; nothing where they are known.

    Parameters
    ----------
    store : mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore
    """
    found, known = utils._get_schema_version(store.engine), utils._get_latest_schema_revision()
    problems = []
    if found != known:
        problems.append(f"the schema is of revision {found}, this MLflow has {known}")
    inspector = inspect(store.engine)
    for table, written in WRITTEN.items():
        columns = {column["name"]: column for column in inspector.get_columns(table.name)}
        absent = sorted(set(written) - columns.keys())
        asked = sorted(
            name
            for name, column in columns.items()
            if name not in written and not column["nullable"] and column["default"] is None
        )
        if absent:
            problems.append(f"the table {table.name} has no column {', '.join(absent)}")
        if asked:
            problems.append(f"the table {table.name} wants a value for {', '.join(asked)}")
    return problems


def write_runs(
    store: Any, experiment_id: str, runs: Sequence[CompleteRun], *, user: str
) -> set[str]:
    """Write runs that are not there yet, all of them or none; bring back those that were deleted.

    Parameters
    ----------
    store : mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore
    experiment_id : str
    runs : sequence of CompleteRun
    user : str

    Returns
    -------
    set of str
        Ids of those that were there before.

    Raises
    ------
    MlflowException
        Where the experiment is not there or deleted, or the database refuses.
    """
    experiment = store.get_experiment(experiment_id)
    store._check_experiment_is_active(experiment)
    by_id = {run.run_id: run for run in runs}
    before: set[str] = set()
    while True:
        try:
            with _session(store, read_only=False) as session:
                return _write(session, experiment, by_id, user)
        except MlflowException as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            # Somebody else may write the same runs at this moment: then more of them are there
            # now, and the next time those are left alone.
            with _session(store, read_only=True) as session:
                there = set(_existing(session, by_id))
            if there == before:
                raise
            before = there


def runs_below(store: Any, parent_id: str) -> Iterator[tuple[str, str, bool]]:
    """List the runs below a run, those that are deleted not among them.

    Parameters
    ----------
    store : mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore
    parent_id : str

    Yields
    ------
    tuple of str, str and bool
        Key, run id, and whether the run has ended.
    """
    below, key = _TAGS.alias("below"), _TAGS.alias("keyed")
    query = (
        select(key.c.value, _RUNS.c.run_uuid, _RUNS.c.status)
        .join(key, key.c.run_uuid == _RUNS.c.run_uuid)
        .join(below, below.c.run_uuid == _RUNS.c.run_uuid)
        .where(
            key.c.key == KEY_TAG,
            below.c.key == PARENT_TAG,
            below.c.value == parent_id,
            _RUNS.c.lifecycle_stage == "active",
        )
    )
    with _session(store, read_only=True) as session:
        for value, run_id, status in session.execute(query):
            yield value, run_id, status != "RUNNING"


def experiment_of(store: Any, run_id: str) -> str:
    """Give the experiment that a run is in, empty where there is no such run.

    Parameters
    ----------
    store : mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore
    run_id : str
    """
    with _session(store, read_only=True) as session:
        found = session.scalar(select(_RUNS.c.experiment_id).where(_RUNS.c.run_uuid == run_id))
    return "" if found is None else str(found)


def _session(store: Any, *, read_only: bool) -> AbstractContextManager[Session]:
    found: AbstractContextManager[Session]
    try:
        found = store.ManagedSessionMaker(read_only=read_only)
    except TypeError:  # an older MLflow has one kind
        found = store.ManagedSessionMaker()
    return found


def _write(
    session: Session, experiment: Any, runs: Mapping[str, CompleteRun], user: str
) -> set[str]:
    there = _existing(session, runs)
    _bring_back(session, int(experiment.experiment_id), there)
    new = [run for run_id, run in runs.items() if run_id not in there]
    metrics, latest = _metric_rows(new)
    _insert(session, _RUNS, [_run_row(run, experiment, user) for run in new])
    _insert(session, _TAGS, [row for run in new for row in _tag_rows(run)])
    _insert(session, _PARAMS, [row for run in new for row in _pairs(run.params, run.run_id)])
    _insert(session, _METRICS, metrics)
    _insert(session, _LATEST, latest)
    _supersede(session, int(experiment.experiment_id), new)
    return set(there)


def _insert(session: Session, table: Table, rows: list[tuple[Any, ...]]) -> None:
    """Insert rows, in the order of the primary key: neighbours go into the same page."""
    if not rows:
        return
    columns = WRITTEN[table]
    rows.sort()
    connection = session.connection()
    dialect = connection.dialect
    quote = dialect.identifier_preparer.quote
    into = f"{quote(table.name)} ({', '.join(map(quote, columns))})"
    # SQLAlchemy's own way looks at each value of each row; COPY is how PostgreSQL takes many.
    if dialect.name == "sqlite":
        opened: Any = connection.connection.dbapi_connection
        most = opened.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // len(columns)
        marks = f"({', '.join('?' * len(columns))})"
        # Many rows a statement: it lets other threads work while it goes on.
        for some in _parts(rows, min(most, _ROWS_IN_A_STATEMENT)):
            values = ", ".join([marks] * len(some))
            connection.exec_driver_sql(
                f"INSERT INTO {into} VALUES {values}", tuple(chain.from_iterable(some))
            )
    elif dialect.driver == "psycopg":
        _copy(connection, f"COPY {into} FROM STDIN", rows)
    else:
        session.execute(insert(table), [dict(zip(columns, row, strict=True)) for row in rows])


def _copy(connection: Connection, command: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Copy rows into PostgreSQL by psycopg; errors are those of SQLAlchemy, as of its own calls."""
    errors = connection.dialect.loaded_dbapi.Error
    try:
        opened: Any = connection.connection.cursor()
        with opened as cursor, cursor.copy(command) as into:
            for row in rows:
                into.write_row(row)
    except errors as error:
        raise DBAPIError.instance(
            command, None, error, errors, dialect=connection.dialect
        ) from error


def _existing(session: Session, ids: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Give those that are there, with experiment and stage of life."""
    found: dict[str, tuple[int, str]] = {}
    for some in _parts(sorted(ids)):
        query = select(_RUNS.c.run_uuid, _RUNS.c.experiment_id, _RUNS.c.lifecycle_stage)
        for run_id, place, stage in session.execute(query.where(_RUNS.c.run_uuid.in_(some))):
            found[run_id] = place, stage
    return found


def _bring_back(session: Session, experiment_id: int, there: Mapping[str, tuple[int, str]]) -> None:
    """Restore runs that were deleted: who sends them wants them there."""
    if any(place != experiment_id for place, _ in there.values()):
        raise MlflowException.invalid_parameter_value(
            "a run with this id is in another experiment already"
        )
    deleted = sorted(run_id for run_id, (_, stage) in there.items() if stage != "active")
    for some in _parts(deleted):
        values = {"lifecycle_stage": "active", "deleted_time": None}
        session.execute(update(_RUNS).where(_RUNS.c.run_uuid.in_(some)).values(values))


def _run_row(run: CompleteRun, experiment: Any, user: str) -> tuple[Any, ...]:
    # As MLflow's own `create_run` and `update_run_info` leave it.
    artifacts = append_to_uri_path(experiment.artifact_location, run.run_id, "artifacts")
    return (
        *(run.run_id, run.name, "UNKNOWN", "", "", user, run.status),
        *(run.start_time, run.end_time, None, "", "active", artifacts),
        int(experiment.experiment_id),
    )


def _tag_rows(run: CompleteRun) -> list[tuple[Any, ...]]:
    return _pairs({**run.tags, _NAME_TAG: run.name}, run.run_id)


def _pairs(values: Mapping[str, str], run_id: str) -> list[tuple[Any, ...]]:
    return [(key, run_id, value) for key, value in values.items()]


def _metric_rows(
    runs: Iterable[CompleteRun],
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Give all values, each once, and the latest of each key by step, time and value."""
    rows: list[tuple[Any, ...]] = []
    latest: list[tuple[Any, ...]] = []
    for run in runs:
        run_id = run.run_id
        of_key: dict[str, tuple[int, int, float]] = {}
        for key, value, timestamp, step in dict.fromkeys(run.metrics):
            rows.append((key, timestamp, step, run_id, value, False))
            this = (step, timestamp, value)
            if key not in of_key or this > of_key[key]:
                of_key[key] = this
        latest += [
            (key, run_id, value, timestamp, step, False)
            for key, (step, timestamp, value) in of_key.items()
        ]
    return rows, latest


def _supersede(session: Session, experiment_id: int, runs: Iterable[CompleteRun]) -> None:
    """Tag the runs that others take the place of, once each."""
    by = {old: run.run_id for run in runs for old in run.supersedes}
    rows = []
    for some in _parts(sorted(by)):
        mine = select(_RUNS.c.run_uuid).where(
            _RUNS.c.run_uuid.in_(some), _RUNS.c.experiment_id == experiment_id
        )
        done = select(_TAGS.c.run_uuid).where(
            _TAGS.c.run_uuid.in_(some), _TAGS.c.key == SUPERSEDED_TAG
        )
        there = set(session.scalars(mine)) - set(session.scalars(done))
        rows += [(SUPERSEDED_TAG, old, by[old]) for old in there]
    _insert(session, _TAGS, rows)


def _parts(items: Sequence[_T], n: int = _IN_A_QUERY) -> Iterator[Sequence[_T]]:
    for at in range(0, len(items), n):
        yield items[at : at + n]
