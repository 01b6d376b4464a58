"""Tests that the little cluster is true: what real clients, Dask and its operator meet on it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kr8s
import pytest
import yaml
from dask_kubernetes.operator import KubeCluster, make_cluster_spec
from distributed import Client
from little_kubernetes import ApiError, Cluster, Image, wait_until
from little_kubernetes.dask_operator import install_kinds

Object = dict[str, Any]

HERE = Path(sys.executable).parent

ROLE = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: analyst}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: analyst}
rules:
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters, daskworkergroups, daskautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- {apiGroups: [""], resources: [pods, pods/log, services], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [pods/portforward], verbs: [get, create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: analyst}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: analyst}
subjects: [{kind: ServiceAccount, name: analyst}]
"""


def pod(name: str, *command: str, policy: str = "Never", **container: Any) -> Object:
    spec = {"name": "main", "image": "daskcast:test", "command": list(command), **container}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"restartPolicy": policy, "containers": [spec]},
    }


def job(name: str, *command: str, **spec: Any) -> Object:
    template = {"spec": pod(name, *command)["spec"]}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}}
    return body | {"spec": {"template": template, **spec}}


def dask_spec(name: str, n_workers: int) -> Object:
    """Give a Dask cluster with the commands that distributed has today."""
    spec = make_cluster_spec(
        name, image="daskcast:test", n_workers=n_workers, worker_command="dask worker"
    )
    spec["spec"]["scheduler"]["spec"]["containers"][0]["args"][:1] = ["dask", "scheduler"]
    return spec


@contextmanager
def dask_cluster(namespace: str, spec: Object) -> Iterator[tuple[KubeCluster, Client]]:
    options = {"port_forward_cluster_ip": True, "resource_timeout": 30, "quiet": True}
    with (
        KubeCluster(custom_cluster_spec=spec, namespace=namespace, **options) as cluster,
        Client(cluster) as client,
    ):
        yield cluster, client


def state(kubernetes: Cluster, namespace: str, name: str) -> Object:
    """Give the state of the first container of a pod, empty before there is one."""
    found = kubernetes.get("pods", namespace, name) or {}
    statuses = found.get("status", {}).get("containerStatuses") or [{}]
    return statuses[0].get("state", {})


def end(kubernetes: Cluster, namespace: str, name: str) -> Object:
    """Wait until a container has ended; tell how."""
    return wait_until(lambda: state(kubernetes, namespace, name).get("terminated"))


def wait_for_reason(kubernetes: Cluster, namespace: str, name: str, reason: str) -> str:
    """Wait until a container waits for a reason; give its message."""

    def message() -> str | None:
        waiting = state(kubernetes, namespace, name).get("waiting", {})
        return waiting.get("message", "-") if waiting.get("reason") == reason else None

    return wait_until(message)


@pytest.fixture(scope="module")
def bare() -> Iterator[Cluster]:
    """Give a cluster without the operator, for what does not need it."""
    with Cluster({"a": {"cpu": "2", "memory": "4Gi"}}, watch_delay=0) as cluster:
        install_kinds(cluster)
        cluster.image("daskcast:test", Image([str(HERE)]))
        yield cluster


@pytest.fixture
def space(bare: Cluster) -> Iterator[str]:
    name = f"space-{time.monotonic_ns()}"
    bare.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    bare.end_namespace(name, 30)


# -- Dask and its operator ---------------------------------------------------------------------


@pytest.mark.long
def test_dask_cluster_computes_on_two_workers(kubernetes, namespace):
    """A Dask cluster comes up through port-forward, scales, computes, and leaves no pod."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "word"}}
    kubernetes.apply(secret | {"stringData": {"key": "opensesame"}}, namespace)
    spec = dask_spec("sum", 1)
    source = {"valueFrom": {"secretKeyRef": {"name": "word", "key": "key"}}}
    spec["spec"]["worker"]["spec"]["containers"][0]["env"] = [{"name": "WORD", **source}]

    def who(number):
        return number**2, os.environ["DASK_WORKER_NAME"], os.environ["WORD"]

    with dask_cluster(namespace, spec) as (cluster, client):
        cluster.scale(2)
        client.wait_for_workers(2, timeout=60)
        squares, names, words = zip(*client.gather(client.map(who, range(20))), strict=True)
        assert sum(squares) == 2470
        assert len(set(names)) == 2
        assert set(words) == {"opensesame"}
        addresses = {w.split(":")[1] for w in client.scheduler_info()["workers"]}
        assert len(addresses) == 2, "each worker has the address of its pod"
        assert all("distributed" in str(log) for log in cluster.get_logs().values())
    wait_until(lambda: not kubernetes.pods(namespace))
    parts = {request.resource for request in kubernetes.requests}
    assert {"pods/portforward", "pods/log"} <= parts


def test_schema_refuses_a_word_for_a_number(bare, space):
    spec = dask_spec("bad", 1)
    spec["spec"]["worker"]["replicas"] = "two"
    with pytest.raises(ApiError, match=r"422.*spec\.worker\.replicas") as refusal:
        bare.apply(spec, space)
    assert refusal.value.code == 422


def test_schema_prunes_and_fills_in(bare, space):
    spec = dask_spec("pruned", 0) | {"extra": 1}
    spec["spec"]["scheduler"]["spec"]["containers"][0]["ports"][0].pop("protocol", None)
    spec["spec"]["worker"]["spec"]["containers"][0]["imagePullSecret"] = "typo"
    [kept] = bare.apply(spec, space)
    assert "extra" not in kept
    assert "imagePullSecret" not in kept["spec"]["worker"]["spec"]["containers"][0]
    ports = kept["spec"]["scheduler"]["spec"]["containers"][0]["ports"]
    assert ports[0]["protocol"] == "TCP"


# -- the API server ----------------------------------------------------------------------------


def test_watch_with_selectors(bare, space):
    """An object that comes to match is added, one that ceases to match is deleted."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}
    seen = []

    async def watch():
        api = await kr8s.asyncio.api(kubeconfig=str(bare.kubeconfig))
        events = api.async_watch("configmaps", namespace=space, label_selector="on=yes")
        async for kind, obj in events:
            seen.append((kind, obj.name))
            if kind == "DELETED":
                return

    def change():
        for value in ("no", "yes", "yes", "no"):
            labels = {"labels": {"on": value, "time": str(time.monotonic_ns())}}
            bare.apply(config | {"metadata": config["metadata"] | labels}, space)

    async def both():
        task = asyncio.create_task(watch())
        await asyncio.to_thread(
            wait_until,
            lambda: any(r.verb == "watch" and r.namespace == space for r in bare.requests),
        )
        await asyncio.to_thread(change)
        await asyncio.wait_for(task, 30)

    asyncio.run(both())
    assert seen == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]


def test_optimistic_locking(bare, space):
    [old] = bare.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}, space)
    bare.patch("configmaps", space, "x", {"data": {"a": "1"}})
    stale = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}}
    with pytest.raises(ApiError, match="409 Conflict"):
        bare.patch("configmaps", space, "x", stale | {"data": {"a": "2"}})


def test_garbage_and_finalizers(bare, space):
    """What is owned goes with its owner; a finalizer holds an object until it is taken away."""
    config = {"apiVersion": "v1", "kind": "ConfigMap"}
    [owner] = bare.apply(config | {"metadata": {"name": "owner"}}, space)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner"}
    reference |= {"uid": owner["metadata"]["uid"]}
    for name, more in (("free", {}), ("held", {"finalizers": ["a.test/b"]})):
        meta = {"name": name, "ownerReferences": [reference], **more}
        bare.apply(config | {"metadata": meta}, space)
    bare.delete("configmaps", space, "owner")
    assert bare.get("configmaps", space, "free") is None
    assert "deletionTimestamp" in bare.get("configmaps", space, "held")["metadata"]
    bare.patch("configmaps", space, "held", {"metadata": {"finalizers": None}})
    assert bare.get("configmaps", space, "held") is None


def test_kubectl_applies_reads_and_asks(bare, space):
    text = yaml.safe_dump(pod("told", "sh", "-c", "echo one; echo two"))
    bare.kubectl("apply", "--validate=false", "-n", space, "-f", "-", stdin=text)
    end(bare, space, "told")
    assert bare.kubectl("logs", "-n", space, "told", "--tail=1") == "two\n"
    assert '"major": "1"' in bare.kubectl("version", "-o", "json")


def test_access_review(bare, space):
    """Anyone may ask what it may do."""
    bare.apply(ROLE, space)

    async def ask(verb, resource):
        api = await kr8s.asyncio.api(kubeconfig=str(bare.user_kubeconfig(space, "analyst")))
        attributes = {"namespace": space, "verb": verb, "resource": resource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = {"version": "authorization.k8s.io/v1", "url": "selfsubjectaccessreviews"}
        async with api.call_api("POST", **path, json=review) as answer:
            return answer.json()["status"]["allowed"]

    assert asyncio.run(ask("list", "pods"))
    assert not asyncio.run(ask("delete", "pods"))


# -- pods --------------------------------------------------------------------------------------


def test_memory_above_the_limit_ends_a_container(bare, space):
    code = "import time; x = bytearray(150 * 2**20); time.sleep(60)"
    limits = {"limits": {"memory": "100Mi"}}
    bare.apply(pod("big", sys.executable, "-c", code, resources=limits), space)
    ended = end(bare, space, "big")
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_reasons_why_a_pod_does_not_start(bare, space):
    env = [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}}]
    pods = [
        pod("image", "true", image="nobody/has:it"),
        pod("name", "true", image="Not An Image"),
        pod("secret", "true", env=env),
        pod("command", "no-such-command", policy="Always"),
        pod("cpu", "true", resources={"requests": {"cpu": "3"}}),
    ]
    bare.apply(pods, space)
    wait_for_reason(bare, space, "image", "ImagePullBackOff")
    wait_for_reason(bare, space, "name", "InvalidImageName")
    message = wait_for_reason(bare, space, "secret", "CreateContainerConfigError")
    assert message == 'secret "none" not found'
    wait_for_reason(bare, space, "command", "CrashLoopBackOff")
    [told] = bare.events(space, "FailedScheduling")
    assert told["message"].startswith("0/1 nodes are available: 1 Insufficient cpu. ")
    assert {e["involvedObject"]["name"] for e in bare.events(space, "BackOff")} >= {"image"}


def test_environment_of_a_container(bare, space, monkeypatch):
    """It has what its spec says, from where it says, and nothing of the tests' own."""
    monkeypatch.setenv("OF_THE_TESTS", "1")
    bare.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "config"},
            "data": {"run.yaml": "h: 3"},
        },
        space,
    )
    field = {"fieldRef": {"fieldPath": "metadata.labels['app']"}}
    env = [
        {"name": "APP", "valueFrom": field},
        {"name": "BOTH", "value": "$(APP)-$(NONE)-$$(APP)"},
        {"name": "KUBECONFIG_", "value": "none"},
    ]
    mounts = [{"name": "config", "mountPath": "/etc/run"}, {"name": "tmp", "mountPath": "/tmp"}]
    script = 'cat /etc/run/run.yaml; echo " $BOTH"; env'
    body = pod("env", "sh", "-c", script, env=env, volumeMounts=mounts)
    body["spec"] |= {
        "automountServiceAccountToken": False,
        "volumes": [
            {"name": "config", "configMap": {"name": "config"}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    bare.apply(body, space)
    end(bare, space, "env")
    log = bare.logs(space, "env")
    assert log.startswith("h: 3 env-$(NONE)-$(APP)\n")
    assert "TMPDIR=" in log
    assert "OF_THE_TESTS" not in log
    assert "KUBECONFIG=" not in log


def test_restarts_keep_the_previous_log(bare, space):
    script = "echo $$; exec sleep 60"
    bare.apply(pod("again", "sh", "-c", script, policy="Always"), space)
    wait_until(lambda: "running" in state(bare, space, "again") and bare.logs(space, "again"))
    first = bare.logs(space, "again")
    bare.kill_pod(space, "again")
    wait_for_reason(bare, space, "again", "CrashLoopBackOff")
    wait_until(lambda: "running" in state(bare, space, "again"))
    assert bare.kubectl("logs", "-n", space, "again", "--previous") == first


def test_logs_have_times_that_stay(bare, space, tmp_path):
    """A client can go on reading from the last time that it has seen."""
    go = tmp_path / "go"
    script = f"echo one; echo two; until [ -e {go} ]; do sleep 0.05; done; echo three"
    bare.apply(pod("told", "sh", "-c", script), space)
    wait_until(lambda: "two" in bare.logs(space, "told"))
    first = bare.kubectl("logs", "-n", space, "told", "--timestamps").splitlines()
    assert [line.split()[1] for line in first] == ["one", "two"]
    go.touch()
    followed = bare.kubectl("logs", "-n", space, "told", "--timestamps", "-f").splitlines()
    assert followed[:2] == first
    assert [line.split()[1] for line in followed] == ["one", "two", "three"]


def test_end_is_graceful(bare, space):
    """A pod is asked to end, and is there until it has ended."""
    script = "trap 'sleep 0.3; echo bye; exit' TERM; echo hi; while :; do sleep 0.05; done"
    bare.apply(pod("polite", "sh", "-c", script), space)
    wait_until(lambda: bare.logs(space, "polite") == "hi\n")
    bare.delete("pods", space, "polite")
    assert bare.get("pods", space, "polite")
    wait_until(lambda: bare.get("pods", space, "polite") is None)
    assert bare.logs(space, "polite") == "hi\nbye\n"


def test_names_and_ports_of_services(bare, space):
    """A Python process reaches a service by its name, on the port of the service."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    server = pod("server", "python", "-m", "http.server", "8000")
    ready = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
    ports = [{"name": "http", "containerPort": 8000}]
    server["spec"]["containers"][0] |= {"readinessProbe": ready, "ports": ports}
    bare.apply([service, server], space)
    wait_until(lambda: bare.is_ready(space, "server"))
    names = ("web", f"web.{space}", f"web.{space}.svc.cluster.local")
    code = "import sys; from urllib.request import urlopen\n"
    code += "for name in sys.argv[1:]: print(urlopen(f'http://{name}').status)"
    bare.apply(pod("client", "python", "-c", code, *names), space)
    end(bare, space, "client")
    assert bare.logs(space, "client") == "200\n" * 3


# -- controllers -------------------------------------------------------------------------------


def test_job_fails_by_its_policy(bare, space):
    """An exit code that is named ends the Job at once; others are tried again."""
    rules = [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
    ]
    bare.apply(
        [
            job("fatal", "sh", "-c", "exit 42", podFailurePolicy={"rules": rules}),
            job("often", "sh", "-c", "exit 1", podFailurePolicy={"rules": rules}, backoffLimit=1),
            job("well", "true", backoffLimit=0),
        ],
        space,
    )

    def reasons():
        jobs = {j["metadata"]["name"]: j.get("status", {}) for j in bare.list("jobs.batch", space)}
        last = {name: (s.get("conditions") or [{}])[-1] for name, s in jobs.items()}
        return {name: (c["type"], c["reason"]) for name, c in last.items() if c}

    wait_until(lambda: len(reasons()) == 3)
    assert reasons() == {
        "fatal": ("Failed", "PodFailurePolicy"),
        "often": ("Failed", "BackoffLimitExceeded"),
        "well": ("Complete", "CompletionsReached"),
    }
    assert len(bare.list("pods", space, labels="job-name=fatal")) == 1
    assert len(bare.list("pods", space, labels="batch.kubernetes.io/job-name=often")) == 2


def test_cron_job_is_triggered(bare, space):
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}}
    template = {"spec": job("x", "true")["spec"]}
    spec = {"schedule": "0 3 * * *", "concurrencyPolicy": "Forbid", "jobTemplate": template}
    bare.apply(cron | {"spec": spec}, space)
    first = bare.trigger_cronjob(space, "nightly")
    assert bare.trigger_cronjob(space, "nightly") is None
    name = first["metadata"]["name"]
    wait_until(lambda: bare.get("jobs.batch", space, name)["status"].get("completionTime"))
    assert bare.trigger_cronjob(space, "nightly")["metadata"]["name"] != name


def test_quota_holds_pods_back(bare, space):
    """A Deployment whose pods are refused tells so, and goes on once it may."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    bare.apply(quota | {"spec": {"hard": {"requests.cpu": "1"}}}, space)
    template = pod("web", "sleep", "60", resources={"requests": {"cpu": "700m"}})
    del template["spec"]["restartPolicy"]
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": template["spec"]},
        },
    }
    bare.apply(deployment, space)
    told = wait_until(lambda: bare.events(space, "FailedCreate"))[0]
    assert (
        "exceeded quota: small, requested: requests.cpu=0.7, used: requests.cpu=0.7"
        in told["message"]
    )
    bare.patch("resourcequotas", space, "small", {"spec": {"hard": {"requests.cpu": "2"}}})
    wait_until(lambda: len(bare.pods(space)) == 2)
    bare.patch("deployments.apps", space, "web", {"spec": {"replicas": 0}})
    wait_until(lambda: not bare.pods(space))


def test_scheduler_honours_selectors_taints_and_affinity():
    """And a node that goes takes its pods with it, until it is back."""
    key = "lifecycle"
    taint = {"key": key, "value": "spot", "effect": "NoSchedule"}
    tolerations = [{"operator": "Equal", **taint}]
    size = {"cpu": "4", "memory": "16Gi"}
    nodes = {"stays": size, "spot": {**size, "labels": {key: "spot"}, "taints": [taint]}}

    def affinity(operator, *values):
        term = {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}
        required = {"nodeSelectorTerms": [term]}
        return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}

    def placed(name, **spec):
        body = pod(name, "sleep", "60")
        body["spec"] |= spec
        return body

    pods = [
        placed("plain"),
        placed("chosen", nodeSelector={key: "spot"}, tolerations=tolerations),
        placed("tainted", nodeSelector={key: "spot"}),
        placed("avoiding", affinity=affinity("NotIn", "spot"), tolerations=tolerations),
        placed("nowhere", affinity=affinity("Exists")),
    ]
    late = placed("late", nodeSelector={key: "spot"}, tolerations=tolerations)
    with Cluster(nodes) as cluster:
        cluster.apply(pods)
        wait_until(lambda: len(cluster.events("default", "FailedScheduling")) == 2)
        found = cluster.pods("default")
        where = {p["metadata"]["name"]: p["spec"].get("nodeName") for p in found}
        nobody = dict.fromkeys(["tainted", "nowhere"])
        assert where == {"plain": "stays", "chosen": "spot", "avoiding": "stays", **nobody}
        assert cluster.preempt("spot") == ["chosen"]
        cluster.apply(late)
        [*_, told] = wait_until(lambda: cluster.events("default", "FailedScheduling")[2:])
        assert "1 node(s) were unschedulable" in told["message"]
        cluster.restore("spot")
        wait_until(lambda: cluster.get("pods", "default", "late")["spec"].get("nodeName"))


def test_nothing_is_left_behind():
    """All processes of a cluster are gone with it, also those that left their group."""
    with Cluster() as cluster:
        cluster.image("daskcast:test", Image([str(HERE)]))
        mark = f"9{os.getpid()}"
        cluster.apply(pod("away", "sh", "-c", f"setsid sleep {mark} & echo $!; sleep {mark}"))
        wait_until(lambda: cluster.logs("default", "away"))
        folder = cluster.folder
        start = time.monotonic()
    assert time.monotonic() - start < 20
    assert not folder.exists()
    found = subprocess.run(["pgrep", "-f", f"sleep {mark}"], capture_output=True, check=False)
    assert found.stdout == b""
