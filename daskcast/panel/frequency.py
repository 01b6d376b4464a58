"""Frequencies: what a user may write, what they are called, how many steps make a season.

Covers the step between two times as a kind and a size. Does not cover finding the step of an
entity from its dates (``infer``) or dates of the calendar (``dates``).

pandas is not asked: its aliases changed between versions, with warnings; here ``M``, ``ME`` and
``MS`` all mean monthly, because the day in the month is taken from the user's own dates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

MICROSECOND, MILLISECOND, SECOND = 1, 1_000, 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND
MONTHS_A_YEAR, MONTHS_A_QUARTER = 12, 3
DAYS_A_WEEK, WEEKDAYS = 7, 5
WEEKS_A_YEAR = 52


class Kind(IntEnum):
    """What a step is counted in."""

    MONTHS = 0
    DAYS = 1
    WEEKDAYS = 2
    TICKS = 3  # microseconds
    WHOLE = 4  # an index of whole numbers


@dataclass(frozen=True, slots=True)
class Step:
    """The time from one observation to the next.

    Parameters
    ----------
    kind : Kind
    size : int
        Months, days, weekdays, microseconds or units of the index; at least 1.
    """

    kind: Kind
    size: int


_UNITS: dict[str, Step] = {
    **dict.fromkeys(("M", "ME", "MS", "BM", "BME", "BMS"), Step(Kind.MONTHS, 1)),
    **dict.fromkeys(("Q", "QE", "QS", "BQ", "BQE", "BQS", "q"), Step(Kind.MONTHS, 3)),
    **dict.fromkeys(
        ("Y", "YE", "YS", "BY", "BYE", "BYS", "A", "AS", "BA", "BAS", "y"), Step(Kind.MONTHS, 12)
    ),
    **dict.fromkeys(("W", "w"), Step(Kind.DAYS, DAYS_A_WEEK)),
    **dict.fromkeys(("D", "d"), Step(Kind.DAYS, 1)),
    **dict.fromkeys(("B", "b"), Step(Kind.WEEKDAYS, 1)),
    **dict.fromkeys(("h", "H"), Step(Kind.TICKS, HOUR)),
    **dict.fromkeys(("min", "T"), Step(Kind.TICKS, MINUTE)),
    **dict.fromkeys(("s", "S"), Step(Kind.TICKS, SECOND)),
    **dict.fromkeys(("ms", "L"), Step(Kind.TICKS, MILLISECOND)),
    **dict.fromkeys(("us", "U"), Step(Kind.TICKS, MICROSECOND)),
}
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAY_NAMES = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_ANCHORS = {"Q": _MONTH_NAMES, "Y": _MONTH_NAMES, "A": _MONTH_NAMES, "W": _DAY_NAMES}
_ALIAS = re.compile(r"(\d*)([A-Za-z]+)(?:-([A-Za-z]{3}))?")
_LARGEST = 10**18
_WHOLE = re.compile(r"0*[1-9]\d{0,17}")
_TICKS = (("h", HOUR), ("min", MINUTE), ("s", SECOND), ("ms", MILLISECOND), ("us", MICROSECOND))
_HELP = "expected M, Q, Y, W, D, B, h, min or s, with a multiple where needed (15min, 2h)"


def parse(freq: str) -> Step | None:
    """Read a frequency as the user writes it.

    Parameters
    ----------
    freq : str
        A pandas alias, old or new, or a whole number. An anchor (``W-SUN``, ``QS-FEB``) is read
        and dropped: the anchor comes from the dates themselves.

    Returns
    -------
    Step or None
        None where it is no frequency.

    Examples
    --------
    >>> parse("2h").size == 2 * parse("h").size
    True
    >>> parse("ME") == parse("MS") == parse("M")
    True
    >>> parse("fortnight") is None
    True
    """
    text = freq.strip()
    if _WHOLE.fullmatch(text):
        return Step(Kind.WHOLE, int(text))
    found = _ALIAS.fullmatch(text)
    if found is None or found[2] not in _UNITS:
        return None
    times, unit, anchor = found.groups()
    if anchor and anchor.upper() not in _ANCHORS.get(unit.upper().removeprefix("B")[:1], ()):
        return None
    step = _UNITS[unit]
    size = step.size * int(times or 1)
    return Step(step.kind, size) if 0 < size <= _LARGEST else None


def mismatch(freq: str | None, dtype: np.dtype[Any], name: str) -> list[str]:
    """Say where a frequency is none, or does not fit the type of the time column.

    Parameters
    ----------
    freq : str or None
    dtype : numpy.dtype
        Of the times: ``datetime64`` or ``int64``.
    name : str
        Of the time column.
    """
    if freq is None:
        return []
    step = parse(freq)
    if step is None:
        return [f"freq {freq!r} is no frequency; {_HELP}, or a whole number for whole times"]
    if dtype.kind == "i" and step.kind is not Kind.WHOLE:
        return [
            f"freq is {freq!r}, but column {name!r} holds whole numbers; give the step as a whole "
            "number (such as 1), or write dates in the column"
        ]
    if dtype.kind == "M" and step.kind is Kind.WHOLE:
        return [f"freq is the whole number {freq}, but column {name!r} holds dates; {_HELP}"]
    return []


def season_length(step: Step) -> int:
    """Count the steps in a season: a year for months and weeks, a week for days, a day for hours.

    Examples
    --------
    >>> [season_length(parse(freq)) for freq in ("M", "Q", "Y", "W", "D", "B", "h", "15min")]
    [12, 4, 1, 52, 7, 5, 24, 96]
    """
    if step.kind is Kind.MONTHS:
        return _fit(MONTHS_A_YEAR, step.size)
    if step.kind is Kind.DAYS:
        if step.size % DAYS_A_WEEK == 0:
            return _fit(WEEKS_A_YEAR, step.size // DAYS_A_WEEK)
        return _fit(DAYS_A_WEEK, step.size)
    if step.kind is Kind.WEEKDAYS:
        return _fit(WEEKDAYS, step.size)
    if step.kind is Kind.TICKS and step.size >= SECOND:
        return _fit(DAY if step.size >= MINUTE else HOUR, step.size)
    return 1


def _fit(cycle: int, step: int) -> int:
    return cycle // step if cycle % step == 0 else 1


def tick_alias(size: int) -> str:
    """Name a step of some microseconds, such as ``15min``."""
    name, unit = next((name, unit) for name, unit in _TICKS if size % unit == 0)
    return _times(size // unit) + name


def day_alias(size: int, weekday: int) -> str:
    """Name a step of some days, such as ``W-SUN``; ``weekday`` counts from Monday as 0."""
    if size % DAYS_A_WEEK == 0:
        return f"{_times(size // DAYS_A_WEEK)}W-{_DAY_NAMES[weekday]}"
    return f"{_times(size)}D"


def weekday_alias(size: int) -> str:
    """Name a step of some weekdays."""
    return f"{_times(size)}B"


def month_alias(size: int, month: int, form: str) -> str:
    """Name a step of some months, such as ``QE-DEC``.

    Parameters
    ----------
    size : int
        Months in a step.
    month : int
        Of any of the dates, from 0 for January.
    form : str
        ``S`` or ``E`` for the start or end of the month, after ``B`` where weekdays count.
        A day between is named as a start: pandas has no alias for it.
    """
    business, edge = form[:-1], form[-1]
    if size % MONTHS_A_YEAR == 0:
        anchor = _MONTH_NAMES[month]
        return f"{_times(size // MONTHS_A_YEAR)}{business}Y{edge}-{anchor}"
    if size == MONTHS_A_QUARTER:
        last = {"S": 0, "E": 9}[edge]  # QS-JAN starts in January, QE-DEC ends in December
        return f"{business}Q{edge}-{_MONTH_NAMES[month % MONTHS_A_QUARTER + last]}"
    return f"{_times(size)}{business}M{edge}"


def _times(count: int) -> str:
    return "" if count == 1 else str(count)
