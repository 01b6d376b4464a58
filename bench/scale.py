"""Time, CPU and memory of the whole command by the number of entities.

Runs ``daskcast run FOLDER --search portfolio`` on made-up folders of Parquet files of 120 months,
on a local cluster of two workers. With ``--ready-made`` the workers fit nothing: what is left is
what the run itself costs, the slope between two sizes what driver and scheduler cost an entity.
Rows are added to bench/results/scale.json, so that sizes may be run one after another. Usage:
scale.py [--sizes 1000,10000,100000] [--ready-made] [--tracking sqlite] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import ready_made
from common import RESULTS, commit, write_result
from made_up import write_folder
from processes import watched

MONTHS = 120
DASKCAST = str(Path(sys.executable).parent / "daskcast")


def main() -> None:
    """Measure, and write bench/results/scale.json."""
    options = parsed()
    made = f"ready-made, batches of {options.batch_size}" if options.ready_made else "portfolio"
    kind = f"{made}, tracking {options.tracking}"
    with tempfile.TemporaryDirectory(dir=options.data) as place:
        run_once(Path(place), 50, options)  # fills the caches of compiled code
    for n in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.data) as place:
            row = {"entities": n, **run_once(Path(place), n, options), "commit": commit()}
        print(kind, row)
        write_result("scale", added(kind, row))


def parsed() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=sizes_of, default=[1_000, 10_000, 100_000])
    parser.add_argument("--ready-made", action="store_true", help="fit nothing")
    parser.add_argument("--batch-size", type=int, default=250, help="with --ready-made")
    parser.add_argument("--tracking", choices=["none", "sqlite"], default="none")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, help="where the data is made, for a while")
    return parser.parse_args()


def sizes_of(text: str) -> list[int]:
    """Read sizes such as 1000,10000."""
    return [int(part) for part in text.split(",")]


def run_once(place: Path, n: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run the command once on n entities; give what it took."""
    data = write_folder(place / "data", np.full(n, MONTHS))
    out = place / "run"
    call = [DASKCAST, "run", str(data), "--horizon", "12", "--search", "portfolio"]
    call += ["--cluster", "local", "--workers", str(options.workers), "--out", str(out)]
    if options.tracking == "none":
        call += ["--no-tracking"]
    else:
        call += ["--tracking-uri", f"sqlite:///{place}/mlflow.db"]
    environment = {}
    if options.ready_made:
        call += ["--batch-size", str(options.batch_size)]
        environment = ready_made.ENVIRONMENT
    with contextlib.chdir(place):  # artifacts go where the command is run
        found = watched(call, **environment)
    manifest = json.loads((out / "run.json").read_text())
    assert manifest["counts"]["ok"] == n or not options.ready_made
    return {
        **found,
        "run_mb": round(size_of(out) / 2**20, 1),
        "data_mb": round(size_of(data) / 2**20, 1),
        "free_gb": round(shutil.disk_usage(place).free / 2**30, 1),
        "counts": manifest["counts"],
        "seconds": manifest["seconds"],
    }


def size_of(folder: Path) -> int:
    """Add up the bytes of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def added(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    """Add a row to those of before, and work out what follows from them."""
    path = RESULTS / "scale.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else {}
    rows = [one for one in runs.get(kind, []) if one["entities"] != row["entities"]]
    runs[kind] = sorted([*rows, row], key=lambda one: one["entities"])
    what = f"daskcast run, local cluster, folder of Parquet, {MONTHS} months"
    return {"what": what, "slopes": {k: slopes(r) for k, r in runs.items()}, "runs": runs}


def slopes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give what each entity adds between two sizes that follow each other."""
    return [
        {
            "from": few["entities"],
            "to": many["entities"],
            "client_us": round(1e6 * between(few, many, "client_cpu_s"), 1),
            "client_kb": round(1024 * between(few, many, "client_peak_mb"), 3),
            "client_memory_ratio": round(many["client_peak_mb"] / few["client_peak_mb"], 3),
            "wall_us": round(1e6 * between(few, many, "wall_s"), 1),
            "stages_us": {
                name: round(1e6 * (spent["cpu"] - few["seconds"].get(name, {"cpu": 0})["cpu"])
                            / (many["entities"] - few["entities"]), 1)
                for name, spent in many["seconds"].items()
                if isinstance(spent, dict) and "cpu" in spent
            },
        }
        for few, many in itertools.pairwise(rows)
    ]  # fmt: skip


def between(few: dict[str, Any], many: dict[str, Any], name: str) -> float:
    """Give the slope of one figure."""
    slope: float = (many[name] - few[name]) / (many["entities"] - few["entities"])
    return slope


if __name__ == "__main__":
    main()
