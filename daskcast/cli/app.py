"""The commands of ``daskcast``, and how each of them ends.

Covers the commands, their exit codes and signals. Does not cover options (``options``) or texts
(``telling``). Heavy modules are imported inside the commands that need them.

Exit codes: 0 finished; 1 finished, but too many entities have no forecast; 2 wrong usage or
unusable data, final; 3 stopped before the end, ``--resume`` goes on, or could not begin for now.
"""

# ruff: noqa: PLC0415 - heavy modules are imported by the command that needs them
from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daskcast.cli.options import (
    backtest_options,
    demo_options,
    resolve,
    run_options,
    track_options,
)
from daskcast.errors import DaskcastError, StoppedError
from daskcast.redact import printable, redact_uri, redacted_args

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from daskcast.config import ForecastConfig, RunOptions

TOO_MANY_FAILED, UNUSABLE, STOPPED = 1, 2, 3
_ARGS = "daskcast.args"
_ENDS = (
    "Exit codes: 0 finished; 1 finished, but more entities than --max-failed have no forecast; 2 "
    "wrong usage or unusable data; 3 stopped, and --resume goes on, or not begun for now."
)


class _EndError(click.ClickException):
    """Ends the command with a message and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        """Tell the message; a terminal that has closed takes none."""
        with suppress(OSError):
            super().show(file)


class _Commands(click.Group):
    """Turns what the library raises into exit codes, without a traceback."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGS] = list(args)
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except SystemExit as end:
            _end_threads(end)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _EndError("interrupted", STOPPED) from error
        except DaskcastError as error:
            code = STOPPED if error.may_pass else UNUSABLE
            raise _EndError(str(error), code) from error


def _end_threads(end: SystemExit) -> None:
    """End this process where a stopped run has left a thread at work: Python would wait for it."""
    at_work = (t for t in threading.enumerate() if t.name.startswith("daskcast_"))
    if end.code == STOPPED and any(thread.is_alive() for thread in at_work):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(STOPPED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["--help"]})
@click.version_option(package_name="daskcast")
def main() -> None:
    """Forecast many series, one model each: tuned, tracked and accounted for."""


@main.command(epilog=_ENDS)
@click.argument("data")
@run_options
def run(data: str, config_file: str | None, *, dry_run: bool, log_json: bool, **flags: Any) -> None:
    """Forecast every entity of DATA: a CSV or Parquet file, or a folder of Parquet files."""
    config, options = resolve(flags, config_file, cluster="local")
    _plan_or_forecast(data, config, options, dry_run=dry_run, log_json=log_json)


@main.command(epilog=_ENDS)
@click.argument("data")
@backtest_options
def backtest(
    data: str, config_file: str | None, *, dry_run: bool, log_json: bool, **flags: Any
) -> None:
    """Forecast every entity of DATA from cutoffs in its past, and compare with what came."""
    config, options = resolve(flags, config_file, backtest=True, cluster="local", n_windows=3)
    _plan_or_forecast(data, config, options, dry_run=dry_run, log_json=log_json)


@main.command()
@click.option(
    "--data",
    type=click.Choice(["airports", "nycflights"]),
    default="airports",
    show_default=True,
    help="Made-up monthly airports, or the daily departures of 2013 from New York.",
)
@click.option(
    "--entities", type=click.IntRange(1), default=60, show_default=True, help="Made-up airports."
)
@demo_options
def demo(data: str, entities: int, **flags: Any) -> None:
    """Run the main job on data that needs no download, tracked in a local MLflow."""
    from daskcast import demo as demos

    horizon, table = (12, demos.airports(entities)) if data == "airports" else (28, demos.flights())
    experiment = f"daskcast-demo-{data}"
    config, options = resolve(flags, cluster="local", h=horizon, experiment=experiment)
    _look_here(config)
    _forecast(table, config, options)


@main.command()
@click.argument("run_folder", metavar="RUN")
@click.argument("entity")
def show(run_folder: str, entity: str) -> None:
    """Tell all of one ENTITY of a RUN: status, blend, scores, checks, logs, failure."""
    from daskcast.cli.telling import entity_text
    from daskcast.store import RunFolder

    click.echo(entity_text(RunFolder.open(run_folder).entity(entity)))


@main.command()
@click.argument("run_folder", metavar="RUN")
@click.option("--entity", help="Only what is about this entity.")
@click.option("--level", help="Only from this level on: debug, info, warning, error.")
def logs(run_folder: str, entity: str | None, level: str | None) -> None:
    """Print what all processes of a RUN logged."""
    from daskcast.cli.telling import log_line
    from daskcast.store import RunFolder

    folder, n_lines = RunFolder.open(run_folder), 0
    for record in folder.read_logs(entity, level):
        click.echo(log_line(record))
        n_lines += 1
    if entity is not None and not n_lines:
        folder.entity(entity)  # refuses an id that there is not
        click.echo(f"nothing of that kind was logged about {printable(entity)}", err=True)


@main.command()
@click.argument("run_folder", metavar="RUN")
def report(run_folder: str) -> None:
    """Write report.html of a RUN again."""
    from daskcast.report import write_report
    from daskcast.store import RunFolder

    folder = RunFolder.open(run_folder)
    write_report(folder)
    click.echo(f"{folder.place}/report.html")


@main.command()
@click.argument("run_folder", metavar="RUN")
@track_options
def track(run_folder: str, **flags: Any) -> None:
    """Send to MLflow what of a RUN is not there yet; safe to repeat.

    Where no store is named, it is the one that the run was meant for.
    """
    from daskcast import log_output
    from daskcast.cli.telling import ProgressLine, tracked_text
    from daskcast.progress import Counts, Progress
    from daskcast.track import track as send

    log_output.configure_console()

    with terminated_as_interrupted(), ProgressLine(sys.stderr) as line:

        def on_progress(n_sent: int, n_expected: int) -> None:
            line(Progress("tracking", Counts(n_expected), n_tracked=n_sent))

        summary = send(run_folder, on_progress=on_progress, **flags)
    click.echo(tracked_text(summary))
    click.get_current_context().exit(STOPPED if summary.stopped or summary.n_failed else 0)


@main.command()
@click.option("--keep", type=click.IntRange(1), required=True, help="The latest runs that stay.")
@click.option("--experiment", default="daskcast", show_default=True, help="Name in MLflow.")
@click.option("--tracking-uri", help="MLflow store.  [default: as of daskcast run]")
@click.option("--yes", is_flag=True, help="Delete; without it, say what would be.")
def prune(keep: int, experiment: str, tracking_uri: str | None, yes: bool) -> None:
    """Delete old runs of daskcast in MLflow, each with all that is below it.

    Run folders stay. What MLflow deletes can be restored until `mlflow gc`.
    """
    from daskcast import log_output
    from daskcast.cli.telling import old_run_text
    from daskcast.tracking.prune import delete_runs, old_runs

    log_output.configure_console()
    with terminated_as_interrupted():
        found = old_runs(keep, experiment=experiment, tracking_uri=tracking_uri)
        for run in found:
            click.echo(old_run_text(run))
        n_runs = sum(1 + len(run.below) for run in found)
        if not found:
            click.echo("nothing is older than that")
        elif yes:
            n_deleted = delete_runs(found, tracking_uri=tracking_uri)
            click.echo(f"deleted {n_deleted:,} runs; `mlflow gc` removes them for good")
        else:
            click.echo(f"{n_runs:,} runs would be deleted; --yes deletes them")


def _look_here(config: ForecastConfig) -> None:
    """Let models of the user's own be imported from the current folder, as ``python -m`` does.

    Worker processes of this machine take over the path.
    """
    here = str(Path.cwd())
    if any(":" in model for model in config.models) and here not in sys.path:
        sys.path.insert(0, here)


def _plan_or_forecast(
    data: Any, config: ForecastConfig, options: RunOptions, *, dry_run: bool, log_json: bool
) -> None:
    _look_here(config)
    if not dry_run:
        _forecast(data, config, options, log_json=log_json)
        return
    from daskcast.out import folder_of
    from daskcast.pipeline import refuse_held
    from daskcast.plan import make_plan

    if not (options.resume or options.resume_if_begun or options.retry_failed):
        refuse_held(folder_of(options))
    click.echo(make_plan(data, config, options).describe())


def _forecast(
    data: Any, config: ForecastConfig, options: RunOptions, *, log_json: bool = False
) -> None:
    """Run, with progress; say where everything is, or how to go on; exit as it ended."""
    from daskcast import log_output, pipeline
    from daskcast.cli.telling import LogStream, ProgressLine
    from daskcast.logs import current
    from daskcast.out import folder_of
    from daskcast.plan import hindsight
    from daskcast.runs import Run

    ctx = click.get_current_context()
    if log_json:
        log_output.configure_lines()
    else:  # thousands of entities may have something to say: the terminal is for the run itself
        console = log_output.configure_console()
        console.addFilter(lambda _: not current().entity)
    # Of a lost scheduler this tells several tracebacks; the run ends with one line.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    out = folder_of(options)
    line = ProgressLine(LogStream() if log_json else sys.stderr)
    say = LogStream().write if log_json else click.echo
    try:
        with terminated_as_interrupted(), line:
            summary = pipeline.run(data, config, replace(options, out=out), on_progress=line)
    except (StoppedError, KeyboardInterrupt) as error:
        raise _EndError(
            f"{str(error) or 'interrupted'}\n{_how_to_go_on(ctx, out)}", STOPPED
        ) from error
    say(Run(summary.folder).summary)
    advice = hindsight(options.cluster or "serial", summary.seconds)
    if advice:
        say(f"{'advice':<10} {advice}")
    if told := _too_many(summary.counts.failed, summary.counts.entities, options):
        say(f"{'exit 1':<10} {told}")
    ctx.exit(TOO_MANY_FAILED if told else 0)


def _too_many(n_failed: int, n_entities: int, options: RunOptions) -> str:
    """Say that more entities are without a forecast than may be; nothing where they are not."""
    share, most = n_failed / max(n_entities, 1), options.max_failed
    told = f"{n_failed:,} of {n_entities:,} entities ({share:.1%}) have no forecast"
    if options.strict:
        return f"{told}, and --strict allows none" if n_failed else ""
    return f"{told}, more than --max-failed {most:g}" if share > most else ""


def _how_to_go_on(ctx: click.Context, out: str) -> str:
    from daskcast.errors import StoreError
    from daskcast.out import RUN
    from daskcast.store import RunFolder

    try:
        begun = RunFolder.is_at(out)
    except StoreError:  # a store that is away is mostly what stopped the run
        begun = True
    if not begun:
        return "nothing was begun; the same command starts again"
    given = [arg for arg in ctx.meta[_ARGS] if arg not in {"--resume", "--retry-failed"}]
    named = any(arg == "--out" or arg.startswith("--out=") for arg in given)
    if not named or any(RUN in arg for arg in given):
        given += ["--out", out]  # of two, the last one counts
    if ctx.info_name == "demo":
        return f"what is finished is kept in {redact_uri(out)}"
    args = redacted_args(given)
    secret = "" if args == given else " (with the credentials that are left out here)"
    return f"go on with: {printable(shlex.join(['daskcast', *args, '--resume']))}{secret}"


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM, and a terminal that closes, end a run as Ctrl-C does: what is finished is kept.

    Where SIGHUP is ignored, as by ``nohup``, it stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hang_up = getattr(signal, "SIGHUP", None)

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if number == hang_up:  # shell and system both send it: once is enough, the end needs time
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM]
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
        numbers.append(hang_up)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
