"""Entities that are done again: their rows are new, all others as they were."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import failed_result, ok_result

from daskcast.errors import StoreError
from daskcast.store import RunFolder
from daskcast.store.schema import TABLES

NAMES = ("AAA", "BBB", "CCC", "DDD", "EEE")
SAME_FOLDER = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@SAME_FOLDER
@given(again=st.sets(st.sampled_from(NAMES), min_size=1), good=st.sets(st.sampled_from(NAMES)))
def test_it_is_as_if_written_so_at_once(folder: RunFolder, again: set[str], good: set[str]) -> None:
    """Whoever is done again, the tables and the marker are those of one write."""
    first = [ok_result(x) if x in good else failed_result(x) for x in NAMES]
    redone = {x: ok_result(x, attempt=2, seconds=0.5) for x in again}
    for name in ("b1", "b2"):
        folder.files.remove(f"batches/{name}.json")
    folder.write_batch("b1", first, [{"entity": "AAA", "message": "one"}])
    amended = folder.amend_batch(
        "b1", [redone[x] for x in NAMES if x in again], [{"entity": "BBB", "message": "two"}]
    )
    logs = [{"entity": "AAA", "message": "one"}, {"entity": "BBB", "message": "two"}]
    result = [redone.get(one.unique_id, one) for one in first]
    whole = folder.write_batch("b2", result, logs)
    for table in TABLES:
        one, two = (folder.read(table, [name]) for name in ("b1", "b2"))
        if "batch" in one.column_names:
            one, two = one.drop_columns("batch"), two.drop_columns("batch")
        assert one.equals(two)
    assert amended.same_work(whole)
    counts = ("n_entities", "n_ok", "n_fallback", "n_failed", "n_trials")
    assert [getattr(amended, n) for n in counts] == [getattr(whole, n) for n in counts]
    assert amended.parts["logs"] == whole.parts["logs"]
    assert set(folder.finished()) == {"b1", "b2"}


def test_twice_the_same_is_once(local: RunFolder) -> None:
    """A task that ran twice changes no byte of what was durable first."""
    local.write_batch("b1", [failed_result("JFK"), ok_result("LGA")])
    first = local.amend_batch("b1", [ok_result("JFK", attempt=2)])
    before = {p: p.stat().st_mtime_ns for p in Path(local.url).rglob("*") if p.is_file()}
    assert local.amend_batch("b1", [ok_result("JFK", attempt=2, seconds=9.0)]) == first
    assert before == {p: p.stat().st_mtime_ns for p in Path(local.url).rglob("*") if p.is_file()}


def test_who_was_not_there_is_refused(folder: RunFolder) -> None:
    """New entities do not slip into a batch, and the batch stays as it was."""
    marker = folder.write_batch("b1", [ok_result("JFK")])
    with pytest.raises(StoreError, match=r"b1 of the run folder .* has not all of the entities"):
        folder.amend_batch("b1", [ok_result("LGA", attempt=2)])
    assert folder.finished() == {"b1": marker}


def test_a_batch_that_does_not_count_is_refused(folder: RunFolder) -> None:
    """There is nothing to put new rows into; the message says what to do."""
    folder.write_batch("b1", [failed_result("JFK")])
    folder.files.remove("batches/b1.json")
    with pytest.raises(StoreError, match=r"b1 of the run folder .* resume the run"):
        folder.amend_batch("b1", [ok_result("JFK", attempt=2)])


@pytest.mark.parametrize("n_writes", range(6))
def test_a_crash_in_between_leaves_no_mixture(
    n_writes: int, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any number of its writes the batch is the old one, the new one, or does not count."""
    before = folder.write_batch("b1", [failed_result("JFK"), ok_result("LGA")], [{"message": "1"}])
    write, written = type(folder.files).write, []

    def dies(files: Any, name: str, data: bytes) -> None:
        if len(written) == n_writes:
            raise KeyboardInterrupt
        written.append(name)
        write(files, name, data)

    after = None
    with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
        patched.setattr(type(folder.files), "write", dies)
        after = folder.amend_batch("b1", [ok_result("JFK", attempt=2)], [{"message": "2"}])
    assert folder.finished() in ({}, {"b1": before}, {"b1": after})
    assert (after is not None) == (n_writes == 5)
