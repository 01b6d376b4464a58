"""Learns what intervals are widened by, and prints the constants of ``daskcast/intervals.py``.

Development data: the series of M1, forecast at their test period and one horizon before it, and the
development half of the airports where their file is there (``data_sets.py``). For each season the
errors in standard deviations of the blend are compared with Student's t: its degrees of freedom
are those for which the scales that give 80 % and 95 % agree best, and the scale is a power of the
step. Cross-fitted coverage (learned on every second series, judged on the others) is told beside
it. Usage: inflation.py
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from common import PERIODS, m1, write_result
from data_sets import DATASETS, HALVES, AbsentError
from side_daskcast import to_series

from daskcast.config import ForecastConfig
from daskcast.intervals import Inflation, half_widths, quantile
from daskcast.settings import TaskSettings
from daskcast.task import run_batch, warm_up

LEVELS = (80.0, 95.0)
DEGREES = (2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0, 50.0)
#: fewest observations that are left one horizon earlier; with a season, two of it and one more
LEAST = 12


@dataclass(frozen=True)
class Errors:
    """Errors of forecasts in standard deviations.

    ``z`` [N, H]; ``half`` [N] tells which of two halves a series is in.
    """

    z: np.ndarray
    half: np.ndarray


def standardised(train: list[np.ndarray], test: list[np.ndarray], m: int, freq: str) -> np.ndarray:
    """Forecast each series and give its errors in standard deviations, [N, H]."""
    h = len(test[0])
    series = [to_series(str(i), y, h=h, season=m, freq=freq) for i, y in enumerate(train)]
    settings = TaskSettings.of(ForecastConfig(h=h, season_length=m, level=(80,)))
    told = [result.forecast for result in run_batch(series, settings)]
    factor = half_widths(np.ones(h), (80,), m)[0]
    sd = np.array([(one.hi[0] - one.mean) / factor for one in told])
    return np.abs(np.array(test) - np.array([one.mean for one in told])) / sd


def airports() -> np.ndarray:
    """Give the errors on the development half of the airports; none where their file is absent."""
    try:
        data = DATASETS["aai"]()
    except AbsentError as absent:
        print(f"skipped: {absent}")
        return np.empty((0, 12))
    mine = [i for i, half in enumerate(data.half) if half == HALVES[0]]
    train, test = [data.train[i] for i in mine], [data.test[i] for i in mine]
    return standardised(train, test, data.season, data.freq)


def errors_of(period: str) -> Errors:
    """Collect the errors on M1 of one period: the test part, and one horizon before."""
    data = m1(period)
    now = standardised(data.train, data.test, data.season, data.freq)
    least = max(LEAST, 2 * data.season + 1)
    long = [i for i, y in enumerate(data.train) if len(y) >= data.h + least]
    before = standardised(
        [data.train[i][: -data.h] for i in long],
        [data.train[i][-data.h :] for i in long],
        data.season,
        data.freq,
    )
    half = np.arange(len(data.train)) % 2
    parts, halves = [now, before], [half, half[long]]
    if period == "monthly":
        z = airports()
        parts.append(np.pad(z, ((0, 0), (0, data.h - z.shape[1])), constant_values=np.nan))
        halves.append(np.arange(len(z)) % 2)
    return Errors(np.concatenate(parts), np.concatenate(halves))


def learn(z: np.ndarray) -> Inflation:
    """Fit degrees of freedom and the scale by step; errors that are not there are NaN."""
    steps = np.log(np.arange(1.0, z.shape[1] + 1))
    observed = [np.log(np.nanquantile(z, level / 100, axis=0)) for level in LEVELS]
    best = None
    for degrees in DEGREES:
        scales = [o - np.log(quantile(x, degrees)) for o, x in zip(observed, LEVELS, strict=True)]
        apart = abs(float(np.mean(scales[0] - scales[1])))
        if best is None or apart < best[0]:
            growth, first = np.polyfit(steps, np.mean(scales, axis=0), 1)
            best = apart, degrees, float(first), float(growth)
    _, degrees, first, growth = best
    if growth < 0:
        growth, first = 0.0, first + growth * float(steps.mean())
    return Inflation(degrees, round(float(np.exp(first)), 3), round(growth, 3))


def covered(z: np.ndarray, widening: Inflation) -> list[float]:
    """Give the coverage of each level, in percent."""
    scale = widening.scale(z.shape[1])
    return [
        round(100 * float((z <= scale * quantile(x, widening.degrees)).mean()), 1) for x in LEVELS
    ]


def main() -> None:
    """Learn, and write bench/results/inflation.json."""
    warm_up()
    found = {}
    for period, (m, _) in PERIODS.items():
        errors = errors_of(period)
        widening = learn(errors.z)
        halves = [errors.z[errors.half == k] for k in (0, 1)]
        crossed = [covered(halves[1 - k], learn(halves[k])) for k in (0, 1)]
        found[period] = {
            "season_length": m,
            "constants": list(widening),
            "coverage": covered(errors.z, widening),
            "coverage_cross_fitted": np.mean(crossed, axis=0).round(1).tolist(),
            "coverage_of_normal": covered(errors.z, Inflation(1e9, 1.0, 0.0)),
            "n_errors": int(errors.z.size),
        }
    write_result("inflation", {"what": "what intervals are widened by", **found})


if __name__ == "__main__":
    main()
