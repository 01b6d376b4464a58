"""Micro-benchmarks of the fit of one series, of the search, and of the first points of both."""

from __future__ import annotations

from typing import Any

import pytest
from common import m1
from side_daskcast import to_series

from daskcast.config import ForecastConfig
from daskcast.records import Series
from daskcast.settings import TaskSettings
from daskcast.task import run_batch, warm_up


@pytest.fixture(scope="module")
def series() -> list[Series]:
    data = m1("monthly")
    step = len(data.ids) // 20
    warm_up()
    return [
        to_series(data.ids[i], data.train[i], h=data.h, season=data.season, freq=data.freq)
        for i in range(0, len(data.ids), step)
    ]


@pytest.mark.parametrize("search", ["portfolio", "skopt"])
def test_batch(benchmark: Any, series: list[Series], search: str) -> None:
    """Twenty-one monthly series, searched, fitted, forecast with intervals and scored."""
    settings = TaskSettings.of(ForecastConfig(h=18, season_length=12, search=search))
    results = benchmark(run_batch, series, settings)
    assert all(result.forecast is not None for result in results)
