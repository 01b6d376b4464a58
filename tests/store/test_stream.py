"""Reading a run bit by bit, and calling the roll of its entities."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from store_samples import ODD_IDS, failed_result, ok_result

from daskcast.store import RunFolder, roll_call
from daskcast.store import stream as streams
from daskcast.store.stream import committed, stream


@pytest.mark.parametrize("n_rows", [1, 5, 1_000])
def test_the_parts_are_the_table(folder: RunFolder, monkeypatch, n_rows: int) -> None:
    """However many rows are read at a time, together they are what is read at once."""
    monkeypatch.setattr(streams, "N_ROWS", n_rows)
    for number in range(4):
        folder.write_batch(f"b{number}", [ok_result(f"{number}-{i}") for i in range(2)])
    parts = list(stream(folder, "trials", ["unique_id", "trial"]))
    assert pa.concat_tables(parts).equals(folder.read("trials", columns=["unique_id", "trial"]))
    assert len(parts) == {1: 4, 5: 2, 1_000: 1}[n_rows]


def test_a_run_without_batches_streams_an_empty_table(folder: RunFolder) -> None:
    """There is one part, with the columns and no rows."""
    [part] = stream(folder, "entities", ["unique_id", "skill"])
    assert part.column_names == ["unique_id", "skill"]
    assert part.num_rows == 0


def test_a_damaged_marker_does_not_count(folder: RunFolder) -> None:
    """Only batches with a valid marker are gone through."""
    folder.write_batch("b1", [ok_result("JFK")])
    folder.write_batch("b2", [ok_result("LGA")])
    folder.files.write("batches/b2.json", b"{")
    assert committed(folder) == ["b1"]


def test_the_roll_is_called(folder: RunFolder) -> None:
    """Everybody is found once, twice or not at all; strangers are counted."""
    folder.write_batch("b1", [ok_result("JFK"), ok_result("LGA")])
    folder.write_batch("b2", [failed_result("LGA", attempt=2), ok_result("who?")])
    counts, n_others = roll_call(folder, ("EWR", "JFK", "LGA"))
    assert counts.tolist() == [0, 1, 2]
    assert n_others == 1


def test_the_roll_of_odd_ids(folder: RunFolder) -> None:
    """Ids are compared as they are written."""
    folder.write_batch("b1", [ok_result(x) for x in ODD_IDS])
    counts, n_others = roll_call(folder, sorted(ODD_IDS))
    np.testing.assert_array_equal(counts, 1)
    assert n_others == 0
    assert roll_call(folder, ())[1] == len(ODD_IDS)
