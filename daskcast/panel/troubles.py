"""What can be wrong with one entity, and the words for it.

Covers finding unusable rows and every message about an entity's times and values. Does not cover
problems of the whole table (``columns``) or repairing repeated times (``duplicates``).

Each problem is a :class:`~daskcast.records.Failure` with one of these types: ``MissingTime``,
``TimeOutOfReach``, ``DuplicateTimes``, ``InfiniteValue``, ``NoObservations``, ``TooShort``,
``IrregularTimes``, ``GridTooLong``, ``Gap``, ``MissingValue``.

Shapes: E entities, N rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from daskcast.panel.rows import MISSING_TIME
from daskcast.records import Failure

if TYPE_CHECKING:
    from collections.abc import Container

    from daskcast.panel.rows import Bools, Ints, Rows
    from daskcast.records import Floats, Times

_SHOWN = 3
#: In microseconds from 1970, or from zero: no distance between two such times overflows.
_FARTHEST = 2**62


def unusable(rows: Rows) -> dict[int, Failure]:
    """Find entities with missing times, those beyond reach, infinite values, or no observation."""
    found: dict[int, Failure] = {}
    for i in entities_of(~np.isnan(rows.values), rows, none=True):
        found[i] = _no_observations(rows, i)
    for i in entities_of(np.isinf(rows.values), rows):
        found[i] = _infinite(rows, i)
    for i in entities_of(np.abs(rows.times.view(np.int64)) > _FARTHEST, rows):
        found[i] = _out_of_reach(rows, i)
    for i in entities_of(rows.times.view(np.int64) == MISSING_TIME, rows):
        found[i] = _missing_time(rows, i)
    return found


def entities_of(flags: Bools, rows: Rows, *, none: bool = False) -> list[int]:
    """List the entities that have a flagged row, or (``none``) that have none."""
    sums = np.concatenate(([0], np.cumsum(flags)))
    counts = sums[rows.offsets[1:]] - sums[rows.offsets[:-1]]
    return [int(i) for i in np.flatnonzero((counts == 0) if none else (counts > 0))]


def _no_observations(rows: Rows, i: int) -> Failure:
    n = int(rows.offsets[i + 1] - rows.offsets[i])
    return Failure(
        "NoObservations",
        f"expected at least one observed value, found {n} rows and all values missing; "
        "drop the entity or supply its values",
    )


def _infinite(rows: Rows, i: int) -> Failure:
    times, values = _own(rows, i)
    bad = np.isinf(values)
    return Failure(
        "InfiniteValue",
        f"expected finite values, found {bad.sum()} infinite of {len(values)}, at "
        f"{listed(times[bad])}; correct them, or leave them empty to count as missing",
    )


def _missing_time(rows: Rows, i: int) -> Failure:
    times, _ = _own(rows, i)
    count = int((times.view(np.int64) == MISSING_TIME).sum())
    return Failure(
        "MissingTime",
        f"expected a time in every row, found {count} of {len(times)} missing or not a date in "
        "ISO form (2020-01-31); correct or drop these rows",
    )


def _out_of_reach(rows: Rows, i: int) -> Failure:
    times, _ = _own(rows, i)
    bad = np.abs(times.view(np.int64)) > _FARTHEST
    return Failure(
        "TimeOutOfReach",
        "expected dates between the years -140,000 and 140,000, or whole numbers of at most 18 "
        f"digits, found {bad.sum()} of {len(times)} times beyond: {listed(times[bad])}; correct "
        "a mistyped time",
    )


def duplicate_times(times: Times) -> Failure:
    """Word the problem of repeated times, each row after the first of its time."""
    return Failure(
        "DuplicateTimes",
        f"expected each time once, found {len(times)} repeated: {listed(times)}; remove "
        "them or say how to join them (duplicates: sum, mean or last)",
    )


def too_short(time: np.datetime64 | np.int64) -> Failure:
    """Word the problem of one time from which no frequency can be told."""
    return Failure(
        "TooShort",
        f"expected at least two times to infer the frequency from, found one ({written(time)}); "
        "give the frequency (--freq), or drop the entity",
    )


def no_step(times: Times) -> Failure:
    """Word the problem of times that share no step."""
    return Failure(
        "IrregularTimes",
        f"expected times with a common step, found none in {len(times)} times: {listed(times)}; "
        "aggregate to a regular step, or give the frequency (--freq)",
    )


def off_grid(times: Times, odd: Bools, freq: str) -> Failure:
    """Word the problem of a few times that lie off the step of the others."""
    return Failure(
        "IrregularTimes",
        f"expected steps of {freq}, found {odd.sum()} of {len(times)} times off them: "
        f"{listed(times[odd])}; correct these times, or give another frequency (--freq)",
    )


def same_step(times: Times, again: Bools, freq: str) -> Failure:
    """Word the problem of several times within one step."""
    return Failure(
        "IrregularTimes",
        f"expected one time in each step of {freq}, found {again.sum()} of {len(times)} times in "
        f"a step that has one: {listed(times[again])}; correct or aggregate them, or give a finer "
        "frequency (--freq)",
    )


def too_long(times: Times, *, length: int, most: int, freq: str) -> Failure:
    """Word the problem of times so far apart that the grid would be nearly empty."""
    widest = int(np.argmax(np.diff(times.view(np.int64))))
    return Failure(
        "GridTooLong",
        f"expected at most {most:,} steps of {freq} for {len(times)} times, found {length:,} from "
        f"{written(times[0])} to {written(times[-1])}; the widest gap is after "
        f"{written(times[widest])}: correct a mistyped time, or give a coarser frequency (--freq)",
    )


def holes(rows: Rows, first: Ints, lengths: Ints, *, skip: Container[int]) -> dict[int, Failure]:
    """Find entities with missing steps or values, where the user wants none.

    Parameters
    ----------
    rows : Rows
    first : ndarray of int64, shape [E]
        The row of each entity's first observation.
    lengths : ndarray of int64, shape [E]
        Of the grids.
    skip : container of int
        Entities not to look at.
    """
    found: dict[int, Failure] = {}
    for i in range(len(rows.ids)):
        if i in skip:
            continue
        own = slice(int(first[i]), int(rows.offsets[i + 1]))
        times, values = rows.times[own], rows.values[own]
        if lengths[i] > len(times):
            found[i] = _gap(times, int(lengths[i]))
        elif (missing := np.isnan(values)).any():
            found[i] = Failure(
                "MissingValue",
                f"expected a value at every time, found {missing.sum()} of {len(values)} missing, "
                f"at {listed(times[missing])}; supply them, "
                "or let the models skip them (--gaps skip)",
            )
    return found


def _gap(times: Times, length: int) -> Failure:
    widest = int(np.argmax(np.diff(times.view(np.int64))))
    return Failure(
        "Gap",
        f"expected {length} times from {written(times[0])} to {written(times[-1])}, found "
        f"{len(times)}; the widest gap is between {written(times[widest])} and "
        f"{written(times[widest + 1])}: supply the rows, or let the models skip them (--gaps skip)",
    )


def listed(times: Times) -> str:
    """Write some times, the first few of many."""
    shown = ", ".join(written(time) for time in times[:_SHOWN])
    return f"{shown}, ... ({len(times)} in all)" if len(times) > _SHOWN else shown


def written(time: np.datetime64 | np.int64) -> str:
    """Write one time, a date alone where it is midnight."""
    if not isinstance(time, np.datetime64):
        return str(time)
    text = str(np.datetime_as_string(time, unit="auto"))
    return text.replace("T", " ") if "T" in text else str(time.astype("M8[D]"))


def _own(rows: Rows, i: int) -> tuple[Times, Floats]:
    own = slice(rows.offsets[i], rows.offsets[i + 1])
    return rows.times[own], rows.values[own]
