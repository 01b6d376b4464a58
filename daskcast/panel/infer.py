"""The step of every entity of a batch, from all of its dates.

Covers deciding what an entity's times are counted in (months, days, weekdays, microseconds, an
index), the times as whole numbers in it, and the size of a step. Does not cover names of
frequencies (``frequency``) or filling the grid (``grid``).

Nothing is borrowed: an entity's step depends on its own dates alone, or on the user's ``freq``.
What all entities have in common is done on the flat arrays; only an entity whose smallest step is
not its usual one is looked at by itself.

Shapes: E entities, N rows; every entity has at least one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from daskcast.panel.dates import END, Dates, weekday, weekday_number, write_months
from daskcast.panel.frequency import DAY, DAYS_A_WEEK, HOUR, WEEKDAYS, Kind

if TYPE_CHECKING:
    from daskcast.panel.frequency import Step
    from daskcast.panel.rows import Bools, Ints
    from daskcast.records import Times

#: An entity is monthly (daily) if this share of its steps is about whole months (days).
_MOST = 0.75
_MONTH_DAYS = 30.436875
#: A step may be this far from whole months (for business month ends, third Fridays); the time of
#: day may wander this far from day to day (where a change of the clock shifted it).
_MONTH_PLAY_DAYS = 8.0
_DAY_PLAY = 2 * HOUR
#: Above this share of filled steps, missing observations are the simplest explanation.
_WELL_FILLED = 0.5
_THINLY_FILLED = 0.25
#: Up to this share of dates may lie off a common step and be called odd, rather than the step.
_ODD = 0.1
_ENOUGH_ROWS = 5
_ENOUGH_STEPS = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """How the times of each entity are counted.

    Parameters
    ----------
    kinds : ndarray of int64, shape [E]
        Values of :class:`~daskcast.panel.frequency.Kind`.
    sizes : ndarray of int64, shape [E]
        Of a step; 0 where none was found.
    ordinals : ndarray of int64, shape [N]
        Each time, counted in its entity's kind.
    dates : Dates or None
        None for an index of whole numbers.
    """

    kinds: Ints
    sizes: Ints
    ordinals: Ints
    dates: Dates | None


def lay_out(times: Times, offsets: Ints, step: Step | None) -> Layout:
    """Find kind, step and ordinals of every entity.

    Parameters
    ----------
    times : ndarray of datetime64[us] or int64, shape [N]
        Ascending and without repetition within an entity.
    offsets : ndarray of int64, shape [E + 1]
    step : Step or None
        The user's; None infers it for each entity.
    """
    n = len(offsets) - 1
    dates = Dates.of(times.view(np.int64)) if times.dtype.kind == "M" else None
    if step is not None:
        kinds = np.full(n, step.kind, np.int64)
        ordinals = _ordinals(times, dates, np.repeat(kinds, np.diff(offsets)))
        return Layout(kinds, np.full(n, step.size, np.int64), ordinals, dates)
    kinds = np.full(n, Kind.WHOLE, np.int64) if dates is None else _kinds(dates, offsets)
    ordinals = _ordinals(times, dates, np.repeat(kinds, np.diff(offsets)))
    sizes = _sizes(ordinals, offsets)
    if dates is not None:
        candidates = (kinds == Kind.DAYS) & (sizes == 1)
        if candidates.any() and (worked := _weekdays_only(dates, offsets) & candidates).any():
            kinds[worked] = Kind.WEEKDAYS
            rows = np.repeat(worked, np.diff(offsets))
            ordinals[rows] = weekday_number(dates.days[rows])
    return Layout(kinds, sizes, ordinals, dates)


def _ordinals(times: Times, dates: Dates | None, kinds: Ints) -> Ints:
    """Count each time in the kind of its row, shape [N]."""
    if dates is None:
        return np.array(times, np.int64)
    by_kind = {
        Kind.MONTHS: dates.months,
        Kind.DAYS: dates.days,
        Kind.WEEKDAYS: dates.days,
        Kind.TICKS: dates.ticks,
    }
    ordinals = np.empty(len(kinds), np.int64)
    for kind in np.unique(kinds):
        rows = kinds == kind
        found = by_kind[Kind(kind)][rows]
        ordinals[rows] = weekday_number(found) if kind == Kind.WEEKDAYS else found
    return ordinals


def _kinds(dates: Dates, offsets: Ints) -> Ints:
    """Tell months from days from times of day, shape [E]."""
    months, days = steps(dates.months, offsets), steps(dates.days, offsets)
    first, most = offsets[:-1], _MOST * np.maximum(np.diff(offsets) - 1, 1)
    about_months = np.abs(days - _MONTH_DAYS * months) <= _MONTH_PLAY_DAYS
    is_monthly = _count((months > 0) & about_months, offsets) >= most
    is_monthly &= ~_exact_days(dates, days, offsets, among=is_monthly)
    clock = dates.ticks - DAY * dates.days
    play = np.maximum.reduceat(clock, first) - np.minimum.reduceat(clock, first)
    is_daily = (_count(days > 0, offsets) >= most) & (play <= _DAY_PLAY)
    kinds = np.where(is_monthly, Kind.MONTHS, np.where(is_daily, Kind.DAYS, Kind.TICKS))
    return kinds.astype(np.int64)


def _exact_days(dates: Dates, days: Ints, offsets: Ints, *, among: Bools) -> Bools:
    """Tell which entities step by a fixed number of days that only looks like months, shape [E].

    Four weeks, or 30 days: the day in the month wanders, the step in days does not.
    """
    common = np.gcd.reduceat(days, offsets[:-1])
    usual = _count(days == np.repeat(common, np.diff(offsets)), offsets)
    n_steps = np.diff(offsets) - 1
    exact = among & (n_steps >= _ENOUGH_STEPS) & (usual >= _WELL_FILLED * n_steps)
    exact &= common >= DAYS_A_WEEK
    for i in np.flatnonzero(exact):
        own = dates.part(slice(offsets[i], offsets[i + 1]))
        same_day = own.day.min() == own.day.max()
        exact[i] = not same_day and not np.all(write_months(own.months, END) == own.days)
    return exact


def _sizes(ordinals: Ints, offsets: Ints) -> Ints:
    """Find the step of each entity; 0 where it has none, shape [E]."""
    step = steps(ordinals, offsets)
    common = np.gcd.reduceat(step, offsets[:-1])
    usual = _count(step == np.repeat(common, np.diff(offsets)), offsets)
    n_steps = np.diff(offsets) - 1
    for i in np.flatnonzero((n_steps > 0) & (usual < _WELL_FILLED * n_steps)):
        common[i] = _choose(ordinals[offsets[i] : offsets[i + 1]])
    return np.asarray(common, np.int64)


def _choose(ordinals: Ints) -> int:
    """Choose the step of one entity whose smallest step is not its usual one; 0 for none."""
    step = np.diff(ordinals)
    if (step <= 0).any():  # two times in one month or day: the grid will say which
        return int(np.gcd.reduce(step[step > 0])) if (step > 0).any() else 0
    common = int(np.gcd.reduce(step))
    n, span = len(ordinals), int(ordinals[-1] - ordinals[0])
    filled = n / (span // common + 1)
    if filled >= _WELL_FILLED:
        return common
    values, counts = np.unique(step, return_counts=True)
    usual = int(values[np.argmax(counts)])
    n_odd = n - int(np.unique((ordinals - ordinals[0]) % usual, return_counts=True)[1].max())
    if usual > common and n >= _ENOUGH_ROWS and n_odd <= max(1, _ODD * n):
        return usual
    return common if int(values[0]) == common or filled >= _THINLY_FILLED else 0


def _weekdays_only(dates: Dates, offsets: Ints) -> Bools:
    """Tell which daily entities leave out weekends, and little else, shape [E]."""
    first, last = offsets[:-1], offsets[1:] - 1
    worked = weekday(dates.days) < WEEKDAYS
    number = weekday_number(dates.days)
    span, working = dates.days[last] - dates.days[first], number[last] - number[first]
    n_rows = np.diff(offsets)
    return np.asarray(
        np.logical_and.reduceat(worked, first)
        & (span > working)
        & (n_rows >= _ENOUGH_ROWS)
        & (n_rows >= _WELL_FILLED * (working + 1))
    )


def steps(values: Ints, offsets: Ints) -> Ints:
    """Difference from the row before, 0 for the first row of an entity, shape [N]."""
    step = np.diff(values, prepend=values[:1])
    step[offsets[:-1]] = 0
    return step


def _count(flags: Any, offsets: Ints) -> Ints:
    """Count the rows of each entity that are flagged, its first row never, shape [E]."""
    flags = np.array(flags, np.int64)
    flags[offsets[:-1]] = 0
    return np.asarray(np.add.reduceat(flags, offsets[:-1]), np.int64)
