"""Sentences about pods, nodes and refusals, from what real clusters say: no cluster is needed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from daskcast.errors import ClusterError
from daskcast.k8s.answers import RefusedError
from daskcast.k8s.pods import state_of
from daskcast.k8s.refused import refusal
from daskcast.k8s.room import quantity
from daskcast.k8s.trouble import Seen, Trouble
from daskcast.k8s.watch import Beside, Watch
from daskcast.k8s.why import pull_errors, taken_away, troubles

Object = dict[str, Any]

IMAGE = "registry.example/daskcast:1"
CONTAINER = {
    "name": "worker",
    "image": IMAGE,
    "args": ["dask", "worker"],
    "resources": {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "4Gi"}},
}


def pod(
    state: Object | None = None,
    *,
    component: str = "worker",
    last: Object | None = None,
    n_restarts: int = 0,
    phase: str = "Pending",
    conditions: list[Object] | None = None,
    **spec: Any,
) -> Object:
    """Give a pod as the API tells it."""
    name = f"c-{component}-x" if component == "scheduler" else "c-default-worker-1-x"
    status: Object = {"phase": phase, "conditions": conditions or []}
    if state is not None:
        told = {"state": state, "lastState": last or {}, "restartCount": n_restarts}
        status["containerStatuses"] = [{"name": component, **told}]
    labels = {"dask.org/component": component, "dask.org/cluster-name": "c"}
    containers = [{**CONTAINER, "name": component}]
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": containers, **({"nodeName": "a"} if state else {}), **spec},
        "status": status,
    }


def waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "Error", message: str = "") -> Object:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def event(about: Object | str, reason: str, message: str, kind: str = "Pod") -> Object:
    name = about if isinstance(about, str) else about["metadata"]["name"]
    involved = {"kind": kind, "name": name}
    normal = reason in ("TriggeredScaleUp", "Nominated", "Pulling", "Pulled")
    told = {"reason": reason, "message": message, "type": "Normal" if normal else "Warning"}
    return {"involvedObject": involved, **told}


def only(*pods: Object, **more: Any) -> Trouble:
    """Give the one trouble of a cluster of some pods."""
    [found] = troubles(Seen("c", "team", pods, **{"n_connected": 1, **more}))
    return found


PULLS = {
    "not found": (
        'failed to pull and unpack image "registry.example/daskcast:1": failed to resolve '
        "reference: registry.example/daskcast:1: not found",
        "mend --image, or push it",
    ),
    "unauthorized": (
        "failed to authorize: failed to fetch anonymous token: unexpected status from GET request "
        "to https://registry.example/token: 401 Unauthorized",
        "--pull-secret NAME",
    ),
    "denied": (
        "pull access denied, repository does not exist or may require authorization: server "
        "message: insufficient_scope: authorization failed",
        "--pull-secret NAME",
    ),
}


# -- images ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "hint"), PULLS.values(), ids=PULLS)
def test_an_image_that_cannot_be_pulled(said: str, hint: str) -> None:
    """The sentence names pod, image, what the registry said, and what to do."""
    first = only(pod(waiting("ErrImagePull", said)))
    then = only(pod(waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}": {said}')))
    for found in (first, then):
        assert found.cause == "image"
        assert "the worker (pod c-default-worker-1-x)" in found.sentence
        assert IMAGE in found.sentence
        assert said[-40:] in found.sentence
        assert hint in found.sentence
    assert first.patience_s > 0, "a first failure may pass"
    assert then.patience_s == 0


def test_what_a_registry_said_is_remembered() -> None:
    """Older nodes replace the registry's words by a back-off: events have them, or an old look."""
    backing_off = pod(waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"'))
    said = f'Failed to pull image "{IMAGE}": rpc error: code = NotFound desc = x: not found'
    assert "x: not found" in only(backing_off, events=[event(backing_off, "Failed", said)]).sentence
    earlier = pull_errors(Seen("c", "team", [pod(waiting("ErrImagePull", "manifest unknown"))]))
    assert "manifest unknown" in only(backing_off, pull_errors=earlier).sentence
    assert pull_errors(Seen("c", "team", [backing_off])) == {}


def test_a_registry_that_is_not_reached_may_come_back() -> None:
    text = f'Back-off pulling image "{IMAGE}": dial tcp: lookup registry.example: no such host'
    found = only(pod(waiting("ImagePullBackOff", text)))
    assert 0 < found.patience_s < 30
    assert "no such host" in found.sentence


def test_a_pull_secret_that_is_missing() -> None:
    private = pod(waiting("ErrImagePull", "401 Unauthorized"), imagePullSecrets=[{"name": "reg"}])
    told = [event(private, "FailedToRetrieveImagePullSecret", "Unable to retrieve some secrets")]
    assert "its pull secret reg is not in namespace team" in only(private, events=told).sentence


def test_the_name_of_an_image_that_is_none() -> None:
    text = "couldn't parse image reference"
    found = only(pod(waiting("InvalidImageName", text), component="scheduler"))
    assert "is not the name of one; mend --image" in found.sentence
    assert found.patience_s == 0


# -- containers that end -----------------------------------------------------------------------


def test_a_crash_loop_tells_code_and_count() -> None:
    found = only(pod(waiting("CrashLoopBackOff"), last=ended(3), n_restarts=2))
    assert found.sentence.endswith("ends with exit code 3, 3 times")
    assert (found.cause, found.log, found.patience_s) == ("crash", "current", 0)


def test_a_first_crash_may_pass() -> None:
    """The kubelet starts a container again at once; the log is then the previous one's."""
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    found = only(pod(running, last=ended(1), n_restarts=1, phase="Running"))
    assert found.log == "previous"
    assert 0 < found.patience_s < 30


@pytest.mark.parametrize(
    ("container", "words"),
    [
        (ended(127), "has no command 'dask'; install daskcast in the image"),
        (
            ended(128, "StartError", 'exec: "dask": executable file not found in $PATH: unknown'),
            "has no command 'dask'",
        ),
        (ended(126), "the command 'dask' of its image registry.example/daskcast:1 may not be"),
        (ended(137), "exit code 137, by the signal KILL (often for want of memory)"),
        (ended(139), "by the signal SEGV"),
        (ended(0, "Completed"), "as if its work were done"),
        (ended(137, "OOMKilled"), "more memory than its limit of 4Gi and was killed; raise --wor"),
    ],
)
def test_how_a_container_ended_is_explained(container: Object, words: str) -> None:
    found = only(pod(waiting("CrashLoopBackOff"), last=container, n_restarts=1))
    assert words in found.sentence
    assert found.patience_s == 0


def test_a_command_that_is_not_found_before_it_runs() -> None:
    """Docker's way to tell it: the container never came to be."""
    text = 'failed to create shim: exec: "dask": executable file not found in $PATH'
    assert "has no command 'dask'" in only(pod(waiting("RunContainerError", text))).sentence


# -- what a container names --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('secret "s3-keys" not found', "needs the secret s3-keys, which is not in namespace team"),
        ('configmap "conf" not found', "needs the config map conf, which is not in namespace team"),
        ("couldn't find key k in Secret team/s3", "needs the key k of the secret s3"),
        (
            "container has runAsNonRoot and image will run as root (pod: ...)",
            "must not run as root, and its image does",
        ),
    ],
)
def test_what_a_container_needs_and_has_not(text: str, words: str) -> None:
    found = only(pod(waiting("CreateContainerConfigError", text)))
    assert words in found.sentence
    assert found.patience_s == 0


def test_a_node_that_has_not_heard_of_a_secret_yet() -> None:
    text = "failed to sync secret cache: timed out waiting for the condition"
    assert only(pod(waiting("CreateContainerConfigError", text))).patience_s > 0


# -- nodes -------------------------------------------------------------------------------------

SAID = (
    "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {gpu: }. "
    "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
)
UNPLACED = pod(
    conditions=[
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": SAID}
    ]
)


def node(name: str, cpu: str = "4", memory: str = "8Gi", **more: Any) -> Object:
    spec = {"taints": more.get("taints"), "unschedulable": more.get("unschedulable")}
    return {
        "metadata": {"name": name, "labels": more.get("labels", {})},
        "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": more.get("pods", "110")}},
    }


def test_no_room_in_the_words_of_the_scheduler() -> None:
    """Who may not read nodes gets what the scheduler said, without its second thoughts."""
    found = only(UNPLACED)
    assert "which asks for 2 cpu and 4Gi: 0/3 nodes are available" in found.sentence
    assert "preemption" not in found.sentence
    assert "--worker-cpu, --worker-memory" in found.sentence
    assert "--toleration KEY=VALUE:EFFECT" in found.sentence
    assert found.patience_s == 20


def test_no_room_node_by_node() -> None:
    """Each node is told with what keeps the pod from it; pods of all namespaces count."""
    busy = pod(waiting("ContainerCreating"))  # 2 cpu and 4Gi on node a
    over = pod(ended(0), phase="Succeeded")
    nodes = [
        node("a", cpu="3500m"),
        node("b", taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]),
        node("c", labels={"pool": "small"}, unschedulable=True),
        node("d", pods="0"),
    ]
    sentence = only(UNPLACED, nodes=nodes, others=[busy, over]).sentence
    assert "a has 1.5 cpu and 4Gi free" in sentence
    assert "b has the taint gpu=yes:NoSchedule" in sentence
    assert "c takes no new pods (cordoned)" in sentence
    assert "d holds 0 pods, as many as it may" in sentence


def test_no_node_has_the_label() -> None:
    affinity = {"key": "spot", "operator": "NotIn", "values": ["yes"]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [affinity]}]}
    wanting = {
        **UNPLACED,
        "spec": {
            **UNPLACED["spec"],
            "nodeSelector": {"pool": "big"},
            "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}
            },
        },
    }
    nodes = [node("a"), node("b", labels={"pool": "big", "spot": "yes"})]
    sentence = only(wanting, nodes=nodes).sentence
    assert "a lacks the label pool=big" in sentence
    assert "b has labels that the pod keeps away from" in sentence
    assert "--node-selector" in sentence


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("TriggeredScaleUp", "pod triggered scale-up: [{group 1->2 (max: 5)}]"),
        ("Nominated", "Pod should schedule on: nodeclaim/default-x7k2q"),
    ],
)
def test_a_node_that_is_being_made_is_waited_for(reason: str, message: str) -> None:
    found = only(UNPLACED, events=[event(UNPLACED, reason, message)])
    assert found.patience_s == float("inf")
    assert "waits for a node that is being made" in found.sentence
    assert message in found.sentence


def test_an_autoscaler_that_makes_no_node_says_so() -> None:
    said = "pod didn't trigger scale-up: 1 max node group size reached"
    found = only(UNPLACED, events=[event(UNPLACED, "NotTriggerScaleUp", said)])
    assert found.patience_s == 20
    assert said in found.sentence


@pytest.mark.parametrize(
    ("text", "number"),
    [("100m", 0.1), ("2", 2), ("16374568Ki", 16374568 * 1024), ("1e3", 1000), (".5", 0.5)],
)
def test_amounts(text: str, number: float) -> None:
    assert quantity(text) == pytest.approx(number)


# -- pods that are not created -----------------------------------------------------------------

QUOTA = (
    'Error creating: pods "c-scheduler-6d-x" is forbidden: exceeded quota: small, requested: '
    "requests.cpu=1, used: requests.cpu=0, limited: requests.cpu=500m"
)
NO_ACCOUNT = (
    'pods "c-default-worker-1-abc-" is forbidden: error looking up service account team/dask: '
    'serviceaccount "dask" not found'
)


def test_a_quota_that_is_exceeded() -> None:
    told = [event("c-scheduler-6d", "FailedCreate", QUOTA, "ReplicaSet")]
    found = only(events=told)
    assert found.component == "scheduler"
    assert "small, requested: requests.cpu=1, used: requests.cpu=0" in found.sentence
    assert "--scheduler-cpu" in found.sentence
    assert troubles(Seen("other", "team", events=told)) == [], "it is not about that cluster"


def test_a_service_account_that_is_missing() -> None:
    """The condition of the deployment tells it too: events need not be readable."""
    labels = {"dask.org/component": "worker"}
    condition = {"type": "ReplicaFailure", "status": "True", "message": NO_ACCOUNT}
    deployment = {
        "metadata": {"name": "c-default-worker-1", "labels": labels},
        "status": {"conditions": [condition]},
    }
    found = only(deployments=[deployment])
    assert found.component == "worker"
    assert "there is no service account dask; create it" in found.sentence
    created = pod(waiting("ContainerCreating"))
    assert troubles(Seen("c", "team", [created], deployments=[deployment])) == []


def test_pod_security_is_named() -> None:
    text = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged'
    told = [event("c-scheduler-6d", "FailedCreate", text, "ReplicaSet")]
    assert "pod security standard restricted:latest" in only(events=told).sentence


def test_an_operator_that_does_not_act() -> None:
    found = only(phase="")
    assert "no Dask operator acts on the Dask cluster c" in found.sentence
    assert found.patience_s == 25
    said = [event("c", "Logging", "Handler failed: no right to create deployments", "DaskCluster")]
    assert "no right to create deployments" in only(phase="Created", events=said).sentence
    assert troubles(Seen("c", "team", phase=None)) == [], "nobody has looked yet"


# -- pods that go, run, or are as they should be -----------------------------------------------


def test_a_pod_that_was_taken_away() -> None:
    target = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
    found = taken_away(pod({"running": {}}, conditions=[{**target, "message": "node is gone"}]))
    assert found is not None
    assert "was taken away from its node (DeletionByTaintManager: node is gone)" in found.sentence
    evicted = pod(phase="Failed")
    evicted["status"]["reason"] = "Evicted"
    assert taken_away(evicted) is not None
    assert troubles(Seen("c", "team", [evicted])) == [], "another one comes in its place"
    assert taken_away(pod({"running": {}})) is None


def test_who_runs_and_is_not_heard_of() -> None:
    """It gets a minute and a half, as imports may be slow where nothing is cached."""
    silent = pod({"running": {}}, phase="Running")
    assert "reach c-scheduler.team, port 8786" in only(silent, n_connected=0).sentence
    assert troubles(Seen("c", "team", [silent], n_connected=1)) == []
    scheduler = pod({"running": {}}, component="scheduler", phase="Running")
    assert "does not answer its health check" in only(scheduler).sentence


def test_the_scheduler_comes_first() -> None:
    pods = [
        pod(waiting("InvalidImageName")),
        pod(waiting("InvalidImageName"), component="scheduler"),
    ]
    found = troubles(Seen("c", "team", pods))
    assert [trouble.component for trouble in found] == ["scheduler", "worker"]


def test_states_that_a_waiting_person_is_told() -> None:
    made = pod(waiting("ContainerCreating"))
    assert state_of(UNPLACED) == "waiting for a node"
    assert state_of(made) == "being made"
    assert state_of(made, [event(made, "Pulling", "Pulling image")]) == "pulling the image"
    ready = {"type": "Ready", "status": "True"}
    assert state_of(pod({"running": {}}, phase="Running", conditions=[ready])) == "ready"


# -- refusals ----------------------------------------------------------------------------------


def told(status: int, text: str) -> str:
    return refusal(status, text, doing="create the Dask cluster c", namespace="team", server="u")


def test_a_right_that_is_missing_comes_with_its_rule() -> None:
    text = (
        'daskclusters.kubernetes.dask.org is forbidden: User "system:serviceaccount:team:ann" '
        'cannot create resource "daskclusters" in API group "kubernetes.dask.org" in the '
        'namespace "team"'
    )
    sentence = told(403, text)
    assert (
        "system:serviceaccount:team:ann may not create daskclusters in namespace team" in sentence
    )
    rule = '- apiGroups: ["kubernetes.dask.org"]\n      resources: ["daskclusters"]\n'
    assert rule in sentence
    assert 'verbs: ["create"]' in sentence
    at_large = 'nodes is forbidden: User "ann" cannot list resource "nodes" in API group "" at the'
    assert "in the whole cluster; a ClusterRole" in told(403, f"{at_large} cluster scope")


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (404, "404 page not found", "helm install --repo https://helm.dask.org"),
        (404, "the server could not find the requested resource", "operator is not installed"),
        (404, 'namespaces "team" not found', "there is no namespace team: create it"),
        (403, "because it is being terminated", "the namespace team is being removed"),
        (403, 'admission webhook "x" denied the request: no', 'webhook "x" denied'),
        (401, "Unauthorized", "may have expired; log in again"),
        (0, "All connection attempts failed", "does not answer (All connection attempts"),
        (-1, "Unable to find valid credentials", "no account for a Kubernetes cluster"),
        (409, 'daskclusters "c" already exists', "the name is taken in namespace team"),
        (422, "spec.worker.replicas: Invalid value", "Kubernetes finds it invalid"),
        (500, "etcdserver: request timed out", "Kubernetes answers 500"),
    ],
)
def test_refusals(status: int, text: str, words: str) -> None:
    assert words in told(status, text)


def test_an_error_without_problems() -> None:
    """It is not told that there are none."""
    assert str(ClusterError()) == "ClusterError, of which nothing is told"


# -- watching, by a clock of our own -----------------------------------------------------------


class Api:
    """Answers what a test says there is."""

    namespace, server = "team", "https://here"

    def __init__(self) -> None:
        self.now = 0.0
        self.there: list[Object] = []
        self.said: list[Object] = []
        self.refuses: dict[str, RefusedError] = {}
        self.asked: list[str] = []

    def _answer(self, what: str, answer: Any) -> Any:
        self.asked.append(what)
        if what in self.refuses:
            raise self.refuses[what]
        return answer

    def pods(self, _: str) -> Any:
        return self._answer("pods", self.there)

    def events(self) -> Any:
        return self._answer("events", self.said)

    def deployments(self, _: str) -> Any:
        return self._answer("deployments", [])

    def dask_cluster(self, name: str) -> Any:
        return self._answer("cluster", {"metadata": {"name": name}, "status": {}})

    def nodes(self) -> Any:
        return self._answer("nodes", [node("a", cpu="1")])

    def pods_anywhere(self) -> Any:
        return self._answer("anywhere", self.there)

    def last_lines(self, *_: Any, **__: Any) -> list[str]:
        return ["\x1b[1mlast", "words to http://me:pw@host"]


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def watch(api: Api) -> Watch:
    return Watch(api, "c", clock=lambda: api.now)  # type: ignore[arg-type]


def look(api: Api, watch: Watch, at_s: float, n_connected: int = 0) -> str:
    """Look at a time; give what ended the start, or nothing."""
    api.now = at_s
    try:
        watch.end_if_hopeless(watch.look(n_connected=n_connected))
    except ClusterError as error:
        return str(error)
    return ""


def named(thing: Object, name: str) -> Object:
    return {**thing, "metadata": {**thing["metadata"], "name": name}}


def test_a_start_ends_when_no_worker_has_hope(api: Api, watch: Watch) -> None:
    """One that is still being made is a hope; then the nodes are told one by one."""
    api.there = [UNPLACED, named(UNPLACED, "other"), named(pod(waiting("ContainerCreating")), "m")]
    assert look(api, watch, 0) == ""
    assert look(api, watch, 100) == ""
    api.there = api.there[:2]
    told = look(api, watch, 101)
    assert "a has 1 cpu and 8Gi free" in told
    assert told.endswith("(and 1 more likewise)")


def test_a_trouble_must_last(api: Api, watch: Watch) -> None:
    api.there = [UNPLACED]
    assert look(api, watch, 0) == ""
    assert look(api, watch, 19) == ""
    api.there = []
    assert look(api, watch, 19.5) == ""
    api.there = [UNPLACED]
    assert look(api, watch, 21) == "", "it is another one"
    assert "no node has room" in look(api, watch, 41)


@pytest.mark.parametrize(
    ("status", "text", "passing"),
    [
        (0, "All connection attempts failed", True),
        (0, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", False),
        (429, "too many", True),
        (500, "etcd", True),
        (-1, "no kubeconfig", False),
        (-2, "a page to log in", False),
        (403, "forbidden", False),
        (409, "taken", False),
    ],
)
def test_which_refusals_may_pass(status: int, text: str, passing: bool) -> None:
    assert RefusedError(status, text).passing == passing


@pytest.mark.parametrize(
    ("there", "may_pass"),
    [
        ([UNPLACED], True),
        ([UNPLACED, named(pod(waiting("InvalidImageName")), "m")], False),
        ([pod(waiting("CrashLoopBackOff"), last=ended(3), n_restarts=1)], False),
    ],
)
def test_a_start_may_do_later_only_where_all_may_pass(
    api: Api, watch: Watch, there: list[Object], may_pass: bool
) -> None:
    api.there = there
    look(api, watch, 0)
    api.now = 100
    with pytest.raises(ClusterError) as caught:
        watch.end_if_hopeless(watch.look())
    assert caught.value.may_pass == may_pass


def test_some_workers_in_trouble_are_a_warning_a_minute(
    api: Api, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    api.there = [pod(waiting("CrashLoopBackOff"), last=ended(3), n_restarts=1)]
    for at_s in (0, 1, 59):
        assert look(api, watch, at_s, n_connected=1) == ""
    assert caplog.text.count("ends with exit code 3") == 1
    look(api, watch, 61, n_connected=1)
    assert caplog.text.count("ends with exit code 3") == 2


def test_the_last_lines_are_told_safely(api: Api, watch: Watch) -> None:
    crashed = pod(waiting("CrashLoopBackOff"), component="scheduler", last=ended(3), n_restarts=1)
    api.there = [crashed]
    head, *lines = look(api, watch, 0, n_connected=3).split("\n")
    assert head.endswith("ends with exit code 3, 2 times")
    assert lines[1:] == ["    | \\x1b[1mlast", "    | words to http://host"]


def test_a_node_that_is_made_is_a_warning(
    api: Api, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    api.there = [UNPLACED]
    api.said = [event(UNPLACED, "TriggeredScaleUp", "pod triggered scale-up")]
    for at_s in range(0, 300, 10):
        assert look(api, watch, at_s) == ""
    assert caplog.text.count("waits for a node that is being made") == 5


def test_the_api_may_be_silent_for_a_while(api: Api, watch: Watch) -> None:
    api.refuses["pods"] = RefusedError(0, "no answer within 10 s")
    assert look(api, watch, 10) == ""
    assert "does not answer (no answer within 10 s)" in look(api, watch, 21)


def test_what_may_not_be_read_is_asked_for_once(api: Api, watch: Watch) -> None:
    api.refuses["events"] = RefusedError(403, "no")
    for at_s in (0, 10, 20):
        look(api, watch, at_s)
    assert api.asked.count("events") == 1
    assert api.asked.count("deployments") == 3


def test_a_right_to_pods_that_is_missing_ends_at_once(api: Api, watch: Watch) -> None:
    text = 'User "ann" cannot list resource "pods" in API group "" in the namespace "team"'
    api.refuses["pods"] = RefusedError(403, text)
    assert 'apiGroups: [""]' in look(api, watch, 0)


def test_beside_a_run_only_news_are_told(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """What was wrong at the start has been told; a new crash is told, and at most once a minute."""
    seen: list[int] = []
    logs = SimpleNamespace(see=lambda pods: seen.append(len(pods)))
    beside = Beside(api, "c", logs)  # type: ignore[arg-type]
    running = {"running": {}}
    old = pod(running, last=ended(3), n_restarts=2, phase="Running")
    beside.take(old_pods := [old, named(pod(running, phase="Running"), "other")])
    with beside.warning():
        beside.take(old_pods)
        assert caplog.text == ""
        crashed = named(pod(waiting("CrashLoopBackOff"), last=ended(4), n_restarts=1), "other")
        for pods in ([old, crashed], [old, crashed], [old, named(crashed, "third")]):
            beside.take(pods)
    assert caplog.text.count("ends with exit code 4") == 1
    assert "ends with exit code 3" not in caplog.text
    assert seen == [2, 2, 2, 2, 2]
