"""Aliases old and new, seasons, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from daskcast.panel.frequency import Kind, mismatch, parse, season_length

MONTHLY = ["M", "ME", "MS", "BM", "BME", "BMS", " MS "]


@pytest.mark.parametrize("freq", MONTHLY)
def test_all_ways_to_say_monthly_are_one(freq) -> None:
    """The day in the month comes from the data, so the aliases of months do not differ."""
    assert parse(freq) == parse("M")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Q", "QE"), ("QS-FEB", "QE-OCT"), ("BQ", "QS"), ("A", "YE"), ("AS-JUL", "YS"),
        ("Y", "YE-DEC"), ("W", "W-WED"), ("H", "h"), ("2H", "2h"), ("T", "min"), ("15T", "15min"),
        ("S", "s"), ("L", "ms"), ("60min", "h"), ("24h", "1440min"), ("12M", "Y"), ("3MS", "Q"),
    ],
)  # fmt: skip
def test_old_aliases_mean_what_the_new_ones_do(old, new) -> None:
    """Aliases of any pandas are read, and equal steps are equal."""
    assert parse(old) is not None
    assert parse(old) == parse(new)


@pytest.mark.parametrize(
    "freq",
    [
        *["", "X", "m", "0D", "-1D", "1.5h", "W-FOO", "D-MON", "QS-SUN", "MS-JAN", "0", "h2", "N"],
        "99999999999999h",
    ],
)
def test_nonsense_is_no_frequency(freq) -> None:
    """What is no alias is not guessed at."""
    assert parse(freq) is None


@pytest.mark.parametrize(
    ("freq", "season"),
    [
        ("M", 12), ("2M", 6), ("5M", 1), ("Q", 4), ("6M", 2), ("Y", 1), ("2Y", 1), ("W", 52),
        ("2W", 26), ("4W", 13), ("3W", 1), ("D", 7), ("2D", 1), ("7D", 52), ("B", 5), ("2B", 1),
        ("h", 24), ("2h", 12), ("30min", 48), ("15min", 96), ("min", 1440), ("s", 3600),
        ("7h", 1), ("ms", 1), ("1", 1), ("12", 1),
    ],
)  # fmt: skip
def test_season_is_a_whole_cycle_or_none(freq, season) -> None:
    """Seasons follow the usual cycle of a frequency where its steps divide it."""
    step = parse(freq)
    assert step is not None
    assert season_length(step) == season


@pytest.mark.parametrize(
    ("freq", "dtype", "word"),
    [
        ("fortnight", "M8[us]", "no frequency"),
        ("MS", "i8", "whole numbers"),
        ("7", "M8[us]", "holds dates"),
    ],
)
def test_frequency_must_fit_the_times(freq, dtype, word) -> None:
    """A step of an index does not fit dates, nor the other way round."""
    [problem] = mismatch(freq, np.dtype(dtype), "ds")
    assert word in problem


@pytest.mark.parametrize(("freq", "dtype"), [(None, "i8"), ("MS", "M8[us]"), ("7", "i8")])
def test_fitting_frequency_is_no_problem(freq, dtype) -> None:
    """What fits is let through."""
    assert mismatch(freq, np.dtype(dtype), "ds") == []


def test_whole_numbers_are_steps_of_an_index() -> None:
    """A whole number as text is a step of an index."""
    step = parse("10")
    assert step is not None
    assert (step.kind, step.size) == (Kind.WHOLE, 10)
