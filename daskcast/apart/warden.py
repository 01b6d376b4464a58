"""The process beside a worker that starts runners, watches them, and tells how they ended.

Covers time, memory, deaths, and who is to blame. Does not cover the work (``runner``) or the
worker's side (``caller``).

An entity that was at work when its runner died is worked on again, first in a new runner: only one
that nothing went before is blamed. What takes too long, or most of the memory by itself, is stopped
and not tried again.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, TYPE_CHECKING

import psutil

from daskcast import logs, task
from daskcast.apart import runner
from daskcast.apart.words import Begun, Ended
from daskcast.records import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from daskcast.apart.words import Job

IDLE_S = 60.0
"""A warden without work ends after so long."""

TICK_S = 0.1
"""How often time and memory are looked at."""

N_IDLE = 3
"""Runners of a job that may die while they work on nothing."""

TIMEOUT, MEMORY = "EntityTimeout", "OutOfMemory"

N_STACK = 20_000
"""Characters kept of the stack of a process that died."""

_DUMP_S = 0.2


class _CallerGoneError(Exception):
    """Nobody waits for the results."""


@dataclass(slots=True)
class _Runner:
    """A fork that works on entities in some order.

    Parameters
    ----------
    pid : int
    pipe : Connection
        What it tells.
    first : int
        Position of its first entity: nothing went before that.
    trace : file
        Where its stack is when it died.
    position : int or None
        Of the entity at work.
    since, held : float, int
        When it began with it, and the bytes that the process held then.
    over : Failure or None
        Why it was stopped.
    guilty : bool
        Whether what it was stopped for is the doing of the entity at work alone.
    code : int or None
        How it ended: an exit code, or a negative signal.
    """

    pid: int
    pipe: Connection
    first: int
    trace: IO[bytes]
    position: int | None = None
    since: float = field(default_factory=time.monotonic)
    held: int = 0
    over: Failure | None = None
    guilty: bool = False
    code: int | None = None

    def stack(self) -> str:
        """Give what the process left of its stack."""
        self.trace.seek(0)
        text = self.trace.read().decode(errors="replace").strip()
        return text if len(text) <= N_STACK else f"{text[:N_STACK]} ..."

    def wait(self) -> int:
        """Wait for its end, once: afterwards the number may belong to another process."""
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def close(self) -> None:
        """End it, if it did not end by itself."""
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        self.pipe.close()
        self.trace.close()


def main() -> None:
    """Serve the worker at the other end of the pipe whose number is the argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # reaches the whole group: the driver decides
    caller = Connection(int(sys.argv[1]))
    task.warm_up()
    while caller.poll(IDLE_S):
        try:
            job = pickle.loads(caller.recv_bytes())  # of our own worker, over our own pipe
            for ended in guard(job, caller):
                caller.send(ended)
            caller.send(None)
        except (_CallerGoneError, EOFError, OSError):
            break


def guard(job: Job, caller: Connection) -> Iterator[Ended]:
    """Give the result of each entity of a job, as it comes, whatever becomes of the runners."""
    left = deque(range(len(job.series)))
    n_idle = 0
    while left:
        one = _start(job, tuple(left), caller)
        try:
            for ended in _results(one, job, caller):
                left.remove(ended.position)
                yield ended
            failure = _how_it_ended(one)
            if one.position is None:  # not at work: nobody is to blame
                n_idle += 1
                if left and n_idle >= N_IDLE:
                    raise RuntimeError(f"processes end before they work: {failure.message}")
                continue
            left.remove(one.position)
            if one.guilty or one.position == one.first:
                yield _failed(job, one, failure)
            else:
                left.appendleft(one.position)
        finally:
            one.close()


def _start(job: Job, order: Sequence[int], caller: Connection) -> _Runner:
    pipe, out = Pipe(duplex=False)
    trace = tempfile.TemporaryFile()  # noqa: SIM115 - closed by who gets the runner
    pid = os.fork()
    if pid == 0:
        caller.close()  # else the worker would not notice that the warden is gone
        pipe.close()
        runner.run(job, order, out, trace)
    out.close()
    return _Runner(pid, pipe, order[0], trace)


def _results(one: _Runner, job: Job, caller: Connection) -> Iterator[Ended]:
    """Give results until the runner is through, died, or is stopped."""
    while one.over is None:
        ready = wait([one.pipe, caller], TICK_S)
        if caller in ready:  # it says nothing while it waits: it is gone
            raise _CallerGoneError
        if one.pipe in ready:
            try:
                told = one.pipe.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                return
            if isinstance(told, Begun):
                one.position, one.since = told.position, time.monotonic()
                one.held = _held(one.pid) if job.limits.memory is not None else 0
            else:
                one.position = None
                yield told
        elif _takes_too_much(one, job):
            _ask_for_stack(one)


def _takes_too_much(one: _Runner, job: Job) -> bool:
    """Look at what the entity at work takes; say why it is over, where it is."""
    seconds, memory = job.limits.seconds, job.limits.memory
    spent = time.monotonic() - one.since
    if seconds is not None and one.position is not None and spent > seconds:
        one.guilty = True
        one.over = Failure(
            TIMEOUT,
            f"expected an end within {seconds:g} s (--entity-timeout), found none after "
            f"{spent:.1f} s; give more time, or look where it was: the traceback tells",
        )
    elif memory is not None and (held := _held(one.pid)) > memory:
        one.guilty = held - one.held > memory / 2
        one.over = Failure(
            MEMORY,
            f"expected its process to hold at most {memory / 1e9:.2f} GB, found "
            f"{held / 1e9:.2f} GB; give workers more memory, or look at what the entity makes",
        )
    return one.over is not None


def _held(pid: int) -> int:
    try:
        held: int = psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0
    return held


def _ask_for_stack(one: _Runner) -> None:
    """Let a process write where it is, which compiled code cannot refuse, and end it."""
    os.kill(one.pid, signal.SIGUSR1)
    time.sleep(_DUMP_S)
    os.kill(one.pid, signal.SIGKILL)
    one.wait()


def _how_it_ended(one: _Runner) -> Failure:
    code = one.wait()
    if one.over is not None:
        return one.over
    how = f"ended itself with exit code {code}"
    if code < 0:
        how = f"was ended by signal {-code} ({_signal_name(-code)})"
    return Failure(
        "ProcessDied",
        f"expected a forecast, found that its process {how}, in a new process too; "
        "mend the model or the data, or leave out the entity",
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _failed(job: Job, one: _Runner, failure: Failure) -> Ended:
    assert one.position is not None
    failure = Failure(failure.error_type, failure.message, one.stack())
    stopped_by = "time" if failure.error_type == TIMEOUT else ""
    with logs.capture() as records, logs.bound(**job.names):
        result = task.stopped(
            job.series[one.position],
            failure,
            attempt=job.attempt,
            seconds=time.monotonic() - one.since,
            stopped_by=stopped_by,
        )
    return Ended(one.position, result, records)
