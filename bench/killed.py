"""The driver killed at random moments of one run, resumed each time.

Runs the whole command on made-up airports with the local cluster and a tracking store on sqlite,
once undisturbed, once while the driver gets SIGKILL again and again: some times while it starts,
most times at work, some times at the end (report and tracking). Each time the same command goes on
with ``--resume``. Compares forecasts, entities and trials to the bit, but for seconds and batches;
looks whether a batch that was finished is ever written again; counts the runs of the store. Usage:
killed.py [--entities 3000] [--kills 20] [--workers 2] [--seed N]
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from common import write_result
from workers_killed import tables

from daskcast.demo import airports

DASKCAST = str(Path(sys.executable).parent / "daskcast")
SHARES = {"start": 0.2, "end": 0.2}
"""Of the kills; all others are at work."""


@dataclass(slots=True)
class Life:
    """One life of the driver: from its start to its end, or its kill."""

    running: subprocess.Popen[str]
    out: Path
    began: float = field(default_factory=time.perf_counter)

    def wait(self, seconds: float) -> bool:
        """Wait; tell whether it is still alive."""
        with suppress(subprocess.TimeoutExpired):
            self.running.wait(max(seconds, 0.0))
        return self.running.poll() is None

    def until(self, n_batches: int) -> bool:
        """Wait until so many batches are finished; tell whether it is still alive."""
        while self.running.poll() is None and len(finished(self.out)) < n_batches:
            time.sleep(0.01)
        return self.running.poll() is None

    def kill(self) -> float:
        """Kill the driver; give the seconds until none of its processes is left."""
        driver = psutil.Process(self.running.pid)
        family = [driver, *driver.children(recursive=True)]
        driver.kill()
        self.running.communicate()
        start = time.perf_counter()
        psutil.wait_procs(family, timeout=60)
        left = [one for one in family if one.is_running() and one.status() != "zombie"]
        if left:
            raise SystemExit(f"processes are left a minute after their driver: {left}")
        return time.perf_counter() - start


def finished(out: Path) -> dict[str, int]:
    """Give the markers of finished batches, and when they were written."""
    return {path.stem: path.stat().st_mtime_ns for path in out.glob("batches/*.json")}


def start(table: Path, out: Path, workers: int, *more: str) -> Life:
    """Start the command."""
    call = [DASKCAST, "run", str(table), "--horizon", "12", "--workers", str(workers)]
    call += ["--out", str(out), "--tracking-uri", f"sqlite:///{out}.db", *more]
    return Life(
        subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True), out
    )


def to_the_end(life: Life) -> float:
    """Let it come to its end; give its seconds."""
    told, wrong = life.running.communicate()
    if life.running.returncode not in (0, 1):
        raise SystemExit(f"ended with {life.running.returncode}:\n{told}\n{wrong}")
    return time.perf_counter() - life.began


def stages_of(n: int, rng: random.Random) -> list[str]:
    """Draw at which stage each life ends; the last ones at the end of the run."""
    n_start, n_end = (round(SHARES[name] * n) for name in ("start", "end"))
    before = ["start"] * n_start + ["work"] * (n - n_start - n_end)
    rng.shuffle(before)
    return before + ["end"] * n_end


def kill_one(life: Life, stage: str, shape: dict[str, float], rng: random.Random) -> bool:
    """Wait for a random moment of a stage; tell whether the driver was alive to be killed."""
    if stage == "start":
        return life.wait(rng.uniform(0.0, shape["start_s"]))
    if stage == "end":
        alive = life.until(round(shape["batches"]))
        return alive and life.wait(rng.uniform(0.0, shape["end_s"]))
    done = len(finished(life.out))
    left = max(shape["batches"] - done, 1)
    alive = life.until(done + rng.randint(0, max(round(2 * left / shape["kills_left"]), 1)))
    return alive and life.wait(rng.uniform(0.0, 0.5))


def disturbed(
    table: Path, out: Path, shape: dict[str, float], options: argparse.Namespace
) -> dict[str, Any]:
    """Run with kills; count what happens."""
    rng = random.Random(options.seed)
    stages = stages_of(options.kills, rng)
    kills: Counter[str] = Counter()
    gone, rewritten, known, begun = [], [], {}, time.perf_counter()
    n_too_late = 0
    while stages:
        more = ["--resume"] if (out / "run.json").exists() else []
        life = start(table, out, options.workers, *more)
        shape["kills_left"] = stages.count("work")
        if not kill_one(life, stages[0], shape, rng):
            to_the_end(life)
            n_too_late += 1
            shape["end_s"] *= 0.9
            if n_too_late > options.kills:
                raise SystemExit(
                    f"the run ends too soon for {options.kills} kills; take more entities"
                )
            continue
        gone.append(life.kill())
        kills[stages[0]] += 1
        now = finished(out)
        rewritten += [name for name in known if now.get(name) != known[name]]
        known = now
        print(kills, f"{len(known)} batches are finished", flush=True)
        if len(known) >= shape["batches"]:  # no work is left to be killed at
            stages = ["end"] * len(stages)
        stages = stages[1:]
    to_the_end(start(table, out, options.workers, "--resume"))
    now = finished(out)
    rewritten += [name for name in known if now.get(name) != known[name]]
    return {
        "kills": dict(kills),
        "wall_s": round(time.perf_counter() - begun, 1),
        "batches": len(now),
        "finished_batches_written_again": len(rewritten),
        "lost_at_a_kill_at_most": f"{options.workers} batches, those at work",
        "longest_until_no_process_is_left_s": round(max(gone, default=0.0), 2),
    }


def tracked(store: Path) -> dict[str, Any]:
    """Count the runs of the tracking store, in its own tables."""
    children = "SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId'"
    asked = {
        "parents": f"SELECT count(*) FROM runs WHERE run_uuid NOT IN ({children})",
        "children": f"SELECT count(*) FROM runs WHERE run_uuid IN ({children})",
        "entities": "SELECT count(DISTINCT value) FROM tags WHERE key = 'daskcast.entity'",
        "keys": "SELECT count(DISTINCT value) FROM tags WHERE key = 'daskcast.run_key'",
        "not_ended": "SELECT count(*) FROM runs WHERE status NOT IN ('FINISHED', 'FAILED')",
        "children_with_a_score": "SELECT count(*) FROM latest_metrics "
        f"WHERE key = 'cv_mase' AND run_uuid IN ({children})",
    }
    with closing(sqlite3.connect(store)) as database:
        return {name: database.execute(query).fetchone()[0] for name, query in asked.items()}


def main() -> None:
    """Measure, and write bench/results/killed.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "data.parquet"
        airports(options.entities).to_parquet(table)
        life = start(table, folder / "undisturbed", options.workers)
        life.until(1)
        first = time.perf_counter() - life.began
        n_batches = 0
        while (n := len(finished(life.out))) > n_batches or life.wait(1.0):
            if n > n_batches:
                n_batches, last = n, time.perf_counter() - life.began
        wall = to_the_end(life)
        shape = {"start_s": first, "batches": n_batches, "end_s": max(wall - last - 1.0, 0.5)}
        print("undisturbed", round(wall, 1), shape, flush=True)
        found = disturbed(table, folder / "killed", shape, options)
        before, after = tables(folder / "undisturbed"), tables(folder / "killed")
        equal = {name: bool(before[name].equals(after[name])) for name in before}
        runs = {name: tracked(folder / f"{name}.db") for name in ("undisturbed", "killed")}
    result = {
        "what": "the driver killed at random moments, each time resumed",
        "entities": options.entities,
        "seed": options.seed,
        "undisturbed_s": round(wall, 1),
        **found,
        "equal_to_the_bit": equal,
        "tracked": runs,
    }
    print(result)
    write_result("killed", result)


if __name__ == "__main__":
    main()
