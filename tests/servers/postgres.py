"""A PostgreSQL server for tests and benchmarks, on a free port of the loopback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from mlflow_server import free_port

_START_S = 60
_HOMES = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt")


def binaries() -> Path | None:
    """Give the folder of initdb and postgres, or None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    places = [path for home in _HOMES for path in Path(home).glob("*/bin/initdb")]
    return max(places).parent if places else None


class RunningPostgres:
    """A server with an empty database ``mlflow``, in a folder that goes away with it.

    It does not run as root: where this process does, it is the user ``postgres``.
    """

    def __init__(self) -> None:
        found = binaries()
        if found is None:
            raise FileNotFoundError("PostgreSQL is not installed: no initdb")
        self._bin = found
        self._as = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        self._folder = Path(tempfile.mkdtemp(prefix="daskcast-pg-"))
        if self._as:
            shutil.chown(self._folder, **self._as)
        self.port = free_port()
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Address of the database, for MLflow."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/mlflow"

    def __enter__(self) -> Self:
        """Start, and make the database."""
        try:
            self._run("initdb", "-D", str(self._folder / "data"), "-U", "postgres", "-A", "trust")
            self.start()
            self._run("createdb", *self._at, "mlflow")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and remove all of it."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        log = (self._folder / "server.log").open("ab")
        call = [self._bin / "postgres", "-D", self._folder / "data", "-k", self._folder]
        call += ["-h", "127.0.0.1", "-p", str(self.port)]
        self._server = subprocess.Popen(
            call, stdout=log, stderr=log, cwd=self._folder, start_new_session=True, **self._as
        )
        log.close()
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            ready = subprocess.run(
                [self._bin / "pg_isready", *self._at], capture_output=True, check=False
            )
            if ready.returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError(f"PostgreSQL did not start in {_START_S} s")

    def stop(self, *, hard: bool = False) -> None:
        """Stop the server; hard is a crash."""
        if self._server is not None and self._server.poll() is None:
            if hard:
                self._server.kill()
            else:  # on SIGTERM it would wait for its clients to go
                self._server.send_signal(signal.SIGINT)
            try:
                self._server.wait(30)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait(30)

    @property
    def _at(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]

    def _run(self, program: str, *args: str) -> None:
        subprocess.run(
            [self._bin / program, *args],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._as,
        )
