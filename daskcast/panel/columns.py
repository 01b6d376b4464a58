"""The user's columns: there or not, ids as text, targets as floats.

Covers turning Arrow columns of whatever type into plain arrays, and the words for what is wrong
with them. Does not cover the time column (``times``), where columns come from (``readers``,
``folder``) or what the values of one entity mean (``grid``).

Ids are kept as they are written. An id that is missing or empty names no entity, so it is a
problem of the table.

Shapes: N rows.
"""

from __future__ import annotations

import difflib
import logging
import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daskcast.panel import limits
from daskcast.redact import redact_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.panel.rows import Bools, Ints
    from daskcast.records import Columns, Floats

logger = logging.getLogger(__name__)

#: What the user calls the option that names a column.
OPTIONS = {"entity": "id_col", "time": "time_col", "target": "target_col"}


NAMELESS = "an id that is missing or empty"
_READ_BY_PANDAS = (
    "; pandas reads NA and null as missing, unless read_csv is told keep_default_na=False"
)


def missing_columns(found: Sequence[object], columns: Columns) -> list[str]:
    """Say which of the user's columns are not there, or are there twice.

    Parameters
    ----------
    found : sequence of str
        Names of the table's columns.
    columns : Columns
    """
    names = [str(name) for name in found]
    problems = []
    for role, option in OPTIONS.items():
        wanted = getattr(columns, role)
        count = names.count(wanted)
        if count == 0:
            problems.append(
                f"no column {wanted!r} for the {role} ({option}); {_suggestion(wanted, names)}"
            )
        elif count > 1:
            problems.append(
                f"column {wanted!r} for the {role} ({option}) is there {count} times; "
                "rename or drop the others"
            )
    return problems


def tell_unread(found: Sequence[object], columns: Columns) -> None:
    """Log the names of the columns that are not read.

    Parameters
    ----------
    found : sequence of str
        Names of the table's columns.
    columns : Columns
    """
    read = {columns.entity, columns.time, columns.target}
    if others := [name for name in map(str, found) if name not in read]:
        logger.info("columns that are not read: %s", shorten(others))


def _suggestion(wanted: str, names: list[str]) -> str:
    lower = {name.lower(): name for name in reversed(names)}
    near = difflib.get_close_matches(wanted.lower(), lower, n=1)
    if near:
        return f"did you mean {lower[near[0]]!r}? Found {shorten(names)}"
    if len(names) == 1 and (mark := next((m for m in ";\t|" if m in names[0]), None)):
        return f"the file seems to be separated by {mark!r}, expected ','; found {shorten(names)}"
    return f"found {shorten(names)}; give the right name"


def shorten(values: Sequence[object]) -> str:
    """Show a few values of many, for a message."""
    short = reprlib.Repr()
    short.maxlist, short.maxstring, short.maxother = 8, 60, 60
    shown = [redact_text(value) if isinstance(value, str) else value for value in values]
    return short.repr(shown)[1:-1] or "none"


def quote(value: object) -> str:
    """Show one value, shortened, for a message; credentials go first, as half a URI hides none."""
    short = reprlib.Repr()
    short.maxstring, short.maxother = 60, 60
    return short.repr(redact_text(value) if isinstance(value, str) else value)


def plain_ids(column: Any, name: str) -> tuple[Ints, tuple[str, ...], list[str]]:
    """Turn ids of any type into text.

    Parameters
    ----------
    column : pyarrow.ChunkedArray, shape [N]
    name : str

    Returns
    -------
    codes : ndarray of int64, shape [N]
        Position of each row's id in ``ids``.
    ids : tuple of str
        Those that occur, ascending.
    problems : list of str
    """
    try:
        array = encoded(column)
        if problems := limits.long_ids(_longest(array.dictionary), name):
            return _no_ints(), (), problems
        texts = array.dictionary.cast(pa.large_string()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        problem = f"column {name!r} must hold ids that can be written as text, found {column.type}"
        return _no_ints(), (), [f"{problem}: {error}"]
    nameless = np.array([not text for text in texts] + [True])
    raw = np.asarray(pc.fill_null(array.indices, len(texts)), np.int64)
    missing = nameless[raw]
    if missing.any():
        return _no_ints(), (), [rows_with(name, missing, NAMELESS) + _READ_BY_PANDAS]
    used = np.flatnonzero(np.bincount(raw, minlength=len(texts)))
    ids = tuple(sorted({texts[i] for i in used}))
    place = {text: i for i, text in enumerate(ids)}
    table = np.zeros(len(texts), np.int64)
    table[used] = [place[texts[i]] for i in used]
    return table[raw], ids, []


def _longest(ids: Any) -> int:
    """Give the bytes of the longest text; numbers are short."""
    types = pa.types
    if not (types.is_string(ids.type) or types.is_large_string(ids.type)):
        return 0
    return pc.max(pc.binary_length(ids)).as_py() or 0


def count_ids(column: Any, name: str) -> tuple[Any, Ints, list[str]]:
    """Count the rows of each id, without a text of Python for any of them.

    Parameters
    ----------
    column : pyarrow.ChunkedArray, shape [N]
    name : str

    Returns
    -------
    ids : pyarrow.LargeStringArray
        Those that occur.
    counts : ndarray of int64
        Rows of each of them.
    problems : list of str
    """
    try:
        array = encoded(column)
        if problems := limits.long_ids(_longest(array.dictionary), name):
            return pa.array([], pa.large_string()), _no_ints(), problems
        texts = array.dictionary.cast(pa.large_string())
        texts.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.array([], pa.large_string()), _no_ints(), plain_ids(column, name)[2]
    counts = np.bincount(array.indices.drop_null().to_numpy(), minlength=len(texts))
    used = np.flatnonzero(counts)
    ids = texts.take(pa.array(used))
    if array.null_count or ids.null_count or pc.any(pc.equal(pc.binary_length(ids), 0)).as_py():
        return ids.slice(0, 0), _no_ints(), plain_ids(column, name)[2]
    return ids, counts[used].astype(np.int64), []


def encoded(column: Any) -> Any:
    """Make one dictionary array of a chunked column of any type."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    combined = column.unify_dictionaries().combine_chunks()
    if isinstance(combined, pa.ChunkedArray):  # of no rows, or of one chunk, in some versions
        return combined.chunk(0) if combined.num_chunks else pa.array([], column.type)
    return combined


def plain_values(column: Any, name: str) -> tuple[Floats, list[str]]:
    """Turn a numeric column into floats, missing ones into NaN.

    Parameters
    ----------
    column : pyarrow.ChunkedArray, shape [N]
    name : str

    Returns
    -------
    values : ndarray of float64, shape [N]
    problems : list of str
    """
    problems = target_type_problems(column.type, name)
    if problems:
        if len(column) and column.null_count < len(column):
            first = int(np.flatnonzero(column.is_valid().to_numpy())[0])
            problems = [f"{problems[0]}; the first is {quote(column[first].as_py())}"]
        return np.empty(0), problems
    floats = column.cast(pa.float64(), safe=False)
    return np.asarray(floats.to_numpy(), np.float64), []


def target_type_problems(kind: Any, name: str) -> list[str]:
    """Say what is wrong with the type of a target column."""
    types = pa.types
    numeric = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    if numeric or types.is_null(kind):
        return []
    return [
        f"column {name!r} must be numeric, found {kind}; convert it first (pandas.to_numeric does)"
    ]


def rows_with(name: str, bad: Bools, what: str) -> str:
    """Say how many rows have a fault, and which is the first."""
    count, first = int(bad.sum()), int(np.flatnonzero(bad)[0]) + 1
    rows = "row has" if count == 1 else "rows have"
    return f"column {name!r}: {count} of {len(bad)} {rows} {what}; the first is in row {first}"


def _no_ints() -> Ints:
    return np.empty(0, np.int64)
