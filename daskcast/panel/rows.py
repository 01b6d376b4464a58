"""The long panel as flat arrays, and the seams between reading and everything else.

Covers :class:`Rows` (what a batch is once loaded) and the two protocols that every kind of input
fulfils: :class:`Source` (the whole input, seen from the client) and :class:`BatchData` (some of
its entities, read where the work is done). Does not cover reading (``readers``, ``folder``) or
the regular grid (``grid``).

Shapes: E entities, N rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from daskcast.records import Floats, Times

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: A time that is missing or could not be read: ``NaT``, and its bits as a whole number.
MISSING_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of some entities, sorted by id, then by time; repeated times keep the input's order.

    Parameters
    ----------
    ids : tuple of str, length E
        Ascending, unique.
    offsets : ndarray of int64, shape [E + 1]
        Entity ``i`` owns the rows ``offsets[i]:offsets[i + 1]``.
    times : ndarray of datetime64[us] or int64, shape [N]
        A time that could not be read on a worker is ``NaT`` (or the lowest int64) and sorts first.
    values : ndarray of float64, shape [N]
        NaN where an observation is missing.
    """

    ids: tuple[str, ...]
    offsets: Ints
    times: Times
    values: Floats

    def load(self) -> Rows:
        """Give these rows: rows in memory are their own batch."""
        return self

    def take(self, positions: Ints) -> Rows:
        """Copy the rows of some entities.

        Parameters
        ----------
        positions : ndarray of int64
            Of the entities in ``ids``; their order does not matter.
        """
        chosen = np.unique(positions)
        starts, sizes = self.offsets[chosen], np.diff(self.offsets)[chosen]
        offsets = offsets_of(sizes)
        index = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], sizes)
        ids = tuple(self.ids[i] for i in chosen)
        return Rows(ids, offsets, self.times[index], self.values[index])

    def digest(self) -> str:
        """Digest of ids, times and values: equal for equal data in whatever row order."""
        digest = hashlib.blake2b(digest_size=16)
        for unique_id in self.ids:
            encoded = unique_id.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        plain = np.where(np.isnan(self.values), np.nan, self.values + 0.0)  # one NaN, one zero
        for array in (self.offsets, self.times, plain):
            digest.update(str(array.dtype).encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()


class BatchData(Protocol):
    """Some entities of a source: small to pickle, read where the work is done."""

    def load(self) -> Rows:
        """Read the rows; runs on a worker."""
        ...


class Source(Protocol):
    """The whole input, as the client sees it: who is in it, and how much of each."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Every entity once, ascending."""
        ...

    @property
    def sizes(self) -> Ints:
        """Rows of each entity, shape [E]."""
        ...

    @property
    def n_rows(self) -> int:
        """Rows in all."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of the data: what a resumed run compares."""
        ...

    def describe(self) -> dict[str, Any]:
        """Kind, rows, entities, fingerprint, columns: JSON-ready."""
        ...

    def select(self, positions: Ints) -> BatchData:
        """Give the batch of the entities at some positions of ``ids``."""
        ...


def offsets_of(sizes: Ints) -> Ints:
    """Add up sizes, from 0: shape [E] to shape [E + 1]."""
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


def sort_rows(codes: Ints, ids: tuple[str, ...], times: Times, values: Floats) -> Rows:
    """Sort by entity and time, stably.

    Parameters
    ----------
    codes : ndarray of int64, shape [N]
        Position of each row's entity in ``ids``.
    ids : tuple of str, shape [E]
        Ascending, unique.
    times, values : ndarray, shape [N]
    """
    plain = times.view(np.int64)
    if not _is_sorted(codes, plain):
        order = np.lexsort((plain, codes))
        codes, times, values = codes[order], times[order], values[order]
    sizes = np.bincount(codes, minlength=len(ids)).astype(np.int64)
    return Rows(ids, offsets_of(sizes), times, values)


def join_rows(first: Rows, second: Rows) -> Rows:
    """Join the rows of different entities."""
    ids = tuple(sorted((*first.ids, *second.ids)))
    place = {unique_id: i for i, unique_id in enumerate(ids)}
    owners = [np.array([place[x] for x in rows.ids], np.int64) for rows in (first, second)]
    codes = [np.repeat(o, np.diff(r.offsets)) for o, r in zip(owners, (first, second), strict=True)]
    return sort_rows(
        np.concatenate(codes),
        ids,
        np.concatenate([first.times, second.times]),
        np.concatenate([first.values, second.values]),
    )


def _is_sorted(codes: Ints, times: Ints) -> bool:
    later = codes[1:] > codes[:-1]
    same = codes[1:] == codes[:-1]
    return bool(np.all(later | (same & (times[1:] >= times[:-1]))))
