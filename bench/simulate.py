"""A run in discrete events, for what no formula tells: the tail, deaths of workers, one driver.

Workers take batches from one driver, which serves one request after another. Batches are those of
``daskcast.partition`` for entities of equal length; the time of an entity is log-normal, and some
are very slow. A worker may die: its batch begins again on another, after a new worker has started.
Nothing here is measured but what goes in. Usage: simulate.py
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from common import write_result

from daskcast.partition import pack


@dataclass(frozen=True, slots=True)
class Setting:
    """What a simulated run is told; times in seconds.

    ``entity_s`` is the mean of an entity, ``spread`` the standard deviation of its logarithm;
    ``slow_share`` of the entities take ``slow_times`` as long. The driver serves a batch in
    ``entities * driver_s + batch_s``. A worker lives ``life_s`` on average, and is there again
    ``restart_s`` after its death.
    """

    n: int = 100_000
    n_workers: int = 64
    entity_s: float = 0.015
    spread: float = 0.5
    slow_share: float = 0.0
    slow_times: float = 30.0
    driver_s: float = 40e-6
    batch_s: float = 6e-3
    life_s: float = np.inf
    restart_s: float = 5.0
    months: int = 120


def simulate(setting: Setting, batches: list[np.ndarray], seed: int = 0) -> dict[str, float]:
    """Run once; give the time of the work and how it compares with workers that never wait."""
    rng = np.random.default_rng(seed)
    shift = np.log(setting.entity_s) - setting.spread**2 / 2
    cost = rng.lognormal(shift, setting.spread, setting.n)
    cost[rng.random(setting.n) < setting.slow_share] *= setting.slow_times
    waiting = [(float(cost[batch].sum()), len(batch)) for batch in batches][::-1]
    free = [(0.0, worker) for worker in range(setting.n_workers)]
    dies = rng.exponential(setting.life_s, setting.n_workers) if np.isfinite(setting.life_s) else (
        np.full(setting.n_workers, np.inf)
    )  # fmt: skip
    last = np.zeros(setting.n_workers)
    driver, n_deaths, lost = 0.0, 0, 0.0
    while waiting:
        now, worker = heapq.heappop(free)
        seconds, size = waiting.pop()
        driver = max(driver, now) + setting.batch_s + setting.driver_s * size
        begin, end = driver, driver + seconds
        if dies[worker] < end:
            n_deaths += 1
            lost += max(dies[worker] - begin, 0.0)
            waiting.append((seconds, size))
            end = max(dies[worker], begin) + setting.restart_s
            dies[worker] = end + rng.exponential(setting.life_s)
        last[worker] = end
        heapq.heappush(free, (end, worker))
    total = float(last.max())
    return {
        "work_s": total,
        "efficiency": float(cost.sum()) / (total * setting.n_workers),
        "idle": float((total - last).mean()) / total,
        "driver_busy": float(
            (setting.batch_s * len(batches) + setting.driver_s * setting.n) / total
        ),
        "deaths": n_deaths,
        "done_twice": lost / float(cost.sum()),
    }


def batches_of(setting: Setting, batch_size: int | None = None) -> list[np.ndarray]:
    """Pack entities of equal length as a run would."""
    sizes = np.full(setting.n, setting.months)
    return pack(sizes, n_workers=setting.n_workers, batch_size=batch_size)


def means(setting: Setting, batch_size: int | None = None, passes: int = 5) -> dict[str, float]:
    """Simulate a few times with different luck."""
    batches = batches_of(setting, batch_size)
    runs = [simulate(setting, batches, seed) for seed in range(passes)]
    found = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
    return {name: round(value, 4) for name, value in found.items()} | {"batches": len(batches)}


def cores() -> list[dict[str, Any]]:
    """Tell how the efficiency of a run falls with its workers, where the driver is the limit."""
    rows = []
    for n_workers in (8, 64, 128, 256, 512):
        setting = Setting(n=1_000_000, n_workers=n_workers)
        rows.append({"n_workers": n_workers, **means(setting, passes=1)})
    return rows


def tails() -> list[dict[str, Any]]:
    """Compare batches that shrink with batches of one size."""
    rows = []
    sizes = {"shrinking": None, "of 200": 200}
    for n_workers, slow_share in itertools.product((2, 16, 64), (0.0, 0.01)):
        setting = Setting(n=1_500 * n_workers, n_workers=n_workers, slow_share=slow_share)
        rows += [
            {
                "n_workers": n_workers,
                "slow": slow_share,
                "batches_are": name,
                **means(setting, size),
            }
            for name, size in sizes.items()
        ]
    return rows


def deaths() -> list[dict[str, Any]]:
    """Tell what deaths of workers cost, by how long a worker lives on average."""
    base = Setting(n=1_000_000)
    return [
        {"life_s": life_s, **means(replace(base, life_s=life_s), passes=1)}
        for life_s in (3600.0, 600.0, 120.0, 30.0)
    ]


def main() -> None:
    """Simulate, and write bench/results/simulate.json."""
    defaults = {name: getattr(Setting(), name) for name in Setting.__slots__ if name != "life_s"}
    write_result(
        "simulate",
        {"setting": defaults, "cores": cores(), "tails": tails(), "deaths": deaths()},
    )


if __name__ == "__main__":
    main()
