"""The other side of a comparison: an environment of its own, and a process that stays warm.

statsforecast needs pandas below 3, so it lives in ``.venv-peers``; ``DASKCAST_PEERS`` names another
environment that has it. A side is a script that answers each line on its standard input with one
line of JSON, so that two sides can take turns on the same machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from common import ONE_THREAD, ROOT

VENV = ROOT / ".venv-peers"
REQUIREMENTS = ("statsforecast>=2", "pandas<3")


def peer_python() -> Path:
    """Give the Python of the peers' environment, made on the first call."""
    given = os.environ.get("DASKCAST_PEERS")
    python = Path(given or VENV) / "bin" / "python"
    if given and not python.exists():
        raise SystemExit(f"DASKCAST_PEERS={given} is no environment: {python} is not there")
    stamp = VENV / "peers.stamp"
    if not given and not stamp.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        stamp.touch()
    return python


class Side:
    """One side of a comparison: a script in a process of its own, warm after its first answer."""

    def __init__(self, script: str, *args: object, python: Path | None = None) -> None:
        call = [str(python or sys.executable), str(ROOT / "bench" / script), *map(str, args)]
        self._process = subprocess.Popen(
            call,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ONE_THREAD,
        )
        self.about = self._answer()

    def ask(self, what: str = "run") -> dict[str, Any]:
        """Have the work done once."""
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise SystemExit(f"{self._process.args} ended with {self._process.wait()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
