"""When a search pays: a model of one's own with a space, by portfolio and by skopt.

The model is a ridge regression on its own lags; its space has the number of lags, the penalty and
whether it is differenced. The portfolio tries its first points alone, skopt 24 of 64. Series: every
sixth monthly one of M1; the model takes part alone, and beside the families of the package. Usage:
search.py
"""

from __future__ import annotations

import time

import numpy as np
from common import m1, write_result
from side_daskcast import to_series

from daskcast import OwnModel, metrics
from daskcast.config import ForecastConfig
from daskcast.settings import TaskSettings
from daskcast.task import run_batch, warm_up

EVERY = 6
SPACE = {
    "n_lags": [1, 3, 6, 12, 13, 24],
    "penalty": (1e-3, 1e3, "log-uniform"),
    "differenced": [False, True],
}
FAMILIES = ("ets", "theta", "ces")


class RidgeOnLags:
    """A ridge regression of each value on those before it, in units of the mean."""

    def __init__(self, n_lags: int = 12, penalty: float = 1.0, differenced: bool = False) -> None:
        self.n_lags = n_lags
        self.penalty = penalty
        self.differenced = differenced

    def fit(self, y: np.ndarray, X: object = None) -> RidgeOnLags:  # noqa: ARG002
        """Solve the normal equations."""
        self.unit_ = float(np.abs(y).mean()) or 1.0
        z = y / self.unit_
        self.last_ = z[-1]
        self.tail_ = np.diff(z) if self.differenced else z
        if len(self.tail_) < self.n_lags + 3:
            raise ValueError(f"{len(y)} values are too few for {self.n_lags} lags")
        rows = np.lib.stride_tricks.sliding_window_view(self.tail_, self.n_lags)[:-1]
        past = np.column_stack([np.ones(len(rows)), rows])
        weight = self.penalty * np.eye(past.shape[1])
        weight[0, 0] = 1e-9
        self.coef_ = np.linalg.solve(past.T @ past + weight, past.T @ self.tail_[self.n_lags :])
        return self

    def predict(self, h: int, X: object = None) -> np.ndarray:  # noqa: ARG002
        """Go on step by step."""
        values = list(self.tail_)
        for _ in range(h):
            values.append(float(self.coef_[0] + self.coef_[1:] @ values[-self.n_lags :]))
        ahead = np.array(values[-h:])
        return self.unit_ * (self.last_ + np.cumsum(ahead) if self.differenced else ahead)


def measure(models: tuple[object, ...], search: str) -> dict[str, float]:
    """Give MASE and CPU milliseconds for one series."""
    data = m1("monthly")
    at = range(0, len(data.ids), EVERY)
    series = [
        to_series(data.ids[i], data.train[i], h=data.h, season=data.season, freq=data.freq)
        for i in at
    ]
    config = ForecastConfig(h=data.h, season_length=data.season, search=search, models=models)
    settings = TaskSettings.of(config)
    begun = time.process_time()
    results = run_batch(series, settings)
    spent = time.process_time() - begun
    errors = []
    for i, result in zip(at, results, strict=True):
        y = data.train[i]
        scale = metrics.naive_scales(y, np.array([len(y)]), data.season)[0][0]
        errors.append(float(metrics.mae(result.forecast.mean, data.test[i])) / scale)
    return {"mase": round(float(np.mean(errors)), 4), "ms": round(1000 * spent / len(errors), 1)}


def main() -> None:
    """Measure, and write bench/results/search.json."""
    warm_up()
    own = OwnModel(RidgeOnLags(), SPACE, name="ridge")
    found = {
        f"{what}, {search}": measure(models, search)
        for what, models in (("ridge alone", (own,)), ("families and ridge", (*FAMILIES, own)))
        for search in ("portfolio", "skopt")
    }
    write_result("search", {"what": "MASE and CPU of a model with a space", "by": found})


if __name__ == "__main__":
    main()
