"""Ten poisonous entities in two thousand: who is lost, and what it costs.

Runs the whole command on made-up airports with an own model that does what the first two values of
a series tell it: nothing, or the end of its process in one of several ways. Once with the poison
off, once with it on; without a time limit for entities (a fault of memory access, an exit, memory
without end, a kill), and with one (an endless loop in place of the kill). Compares the forecasts of
all others to the bit. Usage: poisoned.py [--entities 2000] [--poisonous 10] [--workers 2]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import pandas as pd
from common import write_result

from daskcast.demo import airports

MODEL = """
import ctypes, os, signal
import numpy as np

class Poison:
    def fit(self, y, X=None):
        self.mean = float(np.mean(y))
        if os.environ["POISON"] == "on":
            self.act(round(2 * y[0] / y[1], 6))
        return self

    def act(self, code):
        if code == 9.0:
            ctypes.string_at(0)
        elif code == 11.0:
            os._exit(3)
        elif code == 13.0:
            held = []
            while True:
                held.append(np.ones(1_000_000))
        elif code == 15.0:
            os.kill(os.getpid(), signal.SIGKILL)
        elif code == 17.0:
            while True:
                pass

    def predict(self, h, X=None):
        return np.full(h, self.mean)
"""
FAULTS = {"segfault": 9.0, "exit": 11.0, "memory": 13.0, "kill": 15.0, "endless": 17.0}


def table_of(n: int, poisonous: dict[str, str]) -> pd.DataFrame:
    """Make airports whose first two values tell the poison of some of them."""
    df = airports(n, months=84).drop_duplicates(["unique_id", "ds"], ignore_index=True)
    df["y"] = df["y"].astype(float)
    first = df.groupby("unique_id", sort=False).head(1).index
    for at in first:
        fault = poisonous.get(df.loc[at, "unique_id"])
        ratio = FAULTS[fault] / 2 if fault else 1.0
        df.loc[at, "y"] = ratio * df.loc[at + 1, "y"]
    return df


def run(folder: Path, name: str, *flags: str, workers: int, poison: str) -> dict[str, Any]:
    """Run the command; give its wall seconds, its entities and its forecasts."""
    out = folder / name
    call = [str(Path(sys.executable).parent / "daskcast"), "run", str(folder / "data.parquet")]
    call += ["--horizon", "12", "--workers", str(workers), "--no-tracking", "--out", str(out)]
    call += ["--models", "ets,theta,poison:Poison", "--search", "portfolio", *flags]
    start = time.perf_counter()
    done = subprocess.run(
        call, cwd=folder, env={**os.environ, "POISON": poison}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    wall = time.perf_counter() - start
    if done.returncode not in (0, 1):
        raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    entities = pd.read_parquet(out / "entities").set_index("unique_id").sort_index()
    forecasts = pd.read_parquet(out / "forecasts").sort_values(["unique_id", "ds"])
    return {"wall_s": round(wall, 1), "entities": entities, "forecasts": forecasts}


def pair(folder: Path, faults: list[str], *flags: str, options: argparse.Namespace) -> dict:
    """Run with the poison off and on, and compare."""
    n = options.entities
    step = n // options.poisonous
    ids = airports(n, months=36)["unique_id"].unique()
    poisonous = {
        ids[i * step + step // 2]: faults[i % len(faults)] for i in range(options.poisonous)
    }
    table_of(n, poisonous).to_parquet(folder / "data.parquet")
    label = "-".join(faults)
    off = run(folder, f"off-{label}", *flags, workers=options.workers, poison="off")
    on = run(folder, f"on-{label}", *flags, workers=options.workers, poison="on")
    found = on["entities"]
    failed = found[found["status"] == "failed"]
    good = off["forecasts"][~off["forecasts"]["unique_id"].isin(poisonous)].reset_index(drop=True)
    same = on["forecasts"].reset_index(drop=True).equals(good)
    reasons = {
        poisonous.get(i, "innocent"): f"{row.error_type}: {row.message[:110]}"
        for i, row in failed.iterrows()
    }
    return {
        "flags": list(flags),
        "entities": n,
        "poisonous": len(poisonous),
        "rows": len(found),
        "good": int((found["status"] != "failed").sum()),
        "failed": len(failed),
        "failed_are_the_poisonous": set(failed.index) == set(poisonous),
        "others_equal_to_the_bit": bool(same),
        "undisturbed_s": off["wall_s"],
        "disturbed_s": on["wall_s"],
        "bar_s": round(1.5 * off["wall_s"] + 60, 1),
        "reasons": reasons,
    }


def main() -> None:
    """Measure, and write bench/results/poisoned.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=2000)
    parser.add_argument("--poisonous", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "poison.py").write_text(textwrap.dedent(MODEL))
        rows = [
            pair(folder, ["segfault", "exit", "memory", "kill"], options=options),
            pair(
                folder, ["segfault", "exit", "memory", "endless"], "--entity-timeout", "5",
                options=options,
            ),
        ]  # fmt: skip
    write_result("poisoned", {"what": "the whole command, poison off and on", "rows": rows})


if __name__ == "__main__":
    main()
