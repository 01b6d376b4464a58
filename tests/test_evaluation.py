"""Metrics against hand-worked values, utilsforecast and scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, mean_absolute_percentage_error
from utilsforecast import losses
from utilsforecast.evaluation import evaluate as theirs

from daskcast.errors import ConfigError, DataError
from daskcast.evaluation import METRICS, evaluate, interval_score

MONTHS = pd.date_range("2020-01-01", periods=60, freq="MS")


def value(found: pd.DataFrame, metric: str, **where: Any) -> float:
    """Give the one value of a metric."""
    rows = found[found["metric"] == metric]
    for name, wanted in where.items():
        rows = rows[rows[name] == wanted]
    [only] = rows["value"].tolist()
    return float(only)


def small(**columns: Any) -> pd.DataFrame:
    """Give one window of four steps with bounds."""
    plain = {
        "unique_id": "JFK",
        "ds": [11, 12, 13, 14],
        "cutoff": 10,
        "y": [10.0, 20.0, 40.0, 30.0],
        "m": [12.0, 18.0, 50.0, 30.0],
        "m-lo-80": [11.0, 10.0, 30.0, 20.0],
        "m-hi-80": [13.0, 26.0, 70.0, 40.0],
    }
    return pd.DataFrame({**plain, **columns})


#: differences of one step: 2, -1, 3, 0
HISTORY = pd.DataFrame({"unique_id": "JFK", "ds": range(6, 11), "y": [1.0, 3.0, 2.0, 5.0, 5.0]})


@pytest.fixture
def panel(rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give a history of three entities, and two models' forecasts from two cutoffs of it."""
    ids = ["JFK", "LGA", "NA"]
    y = rng.lognormal(3, 0.4, (3, 60))
    history = pd.DataFrame(
        {"unique_id": np.repeat(ids, 60), "ds": np.tile(MONTHS, 3), "y": y.ravel()}
    )
    parts = []
    for place in (48, 54):
        rows = history[history["ds"].isin(MONTHS[place : place + 6])].assign(
            cutoff=MONTHS[place - 1]
        )
        for model in ("daskcast", "other"):
            mean = rows["y"] * rng.lognormal(0, 0.2, len(rows))
            rows = rows.assign(
                **{
                    model: mean,
                    f"{model}-lo-80": 0.8 * mean,
                    f"{model}-hi-80": 1.3 * mean,
                    f"{model}-lo-95": 0.7 * mean,
                    f"{model}-hi-95": 1.5 * mean,
                }
            )
        parts.append(rows)
    return history, pd.concat(parts, ignore_index=True)


# -- oracles ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("mae", (2 + 2 + 10 + 0) / 4),
        ("rmse", math.sqrt((4 + 4 + 100) / 4)),
        ("mape", 100 * (2 / 10 + 2 / 20 + 10 / 40) / 4),
        ("smape", 200 * (2 / 22 + 2 / 38 + 10 / 90) / 4),
        ("wape", 100 * 14 / 100),
        ("bias", (2 - 2 + 10) / 4),
        ("mase", 3.5 / 1.5),
        ("rmsse", math.sqrt(27 / (14 / 4))),
        ("pinball-0.1", (0.9 * 1 + 0.1 * 10 + 0.1 * 10 + 0.1 * 10) / 4),
        ("pinball-0.9", (0.1 * 3 + 0.1 * 6 + 0.1 * 30 + 0.1 * 10) / 4),
        ("coverage-80", 3 / 4),
        ("scaled_crps", (0.975 + 1.225) / 25),
        ("msis-80", (2 + 10 * 1 + 16 + 40 + 20) / 4 / 1.5),
    ],
)
def test_by_hand(metric: str, expected: float) -> None:
    """Each metric as worked out on paper."""
    found = evaluate(small(), train_df=HISTORY)
    assert value(found, metric) == pytest.approx(expected, rel=1e-12)
    assert (found["n_ok"] == 1).all()
    assert (found["n_total"] == 1).all()
    assert found.columns.tolist() == ["model", "metric", "value", "n_ok", "n_total"]


def test_as_utilsforecast_has_it(panel: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """On complete monthly data every metric it has comes out the same, up to the scale."""
    history, table = panel
    found = evaluate(table, train_df=history)

    def mase(df: pd.DataFrame, models: list[str], train_df: pd.DataFrame, **names: Any) -> Any:
        return losses.mase(df, models, 12, train_df, **names)

    def rmsse(df: pd.DataFrame, models: list[str], train_df: pd.DataFrame, **names: Any) -> Any:
        return losses.rmsse(df, models, 12, train_df, **names)

    functions = [
        losses.mae, losses.rmse, losses.mape, losses.smape, losses.nd, losses.bias, mase, rmsse,
        losses.coverage, losses.quantile_loss, losses.scaled_crps,
    ]  # fmt: skip
    expected = theirs(table, functions, train_df=history, level=[80, 95])
    means = expected.drop(columns=["unique_id", "cutoff"]).groupby("metric").mean()
    names = {
        "mape": ("mape", 100), "smape": ("smape", 200), "nd": ("wape", 100),
        "coverage_level80": ("coverage-80", 1), "coverage_level95": ("coverage-95", 1),
        "quantile_loss_q0.025": ("pinball-0.025", 1), "quantile_loss_q0.1": ("pinball-0.1", 1),
        "quantile_loss_q0.9": ("pinball-0.9", 1), "quantile_loss_q0.975": ("pinball-0.975", 1),
    }  # fmt: skip
    assert len(means) == 15
    for name, row in means.iterrows():
        ours, factor = names.get(str(name), (str(name), 1))
        for model in ("daskcast", "other"):
            assert value(found, ours, model=model) == pytest.approx(factor * row[model]), name


def test_as_scikit_learn_has_it(panel: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """One entity at one cutoff is a plain vector."""
    _, table = panel
    one = table[(table["unique_id"] == "NA") & (table["cutoff"] == MONTHS[47])]
    found = evaluate(one, ["mae", "mape"])
    assert value(found, "mae", model="other") == pytest.approx(
        mean_absolute_error(one["y"], one["other"])
    )
    assert value(found, "mape", model="other") == pytest.approx(
        100 * mean_absolute_percentage_error(one["y"], one["other"])
    )


@given(
    y=st.floats(-100, 100), lo=st.floats(-100, 100), width=st.floats(0, 50), level=st.floats(1, 99)
)
def test_the_interval_score_is_two_quantile_losses(
    y: float, lo: float, width: float, level: float
) -> None:
    """It is the quantile losses of both bounds, by half the share that may lie outside."""
    tail, hi = (100 - level) / 200, lo + width
    pinball = max(tail * (y - lo), (tail - 1) * (y - lo))
    pinball += max((1 - tail) * (y - hi), -tail * (y - hi))
    [found] = interval_score(*(pd.Series([x]) for x in (y, lo, hi)), level)
    assert found == pytest.approx(pinball / tail, rel=1e-9, abs=1e-9)


# -- properties -------------------------------------------------------------------------------

NUMBERS = st.integers(-4, 4).map(float)


@st.composite
def any_table(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw entities with a history of whole-numbered times and windows after it, with holes."""
    histories, windows = [], []
    for name in draw(st.sets(st.sampled_from("ABC"), min_size=1)):
        n = draw(st.integers(2, 6))
        y = draw(st.lists(NUMBERS, min_size=n + 4, max_size=n + 4))
        histories.append(pd.DataFrame({"unique_id": name, "ds": range(n + 4), "y": y}))
        for cutoff in draw(st.sets(st.integers(1, n + 1), min_size=1)):
            ds = np.arange(cutoff + 1, cutoff + 3)
            truth = [v if draw(st.integers(0, 5)) else math.nan for v in np.array(y)[ds]]
            m = draw(st.lists(NUMBERS | st.just(math.nan), min_size=2, max_size=2))
            low = np.array(m) - 1
            windows.append(
                pd.DataFrame(
                    {"unique_id": name, "ds": ds, "cutoff": cutoff, "y": truth, "m": m,
                     "m-lo-90": low, "m-hi-90": low + 3}
                )
            )  # fmt: skip
    table = pd.concat(windows, ignore_index=True)
    if table["y"].isna().all():
        table.loc[0, "y"] = 1.0
    return pd.concat(histories, ignore_index=True), table


@settings(max_examples=10)
@given(any_table())
def test_undefined_is_counted_and_never_left_out(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Windows add up, NaN says undefined, and means stand on what they say they stand on."""
    history, table = tables
    each = evaluate(table, by="unique_id", train_df=history)
    n_windows = table.groupby("unique_id")["cutoff"].nunique()
    assert (each["n_total"] == each["unique_id"].map(n_windows)).all()
    assert (each["value"].notna() == (each["n_ok"] == each["n_total"])).all()
    assert not np.isinf(each["value"]).any()
    whole = evaluate(table, train_df=history)
    assert (whole["n_total"] == len(n_windows)).all()
    for metric, group in each.groupby("metric"):
        row = whole[whole["metric"] == metric].iloc[0]
        assert row["n_ok"] == group["value"].notna().sum()
        np.testing.assert_allclose(row["value"], group["value"].mean(), atol=1e-12)
    for (name, cutoff), window in table.groupby(["unique_id", "cutoff"]):
        one = evaluate_alone(window)
        known = window.dropna(subset="y")
        sure = len(known) > 0 and known["m"].notna().all()
        assert math.isnan(one["mae"]) == (not sure), (name, cutoff)
        assert math.isnan(one["coverage-90"]) == (not sure)
        assert math.isnan(one["mape"]) == (not sure or (known["y"] == 0).any())
        assert math.isnan(one["wape"]) == (not sure or (known["y"] == 0).all())


def evaluate_alone(window: pd.DataFrame) -> dict[str, float]:
    """Give all metrics of one window; NaN where there is nothing to compare."""
    if window["y"].isna().all():
        return dict.fromkeys(("mae", "coverage-90", "mape", "wape"), math.nan)
    found = evaluate(window, ["mae", "coverage", "mape", "wape"])
    return dict(zip(found["metric"], found["value"], strict=True))


# -- what is undefined ------------------------------------------------------------------------


def test_a_zero_scale_is_undefined() -> None:
    """A constant history gives no scaled metric, and the others all the same."""
    found = evaluate(small(), train_df=HISTORY.assign(y=3.0))
    undefined = found[found["value"].isna()]
    assert undefined["metric"].tolist() == ["mase", "rmsse", "msis-80"]
    assert (undefined["n_ok"] == 0).all()


def test_an_entity_without_history_is_undefined() -> None:
    """So is one that the history does not hold, or that is broken there."""
    two = pd.concat([small(), small(unique_id="LGA"), small(unique_id="NA")])
    twice = pd.concat([HISTORY, HISTORY.assign(unique_id="NA"), HISTORY.assign(unique_id="NA")])
    found = evaluate(two, ["mae", "mase"], train_df=twice)
    assert found["n_ok"].tolist() == [3, 1]
    assert found["n_total"].tolist() == [3, 3]
    assert value(found, "mase") == pytest.approx(3.5 / 1.5)


def test_scales_skip_gaps_and_know_the_season_of_each_entity() -> None:
    """A month that is missing takes no part; a quarter's season is four steps."""
    quarters = pd.date_range("2015-01-01", periods=16, freq="QS")
    monthly = pd.DataFrame({"unique_id": "M", "ds": MONTHS[:36], "y": np.arange(36.0) ** 2})
    quarterly = pd.DataFrame({"unique_id": "Q", "ds": quarters, "y": np.arange(16.0) ** 2})
    history = pd.concat([monthly.drop(index=20), quarterly])
    table = pd.DataFrame(
        {
            "unique_id": ["M", "Q"],
            "ds": [MONTHS[30], quarters[12]],
            "cutoff": [MONTHS[29], quarters[11]],
            "y": [1.0, 1.0],
            "m": [2.0, 2.0],
        }
    )
    found = evaluate(table, ["mase"], by="unique_id", train_df=history)
    steps = [t**2 - (t - 12) ** 2 for t in range(12, 30) if t != 20]
    seasons = [t**2 - (t - 4) ** 2 for t in range(4, 12)]
    expected = [1 / np.mean(steps), 1 / np.mean(seasons)]
    np.testing.assert_allclose(found["value"], expected, rtol=1e-12)


def test_what_comes_after_a_cutoff_is_no_scale() -> None:
    """With or without a cutoff, the whole table may be given as the history."""
    after = pd.DataFrame({"unique_id": "JFK", "ds": range(11, 15), "y": [9.0, -9.0, 9.0, 50.0]})
    both = pd.concat([HISTORY, after])
    for table in (small(), small().drop(columns="cutoff")):
        found = evaluate(table, ["mase"], train_df=both)
        assert value(found, "mase") == pytest.approx(3.5 / 1.5)


def test_missing_observations_are_not_scored() -> None:
    """A row without an observation counts for nothing, also not as outside an interval."""
    table = small(y=[10.0, 20.0, math.nan, 30.0])
    found = evaluate(table, train_df=HISTORY)
    rest = evaluate(small().drop(index=2), train_df=HISTORY)
    pd.testing.assert_frame_equal(found, rest)


def test_a_missing_forecast_is_undefined() -> None:
    """A model that has no forecast for a step that came is not judged by the others."""
    found = evaluate(small(m=[12.0, math.nan, 50.0, 30.0]))
    assert found.loc[found["value"].isna(), "metric"].tolist()[:2] == ["mae", "rmse"]
    assert value(found, "coverage-80") == 0.75


# -- shapes and names -------------------------------------------------------------------------


def test_by_cutoff(panel: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """One mean over the entities for each cutoff."""
    _, table = panel
    found = evaluate(table, ["mae"], by="cutoff")
    assert found.columns.tolist() == ["cutoff", "model", "metric", "value", "n_ok", "n_total"]
    assert len(found) == 4
    for row in found.itertuples():
        rows = table[table["cutoff"] == row.cutoff]
        assert row.value == pytest.approx((rows["y"] - rows[row.model]).abs().mean())
        assert row.n_total == 3


def test_the_users_own_names(panel: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Columns of any names are found, and the input is left as it was."""
    history, table = panel
    names = {"unique_id": "airport", "ds": "month", "y": "passengers"}
    mine, past = table.rename(columns=names), history.rename(columns=names)
    before = mine.copy()
    options = {"id_col": "airport", "time_col": "month", "target_col": "passengers"}
    found = evaluate(mine, by="airport", train_df=past, **options)
    pd.testing.assert_frame_equal(mine, before)
    expected = evaluate(table, by="unique_id", train_df=history)
    pd.testing.assert_frame_equal(found.rename(columns={"airport": "unique_id"}), expected)


def test_any_container(panel: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """A polars frame is a frame too."""
    pl = pytest.importorskip("polars")
    history, table = panel
    found = evaluate(pl.from_pandas(table), train_df=pl.from_pandas(history))
    pd.testing.assert_frame_equal(found, evaluate(table, train_df=history))


def test_models_without_intervals_have_none_of_their_metrics() -> None:
    """Beside one that has them, a model without bounds is scored as far as it goes."""
    found = evaluate(small(naive=10.0), ["mae", "coverage"])
    assert found[["model", "metric"]].to_numpy().tolist() == [
        ["m", "mae"], ["naive", "mae"], ["m", "coverage-80"],
    ]  # fmt: skip


def test_what_cannot_be_computed_is_not_among_the_defaults() -> None:
    """Without a history nothing scaled; without bounds nothing of intervals."""
    kinds = {name.partition("-")[0] for name in evaluate(small(), train_df=HISTORY)["metric"]}
    assert kinds == set(METRICS)
    assert not {"mase", "rmsse", "msis-80"} & set(evaluate(small())["metric"])
    plain = small()[["unique_id", "ds", "cutoff", "y", "m"]]
    assert evaluate(plain)["metric"].tolist() == ["mae", "rmse", "mape", "smape", "wape", "bias"]


def test_what_is_wrong_is_told_at_once() -> None:
    """Unknown names and metrics that need more, in one message; no columns, no rows."""
    plain = small()[["unique_id", "ds", "cutoff", "y", "m"]]
    with pytest.raises(ConfigError) as caught:
        evaluate(plain, ["mae", "mse", "mase", "coverage"])
    assert len(caught.value.problems) == 3
    with pytest.raises(ConfigError, match="mase needs train_df"):
        evaluate(small(), ["mase"])
    with pytest.raises(ConfigError, match="by must be None, 'unique_id' or 'cutoff', found 'ds'"):
        evaluate(small(), by="ds")
    with pytest.raises(DataError, match="no column 'y'; an ordinary run does not know what came"):
        evaluate(small().drop(columns="y"))
    with pytest.raises(DataError, match="no observation"):
        evaluate(small(y=math.nan))
    with pytest.raises(DataError, match="no column of a model"):
        evaluate(plain.drop(columns="m"))
    with pytest.raises(DataError, match="expected a run or a data frame, found list"):
        evaluate([1, 2])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="make them one type"):
        evaluate(small(), train_df=HISTORY.assign(ds=MONTHS[:5]))
