"""The library call and the run it gives."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from daskcast import ConfigError, DataError, Run, StoreError, demo, forecast
from daskcast.progress import _grouped
from daskcast.tracking import MemoryTracker

if TYPE_CHECKING:
    from daskcast.progress import Progress

FAST: dict[str, Any] = {"search": "portfolio", "cv_windows": 1, "cluster": "serial"}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return demo.airports(12, months=60)


@pytest.fixture(scope="module")
def run(table: pd.DataFrame) -> Run:
    return forecast(table, 6, batch_size=5, **FAST)


def test_frames_are_complete_and_sorted(run: Run, table: pd.DataFrame) -> None:
    """Every entity has its row, every forecast its steps, in the order of ids and times."""
    ids = sorted(table["unique_id"].unique())
    assert run.entities["unique_id"].tolist() == ids
    frame = run.forecasts
    assert frame.columns.tolist() == [
        "unique_id", "ds", "cutoff", "daskcast",
        "daskcast-lo-80", "daskcast-hi-80", "daskcast-lo-95", "daskcast-hi-95",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(frame, frame.sort_values(["unique_id", "ds"], ignore_index=True))
    assert set(frame.groupby("unique_id").size()) == {6}
    assert (frame["ds"] > frame["cutoff"]).all()
    trials = run.trials[["unique_id", "trial"]]
    pd.testing.assert_frame_equal(
        trials, trials.sort_values(["unique_id", "trial"], ignore_index=True)
    )


def test_failures_say_why(run: Run) -> None:
    """Failed entities and those that fell back, with the reason; nobody else."""
    failures = run.failures
    assert set(failures["status"]) == {"failed", "fallback"}
    assert failures["message"].str.len().min() > 10
    bad = run.entities["status"] != "ok"
    assert failures["unique_id"].tolist() == run.entities.loc[bad, "unique_id"].tolist()
    counts = run.counts
    assert counts.fallback + counts.failed == len(failures)


def test_the_input_is_left_as_it_was(table: pd.DataFrame) -> None:
    """The call changes nothing of what it is given."""
    before = table.copy()
    forecast(table, 3, **FAST)
    pd.testing.assert_frame_equal(table, before)


def test_the_users_own_names_come_back(table: pd.DataFrame) -> None:
    """Frames of the run carry the names of the table; the run folder the fixed ones."""
    renamed = table.rename(columns={"unique_id": "airport", "ds": "month", "y": "passengers"})
    names = {"id_col": "airport", "time_col": "month", "target_col": "passengers"}
    run = forecast(renamed, 3, **names, **FAST)
    assert run.forecasts.columns.tolist()[:2] == ["airport", "month"]
    assert "airport" in run.entities
    assert "airport" in run.trials
    assert "airport" in run.failures
    assert run.folder.read("forecasts").column_names[:2] == ["unique_id", "ds"]


def test_names_may_be_crossed(table: pd.DataFrame) -> None:
    """Even a table whose time is called unique_id keeps its names."""
    crossed = table.rename(columns={"unique_id": "ds", "ds": "unique_id"})
    run = forecast(crossed, 3, id_col="ds", time_col="unique_id", **FAST)
    assert run.forecasts["unique_id"].dtype.kind == "M"
    assert "NA" in set(run.forecasts["ds"])


@pytest.mark.parametrize("name", ["cutoff", "status", "daskcast-lo-80", "trial"])
def test_names_of_result_columns_are_refused(table: pd.DataFrame, name: str) -> None:
    """Two columns of one name would be a trap."""
    with pytest.raises(ConfigError, match=re.escape(repr(name))):
        forecast(table.rename(columns={"unique_id": name}), 3, id_col=name, **FAST)


@pytest.mark.parametrize("kind", ["polars", "pyarrow", "csv", "parquet"])
def test_any_container_gives_the_same(
    run: Run, table: pd.DataFrame, kind: str, tmp_path: Path
) -> None:
    """The same rows in another container: the same forecasts to the bit."""
    data: Any
    if kind == "polars":
        data = pl.from_pandas(table)
    elif kind == "pyarrow":
        data = pa.Table.from_pandas(table, preserve_index=False)
    else:
        data = tmp_path / f"table.{kind}"
        table.to_csv(data, index=False) if kind == "csv" else table.to_parquet(data)
    other = forecast(data, 6, **FAST)
    assert other.manifest["data"]["fingerprint"] == run.manifest["data"]["fingerprint"]
    pd.testing.assert_frame_equal(other.forecasts, run.forecasts, rtol=0, atol=0)


def test_another_seed_is_told_in_the_config(table: pd.DataFrame) -> None:
    """Options reach the run."""
    run = forecast(table, 3, seed=7, level=[95, 50], season_length=12, **FAST)
    assert run.config.seed == 7
    assert run.config.level == (50, 95)
    assert run.config.season_length == 12


def test_select_best_is_one_form(table: pd.DataFrame) -> None:
    """The single best form carries all the weight."""
    run = forecast(table, 3, select="best", **FAST)
    weights = run.trials[run.trials["weight"] > 0].groupby("unique_id")["weight"]
    assert (weights.size() == 1).all()
    assert (weights.sum() == 1).all()


def test_every_wrong_option_is_told_at_once(table: pd.DataFrame) -> None:
    """One error names them all."""
    with pytest.raises(ConfigError) as caught:
        forecast(table, 0, trials=-1, search="luck", level=[120])
    assert len(caught.value.problems) == 4


def test_a_temporary_run_lives_as_long_as_its_object(table: pd.DataFrame) -> None:
    """Without ``out`` the folder goes with the run, and not before."""
    run = forecast(table, 3, **FAST)
    place = Path(run.path)
    assert (place / "run.json").exists()
    assert len(run.forecasts)
    del run
    gc.collect()
    assert not place.parent.exists()


def test_a_failed_call_leaves_no_temporary_folder(tmp_path: Path, monkeypatch: Any) -> None:
    """What never became a run leaves nothing behind."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(DataError):
        forecast(pd.DataFrame({"a": [1]}), 3, **FAST)
    assert not list(tmp_path.iterdir())


def test_a_run_opens_again_from_its_folder(table: pd.DataFrame, tmp_path: Path) -> None:
    """What is in the folder is all there is to know."""
    run = forecast(table, 3, out=tmp_path / "run", **FAST)
    again = Run.open(tmp_path / "run")
    pd.testing.assert_frame_equal(again.forecasts, run.forecasts)
    assert again.counts == run.counts
    assert again.summary == run.summary


def test_no_run_does_not_open(tmp_path: Path) -> None:
    """The error says what is missing."""
    with pytest.raises(StoreError, match="no run"):
        Run.open(tmp_path)


def test_progress_reaches_the_caller(table: pd.DataFrame) -> None:
    """A callback of one's own, for a bar of one's own."""
    told: list[Progress] = []
    forecast(table, 3, on_progress=told.append, **FAST)
    assert told[-1].counts.done == 12


def test_a_tracker_may_be_given(table: pd.DataFrame) -> None:
    """Any object of the protocol, such as the one in memory."""
    tracker = MemoryTracker()
    run = forecast(table, 3, tracking=tracker, tags={"team": "network"}, **FAST)
    assert len(tracker.runs) == 13
    assert tracker.runs[run.manifest["mlflow"]["run_id"]].tags["team"] == "network"
    assert "memory" in run.summary


def test_without_tracking_no_mlflow_is_imported() -> None:
    """None is no tracking, in imports too."""
    code = """
        import sys
        from daskcast import demo, forecast
        run = forecast(demo.airports(2, months=36), 3, search="portfolio")
        assert run.counts.entities == 2
        assert "mlflow" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120)


# -- what it says ------------------------------------------------------------------------------


def test_the_summary_says_where_everything_is(run: Run) -> None:
    """About ten lines: counts, places, seconds, the failed ones and how to see why."""
    lines = run.summary.splitlines()
    assert 8 <= len(lines) <= 13
    for word in (
        "12: ",
        "forecasts",
        "entities",
        "logs",
        "report.html",
        "seconds",
        "daskcast show",
    ):
        assert word in run.summary
    failures = run.failures
    for status in ("failed", "fallback"):
        [line] = [line for line in lines if line.startswith(status)]
        for kind, rows in failures[failures["status"] == status].groupby("error_type"):
            assert f"{kind} {len(rows)}, e.g. '{rows['unique_id'].iloc[0]}'" in line


def test_what_no_model_follows_is_counted(run: Run) -> None:
    """One line of the summary counts entities by kind, as the accounts have them."""
    [line] = [line for line in run.summary.splitlines() if line.startswith("unmodelled")]
    told = [json.loads(text).get("not_modelled") for text in run.entities["checks"]]
    n = sum(map(bool, told))
    assert n > 0
    assert f"unmodelled {n} of 12 entities: shock {n}, e.g. " in line
    assert line.endswith(f"see daskcast logs {run.folder.place} --level warning")


def test_many_reasons_are_grouped_and_cut() -> None:
    """The most frequent first; the rare ones are counted together."""
    told = _grouped({f"Kind{n}": (n, f"e{n}-0") for n in range(1, 8)})
    assert told.startswith("Kind7 7, e.g. 'e7-0'; Kind6 6, e.g. 'e6-0'; ")
    assert told.endswith("; other reasons 6")


def test_numbers_of_numpy_are_numbers(table: pd.DataFrame) -> None:
    """Horizons and levels often come out of an array; what is no number is still refused."""
    run = forecast(table, np.int64(3), level=np.array([80, 90]), seed=np.uint8(2), **FAST)
    assert (
        run.config.to_dict() == forecast(table, 3, level=[80, 90], seed=2, **FAST).config.to_dict()
    )
    for wrong in (True, np.True_, 3.0, np.float64(3), np.array([1, 2]), "3"):
        with pytest.raises(ConfigError, match="h must be a whole number"):
            forecast(table, wrong, **FAST)  # type: ignore[arg-type]


def test_hostile_ids_do_not_reach_the_page(tmp_path: Path) -> None:
    """An id that is HTML, or a very long one, is shown and shortened, never interpreted."""
    times = pd.date_range("2020-01-01", periods=2, freq="MS")
    evil = ["\x1b[2Jb", "'; rm -rf /'", "<script>alert(1)</script>", "x" * 5000]
    frames = [pd.DataFrame({"unique_id": i, "ds": times, "y": [np.nan, np.nan]}) for i in evil]
    run = forecast(pd.concat(frames), 3, **FAST)
    assert run.counts.failed == 4
    page = run._repr_html_()
    assert "<script>" not in page
    assert "\x1b" not in run.summary
    assert len(run.summary) < 3000
    assert "failed" in repr(run)


@pytest.mark.integration
def test_works_inside_a_running_event_loop(table: pd.DataFrame) -> None:
    """As in a notebook, where a loop runs in the thread of the user."""
    code = """
        import asyncio
        from daskcast import demo, forecast

        async def cell():
            table = demo.airports(6, months=40)
            return [forecast(table, 3, search="portfolio", cluster=c, workers=1).counts.done
                    for c in ("serial", "local")]

        if __name__ == "__main__":
            print(asyncio.run(cell()))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert done.stdout.strip() == "[6, 6]", done.stderr


@pytest.mark.integration
def test_a_script_with_the_usual_guard_runs(tmp_path: Path) -> None:
    """Processes import the script that started them, and do not start it again."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            from daskcast import demo, forecast

            if __name__ == "__main__":
                table = demo.airports(6, months=40)
                for cluster in ("processes", "local"):
                    run = forecast(table, 3, search="portfolio", cluster=cluster, workers=2)
                    print(run.counts.done)
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=180
    )
    assert done.stdout.split() == ["6", "6"], done.stderr
    assert done.stderr == ""


def test_two_calls_in_two_threads_do_not_mix(table: pd.DataFrame) -> None:
    """Runs at the same time in one process give what they give alone."""
    runs: dict[int, Run] = {}

    def call(seed: int) -> None:
        runs[seed] = forecast(table, 3, seed=seed, **FAST)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    pd.testing.assert_frame_equal(runs[0].forecasts, runs[1].forecasts)
    for run in runs.values():
        assert {r["run"] for r in run.folder.read_logs() if r["batch"]} == {"run"}
        assert run.counts.done == 12
