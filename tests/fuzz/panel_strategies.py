"""Panels of every kind that people might have, with what is known of their future beforehand.

Covers drawing a table with its options, and telling for each entity which dates must come and
whether a forecast must. Does not cover columns of other types (``column_kinds``), tables that must
be refused (``refused_tables``) or judging a run (``invariants``).

Dates come from pandas' offsets: nothing of daskcast has a part in what is expected of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import column_kinds
import numpy as np
import pandas as pd
from hypothesis import strategies as st

#: Alias for pandas, to the rows from which on complete dates cannot be read another way.
FREQS = {
    **dict.fromkeys(["MS", "ME", "2MS", "QS", "QS-FEB", "QE", "QE-OCT", "YS", "YS-APR", "YE"], 3),
    **dict.fromkeys(["W-SUN", "W-WED", "2W-TUE", "D", "h", "6h", "15min", "s", "100ms"], 3),
    **dict.fromkeys(["4W-MON", "10D"], 6),
    **dict.fromkeys(["B", "BMS", "BME", "BQE"], 26),
}
WHOLE = ("1", "2", "5", "1000")
#: Business months are written on the day that most dates share: gaps may hide which that is.
BUSINESS_MONTHS = ("BMS", "BME", "BQE")
MOST_ROWS, LARGEST = 80, 1e300
NAMES = ("unique_id", "ds", "y")

VALUES = (
    "seasonal", "counts", "trend", "walk", "sparse", "constant", "zero", "negative", "shift",
    "huge", "tiny", "denormal", "scales", "near", "spike", "alternating",
)  # fmt: skip
VALUE_FAULTS = (*["none"] * 16, "holes", "head", "tail", "all", "one", "inf", "-inf")
TIME_FAULTS = (*["none"] * 10, "gaps", "gaps", "twice", "missing", "odd", "far", "ends")


@dataclass(frozen=True)
class Told:
    """What is known of an entity: its last time, those to come, whether it must have a forecast.

    ``last`` and ``future`` are None where the table leaves them open.
    """

    last: Any
    future: Any
    sound: bool


@dataclass(frozen=True, repr=False)
class Panel:
    """A table with options, and what is known of each entity of it by its text."""

    data: Any
    options: dict[str, Any]
    told: dict[str, Told]
    #: whether the order of rows decides something: the last of several rows for a time
    ordered: bool = False
    #: whether most of the times are none, so that the table may be refused
    doubtful: bool = False

    def __repr__(self) -> str:
        """Write all rows: what hypothesis shows of a panel is all that there is of it."""
        data = self.data.to_pandas() if hasattr(self.data, "to_pandas") else self.data
        kinds = data.dtypes.astype(str).to_dict()
        return f"{type(self.data)}\n{data.to_dict('list')}\n{kinds}\n{self.options}\n{self.told}"


@dataclass(frozen=True)
class _Entity:
    """Rows of one entity, and the grid that they come from."""

    times: Any
    seen: Any
    grid: Any
    complete: bool
    fault: str


def values_of(kind: str, n: int, seed: int) -> Any:
    """Make values of one kind."""
    rng = np.random.default_rng(seed)
    t, noise = np.arange(float(n)), rng.normal(size=n)
    made = {
        "seasonal": lambda: 100 + 10 * np.sin(t * np.pi / 6) + noise,
        "counts": lambda: rng.poisson(30, n).astype(float),
        "trend": lambda: 5 * t + 3 + noise,
        "walk": lambda: np.cumsum(noise),
        "sparse": lambda: np.where(rng.random(n) < 0.8, 0.0, rng.integers(1, 9, n)),
        "constant": lambda: np.full(n, rng.choice([1.0, 0.1, -7.0, 1e9, 1e-300, 1e300])),
        "zero": lambda: np.where(rng.random(n) < 0.5, 0.0, -0.0),
        "negative": lambda: -50 - np.abs(noise),
        "shift": lambda: np.where(t < n / 2, 10.0, 1e6) + noise,
        "huge": lambda: LARGEST * rng.uniform(-1, 1, n),
        "tiny": lambda: 1e-300 * rng.uniform(-1, 1, n),
        "denormal": lambda: 5e-324 * rng.integers(0, 50, n),
        "scales": lambda: 10.0 ** rng.uniform(-300, 300, n),
        "near": lambda: 1e15 + rng.integers(0, 3, n),
        "spike": lambda: np.where(t == n // 2, LARGEST, 1 + noise),
        "alternating": lambda: np.where(t % 2 == 0, 1.0, -1.0),
    }
    return np.asarray(made[kind](), float)


@st.composite
def panels(draw: Any) -> Panel:
    """Draw a table that can be read, with options that are right."""
    options = draw(_options())
    whole = draw(st.integers(0, 7)) == 0
    freq = draw(st.sampled_from(WHOLE if whole else list(FREQS)))
    if draw(st.booleans()):
        options["freq"] = int(freq) if whole and draw(st.booleans()) else freq
    ids = draw(column_kinds.ids(max_size=8))
    entities = [draw(_entities(freq, options["h"])) for _ in ids.texts]
    sizes = [len(one.times) for one in entities]
    owners = np.repeat(np.arange(len(sizes)), sizes)
    order = _order(owners, draw(st.sampled_from(["as made", "shuffled", "in turn"])))
    times = np.concatenate([one.times for one in entities])[order]
    values = np.concatenate([one.seen for one in entities])[order]
    column, floats = draw(column_kinds.targets(values))
    frame = pd.DataFrame(
        {
            "unique_id": ids.column(owners[order]),
            "ds": draw(column_kinds.times(times, freq)),
            "y": column,
        }
    )
    by_entity = floats[np.argsort(order)]
    parts = np.split(by_entity, np.cumsum(sizes)[:-1])
    told = {
        text: _told(one, part, freq, options)
        for text, one, part in zip(ids.texts, entities, parts, strict=True)
    }
    return Panel(
        draw(_container(_named(frame, options, draw))),
        options,
        told,
        ordered=options["duplicates"] == "last"
        and any(one.fault in ("twice", "odd") for one in entities),
        doubtful=2 * int(np.count_nonzero(_is_missing(times))) > len(times),
    )


def _order(owners: Any, how: str) -> Any:
    """Give an order of rows that is the same each time for as many rows."""
    n = len(owners)
    if how == "shuffled":
        return np.random.default_rng(n).permutation(n)
    if how == "in turn":
        return np.arange(n)[::-1]
    return np.arange(n)


def _named(frame: pd.DataFrame, options: dict[str, Any], draw: Any) -> pd.DataFrame:
    """Give the columns names of the user's own, now and then, and others beside them."""
    kind = draw(st.sampled_from(["plain", "plain", "plain", "named", "beside", "indexed"]))
    if kind == "named":
        options |= {"id_col": "airport id", "time_col": "\u00e9t\u00e9 <b>", "target_col": "0"}
        return frame.set_axis([options["id_col"], options["time_col"], "0"], axis=1)
    if kind == "beside":
        return frame.assign(note="x", other=1)[["note", "y", "other", "ds", "unique_id"]]
    if kind == "indexed":
        return frame.set_axis(np.zeros(len(frame), int), axis=0)
    return frame


@st.composite
def _container(draw: Any, frame: pd.DataFrame) -> Any:
    """Hand the frame over as it is, or as a table of polars or pyarrow where that can hold it."""
    kind = draw(st.sampled_from(["pandas", "pandas", "pandas", "polars", "pyarrow"]))
    return column_kinds.contained(frame, kind)


@st.composite
def _options(draw: Any) -> dict[str, Any]:
    """Draw options; cheap ones, as the fits are no part of what is looked for."""
    return {
        "h": draw(st.one_of(st.sampled_from([1, 2, 12]), st.integers(1, 24))),
        "level": draw(st.sampled_from([(80, 95), 90, (1, 50, 99.9), (97.5, 60), 99.999])),
        "season_length": draw(st.sampled_from([None, None, None, 1, 2, 7, 12, 40, 500])),
        "search": draw(st.sampled_from(["portfolio", "portfolio", "skopt"])),
        "trials": draw(st.integers(1, 8)),
        "cv_windows": draw(st.sampled_from([1, 2, 3, 6, 20])),
        "step_size": draw(st.sampled_from([None, None, 1, 3])),
        "loss": draw(st.sampled_from(["mase", "rmsse", "mae", "rmse", "smape"])),
        "select": draw(st.sampled_from(["blend", "blend", "best"])),
        "models": draw(
            st.sampled_from(
                [
                    *[("ets", "theta", "ces")] * 3,
                    ("naive", "seasonal_naive", "drift"),
                    ("ets",),
                    ("theta",),
                    ("ces",),
                    ("stl_ets", "naive"),
                ]
            )
        ),
        "seed": draw(st.integers(0, 3)),
        "gaps": draw(st.sampled_from(["skip", "skip", "skip", "fail"])),
        "duplicates": draw(st.sampled_from(["fail", "sum", "mean", "last"])),
        "non_negative": draw(st.booleans()),
        "batch_size": draw(st.sampled_from([None, None, 1, 3])),
    }


@st.composite
def _entities(draw: Any, freq: str, h: int) -> _Entity:
    """Draw the rows of one entity."""
    n = draw(
        st.one_of(
            st.sampled_from([1, 2, 3, 4, 5, 12, 13, 24, 25, 26, 40]), st.integers(1, MOST_ROWS)
        )
    )
    grid = _grid(draw, freq, n + h)
    seed = draw(st.integers(0, 1000))
    values = values_of(draw(st.sampled_from(VALUES)), n, seed)
    values = _with_fault(values, draw(st.sampled_from(VALUE_FAULTS)), seed)
    fault = draw(st.sampled_from(TIME_FAULTS))
    rows = _rows_with(fault, n, seed)
    times = grid[rows].copy()
    if fault == "missing":
        times[seed % len(times)] = _missing(times)
    if fault == "odd" and n > 1:
        times[seed % len(times)] += _off(times, freq)
    if fault == "far":
        times[-1] = times[-1] + 10_000 * (times[-1] - times[0] + 1)
    if fault == "ends":
        times[0], times[-1] = _ends(times)
    last = grid[rows.max() :][: h + 1]
    return _Entity(times, values[rows], last, len(rows) == n, fault)


def _grid(draw: Any, freq: str, n: int) -> Any:
    """Continue a first time as pandas does."""
    if freq in WHOLE:
        start = draw(st.sampled_from([0, 1, -7, 1977, 10**12, -(2**61), 2**61]))
        return start + int(freq) * np.arange(n)
    day = draw(
        st.one_of(
            st.sampled_from([0, -1, 18262, 19782, 19387]),
            st.integers(-40_000, 70_000),  # 1860 to 2161
        )
    )
    start = pd.Timestamp(np.datetime64(day, "D"))
    return pd.date_range(start, periods=n, freq=freq).to_numpy().astype("M8[us]")


def _with_fault(values: Any, fault: str, seed: int) -> Any:
    """Take some values away, or make one infinite."""
    n, made = len(values), values.copy()
    at = seed % n
    if fault == "holes":
        made[np.random.default_rng(seed).random(n) < 0.3] = np.nan
    elif fault == "head":
        made[: at + 1] = np.nan
    elif fault == "tail":
        made[at:] = np.nan
    elif fault == "all":
        made[:] = np.nan
    elif fault == "one":
        made[np.arange(n) != at] = np.nan
    elif fault in ("inf", "-inf"):
        made[at] = float(fault)
    return made


def _rows_with(fault: str, n: int, seed: int) -> Any:
    """Choose rows of the grid: all, some, or one of them twice."""
    if fault == "gaps":
        kept = np.flatnonzero(np.random.default_rng(seed).random(n) < 0.7)
        return kept if len(kept) else np.array([n - 1])
    if fault == "twice":
        return np.append(np.arange(n), seed % n)
    return np.arange(n)


def _missing(times: Any) -> Any:
    return np.datetime64("NaT") if times.dtype.kind == "M" else np.iinfo(np.int64).min


def _is_missing(times: Any) -> Any:
    return times.astype("M8[us]").view(np.int64) == np.iinfo(np.int64).min


def _ends(times: Any) -> Any:
    """Give the first and the last time that can be."""
    if times.dtype.kind == "M":
        return np.array(["-290000-01-01", "290000-01-01"], times.dtype)
    return -(2**63) + 1, 2**63 - 1


def _off(times: Any, freq: str) -> Any:
    """Give what puts a time off its step."""
    if times.dtype.kind != "M":
        return 1
    return np.timedelta64(1, "D") if freq[-1].isupper() else np.timedelta64(1, "ms")


def _told(one: _Entity, values: Any, freq: str, options: dict[str, Any]) -> Told:
    """Tell what is known of an entity, with its values as the column holds them."""
    if one.fault in ("missing", "far", "odd", "ends"):
        return Told(None, None, sound=False)
    given = "freq" in options
    sure = FREQS.get(freq, 3)
    known = len(one.times) >= sure and one.complete
    if given and freq not in BUSINESS_MONTHS:
        known = True
    if one.fault == "twice" and not given:
        known = False
    holes = not one.complete or bool(np.isnan(values).any())
    seen = values[~np.isnan(values)]
    sound = (
        known
        and one.fault != "twice"
        and not (holes and options["gaps"] == "fail")
        and len(seen) > 1
        and bool(np.all(np.abs(seen) <= LARGEST))
    )
    return Told(one.grid[0], one.grid[1:] if known else None, sound=sound)
