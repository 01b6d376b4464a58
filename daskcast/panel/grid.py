"""From rows to regular series: what is wrong with an entity, its grid, the times to forecast.

Covers :func:`regularise`, which joins the steps: unusable rows and repeated times, the layout of
the times, the grid with NaN at missing steps. Does not cover reading (``readers``, ``folder``),
finding the step (``infer``), future times (``future``) or the wording of problems (``troubles``).

An entity's trouble is a result, never an exception: the others go on.

Shapes: E entities, N rows, T steps of one entity's grid, H steps of the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from daskcast.panel import frequency, troubles
from daskcast.panel.dates import weekday
from daskcast.panel.duplicates import settle
from daskcast.panel.frequency import WEEKDAYS, Kind
from daskcast.panel.future import continue_times
from daskcast.panel.infer import lay_out, steps
from daskcast.panel.rows import MISSING_TIME, offsets_of
from daskcast.records import Failure, Series

if TYPE_CHECKING:
    from daskcast.config import ForecastConfig
    from daskcast.panel.future import Future
    from daskcast.panel.infer import Layout
    from daskcast.panel.rows import Bools, Ints, Rows
    from daskcast.records import Floats, Times

#: A grid may have this many steps for each observation, and at least the second number, and never
#: more than the third: one mistyped year must not fill the memory.
_STEPS_PER_ROW, _ALWAYS_STEPS, _MOST_STEPS = 50, 1_000, 10_000_000


@dataclass(frozen=True, slots=True)
class GridRules:
    """What decides the grid of an entity.

    Parameters
    ----------
    h : int
        Steps to forecast.
    freq : str or None
        As in :class:`~daskcast.config.ForecastConfig`; None infers it for each entity.
    season_length : int or None
        None takes it from the frequency of each entity.
    gaps : {"skip", "fail"}
        Whether missing observations are left to the models or refused.
    duplicates : {"fail", "sum", "mean", "last"}
        What becomes of repeated times.
    n_past : int
        Steps before the end whose times are wanted too.
    """

    h: int
    freq: str | None = None
    season_length: int | None = None
    gaps: str = "skip"
    duplicates: str = "fail"
    n_past: int = 0

    @classmethod
    def of(cls, config: ForecastConfig) -> GridRules:
        """Take the rules from the options of a run."""
        return cls(
            h=config.h,
            freq=config.freq,
            season_length=config.season_length,
            gaps=config.gaps,
            duplicates=config.duplicates,
            n_past=config.n_seen_again,
        )


def regularise(rows: Rows, rules: GridRules) -> list[Series]:
    """Put every entity on its regular grid, or say why that cannot be.

    Parameters
    ----------
    rows : Rows
        Of one batch.
    rules : GridRules

    Returns
    -------
    list of Series
        One for each of ``rows.ids``, in that order. Where ``problem`` is set, ``y`` holds the
        values as they came, off any grid, and ``future`` is empty.

    Notes
    -----
    The grid runs from the first observation that is not missing to the entity's last time, also
    where the observation of that is missing. Months keep the user's day: month starts, month
    ends, first and last weekdays and the 15th all come back in ``future``.

    Examples
    --------
    >>> import numpy as np
    >>> from daskcast.panel import Rows
    >>> times = np.array(["2024-10-31", "2024-11-30", "2025-01-31"], "M8[us]")
    >>> rows = Rows(("JFK",), np.array([0, 3]), times, np.array([5.0, 6.0, 8.0]))
    >>> [series] = regularise(rows, GridRules(h=2))
    >>> series.freq, series.season_length, series.y.tolist()
    ('ME', 12, [5.0, 6.0, nan, 8.0])
    >>> [str(time) for time in series.future.astype("M8[D]")]
    ['2025-02-28', '2025-03-31']
    """
    settled = settle(rows, rules.duplicates)
    failures = {**settled.failures, **troubles.unusable(rows)}
    alive = [i for i in range(len(rows.ids)) if i not in failures]
    good: dict[int, Series] = {}
    if alive:
        usable = settled.rows.take(np.array(alive, np.int64)) if failures else settled.rows
        repairs = [settled.repairs.get(i, ()) for i in alive]
        for i, outcome in zip(alive, _on_grids(usable, rules, repairs), strict=True):
            if isinstance(outcome, Failure):
                failures[i] = outcome
            else:
                good[i] = outcome
    everyone = range(len(rows.ids))
    return [good[i] if i in good else _failed(rows, i, failures[i], rules) for i in everyone]


def _failed(rows: Rows, i: int, failure: Failure, rules: GridRules) -> Series:
    own = slice(rows.offsets[i], rows.offsets[i + 1])
    known = rows.times[own][rows.times[own].view(np.int64) != MISSING_TIME]
    return Series(
        unique_id=rows.ids[i],
        y=rows.values[own],
        cutoff=_plain(known[-1]) if len(known) else None,
        future=rows.times[:0],
        freq=rules.freq or "",
        season_length=rules.season_length or 1,
        problem=failure,
    )


def _on_grids(
    rows: Rows, rules: GridRules, repairs: list[tuple[str, ...]]
) -> list[Series | Failure]:
    """Build the series of entities whose times are unique and whose values are finite."""
    step = None if rules.freq is None else frequency.parse(rules.freq)
    layout = lay_out(rows.times, rows.offsets, step)
    first = _first_observed(rows)
    lengths = _lengths(layout, rows.offsets, first)
    n_past = min(rules.n_past, int(lengths.max()))
    future = continue_times(layout, rows.offsets, rules.h, n_past)
    failures = _off_grid(rows, layout, future) | _too_long(rows, lengths, future)
    if rules.gaps == "fail":
        failures |= troubles.holes(rows, first, lengths, skip=failures.keys())
    for i in failures:
        lengths[i] = 0
    y, starts = _fill(rows, layout, first, lengths)
    past = _as_written(rows, layout, future.past) if n_past else None
    outcome: list[Series | Failure] = []
    for i, unique_id in enumerate(rows.ids):
        if i in failures:
            outcome.append(failures[i])
            continue
        series = Series(
            unique_id,
            y[starts[i] : starts[i + 1]],
            _plain(rows.times[rows.offsets[i + 1] - 1]),
            future.times[i],
            future.freqs[i],
            rules.season_length or future.seasons[i],
            repairs[i],
            past=None if past is None else past[i, -lengths[i] :],
        )
        outcome.append(series)
    return outcome


def _plain(time: np.datetime64 | np.int64) -> np.datetime64 | int:
    return time if isinstance(time, np.datetime64) else int(time)


def _first_observed(rows: Rows) -> Ints:
    """Find the row of each entity's first value that is not missing, shape [E]."""
    seen = np.flatnonzero(~np.isnan(rows.values))
    return np.asarray(seen[np.searchsorted(seen, rows.offsets[:-1])], np.int64)


def _lengths(layout: Layout, offsets: Ints, first: Ints) -> Ints:
    """Count the steps of each grid, shape [E]; 0 where no step was found."""
    span = layout.ordinals[offsets[1:] - 1] - layout.ordinals[first]
    return np.where(layout.sizes > 0, span // np.maximum(layout.sizes, 1) + 1, 0)


def _fill(rows: Rows, layout: Layout, first: Ints, lengths: Ints) -> tuple[Floats, Ints]:
    """Put values on the grids, NaN between: flat values, and where each entity's begin."""
    starts = offsets_of(lengths)
    y = np.full(starts[-1], np.nan)
    n_rows = np.diff(rows.offsets)
    size = np.repeat(np.maximum(layout.sizes, 1), n_rows)
    ahead = (layout.ordinals - np.repeat(layout.ordinals[first], n_rows)) // size
    wanted = (ahead >= 0) & np.repeat(lengths > 0, n_rows)
    y[(ahead + np.repeat(starts[:-1], n_rows))[wanted]] = rows.values[wanted]
    return y, starts


def _as_written(rows: Rows, layout: Layout, past: Times) -> Times:
    """Take the user's own time for each step that has a row, shape [E, P]."""
    n_rows, n_past = np.diff(rows.offsets), past.shape[1]
    last = np.repeat(layout.ordinals[rows.offsets[1:] - 1], n_rows)
    before = (last - layout.ordinals) // np.repeat(np.maximum(layout.sizes, 1), n_rows)
    owner = np.repeat(np.arange(len(n_rows)), n_rows)
    near = before < n_past
    written = past.copy()
    written[owner[near], n_past - 1 - before[near]] = rows.times[near]
    return written


def _off_grid(rows: Rows, layout: Layout, future: Future) -> dict[int, Failure]:
    """Find entities without a step, or with times off it or too many in it."""
    n_rows = np.diff(rows.offsets)
    since = layout.ordinals - np.repeat(layout.ordinals[rows.offsets[:-1]], n_rows)
    phase = since % np.repeat(np.maximum(layout.sizes, 1), n_rows)
    again = steps(layout.ordinals, rows.offsets) <= 0
    again[rows.offsets[:-1]] = False
    weekend = np.zeros(len(again), np.bool_)
    if layout.dates is not None and (layout.kinds == Kind.WEEKDAYS).any():
        works = np.repeat(layout.kinds == Kind.WEEKDAYS, n_rows)
        weekend = works & (weekday(layout.dates.days) >= WEEKDAYS)
    suspects = np.logical_or.reduceat((phase != 0) | again | weekend, rows.offsets[:-1])
    found: dict[int, Failure] = {}
    for i in np.flatnonzero(suspects | (layout.sizes == 0)).tolist():
        own = slice(int(rows.offsets[i]), int(rows.offsets[i + 1]))
        times = rows.times[own]
        odd = weekend[own] | _odd(phase[own])
        freq = future.freqs[i].partition("-")[0]  # the anchor may be the odd one's
        if layout.sizes[i] == 0:
            found[i] = troubles.too_short(times[0]) if len(times) == 1 else troubles.no_step(times)
        elif odd.any():
            found[i] = troubles.off_grid(times, odd, freq)
        else:
            found[i] = troubles.same_step(times, again[own], freq)
    return found


def _odd(phase: Ints) -> Bools:
    """Flag the times that do not share the most common place in a step."""
    values, counts = np.unique(phase, return_counts=True)
    return np.asarray(phase != values[np.argmax(counts)])


def _too_long(rows: Rows, lengths: Ints, future: Future) -> dict[int, Failure]:
    most = np.clip(_STEPS_PER_ROW * np.diff(rows.offsets), _ALWAYS_STEPS, _MOST_STEPS)
    return {
        i: troubles.too_long(
            rows.times[rows.offsets[i] : rows.offsets[i + 1]],
            length=int(lengths[i]),
            most=int(most[i]),
            freq=future.freqs[i],
        )
        for i in np.flatnonzero(lengths > most).tolist()
    }
