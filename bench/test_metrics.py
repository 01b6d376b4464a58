"""The measures of the accuracy benchmark against values worked by hand, and utilsforecast."""

from __future__ import annotations

import metrics
import numpy as np
import pandas as pd
import pytest
from utilsforecast import losses

TRAIN = [np.array([1.0, 2.0, 4.0, 7.0]), np.array([5.0, 5.0, 5.0, 5.0])]
TEST = np.array([[10.0, 12.0], [5.0, 0.0]])
MEAN = np.array([[8.0, 13.0], [5.0, 0.0]])
LOW, HIGH = MEAN - 1.5, MEAN + 1.5


def test_by_hand() -> None:
    """Each measure gives what paper and pencil give, and a zero scale gives none."""
    scale = metrics.seasonal_scale(TRAIN, 2)  # (3 + 5) / 2
    assert scale[0] == 4
    assert np.isnan(scale[1])
    assert metrics.mase(MEAN, TEST, scale)[0] == pytest.approx(1.5 / 4)
    assert metrics.smape(MEAN, TEST).tolist() == pytest.approx([200 * (2 / 18 + 1 / 25) / 2, 0])
    assert metrics.coverage(LOW, HIGH, TEST).tolist() == [50, 100]
    score = metrics.msis(LOW, HIGH, TEST, level=80, scale=scale)
    assert score[0] == pytest.approx((3 + 10 * 0.5 + 3) / 2 / 4)


def test_against_utilsforecast() -> None:
    """On many series they are what utilsforecast finds."""
    rng = np.random.default_rng(0)
    train = [rng.gamma(3, 10, size=40) for _ in range(20)]
    test, mean = rng.gamma(3, 10, size=(2, 20, 6))
    low, high = mean - 9, mean + 14
    ids = [f"{i:02d}" for i in range(20)]
    table = pd.DataFrame({
        "unique_id": np.repeat(ids, 6), "y": test.ravel(), "m": mean.ravel(),
        "m-lo-80": low.ravel(), "m-hi-80": high.ravel(),
    })  # fmt: skip
    past = pd.DataFrame({"unique_id": np.repeat(ids, 40), "y": np.concatenate(train)})
    scale = metrics.seasonal_scale(train, 12)
    for mine, theirs in (
        (metrics.mase(mean, test, scale), losses.mase(table, ["m"], 12, past)),
        (metrics.smape(mean, test) / 200, losses.smape(table, ["m"])),
        (metrics.coverage(low, high, test) / 100, losses.coverage(table, ["m"], 80)),
        (
            metrics.msis(low, high, test, level=80, scale=np.ones(20)),
            losses.winkler_score(table, ["m"], 80),
        ),
    ):
        assert mine.tolist() == pytest.approx(theirs["m"].tolist())


def test_missing() -> None:
    """A series without a forecast is counted, and in no mean."""
    none = np.array([[np.nan, np.nan], [5.0, 0.0]])
    bounds = (np.stack([none, none], axis=1) - 1, np.stack([none, none], axis=1) + 1)
    found = metrics.all_of(none, bounds, TEST, np.ones(2))
    assert {name: metrics.summary(x)["n_ok"] for name, x in found.items()} == dict.fromkeys(
        ("mase", "smape", "coverage_80", "msis_80", "coverage_95", "msis_95"), 1
    )
    assert metrics.summary(found["smape"]) == {"mean": 0.0, "n_ok": 1, "n_total": 2}
    assert metrics.summary(np.array([np.nan])) == {"mean": None, "n_ok": 0, "n_total": 1}
