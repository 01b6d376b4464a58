"""Records: frozen, small, and the same on the other side of a process border."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import pickle

import numpy as np
import pytest

from daskcast import records
from daskcast.records import (
    BatchReceipt,
    Columns,
    EntityResult,
    Failure,
    Forecast,
    Kept,
    Scores,
    Series,
    Status,
    Trial,
)

FUTURE = np.arange("2024-01", "2025-01", dtype="datetime64[M]").astype("datetime64[us]")
MADE = [
    Columns("airport", "month", "passengers"),
    Failure("TooShort", "expected 6, found 2", "Traceback ..."),
    Series("JFK", np.array([1.0, np.nan]), FUTURE[0], FUTURE, "MS", 12, ("summed",)),
    Series("007", np.empty(0), None, np.empty(0), "", 1, problem=Failure("Empty", "no rows")),
    Kept('{"unit":1.0,"forms":[]}', Failure("Constant", "all are 0"), refit=True),
    Trial(0, "ETS(A,N,N)", {"power": 1.0, "trend": "N"}, 0.5, 0.25, 0.01),
    Forecast(FUTURE, np.ones(12), np.zeros((2, 12)), np.ones((2, 12))),
    Scores(3, 0.5, 0.6, 0.7, 8.0, 1.0, 0.4),
    EntityResult("JFK", Status.OK, forecast=Forecast(FUTURE, *np.ones((3, 12)))),
    EntityResult("LGA", Status.FAILED, failure=Failure("KeyError", "x")),
    BatchReceipt("b00001", 3, 1, 1, 1, {"fit": 0.5}, 1.0, "worker"),
]
NAMES = [f"{type(one).__name__} {i}" for i, one in enumerate(MADE)]
CLASSES = {value for value in vars(records).values() if dataclasses.is_dataclass(value)}


def equal(one, other) -> bool:
    """Compare values of which some are arrays."""
    if dataclasses.is_dataclass(one):
        fields = dataclasses.fields(one)
        return type(one) is type(other) and all(
            equal(getattr(one, f.name), getattr(other, f.name)) for f in fields
        )
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype == float)
    unknown = isinstance(one, float) and math.isnan(one) and math.isnan(other)
    return unknown or bool(one == other)


def test_every_record_is_in_this_file():
    """A record that is added is tried here too."""
    assert {type(one) for one in MADE} == CLASSES


@pytest.mark.parametrize("record", MADE, ids=NAMES)
def test_a_record_survives_pickling(record):
    """What a task takes and gives is the same on the other side."""
    assert equal(pickle.loads(pickle.dumps(record)), record)


@pytest.mark.parametrize("record", MADE, ids=NAMES)
def test_a_record_is_frozen_and_closed(record):
    """No field is set twice, none is added."""
    name = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, name, None)
    assert not hasattr(record, "__dict__")


@pytest.mark.parametrize("name", sorted(one.__name__ for one in CLASSES - {Scores}))
def test_every_field_is_described(name):
    """The docstring names every field; only scores are described as a whole."""
    cls = getattr(records, name)
    text = inspect.getdoc(cls)
    assert not [f.name for f in dataclasses.fields(cls) if f.name not in text]


def test_a_series_is_small_to_send():
    """A series is hardly larger than its values."""
    y = np.random.default_rng(0).normal(0, 1, 120)
    series = Series("JFK", y, FUTURE[0], FUTURE, "MS", 12)
    assert len(pickle.dumps(series)) < y.nbytes + FUTURE.nbytes + 700


def test_states_are_text():
    """A status is the text that is written, in tables and in JSON."""
    assert [str(one) for one in Status] == ["ok", "fallback", "failed"]
    assert json.dumps(Status.OK) == '"ok"'
    assert Status("failed") is Status.FAILED
    assert pickle.loads(pickle.dumps(Status.FALLBACK)) is Status.FALLBACK


def test_nothing_is_shared_between_results():
    """Defaults that can change are made anew for each result."""
    one, other = EntityResult("a", Status.OK), EntityResult("b", Status.OK)
    assert one.params is not other.params
    assert one.checks is not other.checks


def test_empty_scores_are_unknown():
    """Without windows each score is NaN, not zero."""
    values = dataclasses.asdict(Scores())
    assert values.pop("n_windows") == 0
    assert all(np.isnan(value) for value in values.values())
