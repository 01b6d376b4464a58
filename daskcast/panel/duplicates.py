"""Repeated times of an entity: refused, or joined as the user says.

Covers finding and joining them. Does not cover times that differ but fall into one step of the
grid: those are no repetition, and never joined (``grid``).

Shapes: E entities, N rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from daskcast.panel import troubles
from daskcast.panel.rows import Rows, offsets_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.panel.rows import Bools, Ints
    from daskcast.records import Failure, Floats


@dataclass(frozen=True, slots=True)
class Settled:
    """Rows without repeated times.

    Parameters
    ----------
    rows : Rows
        Of all entities; those that failed may still hold repeated times.
    failures, repairs : mapping
        By the entity's position in ``rows.ids``.
    """

    rows: Rows
    failures: Mapping[int, Failure] = field(default_factory=dict)
    repairs: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


def settle(rows: Rows, how: str) -> Settled:
    """Refuse or join repeated times.

    Parameters
    ----------
    rows : Rows
        Sorted by entity and time; rows of the same time in the order of the input.
    how : {"fail", "sum", "mean", "last"}
        Missing values take no part in a sum or a mean; the last row counts as it is.
    """
    again = _repeated(rows)
    if not again.any():
        return Settled(rows)
    entities = troubles.entities_of(again, rows)
    if how == "fail":
        return Settled(rows, {i: _refusal(rows, again, i) for i in entities})
    starts = np.flatnonzero(~again)
    owners = np.repeat(np.arange(len(rows.ids)), np.diff(rows.offsets))
    values = _join(rows, owners, starts, how)
    sizes = np.bincount(owners[starts], minlength=len(rows.ids)).astype(np.int64)
    joined = Rows(rows.ids, offsets_of(sizes), rows.times[starts], values)
    removed = np.diff(rows.offsets) - sizes
    repairs = {i: (f"{removed[i]} rows with a repeated time joined: {how}",) for i in entities}
    overflown = {i: found for i, found in troubles.unusable(joined).items() if i in repairs}
    return Settled(joined, overflown, repairs)


def _repeated(rows: Rows) -> Bools:
    """Flag rows whose time is that of the row before, of the same entity, shape [N]."""
    again = np.zeros(len(rows.times), np.bool_)
    again[1:] = rows.times[1:] == rows.times[:-1]
    again[rows.offsets[:-1][np.diff(rows.offsets) > 0]] = False
    return again


def _refusal(rows: Rows, again: Bools, i: int) -> Failure:
    own = slice(rows.offsets[i], rows.offsets[i + 1])
    return troubles.duplicate_times(rows.times[own][again[own]])


def _join(rows: Rows, owners: Ints, starts: Ints, how: str) -> Floats:
    """Join the values of each time; ``starts`` are the first rows of the times."""
    if how == "last":
        return np.asarray(rows.values[np.append(starts[1:], len(rows.values)) - 1])
    # a sum depends on its order in the last bit, so the order must not be the input's
    order = np.lexsort((rows.values, rows.times.view(np.int64), owners))
    values = rows.values[order]
    seen = ~np.isnan(values)
    counts = np.add.reduceat(seen.astype(np.float64), starts)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite sums are found afterwards
        sums = np.add.reduceat(np.where(seen, values, 0.0), starts)
        joined = sums / counts if how == "mean" else np.where(counts > 0, sums, np.nan)
    return np.asarray(joined, np.float64)
