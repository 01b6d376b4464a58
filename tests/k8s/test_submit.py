"""`daskcast k8s submit`: an attempt of a run, by a script of what a cluster says, and on one."""

# ruff: noqa: ARG002 - the script has the methods of the API, and needs not all they are told
from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from click.testing import CliRunner
from commands import DASKCAST
from commands import ended as end_of
from spaces import mlflow_server, secret

from daskcast import demo
from daskcast.cli import main
from daskcast.config import RunOptions
from daskcast.errors import ClusterError, ConfigError, StoppedError, StoreError
from daskcast.k8s.answers import RefusedError
from daskcast.k8s.ending import as_error
from daskcast.k8s.jobs import Work, job_name
from daskcast.k8s.objects import connected
from daskcast.k8s.submit import Attempt, check_run_name
from daskcast.kubernetes_options import KubernetesOptions
from daskcast.runs import Run
from daskcast.store import RunFolder
from daskcast.tracking import find_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from little_kubernetes import Cluster

FORBIDDEN = (
    'daskjobs.kubernetes.dask.org is forbidden: User "ann" cannot create resource "daskjobs" in '
    'API group "kubernetes.dask.org" in the namespace "space"'
)


class Script:
    """A cluster that says one thing after the other; time passes where somebody waits."""

    def __init__(self, *pods: dict[str, Any] | BaseException | None, logs: str = "") -> None:
        self.namespace, self.server = "space", "https://there"
        self.pods = list(pods)
        self.logs = logs.splitlines()
        self.made: list[dict[str, Any]] = []
        self.there: list[dict[str, Any]] = []
        self.refuses: RefusedError | None = None
        self.on_delete: list[BaseException] = []
        self.status: dict[str, Any] = {}
        self.told_events = False
        self.now = 0.0

    def told(self, refused: RefusedError, doing: str) -> Exception:
        return as_error(refused, doing=doing, namespace=self.namespace, server=self.server)

    def make(self, plural: str, manifest: dict[str, Any], *, version: str) -> dict[str, Any]:
        if self.refuses:
            raise self.refuses
        made = {**manifest, "metadata": {**manifest["metadata"], "uid": "u-1"}}
        made["status"] = self.status
        self.made.append(made)
        if plural == "daskjobs":
            self.there.append(made)
        return made

    def all_of(self, plural: str, labels: str = "", *, version: str) -> list[dict[str, Any]]:
        key, _, value = labels.partition("=")
        return [job for job in self.there if job["metadata"]["labels"].get(key) == value]

    def get(self, plural: str, name: str, *, version: str = "v1") -> dict[str, Any] | None:
        if plural == "daskjobs":
            return next((job for job in self.there if job["metadata"]["name"] == name), None)
        if not self.there:
            return None
        said = self.pods.pop(0) if len(self.pods) > 1 else self.pods[0]
        if isinstance(said, BaseException):
            raise said
        return said

    def delete(self, plural: str, name: str, *, version: str) -> None:
        if self.on_delete:
            raise self.on_delete.pop(0)
        self.there = [job for job in self.there if job["metadata"]["name"] != name]

    def events(self) -> list[dict[str, Any]]:
        if not (self.told_events and self.there):
            return []
        about = {"name": self.there[0]["metadata"]["name"]}
        return [{"involvedObject": about, "type": "Error", "message": "no service account"}]

    def log(self, pod: str, container: str, *, since: str = "") -> list[str]:
        return [line for line in self.logs if line.partition(" ")[0] >= since]

    def wait(self, seconds: float) -> None:
        self.now += seconds


def pod(phase: str, state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    containers = [{"name": "driver", "state": state or {}}]
    return {
        "metadata": {"name": "r-runner", "labels": {"dask.org/component": "job-runner"}},
        "spec": {"containers": [{"name": "driver", "image": "a:1", "args": ["daskcast"]}]},
        "status": {"phase": phase, "containerStatuses": containers, **status},
    }


def ended(code: int, reason: str = "Error", **status: Any) -> dict[str, Any]:
    phase = "Failed" if code else "Succeeded"
    return pod(phase, {"terminated": {"exitCode": code, "reason": reason}}, **status)


RUNNING = pod("Running", {"running": {}})
UNKNOWN = pod("Unknown")
DRAINED = [{"type": "DisruptionTarget", "status": "True", "message": "node is drained"}]


def work(**options: Any) -> Work:
    pods = KubernetesOptions(image="a:1", adaptive=options.pop("adaptive", None))
    asked = RunOptions(
        cluster="kubernetes", workers=2, kubernetes=pods, out="s3://runs/{run}", **options
    )
    return Work(name="sales", options=asked, run_args=("daskcast", "run", "s3://data"))


def may_pass(error: ClusterError) -> bool:
    return error.may_pass


def attempt(script: Script, say: Callable[[str], None] = lambda _: None, **options: Any) -> Attempt:
    return Attempt(
        work(**options), script, "sales-1", say=say, clock=lambda: script.now, wait=script.wait
    )  # fmt: skip


# -- how it ends -------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_ends_with_the_code_of_the_driver(code: int) -> None:
    """And leaves nothing."""
    script = Script(None, pod("Pending"), RUNNING, ended(code))
    assert attempt(script).follow(lambda _: None) == code
    assert script.there == []


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (ended(137, "OOMKilled"), r"was ended \(OOMKilled, exit code 137\): it needs more memory"),
        (ended(139), "exit code 139"),
        (ended(3, conditions=DRAINED), "node is drained"),
        (pod("Failed", reason="Evicted", message="low on memory"), "low on memory"),
        (None, "is gone"),
    ],
)
def test_a_driver_that_was_killed_can_be_tried_again(last: Any, told: str) -> None:
    """The sentence says what happened, and that the run goes on under the same name."""
    script = Script(RUNNING, last)
    with pytest.raises(StoppedError, match=told) as caught:
        attempt(script).follow(lambda _: None)
    assert "submitted again under the same name" in str(caught.value)
    assert script.there == []


def test_a_drained_driver_that_had_finished_has_finished() -> None:
    """Its own code counts but for 3, which is how it ends when it is told to."""
    script = Script(RUNNING, ended(0, conditions=DRAINED))
    assert attempt(script).follow(lambda _: None) == 0


@pytest.mark.parametrize("code", [126, 127])
def test_an_image_without_daskcast_is_final(code: int) -> None:
    """Trying again would not help."""
    said: list[str] = []
    script = Script(RUNNING, ended(code))
    assert attempt(script, said.append).follow(lambda _: None) == 2
    assert "its image has no daskcast" in said[-1]


def test_an_image_that_is_not_there_ends_a_start() -> None:
    """With the sentence about it, of the driver."""
    waiting = {"waiting": {"reason": "InvalidImageName", "message": "bad"}}
    script = Script(None, pod("Pending", waiting))
    with pytest.raises(StoppedError, match="the driver") as caught:
        attempt(script).follow(lambda _: None)
    assert "worker" not in str(caught.value).partition("image")[0]
    assert script.now < 120
    assert script.there == []


@pytest.mark.parametrize(
    "driver", [pod("Pending"), UNKNOWN, {**UNKNOWN, "status": {}}], ids=["wait", "lost", "none"]
)
def test_a_start_that_takes_too_long_ends(driver: dict[str, Any]) -> None:
    """As long as the options say: nodes may be made for it."""
    script = Script(driver)
    with pytest.raises(StoppedError, match="did not start within 600 s"):
        attempt(script).follow(lambda _: None)
    assert 600 < script.now < 900


def test_a_driver_that_ran_has_started() -> None:
    """Also where its node is not heard of for longer than a start may take."""
    script = Script(RUNNING, *[UNKNOWN] * 700, pod("Succeeded"))
    assert attempt(script).follow(lambda _: None) == 0


def test_without_an_operator_nothing_happens() -> None:
    """The sentence names what is missing, soon; an operator that has acted has longer."""
    script = Script(None)
    with pytest.raises(StoppedError, match="no Dask operator acts on the DaskJob sales-1-"):
        attempt(script).follow(lambda _: None)
    assert 25 < script.now < 40
    script = Script(None)
    script.status = {"jobStatus": "JobCreated"}
    with pytest.raises(StoppedError, match=r"did not start within 600 s: .* makes no pods"):
        attempt(script).follow(lambda _: None)


def test_what_the_operator_fails_at_is_said() -> None:
    """It tells so in events about the DaskJob."""
    script = Script(None)
    script.told_events = True
    with pytest.raises(StoppedError, match=r"makes no pods .*: no service account") as caught:
        attempt(script).follow(lambda _: None)
    assert "start" not in str(caught.value)
    assert script.now < 120


def test_a_daskjob_that_somebody_removes_ends_it() -> None:
    """Before there was a driver."""
    script = Script(None)
    tried = attempt(script)
    tried.begin()
    script.there.clear()
    with pytest.raises(StoppedError, match="was removed by somebody else"):
        tried._followed(lambda _: None)


def test_no_right_is_final() -> None:
    """With the sentence and the rule that is needed."""
    script = Script(None)
    script.refuses = RefusedError(403, FORBIDDEN)
    with pytest.raises(ClusterError, match="ann may not create daskjobs in namespace space"):
        attempt(script).follow(lambda _: None)


def test_an_api_that_does_not_answer_may_later() -> None:
    """So it is no usage error: the Job tries again."""
    script = Script(None)
    script.refuses = RefusedError(0, "connection refused")
    with pytest.raises(ClusterError, match="does not answer", check=may_pass):
        attempt(script).follow(lambda _: None)


def test_what_was_created_without_an_answer_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request arrived, its answer did not."""
    script = Script(None)
    make = script.make

    def lost(*args: Any, **kwargs: Any) -> Any:
        make(*args, **kwargs)
        raise RefusedError(0, "no answer within 10 s")

    monkeypatch.setattr(script, "make", lost)
    with pytest.raises(ClusterError, check=may_pass):
        attempt(script).begin()
    assert len(script.made) == 1
    assert script.there == []


def test_a_silence_while_there_is_no_driver_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked whether the DaskJob is there, the API has no answer at first."""
    script = Script(None, None, RUNNING, ended(0))
    get, n_asked = script.get, 0

    def silent(plural: str, name: str, **how: Any) -> Any:
        nonlocal n_asked
        n_asked += plural == "daskjobs"
        if plural == "daskjobs" and n_asked == 1:
            raise RefusedError(503, "apiserver is shutting down")
        return get(plural, name, **how)

    monkeypatch.setattr(script, "get", silent)
    assert attempt(script).follow(lambda _: None) == 0
    assert n_asked == 2


def test_a_short_silence_of_the_api_is_waited_out() -> None:
    """A long one is not."""
    silence = RefusedError(503, "apiserver is shutting down")
    script = Script(RUNNING, *[silence] * 60, RUNNING, ended(0))
    assert attempt(script).follow(lambda _: None) == 0
    with pytest.raises(StoppedError):
        attempt(Script(RUNNING, silence)).follow(lambda _: None)


@pytest.mark.parametrize("at", ["make", "get"])
def test_an_interrupt_removes_the_daskjob(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever it comes."""
    script = Script(RUNNING)
    make = script.make

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        if at == "make":
            make(*args, **kwargs)
        raise KeyboardInterrupt

    script.pods = [None]
    monkeypatch.setattr(script, at, interrupted)
    with pytest.raises(KeyboardInterrupt):
        attempt(script).follow(lambda _: None)
    assert len(script.made) == 1
    assert script.there == []


SILENCE = RefusedError(503, "apiserver is shutting down")
REMOVE = r"may run on, with all its workers: remove it with `kubectl delete daskjob {} -n space`"


def interrupted(script: Script, *on_delete: BaseException) -> list[str]:
    """Interrupt an attempt, and what comes at each try to remove it; give what is said then."""
    said: list[str] = []
    script.pods, script.on_delete = [KeyboardInterrupt(), None], list(on_delete)
    with pytest.raises(KeyboardInterrupt):
        attempt(script, said.append).follow(lambda _: None)
    assert "created the DaskJob" in said[0]
    return said[1:]


def test_a_removal_is_asked_for_until_it_is_taken() -> None:
    """The API may be away for a moment just then; for longer, it is said what is left."""
    script = Script(None)
    assert interrupted(script, *[SILENCE] * 30) == []
    assert script.there == []
    script = Script(None)
    [told] = interrupted(script, *[SILENCE] * 1000)
    assert REMOVE.format(script.made[0]["metadata"]["name"]) in told
    assert 60 <= script.now < 70


def test_a_removal_that_is_refused_is_said_at_once() -> None:
    """Trying again would not help."""
    script = Script(None)
    forbidden = RefusedError(403, FORBIDDEN.replace("create", "delete"))
    [told] = interrupted(script, forbidden)
    assert REMOVE.format(script.made[0]["metadata"]["name"]) in told
    assert "ann may not delete daskjobs in namespace space" in told
    assert script.now == 0


def test_a_second_interrupt_waits_no_longer() -> None:
    """One more try, and what became of it is said."""
    script = Script(None)
    [told] = interrupted(script, SILENCE, KeyboardInterrupt())
    assert "is removed, and its pods are going: see `kubectl get pods -n space -l dask" in told
    assert script.there == []
    for last in (SILENCE, KeyboardInterrupt()):
        script = Script(None)
        [told] = interrupted(script, KeyboardInterrupt(), last)
        assert REMOVE.format(script.made[0]["metadata"]["name"]) in told


def test_a_driver_that_does_not_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its DaskJob is removed all the same."""
    script = Script(None)
    get = script.get

    def staying(plural: str, name: str, **how: Any) -> Any:
        return get(plural, name, **how) if script.there else RUNNING

    monkeypatch.setattr(script, "get", staying)
    [told] = interrupted(script)
    assert script.there == []
    assert 150 <= script.now < 160
    assert "its driver may be left: see `kubectl get pod sales-1-" in told


# -- what it writes ----------------------------------------------------------------------------

LOG = """\
2026-01-01T00:00:00.1Z reading
2026-01-01T00:00:00.12Z working
2026-01-01T00:00:01Z half
2026-01-01T00:00:01.5Z done"""


def test_each_line_of_the_driver_once() -> None:
    """In order, however often it is asked, with clocks that leave out zeros."""
    script = Script(pod("Pending"), RUNNING, RUNNING, RUNNING, ended(0))
    lines: list[str] = []
    whole, script.logs = LOG.splitlines(), []
    log, n = script.log, 0

    def growing(*args: Any, **kwargs: Any) -> list[str]:
        nonlocal n
        n += 1
        script.logs = whole[:n]
        return log(*args)  # all of it, whatever was asked for

    script.log = growing
    assert attempt(script).follow(lines.append) == 0
    assert lines == ["reading", "working", "half", "done"]


def test_a_log_that_cannot_be_read_stops_nothing() -> None:
    """The run itself is what counts."""
    script = Script(RUNNING, ended(0))

    def refused(*args: Any, **kwargs: Any) -> list[str]:
        raise RefusedError(500, "not yet")

    script.log = refused
    assert attempt(script).follow(lambda _: None) == 0


# -- names and owners --------------------------------------------------------------------------


def test_each_attempt_has_a_name_of_its_own() -> None:
    """And the same run folder, which goes on."""
    names, outs = set(), set()
    for _ in range(3):
        script = Script(ended(3))
        attempt(script).follow(lambda _: None)
        [made] = script.made
        names.add(made["metadata"]["name"])
        assert made["metadata"]["labels"]["daskcast/run"] == "sales-1"
        args = made["spec"]["job"]["spec"]["containers"][0]["args"]
        outs.add(args[args.index("--out") + 1])
        assert args[-1] == "--resume-if-begun"
    assert len(names) == 3
    assert outs == {"s3://runs/sales-1"}


def test_follows_what_a_predecessor_left() -> None:
    """A pod of the Job that was killed outright leaves its DaskJob: there is no second one."""
    script, said = Script(RUNNING, ended(0)), []
    attempt(script).begin()
    assert attempt(script, said.append).follow(lambda _: None) == 0
    assert len(script.made) == 1
    assert "following it" in said[0]


@pytest.mark.parametrize(
    ("status", "driver"),
    [
        ({"jobStatus": "Failed"}, RUNNING),
        ({"jobStatus": "Successful"}, RUNNING),
        ({"jobStatus": "Running", "jobRunnerPodName": "r-runner"}, None),
        ({"jobStatus": "Running", "jobRunnerPodName": "r-runner"}, ended(137)),
    ],
    ids=["failed", "done", "node-gone", "unseen"],
)
def test_what_has_ended_is_not_followed(status: dict[str, Any], driver: Any) -> None:
    """It is removed, and the run goes on by a new one; one that goes on is followed."""
    script, said = Script(driver), []
    script.status = status
    attempt(script).begin()
    script.on_delete = [SILENCE, RefusedError(403, FORBIDDEN)]
    attempt(script, said.append).begin()
    first, second = script.made
    assert "the run sales-1 has ended as the DaskJob sales-1-" in said[0]
    assert REMOVE.format(first["metadata"]["name"]) in said[1], "and does not end the attempt"
    second["status"] = {"jobStatus": "Running"}
    assert attempt(script).begin() == second["metadata"]["name"]
    second["status"] = status
    attempt(script).begin()
    assert [job["metadata"]["name"] for job in script.there] == [script.made[2]["metadata"]["name"]]


def test_what_is_going_is_not_followed() -> None:
    """A new one is made beside it."""
    script = Script(ended(0))
    attempt(script).begin()
    script.there[0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    attempt(script).follow(lambda _: None)
    assert len(script.made) == 2


def test_in_a_job_it_goes_with_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes removes it with its owner, should nobody else."""
    script = Script(ended(0))
    attempt(script).begin()
    assert "ownerReferences" not in script.made[0]["metadata"]
    monkeypatch.setenv("DASKCAST_RUN", "sales-1")
    monkeypatch.setenv("DASKCAST_JOB_UID", "u-9")
    script = Script(ended(0))
    attempt(script).begin()
    [owner] = script.made[0]["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "batch/v1", "kind": "Job", "name": "sales-1", "uid": "u-9"}


def test_adaptive_workers_have_an_autoscaler() -> None:
    """Of the cluster of the DaskJob, and gone with it."""
    script = Script(ended(0))
    attempt(script, adaptive="2:8").follow(lambda _: None)
    job, scaler = script.made
    assert scaler["spec"] == {"cluster": job["metadata"]["name"], "minimum": 2, "maximum": 8}
    assert scaler["metadata"]["ownerReferences"][0]["uid"] == "u-1"


@pytest.mark.parametrize("name", ["", "A", "-a", "a_b", "a-", "x" * 64, "a.b"])
def test_names_that_cannot_be(name: str) -> None:
    """They would be labels and parts of names."""
    with pytest.raises(ConfigError, match="run-name must be"):
        check_run_name(name)


def test_a_name_may_be_a_month() -> None:
    """As people call a monthly run; what is made of it begins with a letter."""
    check_run_name("2026-11")
    assert job_name("2026-11", "abc") == "run-2026-11-abc"


# -- on a cluster ------------------------------------------------------------------------------

HOW = ["--horizon", "6", "--search", "portfolio", "--cv-windows", "1", "--batch-size", "10"]
PODS = ["--image", "daskcast:test", "--workers", "1", "--worker-cpu", "500m"]
PODS += ["--scheduler-cpu", "500m", "--secret", "s3-keys"]
N_AIRPORTS = 60


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Give an object store for run folders."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    from s3_server import S3Server

    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.make_bucket("runs")
        server.make_bucket("sales")
        yield server


@pytest.fixture
def data(s3: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the address of a table that pods read themselves."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    url = "s3://sales/panel.parquet"
    with fsspec.open(url, "wb") as file:
        demo.airports(N_AIRPORTS, months=48).to_parquet(file)
    return url


@pytest.fixture
def space(kubernetes: Cluster, namespace: str, data: str, s3: Any) -> str:
    """Give a namespace with what is rendered, and the secrets that are asked for."""
    for part in ("rbac", "network"):
        kubernetes.apply(rendered(namespace, data, part))
    login = {"MLFLOW_TRACKING_USERNAME": "daskcast", "MLFLOW_TRACKING_PASSWORD": "x"}
    # the run folder of a driver that was killed is free sooner
    keys = {**s3.environment, "DASKCAST_LEASE_S": "8"}
    kubernetes.apply([secret("s3-keys", keys), secret("daskcast-mlflow", login)], namespace)
    return namespace


def rendered(namespace: str, data: str, part: str, *args: str) -> str:
    call = ["k8s", "render", data, *HOW, *PODS, "--out", "s3://runs/{run}"]
    done = CliRunner().invoke(main, [*call, "--namespace", namespace, "--part", part, *args])
    assert done.exit_code == 0, done.output
    return done.output


def until(true: Callable[[], Any], seconds: float, what: str) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.2)
    pytest.fail(f"not within {seconds} s: {what}")


def submitted(
    kubernetes: Cluster, account: str, home: str, data: str, *args: str
) -> subprocess.Popen[str]:
    """Start the command as somebody who has an account of a namespace."""
    env = {**os.environ, "KUBECONFIG": str(kubernetes.user_kubeconfig(home, account))}
    call = [*DASKCAST, "k8s", "submit", data, *HOW, *PODS, "--out", "s3://runs/{run}", *args]
    pipe = subprocess.PIPE
    return subprocess.Popen(call, stdout=pipe, stderr=pipe, text=True, env=env)


def left(kubernetes: Cluster, namespace: str) -> list[str]:
    """Name what there is of DaskJobs and their clusters."""
    found = [job["metadata"]["name"] for job in kubernetes.list("daskjobs.kubernetes.dask.org")]
    found += [
        pod["metadata"]["name"]
        for pod in kubernetes.pods(namespace)
        if "dask.org/cluster-name" in pod["metadata"].get("labels", {})
    ]
    return found


def gone(kubernetes: Cluster, namespace: str) -> None:
    until(lambda: not left(kubernetes, namespace), 60, "the DaskJob and its pods are gone")


def triggered(kubernetes: Cluster, namespace: str) -> str:
    """Let the time of the CronJob come; give the name of its Job."""
    job = kubernetes.trigger_cronjob(namespace, "daskcast")
    assert job is not None
    name: str = job["metadata"]["name"]
    return name


def state_of(kubernetes: Cluster, namespace: str, job: str) -> dict[str, Any]:
    """Give the condition that a Job ended with, or none."""
    found = kubernetes.get("jobs.batch", namespace, job) or {}
    for condition in found.get("status", {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return {**condition, **found["status"]}
    return {}


def logs_of(kubernetes: Cluster, namespace: str, job: str) -> str:
    """Give what the pods of a Job wrote."""
    pods = kubernetes.pods(namespace, f"batch.kubernetes.io/job-name={job}")
    return "".join(kubernetes.logs(namespace, pod["metadata"]["name"]) for pod in pods)


def job_ends(kubernetes: Cluster, namespace: str, job: str) -> dict[str, Any]:
    found = until(
        lambda: state_of(kubernetes, namespace, job), 240, f"the job {job}; it wrote "
        f"{logs_of(kubernetes, namespace, job)}",
    )  # fmt: skip
    assert isinstance(found, dict)
    return found


def n_batches(run: str) -> int:
    try:
        return len(RunFolder.open(f"s3://runs/{run}").finished())
    except (StoreError, AttributeError):
        return 0


@pytest.mark.long
def test_a_cronjob_forecasts(
    kubernetes: Cluster, space: str, data: str, s3: Any, tmp_path: Path
) -> None:
    """By a DaskJob of its own each time, tracked, with its log in that of the Job."""
    store = mlflow_server(kubernetes, space, tmp_path)
    kubernetes.apply(rendered(space, data, "cronjob"))
    name = triggered(kubernetes, space)
    state = job_ends(kubernetes, space, name)
    log = logs_of(kubernetes, space, name)
    assert state["type"] == "Complete", log
    assert f"s3://runs/{name}" in log
    run = Run(RunFolder.open(f"s3://runs/{name}"))
    assert run.entities["unique_id"].nunique() == N_AIRPORTS
    gone(kubernetes, space)
    assert len(find_runs(tracking_uri=store)) == N_AIRPORTS
    second = triggered(kubernetes, space)
    assert second != name
    assert job_ends(kubernetes, space, second)["type"] == "Complete"
    assert {key.split("/")[0] for key in s3.objects("runs")} >= {name, second}


@pytest.mark.long
def test_unusable_data_is_final(kubernetes: Cluster, space: str, data: str) -> None:
    """Exit code 2: one pod, and the Job has failed by its policy."""
    columns = ["--target-col", "no_such_column", "--no-tracking"]
    kubernetes.apply(rendered(space, data, "cronjob", *columns))
    name = triggered(kubernetes, space)
    state = job_ends(kubernetes, space, name)
    log = logs_of(kubernetes, space, name)
    assert (state["type"], state["reason"]) == ("Failed", "PodFailurePolicy"), log
    assert state["failed"] == 1
    assert "no_such_column" in log
    gone(kubernetes, space)


def test_a_driver_that_is_killed_is_tried_again(kubernetes: Cluster, space: str, data: str) -> None:
    """Exit code 3: the next pod goes on with the same run folder, by another DaskJob."""
    kubernetes.apply(rendered(space, data, "cronjob", "--no-tracking", "--trials", "40"))
    name = triggered(kubernetes, space)

    def runner() -> str | None:
        pods = kubernetes.pods(space, f"daskcast/run={name},dask.org/component=job-runner")
        alive = [p for p in pods if p.get("status", {}).get("phase") == "Running"]
        return alive[0]["metadata"]["name"] if alive else None

    first = until(runner, 90, "a driver")
    until(lambda: "working" in kubernetes.logs(space, first) or n_batches(name), 90, "some work")
    kubernetes.kill_pod(space, first)
    second = until(lambda: (r := runner()) and r != first and r, 90, "another driver")
    state = job_ends(kubernetes, space, name)
    assert state["type"] == "Complete", logs_of(kubernetes, space, name)
    assert state["failed"] == 1
    assert second != first
    assert "exit code 137" in logs_of(kubernetes, space, name)
    assert Run(RunFolder.open(f"s3://runs/{name}")).entities.shape[0] == N_AIRPORTS
    gone(kubernetes, space)


@pytest.mark.long
def test_a_user_with_the_rendered_role_alone(kubernetes: Cluster, space: str, data: str) -> None:
    """Submits from outside; in another namespace the sentence says what is missing."""
    process = submitted(kubernetes, "daskcast", space, data, "--no-tracking", "--run-name", "mine")
    code, told = end_of(process)
    assert code == 0, told
    assert "s3://runs/mine" in told
    gone(kubernetes, space)
    other = submitted(
        kubernetes, "daskcast", space, data, "--no-tracking", "--namespace", "default"
    )
    code, told = end_of(other)
    assert code == 2, told
    assert f"system:serviceaccount:{space}:daskcast may not" in told
    assert "daskjobs in namespace default" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_removes_the_run(
    kubernetes: Cluster, space: str, data: str, number: signal.Signals
) -> None:
    """Exit code 3, and nothing is left that costs money."""
    process = submitted(kubernetes, "daskcast", space, data, "--no-tracking")
    until(lambda: left(kubernetes, space) or process.poll() is not None, 60, "a DaskJob")
    process.send_signal(number)
    code, told = end_of(process, 60)
    assert code == 3, told
    gone(kubernetes, space)


@pytest.mark.long
def test_left_to_itself(kubernetes: Cluster, space: str, data: str) -> None:
    """`--detach` prints the name; who submits the same run again follows it."""
    same = ["--no-tracking", "--run-name", "left"]
    code, told = end_of(submitted(kubernetes, "daskcast", space, data, *same, "--detach"))
    assert code == 0, told
    assert told.startswith("left-")
    code, told = end_of(submitted(kubernetes, "daskcast", space, data, *same))
    assert code == 0, told
    assert "following it" in told
    assert "s3://runs/left" in told
    gone(kubernetes, space)


def test_a_run_that_stopped_begins_anew(kubernetes: Cluster, space: str) -> None:
    """The operator keeps what has ended, and sees no pod that goes with its node."""
    pods = KubernetesOptions(image="daskcast:test")
    run = RunOptions(cluster="kubernetes", workers=1, kubernetes=pods, out="s3://runs/{run}")

    def begun(*args: str, image: str = "daskcast:test") -> str:
        options = replace(run, kubernetes=replace(pods, image=image))
        work = Work(name="sales", options=options, run_args=("daskcast", *args), alone=True)
        with closing(connected(space)) as api:
            return Attempt(work, api, "sales-1").begin()

    def status(name: str, key: str) -> Any:
        job = kubernetes.get("daskjobs.kubernetes.dask.org", space, name) or {}
        return job.get("status", {}).get(key)

    first = begun("no-such-command")
    until(lambda: status(first, "jobStatus") == "Failed", 60, "the operator saw the end")
    second = begun("run", image="no.such/image:1")
    pod = until(lambda: status(second, "jobRunnerPodName"), 60, "a pod")
    assert begun("run") == second != first
    kubernetes.delete("pods", space, pod, grace_s=0)
    until(lambda: kubernetes.get("pods", space, pod) is None, 60, "the pod is gone")
    third = begun("no-such-command")
    found = kubernetes.list("daskjobs.kubernetes.dask.org", space)
    assert [job["metadata"]["name"] for job in found] == [third]
    assert third not in (first, second)


def test_a_secret_that_is_missing_is_named(kubernetes: Cluster, space: str, data: str) -> None:
    """Soon, and as something that may be tried again."""
    process = submitted(kubernetes, "daskcast", space, data, "--no-tracking", "--secret", "absent")
    code, told = end_of(process, 90)
    assert code == 3, told
    assert "absent" in told
    gone(kubernetes, space)
