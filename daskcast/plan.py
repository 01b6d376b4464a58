"""What a run would take, without doing it.

Covers counting entities, batches, workers, runs and requests, timing a few of the entities, and
saying which executor is worth its trouble. Does not cover the run (``pipeline``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from daskcast import logs, panel, task
from daskcast.cluster import blas_at_one, n_slots, n_workers, open_cluster
from daskcast.config import EXECUTORS
from daskcast.partition import pack
from daskcast.tracking import n_requests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.config import ForecastConfig, RunOptions
    from daskcast.panel import Source

N_SAMPLE = 8
"""Entities that are forecast to learn what one costs here."""

START_S = {"serial": 0.5, "threads": 0.5, "processes": 3.0, "local": 4.0}
"""Until the first entity, imports and loading of compiled kernels included; measured."""

SHARE = {"serial": 0.0, "threads": 0.1, "processes": 0.95, "local": 0.95}
"""Of the work, what a second worker takes over: threads wait for one another; measured."""

REQUEST_S = 0.018
"""One request to an MLflow server, measured: 53 ms for the three of a child run."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would take.

    Parameters
    ----------
    n_rows, n_entities, n_batches : int
    executor : str
    n_slots : int
        Batches worked on at a time.
    n_runs, n_requests : int
        Of the tracking store; 0 without tracking.
    entity_s : float
        Seconds of one entity on one worker, mean of a sample.
    seconds : mapping
        Expected seconds of the work by executor of this machine, and of the one that was asked for.
    """

    n_rows: int
    n_entities: int
    n_batches: int
    executor: str
    n_slots: int
    n_runs: int
    n_requests: int
    entity_s: float
    seconds: Mapping[str, float]

    @property
    def best(self) -> str:
        """The simplest executor of this machine that is through about as soon as any."""
        enough = 1.1 * min(self.seconds[name] for name in EXECUTORS) + 0.5
        return next(name for name in EXECUTORS if self.seconds[name] <= enough)

    def describe(self) -> str:
        """Tell the plan in a few lines."""
        return "\n".join(
            [
                f"entities   {self.n_entities:,} with {self.n_rows:,} rows",
                f"batches    {self.n_batches:,}",
                f"workers    {self.n_slots} ({self.executor})",
                f"tracking   {self._tracking()}",
                f"time       about {_told(self.seconds[self.executor])}, "
                f"at {1000 * self.entity_s:.1f} ms an entity on one worker",
                f"executors  {self._executors()}",
                f"advice     {self._advice()}",
            ]
        )

    def _tracking(self) -> str:
        if not self.n_requests:
            return "none"
        seconds = _told(self.n_requests * REQUEST_S)
        return (
            f"{self.n_runs:,} MLflow runs, {self.n_requests:,} requests: about {seconds} on a "
            "server, while batches run"
        )

    def _executors(self) -> str:
        return ", ".join(f"{name} {_told(s)}" for name, s in self.seconds.items())

    def _advice(self) -> str:
        mine, best = self.seconds[self.executor], self.seconds[self.best]
        if self.executor == self.best or mine <= 1.2 * best + 1:
            return f"--cluster {self.executor} is fine"
        return f"--cluster {self.best} is through in {_told(best)} instead of {_told(mine)}"


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
    detail = options.track_detail
    n_children = {"summary": 0, "entity": 1, "trial": 1 + config.trials}[detail] * len(source.ids)
    tracks = options.tracking
    return Plan(
        n_rows=source.n_rows,
        n_entities=len(source.ids),
        n_batches=len(pack(source.sizes, n_workers=slots, batch_size=options.batch_size)),
        executor=executor,
        n_slots=slots,
        n_runs=1 + n_children if tracks else 0,
        n_requests=n_requests(len(source.ids), config.trials, detail=detail) if tracks else 0,
        entity_s=entity_s,
        seconds=seconds,
    )


def _slots(options: RunOptions) -> int:
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
    by_size = np.argsort(source.sizes, kind="stable")
    at = np.unique(np.linspace(0, len(by_size) - 1, N_SAMPLE).round().astype(np.int64))
    data = source.select(np.sort(by_size[at]))
    rules, settings = panel.GridRules.of(config), task.TaskSettings.of(config)
    with blas_at_one(), logs.capture():
        task.warm_up()
        start = time.perf_counter()
        task.run_batch(panel.regularise(data.load(), rules), settings)
        return (time.perf_counter() - start) / len(at)


def _told(seconds: float) -> str:
    if seconds < 100:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004
