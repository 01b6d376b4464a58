"""An MLflow server for tests and benchmarks, on a free port of the loopback."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

START_S = 120


class RunningServer:
    """An MLflow server on a free port of the loopback, ended at exit; it can be entered again.

    Parameters
    ----------
    folder : Path
        For its log, its artifacts, and its database where it has no other.
    *options : str
        More options of ``mlflow server``.
    store : str, optional
        Address of the database.
    workers : int
    **environment : str
        Settings of the server.
    """

    def __init__(
        self, folder: Path, *options: str, store: str = "", workers: int = 1, **environment: str
    ) -> None:
        self.folder = folder
        self.store = store or f"sqlite:///{folder / 'mlflow.db'}"
        self.workers = workers
        self.options = options
        self.environment = environment
        self.port = free_port()

    def __enter__(self) -> str:
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(self.port), "--workers", str(self.workers)),
            *("--backend-store-uri", self.store),
            *("--artifacts-destination", str(self.folder / "artifacts")),
            *self.options,
        ]
        self.log = (self.folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            command,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **self.environment},
            start_new_session=True,
        )
        address = f"http://127.0.0.1:{self.port}"
        try:
            self._wait(address)
        except BaseException:
            self.stop()
            raise
        return address

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and the processes it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
        self.process.wait(30)
        self.log.close()

    def _wait(self, address: str) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        text = (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"the MLflow server did not start in {START_S} s:\n{text[-3000:]}")


def free_port() -> int:
    """Give a port of the loopback that nobody listens on.

    It is below those that the system gives to others until the server listens.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
