"""Our side: what a worker does with a batch of series that are read already.

Usage: side_daskcast.py SERIES.npz SEARCH [N_SERIES]
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from common import load, versions
from side import Pass, serve

from daskcast.config import ForecastConfig
from daskcast.records import EntityResult, Series
from daskcast.task import TaskSettings, run_batch, warm_up


def to_series(unique_id: str, y: np.ndarray, *, h: int, season: int, freq: str) -> Series:
    """Put values on made-up dates: M1 has no use for the real ones."""
    times = pd.date_range("1950-01-01", periods=y.size + h, freq=freq)
    stamps = times.to_numpy().astype("datetime64[us]")
    return Series(unique_id, y, stamps[y.size - 1], stamps[y.size :], freq, season)


def main() -> None:
    """Serve passes over the series."""
    values, about = load(sys.argv[1])
    n = int(sys.argv[3]) if len(sys.argv) > 3 else len(values)
    h, season, freq = about["h"], about["season"], about["freq"]
    series = [
        to_series(unique_id, y, h=h, season=season, freq=freq)
        for unique_id, y in zip(about["ids"][:n], values[:n], strict=True)
    ]
    config = ForecastConfig(h=h, season_length=season, search=sys.argv[2], trials=24)
    settings = TaskSettings.of(config)

    def work() -> Pass:
        results = run_batch(series, settings)
        return (
            [checked(r).mean for r in results],
            [checked(r).lo for r in results],
            [checked(r).hi for r in results],
        )

    def checked(result: EntityResult):
        if result.forecast is None:
            raise SystemExit(f"{result.unique_id} has no forecast: {result.failure}")
        return result.forecast

    warm_up()
    run_batch(series[:3], settings)
    serve(work, {"versions": versions()})


if __name__ == "__main__":
    main()
