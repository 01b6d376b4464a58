"""Small panels for the tests of reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from daskcast.config import ForecastConfig
from daskcast.panel import GridRules, Rows, open_source, regularise

if TYPE_CHECKING:
    from daskcast.records import Series

AIRPORTS = ("007", "JFK", "NA", "null")


def frame(n: int = 24, ids: tuple[str, ...] = AIRPORTS) -> pd.DataFrame:
    """Give ``n`` months of each of some airports, all values different."""
    months = pd.date_range("2020-01-01", periods=n, freq="MS")
    return pd.DataFrame(
        {
            "unique_id": np.repeat(ids, n),
            "ds": np.tile(months, len(ids)),
            "y": np.arange(n * len(ids)) + 0.5,
        }
    )


def series_of(data: Any, h: int = 3, **options: Any) -> dict[str, Series]:
    """Read a table to the end: every entity's series by id."""
    config = ForecastConfig(h=h, **options)
    source = open_source(data, config)
    rows = source.select(np.arange(len(source.ids))).load()
    return {s.unique_id: s for s in regularise(rows, GridRules.of(config))}


def one(times: Any, values: Any = None, h: int = 3, **options: Any) -> Series:
    """Regularise one entity; the times need not be sorted."""
    times = np.asarray(times)
    times = times if times.dtype.kind == "i" else times.astype("M8[us]")
    values = np.arange(1.0, len(times) + 1) if values is None else np.array(values, float)
    order = np.argsort(times, kind="stable")
    rows = Rows(("A",), np.array([0, len(times)]), times[order], values[order])
    [series] = regularise(rows, GridRules(h=h, **options))
    return series
