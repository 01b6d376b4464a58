"""Forecasts of statsforecast and of the naive methods, kept in bench/cache.

They take most of an hour, and change only with the data and with statsforecast: a file is named
after data set, method, version and the values of the series. Usage:
peer_forecasts.py [DATASET ...] [--redo]
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from common import ROOT, Competition
from data_sets import DATASETS, AbsentError
from peers import Side, peer_python

CACHE = ROOT / "bench" / "cache"
#: From the cheapest to the dearest, so that something is there soon.
METHODS = (
    "SeasonalNaive", "Naive", "RandomWalkWithDrift", "AutoCES", "DynamicOptimizedTheta",
    "AutoTheta", "AutoETS", "AutoARIMA",
)  # fmt: skip
MEDIAN = "median4"
MEDIAN_OF = ("AutoETS", "DynamicOptimizedTheta", "AutoCES", "AutoARIMA")


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of one method: mean [N, H], bounds [N, L, H] at 80 and 95 %, or none.

    ``cpu_s`` is what all series took with both intervals, ``cpu_point_s`` without any.
    """

    mean: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    cpu_s: float | None
    cpu_point_s: float | None

    @classmethod
    def read(cls, path: Path) -> Forecasts:
        """Read what :func:`forecasts_of` keeps."""
        with np.load(path) as saved:
            cost = [float(saved[name]) for name in ("cpu_s", "cpu_point_s")]
            return cls(saved["mean"], saved["low"], saved["high"], *cost)


@cache
def peer_version() -> str:
    """Tell which statsforecast the peers' environment holds."""
    code = "from importlib.metadata import version; print(version('statsforecast'))"
    call = [str(peer_python()), "-c", code]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()


def cached(dataset: str, method: str, data: Competition) -> Path:
    """Name the file of one method's forecasts."""
    values = hashlib.sha256(np.concatenate(data.train).tobytes())
    values.update(repr((data.h, data.season, [y.size for y in data.train])).encode())
    return CACHE / f"{dataset}__{method}__{peer_version()}__{values.hexdigest()[:8]}.npz"


def ask(script: str, data: Competition, *args: object, python: Path | None = None) -> Forecasts:
    """Have a side forecast all series once, warm."""
    with tempfile.TemporaryDirectory() as folder:
        series, out = Path(folder) / "series.npz", Path(folder) / "out.npz"
        data.save(series)
        with Side(script, series, *args, python=python) as side:
            took = side.ask(f"save {out}")
        with np.load(out) as saved:
            return Forecasts(saved["mean"], saved["low"], saved["high"], took["cpu_s"], None)


def forecasts_of(dataset: str, method: str, data: Competition, *, redo: bool = False) -> Forecasts:
    """Give one method's forecasts, from the cache where it has them."""
    path = cached(dataset, method, data)
    if redo or not path.exists():
        side = partial(ask, "side_statsforecast.py", data, len(data.ids), method)
        new = side(python=peer_python())
        # The intervals of ARIMA cost nothing to speak of, and a second pass of it half an hour.
        point = new if method == "AutoARIMA" else side("points", python=peer_python())
        CACHE.mkdir(parents=True, exist_ok=True)
        whole = path.with_suffix(".tmp.npz")
        np.savez(
            whole, mean=new.mean, low=new.low, high=new.high, cpu_s=new.cpu_s,
            cpu_point_s=point.cpu_s,
        )  # fmt: skip
        whole.rename(path)
    return Forecasts.read(path)


def median_of(found: dict[str, Forecasts]) -> Forecasts:
    """Give the median of four point forecasts, of those that there are where one failed."""
    parts = [found[name] for name in MEDIAN_OF]
    mean = np.nanmedian([part.mean for part in parts], axis=0)
    return Forecasts(mean, None, None, None, sum(part.cpu_point_s or 0 for part in parts))


def main() -> None:
    """Fill the cache."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", nargs="*", default=[*DATASETS])
    parser.add_argument("--redo", action="store_true", help="even where the cache has it")
    options = parser.parse_args()
    for dataset in options.datasets:
        try:
            data = DATASETS[dataset]()
        except AbsentError as absent:
            print(f"{dataset} skipped: {absent}")
            continue
        for method in METHODS:
            took = forecasts_of(dataset, method, data, redo=options.redo).cpu_s
            print(f"{dataset}, {method}: {took:.1f} s of CPU for {len(data.ids)} series")


if __name__ == "__main__":
    main()
