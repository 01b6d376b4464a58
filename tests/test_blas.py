"""BLAS held at one thread while a task works."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from daskcast import OwnModel
from daskcast.records import Series
from daskcast.settings import TaskSettings
from daskcast.task import run_batch
from daskcast.tune import SearchRules


def blas_threads() -> set[int]:
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


class Watcher:
    """Notes the threads of BLAS while it is fitted."""

    seen: list[set[int]] = []  # noqa: RUF012 - copies share it

    def fit(self, y: np.ndarray) -> None:
        self.seen.append(blas_threads())
        self.last = y[-1]

    def predict(self, h: int) -> np.ndarray:
        return np.full(h, self.last)


def test_a_task_holds_blas_at_one_thread() -> None:
    """Whatever the process allows, a model is fitted with one thread, and then all is as before."""
    y = 100 + 10 * np.sin(np.arange(60.0))
    series = Series("A", y, 59, np.arange(60, 66), freq="1", season_length=12)
    settings = TaskSettings(SearchRules(trials=2), models=(OwnModel(Watcher()),))
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        [result] = run_batch([series], settings)
        assert blas_threads() == before
    assert str(result.status) == "ok", result.failure
    assert Watcher.seen
    assert set.union(*Watcher.seen) == {1}
