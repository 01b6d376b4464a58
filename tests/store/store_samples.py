"""Results to store: plain ones, and any that hypothesis can think of."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from daskcast.records import EntityResult, Failure, Forecast, Scores, Status, Trial

LEVELS = (80, 97.5)
MANIFEST: dict[str, Any] = {"config": {"h": 3, "level": [80, 97.5]}, "data": {"times": "timestamp"}}
MONTHS = np.array(["2024-01-01", "2024-02-01", "2024-03-01"], "datetime64[us]")

ODD_IDS = (
    "plain",
    "NA",
    "null",
    "007",
    " x",
    "x ",
    "../../etc/passwd",
    "a/b\\c",
    "line\nbreak\r\n",
    "quote\"s 'and' more",
    "<script>alert(1)</script>",
    "tab\tnul\x00esc\x1b[31m",
    "Zürich ✈ 東京 \u2028 🛫",
    "'; DROP TABLE runs; --",
    "x" * 5_000,
    "",
)


def ok_result(unique_id: str = "JFK", **changes: Any) -> EntityResult:
    """Give an entity with a forecast of three months and two trials."""
    mean = np.array([1.0, 2.0, 3.0])
    values: dict[str, Any] = {
        "unique_id": unique_id,
        "status": Status.OK,
        "model": "ETS(M,A,M)",
        "params": {
            "forms": [
                {"form": "ETS(M,A,M)", "weight": 0.75},
                {"form": "ETS(A,N,N)", "weight": 0.25},
            ]
        },
        "n_obs": 115,
        "cutoff": np.datetime64("2023-12-01", "us"),
        "scores": Scores(3, 0.5, 0.6, 0.7, 8.0, 1.0, 0.4),
        "checks": {"finite": True},
        "stopped_by": "trials",
        "seconds": 0.25,
        "forecast": Forecast(
            MONTHS, mean, np.stack([mean - 1, mean - 2]), np.stack([mean + 1] * 2)
        ),
        "trials": (
            Trial(0, "ETS(A,N,N)", {"trend": "N", "phi": 0.9}, 0.9, 0.25, 0.01),
            Trial(1, "ETS(M,A,M)", {"trend": "A", "phi": 0.8}, 0.5, 0.75, 0.01),
        ),
    }
    return EntityResult(**{**values, **changes})


def failed_result(unique_id: str = "LGA", **changes: Any) -> EntityResult:
    """Give an entity without a forecast, and without any time."""
    failure = Failure("TooShort", "expected 3 observations, found 1", "Traceback ...")
    values = {"unique_id": unique_id, "status": Status.FAILED, "failure": failure}
    return EntityResult(**{**values, **changes})


# -- strategies --------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ids = st.sampled_from(ODD_IDS) | texts
numbers = st.floats(allow_infinity=True, allow_nan=True)
finite = st.floats(allow_infinity=False, allow_nan=False)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
params = st.dictionaries(texts, scalars, max_size=4)


@st.composite
def forecasts(draw: st.DrawFn, *, integer: bool) -> Forecast:
    h = draw(st.integers(1, 4))
    start = draw(st.integers(-(10**12), 10**12))
    steps = np.arange(start, start + h, dtype=np.int64)
    values = np.array(draw(st.lists(finite, min_size=5 * h, max_size=5 * h))).reshape(5, h)
    times = steps if integer else steps.view("datetime64[us]")
    return Forecast(times, values[0], values[1:3], values[3:5])


trials = st.builds(
    Trial,
    number=st.integers(0, 1000),
    model=texts,
    params=params,
    tune_loss=numbers,
    weight=finite,
    seconds=finite,
    state=st.sampled_from(["complete", "failed"]),
)
scores = st.builds(Scores, st.integers(0, 99), *[numbers] * 6)
failures = st.builds(Failure, texts, texts, texts)


@st.composite
def results(draw: st.DrawFn, *, integer: bool) -> EntityResult:
    forecast = draw(st.none() | forecasts(integer=integer))
    status = Status.FAILED if forecast is None else draw(st.sampled_from(["ok", "fallback"]))
    cutoff = None
    if forecast is not None:
        cutoff = int(forecast.times[0]) - 1 if integer else forecast.times[0] - 1
    return EntityResult(
        unique_id=draw(ids),
        status=Status(status),
        model=draw(texts),
        params=draw(params),
        n_obs=draw(st.integers(0, 10**6)),
        cutoff=cutoff,
        scores=draw(scores),
        checks=draw(st.dictionaries(texts, json_values, max_size=3)),
        stopped_by=draw(texts),
        failure=draw(st.none() | failures),
        seconds=draw(finite),
        attempt=draw(st.integers(1, 9)),
        forecast=forecast,
        trials=tuple(draw(st.lists(trials, max_size=3))),
    )


def batches_of(*, integer: bool, max_size: int = 4) -> st.SearchStrategy[list[EntityResult]]:
    """Give batches in which each id stands once, as the reader of the data makes sure."""
    return st.lists(results(integer=integer), max_size=max_size, unique_by=lambda r: r.unique_id)
