"""Packing entities into batches.

Covers :func:`pack`, which sees sizes and counts only. Does not cover what a batch holds (``panel``)
or who works on it (``engine``).

A batch is a run of neighbours in the order of the ids, cut where its work is full: neighbours tend
to lie in the same file, so a batch that is read on a worker touches few files. The batches then go
out longest work first, so that the last ones to finish are short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Batches each worker gets in a small run: enough to even out their different durations.
_BATCHES_PER_WORKER = 8
#: Entities in a batch of a large run: fewer cost Dask more, more make a long tail.
_LARGEST = 100
#: Below this a batch's own cost (its files, its messages) outweighs an even load.
_SMALLEST = 8
#: What an entity costs beside its rows, in rows.
_ROWS_PER_ENTITY = 30


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
        Most entities in a batch. None gives each worker several batches, of up to 100 entities,
        and ends a batch early where its entities are long.

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
    if batch_size is None:
        batch_size = _default_size(n, n_workers)
        bins = _cuts(work, batch_size, most_work=-(-int(work.sum()) * batch_size // n))
    else:
        bins = np.arange(n, dtype=np.int64) // batch_size
    totals = np.bincount(bins, weights=work)
    batches = np.split(np.arange(n, dtype=np.int64), np.flatnonzero(np.diff(bins)) + 1)
    return [batches[i] for i in np.argsort(-totals, kind="stable")]


def _default_size(n: int, n_workers: int) -> int:
    even = -(-n // (n_workers * _BATCHES_PER_WORKER))
    everyone = -(-n // n_workers)
    return min(max(even, min(everyone, _SMALLEST)), _LARGEST)


def _cuts(work: NDArray[np.int64], most: int, *, most_work: int) -> NDArray[np.int64]:
    """Cut where the next entity would overfill a batch: number of its batch, shape [E]."""
    bins = np.empty(len(work), np.int64)
    number, count, load = 0, 0, 0
    for i, cost in enumerate(work.tolist()):
        if count and (count == most or load + cost > most_work):
            number, count, load = number + 1, 0, 0
        bins[i] = number
        count, load = count + 1, load + cost
    return bins
