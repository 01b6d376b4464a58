"""The tables: every result comes back as it was, and the columns are those of the page."""

from __future__ import annotations

import json
import math
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import LEVELS, batches_of, failed_result, json_values, ok_result, params

from daskcast.records import EntityResult, Status
from daskcast.store.schema import (
    TABLES,
    forecast_columns,
    from_bytes,
    level_label,
    schema_of,
    tables_of,
    time_kind,
    to_bytes,
    to_json,
    to_jsons,
)


def test_columns_are_those_of_the_page() -> None:
    """The names that other people's scripts rely on, in their order."""
    assert forecast_columns((80, 95)) == [
        *("unique_id", "ds", "cutoff", "daskcast"),
        *("daskcast-lo-80", "daskcast-hi-80", "daskcast-lo-95", "daskcast-hi-95"),
    ]
    assert schema_of("entities", LEVELS, "integer").names == [
        *("unique_id", "status", "model", "params", "n_obs", "n_windows", "tune_loss"),
        *("cv_mase", "cv_rmsse", "cv_smape", "naive_mase", "skill", "checks", "stopped_by"),
        *("error_type", "message", "traceback", "seconds", "n_trials", "attempt", "batch"),
    ]
    assert schema_of("trials", LEVELS, "integer").names == (
        ["unique_id", "trial", "model", "params", "tune_loss", "weight", "seconds", "state"]
    )


@pytest.mark.parametrize(
    ("level", "label"), [(80, "80"), (80.0, "80"), (97.5, "97.5"), (99.99999, "99.99999")]
)
def test_levels_keep_their_digits(level: float, label: str) -> None:
    """Two levels never share a column."""
    assert level_label(level) == label


@settings(max_examples=60, deadline=None)
@given(data=st.data(), integer=st.booleans())
def test_results_come_back_as_they_were(data: st.DataObject, integer: bool) -> None:
    """Every field of every result is found again in the tables, whatever it holds."""
    results = data.draw(batches_of(integer=integer))
    kind = "integer" if integer else "timestamp"
    tables = tables_of("b00001", results, LEVELS, kind)
    rows = {}
    for name, table in tables.items():
        back = from_bytes(to_bytes(table))
        assert back.schema.equals(schema_of(name, LEVELS, kind))
        rows[name] = back.to_pylist()
    assert [row["unique_id"] for row in rows["entities"]] == [r.unique_id for r in results]
    for result, row in zip(results, rows["entities"], strict=True):
        _check_entity(result, row)
        mine = {n: [r for r in rows[n] if r["unique_id"] == result.unique_id] for n in TABLES}
        _check_trials(result, mine["trials"])
        _check_forecast(result, mine["forecasts"], integer=integer)
    assert len(rows["trials"]) == sum(len(r.trials) for r in results)


def _same(found: float | None, given: float) -> bool:
    return found is None if math.isnan(given) else found == given


def _check_entity(result: EntityResult, row: dict[str, Any]) -> None:
    assert Status(row["status"]) is result.status
    assert (row["model"] or "", row["stopped_by"] or "") == (result.model, result.stopped_by)
    assert json.loads(row["params"]) == result.params
    assert json.loads(row["checks"]) == result.checks
    numbers = ("n_obs", "seconds", "attempt")
    assert all(row[name] == getattr(result, name) for name in numbers)
    assert row["n_trials"] == len(result.trials)
    assert row["batch"] == "b00001"
    assert row["n_windows"] == result.scores.n_windows
    for name in ("tune_loss", "cv_mase", "cv_rmsse", "cv_smape", "naive_mase", "skill"):
        assert _same(row[name], getattr(result.scores, name))
    failure = result.failure
    told = (row["error_type"], row["message"], row["traceback"])
    if failure is None:
        assert told == (None, None, None)
    else:
        assert told == (failure.error_type, failure.message, failure.traceback or None)


def _check_trials(result: EntityResult, rows: list[dict[str, Any]]) -> None:
    for trial, row in zip(result.trials, rows, strict=True):
        assert (row["trial"], row["model"] or "", row["state"]) == (
            *(trial.number, trial.model),
            trial.state,
        )
        assert json.loads(row["params"]) == trial.params
        for name in ("tune_loss", "weight", "seconds"):
            assert _same(row[name], getattr(trial, name))


def _check_forecast(result: EntityResult, rows: list[dict[str, Any]], *, integer: bool) -> None:
    forecast = result.forecast
    if forecast is None:
        assert rows == []
        return
    dtype = "int64" if integer else "datetime64[us]"
    assert np.array_equal(np.array([r["ds"] for r in rows], dtype), forecast.times)
    assert all(np.array(r["cutoff"], dtype) == result.cutoff for r in rows)
    assert [r["daskcast"] for r in rows] == forecast.mean.tolist()
    for at, label in enumerate(("80", "97.5")):
        assert [r[f"daskcast-lo-{label}"] for r in rows] == forecast.lo[at].tolist()
        assert [r[f"daskcast-hi-{label}"] for r in rows] == forecast.hi[at].tolist()


@pytest.mark.parametrize("kind", ["timestamp", "integer"])
@pytest.mark.parametrize("results", [[], [failed_result()]], ids=["empty", "failed"])
def test_types_do_not_depend_on_rows(results: list[EntityResult], kind: Any) -> None:
    """A part without rows has the schema of all others."""
    for name, table in tables_of("b00001", results, LEVELS, kind).items():
        assert table.schema.equals(schema_of(name, LEVELS, kind))


def test_coarser_times_become_microseconds() -> None:
    """Times of another unit are the same times in the file."""
    forecast = ok_result().forecast
    days = forecast.times.astype("datetime64[D]")
    other = ok_result(
        forecast=type(forecast)(days, forecast.mean, forecast.lo, forecast.hi),
        cutoff=np.datetime64("2023-12-01", "D"),
    )
    tables = [tables_of("b1", [r], LEVELS, "timestamp")["forecasts"] for r in (ok_result(), other)]
    assert tables[0].equals(tables[1])


def test_other_kind_of_times_is_refused() -> None:
    """Whole numbers never turn into dates of 1970 quietly."""
    with pytest.raises(AssertionError, match="times must be integer"):
        tables_of("b1", [ok_result()], LEVELS, "integer")


def test_other_number_of_levels_is_refused() -> None:
    """A level that was computed is never left out quietly."""
    with pytest.raises(AssertionError, match="levels must be"):
        tables_of("b1", [ok_result()], (80,), "timestamp")


def test_kind_of_times() -> None:
    """The kind comes from a forecast or a cutoff; a failed entity may have neither."""
    assert time_kind([failed_result(), ok_result()]) == "timestamp"
    assert time_kind([failed_result(cutoff=7)]) == "integer"
    assert time_kind([failed_result(cutoff=np.datetime64("2024-01-01", "us"))]) == "timestamp"
    assert time_kind([failed_result()]) is None


def test_lone_surrogates_do_not_stop_a_batch() -> None:
    """Text that is no valid Unicode is stored escaped, its neighbours untouched."""
    results = [ok_result("\udce9t\u00e9"), ok_result("JFK")]
    ids = tables_of("b1", results, LEVELS, "timestamp")["entities"]["unique_id"].to_pylist()
    assert ids == ["\\udce9t\u00e9", "JFK"]


def test_credentials_leave_failures() -> None:
    """A message that quotes a URI with a password is stored without it."""
    failure = type(failed_result().failure)(
        "OSError", "cannot read s3://me:hunter2@b/x", "open('ftp://me:hunter2@h/x')"
    )
    result = failed_result(failure=failure, checks={"read": 's3://me:hunter2@b/x"y'})
    table = tables_of("b1", [result], LEVELS, "timestamp")["entities"]
    assert "hunter2" not in str(table.to_pylist())
    assert table["message"].to_pylist() == ["cannot read s3://b/x"]


# -- JSON --------------------------------------------------------------------------------------


@given(json_values)
def test_json_is_canonical(value: Any) -> None:
    """The text reads back as the same value, and the same value gives the same text."""
    text = to_json(value)
    assert json.loads(text) == value
    assert to_json(json.loads(text)) == text


@given(st.lists(params, max_size=5))
def test_many_at_once_are_as_one_by_one(values: list[dict[str, Any]]) -> None:
    """The shortcut for many mappings gives the text of each."""
    assert to_jsons(values) == [to_json(value) for value in values]


@pytest.mark.parametrize(
    "values",
    [
        [{"a": "},{"}, {"b": 1}],
        [{"a": [{"b": 1}, {"c": 2}]}, {}],
        [{}, {}],
        [{}],
        [],
        [{"a": {"b": {}}}, {"a": float("nan")}],
        [{"u": "s3://u:p@h/x"}, {}],
    ],
)
def test_shortcut_is_not_fooled(values: list[dict[str, Any]]) -> None:
    """The mark between two mappings, found within one, does not cut it."""
    assert to_jsons(values) == [to_json(value) for value in values]


def test_what_json_does_not_know() -> None:
    """Numbers that are not finite become null; numpy's scalars, arrays and mappings pass."""
    value = {
        "nan": float("nan"),
        "inf": [np.float64("inf")],
        "count": np.int64(3),
        "flag": np.bool_(1),
        "word": np.str_("N"),
        "array": np.array([1.5, np.nan]),
        "map": MappingProxyType({"a": float("-inf")}),
        1: "a key that is no text",
    }
    assert json.loads(to_json(value)) == {
        **{"nan": None, "inf": [None], "count": 3, "flag": True, "word": "N"},
        **{"array": [1.5, None], "map": {"a": None}, "1": "a key that is no text"},
    }


def test_reading_some_columns() -> None:
    """Only the columns asked for are read."""
    data = to_bytes(tables_of("b1", [ok_result()], LEVELS, "timestamp")["entities"])
    found = from_bytes(data, ["unique_id", "n_obs"])
    assert found.equals(pa.table({"unique_id": ["JFK"], "n_obs": [115]}))
