"""Watching a Dask cluster on Kubernetes: while it starts, and beside a run.

Covers asking again and again, how long a trouble may last, the end of a start that is hopeless,
what a waiting person is told, and warnings about pods that go wrong later. Does not cover what is
wrong (``why``) or what to do after a start (``opening``).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from daskcast.errors import ClusterError
from daskcast.k8s.answers import FORBIDDEN, NOT_FOUND, RefusedError
from daskcast.k8s.ending import as_error
from daskcast.k8s.pods import called, component_of, is_leaving, name_of, state_of
from daskcast.k8s.trouble import Seen, Trouble
from daskcast.k8s.why import pull_errors, taken_away, troubles
from daskcast.redact import printable, redact_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from daskcast.k8s.api import Kubernetes
    from daskcast.k8s.pod_logs import PodLogs
    from daskcast.k8s.pods import Object

logger = logging.getLogger(__name__)

EVERY_S = 0.5
"""Between two looks while a cluster starts."""

AROUND_EVERY_S = 2.0
"""Between two looks at events and deployments: in a full namespace there are many."""

BESIDE_EVERY_S = 3.0
BESIDE_PER_POD_S = 0.05
"""Between two looks beside a run, and more of it with each pod."""

SILENCE_S = 20.0
"""How long the API may not answer while a cluster starts."""

WARN_EVERY_S = 60.0
N_LINES = 10


class Watch:
    """Looks at a Dask cluster that starts, and says when there is no hope.

    Parameters
    ----------
    kubernetes : Kubernetes
    cluster : str
        Its name.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        kubernetes: Kubernetes,
        cluster: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kubernetes = kubernetes
        self._clock = clock
        self._seen = Seen(cluster, kubernetes.namespace)
        self._since: dict[tuple[str, str], float] = {}
        self._refused: set[str] = set()
        self._around_at = -float("inf")
        self._answered_at = clock()
        self._told: dict[str, str] = {}
        self._warnings = Warnings(clock)

    def look(self, *, n_connected: int = 0) -> Seen:
        """Ask what there is.

        Raises
        ------
        ClusterError
            Where the API has not answered for too long.
        """
        try:
            self._seen = self._asked(n_connected)
            self._answered_at = self._clock()
        except RefusedError as refused:
            if not refused.passing or self._clock() - self._answered_at > SILENCE_S:
                raise self.refused(refused, "watch the Dask cluster") from refused
            logger.debug("the Kubernetes API did not answer", exc_info=True)
        self._tell(self._seen)
        return self._seen

    def _asked(self, n_connected: int) -> Seen:
        before, kubernetes = self._seen, self._kubernetes
        pods = kubernetes.pods(before.cluster)
        seen = dataclasses.replace(before, pods=pods, n_connected=n_connected)
        if self._clock() - self._around_at > AROUND_EVERY_S:
            self._around_at = self._clock()
            seen = dataclasses.replace(
                seen,
                events=_about(self._optional("events", kubernetes.events), before.cluster),
                deployments=self._optional(
                    "deployments", lambda: kubernetes.deployments(before.cluster)
                ),
                phase=None if pods else self._phase(),
            )
        return dataclasses.replace(
            seen, pull_errors={**(seen.pull_errors or {}), **pull_errors(seen)}
        )

    def _phase(self) -> str:
        found = self._kubernetes.dask_cluster(self._seen.cluster)
        if found is None or found["metadata"].get("deletionTimestamp"):
            raise ClusterError(
                f"the Dask cluster {self._seen.cluster} in namespace {self._seen.namespace} was "
                f"removed while it started",
                may_pass=True,
            )
        return str((found.get("status") or {}).get("phase") or "")

    def _optional(self, what: str, ask: Callable[[], Sequence[Object]]) -> Sequence[Object]:
        """Ask for what not everybody may read; where refused, not again."""
        if what in self._refused:
            return ()
        try:
            return ask()
        except RefusedError as refused:
            if refused.status in (FORBIDDEN, NOT_FOUND):
                self._refused.add(what)
                logger.info("%s may not be read here: reasons may be told less well", what)
            return ()

    def refused(self, refused: RefusedError, doing: str) -> ClusterError:
        """Tell a refusal as what ends a start."""
        where = {"namespace": self._seen.namespace, "server": self._kubernetes.server}
        return as_error(refused, doing=doing, **where)

    # -- the end of a start --------------------------------------------------------------------

    def end_if_hopeless(self, seen: Seen) -> None:
        """End a start that what was seen leaves no hope for.

        Parameters
        ----------
        seen : Seen

        Raises
        ------
        ClusterError
            One sentence for each thing that is wrong, each with the last lines of its log.
        """
        now, found = self._clock(), troubles(seen)
        keys = {(trouble.component, trouble.cause) for trouble in found}
        self._since = {key: self._since.get(key, now) for key in keys}
        lasting = [trouble for trouble in found if self._lasts(trouble, now)]
        hopeless = [trouble for trouble in lasting if trouble.component != "worker"]
        if not hopeless and not seen.n_connected and _no_worker_left(seen, lasting):
            hopeless = lasting
        if hopeless:
            may_pass = all(trouble.may_pass for trouble in hopeless)
            raise ClusterError(*self._sentences(seen, hopeless), may_pass=may_pass)
        known_waits = [trouble for trouble in found if trouble.patience_s == float("inf")]
        for trouble in _one_each(lasting if seen.n_connected else known_waits):
            self._warnings.warn(trouble)

    def _lasts(self, trouble: Trouble, now: float) -> bool:
        return now - self._since[trouble.component, trouble.cause] >= trouble.patience_s

    def sentences(self) -> list[str]:
        """Say all that is wrong at the last look, however short it has been so."""
        return self._sentences(self._seen, troubles(self._seen), with_logs=False)

    def _sentences(
        self, seen: Seen, found: Sequence[Trouble], *, with_logs: bool = True
    ) -> list[str]:
        if any(trouble.cause == "room" for trouble in found):
            nodes = self._optional("nodes", self._kubernetes.nodes) or None
            others = self._optional("pods of all namespaces", self._kubernetes.pods_anywhere)
            seen = dataclasses.replace(seen, nodes=nodes, others=others or None)
            wanted = {(trouble.component, trouble.cause, trouble.pod) for trouble in found}
            again = troubles(seen)
            found = [t for t in again if (t.component, t.cause, t.pod) in wanted]
        numbers = Counter((trouble.component, trouble.cause) for trouble in found)
        told = []
        for trouble in _one_each(found):
            n_more = numbers[trouble.component, trouble.cause] - 1
            so = f" (and {n_more} more likewise)" if n_more else ""
            told.append(trouble.sentence + so + (self._log_of(trouble) if with_logs else ""))
        return told

    def _log_of(self, trouble: Trouble) -> str:
        if not trouble.log:
            return ""
        lines = self._kubernetes.last_lines(
            trouble.pod, trouble.container, N_LINES, previous=trouble.log == "previous"
        )
        if not lines:
            return ""
        safe = [f"    | {printable(redact_text(line))[:500]}" for line in lines]
        return "\n".join(["\n    the last lines of its log:", *safe])

    # -- for a waiting person ------------------------------------------------------------------

    def _tell(self, seen: Seen) -> None:
        states: Counter[str] = Counter()
        for pod in seen.pods:
            state = state_of(pod, seen.events)
            if component_of(pod) == "worker":
                states[state] += not is_leaving(pod)
            elif not is_leaving(pod):
                self._tell_once(name_of(pod), "%s is %s", called(pod), state)
        n_workers = sum(states.values())
        if n_workers:
            how = ", ".join(f"{n} {state}" for state, n in sorted(states.items()) if n)
            text = "workers: %d connected, %d pods (%s)"
            self._tell_once("workers", text, seen.n_connected, n_workers, how)

    def _tell_once(self, what: str, text: str, *values: object) -> None:
        whole = text % values
        if self._told.get(what) != whole:
            self._told[what] = whole
            logger.info(text, *values)


def _about(events: Sequence[Object], cluster: str) -> list[Object]:
    """Leave out what is about other things of the namespace."""
    names = [str((event.get("involvedObject") or {}).get("name", "")) for event in events]
    return [e for e, name in zip(events, names, strict=True) if name.startswith(cluster)]


def _no_worker_left(seen: Seen, lasting: Sequence[Trouble]) -> bool:
    """Tell whether each worker that there is has a trouble that lasts."""
    alive = [p for p in seen.pods if component_of(p) == "worker" and not is_leaving(p)]
    troubled = {trouble.pod for trouble in lasting}
    return bool(lasting) and all(name_of(pod) in troubled for pod in alive)


def _one_each(found: Sequence[Trouble]) -> list[Trouble]:
    """Take the first of each kind."""
    return list({(t.component, t.cause): t for t in reversed(found)}.values())[::-1]


class Warnings:
    """Warns about troubles, at most once a minute about one kind."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at: dict[tuple[str, str], float] = {}

    def warn(self, trouble: Trouble) -> None:
        """Warn, where it was not done lately."""
        key, now = (trouble.component, trouble.cause), self._clock()
        if now - self._at.get(key, -float("inf")) >= WARN_EVERY_S:
            self._at[key] = now
            logger.warning("%s", printable(redact_text(trouble.sentence)))


class Beside:
    """Looks at a cluster that runs: tells logs about its pods, and warns about what goes wrong.

    Parameters
    ----------
    kubernetes : Kubernetes
    cluster : str
    logs : PodLogs
    """

    def __init__(self, kubernetes: Kubernetes, cluster: str, logs: PodLogs) -> None:
        self._kubernetes = kubernetes
        self._cluster = cluster
        self._logs = logs
        self._warnings = Warnings()
        self._known: set[tuple[Any, ...]] = set()
        self._since: dict[tuple[Any, ...], float] = {}
        self._warns = False

    @contextmanager
    def warning(self) -> Iterator[None]:
        """Warn from now on, of what goes wrong from now on."""
        self._warns = True
        try:
            yield
        finally:
            self._warns = False

    async def look_on(self) -> None:
        """Look again and again; nothing of it ends a run."""
        pods: Sequence[Object] = ()
        while True:
            try:
                pods = await self._kubernetes.pods_of(self._cluster)
            except RefusedError:
                logger.debug("the pods could not be listed", exc_info=True)
            else:
                self.take(pods)
            await asyncio.sleep(max(BESIDE_EVERY_S, BESIDE_PER_POD_S * len(pods)))

    def take(self, pods: Sequence[Object]) -> None:
        """Take in what was seen at a look."""
        self._logs.see(pods)
        seen = Seen(self._cluster, self._kubernetes.namespace, pods, n_connected=1)
        found = troubles(seen) + [t for pod in pods if (t := taken_away(pod)) is not None]
        now, restarts = time.monotonic(), {name_of(pod): _n_restarts(pod) for pod in pods}
        keys = {(t.pod, t.cause, restarts.get(t.pod)): t for t in found}
        self._known = self._known & keys.keys() if self._warns else set(keys)
        self._since = {key: self._since.get(key, now) for key in keys}
        for key in keys.keys() - self._known:
            if now - self._since[key] >= min(keys[key].patience_s, WARN_EVERY_S):
                self._known.add(key)
                self._warnings.warn(keys[key])


def _n_restarts(pod: Object) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return sum(int(status.get("restartCount") or 0) for status in statuses)
