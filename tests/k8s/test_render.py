"""What `daskcast k8s render` prints: valid for each version of Kubernetes, without secrets."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask_kubernetes
import jsonschema
import kubernetes_validate
import mlflow
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_validate import utils
from little_kubernetes.tools import tool
from mlflow_server import free_port
from postgres import RunningPostgres, binaries
from s3_server import S3Server

from daskcast.cli import main
from daskcast.config import RunOptions
from daskcast.errors import ConfigError
from daskcast.k8s import probe, surroundings
from daskcast.k8s.jobs import Work, daskjob, job_name, name_of, name_problems
from daskcast.k8s.manifests import Document, literal, to_yaml
from daskcast.k8s.rbac import DRIVER_RULES, SUBMIT_RULES, USER_RULES
from daskcast.k8s.surroundings import Surroundings, schedule_problem, server_image_of
from daskcast.kubernetes_options import RESERVED, KubernetesOptions, PodOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSIONS = [f"1.{minor}" for minor in range(30, 38)]
OUT = "s3://runs/{run}"
PLAIN = ["s3://sales/daily", "--horizon", "12", "--out", OUT]
PODS = ["--image", "ghcr.io/me/daskcast:0.1.0", "--namespace", "forecast", "--workers", "4"]
CASES = {
    "plain": [],
    "adaptive": ["--adaptive", "2:40"],
    "spot": ["--spot", "node.kubernetes.io/lifecycle=spot", "--toleration", "gpu=no:NoSchedule"],
    "secrets": ["--secret", "s3-keys", "--secret", "more", "--pull-secret", "registry"],
    "sizes": [
        *("--worker-cpu", "500m", "--worker-memory", "8Gi", "--threads-per-worker", "2"),
        *("--scheduler-cpu", "2", "--scheduler-memory", "4Gi", "--idle-timeout", "60"),
        *("--start-timeout", "1800.5"),
    ],
    "placed": ["--node-selector", "disk=ssd", "--service-account", "mine"],
    "untracked": ["--no-tracking"],
    "elsewhere": ["--tracking-uri", "https://mlflow.example.com:8443"],
    "bucket": ["--artifacts", "s3://ours/mlflow"],
    "endpoint": ["--artifacts", "s3://ours", "--artifacts-endpoint", "http://s3.example.com:9000"],
    "scheduled": ["--schedule", "@weekly", "--time-zone", "Europe/Vienna", "--deadline", "600"],
    "images": [
        *("--server-image", "me/server@sha256:" + "0" * 64, "--postgres-image", "pg:16"),
        *("--store-image", "s3:1", "--operator-namespace", "dask", "--egress-port", "9000"),
        *("--api-port", "16443", "--name", "mine", "--pull-secret", "registry"),
    ],
    "options": [
        *("--level", "50,99.5", "--models", "ets,mine.models:Own", "--gaps", "fail", "--strict"),
        *("--experiment", "Sales of 2026!", "--tag", "team=network", "--seed", "7", "--freq", "MS"),
    ],
}  # fmt: skip
ONE = ["--out", "s3://runs/november"]
GOING_ON = {"begun": ["--resume", *ONE], "retried": ["--retry-failed", *ONE]}
EVERYTHING = ("rbac", "network", "mlflow", "job", "cronjob", "daskjob")


@functools.cache
def rendered(*args: str, part: str = "all", code: int = 0) -> str:
    """Give what the command prints, with no cluster to ask."""
    call = ["k8s", "render", *PLAIN, *PODS, "--part", part, *args]
    done = CliRunner().invoke(main, call, env={"KUBECONFIG": "/nowhere"})
    assert done.exit_code == code, done.output
    return done.output


def objects(*args: str, part: str = "all") -> list[dict[str, Any]]:
    return list(yaml.load_all(rendered(*args, part=part), yaml.CSafeLoader))


def one(kind: str, *args: str, part: str = "all", name: str = "") -> dict[str, Any]:
    """Give the only object of a kind."""
    found = [
        thing
        for thing in objects(*args, part=part)
        if thing["kind"] == kind and name in thing["metadata"]["name"]
    ]
    assert len(found) == 1, [thing["metadata"]["name"] for thing in found]
    return found[0]


def pods_in(thing: Any) -> Iterator[dict[str, Any]]:
    """Give the specs of pods at any depth."""
    if isinstance(thing, dict):
        if "containers" in thing:
            yield thing
        for part in thing.values():
            yield from pods_in(part)
    elif isinstance(thing, list):
        for part in thing:
            yield from pods_in(part)


def containers_of(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod["containers"], *pod.get("initContainers", ())]


def env_of(container: dict[str, Any]) -> dict[str, Any]:
    found = {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}
    assert len(found) == len(container["env"])
    return found


# -- schemas -----------------------------------------------------------------------------------


def chart() -> Path:
    folder = "operator/deployment/helm/dask-kubernetes-operator"
    return Path(dask_kubernetes.__file__).parent / folder


@functools.cache
def schemas() -> dict[str, dict[str, Any]]:
    """Give the schema of each kind that the operator brings."""
    found = {}
    for file in sorted((chart() / "crds").glob("*.yaml")):
        crd = yaml.load(file.read_text(), yaml.CSafeLoader)
        found[crd["spec"]["names"]["kind"]] = crd["spec"]["versions"][0]["schema"][
            "openAPIV3Schema"
        ]
    return found


def unknown_fields(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Name what an API server would silently drop."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return []
    if isinstance(value, list):
        items = schema.get("items", {})
        return [p for i, v in enumerate(value) for p in unknown_fields(v, items, f"{path}[{i}]")]
    if not isinstance(value, dict):
        return []
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    if not known and (rest is not None or not schema.get("properties")):
        inner = rest if isinstance(rest, dict) else {}
        return [p for k, v in value.items() for p in unknown_fields(v, inner, f"{path}.{k}")]
    found = []
    for key, inner in value.items():
        here = f"{path}.{key}"
        if path == "" and key in {"apiVersion", "kind", "metadata"}:
            continue
        found += unknown_fields(inner, known[key], here) if key in known else [here]
    return found


def strict(schema: Any) -> Any:
    """Make of a schema of Kubernetes one of JSON: two kinds of values differ."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: strict(part) for key, part in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
    elif schema.get("nullable") and isinstance(schema.get("type"), str):
        found["type"] = [schema["type"], "null"]
    return found


@functools.cache
def validator(kind: str) -> Any:
    return jsonschema.Draft7Validator(strict(schemas()[kind]))


@pytest.fixture(scope="module", autouse=True)
def schemas_are_read_once() -> Iterator[None]:
    """Keep what kubernetes-validate would read anew, megabytes for each object."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))
        yield


def check(thing: dict[str, Any], version: str) -> None:
    """Validate an object, and each pod in it, for one version of Kubernetes."""
    if thing["kind"] in schemas():
        validator(thing["kind"]).validate(thing)
        assert unknown_fields(thing, schemas()[thing["kind"]]) == []
    else:
        kubernetes_validate.validate(thing, version, strict=True)
    for pod in map(as_pod, pods_in(thing)):
        kubernetes_validate.validate(pod, version, strict=True)


def as_pod(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec}


@functools.cache
def different_ones() -> list[dict[str, Any]]:
    """Give each object of all cases and parts once, and the pods of resources of Dask's."""
    found: dict[str, dict[str, Any]] = {}
    for args in CASES.values():
        for part in EVERYTHING:
            for thing in objects(*args, part=part):
                whole = [thing]
                if thing["kind"] in schemas():
                    validator(thing["kind"]).validate(thing)
                    assert unknown_fields(thing, schemas()[thing["kind"]]) == []
                    whole = list(map(as_pod, pods_in(thing)))
                for each in whole:
                    found[re.sub(r"-[0-9]{8}t[0-9]{6}z(-[0-9a-f]{6})?", "", json.dumps(each))] = (
                        each
                    )
    return list(found.values())


@pytest.mark.parametrize("version", VERSIONS)
def test_valid_for_each_version_of_kubernetes(version: str) -> None:
    """Strictly: no field that is unknown, misspelled, null or of another type."""
    assert len(different_ones()) > 60
    for thing in different_ones():
        kubernetes_validate.validate(thing, version, strict=True)


def test_the_check_itself_finds_what_is_wrong() -> None:
    """A misspelled field is found in an object, in a pod of a resource of Dask's, and as null."""
    job = one("DaskJob", part="daskjob")
    job["spec"]["job"]["spec"]["imagePullSecret"] = []
    with pytest.raises((AssertionError, kubernetes_validate.ValidationError)):
        check(job, "1.34")
    job = one("DaskJob", part="daskjob")
    job["spec"]["cluster"]["spec"]["worker"]["replicas"] = "two"
    with pytest.raises(jsonschema.ValidationError):
        check(job, "1.34")
    policy = one("NetworkPolicy", part="network", name="daskcast-default")
    policy["spec"]["podselector"] = None
    with pytest.raises(kubernetes_validate.ValidationError):
        check(policy, "1.34")


def test_the_chart_of_the_operator_is_valid(tmp_path: Path) -> None:
    """Helm accepts it, and its objects are valid, as the operator is installed by it."""
    helm = tool("helm")
    if helm is None:
        pytest.skip("helm is not installed")
    folders = ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")
    env = {**os.environ, **dict.fromkeys(folders, str(tmp_path))}

    def run(*args: str) -> str:
        call = [str(helm), *args]
        return subprocess.run(call, env=env, check=True, capture_output=True, text=True).stdout

    assert "0 chart(s) failed" in run("lint", str(chart()))
    text = run("template", "dask-operator", str(chart()), "--namespace", "dask-operator")
    things = [thing for thing in yaml.safe_load_all(text) if thing]
    assert {"Deployment", "ClusterRole", "ServiceAccount"} <= {thing["kind"] for thing in things}
    for version in (VERSIONS[0], VERSIONS[-1]):
        for thing in things:
            check(thing, version)
    [pod] = [pod for thing in things for pod in pods_in(thing)]
    [labels] = [
        t["spec"]["template"]["metadata"]["labels"] for t in things if "Deploy" in t["kind"]
    ]
    assert pod["containers"][0]["securityContext"]["runAsNonRoot"]
    assert labels["app.kubernetes.io/name"] == "dask-kubernetes-operator"  # as `check` looks for
    assert unrestricted(pod) == ["seccomp"]  # in a namespace as rendered, it needs to be told:
    told = ["--set", "podSecurityContext.seccompProfile.type=RuntimeDefault"]
    text = run("template", "dask-operator", str(chart()), *told)
    [pod] = [pod for thing in yaml.safe_load_all(text) if thing for pod in pods_in(thing)]
    assert unrestricted(pod) == []


# -- security ----------------------------------------------------------------------------------

_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
    *("persistentVolumeClaim", "projected", "secret"),
}


def unrestricted(pod: dict[str, Any]) -> list[str]:
    """Name what the profile "restricted" of the Pod Security Standards forbids."""
    shared = pod.get("securityContext", {})
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    for volume in pod.get("volumes", ()):
        found += sorted(set(volume) - {"name"} - _VOLUMES)
    for container in containers_of(pod):
        own = container.get("securityContext", {})
        both = {**shared, **own}
        if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
            found.append("root")
        if both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
            found.append("seccomp")
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            found.append("privileges")
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", ()) or capabilities.get("add"):
            found.append("capabilities")
        found += ["hostPort" for port in container.get("ports", ()) if "hostPort" in port]
    return found


def all_pods(*args: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each pod that a part has, with the name of the object it is in."""
    for part in EVERYTHING:
        for thing in objects(*args, part=part):
            for pod in pods_in(thing):
                yield f"{thing['kind']} {thing['metadata']['name']}", pod


@pytest.mark.parametrize("case", CASES)
def test_each_pod_is_restricted(case: str) -> None:
    """Not root, a read-only root, no rights gained, as the namespace itself demands."""
    names = []
    for name, pod in all_pods(*CASES[case]):
        names.append(name)
        assert unrestricted(pod) == [], name
        for container in containers_of(pod):
            assert container["securityContext"]["readOnlyRootFilesystem"], name
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert container["resources"]["limits"]["memory"], name
    assert len(names) >= 5
    labels = one("Namespace", *CASES[case], part="rbac")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_check_of_restricted_pods_finds_root() -> None:
    """An ordinary pod breaks the four rules of the profile."""
    pod = {"containers": [{"name": "a"}], "hostNetwork": True, "volumes": [{"hostPath": {}}]}
    found = unrestricted(pod)
    assert found == [
        *("hostNetwork", "hostPath", "root", "seccomp", "privileges", "capabilities"),
    ]


def daskjob_pods(*args: str) -> dict[str, dict[str, Any]]:
    spec = one("DaskJob", *args, part="daskjob")["spec"]
    cluster = spec["cluster"]["spec"]
    return {
        "driver": spec["job"]["spec"],
        "scheduler": cluster["scheduler"]["spec"],
        "worker": cluster["worker"]["spec"],
    }


def test_only_driver_and_submit_have_a_token() -> None:
    """And none of them the rights of another."""
    for name, pod in all_pods():
        account = pod.get("serviceAccountName", "")
        has_token = pod.get("automountServiceAccountToken") is True
        assert has_token == (account in {"daskcast-driver", "daskcast-submit"}), name
    pods = daskjob_pods()
    assert pods["driver"]["serviceAccountName"] == "daskcast-driver"
    assert pods["worker"]["serviceAccountName"] == "daskcast-worker"
    assert pods["scheduler"]["serviceAccountName"] == "daskcast-worker"
    roles = {t["metadata"]["name"] for t in objects(part="rbac") if t["kind"] == "Role"}
    assert roles == {"daskcast", "daskcast-submit", "daskcast-driver"}


@pytest.mark.parametrize("rules", [USER_RULES, SUBMIT_RULES, DRIVER_RULES])
def test_roles_name_what_they_allow(rules: tuple[Any, ...]) -> None:
    """No star, no secrets, no pods made by hand, nothing beyond the namespace."""
    for group, resources, verbs in rules:
        assert "*" not in (group, *resources, *verbs)
        assert not {"secrets", "roles", "rolebindings", "pods/exec"} & set(resources)
        if "pods" in resources:
            assert set(verbs) == {"get", "list", "watch"}
    kinds = {thing["kind"] for thing in objects(part="rbac")}
    assert not {"ClusterRole", "ClusterRoleBinding"} & kinds


def test_only_the_driver_is_somebody_to_mlflow() -> None:
    """Workers get the secrets of the data and no other; the server's stay on the server."""
    pods = daskjob_pods("--secret", "s3-keys")
    ours = [{"secretRef": {"name": "s3-keys"}}]
    assert pods["worker"]["containers"][0]["envFrom"] == ours
    assert "envFrom" not in pods["scheduler"]["containers"][0]
    driver = pods["driver"]["containers"][0]
    assert driver["envFrom"] == [*ours, {"secretRef": {"name": "daskcast-mlflow"}}]
    for name, pod in all_pods("--secret", "s3-keys"):
        holds = json.dumps(pod)
        on_server = name.startswith(("Deployment daskcast-mlflow", "StatefulSet daskcast-"))
        assert ("daskcast-mlflow-server" in holds.replace("daskcast-server:", "")) == on_server
        assert "s3-keys" not in holds or "submit" in holds or name.startswith("DaskJob")
    elsewhere = daskjob_pods("--tracking-uri", "https://mlflow.example.com")["driver"]
    [source] = elsewhere["containers"][0]["envFrom"]
    assert source == {"secretRef": {"name": "daskcast-mlflow", "optional": True}}
    assert "envFrom" not in daskjob_pods("--no-tracking")["driver"]["containers"][0]


def test_no_secret_is_in_what_is_printed() -> None:
    """No object holds a value of one; the commands that make them draw it anew."""
    text = rendered("--secret", "s3-keys")
    assert "kind: Secret" not in text
    for line in text.splitlines():
        if re.search(r"(PASSWORD|SECRET_KEY|SECRET_ACCESS_KEY)=", line):
            assert line.startswith("#")
            assert "$(openssl rand -hex 24)" in line
    assert "kubectl create secret generic -n forecast s3-keys" in text
    for _, pod in all_pods():
        for container in containers_of(pod):
            for name, value in env_of(container).items():
                if re.search("PASS|SECRET|PGUSER|ACCESS_KEY", name):
                    assert set(value) == {"secretKeyRef"}, name


@pytest.mark.parametrize(
    "args",
    [
        ["--tracking-uri", "https://me:hunter2@mlflow.example.com"],
        ["--out", "ftp://me:hunter2@host/{run}"],
        ["--tag", "api_token=hunter2"],
        ["--tag", "my/token=hunter2"],
        ["--tag", "authorization=hunter2"],
        ["--tag=account_key=hunter2"],
        ["--tag", "conn=Server=x;Password=hunter2;"],
        ["--tag", "conn=Server=x; Password = hunter2"],
    ],
)
def test_a_credential_on_the_command_line_is_refused(args: list[str]) -> None:
    """It would stand in a manifest; the message does not repeat it."""
    told = rendered(*args, code=2)
    assert "would stand in the manifest" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    "toml",
    [
        'tracking-uri = "https://me:hunter2@mlflow.example.com"',
        '[kubernetes.worker.env]\nAWS_SECRET_ACCESS_KEY = "hunter2"',
        '[tags]\npassword = "hunter2"',
        '# was out = "ftp://me:hunter2@host/x"',
        '# [kubernetes.worker.env]\n# AZURE_STORAGE_KEY = "hunter2"',
        '[kubernetes.driver]\nenv = { AZURE_STORAGE_CONNECTION_STRING = "hunter2" }',
        '[tags]\n"my/sas" = "hunter2"',
        "# AWS_SECRET_ACCESS_KEY=hunter2",
        "# password: hunter2",
        '[tags]\nconn = "Server=x;Password=hunter2;"',
    ],
)
def test_a_credential_in_the_config_file_is_refused(toml: str, tmp_path: Path) -> None:
    """The file becomes a ConfigMap, with its comments and with what a flag replaces."""
    (tmp_path / "run.toml").write_text(toml)
    args = ["--config", str(tmp_path / "run.toml"), "--tag", "team=network"]
    told = rendered(*args, code=2)
    assert "would stand in" in told
    assert "hunter2" not in told


def test_where_a_secret_is_is_said(tmp_path: Path) -> None:
    """Which variable, tag, option or line: so that it need not be looked for."""
    file, told = tmp_path / "run.toml", ""
    file.write_text('seed = 3\n# token: hunter2\n[kubernetes.worker.env]\nMY_TOKEN = "hunter2"\n')
    told += rendered("--config", str(file), code=2)
    file = tmp_path / "more.toml"
    file.write_text('seed = 3\n# token: hunter2\n#\n# MY_TOKEN = "hunter2"\n')
    told += rendered(
        *("--config", str(file), "--tag", "conn=a;pwd=hunter2"),
        *("--tracking-uri", "https://me:hunter2@mlflow.example.com"), code=2,
    )  # fmt: skip
    where = ("(MY_TOKEN)", "the tag conn", "--tracking-uri", "lines 2, 4 of the config")
    for part in where:
        assert part in told
    assert "a credential in worker.env" in told
    assert "hunter2" not in told


@pytest.mark.timeout(120)
def test_a_long_config_file(tmp_path: Path) -> None:
    """It is read in time, a ConfigMap has room for it; a longer one is refused."""
    (tmp_path / "run.toml").write_text("# " + "a" * 900_000 + "\n# http://h\n")
    assert "CronJob" in rendered("--config", str(tmp_path / "run.toml"), part="cronjob")
    (tmp_path / "more.toml").write_text("# a\n" * 250_001)
    told = rendered("--config", str(tmp_path / "more.toml"), code=2)
    assert "1,000,000 bytes at most" in told
    assert "found 1,000,004" in told


def test_names_of_secrets_are_no_secrets(tmp_path: Path) -> None:
    """What is named so that it can be found, and what only sounds like it, is printed."""
    text = 'tags = { monkey = "x", passengers = "y" }\n[kubernetes]\npull_secrets = "registry"\n'
    text += (
        '[kubernetes.worker]\nsecrets = "lake"\nenv = { PGPASSFILE = "/x", SECRET_NAME = "y" }\n'
    )
    (tmp_path / "run.toml").write_text(text)
    assert "CronJob" in rendered("--config", str(tmp_path / "run.toml"))


# -- the run -----------------------------------------------------------------------------------


def driver_args(*args: str) -> list[str]:
    found: list[str] = daskjob_pods(*args)["driver"]["containers"][0]["args"]
    return found


def value(args: list[str], flag: str) -> str:
    return args[args.index(flag) + 1]


def test_the_driver_uses_the_cluster_of_its_daskjob() -> None:
    """By name, with a run folder of its own, going on where there is something to go on with."""
    made = one("DaskJob", part="daskjob")
    args = made["spec"]["job"]["spec"]["containers"][0]["args"]
    run = made["metadata"]["labels"]["daskcast/run"]
    assert args[:3] == ["daskcast", "run", "s3://sales/daily"]
    assert value(args, "--cluster") == "kubernetes"
    assert value(args, "--cluster-name") == made["metadata"]["name"]
    assert value(args, "--namespace") == "forecast"
    assert value(args, "--workers") == "4"
    assert value(args, "--out") == f"s3://runs/{run}"
    assert value(args, "--tracking-uri") == "http://daskcast-mlflow.forecast.svc:5000"
    assert "--resume-if-begun" in args
    assert "--image" not in args
    assert made["spec"]["job"]["spec"]["restartPolicy"] == "Never"
    assert made["metadata"]["name"].startswith(run)
    assert made["metadata"]["name"] != run
    assert made["spec"]["cluster"]["spec"]["worker"]["replicas"] == 4
    assert "idleTimeout" not in made["spec"]["cluster"]["spec"]


def parsed(args: list[str]) -> Any:
    """Give the options that the command reads from arguments."""
    from daskcast.cli.app import run
    from daskcast.cli.options import resolve

    ctx = run.make_context("run", list(args))
    flags = dict(ctx.params)
    for name in ("data", "dry_run"):
        flags.pop(name)
    return resolve(flags, flags.pop("config_file"), cluster="local")


@pytest.mark.parametrize("case", [*CASES, *GOING_ON])
def test_the_driver_is_told_all_options(case: str) -> None:
    """What it reads from its arguments is what was given, but for where it is done."""
    told = {**CASES, **GOING_ON}[case]
    config, options = parsed(driver_args(*told)[2:])
    own = {"--schedule", "--time-zone", "--deadline", "--artifacts", "--artifacts-endpoint"}
    own |= {"--server-image", "--postgres-image", "--store-image", "--operator-namespace"}
    own |= {"--egress-port", "--api-port", "--name"}
    pairs = [a for i, a in enumerate(told) if a not in own and told[i - 1] not in own]
    asked_config, asked = parsed([*PLAIN, *PODS, "--cluster", "kubernetes", *pairs])
    assert config == asked_config
    for name in ("workers", "threads_per_worker", "strict", "tags", "experiment", "tracking"):
        assert getattr(options, name) == getattr(asked, name)
    assert options.kubernetes.start_timeout == asked.kubernetes.start_timeout
    assert (options.resume, options.retry_failed) == (asked.resume, asked.retry_failed)
    assert options.resume_if_begun == (not (asked.resume or asked.retry_failed))


def test_logs_are_json_where_that_is_asked_for() -> None:
    """Of the driver, whose log is that of the Job."""
    assert "--log-json" in driver_args("--log-json")
    assert "--log-json" not in driver_args()
    job = one("CronJob", "--log-json")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert "--log-json" in job["containers"][0]["args"]


def test_a_config_file_goes_along(tmp_path: Path) -> None:
    """What submits reads the file; the driver gets all of it as flags."""
    text = 'models = ["ets"]\nseed = 3\n[kubernetes]\nstart_timeout = 1200\n'
    text += '[kubernetes.worker]\nmemory = "8Gi"\n'
    (tmp_path / "mine.toml").write_bytes(text.replace("\n", "\r\n").encode())
    config = ["--config", str(tmp_path / "mine.toml")]
    documents = objects(*config)
    [held] = [t for t in documents if t["kind"] == "ConfigMap" and "run.toml" in t["data"]]
    assert held["data"]["run.toml"] == text
    job = one("CronJob", *config)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    container = job["containers"][0]
    assert value(container["args"], "--config") == "/etc/daskcast/run.toml"
    assert {"name": "options", "mountPath": "/etc/daskcast"} in container["volumeMounts"]
    assert {"name": "options", "configMap": {"name": "daskcast"}} in job["volumes"]
    args = driver_args(*config)
    assert (value(args, "--models"), value(args, "--seed")) == ("ets", "3")
    assert value(args, "--start-timeout") == "1200"
    assert "--start-timeout" not in driver_args(), "where it is that of each run"
    worker = daskjob_pods(*config)["worker"]["containers"][0]
    assert worker["resources"]["limits"]["memory"] == "8Gi"


def test_what_submits_is_told_what_was_given() -> None:
    """The same options, but for those that only render has, and a name from its Job."""
    job = one("CronJob", "--seed", "7", "--schedule", "@monthly", "--server-image", "x:1")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["args"] == [
        *("daskcast", "k8s", "submit", "s3://sales/daily", "--horizon", "12", "--seed", "7"),
        *("--workers", "4", "--out", OUT, "--image", "ghcr.io/me/daskcast:0.1.0"),
        *("--namespace", "forecast"),
    ]
    path = "metadata.labels['batch.kubernetes.io/job-name']"
    assert env_of(container)["DASKCAST_RUN"] == {"fieldRef": {"fieldPath": path}}
    assert pod["serviceAccountName"] == "daskcast-submit"


def test_exit_codes_decide_what_the_job_does() -> None:
    """1 and 2 are final, 3 counts and is tried again, a drained node does not count."""
    for spec in (
        one("CronJob")["spec"]["jobTemplate"]["spec"],
        one("Job", part="job")["spec"],
    ):
        rules = spec["podFailurePolicy"]["rules"]
        by_code = {
            code: rule["action"]
            for rule in rules
            for code in rule.get("onExitCodes", {}).get("values", ())
        }
        assert by_code == {1: "FailJob", 2: "FailJob", 3: "Count"}
        assert rules[1] == {
            "action": "Ignore",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        }
        pod = spec["template"]["spec"]
        assert {r["onExitCodes"]["containerName"] for r in rules if "onExitCodes" in r} == {
            pod["containers"][0]["name"]
        }
        assert pod["restartPolicy"] == "Never"
        assert spec["backoffLimit"] == 6


def test_the_schedule_is_monthly_unless_said_otherwise() -> None:
    """One run at a time, each by its own Job."""
    spec = one("CronJob")["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("0 6 2 * *", "Etc/UTC")
    assert spec["concurrencyPolicy"] == "Forbid"
    spec = one("CronJob", *CASES["scheduled"])["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("@weekly", "Europe/Vienna")
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 600


def test_dollars_are_not_variables() -> None:
    """Kubernetes replaces $(NAME) in arguments; here it is text."""
    assert value(driver_args("--tag", "a=$(HOME)"), "--tag") == "a=$$(HOME)"
    for text in ("$$(A) $B", "pa$$word", "$", "$$", "a$(b", "$(HOME)$$"):
        assert as_kubernetes_reads(literal(text)) == text


def test_dollars_are_not_variables_of_the_server() -> None:
    """Neither in what MLflow is told, nor in the values of its environment."""
    args = ["--artifacts", "s3://ours/$(HOME)", "--artifacts-endpoint", "http://$(HOME):9000"]
    pod = one("Deployment", *args)["spec"]["template"]["spec"]
    for container in containers_of(pod):
        told = env_of(container)["MLFLOW_S3_ENDPOINT_URL"]
        assert as_kubernetes_reads(told) == "http://$(HOME):9000"
    told = value(pod["containers"][0]["args"], "--artifacts-destination")
    assert as_kubernetes_reads(told) == "s3://ours/$(HOME)"


def as_kubernetes_reads(text: str) -> str:
    """Expand as Kubernetes does: two dollars are one, a name in brackets is a variable."""
    return re.sub(r"\$\$|\$\((\w+)\)", lambda m: "VALUE" if m[1] else "$", text)


# -- the network -------------------------------------------------------------------------------


def test_who_may_reach_mlflow() -> None:
    """Its own database and store, the driver, and pods that say so: not workers."""
    policy = one("NetworkPolicy", part="network", name="daskcast-mlflow")["spec"]
    [ingress] = policy["ingress"]
    kinds = ingress["from"][0]["podSelector"]["matchExpressions"][0]["values"]
    assert kinds == ["job-runner"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": 5000}]
    names = {
        to["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
        for rule in policy["egress"]
        for to in rule.get("to", ())
    }
    assert names == {"daskcast-postgres", "daskcast-store"}


def test_the_operator_reaches_schedulers() -> None:
    """From its namespace, at the two ports it asks."""
    args = ["--operator-namespace", "dask"]
    policy = one("NetworkPolicy", *args, part="network", name="daskcast-scheduler")["spec"]
    [rule] = policy["ingress"]
    wanted = {"kubernetes.io/metadata.name": "dask"}
    assert rule["from"][0] == {"namespaceSelector": {"matchLabels": wanted}}
    assert [port["port"] for port in rule["ports"]] == [8786, 8787]


def test_an_own_mlflow_elsewhere_can_be_reached() -> None:
    """The driver gets out at its port; nothing of MLflow is rendered."""
    args = CASES["elsewhere"]
    policy = one("NetworkPolicy", *args, part="network", name="daskcast-driver")["spec"]
    assert {"ports": [{"protocol": "TCP", "port": 8443}]} in policy["egress"]
    names = [thing["metadata"]["name"] for thing in objects(*args)]
    assert not [name for name in names if "mlflow" in name or "postgres" in name]


@pytest.mark.parametrize(
    ("uri", "port"),
    [
        ("http://mlflow.example.com", 80),
        ("https://mlflow.example.com", 443),
        ("databricks", 443),
        ("databricks://profile:prefix", 443),
        ("postgresql+psycopg://db/mlflow", 5432),
        ("mysql://db:3307/mlflow", 3307),
    ],
)
def test_each_store_is_reached_at_its_port(uri: str, port: int) -> None:
    """Where the address names none, at the one that its kind has."""
    args = ["--tracking-uri", uri]
    policy = one("NetworkPolicy", *args, part="network", name="daskcast-driver")["spec"]
    assert policy["egress"][-1] == {"ports": [{"protocol": "TCP", "port": port}]}
    assert value(driver_args(*args), "--tracking-uri") == uri


def ports_to_anywhere(policy: str, *args: str) -> list[int]:
    spec = one("NetworkPolicy", *args, part="network", name=policy)["spec"]
    open_to = [rule for rule in spec["egress"] if "to" not in rule]
    return [p["port"] for rule in open_to for p in rule["ports"] if p["port"] != 53]


def test_ports_of_the_api_and_of_data() -> None:
    """What is given replaces the default: of those who ask Kubernetes, or of those who read."""
    assert ports_to_anywhere("daskcast-submit") == [443, 6443]
    assert ports_to_anywhere("daskcast-driver") == [443, 6443]
    assert ports_to_anywhere("daskcast-dask") == [443]
    args = ["--api-port", "16443", "--api-port", "8443", "--egress-port", "9000"]
    assert ports_to_anywhere("daskcast-submit", *args) == [16443, 8443]
    assert ports_to_anywhere("daskcast-driver", *args) == [16443, 8443]
    assert ports_to_anywhere("daskcast-dask", *args) == [9000]


def test_all_images_of_the_server_may_be_of_a_private_registry() -> None:
    """Its database's and its store's too."""
    made = objects("--pull-secret", "registry", part="mlflow")
    pods = [pod for thing in made for pod in pods_in(thing)]
    assert len(pods) == 3
    for pod in pods:
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert "imagePullSecrets" not in rendered(part="mlflow")


def test_images_of_others_are_of_a_version() -> None:
    """What is applied again months later is what was applied first."""
    made = objects(part="mlflow")
    images = {c["image"] for thing in made for pod in pods_in(thing) for c in containers_of(pod)}
    assert not [image for image in images if image.endswith(":latest") or ":" not in image]


def test_a_bucket_of_ones_own_needs_no_store() -> None:
    """The server uses it, with keys that may be missing where the node has a role."""
    names = [thing["metadata"]["name"] for thing in objects(*CASES["endpoint"])]
    assert "daskcast-store" not in names
    pod = one("Deployment", *CASES["endpoint"])["spec"]["template"]["spec"]
    [server], [prepare] = pod["containers"], pod["initContainers"]
    assert value(server["args"], "--artifacts-destination") == "s3://ours"
    assert env_of(server)["MLFLOW_S3_ENDPOINT_URL"] == "http://s3.example.com:9000"
    assert env_of(server)["AWS_ACCESS_KEY_ID"]["secretKeyRef"]["optional"] is True
    assert prepare["args"] == ["python", "-m", "daskcast.mlflow_plugin.prepare"]
    policy = one("NetworkPolicy", *CASES["endpoint"], part="network", name="daskcast-mlflow")
    assert {
        "ports": [{"protocol": "TCP", "port": 443}, {"protocol": "TCP", "port": 9000}]
    } in policy["spec"]["egress"]


def test_the_server_is_called_by_its_names() -> None:
    """MLflow refuses requests that are for another host."""
    pod = one("Deployment")["spec"]["template"]["spec"]
    command = pod["containers"][0]["args"]
    assert value(command, "--app-name") == "daskcast"
    hosts = value(command, "--allowed-hosts").split(",")
    assert "daskcast-mlflow.forecast.svc:5000" in hosts
    assert "*" not in hosts
    assert "@" not in " ".join(command)
    [settings] = [t for t in objects(part="mlflow") if t["kind"] == "ConfigMap"]
    assert "@" not in settings["data"]["auth.ini"]


# -- the server, for real ------------------------------------------------------------------------

SECRETS = {
    "POSTGRES_USER": "postgres",
    "POSTGRES_PASSWORD": "word-of-postgres",
    "MLFLOW_AUTH_ADMIN_PASSWORD": "word-of-the-admin",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "word-of-flask",
    "MLFLOW_TRACKING_USERNAME": "daskcast",
    "MLFLOW_TRACKING_PASSWORD": "word-of-daskcast",
}


class Rendered:
    """The pod of the MLflow server, its names replaced by addresses of this machine."""

    def __init__(self, folder: Path, postgres: RunningPostgres, s3: S3Server) -> None:
        self.pod = one("Deployment")["spec"]["template"]["spec"]
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._secrets = {**SECRETS}
        self._secrets |= {key: s3.environment[key] for key in s3.environment if "ACCESS" in key}
        self._names = {
            "daskcast-postgres:5432": f"127.0.0.1:{postgres.port}",
            "http://daskcast-store:7070": s3.uri,
            "/etc/daskcast": str(folder),
        }
        [settings] = [t for t in objects(part="mlflow") if t["kind"] == "ConfigMap"]
        (folder / "auth.ini").write_text(self._here(settings["data"]["auth.ini"]))

    def _here(self, text: str) -> str:
        for name, address in self._names.items():
            text = text.replace(name, address)
        return text

    def env(self, container: dict[str, Any], **more: str) -> dict[str, str]:
        found = {}
        for name, value in env_of(container).items():
            secret = (
                value if isinstance(value, str) else self._secrets[value["secretKeyRef"]["key"]]
            )
            found[name] = self._here(secret)
        own = {"PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true"}
        return {**own, **found, "HOME": str(self._folder), "NO_PROXY": "*", **more}

    def prepare(self, **more: str) -> None:
        [container] = self.pod["initContainers"]
        call = [sys.executable, *container["args"][1:]]
        env = self.env(container, **more)
        subprocess.run(call, env=env, cwd=self._folder, check=True, timeout=400)

    @contextmanager
    def serving(self) -> Iterator[str]:
        [container] = self.pod["containers"]
        args = [self._here(word) for word in container["args"]]
        args[args.index("0.0.0.0")] = "127.0.0.1"
        args[args.index("5000")] = str(self.port)
        args[args.index("--workers") + 1] = "1"
        assert "word-of" not in " ".join(args)
        log = self._folder / "server.log"
        with log.open("wb") as told:
            process = subprocess.Popen(
                [sys.executable, "-m", *args], env=self.env(container), cwd=self._folder,
                stdout=told, stderr=told, start_new_session=True,
            )  # fmt: skip
        try:
            self._wait(process, log)
            yield self.uri
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def _wait(self, process: subprocess.Popen[bytes], log: Path) -> None:
        end = time.monotonic() + 300
        while probe.status_of(f"{self.uri}/health") != "200":
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(log.read_text()[-3000:])
            time.sleep(0.2)


def asked_as(uri: str, host: str) -> int:
    request = urllib.request.Request(f"{uri}/api/2.0/mlflow/experiments/search?max_results=1")
    request.add_header("Host", host)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.integration
@pytest.mark.long
def test_the_server_as_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bucket and the driver's account are made, twice without harm; it wants the login."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("moto")
    (tmp_path / "s3").mkdir()
    with RunningPostgres() as postgres, S3Server(tmp_path / "s3") as s3:
        server = Rendered(tmp_path, postgres, s3)
        server.prepare(MLFLOW_TRACKING_PASSWORD="an older word")
        server.prepare()
        assert s3.buckets() == ["mlflow"]
        with server.serving() as uri:
            nobody = probe.look([], uri)["mlflow"]
            assert (nobody["health"], nobody["account"], nobody["bulk"]) == ("200", "401", "401")
            for host, status in (
                ("daskcast-mlflow.forecast.svc:5000", 401), ("elsewhere.example.com", 403),
            ):  # fmt: skip
                assert asked_as(uri, host) == status
            for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
                monkeypatch.setenv(name, SECRETS[name])
            client = mlflow.MlflowClient(uri)
            experiment = client.create_experiment("of-the-driver")
            run = client.create_run(experiment).info.run_id
            client.log_text(run, "as it was", "report.html")
            url = f"{uri}{probe.ROUTE.replace('=0', f'={experiment}')}"
            assert probe.status_of(url) == "200"
        kept = [key for key in s3.objects("mlflow") if key.endswith("report.html")]
        assert len(kept) == 1


# -- what is refused, and how it reads -------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--image", "Not An Image"], "must be an image"),
        (["--namespace", "No_Namespace"], "must be the name of a namespace"),
        (["--out", "runs/here"], "must outlive the pods"),
        (["--out", "file:///tmp/here"], "must outlive the pods"),
        (["--out", "s3://runs/always"], "put {run} into --out"),
        (["--cluster", "threads"], "leave --cluster threads away"),
        (["--cluster-name", "mine"], "leave --cluster-name away"),
        (["--schedule", "monthly"], "cron's five fields"),
        (["--schedule", "0 6 2 *"], "cron's five fields"),
        (["--schedule", "0 24 2 * *"], "must have hours from 0 to 23"),
        (["--schedule", "0 0 31 2 *"], "it never comes"),
        (["--time-zone", "UTC+1; rm"], "such as Europe/Vienna"),
        (["--time-zone", "Europe/Viena"], "such as Europe/Vienna"),
        (["--artifacts", "gs://x"], "a bucket, s3://NAME"),
        (["--artifacts-endpoint", "http://x:1"], "give both"),
        (["--artifacts", "s3://abc", "--artifacts-endpoint", "http://me:pw@x"], "without a user"),
        (["--server-image", "-x"], "server_image must be an image"),
        (["--artifacts", "s3://abc", "--artifacts-endpoint", "https://x:99999"], "1 to 65535"),
        (["--egress-port", "0"], "egress_ports must be from 1 to 65535"),
        (["--api-port", "65536"], "api_ports must be from 1 to 65535"),
        (["--deadline", "0"], "above 0"),
        (["--deadline", str(10**30)], "at most 1000000000"),
        (["--tracking-uri", "http://h:99999"], "with a port from 1 to 65535"),
        (["--tracking-uri", "postgresql://h:0/mlflow"], "with a port from 1 to 65535"),
        (["--tracking-uri", "http://:5000"], "must be a store that outlives the pods"),
        (["--tracking-uri", "sqlite:///mlflow.db"], "must be a store that outlives the pods"),
        (["--tracking-uri", "sqlite+pysqlite:////x/m.db"], "a store that outlives the pods"),
        (["--tracking-uri", "./mlruns"], "must be a store that outlives the pods"),
        (["--tracking-uri", "/mlruns"], "must be a store that outlives the pods"),
        (["--tracking-uri", "file:///mlruns"], "must be a store that outlives the pods"),
        (["--tracking-uri", "C:\\mlruns"], "must be a store that outlives the pods"),
        (["--tracking-uri", ""], "must be a store that outlives the pods"),
        (["--tracking-uri", "gopher://h/x"], "unknown scheme 'gopher'"),
        (["--resume"], "leave --resume away"),
        (["--retry-failed"], "leave --retry-failed away"),
        (["--artifacts", "s3://abc", "--no-tracking"], "which --no-tracking leaves out"),
        (["--artifacts", "s3://abc", "--tracking-uri", "http://h"], "which --tracking-uri leaves"),
        (["--namespace", "kube-system"], "cut off what else is there; found kube-system"),
        (["--namespace", "kube-public"], "must be one for runs"),
        (["--namespace", "kube-node-lease"], "must be one for runs"),
        (["--namespace", "default"], "must be one for runs"),
        (["--namespace", "dask-operator"], "must be one for runs"),
        (["--out", "s3://"], "--out must name a bucket or host after s3://"),
        (["--out", "gs:///runs/{run}"], "--out must name a bucket or host after gs://"),
        (["--out", "foo://a/{run}"], "of a kind that fsspec knows"),
        (["--out", "memory://a/{run}"], "memory:// goes with its pod"),
        (["--name", ""], "46 characters at most"),
        (["--experiment", "daskcast-mlflow"], "give another with --name"),
        (["--name", "daskcast-submit"], "give another with --name"),
        (["--name", "Sales"], "with a letter first"),
        (["--name", "x" * 47], "46 characters at most"),
        (["--worker-memory", "lots"], "such as 4Gi"),
        (["--horizon", "0"], "at least 1"),
    ],
)
def test_what_is_wrong_is_said(args: list[str], told: str) -> None:
    """In a sentence, with exit code 2, and nothing printed that could be applied."""
    output = rendered(*args, code=2)
    assert told in output
    assert "apiVersion" not in output
    assert "Traceback" not in output


@pytest.mark.parametrize("part", ["all", "cronjob"])
def test_a_schedule_begins_anew(part: str, tmp_path: Path) -> None:
    """What only one run can go on with is refused, from a file too; not for a run by itself."""
    (tmp_path / "run.toml").write_text("resume = true\nretry_failed = true\n")
    config = ["--config", str(tmp_path / "run.toml")]
    assert "leave --resume and --retry-failed away" in rendered(*config, part=part, code=2)
    assert "DaskJob" in rendered(*config, *ONE, part="daskjob")
    assert "Namespace" in rendered(*config, part="rbac")


@pytest.mark.parametrize("part", ["job", "daskjob"])
@pytest.mark.parametrize("flag", ["--resume", "--retry-failed"])
def test_a_new_name_has_no_run_to_go_on_with(part: str, flag: str) -> None:
    """It would end with exit code 2 in the cluster; what is around a run does not mind."""
    told = rendered(flag, part=part, code=2)
    assert f"{flag} goes on with a run that is there" in told
    assert "give --out with the folder of that run" in told
    assert "apiVersion" not in told
    assert "Namespace" in rendered(flag, part="rbac")
    assert flag in rendered(flag, *ONE, part=part)


def test_submit_goes_on_with_a_run_that_is_named() -> None:
    """By its name, or by its folder."""
    call = ["k8s", "submit", *PLAIN, *PODS, "--dry-run", "--resume"]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2
    assert "give --run-name NAME, or --out with" in done.output
    for more in (["--run-name", "first"], ONE):
        assert CliRunner().invoke(main, [*call, *more]).exit_code == 0
    in_a_job = CliRunner().invoke(main, call, env={"DASKCAST_RUN": "first"})
    assert "s3://runs/first" in in_a_job.output


def test_submit_creates_nothing_to_be_left() -> None:
    """A dry run has nothing to detach from; an empty name is none."""
    call = ["k8s", "submit", *PLAIN, *PODS]
    done = CliRunner().invoke(main, [*call, "--dry-run", "--detach"])
    assert done.exit_code == 2
    assert "give one of them" in done.output
    done = CliRunner().invoke(main, [*call, "--dry-run", "--run-name", ""])
    assert done.exit_code == 2
    assert "run-name must be" in done.output


def test_an_operator_of_one_namespace_is_there_on_purpose() -> None:
    """Who says that it is in the namespace of the runs has installed it so."""
    args = ["--namespace", "team", "--operator-namespace", "team"]
    policy = one("NetworkPolicy", *args, part="network", name="daskcast-scheduler")
    assert policy["metadata"]["namespace"] == "team"


@pytest.mark.parametrize("url", ["s3://", "s3:///a", "foo://a/b", "memory://a", "c::foo://a/b"])
def test_data_is_where_pods_see_it(url: str) -> None:
    """A bucket is named, of a kind that there is, outside of any pod."""
    for command in (["render"], ["submit", "--dry-run"]):
        done = CliRunner().invoke(main, ["k8s", *command, url, *PLAIN[1:], *PODS])
        assert done.exit_code == 2
        assert "DATA must" in done.output


def test_data_is_no_option_of_the_pod() -> None:
    """What looks like one, and like a URL, would be one there."""
    for command in (["render"], ["submit", "--dry-run"]):
        call = ["k8s", *command, *PLAIN[1:], *PODS, "--", "--tag=x=s3://sales"]
        done = CliRunner().invoke(main, call)
        assert done.exit_code == 2
        assert "must not begin with -" in done.output
        assert "apiVersion" not in done.output


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "mlruns", "http://h:99999"])
def test_submit_refuses_a_store_that_goes_with_its_pod(uri: str) -> None:
    """As render does, before anything is created."""
    call = ["k8s", "submit", *PLAIN, *PODS, "--dry-run", "--tracking-uri", uri]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2
    assert "must be a store that outlives the pods" in done.output
    assert "Traceback" not in done.output


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Of the run, of what is around it and of what creates it."""
    told = rendered(
        *("--tracking-uri", "http://h:99999", "--egress-port", "0", "--name", "A", "--resume"),
        *("--tag", "my/token=x", "--schedule", "0 0 31 2 *"), code=2,
    )  # fmt: skip
    for part in (
        "tracking-uri",
        "egress_ports",
        "name must",
        "--resume",
        "tag my",
        "schedule must",
    ):
        assert part in told


def test_variables_of_the_operator_are_its_own(tmp_path: Path) -> None:
    """A pod that was told another scheduler would wait for it, or work for it."""
    for name in RESERVED:
        for pod in ("scheduler", "worker", "driver"):
            with pytest.raises(ConfigError, match=rf"{pod}\.env must leave .*{name} away"):
                KubernetesOptions(**{pod: PodOptions(env={name: "x"})})
    (tmp_path / "run.toml").write_text('[kubernetes.worker.env]\nDASK_SCHEDULER_ADDRESS = "x"\n')
    told = rendered("--config", str(tmp_path / "run.toml"), code=2)
    assert "leave DASK_SCHEDULER_ADDRESS away" in told


def test_paths_of_this_machine_are_refused() -> None:
    """All problems at once."""
    call = ["k8s", "render", "sales.csv", "--horizon", "12", *PODS]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2
    assert "pods do not see 'sales.csv'" in done.output
    assert "give --out with a URL" in done.output


def test_what_is_missing_is_said() -> None:
    """Namespace, image, workers."""
    for without, told in (
        ("--namespace", "give --namespace NAME"),
        ("--image", "give --image IMAGE"),
        ("--workers", "give --workers N"),
    ):
        at = PODS.index(without)
        pods = [*PODS[:at], *PODS[at + 2 :]]
        done = CliRunner().invoke(main, ["k8s", "render", *PLAIN, *pods])
        assert done.exit_code == 2
        assert told in done.output


def test_a_digest_names_no_server() -> None:
    """The server's image must be named, then."""
    told = rendered("--image", "me/daskcast@sha256:" + "0" * 64, code=2)
    assert "give --server-image IMAGE" in told
    assert server_image_of("host:5000/daskcast") == "host:5000/daskcast-server"


def test_surroundings_tell_all_problems_at_once() -> None:
    """As all options do."""
    with pytest.raises(ConfigError) as caught:
        Surroundings(namespace="A", server_image="", schedule="x", deadline=0)
    assert len(caught.value.problems) == 4


FIELDS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 6)}


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> tuple[str, set[int]]:
    """Give a field of cron and the values it stands for."""
    texts, values = [], set()
    for _ in range(draw(st.integers(1, 3))):
        first, last = sorted(draw(st.tuples(*[st.integers(low, high)] * 2)))
        step = draw(st.integers(1, 40))
        text, found = draw(
            st.sampled_from(
                [
                    (f"{first}", range(first, first + 1)),
                    (f"{first}-{last}", range(first, last + 1)),
                    (f"{first}-{last}/{step}", range(first, last + 1, step)),
                    (f"{first}/{step}", range(first, high + 1, step)),
                    (f"*/{step}", range(low, high + 1, step)),
                    ("*", range(low, high + 1)),
                ]
            )
        )
        texts.append(text)
        values |= set(found)
    return ",".join(texts), values


@given(st.tuples(*[fields(*FIELDS[name]) for name in ("minute", "hour", "day", "month")]))
def test_a_schedule_is_sound_where_it_comes(read: tuple[tuple[str, set[int]], ...]) -> None:
    """By a calendar of four years, which has one leap day."""
    schedule = " ".join([*(text for text, _ in read), "*"])
    days, months = read[2][1], read[3][1]
    start = date(2024, 1, 1)
    calendar = (start + timedelta(n) for n in range(4 * 366))
    comes = any(day.day in days and day.month in months for day in calendar)
    assert (schedule_problem(schedule) == "") == comes


@given(st.sampled_from(list(FIELDS)), st.integers(0, 99), st.sampled_from(["{}", "1-{}", "{}/2"]))
def test_a_number_that_no_clock_shows_is_refused(name: str, number: int, form: str) -> None:
    """Each field knows its own bounds, alone, in a range and with a step."""
    low, high = FIELDS[name]
    parts = [form.format(number) if name == other else "*" for other in FIELDS]
    lowest = max(low, 1) if form == "1-{}" else low
    assert (schedule_problem(" ".join(parts)) == "") == (lowest <= number <= high)


@pytest.mark.parametrize(
    ("schedule", "sound"),
    [
        ("@weekly", True),
        ("*/15 8-18/2 1,15 JAN-MAR mon-FRI", True),
        ("0  6 ? * *", True),
        ("0 0 29 feb *", True),
        ("0 0 30 2 *", False),
        ("0 0 31 4,6,9,11 *", False),
        ("0 0 31 2 MON", True),  # on Mondays, too: Kubernetes takes either
        ("0 0 * * 7", False),  # as Kubernetes does
        ("0 0 * * FRI-MON", False),
        ("0 0 * MON *", False),
        ("*/0 * * * *", False),
        ("1- * * * *", False),
        ("1,,2 * * * *", False),
        ("*-5 * * * *", False),
        ("\u0663 * * * *", False),
        ("0 6 2 * *\n", False),
        ("TZ=UTC 0 6 2 * *", False),
        ("@reboot", False),
        ("", False),
    ],
)
def test_schedules(schedule: str, sound: bool) -> None:
    """Those that Kubernetes would refuse are refused here."""
    assert (schedule_problem(schedule) == "") == sound


def test_a_machine_without_time_zones_believes_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes checks it again; what cannot be one is refused all the same."""
    monkeypatch.setattr(surroundings, "available_timezones", set)
    assert Surroundings(namespace="a", server_image="b", time_zone="Europe/Viena")
    with pytest.raises(ConfigError, match="time_zone must be"):
        Surroundings(namespace="a", server_image="b", time_zone="; rm")


def test_two_schedules_of_an_experiment() -> None:
    """Each has its name, on its ConfigMap too, and runs are called after it."""
    made = one("CronJob", "--name", "sales-weekly")
    assert made["metadata"]["name"] == "sales-weekly"
    assert "'--name'" not in str(made)
    assert one("Job", "--name", "sales", part="job")["metadata"]["name"].startswith("sales-2")
    longest = one("Job", "--name", "x" * 46, part="job")["metadata"]["name"]
    assert len(longest) == 63
    assert name_problems(name_of("x" * 99)) == []


def test_the_config_map_is_called_as_its_schedule(tmp_path: Path) -> None:
    """So that the second schedule does not change the options of the first."""
    (tmp_path / "run.toml").write_text("seed = 3\n")
    args = ["--config", str(tmp_path / "run.toml"), "--name", "weekly"]
    made = objects(*args, part="cronjob")
    assert [thing["metadata"]["name"] for thing in made] == ["weekly", "weekly"]
    [pod] = [pod for thing in made for pod in pods_in(thing)]
    assert {"name": "options", "configMap": {"name": "weekly"}} in pod["volumes"]


# -- how it is written -----------------------------------------------------------------------------

TYPED = re.compile(
    r"y|n|yes|no|on|off|true|false|null|~|<<|=|[-+]?\.?(inf|nan)|"
    r"[-+]?[0-9._][0-9a-fx_:.]*([ept][-+]?[0-9_:.]*)?z?|0o[0-7]+|[0-9]{4}-.*",
    flags=re.IGNORECASE,
)
"""What some reader of YAML 1.1 or 1.2 takes for a number, a time, truth or nothing."""

TELLING = (
    *("1e5", "1.5e3", "1e-05", "0o17", "0b1", "017", "1_000", "1:30", "y", "N", "yes", "Off", "~"),
    *("null", "", ".5", "+1", "-0", ".inf", "-.INF", ".nan", "NaN", "=", "<<", "2026-11-28", "e5"),
    *("0x1F", "- a", "a: b", "a #b", "&a", "*a", "!a", "%a", "@a", "`a", "'", '"', "a\nb", " a "),
    *("a\n\n", "\n a", "\t", "a\tb", "\u2028", "\x85", "\x1b", "\u00fc", "\U0001f600", "a \nb"),
)
texts = st.one_of(
    st.sampled_from(TELLING),
    st.text("0123456789eE+-._:xobynTZ~", max_size=8),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@given(st.dictionaries(texts, texts, max_size=4), st.lists(texts, max_size=6))
def test_a_text_is_a_text_to_each_reader(labels: dict[str, str], args: list[str]) -> None:
    """Nothing goes without quotes that could be something else, and all is read as it was."""
    written = to_yaml([Document({"labels": labels, "args": args})])
    assert yaml.safe_load(written) == {"labels": labels, "args": args}
    for token in yaml.scan(written):
        if isinstance(token, yaml.ScalarToken) and token.plain:
            assert not TYPED.fullmatch(token.value), token.value


def test_kubectl_reads_what_was_meant() -> None:
    """Its own reader of YAML gives back each text as it was."""
    kubectl = tool("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    data = {f"k{number}": text for number, text in enumerate(TELLING)}
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "1e5"}, "data": data}
    call = [kubectl, "label", "--local", "-f", "-", "-o", "json", "some=label"]
    done = subprocess.run(
        call, input=to_yaml([Document(held)]), capture_output=True, check=True, text=True
    )
    found = json.loads(done.stdout)
    assert found["data"] == data
    assert found["metadata"]["name"] == "1e5"


def test_numbers_among_arguments_are_texts() -> None:
    """As kubectl reads them, not as Python does."""
    printed = rendered("--max-failed", "0.00001", part="cronjob")
    assert "- '1e-05'\n" in printed
    assert "namespace: '1e3'\n" in rendered("--namespace", "1e3", part="cronjob")


def test_each_config_map_is_of_one_thing(tmp_path: Path) -> None:
    """A run now does not change the options of the schedule, nor those of another run."""
    (tmp_path / "run.toml").write_text("seed = 3\n")
    made = objects("--config", str(tmp_path / "run.toml"), part="job")
    names = {thing["metadata"]["name"] for thing in made}
    assert len(made) == 2
    assert len(names) == 1
    assert re.fullmatch(r"daskcast-[0-9]{8}t[0-9]{6}z", *names)
    [pod] = [pod for thing in made for pod in pods_in(thing)]
    assert {"name": "options", "configMap": {"name": names.pop()}} in pod["volumes"]


def needed(part: str, *args: str) -> set[str]:
    """Give the names of Secrets and ConfigMaps that pods of a part wait for."""
    found: set[str] = set()
    for thing in objects(*args, part=part):
        text = json.dumps(thing)
        found |= set(re.findall(r'"(?:secret|configMap|secretKey)Ref": \{"name": "([^"]+)"', text))
        for pod in pods_in(thing):
            found |= {pull["name"] for pull in pod.get("imagePullSecrets", ())}
    return found


@pytest.mark.parametrize("part", ["all", "job", "cronjob", "daskjob", "mlflow"])
@pytest.mark.parametrize("untracked", [False, True])
def test_the_head_names_all_that_pods_wait_for(part: str, untracked: bool, tmp_path: Path) -> None:
    """Of scheduler, workers, driver, server and images; Secrets and ConfigMaps; each once."""
    text = 'pull_secrets = "registry"\n'
    for pod in ("scheduler", "worker", "driver"):
        text += f'[kubernetes.{pod}]\nsecrets = ["of-{pod}", "lake"]\nconfig_maps = "in-{pod}"\n'
    (tmp_path / "run.toml").write_text(f"[kubernetes]\n{text}")
    args = ["--config", str(tmp_path / "run.toml"), *(["--no-tracking"] if untracked else [])]
    wanted = needed(part, *args)
    if part in {"all", "job", "cronjob"}:
        wanted |= needed("daskjob", *args)
    printed = rendered(*args, part=part)
    named = re.findall(
        r"^#   kubectl create (?:secret [\w-]+|configmap) -n forecast (\S+)", printed, re.MULTILINE
    )
    assert sorted(named) == sorted(wanted)
    assert len(wanted) == {"mlflow": 3}.get(part, 8 + (not untracked) * (1 + (part == "all")))


def help_of(*command: str) -> str:
    return " ".join(CliRunner().invoke(main, [*command, "--help"]).output.split())


@pytest.mark.parametrize("command", ["render", "submit"])
def test_help_tells_what_holds_in_pods(command: str) -> None:
    """No default of a run on this machine, and no option that means nothing there."""
    told = help_of("k8s", command)
    for of_run in ("[default: local]", "runs/EXPERIMENT", "sqlite", "one a core", "RANDOM"):
        assert of_run not in told
    for option in ("--cluster ", "--cluster-name", "--idle-timeout", "--resume-if-begun"):
        assert option not in told
    assert "[default: the server of the namespace]" in told
    assert "[default: local]" in help_of("run")
    assert "--cluster-name" in help_of("run")


def test_help_tells_what_schedules_share() -> None:
    """A second one brings no policies of its own, and a dry run asks nobody."""
    told = help_of("k8s", "render")
    assert "add a second by --part cronjob" in told
    assert "name the ports of all" in told
    assert "without --namespace, it is printed for the namespace default" in help_of(
        "k8s", "submit"
    )


def test_help_tells_which_ports_are_replaced() -> None:
    """And whose port counts behind a service."""
    told = help_of("k8s", "render")
    assert "in place of the default: the port of the pod or endpoint" in told
    assert "[default: 443 and 6443]" in told


def test_comments_say_what_is_what() -> None:
    """Each part begins with how to use it, and is in an order that can be applied."""
    text = rendered()
    assert text.startswith("# daskcast in the namespace forecast.\n")
    assert "helm install dask-operator" in text
    assert "--from=cronjob/daskcast" in text
    kinds = [thing["kind"] for thing in objects()]
    assert kinds[0] == "Namespace"
    assert kinds[-1] == "CronJob"
    assert kinds.index("Role") < kinds.index("RoleBinding")
    assert "&" not in re.sub(r"#.*", "", text)  # no anchors: each object can be read alone


def test_rendering_again_gives_the_same() -> None:
    """So a change of options is all that a diff shows."""
    again = rendered.__wrapped__
    assert again() == again()


def test_names_are_such_as_kubernetes_takes() -> None:
    """Of experiments, however they are called; of attempts, within the operator's limit."""
    for text in ("Sales of 2026!", "2026", "ÄÖ", "-", "x" * 99, "a--b"):
        name = name_of(text)
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
        assert len(name) <= 40
    long = job_name("r" * 44 + "-" + "s" * 18, "abcdef")
    assert len(long) <= 50
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", long)


def test_a_daskjob_without_workers_is_possible() -> None:
    """As `check` makes one."""
    options = RunOptions(cluster="kubernetes", workers=1, kubernetes=KubernetesOptions(image="a"))
    work = Work(name="a", options=options, run_args=("true",), n_workers=0, alone=True)
    made = daskjob(work, "b", run="c", name="d")
    assert made["spec"]["cluster"]["spec"]["worker"]["replicas"] == 0
    assert made["spec"]["job"]["spec"]["containers"][0]["args"] == ["true"]
