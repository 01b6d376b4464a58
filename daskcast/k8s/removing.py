"""Removing a DaskJob: asked for until Kubernetes takes it, then waited for until its driver ended.

Covers a Kubernetes that does not answer for now, a second interrupt, and saying what is left. Does
not cover a Dask cluster without a DaskJob (``making``).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from daskcast.k8s.answers import RefusedError
from daskcast.k8s.making import REMOVED_S
from daskcast.k8s.spec import API_VERSION, NAME_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from daskcast.k8s.objects import Objects

DASKJOBS = "daskjobs"
EVERY_S = 1.0
"""Between two tries, and two looks."""

GONE_S = 150.0
"""How long to wait for a driver that was told to end: it keeps what is finished."""


class Removal:
    """Removes DaskJobs, as far as that is possible, and says what is left of them.

    Parameters
    ----------
    api : Objects
    say : callable
        Takes what a waiting person is told.
    clock, wait : callable
        Seconds, and letting some pass.
    """

    def __init__(
        self,
        api: Objects,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api, self._say = api, say
        self._clock, self._wait = clock, wait

    def __call__(self, name: str, *, driver: str = "") -> None:
        """Remove a DaskJob; interrupted, ask once more and wait no longer.

        Parameters
        ----------
        name : str
            Nothing happens without one.
        driver : str, optional
            The pod to wait for.
        """
        if not name:
            return
        try:
            self._removed(name, driver)
        except KeyboardInterrupt:
            self._ask_once_more(name)
            raise

    def _removed(self, name: str, driver: str) -> None:
        ns = self._api.namespace
        refused = self._insist(name)
        if refused is not None:
            self._say(self._all_left(name, self._told(refused, name)))
            return
        if driver and not self._is_gone(driver):
            self._say(
                f"the DaskJob {name} is removed, and its driver may be left: see `kubectl get pod "
                f"{driver} -n {ns}`"
            )

    def _is_gone(self, driver: str) -> bool:
        until = self._clock() + GONE_S
        while self._clock() < until:
            try:
                if self._api.get("pods", driver) is None:
                    return True
            except RefusedError as refused:
                if not refused.passing:
                    return False
            self._wait(EVERY_S)
        return False

    def _insist(self, name: str) -> RefusedError | None:
        """Ask until it is done, or refused for good or for too long; give the refusal."""
        until = self._clock() + REMOVED_S
        while True:
            try:
                self._delete(name)
            except RefusedError as refused:
                if not refused.passing or self._clock() >= until:
                    return refused
            else:
                return None
            self._wait(EVERY_S)

    def _ask_once_more(self, name: str) -> None:
        left = self._all_left(name, "the removal was interrupted")
        try:
            self._delete(name)
            left = (
                f"the DaskJob {name} is removed, and its pods are going: see `kubectl get pods -n "
                f"{self._api.namespace} -l {NAME_LABEL}={name}`"
            )
        except RefusedError as refused:
            left = self._all_left(name, self._told(refused, name))
        finally:
            self._say(left)

    def _delete(self, name: str) -> None:
        self._api.delete(DASKJOBS, name, version=API_VERSION)

    def _told(self, refused: RefusedError, name: str) -> str:
        return str(self._api.told(refused, f"remove the DaskJob {name}"))

    def _all_left(self, name: str, why: str) -> str:
        ns = self._api.namespace
        return (
            f"the DaskJob {name} in namespace {ns} may run on, with all its workers: remove it "
            f"with `kubectl delete daskjob {name} -n {ns}`; {why}"
        )
