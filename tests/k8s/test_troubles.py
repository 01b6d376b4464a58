"""What goes wrong with a cluster on Kubernetes, provoked: one sentence, soon, and nothing left."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from little_kubernetes import Cluster, Image
from little_kubernetes.dask_operator import install_kinds

from daskcast.config import RunOptions
from daskcast.errors import ClusterError, StoppedError
from daskcast.k8s import submit, why
from daskcast.k8s.jobs import Work
from daskcast.k8s.manifests import DRIVER, WORKER
from daskcast.k8s.objects import connected
from daskcast.k8s.opening import started
from daskcast.k8s.submit import Attempt
from daskcast.kubernetes_options import KubernetesOptions, PodOptions

TOLD_S = 30
SMALL = PodOptions(cpu="100m", memory="1Gi")
OPTIONS = KubernetesOptions(image="daskcast:test", scheduler=SMALL, worker=SMALL)


@pytest.fixture
def options(kubernetes: Cluster, namespace: str) -> KubernetesOptions:
    return replace(OPTIONS, namespace=namespace)


def trouble(options: KubernetesOptions, kubernetes: Cluster | None = None) -> str:
    """Start a cluster that does not; give what is told, in time, with nothing left behind."""
    begin = time.monotonic()
    with pytest.raises(ClusterError) as caught, started(options, n_workers=1):
        pytest.fail("it started")
    seconds = time.monotonic() - begin
    assert seconds < TOLD_S
    if kubernetes is not None:
        namespace = options.namespace or ""
        assert kubernetes.pods(namespace) == []
        assert kubernetes.list("daskclusters.kubernetes.dask.org", namespace) == []
    return str(caught.value)


def submitted(kubernetes: Cluster, options: KubernetesOptions) -> str:
    """Submit a run that does not start; give what is told, in time, with nothing left behind."""
    namespace = options.namespace or ""
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    accounts = [{**account, "metadata": {"name": name}} for name in (DRIVER, WORKER)]
    kubernetes.apply(accounts, namespace)
    run = RunOptions(cluster="kubernetes", workers=1, kubernetes=options, tracking=False)
    work = Work(name="sales", options=run, run_args=("daskcast", "run", "s3://data"))
    begin = time.monotonic()
    with closing(connected(namespace)) as api:
        attempt = Attempt(work, api, "sales", wait=lambda seconds: time.sleep(seconds / 5))
        with pytest.raises(StoppedError) as caught:
            attempt.follow(lambda _: None)
    assert time.monotonic() - begin < TOLD_S
    assert kubernetes.list("daskjobs.kubernetes.dask.org", namespace) == []
    assert kubernetes.get("pods", namespace, f"{attempt.name}-runner") is None
    return str(caught.value)


def image_of(kubernetes: Cluster, folder: Path, script: str, command: str = "dask") -> str:
    """Make an image with a command that is a script."""
    program = folder / command
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    name = f"broken:{folder.name.lower().strip('_')[-20:]}"
    kubernetes.image(name, Image([str(folder)]))
    return name


# -- images and commands -----------------------------------------------------------------------


def test_an_image_that_is_not_there(kubernetes: Cluster, options: KubernetesOptions) -> None:
    told = trouble(replace(options, image="registry.example/no:image"), kubernetes)
    assert "cannot pull its image registry.example/no:image" in told
    assert 'no:image": not found; mend --image' in told


def test_a_name_that_is_no_image(kubernetes: Cluster, options: KubernetesOptions) -> None:
    told = trouble(replace(options, image="No.Such/Image"), kubernetes)
    assert "'No.Such/Image' is not the name of one" in told


def test_an_image_without_dask(
    kubernetes: Cluster, options: KubernetesOptions, tmp_path: Path
) -> None:
    kubernetes.image("empty:1", Image([str(tmp_path)]))
    told = trouble(replace(options, image="empty:1"), kubernetes)
    assert "the scheduler (pod " in told
    assert "ends with exit code 127: its image empty:1 has no command 'dask'" in told


def test_a_scheduler_that_crashes_shows_its_last_words(
    kubernetes: Cluster, options: KubernetesOptions, tmp_path: Path
) -> None:
    """Ten lines at most, without credentials."""
    script = "seq 1 20; echo 'no module at https://me:secret@host/x' >&2; exit 3"
    told = trouble(replace(options, image=image_of(kubernetes, tmp_path, script)), kubernetes)
    first, head, *lines = told.split("\n")
    assert "ends with exit code 3, 2 times" in first
    assert head.strip() == "the last lines of its log:"
    assert lines == [f"    | {n}" for n in range(12, 21)] + ["    | no module at https://host/x"]


def test_a_scheduler_with_too_little_memory(
    kubernetes: Cluster, options: KubernetesOptions, tmp_path: Path
) -> None:
    code = "import time; x = bytearray(120 * 2**20); time.sleep(60)"
    name = image_of(kubernetes, tmp_path, f"exec {sys.executable} -c '{code}'")
    small = replace(SMALL, memory="60Mi")
    told = trouble(replace(options, image=name, scheduler=small), kubernetes)
    assert "needs more memory than its limit of 60Mi and was killed" in told
    assert "raise --scheduler-memory" in told


def test_workers_with_too_little_memory(kubernetes: Cluster, options: KubernetesOptions) -> None:
    """It is told before the scheduler is ready: it could do nothing about it."""
    told = trouble(replace(options, worker=replace(SMALL, memory="40Mi")), kubernetes)
    assert "the worker (pod " in told
    assert "needs more memory than its limit of 40Mi and was killed; raise --worker-memory" in told


def test_a_driver_with_too_little_memory(
    kubernetes: Cluster, options: KubernetesOptions, tmp_path: Path
) -> None:
    """There is no flag for it: the sentence names the option of the file."""
    code = "import time; x = bytearray(120 * 2**20); time.sleep(60)"
    name = image_of(kubernetes, tmp_path, f"exec {sys.executable} -c '{code}'", "daskcast")
    small = replace(options, image=name, driver=replace(SMALL, memory="60Mi"))
    told = submitted(kubernetes, small)
    assert "it needs more memory than its limit of 60Mi and was killed; raise memory of" in told
    assert "memory of [kubernetes.driver] in the file of --config; the run goes on" in told


# -- what pods need ----------------------------------------------------------------------------


def test_a_secret_that_is_missing(
    kubernetes: Cluster, namespace: str, options: KubernetesOptions
) -> None:
    told = trouble(replace(options, scheduler=replace(SMALL, secrets=("keys",))), kubernetes)
    assert f"needs the secret keys, which is not in namespace {namespace}" in told


def test_a_service_account_that_is_missing(kubernetes: Cluster, options: KubernetesOptions) -> None:
    told = trouble(replace(options, scheduler=replace(SMALL, service_account="no")), kubernetes)
    assert "no pod of the scheduler can be created" in told
    assert "there is no service account no; create it" in told


def test_a_quota_that_is_exceeded(
    kubernetes: Cluster, namespace: str, options: KubernetesOptions
) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tiny"}}
    kubernetes.apply(quota | {"spec": {"hard": {"requests.cpu": "50m"}}}, namespace)
    told = trouble(options, kubernetes)
    assert "the quota is exceeded (tiny, requested: requests.cpu=0.1" in told


def test_a_scheduler_that_no_node_takes(
    kubernetes: Cluster, options: KubernetesOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one node lacks cores, the other is for those who tolerate its taint."""
    monkeypatch.setattr(why, "LATER_S", 3.0)
    told = trouble(replace(options, scheduler=replace(SMALL, cpu="100")), kubernetes)
    assert "which asks for 100 cpu and 1Gi" in told
    assert "ondemand-0 has 3." in told or "ondemand-0 has 4 cpu" in told
    assert "spot-0 has the taint node.kubernetes.io/lifecycle=spot:NoSchedule" in told


def test_workers_that_no_node_takes(
    kubernetes: Cluster, options: KubernetesOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is wrong with the scheduler; without a worker there is no hope all the same."""
    monkeypatch.setattr(why, "LATER_S", 3.0)
    told = trouble(replace(options, worker=replace(SMALL, cpu="100")), kubernetes)
    assert "no node has room for the worker (pod " in told
    assert "--worker-cpu" in told


def test_a_driver_that_no_node_takes(
    kubernetes: Cluster, options: KubernetesOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags are of the workers: the sentence names the options of the driver."""
    monkeypatch.setattr(why, "LATER_S", 1.0)
    in_file = "of [kubernetes.driver] in the file of --config"
    told = submitted(kubernetes, replace(options, driver=replace(SMALL, cpu="100")))
    assert "no node has room for the driver (pod sales-" in told
    assert f"ask for less (cpu and memory {in_file}) or add nodes" in told
    assert f"tolerate the taint (tolerations {in_file})" in told
    elsewhere = replace(SMALL, node_selector={"disk": "none"})
    told = submitted(kubernetes, replace(options, driver=elsewhere))
    assert f"mend node_selector {in_file} or --spot" in told
    assert "--worker" not in told
    assert "--node-selector" not in told


# -- the API and the operator ------------------------------------------------------------------


def as_user(kubernetes: Cluster, namespace: str, name: str, rules: list[dict[str, Any]]) -> Path:
    """Make a user with some rights; give its kubeconfig."""
    rbac = "rbac.authorization.k8s.io"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    made = {"apiVersion": f"{rbac}/v1", "metadata": {"name": name}}
    reference = {"apiGroup": rbac, "kind": "Role", "name": name}
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
    role = {**made, "kind": "Role", "rules": rules}
    binding = {**made, "kind": "RoleBinding", "roleRef": reference, "subjects": subjects}
    kubernetes.apply([account, role, binding], namespace)
    return kubernetes.user_kubeconfig(namespace, name)


def test_a_user_without_rights(
    kubernetes: Cluster,
    namespace: str,
    options: KubernetesOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(as_user(kubernetes, namespace, "ann", [])))
    told = trouble(options, kubernetes)
    who = f"system:serviceaccount:{namespace}:ann"
    assert f"{who} may not create daskclusters in namespace {namespace}" in told
    assert '    - apiGroups: ["kubernetes.dask.org"]\n      resources: ["daskclusters"]' in told


def test_a_user_who_may_not_forward_ports(
    kubernetes: Cluster,
    namespace: str,
    options: KubernetesOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """KubeCluster would try for ever; what may not be read either, such as events, is done without.

    Outside the cluster the way to the scheduler leads through the API.
    """
    every = ["get", "list", "watch", "create", "patch", "delete"]
    rules = [
        {"apiGroups": ["kubernetes.dask.org"], "resources": ["daskclusters"], "verbs": every},
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
    ]
    monkeypatch.setenv("KUBECONFIG", str(as_user(kubernetes, namespace, "bob", rules)))
    told = trouble(options, kubernetes)
    assert f"bob may not get pods/portforward in namespace {namespace}" in told
    assert 'resources: ["pods/portforward"]' in told


def test_a_namespace_that_is_not_there(kubernetes: Cluster, options: KubernetesOptions) -> None:
    told = trouble(replace(options, namespace="nowhere"), kubernetes)
    assert "there is no namespace nowhere: create it (kubectl create namespace nowhere)" in told


def test_no_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the operator's kinds, and with them and nobody who acts."""
    here = replace(OPTIONS, namespace="default")
    monkeypatch.setattr(why, "OPERATOR_S", 2.0)
    monkeypatch.setattr(submit, "OPERATOR_S", 2.0)
    with Cluster() as bare:
        monkeypatch.setenv("KUBECONFIG", str(bare.kubeconfig))
        assert "helm install --repo https://helm.dask.org" in trouble(here)
        install_kinds(bare)
        told = trouble(here, bare)
        told_of_job = submitted(bare, here)
    assert "no Dask operator acts on the Dask cluster daskcast-" in told
    assert "no Dask operator acts on the DaskJob sales-" in told_of_job
    for sentence in (told, told_of_job):
        assert "does it watch the namespace default?" in sentence


@pytest.fixture
def changed(kubernetes: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give the content of a kubeconfig, and let KUBECONFIG name a file for it."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    content: dict[str, Any] = yaml.safe_load(kubernetes.kubeconfig.read_text())
    return content


def test_an_account_that_is_not_accepted(changed: dict[str, Any], tmp_path: Path) -> None:
    changed["users"][0]["user"]["token"] = "expired"
    (tmp_path / "config").write_text(yaml.safe_dump(changed))
    assert "it may have expired; log in again" in trouble(OPTIONS)


def test_an_api_that_does_not_answer(changed: dict[str, Any], tmp_path: Path) -> None:
    changed["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "config").write_text(yaml.safe_dump(changed))
    assert "the Kubernetes API does not answer" in trouble(OPTIONS)


def test_no_account(changed: dict[str, Any], tmp_path: Path) -> None:
    assert "no account for a Kubernetes cluster" in trouble(OPTIONS)
    (tmp_path / "config").write_text("{broken: [")
    assert "no account for a Kubernetes cluster" in trouble(OPTIONS)


def test_the_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert 'pip install "daskcast[kubernetes]"' in trouble(OPTIONS)


def test_programs_of_the_tests_are_there() -> None:
    assert shutil.which("seq"), "the script of a crash counts with it"
