"""The times of a regular series in words, counted back from its last.

Covers naming a step or a day of a series, and its values by day. Does not cover the grid itself
(``grid``) or the times to come (``future``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from daskcast.panel.frequency import DAY, Kind, Step

if TYPE_CHECKING:
    from daskcast.records import Floats


@dataclass(frozen=True, slots=True)
class BackTimes:
    """The times of a series of ``n`` steps; made only where they are told.

    Examples
    --------
    >>> from daskcast.panel.frequency import parse
    >>> BackTimes(np.datetime64("2020-02-29"), parse("ME"), 12).at(10)
    '2020-01'
    """

    last: np.datetime64 | int | None
    step: Step
    n: int

    def at(self, i: int) -> str:
        """Name a step, from 0."""
        back = (self.n - 1 - i) * self.step.size
        if self.last is None:
            return f"step {i}"
        if isinstance(self.last, np.datetime64):
            return self._dated(self.last, back)
        return str(self.last - back)

    def _dated(self, last: np.datetime64, back: int) -> str:
        if self.step.kind is Kind.MONTHS:
            return str(last.astype("M8[M]") - back)
        if self.step.kind is Kind.DAYS:
            return str(last.astype("M8[D]") - back)
        if self.step.kind is Kind.WEEKDAYS:
            return str(np.busday_offset(last.astype("M8[D]"), -back, roll="backward"))
        time = last.astype("M8[us]") - np.timedelta64(back, "us")
        return str(time.astype("M8[m]")).replace("T", " ")

    def by_day(self, y: Floats) -> tuple[Floats, int]:
        """Give the daily values and the steps of a day; nothing where the steps know no days."""
        if not isinstance(self.last, np.datetime64):
            return y[:0], 1
        kind, size = self.step.kind, self.step.size
        if kind in (Kind.DAYS, Kind.WEEKDAYS):
            return (y if size == 1 else y[:0]), 1
        if kind is not Kind.TICKS or DAY % size:
            return y[:0], 1
        return _daily(y, self.last, DAY // size), DAY // size

    def day(self, i: int, per_day: int) -> str:
        """Name a day of :meth:`by_day`."""
        if per_day == 1:
            return self.at(i)
        assert isinstance(self.last, np.datetime64)
        n_days = -(-(self.n + _rest(self.last, per_day)) // per_day)
        return str(self.last.astype("M8[D]") - (n_days - 1 - i))


def _rest(last: np.datetime64, per_day: int) -> int:
    """Count the steps of the last day that are still to come."""
    since: Any = (last.astype("M8[us]") - last.astype("M8[D]")).astype(np.int64)
    return per_day - 1 - int(since) * per_day // DAY


def _daily(y: Floats, last: np.datetime64, per_day: int) -> Floats:
    """Give the mean of each day; NaN where a step of it is missing."""
    rest = _rest(last, per_day)
    before = -(len(y) + rest) % per_day
    whole = np.concatenate([np.full(before, np.nan), y, np.full(rest, np.nan)])
    result: Floats = whole.reshape(-1, per_day).mean(axis=1)
    return result
