"""`daskcast k8s check`: what it says of clusters that lack something, and of one that does not."""

# ruff: noqa: ARG002 - the fake has the methods of the API, and needs not all they are told
from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from answering import answering
from click.testing import CliRunner
from little_kubernetes import wait_until
from spaces import SERVER, secret

from daskcast.cli import main
from daskcast.errors import ClusterError, StoppedError
from daskcast.k8s import check, check_image, probe
from daskcast.k8s.answers import RefusedError
from daskcast.k8s.ending import as_error
from daskcast.k8s.jobs import daskjob
from daskcast.k8s.pods import is_ready
from daskcast.versions import CLOSE, EXACT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from little_kubernetes import Cluster

CALL = [sys.executable, "-c", "import sys; from daskcast.cli import main; main(sys.argv[1:])"]
KINDS = {"daskclusters", "daskjobs", "daskworkergroups", "daskautoscalers"}
FORBIDDEN = RefusedError(403, 'pods is forbidden: User "ann" cannot list resource "pods"')


def pod(name: str, *, ready: bool = True, namespace: str = "dask-operator") -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": {"name": name, "namespace": namespace},
        "status": {"phase": "Running", "conditions": [condition]},
    }


class Fake:
    """A cluster in which all is well, but for what is changed."""

    def __init__(self) -> None:
        self.namespace, self.server, self.version = "space", "https://there", "v1.34.1"
        self.has = set(KINDS)
        self.operators: Any = [pod("operator-1")]
        self.servers: Any = [pod("daskcast-mlflow-1", namespace="space")]
        self.secrets: Any = {"keys": {"data": {"AWS_KEY": base64.b64encode(b"hunter2").decode()}}}
        self.jobs: Any = {}
        self.may_not: set[tuple[str, str]] = set()
        self.closed = False

    def told(self, refused: RefusedError, doing: str) -> Exception:
        return as_error(refused, doing=doing, namespace=self.namespace, server=self.server)

    def server_version(self) -> str:
        return self.version

    def kinds(self, version: str) -> set[str]:
        return self.has

    def all_of(self, plural: str, labels: str, *, everywhere: bool = False) -> Any:
        found = self.operators if everywhere else self.servers
        if isinstance(found, RefusedError):
            raise found
        return found

    def may(self, verb: str, group: str, resource: str) -> bool:
        return (verb, resource) not in self.may_not

    def get(self, plural: str, name: str, *, version: str = "v1") -> Any:
        found = self.secrets if plural == "secrets" else self.jobs
        if isinstance(found, RefusedError):
            raise found
        return found.get(name)

    def delete(self, plural: str, name: str, *, version: str) -> None:
        del self.jobs[name]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    found = Fake()
    monkeypatch.setattr(check, "connected", lambda _: found)
    return found


def told(*args: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["k8s", "check", *args])
    assert done.exit_code == code, done.output
    return done.output


def line(text: str, words: str) -> str:
    [found] = [each for each in text.splitlines() if words in each]
    return found


def test_all_is_well(fake: Fake) -> None:
    """A line for each thing, all of them ok."""
    text = told("--secret", "keys")
    lines = text.splitlines()
    assert len(lines) > 15
    assert {each.split()[0] for each in lines} == {"ok"}
    assert "Kubernetes v1.34.1 at https://there" in lines[0]
    assert "the secret keys: AWS_KEY" in text
    assert "hunter2" not in text
    assert fake.closed


@pytest.mark.parametrize("version", ["v1.29.9", "v1.38.0", "v2.0", "strange"])
def test_a_version_that_nobody_tried_is_a_warning(fake: Fake, version: str) -> None:
    """It may well work."""
    fake.version = version
    assert line(told(), "Kubernetes").startswith("warning")
    assert "1.30 to 1.37" in told()


def test_kinds_that_are_not_there(fake: Fake) -> None:
    """With the command that installs them."""
    fake.has = {"daskclusters"}
    found = line(told(code=2), "helm install")
    assert found.startswith("missing  the cluster has no daskjobs, daskworkergroups")


@pytest.mark.parametrize(
    ("operators", "code", "words"),
    [
        (FORBIDDEN, 0, "unknown  whether the Dask operator runs may not be seen"),
        ([pod("a", ready=False)], 2, "kubectl logs -n dask-operator a"),
        ([], 2, "no pod looks like a Dask operator"),
        ([pod("a", ready=False), pod("b")], 0, "the Dask operator runs: dask-operator/b"),
    ],
)
def test_the_operator(fake: Fake, operators: Any, code: int, words: str) -> None:
    """Seen where that is allowed."""
    fake.operators = operators
    assert words in told(code=code)


def test_rights_are_named_one_by_one(fake: Fake) -> None:
    """With the rule to add; what only eases work is a warning."""
    fake.may_not = {("create", "daskjobs"), ("create", "pods/portforward"), ("create", "jobs")}
    text = told(code=2)
    assert line(text, "may not create daskjobs").startswith("missing")
    assert line(text, "may not create pods/portforward").startswith("missing")
    assert line(text, "may not create jobs").startswith("warning")
    assert '    - apiGroups: ["kubernetes.dask.org"]\n      resources: ["daskjobs"]' in text
    assert line(text, "may get, list, watch pods in").startswith("ok")


def test_secrets(fake: Fake) -> None:
    """Who runs forecasts may not read them, rightly."""
    text = told("--secret", "keys", "--secret", "none", code=2)
    assert line(text, "no secret none").startswith("missing")
    assert "kubectl create secret generic none -n space" in text
    fake.secrets = FORBIDDEN
    assert line(told("--secret", "keys"), "the secret keys").startswith("unknown")


@pytest.mark.parametrize(
    ("servers", "words"),
    [([], "there is none"), ([pod("daskcast-mlflow-1", ready=False)], "is not ready")],
)
def test_mlflow_of_the_namespace(fake: Fake, servers: Any, words: str) -> None:
    """Where it is missing, what makes it."""
    fake.servers = servers
    found = line(told(code=2), "MLflow in the namespace space")
    assert words in found
    assert "daskcast k8s render --part mlflow" in found


def test_a_refusal_is_one_finding_of_several(fake: Fake) -> None:
    """The others are looked at all the same."""
    fake.operators = RefusedError(500, "sorry")
    text = told(code=2)
    assert line(text, "cannot look for the operator").startswith("missing")
    assert "may get, list, watch pods" in text


def test_a_cluster_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and exit code 2."""

    def nobody(namespace: str | None) -> Any:
        raise ClusterError("the Kubernetes API does not answer")

    monkeypatch.setattr(check, "connected", nobody)
    assert told(code=2) == "missing  the Kubernetes API does not answer\n"


# -- MLflow ------------------------------------------------------------------------------------


class Server(BaseHTTPRequestHandler):
    """Answers as it is told to: by path, with a login."""

    statuses: dict[str, int]
    seen: list[str | None]
    to = ""

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization"))
        path = self.path.partition("?")[0]
        self.send_response(next((c for p, c in self.statuses.items() if p in path), 200))
        if self.to:
            self.send_header("Location", self.to)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Server]]]:
    kind = type("Told", (Server,), {"statuses": {}, "seen": []})
    with answering(kind) as address:
        yield address, kind


@pytest.mark.parametrize(
    ("statuses", "level", "words"),
    [
        ({}, "ok", "takes many runs in a request"),
        ({"daskcast/runs": 403}, "ok", "takes many runs in a request"),
        ({"daskcast/runs": 404}, "warning", "mlflow server --app-name daskcast"),
        ({"experiments": 401}, "missing", "MLFLOW_TRACKING_USERNAME"),
        ({"experiments": 403}, "missing", "wants a login (403)"),
        ({"experiments": 500}, "missing", "takes no requests from here: 500"),
        ({"health": 503}, "missing", "does not answer from here: 503"),
    ],
)
def test_a_server_that_is_named(
    fake: Fake, server: Any, statuses: dict[str, int], level: str, words: str
) -> None:
    """Its page for health, an account, and the route that takes many runs."""
    uri, kind = server
    kind.statuses = statuses
    found = line(told("--tracking-uri", uri, code=2 if level == "missing" else 0), "MLflow at")
    assert found.startswith(level)
    assert words in found


def test_the_login_of_the_environment_is_used(
    fake: Fake, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MLflow itself does; it is not told."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    uri, kind = server
    assert "hunter2" not in told("--tracking-uri", uri)
    assert kind.seen[-1] == "Basic " + base64.b64encode(b"ann:hunter2").decode()


def test_a_server_that_is_not_there(fake: Fake) -> None:
    """Why there is no answer."""
    found = line(told("--tracking-uri", "http://127.0.0.1:9", code=2), "MLflow at")
    assert "refused" in found


# -- the image ---------------------------------------------------------------------------------


@pytest.fixture
def answer(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give what a pod of the image answers."""
    versions = probe.look([*EXACT, *CLOSE])["versions"]
    said = {"versions": versions, "mlflow": {"health": "200", "account": "200", "bulk": "200"}}

    class Attempt:
        def __init__(self, work: Any, api: Any, run: str, *, say: Any, wait: Any) -> None:
            said["work"] = work
            self.name, self.say, self.wait = "check-1", say, wait

        def follow(self, write: Any) -> int:
            self.say("created the DaskJob check-1")
            while said.get("hangs"):
                self.wait(0.01)
            if "raises" in said:
                raise said["raises"]
            told = {key: said[key] for key in ("versions", "mlflow") if key in said}
            for text in said.get("texts", [json.dumps(told)]):
                write(text)
            return int(said.get("code", 0))

    monkeypatch.setattr(check_image, "Attempt", Attempt)
    return said


def test_an_image_that_fits(fake: Fake, answer: dict[str, Any]) -> None:
    """It runs, has the same versions, and reaches MLflow with the driver's account."""
    text = told("--image", "a:1", "--secret", "keys")
    assert line(text, "the image a:1 runs").startswith("ok")
    assert line(text, "has the versions that are here").startswith("ok")
    assert "http://daskcast-mlflow.space.svc:5000 answers from a pod of a driver" in text
    work = answer["work"]
    assert work.n_workers == 0
    assert work.pods.driver.secrets == ("keys",)


def test_an_image_of_other_versions(fake: Fake, answer: dict[str, Any]) -> None:
    """A table of what differs."""
    answer["versions"] = {**answer["versions"], "daskcast": "99.0"}
    text = told("--image", "a:1", code=2)
    assert line(text, "other versions").startswith("missing")
    assert "99.0" in text


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"raises": ClusterError("its image cannot be pulled")}, "its image cannot be pulled"),
        ({"raises": RefusedError(403, "no pods for ann")}, "cannot look at the image"),
        ({"texts": ["python: not found"], "code": 2}, "python: not found"),
        ({"texts": ["no json"]}, "no json"),
        ({"texts": ["[]", "{}"]}, "cannot tell its versions: []; {}"),
        ({"texts": [], "code": 2}, "cannot tell its versions: created the DaskJob"),
    ],
)
def test_an_image_that_does_not_run(
    fake: Fake, answer: dict[str, Any], how: dict[str, Any], words: str
) -> None:
    """With what is known about it."""
    answer.update(how)
    found = line(told("--image", "a:1", code=2), words)
    assert found.startswith("missing  the image a:1")


def test_what_an_image_says_besides(fake: Fake, answer: dict[str, Any]) -> None:
    """Some log before and after; of what waiting is about, a person is told at once."""
    told_ = {key: answer[key] for key in ("versions", "mlflow")}
    answer["texts"] = ["starting", json.dumps(told_), "a warning at the end"]
    text = told("--image", "a:1")
    assert line(text, "has the versions that are here").startswith("ok")
    assert "created the DaskJob check-1" in text


def test_an_image_that_lacks_a_package(fake: Fake, answer: dict[str, Any]) -> None:
    """It is told apart from versions that differ."""
    answer["versions"] = {**answer["versions"], "daskcast": "missing", "numba": "missing"}
    text = told("--image", "a:1", code=2)
    assert line(text, "the image a:1 has no daskcast, numba: install").startswith("missing")
    assert "other versions" not in text


def test_an_image_that_hangs(
    fake: Fake, answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up."""
    monkeypatch.setattr(check_image, "START_S", 0.1)
    monkeypatch.setattr(check_image, "TELL_S", 0.1)
    answer["hangs"] = True
    assert "its driver did not end within 0.2 s" in told("--image", "a:1", code=2)


def test_a_daskjob_that_is_left(fake: Fake, answer: dict[str, Any]) -> None:
    """It is removed; where that cannot be known, how to do that."""
    answer["raises"] = StoppedError("no answer; the run goes on where it stopped when ...")
    fake.jobs = {"check-1": {"metadata": {"name": "check-1"}}}
    assert line(told("--image", "a:1", code=2), "a:1 does not run").endswith("run: no answer")
    assert fake.jobs == {}
    fake.jobs = RefusedError(0, "no answer")
    found = line(told("--image", "a:1", code=2), "kubectl delete daskjob check-1 -n space")
    assert found.startswith("warning")
    fake.jobs = RefusedError(403, "no")
    assert "kubectl delete" not in told("--image", "a:1", code=2)


def test_a_run_that_is_not_tracked(fake: Fake, answer: dict[str, Any]) -> None:
    """It needs no MLflow, and no secret of it."""
    del answer["mlflow"]
    assert "MLflow" not in told("--image", "a:1", "--no-tracking")
    work = answer["work"]
    assert not work.options.tracking
    assert work.run_args[3] == ""
    fake.servers = []
    assert "MLflow" not in told("--no-tracking")


# -- the file of a run -------------------------------------------------------------------------

RUN = """
horizon = 12
cluster = "kubernetes"
workers = 40
experiment = "Sales"
out = "s3://lake/runs/{run}"
tracking-uri = "http://mlflow:5000"

[kubernetes]
image = "registry.example/daskcast:1"
namespace = "space"
adaptive = "2:40"
name = "mine"
pull_secrets = ["registry"]
start_timeout = 900

[kubernetes.worker]
cpu = "4"
memory = "16Gi"
secrets = ["lake"]
node_selector = {pool = "batch"}
tolerations = ["batch=yes:NoSchedule"]
env = {HTTPS_PROXY = "http://proxy:3128"}

[kubernetes.scheduler]
node_selector = {pool = "system"}

[kubernetes.driver]
node_selector = {pool = "system"}
service_account = "drivers"
secrets = ["tracker"]
"""


@pytest.fixture
def run_file(fake: Fake, tmp_path: Path) -> str:
    """Give the file of a run, in whose cluster all is well."""
    pull = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "aHVudGVyMg=="}}
    fake.secrets = {"lake": {"data": {}}, "tracker": {"data": {}}, "registry": pull, "other": pull}
    (tmp_path / "run.toml").write_text(RUN)
    return str(tmp_path / "run.toml")


def test_the_file_of_a_run(run_file: str, answer: dict[str, Any]) -> None:
    """All that lets its pods start counts; they take little, and no cluster is looked up."""
    text = told("--config", run_file)
    for name in ("lake", "tracker", "registry"):
        assert line(text, f"the secret {name}").startswith("ok")
    assert "MLflow at http://mlflow:5000 answers from a pod" in text
    [image] = {each["image"] for each in containers(answer["work"])}
    assert image == "registry.example/daskcast:1"
    driver, scheduler = specs(answer["work"])
    assert driver["imagePullSecrets"] == scheduler["imagePullSecrets"] == [{"name": "registry"}]
    assert driver["nodeSelector"] == {"pool": "batch"}
    assert driver["tolerations"][0]["key"] == "batch"
    assert driver["serviceAccountName"] == "drivers"
    assert scheduler["nodeSelector"] == {"pool": "system"}
    [container] = driver["containers"]
    assert {"name": "HTTPS_PROXY", "value": "http://proxy:3128"} in container["env"]
    assert {"secretRef": {"name": "lake"}} in container["envFrom"]
    assert container["resources"]["requests"] == {"cpu": "100m", "memory": "512Mi"}
    work = answer["work"]
    assert (work.pods.adaptive, work.pods.name, work.pods.start_timeout) == (None, None, 900)


def test_flags_win(run_file: str, answer: dict[str, Any]) -> None:
    """As they do for the run."""
    flags = ["--image", "b:2", "--pull-secret", "other", "--toleration", "spot", "--secret", "lake"]
    flags += ["--node-selector", "pool=spot", "--tracking-uri", "https://there"]
    text = told("--config", run_file, *flags)
    assert "MLflow at https://there answers from a pod" in text
    driver, scheduler = specs(answer["work"])
    assert scheduler["imagePullSecrets"] == [{"name": "other"}]
    assert driver["nodeSelector"] == {"pool": "spot"}
    assert driver["tolerations"] == [{"key": "spot", "operator": "Exists"}]
    assert driver["containers"][0]["image"] == "b:2"


def specs(work: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the pods of driver and scheduler."""
    spec = daskjob(work, "space", run="check", name="check-1")["spec"]
    return spec["job"]["spec"], spec["cluster"]["spec"]["scheduler"]["spec"]


def containers(work: Any) -> list[dict[str, Any]]:
    return [container for pod in specs(work) for container in pod["containers"]]


def test_pull_secrets(fake: Fake) -> None:
    """One of another kind pulls nothing."""
    found = line(told("--pull-secret", "keys", code=2), "the secret keys")
    assert "is no pull secret" in found
    found = line(told("--pull-secret", "none", code=2), "there is no secret none")
    assert "kubectl create secret docker-registry none -n space" in found


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--namespace", "Not_Valid"], "must be the name of a namespace; found 'Not_Valid'"),
        (["--namespace", ""], "must be the name of a namespace"),
        (["--image", "a b"], "must be an image"),
        (["--secret", "Not_Valid"], "must be names of a to z"),
        (["--pull-secret", "a b"], "must be names of a to z"),
        (["--toleration", "a:Whatever"], "with the effect one of NoSchedule"),
        (["--node-selector", "a b=c"], "names and texts that Kubernetes takes"),
        (["--config", "/none.toml"], "cannot read the config file /none.toml"),
        (["--tracking-uri", "http://a:99999"], "must be http://HOST:PORT"),
        (["--tracking-uri", "http://a:b"], "must be http://HOST:PORT"),
        (["--tracking-uri", "http://"], "must be http://HOST:PORT"),
        (["--tracking-uri", ""], "must be http://HOST:PORT"),
        (["--tracking-uri", "http://a b"], "must be http://HOST:PORT"),
        (["--tracking-uri", "sqlite:///a.db"], "leave MLflow out with --no-tracking"),
        (["--tracking-uri", "https://me:hunter2@a"], "MLFLOW_TRACKING_PASSWORD"),
        (["--tracking-uri", "me:hunter2@a"], "MLFLOW_TRACKING_PASSWORD"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, args: list[str], words: str
) -> None:
    """With what was expected."""
    monkeypatch.setattr(check, "connected", lambda _: pytest.fail("asked"))
    text = told(*args, code=2)
    assert words in text
    assert "hunter2" not in text


def test_all_that_is_wrong_is_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is of the run's options, and what is not."""
    monkeypatch.setattr(check, "connected", lambda _: pytest.fail("asked"))
    text = told("--namespace", "A", "--image", "a b", "--tracking-uri", "ftp://a", code=2)
    assert "3 problems:" in text


def test_a_credential_would_stand_in_a_manifest(run_file: str, tmp_path: Path) -> None:
    """As for a run."""
    text = RUN.replace("HTTPS_PROXY", "DB_PASSWORD").replace("http://proxy:3128", "hunter2")
    (tmp_path / "run.toml").write_text(text)
    text = told("--config", run_file, code=2)
    assert "a credential in worker.env would stand in a manifest" in text
    assert "hunter2" not in text


# -- the script in the pod ---------------------------------------------------------------------


def scripted(*args: str) -> dict[str, Any]:
    """Run it as a pod does: as text, by a Python that has nothing else."""
    script = Path(probe.__file__).read_text().replace("ANSWER_S = 20.0", "ANSWER_S = 0.5")
    call = [sys.executable, "-I", "-S", "-c", script, *args]
    done = subprocess.run(call, capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_packages_that_a_pod_lacks() -> None:
    """They are named; Python itself is there."""
    versions = scripted("", "python", "numba")["versions"]
    assert versions["numba"] == "missing"
    assert versions["python"].startswith("3.")


@pytest.mark.parametrize("drips", [b"", b"HTTP/1.1 200 OK\r\nA: "])
def test_a_server_that_hangs(drips: bytes) -> None:
    """Or drips: each byte in time, and no end. It is asked one thing."""
    ended = threading.Event()

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.sendall(drips)
            while drips and not ended.wait(0.1):
                connection.sendall(b"a")
            ended.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        found = scripted(f"http://127.0.0.1:{listening.getsockname()[1]}")["mlflow"]
        ended.set()
        thread.join()
    assert found["health"] in ("no answer within 0.5 s", "timed out")
    assert found["bulk"] == "not asked"


def test_a_server_that_speaks_something_else() -> None:
    """No traceback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=lambda: listening.accept()[0].sendall(b"220 ftp\r\n\r\n"))
        thread.start()
        found = scripted(f"http://127.0.0.1:{listening.getsockname()[1]}")["mlflow"]
        thread.join()
    assert "220 ftp" in found["health"]
    assert scripted("what:ever")["mlflow"]["health"] == "unknown url type: what"


def test_a_server_that_sends_elsewhere(
    fake: Fake, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a page to log in, mostly, which answers 200; and it must not get the login."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "hunter2")
    uri, kind = server
    kind.to = "https://login.example/?to=mlflow"
    kind.statuses = {"health": 302}
    found = line(told("--tracking-uri", uri, code=2), "MLflow at")
    assert "does not answer from here: 302, to https://login.example/" in found
    assert kind.seen == ["Bearer hunter2"]


# -- a cluster ---------------------------------------------------------------------------------


@pytest.fixture
def user(
    kubernetes: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Give a namespace with what is rendered; calling it makes us a user of it and no more."""
    plain = ["s3://a/b", "--horizon", "1", "--out", "s3://a/{run}", "--workers", "1"]
    call = ["k8s", "render", *plain, "--image", "daskcast:test", "--namespace", namespace]
    kubernetes.apply(CliRunner().invoke(main, [*call, "--part", "rbac"]).output)
    kubeconfig = kubernetes.user_kubeconfig(namespace, "daskcast")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))

    def apply(*things: dict[str, Any]) -> None:
        kubernetes.apply(things, namespace)

    return apply


def looked(*args: str, code: int) -> str:
    """Run the command in a process of its own, as kr8s keeps who we were."""
    done = subprocess.run(
        [*CALL, "k8s", "check", *args], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_a_cluster_by_a_user_of_it(namespace: str, user: Any) -> None:
    """Has all rights that it looks for; does not see the operator; has no MLflow."""
    text = looked(code=2)
    assert [each for each in text.splitlines() if each.startswith("missing")] == [
        line(text, "MLflow in the namespace"),
    ]
    assert line(text, "the Dask operator runs").startswith("unknown")
    assert f"may get, list, watch, create, patch, delete daskjobs in the namespace {namespace}" in (
        text
    )


def test_another_namespace(user: Any) -> None:
    """Each right is missing there, with its rule."""
    text = looked("--namespace", "default", code=2)
    found = line(text, "daskclusters in the namespace default")
    assert found.startswith("missing  may not get, list, watch, create, patch, delete")
    assert 'resources: ["daskclusters"]' in text


def test_an_administrator_sees_the_operator(kubernetes: Cluster, namespace: str) -> None:
    """And that a secret is there, not what is in it."""
    kubernetes.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys", "namespace": namespace},
            "stringData": {"AWS_KEY": "hunter2"},
        }
    )
    text = looked("--namespace", namespace, "--secret", "keys", code=2)
    assert line(text, "the Dask operator runs").startswith("ok")
    assert line(text, "the secret keys").startswith("ok")
    assert "hunter2" not in text


@pytest.mark.long
def test_an_image_in_a_cluster(
    kubernetes: Cluster, namespace: str, user: Any, tmp_path: Path
) -> None:
    """It starts, fits, and reaches MLflow with the driver's account; nothing is left of it."""
    server = SERVER.format(folder=tmp_path)
    login = {"MLFLOW_TRACKING_USERNAME": "daskcast", "MLFLOW_TRACKING_PASSWORD": "x"}
    user(*yaml.safe_load_all(server), secret("daskcast-mlflow", login))
    wait_until(lambda: is_ready(kubernetes.get("pods", namespace, "daskcast-mlflow-0")), 90)
    text = looked("--image", "daskcast:test", code=0)
    assert line(text, "the image daskcast:test runs").startswith("ok")
    assert line(text, "has the versions that are here").startswith("ok")
    assert line(text, "answers from a pod of a driver").startswith("ok")
    assert kubernetes.list("daskjobs.kubernetes.dask.org", namespace) == []
    wait_until(lambda: len(kubernetes.pods(namespace)) == 1, 60)


def test_an_image_that_is_not_there(namespace: str, user: Any) -> None:
    """By the sentence about it, soon."""
    user(secret("daskcast-mlflow", {"MLFLOW_TRACKING_USERNAME": "a"}))
    text = looked("--image", "nowhere:1", code=2)
    found = line(text, "the image nowhere:1 does not run")
    assert found.startswith("missing")
    assert "nowhere:1" in found.partition("does not run")[2]


def test_ctrl_c_leaves_nothing(kubernetes: Cluster, namespace: str, user: Any) -> None:
    """Nor does SIGTERM, while it waits for an image that is not there."""
    user(secret("daskcast-mlflow", {"MLFLOW_TRACKING_USERNAME": "a"}))
    taint = ["--node-selector", "pool=none"]  # no node: it waits
    with subprocess.Popen(
        [*CALL, "k8s", "check", "--image", "daskcast:test", *taint],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        wait_until(lambda: kubernetes.list("daskjobs.kubernetes.dask.org", namespace), 60)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "interrupted" in errors
    assert "Traceback" not in errors
    wait_until(lambda: kubernetes.list("daskjobs.kubernetes.dask.org", namespace) == [], 30)


def test_nodes_that_need_a_toleration(
    kubernetes: Cluster, namespace: str, user: Any, tmp_path: Path
) -> None:
    """By the file of a run: without what it says, nothing would be there for its pods."""
    lifecycle = "node.kubernetes.io/lifecycle"
    user({**secret("registry", {}), "type": "kubernetes.io/dockercfg"})
    file = tmp_path / "run.toml"
    file.write_text(
        'tracking = false\n[kubernetes]\nimage = "daskcast:test"\npull_secrets = ["registry"]\n'
        f'[kubernetes.worker]\nnode_selector = {{"{lifecycle}" = "spot"}}\n'
        f'tolerations = ["{lifecycle}=spot:NoSchedule"]\n'
    )
    text = looked("--config", str(file), code=0)
    assert line(text, "the image daskcast:test runs").startswith("ok")
    assert "MLflow" not in text
    assert kubernetes.list("daskjobs.kubernetes.dask.org", namespace) == []
