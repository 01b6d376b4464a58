"""The tables of a run folder: their columns, and how results become rows.

Covers the Arrow schemas of ``forecasts``, ``entities`` and ``trials``, turning results into tables
and tables into the bytes of a Parquet file and back. Does not cover where the bytes go
(``folder``, ``files``) or finding one entity in them (``query``).

Nothing to say is null: a score that is empty, the ``error_type`` of an entity without a failure,
the ``model`` of one that failed. A schema never depends on the rows, so that parts without rows
and parts of failed entities alone read together with all others.

Shapes: N entities of a batch, H steps of one entity, L levels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from daskcast.errors import DataError, StoreError
from daskcast.panel import limits
from daskcast.redact import printable, redact_text, redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from daskcast.records import EntityResult, Forecast

    #: what the user's times are, for the whole run
    TimeKind = Literal["timestamp", "integer"]
    Table = Literal["forecasts", "entities", "trials"]

TABLES: tuple[Table, ...] = ("forecasts", "entities", "trials")
TIME_TYPES = {"timestamp": pa.timestamp("us"), "integer": pa.int64()}
_DTYPES = {"timestamp": np.dtype("datetime64[us]"), "integer": np.dtype("int64")}

_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()

ENTITIES = pa.schema(
    [
        ("unique_id", _TEXT),
        ("status", _TEXT),
        ("model", _TEXT),
        ("params", _TEXT),
        ("n_obs", _COUNT),
        ("n_windows", _COUNT),
        ("tune_loss", _NUMBER),
        ("cv_mase", _NUMBER),
        ("cv_rmsse", _NUMBER),
        ("cv_smape", _NUMBER),
        ("naive_mase", _NUMBER),
        ("skill", _NUMBER),
        ("checks", _TEXT),
        ("stopped_by", _TEXT),
        ("error_type", _TEXT),
        ("message", _TEXT),
        ("traceback", _TEXT),
        ("seconds", _NUMBER),
        ("n_trials", _COUNT),
        ("attempt", _COUNT),
        ("batch", _TEXT),
    ]
)
TRIALS = pa.schema(
    [
        ("unique_id", _TEXT),
        ("trial", _COUNT),
        ("model", _TEXT),
        ("params", _TEXT),
        ("tune_loss", _NUMBER),
        ("weight", _NUMBER),
        ("seconds", _NUMBER),
        ("state", _TEXT),
    ]
)
SCORES = ("tune_loss", "cv_mase", "cv_rmsse", "cv_smape", "naive_mase", "skill")


def level_label(level: float) -> str:
    """Write a level as in a column's name.

    Examples
    --------
    >>> level_label(80), level_label(80.0), level_label(97.5)
    ('80', '80', '97.5')
    """
    return str(int(level)) if float(level).is_integer() else repr(float(level))


def forecast_columns(levels: Sequence[float], *, actual: bool = False) -> list[str]:
    """Name the columns of ``forecasts``; ``actual`` adds ``y``, which a backtest knows.

    Examples
    --------
    >>> forecast_columns((80,))
    ['unique_id', 'ds', 'cutoff', 'daskcast', 'daskcast-lo-80', 'daskcast-hi-80']
    >>> forecast_columns((80,), actual=True)[:5]
    ['unique_id', 'ds', 'cutoff', 'y', 'daskcast']
    """
    sides = [f"daskcast-{side}-{level_label(x)}" for x in levels for side in ("lo", "hi")]
    return ["unique_id", "ds", "cutoff", *(["y"] if actual else []), "daskcast", *sides]


def schema_of(
    table: Table, levels: Sequence[float], times: TimeKind, *, actual: bool = False
) -> pa.Schema:
    """Give the schema of a table; only that of ``forecasts`` depends on the run."""
    if table == "entities":
        return ENTITIES
    if table == "trials":
        return TRIALS
    time = TIME_TYPES[times]
    names = forecast_columns(levels, actual=actual)
    types = [_TEXT, time, time, *[_NUMBER] * (len(names) - 3)]
    return pa.schema(list(zip(names, types, strict=True)))


def time_kind(results: Iterable[EntityResult]) -> TimeKind | None:
    """Tell the kind of time of some results; None where none of them has a time."""
    for result in results:
        if result.forecast is not None and len(result.forecast.times):
            return "timestamp" if result.forecast.times.dtype.kind == "M" else "integer"
        if result.cutoff is not None:
            return "timestamp" if isinstance(result.cutoff, np.datetime64) else "integer"
    return None


# -- results to tables -------------------------------------------------------------------------


def tables_of(
    batch: str,
    results: Sequence[EntityResult],
    levels: Sequence[float],
    times: TimeKind,
    *,
    actual: bool = False,
) -> dict[Table, pa.Table]:
    """Turn the results of a batch into its three tables; rows in the order of the results.

    Parameters
    ----------
    batch : str
    results : sequence of EntityResult, [N]
    levels : sequence of float, [L]
    times : {"timestamp", "integer"}
    actual : bool
        Whether forecasts know what came.

    Returns
    -------
    dict
        Table name to Arrow table, with the schema of :func:`schema_of`.
    """
    ids = _text([result.unique_id for result in results])
    return {
        "forecasts": _forecasts(ids, results, levels, times, actual=actual),
        "entities": _entities(ids, batch, results),
        "trials": _trials(ids, results),
    }


def _forecasts(
    ids: pa.Array,
    results: Sequence[EntityResult],
    levels: Sequence[float],
    times: TimeKind,
    *,
    actual: bool,
) -> pa.Table:
    schema = schema_of("forecasts", levels, times, actual=actual)
    found = [(at, r.cutoff, r.forecast) for at, r in enumerate(results) if r.forecast is not None]
    parts = [forecast for _, _, forecast in found]
    steps = np.array([len(forecast.mean) for forecast in parts], dtype=np.int64)
    dtype = _DTYPES[times]
    assert all(f.times.dtype.kind == dtype.kind for f in parts), f"times must be {times}"
    assert all(len(f.lo) == len(f.hi) == len(levels) for f in parts), f"levels must be {levels}"
    columns = [
        ids.take(pa.array(np.repeat([at for at, _, _ in found], steps).astype(np.int64))),
        pa.array(_joined([f.times.astype(dtype, copy=False) for f in parts], dtype)),
        *(
            _past(parts, dtype)
            if actual
            else [_cutoffs([cutoff for _, cutoff, _ in found], steps, times)]
        ),
        _floats(_joined([f.mean for f in parts], np.dtype("float64"))),
    ]
    for level in range(len(levels)):
        columns += [_side(parts, "lo", level), _side(parts, "hi", level)]
    return pa.Table.from_arrays(columns, schema=schema)


def _side(parts: Sequence[Forecast], side: str, level: int) -> pa.Array:
    return _floats(_joined([getattr(f, side)[level] for f in parts], np.dtype("float64")))


def _cutoffs(cutoffs: Sequence[Any], steps: np.ndarray[Any, Any], times: TimeKind) -> pa.Array:
    plain = np.array(cutoffs, _DTYPES[times]) if times == "timestamp" else cutoffs
    each = pa.array(plain, TIME_TYPES[times])
    return each.take(pa.array(np.repeat(np.arange(len(cutoffs), dtype=np.int64), steps)))


def _past(parts: Sequence[Forecast], dtype: np.dtype[Any]) -> list[pa.Array]:
    """Give cutoff and truth of each row of a backtest."""
    known = [(f.cutoffs, f.actual) for f in parts if f.cutoffs is not None and f.actual is not None]
    assert len(known) == len(parts), "forecasts of a backtest must know their cutoffs and what came"
    cutoffs = [cutoff.astype(dtype, copy=False) for cutoff, _ in known]
    truth = _floats(_joined([actual for _, actual in known], np.dtype("float64")))
    return [pa.array(_joined(cutoffs, dtype)), truth]


def _joined(parts: Sequence[np.ndarray[Any, Any]], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _entities(ids: pa.Array, batch: str, results: Sequence[EntityResult]) -> pa.Table:
    failures = [result.failure for result in results]
    columns: dict[str, pa.Array] = {
        "unique_id": ids,
        "status": _text([str(result.status) for result in results]),
        "model": _text([result.model or None for result in results]),
        "params": _text([to_json(result.params) for result in results]),
        "n_obs": pa.array([result.n_obs for result in results], _COUNT),
        "n_windows": pa.array([result.scores.n_windows for result in results], _COUNT),
        "checks": _text([to_json(result.checks) for result in results]),
        "stopped_by": _text([result.stopped_by or None for result in results]),
        "error_type": _text([f.error_type if f else None for f in failures]),
        "message": _text([redact_text(f.message) if f else None for f in failures]),
        "traceback": _text([(redact_text(f.traceback) or None) if f else None for f in failures]),
        "seconds": _floats([result.seconds for result in results]),
        "n_trials": pa.array([len(result.trials) for result in results], _COUNT),
        "attempt": pa.array([result.attempt for result in results], _COUNT),
        "batch": _text([batch] * len(results)),
    }
    for name in SCORES:
        columns[name] = _floats([getattr(result.scores, name) for result in results])
    return pa.Table.from_arrays([columns[name] for name in ENTITIES.names], schema=ENTITIES)


def _trials(ids: pa.Array, results: Sequence[EntityResult]) -> pa.Table:
    trials = list(chain.from_iterable(result.trials for result in results))
    owners = np.repeat(np.arange(len(results)), [len(result.trials) for result in results])
    columns = [
        ids.take(pa.array(owners, _COUNT)),
        pa.array([trial.number for trial in trials], _COUNT),
        _text([trial.model or None for trial in trials]),
        _text(to_jsons([trial.params for trial in trials])),
        _floats([trial.tune_loss for trial in trials]),
        _floats([trial.weight for trial in trials]),
        _floats([trial.seconds for trial in trials]),
        _text([trial.state for trial in trials]),
    ]
    return pa.Table.from_arrays(columns, schema=TRIALS)


def _floats(values: Any) -> pa.Array:
    """NaN is null in a table: an average in SQL then leaves it out, as pandas does."""
    return pa.array(np.asarray(values, dtype=np.float64), _NUMBER, from_pandas=True)


def _text(values: Sequence[str | None]) -> pa.Array:
    try:
        return pa.array(values, _TEXT)
    except UnicodeEncodeError:  # half of a surrogate pair, as in a file name that is not UTF-8
        safe = [v if v is None else v.encode("utf-8", "backslashreplace").decode() for v in values]
        return pa.array(safe, _TEXT)


# -- JSON text in a cell -----------------------------------------------------------------------


def _scalar(value: object) -> Any:
    """Let through the scalars of numpy, which a search hands out, and any mapping."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
        return value.item()
    return str(value)


_encode = json.JSONEncoder(
    sort_keys=True, allow_nan=False, separators=(",", ":"), default=_scalar
).encode


def to_json(value: Any) -> str:
    """Write a value as JSON text with sorted keys; what is no finite number becomes null.

    Credentials in URIs are removed.

    Examples
    --------
    >>> to_json({"b": float("nan"), "a": 1})
    '{"a":1,"b":null}'
    """
    try:
        text = _encode(value)
    except (TypeError, ValueError):  # a NaN, or keys that do not sort together
        text = _encode(_finite(value))
    return _encode(redacted(json.loads(text))) if "://" in text else text


def to_jsons(values: Sequence[Any]) -> list[str]:
    """Write mappings as JSON texts, each as :func:`to_json` does.

    One call of the encoder for all of them costs half of one call each; the text is cut where one
    mapping ends and the next begins. Where that mark is found elsewhere too, such as within a
    text, they are written one by one.
    """
    try:
        whole = _encode(values)
    except (TypeError, ValueError):
        return [to_json(value) for value in values]
    texts = whole[2:-2].split("},{")
    if len(texts) != len(values) or "://" in whole:
        return [to_json(value) for value in values]
    return [f"{{{text}}}" for text in texts]


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, np.ndarray | np.generic):
        return _finite(_scalar(value))
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


# -- tables to bytes ---------------------------------------------------------------------------

_REPEATED = {"unique_id", "ds", "cutoff", "status", "model", "stopped_by", "state", "batch"}


def to_bytes(table: pa.Table) -> bytes:
    """Write a table as one Parquet file: one row group, zstd at its fastest."""
    repeated = [name for name in table.schema.names if name in _REPEATED]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=repeated,  # trying one on each column of numbers doubles the time
        row_group_size=max(1, table.num_rows),
    )
    return bytes(sink.getvalue())


def from_bytes(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table back, all columns or some of them.

    Raises
    ------
    StoreError
        Where it is no Parquet, or would fill the memory: not what daskcast wrote.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        names = file.schema_arrow.names if columns is None else columns
        limits.check_promise(file.metadata, names, limits.GROUP_SHARE)
        return file.read(columns=columns and list(columns), use_threads=False)
    except (pa.ArrowException, OSError, DataError) as error:
        raise StoreError(f"a table is not one that daskcast wrote: {printable(error)}") from error
