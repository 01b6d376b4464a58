"""What a run uses of its cluster while it works.

Covers samples of CPU, memory, workers and tasks (:class:`Usage`), few however long the run is. Does
not cover where they are kept (``pipeline``) or sent (``tracking``).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import psutil
from distributed import Client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.engine import Scheduler

logger = logging.getLogger(__name__)

INTERVAL_S = 5.0
MOST_SAMPLES = 240
ANSWER_S = 2.0
_MB = 1e6


class Usage:
    """Samples of a cluster: every other one is dropped where they become many.

    Parameters
    ----------
    started : float
        When the run began, in seconds since the epoch.
    before : list of mapping, optional
        Samples of earlier processes of the same run.
    interval_s : float
        Between samples, at first.

    Attributes
    ----------
    samples : list of dict
        ``at_s`` after the start of the run, ``cpu_percent`` (of one core), ``memory_mb``,
        ``workers``, ``tasks``.
    """

    def __init__(
        self,
        started: float,
        before: list[Mapping[str, float]] | None = None,
        *,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self.samples: list[dict[str, float]] = [dict(sample) for sample in before or ()]
        self._interval_s = interval_s
        self._last = self._began = time.monotonic()
        # From here on without the clock of the wall, which may jump.
        self._before_s = max(time.time() - started, 0.0)
        self._here = _Here()

    def sample(self, scheduler: Scheduler, *, now: bool = False) -> None:
        """Take a sample where it is time for one, or ``now``."""
        if not now and time.monotonic() - self._last < self._interval_s:
            return
        self._last = time.monotonic()
        try:
            used = _of_workers(scheduler) if isinstance(scheduler, Client) else self._here.used()
        # Other people's schedulers, and what an operating system lets one see: not a run's trouble.
        except Exception as error:  # noqa: BLE001
            logger.debug("what the cluster uses is not known now: %s", error)
            return
        at_s = self._before_s + time.monotonic() - self._began
        self.samples.append({"at_s": round(at_s, 1), **used})
        if len(self.samples) > MOST_SAMPLES:
            self.samples[:] = self.samples[1::2]
            self._interval_s *= 2


def _of_workers(client: Client) -> dict[str, float]:
    """Ask the scheduler, and wait no longer than ``ANSWER_S`` for it."""
    scheduler: Any = client.scheduler
    if scheduler is None:
        raise TimeoutError("the connection to the scheduler is lost")
    told = client.sync(scheduler.identity, n_workers=-1, callback_timeout=ANSWER_S)
    workers = [worker["metrics"] for worker in told["workers"].values()]
    return {
        "cpu_percent": round(sum(worker["cpu"] for worker in workers), 1),
        "memory_mb": round(sum(worker["memory"] for worker in workers) / _MB, 1),
        "workers": len(workers),
        "tasks": sum(worker["task_counts"].get("executing", 0) for worker in workers),
    }


class _Here:
    """The driver and the processes that it started."""

    def __init__(self) -> None:
        self._me = psutil.Process()
        self._cpu_s, self._at = self._spent(), time.monotonic()

    def used(self) -> dict[str, float]:
        """Give what was used since the last time."""
        spent, at = self._spent(), time.monotonic()
        share = max(spent - self._cpu_s, 0.0) / max(at - self._at, 1e-3)
        self._cpu_s, self._at = spent, at
        family = self._family()
        return {
            "cpu_percent": round(100 * share, 1),
            "memory_mb": round(sum(map(_memory, family)) / _MB, 1),
            "workers": max(len(family) - 1, 1),
        }

    def _spent(self) -> float:
        return sum(map(_cpu_s, self._family()))

    def _family(self) -> list[psutil.Process]:
        try:
            return [self._me, *self._me.children(recursive=True)]
        except psutil.Error:  # nobody may list them
            return [self._me]


def _memory(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss)
    except psutil.Error:  # it has ended meanwhile
        return 0.0


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
