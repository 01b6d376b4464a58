"""What a series has that no model here follows: more seasons, holidays, shocks.

Covers looking at one series and naming it with facts. Does not cover forecasting better for it, or
where it is told (``checks``, ``progress``, ``cli``).

The rules are chosen to be silent on ordinary series: ``bench/features.py`` counts how often they
speak, and ``docs/method.md`` tells the rates. All are free of the unit of the data.

Shapes: T steps of one entity.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from daskcast.panel.back import BackTimes
from daskcast.panel.frequency import DAY, HOUR, Kind, Step, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from daskcast.records import Floats

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

SEASONS, HOLIDAYS, SHOCK = "several seasons", "holidays", "shock"
"""The kinds, in the order they are told."""

_WEEK, _YEAR = 7 * DAY, 365.25 * DAY
#: An entity that misses more than this share of its steps is named although it is ``ok``.
MOST_MISSING = 0.2

_CYCLES = (("hourly", HOUR), ("daily", DAY), ("weekly", _WEEK), ("yearly", _YEAR))

#: A longer season shows where its cycles agree: correlation of the changes between its parts and
#: those a cycle before, at least the first number and the second over the root of their count; the
#: third is enough. Changes over one part and over three; those that overlap count for less.
_AGREE, _SURE, _CERTAIN, _PARTS, _SPANS, _FEWEST_CHANGES = 0.3, 2.5, 0.9, 12, (1, 3), 7
#: A day is special that is so far from the same weekday in the weeks around it, in robust
#: deviations and relative; where more than this share is, it is noise.
_DEVIATIONS, _APART, _WEEKS_AROUND, _MOST_SPECIAL = 6.0, 0.25, 3, 0.05
_FEWEST_SPECIAL, _FEWEST_WEEKS, _SHORT_YEAR = 2, 8, 364
#: A step is shaken that is so far from the season before: robust deviations and relative change,
#: either pair; 2/3 is half or twice.
_SHAKEN = ((2.0, 2 / 3), (5.0, 0.3))
_FEWEST_SHAKEN, _SEASONS_NEEDED, _NO_SEASON = 3, 4, 4

_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class NotModelled:
    """Something in a series that no model here follows.

    Parameters
    ----------
    kind : str
        ``several seasons``, ``holidays`` or ``shock``.
    told : str
        What was found, with numbers and times.
    steps : tuple of int
        Where in the series: special days, or the first and last step of a shock.
    """

    kind: str
    told: str
    steps: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Write as one sentence; :func:`kind_of` reads the kind back."""
        return f"{self.kind}: {self.told}"


def not_modelled(
    y: Floats, last: np.datetime64 | int | None, freq: str, season_length: int
) -> list[NotModelled]:
    """Name what a series has that no model follows.

    Parameters
    ----------
    y : ndarray of float64, shape [T]
        On a regular grid, NaN where missing.
    last : datetime64, int or None
        Time of the last step.
    freq : str
        As of :class:`~daskcast.records.Series`.
    season_length : int
        The season that the models follow.

    Returns
    -------
    list of NotModelled
        Empty where nothing is known to be there.

    Notes
    -----
    *Several seasons*: of the cycles that the step knows (hour, day, week, year), one of which two
    fit in the series, that the modelled season does not hold. It is cut into about twelve parts;
    the changes between parts must agree with those a cycle before.

    *Holidays*: days far from the same weekday in the three weeks on either side. Over two years
    they must come again after 364 to 366 days, more often than by chance; in shorter data two such
    days are told.

    *Shock*: at least three steps, and a third of the lag, in a row far from the value one lag
    before. The lag is the season, four weeks for daily data, a week for finer data.

    Examples
    --------
    >>> t = np.arange(72.0)
    >>> y = 100 + t + 10 * np.sin(t * np.pi / 6)
    >>> not_modelled(y, np.datetime64("2021-12-01"), "MS", 12)
    []
    >>> y[50:60] *= 0.2
    >>> [found] = not_modelled(y, np.datetime64("2021-12-01"), "MS", 12)
    >>> found.kind, found.steps
    ('shock', (50, 59))
    >>> found.told.partition(":")[0]
    '2020-03 to 2020-12 (10 steps) is 78 % below 12 steps before'
    """
    step = parse(freq)
    if step is None or not np.any(np.isfinite(y)):
        return []
    times = BackTimes(last, step, len(y))
    with np.errstate(all="ignore"):
        unit = _unit(y)
        return [
            *_seasons(y, step, season_length),
            *_holidays(y, times, unit),
            *_shocks(y, times, unit, season_length),
        ]


def kind_of(text: str) -> str:
    """Give the kind that a sentence of :class:`NotModelled` tells.

    Examples
    --------
    >>> kind_of(str(NotModelled(SHOCK, "2020-03 to 2020-12")))
    'shock'
    """
    return text.partition(":")[0]


# -- changes without a unit --------------------------------------------------------------------


def _unit(y: Floats) -> float | None:
    """Give the range of a series that has negative values; None says compare in proportion."""
    known = y[~np.isnan(y)]
    if known.min() >= 0.0:
        return None
    low, high = np.quantile(known, (0.05, 0.95))
    return float(high - low)


def _change(after: Floats, before: Floats, unit: float | None) -> Floats:
    """Compare, from -2 (all is gone) over -2/3 (half) to 2 where values are not negative."""
    if unit is not None:
        return (after - before) / unit
    total = after + before
    return np.where(total == 0.0, 0.0, 2.0 * (after - before) / total)


def _median(x: Floats) -> float:
    """Give the median of values that are known; numpy's own takes four times as long."""
    low, high = (len(x) - 1) // 2, len(x) // 2
    ordered = np.partition(x, (low, high))
    return float(ordered[low] + ordered[high]) / 2.0


def _spread(deviations: Floats) -> float:
    return _TO_SIGMA * _median(np.abs(deviations))


# -- several seasons ---------------------------------------------------------------------------


def _seasons(y: Floats, step: Step, m: int) -> Iterator[NotModelled]:
    for name, cycle in _cycles(step):
        held = abs(m - max(1, round(m / cycle)) * cycle) < 0.05 * cycle
        if not held and len(y) >= 2 * cycle and _recurs(y, cycle, m):
            beside = f" beside the modelled one of {m}" if m > 1 else ""
            told = (
                f"a season of {cycle:.6g} steps ({name}){beside} is not modelled"
                f"{': the forecast repeats the other alone' if beside else ''}"
            )
            yield NotModelled(SEASONS, told)


def _cycles(step: Step) -> list[tuple[str, float]]:
    """Give the cycles that a step may know, of at least three steps."""
    if step.kind is Kind.TICKS:
        found = [(name, size / step.size) for name, size in _CYCLES]
    elif step.kind is Kind.DAYS:
        found = [("weekly", 7 / step.size), ("yearly", 365.25 / step.size)]
    elif step.kind is Kind.WEEKDAYS:
        found = [("weekly", 5 / step.size), ("yearly", 365.25 * 5 / 7 / step.size)]
    elif step.kind is Kind.MONTHS:
        found = [("yearly", 12 / step.size)]
    else:
        found = []
    return [(name, cycle) for name, cycle in found if cycle >= 3]  # noqa: PLR2004


def _recurs(y: Floats, cycle: float, m: int) -> bool:
    """Tell whether the changes between the parts of a cycle agree with those a cycle before.

    Changes, since the levels of a mere random walk agree far too often.
    """
    inner = m if m < cycle else 1
    width = max(1, round(cycle / _PARTS / inner)) * inner
    n_parts = round(cycle / width)
    parts = _means(_without(y, inner), cycle / n_parts)
    return any(_agree(parts, n_parts, span) for span in _SPANS)


def _agree(parts: Floats, n_parts: int, span: int) -> bool:
    change = parts[span:] - parts[:-span]
    if not np.any(np.isfinite(change)):
        return False
    change = change - np.nanmedian(change)
    far = 3.0 * float(np.nanmean(np.abs(change)))
    change = np.clip(change, -far, far)
    now, before = change[n_parts:], change[:-n_parts]
    both = ~np.isnan(now + before)
    now, before = now[both], before[both]
    size = float(np.sqrt((now @ now) * (before @ before)))
    n = len(now) / span
    if n < _FEWEST_CHANGES or not size > 0.0:
        return False
    return bool(now @ before > size * min(max(_AGREE, _SURE / n**0.5), _CERTAIN))


def _without(y: Floats, m: int) -> Floats:
    """Take out the mean of each phase of a season."""
    if m == 1:
        return y
    known = ~np.isnan(y)
    phase = np.arange(len(y)) % m
    count = np.bincount(phase, known, m)
    means = np.bincount(phase, np.where(known, y, 0.0), m) / np.maximum(count, 1)
    result: Floats = y - means[phase]
    return result


def _means(y: Floats, width: float) -> Floats:
    """Give the mean of each part of some steps, of whole parts only; NaN where half is missing."""
    edges = np.floor(np.arange(int(len(y) / width) + 1) * width).astype(np.int64)
    known = ~np.isnan(y)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, y, 0.0))])[edges]
    count = np.concatenate([[0], np.cumsum(known)])[edges]
    n = np.diff(count)
    return np.where(2 * n > np.diff(edges), np.diff(total) / n, np.nan)


# -- holidays ----------------------------------------------------------------------------------


def _holidays(y: Floats, times: BackTimes, unit: float | None) -> Iterator[NotModelled]:
    """Find special days in daily data, or in the days of finer data."""
    week = 5 if times.step.kind is Kind.WEEKDAYS else 7
    days, first = times.by_day(y)
    if len(days) < _FEWEST_WEEKS * week:
        return
    change = _change(days, _weeks_around(days, week), unit)
    known = ~np.isnan(change)
    n = int(known.sum())
    if not n:
        return
    change -= _median(change[known])
    spread = _spread(change[known])
    special = np.abs(np.where(known, change, 0.0)) > max(_DEVIATIONS * spread, _APART)
    found = np.flatnonzero(special)
    if not _FEWEST_SPECIAL <= len(found) <= _MOST_SPECIAL * n:
        return
    year = _SHORT_YEAR * week // 7
    recurring = ""
    if len(days) >= 2 * year:
        again = _again(special, np.sign(change), year)
        by_chance = 3 * (len(found) / n) ** 2 * (len(days) - year)
        if len(again) < max(_FEWEST_SPECIAL, 3 * by_chance):
            return
        found, recurring = again, " as a year before"
    largest = int(found[np.argmax(np.abs(change[found]))])
    told = (
        f"{len(found)} days leave the weekly pattern by more than "
        f"{100 * max(_APART, _DEVIATIONS * spread):.0f} %{recurring}, such as "
        f"{times.day(largest, first)}: holidays and other special days are not modelled"
    )
    yield NotModelled(HOLIDAYS, told, tuple(found.tolist()))


def _weeks_around(days: Floats, week: int) -> Floats:
    """Give the median of the same weekday in the weeks before and after; NaN at fewer than two."""
    n, reach = len(days), _WEEKS_AROUND * week
    padded = np.concatenate([np.full(reach, np.nan), days, np.full(reach, np.nan)])
    offsets = [k * week for k in range(2 * _WEEKS_AROUND + 1) if k != _WEEKS_AROUND]
    around = np.sort([padded[offset : offset + n] for offset in offsets], axis=0)  # NaN go last
    count = np.sum(~np.isnan(around), axis=0)
    middle = (around[(count - 1) // 2, np.arange(n)] + around[count // 2 % 6, np.arange(n)]) / 2
    return np.where(count > 1, middle, np.nan)


def _again(special: Bools, sign: Floats, year: int) -> Ints:
    """Find the special days that were so, in the same direction, a year before."""
    here = np.flatnonzero(special)
    again = np.zeros(len(here), np.bool_)
    for lag in (year, year + 1, year + 2):
        before = here - lag
        there = np.maximum(before, 0)
        again |= (before >= 0) & special[there] & (sign[there] == sign[here])
    return np.asarray(here[again], np.int64)


# -- shocks ------------------------------------------------------------------------------------


def _shocks(y: Floats, times: BackTimes, unit: float | None, m: int) -> Iterator[NotModelled]:
    lag = _lag(times.step, m)
    if len(y) < _SEASONS_NEEDED * lag:
        return
    change = _change(y[lag:], y[:-lag], unit)
    where = np.flatnonzero(~np.isnan(change))
    if len(where) < _SEASONS_NEEDED * lag // 2:
        return
    change = change[where]
    change = change - _median(change)
    size, spread = np.abs(change), _spread(change)
    (far, much), (farther, some) = _SHAKEN
    shaken = (size > max(far * spread, much)) | (size > max(farther * spread, some))
    least = max(_FEWEST_SHAKEN, lag // 3)
    runs = [(a, b) for a, b in _runs(np.where(shaken, np.sign(change), 0.0)) if b - a >= least]
    if not runs:
        return
    a, b = max(runs, key=lambda run: float(size[run[0] : run[1]].sum()))
    steps = where[a:b] + lag
    first, last = int(steps[0]), int(steps[-1])
    recent = last >= len(y) - 2 * lag
    told = (
        f"{times.at(first)} to {times.at(last)} ({b - a} steps) is "
        f"{_apart(y, steps, lag, unit)} {lag} steps before: not modelled"
        f"{', and so recent that the forecast may carry it on' if recent else ''}"
    )
    yield NotModelled(SHOCK, told, (first, last))


def _lag(step: Step, m: int) -> int:
    """Give the steps to look back: whole seasons, and weeks where the step knows weekdays."""
    least = 1
    if step.kind is Kind.TICKS and step.size < DAY:
        least = _WEEK // step.size
    elif step.kind is Kind.TICKS or step.kind is Kind.DAYS:
        least = 28 if step.size in (1, DAY) else 1
    elif step.kind is Kind.WEEKDAYS:
        least = 20 if step.size == 1 else 1
    season = m if m > 1 else _NO_SEASON
    return season * -(-least // season)


def _runs(signs: Floats) -> Iterator[tuple[int, int]]:
    """Give first and end of each stretch of equal signs that are not zero."""
    edges = np.flatnonzero(np.diff(signs, prepend=0.0, append=0.0)).tolist()
    return ((a, b) for a, b in pairwise(edges) if signs[a])


def _apart(y: Floats, steps: Ints, lag: int, unit: float | None) -> str:
    now, before = np.median(y[steps]), np.median(y[steps - lag])
    side = "below" if now < before else "above"
    if unit is not None:
        return f"{100 * abs(now - before) / unit:.0f} % of the usual range {side}"
    return f"{100 * abs(now / before - 1):.0f} % {side}" if before > 0 else "above the zeros"
