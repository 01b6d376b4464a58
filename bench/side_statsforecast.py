"""The peer: statsforecast's AutoETS with intervals, called as leanly as it can be.

The model is called directly, without the data frames of the ``StatsForecast`` class.
Usage: side_statsforecast.py SERIES.npz [N_SERIES]
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from common import load, versions
from side import Pass, serve
from statsforecast.models import AutoETS

LEVELS = (80, 95)


def main() -> None:
    """Serve passes over the series."""
    warnings.filterwarnings("ignore")
    series, about = load(sys.argv[1])
    series = series[: int(sys.argv[2])] if len(sys.argv) > 2 else series

    def work() -> Pass:
        mean, low, high = [], [], []
        for y in series:
            model = AutoETS(season_length=about["season"])
            found = model.forecast(y=y, h=about["h"], level=list(LEVELS))
            mean.append(found["mean"])
            low.append(np.array([found[f"lo-{level}"] for level in LEVELS]))
            high.append(np.array([found[f"hi-{level}"] for level in LEVELS]))
        return mean, low, high

    AutoETS(season_length=about["season"]).forecast(y=series[0], h=about["h"], level=[80])
    serve(work, {"versions": versions()})


if __name__ == "__main__":
    main()
