"""The parent run: params and tags at its start, aggregates at its end."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskcast.config import ForecastConfig
from daskcast.tracking import Aggregates, parent_run
from daskcast.tracking.parent import tag_problems

STATUSES = st.sampled_from(["ok", "fallback", "failed"])
SCORES = st.one_of(st.none(), st.floats(0, 1e6))


def test_the_config_becomes_params():
    """Each option is a param, lists as JSON."""
    config = ForecastConfig(h=12, level=(80, 95))
    run = parent_run(config, name="r", start_ms=1, fingerprint="abc")
    assert set(run.params) == set(config.to_dict())
    assert (run.params["h"], run.params["level"], run.params["freq"]) == ("12", "[80, 95]", "null")
    assert run.tags["daskcast.kind"] == "run"
    assert run.tags["daskcast.config_hash"] == config.hash
    assert run.tags["daskcast.data_fingerprint"] == "abc"
    assert run.tags["daskcast.version"]


def test_long_options_fit():
    """A column name of any length is a param within the limits."""
    run = parent_run(ForecastConfig(h=1, id_col="x" * 9000), name="n" * 900, start_ms=1)
    assert len(run.params["id_col"]) == 6000
    assert len(run.name) == 250


def test_the_users_tags_are_there_without_credentials():
    """Tags of the user's go along; a password in one does not."""
    tags = {"team": "network", "source": "https://ann:s3cret@git.example/repo"}
    run = parent_run(ForecastConfig(h=1), name="r", start_ms=1, tags=tags)
    assert run.tags["team"] == "network"
    assert run.tags["source"] == "https://git.example/repo"


@pytest.mark.parametrize("key", ["daskcast.kind", "mlflow.parentRunId", "a(b)", "x" * 251, ""])
def test_tags_that_cannot_be_set_are_named(key):
    """Names that are ours, or that MLflow refuses, are problems of usage."""
    assert len(tag_problems({key: "v", "fine": "w"})) == 1


def test_tag_values_that_are_too_long_are_named():
    """A value that would be cut is a problem of usage."""
    assert "6000 characters" in tag_problems({"note": "x" * 6000})[0]


@given(st.lists(st.lists(st.tuples(STATUSES, SCORES), max_size=8), max_size=5))
def test_aggregates_are_those_of_all_batches_together(batches):
    """Batch by batch gives the counts and means of the whole, and how many they stand on."""
    found = Aggregates()
    for batch in batches:
        found.add(
            pa.table(
                {
                    "status": pa.array([status for status, _ in batch], pa.string()),
                    "cv_mase": pa.array([score for _, score in batch], pa.float64()),
                }
            )
        )
    metrics = found.metrics()
    rows = [row for batch in batches for row in batch]
    scores = [score for _, score in rows if score is not None]
    assert metrics["n_entities"] == len(rows)
    for status in ("ok", "fallback", "failed"):
        assert metrics[f"n_{status}"] == sum(found == status for found, _ in rows)
    assert metrics.get("n_cv_mase", 0) == len(scores)
    assert ("mean_cv_mase" in metrics) == bool(scores)
    if scores:
        assert metrics["mean_cv_mase"] == pytest.approx(np.mean(scores))
        assert metrics["median_cv_mase"] == pytest.approx(np.median(scores))
