"""Finding one entity's account, and what was logged of it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import failed_result, ok_result

from daskcast.errors import ConfigError, StoreError
from daskcast.records import Failure, Scores, Status
from daskcast.store import RunFolder
from daskcast.store.query import near_ids


def record(entity: str = "", level: str = "INFO", message: str = "m") -> dict[str, Any]:
    return {"time": "t", "level": level, "entity": entity, "message": message}


def test_the_account_of_an_entity(folder: RunFolder) -> None:
    """All tables and the log give one view."""
    folder.write_batch("b0", [ok_result("EWR")], [record("EWR")])
    folder.write_batch("b1", [ok_result("JFK"), failed_result()], [record("LGA"), record("JFK")])
    view = folder.entity("JFK")
    assert (view.unique_id, view.status, view.batch) == ("JFK", Status.OK, "b1")
    assert (view.model, view.n_obs, view.attempt) == ("ETS(M,A,M)", 115, 1)
    assert view.blend == (("ETS(M,A,M)", 0.75), ("ETS(A,N,N)", 0.25))
    assert view.scores == Scores(3, 0.5, 0.6, 0.7, 8.0, 1.0, 0.4)
    assert (view.checks, view.stopped_by, view.failure) == ({"finite": True}, "trials", None)
    assert [row["daskcast"] for row in view.forecasts] == [1.0, 2.0, 3.0]
    assert [row["params"] for row in view.trials] == [
        {"trend": "N", "phi": 0.9},
        {"trend": "A", "phi": 0.8},
    ]
    assert view.logs == (record("JFK"),)


def test_the_account_of_a_failure(folder: RunFolder) -> None:
    """A failed entity has its reason, its traceback and no forecast."""
    folder.write_batch("b1", [failed_result("LGA")])
    view = folder.entity("LGA")
    assert view.status is Status.FAILED
    assert view.failure == Failure("TooShort", "expected 3 observations, found 1", "Traceback ...")
    assert (view.model, view.blend, view.forecasts, view.trials) == ("", (), (), ())
    assert math.isnan(view.scores.cv_mase)


def test_weights_of_one_form_add_up(folder: RunFolder) -> None:
    """Several points of a form in the blend are one share of that form."""
    forms = [("A", 0.4), ("B", 0.45), ("A", 0.15), ("C", 0.0)]
    params = {"forms": [{"form": form, "weight": weight} for form, weight in forms]}
    folder.write_batch("b1", [ok_result("JFK", params=params)])
    assert dict(folder.entity("JFK").blend) == pytest.approx({"A": 0.55, "B": 0.45})
    assert [form for form, _ in folder.entity("JFK").blend] == ["A", "B"]


def test_the_blend_of_trials(folder: RunFolder) -> None:
    """Where the parameters tell no forms, the weights of the trials do."""
    folder.write_batch("b1", [ok_result("JFK", params={})])
    assert folder.entity("JFK").blend == (("ETS(M,A,M)", 0.75), ("ETS(A,N,N)", 0.25))


def test_the_last_attempt_is_shown(folder: RunFolder) -> None:
    """Of an entity that was done again the later attempt counts."""
    folder.write_batch("b1", [failed_result("JFK"), ok_result("LGA")])
    folder.amend_batch("b1", [ok_result("JFK", attempt=2)])
    assert (folder.entity("JFK").status, folder.entity("JFK").attempt) == (Status.OK, 2)


@pytest.mark.parametrize("asked", ["jfk", " JFK", "JFKK"])
def test_a_missing_id_names_near_ones(folder: RunFolder, asked: str) -> None:
    """Ids are looked up exactly; one that someone may have meant is named."""
    folder.write_batch("b1", [ok_result("JFK"), ok_result("Reykjavik")])
    with pytest.raises(StoreError, match=r"no entity .*; near it are 'JFK'$"):
        folder.entity(asked)


def test_a_missing_id_without_near_ones(folder: RunFolder) -> None:
    """Where nothing is near, the number of entities is told; a long id is cut."""
    folder.write_batch("b1", [ok_result("JFK")])
    with pytest.raises(StoreError, match=r"no entity 'z{80}' \(5000 characters\); it has 1 ent"):
        folder.entity("z" * 5_000)


def test_near_ids_are_few_and_cheap() -> None:
    """Long ids and many of them are compared in bounded time, and at most five are given."""
    ids = [f"{'a' * 5_000}{k}" for k in range(100)] + [f"KJF{k}" for k in range(50_000)]
    assert len(near_ids("KJF", ids)) <= 5
    assert near_ids("kjf49999", ids) == ["KJF49999"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=8), unique=True, max_size=8), st.text(max_size=8))
def test_near_ids_are_ids(ids: list[str], asked: str) -> None:
    """What is offered exists, and the id itself comes when it is there."""
    near = near_ids(asked, ids)
    assert set(near) <= set(ids)
    assert len(near) <= 5
    assert asked not in ids or near


# -- logs --------------------------------------------------------------------------------------


def test_logs_by_entity_and_level(folder: RunFolder) -> None:
    """Records of all batches and of the run itself, filtered by exact id and lowest level."""
    odd = 'a"b\\c\n\u2028é'
    folder.write_batch("b1", [ok_result("1")], [record(odd), record("1", "WARNING")])
    folder.write_batch("b2", [ok_result("2")], [record(odd, "ERROR"), record("10", "CRITICAL")])
    folder.write_logs("driver", [record(message=f"about {odd}"), record(level="DEBUG")])
    assert len(list(folder.read_logs())) == 6
    assert [r["level"] for r in folder.read_logs(odd)] == ["INFO", "ERROR"]
    assert list(folder.read_logs("1")) == [record("1", "WARNING")]
    assert [r["level"] for r in folder.read_logs(level="warning")] == [
        *("WARNING", "ERROR"),
        "CRITICAL",
    ]
    assert list(folder.read_logs(odd, "CRITICAL")) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=4))
def test_logs_are_in_the_order_of_time(files: list[list[int]]) -> None:
    """What processes wrote side by side is one account; records of one instant keep their order."""
    folder = RunFolder("memory://times/run", (80,))
    for name in folder.files.names("logs"):
        folder.files.remove(f"logs/{name}")
    written = []
    for number, seconds in enumerate(files):
        records = [record("E", message=f"{number} {k}") for k in range(len(seconds))]
        for one, second in zip(records, seconds, strict=True):
            one["time"] = f"2026-01-01T00:00:0{second}.000000+00:00"
        folder.write_logs(f"p{number}", records)
        written += records
    assert list(folder.read_logs()) == sorted(written, key=lambda one: one["time"])
    assert list(folder.read_logs("E")) == list(folder.read_logs())


def test_unknown_level(folder: RunFolder) -> None:
    """A level that does not exist is refused at once, before the first record."""
    with pytest.raises(ConfigError, match="level must be one of DEBUG, INFO"):
        folder.read_logs(level="LOUD")


def test_a_log_of_a_name_is_replaced(folder: RunFolder) -> None:
    """The log of the run is what was written last under its name."""
    folder.write_logs("driver", [record(message="old")])
    folder.write_logs("driver", [record(message="new")])
    assert [r["message"] for r in folder.read_logs()] == ["new"]


def test_damaged_lines_are_left_out(folder: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    """A line cut short costs that line, and is said."""
    good = json.dumps(record("JFK"))
    lines = [good, good[:-3], "[1]", '{"level": 3}', good]
    folder.files.write("logs/part-b1.jsonl", "\n".join(lines).encode())
    assert len(list(folder.read_logs())) == 2
    assert caplog.text.count("logs/part-b1.jsonl is damaged") == 3


@settings(max_examples=30, deadline=None)
@given(
    entities=st.lists(st.text(max_size=10), max_size=6), messages=st.lists(st.text(), max_size=6)
)
def test_any_text_is_one_line(entities: list[str], messages: list[str]) -> None:
    """Whatever ids and messages hold, each record is read back as it was."""
    folder = RunFolder("memory://lines/run", (80,))
    records = [record(e, message=m) for e, m in zip(entities, messages, strict=False)]
    folder.write_logs("any", records)
    assert list(folder.read_logs()) == records
    for entity in entities:
        mine = [r for r in records if r["entity"] == entity]
        assert list(folder.read_logs(entity)) == mine
