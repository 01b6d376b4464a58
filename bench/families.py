"""What each family on statsmodels costs and brings, alone, beside exponential smoothing.

Every thirtieth monthly series of M1, one core, warm, default settings and ``portfolio``: CPU of
this process, MASE and sMAPE. With so few series the errors say little; the costs are what this is
for. Usage: families.py [--every 30]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import m1, write_result
from side_daskcast import to_series

from daskcast import metrics
from daskcast.config import ForecastConfig
from daskcast.records import Series
from daskcast.settings import TaskSettings
from daskcast.task import run_batch, warm_up

FAMILIES = ("ets", "stl_ets", "unobserved", "sarimax")


def main() -> None:
    """Measure, and write bench/results/families.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=30)
    every = parser.parse_args().every
    data = m1("monthly")
    picked = range(0, len(data.ids), every)
    series = [
        to_series(data.ids[i], data.train[i], h=data.h, season=data.season, freq=data.freq)
        for i in picked
    ]
    truth = [data.test[i] for i in picked]
    warm_up()
    found = {
        f"{family}, {search}": measured(series, truth, family, search)
        for search in ("portfolio", "skopt")
        for family in FAMILIES
    }
    write_result("families", {"what": "one M1 monthly series", "n": len(series), "by": found})


def measured(
    series: list[Series], truth: list[np.ndarray], family: str, search: str
) -> dict[str, float]:
    """Give CPU milliseconds for one series, and its errors."""
    h, season = len(truth[0]), series[0].season_length
    config = ForecastConfig(h=h, season_length=season, models=(family,), search=search)
    settings = TaskSettings.of(config)
    run_batch(series[:1], settings)
    start = time.process_time()
    results = run_batch(series, settings)
    ms = 1000 * (time.process_time() - start) / len(series)
    mase, smape = [], []
    for one, result, actual in zip(series, results, truth, strict=True):
        scale = metrics.naive_scales(one.y, np.array([len(one.y)]), season)[0][0]
        mean = result.forecast.mean
        mase.append(float(metrics.mae(mean, actual)) / scale)
        smape.append(float(metrics.smape(mean, actual)))
    n_fallback = sum(str(result.status) != "ok" for result in results)
    return {
        "ms": round(ms, 1),
        "mase": round(float(np.mean(mase)), 3),
        "smape": round(float(np.mean(smape)), 2),
        "fallback": n_fallback,
    }


if __name__ == "__main__":
    main()
