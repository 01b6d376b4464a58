"""The peer: a model of statsforecast with intervals, called as leanly as it can be.

The model is called directly, without the data frames of the ``StatsForecast`` class. A series that
it cannot do gets NaN, and a line on standard error. With ``points`` there are no intervals: most
models simulate theirs, which can cost more than the forecast. Usage:
side_statsforecast.py SERIES.npz [N_SERIES] [MODEL] [points]
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from common import load, versions
from side import Pass, serve
from statsforecast import models

LEVELS = (80, 95)
#: These take no season length.
PLAIN = ("Naive", "RandomWalkWithDrift")


def forecast(
    name: str, y: np.ndarray, *, h: int, season: int, levels: tuple[int, ...] = LEVELS
) -> list[np.ndarray]:
    """Give mean [H], low [L, H] and high [L, H], NaN where the model fails."""
    model = getattr(models, name)(**({} if name in PLAIN else {"season_length": season}))
    try:
        found = model.forecast(y=y, h=h, level=list(levels) or None)
        bounds = [np.array([found[f"{x}-{level}"] for level in levels]) for x in ("lo", "hi")]
        return [np.asarray(found["mean"], dtype=float), *bounds]
    except Exception as error:  # noqa: BLE001  # of whatever kind: it is counted
        print(f"{name}, {y.size} values: {error!r}", file=sys.stderr)
        none = np.full((len(levels), h), np.nan)
        return [np.full(h, np.nan), none, none]


def main() -> None:
    """Serve passes over the series."""
    warnings.filterwarnings("ignore")
    series, about = load(sys.argv[1])
    series = series[: int(sys.argv[2])] if len(sys.argv) > 2 else series
    name = sys.argv[3] if len(sys.argv) > 3 else "AutoETS"
    levels = LEVELS if len(sys.argv) < 5 else ()
    shape = {"levels": levels, "h": about["h"], "season": about["season"]}

    def work() -> Pass:
        mean, low, high = zip(*(forecast(name, y, **shape) for y in series), strict=True)
        return list(mean), list(low), list(high)

    for y in series[:3]:
        forecast(name, y, **shape)
    serve(work, {"versions": versions()})


if __name__ == "__main__":
    main()
