"""Does an image fit: it is started as a driver would be, and tells what it has and reaches.

Covers a DaskJob without workers whose driver tells its versions, and what MLflow answers from
there. It goes where workers would: to their nodes, with all that they are given. Does not cover
what is looked at from here (``check``) or what the driver runs (``probe``).
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskcast.config import RunOptions
from daskcast.errors import DaskcastError, StoppedError
from daskcast.k8s import probe
from daskcast.k8s.answers import RefusedError
from daskcast.k8s.check_mlflow import answer_finding
from daskcast.k8s.finding import Finding
from daskcast.k8s.jobs import Work
from daskcast.k8s.removing import DASKJOBS
from daskcast.k8s.spec import API_VERSION
from daskcast.k8s.submit import Attempt
from daskcast.k8s.surroundings import tracking_uri_of
from daskcast.versions import CLOSE, EXACT, mismatches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from daskcast.k8s.objects import Objects
    from daskcast.kubernetes_options import KubernetesOptions, PodOptions

START_S = 180.0
"""For the operator, the image and a node, where no file says more."""

TELL_S = 120.0
"""For an image that runs, to tell what it has and reaches; it takes a minute at most."""

_CPU, _MEMORY = "100m", "512Mi"


def image_findings(
    api: Objects, options: KubernetesOptions, uri: str, say: Callable[[str], None]
) -> Iterator[Finding]:
    """Start an image, hear what it tells, and remove it.

    Parameters
    ----------
    api : Objects
    options : KubernetesOptions
        With the image.
    uri : str
        Of the MLflow server that is needed; empty for none.
    say : callable
        Takes what a waiting person is told.

    Yields
    ------
    Finding
    """
    image, own = options.image, uri == tracking_uri_of(api.namespace)
    lines: list[str] = []
    said: list[str] = []

    def hear(text: str) -> None:
        said.append(text)
        say(text)

    attempt = Attempt(
        _looking(options, uri, own=own),
        api,
        f"check-{secrets.token_hex(4)}",
        say=hear,
        wait=_Patience(_start_s(options) + TELL_S),
    )
    try:
        code = attempt.follow(lines.append)
    except (DaskcastError, RefusedError) as error:
        told = api.told(error, "look at the image") if isinstance(error, RefusedError) else error
        why = str(told).partition("; the run goes on")[0]  # there is no run
        yield Finding("missing", f"the image {image} does not run: {why}")
    else:
        yield from _told(
            options, uri, lines if code == 0 else [], lines or said[-1:], api.namespace
        )
    yield from _rest(api, attempt.name)


def _told(
    options: KubernetesOptions,
    uri: str,
    lines: Sequence[str],
    words: Sequence[str],
    namespace: str,
) -> Iterator[Finding]:
    """Read what the driver told; ``words`` are what there is where it told nothing."""
    image = str(options.image)
    told = next(filter(None, map(_read, reversed(lines))), None)
    if told is None:
        last = "; ".join(words[-3:]) or "it logged nothing"
        yield Finding("missing", f"the image {image} cannot tell its versions: {last}")
        return
    yield Finding("ok", f"the image {image} runs, by the Dask operator, in {namespace}")
    yield from _fits(image, told["versions"])
    if uri:
        yield answer_finding(uri, told["mlflow"], "from a pod of a driver")


class _Patience:
    """Lets time pass, and ends the waiting once, when there was enough of it."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._until = time.monotonic() + limit_s

    def __call__(self, seconds: float) -> None:
        time.sleep(seconds)
        if time.monotonic() > self._until:
            self._until = float("inf")  # what is removed is waited for all the same
            raise StoppedError(f"its driver did not end within {self._limit_s:g} s")


def _rest(api: Objects, name: str) -> Sequence[Finding]:
    """Remove a DaskJob that is left: of a request whose answer got lost, or of a lost network."""
    try:
        left = api.get(DASKJOBS, name, version=API_VERSION) if name else None
        if left is not None and not left["metadata"].get("deletionTimestamp"):
            api.delete(DASKJOBS, name, version=API_VERSION)
    except RefusedError as refused:
        if refused.passing:
            remove = f"kubectl delete daskjob {name} -n {api.namespace}"
            return [Finding("warning", f"the DaskJob {name} may be left behind: {remove}")]
    return []


def _read(line: str) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) and "versions" in told else None


def _looking(options: KubernetesOptions, uri: str, *, own: bool) -> Work:
    """Give what runs in the place of a run."""
    script = Path(probe.__file__).read_text(encoding="utf-8")
    pods = replace(
        options,
        name=None,
        adaptive=None,
        scheduler=replace(options.scheduler, cpu=_CPU, memory=_MEMORY),
        driver=_where_workers_go(options),
        start_timeout=_start_s(options),
    )
    return Work(
        name="check",
        options=RunOptions(cluster="kubernetes", workers=1, kubernetes=pods, tracking=bool(uri)),
        run_args=("python", "-c", script, uri, *EXACT, *CLOSE),
        n_workers=0,
        alone=True,
        own_mlflow=own,
    )


def _where_workers_go(options: KubernetesOptions) -> PodOptions:
    """Give the driver, on the nodes of the workers where these have any of their own."""
    worker, driver = options.worker, options.driver
    return replace(
        driver,
        cpu=_CPU,
        memory=_MEMORY,
        node_selector=worker.node_selector or driver.node_selector,
        tolerations=worker.tolerations or driver.tolerations,
    )


def _start_s(options: KubernetesOptions) -> float:
    default = type(options)().start_timeout
    return START_S if options.start_timeout == default else options.start_timeout


def _fits(image: str, there: Mapping[str, Any]) -> list[Finding]:
    here = probe.look([*EXACT, *CLOSE])["versions"]
    lacking = [package for package, version in there.items() if version == probe.MISSING]
    found = []
    if lacking:
        told = f"the image {image} has no {', '.join(lacking)}: install daskcast {here['daskcast']}"
        found.append(Finding("missing", f"{told} in it, or build on an image that has it"))
    here, there = ({p: v for p, v in side.items() if p not in lacking} for side in (here, there))
    sides = {"client": {"packages": here}, "scheduler": {"packages": there}, "workers": {}}
    wrong = mismatches({**sides, "workers": {image: {"packages": there}}})
    if wrong:
        found.append(Finding("missing", "\n".join(wrong)))
    if not found:
        told = f"the image has the versions that are here: daskcast {here['daskcast']}"
        found.append(Finding("ok", told))
    return found
