"""Whether a shorter history helps after a level shift, and what it costs without one.

Each series is forecast from its whole past, from its last seasons alone, and by the mean of both.
Data: airports made up with one level shift (a share of the level, up or down, somewhere in the last
half of the history) and the same airports without it; the monthly series of M1; the real airports
after 2020 and before, where their file is there. Usage: level_shift.py [--series 200]
"""

from __future__ import annotations

import argparse

import numpy as np
from common import Competition, m1, write_result
from data_sets import DATASETS, AbsentError
from side_daskcast import to_series

from daskcast.config import ForecastConfig
from daskcast.settings import TaskSettings
from daskcast.task import run_batch, warm_up

#: seasons that a shortened history keeps
SEASONS = (3, 4, 5)
H, M, N = 12, 12, 96


def made_up(n_series: int, *, shift: bool) -> Competition:
    """Make airports; a shift multiplies the level by 0.4 to 0.8, or by the inverse, for good."""
    train, test = [], []
    for i in range(n_series):
        rng = np.random.default_rng(i)
        t = np.arange(N + H)
        walk = np.exp(np.cumsum(rng.normal(0.003, 0.015, N + H)))
        season = 1 + rng.uniform(0.05, 0.3) * np.sin((t + rng.integers(M)) * 2 * np.pi / M)
        y = 1000 * walk * season * rng.lognormal(0, 0.04, N + H)
        at, size = rng.integers(N // 2, N - M // 2), rng.uniform(0.4, 0.8) ** rng.choice([-1, 1])
        y[at:] *= size if shift else 1.0
        train.append(y[:N])
        test.append(y[N:])
    return Competition([str(i) for i in range(n_series)], train, test, H, M, "MS")


def forecasts(data: Competition, seasons: int | None) -> np.ndarray:
    """Forecast each series from its last seasons, or from all of it, [N, H]."""
    keep = None if seasons is None else -(seasons * data.season + 1)
    series = [
        to_series(name, y[keep:] if keep else y, h=data.h, season=data.season, freq=data.freq)
        for name, y in zip(data.ids, data.train, strict=True)
    ]
    settings = TaskSettings.of(ForecastConfig(h=data.h, season_length=data.season))
    return np.array([one.forecast.mean for one in run_batch(series, settings)])


def mase(data: Competition, told: np.ndarray) -> float:
    """Give the mean MASE; the scale is that of the whole past."""
    scales = [np.abs(y[data.season :] - y[: -data.season]).mean() for y in data.train]
    errors = np.abs(told - np.array(data.test)).mean(axis=1) / scales
    return round(float(errors[np.isfinite(errors)].mean()), 4)


def compare(data: Competition) -> dict[str, float]:
    """Give the MASE of each rule."""
    whole = forecasts(data, None)
    found = {"whole": mase(data, whole)}
    for seasons in SEASONS:
        short = forecasts(data, seasons)
        found[f"last {seasons} seasons"] = mase(data, short)
        found[f"mean of whole and last {seasons}"] = mase(data, 0.5 * (whole + short))
    return found


def sets(n_series: int) -> dict[str, Competition]:
    """Give the data sets that are at hand."""
    found = {
        "made up, shifted": made_up(n_series, shift=True),
        "made up, not shifted": made_up(n_series, shift=False),
        "M1 monthly": m1("monthly"),
    }
    for name, told in (("aai", "airports before 2020"), ("aai_2020s", "airports after 2020")):
        try:
            found[told] = DATASETS[name]()
        except AbsentError as absent:
            print(f"skipped: {absent}")
    return found


def main() -> None:
    """Measure, and write bench/results/level_shift.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=200)
    options = parser.parse_args()
    warm_up()
    found = {name: compare(data) for name, data in sets(options.series).items()}
    write_result("level_shift", {"what": "MASE by how much of the past is used", **found})


if __name__ == "__main__":
    main()
