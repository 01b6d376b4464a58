"""Dates as whole numbers: months, days and weekdays since 1970, and the way back.

Covers arithmetic on arrays of dates, and the day in the month on which a user writes months. Does
not cover which step an entity has (``infer``).

Shapes: N rows, E entities, H steps of the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from daskcast.panel.frequency import DAY, DAYS_A_WEEK, WEEKDAYS

if TYPE_CHECKING:
    from daskcast.panel.rows import Ints

_THURSDAY = 3  # 1970-01-01, counted from Monday as 0
_FRIDAY = 4
_LAST_SURE_DAY = 28
_LAST_DAY = 31


@dataclass(frozen=True, slots=True)
class Dates:
    """The parts of each time, every array of shape [N].

    Parameters
    ----------
    ticks : ndarray of int64
        Microseconds since 1970.
    days : ndarray of int64
        Days since 1970.
    months : ndarray of int64
        Months since 1970.
    day : ndarray of int64
        Day in the month, from 1.
    """

    ticks: Ints
    days: Ints
    months: Ints
    day: Ints

    @classmethod
    def of(cls, ticks: Ints) -> Dates:
        """Take times apart, given in microseconds since 1970."""
        days = ticks // DAY
        months = days.view("M8[D]").astype("M8[M]")
        first = months.astype("M8[D]").view(np.int64)
        return cls(ticks, days, months.view(np.int64), days - first + 1)

    def part(self, rows: slice) -> Dates:
        """Give the parts of some rows."""
        return Dates(self.ticks[rows], self.days[rows], self.months[rows], self.day[rows])


@dataclass(frozen=True, slots=True)
class MonthDay:
    """On which day of its month a user writes a month.

    Parameters
    ----------
    day : int
        1 to 31; in a shorter month its last day.
    form : str
        ``S`` start or a day between, ``E`` end, ``BS`` and ``BE`` first and last weekday.
    """

    day: int = 1
    form: str = "S"


START, END = MonthDay(1, "S"), MonthDay(_LAST_DAY, "E")
FIRST_WEEKDAY, LAST_WEEKDAY = MonthDay(1, "BS"), MonthDay(_LAST_DAY, "BE")


def month_day(dates: Dates) -> MonthDay:
    """Find the day of the month that the dates of one entity share.

    A rule that all dates keep comes first; else the one that most of them keep; else the middle
    of the days that occur.
    """
    low, high = int(dates.day.min()), int(dates.day.max())
    if low == high < _LAST_SURE_DAY:
        return MonthDay(high)
    rules = (START, END, MonthDay(high), FIRST_WEEKDAY, LAST_WEEKDAY)
    shares = [np.mean(write_months(dates.months, rule) == dates.days) for rule in rules]
    best = int(np.argmax(shares))
    if shares[best] > 1 / 2:
        return rules[best]
    return MonthDay(int(np.sort(dates.day)[len(dates.day) // 2]))


def write_months(months: Ints, rule: MonthDay) -> Ints:
    """Give the day since 1970 on which each month is written; any shape."""
    first = months.view("M8[M]").astype("M8[D]").view(np.int64)
    following = (months + 1).view("M8[M]").astype("M8[D]").view(np.int64)
    days = np.minimum(first + rule.day, following) - 1
    if rule.form == "BS":
        return days + np.where(weekday(days) > _FRIDAY, DAYS_A_WEEK - weekday(days), 0)
    if rule.form == "BE":
        return days - np.maximum(weekday(days) - _FRIDAY, 0)
    return days


def weekday(days: Ints) -> Ints:
    """Day of the week of days since 1970: 0 for Monday to 6; any shape."""
    return (days + _THURSDAY) % DAYS_A_WEEK


def weekday_number(days: Ints) -> Ints:
    """Count weekdays only, from the Monday before 1970; of a Saturday or Sunday, the Friday's."""
    return (days + _THURSDAY) // DAYS_A_WEEK * WEEKDAYS + np.minimum(weekday(days), _FRIDAY)


def weekday_date(numbers: Ints) -> Ints:
    """Turn counted weekdays back into days since 1970; any shape."""
    return numbers // WEEKDAYS * DAYS_A_WEEK + numbers % WEEKDAYS - _THURSDAY
