"""The process that works on entities, one after another, until it is through or dies.

Covers what happens in a fork of the warden. Does not cover watching it (``warden``).
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from daskcast import logs, task
from daskcast.apart.words import Begun, Ended
from daskcast.blas import blas_at_one

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from typing import NoReturn

    from daskcast.apart.words import Job

_PR_SET_PDEATHSIG = 1
_FIRST_TO_GO = "1000"
_FAULT = 70


def run(job: Job, order: Sequence[int], out: Connection, trace: IO[bytes]) -> NoReturn:
    """Work on entities in some order, tell each beginning and each result; never returns.

    Parameters
    ----------
    job : Job
    order : sequence of int
        Positions in ``job.series``.
    out : Connection
    trace : file
        Where Python's stack is written when this process dies of a signal, or is asked for it.
    """
    _become_expendable()
    faulthandler.enable(trace)
    faulthandler.register(signal.SIGUSR1, trace, all_threads=True)
    code = _FAULT
    try:
        with blas_at_one():
            for position in order:
                out.send(Begun(position))
                out.send(_ended(job, position))
        code = 0
    except BrokenPipeError:  # the warden is gone: nobody waits for this
        pass
    except BaseException:  # noqa: BLE001 - this process ends here, with its reason where it is seen
        trace.write(traceback.format_exc().encode())
    finally:
        trace.flush()
        os._exit(code)


def _ended(job: Job, position: int) -> Ended:
    series = job.series[position]
    with logs.capture() as records, logs.bound(**job.names):
        kept = job.kept.get(series.unique_id)
        result = task.run_entity(series, job.settings, job.attempt, kept)
    return Ended(position, result, records)


def _become_expendable() -> None:
    """Die with the warden, and before all others where the system runs out of memory."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")
