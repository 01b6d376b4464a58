"""A run as a DaskJob, from its creation to its removal.

Covers one attempt of a run: create its DaskJob, or find the one that a predecessor left; follow the
driver's log; tell how it ended. Does not cover what a DaskJob holds (``jobs``), reading its driver
(``drivers``) or removing it (``removing``), nor trying again: that is for the Job around it, or for
a person.

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
from daskcast.k8s.acting import makes_no_pods, nobody_acts
from daskcast.k8s.answers import RefusedError
from daskcast.k8s.drivers import (
    CONTAINER,
    ended,
    has_begun,
    is_over,
    is_taken,
    pod_of,
    why_killed,
    why_taken,
)
from daskcast.k8s.jobs import OWNER_VARIABLE, RUN_VARIABLE, Work, autoscaler, daskjob, job_name
from daskcast.k8s.manifests import RUN_LABEL, Document, to_yaml
from daskcast.k8s.pods import is_leaving, name_of, status_of
from daskcast.k8s.removing import DASKJOBS, EVERY_S, Removal
from daskcast.k8s.spec import API_VERSION
from daskcast.k8s.trouble import OPERATOR_S, Seen
from daskcast.k8s.why import pull_errors, troubles
from daskcast.redact import printable, redact_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daskcast.k8s.objects import Objects

AROUND_EVERY_S = 5.0
"""Between two looks at events: in a full namespace there are many."""

FAILING_S = 70.0
"""How long the operator may fail; it tries again once a minute."""

SILENCE_S = 120.0
"""How long the API may not answer before a run is given up."""

_RUN = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_OPERATOR = "operator"
_OWN_CODES = (0, 1, 2, 3)
_NO_COMMAND = (126, 127)
_UNUSABLE, _STOPPED = 2, 3


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
        self._removal = Removal(api, say, clock=clock, wait=wait)
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

        Those of predecessors that have ended are removed before.

        Raises
        ------
        ClusterError
            Says in one sentence why not.
        """
        going, over = self._predecessors()
        if going:
            self.name = going[0]
            self._say(f"the run {self._run} goes on as the DaskJob {self.name}: following it")
            return self.name
        for name in over:
            self._say(f"the run {self._run} has ended as the DaskJob {name}: removing that")
            self._removal(name)
        self.name = job_name(self._run, secrets.token_hex(3))
        made = _owned(daskjob(self._work, self._api.namespace, run=self._run, name=self.name))
        try:
            job = self._api.make(DASKJOBS, made, version=API_VERSION)
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
        """Remove the DaskJob and wait for its driver to be gone; say what is left of it."""
        self._removal(self.name, driver=self._pod)

    # -- its parts -----------------------------------------------------------------------------

    @property
    def _pod(self) -> str:
        return f"{self.name}-runner"  # as the operator calls it

    def _predecessors(self) -> tuple[list[str], list[str]]:
        """Name the DaskJobs of this run: those that go on, and those that have ended."""
        try:
            found = self._api.all_of(DASKJOBS, f"{RUN_LABEL}={self._run}", version=API_VERSION)
            there = [job for job in found if not job["metadata"].get("deletionTimestamp")]
            over = [name_of(job) for job in there if self._is_over(job)]
        except RefusedError as refused:
            raise self._api.told(refused, f"look for the run {self._run}") from refused
        return [name for name in map(name_of, there) if name not in over], over

    def _is_over(self, job: Mapping[str, Any]) -> bool:
        """Tell whether a DaskJob has ended; the operator sees no pod that goes with its node."""
        if is_over(job) or not pod_of(job):
            return is_over(job)
        pod = self._api.get("pods", pod_of(job))
        return pod is None or ended(pod) is not None

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
                self._since.pop(_OPERATOR, None)  # it, too, had no answer
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
        if not has_begun(pod):
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
        end = ended(pod)
        if end is None:
            if is_leaving(pod):
                raise StoppedError(f"{self._who} was taken away{why_taken(pod)}; {_GO_ON}")
            return None
        code = int(end.get("exitCode", _STOPPED))
        if code in _OWN_CODES and not (code == _STOPPED and is_taken(pod)):
            return code
        reason = f"{end.get('reason') or 'Error'}, exit code {code}"
        if code in _NO_COMMAND:
            self._say(f"{self._who} did not start ({reason}): its image has no daskcast")
            return _UNUSABLE
        killed = "" if self._work.alone else why_killed(pod)  # of its own, it has no options
        raise StoppedError(f"{self._who} was ended ({reason}{why_taken(pod)}){killed}; {_GO_ON}")

    @property
    def _who(self) -> str:
        return f"the driver (pod {self._pod})"

    def _missed(self, *, there: bool, begun: float) -> None:
        """Judge that there is no driver."""
        if there:
            raise StoppedError(f"{self._who} is gone, its node too perhaps; {_GO_ON}")
        job = self._api.get(DASKJOBS, self.name, version=API_VERSION)
        if job is None:
            raise StoppedError(f"the DaskJob {self.name} was removed by somebody else")
        what = f"the DaskJob {self.name}"
        if failed := self._failure():
            self._tell_once(failed)
            if self._clock() - begun > FAILING_S:
                raise StoppedError(failed)
        told = makes_no_pods(what, self._api.namespace)
        if not failed and self._lasts(_OPERATOR, OPERATOR_S):
            if not status_of(job).get("jobStatus"):
                raise StoppedError(nobody_acts(what, self._api.namespace))
            self._tell_once(told)
        self._give_up_late(begun, told)

    def _lasts(self, cause: str, limit_s: float) -> bool:
        now = self._clock()
        return now - self._since.setdefault(cause, now) > limit_s

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
            why = trouble.sentence
            self._tell_once(why)
            if now - self._since[trouble.cause] >= trouble.patience_s:
                raise StoppedError(why)
        self._give_up_late(begun, why)

    def _look(self, pod: Mapping[str, Any]) -> Seen:
        seen = Seen(
            self.name, self._api.namespace, [pod], self._events(), like_workers=self._work.alone
        )  # fmt: skip
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
