"""A history with new rows.

Covers which new rows are taken, which say nothing new, and which contradict what is known. Does not
cover reading them (``readers``) or what is wrong with an entity's times (``grid``).

Shapes: N rows, old and new together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from daskcast.errors import DataError
from daskcast.panel.columns import quote
from daskcast.panel.duplicates import settle
from daskcast.panel.rows import MISSING_TIME, sort_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.panel.rows import Bools, Ints, Rows
    from daskcast.records import Floats, Times

_N_TOLD = 5


def grow(old: Rows, new: Rows, *, duplicates: str = "fail", revise: bool = False) -> Rows:
    """Append new rows to a history.

    Parameters
    ----------
    old : Rows
    new : Rows
        Of entities that ``old`` has; neither is changed.
    duplicates : {"fail", "sum", "mean", "last"}
        What becomes of repeated times, among the old rows and among the new ones.
    revise : bool
        Take a new value for a time that is known already, and rows for times before the last that
        is known. Otherwise both are refused.

    Raises
    ------
    DataError
        Where new rows contradict the history, name a time twice, or their times are of another
        kind.

    Notes
    -----
    A row of a time that is known, with the value that is known, says nothing new and is accepted.

    Examples
    --------
    >>> import numpy as np
    >>> from daskcast.panel import Rows
    >>> old = Rows(("JFK",), np.array([0, 2]), np.array([1, 2]), np.array([5.0, 6.0]))
    >>> new = Rows(("JFK",), np.array([0, 2]), np.array([2, 3]), np.array([6.0, 7.0]))
    >>> grow(old, new).values.tolist()
    [5.0, 6.0, 7.0]
    """
    if old.times.dtype.kind != new.times.dtype.kind:
        kinds = {"M": "dates", "i": "whole numbers"}
        raise DataError(
            f"the times of the new rows are {kinds[new.times.dtype.kind]}, those of the history "
            f"are {kinds[old.times.dtype.kind]}; give the same"
        )
    parts = [settle(rows, duplicates).rows for rows in (old, new)]
    place = {unique_id: i for i, unique_id in enumerate(old.ids)}
    owners = [
        np.repeat(np.array([place[x] for x in rows.ids], np.int64), np.diff(rows.offsets))
        for rows in parts
    ]
    fresh = np.repeat([False, True], [len(part.times) for part in parts])
    codes = np.concatenate(owners)
    times = np.concatenate([part.times for part in parts])
    values = np.concatenate([part.values for part in parts])
    order = np.lexsort((fresh, times.view(np.int64), codes))
    codes, times, values, fresh = codes[order], times[order], values[order], fresh[order]
    found = _Compared(codes, times, values, fresh, parts[0].times[parts[0].offsets[1:] - 1])
    _refuse(found, old.ids, revise=revise)
    kept = ~found.known & ~found.replaced
    return sort_rows(codes[kept], old.ids, times[kept], values[kept])


class _Compared:
    """Sorted rows, old before new at the same time: what each new one says; all of shape [N]."""

    def __init__(
        self, codes: Ints, times: Times, values: Floats, fresh: Bools, last: Times
    ) -> None:
        self.codes, self.times, self.values = codes, times, values
        bits = times.view(np.int64)
        again = np.zeros(len(codes), np.bool_)
        again[1:] = (codes[1:] == codes[:-1]) & (bits[1:] == bits[:-1])
        same = np.zeros(len(codes), np.bool_)
        same[1:] = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
        before = np.concatenate(([False], fresh[:-1]))
        self.unread = fresh & (bits == MISSING_TIME)
        self.twice = fresh & again & before
        self.known = fresh & again & ~before & same
        self.revised = fresh & again & ~before & ~same
        self.late = fresh & ~again & (bits <= last.view(np.int64)[codes])
        place = np.cumsum(~again) - 1
        self.replaced = ~fresh & np.isin(place, place[self.revised])


def _refuse(found: _Compared, ids: Sequence[str], *, revise: bool) -> None:
    faults = [
        (found.unread, "{n} new rows have a time that is missing or cannot be read", ""),
        (found.twice & ~found.unread, "{n} new rows name a time again", "give each time once"),
    ]
    if not revise:
        way = "leave them out, or take them over the history with revise=True"
        faults += [
            (found.revised, "{n} new rows change values that are known", way),
            (found.late & ~found.unread, "{n} new rows lie before the last known time", way),
        ]
    problems = [
        f"{told.format(n=int(bad.sum()))}: {_shown(found, bad, ids)}; {way or 'correct them'}"
        for bad, told, way in faults
        if bad.any()
    ]
    if problems:
        raise DataError(*problems)


def _shown(found: _Compared, bad: Bools, ids: Sequence[str]) -> str:
    rows = np.flatnonzero(bad)
    told = [_row(found, int(row), ids) for row in rows[:_N_TOLD]]
    more = f" and {len(rows) - _N_TOLD} more" if len(rows) > _N_TOLD else ""
    return "; ".join(told) + more


def _row(found: _Compared, row: int, ids: Sequence[str]) -> str:
    time = str(found.times[row]).removesuffix("T00:00:00.000000")
    told = f"{quote(ids[found.codes[row]])} at {time}: {found.values[row]:g}"
    return f"{told}, known is {found.values[row - 1]:g}" if found.revised[row] else told
