"""Micro-benchmarks of reading, and of putting a batch on its grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from daskcast.config import ForecastConfig
from daskcast.demo import airports
from daskcast.panel import GridRules, open_source, regularise

N = 2000


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return airports(N, months=120)


def test_open_frame(benchmark: Any, table: pd.DataFrame) -> None:
    """Check and fingerprint 2,000 airports of 120 months in memory."""
    source = benchmark(open_source, table, ForecastConfig(h=12))
    assert len(source.ids) == N


def test_open_csv(benchmark: Any, table: pd.DataFrame, tmp_path: Path) -> None:
    """The same from a CSV file."""
    path = tmp_path / "airports.csv"
    table.to_csv(path, index=False)
    source = benchmark.pedantic(open_source, (str(path), ForecastConfig(h=12)), rounds=3)
    assert len(source.ids) == N


def test_regularise(benchmark: Any, table: pd.DataFrame) -> None:
    """Infer, repair and lay out a batch of 250 airports."""
    config = ForecastConfig(h=12)
    rows = open_source(table, config).select(np.arange(250)).load()
    series = benchmark(regularise, rows, GridRules.of(config))
    assert len(series) == 250
