"""The idea taken literally: skopt's gp_minimize, 24 calls, around statsmodels Holt-Winters.

Each point of the search fits Holt-Winters on all but the last season and scores that season; the
best point is fitted to the whole series. No intervals: this side does less than the others.
Usage: side_skopt.py SERIES.npz N_SERIES
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from common import load, versions
from side import Pass, serve
from skopt import gp_minimize
from skopt.space import Categorical
from statsmodels.tsa.holtwinters import ExponentialSmoothing

SPACE = [
    Categorical(["add", "mul", "none"], name="trend"),
    Categorical(["add", "mul", "none"], name="seasonal"),
    Categorical([True, False], name="damped"),
    Categorical([True, False], name="use_boxcox"),
]


def fit(y: np.ndarray, point: list, season: int):
    """Fit one form; damping needs a trend."""
    trend, seasonal = (None if part == "none" else part for part in point[:2])
    model = ExponentialSmoothing(
        y,
        trend=trend,
        seasonal=seasonal,
        damped_trend=bool(point[2]) and trend is not None,
        seasonal_periods=season if seasonal else None,
        use_boxcox=bool(point[3]),
        initialization_method="estimated",
    )
    return model.fit()


def forecast(y: np.ndarray, h: int, season: int) -> np.ndarray:
    """Search, then forecast with the best form."""
    past, future = y[:-season], y[-season:]

    def loss(point: list) -> float:
        try:
            error = np.abs(fit(past, point, season).forecast(season) - future).mean()
        except (ValueError, np.linalg.LinAlgError, ZeroDivisionError):
            return 1e6
        return float(error) if np.isfinite(error) else 1e6

    best = gp_minimize(loss, SPACE, n_calls=24, random_state=0).x
    return np.asarray(fit(y, best, season).forecast(h))


def main() -> None:
    """Serve passes over a spread of series."""
    warnings.filterwarnings("ignore")
    series, about = load(sys.argv[1])
    step = max(len(series) // int(sys.argv[2]), 1)
    sample = series[::step][: int(sys.argv[2])]

    def work() -> Pass:
        return [forecast(y, about["h"], about["season"]) for y in sample], [], []

    serve(work, {"versions": versions()})


if __name__ == "__main__":
    main()
