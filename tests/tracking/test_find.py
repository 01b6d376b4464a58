"""Questions to the tracking store, and the runs that answer them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daskcast.errors import ConfigError, TrackingError
from daskcast.testing.trackers import AWKWARD_IDS, START_MS, child_of, parent_of
from daskcast.tracking import MetricPoint, find_runs

# MLflow 3.17 asks SQLAlchemy 2.1 for a loader strategy that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

DAY_MS = 86_400_000


def kept(parent, entity, status="ok", model="ETS(A,N)", skill=0.2, *, attempt=1, day=0):
    """Give the child of an entity as a run leaves it; one without a score has none."""
    child = child_of(parent, entity, attempt=attempt)
    tags = {
        "daskcast.kind": "entity",
        "daskcast.status": status,
        "daskcast.model": model,
        "daskcast.attempt": str(attempt),
    }
    metrics = () if skill is None else (MetricPoint("skill", skill), MetricPoint("cv_mase", 0.5))
    return dataclasses.replace(
        child,
        tags={**child.tags, **tags},
        metrics=metrics,
        start_after_ms=day * DAY_MS,
        params={"alpha": "0.5"},
    )


@pytest.fixture
def asked(sqlite_store):
    """Give a function that asks, and a store with two runs of some airports."""
    first, second = sqlite_store.open(), sqlite_store.open()
    a, b = first.start(parent_of("a")), second.start(parent_of("b"))
    first.log_children(
        [
            kept(a, "JFK"),
            kept(a, "LGA", "failed", "", None),
            kept(a, "EWR", "fallback", "SeasonalNaive", None),
            *(kept(a, name, model="Theta") for name in AWKWARD_IDS),
        ]
    )
    second.log_children(
        [
            kept(b, "JFK", model="Theta", skill=-0.5, day=31),
            kept(b, "LGA", model="ETS(M,A)", day=31),
        ]
    )

    def ask(**question):
        return find_runs(
            tracking_uri=sqlite_store.uri, experiment=sqlite_store.experiment, **question
        )

    ask.parents = a, b
    ask.store = sqlite_store
    return ask


def test_one_entity_in_all_runs_the_latest_first(asked):
    """How its model and its scores changed over runs."""
    found = asked(entity="JFK")
    assert found["model"].tolist() == ["Theta", "ETS(A,N)"]
    assert found["skill"].tolist() == [-0.5, 0.2]
    assert found["parent_id"].tolist() == list(reversed(asked.parents))
    assert found["start"].iloc[1] == pd.Timestamp(START_MS, unit="ms", tz="UTC")
    assert found["seconds"].tolist() == [0.03, 0.03]
    assert found["params.alpha"].tolist() == ["0.5", "0.5"]


def test_what_is_asked_is_what_is_found(asked):
    """Status, model, run, time and a filter of MLflow's, each and together."""
    assert asked(status="failed")["entity"].tolist() == ["LGA"]
    assert sorted(asked(status=["failed", "fallback"])["entity"]) == ["EWR", "LGA"]
    assert sorted(asked(model="ETS*")["entity"]) == ["JFK", "LGA"]
    assert sorted(asked(model="ETS(M,A)")["entity"]) == ["LGA"]
    assert sorted(asked(run=asked.parents[1])["entity"]) == ["JFK", "LGA"]
    assert sorted(asked(since="2023-12-01")["entity"]) == ["JFK", "LGA"]
    assert sorted(asked(since=pd.Timestamp("2023-12-15", tz="Asia/Tokyo"))["entity"]) == [
        "JFK", "LGA",
    ]  # fmt: skip
    assert asked(where="metrics.skill < 0")["entity"].tolist() == ["JFK"]
    assert asked(entity="JFK", model="ETS*", since="2023-12-01").empty
    assert len(asked()) == 5 + len(AWKWARD_IDS)
    assert len(asked(max_results=3)) == 3


def test_one_without_a_score_is_missing_not_zero(asked):
    """A failed entity has no score, and no filter of a score finds it."""
    found = asked(entity="LGA")
    assert pd.isna(found["skill"].iloc[1])
    lost = (
        asked(where="metrics.skill <= 0")["entity"].tolist()
        + asked(where="metrics.skill > 0")["entity"].tolist()
    )
    assert "EWR" not in lost


@pytest.mark.parametrize("entity", AWKWARD_IDS)
def test_ids_are_data(asked, entity):
    """An id is found, however it is spelled, and nothing else with it."""
    assert asked(entity=entity)["entity"].tolist() == [entity]


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.sampled_from("ab'\"`%_*\\ ;-"), min_size=1, max_size=8))
def test_any_id_is_asked_for_as_it_is(asked, entity):
    """Quotes, wildcards and the like neither break the question nor widen it."""
    assert asked(entity=entity).empty


def test_a_later_attempt_takes_the_place_of_the_first(asked):
    """Of an entity that was done again the last run counts, unless all are asked for."""
    again = asked.store.open()
    again.start(parent_of("a", run_id=asked.parents[0]))
    again.log_children([kept(asked.parents[0], "LGA", attempt=2, day=1)])
    of_run = {"entity": "LGA", "run": asked.parents[0]}
    assert asked(**of_run)["attempt"].tolist() == ["2"]
    assert asked(**of_run, superseded=True)["attempt"].tolist() == ["2", "1"]


def test_nothing_found_has_the_columns_all_the_same(asked):
    """An empty answer can be worked with like any other."""
    found = asked(entity="XXX")
    assert found.empty
    assert {"run_id", "start", "entity", "status", "model"} <= set(found.columns)


def test_what_cannot_be_asked_is_refused(asked, tmp_path):
    """Values that mean nothing are named; so are experiments and stores that are not there."""
    with pytest.raises(ConfigError, match="broken"):
        asked(status="broken")
    with pytest.raises(ConfigError, match="since must be a time"):
        asked(since="last month")
    with pytest.raises(ConfigError, match="kind must be one of"):
        asked(kind="airport")
    with pytest.raises(TrackingError, match="cannot search"):
        asked(where="skill is nice")
    with pytest.raises(TrackingError, match=r"no experiment .*there: 'test_what_cannot_be_asked"):
        find_runs(tracking_uri=asked.store.uri, experiment="nobody's")


# -- the questions of the documentation --------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "mlflow.md"
QUESTIONS = re.findall(r"^\| (.+\?) \| ``(.+)`` \|$", PAGE.read_text(encoding="utf-8"), re.M)
OLD = {"status": "ok", "model": "ETS(A,N)", "attempt": "1", "skill": 0.25, "cv_mase": 0.5,
       "seconds": 1.0}  # fmt: skip
#: Entities, with what is not as in ``OLD``; None has no such tag or metric.
ACCOUNTS = {
    "JFK": {},
    "LOST": {"skill": -0.5, "cv_mase": 1.5, "model": "Theta"},
    "NONE": {"status": "failed", "model": "", "skill": None, "cv_mase": None, "error_type": "Odd"},
    "SHORT": {"status": "fallback", "model": "Naive", "skill": None, "cv_mase": None,
              "error_type": "TooShort"},
    "SLOW": {"seconds": 99.0, "stopped_by": "time"},
    "AGAIN": {"attempt": "2"},
}  # fmt: skip
ANSWERS = [
    ["airports"],
    ["AGAIN", "JFK", "LOST", "NONE", "SHORT", "SLOW"],
    ["NONE"],
    ["SHORT"],
    ["SHORT"],
    ["LOST"],
    ["LOST"],
    ["JFK"],
    ["AGAIN", "JFK", "SLOW"],
    ["SLOW"],
    ["SLOW"],
    ["AGAIN"],
]


@pytest.fixture
def accounts(sqlite_store):
    """Give a client, an experiment and a parent whose children are told in ``ACCOUNTS``."""
    tracker = sqlite_store.open()
    parent = tracker.start(parent_of())
    children = []
    for entity, more in ACCOUNTS.items():
        told = {**OLD, **more}
        names = ("status", "model", "attempt", "error_type", "stopped_by")
        tags = {f"daskcast.{name}": told[name] for name in names if told.get(name) is not None}
        values = [(name, told[name]) for name in ("skill", "cv_mase", "seconds")]
        child = child_of(parent, entity)
        children.append(
            dataclasses.replace(
                child,
                tags={**child.tags, **tags, "daskcast.kind": "entity"},
                metrics=tuple(MetricPoint(n, value) for n, value in values if value is not None),
            )
        )
    assert tracker.log_children(children).sent == len(ACCOUNTS)
    return sqlite_store.client, tracker.info.experiment_id, parent


def test_the_page_has_twelve_questions():
    """All of them are asked below."""
    assert len(QUESTIONS) == len(ANSWERS) == 12


@pytest.mark.parametrize("number", range(12))
def test_each_question_of_the_page_has_its_answer(accounts, number):
    """The filter finds what the question asks for, among entities that have no score too."""
    client, experiment_id, parent = accounts
    query = QUESTIONS[number][1].replace("RUN_ID", parent)
    found = client.search_runs([experiment_id], query)
    assert sorted(run.info.run_name for run in found) == ANSWERS[number]
