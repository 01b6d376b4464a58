"""All manifests of a namespace, in the order to apply.

Covers which parts there are and what is said before the first. Does not cover what each of them
holds (``rbac``, ``network``, ``mlflow``, ``jobs``). Asks nobody anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daskcast.k8s.jobs import Work, autoscaler, cron_job, daskjob, job, job_name
from daskcast.k8s.manifests import DRIVER_SECRET, SERVER_SECRET, Document, manifest, named, to_yaml
from daskcast.k8s.mlflow import server
from daskcast.k8s.network import policies
from daskcast.k8s.rbac import accounts, namespace
from daskcast.k8s.spec import COMPONENT_LABEL, LABELS

if TYPE_CHECKING:
    from daskcast.k8s.surroundings import Surroundings
    from daskcast.kubernetes_options import KubernetesOptions

PARTS = ("all", "rbac", "network", "mlflow", "job", "cronjob", "daskjob")


def render(work: Work, around: Surroundings, *, part: str, run: str, suffix: str) -> str:
    """Write manifests.

    Parameters
    ----------
    work : Work
    around : Surroundings
    part : str
        One of ``PARTS``; ``all`` is what a namespace needs, and the CronJob.
    run : str
        Name of the run of a Job or DaskJob.
    suffix : str
        Makes the name of a DaskJob its own.

    Returns
    -------
    str
        YAML, to ``kubectl apply``.
    """
    wanted = [part]
    if part == "all":
        mlflow = ["mlflow"] if work.own_mlflow else []
        wanted = ["rbac", "network", *mlflow, "cronjob"]
    documents: list[Document] = []
    for name in wanted:
        documents += _part(name, work, around, run, suffix)
    return to_yaml(documents, _head(work, around, part))


def _part(name: str, work: Work, around: Surroundings, run: str, suffix: str) -> list[Document]:
    if name == "rbac":
        adaptive = work.options.kubernetes.adaptive is not None
        found = accounts(around.namespace, adaptive=adaptive)
        return [namespace(around.namespace), *found, _undisturbed(around)]
    if name == "network":
        elsewhere = work.options.tracking_uri if work.options.tracking else None
        return policies(around, mlflow=work.own_mlflow, elsewhere=elsewhere)
    if name == "mlflow":
        return server(around, pull_secrets=work.pods.pull_secrets)
    if name == "job":
        return job(work, around, name=run)
    if name == "cronjob":
        return cron_job(work, around)
    named_so = job_name(run, suffix)
    made = daskjob(work, around.namespace, run=run, name=named_so)
    adapting = autoscaler(work, around.namespace, name=named_so)
    more = [Document(adapting, _ADAPTIVE_ABOUT)] if adapting else []
    return [Document(made, _DASKJOB_ABOUT), *more]


_DASKJOB_ABOUT = """\
A cluster and a driver, as `daskcast k8s submit` creates them, under a name that must be new each
time. Nobody tries it again and nobody removes it: that is what the Job is for."""


_ADAPTIVE_ABOUT = "Workers by what there is to do; the operator looks each five seconds."


def _undisturbed(around: Surroundings) -> Document:
    """Keep nodes of schedulers from being drained while a run goes on."""
    selector = {"matchLabels": {**LABELS, COMPONENT_LABEL: "scheduler"}}
    spec = {
        "maxUnavailable": 0,
        "selector": selector,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    metadata = named("daskcast-scheduler", around.namespace)
    made = manifest("PodDisruptionBudget", "policy/v1", metadata, spec=spec)
    return Document(made, "A node is drained when the run whose scheduler is on it has ended.")


# -- what is said before the first ----------------------------------------------------------------


def _head(work: Work, around: Surroundings, part: str) -> str:
    lines = [f"daskcast in the namespace {around.namespace}."]
    if part == "all":
        lines += ["", *_OPERATOR.format(operator=around.operator_namespace).splitlines()]
    secrets = _secrets(work, around, part)
    if secrets:
        lines += ["", "No secret is in this file. Pods wait until there are:", *secrets]
    return "\n".join(lines)


_OPERATOR = """\
Once in a cluster, by who may:
  helm install dask-operator dask-kubernetes-operator --repo https://helm.dask.org \\
    --namespace {operator} --create-namespace
Then `kubectl apply -f` this file, and `daskcast k8s check` to see what is missing."""


def _secrets(work: Work, around: Surroundings, part: str) -> list[str]:
    """Give the commands that create what pods of a part wait for."""
    serves = part == "mlflow" or (work.own_mlflow and part == "all")
    runs = part in {"all", "job", "cronjob", "daskjob"}
    found: list[str] = []
    if serves:
        found += _of_the_server(around)
    if serves or (work.own_mlflow and runs):
        keys = {"MLFLOW_TRACKING_USERNAME": "daskcast", "MLFLOW_TRACKING_PASSWORD": _RANDOM}
        found += _create(f"{_new('secret generic', around)} {DRIVER_SECRET}", keys)
    if runs:
        found += _of_the_run(work.pods, around)
    if serves or runs:
        start = _new("secret docker-registry", around)
        how = "--docker-server=HOST --docker-username=..."
        found += [f"{start} {name} {how}" for name in work.pods.pull_secrets]
    return found


_RANDOM = '"$(openssl rand -hex 24)"'


def _new(kind: str, around: Surroundings) -> str:
    return f"  kubectl create {kind} -n {around.namespace}"


def _of_the_server(around: Surroundings) -> list[str]:
    keys = {
        "POSTGRES_USER": "mlflow",
        "POSTGRES_PASSWORD": _RANDOM,
        "MLFLOW_AUTH_ADMIN_PASSWORD": _RANDOM,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": _RANDOM,
        "AWS_ACCESS_KEY_ID": "..." if around.artifacts else "daskcast",
        "AWS_SECRET_ACCESS_KEY": "..." if around.artifacts else _RANDOM,
    }
    return _create(f"{_new('secret generic', around)} {SERVER_SECRET}", keys)


def _of_the_run(pods: KubernetesOptions, around: Surroundings) -> list[str]:
    """Name what scheduler, workers and driver get; the driver has all that workers have."""
    how = "--from-env-file=FILE   # one KEY=VALUE a line"
    secrets = dict.fromkeys((*pods.driver.secrets, *pods.scheduler.secrets))
    maps = dict.fromkeys((*pods.driver.config_maps, *pods.scheduler.config_maps))
    return [
        *(f"{_new('secret generic', around)} {name} {how}" for name in secrets),
        *(f"{_new('configmap', around)} {name} {how}" for name in maps),
    ]


def _create(command: str, keys: dict[str, str]) -> list[str]:
    options = [f"    --from-literal={key}={value}" for key, value in keys.items()]
    return [f"{line} \\" for line in (command, *options[:-1])] + [options[-1]]
