"""Tests of daskcast.cli.telling: what is said of one entity."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from daskcast.cli.telling import entity_text
from daskcast.records import Failure, Scores, Status
from daskcast.store import EntityView

VIEW = EntityView(
    unique_id="JFK",
    status=Status.OK,
    model="A",
    blend=(("A", 0.75), ("B", 0.25)),
    params={},
    n_obs=144,
    scores=Scores(3, 0.5, 0.6, 0.7, 8.0, 1.0, 0.4),
    checks={
        "beats_seasonal_naive": True,
        "missing": 0,
        "repairs": [],
        "reproducible": True,
        "scale_defined": True,
        "trials": {"ask": 12, "design": 12},
        "windows": "3 of 3",
    },
    stopped_by="trials",
    failure=None,
    seconds=0.01,
    attempt=1,
    batch="b00001",
    forecasts=(),
    trials=({},) * 24,
    logs=(),
)
NAN = float("nan")


def checks(**found: Any) -> list[str]:
    lines = entity_text(replace(VIEW, checks=found)).splitlines()
    return [line[14:] for line in lines if line.startswith("check ")]


def forecasts(*times: object) -> tuple[dict[str, Any], ...]:
    return tuple({"unique_id": "JFK", "ds": t, "cutoff": t, "daskcast": 1.0} for t in times)


def test_what_is_as_it_should_be_is_not_told() -> None:
    """Checks that found nothing to say take no line."""
    lines = [line for line in entity_text(VIEW).splitlines() if line.startswith("check")]
    assert lines == ["check         better than seasonal naive on the windows"]
    assert checks(beats_seasonal_naive=None, scale_defined=None, other={}) == []


def test_what_no_model_follows_is_told() -> None:
    """One line for each, with its facts."""
    told = "shock: 2020-03 to 2020-12"
    assert checks(not_modelled=[told]) == [told]
    assert checks(not_modelled=[]) == []
    [told] = checks(ljung_box=0.00027)
    assert told.startswith("a pattern is left in the residuals")
    assert told.endswith("p 0.00027)")
    assert checks(ljung_box=0.5)[0].startswith("no pattern is seen in the residuals")
    assert checks(ljung_box=None, left_out=0) == []
    assert checks(left_out=2) == ["forms left out, as they do not fit or leave the past too far: 2"]
    assert checks(non_negative="so") == ["not below zero: so"]


def test_checks_are_sentences() -> None:
    """Each check that found something is a line of words; one that is unknown here is told raw."""
    told = checks(
        beats_seasonal_naive=False,
        missing=121,
        repairs=["joined 2 rows of 2020-01-01", "second"],
        reproducible=False,
        scale_defined=False,
        new=7,
    )
    assert told == [
        "not better than seasonal naive on the windows",
        "121 of 265 steps are missing (46 %)",
        "repaired: joined 2 rows of 2020-01-01",
        "repaired: second",
        "not reproducible: a time limit stopped the search",
        "the seasonal naive error is zero or unknown: no MASE on some windows",
        "new: 7",
    ]


def test_a_long_blend_is_cut() -> None:
    """Eight forms are named; the rest is one line with its number and weight."""
    blend = tuple((f"form {i}", 0.1) for i in range(10))
    lines = [line for line in entity_text(replace(VIEW, blend=blend)).splitlines() if "0." in line]
    assert "   0.200  and 2 more" in lines
    assert sum("form" in line for line in lines) == 8
    nine = entity_text(replace(VIEW, blend=blend[:8]))
    assert "more" not in nine


def test_no_scores_with_the_reason() -> None:
    """Without a window the reason stands where the scores would; nothing is said of a search."""
    failure = Failure("Constant", "only zeros")
    view = replace(
        VIEW,
        status=Status.FALLBACK,
        scores=Scores(),
        checks={"windows": "none: nothing was tuned"},
        failure=failure,
        trials=(),
        stopped_by="",
    )
    text = entity_text(view)
    assert "no scores:    nothing was tuned" in text
    assert "MASE" not in text
    assert "search" not in text
    assert "stopped by" not in text


@pytest.mark.parametrize(("mase", "told"), [(NAN, "windows: RMSSE"), (0.6, "windows: MASE 0.600")])
def test_undefined_scores_are_left_out(mase: float, told: str) -> None:
    """A score that is not defined takes no part in the line."""
    assert told in entity_text(replace(VIEW, scores=replace(VIEW.scores, cv_mase=mase)))


def test_midnights_are_dates() -> None:
    """Days are told as days; as soon as one time has an hour, all have."""
    days = (datetime(2026, 1, 1), datetime(2026, 2, 1))  # noqa: DTZ001 - as the table gives them
    assert ":" not in entity_text(replace(VIEW, forecasts=forecasts(*days))).rpartition("time")[2]
    hours = (*days, datetime(2026, 2, 1, 6))  # noqa: DTZ001
    assert "2026-01-01 00:00:00" in entity_text(replace(VIEW, forecasts=forecasts(*hours)))
    assert "100  " in entity_text(replace(VIEW, forecasts=forecasts(100)))
