"""What a server has to do for the runs of a forecast: in bulk, and by three requests each.

One MLflow server with daskcast's route (``--app-name daskcast``) takes the same run folder by both
ways, in turn: runs a second, the server's CPU for each run, requests for each entity, and how long
a second client waits for its searches meanwhile. The pace of plain requests is what daskcast ships;
beside it stand fixed numbers in flight, without any pace. Usage:
serving.py [--entities 1000] [--trials 24] [--rounds 3] [--workers 1] [--postgresql]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from common import ROOT, write_result
from tracking import made_up, postgres

sys.path.insert(0, str(ROOT / "tests" / "servers"))

from mlflow_server import RunningServer

TRACK = """
import json, sys, time
from collections import Counter
from daskcast.track import track
from daskcast.tracking import mlflow_client, pace, server
uri, out, bulk, fixed, experiment = sys.argv[1:]

class Fixed(pace.Pace):
    def answered(self, kind, seconds): pass
    def troubled(self, wait_s=0.0): pass

counted = Counter()
send = server.http_request
def count(creds, path, *more, **others):
    counted[path.rpartition("/")[2]] += 1
    return send(creds, path, *more, **others)
server.http_request = count
if fixed != "pace":
    real = mlflow_client.ServerCalls
    def calls(store):
        one = Fixed(most_in_flight=int(fixed), most_per_s=1e9)
        one.window = float(fixed)
        return real(store, one)
    mlflow_client.ServerCalls = calls
began = time.time()
found = track(out, tracking_uri=uri, bulk=bulk, experiment=experiment)
assert not found.stopped, found.stopped
print(json.dumps({"sent": found.n_sent, "began": began, "seconds": time.time() - began,
                  "requests": sum(counted.values())}))
"""
ASK = """
import sys, time
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
found = client.get_experiment_by_name("others").experiment_id
until = time.time() + float(sys.argv[2])
while time.time() < until:
    start = time.time()
    assert len(client.search_runs([found], "metrics.m > 5", max_results=20)) == 20
    print(start, time.time() - start, flush=True)
    time.sleep(0.05)
"""


def main() -> None:
    """Measure, and write bench/results/serving.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--fixed", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--postgresql", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {"what": "an MLflow server takes a run folder", **vars(options)}
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        database = postgres(stack) if options.postgresql else ""
        server = RunningServer(
            folder, "--app-name", "daskcast", store=database, workers=options.workers
        )
        uri = stack.enter_context(server)
        others(uri)
        n, small = options.entities, max(options.entities // 5, 1)
        out = [made_up(folder / f"run{i}", n, options.trials) for i in range(options.rounds)]
        found["idle"] = [waited(server, uri, 20) for _ in range(options.rounds)]
        search_ms = of(found["idle"], "server_ms_a_search")
        for name, bulk, fixed in [("bulk", "auto", "pace"), ("paced", "off", "pace")]:
            found[name] = [measured(server, uri, run, (bulk, fixed), n, search_ms) for run in out]
            print(name, found[name], flush=True)
        for fixed in options.fixed:
            run = made_up(folder / f"fixed{fixed}", small, options.trials)
            row = measured(server, uri, run, ("off", str(fixed)), small, search_ms)
            found[f"{fixed} in flight"] = [row]
            print(fixed, found[f"{fixed} in flight"], flush=True)
    found["second_client_p95_times_idle"] = {
        name: round(of(rows, "p95_ms") / of(found["idle"], "p95_ms"), 2)
        for name, rows in found.items()
        if isinstance(rows, list) and name != "fixed"
    }
    plain = {k: v for k, v in found.items() if k.endswith(" in flight")}
    best = max(of(rows, "runs_per_s") for rows in [found["paced"], *plain.values()])
    found["bulk_times_best_plain_rate"] = round(of(found["bulk"], "runs_per_s") / best, 1)
    found["plain_times_bulk_cpu"] = round(
        of(found["paced"], "server_ms_a_run") / of(found["bulk"], "server_ms_a_run"), 1
    )
    write_result("serving-postgresql" if options.postgresql else "serving", found)


def of(rows: list[dict[str, float]], name: str) -> float:
    return median(row[name] for row in rows)


def others(uri: str) -> None:
    """Make what the second client looks at: runs of others."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    experiment = client.create_experiment("others")
    for i in range(60):
        run = client.create_run(experiment)
        client.log_metric(run.info.run_id, "m", float(i))


def measured(
    server: RunningServer, uri: str, out: str, how: tuple[str, str], n: int, search_ms: float
) -> dict[str, float]:
    """Send a folder, with a second client beside it, into an experiment of its own."""
    before = cpu_s(server)
    with tempfile.TemporaryDirectory() as here:
        sender = subprocess.Popen(
            [sys.executable, "-c", TRACK, uri, out, *how, f"{Path(out).name} {how}"],
            stdout=subprocess.PIPE, text=True, cwd=here,
        )  # fmt: skip
        asking = subprocess.Popen(
            [sys.executable, "-c", ASK, uri, "3600"], stdout=subprocess.PIPE, text=True
        )
        told, _ = sender.communicate()
        asking.kill()
        answers, _ = asking.communicate()
    if sender.returncode:
        raise SystemExit("the folder could not be sent")
    row: dict[str, float] = json.loads(told.splitlines()[-1])
    searches = read(answers)
    taken_ms = 1e3 * (cpu_s(server) - before)
    row["server_ms"] = taken_ms
    # What the searches of the second client cost alone is taken off.
    row["server_ms_a_run"] = (taken_ms - search_ms * len(searches)) / n
    row["runs_per_s"] = n / row["seconds"]
    row["requests_an_entity"] = row["requests"] / n
    ended = row["began"] + row["seconds"]
    return row | told_of([wait for at, wait in searches if row["began"] <= at <= ended])


def waited(server: RunningServer, uri: str, seconds: float) -> dict[str, float]:
    """Have the second client alone."""
    before = cpu_s(server)
    done = subprocess.run(
        [sys.executable, "-c", ASK, uri, str(seconds)], stdout=subprocess.PIPE, text=True,
        check=True,
    )  # fmt: skip
    searches = read(done.stdout)
    row = {"server_ms_a_search": 1e3 * (cpu_s(server) - before) / len(searches)}
    return row | told_of([wait for _, wait in searches])


def read(told: str) -> list[tuple[float, float]]:
    """Read when searches began and how long they took, but for the first, which connects."""
    lines = [line.split() for line in told.splitlines()[1:]]
    return [(float(at), float(wait)) for at, wait in lines]


def told_of(waits: list[float]) -> dict[str, float]:
    if len(waits) < 2:
        return {"searches": len(waits), "p50_ms": np.nan, "p95_ms": np.nan}
    p50, p95 = np.percentile(waits, [50, 95])
    return {"searches": len(waits), "p50_ms": 1e3 * p50, "p95_ms": 1e3 * p95}


def cpu_s(server: RunningServer) -> float:
    """Give the CPU of the server and its processes."""
    root = psutil.Process(server.process.pid)
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


if __name__ == "__main__":
    main()
