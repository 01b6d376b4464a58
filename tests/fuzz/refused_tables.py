"""Tables and options that must be refused as a whole, with words that help.

Covers drawing a sound table and spoiling it in one way, and what the message must name. Does not
cover trouble of single entities (``panel_strategies``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from daskcast import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Refused:
    """A call that must end with an error of one type, whose message holds some words."""

    fault: str
    data: Any
    options: dict[str, Any]
    error: type[Exception]
    words: str


DAY, NOON = date(2024, 1, 1), datetime(2024, 1, 1, 12)  # noqa: DTZ001


def _objects(values: list[Any], n: int) -> Any:
    """Repeat values of any type to a column."""
    column = np.empty(n, object)
    for i in range(n):
        column[i] = values[i % len(values)]
    return column


#: Name of the fault, to the table that it makes of a sound one and what the message must name.
TABLES: dict[str, tuple[Callable[[pd.DataFrame], Any], str]] = {
    "no rows": (lambda df: df[:0], "no rows"),
    "no id": (lambda df: df.drop(columns="unique_id"), "unique_id"),
    "no time": (lambda df: df.rename(columns={"ds": "date"}), "'ds'"),
    "no target": (lambda df: df[["unique_id", "ds"]], "'y'"),
    "nothing": (lambda _: pd.DataFrame(), "no column"),
    "twice": (lambda df: df[["unique_id", "ds", "y", "y"]], "2 times"),
    "in the index": (lambda df: df.set_index(["unique_id", "ds"]), "reset_index"),
    "two levels": (lambda df: pd.concat({"a": df}, axis=1), "no column"),
    "numbered": (lambda df: df.set_axis([0, 1, 2], axis=1), "no column"),
    "a list": (lambda df: df["y"].tolist(), "cannot read data"),
    "a dict": (lambda df: df.to_dict("list"), "cannot read data"),
    "a series": (lambda df: df["y"], ""),
    "None": (lambda _: None, "cannot read data"),
    "no such file": (lambda _: "/no/such/file.csv", "check the path"),
    "an array": (lambda df: df.to_numpy(), "cannot read data"),
    "id missing": (lambda df: df.assign(unique_id=_objects(["a", None], len(df))), "missing"),
    "id empty": (lambda df: df.assign(unique_id=_objects(["", "a"], len(df))), "empty"),
    "id NaN": (lambda df: df.assign(unique_id=np.nan), "missing"),
    "id too long": (lambda df: df.assign(unique_id="x" * 70_000), "bytes"),
    "id half a letter": (
        lambda df: df.assign(unique_id=pd.Series(_objects(["a\ud800"], len(df)), dtype=object)),
        "unique_id",
    ),
    "ids mixed": (lambda df: df.assign(unique_id=_objects(["a", 1], len(df))), "one type"),
    "ids lists": (lambda df: df.assign(unique_id=_objects([["a"], ["b"]], len(df))), "unique_id"),
    "ids tuples": (lambda df: df.assign(unique_id=_objects([("a", 1)], len(df))), "unique_id"),
    "ids things": (lambda df: df.assign(unique_id=_objects([object()], len(df))), "unique_id"),
    "ids zoned": (lambda df: df.assign(unique_id=df["ds"].dt.tz_localize("UTC")), "unique_id"),
    "target text": (lambda df: df.assign(y=df["y"].astype(str)), "numeric"),
    "target words": (lambda df: df.assign(y="many"), "many"),
    "target one word": (lambda df: df.assign(y=_objects([1.0, "2.0"], len(df))), "numbers"),
    "target bool": (lambda df: df.assign(y=df["y"] > 0), "numeric"),
    "target complex": (lambda df: df.assign(y=df["y"] + 1j), "y"),
    "target dates": (lambda df: df.assign(y=df["ds"]), "numeric"),
    "target spans": (lambda df: df.assign(y=pd.Timedelta(1, "D")), "numeric"),
    "target lists": (lambda df: df.assign(y=_objects([[1.0]], len(df))), "y"),
    "target things": (lambda df: df.assign(y=_objects([object()], len(df))), "y"),
    "target zoned": (lambda df: df.assign(y=df["ds"].dt.tz_localize("UTC")), "y"),
    "target category": (lambda df: df.assign(y=pd.Categorical(df["y"].astype(str))), "numeric"),
    "times zoned": (
        lambda df: df.assign(ds=df["ds"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")),
        "zone",
    ),
    "times zoned text": (lambda df: df.assign(ds="2024-01-01T00:00+02:00"), "zone"),
    "times zoned objects": (
        lambda df: df.assign(ds=df["ds"].dt.tz_localize("UTC").astype(object)),
        "zone",
    ),
    "dates and numbers": (lambda df: df.assign(ds=_objects([DAY, 7], len(df))), "one type"),
    "numbers and dates": (lambda df: df.assign(ds=_objects([7, DAY], len(df))), "one type"),
    "dates and times": (lambda df: df.assign(ds=_objects([DAY, NOON], len(df))), "one type"),
    "times and dates": (lambda df: df.assign(ds=_objects([NOON, DAY], len(df))), "one type"),
    "times and numbers": (lambda df: df.assign(ds=_objects([NOON, 7.0], len(df))), "one type"),
    "dates of numpy": (
        lambda df: df.assign(ds=_objects([DAY, np.datetime64("2024-02")], len(df))),
        "one type",
    ),
    "target in part bool": (lambda df: df.assign(y=_objects([2.0, False], len(df))), "numbers"),
    "times words": (lambda df: df.assign(ds="soon"), "soon"),
    "times of day only": (lambda df: df.assign(ds="12:30"), "12:30"),
    "times missing": (lambda df: df.assign(ds=pd.NaT), "missing"),
    "times None": (lambda df: df.assign(ds=None), "ds"),
    "times half missing": (lambda df: df.assign(ds=df["ds"].where(df.index < 1)), "missing"),
    "times broken numbers": (lambda df: df.assign(ds=np.arange(len(df)) + 0.5), "whole"),
    "times infinite": (lambda df: df.assign(ds=np.inf), "whole"),
    "times bool": (lambda df: df.assign(ds=True), "ds"),
    "times spans": (lambda df: df.assign(ds=pd.Timedelta(1, "D")), "ds"),
    "times YYYYMM": (lambda df: df.assign(ds=df["ds"].dt.strftime("%Y%m").astype(int)), "YYYYMM"),
    "times YYYYMMDD": (
        lambda df: df.assign(ds=df["ds"].dt.strftime("%Y%m%d").astype(int)),
        "YYYYMMDD",
    ),
    "times too large": (lambda df: df.assign(ds=np.uint64(2**63 + 1)), "ds"),
}
#: Name of the fault, to the options that make it.
OPTIONS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "freq of whole numbers": ({"freq": 1}, DataError, "holds dates"),
    "freq unknown": ({"freq": "fortnight"}, DataError, "fortnight"),
    "freq of nothing": ({"freq": "0D"}, DataError, "0D"),
    "freq empty": ({"freq": ""}, DataError, "freq"),
    "freq too large": ({"freq": "99999999999999h"}, DataError, "no frequency"),
    "freq backwards": ({"freq": "-1D"}, DataError, "-1D"),
    "h zero": ({"h": 0}, ConfigError, "h must"),
    "h half": ({"h": 1.5}, ConfigError, "h must"),
    "h nothing": ({"h": None}, ConfigError, "h must"),
    "level share": ({"level": 0.95}, ConfigError, "percent"),
    "level 100": ({"level": (80, 100)}, ConfigError, "level"),
    "level empty": ({"level": ()}, ConfigError, "level"),
    "level twice": ({"level": (80, 80)}, ConfigError, "twice"),
    "level NaN": ({"level": float("nan")}, ConfigError, "level"),
    "level words": ({"level": "high"}, ConfigError, "level"),
    "season zero": ({"season_length": 0}, ConfigError, "season_length"),
    "gaps": ({"gaps": "fill"}, ConfigError, "gaps"),
    "duplicates": ({"duplicates": "first"}, ConfigError, "duplicates"),
    "models": ({"models": "prophet"}, ConfigError, "prophet"),
    "models none": ({"models": ()}, ConfigError, "models"),
    "search": ({"search": "grid"}, ConfigError, "search"),
    "names alike": ({"id_col": "ds"}, ConfigError, "ds"),
    "names taken": ({"time_col": "cutoff"}, ConfigError, "cutoff"),
}


@st.composite
def refused(draw: Any) -> Refused:
    """Draw a call that must be refused."""
    start = draw(st.dates(date(1900, 1, 1), date(2100, 1, 1)))
    n, n_ids = draw(st.integers(20, 60)), draw(st.integers(1, 4))
    days = pd.date_range(start, periods=n, freq=draw(st.sampled_from(["MS", "W-SUN", "D"])))
    # in YYYYMM a single year or month is no disguise
    sound = pd.DataFrame(
        {
            "unique_id": np.repeat([f"id {i}" for i in range(n_ids)], n),
            "ds": np.tile(days, n_ids),
            "y": np.arange(1.0, n * n_ids + 1),
        }
    )
    fault = draw(st.sampled_from([*TABLES, *OPTIONS]))
    if fault.startswith("times YYYY"):
        sound = sound.assign(ds=np.tile(pd.date_range(start, periods=n, freq="MS"), n_ids))
    options: dict[str, Any] = {"h": 3, "freq": None, "search": "portfolio", "cv_windows": 1}
    if fault in TABLES:
        spoil, words = TABLES[fault]
        return Refused(fault, spoil(sound), options, DataError, words)
    changed, error, words = OPTIONS[fault]
    return Refused(fault, sound, {**options, **changed}, error, words)
