"""What a run tells on its way and at its end.

Covers counts, progress, the clock and the closing summary of a run. Does not cover the run itself
(``pipeline``) or how any of it looks on a terminal (``cli``).
"""

from __future__ import annotations

import json
import reprlib
import shlex
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from daskcast.config import ForecastConfig
from daskcast.features import MOST_MISSING, kind_of
from daskcast.records import Status
from daskcast.store.stream import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from daskcast.store import RunFolder
    from daskcast.tracking import TrackingSummary

    #: By kind: how many entities, and the first id among them.
    Kinds = dict[str, tuple[int, str]]

_SCORES = {"cv_mase": "MASE", "naive_mase": "naive", "cv_rmsse": "RMSSE", "cv_smape": "sMAPE"}
_COLUMNS = ["unique_id", "status", "n_obs", "error_type", "checks", *_SCORES]

_MANY = "ManyMissing"

N_SHOWN = 4
"""Reasons of failures that the summary names."""

N_SHOWN_CHARACTERS = 200
"""Longest id that the summary names in a command."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How the entities of a run ended.

    Parameters
    ----------
    entities : int
        Of the input.
    ok, fallback, failed : int
    batches : int
    """

    entities: int = 0
    ok: int = 0
    fallback: int = 0
    failed: int = 0
    batches: int = 0

    @property
    def done(self) -> int:
        """Entities that came to an end, whichever."""
        return self.ok + self.fallback + self.failed

    @property
    def told(self) -> str:
        """In words."""
        return f"{self.ok} ok, {self.fallback} fallback, {self.failed} failed"

    def plus(self, batch: Any) -> Counts:
        """Add a receipt, or the marker of a finished batch."""
        return Counts(
            entities=self.entities,
            ok=self.ok + batch.n_ok,
            fallback=self.fallback + batch.n_fallback,
            failed=self.failed + batch.n_failed,
            batches=self.batches + 1,
        )

    def without(self, ended: Mapping[str, int], *, n_batches: int) -> Counts:
        """Take out entities that are done again, by how they ended, and their batches."""
        return Counts(
            entities=self.entities,
            ok=self.ok - ended.get("ok", 0),
            fallback=self.fallback - ended.get("fallback", 0),
            failed=self.failed - ended.get("failed", 0),
            batches=self.batches - n_batches,
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands.

    Parameters
    ----------
    stage : str
    counts : Counts
    n_before : int
        Entities that an earlier, resumed run had finished.
    seconds : float
        Since the work began.
    n_tracked : int
        Entities that the tracking store has taken; told in the last stage.
    """

    stage: str
    counts: Counts
    n_before: int = 0
    seconds: float = 0.0
    n_tracked: int = 0


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What became of a run.

    Parameters
    ----------
    folder : RunFolder
    counts : Counts
    seconds : mapping
        As in ``run.json``: ``total``, and by stage the ``wall`` and ``cpu`` seconds of this
        process; ``workers`` has the CPU seconds of the work itself.
    tracking : TrackingSummary or None
    """

    folder: RunFolder
    counts: Counts
    seconds: Mapping[str, Any]
    tracking: TrackingSummary | None = None


class Clock:
    """Wall and CPU seconds of this process by stage, CPU seconds of the work by its own stages."""

    def __init__(self, on_stage: Callable[[str], None]) -> None:
        self.stages: dict[str, dict[str, float]] = {}
        self.workers: dict[str, float] = {}
        self._on_stage = on_stage
        self._start = time.perf_counter()
        self._name, self._wall, self._cpu = "", 0.0, 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage; the same name again adds nothing, the last one counts."""
        self._begin(name)
        try:
            yield
        finally:
            self._end()

    def turn_to(self, name: str) -> None:
        """Go from the stage at hand to another, which ends where the first would have."""
        self._end()
        self._begin(name)

    def _begin(self, name: str) -> None:
        self._name, self._wall, self._cpu = name, time.perf_counter(), time.process_time()
        self._on_stage(name)

    def _end(self) -> None:
        self.stages[self._name] = {
            "wall": round(time.perf_counter() - self._wall, 3),
            "cpu": round(time.process_time() - self._cpu, 3),
        }

    def add_work(self, cpu_s: Mapping[str, float]) -> None:
        """Add the CPU seconds of one batch."""
        for name, spent in cpu_s.items():
            self.workers[name] = self.workers.get(name, 0.0) + spent

    def to_dict(self) -> dict[str, Any]:
        """Give the seconds as ``run.json`` has them."""
        workers = {name: round(spent, 3) for name, spent in self.workers.items()}
        total = round(time.perf_counter() - self._start, 3)
        return {"total": total, **self.stages, "workers": workers}


def closing_facts(folder: RunFolder) -> list[tuple[str, str]]:
    """Say what became of a run and where everything is: names and texts, about ten.

    Parameters
    ----------
    folder : RunFolder
    """
    manifest = folder.manifest
    counts, config = Counts(**manifest["counts"]), ForecastConfig.from_dict(manifest["config"])
    windows = f"{config.n_windows} windows of " if config.n_windows else ""
    steps = f"{windows}{config.h} steps, levels {_levels(config.level)}"
    found = _accounts(folder, config)
    facts = [
        ("entities", f"{counts.entities:,}: {counts.told}"),
        *_scores(found),
        ("run", folder.place),
        ("forecasts", f"{folder.place}/forecasts ({steps}; Parquet, one row a step)"),
        ("accounts", f"{folder.place}/entities (one row for each entity)"),
        ("logs", f"{folder.place}/logs (daskcast logs {folder.place})"),
        ("report", f"{folder.place}/report.html"),
        ("mlflow", _tracked(manifest["mlflow"])),
        ("seconds", _seconds(manifest["seconds"])),
    ]
    return [*facts, *_gaps(found), *_not_modelled(folder, found), *_reasons(folder, found)]


class _Accounts:
    """What the accounts of all entities tell, taken one batch after another.

    Sums come as the sum of what is known and how many are known, kinds as how many entities there
    are of a kind and the first id among them.
    """

    def __init__(self, config: ForecastConfig) -> None:
        self.n = 0
        self.scores = {column: [0.0, 0] for column in _SCORES}
        self.coverage = {f"{x:g}": [0.0, 0] for x in config.level if config.n_windows}
        self.unmodelled: Kinds = {}
        self.n_unmodelled = 0
        self.gaps: Kinds = {}
        self.reasons: dict[str, Kinds] = {Status.FAILED.value: {}, Status.FALLBACK.value: {}}

    def add(self, part: pa.Table) -> None:
        """Take the accounts of one batch."""
        self.n += len(part)
        for column, found in self.scores.items():
            _add(found, part[column].drop_null().to_numpy().tolist())
        if self.coverage:
            told = [json.loads(text).get("coverage") or {} for text in part["checks"].to_pylist()]
            for level, found in self.coverage.items():
                _add(found, [one[level] for one in told if one.get(level) is not None])
        for unique_id in part.filter(_misses_many(part))["unique_id"].to_pylist():
            _count(self.gaps, _MANY, unique_id)
        speaks = part.filter(pc.match_substring(part["checks"], '"not_modelled":["'))
        self.n_unmodelled += len(speaks)
        for row in speaks.select(["unique_id", "checks"]).to_pylist():
            for kind in {kind_of(text) for text in json.loads(row["checks"])["not_modelled"]}:
                _count(self.unmodelled, kind, row["unique_id"])
        others = part.filter(pc.not_equal(part["status"], Status.OK.value))
        for row in others.select(["unique_id", "status", "error_type"]).to_pylist():
            if row["status"] in self.reasons:
                kinds = self.reasons[row["status"]]
                _count(kinds, row["error_type"] or "unknown", row["unique_id"])


def _misses_many(part: pa.Table) -> Any:
    """Tell which entities are forecast although many of their steps are missing."""
    read = pc.extract_regex(part["checks"].cast("string"), r'"missing": ?(?P<n>[0-9]+)')
    missing = pc.struct_field(read, "n").cast("float64")
    steps = pc.add(missing, part["n_obs"].cast("float64"))
    many = pc.greater(missing, pc.multiply(steps, MOST_MISSING))
    return pc.and_(pc.fill_null(many, False), pc.equal(part["status"], Status.OK.value))


def _gaps(found: _Accounts) -> list[tuple[str, str]]:
    """Say how many entities have more gaps than a table at the right frequency would."""
    if not found.gaps:
        return []
    n, first = found.gaps[_MANY]
    told = f"{n:,} of {found.n:,} entities miss more than {MOST_MISSING:.0%} of their steps"
    return [("gaps", f"{told}, e.g. {reprlib.repr(first)}: is the frequency right (--freq)?")]


def _accounts(folder: RunFolder, config: ForecastConfig) -> _Accounts:
    found = _Accounts(config)
    for part in stream(folder, "entities", _COLUMNS):
        found.add(part)
    return found


def _count(kinds: Kinds, kind: str, unique_id: str) -> None:
    n, first = kinds.get(kind, (0, unique_id))
    kinds[kind] = n + 1, min(first, unique_id)


def _add(found: list[float], values: Sequence[float]) -> None:
    found[0] += sum(values)
    found[1] += len(values)


def _scores(found: _Accounts) -> list[tuple[str, str]]:
    """Tell the mean scores, each with the entities it stands on; nothing where there is none."""
    if not found.scores["cv_smape"][1]:
        return []
    means = [f"{name} {_mean(found.scores[column], found.n)}" for column, name in _SCORES.items()]
    facts = [("scores", ", ".join(means))]
    if found.coverage:
        held = [f"{x} %: {_mean(each, found.n, 100, ' %')}" for x, each in found.coverage.items()]
        facts.append(("coverage", ", ".join(held)))
    return facts


def _mean(known: Sequence[float], n: int, factor: float = 1, unit: str = "") -> str:
    """Tell a mean and how many of how many it stands on."""
    total, n_known = known
    mean = f"{factor * total / n_known:.4g}{unit}" if n_known else "undefined"
    return f"{mean} ({n_known:,} / {n:,})"


def _not_modelled(folder: RunFolder, found: _Accounts) -> list[tuple[str, str]]:
    """Say how many entities have something that no model follows."""
    if not found.n_unmodelled:
        return []
    hint = shlex.join(["daskcast", "logs", folder.place, "--level", "warning"])
    told = f"{found.n_unmodelled:,} of {found.n:,} entities: {_grouped(found.unmodelled)}"
    return [("unmodelled", f"{told}; see {hint}")]


def _reasons(folder: RunFolder, found: _Accounts) -> list[tuple[str, str]]:
    """Say for failures and fallbacks what it was, how often, and one it happened to."""
    facts = [(status, _grouped(kinds)) for status, kinds in found.reasons.items() if kinds]
    if not facts:
        return []
    firsts = [sorted(first for _, first in kinds.values()) for kinds in found.reasons.values()]
    shown = [unique_id for ids in firsts for unique_id in ids]
    plain = [i for i in shown if i.isprintable() and len(i) <= N_SHOWN_CHARACTERS]
    hint = shlex.join(["daskcast", "show", folder.place, *plain[:1]])
    return [*facts, ("see why", f"{hint}{'' if plain else ' ENTITY'}")]


def _grouped(kinds: Kinds) -> str:
    """Tell kinds, the most frequent first, each with an id."""
    ordered = sorted(kinds.items(), key=lambda pair: (-pair[1][0], pair[0]))
    told = [f"{kind} {n:,}, e.g. {reprlib.repr(first)}" for kind, (n, first) in ordered[:N_SHOWN]]
    n_left = sum(n for _, (n, _) in ordered[N_SHOWN:])
    return "; ".join([*told, f"other reasons {n_left:,}"] if n_left else told)


def _levels(levels: Sequence[float]) -> str:
    return ", ".join(f"{level:g} %" for level in levels)


def _seconds(seconds: Mapping[str, Any]) -> str:
    stages = [f"{name} {s['wall']:.1f}" for name, s in seconds.items() if _is_stage(s)]
    return f"{seconds.get('total', 0.0):.1f} ({', '.join(stages)})"


def _tracked(mlflow: Mapping[str, Any]) -> str:
    if not mlflow.get("run_id"):
        return "not tracked"
    where = mlflow.get("run_url") or f"run {mlflow['run_id']}"
    return f"{mlflow['uri']}, experiment {mlflow['experiment']}, {where}"


def _is_stage(spent: object) -> bool:
    return isinstance(spent, dict) and spent.get("wall", 0.0) >= 0.05  # noqa: PLR2004
