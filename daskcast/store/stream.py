"""A run folder read bit by bit, so that the reader's memory does not follow the run.

Covers going through a table a few batches at a time, and checking that every entity has come to an
end. Does not cover reading whole tables (``folder``) or finding one entity (``query``).

Shapes: E entities of the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daskcast.store.layout import batch_names, marker_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from daskcast.store.folder import RunFolder
    from daskcast.store.schema import Table

#: Rows at a time: enough that a step over them costs little, few enough to hold.
N_ROWS = 5_000


def committed(folder: RunFolder) -> list[str]:
    """Name the batches whose marker is valid; their parts are checked when they are read."""
    files, found = folder.files, []
    for name in batch_names(files):
        try:
            valid = marker_of(files, name) is not None
        except FileNotFoundError:  # removed since it was listed
            valid = False
        if valid:
            found.append(name)
    return found


def stream(folder: RunFolder, table: Table, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Read some columns of a table, a few batches at a time.

    Yields
    ------
    pyarrow.Table
        As of :meth:`RunFolder.read`, of thousands of rows; empty for a run without batches.
    """
    held: list[pa.Table] = [folder.read(table, [], columns=columns)]
    n_rows = 0
    for name in committed(folder):
        part = folder.read(table, [name], columns=columns)
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
    stored = folder.read("entities", columns=["unique_id"])["unique_id"]
    found = pc.index_in(stored, value_set=pa.array(ids, stored.type))
    places = pc.drop_null(found).to_numpy()
    return np.bincount(places, minlength=len(ids)).astype(np.int64), found.null_count
