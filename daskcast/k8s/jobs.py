"""A run in the cluster: a DaskJob, and a Job that creates it, at once or by a schedule.

Covers what each of them holds. Does not cover creating and following a DaskJob (``submit``) or the
cluster in it (``spec``).

The operator makes of a DaskJob a cluster and a bare pod, the driver; when the pod ends it removes
the cluster. It knows no retry. So a Job around it runs ``daskcast k8s submit``, which ends with the
driver's exit code, and the Job decides by that: 1 and 2 are final, 3 goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daskcast.errors import ConfigError
from daskcast.k8s.manifests import (
    DRIVER,
    DRIVER_SECRET,
    MLFLOW,
    PART_LABEL,
    POSTGRES,
    RUN_LABEL,
    STORE,
    SUBMIT,
    USERS,
    WORKER,
    Document,
    literal,
    manifest,
    named,
)
from daskcast.k8s.spec import API_VERSION, LABELS, cluster_spec, pod_spec
from daskcast.kubernetes_options import KubernetesOptions, PodOptions
from daskcast.out import RUN

if TYPE_CHECKING:
    from daskcast.config import RunOptions
    from daskcast.k8s.surroundings import Surroundings

RUN_VARIABLE, OWNER_VARIABLE = "DASKCAST_RUN", "DASKCAST_JOB_UID"
CONFIG_FOLDER, CONFIG_FILE = "/etc/daskcast", "run.toml"
BACKOFF_LIMIT = 6
_JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
_JOB_UID_LABEL = "batch.kubernetes.io/controller-uid"
_KEEP_S = 7 * 86_400
_MOST_OF_NAME = 50  # of a DaskCluster
_MOST_OF_JOBS_NAME = 46  # a Job's has 63, and of these 17 for the time that makes it its own
_NAME_OF_JOB = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_OURS = (MLFLOW, POSTGRES, STORE, SUBMIT, DRIVER, WORKER)
_STAY = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
_FINAL, _RETRY = [1, 2], [3]
_SUBMIT_POD = PodOptions(cpu="100m", memory="512Mi", service_account=SUBMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What runs in the cluster.

    Parameters
    ----------
    name : str
        Of what creates it: a Job's begins with it, a CronJob's is it.
    options : RunOptions
        With an image, workers and a run folder that outlives pods.
    run_args : tuple of str
        ``daskcast run`` with all that it is told, but for the cluster and the run folder.
    submit_args : tuple of str
        ``daskcast k8s submit`` with all that it is told.
    config : str or None
        The text of the options' file, where there is one.
    own_mlflow : bool
        Whether it is tracked in the MLflow server of its namespace.
    n_workers : int or None
        None takes as many as the options say.
    alone : bool
        Whether ``run_args`` is all that the driver is told.
    """

    name: str
    options: RunOptions
    run_args: tuple[str, ...]
    submit_args: tuple[str, ...] = ()
    config: str | None = None
    own_mlflow: bool = False
    n_workers: int | None = None
    alone: bool = False

    @property
    def pods(self) -> KubernetesOptions:
        """The pods, with the accounts that are rendered where none is named."""
        found = self.options.kubernetes
        return dataclasses.replace(
            found,
            scheduler=_as(found.scheduler, WORKER),
            worker=_as(found.worker, WORKER),
            driver=_as(_seeing_the_data(found), DRIVER),
        )


def name_of(text: str, longest: int = 40) -> str:
    """Make a name that Kubernetes takes.

    Examples
    --------
    >>> name_of("Sales of 2026!")
    'sales-of-2026'
    >>> name_of("2026")
    'daskcast-2026'
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    name = name if name[:1].isalpha() else f"{USERS}-{name}".strip("-")
    return name[:longest].rstrip("-")


def name_problems(name: str) -> list[str]:
    """Say why a CronJob or Job and its ConfigMap cannot have a name.

    Examples
    --------
    >>> name_problems("sales")
    []
    >>> len(name_problems("daskcast-mlflow"))
    1
    """
    if len(name) > _MOST_OF_JOBS_NAME or not _NAME_OF_JOB.fullmatch(name):
        return [
            f"name must be {_MOST_OF_JOBS_NAME} characters at most, of a to z, 0 to 9 and - "
            f"within, with a letter first; found {name!r}"
        ]
    if name in _OURS:
        return [
            f"name must not be that of what is beside a run, found {name}: give another with --name"
        ]
    return []


def job_name(run: str, suffix: str) -> str:
    """Give the name of the DaskJob of a run, new for each attempt.

    Examples
    --------
    >>> job_name("daskcast-29384720", "4f1c2")
    'daskcast-29384720-4f1c2'
    >>> job_name("2026-11", "4f1c2")  # the name of a service begins with a letter
    'run-2026-11-4f1c2'
    """
    named = run if run[0].isalpha() else f"run-{run}"
    return f"{named[: _MOST_OF_NAME - len(suffix) - 1].rstrip('-')}-{suffix}"


# -- the run -----------------------------------------------------------------------------------


def daskjob(work: Work, namespace: str, *, run: str, name: str) -> dict[str, Any]:
    """Give the DaskJob of a run.

    Parameters
    ----------
    work : Work
    namespace : str
    run : str
        Its name; the same for each attempt of it.
    name : str
        Of this attempt: of the DaskJob, and of its cluster.
    """
    options, n_workers = work.options, work.n_workers
    if n_workers is None:
        n_workers = options.workers or work.pods.least or 1
    cluster = cluster_spec(
        name, work.pods, n_workers=n_workers, n_threads=options.threads_per_worker
    )
    cluster.pop("idleTimeout")  # the cluster lives as long as its driver
    cluster["scheduler"]["metadata"] = {"annotations": _STAY}
    spec = {
        "job": {"metadata": {"annotations": _STAY}, "spec": _driver(work, namespace, run, name)},
        "cluster": {"spec": cluster},
    }
    metadata = named(name, namespace)
    metadata["labels"] = {**LABELS, RUN_LABEL: run}
    return manifest("DaskJob", API_VERSION, metadata, spec=spec)


def autoscaler(work: Work, namespace: str, *, name: str) -> dict[str, Any] | None:
    """Give what lets the workers of a DaskJob follow its work; None where they do not.

    Parameters
    ----------
    work : Work
    namespace : str
    name : str
        Of the DaskJob, and so of its cluster.
    """
    pods = work.pods
    if pods.adaptive is None:
        return None
    spec = {"cluster": name, "minimum": pods.least, "maximum": pods.most}
    return manifest("DaskAutoscaler", API_VERSION, named(name, namespace), spec=spec)


def _driver(work: Work, namespace: str, run: str, name: str) -> dict[str, Any]:
    args = list(work.run_args)
    if not work.alone:
        out = (work.options.out or "").replace(RUN, run)
        args += ["--cluster", "kubernetes", "--cluster-name", name, "--namespace", namespace]
        args += ["--out", out, *_waiting(work.pods), *_resuming(work.options)]
    container = {
        "name": "driver",
        "image": work.pods.image,
        "args": [*map(literal, args)],
        "workingDir": "/tmp",
    }
    pod = pod_spec(container, work.pods, work.pods.driver, with_token=True)
    if work.options.tracking:
        pod["containers"][0].setdefault("envFrom", []).append(_tracking(work))
    return {**pod, "restartPolicy": "Never", "terminationGracePeriodSeconds": 120}


def _waiting(pods: KubernetesOptions) -> list[str]:
    """Tell the driver, which has no file of options, how long its cluster may take to start."""
    if pods.start_timeout == KubernetesOptions().start_timeout:
        return []
    return ["--start-timeout", str(pods.start_timeout)]


def _resuming(options: RunOptions) -> list[str]:
    if options.retry_failed:
        return ["--retry-failed"]
    return ["--resume"] if options.resume else ["--resume-if-begun"]


def _tracking(work: Work) -> dict[str, Any]:
    """Let the driver be somebody to MLflow; a server elsewhere may not ask."""
    ref: dict[str, Any] = {"name": DRIVER_SECRET}
    return {"secretRef": ref if work.own_mlflow else {**ref, "optional": True}}


def _as(pod: PodOptions, account: str) -> PodOptions:
    return dataclasses.replace(pod, service_account=pod.service_account or account)


def _seeing_the_data(options: KubernetesOptions) -> PodOptions:
    """Give the driver what the workers are given: it reads the same data."""
    worker, driver = options.worker, options.driver
    return dataclasses.replace(
        driver,
        env={**worker.env, **driver.env},
        secrets=tuple(dict.fromkeys((*worker.secrets, *driver.secrets))),
        config_maps=tuple(dict.fromkeys((*worker.config_maps, *driver.config_maps))),
    )


# -- what creates it ---------------------------------------------------------------------------


def job(work: Work, around: Surroundings, *, name: str) -> list[Document]:
    """Give the Job that submits a run now, and what it needs.

    Parameters
    ----------
    work : Work
    around : Surroundings
    name : str
        Of the Job, and so of the run.
    """
    spec = {**_job_spec(work, around, name), "ttlSecondsAfterFinished": _KEEP_S}
    about = f"{_JOB_ABOUT}\nLogs of the run: kubectl logs -n {around.namespace} -f job/{name}"
    made = manifest("Job", "batch/v1", named(name, around.namespace), spec=spec)
    return [*_config_map(work, around, name), Document(made, about)]


def schedule_problems(options: RunOptions) -> list[str]:
    """Say why a run cannot be one of a schedule."""
    problems = []
    if RUN not in (options.out or ""):
        problems.append(
            f"each run of a schedule needs a folder of its own: put {RUN} into --out, "
            f"such as --out s3://BUCKET/runs/{RUN}"
        )
    if given := [name for name in ("resume", "retry_failed") if getattr(options, name)]:
        flags = " and ".join("--" + name.replace("_", "-") for name in given)
        problems.append(
            "each run of a schedule begins anew, and one that was stopped goes on by itself: leave "
            f"{flags} away"
        )
    return problems


def cron_job(work: Work, around: Surroundings) -> list[Document]:
    """Give the CronJob that submits a run by a schedule, and what it needs.

    Raises
    ------
    ConfigError
        Where all of its runs would have the same folder, or none would begin.
    """
    if problems := schedule_problems(work.options):
        raise ConfigError(*problems)
    spec = {
        "schedule": around.schedule,
        "timeZone": around.time_zone,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 43_200,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "metadata": {"labels": {**LABELS, PART_LABEL: SUBMIT}},
            "spec": _job_spec(work, around, work.name),
        },
    }
    about = f"""\
{_JOB_ABOUT}
Each run has the name of its Job. To run it now:
  kubectl create job {work.name}-now -n {around.namespace} --from=cronjob/{work.name}"""
    made = manifest("CronJob", "batch/v1", named(work.name, around.namespace), spec=spec)
    return [*_config_map(work, around, work.name), Document(made, about)]


_JOB_ABOUT = """\
Creates a DaskJob under a name of its own, follows it, and ends with its exit code. 1 (too many
entities have no forecast) and 2 (wrong usage, unusable data) are final; 3 (stopped before the end)
goes on with the same run. A pod whose node is drained does not count."""


def _job_spec(work: Work, around: Surroundings, name: str) -> dict[str, Any]:
    in_container = {"containerName": "submit", "operator": "In"}
    rules = [
        {"action": "FailJob", "onExitCodes": {**in_container, "values": _FINAL}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Count", "onExitCodes": {**in_container, "values": _RETRY}},
    ]
    labels = {**LABELS, PART_LABEL: SUBMIT}
    return {
        "backoffLimit": BACKOFF_LIMIT,
        "activeDeadlineSeconds": around.deadline,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": rules},
        "template": {
            "metadata": {"labels": labels, "annotations": _STAY},
            "spec": _submit(work, around, name),
        },
    }


def _submit(work: Work, around: Surroundings, name: str) -> dict[str, Any]:
    container = {
        "name": "submit",
        "image": work.pods.image,
        "args": [*map(literal, work.submit_args), "--namespace", around.namespace],
        "workingDir": "/tmp",
        "env": [
            _from_label(RUN_VARIABLE, _JOB_NAME_LABEL),
            _from_label(OWNER_VARIABLE, _JOB_UID_LABEL),
        ],
    }
    pod = pod_spec(container, work.pods, _SUBMIT_POD, with_token=True)
    if work.config is not None:
        mount = {"name": "options", "mountPath": CONFIG_FOLDER}
        pod["containers"][0]["volumeMounts"].append(mount)
        pod["volumes"].append({"name": "options", "configMap": {"name": name}})
    return {**pod, "restartPolicy": "Never", "terminationGracePeriodSeconds": 180}


def _config_map(work: Work, around: Surroundings, name: str) -> list[Document]:
    """Keep the options' file under the name of what reads it, so that no other changes it."""
    if work.config is None:
        return []
    metadata = named(name, around.namespace)
    made = manifest("ConfigMap", "v1", metadata, data={CONFIG_FILE: work.config})
    return [Document(made, f"The options of --config, for {name} alone.")]


def _from_label(variable: str, label: str) -> dict[str, Any]:
    return {
        "name": variable,
        "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{label}']"}},
    }
