"""Accuracy on M1, monthly, quarterly and yearly: daskcast and statsforecast's AutoETS.

MASE is scaled by the in-sample error of the seasonal naive method, sMAPE runs from 0 to 200; both
are means over all series. Coverage is the share of the test values within the interval. Usage:
accuracy.py [monthly quarterly yearly]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from common import PERIODS, Competition, m1, write_result
from peers import Side, peer_python

LEVELS = (80, 95)


def scores(data: Competition, path: Path) -> dict[str, float]:
    """Compare saved forecasts with what came."""
    with np.load(path) as saved:
        mean, low, high = saved["mean"], saved["low"], saved["high"]
    mase, smape, within = [], [], []
    for i, (past, future) in enumerate(zip(data.train, data.test, strict=True)):
        error = np.abs(mean[i] - future)
        scale = np.abs(past[data.season :] - past[: -data.season]).mean()
        mase.append(error.mean() / scale if scale > 0 else np.nan)
        smape.append(200 * (error / (np.abs(mean[i]) + np.abs(future))).mean())
        within.append([((low[i, k] <= future) & (future <= high[i, k])).mean() for k in (0, 1)])
    coverage = np.mean(within, axis=0)
    result = {"mase": np.nanmean(mase), "smape": np.mean(smape)}
    result |= {f"coverage_{level}": coverage[k] for k, level in enumerate(LEVELS)}
    result |= {"n_scored": np.isfinite(mase).sum()}
    return {name: round(float(value), 4) for name, value in result.items()}


def main() -> None:
    """Measure, and write bench/results/accuracy.json."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for period in sys.argv[1:] or PERIODS:
        data = m1(period)
        with tempfile.TemporaryDirectory() as folder:
            series, out = Path(folder) / "m1.npz", Path(folder) / "out.npz"
            data.save(series)
            for name, script, args, python in (
                ("daskcast_skopt", "side_daskcast.py", ("skopt",), None),
                ("daskcast_portfolio", "side_daskcast.py", ("portfolio",), None),
                ("autoets", "side_statsforecast.py", (), peer_python()),
            ):
                with Side(script, series, *args, python=python) as side:
                    side.ask(f"save {out}")
                found.setdefault(period, {})[name] = scores(data, out)
                print(period, name, found[period][name])
    write_result("accuracy", {"what": "means over the series of M1", **found})


if __name__ == "__main__":
    main()
