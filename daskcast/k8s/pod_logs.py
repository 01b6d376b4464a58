"""What the pods of a Dask cluster log, kept while they come and go: a dead worker's last lines too.

Covers reading again and again what each pod has written since, within bounds, and telling it as
records. Does not cover which pods there are (``watch`` says so) or where records go (``store``).

Lines are asked for in turns rather than followed: a hundred open answers would take all the
connections of the client, and the API's goodwill.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from daskcast.k8s.answers import RefusedError
from daskcast.k8s.pods import component_of, name_of, statuses
from daskcast.logs import LEVELS, Names, redacted_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.k8s.api import Kubernetes
    from daskcast.k8s.pods import Object

logger = logging.getLogger(__name__)

N_LINES = 2_000
"""Kept of a pod."""

N_CHARACTERS = 500_000
"""Kept of a pod, however long its lines are."""

N_PODS = 200
"""Kept at a time; of the dead, those that died first make room."""

EVERY_S = 2.0
PER_POD_S = 0.1
"""Between two turns, and more of it with each pod: a hundred pods are ten requests a second."""

N_AT_ONCE = 8
ANSWER_BYTES = 1_000_000
_TIME = len("2026-01-01T00:00:00")
_TIMED = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?(?= |$)", re.ASCII
)


class PodLogs:
    """The last lines of each pod of a cluster.

    Parameters
    ----------
    kubernetes : Kubernetes
    """

    def __init__(self, kubernetes: Kubernetes) -> None:
        self._kubernetes = kubernetes
        self._lock = threading.Lock()
        self._pods: dict[str, _Pod] = {}
        self._turns = asyncio.Semaphore(N_AT_ONCE)

    def see(self, pods: Sequence[Object]) -> None:
        """Take note of the pods that there are; those that were there are dead.

        Parameters
        ----------
        pods : sequence of mapping
        """
        there = {name_of(pod): pod for pod in pods}
        with self._lock:
            for name in [name for name, kept in self._pods.items() if kept.alive]:
                if name not in there:
                    self._pods[name] = self._pods.pop(name)  # the dead in the order of their end
                    self._pods[name].alive = False
            for name, pod in there.items():
                if name in self._pods or self._make_room():
                    self._pods.setdefault(name, _Pod(name)).take_note(pod)

    def _make_room(self) -> bool:
        """Forget the pod that died first, where all places are taken."""
        if len(self._pods) < N_PODS:
            return True
        dead = next((name for name, kept in self._pods.items() if not kept.alive), None)
        if dead is not None:
            del self._pods[dead]
        return dead is not None

    async def read_on(self) -> None:
        """Read in turns, until it is cancelled."""
        while True:
            await self.read()
            n_alive = sum(kept.alive for kept in self._readable())
            await asyncio.sleep(max(EVERY_S, PER_POD_S * n_alive))

    async def read(self) -> None:
        """Read what each pod has written since."""
        await asyncio.gather(*(self._read(kept) for kept in self._readable()))

    def _readable(self) -> list[_Pod]:
        with self._lock:
            return [kept for kept in self._pods.values() if kept.alive and kept.has_log]

    async def _read(self, kept: _Pod) -> None:
        async with self._turns:
            if kept.n_restarts > kept.n_restarts_read and kept.is_running:
                with suppress(RefusedError):  # nodes do not keep it for long
                    await self._read_one(kept, previous="true")
                kept.begin_again()
            with suppress(RefusedError):  # it may be gone by now, or not begun: the next turn tells
                await self._read_one(kept)

    async def _read_one(self, kept: _Pod, **more: str) -> None:
        full = True
        while full:
            asked = {"container": kept.container, "timestamps": "true", **kept.since(), **more}
            text = await self._kubernetes.log_of(kept.name, limitBytes=ANSWER_BYTES, **asked)
            full = len(text.encode()) >= ANSWER_BYTES
            lines = text.split("\n")
            if full:
                del lines[-1]  # it may be half of one
            with self._lock:
                is_news = kept.add([line for line in lines if line])
                if full and not is_news:
                    full = kept.skip_second()

    def records(self) -> dict[str, list[dict[str, Any]]]:
        """Give what is kept, also after the cluster's end.

        Returns
        -------
        dict of str to list of dict
            By pod, in the order of writing. Each record has ``time`` (ISO-8601, UTC), ``level``,
            ``logger``, ``run``, ``entity``, ``batch``, ``worker``, ``message``, and what else the
            pod gave it; ``worker`` is the pod's name where it gave none, and so is all else of
            lines that are no JSON records. Credentials in URIs are removed.
        """
        with self._lock:
            kept = [(pod.name, list(pod.lines), pod.n_dropped) for pod in self._pods.values()]
        return {name: _records(name, lines, n_dropped) for name, lines, n_dropped in kept}


@dataclass(slots=True)
class _Pod:
    """The lines of one pod, and how far they are read."""

    name: str
    container: str = ""
    alive: bool = True
    has_log: bool = False
    is_running: bool = False
    n_restarts: int = 0
    n_restarts_read: int = 0
    lines: deque[tuple[str, str]] = field(default_factory=deque)
    n_characters: int = 0
    n_dropped: int = 0
    last: str = ""
    n_of_last: int = 0
    n_untimed: int = 0

    def take_note(self, pod: Object) -> None:
        told = statuses(pod)
        names = [str(status.get("name")) for status in told]
        own = component_of(pod)
        self.container = own if own in names else next(iter(names), "")
        status = next((s for s in told if s.get("name") == self.container), {})
        self.n_restarts = int(status.get("restartCount") or 0)
        state = status.get("state") or {}
        self.is_running = "running" in state
        self.has_log = self.n_restarts > 0 or self.is_running or "terminated" in state

    def since(self) -> dict[str, str]:
        """Ask from the second of the last line on: the API knows no shorter time."""
        return {"sinceTime": f"{self.last[:_TIME]}Z"} if self.last else {}

    def add(self, lines: Sequence[str]) -> bool:
        """Take the lines that are new; tell whether there was one."""
        if lines and not _TIMED.match(lines[0]):
            return self._add_untimed(lines)
        n_of_last, n_new = 0, 0
        for line in lines:
            told, _, text = line.partition(" ")
            at = _in_utc(told) or self.last
            if at == self.last and n_of_last < self.n_of_last:
                n_of_last += 1
            elif at >= self.last:
                n_new += 1
                self._keep(at, text)
                self.n_of_last = self.n_of_last + 1 if at == self.last else 1
                n_of_last = n_of_last + 1 if at == self.last else 1
                self.last = at
        return n_new > 0

    def skip_second(self) -> bool:
        """Give the rest of a second up that is more than one answer; tell whether there is one."""
        if not self.last:
            return False
        later = datetime.fromisoformat(self.last[:_TIME]) + timedelta(seconds=1)
        self.last, self.n_of_last = f"{later.isoformat()}.000000000Z", 0
        return True

    def _add_untimed(self, lines: Sequence[str]) -> bool:
        """Take what a node tells that knows no times: always all of it."""
        new, now = lines[self.n_untimed :], datetime.now(UTC).isoformat()
        for line in new:
            self._keep(now, line)
        self.n_untimed = len(lines)
        return bool(new)

    def begin_again(self) -> None:
        """Go on with the log of a container that was started again."""
        self.n_restarts_read, self.n_untimed = self.n_restarts, 0

    def _keep(self, at: str, text: str) -> None:
        text = text[:N_CHARACTERS]
        self.lines.append((at, text))
        self.n_characters += len(text)
        while len(self.lines) > N_LINES or self.n_characters > N_CHARACTERS:
            self.n_characters -= len(self.lines.popleft()[1])
            self.n_dropped += 1


def _records(pod: str, lines: Sequence[tuple[str, str]], n_dropped: int) -> list[dict[str, Any]]:
    found = [_record(pod, at, text) for at, text in lines]
    if n_dropped and found:
        text = f"{n_dropped} lines before this were not kept: only the last ones of a pod are"
        found.insert(0, {**_plain(pod, found[0]["time"], text), "level": "WARNING"})
    return found


def _record(pod: str, at: str, text: str) -> dict[str, Any]:
    plain = _plain(pod, _time(at), text)
    try:
        given = json.loads(text) if text.startswith("{") else None
    except ValueError:
        given = None
    if not isinstance(given, dict) or not isinstance(given.get("message"), str):
        return redacted_record(plain)
    record = {**plain, **{str(key): value for key, value in given.items() if value is not None}}
    record["worker"] = record["worker"] or pod
    if record["level"] not in LEVELS:
        record["level"] = "INFO"
    return redacted_record(record)


def _plain(pod: str, time: str, text: str) -> dict[str, Any]:
    names = Names(worker=pod)._asdict()
    return {"time": time, "level": "INFO", "logger": "", **names, "message": text}


def _in_utc(told: str) -> str:
    """Write a node's time, which may have an offset, so that texts compare; else give nothing."""
    read = _TIMED.match(told)
    if read is None:
        return ""
    second, fraction, offset = read.groups("")
    try:
        at = datetime.fromisoformat(f"{second}{offset or 'Z'}").astimezone(UTC)
    except (ValueError, OverflowError):  # no time of any clock
        return ""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{fraction:0<9.9}Z"


def _time(at: str) -> str:
    """Write a time of the API, which has nanoseconds, as those of our own records."""
    try:
        read = datetime.fromisoformat(at)
    except ValueError:
        read = datetime.now(UTC)
    return read.astimezone(UTC).isoformat(timespec="microseconds")
