"""The options of a run, checked.

Covers :class:`ForecastConfig` (what decides the forecasts, and so what a resumed run must share
with the run it goes on) and :class:`RunOptions` (where and how the work is done), and reading both
from TOML. Does not cover the command line (``cli``) or the data (``panel``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from daskcast.described import described
from daskcast.errors import ConfigError
from daskcast.kubernetes_options import KubernetesOptions
from daskcast.option_checks import at_least, at_most, is_list, is_number, one_of, seconds, typed
from daskcast.records import Columns

if TYPE_CHECKING:
    from collections.abc import Sequence

SEARCHES = ("skopt", "portfolio")
LOSSES = ("mase", "rmsse", "mae", "rmse", "smape")
#: names of model families; ``models`` has their code, which is heavy to import
MODELS = (
    *("ets", "theta", "ces", "seasonal_naive", "naive", "drift"),
    *("sarimax", "unobserved", "stl_ets"),
)
SELECTIONS = ("blend", "best")
GAPS = ("skip", "fail")
DUPLICATES = ("fail", "sum", "mean", "last")
MOST_STEPS = 100_000
_STEPS = ("step_size", "season_length", "backtest_step", "input_size")
_WINDOWS = ("cv_windows", "n_windows")
_HIGHEST_LEVEL = 99.999
_ADDRESS = re.compile(r"(tcp|tls)://([^\s/:]+|\[[^\s/]+\]):\d{1,5}")
_IMPORT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
TRACK_DETAILS = ("summary", "entity", "trial")
TRACKING_BULKS = ("auto", "database", "off")
EXECUTORS = ("serial", "threads", "processes", "local")
KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastConfig:
    """What decides the forecasts: with the data, all that the result depends on.

    Parameters
    ----------
    h : int
        Steps to forecast.
    id_col, time_col, target_col : str
        The user's column names.
    freq : str or None
        Pandas alias, or a whole number as text for integer times; None infers it for each entity.
    season_length : int or None
        None infers it from the frequency of each entity.
    level : tuple of float
        Interval levels in percent, from 1 to below 100, ascending.
    search : {"skopt", "portfolio"}
    trials : int
        Points of the search space evaluated for each entity.
    search_seconds : float or None
        Budget of the search of one entity; an entity stopped by it is marked, and not
        reproducible.
    cv_windows : int
        Rolling-origin windows on which a trial is scored.
    step_size : int or None
        Steps between two cutoffs; None picks it from the horizon.
    loss : str
    select : {"blend", "best"}
    models : tuple of str or object
        Model families that take part: names, ``"module:attribute"`` of what can be imported on the
        workers, a :class:`daskcast.OwnModel` or an object with ``fit`` and ``predict``, a family.
    seed : int
    gaps : {"skip", "fail"}
    duplicates : {"fail", "sum", "mean", "last"}
    non_negative : bool
        Keep forecasts and intervals of data without negative values from falling below zero.
    n_windows : int
        Cutoffs in the past from which each entity is forecast and compared with what came; 0
        forecasts from the end, as usual. Each of them is tuned on ``cv_windows`` of its own.
    backtest_step : int or None
        Steps between two of these cutoffs; None takes the horizon.
    refit : bool or int
        Tune again at each of these cutoffs, or at every so manieth; False tunes at the first one
        and keeps forms, weights and parameters.
    input_size : int or None
        Steps before each of these cutoffs that are seen; None for all.

    Raises
    ------
    ConfigError
        Names every problem at once.
    """

    h: int
    id_col: str = "unique_id"
    time_col: str = "ds"
    target_col: str = "y"
    freq: str | None = None
    season_length: int | None = None
    level: tuple[float, ...] = (80, 95)
    search: str = "skopt"
    trials: int = 24
    search_seconds: float | None = None
    cv_windows: int = 3
    step_size: int | None = None
    loss: str = "mase"
    select: str = "blend"
    models: tuple[Any, ...] = ("ets", "theta", "ces")
    seed: int = 0
    gaps: str = "skip"
    duplicates: str = "fail"
    non_negative: bool = False
    n_windows: int = 0
    backtest_step: int | None = None
    refit: bool | int = True
    input_size: int | None = None

    def __post_init__(self) -> None:
        problems = [*_numbers(self), *_choices(self), *_columns(self), *_levels(self.level)]
        problems += typed(self, bool, "true or false", "non_negative")
        if problems:
            raise ConfigError(*problems)
        object.__setattr__(self, "level", tuple(sorted(_plain(x) for x in self.level)))
        object.__setattr__(self, "models", tuple(self.models))

    @property
    def columns(self) -> Columns:
        """The user's column names."""
        return Columns(self.id_col, self.time_col, self.target_col)

    @property
    def n_seen_again(self) -> int:
        """Steps from the first cutoff of a backtest, itself included, to the end; 0 without one."""
        if not self.n_windows:
            return 0
        return (self.n_windows - 1) * (self.backtest_step or self.h) + self.h + 1

    def to_dict(self) -> dict[str, Any]:
        """Give the options as plain JSON values, for logs and for ``run.json``.

        A model that is an object is described by its class and parameters; such a description is
        good for reading a run, not for computing.
        """
        plain = {name: list(v) if isinstance(v, tuple) else v for name, v in _items(self)}
        return {**plain, "models": described(self.models)}

    @property
    def hash(self) -> str:
        """Short digest of all options: equal for equal configurations."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Self:
        """Build from plain values; unknown names are refused.

        Raises
        ------
        ConfigError
            Where a name is unknown or a value is wrong.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(options) - known)
        if unknown:
            raise ConfigError(
                f"unknown options {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            )
        values: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in options.items()
        }
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Where and how the work is done; none of it changes a forecast.

    Parameters
    ----------
    cluster : str or None
        ``serial``, ``threads``, ``processes``, ``local``, ``kubernetes`` or ``tcp://HOST:PORT``.
    workers : int or None
        None takes the number of cores; on Kubernetes it must be given.
    threads_per_worker : int
    kubernetes : KubernetesOptions or mapping
        The pods of ``cluster="kubernetes"``.
    batch_size : int or None
        Entities in a batch; None lets the partition decide.
    out : str or None
        The run folder, a path or an fsspec URL; ``{run}`` in it is the name of the run.
    resume : bool
        Go on with the run in ``out``.
    resume_if_begun : bool
        Go on with it where there is one, else begin it: for what starts runs by itself.
    retry_failed : bool
        Go on with it, and do its entities that failed or fell back once more, as a new attempt.
    entity_timeout : float or None
        Seconds that one entity may take; one that takes longer is stopped, and failed.
    max_failed : float
        Share of entities without a forecast above which the run exits with 1.
    strict : bool
        Exit with 1 for any entity without a forecast.
    tracking_uri : str or None
    tracking : bool
    experiment : str
    track_detail : {"summary", "entity", "trial"}
    tracking_bulk : {"auto", "database", "off"}
        Whether many runs are written at a time: ``auto`` where the store is a SQLite file or a
        server that takes them, ``database`` also in any other database that is written to without
        a server, ``off`` nowhere.
    tags : mapping of str to str
        Put on the parent run.
    """

    cluster: str | None = None
    workers: int | None = None
    threads_per_worker: int = 1
    kubernetes: KubernetesOptions = dataclasses.field(default_factory=KubernetesOptions)
    batch_size: int | None = None
    out: str | None = None
    resume: bool = False
    resume_if_begun: bool = False
    retry_failed: bool = False
    entity_timeout: float | None = None
    max_failed: float = 0.2
    strict: bool = False
    tracking_uri: str | None = None
    tracking: bool = True
    experiment: str = "daskcast"
    track_detail: str = "entity"
    tracking_bulk: str = "auto"
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "kubernetes", KubernetesOptions.of(self.kubernetes))
        except ConfigError as error:
            raise ConfigError(*error.problems, *self._problems()) from error
        problems = [*self._problems(), *_pods(self)]
        if problems:
            raise ConfigError(*problems)

    def _problems(self) -> list[str]:
        problems = [
            *at_least(self, 1, "workers", "threads_per_worker", "batch_size"),
            *one_of(self, "track_detail", TRACK_DETAILS),
            *one_of(self, "tracking_bulk", TRACKING_BULKS),
            *_executor(self.cluster),
            *seconds(self, "entity_timeout"),
            *typed(self, str, "text", "experiment", "out", "tracking_uri"),
            *typed(self, bool, "true or false", "resume", "retry_failed", "strict", "tracking"),
            *typed(self, bool, "true or false", "resume_if_begun"),
            *_tags(self.tags),
        ]
        if not (is_number(self.max_failed) and 0 <= self.max_failed <= 1):
            problems.append(f"max_failed must be a share from 0 to 1, found {self.max_failed!r}")
        return problems


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read options from a TOML file; names are those of the two option classes.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict
        Option names to values; dashes in names count as underscores, ``horizon`` as ``h`` and
        ``windows`` as ``n_windows``.

    Raises
    ------
    ConfigError
        Where the file is missing, is no TOML, names an unknown option, or an option by both of
        its names.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the config file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the config file {path} is not TOML: {error}") from error
    options = {name.replace("-", "_"): value for name, value in content.items()}
    for flag, name in (("horizon", "h"), ("windows", "n_windows")):  # as the flags are called
        if flag in options:
            if name in options:
                raise ConfigError(
                    f"the config file {path} names both {name} and {flag}; give one of them"
                )
            options[name] = options.pop(flag)
    known = {f.name for cls in (ForecastConfig, RunOptions) for f in dataclasses.fields(cls)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ConfigError(
            f"the config file {path} names unknown options {', '.join(unknown)}; "
            f"known are {', '.join(sorted(known))}"
        )
    return options


def _items(config: ForecastConfig) -> list[tuple[str, Any]]:
    return [(f.name, getattr(config, f.name)) for f in dataclasses.fields(config)]


def _plain(level: float) -> float:
    return int(level) if float(level).is_integer() else float(level)


def _numbers(config: ForecastConfig) -> list[str]:
    problems = at_least(config, 1, "h", "trials", *_STEPS)
    problems += at_least(config, 0, "seed", *_WINDOWS)
    problems += at_most(config, MOST_STEPS, "h", "trials", *_STEPS, *_WINDOWS)
    if not isinstance(config.refit, bool):
        problems += at_least(config, 1, "refit")
    return [*problems, *seconds(config, "search_seconds")]


def _choices(config: ForecastConfig) -> list[str]:
    problems = []
    for name, allowed in (
        ("search", SEARCHES),
        ("loss", LOSSES),
        ("select", SELECTIONS),
        ("gaps", GAPS),
        ("duplicates", DUPLICATES),
    ):
        problems += one_of(config, name, allowed)
    return [*problems, *_models(config.models)]


def _models(models: Any) -> list[str]:
    if not is_list(models):
        return [f"models must be a list of names, found {models!r}"]
    if not models:
        return ["models is empty; name at least one model family"]
    unknown = [model for model in models if not _is_model(model)]
    known = f"{', '.join(MODELS)}, module:attribute of your own"
    return [f"models names {unknown}, which daskcast has not; it has {known}"] if unknown else []


def _is_model(model: object) -> bool:
    """Tell whether something can stand for a model; what it is worth shows where it is used."""
    if isinstance(model, str):
        return model in MODELS or _IMPORT.fullmatch(model) is not None
    described_before = isinstance(model, Mapping) and "class" in model
    return described_before or any(hasattr(model, method) for method in ("fit", "roll"))


def _columns(config: ForecastConfig) -> list[str]:
    problems = typed(config, str, "text", "id_col", "time_col", "target_col", "freq")
    if problems:
        return problems
    names = (config.id_col, config.time_col, config.target_col)
    if len(set(names)) < len(names):
        return [f"id_col, time_col and target_col must differ, found {', '.join(map(repr, names))}"]
    return []


def _levels(levels: Sequence[float]) -> list[str]:
    if not is_list(levels):
        return [f"level must be a list of percentages, such as [80, 95], found {levels!r}"]
    if not levels:
        return ["level is empty; give at least one, such as 80"]
    wrong = [x for x in levels if not is_number(x) or not 0 < x <= _HIGHEST_LEVEL]
    if wrong:
        return [f"level must lie between 0 and {_HIGHEST_LEVEL} (percent), found {wrong}"]
    shares = [x for x in levels if x < 1]
    if shares:
        meant = ", ".join(f"{100 * x:g}" for x in shares)
        return [f"level is in percent: {shares[0]:g} means {shares[0]:g} %; did you mean {meant}?"]
    if len(set(levels)) < len(levels):
        return [f"level names a level twice: {list(levels)}"]
    return []


def _tags(tags: object) -> list[str]:
    if isinstance(tags, Mapping) and all(isinstance(x, str) for pair in tags.items() for x in pair):
        return []
    return [f"tags must map text to text, found {tags!r}"]


def _executor(cluster: object) -> list[str]:
    if cluster is None or cluster in (*EXECUTORS, KUBERNETES):
        return []
    if isinstance(cluster, str) and _ADDRESS.fullmatch(cluster):
        return []
    told = f"{', '.join(EXECUTORS)}, {KUBERNETES}, tcp://HOST:PORT or tls://HOST:PORT"
    return [f"cluster must be one of {told}; found {cluster!r}"]


def _pods(options: RunOptions) -> list[str]:
    """Check what only a cluster on Kubernetes must have; one that exists has it."""
    asked = options.kubernetes
    if options.cluster != KUBERNETES or asked.name:
        return []
    problems = []
    if not asked.image:
        problems.append(
            "kubernetes needs an image to run: give --image IMAGE, or in a call a client of "
            "`with daskcast.cluster.kubernetes(IMAGE, workers=N) as client:`"
        )
    if not options.workers and not asked.adaptive:
        problems.append(
            "kubernetes needs the number of workers: give --workers N, or --adaptive MIN:MAX"
        )
    return problems
