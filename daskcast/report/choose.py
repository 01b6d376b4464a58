"""Who is drawn in a report, and why.

Covers a look at all forecasts, batch by batch, and choosing from them and from the scores. Does not
cover drawing (``chart``) or the page (``page``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from daskcast.records import Status

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
    parts = [
        _outlook(last_window(folder.read("forecasts", [batch]).to_pandas())) for batch in batches
    ]
    empty = pd.DataFrame({name: pd.Series(dtype=np.float64) for name in _COLUMNS})
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else empty


def _outlook(table: pd.DataFrame) -> pd.DataFrame:
    levels = [str(c).partition("-lo-")[2] for c in table.columns if "-lo-" in str(c)]
    widest = max(levels, key=float)
    wide = table[f"daskcast-hi-{widest}"] - table[f"daskcast-lo-{widest}"]
    table = table[["unique_id", "ds", "cutoff"]].assign(size=table["daskcast"].abs(), wide=wide)
    groups = table.groupby("unique_id", sort=False)
    size, steps = groups["size"].mean(), groups.size()
    span = (groups["ds"].max() - groups["cutoff"].first()).to_numpy()
    dated = span.dtype.kind == "m"
    days = span / np.timedelta64(1, "D") / steps if dated else steps * np.nan
    with np.errstate(over="ignore"):
        rise = groups["size"].max() / (groups["size"].min() + _SMALL * size)
        width = groups["wide"].max() / size
    columns = {"size": size, "width": width, "rise": rise, "steps": steps, "days": days}
    return pd.DataFrame(columns).rename_axis("unique_id").reset_index()


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
    names = found["days"].round(6).map(_step_name)
    counts = names.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return [str(name) for name in counts.index]


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
    rising = found.sort_values(["rise", "unique_id"], ascending=[False, True])
    return [*choose(entities, found, {}), *rising["unique_id"].head(N_CANDIDATES)]


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
    rows = zip(found["unique_id"].tolist(), found["size"], found["steps"], strict=True)
    sizes = {
        name: _growth(float(size), int(steps), history[name][1])
        for name, size, steps in rows
        if name in history
    }
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
    names = ranked(entities)["unique_id"].tolist()
    scored = set(names)
    unscored = entities.loc[entities["status"] != Status.FAILED, "unique_id"]
    rest = [name for name in unscored if name not in scored]
    inner = names[_N_END:-_N_END]
    middle = max((len(inner) - _N_MIDDLE) // 2, 0)
    picks = [(name, "best") for name in names[:_N_END]]
    picks += [(name, "middle") for name in inner[middle : middle + _N_MIDDLE]]
    picks += [(name, "worst") for name in names[_N_END:][-_N_END:]]
    picks += _extremes(found, history or {}) if found is not None else []
    picks += [(name, "no score") for name in rest[:_N_UNSCORED]]
    chosen: dict[str, str] = {}
    for name, why in picks:
        chosen[name] = f"{chosen[name]}, {why}" if name in chosen else why
    for name in [*names, *rest]:
        if len(chosen) < N_PLOTS:
            chosen.setdefault(name, "")
    return chosen


def _extremes(found: pd.DataFrame, history: History) -> list[tuple[str, str]]:
    """Name whose interval is the widest, and whose forecast grew most."""
    grown = growths(found, history)
    widths = pd.Series(found["width"].to_numpy(), index=found["unique_id"].to_numpy())
    picks = []
    for values, why in ((widths, "widest interval"), (grown, "largest growth")):
        finite = values[np.isfinite(values.to_numpy(dtype=np.float64))]
        if len(finite):
            times = f", {finite.max():.3g} times its last observations" if why[0] == "l" else ""
            picks.append((str(finite.idxmax()), why + times))
    return picks


def ranked(entities: pd.DataFrame) -> pd.DataFrame:
    """Give the entities that have a skill, the best first."""
    scored = entities[np.isfinite(entities["skill"].to_numpy(dtype=np.float64, na_value=np.nan))]
    table: pd.DataFrame = scored.sort_values(["skill", "unique_id"], ascending=[False, True])
    return table
