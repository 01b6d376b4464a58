"""A run folder read bit by bit, so that the reader's memory does not follow the run.

Covers going through a table a few batches at a time, and checking that every entity has come to an
end. Does not cover reading whole tables (``folder``) or finding one entity (``query``).

Shapes: E entities of the input.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daskcast.store.files import is_local
from daskcast.store.layout import batch_names, marker_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from daskcast.store.folder import RunFolder
    from daskcast.store.schema import Table

_T = TypeVar("_T")

#: Files read at once where that is not this machine.
N_READERS = 16
#: Rows at a time: enough that a step over them costs little, few enough to hold.
N_ROWS = 5_000


def committed(folder: RunFolder) -> list[str]:
    """Name the batches whose marker is valid; their parts are checked when they are read."""
    files = folder.files

    def is_valid(name: str) -> bool:
        try:
            return marker_of(files, name) is not None
        except FileNotFoundError:  # removed since it was listed
            return False

    names = batch_names(files)
    return [n for n, valid in zip(names, _ahead(folder, is_valid, names), strict=True) if valid]


def each(
    folder: RunFolder, table: Table, batches: Iterable[str], columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Read the part of a table of each of some batches, one after another."""
    return _ahead(folder, lambda name: folder.read(table, [name], columns=columns), list(batches))


def stream(folder: RunFolder, table: Table, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Read some columns of a table, a few batches at a time.

    Yields
    ------
    pyarrow.Table
        As of :meth:`RunFolder.read`, of thousands of rows; empty for a run without batches.
    """
    held: list[pa.Table] = [folder.read(table, [], columns=columns)]
    n_rows = 0
    for part in each(folder, table, committed(folder), columns):
        held.append(part)
        n_rows += len(part)
        if n_rows >= N_ROWS:
            yield pa.concat_tables(held)
            held, n_rows = [], 0
            pa.default_memory_pool().release_unused()
    if held:
        yield pa.concat_tables(held)


def roll_call(folder: RunFolder, ids: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    """Count the rows that each entity has in ``entities``.

    Parameters
    ----------
    folder : RunFolder
    ids : sequence of str, length E
        Who is expected.

    Returns
    -------
    counts : ndarray of int64, shape [E]
    n_others : int
        Rows of who is not expected.
    """
    parts = stream(folder, "entities", ["unique_id"])
    stored = pa.chunked_array([chunk for part in parts for chunk in part["unique_id"].chunks])
    found = pc.index_in(stored, value_set=pa.array(ids, stored.type))
    places = pc.drop_null(found).to_numpy()
    return np.bincount(places, minlength=len(ids)).astype(np.int64), found.null_count


def _ahead(folder: RunFolder, read: Callable[[str], _T], names: Sequence[str]) -> Iterator[_T]:
    """Read for each name, in order; of a place that takes its time several at once."""
    if is_local(folder.url):
        yield from map(read, names)
        return
    with ThreadPoolExecutor(N_READERS) as pool:
        for at in range(0, len(names), N_READERS):
            yield from pool.map(read, names[at : at + N_READERS])
