"""A backtest from table to run: the call, the command, what a run keeps of it."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from utilsforecast.evaluation import evaluate as theirs
from utilsforecast.losses import coverage, mae

from daskcast import ConfigError, Run, StoppedError, cross_validation, demo, evaluate, forecast
from daskcast.cli import main
from daskcast.cli.options import resolve
from daskcast.tracking import MemoryTracker

FAST: dict[str, Any] = {"search": "portfolio", "cv_windows": 1}
SERIAL: dict[str, Any] = {**FAST, "cluster": "serial"}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Give twelve airports, some of them in trouble."""
    return demo.airports(12, months=60)


@pytest.fixture(scope="module")
def run(table: pd.DataFrame) -> Run:
    """Give a backtest of two windows that overlap."""
    return cross_validation(table, 6, n_windows=2, step_size=3, batch_size=5, **SERIAL)


# -- the call ---------------------------------------------------------------------------------


def test_rows_stand_beside_what_came(run: Run, table: pd.DataFrame) -> None:
    """Each entity has its windows, with the table's own dates and values."""
    frame = run.forecasts
    assert frame.columns.tolist()[:6] == [
        "unique_id", "ds", "cutoff", "y", "daskcast", "daskcast-lo-80",
    ]  # fmt: skip
    keys = ["unique_id", "cutoff", "ds"]
    pd.testing.assert_frame_equal(frame, frame.sort_values(keys, ignore_index=True))
    assert not frame.duplicated(keys).any()
    sizes = frame.groupby(["unique_id", "cutoff"]).size()
    assert set(sizes) == {6}
    whole = frame.dropna(subset="y").merge(table, on=["unique_id", "ds"], suffixes=("", "_table"))
    assert len(whole) == frame["y"].notna().sum()
    np.testing.assert_array_equal(whole["y"], whole["y_table"])
    assert (frame["ds"] > frame["cutoff"]).all()
    assert run.config.n_windows == 2
    assert run.manifest["config"]["backtest_step"] == 3


def test_each_window_is_an_ordinary_run_of_the_past(run: Run, table: pd.DataFrame) -> None:
    """To the bit what forecasting the table as it was then gives."""
    cutoff = run.forecasts["cutoff"].mode()[0]
    then = forecast(table[table["ds"] <= cutoff], 6, **SERIAL).forecasts
    mine = run.forecasts[run.forecasts["cutoff"] == cutoff].drop(columns="y")
    ids = sorted(set(mine["unique_id"]))
    assert len(ids) >= 8
    then = then[then["unique_id"].isin(ids)]
    pd.testing.assert_frame_equal(
        mine.reset_index(drop=True), then.reset_index(drop=True), rtol=0, atol=0
    )


def test_scores_are_those_of_evaluate(run: Run, table: pd.DataFrame) -> None:
    """What the run keeps and what the metrics say of its rows is the same, failed ones counted."""
    found = evaluate(run, ["mase", "rmsse", "smape"], train_df=table)
    entities = run.entities
    for name in ("mase", "rmsse", "smape"):
        [row] = found[found["metric"] == name].to_dict("records")
        assert row["value"] == pytest.approx(entities[f"cv_{name}"].mean())
        assert row["n_ok"] == entities[f"cv_{name}"].notna().sum()
        assert row["n_total"] == len(entities) == 12
    each = evaluate(run, ["smape", "coverage"], by="unique_id")
    failed = set(entities.loc[entities["status"] == "failed", "unique_id"])
    assert failed
    assert set(each.loc[each["n_total"] == 0, "unique_id"]) == failed
    shares = each[each["metric"] == "coverage-80"].set_index("unique_id")["value"]
    for row in entities.itertuples():
        told = json.loads(row.checks).get("coverage")
        if told:
            assert shares[row.unique_id] == pytest.approx(told["80"])


def test_utilsforecast_takes_the_table(run: Run) -> None:
    """Id, time, cutoff, target and a model: no column has to go."""
    found = theirs(run.forecasts.dropna(), [mae, coverage], level=[80])
    assert found.columns.tolist() == ["unique_id", "cutoff", "metric", "daskcast"]
    assert found["daskcast"].notna().all()


def test_the_users_own_names_come_back(table: pd.DataFrame) -> None:
    """Frames carry the names of the table, the target's among them; the folder the fixed ones."""
    names = {"unique_id": "airport", "ds": "month", "y": "passengers"}
    options = {"id_col": "airport", "time_col": "month", "target_col": "passengers"}
    mine = table.rename(columns=names)
    run = cross_validation(mine, 3, n_windows=1, **options, **SERIAL)
    assert run.forecasts.columns.tolist()[:4] == ["airport", "month", "cutoff", "passengers"]
    assert run.folder.read("forecasts").column_names[:4] == ["unique_id", "ds", "cutoff", "y"]
    found = evaluate(run, ["mae", "mase"], by="airport", train_df=mine)
    assert found.columns[0] == "airport"
    with pytest.raises(ConfigError, match="'daskcast' have the names of columns"):
        cross_validation(table, 3, target_col="daskcast", **SERIAL)


def test_options_of_the_windows_reach_the_run(table: pd.DataFrame) -> None:
    """Numbers of numpy are numbers; the inner step has a name of its own."""
    run = cross_validation(
        table, np.int64(3), n_windows=np.int64(2), refit=2, input_size=24, cv_step=1, **SERIAL
    )
    config = run.config
    assert (config.n_windows, config.backtest_step, config.step_size) == (2, None, 1)
    assert (config.refit, config.input_size) == (2, 24)
    assert json.loads(run.entities.loc[0, "checks"])["tuned"] == 1
    once = cross_validation(table, 3, n_windows=2, refit=False, input_size=24, cv_step=1, **SERIAL)
    pd.testing.assert_frame_equal(once.forecasts, run.forecasts, rtol=0, atol=0)


def test_every_option_of_a_forecast_is_one_here(table: pd.DataFrame) -> None:
    """What is given is passed on, what is not known is refused before any work."""
    names = set(inspect.signature(forecast).parameters) - {"df", "h", "step_size"}
    assert {"level", "models", "tracking", "out"} <= names
    with pytest.raises(TypeError, match="trails"):
        cross_validation(table, 3, trails=3)
    with pytest.raises(ConfigError) as caught:
        cross_validation(table, 3, n_windows=-1, step_size=0, refit=0, input_size=0, search="luck")
    assert len(caught.value.problems) == 5
    with pytest.raises(ConfigError, match="n_windows must be at least 1, found 0"):
        cross_validation(table, 3, n_windows=0)


# -- engine, resume, tracking, report ---------------------------------------------------------


@pytest.mark.integration
def test_any_executor_gives_the_same(run: Run, table: pd.DataFrame) -> None:
    """A Dask cluster of processes computes the same rows to the bit."""
    other = cross_validation(
        table, 6, n_windows=2, step_size=3, cluster="local", workers=2, batch_size=4, **FAST
    )
    pd.testing.assert_frame_equal(other.forecasts, run.forecasts, rtol=0, atol=0)
    without = ["seconds", "batch"]
    pd.testing.assert_frame_equal(
        other.entities.drop(columns=without), run.entities.drop(columns=without), rtol=0, atol=0
    )


def test_a_stopped_backtest_goes_on(run: Run, table: pd.DataFrame, tmp_path: Path) -> None:
    """What was done stays, the rest is the same to the bit; other windows do not resume."""
    asked: dict[str, Any] = {"n_windows": 2, "step_size": 3, "batch_size": 3, **SERIAL}

    def stop(progress: Any) -> None:
        if progress.counts.done >= 3:
            raise KeyboardInterrupt

    out = tmp_path / "run"
    with pytest.raises(StoppedError):
        cross_validation(table, 6, out=out, on_progress=stop, **asked)
    again = cross_validation(table, 6, out=out, resume=True, **asked)
    pd.testing.assert_frame_equal(again.forecasts, run.forecasts, rtol=0, atol=0)
    with pytest.raises(Exception, match="option n_windows: the run has 2, now it is 3"):
        cross_validation(table, 6, out=out, resume=True, **{**asked, "n_windows": 3})
    with pytest.raises(Exception, match="option n_windows: the run has 2, now it is 0"):
        forecast(table, 6, out=out, resume=True, **SERIAL)


def test_it_is_tracked_as_any_run(table: pd.DataFrame) -> None:
    """One child for each entity, the options as params, aggregates with their counts."""
    tracker = MemoryTracker()
    run = cross_validation(table, 6, n_windows=2, tracking=tracker, **SERIAL)
    assert len(tracker.runs) == 13
    parent = tracker.runs[run.manifest["mlflow"]["run_id"]]
    assert (parent.params["n_windows"], parent.tags["daskcast.kind"]) == ("2", "run")
    metrics = {point.key: point.value for point in parent.metrics}
    assert metrics["n_entities"] == 12
    assert metrics["n_cv_mase"] == run.entities["cv_mase"].notna().sum()
    assert metrics["mean_cv_mase"] == pytest.approx(run.entities["cv_mase"].mean())


def test_the_report_draws_the_last_window(run: Run) -> None:
    """The page says what it is, and each drawn forecast is one window long."""
    page = (Path(run.path) / "report.html").read_text(encoding="utf-8")
    assert "backtest of 2 windows; 6 steps ahead, monthly" in page
    assert "Of a backtest the last window is drawn, over what came." in page


def test_the_summary_tells_means_with_what_they_stand_on(run: Run) -> None:
    """Scores and coverage as n_ok / n_total; an ordinary run tells its scores too."""
    lines = {line[:10].strip(): line[11:] for line in run.summary.splitlines()}
    n_ok = int(run.entities["cv_mase"].notna().sum())
    assert lines["scores"].startswith(
        f"MASE {run.entities['cv_mase'].mean():.4g} ({n_ok} / 12), naive "
    )
    assert lines["coverage"].count(" / 12)") == 2
    assert "(2 windows of 6 steps, levels 80 %, 95 %;" in lines["forecasts"]


# -- the command ------------------------------------------------------------------------------

ARGS = ("--horizon", "6", "--search", "portfolio", "--cv-windows", "1", "--no-tracking")


@pytest.fixture
def data(table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write the table, and work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    table.to_csv("data.csv", index=False)
    return "data.csv"


def test_the_command_gives_what_the_call_gives(run: Run, data: str) -> None:
    """The same rows to the bit, and the means at the end."""
    done = CliRunner().invoke(
        main,
        ["backtest", data, *ARGS, "--windows", "2", "--step-size", "3", "--cluster", "serial",
         "--out", "bt"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "scores     MASE" in done.stdout
    assert "coverage   80 %" in done.stdout
    pd.testing.assert_frame_equal(Run.open("bt").forecasts, run.forecasts, rtol=0, atol=0)
    name = run.forecasts.loc[0, "unique_id"]
    shown = CliRunner().invoke(main, ["show", "bt", str(name)])
    assert shown.exit_code == 0
    assert "2 of 2 windows: MASE" in shown.stdout
    assert "tuned at 2 of the windows" in shown.stdout
    assert "in the 80 % interval" in shown.stdout
    assert "cutoff, time" in shown.stdout


def test_a_missing_observation_is_shown_as_none(tmp_path: Path) -> None:
    """A row without truth has a dash for it."""
    table = demo.airports(3, months=60)
    one = table[table["unique_id"] == table["unique_id"].iloc[-1]].drop_duplicates("ds")
    holes = one.drop(index=one.index[-2])
    cross_validation(holes, 6, n_windows=1, out=tmp_path / "run", **SERIAL)
    shown = CliRunner().invoke(main, ["show", str(tmp_path / "run"), one["unique_id"].iloc[0]])
    assert shown.exit_code == 0
    [row] = [line for line in shown.stdout.splitlines() if line.split()[2:3] == ["-"]]
    assert row


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--windows", "0"), "windows must be at least 1"),
        (("--windows", "-2"), "n_windows must be a whole number of at least 0, found -2"),
        (("--step-size", "0"), "backtest_step must be a whole number of at least 1, found 0"),
        (("--input-size", "0"), "input_size must be a whole number of at least 1, found 0"),
        (("--refit-every", "0"), "refit must be a whole number of at least 1, found 0"),
        (("--no-refit", "--refit-every", "2"), "refit-every tunes again and no-refit does not"),
        (("--windows", "two"), "Invalid value for '--windows'"),
        (("--horizon", "0", "--seed", "-1"), "2 problems"),
        (("--target-col", "passengers"), "'passengers'"),
    ],
)
def test_wrong_options_end_with_two(data: str, args: tuple[str, ...], told: str) -> None:
    """One message that says what is wrong, before any work."""
    done = CliRunner().invoke(main, ["backtest", data, *ARGS, "--cluster", "serial", *args])
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.count("Error") == 1
    assert not Path("runs").exists()


def test_a_dry_run_says_what_it_would_take(data: str) -> None:
    """Nothing is written."""
    done = CliRunner().invoke(main, ["backtest", data, *ARGS, "--dry-run", "--cluster", "serial"])
    assert done.exit_code == 0
    assert "entities   12" in done.stdout
    assert not Path("runs").exists()


def test_one_file_serves_both_commands(tmp_path: Path) -> None:
    """In a file names are those of the options; a run leaves those of windows alone."""
    file = tmp_path / "options.toml"
    file.write_text("h = 6\nwindows = 4\nbacktest-step = 2\nstep-size = 3\nrefit = false\n")
    config, _ = resolve({}, str(file), backtest=True, n_windows=3)
    assert (config.n_windows, config.backtest_step, config.step_size) == (4, 2, 3)
    assert config.refit is False
    flags = {"n_windows": 5, "backtest_step": 1, "refit": True}
    config, _ = resolve(flags, str(file), backtest=True, n_windows=3)
    assert (config.n_windows, config.backtest_step, config.refit) == (5, 1, True)
    config, _ = resolve({}, str(file))
    assert (config.n_windows, config.backtest_step, config.step_size) == (0, None, 3)
    file.write_text("h = 6\nwindows = 4\nn-windows = 4\n")
    with pytest.raises(ConfigError, match="both n_windows and windows"):
        resolve({}, str(file), backtest=True)
