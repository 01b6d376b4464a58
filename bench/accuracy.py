"""Accuracy, intervals and cost on every data set: daskcast, statsforecast, the naive methods.

Each method forecasts each series once, from its past alone; ``metrics.py`` says what is measured.
The forecasts of the others come from bench/cache where they are there. A run of every data set
writes bench/results/accuracy.json, a run of some only shows them. Usage:
accuracy.py [DATASET ...] [--redo]
"""

from __future__ import annotations

import argparse
from typing import Any

import metrics
import numpy as np
from common import Competition, versions, write_result
from data_sets import DATASETS, HALVES, AbsentError
from peer_forecasts import (
    MEDIAN,
    METHODS,
    Forecasts,
    ask,
    forecasts_of,
    median_of,
    peer_version,
)

#: Our sides: the name in the results, and the search, ``default`` for the package's own options.
OURS = {"daskcast": "default", "daskcast_portfolio": "portfolio"}


def all_forecasts(dataset: str, data: Competition, *, redo: bool) -> dict[str, Forecasts]:
    """Give the forecasts of every side, ours first."""
    ours = {name: ask("side_daskcast.py", data, search) for name, search in OURS.items()}
    theirs = {name: forecasts_of(dataset, name, data, redo=redo) for name in METHODS}
    return {**ours, MEDIAN: median_of(theirs), **theirs}


def scores(data: Competition, found: Forecasts) -> dict[str, Any]:
    """Give the means of every measure, over all series and over each half, and the cost."""
    n = len(data.ids)
    bounds = None if found.low is None or found.high is None else (found.low, found.high)
    scale = metrics.seasonal_scale(data.train, data.season)
    each = metrics.all_of(found.mean, bounds, np.array(data.test), scale)
    result: dict[str, Any] = {name: metrics.summary(values) for name, values in each.items()}
    for kind in ("cpu", "cpu_point"):
        seconds = getattr(found, f"{kind}_s")
        result[f"{kind}_ms"] = None if seconds is None else round(1000 * seconds / n, 2)
    if data.half is not None:
        halves = np.array(data.half)
        result["halves"] = {
            half: {name: metrics.summary(values[halves == half]) for name, values in each.items()}
            for half in HALVES
        }
    return result


def show(dataset: str, sides: dict[str, dict[str, Any]]) -> None:
    """Print one line for each side."""
    for side, found in sides.items():
        means = [
            f"{k} {v['mean']}" for k, v in found.items() if isinstance(v, dict) and "mean" in v
        ]
        n = found["mase"]
        cost = found["cpu_ms"] or found["cpu_point_ms"]
        print(f"{dataset}, {side} ({n['n_ok']} of {n['n_total']}): {', '.join(means)}, {cost} ms")


def measure(dataset: str, *, redo: bool) -> dict[str, Any]:
    """Measure every side on one data set, or say that its data are absent."""
    try:
        data = DATASETS[dataset]()
    except AbsentError as absent:
        print(f"{dataset} skipped: {absent}")
        return {"skipped": "its data were not on the machine"}
    found = all_forecasts(dataset, data, redo=redo)
    sides = {side: scores(data, forecasts) for side, forecasts in found.items()}
    show(dataset, sides)
    about = {"n_series": len(data.ids), "h": data.h, "season": data.season}
    entities = len({name.partition("@")[0] for name in data.ids})
    return {**about, "n_entities": entities, "sides": sides}


def main() -> None:
    """Measure, and write bench/results/accuracy.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", nargs="*", help=f"of {', '.join(DATASETS)}; none: all")
    parser.add_argument("--redo", action="store_true", help="forecast anew with the others, too")
    options = parser.parse_args()
    unknown = set(options.datasets) - set(DATASETS)
    if unknown:
        parser.error(f"no data set {sorted(unknown)}; there are {', '.join(DATASETS)}")
    found = {name: measure(name, redo=options.redo) for name in options.datasets or DATASETS}
    if options.datasets:
        print("not written: a result holds every data set")
        return
    write_result(
        "accuracy",
        {"what": "means over the series, with how many of how many they stand on"},
        versions=versions() | {"statsforecast": peer_version()},
        datasets=found,
    )


if __name__ == "__main__":
    main()
