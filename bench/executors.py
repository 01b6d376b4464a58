"""What each executor costs and brings; the table of docs/howto/executors.md.

Runs the whole command on few and on many made-up airports with each executor, in turn, and keeps
the best of the passes: what else the machine does can only add. Usage:
executors.py [--entities 1000] [--workers 2] [--passes 3]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from common import write_result
from overhead import run_once

from daskcast.demo import airports

FEW = 20


def rungs(workers: int) -> list[tuple[str, str, int, int]]:
    """Name each rung: rung, executor, workers, threads of a worker."""
    return [
        ("serial", "serial", 1, 1),
        ("concurrent", "threads", workers, 1),
        ("parallel", "processes", workers, 1),
        ("parallel", "local", workers, 1),
        ("concurrent-parallel", "local", workers, 2),
    ]


def main() -> None:
    """Measure, and write bench/results/executors.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--passes", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tables = {}
        for n in (FEW, options.entities):
            tables[n] = Path(folder) / f"{n}.csv"
            airports(n).to_csv(tables[n], index=False)
        run_once(tables[FEW], Path(folder) / "warm", "serial", 1)
        rows = [
            dict(zip(("rung", "executor", "workers", "threads"), rung, strict=True))
            for rung in rungs(options.workers)
        ]
        for number in range(options.passes):
            for row in rows:
                for n, table in tables.items():
                    out = Path(folder) / f"{row['executor']}-{row['threads']}-{n}-{number}"
                    once = run_once(table, out, row["executor"], row["workers"], row["threads"])
                    for what in ("wall_s", "cpu_s"):
                        name = f"{what}_{n}"
                        row[name] = min(row.get(name, once[what]), once[what])
                print(f"pass {number + 1}: {row}")
    many = options.entities
    for row in rows:
        row["speedup"] = round(rows[0][f"wall_s_{many}"] / row[f"wall_s_{many}"], 2)
    about = {"what": "the whole command, the best of the passes", "passes": options.passes}
    write_result("executors", {**about, "few": FEW, "many": many, "rows": rows})


if __name__ == "__main__":
    main()
