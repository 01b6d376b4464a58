"""Our side: what a worker does with a batch of series that are read already.

A series that fails gets NaN, and a line on standard error. SEARCH is one of the package, or
``default`` for what it does when nobody says. Usage: side_daskcast.py SERIES.npz SEARCH [N_SERIES]
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from common import load, versions
from side import Pass, serve

from daskcast.config import ForecastConfig
from daskcast.records import EntityResult, Series
from daskcast.settings import TaskSettings
from daskcast.task import run_batch, warm_up


def to_series(unique_id: str, y: np.ndarray, *, h: int, season: int, freq: str) -> Series:
    """Put values on made-up dates: M1 has no use for the real ones."""
    times = pd.date_range("1950-01-01", periods=y.size + h, freq=freq)
    stamps = times.to_numpy().astype("datetime64[us]")
    return Series(unique_id, y, stamps[y.size - 1], stamps[y.size :], freq, season)


def arrays(result: EntityResult, h: int, n_levels: int) -> tuple[np.ndarray, ...]:
    """Give mean [H], low [L, H] and high [L, H]."""
    if result.forecast is None:
        print(f"{result.unique_id} has no forecast: {result.failure}", file=sys.stderr)
        none = np.full((n_levels, h), np.nan)
        return np.full(h, np.nan), none, none
    return result.forecast.mean, result.forecast.lo, result.forecast.hi


def main() -> None:
    """Serve passes over the series."""
    values, about = load(sys.argv[1])
    n = int(sys.argv[3]) if len(sys.argv) > 3 else len(values)
    h, season, freq = about["h"], about["season"], about["freq"]
    series = [
        to_series(unique_id, y, h=h, season=season, freq=freq)
        for unique_id, y in zip(about["ids"][:n], values[:n], strict=True)
    ]
    search = {} if sys.argv[2] == "default" else {"search": sys.argv[2]}
    config = ForecastConfig(h=h, season_length=season, **search)
    settings = TaskSettings.of(config)

    def work() -> Pass:
        results = run_batch(series, settings)
        mean, low, high = zip(*(arrays(r, h, len(config.level)) for r in results), strict=True)
        return list(mean), list(low), list(high)

    warm_up()
    run_batch(series[:3], settings)
    serve(work, {"versions": versions()})


if __name__ == "__main__":
    main()
