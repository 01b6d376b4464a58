"""Each entity's run in MLflow exactly once, and whole, whatever happens meanwhile.

The command forecasts the same made-up airports again and again, tracked by each way: into SQLite
and PostgreSQL in bulk, through a server in bulk, through a server by plain requests. Meanwhile
answers are lost, requests are refused, the server (or the database) is killed and started again,
the driver is killed, the disk of the run folder fills up; what is left is sent by ``--resume`` or
``daskcast track``, and two of those run at once. Then the store is read: one parent, one run for
each entity, with the params, tags and values of an undisturbed run. Usage:
exactly_once.py [--entities 300] [--kills 10] [--ways NAME ...] [--faults NAME ...] [--seed N]
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy
from common import ROOT, write_result

from daskcast.demo import airports

sys.path.insert(0, str(ROOT / "tests" / "servers"))

from mlflow_server import RunningServer
from postgres import RunningPostgres, binaries
from proxy import Proxy

DASKCAST = str(Path(sys.executable).parent / "daskcast")
FAULTS = ("none", "lost", "429", "killed", "driver", "disk", "two")
LOST, REFUSED = 0.05, 0.10
#: Differ from run to run, and say nothing about an entity.
OF_THE_RUN = ("mlflow.parentRunId", "daskcast.run_key", "daskcast.batch", "seconds")
MOST_TRIES = 30


@dataclass
class Way:
    """A way into a store: where to send, where to read, and what can be killed."""

    uri: str
    store: str
    bulk: str = "auto"
    server: Any = None


def main() -> None:
    """Measure, and write bench/results/exactly_once.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=300)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--ways", nargs="*", default=["sqlite", "postgresql", "endpoint", "rest"])
    parser.add_argument("--faults", nargs="*", default=list(FAULTS))
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    found: dict[str, Any] = {"what": "each run once, after faults", **vars(options)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        airports(options.entities, months=60).to_parquet(folder / "data.parquet")
        expected = None
        for way_name in options.ways:
            with ExitStack() as stack:
                way = way_of(way_name, folder / way_name, stack)
                for fault in options.faults:
                    if not applies(fault, way):
                        continue
                    label = f"{way_name}-{fault}"
                    start = time.perf_counter()
                    happened = disturbed(way, fault, folder, label, options, rng)
                    counted, content = read(way.store, label)
                    expected = expected or content
                    row = {
                        **counted,
                        **happened,
                        "content_as_undisturbed": content == expected,
                        "seconds": round(time.perf_counter() - start, 1),
                    }
                    row["exactly_once"] = (
                        row["parents"] == 1
                        and row["children"] == row["entities"] == options.entities
                        and row["not_ended"] == 0
                        and row["content_as_undisturbed"]
                    )
                    print(label, row, flush=True)
                    found[label] = row
    rows = [row for row in found.values() if isinstance(row, dict)]
    found["exactly_once"] = f"{sum(r['exactly_once'] for r in rows)} of {len(rows)}"
    write_result("exactly_once", found)


def way_of(name: str, folder: Path, stack: ExitStack) -> Way:
    """Start what a way needs."""
    folder.mkdir()
    sqlite = f"sqlite:///{folder / 'mlflow.db'}"
    if name == "sqlite":
        return Way(sqlite, sqlite)
    if name == "postgresql":
        if binaries() is None:
            raise SystemExit("PostgreSQL is not installed; leave it out with --ways")
        database = stack.enter_context(RunningPostgres())
        return Way(database.uri, database.uri, "database", database)
    app = ("--app-name", "daskcast") if name == "endpoint" else ()
    server = RunningServer(folder, *app)
    uri = stack.enter_context(server)
    return Way(uri, sqlite, "auto" if name == "endpoint" else "off", server)


def applies(fault: str, way: Way) -> bool:
    if fault in ("lost", "429"):
        return way.uri.startswith("http")
    return fault != "killed" or way.server is not None


def disturbed(
    way: Way, fault: str, folder: Path, label: str, options: argparse.Namespace, rng: random.Random
) -> dict[str, Any]:
    """Run under a fault, until all is in the store; tell what happened."""
    out = folder / label / "run"
    out.parent.mkdir()
    to = ["--tracking-uri", way.uri, "--experiment", label, "--tracking-bulk", way.bulk]
    call = [DASKCAST, "run", str(folder / "data.parquet"), "--horizon", "6", "--workers", "2"]
    call += ["--cluster", "processes", "--search", "portfolio", "--cv-windows", "1"]
    call += ["--batch-size", "10", "--out", str(out), *to]
    track = [DASKCAST, "track", str(out), *to]
    happened: Counter[str] = Counter()
    with ExitStack() as stack:
        if fault in ("lost", "429"):
            bad = stack.enter_context(faulty(way.uri, fault, rng, happened))
            call[call.index(way.uri)] = track[track.index(way.uri)] = bad
        if fault == "disk":
            stack.enter_context(small_disk(out.parent))
        if fault == "killed":
            stack.enter_context(killing(way.server, out, happened))
        if fault == "driver":
            driver_killed(call, out, options.kills, rng, happened)
        again = ["--resume"] if (out / "run.json").exists() else []
        if fault == "two":
            again = ["--no-tracking"]  # so that all is left to those two
        while ended(subprocess.run([*call, *again], check=False, **QUIET)) == 3:
            happened["resumed"] += 1
            again = ["--resume"] if (out / "run.json").exists() else []
            if fault == "disk":
                subprocess.run(["mount", "-o", "remount,size=100m", out.parent], check=True)
            check(happened["resumed"])
        if fault == "two":
            both = [subprocess.Popen(track, **QUIET) for _ in range(2)]
            happened["at once"] = sum(one.wait() == 0 for one in both)
        while ended(subprocess.run(track, check=False, **QUIET)) != 0:
            happened["tracked again"] += 1
            check(happened["tracked again"])
    return {"happened": dict(happened)}


QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def ended(done: subprocess.CompletedProcess[bytes]) -> int:
    """Give the exit code: 0 where some entities failed, too."""
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"ended with {done.returncode}: {done.args}")
    return 0 if done.returncode == 1 else done.returncode


def check(n: int) -> None:
    if n > MOST_TRIES:
        raise SystemExit(f"not there after {MOST_TRIES} tries")


@contextmanager
def faulty(uri: str, fault: str, rng: random.Random, happened: Counter[str]) -> Iterator[str]:
    """Put a proxy before the server that loses answers or refuses requests."""
    proxy = Proxy(uri)
    share, what = (LOST, "lose") if fault == "lost" else (REFUSED, 429)

    def draw(_number: int, _path: str) -> Any:
        happened["requests"] += 1
        if rng.random() >= share:
            return None
        happened[str(what)] += 1
        return what

    proxy.fault = draw
    try:
        yield proxy.uri
    finally:
        proxy.close()


@contextmanager
def killing(server: Any, out: Path, happened: Counter[str]) -> Iterator[None]:
    """Kill a server twice while a run is at work, and start it again each time."""
    stop = threading.Event()

    def watch() -> None:
        for n in (5, 15):
            while len(list(out.glob("batches/*.json"))) < n and not stop.is_set():
                time.sleep(0.02)
            if stop.is_set():
                return
            hard = {"hard": True} if isinstance(server, RunningPostgres) else {}
            server.stop(**hard)
            happened["server killed"] += 1
            time.sleep(1)
            restart: Callable[[], object] = getattr(server, "start", server.__enter__)
            restart()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """Have a disk that holds about half of a run."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", str(place)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def driver_killed(
    call: list[str], out: Path, n: int, rng: random.Random, happened: Counter[str]
) -> None:
    """Kill the driver n times, from its first second to long after its work."""
    while happened["driver killed"] < n:
        again = ["--resume"] if (out / "run.json").exists() else []
        with subprocess.Popen([*call, *again], start_new_session=True, **QUIET) as driver:
            try:
                driver.wait(rng.uniform(2.0, 16.0))
            except subprocess.TimeoutExpired:
                driver.kill()
                happened["driver killed"] += 1
            else:
                happened["too late"] += 1
                check(happened["too late"])


def read(store: str, experiment: str) -> tuple[dict[str, int], dict[str, Any]]:
    """Read an experiment from the tables: counts, and what each entity's run holds."""
    engine = sqlalchemy.create_engine(store)
    runs: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(set))
    with engine.connect() as db:
        rows = db.execute(
            sqlalchemy.text(
                "SELECT run_uuid, status, r.name FROM runs r JOIN experiments e "
                "ON e.experiment_id = r.experiment_id "
                "WHERE e.name = :name AND r.lifecycle_stage = 'active'"
            ),
            {"name": experiment},
        ).all()
        for run_id, status, name in rows:
            runs[run_id] |= {"status": status, "name": name}
        for table, columns in (
            ("tags", "key, value"),
            ("params", "key, value"),
            ("metrics", "key, step, value"),
            ("latest_metrics", "key, step, value"),
        ):
            for run_id, *row in db.execute(
                sqlalchemy.text(f"SELECT run_uuid, {columns} FROM {table}")
            ):
                if run_id in runs and row[0] not in OF_THE_RUN:
                    runs[run_id][table].add(tuple(row))
    engine.dispose()
    children = {
        run_id: run for run_id, run in runs.items() if ("daskcast.kind", "entity") in run["tags"]
    }
    content = {run["name"]: plain(run) for run in children.values()}
    return {
        "parents": sum(("daskcast.kind", "run") in run["tags"] for run in runs.values()),
        "children": len(children),
        "entities": len(content),
        "not_ended": sum(run["status"] == "RUNNING" for run in runs.values()),
    }, content


def plain(run: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is of the process, not of the entity."""
    of_process = ("mlflow.source.", "mlflow.user", "mlflow.runName")
    tags = {(k, v) for k, v in run["tags"] if not k.startswith(of_process)}
    return {**run, "tags": tags}


if __name__ == "__main__":
    main()
