"""The times to forecast, in the user's own way of writing them.

Covers names of frequencies, season lengths and future times of the entities of a batch, and the
times of their last steps. Does not cover finding their steps (``infer``).

Shapes: E entities, N rows, H steps of the horizon, P steps before the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from daskcast.panel import frequency
from daskcast.panel.dates import (
    END,
    Dates,
    MonthDay,
    month_day,
    weekday,
    weekday_date,
    write_months,
)
from daskcast.panel.frequency import DAY, MONTHS_A_YEAR, Kind, Step

if TYPE_CHECKING:
    from daskcast.panel.infer import Layout
    from daskcast.panel.rows import Ints
    from daskcast.records import Times


@dataclass(frozen=True, slots=True)
class Future:
    """What comes after the last row of each entity.

    Parameters
    ----------
    freqs : list of str, length E
    seasons : list of int, length E
    times : ndarray of datetime64[us] or int64, shape [E, H]
    past : ndarray of datetime64[us] or int64, shape [E, P]
        Of the last steps of the grid, the entity's last time included; where an entity is shorter,
        of steps before it too.
    """

    freqs: list[str]
    seasons: list[int]
    times: Times
    past: Times


def continue_times(layout: Layout, offsets: Ints, h: int, n_past: int = 0) -> Future:
    """Name the frequency of each entity and continue its times.

    Parameters
    ----------
    layout : Layout
    offsets : ndarray of int64, shape [E + 1]
    h : int
    n_past : int
        Steps before the end whose times are wanted.
    """
    last = offsets[1:] - 1
    ahead = layout.ordinals[last][:, None] + layout.sizes[:, None] * np.arange(1 - n_past, h + 1)
    kinds, sizes = layout.kinds.tolist(), np.maximum(layout.sizes, 1).tolist()
    steps = [Step(Kind(kind), size) for kind, size in zip(kinds, sizes, strict=True)]
    seasons = [frequency.season_length(step) for step in steps]
    if layout.dates is None:
        return Future([str(n) for n in sizes], seasons, ahead[:, n_past:], ahead[:, :n_past])
    dates = layout.dates
    rules = _month_days(dates, offsets, layout.kinds)
    days = dates.days[last]
    month = (dates.months[last] % MONTHS_A_YEAR).tolist()
    day = weekday(days).tolist()
    freqs = [_alias(*parts) for parts in zip(steps, month, day, rules, strict=True)]
    in_days = _days(ahead, layout.kinds, rules)
    of_day = (dates.ticks[last] - DAY * days)[:, None]
    is_ticks = (layout.kinds == Kind.TICKS)[:, None]
    ticks = np.where(is_ticks, ahead, in_days * DAY + of_day).view("M8[us]")
    return Future(freqs, seasons, ticks[:, n_past:], ticks[:, :n_past])


def _alias(step: Step, month: int, day: int, rule: MonthDay | None) -> str:
    if rule is not None:
        return frequency.month_alias(step.size, month, rule.form)
    if step.kind is Kind.DAYS:
        return frequency.day_alias(step.size, day)
    if step.kind is Kind.WEEKDAYS:
        return frequency.weekday_alias(step.size)
    return frequency.tick_alias(step.size)


def _month_days(dates: Dates, offsets: Ints, kinds: Ints) -> list[MonthDay | None]:
    """Find on which day each monthly entity writes its months, length E."""
    first = offsets[:-1]
    low, high = np.minimum.reduceat(dates.day, first), np.maximum.reduceat(dates.day, first)
    ends = np.logical_and.reduceat(write_months(dates.months, END) == dates.days, first)
    rules: list[MonthDay | None] = []
    for i, kind in enumerate(kinds.tolist()):
        if kind != Kind.MONTHS:
            rules.append(None)
        elif ends[i]:
            rules.append(END)
        elif low[i] == high[i]:
            rules.append(MonthDay(int(low[i])))
        else:
            rules.append(month_day(dates.part(slice(offsets[i], offsets[i + 1]))))
    return rules


def _days(ahead: Ints, kinds: Ints, rules: list[MonthDay | None]) -> Ints:
    """Turn ordinals of days, weekdays and months into days since 1970, shape [E, H]."""
    days = np.where((kinds == Kind.WEEKDAYS)[:, None], weekday_date(ahead), ahead)
    days[kinds == Kind.TICKS] = 0
    groups: dict[MonthDay, list[int]] = {}
    for i, rule in enumerate(rules):
        if rule is not None:
            groups.setdefault(rule, []).append(i)
    for rule, members in groups.items():
        days[members] = write_months(ahead[members], rule)
    return days
