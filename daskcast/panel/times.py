"""The time column: dates, timestamps, ISO text or whole numbers as plain times.

Covers reading them on the client, where what cannot be read is a problem of the table, and on a
worker, where it is one of its entity. Does not cover the other columns (``columns``) or the step
between times (``infer``).

Dates written as YYYYMMDD are read where the column is text, and refused where it holds numbers,
as YYYYMM always is: as an index they would have steps that are no steps of time.

Shapes: N rows, U different texts.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daskcast.panel.columns import encoded, quote, rows_with
from daskcast.panel.rows import MISSING_TIME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.panel.rows import Bools, Ints
    from daskcast.records import Times

_WHOLE = re.compile(r"[+-]?\d{1,18}")
_YEAR_MONTH = re.compile(r"\d{4}-\d{2}")
_ISO_START = re.compile(r"\d{4}-?(\d{2}|W\d{2})")
_YEARS = (1800, 2200)


def plain_times(column: Any, name: str) -> tuple[Times, list[str]]:
    """Turn dates, timestamps, ISO text or whole numbers into plain times.

    Parameters
    ----------
    column : pyarrow.ChunkedArray, shape [N]
    name : str

    Returns
    -------
    times : ndarray of datetime64[us] or int64, shape [N]
        What is missing or cannot be read is ``NaT`` or the lowest whole number.
    problems : list of str
        Where there are any, the times are not to be used; but see ``folder``.
    """
    problems = time_type_problems(column.type, name)
    if problems:
        return _no_times(), problems
    kind = column.type
    if pa.types.is_dictionary(kind) or is_text(kind):
        array = encoded(column)
        texts, problems = _distinct_times(array.dictionary, name)
        if problems:
            return _no_times(), problems
        times = _spread(texts, array)
        return times, _unread(times, array, name)
    times, problems = _cast_times(column, name)
    if not problems and times.dtype == np.int64:
        problems = disguised_dates(times.view(np.int64), name)
    return times, problems or _unread(times, column, name)


def plain_times_or_missing(column: Any, *, whole: bool) -> Times:
    """Read times whose type was checked before; what is no time counts as missing.

    Parameters
    ----------
    column : pyarrow.ChunkedArray, shape [N]
    whole : bool
        Whether they are an index of whole numbers; a batch must not guess it from its own rows.
    """
    array = encoded(column)
    if is_text(array.dictionary.type):
        words = words_of(array.dictionary)
        known = read_numbers(words) if whole else read_dates(words, array.dictionary)
    elif whole:
        floats = pc.cast(array.dictionary, pa.float64(), safe=False)
        exact = pc.equal(pc.floor(floats), floats)
        kept = pc.if_else(exact, array.dictionary, pa.scalar(None, array.dictionary.type))
        known = np.asarray(pc.fill_null(kept.cast(pa.int64(), safe=False), MISSING_TIME), np.int64)
    else:
        bits = _microseconds(array.dictionary).cast(pa.int64())
        known = np.asarray(pc.fill_null(bits, MISSING_TIME), np.int64).view("M8[us]")
    return _spread(known, array)


def _spread(known: Times, array: Any) -> Times:
    """Give each row of a dictionary array its time, shape [N]."""
    bits = np.append(known.view(np.int64), MISSING_TIME)
    rows = bits[np.asarray(pc.fill_null(array.indices, len(known)), np.int64)]
    return rows.view("M8[us]") if known.dtype.kind == "M" else rows


def time_type_problems(kind: Any, name: str) -> list[str]:
    """Say what is wrong with the type of a time column."""
    types = pa.types
    if types.is_dictionary(kind):
        return time_type_problems(kind.value_type, name)
    if types.is_timestamp(kind) and kind.tz is not None:
        return [zoned_problem(name, f"times in the zone {kind.tz}")]
    if any(test(kind) for test in (types.is_timestamp, types.is_date, is_text, is_whole)):
        return []
    return [f"column {name!r} must hold dates, ISO text or whole numbers, found {kind}"]


def is_text(kind: Any) -> bool:
    """Tell whether an Arrow type is text."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def zoned_problem(name: str, found: str) -> str:
    """Say what to do with times that have a zone."""
    return (
        f"column {name!r} holds {found}; expected times without a zone: convert them to local time "
        "(in pandas: .dt.tz_localize(None)) or to UTC and drop the zone"
    )


def _cast_times(column: Any, name: str) -> tuple[Times, list[str]]:
    """Cast a column that is no text: times [N], problems."""
    whole = is_whole(column.type)
    try:
        plain = column.cast(pa.int64()) if whole else _microseconds(column)
    except pa.ArrowInvalid as error:
        what = "whole numbers" if whole else "times between the years -290,000 and 290,000"
        return _no_times(), [f"column {name!r} must hold {what}, found {column.type}: {error}"]
    bits = np.asarray(pc.fill_null(plain.cast(pa.int64()), MISSING_TIME).to_numpy(), np.int64)
    return (bits if whole else bits.view("M8[us]")), []


def is_whole(kind: Any) -> bool:
    """Tell whether an Arrow type, known to fit times, stands for an index of whole numbers."""
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _microseconds(column: Any) -> Any:
    """Cast dates and timestamps; what is finer than a microsecond is cut off."""
    if pa.types.is_date64(column.type):
        column = column.cast(pa.timestamp("ms"))
    finer = pa.types.is_timestamp(column.type) and column.type.unit == "ns"
    return column.cast(pa.timestamp("us"), safe=not finer)


def _distinct_times(texts: Any, name: str) -> tuple[Times, list[str]]:
    """Read the different texts of a time column: times [U], problems."""
    if not is_text(texts.type):
        return _cast_times(texts, name)
    words = words_of(texts)
    filled = [word for word in words if word]
    if filled and all(_WHOLE.fullmatch(word) for word in filled) and not _compact(filled):
        numbers = read_numbers(words)
        return numbers, disguised_dates(numbers, name)
    if any(aware := [word for word in filled if _has_zone(word)]):
        return _no_times(), [zoned_problem(name, f"times with a zone, such as {quote(aware[0])}")]
    return read_dates(words, texts), []


def holds_whole_numbers(column: Any) -> bool:
    """Tell whether all texts of a time column are whole numbers, and not dates as YYYYMMDD."""
    words = [word for word in words_of(encoded(column).dictionary) if word]
    return bool(words) and all(_WHOLE.fullmatch(w) for w in words) and not _compact(words)


def words_of(texts: Any) -> list[str]:
    """Give the texts of an array without spaces around them; empty where missing."""
    return [text.strip() if text is not None else "" for text in texts.to_pylist()]


def read_numbers(words: Sequence[str]) -> Ints:
    """Read whole numbers; the lowest one where a word is none."""
    return np.array(
        [int(word) if _WHOLE.fullmatch(word) else MISSING_TIME for word in words], np.int64
    )


def read_dates(words: Sequence[str], texts: Any) -> Times:
    """Read dates in ISO form; ``NaT`` where a word is none, or has a time zone."""
    try:
        return np.asarray(texts.cast(pa.timestamp("us")).fill_null(_nat()).to_numpy())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.array([_read_date(word) for word in words], "M8[us]")


def _nat() -> Any:
    return pa.scalar(MISSING_TIME, pa.int64()).cast(pa.timestamp("us"))


def _read_date(word: str) -> np.datetime64:
    if _YEAR_MONTH.fullmatch(word):
        word += "-01"
    if not _ISO_START.match(word) or _has_zone(word):
        return np.datetime64("NaT")
    try:
        return np.datetime64(datetime.fromisoformat(word), "us")
    except ValueError:
        return np.datetime64("NaT")


def _has_zone(word: str) -> bool:
    return bool(re.search(r"\d([zZ]|[T ]\d.*[+-]\d{2}(:?\d{2})?)$", word))


def _compact(words: list[str]) -> bool:
    """Tell whether all words are dates written as YYYYMMDD."""
    if any(len(word) != len("20200131") for word in words):
        return False
    return not np.isnat(np.array([_read_date(word) for word in words])).any()


def disguised_dates(numbers: Ints, name: str) -> list[str]:
    """Refuse YYYYMM and YYYYMMDD as whole numbers: their steps are not steps of time."""
    known = numbers[numbers != MISSING_TIME]
    if not len(known):
        return []
    year, day = np.divmod(known, 10_000)
    month, day = np.divmod(day, 100)
    dates = _within(year, *_YEARS) & _within(month, 1, 12) & _within(day, 1, 31)
    year6, month6 = np.divmod(known, 100)
    months = _within(year6, *_YEARS) & _within(month6, 1, 12)
    for found, form, several in (
        (dates, "YYYYMMDD", len(np.unique(known // 100)) > 1),
        (months, "YYYYMM", len(np.unique(year6)) > 1),
    ):
        if several and bool(found.all()):
            return [
                f"column {name!r} holds whole numbers that look like dates written as {form}, such "
                f"as {known[0]}; write them as dates, such as 2020-01-31 or 2020-01"
            ]
    return []


def _within(numbers: Ints, low: int, high: int) -> Bools:
    return np.asarray((numbers >= low) & (numbers <= high))


def _unread(times: Times, column: Any, name: str) -> list[str]:
    """Tell of a column of which most is no time; a few such rows are their entities' trouble."""
    bad = times.view(np.int64) == MISSING_TIME
    if 2 * np.count_nonzero(bad) <= len(bad):
        return []
    found = column[int(np.flatnonzero(bad)[0])].as_py()
    what = "is missing" if found is None or found == "" else f"is {quote(found)}"
    return [
        rows_with(name, bad, "a time that is missing or is no date in ISO form (2020-01-31)")
        + f" and {what}"
    ]


def _no_times() -> Times:
    return np.empty(0, "M8[us]")
