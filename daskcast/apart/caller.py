"""The worker's side: entities handed to a warden, results taken back.

Covers wardens as processes: started when one is needed, kept for the next batch, replaced when one
is lost. Does not cover what a warden does (``warden``).
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING

import cloudpickle

from daskcast import logs
from daskcast.apart.words import Job, Limits
from daskcast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daskcast.apart.words import Ended
    from daskcast.records import EntityResult, Kept, Series
    from daskcast.settings import TaskSettings

logger = logging.getLogger(__name__)

N_LOST = 3
"""Wardens that may be lost one after another without a single result between them."""


def run_apart(
    batch: Sequence[Series],
    settings: TaskSettings,
    attempt: int = 1,
    kept: Mapping[str, Kept] | None = None,
    limits: Limits | None = None,
) -> list[EntityResult]:
    """Forecast the entities of a batch in a process of their own.

    Parameters
    ----------
    batch : sequence of Series
    settings : TaskSettings
    attempt : int
    kept : mapping of str to Kept, optional
    limits : Limits, optional

    Returns
    -------
    list of EntityResult
        As :func:`daskcast.task.run_batch` gives them, to the bit; an entity that ends its process,
        or takes more than it may, is ``failed`` with what is known of it.

    Raises
    ------
    ConfigError
        Where the system has no forks.
    RuntimeError
        Where the process that watches over the entities is lost again and again.
    """
    if not hasattr(os, "fork"):
        raise ConfigError(
            "entities are worked on apart, as --entity-timeout asks, on Linux and macOS only; "
            "leave out --entity-timeout here"
        )
    now = logs.current()
    names = {"run": now.run, "batch": now.batch}
    job = Job(tuple(batch), settings, attempt, kept or {}, limits or Limits(), names)
    found: dict[int, EntityResult] = {}
    left, n_lost = list(range(len(batch))), 0
    while left:
        lost = _Errand(replace(job, series=tuple(batch[i] for i in left)), left).go(found)
        n_lost = 1 if any(i in found for i in left) else n_lost + 1
        left = [i for i in left if i not in found]
        if left and n_lost >= N_LOST:
            raise RuntimeError(
                f"the process that watches over entities was lost {n_lost} times in a row "
                f"({lost}); {len(left)} entities of this batch have no result"
            )
    return [found[i] for i in range(len(batch))]


class _Errand:
    """One job, given to one warden."""

    def __init__(self, job: Job, positions: Sequence[int]) -> None:
        self._job = job
        self._positions = positions

    def go(self, found: dict[int, EntityResult]) -> str:
        """Collect results until all are there or the warden is lost; say how it was lost."""
        warden = _take()
        try:
            warden.pipe.send_bytes(cloudpickle.dumps(self._job))
            told: Ended | None
            while (told := warden.pipe.recv()) is not None:
                logs.adopt(told.records)
                found[self._positions[told.position]] = told.result
        except (EOFError, OSError) as error:
            how = f"exit code {warden.end()}, {type(error).__name__}"
            logger.warning("the process that watches over entities was lost: %s", how)
            return how
        except BaseException:
            warden.end()
            raise
        _idle.append(warden)
        return ""


#: The signal of the parent's death comes first: the imports after it take seconds.
_START = """
import ctypes, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
from daskcast.apart.warden import main
main()
"""


class _Warden:
    """A warden's process, and the pipe to it."""

    def __init__(self) -> None:
        self.pipe, theirs = Pipe()
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **_NO_THREADS, "PYTHONPATH": paths},
        )
        theirs.close()

    @property
    def lives(self) -> bool:
        """Whether it is there; one without work ends after a while."""
        return self._process.poll() is None

    def end(self) -> int | None:
        """End it; give its exit code, where it had one before."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)  # a pipe closes a moment before its process is gone
        code = self._process.poll()
        self.pipe.close()
        self._process.kill()
        self._process.wait()
        return code


#: A fork of a process with threads is not safe: the libraries must not start any.
_NO_THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
_idle: list[_Warden] = []
_lock = threading.Lock()


def _take() -> _Warden:
    """Give a warden that waits for work, or start one."""
    with _lock:
        while _idle:
            warden = _idle.pop()
            if warden.lives:
                return warden
            warden.end()
    return _Warden()
