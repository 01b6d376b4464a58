"""A worker killed every few seconds: does the run end, is it the same, and how long does it take.

Runs the whole command on made-up airports with the local cluster, once undisturbed, once while one
of its worker processes, chosen at random, gets SIGKILL every so often, from the beginning of the
work to the end of the run. Compares forecasts, entities and trials to the bit, but for seconds and
batches. Usage: workers_killed.py [--entities 8000] [--every 5] [--workers 2] [--seed N]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from common import write_result

from daskcast.demo import airports

ABOUT_TIME = ["seconds", "batch"]


def workers_of(driver: psutil.Process) -> list[psutil.Process]:
    """Find the worker processes: they come from the fork server, which is a child of the driver."""
    with contextlib.suppress(psutil.Error):
        for child in driver.children():
            if "multiprocessing.forkserver" in " ".join(child.cmdline()):
                return child.children()
    return []


def run(table: Path, out: Path, workers: int, every: float | None, rng: random.Random) -> dict:
    """Run the command, with or without a killer; give its seconds and how many were killed."""
    call = [str(Path(sys.executable).parent / "daskcast"), "run", str(table), "--horizon", "12"]
    call += ["--workers", str(workers), "--no-tracking", "--out", str(out)]
    start = time.perf_counter()
    running = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    driver, n_killed, due = psutil.Process(running.pid), 0, None
    while running.poll() is None:
        time.sleep(0.05)
        at_work = any((out / "batches").glob("*.json"))
        if every is None or not at_work:
            continue
        due = due or time.perf_counter()
        if time.perf_counter() >= due and (alive := workers_of(driver)):
            with contextlib.suppress(psutil.Error):
                rng.choice(alive).kill()
                n_killed += 1
            due += every
    wall = time.perf_counter() - start
    told, wrong = running.communicate()
    if running.returncode not in (0, 1):
        raise SystemExit(f"ended with {running.returncode}:\n{told}\n{wrong}")
    work = pd.read_json(out / "run.json", typ="series")["seconds"]["work"]["wall"]
    return {"wall_s": round(wall, 1), "work_s": work, "killed": n_killed}


def tables(out: Path) -> dict[str, pd.DataFrame]:
    """Read what a run left, in an order of its own, without what is about time."""
    keys = {
        "forecasts": ["unique_id", "ds"],
        "entities": ["unique_id"],
        "trials": ["unique_id", "trial"],
    }
    return {
        name: pd.read_parquet(out / name)
        .sort_values(key)
        .drop(columns=ABOUT_TIME, errors="ignore")
        .reset_index(drop=True)
        for name, key in keys.items()
    }


def main() -> None:
    """Measure, and write bench/results/workers_killed.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=8000)
    parser.add_argument("--every", type=float, default=5.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        airports(options.entities).to_parquet(folder / "data.parquet")
        found: dict[str, Any] = {}
        for label, every in (("undisturbed", None), ("killed", options.every)):
            found[label] = run(folder / "data.parquet", folder / label, options.workers, every, rng)
            print(label, found[label], flush=True)
        before, after = tables(folder / "undisturbed"), tables(folder / "killed")
        equal = {name: bool(before[name].equals(after[name])) for name in before}
    write_result(
        "workers_killed",
        {
            "what": f"a worker of {options.workers} killed every {options.every:g} s",
            "entities": options.entities,
            "seed": options.seed,
            **found,
            "ratio_of_wall": round(found["killed"]["wall_s"] / found["undisturbed"]["wall_s"], 2),
            "equal_to_the_bit": equal,
        },
    )


if __name__ == "__main__":
    main()
