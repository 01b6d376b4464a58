"""What a run would take, without doing it.

Covers counting entities, batches, workers, runs and requests, timing a few of the entities, and
saying which executor is worth its trouble. Does not cover the run (``pipeline``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from daskcast import logs, panel
from daskcast.cluster import n_slots, open_cluster
from daskcast.config import EXECUTORS, KUBERNETES
from daskcast.machine import n_workers
from daskcast.partition import pack
from daskcast.settings import TaskSettings
from daskcast.tracking import TrackingCost, hosted_limits, tracking_cost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.config import ForecastConfig, RunOptions
    from daskcast.panel import Source

N_SAMPLE = 8
"""Entities that are forecast to learn what one costs here."""

START_S = {"serial": 2.5, "threads": 2.5, "processes": 3.5, "local": 4.0}
"""From the command to the first entity, imports and compiled kernels included; measured."""

SHARE = {"serial": 0.0, "threads": 0.1, "processes": 0.95, "local": 0.9}
"""Of the work, what a second worker takes over: threads wait for one another; measured."""

PATIENT_S = 5.0
"""What may pass with tracking after the work before it is worth a word."""

SLOW_TRACKING = (
    "goes to tracking: --track-detail summary tracks the run alone, --no-tracking nothing"
)

_KINDS = {"sqlite": "an SQLite file", "database": "a database", "server": "a server"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would take.

    Parameters
    ----------
    n_rows, n_entities, n_batches : int
    executor : str
    n_slots : int
        Batches worked on at a time.
    entity_s : float
        Seconds of one entity on one worker, mean of a sample.
    start_s : float
        Until the first entity.
    seconds : mapping
        Expected seconds of start and work, without tracking, by executor of this machine, and of
        the one that was asked for.
    tracking : TrackingCost
    """

    n_rows: int
    n_entities: int
    n_batches: int
    executor: str
    n_slots: int
    entity_s: float
    start_s: float
    seconds: Mapping[str, float]
    tracking: TrackingCost = TrackingCost()  # noqa: RUF009 - frozen

    @property
    def best(self) -> str:
        """The simplest executor of this machine that is through about as soon as any."""
        enough = 1.1 * min(self.seconds[name] for name in EXECUTORS) + 0.5
        return next(name for name in EXECUTORS if self.seconds[name] <= enough)

    @property
    def total_s(self) -> float:
        """Seconds of the run: entities are tracked while others are worked on."""
        return max(self.seconds[self.executor], self.start_s + self.tracking.seconds)

    @property
    def waits_for_tracking(self) -> bool:
        """Tell whether tracking decides how long the run takes."""
        return self.total_s > 1.2 * self.seconds[self.executor] + 1

    def describe(self) -> str:
        """Tell the plan in a few lines."""
        limits = hosted_limits(self.tracking)
        return "\n".join(
            [
                f"entities   {self.n_entities:,} with {self.n_rows:,} rows",
                f"batches    {self.n_batches:,}",
                f"workers    {self.n_slots} ({self.executor})",
                f"tracking   {self._tracking()}",
                *([f"hosted     {limits}"] if limits else []),
                f"time       about {_told(self.total_s)}: {self._parts()}",
                f"executors  {self._executors()}",
                f"advice     {self._advice()}",
            ]
        )

    def _tracking(self) -> str:
        cost = self.tracking
        if not cost.kind:
            return "none"
        runs = f"{cost.n_runs:,} MLflow run{'s' * (cost.n_runs > 1)}"
        return (
            f"{runs}, {cost.n_requests:,} requests: about "
            f"{_told(cost.seconds)} for {_KINDS[cost.kind]}, {cost.store}"
        )

    def _parts(self) -> str:
        work = self.seconds[self.executor] - self.start_s
        parts = f"start {_told(self.start_s)}, work {_told(work)} "
        each = f"({1000 * self.entity_s:.1f} ms an entity on one worker)"
        if not self.tracking.kind:
            return parts + each
        return f"{parts}{each}, tracking {_told(self.tracking.seconds)} beside the work"

    def _executors(self) -> str:
        told = ", ".join(f"{name} {_told(s)}" for name, s in self.seconds.items())
        return f"{told}{' (without tracking)' if self.tracking.kind else ''}"

    def _advice(self) -> str:
        mine, best = self.seconds[self.executor], self.seconds[self.best]
        if mine > 1.2 * best + 1:
            told = f"--cluster {self.best} is through in {_told(best)} instead of {_told(mine)}"
        elif self.best == "serial" != self.executor:
            told = (
                f"--cluster serial takes {_told(best)}, {self.executor} {_told(mine)}: not worth it"
            )
        else:
            told = f"--cluster {self.executor} is fine"
        could_be_less = self.waits_for_tracking and self.tracking.n_runs > 1
        return f"{told}; most of the time {SLOW_TRACKING}" if could_be_less else told


def hindsight(executor: str, seconds: Mapping[str, Any]) -> str:
    """Say what would have made a finished run faster, if anything.

    Parameters
    ----------
    executor : str
    seconds : mapping
        As in ``run.json``.

    Examples
    --------
    >>> spent = {"cluster": {"wall": 3.0}, "work": {"wall": 2.0}, "workers": {"fit": 2.5}}
    >>> hindsight("local", spent)
    '--cluster serial would have taken about 2 s for what took 5 s here'
    """
    wall = {name: spent["wall"] for name, spent in seconds.items() if _is_stage(spent)}
    here = wall.get("cluster", 0.0) + wall.get("work", 0.0)
    alone = sum(seconds.get("workers", {}).values())
    told = []
    if executor in ("processes", "local") and 0 < alone < here - 1:
        told.append(
            f"--cluster serial would have taken about {_told(alone)} for what took {_told(here)} "
            "here"
        )
    if wall.get("tracking", 0.0) > max(PATIENT_S, here):
        told.append(
            f"{_told(wall['tracking'])} after the work {SLOW_TRACKING.replace('goes', 'went')}"
        )
    return "; ".join(told)


def _is_stage(spent: object) -> bool:
    return isinstance(spent, dict) and "wall" in spent


def make_plan(data: object, config: ForecastConfig, options: RunOptions) -> Plan:
    """Say what a run would take; a few entities are forecast to time them, nothing is written.

    Parameters
    ----------
    data : path or data frame
    config : ForecastConfig
    options : RunOptions

    Returns
    -------
    Plan
    """
    source = panel.open_source(data, config)
    executor = options.cluster or "serial"
    slots = _slots(options)
    entity_s = _sample(source, config)
    each = {name: _n_of(name, options) for name in EXECUTORS}
    seconds = {
        name: START_S[name] + len(source.ids) * entity_s / _speed(name, n)
        for name, n in each.items()
    }
    if executor not in seconds:
        seconds[executor] = START_S["local"] + len(source.ids) * entity_s / _speed("local", slots)
    return Plan(
        n_rows=source.n_rows,
        n_entities=len(source.ids),
        n_batches=len(pack(source.sizes, n_workers=slots, batch_size=options.batch_size)),
        executor=executor,
        n_slots=slots,
        entity_s=entity_s,
        start_s=START_S.get(executor, START_S["local"]),
        seconds=seconds,
        tracking=tracking_cost(options, len(source.ids), config.trials),
    )


def _slots(options: RunOptions) -> int:
    if options.cluster == KUBERNETES:  # asked for, not opened: pods cost money
        return max(options.workers or 1, options.kubernetes.most) * options.threads_per_worker
    if (options.cluster or "serial") in EXECUTORS:
        return _n_of(options.cluster or "serial", options)
    with open_cluster(options) as scheduler:
        return n_slots(scheduler)


def _n_of(executor: str, options: RunOptions) -> int:
    if executor == "serial":
        return 1
    n = n_workers(options)
    return n * options.threads_per_worker if executor == "local" else n


def _speed(executor: str, n: int) -> float:
    """How many times as fast as one worker."""
    return 1.0 + SHARE[executor] * (n - 1)


def _sample(source: Source, config: ForecastConfig) -> float:
    """Time some entities, from the shortest to the longest."""
    from daskcast import task  # noqa: PLC0415 - heavy, and of no use to `hindsight`

    by_size = np.argsort(source.sizes, kind="stable")
    at = np.unique(np.linspace(0, len(by_size) - 1, N_SAMPLE).round().astype(np.int64))
    data = source.select(np.sort(by_size[at]))
    rules, settings = panel.GridRules.of(config), TaskSettings.of(config)
    with logs.capture():
        task.warm_up()
        start = time.perf_counter()
        task.run_batch(panel.regularise(data.load(), rules), settings)
        return (time.perf_counter() - start) / len(at)


def _told(seconds: float) -> str:
    if seconds < 100:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004
