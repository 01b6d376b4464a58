"""How the families are put together: the blend of all against each alone and other rules.

Every form of the portfolio is judged on the windows and fitted to all of the past; the rules differ
only in what they take and how they weigh it. Data: M1, on which the method was developed, and the
airports where their file is there: one half for development, the other to confirm. Also
what a test for the season would have done to the theta method. Usage: blends.py
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from common import PERIODS, Competition, m1, write_result
from data_sets import DATASETS, HALVES, AbsentError

from daskcast import metrics, windows
from daskcast.errors import EntityError
from daskcast.models import Family, families, view_of
from daskcast.models.ets import needs
from daskcast.tune import Judge, Reach
from daskcast.tune.blend import weigh

if TYPE_CHECKING:
    from daskcast.models.base import Point

NAMES = ("ets", "theta", "ces", "seasonal_naive", "drift")
#: 90 % two-sided, as the theta method's literature tests
CRITICAL = 1.645


@dataclass(frozen=True)
class Known:
    """The forms of one series: ``aicc`` [K], ``loss`` [K] or None, ``mean`` [K, H]."""

    families: list[Family]
    points: list[Point]
    aicc: np.ndarray
    loss: np.ndarray | None
    mean: np.ndarray
    seasonal: bool

    def part(self, keep: Callable[[Family, Point], bool]) -> Known | None:
        """Take some of the forms; None where there are none."""
        at = [i for i, one in enumerate(self.points) if keep(self.families[i], one)]
        if not at:
            return None
        loss = None if self.loss is None else self.loss[at]
        return Known(
            [self.families[i] for i in at],
            [self.points[i] for i in at],
            self.aicc[at],
            loss,
            self.mean[at],
            self.seasonal,
        )

    def blended(self) -> np.ndarray:
        """Blend as the package does, [H]."""
        return weigh(self.aicc, self.loss, self.families) @ self.mean


def judged(y: np.ndarray, m: int, h: int) -> Known:
    """Judge and fit every form of the portfolio that keeps within reach."""
    least = needs("Ad", "A" if m > 1 else "N", m)
    at = windows.cutoffs(y, h, n_windows=3, step_size=None, least=least)
    view = view_of(y / metrics.unit_of(y), m, h, at)
    judge, reach = Judge(view, "mase"), Reach.of(view.y, h)
    done = []
    for family in families(NAMES):
        space = family.space(view)
        for point in space.points[: space.n_portfolio]:
            with suppress(EntityError):
                loss = judge.losses(family.roll(view, point).forecasts).mean() if len(at) else 0.0
                fitted = family.finish(view, point)
                if np.isfinite(loss) and reach.holds(fitted.mean, fitted.sd):
                    done.append((family, point, fitted.aicc, loss, fitted.mean))
    who, points, aicc, losses, means = map(list, zip(*done, strict=True))
    loss = np.array(losses) if len(at) else None
    scale = metrics.unit_of(y)
    return Known(who, points, np.array(aicc), loss, scale * np.array(means), is_seasonal(y, m))


def is_seasonal(y: np.ndarray, m: int) -> bool:
    """Test the autocorrelation at one season, as the theta method's literature does."""
    if m == 1 or len(y) < 2 * m + 1:
        return False
    centred = y - y.mean()
    r = np.array([(centred[k:] * centred[:-k]).sum() for k in range(1, m + 1)])
    r /= (centred * centred).sum() or 1.0
    return bool(abs(r[-1]) / np.sqrt((1 + 2 * (r[:-1] ** 2).sum()) / len(y)) > CRITICAL)


def of(*names: str, logs: bool = True) -> Callable[[Known], list[np.ndarray]]:
    """Give the blend of each of some families by itself."""

    def each(known: Known) -> list[np.ndarray]:
        parts = [
            known.part(
                lambda family, point, name=name: (
                    family.name == name and (logs or name == "ets" or point.get("power") != 0)
                )
            )
            for name in names
        ]
        return [part.blended() for part in parts if part is not None]

    return each


def default(known: Known) -> np.ndarray:
    """Blend the three families as the package does."""
    part = known.part(lambda family, _: family.name in {"ets", "theta", "ces"})
    assert part is not None
    return part.blended()


def tested(known: Known) -> np.ndarray:
    """Take the dynamic theta method, its season by the test."""

    def wanted(season: str) -> Callable[[Family, Point], bool]:
        return lambda family, point: (
            family.name == "theta"
            and point["method"] == "dynamic"
            and point["season"] == season
            and point["power"] == 1
        )

    seasons = ("M", "A", "N") if known.seasonal else ("N",)
    found = [part for season in seasons if (part := known.part(wanted(season)))]
    return found[0].blended() if found else default(known)


def untested(known: Known) -> np.ndarray:
    """Blend the dynamic theta method with and without a season."""
    part = known.part(
        lambda family, point: (
            family.name == "theta" and point["method"] == "dynamic" and point["power"] == 1
        )
    )
    return part.blended() if part else default(known)


RULES: dict[str, Callable[[Known], np.ndarray]] = {
    "`ets` alone": lambda known: of("ets")(known)[0],
    "`theta` alone": lambda known: (of("theta")(known) or [default(known)])[0],
    "`ces` alone": lambda known: (of("ces")(known) or [default(known)])[0],
    "the blend of the three": default,
    "equal weights of the three": lambda known: np.mean(of("ets", "theta", "ces")(known), axis=0),
    "their median": lambda known: np.median(of("ets", "theta", "ces")(known), axis=0),
    "equal, no logs but of `ets`": lambda known: np.mean(
        of("ets", "theta", "ces", logs=False)(known), axis=0
    ),
    "equal, `ets` and `theta`": lambda known: np.mean(of("ets", "theta")(known), axis=0),
    "equal, and seasonal naive": lambda known: np.mean(
        of("ets", "theta", "ces", "seasonal_naive")(known), axis=0
    ),
    "equal, and drift": lambda known: np.mean(of("ets", "theta", "ces", "drift")(known), axis=0),
    "dynamic theta, season by a test": tested,
    "dynamic theta, blended over seasons": untested,
}


def scores(data: Competition, keep: list[int]) -> dict[str, dict[str, float]]:
    """Give MASE and sMAPE of each rule, means over the series whose scale is defined."""
    errors: dict[str, list[tuple[float, float]]] = {rule: [] for rule in RULES}
    for i in keep:
        y, truth = data.train[i], data.test[i]
        scale = metrics.naive_scales(y, np.array([len(y)]), data.season)[0][0]
        if not scale > 0:
            continue
        known = judged(y, data.season, data.h)
        for name, rule in RULES.items():
            mean = rule(known)
            mase = float(metrics.mae(mean, truth)) / scale
            errors[name].append((mase, float(metrics.smape(mean, truth))))
    means = {name: np.mean(pairs, axis=0) for name, pairs in errors.items()}
    return {
        n: {"mase": round(float(a), 4), "smape": round(float(b), 3)} for n, (a, b) in means.items()
    }


def main() -> None:
    """Measure, and write bench/results/blends.json."""
    found = {}
    for kind in PERIODS:
        data = m1(kind)
        found[f"M1 {kind}"] = scores(data, list(range(len(data.ids))))
    try:
        airports = DATASETS["aai"]()
    except AbsentError as absent:
        print(f"skipped: {absent}")
    else:
        for half in HALVES:
            keep = [i for i, one in enumerate(airports.half or ()) if one == half]
            found[f"airports, {half}"] = scores(airports, keep)
    write_result("blends", {"what": "MASE and sMAPE by rule, forms of the portfolio", **found})


if __name__ == "__main__":
    main()
