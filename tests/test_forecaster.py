"""A forecaster that is fitted once and asked again."""

from __future__ import annotations

import inspect
import json
import logging
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from distributed import Client, LocalCluster
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from daskcast import (
    ConfigError,
    DataError,
    Forecaster,
    Run,
    StoreError,
    api,
    demo,
    fitted,
    forecast,
)
from daskcast.fitted import Where
from daskcast.models import families, view_of
from daskcast.panel import GridRules, regularise
from daskcast.store import model as saved
from daskcast.tune import Recipe, cook

if TYPE_CHECKING:
    from collections.abc import Callable

FAST: dict[str, Any] = {"search": "portfolio", "cv_windows": 1, "h": 6}
OPTIONS = {name: value for name, value in FAST.items() if name != "h"}
SERIAL: dict[str, Any] = {"cluster": "serial"}
ODD = ["NA", "007", " x", "../x", "null", "\N{SNOWMAN}", "a" * 5000]


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Compare to the bit."""
    pd.testing.assert_frame_equal(found, expected, rtol=0, atol=0)


def series(unique_id: str, n: int = 60, *, start: str = "2020-01-01", low: float = 0) -> Any:
    """Make one airport."""
    t = np.arange(n)
    rng = np.random.default_rng(len(unique_id))
    y = low + (200 + 2 * t) * (1 + 0.3 * np.sin(t * np.pi / 6)) * rng.lognormal(0, 0.05, n)
    times = pd.date_range(start, periods=n, freq="MS")
    return pd.DataFrame({"unique_id": unique_id, "ds": times, "y": y})


def panel(*ids: str, **how: Any) -> pd.DataFrame:
    return pd.concat([series(unique_id, **how) for unique_id in ids], ignore_index=True)


def split(df: pd.DataFrame, at: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    return df[df["ds"] < at], df[df["ds"] >= at]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return demo.airports(12, months=60)


@pytest.fixture(scope="module")
def run(table: pd.DataFrame) -> Run:
    return forecast(table, 6, **OPTIONS, **SERIAL)


@pytest.fixture(scope="module")
def fit(table: pd.DataFrame) -> Forecaster:
    return Forecaster(**FAST).fit(table, **SERIAL)


@pytest.fixture
def model(fit: Forecaster) -> Forecaster:
    """Give a fitted model that may be changed."""
    other = clone(fit)
    for name in ("bundle_", "run_", "failures_"):
        setattr(other, name, getattr(fit, name))
    return other


# -- fit and predict ---------------------------------------------------------------------------


def test_predict_is_the_forecast(model: Forecaster, run: Run) -> None:
    """With the horizon and levels of the fit: the forecasts of the one call, to the bit."""
    same(model.predict(**SERIAL), run.forecasts)
    same(model.predict(6, [80, 95], **SERIAL), run.forecasts)


def test_predict_after_a_real_search(table: pd.DataFrame) -> None:
    """The same holds where scikit-optimize searched."""
    some = table[table["unique_id"].isin(table["unique_id"].unique()[:4])]
    model = Forecaster(h=6, trials=16, seed=3).fit(some, **SERIAL)
    expected = forecast(some, 6, trials=16, seed=3, **SERIAL)
    same(model.predict(**SERIAL), expected.forecasts)
    assert set(expected.trials["state"]) <= {"complete", "failed"}
    same(model.trials_.drop(columns="seconds"), expected.trials.drop(columns="seconds"))


@pytest.mark.integration
def test_predict_on_a_cluster_of_processes(model: Forecaster, table: pd.DataFrame) -> None:
    """Recipes travel to other processes with their batches; the result is the same to the bit."""
    here = model.predict(**SERIAL)
    how: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**how) as cluster, Client(cluster) as client:
        same(model.predict(client=client, batch_size=3), here)
        same(Forecaster(**FAST).fit(table, client=client).predict(client=client), here)
        model.update(table[table["unique_id"] == "NA"], refit=True, client=client)
        same(model.predict(client=client), here)


def test_another_horizon_and_level() -> None:
    """A longer horizon begins with the shorter one; a level stands for itself."""
    model = Forecaster(**FAST).fit(panel("a", "b"), **SERIAL)
    longer = model.predict(np.int64(9), np.float64(50), **SERIAL)
    assert longer.columns.tolist()[3:] == ["daskcast", "daskcast-lo-50", "daskcast-hi-50"]
    assert set(longer.groupby("unique_id").size()) == {9}
    begun = longer.groupby("unique_id").head(6)["daskcast"]
    assert begun.tolist() == model.predict(**SERIAL)["daskcast"].tolist()


def test_a_horizon_that_is_too_long_for_a_form(
    model: Forecaster, caplog: pytest.LogCaptureFixture
) -> None:
    """Far ahead, what explodes from a short history is left out, aloud, as in a fit for so far."""
    with caplog.at_level(logging.WARNING, "daskcast.fitted"):
        found = model.predict(40, **SERIAL)
    assert "recipes lost some of their forms" in caplog.text
    size = model.history_.groupby("unique_id")["y"].agg(lambda y: y.abs().max())
    assert (found["daskcast"].abs() <= 20 * found["unique_id"].map(size)).all()


def test_failed_and_fallback_entities(model: Forecaster, run: Run) -> None:
    """A failed entity has no row and its reason; one that fell back is forecast as at the fit."""
    names = ["unique_id", "status", "model", "error_type", "message"]
    same(model.failures_[names], run.failures[names])
    found = model.predict(**SERIAL)
    same(model.failures_[names], run.failures[names])
    statuses = model.failures_.set_index("unique_id")["status"]
    assert set(statuses) == {"failed", "fallback"}
    forecast_of = set(found["unique_id"])
    assert not forecast_of & set(statuses[statuses == "failed"].index)
    assert forecast_of >= set(statuses[statuses == "fallback"].index)


def test_what_a_fit_leaves(model: Forecaster, table: pd.DataFrame, run: Run) -> None:
    """Entities, trials, history and last times, all under the user's names."""
    skipped = ["seconds", "batch"]
    same(model.entities_.drop(columns=skipped), run.entities.drop(columns=skipped))
    assert model.h_ == 6
    history = table.sort_values(["unique_id", "ds"], kind="stable", ignore_index=True)
    pd.testing.assert_frame_equal(model.history_, history, check_dtype=False)
    last = history.groupby("unique_id")["ds"].max()
    assert model.cutoffs_["cutoff"].tolist() == last.tolist()
    assert len(model.trials_) == len(run.trials)


def test_the_input_is_left_as_it_was_and_left_alone(table: pd.DataFrame) -> None:
    """A fit changes no frame, and a frame that is changed later changes no model."""
    df = table.sort_values(["unique_id", "ds"], kind="stable", ignore_index=True).astype(
        {"y": float}
    )
    before = df.copy()
    model = Forecaster(**FAST).fit(df, **SERIAL)
    pd.testing.assert_frame_equal(df, before)
    expected = model.predict(**SERIAL)
    df.loc[:, "y"] = 1.0
    same(model.predict(**SERIAL), expected)


@pytest.mark.parametrize("kind", ["polars", "csv", "parquet", "folder"])
def test_any_container(table: pd.DataFrame, run: Run, kind: str, tmp_path: Path) -> None:
    """A fit takes what a forecast takes."""
    data: Any
    if kind == "polars":
        data = pl.from_pandas(table)
    elif kind == "folder":
        data = tmp_path / "folder"
        data.mkdir()
        for number, part in table.groupby(np.arange(len(table)) % 3):
            part.to_parquet(data / f"{number}.parquet")
    else:
        data = tmp_path / f"table.{kind}"
        table.to_csv(data, index=False) if kind == "csv" else table.to_parquet(data)
    model = Forecaster(**FAST).fit(data, **SERIAL)
    same(model.predict(**SERIAL), run.forecasts)
    assert model.run_.manifest["data"].get("path") == (None if kind == "polars" else str(data))


def test_own_column_names(table: pd.DataFrame, run: Run) -> None:
    """All frames carry the names of the table, updates included."""
    names = {"unique_id": "airport", "ds": "month", "y": "passengers"}
    own = table.rename(columns=names)
    model = Forecaster(id_col="airport", time_col="month", target_col="passengers", **FAST)
    model.fit(own, **SERIAL)
    same(model.predict(**SERIAL), run.forecasts.rename(columns=names))
    frames = (model.entities_, model.trials_, model.failures_, model.cutoffs_)
    assert all("airport" in frame for frame in frames)
    assert model.history_.columns.tolist() == ["airport", "month", "passengers"]
    model.update(own.iloc[-3:])
    assert model.failures_.columns[0] == "airport"


def test_whole_numbered_times() -> None:
    """An index of whole numbers goes through fit, update and predict."""
    rng = np.random.default_rng(1)
    df = pd.DataFrame({"unique_id": "a", "ds": np.arange(40), "y": rng.normal(50, 5, 40)})
    model = Forecaster(freq=1, **FAST).fit(df.iloc[:36], **SERIAL).update(df.iloc[34:])
    assert model.predict(2, **SERIAL)["ds"].tolist() == [40, 41]
    with pytest.raises(DataError, match="dates"):
        Forecaster(**FAST).fit(df, **SERIAL).update(series("a"))


def test_forecast_is_the_call(table: pd.DataFrame, run: Run) -> None:
    """Fit and predict in one run keep nothing in the forecaster."""
    model = Forecaster(**FAST)
    found = model.forecast(table, **SERIAL)
    assert isinstance(found, Run)
    same(found.forecasts, run.forecasts)
    assert model.forecast(table, 2, **SERIAL).config.h == 2
    with pytest.raises(NotFittedError):
        model.predict()


@pytest.mark.parametrize(("options", "h"), [({}, 12), ({"season_length": 4}, 4), ({"h": 3}, 3)])
def test_the_horizon_of_the_fit(options: dict[str, int], h: int) -> None:
    """As given, else a season, else twelve."""
    model = Forecaster(search="portfolio", **options).fit(series("a"), **SERIAL)
    assert model.h_ == h
    assert len(model.predict(**SERIAL)) == h


def test_run_folder_of_a_prediction(model: Forecaster, table: pd.DataFrame, tmp_path: Path) -> None:
    """Asked for, a prediction leaves a run: without trials, and not to be taken for a fit."""
    found = model.predict(out=tmp_path / "run", **SERIAL)
    kept = Run.open(tmp_path / "run")
    same(kept.forecasts, found)
    assert kept.manifest["data"]["kind"] == "model"
    assert len(kept.trials) == 0
    assert set(kept.entities["stopped_by"].isna()) == {True}
    with pytest.raises(StoreError, match="holds a run"):
        model.predict(out=tmp_path / "run", **SERIAL)
    with pytest.raises(StoreError, match="the data changed"):
        forecast(table, 6, out=tmp_path / "run", resume=True, **OPTIONS, **SERIAL)


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, _: model.predict(),
        lambda model, _: model.update(series("a")),
        lambda model, path: model.save(path),
        lambda model, _: model.plot(),
        lambda model, _: model.entities_,
        lambda model, _: model.trials_,
        lambda model, _: model.cutoffs_,
    ],
    ids=["predict", "update", "save", "plot", "entities_", "trials_", "cutoffs_"],
)
def test_unfitted(ask: Callable[[Forecaster, Path], Any], tmp_path: Path) -> None:
    """Before the fit there is one error that says what to do."""
    with pytest.raises(NotFittedError, match=r"not fitted yet; call fit\(df\)"):
        ask(Forecaster(), tmp_path / "model")
    with pytest.raises(NotFittedError):
        check_is_fitted(Forecaster())


def test_options_that_are_wrong(table: pd.DataFrame) -> None:
    """The constructor only stores; a fit tells of wrong options, and leaves no half a model."""
    model = Forecaster(h=0, trials=-1)
    with pytest.raises(ConfigError, match="2 problems"):
        model.fit(table)
    with pytest.raises(NotFittedError):
        model.predict()


def test_the_constructor_takes_what_a_forecast_takes() -> None:
    """Every option of the call that is not about where and how is one of the class."""
    taken = {*inspect.signature(forecast).parameters} - {"df", *Where.__annotations__}
    assert {*Forecaster().get_params()} == taken
    for name, parameter in inspect.signature(forecast).parameters.items():
        if name in taken - {"h"}:
            assert Forecaster().get_params()[name] == parameter.default


def test_as_scikit_learn_does(fit: Forecaster) -> None:
    """get_params, set_params, clone; a clone is not fitted, and options wait for the next fit."""
    other = clone(fit).set_params(level=[50], seed=1)
    assert other.get_params()["level"] == [50]
    assert not hasattr(other, "bundle_")
    check_is_fitted(fit)
    assert repr(other) == "Forecaster(cv_windows=1, h=6, level=[50], search='portfolio', seed=1)"
    expected = fit.predict(**SERIAL)
    try:
        same(fit.set_params(level=[50], id_col="x").predict(**SERIAL), expected)
    finally:
        fit.set_params(level=(80, 95), id_col="unique_id")


# -- update ------------------------------------------------------------------------------------


def test_update_moves_the_states_on() -> None:
    """After new months: the kept parameters on the grown history, as cooked by hand."""
    old, new = split(panel("a", "b", "c"), "2024-07-01")
    model = Forecaster(**FAST).fit(old, **SERIAL)
    before = model.entities_["params"].tolist()
    found = model.update(new).predict(3, **SERIAL)
    assert model.entities_["params"].tolist() == before
    rules = GridRules(h=3)
    for one, told in zip(regularise(model.bundle_.history, rules), before, strict=True):
        recipe = Recipe.from_dict(json.loads(told))
        view = view_of(one.y / recipe.unit, one.season_length, 3)
        expected = recipe.unit * cook(view, recipe, families(["ets", "theta", "ces"])).mean
        part = found[found["unique_id"] == one.unique_id]
        assert part["daskcast"].tolist() == expected.tolist()
        assert part["cutoff"].unique().tolist() == [pd.Timestamp("2024-12-01")]


def test_update_in_steps_is_update_at_once() -> None:
    """Month by month, twice the same, or all together, whatever the container."""
    old, new = split(panel("a", "b"), "2024-09-01")
    once = Forecaster(**FAST).fit(old, **SERIAL).update(pl.from_pandas(new))
    steps = Forecaster(**FAST).fit(old, **SERIAL)
    for _, month in new.groupby("ds"):
        steps.update(month)
        steps.update(month)
    same(steps.predict(**SERIAL), once.predict(**SERIAL))
    same(steps.history_, once.history_)


def test_update_of_some_entities(model: Forecaster) -> None:
    """The others stay where they are."""
    cutoffs = model.cutoffs_.set_index("unique_id")["cutoff"]
    name = model.entities_.loc[model.entities_["status"] == "ok", "unique_id"].iloc[0]
    before = model.predict(**SERIAL)
    later = cutoffs[name] + pd.DateOffset(months=1)
    model.update(pd.DataFrame({"unique_id": [name], "ds": [later], "y": [1000]}))
    after = model.predict(**SERIAL)
    others = before["unique_id"] != name
    same(after[others], before[others])
    assert after.loc[~others, "cutoff"].unique().tolist() == [later]


def test_update_refuses_other_values(model: Forecaster) -> None:
    """A refused update leaves the model as it was; with revise it is a correction."""
    df = model.history_
    name = model.entities_.loc[model.entities_["status"] == "ok", "unique_id"].iloc[0]
    other = df[df["unique_id"] == name].tail(2).assign(y=lambda frame: frame["y"] + 100)
    before = model.predict(**SERIAL)
    with pytest.raises(DataError, match=f"2 new rows change values that are known: '{name}' at 20"):
        model.update(other)
    same(model.predict(**SERIAL), before)
    after = model.update(other, revise=True).predict(**SERIAL)
    assert len(model.history_) == len(df)
    changed = (after["daskcast"] != before["daskcast"]).to_numpy()
    assert set(after.loc[changed, "unique_id"]) == {name}


def test_refit_of_the_same_history_changes_nothing(model: Forecaster, table: pd.DataFrame) -> None:
    """Parameters estimated afresh from the same past are the same, to the bit."""
    before, recipes = model.predict(**SERIAL), model.entities_["params"].tolist()
    model.update(table[table["unique_id"] == "NA"], refit=True, **SERIAL)
    assert model.entities_["params"].tolist() == recipes
    same(model.predict(**SERIAL), before)


def test_refit_estimates_parameters_afresh() -> None:
    """Forms and weights stay, parameters are those of the grown history, and kept."""
    old, new = split(panel("a", "b"), "2024-01-01")
    kept = Forecaster(**FAST).fit(old, **SERIAL)
    before = [json.loads(text) for text in kept.entities_["params"]]
    refitted = kept.update(new, refit=True, **SERIAL)
    after = [json.loads(text) for text in refitted.entities_["params"]]

    def outline(recipe: dict[str, Any]) -> list[Any]:
        return [(form["form"], form["weight"], form["point"]) for form in recipe["forms"]]

    assert list(map(outline, after)) == list(map(outline, before))
    assert all(a["unit"] == b["unit"] for a, b in zip(after, before, strict=True))
    for a, b in zip(after, before, strict=True):
        changed = [x["params"] != y["params"] for x, y in zip(a["forms"], b["forms"], strict=True)]
        assert np.mean(changed) > 0.5  # others are at the edge of their region
    [one, _] = regularise(refitted.bundle_.history, GridRules(h=6))
    recipe = Recipe.from_dict(before[0])
    view = view_of(one.y / recipe.unit, one.season_length, 6)
    expected = recipe.unit * cook(view, recipe, families(["ets", "theta", "ces"]), keep=False).mean
    found = refitted.predict(**SERIAL)
    assert found.loc[found["unique_id"] == "a", "daskcast"].tolist() == expected.tolist()


def test_new_entities(model: Forecaster, table: pd.DataFrame) -> None:
    """Refused by name, or tuned as a fit of them would have."""
    before, n = model.predict(**SERIAL), len(model.entities_)
    with pytest.raises(DataError, match=r"does not know 2 of 2 entities: 'AA', 'ZZ'.*new='fit'"):
        model.update(panel("AA", "ZZ"))
    with pytest.raises(ConfigError, match="new must be one of fail, fit; found 'yes'"):
        model.update(table, new="yes")
    model.update(panel("AA", "ZZ"), new="fit", **SERIAL)
    assert len(model.entities_) == len(model.cutoffs_) == n + 2
    found = model.predict(**SERIAL)
    alone = forecast(panel("AA", "ZZ"), 6, **OPTIONS, **SERIAL).forecasts
    strange = found["unique_id"].isin(["AA", "ZZ"])
    same(found[strange].reset_index(drop=True), alone)
    same(found[~strange].reset_index(drop=True), before)


def test_failed_entities_are_tuned_with_new_rows() -> None:
    """An airport of one month fails; with some years more it is tuned on request."""
    old, new = split(panel("a", "b"), "2021-01-01")
    model = Forecaster(**FAST).fit(pd.concat([panel("a"), old[old["unique_id"] == "b"].head(1)]))
    assert model.failures_["unique_id"].tolist() == ["b"]
    late = pd.concat([old[old["unique_id"] == "b"].iloc[1:], new[new["unique_id"] == "b"]])
    assert set(model.update(late).predict(**SERIAL)["unique_id"]) == {"a"}
    assert model.failures_["status"].tolist() == ["failed"]
    model.update(late, new="fit", **SERIAL)
    assert len(model.failures_) == 0
    same(model.predict(**SERIAL), forecast(panel("a", "b"), 6, **OPTIONS, **SERIAL).forecasts)


def test_a_recipe_that_cannot_be_used_any_more(caplog: pytest.LogCaptureFixture) -> None:
    """Data that turns negative: a naive forecast, with the reason, and aloud."""
    model = Forecaster(models=["ets"], select="best", loss="mae", **FAST).fit(
        panel("a", "b"), **SERIAL
    )
    recipes = [json.loads(text) for text in model.entities_["params"]]
    point = {"error": "M", "trend": "N", "season": "M", "power": 1.0, "criterion": "likelihood"}
    recipes[0]["forms"] = [{**recipes[0]["forms"][0], "point": point}]
    bundle = model.bundle_
    place = bundle.entities.schema.get_field_index("params")
    entities = bundle.entities.set_column(place, "params", [list(map(json.dumps, recipes))])
    model.bundle_ = replace(bundle, entities=entities)
    now = pd.DataFrame({"unique_id": ["a"], "ds": [pd.Timestamp("2025-01-01")], "y": [-5.0]})
    with caplog.at_level(logging.WARNING, "daskcast.fitted"):
        found = model.update(now).predict(**SERIAL)
    assert "1 of 2 recipes could not be used; failures_ says why: 'a'" in caplog.text
    assert model.failures_["unique_id"].tolist() == ["a"]
    assert model.failures_["status"].tolist() == ["fallback"]
    assert model.failures_["model"].tolist() == ["SeasonalNaive"]
    assert model.failures_["message"].str.contains("none of the 1 forms").all()
    assert set(found["unique_id"]) == {"a", "b"}
    before = model.entities_["params"].tolist()
    model.update(now, refit=True, **SERIAL)
    assert model.failures_["unique_id"].tolist() == ["a"]
    assert model.entities_["params"].tolist()[0] == before[0]  # for when the data is corrected
    assert model.entities_["status"].tolist() == ["ok", "ok"]


@pytest.mark.parametrize(("value", "n"), [(-5.0, 1), (1e9, 1)])
def test_forms_that_do_not_fit_any_more_are_left_out(
    value: float, n: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One odd month costs the forms that cannot hold it, aloud; the forecast stays in reach."""
    model = Forecaster(**FAST).fit(panel("a", "b"), **SERIAL)
    odd = pd.DataFrame({"unique_id": ["a"], "ds": [pd.Timestamp("2025-01-01")], "y": [value]})
    with caplog.at_level(logging.WARNING, "daskcast.fitted"):
        found = model.update(odd).predict(**SERIAL)
    assert f"{n} of 2 recipes lost some of their forms: 'a'" in caplog.text
    assert len(model.failures_) == 0
    history = model.history_.loc[model.history_["unique_id"] == "a", "y"]
    part = found.loc[found["unique_id"] == "a", "daskcast"]
    assert part.between(history.min() - np.ptp(history), history.max() + np.ptp(history)).all()


def test_update_with_repeated_times() -> None:
    """Refused where the fit refuses them, joined where it joins them."""
    old, new = split(panel("a"), "2024-12-01")
    twice = pd.concat([new, new])
    with pytest.raises(DataError, match="name a time again"):
        Forecaster(**FAST).fit(old, **SERIAL).update(twice)
    model = Forecaster(duplicates="sum", **FAST).fit(old, **SERIAL).update(twice)
    assert model.history_["y"].iloc[-1] == 2 * new["y"].iloc[0]


# -- keeping -----------------------------------------------------------------------------------


def test_save_and_load(model: Forecaster, tmp_path: Path) -> None:
    """A loaded model is the model: forecasts, recipes, history, options, updates."""
    model.save(tmp_path / "model")
    again = Forecaster.load(tmp_path / "model")
    same(again.predict(**SERIAL), model.predict(**SERIAL))
    for name in ("entities_", "failures_", "history_", "cutoffs_"):
        same(getattr(again, name), getattr(model, name))
    assert again.h_ == model.h_
    told = {"level": [80, 95], "models": ["ets", "theta", "ces"]}
    assert again.get_params() == {**model.get_params(), **told}
    with pytest.raises(AttributeError, match="a loaded model has no trials"):
        again.trials_  # noqa: B018
    more = model.predict(1, **SERIAL)[["unique_id", "ds", "daskcast"]]
    more.columns = ["unique_id", "ds", "y"]
    same(again.update(more).predict(**SERIAL), model.update(more).predict(**SERIAL))


def test_load_in_another_process(model: Forecaster, tmp_path: Path) -> None:
    """What another process loads forecasts the same, to the bit."""
    model.save(tmp_path / "model")
    script = f"""
        from daskcast import Forecaster
        if __name__ == "__main__":
            model = Forecaster.load({str(tmp_path / "model")!r})
            model.predict(cluster="serial").to_parquet({str(tmp_path / "found.parquet")!r})
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=300)
    expected = tmp_path / "expected.parquet"
    model.predict(**SERIAL).to_parquet(expected)
    same(pd.read_parquet(tmp_path / "found.parquet"), pd.read_parquet(expected))


def test_save_to_a_url(model: Forecaster) -> None:
    """Any place that fsspec reaches holds a model."""
    model.save("memory://models/airports")
    same(Forecaster.load("memory://models/airports").predict(**SERIAL), model.predict(**SERIAL))


def test_odd_ids(tmp_path: Path) -> None:
    """Ids are data: none is changed, and none becomes the name of a file."""
    model = Forecaster(**FAST).fit(panel(*ODD), **SERIAL)
    model.save(tmp_path / "inner" / "model")
    again = Forecaster.load(tmp_path / "inner" / "model")
    assert again.entities_["unique_id"].tolist() == sorted(ODD)
    same(again.predict(**SERIAL), model.predict(**SERIAL))
    assert set(again.update(panel("NA", " x").tail(1)).predict(1)["unique_id"]) == set(ODD)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = ["entities.parquet", "history.parquet", "model.json"]
    assert sorted(path.name for path in files) == names


def test_values_survive_to_the_bit(tmp_path: Path) -> None:
    """Missing values, tiny and huge numbers, whole-numbered times."""
    y = [1e-300, np.nan, 1e300, 0.1 + 0.2, -0.0, 5.0]
    df = pd.DataFrame({"unique_id": "a", "ds": np.arange(6), "y": y})
    model = Forecaster(**FAST).fit(df, **SERIAL)
    model.save(tmp_path / "model")
    again = Forecaster.load(tmp_path / "model")
    held, found = model.bundle_.history, again.bundle_.history
    assert found.digest() == held.digest()
    assert np.signbit(found.values[4])  # noqa: PD011
    assert found.times.dtype == np.int64


def test_overwriting(model: Forecaster, tmp_path: Path) -> None:
    """A model takes the place of another only when that is said; a file of one's own is safe."""
    model.save(tmp_path / "model")
    with pytest.raises(StoreError, match=r"holds model.json, .* overwrite=True"):
        model.save(tmp_path / "model")
    Forecaster(**FAST).fit(series("a"), **SERIAL).save(tmp_path / "model", overwrite=True)
    assert Forecaster.load(tmp_path / "model").entities_["unique_id"].tolist() == ["a"]
    mine = tmp_path / "mine" / "history.parquet"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(StoreError, match=r"holds history.parquet"):
        model.save(mine.parent)
    assert mine.read_bytes() == b"mine"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a small model; tests copy what they damage."""
    path = tmp_path_factory.mktemp("small") / "model"
    Forecaster(**FAST).fit(series("a"), **SERIAL).save(path)
    return path


def copied(small: Path, tmp_path: Path) -> Path:
    place = tmp_path / "model"
    place.mkdir(exist_ok=True)
    for file in small.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    return place


@pytest.mark.parametrize("name", ["model.json", "entities.parquet", "history.parquet"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "remove", "longer"])
def test_damage_is_told(small: Path, tmp_path: Path, name: str, damage: str) -> None:
    """A byte that changed, a file cut short or missing: one clear error, never a model."""
    place = copied(small, tmp_path)
    file = place / name
    content = file.read_bytes()
    if damage == "remove":
        file.unlink()
    elif damage == "flip":
        for at in range(0, len(content), 1 + len(content) // 500):
            file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            with pytest.raises(StoreError):
                Forecaster.load(place)
    else:
        short = {"cut": content[: len(content) // 2], "empty": b"", "longer": content + b"x"}
        file.write_bytes(short[damage])
    with pytest.raises(StoreError, match=r"damaged or half-written|there is no model"):
        Forecaster.load(place)


def test_parts_of_another_model(small: Path, tmp_path: Path, model: Forecaster) -> None:
    """The files of two models do not mix."""
    place = copied(small, tmp_path)
    model.save(tmp_path / "other")
    (place / "history.parquet").write_bytes((tmp_path / "other/history.parquet").read_bytes())
    with pytest.raises(StoreError, match=r"history.parquet is not what was written"):
        Forecaster.load(place)


def test_a_save_that_is_stopped_leaves_no_model(
    small: Path, tmp_path: Path, model: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An overwrite that does not come to its end is refused on loading, never half believed."""
    place = copied(small, tmp_path)

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved, "_about", full)
    with pytest.raises(StoreError, match=r"cannot write the model to .*No space"):
        model.save(place, overwrite=True)
    with pytest.raises(StoreError, match="there is no model"):
        Forecaster.load(place)


def edited(place: Path, **changes: Any) -> None:
    """Change model.json as someone would who makes its digest again."""
    file = place / "model.json"
    about = {**json.loads(file.read_text()), **changes}
    about = {name: value for name, value in about.items() if value is not ...}
    about.pop("blake2b")
    file.write_text(json.dumps({**about, "blake2b": saved._own_digest(about)}))


def test_other_formats_and_unknown_keys(small: Path, tmp_path: Path) -> None:
    """What this version does not know it does not guess."""
    place = copied(small, tmp_path)
    edited(place, format=2)
    with pytest.raises(StoreError, match=r"has format 2; .* reads format 1"):
        Forecaster.load(place)
    edited(place, format=1, colour="red")
    with pytest.raises(StoreError, match="lacks or does not know colour"):
        Forecaster.load(place)
    edited(place, colour=..., versions=...)
    with pytest.raises(StoreError, match="lacks or does not know versions"):
        Forecaster.load(place)
    options = json.loads((small / "model.json").read_text())["options"]
    edited(place, versions={}, options={**options, "magic": 1})
    with pytest.raises(StoreError, match=r"options that this version .* does not know: magic"):
        Forecaster.load(place)
    (place / "model.json").write_text("[]")
    with pytest.raises(StoreError, match="has format None"):
        Forecaster.load(place)


def test_no_model_there(tmp_path: Path) -> None:
    """A folder that is not there, a file, an unknown kind of place."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "file"):
        with pytest.raises(StoreError, match="there is no model at"):
            Forecaster.load(path)
    with pytest.raises(StoreError, match="nowhere"):
        Forecaster.load("nowhere://model")


def test_nothing_of_a_saved_model_is_code(small: Path) -> None:
    """There is no pickle in the folder, and text in JSON."""
    assert sorted(path.name for path in small.iterdir()) == [
        "entities.parquet",
        "history.parquet",
        "model.json",
    ]
    assert json.loads((small / "model.json").read_text())["kind"] == "daskcast model"
    table = pd.read_parquet(small / "entities.parquet")
    assert json.loads(table["params"][0])["forms"]
    assert pd.read_parquet(small / "history.parquet").columns.tolist() == ["unique_id", "ds", "y"]


class Own:
    """A model of one's own, as far as saving is concerned."""

    name = "own"


def test_own_models_must_be_given_on_loading(small: Path, tmp_path: Path) -> None:
    """Code is not saved: the name is, and the object must come with the call."""
    bundle = fitted.load(small, None)
    own = Own()
    options = {**bundle.options, "models": ("ets", own)}
    fitted.save(replace(bundle, options=options), tmp_path / "model", overwrite=False)
    with pytest.raises(StoreError, match=r"models 'own' of your own.*load\(path, models="):
        Forecaster.load(tmp_path / "model")
    found = Forecaster.load(tmp_path / "model", models={"own": own})
    assert found.models == ["ets", own]


# -- cross-validation and pictures -------------------------------------------------------------


def test_cross_validation(table: pd.DataFrame) -> None:
    """The method is the call, and gives its forecasts with cutoff and truth."""
    how: dict[str, Any] = {"n_windows": 2, "step_size": 6, "refit": True, "input_size": None}
    found = Forecaster(**FAST).cross_validation(table, **how, **SERIAL)
    expected = api.cross_validation(table, 6, **how, **OPTIONS, **SERIAL)
    same(found, expected.forecasts)
    assert {"unique_id", "ds", "cutoff", "y", "daskcast"} <= {*found.columns}


def lines_of(figure: Any) -> list[int]:
    return [len(line.get_xdata()) for ax in figure.axes for line in ax.lines]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_plot(model: Forecaster, tmp_path: Path) -> None:
    """History and forecast of some entities, their titles, bands and lengths."""
    pytest.importorskip("utilsforecast")
    figure = model.plot(n=2, max_insample_length=24)
    ok = [x for x in model.entities_["unique_id"] if x in set(model.predict()["unique_id"])]
    assert [ax.get_title() for ax in figure.axes if ax.lines] == [f"unique_id={x}" for x in ok[:2]]
    assert [len(ax.collections) for ax in figure.axes if ax.lines] == [2, 2]
    figure.savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    [ax] = model.plot("NA", h=3, level=97.5).axes
    assert ax.get_title() == "unique_id=NA"
    assert len(ax.collections) == 1
    with pytest.raises(DataError, match="does not know 'QQQ'"):
        model.plot(["QQQ"])
    with pytest.raises(DataError, match="nothing to draw"):
        model.plot([])


def test_plot_without_the_extra(model: Forecaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the packages are missing, the error says which."""
    monkeypatch.setitem(sys.modules, "utilsforecast.plotting", None)
    with pytest.raises(ImportError, match=r"pip install 'daskcast\[plot\]'"):
        model.plot()
