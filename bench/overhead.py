"""Where the CPU of the whole command goes, and what of it is neither fitting nor searching.

Runs ``daskcast run`` on made-up airports of 120 months, two workers, no tracking, twice: on a few
and on many. The CPU of all its processes less that of the fits is what the rest costs; the line
through the two sizes tells what of it comes once, and what with each entity. Usage:
overhead.py [--entities 2000] [--few 200] [--cluster local]
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import write_result

from daskcast.demo import airports

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of workers whose parent ends first: only who reaps them sees their CPU."""
    if sys.platform != "linux":
        raise SystemExit("the CPU of all processes of a command is measured on Linux only")
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise SystemExit("this system does not let a process adopt orphans")


def reap() -> None:
    """Wait for all that is left of a command."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def run_once(
    table: Path, out: Path, cluster: str, workers: int = 2, threads: int = 1
) -> dict[str, Any]:
    """Run the command; give wall and CPU seconds of all its processes, and run.json."""
    call = [str(Path(sys.executable).parent / "daskcast"), "run", str(table), "--horizon", "12"]
    call += ["--cluster", cluster, "--workers", str(workers), "--no-tracking", "--out", str(out)]
    call += ["--threads-per-worker", str(threads)]
    adopt_orphans()
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=os.environ)
    wall = time.perf_counter() - start
    reap()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(call)} ended with {done.returncode}:\n{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    manifest = json.loads((out / "run.json").read_text())
    return {"cpu_s": round(cpu, 3), "wall_s": round(wall, 3), "manifest": manifest}


def main() -> None:
    """Measure, and write bench/results/overhead.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=2000)
    parser.add_argument("--few", type=int, default=200)
    parser.add_argument("--cluster", default="local")
    options = parser.parse_args()
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        for n in (options.few, options.few, options.entities):  # the first fills the caches
            table = Path(folder) / f"{n}.csv"
            airports(n, months=120).to_csv(table, index=False)
            found = run_once(table, Path(folder) / f"run-{n}-{len(runs)}", options.cluster)
            runs[n] = found | split(found)
            runs[n].pop("manifest")
            print(n, runs[n])
    few, many = runs[options.few], runs[options.entities]
    slope = (many["rest_s"] - few["rest_s"]) / (options.entities - options.few)
    write_result(
        "overhead",
        {
            "what": "CPU of the whole command, 120 months, two workers, no tracking",
            "cluster": options.cluster,
            "rest_ms_per_entity": round(1000 * slope, 3),
            "rest_once_s": round(few["rest_s"] - slope * options.few, 3),
            "runs": runs,
        },
    )


def split(found: dict[str, Any]) -> dict[str, Any]:
    """Split the CPU: the fits with the search, and the rest."""
    seconds = found["manifest"]["seconds"]
    fit = seconds["workers"]["fit"]
    return {
        "fit_s": fit,
        "rest_s": round(found["cpu_s"] - fit, 3),
        "workers_cpu_s": seconds["workers"],
        "driver_cpu_s": {k: v["cpu"] for k, v in seconds.items() if "cpu" in as_dict(v)},
    }


def as_dict(value: object) -> dict[str, Any]:
    """Give the seconds of a stage; the total is a number alone."""
    return value if isinstance(value, dict) else {}


if __name__ == "__main__":
    main()
