"""Packing entities into batches.

Covers :func:`pack`, which sees sizes and counts only. Does not cover what a batch holds (``panel``)
or who works on it (``engine``).

A batch is a run of neighbours in the order of the ids, cut where its work is full: neighbours tend
to lie in the same file, so a batch that is read on a worker touches few files. The batches go out
longest work first, and the last ones are much shorter than the first: a worker that has nothing
left waits for the batches of the others, so it is they that must be short.

What an entity will cost is guessed from its rows; what the guess misses, such as a search that
takes long, is evened out by the short batches at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A batch takes this share of the work that is left for a worker: the rest evens it out.
_SHARE = 1 / 3
#: Entities in a batch of a large run: fewer cost Dask more, more are lost with a worker.
_LARGEST = 100
#: How much smaller the last batches are.
_SHRINK = 8
#: Below this a batch's own cost (its files, its messages) outweighs an even load.
_SMALLEST = 8
#: What an entity costs beside its rows, in rows; measured, from 48 to 1,920 months.
_ROWS_PER_ENTITY = 150


def pack(
    sizes: NDArray[np.int64], *, n_workers: int, batch_size: int | None = None
) -> list[NDArray[np.int64]]:
    """Put every entity into exactly one batch.

    Parameters
    ----------
    sizes : ndarray of int64, shape [E]
        Rows of each entity.
    n_workers : int
        Who will share the work; at least 1.
    batch_size : int or None
        Most entities in a batch. None gives each worker several batches, of up to 100 entities and
        smaller to the end, and ends a batch early where its entities are long.

    Returns
    -------
    list of ndarray of int64
        Positions of the entities, ascending within a batch; the batch with the most work first.

    Examples
    --------
    >>> import numpy as np
    >>> [batch.tolist() for batch in pack(np.array([9, 9, 500, 9]), n_workers=1, batch_size=2)]
    [[2, 3], [0, 1]]
    """
    n = len(sizes)
    if n == 0:
        return []
    if n_workers < 1 or (batch_size is not None and batch_size < 1):
        raise ValueError(
            f"n_workers and batch_size must be at least 1, found {n_workers} and {batch_size}"
        )
    work = np.asarray(sizes, np.int64) + _ROWS_PER_ENTITY
    first = _cuts(work, n_workers) if batch_size is None else np.arange(0, n, batch_size)
    totals = np.add.reduceat(work, first)
    batches = np.split(np.arange(n, dtype=np.int64), first[1:])
    return [batches[i] for i in np.argsort(-totals, kind="stable")]


def _cuts(work: NDArray[np.int64], n_workers: int) -> NDArray[np.int64]:
    """Cut the entities so that a batch takes a share of what is left: the first of each batch."""
    n, total = len(work), int(work.sum())
    even = -(-n // n_workers)
    largest = min(max(int(_SHARE * even), min(even, _SMALLEST)), _LARGEST)
    smallest = max(largest // _SHRINK, min(largest, _SMALLEST))
    low, high = smallest * total / n, largest * total / n
    ends = np.cumsum(work)
    first, done = [0], 0
    while True:
        full = done + min(max(_SHARE * (total - done) / n_workers, low), high)
        at = first[-1]
        stop = min(max(int(np.searchsorted(ends, full, "right")), at + 1), at + largest)
        if stop >= n:
            return np.array(first, np.int64)
        first.append(stop)
        done = int(ends[stop - 1])
