"""Batches as delayed parts of a Dask bag.

Covers the graph and what a part of it does. Does not cover who computes it.

The bag is mapped by ``map_partitions`` with a function that returns a list, never by ``Bag.map``,
which loses the rest of a partition without a word when an item leaks a ``StopIteration``
(dask/dask#3545).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask import bag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dask.delayed import Delayed

    from daskcast.records import BatchReceipt
    from daskcast.work import Batch, Computed

    Work = Callable[[Batch], BatchReceipt | Computed]


def _do_part(part: Sequence[Batch], work: Work) -> list[BatchReceipt | Computed]:
    """Do the batches of one partition of the bag; the list is what keeps entities from vanishing.

    A ``StopIteration`` that leaks from ``work`` must not end an iteration of Dask's quietly.
    """
    outcomes = []
    for batch in part:
        try:
            outcomes.append(work(batch))
        except StopIteration as error:
            raise RuntimeError(f"batch {batch.name} leaked a StopIteration") from error
    return outcomes


def is_part(key: object) -> bool:
    """Tell by its key whether a task is of such a graph."""
    return _do_part.__name__ in str(key)


def parts_of(batches: Sequence[Batch], work: Work) -> list[Delayed]:
    """One delayed part for each batch, in the order given. Nothing is computed here."""
    held = bag.from_sequence(batches, partition_size=1)
    parts: list[Delayed] = held.map_partitions(_do_part, work=work).to_delayed()
    assert len(parts) == len(batches)
    return parts
