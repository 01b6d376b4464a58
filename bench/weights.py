"""How points are weighted: the blend against simpler rules, on M1, without a search.

For each series the plain forms are judged on the windows and fitted to all of the past; the rules
differ only in the weights. Usage: weights.py
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from common import PERIODS, Competition, m1, write_result

from daskcast import metrics, windows
from daskcast.errors import EntityError
from daskcast.models import ETS, view_of
from daskcast.models.ets import needs
from daskcast.tune import Judge
from daskcast.tune.blend import weigh

if TYPE_CHECKING:
    from collections.abc import Callable

    Rule = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


def single(values: np.ndarray) -> np.ndarray:
    """Give all the weight to the lowest value."""
    weights = np.zeros(len(values))
    weights[int(values.argmin())] = 1.0
    return weights


def akaike(aicc: np.ndarray) -> np.ndarray:
    """Give the plain weights of Akaike."""
    weights = np.exp((aicc.min() - aicc) / 2)
    return weights / weights.sum()


RULES: dict[str, Rule] = {
    "lowest AICc": lambda aicc, _: single(aicc),
    "lowest rolling error": lambda aicc, loss: single(aicc if loss is None else loss),
    "equal weights": lambda aicc, _: np.full(len(aicc), 1 / len(aicc)),
    "AICc weights": lambda aicc, _: akaike(aicc),
    "the blend": lambda aicc, loss: weigh(aicc, loss, [ETS()] * len(aicc)),
}


def main() -> None:
    """Measure, and write bench/results/weights.json."""
    found = {kind: scores(m1(kind)) for kind in PERIODS}
    write_result("weights", {"what": "MASE and sMAPE by rule, plain forms of M1", **found})


def scores(data: Competition) -> dict[str, dict[str, float]]:
    """Give MASE and sMAPE of each rule, means over the series."""
    errors: dict[str, list[tuple[float, float]]] = {rule: [] for rule in RULES}
    for y, truth in zip(data.train, data.test, strict=True):
        aicc, loss, forecasts = judged(y, data.season, data.h)
        scale = metrics.naive_scales(y, np.array([len(y)]), data.season)[0][0]
        for name, rule in RULES.items():
            mean = rule(aicc, loss) @ forecasts
            mase = float(metrics.mae(mean, truth)) / scale
            errors[name].append((mase, float(metrics.smape(mean, truth))))
    means = {name: np.mean(pairs, axis=0) for name, pairs in errors.items()}
    return {
        n: {"mase": round(float(a), 4), "smape": round(float(b), 3)} for n, (a, b) in means.items()
    }


def judged(y: np.ndarray, m: int, h: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Give AICc [K], mean loss [K] or None without a window, and forecasts [K, H]."""
    least = needs("Ad", "A" if m > 1 else "N", m)
    at = windows.cutoffs(y, h, n_windows=3, step_size=None, least=least)
    view, family = view_of(y, m, h, at), ETS()
    points = [
        point
        for point in family.space(view).points
        if point["power"] == 1 and point["criterion"] == "likelihood"
    ]
    judge = Judge(view, "mase")
    done = []
    for point in points:
        with suppress(EntityError):  # a multiplicative form may have no finite likelihood
            loss = judge.losses(family.roll(view, point).forecasts).mean() if len(at) else 0.0
            fitted = family.finish(view, point)
            done.append((fitted.aicc, loss, fitted.mean))
    aicc, losses, means = (np.array(column) for column in zip(*done, strict=True))
    return aicc, losses if len(at) else None, means


if __name__ == "__main__":
    main()
