"""A history with new rows: what is taken, what says nothing new, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskcast.errors import DataError
from daskcast.panel import Rows, grow
from daskcast.panel.rows import join_rows, sort_rows

Told = dict[tuple[str, int], float]


def rows_of(told: list[tuple[str, int, float]], *, dates: bool = False) -> Rows:
    ids = tuple(sorted({unique_id for unique_id, _, _ in told}))
    codes = np.array([ids.index(unique_id) for unique_id, _, _ in told], np.int64)
    times = np.array([time for _, time, _ in told], np.int64)
    values = np.array([value for _, _, value in told], float)
    return sort_rows(codes, ids, times.view("M8[us]") if dates else times, values)


def told_by(rows: Rows) -> list[tuple[str, int, float]]:
    ids = np.repeat(rows.ids, np.diff(rows.offsets)).tolist()
    return list(zip(ids, rows.times.view(np.int64).tolist(), rows.values.tolist(), strict=True))


OLD = [("A", 1, 1.0), ("A", 2, 2.0), ("A", 4, np.nan), ("B", 1, 5.0)]


def test_new_rows_are_appended() -> None:
    """Rows after the last known time of their own entity come behind it; inputs stay."""
    old, new = rows_of(OLD), rows_of([("B", 2, 6.0), ("A", 5, 3.0)])
    before = told_by(old), told_by(new)
    grown = grow(old, new)
    np.testing.assert_equal(told_by(grown), sorted([*OLD, ("B", 2, 6.0), ("A", 5, 3.0)]))
    np.testing.assert_equal((told_by(old), told_by(new)), before)


def test_what_is_known_says_nothing_new() -> None:
    """The same rows again change nothing, missing values included."""
    np.testing.assert_equal(told_by(grow(rows_of(OLD), rows_of(OLD))), OLD)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("A", 2, 2.5), r"1 new rows change values that are known: 'A' at 2: 2.5, known is 2"),
        (("A", 4, 1.0), r"'A' at 4: 1, known is nan"),
        (("A", 1, np.nan), r"'A' at 1: nan, known is 1"),
        (("A", 3, 9.0), r"1 new rows lie before the last known time: 'A' at 3: 9; .*revise=True"),
        (("B", 0, 9.0), r"'B' at 0: 9"),
    ],
)
def test_contradictions_are_refused_unless_revised(row: tuple[str, int, float], told: str) -> None:
    """A correction of the history is named, and taken only when that is said."""
    with pytest.raises(DataError, match=told):
        grow(rows_of(OLD), rows_of([row]))
    grown = told_by(grow(rows_of(OLD), rows_of([row]), revise=True))
    rest = [one for one in OLD if one[:2] != row[:2]]
    np.testing.assert_equal(grown, sorted([*rest, row]))


def test_many_contradictions_are_shortened() -> None:
    """Five rows are shown, the others counted."""
    old = rows_of([("A", i, 1.0) for i in range(20)])
    with pytest.raises(DataError, match=r"20 new rows .* and 15 more"):
        grow(old, rows_of([("A", i, 2.0) for i in range(20)]))


def test_a_time_named_twice_is_refused_or_joined() -> None:
    """Repeated times among the new rows go by the option of the fit."""
    new = rows_of([("B", 2, 6.0), ("B", 2, 7.0)])
    with pytest.raises(DataError, match="name a time again: 'B' at 2: 7; give each time once"):
        grow(rows_of(OLD), new, revise=True)
    assert told_by(grow(rows_of(OLD), new, duplicates="sum"))[-1] == ("B", 2, 13.0)


def test_old_repetitions_are_compared_as_joined() -> None:
    """What is known of a repeated time is what the option made of it."""
    old = rows_of([("B", 1, 5.0), ("B", 1, 6.0)])
    grown = grow(old, rows_of([("B", 1, 11.0), ("B", 2, 1.0)]), duplicates="sum")
    assert told_by(grown) == [("B", 1, 11.0), ("B", 2, 1.0)]
    with pytest.raises(DataError, match="known is 11"):
        grow(old, rows_of([("B", 1, 5.0)]), duplicates="sum")


def test_times_of_another_kind_are_refused() -> None:
    """Dates do not follow whole numbers."""
    with pytest.raises(DataError, match="new rows are dates, those of the history are whole"):
        grow(rows_of(OLD), rows_of([("A", 5, 1.0)], dates=True))


def test_times_that_could_not_be_read_are_refused() -> None:
    """A missing time in the new rows is no time before the first one."""
    new = rows_of([("A", np.iinfo(np.int64).min, 1.0), ("A", 3, 1.0)], dates=True)
    with pytest.raises(DataError, match="1 new rows have a time that is missing"):
        grow(rows_of(OLD, dates=True), new, revise=True)


def test_nothing_new() -> None:
    """No rows leave the history as it is."""
    grown = grow(rows_of(OLD), rows_of(OLD).take(np.empty(0, np.int64)))
    np.testing.assert_equal(told_by(grown), OLD)


TABLES = st.dictionaries(
    st.tuples(st.sampled_from("ABC"), st.integers(0, 6)), st.sampled_from([1.0, 2.0]), min_size=1
)


@given(TABLES, TABLES)
def test_as_dictionaries_do(old: Told, new: Told) -> None:
    """With revise, the history is a dictionary that is updated; without, only what appends."""
    new = {
        key: value for key, value in new.items() if key[0] in {unique_id for unique_id, _ in old}
    }
    held, fresh = (rows_of([(*k, v) for k, v in table.items()]) for table in (old, new or old))
    expected = sorted((*key, value) for key, value in {**old, **(new or old)}.items())
    assert told_by(grow(held, fresh, revise=True)) == expected
    last = {unique_id: max(t for i, t in old if i == unique_id) for unique_id, _ in old}
    fine = all(
        old.get(key, value if key[1] > last[key[0]] else None) == value
        for key, value in new.items()
    )
    if fine:
        assert told_by(grow(held, fresh)) == expected
    else:
        with pytest.raises(DataError):
            grow(held, fresh)


def test_join_rows() -> None:
    """Different entities come together in the order of their ids."""
    first, second = rows_of([("A", 1, 1.0), ("C", 1, 3.0)]), rows_of([("B", 2, 2.0)])
    joined = join_rows(first, second)
    assert joined.ids == ("A", "B", "C")
    assert told_by(joined) == [("A", 1, 1.0), ("B", 2, 2.0), ("C", 1, 3.0)]
