"""Micro-benchmarks of making a batch durable, and of reading a run back."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from daskcast.records import EntityResult, Forecast, Scores, Status, Trial
from daskcast.store import RunFolder

MANIFEST = {"config": {"level": [80, 95]}, "data": {"times": "timestamp"}}


def batch(n: int, h: int = 12, n_trials: int = 24) -> list[EntityResult]:
    """Make results as large as real ones."""
    times = np.arange("2026-01", "2027-01", dtype="datetime64[M]").astype("datetime64[us]")[:h]
    mean, bounds = np.full(h, 100.0), np.full((2, h), 90.0)
    trials = tuple(Trial(i, "ETS(A,A,A)", {"trend": "A"}, 0.8, 0.1, 1e-3) for i in range(n_trials))
    return [
        EntityResult(
            f"airport-{i}",
            Status.OK,
            model="ETS(A,A,A)",
            n_obs=120,
            cutoff=times[0],
            scores=Scores(3, 0.8, 0.9, 0.9, 12.0, 1.0, 0.1),
            forecast=Forecast(times, mean, bounds, bounds),
            trials=trials,
        )
        for i in range(n)
    ]


def test_write_batch(benchmark: Any, tmp_path: Path) -> None:
    """250 entities with their trials, durable on a local disk."""
    folder, results = RunFolder.create(str(tmp_path / "run"), MANIFEST), batch(250)
    numbers = itertools.count()
    marker = benchmark(lambda: folder.write_batch(f"b{next(numbers):05d}", results, []))
    assert marker.n_entities == 250


def test_read_forecasts(benchmark: Any, tmp_path: Path) -> None:
    """20 batches of 100 entities read back, each part checked."""
    folder = RunFolder.create(str(tmp_path / "run"), MANIFEST)
    for i in range(20):
        folder.write_batch(f"b{i:05d}", batch(100))
    assert benchmark(folder.read, "forecasts").num_rows == 20 * 100 * 12
