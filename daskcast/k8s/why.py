"""Why pods of a Dask cluster do not run, in one sentence each: plain dicts in, text out.

Covers what the API tells about pods, their containers, events and deployments. Does not cover
nodes without room (``room``), requests that were refused (``refused``), or asking and waiting
(``watch``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from daskcast.k8s.acting import makes_no_pods, nobody_acts
from daskcast.k8s.parts import called, part_of, too_little_memory
from daskcast.k8s.pods import (
    component_of,
    condition_of,
    container_of,
    in_state,
    is_leaving,
    is_ready,
    name_of,
    status_of,
    statuses,
)
from daskcast.k8s.room import no_room
from daskcast.k8s.trouble import AT_ONCE_S, LATER_S, OPERATOR_S, SILENT_S, SOON_S, Seen, Trouble

if TYPE_CHECKING:
    from daskcast.k8s.pods import Component, Object

SCALING = ("TriggeredScaleUp", "Nominated")
"""Reasons of events by which Cluster Autoscaler and Karpenter say that a node is on its way."""

_NO_SCALING = "NotTriggerScaleUp"
_PULL_REASONS = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError")
_NEVER_PULLED = ("InvalidImageName", "ErrImageNeverPull")
_START_REASONS = ("CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun")
_BOX_REASONS = ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "NetworkNotReady")
_BACK_OFF = re.compile(r"Back-off pulling image \S+?:?")
_BEFORE = re.compile(r"(Back-off pulling image \S+: )?(ErrImagePull: )?(rpc error: .*? desc = )?")
_NO_ACCESS = re.compile(
    r"unauthorized|authentication required|denied|forbidden|no basic auth|insufficient_scope"
    r"|\b40[13]\b",
    re.IGNORECASE,
)
_NO_IMAGE = re.compile(r"not found|manifest unknown|\b404\b|no match for platform", re.IGNORECASE)
_MISSING = re.compile(r"(secret|configmap) \"?([\w.-]+)\"? not found", re.IGNORECASE)
_NO_KEY = re.compile(r"couldn't find key (\S+) in (secret|configmap) (?:\S+/)?([\w.-]+)", re.I)
_NO_COMMAND = re.compile(r"executable file not found|no such file or directory", re.IGNORECASE)
_NO_ACCOUNT = re.compile(r"serviceaccounts? \"?([\w.-]+)\"? not found", re.IGNORECASE)
_QUOTA = re.compile(r"(exceeded|failed) quota: (.*)", re.DOTALL)
_SECURITY = re.compile(r"violates PodSecurity \"([^\"]*)\"", re.IGNORECASE)
_SIGNALS = {132: "ILL", 134: "ABRT", 135: "BUS", 137: "KILL", 139: "SEGV", 143: "TERM"}
_NO_SUCH_COMMAND, _NOT_EXECUTABLE, _NOT_STARTED = 127, 126, 128
_KILLED = 137
_LONGEST = 600


def troubles(seen: Seen) -> list[Trouble]:
    """Give all that is wrong with a cluster, the scheduler's first.

    Parameters
    ----------
    seen : Seen

    Returns
    -------
    list of Trouble
        At most one of a pod.
    """
    found = [*_not_acted(seen), *_not_created(seen)]
    for pod in seen.pods:
        if not is_leaving(pod) and (trouble := _of_pod(pod, seen)) is not None:
            found.append(trouble)
    return sorted(found, key=lambda trouble: trouble.component == "worker")


def taken_away(pod: Object) -> Trouble | None:
    """Say why a pod was evicted, where it was."""
    status = status_of(pod)
    target = condition_of(pod, "DisruptionTarget")
    told = target if target.get("status") == "True" else status
    if told is status and not (status.get("phase") == "Failed" and status.get("reason")):
        return None
    reason, text = str(told.get("reason")), _told(told.get("message"))
    sentence = f"{called(pod)} was taken away from its node ({reason}{': ' + text if text else ''})"
    return _trouble("evicted", pod, sentence)


# -- pods that are not even created -------------------------------------------------------------


def _not_acted(seen: Seen) -> list[Trouble]:
    if seen.phase is None or seen.pods or seen.deployments:
        return []
    about = [e for e in seen.events if (e.get("involvedObject") or {}).get("name") == seen.cluster]
    failed = [_told(e.get("message")) for e in about if e.get("type") != "Normal"]
    says = f" ({failed[-1]})" if failed else ""
    what = f"the Dask cluster {seen.cluster}{says}"
    if not seen.phase:
        sentence = nobody_acts(what, seen.namespace)
        return [Trouble("operator", "cluster", sentence, patience_s=OPERATOR_S)]
    sentence = makes_no_pods(what, seen.namespace)
    return [Trouble("operator", "cluster", sentence, patience_s=LATER_S)]


def _not_created(seen: Seen) -> list[Trouble]:
    """Read the failures of deployments from their conditions, or where those say none, events."""
    failed: dict[str, tuple[Component, str]] = {}
    for deployment in seen.deployments:
        condition = condition_of(deployment, "ReplicaFailure")
        if condition.get("status") == "True":
            told = str(condition.get("message"))
            failed[name_of(deployment)] = (component_of(deployment), told)
    for event in seen.events:
        about = event.get("involvedObject") or {}
        name = str(about.get("name", ""))
        made = about.get("kind") in ("ReplicaSet", "Deployment")
        if made and event.get("reason") == "FailedCreate" and _belongs(name, seen.cluster):
            worker = not name.startswith(f"{seen.cluster}-scheduler")
            what: Component = "worker" if worker else "scheduler"
            if not any(name.startswith(known) for known in failed):
                failed[name] = (what, str(event.get("message")))
    names = [name_of(pod) for pod in seen.pods]
    return [
        Trouble(_why_none(text), what, _no_pod(what, text, seen), patience_s=SOON_S)
        for name, (what, text) in failed.items()
        if not any(pod.startswith(f"{name}-") for pod in names)
    ]


def _why_none(text: str) -> str:
    """Tell a quota that is used up, for now, from what nobody but a person changes."""
    read = _QUOTA.search(text)
    return "quota" if read and read[1] == "exceeded" else "create"


def _belongs(name: str, cluster: str) -> bool:
    return name.startswith((f"{cluster}-scheduler", f"{cluster}-default-worker"))


def _no_pod(what: Component, text: str, seen: Seen) -> str:
    no = f"no pod of the {what} can be created in namespace {seen.namespace}"
    if read := _QUOTA.search(text):
        return (
            f"{no}: the quota is {'exceeded' if read[1] == 'exceeded' else 'not met'} "
            f"({_told(read[2])}); ask for less (--{what}-cpu, --{what}-memory, --workers), or let "
            f"the quota be raised"
        )
    if read := _NO_ACCOUNT.search(text):
        return (
            f"{no}: there is no service account {read[1]}; create it (kubectl create "
            f"serviceaccount {read[1]} -n {seen.namespace}) or mend --service-account"
        )
    if read := _SECURITY.search(text):
        return (
            f"{no}: the namespace enforces the pod security standard {read[1]}, which this pod "
            f"does not meet ({_told(text)})"
        )
    return f"{no}: {_told(text)}"


# -- pods that do not get to run ----------------------------------------------------------------


def _of_pod(pod: Object, seen: Seen) -> Trouble | None:
    placed = condition_of(pod, "PodScheduled")
    if placed.get("status") == "False":
        return _not_placed(pod, placed, seen)
    for container, waiting in in_state(pod, "waiting"):
        trouble = _of_waiting(pod, container, waiting, seen)
        if trouble is not None:
            return trouble
    for status in statuses(pod):
        trouble = _of_ended(pod, status)
        if trouble is not None:
            return trouble
    if status_of(pod).get("phase") == "Running":
        return _silent(pod, seen)
    return _not_boxed(pod, seen)


def _not_placed(pod: Object, placed: Object, seen: Seen) -> Trouble:
    own = _events_of(pod, seen)
    part = "worker" if seen.like_workers else part_of(pod)
    sentence = no_room(
        pod, called(pod), part, str(placed.get("message") or ""),
        nodes=seen.nodes, others=seen.others,
    )  # fmt: skip
    coming = [event for event in own if event.get("reason") in SCALING]
    if coming:
        text = _told(coming[-1].get("message"))
        sentence = f"{called(pod)} waits for a node that is being made ({text})"
        return _trouble("room", pod, sentence, float("inf"))
    declined = [event for event in own if event.get("reason") == _NO_SCALING]
    if declined:
        sentence += f"; the autoscaler makes none: {_told(declined[-1].get('message'))}"
    return _trouble("room", pod, sentence, LATER_S)


def _of_waiting(pod: Object, container: Object, waiting: Object, seen: Seen) -> Trouble | None:
    reason, text = str(waiting.get("reason")), str(waiting.get("message") or "")
    if reason in (*_PULL_REASONS, *_NEVER_PULLED):
        return _no_image(pod, container, reason, text, seen)
    if reason == "CreateContainerConfigError":
        # A node that has just met a pod may not have heard of its secrets yet.
        patience = LATER_S if "timed out" in text or "sync" in text else AT_ONCE_S
        return _trouble("config", pod, _no_config(pod, text, seen.namespace), patience)
    if reason in _START_REASONS:
        return _not_started(pod, container, text)
    return None


def _no_image(pod: Object, container: Object, reason: str, text: str, seen: Seen) -> Trouble:
    image = container.get("image")
    if reason == "InvalidImageName":
        sentence = f"{called(pod)} has no image: {image!r} is not the name of one; mend --image"
        return _trouble("image", pod, sentence)
    told = _pull_error(pod, text, seen)
    hint = "mend --image, or push it"
    if _NO_ACCESS.search(told):
        hint = (
            "if the image is private, name a secret of the namespace that may read it: "
            "--pull-secret NAME (kubectl create secret docker-registry NAME ...)"
        )
    if absent := _no_pull_secret(pod, seen):
        hint = absent
    sentence = f"{called(pod)} cannot pull its image {image}: {_told(told) or reason}; {hint}"
    lasting = bool(_NO_ACCESS.search(told) or _NO_IMAGE.search(told))
    failed_twice = reason != "ErrImagePull" and (lasting or reason in _NEVER_PULLED)
    return _trouble("image", pod, sentence, AT_ONCE_S if failed_twice else LATER_S)


def _pull_error(pod: Object, text: str, seen: Seen) -> str:
    """Give what the registry said: of the state, of events, or of an earlier state."""
    if text and not _BACK_OFF.fullmatch(text):
        return _BEFORE.sub("", text, count=1)
    events = [str(event.get("message")) for event in _events_of(pod, seen)]
    failed = [message for message in events if message.startswith("Failed to pull image")]
    return failed[-1] if failed else (seen.pull_errors or {}).get(name_of(pod), "")


def _no_pull_secret(pod: Object, seen: Seen) -> str:
    for event in _events_of(pod, seen):
        if event.get("reason") == "FailedToRetrieveImagePullSecret":
            names = [str(ref["name"]) for ref in pod["spec"].get("imagePullSecrets") or ()]
            return (
                f"its pull secret {', '.join(names)} is not in namespace {seen.namespace}: create "
                f"it (kubectl create secret docker-registry ...) or mend --pull-secret"
            )
    return ""


def _no_config(pod: Object, text: str, namespace: str) -> str:
    who = called(pod)
    if read := _MISSING.search(text):
        kind = "secret" if read[1].lower() == "secret" else "config map"
        create = "secret generic" if kind == "secret" else "configmap"
        option = "--secret" if kind == "secret" else "config_maps"
        return (
            f"{who} needs the {kind} {read[2]}, which is not in namespace {namespace}: create it "
            f"(kubectl create {create} {read[2]} -n {namespace} --from-literal=NAME=VALUE) or mend "
            f"{option}"
        )
    if read := _NO_KEY.search(text):
        return f"{who} needs the key {read[1]} of the {read[2].lower()} {read[3]}, which has none"
    if "runAsNonRoot" in text:
        return (
            f"{who} must not run as root, and its image does ({_told(text)}): give the image a "
            f"numeric user (USER 1000)"
        )
    return f"{who} cannot be made: {_told(text)}"


def _not_started(pod: Object, container: Object, text: str) -> Trouble:
    if _NO_COMMAND.search(text):
        return _trouble("crash", pod, _no_command(pod, container))
    sentence = f"the container of {called(pod)} cannot be started: {_told(text)}"
    return _trouble("crash", pod, sentence, SOON_S)


def _silent(pod: Object, seen: Seen) -> Trouble | None:
    """Say that a pod runs, and that nobody hears of it."""
    who, container = called(pod), str((statuses(pod) or [{}])[-1].get("name", ""))
    if component_of(pod) == "scheduler" and not is_ready(pod):
        text = f"{who} runs, and does not answer its health check"
        return Trouble("silent", "scheduler", text, name_of(pod), container, SILENT_S, "current")
    if part_of(pod) == "worker" and not seen.n_connected:
        text = (
            f"{who} runs, and the scheduler has not heard of it: can it reach "
            f"{seen.cluster}-scheduler.{seen.namespace}, port 8786 (a network policy)?"
        )
        return Trouble("silent", "worker", text, name_of(pod), container, SILENT_S, "current")
    return None


def _not_boxed(pod: Object, seen: Seen) -> Trouble | None:
    for event in reversed(_events_of(pod, seen)):
        if event.get("reason") in _BOX_REASONS:
            sentence = f"{called(pod)} cannot be made: {_told(event.get('message'))}"
            return Trouble("box", component_of(pod), sentence, name_of(pod), patience_s=LATER_S)
    return None


# -- containers that end ------------------------------------------------------------------------


def _of_ended(pod: Object, status: Object) -> Trouble | None:
    """Read how a container ended, now or the last time; one that runs again may hold."""
    state, last = status.get("state") or {}, status.get("lastState") or {}
    ended = state.get("terminated") or last.get("terminated")
    if ended is None:
        return None
    n_restarts = int(status.get("restartCount") or 0)
    code, reason = int(ended.get("exitCode") or 0), str(ended.get("reason") or "")
    backing_off = (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff"
    hopeless = code in (_NO_SUCH_COMMAND, _NOT_EXECUTABLE, _NOT_STARTED) or reason == "OOMKilled"
    at_once = backing_off or hopeless or n_restarts > 1
    container = container_of(pod, status)
    return Trouble(
        "memory" if reason == "OOMKilled" else "crash",
        component_of(pod),
        _ended(pod, container, ended, n_restarts + ("running" not in state)),
        name_of(pod),
        str(status.get("name", "")),
        AT_ONCE_S if at_once else 15.0,
        # Between two tries the API calls the last one current.
        "previous" if "running" in state else "current",
    )


def _ended(pod: Object, container: Object, ended: Object, n_times: int) -> str:
    code, reason = int(ended.get("exitCode") or 0), str(ended.get("reason") or "")
    who = called(pod)
    if reason == "OOMKilled":
        return f"{who} {too_little_memory(pod, container)}"
    told = str(ended.get("message") or "")
    if code == _NO_SUCH_COMMAND or (reason in _START_REASONS and _NO_COMMAND.search(told)):
        return _no_command(pod, container)
    if code == _NOT_EXECUTABLE:
        return (
            f"{who} ends with exit code 126: the command {_command(container)} of its image "
            f"{container.get('image')} may not be executed"
        )
    more = f", {n_times} times" if n_times > 1 else ""
    why = ""
    if code in _SIGNALS:
        why = f", by the signal {_SIGNALS[code]}"
        why += " (often for want of memory)" if code == _KILLED else ""
    elif code == 0:
        why = ", as if its work were done"
    said = f": {_told(told)}" if told else ""
    return f"{who} ends with exit code {code}{why}{more}{said}"


def _no_command(pod: Object, container: Object) -> str:
    return (
        f"{called(pod)} ends with exit code 127: its image {container.get('image')} has no command "
        f"{_command(container)}; install daskcast in the image, with its programs on PATH"
    )


def _command(container: Object) -> str:
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    return repr(words[0]) if words else "of its own"


def _events_of(pod: Object, seen: Seen) -> list[Object]:
    return [
        event
        for event in seen.events
        if (event.get("involvedObject") or {}).get("name") == name_of(pod)
    ]


def _told(text: object) -> str:
    """Fit what another program said into a sentence."""
    words = " ".join(str(text or "").split()).rstrip(".")
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."


def _trouble(cause: str, pod: Object, sentence: str, patience_s: float = AT_ONCE_S) -> Trouble:
    return Trouble(cause, component_of(pod), sentence, name_of(pod), patience_s=patience_s)


def pull_errors(seen: Seen) -> dict[str, str]:
    """Give what registries said that is still to be seen, by pod."""
    found = {}
    for pod in seen.pods:
        for _, waiting in in_state(pod, "waiting"):
            text = str(waiting.get("message") or "")
            if waiting.get("reason") in _PULL_REASONS and not _BACK_OFF.fullmatch(text) and text:
                found[name_of(pod)] = text
    return found
