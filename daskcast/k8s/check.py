"""Is a Kubernetes cluster ready for runs: what is there, what is missing, what to do about it.

Covers the API and its version, the operator and its kinds, what we may do, secrets, MLflow, and an
image, which is started for it. Does not cover a cluster that starts or runs (``watch``).

Only what the rendered roles allow is needed. What may not be seen is said to be so; an image shows
it all the same, as nothing starts without an operator, accounts, secrets and room. It is started
by a DaskJob without workers whose driver tells its versions, and what MLflow answers from there.
That driver goes where workers would: to their nodes, with all that they are given.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from daskcast.config import RunOptions
from daskcast.errors import DaskcastError, StoppedError
from daskcast.k8s import probe
from daskcast.k8s.answers import RefusedError
from daskcast.k8s.jobs import Work
from daskcast.k8s.manifests import MLFLOW, NAME_LABEL
from daskcast.k8s.objects import Objects, connected
from daskcast.k8s.pods import is_ready
from daskcast.k8s.rbac import DASK, USER_RULES
from daskcast.k8s.refused import OPERATOR, rule
from daskcast.k8s.spec import API_VERSION
from daskcast.k8s.submit import KIND, Attempt
from daskcast.k8s.surroundings import tracking_uri_of
from daskcast.redact import printable, redact_text
from daskcast.versions import CLOSE, EXACT, mismatches

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from daskcast.kubernetes_options import KubernetesOptions, PodOptions

OLDEST, NEWEST = (1, 30), (1, 37)
"""Versions of Kubernetes that rendered manifests are checked against."""

START_S = 180.0
"""For the operator, the image and a node, where no file says more."""

TELL_S = 120.0
"""For an image that runs, to tell what it has and reaches; it takes a minute at most."""

_KINDS = ("daskclusters", "daskjobs", "daskworkergroups", "daskautoscalers")
_OPERATOR_LABEL = f"{NAME_LABEL}=dask-kubernetes-operator"
_PULLS = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")
_CPU, _MEMORY = "100m", "512Mi"
_FORBIDDEN, _GOOD, _NO_LOGIN = 403, "200", ("401", "403")
_NO_ROUTE = ("404", "405", "501")  # 403 is of the experiment that was asked about

Level = Literal["ok", "unknown", "warning", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    level : {'ok', 'unknown', 'warning', 'missing'}
    text : str
        What was found, and what to do.
    """

    level: Level
    text: str

    @property
    def line(self) -> str:
        """The finding as it is told."""
        first, *more = redact_text(self.text).split("\n")
        return "\n".join([f"{self.level:<8} {printable(first)}", *map(printable, more)])

    @property
    def well(self) -> bool:
        """Whether nothing is missing."""
        return self.level != "missing"


def findings(
    options: KubernetesOptions,
    *,
    tracking_uri: str | None = None,
    tracking: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Generator[Finding]:
    """Look at a cluster, one thing after the other.

    Parameters
    ----------
    options : KubernetesOptions
        Of the runs that it is meant for. An image is started, as their pods would be.
    tracking_uri : str, optional
        Of an MLflow server that is not the one of the namespace.
    tracking : bool
        Whether MLflow is needed.
    say : callable
        Takes what a waiting person is told.

    Yields
    ------
    Finding
        One alone where the cluster cannot be reached.
    """
    try:
        api = connected(options.namespace)
    except DaskcastError as error:
        yield Finding("missing", str(error))
        return
    with closing(api):
        yield from _tried(api, "look at its version", lambda: [_version(api)])
        yield from _tried(api, "look for the operator", lambda: _operator(api))
        yield from _tried(api, "ask what we may do", lambda: _rights(api))
        yield from _tried(api, "look for secrets", lambda: _secrets(api, options))
        if options.image is not None:
            uri = (tracking_uri or tracking_uri_of(api.namespace)) if tracking else ""
            yield from _image(api, options, uri, say)
        elif tracking:
            yield from _tried(api, "look for MLflow", lambda: [_mlflow(api, tracking_uri)])


def _tried(api: Objects, doing: str, look: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
    try:
        return look()
    except RefusedError as refused:
        return [Finding("missing", str(api.told(refused, doing)))]


# -- the cluster -------------------------------------------------------------------------------


def _version(api: Objects) -> Finding:
    told = api.server_version()
    read = re.match(r"v?(\d+)\.(\d+)", told)
    version = (int(read[1]), int(read[2])) if read else (0, 0)
    at = f"Kubernetes {told} at {api.server}"
    if OLDEST <= version <= NEWEST:
        return Finding("ok", at)
    known = " to ".join(".".join(map(str, end)) for end in (OLDEST, NEWEST))
    return Finding("warning", f"{at}: manifests are checked against {known} alone")


def _operator(api: Objects) -> list[Finding]:
    absent = [kind for kind in _KINDS if kind not in api.kinds(API_VERSION)]
    if absent:
        told = f"the cluster has no {', '.join(absent)}: install the Dask operator: {OPERATOR}"
        return [Finding("missing", told)]
    return [Finding("ok", f"the kinds of the Dask operator: {', '.join(_KINDS)}"), _runs(api)]


def _runs(api: Objects) -> Finding:
    try:
        pods = api.all_of("pods", _OPERATOR_LABEL, everywhere=True)
    except RefusedError as refused:
        if refused.status != _FORBIDDEN:
            raise
        told = "whether the Dask operator runs may not be seen from here: --image IMAGE shows it"
        return Finding("unknown", told)
    ready = [pod for pod in pods if is_ready(pod)]
    if ready:
        meta = ready[0]["metadata"]
        return Finding("ok", f"the Dask operator runs: {meta.get('namespace')}/{meta['name']}")
    if pods:
        meta = pods[0]["metadata"]
        where = f"kubectl logs -n {meta.get('namespace')} {meta['name']}"
        return Finding("missing", f"the Dask operator is there and not ready: see {where}")
    told = "no pod looks like a Dask operator; if none of another name runs: "
    return Finding("missing", told + OPERATOR)


# -- what we may do ----------------------------------------------------------------------------


def _rights(api: Objects) -> list[Finding]:
    found = []
    for group, resources, verbs in USER_RULES:
        for resource in resources:
            lacking = [verb for verb in verbs if not api.may(verb, group, resource)]
            found.append(_right(api.namespace, group, resource, verbs, lacking))
    return found


def _right(
    namespace: str, group: str, resource: str, verbs: Sequence[str], lacking: Sequence[str]
) -> Finding:
    where = f"in the namespace {namespace}"
    if not lacking:
        return Finding("ok", f"may {', '.join(verbs)} {resource} {where}")
    needed = "\n".join(rule(group=group, resource=resource, verb=verb) for verb in lacking)
    return Finding(
        "missing" if group in ("", DASK) else "warning",
        f"may not {', '.join(lacking)} {resource} {where}; `daskcast k8s render --part rbac` has "
        f"the role daskcast, which needs the rule\n{needed}",
    )


def _secrets(api: Objects, options: KubernetesOptions) -> list[Finding]:
    pods = (options.worker, options.driver, options.scheduler)
    names = dict.fromkeys(name for pod in pods for name in pod.secrets)
    pulls = dict.fromkeys(options.pull_secrets)
    return [_secret(api, name) for name in names] + [_secret(api, n, pulls=True) for n in pulls]


def _secret(api: Objects, name: str, *, pulls: bool = False) -> Finding:
    """Look for a secret, whose keys are told; ``pulls`` is one of a registry."""
    try:
        found = api.get("secrets", name)
    except RefusedError as refused:
        if refused.status != _FORBIDDEN:
            raise
        told = f"the secret {name} may not be seen from here, rightly: --image IMAGE shows it"
        return Finding("unknown", told)
    if found is None:
        kind, source = ("docker-registry", "docker-server=HOST --docker-username=USER")
        if not pulls:
            kind, source = ("generic", "from-env-file=FILE")
        create = f"kubectl create secret {kind} {name} -n {api.namespace} --{source}"
        return Finding("missing", f"there is no secret {name}: {create}")
    if pulls and found.get("type") not in _PULLS:
        told = f"the secret {name} is no pull secret: its type is {found.get('type')}, and must be "
        return Finding("missing", f"{told}{_PULLS[0]}: kubectl create secret docker-registry")
    return Finding("ok", f"the secret {name}: {', '.join(found.get('data') or {}) or 'empty'}")


# -- MLflow ------------------------------------------------------------------------------------


def _mlflow(api: Objects, tracking_uri: str | None) -> Finding:
    """Look at MLflow from here: at an address, or at the pods of the namespace's own."""
    if tracking_uri is not None:
        return _answers(tracking_uri, probe.look([], tracking_uri)["mlflow"], "from here")
    pods = api.all_of("pods", f"{NAME_LABEL}={MLFLOW}")
    ready = [str(pod["metadata"]["name"]) for pod in pods if is_ready(pod)]
    if ready:
        return Finding("ok", f"MLflow answers its own probe: {ready[0]}; --image asks from a pod")
    told = f"the pod {pods[0]['metadata']['name']} is not ready" if pods else "there is none"
    more = "`daskcast k8s render --part mlflow` has one; or name another (--tracking-uri)"
    return Finding("missing", f"MLflow in the namespace {api.namespace}: {told}; {more}")


def _answers(uri: str, told: Mapping[str, str], where: str) -> Finding:
    if told["health"] != _GOOD:
        return Finding("missing", f"MLflow at {uri} does not answer {where}: {told['health']}")
    if told["account"] in _NO_LOGIN:
        return Finding(
            "missing",
            f"MLflow at {uri} wants a login ({told['account']}): give MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, to pods by the secret daskcast-mlflow",
        )
    if told["account"] != _GOOD:
        return Finding("missing", f"MLflow at {uri} takes no requests {where}: {told['account']}")
    if told["bulk"] in _NO_ROUTE:
        return Finding(
            "warning",
            f"MLflow at {uri} answers {where}, without the route that takes many runs "
            f"({told['bulk']}): mlflow server --app-name daskcast",
        )
    return Finding("ok", f"MLflow at {uri} answers {where}, and takes many runs in a request")


# -- the image ---------------------------------------------------------------------------------


def _image(
    api: Objects, options: KubernetesOptions, uri: str, say: Callable[[str], None]
) -> Iterator[Finding]:
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
        yield _answers(uri, told["mlflow"], "from a pod of a driver")


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
        left = api.get(KIND, name, version=API_VERSION) if name else None
        if left is not None and not left["metadata"].get("deletionTimestamp"):
            api.delete(KIND, name, version=API_VERSION)
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
