"""Tracking a run of many entities: into a database in bulk, against the way of the tutorials.

Makes a run folder of made-up accounts, each with its trials, and sends it with ``daskcast track``
from the folder (reading it included): to a new SQLite store, to PostgreSQL where that is installed,
and with a run for each trial. In the same store of SQLite some of the same entities are tracked as
MLflow's tutorials do it, with the fluent API, a call for each value. Usage:
tracking.py [--entities 10000] [--trials 24] [--fluent 30] [--trial-entities 2000]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from common import ROOT, write_result
from mlflow import MlflowClient

from daskcast.config import ForecastConfig
from daskcast.records import EntityResult, Forecast, Scores, Status, Trial
from daskcast.store import RunFolder
from daskcast.tracking import child_runs

sys.path.insert(0, str(ROOT / "tests" / "servers"))

BATCH = 200
TRACK = """
import json, resource, sys, time
from daskcast.track import track
import daskcast.tracking.mlflow_client  # its import is not what is measured
uri, out, detail = sys.argv[1:]
MB = 1024
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB
start = time.perf_counter()
found = track(out, tracking_uri=uri, detail=detail, bulk="database")
end = time.perf_counter()
assert not found.stopped, found.stopped
print(json.dumps({
    "sent": found.n_sent, "failed": found.n_failed, "seconds": end - start, "cpu_s": found.cpu_s,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB, "run_id": found.info.run_id,
}))
"""


def main() -> None:
    """Measure, and write bench/results/tracking.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--fluent", type=int, default=30)
    parser.add_argument("--trial-entities", type=int, default=2_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        out = made_up(folder / "run", options.entities, options.trials)
        sqlite = f"sqlite:///{folder / 'mlflow.db'}"
        empty(sqlite)
        found: dict[str, Any] = {"what": "daskcast track of a run folder", **vars(options)}
        found["sqlite"] = tracked(sqlite, out, "entity", options.entities)
        found["fluent"] = fluent(sqlite, out, options.fluent)
        of_trials = made_up(folder / "trials", options.trial_entities, options.trials)
        n_runs = options.trial_entities * (1 + options.trials)
        another = f"sqlite:///{folder / 'trials.db'}"
        empty(another)
        found["sqlite, a run for each trial"] = tracked(another, of_trials, "trial", n_runs)
        five = made_up(folder / "five", 5 * options.entities, options.trials)
        third = f"sqlite:///{folder / 'five.db'}"
        empty(third)
        found["sqlite, five times the entities"] = tracked(
            third, five, "entity", 5 * options.entities
        )
        server = postgres(stack)
        if server:
            empty(server)
            found["postgresql"] = tracked(server, out, "entity", options.entities)
    rates = {name: row["runs_per_s"] for name, row in found.items() if isinstance(row, dict)}
    found["times_the_fluent_rate"] = round(rates["sqlite"] / rates["fluent"])
    write_result("tracking", found)


def made_up(out: Path, n: int, n_trials: int) -> str:
    """Make a run folder of n entities, batch by batch."""
    rng = np.random.default_rng(0)
    config = ForecastConfig(h=12, trials=n_trials)
    n_batches = -(-n // BATCH)
    counts = {"entities": n, "ok": n, "fallback": 0, "failed": 0, "batches": n_batches}
    manifest = {
        "config": config.to_dict(),
        "data": {"fingerprint": "made up", "rows": 120 * n, "kind": "made up"},
        "versions": {},
        "counts": counts,
        "seconds": {},
        "mlflow": {},
        "started": "2026-01-01T00:00:00.000+00:00",
    }
    folder = RunFolder.create(str(out), manifest)
    for number in range(n_batches):
        ids = range(number * BATCH, min((number + 1) * BATCH, n))
        folder.write_batch(f"b{number:06d}", [entity(i, n_trials, rng) for i in ids])
    return str(out)


def entity(i: int, n_trials: int, rng: np.random.Generator) -> EntityResult:
    """Make up what became of one entity."""
    losses = rng.lognormal(size=n_trials)
    chosen = {"trend": "Ad", "season": "A", "error": "M", "power": 0.5, "criterion": "aicc"}
    trials = tuple(
        Trial(k, "ETS(M,Ad,A)", {**chosen, "number": k}, float(loss), float(k == 0), 0.01)
        for k, loss in enumerate(losses)
    )
    months = np.arange("2026-01", "2027-01", dtype="datetime64[M]").astype("datetime64[us]")
    mean = rng.lognormal(8, 1, 12)
    return EntityResult(
        f"airport {i:06d}",
        Status.OK,
        model="ETS(M,Ad,A)",
        params={"forms": {"ETS(M,Ad,A)": 1.0}, "alpha": 0.3, "beta": 0.1, "gamma": 0.2},
        n_obs=120,
        scores=Scores(3, float(losses.min()), *rng.lognormal(size=2), 12.0, 1.0, 0.25),
        stopped_by="trials",
        seconds=0.02,
        forecast=Forecast(months, mean, np.stack([mean * 0.8] * 2), np.stack([mean * 1.2] * 2)),
        trials=trials,
    )


def empty(uri: str) -> None:
    """Make a store without runs, so that making its tables is no part of what is measured."""
    MlflowClient(tracking_uri=uri).search_experiments(max_results=1)


def tracked(uri: str, out: str, detail: str, n_runs: int) -> dict[str, Any]:
    """Send a run folder from a process of its own."""
    call = [sys.executable, "-c", TRACK, uri, out, detail]
    with tempfile.TemporaryDirectory() as here:
        done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=here)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    row |= {"runs": n_runs, "runs_per_s": round(n_runs / row["seconds"], 1)}
    print(uri.partition(":")[0], detail, row, flush=True)
    return row


def fluent(uri: str, out: str, n: int) -> dict[str, Any]:
    """Track the first entities as the tutorials do: a call for each value, the same values."""
    folder = RunFolder.open(out)
    batch = min(folder.finished())
    tables = (folder.read(name, [batch]) for name in ("entities", "trials"))
    children = child_runs(*tables, "fluent")[:n]
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("fluent")
    with mlflow.start_run(run_name="airports"):
        start = time.perf_counter()
        for child in children:
            with mlflow.start_run(run_name=child.name, nested=True):
                for name, value in child.params.items():
                    mlflow.log_param(name, value)
                mlflow.set_tags(dict(child.tags))
                for point in child.metrics:
                    mlflow.log_metric(point.key, point.value, step=point.step)
        seconds = time.perf_counter() - start
    one = children[0]
    row: dict[str, Any] = {"runs": n, "seconds": seconds, "runs_per_s": round(n / seconds, 2)}
    row |= {"params": len(one.params), "tags": len(one.tags), "values": len(one.metrics)}
    print("fluent", row, flush=True)
    return row


def postgres(stack: ExitStack) -> str:
    """Start PostgreSQL; empty where it is not installed."""
    from postgres import RunningPostgres, binaries

    if binaries() is None:
        print("PostgreSQL is not installed: not measured")
        return ""
    return str(stack.enter_context(RunningPostgres()).uri)


if __name__ == "__main__":
    main()
