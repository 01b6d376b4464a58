"""Idle workers at the end of a run, and what a second worker brings.

Runs the real command on a local cluster, in turns, with a watch on each worker: with two workers
on skewed work (``sorted``: from 36 to 960 months, the longest last by id; ``slow``: of equal
length, every hundredth entity thirty times as slow; ``even``), and on ``even`` work with one worker
and with two. Usage:
tail.py [--entities 1500] [--passes 3] [--search skopt] [--only sorted,slow,even,one]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import timeline
from common import write_result
from made_up import write_folder
from processes import watched
from scale import DASKCAST

#: How many times as slow a slow entity is.
SLOW = 30
KINDS = ("sorted", "slow", "even", "one")


def main() -> None:
    """Measure, and write bench/results/tail.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=1500)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--search", default="skopt")
    parser.add_argument("--only", type=lambda text: text.split(","), default=KINDS)
    options = parser.parse_args()
    passes: dict[str, list[dict[str, Any]]] = {kind: [] for kind in options.only}
    with tempfile.TemporaryDirectory() as folder:
        data = {
            kind: write_folder(Path(folder) / kind, lengths(kind, options.entities))
            for kind in options.only
        }
        for number in range(options.passes):
            for kind, place in data.items():
                found = run_once(place, Path(folder) / f"run-{kind}-{number}", kind, options.search)
                print(number, kind, found)
                passes[kind].append(found)
    medians = {
        kind: {name: statistics.median(one[name] for one in rows) for name in rows[0]}
        for kind, rows in passes.items()
    }
    result: dict[str, Any] = {
        "what": f"daskcast run, local cluster, {options.search}, no tracking, median of passes",
        "entities": options.entities,
        "search": options.search,
        "by": medians,
        "passes": passes,
    }
    if {"one", "even"} <= medians.keys():
        ratio = medians["one"]["work_s"] / (2 * medians["even"]["work_s"])
        result["efficiency_of_two"] = round(ratio, 3)
    write_result("tail", result)


def lengths(kind: str, n: int) -> np.ndarray:
    """Give the months of each entity, in the order of the ids."""
    if kind == "sorted":
        return np.geomspace(36, 960, n).round().astype(np.int64)
    return np.full(n, 120)


def run_once(data: Path, out: Path, kind: str, search: str) -> dict[str, Any]:
    """Run the command; tell what its workers did, and when."""
    folder = out.with_name(f"{out.name}-timeline")
    folder.mkdir()
    call = [DASKCAST, "run", str(data), "--horizon", "12", "--search", search, "--no-tracking"]
    call += ["--cluster", "local", "--workers", "1" if kind == "one" else "2", "--out", str(out)]
    found = watched(call, **timeline.environment(folder, SLOW if kind == "slow" else 1))
    return {**timeline.read(folder), "workers_cpu_s": found["workers_cpu_s"]}


if __name__ == "__main__":
    main()
