"""CPU and memory of a command and of all its processes, by what they are for.

Covers running a command and watching its processes while it runs: the client (with the scheduler
of a local cluster in it), the workers, and helpers such as a fork server. Linux only.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from overhead import adopt_orphans, reap

TICK_S = 0.5
_HERTZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Seen:
    """One process when it was last seen: parent, CPU seconds, the most memory it ever had."""

    parent: int
    cpu_s: float
    peak_mb: float


@dataclass(slots=True)
class Watch:
    """The processes of one command."""

    client: int
    seen: dict[int, Seen] = field(default_factory=dict)

    def look(self) -> None:
        """Look at all of them once."""
        found = {pid: one for pid in all_pids() if (one := read_process(pid)) is not None}
        ours = {self.client}
        while more := {p for p, one in found.items() if one.parent in ours} - ours:
            ours |= more
        ours |= self.seen.keys() & found.keys()  # whose parent has gone
        for pid in ours & found.keys():
            self.seen[pid] = later(self.seen.get(pid, found[pid]), found[pid])

    def tell(self) -> dict[str, Any]:
        """Give CPU and peak memory of the client, and of the largest worker."""
        client = self.seen[self.client]
        others = {pid: one for pid, one in self.seen.items() if pid != self.client}
        workers = [one for one in others.values() if one.parent in others]
        return {
            "client_cpu_s": round(client.cpu_s, 2),
            "client_peak_mb": round(client.peak_mb, 1),
            "workers_cpu_s": round(sum(one.cpu_s for one in workers), 2),
            "worker_peak_mb": round(max((one.peak_mb for one in workers), default=0.0), 1),
        }


def later(before: Seen, now: Seen) -> Seen:
    """Join two looks: a process that has ended tells its CPU still, its memory no more."""
    return replace(now, parent=before.parent, peak_mb=max(before.peak_mb, now.peak_mb))


def all_pids() -> list[int]:
    """List the processes of this system."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def read_process(pid: int) -> Seen | None:
    """Read what the kernel tells of a process; None where it has gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    peak = status.partition("VmHWM:")[2].split()
    cpu = (int(stat[11]) + int(stat[12])) / _HERTZ
    return Seen(int(stat[1]), cpu, int(peak[0]) / 1024 if peak else 0.0)


def watched(call: list[str], **environment: str) -> dict[str, Any]:
    """Run a command to its end; give wall, CPU of all processes, and what the watch saw."""
    adopt_orphans()
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    env = {**os.environ, **environment}
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(call, env=env, stdout=told, stderr=subprocess.STDOUT)
        watch = Watch(process.pid)
        while process.poll() is None:
            watch.look()
            time.sleep(TICK_S)
        wall = time.perf_counter() - start
        if process.returncode not in (0, 1):
            told.seek(0)
            raise SystemExit(f"{' '.join(call)} ended with {process.returncode}:\n{told.read()}")
    reap()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2), **watch.tell()}
