"""Requests within the limits, and nothing lost on the way."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.entities import Metric, Param, RunTag
from mlflow.protos.service_pb2 import LogBatch as LogBatchMessage
from mlflow.utils.proto_json_utils import message_to_json
from mlflow.utils.validation import (
    MAX_BATCH_LOG_REQUEST_SIZE,
    _validate_batch_log_data,
    _validate_batch_log_limits,
)

from daskcast.tracking import MetricPoint
from daskcast.tracking.limits import clean, keyed, log_batches, shorten

TEXT = st.text(max_size=40)


def messages(metrics, params, tags):
    """Give what MLflow's own client makes of each batch."""
    for batch in log_batches(metrics, params, tags):
        points = [Metric(m.key, m.value, m.after_ms, m.step) for m in batch.metrics]
        pairs = [Param(*pair) for pair in batch.params]
        labels = [RunTag(*pair) for pair in batch.tags]
        yield points, pairs, labels


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2500),
    st.integers(0, 250),
    st.integers(0, 250),
    st.sampled_from(["x", "é", "✈", "🛫", '"', "\n"]),
)
def test_batches_hold_everything_and_pass_mlflows_own_checks(n_metrics, n_params, n_tags, sign):
    """Every batch passes the checks of the server, and together they are what was given."""
    metrics = [MetricPoint(f"m{n % 7}", n / 7, n, 1_700_000_000_000 + n) for n in range(n_metrics)]
    params = {f"p{n}": sign * 6000 for n in range(n_params)}
    tags = {f"t{n}": sign * 5000 for n in range(n_tags)}
    seen = ([], [], [])
    for points, pairs, labels in messages(metrics, params, tags):
        _validate_batch_log_limits(points, pairs, labels)
        _validate_batch_log_data(points, pairs, labels)
        request = LogBatchMessage(
            run_id="0" * 32,
            metrics=[m.to_proto() for m in points],
            params=[p.to_proto() for p in pairs],
            tags=[t.to_proto() for t in labels],
        )
        assert len(message_to_json(request)) <= MAX_BATCH_LOG_REQUEST_SIZE
        assert points or pairs or labels
        for kept, new in zip(seen, (points, pairs, labels), strict=True):
            kept.extend(new)
    assert [(m.key, m.step) for m in seen[0]] == [(m.key, m.step) for m in metrics]
    assert {p.key: p.value for p in seen[1]} == params
    assert {t.key: t.value for t in seen[2]} == tags


def test_what_fits_is_one_request():
    """A usual child is one batch; nothing is none."""
    metrics = [MetricPoint("m", 1.0, n) for n in range(200)]
    assert len(list(log_batches(metrics, {"a": "b"}, {"c": "d"}))) == 1
    assert list(log_batches([], {}, {})) == []


@given(st.dictionaries(TEXT, TEXT, max_size=20))
def test_keys_are_taken_by_mlflow_and_stay_apart(values):
    """Any key becomes one that MLflow takes; two keys never become one."""
    found = keyed(values, 100)
    assert len(found) == len(values)
    for key, value in found.items():
        _validate_batch_log_data([], [Param(key, value)], [RunTag(key, value)])


def test_usual_keys_stay_as_they_are():
    """Keys of letters, digits, dots, dashes, underscores and spaces are not touched."""
    usual = {"season_length": "12", "mlflow.note.content": "x", "a b-c": "1"}
    assert keyed(usual, 100) == usual


@given(st.text(min_size=1, max_size=60), st.integers(20, 50))
def test_short_texts_stay_and_long_ones_fit(text, limit):
    """What fits is unchanged, what does not is cut to the limit."""
    cut = shorten(text, limit)
    assert len(cut) <= limit
    if len(text) <= limit:
        assert cut == clean(text)


def test_long_texts_that_begin_alike_stay_apart():
    """Ids of 5,000 characters that differ at their end have different names."""
    first, second = shorten("x" * 5000, 250), shorten("x" * 4999 + "y", 250)
    assert first != second
    assert len(first) == len(second) == 250
    assert first.startswith("x" * 200)


@given(st.text(st.characters(), max_size=20))
def test_what_utf8_cannot_hold_is_replaced(text):
    """NUL and lone surrogates go; the rest stays."""
    found = clean(text)
    found.encode("utf-8")
    assert "\0" not in found
    assert json.loads(json.dumps(found)) == found
    assert clean("a\0b\ud800") == "a\ufffdb?"
