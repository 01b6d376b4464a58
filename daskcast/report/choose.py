"""Who is drawn in a report, and why.

Covers a look at all forecasts, batch by batch, and choosing from them and from the scores. Does not
cover drawing (``chart``) or the page (``page``).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from daskcast.records import Status
from daskcast.store.stream import each

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from daskcast.panel import Source
    from daskcast.store import RunFolder

    Floats = NDArray[np.float64]
    #: The end of an entity's history: times and values.
    History = Mapping[str, tuple[NDArray[Any], Floats]]

#: What bounds the page: plots, points of history in a plot. Of more entities than the third number
#: only so many have their history read to find the largest growth.
N_PLOTS, N_HISTORY, N_CANDIDATES = 12, 144, 500

_N_END, _N_MIDDLE, _N_UNSCORED = 3, 2, 2
#: Below this share of an entity's usual size a level counts as nothing to compare with.
_SMALL = 0.01

#: Days of a step, from and to, and its name.
_STEPS = (
    (0.99 / 24, 1.01 / 24, "hourly"),
    (0.99, 1.01, "daily"),
    (1.2, 1.7, "on business days"),
    (6.9, 7.1, "weekly"),
    (28, 31, "monthly"),
    (89, 92.5, "quarterly"),
    (365, 366, "yearly"),
)
_SIDES = ("lo", "hi")
_DAY = 86_400_000_000  # microseconds
_COLUMNS = ["unique_id", "size", "width", "rise", "steps", "days"]


def outlook(folder: RunFolder, batches: Iterable[str]) -> pd.DataFrame:
    """Look at the forecasts of some batches, one batch in memory at a time.

    Parameters
    ----------
    folder : RunFolder
    batches : iterable of str

    Returns
    -------
    DataFrame
        One row for each entity that has a forecast: mean absolute ``size``, ``width`` of the
        widest interval and ``rise`` of the largest over the smallest step, both relative,
        number of ``steps``, ``days`` of a step (NaN for whole-numbered times).
    """
    parts = [_outlook(part) for part in each(folder, "forecasts", batches) if len(part)]
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype=np.float64) for name in _COLUMNS})
    ids = pa.chunked_array([chunk for ids, _ in parts for chunk in ids.chunks])
    numbers = {name: np.concatenate([found[name] for _, found in parts]) for name in _COLUMNS[1:]}
    return pd.DataFrame({"unique_id": ids.to_pandas(), **numbers})


def _outlook(table: pa.Table) -> tuple[pa.ChunkedArray, dict[str, NDArray[Any]]]:
    """Look at one batch: the rows of an entity follow each other, as they were written."""
    cutoff = _bits(table["cutoff"])
    first = _firsts(table["unique_id"])
    last = np.maximum.reduceat(cutoff, first)
    own = cutoff == np.repeat(last, np.diff([*first, len(table)]))
    table, cutoff = table.filter(pa.array(own)), cutoff[own]  # of a backtest the last window
    first = _firsts(table["unique_id"])
    steps = np.diff([*first, len(table)])
    levels = [name.partition("-lo-")[2] for name in table.column_names if "-lo-" in name]
    low, high = (_values(table[f"daskcast-{side}-{max(levels, key=float)}"]) for side in _SIDES)
    sizes = np.abs(_values(table["daskcast"]))
    size = np.add.reduceat(sizes, first) / steps
    days = np.full(len(first), np.nan)
    if pa.types.is_timestamp(table.schema.field("ds").type):
        span = np.maximum.reduceat(_bits(table["ds"]), first) - cutoff[first]
        days = span / _DAY / steps
    smallest = np.minimum.reduceat(sizes, first)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        rise = np.maximum.reduceat(sizes, first) / (smallest + _SMALL * size)
        width = np.maximum.reduceat(high - low, first) / size
    found = {"size": size, "width": width, "rise": rise, "steps": steps, "days": days}
    return table["unique_id"].take(pa.array(first)), found


def _firsts(ids: pa.ChunkedArray) -> NDArray[np.int64]:
    """Give the first row of each entity."""
    changes = pc.not_equal(ids[1:], ids[:-1]).to_numpy()
    return np.concatenate(([0], np.flatnonzero(changes) + 1)).astype(np.int64)


def _bits(times: pa.ChunkedArray) -> NDArray[np.int64]:
    """Give times as whole numbers: microseconds where they are dates."""
    return np.asarray(times.cast(pa.int64()).to_numpy(), np.int64)


def _values(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.to_numpy(), np.float64)


def last_window(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Give the rows of each entity's last cutoff: all of them, but for a backtest."""
    last = forecasts.groupby("unique_id")["cutoff"].transform("max")
    return forecasts[forecasts["cutoff"] == last]


def step_names(found: pd.DataFrame) -> list[str]:
    """Name the steps of forecasts, the most frequent first.

    Examples
    --------
    >>> step_names(pd.DataFrame({"days": [30.4, 31.0, 7.0, 2.0]}))
    ['monthly', 'every 2 days', 'weekly']
    >>> step_names(pd.DataFrame({"days": [float("nan")]}))
    ['in whole-numbered steps']
    """
    counts: Counter[str] = Counter()
    steps = found["days"].round(6).value_counts(dropna=False)
    for days, n in zip(steps.index.to_numpy(), steps, strict=True):
        counts[_step_name(float(days))] += n
    return sorted(counts, key=lambda name: (-counts[name], name))


def _step_name(days: float) -> str:
    if np.isnan(days):
        return "in whole-numbered steps"
    for low, high, name in _STEPS:
        if low <= days <= high:
            return name
    return f"every {days:.3g} days" if days >= 1 else f"every {24 * days:.3g} hours"


def histories(source: Source, names: Iterable[str]) -> History:
    """Read the end of the history of some entities."""
    wanted = set(names)
    positions = np.array([i for i, name in enumerate(source.ids) if name in wanted], dtype=np.int64)
    if not positions.size:
        return {}
    rows = source.select(positions).load()
    values = rows.values  # noqa: PD011  # an array of our own
    return {
        name: (rows.times[low:high][-N_HISTORY:], values[low:high][-N_HISTORY:])
        for name, low, high in zip(rows.ids, rows.offsets[:-1], rows.offsets[1:], strict=True)
    }


def candidates(entities: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    """Say whose history is worth reading: all, or who may be drawn and whose forecast rises."""
    rising = found["unique_id"].iloc[_order(found, "rise")[:N_CANDIDATES]]
    return [*choose(entities, found, {}), *rising]


def growths(found: pd.DataFrame, history: History) -> pd.Series[float]:
    """Compare the size of each forecast with as many observations before it.

    Parameters
    ----------
    found : DataFrame
        As of :func:`outlook`.
    history : mapping
        Entities that are not in it get no growth.

    Returns
    -------
    Series
        By entity; NaN where there is nothing to compare with.
    """
    found = found[found["unique_id"].isin(list(history))]
    rows = zip(found["unique_id"], found["size"], found["steps"], strict=True)
    sizes = {name: _growth(float(size), int(steps), history[name][1]) for name, size, steps in rows}
    return pd.Series(sizes, dtype=np.float64)


def _growth(size: float, steps: int, values: Floats) -> float:
    known = np.abs(values[np.isfinite(values)])
    if not known.size or not known.any():
        return np.nan
    return size / float(known[-steps:].mean() + _SMALL * known.mean())


def choose(
    entities: pd.DataFrame, found: pd.DataFrame | None = None, history: History | None = None
) -> dict[str, str]:
    """Choose who is drawn, and say why.

    Parameters
    ----------
    entities : DataFrame
    found : DataFrame, optional
        As of :func:`outlook`.
    history : mapping, optional

    Returns
    -------
    dict
        The reason by entity: the best, the middle and the worst by skill, the widest interval and
        the largest growth, some without a score; at most ``N_PLOTS``.
    """
    names = entities["unique_id"].iloc[ranking(entities)]
    unscored = (entities["status"] != Status.FAILED).to_numpy() & ~_scored(entities)
    rest = entities.loc[unscored, "unique_id"].head(N_PLOTS).tolist()
    inner = names.iloc[_N_END:-_N_END]
    middle = max((len(inner) - _N_MIDDLE) // 2, 0)
    picks = [(name, "best") for name in names.head(_N_END)]
    picks += [(name, "middle") for name in inner.iloc[middle : middle + _N_MIDDLE]]
    picks += [(name, "worst") for name in names.iloc[_N_END:].tail(_N_END)]
    picks += _extremes(found, history or {}) if found is not None else []
    picks += [(name, "no score") for name in rest[:_N_UNSCORED]]
    chosen: dict[str, str] = {}
    for name, why in picks:
        chosen[name] = f"{chosen[name]}, {why}" if name in chosen else why
    for name in [*names.head(N_PLOTS), *rest]:
        if len(chosen) < N_PLOTS:
            chosen.setdefault(name, "")
    return chosen


def _extremes(found: pd.DataFrame, history: History) -> list[tuple[str, str]]:
    """Name whose interval is the widest, and whose forecast grew most."""
    grown, picks = growths(found, history), []
    widths: Floats = np.asarray(found["width"], np.float64)
    if (at := _largest(widths)) is not None:
        picks.append((str(found["unique_id"].iloc[at]), "widest interval"))
    times: Floats = np.asarray(grown, np.float64)
    if (at := _largest(times)) is not None:
        told = f"largest growth, {times[at]:.3g} times its last observations"
        picks.append((str(grown.index[at]), told))
    return picks


def _largest(values: Floats) -> int | None:
    """Give the position of the largest finite value, None where there is none."""
    finite = np.where(np.isfinite(values), values, -np.inf)
    return int(finite.argmax()) if np.any(np.isfinite(values)) else None


def ranking(entities: pd.DataFrame) -> NDArray[np.int64]:
    """Give the positions of the entities that have a skill, the best first."""
    scored = np.flatnonzero(_scored(entities))
    return scored[_order(entities.iloc[scored], "skill")]


def _order(table: pd.DataFrame, column: str) -> NDArray[np.int64]:
    """Give the positions by falling values, then by id: Arrow sorts texts without a copy."""
    columns = {name: pa.array(table[name]) for name in (column, "unique_id")}
    keys = [(column, "descending"), ("unique_id", "ascending")]
    return np.asarray(pc.sort_indices(pa.table(columns), sort_keys=keys), np.int64)


def _scored(entities: pd.DataFrame) -> NDArray[np.bool_]:
    skill: Floats = entities["skill"].to_numpy(dtype=np.float64, na_value=np.nan)
    return np.isfinite(skill)
