"""A model that ends its process, or never ends, when the first two values of a series say so."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

CODES = {"segfault": 4.5, "exit": 5.5, "kill": 6.5, "memory": 7.5, "endless": 8.5, "once": 9.5}
CODES |= {"ill": 10.5, "quits": 11.5, "held": 12.5}
#: how many parts of 4 MB ``memory`` holds in the end
HELD = 600
#: the file that tells whether ``once`` was there before
SEEN = "DASKCAST_TESTS_SEEN"
#: the file without which ``ill`` and ``quits`` do no harm, and for whose end ``held`` waits
ILL = "DASKCAST_TESTS_ILL"


class Poison:
    """Forecasts the mean, unless it is told to do harm."""

    def __init__(self, ill: str = "") -> None:
        self.ill = ill

    def fit(self, y: Any) -> Poison:
        """Do what the ratio of the first two values says."""
        self.mean = float(np.mean(y))
        acts = [name for name, code in CODES.items() if abs(y[0] / y[1] - code) < 1e-9]
        for name in acts:
            self.act(name)
        return self

    def act(self, name: str) -> None:
        """Do harm."""
        if name == "segfault":
            ctypes.string_at(0)
        elif name == "exit":
            os._exit(3)
        elif name == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif name == "memory":
            fill()
        elif name == "endless":
            while True:
                pass
        elif name == "once":
            seen = Path(os.environ[SEEN])
            if not seen.exists():
                seen.touch()
                os._exit(4)
        elif Path(self.ill or os.environ[ILL]).exists():
            fall_ill(name, Path(self.ill or os.environ[ILL]))

    def predict(self, h: int) -> Any:
        """Repeat the mean."""
        return np.full(h, self.mean)


def fill() -> None:
    """Fill the memory, slowly and not without end: who watches it may be late."""
    held = []
    while True:
        if len(held) < HELD:
            held.append(np.ones(500_000))
        time.sleep(0.005)


def fall_ill(how: str, while_there: Path) -> None:
    """Do what passes."""
    if how == "held":
        while while_there.exists():
            time.sleep(0.05)
        return
    raise RuntimeError("ill") if how == "ill" else SystemExit("quits")


def values(act: str | None, n: int = 60, level: float = 100.0) -> Any:
    """Make a seasonal series that tells the model what to do."""
    y = level + 10 * np.sin(np.arange(n) * np.pi / 6) + np.arange(n) % 5
    if act is not None:
        y[0] = CODES[act] * y[1]
    return y
