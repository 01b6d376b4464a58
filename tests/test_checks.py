"""What is verified and noted of each entity."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from daskcast import checks
from daskcast.records import Scores, Series


def series(y=(1.0, math.nan, 3.0, math.nan), **other):
    """Give an entity."""
    return Series("JFK", np.array(y), 3, np.arange(4, 16), "1", 12, **other)


def checked(one=None, scores=None, **other):
    """Check an entity that is in order but for what is given."""
    options = {
        "wanted_windows": 3,
        "needed": 25,
        "scaled": True,
        "stopped_by": "trials",
        **other,
    }
    return checks.check_entity(one or series(), scores or Scores(n_windows=3, skill=0.1), **options)


def test_names_are_fixed_and_json_takes_them():
    """Names are those that other people's scripts read; values are JSON's own."""
    found = checked()
    assert sorted(found) == [
        "beats_seasonal_naive", "missing", "repairs", "reproducible", "scale_defined", "windows",
    ]  # fmt: skip
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(("skill", "expected"), [(0.1, True), (-0.1, False), (0.0, False)])
def test_skill_beats_the_baseline(skill, expected):
    """A skill above zero beats the seasonal naive forecast."""
    assert checked(scores=Scores(3, skill=skill))["beats_seasonal_naive"] is expected


def test_without_a_skill_nobody_knows():
    """An unknown skill is null, not a defeat."""
    assert checked(scores=Scores(3))["beats_seasonal_naive"] is None


def test_missing_and_repairs_are_told():
    """Missing observations are counted, repairs listed as they were noted."""
    assert checked()["missing"] == 2
    assert checked(series((1.0, 2.0)))["missing"] == 0
    assert checked(series(repairs=("2 duplicates summed",)))["repairs"] == ["2 duplicates summed"]


@pytest.mark.parametrize(
    ("stopped_by", "expected"), [("trials", True), ("exhausted", True), ("", True), ("time", False)]
)
def test_a_time_limit_is_not_reproducible(stopped_by, expected):
    """Only an entity stopped by time is marked."""
    assert checked(stopped_by=stopped_by)["reproducible"] is expected


@pytest.mark.parametrize(
    ("n_windows", "scaled", "expected"), [(3, True, True), (1, False, False), (0, False, None)]
)
def test_a_scale_is_known_where_there_are_windows(n_windows, scaled, expected):
    """Without a window it is not known whether the scale is defined."""
    found = checked(scores=Scores(n_windows), scaled=scaled)["scale_defined"]
    assert found is expected


def test_windows_are_counted_against_those_wanted():
    """How many windows there were, of how many; with none, why."""
    assert checked()["windows"] == "3 of 3"
    assert checked(scores=Scores(1))["windows"] == "1 of 3"
    assert checked(scores=Scores(0), wanted_windows=0)["windows"] == "none wanted"
    assert checked(scores=Scores(0), needed=None)["windows"] == "none: nothing was tuned"
    reason = checked(scores=Scores(0))["windows"]
    assert reason.startswith("none")
    for number in ("25", "12", "4"):
        assert number in reason


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_one_wrong_step_is_enough(wrong):
    """A forecast is finite only if each step is."""
    assert checks.finite(np.array([1.0, 2.0]))
    assert not checks.finite(np.array([1.0, wrong]))
