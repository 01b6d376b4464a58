"""A run as a DaskJob, from its creation to its removal.

Covers one attempt of a run: create its DaskJob, or find the one that a predecessor left; follow the
driver's log; tell how it ended; remove it. Does not cover what a DaskJob holds (``jobs``), nor
trying again: that is for the Job around it, or for a person.

The operator removes the cluster when the driver's pod ends, and notices nothing else. So whoever
created a DaskJob watches it, and removes it at each end, a signal too. If that one dies as well,
the DaskJob stays: the next attempt finds it by the name of the run, and with the Job it goes.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from daskcast.errors import ConfigError, StoppedError
from daskcast.k8s.answers import RefusedError
from daskcast.k8s.jobs import OWNER_VARIABLE, RUN_VARIABLE, Work, autoscaler, daskjob, job_name
from daskcast.k8s.manifests import RUN_LABEL, Document, to_yaml
from daskcast.k8s.pods import condition_of, is_leaving, status_of
from daskcast.k8s.spec import API_VERSION
from daskcast.k8s.trouble import Seen
from daskcast.k8s.why import pull_errors, troubles
from daskcast.redact import printable, redact_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daskcast.k8s.objects import Objects

KIND = "daskjobs"
EVERY_S = 1.0
"""Between two looks."""

AROUND_EVERY_S = 5.0
"""Between two looks at events: in a full namespace there are many."""

OPERATOR_S = 70.0
"""How long the operator may fail; it tries again once a minute."""

SILENCE_S = 120.0
"""How long the API may not answer before a run is given up."""

GONE_S = 150.0
"""How long to wait for a driver that was told to end: it keeps what is finished."""

CONTAINER = "driver"
_RUN = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_OWN_CODES = (0, 1, 2, 3)
_NO_COMMAND = (126, 127)
_UNUSABLE, _STOPPED = 2, 3
_CODES = {"Succeeded": 0, "Failed": 137}
"""Of a driver of which nothing else is told."""


def check_run_name(run: str) -> None:
    """Refuse a name that cannot be that of a run.

    Raises
    ------
    ConfigError
    """
    if not _RUN.fullmatch(run):
        raise ConfigError(
            f"run-name must be 63 characters at most, of a to z, 0 to 9 and - within; found {run!r}"
        )


def manifest_text(work: Work, namespace: str, run: str) -> str:
    """Write the DaskJob that would be created."""
    name = job_name(run, secrets.token_hex(3))
    adapting = autoscaler(work, namespace, name=name)
    made = [daskjob(work, namespace, run=run, name=name), *([adapting] if adapting else [])]
    return to_yaml([Document(manifest) for manifest in made])


class Attempt:
    """One attempt of a run.

    Parameters
    ----------
    work : Work
    api : Objects
    run : str
        Its name.
    say : callable
        Takes what a waiting person is told.
    clock, wait : callable
        Seconds, and letting some pass.
    """

    def __init__(
        self,
        work: Work,
        api: Objects,
        run: str,
        *,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._work, self._api, self._run = work, api, run
        self._say, self._clock, self._wait = say, clock, wait
        self.name = ""
        self._seen = Seen("", api.namespace)
        self._around_at = -float("inf")
        self._told: Sequence[Mapping[str, Any]] = ()
        self._since: dict[str, float] = {}
        self._last_time = ""
        self._said: set[str] = set()
        self._ran = False

    # -- one attempt ---------------------------------------------------------------------------

    def begin(self) -> str:
        """Create the DaskJob, or find that of a predecessor that goes on; give its name.

        Raises
        ------
        ClusterError
            Says in one sentence why not.
        """
        found = self._predecessors()
        if found:
            self.name = str(found[0]["metadata"]["name"])
            self._say(f"the run {self._run} goes on as the DaskJob {self.name}: following it")
            return self.name
        self.name = job_name(self._run, secrets.token_hex(3))
        made = _owned(daskjob(self._work, self._api.namespace, run=self._run, name=self.name))
        try:
            job = self._api.make(KIND, made, version=API_VERSION)
        except RefusedError as refused:
            if refused.passing:
                self.remove()  # without an answer, it may be there
            raise self._api.told(refused, f"create the DaskJob {self.name}") from refused
        self._adapt(job)
        self._say(f"created the DaskJob {self.name} in the namespace {self._api.namespace}")
        return self.name

    def follow(self, write: Callable[[str], None]) -> int:
        """Begin, follow until the end, remove.

        Parameters
        ----------
        write : callable
            Takes each line that the driver logs.

        Returns
        -------
        int
            The exit code of the driver.

        Raises
        ------
        ClusterError
            Where the DaskJob cannot be created.
        StoppedError
            Where the driver did not end by itself, or the cluster does not answer.
        """
        try:
            self.begin()
        except KeyboardInterrupt:
            self.remove()  # it may be there all the same
            raise
        try:
            return self._followed(write)
        finally:
            self.remove()

    def remove(self) -> None:
        """Remove the DaskJob and wait for its driver to be gone; as far as that is possible."""
        try:
            self._api.delete(KIND, self.name, version=API_VERSION)
        except RefusedError as refused:
            self._say(str(self._api.told(refused, f"remove the DaskJob {self.name}")))
            return
        until = self._clock() + GONE_S
        with suppress(RefusedError):
            while self._clock() < until and self._api.get("pods", self._pod) is not None:
                self._wait(EVERY_S)

    # -- its parts -----------------------------------------------------------------------------

    @property
    def _pod(self) -> str:
        return f"{self.name}-runner"  # as the operator calls it

    def _predecessors(self) -> list[dict[str, Any]]:
        try:
            found = self._api.all_of(KIND, f"{RUN_LABEL}={self._run}", version=API_VERSION)
        except RefusedError as refused:
            raise self._api.told(refused, f"look for the run {self._run}") from refused
        return [job for job in found if not job["metadata"].get("deletionTimestamp")]

    def _adapt(self, job: Mapping[str, Any]) -> None:
        """Let the workers follow the work, where that is asked for, as long as there is the job."""
        adapting = autoscaler(self._work, self._api.namespace, name=self.name)
        if adapting is None:
            return
        owner = {"apiVersion": API_VERSION, "kind": "DaskJob"}
        owner |= {key: job["metadata"][key] for key in ("name", "uid")}
        try:
            self._api.make("daskautoscalers", _with_owner(adapting, owner), version=API_VERSION)
        except RefusedError as refused:
            self.remove()
            raise self._api.told(refused, "make the cluster adaptive") from refused

    def _followed(self, write: Callable[[str], None]) -> int:
        begun = answered = self._clock()
        there = False
        while True:
            try:
                pod = self._api.get("pods", self._pod)
                if pod is None:
                    self._missed(there=there, begun=begun)
                answered = self._clock()
            except RefusedError as refused:
                if not refused.passing or self._clock() - answered > SILENCE_S:
                    raise StoppedError(str(self._api.told(refused, "watch the run"))) from refused
                self._wait(EVERY_S)
                continue
            if pod is not None:
                there = True
                self._copy_log(pod, write)
                if (code := self._exit_code(pod)) is not None:
                    return code
                self._judge(pod, begun)
            self._wait(EVERY_S)

    def _copy_log(self, pod: Mapping[str, Any], write: Callable[[str], None]) -> None:
        """Write the lines that are new. Each begins with its time, which is ever later."""
        if not _has_begun(pod):
            return
        try:
            lines = self._api.log(self._pod, CONTAINER, since=self._last_time)
        except RefusedError:
            return
        before = self._last_time
        for line in lines:
            at, _, text = line.partition(" ")
            if _nanoseconds(at) > _nanoseconds(before):
                write(text)
                self._last_time = at

    def _exit_code(self, pod: Mapping[str, Any]) -> int | None:
        """Give how the driver ended; None while it goes on.

        Raises
        ------
        StoppedError
            Where it was ended.
        """
        ended = _ended(pod)
        if ended is None:
            if is_leaving(pod):
                raise StoppedError(f"{self._who} was taken away{_why_taken(pod)}; {_GO_ON}")
            return None
        code = int(ended.get("exitCode", _STOPPED))
        if code in _OWN_CODES and not (code == _STOPPED and _is_taken(pod)):
            return code
        reason = f"{ended.get('reason') or 'Error'}, exit code {code}"
        if code in _NO_COMMAND:
            self._say(f"{self._who} did not start ({reason}): its image has no daskcast")
            return _UNUSABLE
        raise StoppedError(f"{self._who} was ended ({reason}{_why_taken(pod)}); {_GO_ON}")

    @property
    def _who(self) -> str:
        return f"the driver (pod {self._pod})"

    def _missed(self, *, there: bool, begun: float) -> None:
        """Judge that there is no driver."""
        if there:
            raise StoppedError(f"{self._who} is gone, its node too perhaps; {_GO_ON}")
        if self._api.get(KIND, self.name, version=API_VERSION) is None:
            raise StoppedError(f"the DaskJob {self.name} was removed by somebody else")
        if failed := self._failure():
            self._tell_once(failed)
            if self._clock() - begun > OPERATOR_S:
                raise StoppedError(failed)
        told = f"nobody makes pods for the DaskJob {self.name}: is the Dask operator there?"
        self._give_up_late(begun, f"{told} See `daskcast k8s check`")

    def _failure(self) -> str:
        """Say what the operator told about the DaskJob, where it failed."""
        events = self._events()
        about = [e for e in events if (e.get("involvedObject") or {}).get("name") == self.name]
        failed = [str(e.get("message")) for e in about if e.get("type") not in (None, "Normal")]
        if not failed:
            return ""
        return f"the Dask operator makes no pods for the DaskJob {self.name}: {failed[-1]}"

    def _judge(self, pod: Mapping[str, Any], begun: float) -> None:
        """Give up on a driver that cannot start; say what it waits for."""
        self._ran = self._ran or status_of(pod).get("phase") == "Running"
        if self._ran:
            return
        self._seen, now, why = self._look(pod), self._clock(), "it is still being made"
        found = troubles(self._seen)
        self._since = {trouble.cause: self._since.get(trouble.cause, now) for trouble in found}
        for trouble in found:
            why = trouble.sentence.replace("the worker (pod", "the driver (pod")
            self._tell_once(why)
            if now - self._since[trouble.cause] >= trouble.patience_s:
                raise StoppedError(why)
        self._give_up_late(begun, why)

    def _look(self, pod: Mapping[str, Any]) -> Seen:
        seen = Seen(self.name, self._api.namespace, pods=[pod], events=self._events())
        told = {**(self._seen.pull_errors or {}), **pull_errors(seen)}
        return replace(seen, pull_errors=told)

    def _events(self) -> Sequence[Mapping[str, Any]]:
        if self._clock() - self._around_at > AROUND_EVERY_S:
            self._around_at = self._clock()
            with suppress(RefusedError):
                self._told = self._api.events()
        return self._told

    def _give_up_late(self, begun: float, why: str) -> None:
        limit = self._work.options.kubernetes.start_timeout
        if self._clock() - begun > limit:
            raise StoppedError(f"{self._who} did not start within {limit:g} s: {why}")

    def _tell_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(printable(redact_text(text)))


_GO_ON = "the run goes on where it stopped when it is submitted again under the same name"


def _nanoseconds(at: str) -> str:
    """Make times comparable: some clocks leave out zeros at the end."""
    seconds, _, rest = at.rstrip("Z").partition(".")
    return f"{seconds}.{rest.ljust(9, '0')}"


def _owned(manifest: dict[str, Any]) -> dict[str, Any]:
    """Let a DaskJob go with the Job that this runs in, if it does."""
    uid, name = os.environ.get(OWNER_VARIABLE), os.environ.get(RUN_VARIABLE)
    if not uid or not name:
        return manifest
    return _with_owner(
        manifest, {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid}
    )


def _with_owner(manifest: dict[str, Any], owner: dict[str, Any]) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [owner]}}


def _status_of_driver(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    for status in status_of(pod).get("containerStatuses") or ():
        if status.get("name") == CONTAINER:
            found: Mapping[str, Any] = status
            return found
    return {}


def _has_begun(pod: Mapping[str, Any]) -> bool:
    state = _status_of_driver(pod).get("state") or {}
    return "running" in state or "terminated" in state


def _ended(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    ended = (_status_of_driver(pod).get("state") or {}).get("terminated")
    if ended is None and status_of(pod).get("phase") in _CODES:
        code = _CODES[status_of(pod)["phase"]]
        return {"reason": status_of(pod).get("reason"), "exitCode": code}
    return ended


def _is_taken(pod: Mapping[str, Any]) -> bool:
    return condition_of(pod, "DisruptionTarget").get("status") == "True"


def _why_taken(pod: Mapping[str, Any]) -> str:
    told = condition_of(pod, "DisruptionTarget")
    words = told.get("message") or status_of(pod).get("message") or ""
    return f": {printable(redact_text(str(words)))}" if words else ""
