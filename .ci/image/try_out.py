"""Start containers from an unpacked image without an engine, and time a worker's first task.

``.ci/image/unpack`` unpacks. A container here is a process with its own mounts and process numbers,
a read-only root, a fresh ``/tmp``, the image's environment and entry point, and an ordinary user;
it shares the network, and has no limits. That takes root and Linux. As a command:
``try_out.py FOLDER/rootfs``.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Self

STOP_S = 60
START_S = 120

_INSIDE = """set -e
root=$1 user=$2 folder=$3; shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot --userspec="$user" "$root" /usr/bin/env -i --chdir="$folder" "$@"
"""

_FIRST = """
import json, sys, time
import numpy as np
from distributed import Client
from daskcast import task
from daskcast.records import Series
from daskcast.settings import TaskSettings
from daskcast.tune import SearchRules

t = np.arange(96)
y = 100 + t + 10 * np.sin(t * np.pi / 6) + t % 7
series = Series("first", y, 95, np.arange(96, 108), freq="1", season_length=12)
with Client(sys.argv[1]) as client:
    future = client.submit(task.run_batch, [series], TaskSettings(SearchRules()))
    print("submitted", flush=True)
    [result] = future.result()
    at = time.time()
mean = [float(x).hex() for x in result.forecast.mean]
print(json.dumps({"at": at, "status": str(result.status), "model": result.model, "mean": mean}))
"""


class Container(AbstractContextManager["Container"]):
    """A command in an unpacked image, from entering to leaving.

    Parameters
    ----------
    rootfs : Path
    command : sequence of str
        The arguments, as Kubernetes gives them; the image's entry point comes before.
    user : str
        ``UID:GID``.
    **environment : str
        Beside that of the image.
    """

    def __init__(
        self, rootfs: Path, *command: str, user: str = "1000:0", **environment: str
    ) -> None:
        config = json.loads((rootfs.parent / "config.json").read_text())
        env = [*config["Env"], *(f"{name}={value}" for name, value in environment.items())]
        words = [*(config.get("Entrypoint") or ()), *command]
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _INSIDE]
        self._call = [*unshare, "sh", str(rootfs), user, config["WorkingDir"] or "/", *env, *words]
        self._log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115

    def __enter__(self) -> Self:
        self.started = time.time()
        self._process = subprocess.Popen(
            self._call, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT
        )
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process.poll() is None:
            self.stop()
        self._log.close()

    @property
    def log(self) -> str:
        """What it has said so far."""
        return Path(self._log.name).read_text()

    def wait_for(self, pattern: str, timeout: float = START_S) -> re.Match[str]:
        """Wait until it says something; give where."""
        until = time.monotonic() + timeout
        while (found := re.search(pattern, self.log)) is None:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"it never said {pattern!r}:\n{self.log}")
            time.sleep(0.02)
        return found

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one more command inside, as Docker's health check does."""
        inside = ["nsenter", "--target", str(self._first), "--mount", "--pid", "--root", *command]
        return subprocess.run(inside, capture_output=True, text=True, check=False)

    def stop(self) -> tuple[int, float]:
        """Ask it to end, as Kubernetes does; give its exit code, and the seconds that took."""
        begun = time.monotonic()
        os.kill(self._first, signal.SIGTERM)
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return code, time.monotonic() - begun

    @property
    def _first(self) -> int:
        """Its process number 1, as it is called out here."""
        pid = self._process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def free_port() -> int:
    """Give a port that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def first_answers(rootfs: Path, n: int = 3, user: str = "1000:0") -> dict[str, Any]:
    """Start workers, one after another, each with a first fit that waits for it.

    Returns
    -------
    dict
        ``seconds`` from each worker's start to the answer, ``kernels_loaded`` and
        ``kernels_compiled`` of each, ``stop_s``, ``exit_codes``, and the answers.
    """
    runs = []
    with ExitStack() as stack:
        port = free_port()
        at = f"tcp://127.0.0.1:{port}"
        listen = ("--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        scheduler = Container(rootfs, "dask-scheduler", *listen, user=user)
        stack.enter_context(scheduler).wait_for("Scheduler at")
        for _ in range(n):
            runs.append(_first_answer(rootfs, at, user))
    return {
        "seconds": [round(run["seconds"], 2) for run in runs],
        "median_s": round(median(run["seconds"] for run in runs), 2),
        "kernels_loaded": [run["loaded"] for run in runs],
        "kernels_compiled": [run["compiled"] for run in runs],
        "stop_s": [round(run["stop_s"], 2) for run in runs],
        "exit_codes": [run["code"] for run in runs],
        "answers": [run["answer"] for run in runs],
    }


def _first_answer(rootfs: Path, scheduler: str, user: str) -> dict[str, Any]:
    with Container(rootfs, "python", "-c", _FIRST, scheduler, user=user) as client:
        client.wait_for("submitted")
        time.sleep(1)
        worker = Container(
            rootfs, "dask", "worker", scheduler, "--nthreads", "1", "--death-timeout", "60",
            user=user, NUMBA_DEBUG_CACHE="1",
        )  # fmt: skip
        with worker:
            answer = json.loads(client.wait_for(r"(?m)^{.*}$")[0])
            code, stop_s = worker.stop()
            return {
                "seconds": answer.pop("at") - worker.started,
                "loaded": worker.log.count("[cache] data loaded"),
                "compiled": worker.log.count("[cache] data saved"),
                "stop_s": stop_s,
                "code": code,
                "answer": answer,
            }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(first_answers(Path(sys.argv[1]).resolve()), indent=1) + "\n")
