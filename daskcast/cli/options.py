"""Options of the commands: what they are called, and how they become the two option classes.

Covers the decorators and the order of precedence: defaults, then the file of ``--config``, then the
command line. Does not cover what an option means or whether it is right (``config``).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

import click

from daskcast.config import (
    DUPLICATES,
    EXECUTORS,
    GAPS,
    KUBERNETES,
    LOSSES,
    MODELS,
    SEARCHES,
    SELECTIONS,
    TRACK_DETAILS,
    TRACKING_BULKS,
    ForecastConfig,
    RunOptions,
    read_toml,
)
from daskcast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_F = TypeVar("_F", bound="Callable[..., Any]")

_FORECAST = {field.name for field in dataclasses.fields(ForecastConfig)}
_OF_WINDOWS = {"n_windows", "backtest_step", "refit", "input_size"}
_RUN = {field.name for field in dataclasses.fields(RunOptions)}
_POD_OPTIONS = (
    *("image", "namespace", "name", "adaptive", "spot", "idle_timeout", "start_timeout"),
    *("worker_cpu", "worker_memory", "scheduler_cpu", "scheduler_memory", "worker_secrets"),
    *("worker_service_account", "worker_node_selector", "worker_tolerations", "pull_secrets"),
)

_FLAGS = {
    "name": "--cluster-name",
    "pull_secrets": "--pull-secret",
    "worker_secrets": "--secret",
    "worker_service_account": "--service-account",
    "worker_node_selector": "--node-selector",
    "worker_tolerations": "--toleration",
}
"""Names of flags that are not those of what they set."""


class Words(click.ParamType[tuple[Any, ...]]):
    """Values with commas between them, such as ``80,95``."""

    def __init__(self, kind: type, name: str) -> None:
        self.kind = kind
        self.name = name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Split and convert."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.kind(word.strip()) for word in value.split(",") if word.strip())
        except ValueError:
            self.fail(f"{value!r} is not {self.name} with commas between them", param, ctx)


class Pair(click.ParamType[tuple[str, str]]):
    """``KEY=VALUE``."""

    name = "key=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the first equals sign."""
        if isinstance(value, tuple):
            return value
        key, found, text = value.partition("=")
        if not found or not key:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, text


def _option(*names: str, about: str, default: object = None, **settings: Any) -> Callable[[_F], _F]:
    """Make an option whose absence is None, so that a config file can speak; tell the default."""
    told = about if default is None else f"{about}  [default: {default}]"
    return click.option(*names, help=told, default=None, **settings)


def _flag(*names: str, about: str) -> Callable[[_F], _F]:
    return click.option(*names, help=about, is_flag=True, default=None)


def _horizon(when_missing: str) -> Callable[[_F], _F]:
    about = f"Steps to forecast.  [{when_missing}]"
    return _option("--horizon", "h", about=about, type=int, metavar="N")


_REQUIRED = _horizon("required, here or in the file of --config")
_OF_THE_DEMO = _horizon("default: 12 for airports, 28 for nycflights")

_COLUMNS = [
    _option("--id-col", about="Column of the entity.", default="unique_id"),
    _option("--time-col", about="Column of the time.", default="ds"),
    _option("--target-col", about="Column of the value.", default="y"),
    _option("--freq", about="Pandas alias (MS, W-SUN ...) or whole number.", default="inferred"),
    _option("--season-length", about="Steps in a season.", type=int, default="inferred"),
    _option("--gaps", about="Missing times.", type=click.Choice(GAPS), default="skip"),
    _option("--duplicates", about="Repeated times.", type=click.Choice(DUPLICATES), default="fail"),
]  # fmt: skip

_SEARCH = [
    _option(
        "--level", about="Intervals in percent, with commas between them: 80,95.",
        type=Words(float, "numbers"), default="80,95",
    ),
    _option("--search", about="How to tune.", type=click.Choice(SEARCHES), default="skopt"),
    _option("--trials", about="Points that one entity's search evaluates.", type=int, default=24),
    _option(
        "--search-seconds", about="Budget of one entity's search; what it stops is marked, and not "
        "reproducible.", type=float, default="none",
    ),
    _option("--cv-windows", about="Windows that score a point.", type=int, default=3),
    _option("--loss", about="What a search minimises.", type=click.Choice(LOSSES), default="mase"),
    _option(
        "--select", about="Forecast with a weighted blend of what the search tried, or with its "
        "single best.", type=click.Choice(SELECTIONS), default="blend",
    ),
    _option(
        "--models", about="Families of models that take part, with commas between them: "
        f"{', '.join(MODELS)}, or module:attribute of your own.", type=Words(str, "names"),
        default="ets,theta,ces",
    ),
    _flag(
        "--non-negative", about="Keep forecasts and intervals of data without negative values from "
        "falling below zero."
    ),
    _option("--seed", about="Same seed, same forecasts.", type=int, default=0),
]  # fmt: skip

_STEP = _option("--step-size", about="Steps between windows.", type=int, default="from the horizon")
_WINDOWS = [
    _option("--windows", "n_windows", about="Cutoffs in the past.", type=int, default=3),
    _option(
        "--step-size", "backtest_step", about="Steps between two cutoffs; backtest-step in a file.",
        type=int, default="the horizon",
    ),
    _flag(
        "--refit/--no-refit", about="Tune again at each cutoff, or at the first one alone.  "
        "[default: refit]",
    ),
    _option("--refit-every", about="Tune again at every so manieth cutoff.", type=int, metavar="K"),
    _option("--input-size", about="Steps seen before a cutoff.", type=int, default="all"),
    _option(
        "--cv-step", "step_size", about="Steps between the windows that score a point; step-size "
        "in a file.", type=int, default="from the horizon",
    ),
]  # fmt: skip

_EXECUTION = [
    _option(
        "--cluster", about=f"Who computes: {', '.join(EXECUTORS)}, {KUBERNETES}, tcp:// or "
        "tls://HOST:PORT.", default="local",
    ),
    _option("--workers", about="Processes, threads or pods.", type=int, default="one a core"),
    _option("--threads-per-worker", about="Of a cluster made here.", type=int, default=1),
    _option("--batch-size", about="Most entities in a task.", type=int, default="by size"),
]  # fmt: skip

_PODS = [
    _option("--image", about="Runs scheduler and workers."),
    _option("--namespace", about="Where they run.", default="that of the kubeconfig or the pod"),
    _option(
        "--cluster-name", "name", about="A DaskCluster that exists, used and left; or the name of "
        "the new one.", default="daskcast-RANDOM",
    ),
    _option("--worker-cpu", about="Cores of a worker.", default="one a thread", metavar="CPU"),
    _option("--worker-memory", about="Of a worker.", default="2Gi", metavar="MEMORY"),
    _option("--scheduler-cpu", about="Cores of the scheduler.", default="1", metavar="CPU"),
    _option("--scheduler-memory", about="Of the scheduler.", default="2Gi", metavar="MEMORY"),
    _option(
        "--adaptive", about="Between so many workers, by what there is to do; what it removes is "
        "done again.", metavar="MIN:MAX",
    ),
    _option(
        "--secret", "worker_secrets", about="Secret whose keys the workers get as environment; may "
        "be repeated.", multiple=True, metavar="NAME",
    ),
    _option(
        "--service-account", "worker_service_account", about="Of scheduler and workers; they get "
        "no token.", metavar="NAME",
    ),
    _option("--pull-secret", "pull_secrets", about="For the image.", multiple=True, metavar="NAME"),
    _option(
        "--node-selector", "worker_node_selector", about="Label of the workers' nodes.",
        type=Pair(), multiple=True,
    ),
    _option(
        "--toleration", "worker_tolerations", about="Taint of nodes that workers do not mind.",
        multiple=True, metavar="KEY=VALUE:EFFECT",
    ),
    _option(
        "--spot", about="Nodes that may go at any time: workers go there, the scheduler never.",
        metavar="LABEL=VALUE",
    ),
    _option(
        "--idle-timeout", about="Seconds without work after which the cluster is removed.",
        type=int, default=900, metavar="S",
    ),
    _option(
        "--start-timeout", about="Seconds that scheduler and first worker may take, while nodes "
        "are made for them.", type=float, default=600, metavar="S",
    ),
]  # fmt: skip

_STORE = "MLFLOW_TRACKING_URI, or sqlite:///mlflow.db"
_TRACKING = [
    _option("--tracking-uri", about="MLflow store.", default=_STORE),
    _flag("--tracking/--no-tracking", about="Track in MLflow, or not."),
    _option("--experiment", about="Name in MLflow, and of the folder.", default="daskcast"),
    _option(
        "--track-detail", about="What becomes a run.", type=click.Choice(TRACK_DETAILS),
        default="entity",
    ),
    _option(
        "--tracking-bulk", about="Write many runs at a time: auto does where the store is a SQLite "
        "file, or a server that takes them.", type=click.Choice(TRACKING_BULKS), default="auto",
    ),
    _option("--tag", "tags", about="Put on the parent run.", type=Pair(), multiple=True),
]  # fmt: skip

_TRACKED_LATER = [
    _option("--tracking-uri", about="MLflow store.", default="that of the run"),
    _option("--experiment", about="Name in MLflow.", default="that of the run"),
    _option(
        "--track-detail", "detail", about="What becomes a run.", type=click.Choice(TRACK_DETAILS),
        default="that of the run",
    ),
    click.option(
        "--tracking-bulk", "bulk", help="Write many runs at a time: auto does where the store is "
        "a SQLite file, or a server that takes them.", type=click.Choice(TRACKING_BULKS),
        default="auto", show_default=True,
    ),
]  # fmt: skip

_OUT = [
    _option(
        "--out",
        about="Run folder, a path or URL; {run} in it is EXPERIMENT-UTCTIME.",
        default="runs/{run}",
    )
]

_ENDS = [
    _flag("--resume", about="Go on with the run in --out."),
    _flag(
        "--resume-if-begun", about="Go on with the run in --out where there is one, else begin it."
    ),
    _flag(
        "--retry-failed", about="Go on with it, and do what failed or fell back once more, as a "
        "new attempt.",
    ),
    _option(
        "--entity-timeout", about="Seconds that one entity may take; one that takes longer is "
        "stopped, and failed.", type=float, default="none", metavar="S",
    ),
    _option(
        "--max-failed", about="Share of entities without a forecast that is still exit code 0.",
        type=float, default=0.2,
    ),
    _flag("--strict", about="Exit with 1 for any entity without a forecast."),
    _option("--config", "config_file", about="TOML file of options; flags win.", metavar="FILE"),
    click.option("--dry-run", is_flag=True, help="Say what it would take, and do nothing."),
    click.option(
        "--log-json", is_flag=True, help="Log to standard output, a JSON object a line, in place "
        "of text and progress.",
    ),
]  # fmt: skip


def run_options(command: _F) -> _F:
    """Give a command all options of a run."""
    return _all(
        [
            *(_REQUIRED, *_COLUMNS, *_SEARCH, _STEP, *_EXECUTION, *_OUT, *_ENDS, *_TRACKING),
            *_PODS,
        ],
        command,
    )


def backtest_options(command: _F) -> _F:
    """Give a command all options of a run, and those of its windows in the past."""
    return _all(
        [
            *(_REQUIRED, *_WINDOWS, *_COLUMNS, *_SEARCH, *_EXECUTION, *_OUT, *_ENDS, *_TRACKING),
            *_PODS,
        ],
        command,
    )


def demo_options(command: _F) -> _F:
    """Give a command the options of a run that make sense for data that is known."""
    return _all([_OF_THE_DEMO, *_SEARCH, _STEP, *_EXECUTION, *_OUT, *_TRACKING], command)


def track_options(command: _F) -> _F:
    """Give a command the options of tracking a run that is there."""
    return _all(_TRACKED_LATER, command)


def _all(options: list[Callable[[Any], Any]], command: _F) -> _F:
    for option in reversed(options):
        command = option(command)
    return command


def resolve(
    flags: Mapping[str, Any],
    config_file: str | None = None,
    *,
    backtest: bool = False,
    **defaults: Any,
) -> tuple[ForecastConfig, RunOptions]:
    """Bring defaults, file and flags together.

    Parameters
    ----------
    flags : mapping
        Option names to values; None or empty where not given.
    config_file : str, optional
    backtest : bool
        Whether the options of windows in the past count: one file may serve both commands.
    **defaults
        Of the command, where they differ from those of the option classes.

    Raises
    ------
    ConfigError
        Names every problem of both classes at once.
    """
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    if "tags" in given:
        given["tags"] = dict(given["tags"])
    pods = {name: given.pop(name) for name in _POD_OPTIONS if name in given}
    asked = {**defaults, **(read_toml(config_file) if config_file else {}), **given}
    if pods:
        _check_for_pods(pods, asked, defaults)
        asked["kubernetes"] = _with_pods(asked.get("kubernetes"), pods)
    if asked.get("h") is None:
        raise ConfigError("the horizon is missing: give --horizon N, the steps to forecast")
    if backtest:
        asked["refit"] = _refit(asked)
        if not asked.get("n_windows"):
            raise ConfigError("windows must be at least 1: without a cutoff it is daskcast run")
    names = _FORECAST if backtest else _FORECAST - _OF_WINDOWS
    forecast = {name: _plain(name, value) for name, value in asked.items() if name in names}
    return _both(forecast, {name: value for name, value in asked.items() if name in _RUN})


def _check_for_pods(
    pods: Mapping[str, Any], asked: Mapping[str, Any], defaults: Mapping[str, Any]
) -> None:
    """Refuse flags of pods where a command would run without any; a file may serve both ways."""
    cluster = asked.get("cluster")
    if defaults.get("cluster", KUBERNETES) == KUBERNETES or cluster == KUBERNETES:
        return
    flags = ", ".join(_FLAGS.get(name, f"--{name.replace('_', '-')}") for name in pods)
    raise ConfigError(
        f"{flags} are for pods, and there are none with --cluster {cluster}: give --cluster "
        f"{KUBERNETES}, or leave them away"
    )


def _with_pods(table: Any, flags: Mapping[str, Any]) -> Any:
    """Put the flags of pods into the table of a config file."""
    if table is not None and not isinstance(table, dict):
        return table  # refused where it is checked
    found: dict[str, Any] = dict(table or {})
    for name, value in flags.items():
        plain = dict(value) if name == "worker_node_selector" else value
        part, _, option = name.partition("_")
        if part not in ("worker", "scheduler"):
            found[name] = plain
            continue
        found[part] = {**found.get(part, {}), option: plain}
        if option == "service_account":
            found["scheduler"] = {**found.get("scheduler", {}), option: plain}
    return found


def _refit(asked: Mapping[str, Any]) -> Any:
    """Bring the two flags of tuning again together."""
    refit, every = asked.get("refit", True), asked.get("refit_every")
    if every is not None and refit is False:
        raise ConfigError("refit-every tunes again and no-refit does not; give one of them")
    return refit if every is None else every


def _plain(name: str, value: Any) -> Any:
    """Accept in a file what the command line accepts."""
    if name == "models" and isinstance(value, str):
        return tuple(word.strip() for word in value.split(","))
    if name == "freq" and isinstance(value, int):
        return str(value)
    if name == "level" and isinstance(value, int | float):
        return (value,)
    return value


def _both(forecast: dict[str, Any], run: dict[str, Any]) -> tuple[ForecastConfig, RunOptions]:
    problems: list[str] = []
    config, options = None, None
    try:
        config = ForecastConfig.from_dict(forecast)
    except ConfigError as error:
        problems += error.problems
    try:
        options = RunOptions(**run)
    except ConfigError as error:
        problems += error.problems
    if config is None or options is None:
        raise ConfigError(*problems)
    return config, options
