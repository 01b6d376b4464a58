"""The commands of ``daskcast k8s``: what a run in a Kubernetes cluster needs around it.

Covers their options and how each of them ends. Does not cover manifests, submitting and checking
(``daskcast.k8s``), which are imported by the command that needs them.
"""

# ruff: noqa: PLC0415 - heavy modules are imported by the command that needs them
from __future__ import annotations

import dataclasses
import secrets
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from daskcast.cli import k8s_checks as checks
from daskcast.cli.app import run, terminated_as_interrupted
from daskcast.cli.arguments import arguments, run_arguments
from daskcast.cli.k8s_check import check
from daskcast.cli.options import resolve, run_options
from daskcast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daskcast.config import ForecastConfig, RunOptions
    from daskcast.k8s.jobs import Work
    from daskcast.k8s.surroundings import Surroundings

PARTS = ("all", "rbac", "network", "mlflow", "job", "cronjob", "daskjob")
_NOT_PASSED_ON = {"namespace", "config_file", "dry_run", "run_name", "detach"}
_SCHEDULED = ("all", "cronjob")


@click.group("k8s")
def k8s() -> None:
    """Run in a Kubernetes cluster: manifests, a run, a look at what is missing."""


_HERE = "[required, here or in the file of --config]"
_IN_PODS = {
    "cluster": None,
    "name": None,
    "idle_timeout": None,
    "resume_if_begun": None,
    "workers": "Pods of workers.  [required, or --adaptive]",
    "threads_per_worker": "Batches that each of them works on at a time.  [default: 1]",
    "out": f"Run folder, a URL; {{run}} in it stands for the name of the run.  {_HERE}",
    "image": f"Runs scheduler, workers and driver.  {_HERE}",
    "worker_secrets": "Secret whose keys workers and driver get as environment; may be repeated.",
    "pull_secrets": "For the images; may be repeated.",
    "tracking_uri": "MLflow store that outlives pods.  [default: the server of the namespace]",
    "tracking_bulk": "Write many runs at a time: auto does where the store is a server that takes "
    "them.  [default: auto]",
}
"""What options of a run mean where it is a DaskJob; None for those that mean nothing there."""

_RENDERED = {
    "dry_run": None,
    "namespace": f"Where all of it is.  {_HERE}",
    "resume": "Go on with the run in --out; not by a schedule.",
    "retry_failed": "Go on with it, and do what failed or fell back once more, as a new attempt; "
    "not by a schedule.",
    "experiment": "Name in MLflow, and of the CronJob or Job without --name.  [default: daskcast]",
}
_SUBMITTED = {
    "dry_run": "Print the DaskJob, and create nothing. Nobody is asked, the kubeconfig neither: "
    "without --namespace, it is printed for the namespace default.",
    "experiment": "Name in MLflow, and of the run without --run-name.  [default: daskcast]",
}


def _telling(texts: Mapping[str, str | None]) -> Callable[[click.Command], click.Command]:
    """Let options of ``daskcast run`` say what they do here; those without a text are not shown."""

    def told(command: click.Command) -> click.Command:
        for param in command.params:
            if isinstance(param, click.Option) and param.name in texts:
                param.help, param.hidden = texts[param.name], texts[param.name] is None
                param.show_default = False
        return command

    return told


@_telling({**_IN_PODS, **_RENDERED})
@k8s.command()
@click.argument("data")
@run_options
@click.option(
    "--part",
    type=click.Choice(PARTS),
    default="all",
    show_default=True,
    help="Which manifests; all has no job, but the cronjob.",
)
@click.option(
    "--name",
    "called",
    help="Of the CronJob and its ConfigMap, of a Job with the time after it: each schedule of a "
    "namespace needs its own; add a second by --part cronjob.  [default: from --experiment]",
)
@click.option("--schedule", help="Of the CronJob.  [default: 0 6 2 * *, the 2nd of each month]")
@click.option("--time-zone", help="Of the schedule.  [default: Etc/UTC]")
@click.option(
    "--deadline",
    type=int,
    metavar="S",
    help="Seconds after which a run is given up, retries included.  [default: 86400]",
)
@click.option("--server-image", help="Of MLflow.  [default: that of --image, with -server]")
@click.option("--postgres-image", help="Of its database.  [default: postgres:17]")
@click.option("--store-image", help="Of its object store.  [default: VersityGW 1.8.0]")
@click.option(
    "--artifacts",
    metavar="s3://BUCKET",
    help="For its artifacts, a bucket that exists.  [default: an object store of its own]",
)
@click.option("--artifacts-endpoint", metavar="URL", help="Of that bucket, if not at Amazon.")
@click.option("--operator-namespace", help="Of dask-kubernetes.  [default: dask-operator]")
@click.option(
    "--egress-port", "egress_ports", type=int, multiple=True, metavar="PORT",
    help="On which workers and driver reach their data, in place of the default: the port of the "
    "pod or endpoint, where that is behind a service; may be repeated. Runs of a namespace share "
    "its policies: name the ports of all.  [default: 443]",
)  # fmt: skip
@click.option(
    "--api-port", "api_ports", type=int, multiple=True, metavar="PORT",
    help="On which driver and submit reach the Kubernetes API, in place of the default; may be "
    "repeated.  [default: 443 and 6443]",
)  # fmt: skip
def render(
    data: str,
    config_file: str | None,
    dry_run: bool,  # noqa: ARG001 - nothing is done anyway
    part: str,
    called: str | None,
    **flags: Any,
) -> None:
    """Print manifests of all that forecasting DATA needs, to `kubectl apply`.

    Namespace and rights, network policies, MLflow with its stores, and a CronJob that runs the
    command line as a DaskJob. Nothing is contacted; the options are those of `daskcast run`.
    """
    from daskcast.k8s.jobs import name_of
    from daskcast.k8s.render import render as write

    around_flags = {name: flags.pop(name) for name in _AROUND}
    config, options = _resolved(flags, config_file)
    namespace = options.kubernetes.namespace
    if namespace is None:
        raise ConfigError("the namespace is missing: give --namespace NAME")
    name = name_of(options.experiment) if called is None else called
    work, around, *_ = _all_made(
        lambda: _work(data, config, options, namespace, config_file),
        lambda: _around(around_flags, options, namespace),
        lambda: _check_what_creates(name, options, part),
        lambda: _check_around(around_flags, options, namespace, part),
    )
    work, run_name = dataclasses.replace(work, name=name), f"{name}-{_now()}"
    click.echo(write(work, around, part=part, run=run_name, suffix=secrets.token_hex(3)), nl=False)


_AROUND = (
    *("schedule", "time_zone", "deadline", "server_image", "postgres_image", "store_image"),
    *("artifacts", "artifacts_endpoint", "operator_namespace", "egress_ports"),
    "api_ports",
)


@_telling({**_IN_PODS, **_SUBMITTED})
@k8s.command()
@click.argument("data")
@run_options
@click.option(
    "--run-name",
    envvar="DASKCAST_RUN",
    help="Stands for {run} in --out; a run of this name that goes on is followed.  "
    "[default: EXPERIMENT-UTCTIME]",
)
@click.option("--detach", is_flag=True, help="Leave it to itself, and print its name.")  # fmt: skip
def submit(
    data: str, config_file: str | None, dry_run: bool, run_name: str | None, detach: bool,
    **flags: Any,
) -> None:  # fmt: skip
    """Forecast DATA by a DaskJob: create it, follow its log, remove it, and end as it ends.

    Exit codes are those of `daskcast run`; what breaks off is 3. `--dry-run` prints the DaskJob.
    """
    from daskcast.k8s import submit as submitting
    from daskcast.k8s.jobs import name_of
    from daskcast.k8s.objects import connected

    if dry_run and detach:
        raise ConfigError("--dry-run creates nothing that --detach could leave: give one of them")
    config, options = _resolved(flags, config_file)
    if problems := checks.goes_on(options, named=run_name is not None):
        raise ConfigError(*problems)
    if run_name is None:
        run_name = f"{name_of(options.experiment)}-{_now()}"
    submitting.check_run_name(run_name)
    if dry_run:
        namespace = options.kubernetes.namespace or "default"
        work = _work(data, config, options, namespace, config_file)
        click.echo(submitting.manifest_text(work, namespace, run_name), nl=False)
        return
    with terminated_as_interrupted(), closing(connected(options.kubernetes.namespace)) as api:
        work = _work(data, config, options, api.namespace, config_file)
        attempt = submitting.Attempt(work, api, run_name, say=_say)
        if detach:
            click.echo(attempt.begin())
            return
        code = attempt.follow(write=click.echo)
    click.get_current_context().exit(code)


k8s.add_command(check)


# -- from options to what runs ---------------------------------------------------------------------


def _resolved(flags: dict[str, Any], config_file: str | None) -> tuple[ForecastConfig, RunOptions]:
    config, options = resolve(flags, config_file, cluster="kubernetes")
    problems = []
    if options.cluster != "kubernetes":
        problems.append(f"a DaskJob runs on Kubernetes; leave --cluster {options.cluster} away")
    if options.kubernetes.name:
        problems.append("a DaskJob makes its own cluster; leave --cluster-name away")
    if problems:
        raise ConfigError(*problems)
    return config, options


def _work(
    data: str, config: ForecastConfig, options: RunOptions, namespace: str, config_file: str | None
) -> Work:
    """Say what runs in the cluster; refuse what a pod cannot have."""
    from daskcast.k8s.jobs import CONFIG_FILE, CONFIG_FOLDER, Work, name_of
    from daskcast.k8s.surroundings import tracking_uri_of

    ours = tracking_uri_of(namespace)
    own_mlflow = _tracks_here(options, namespace)
    if own_mlflow:
        options = dataclasses.replace(options, tracking_uri=ours)
    config_text = checks.config_text(config_file)
    how = ["--log-json"] if click.get_current_context().params.get("log_json") else []
    run_args = ("daskcast", "run", data, *run_arguments(run, config, options), *how)
    submit_args = ["daskcast", "k8s", "submit", data, *_given()]
    if config_text is not None:
        submit_args += ["--config", f"{CONFIG_FOLDER}/{CONFIG_FILE}"]
    problems = [
        *checks.places(data, options),
        *checks.store(options),
        *checks.credentials(submit_args, options, config_text),
    ]
    if problems:
        raise ConfigError(*problems)
    return Work(
        name=name_of(options.experiment),
        options=options,
        run_args=run_args,
        submit_args=tuple(submit_args),
        config=config_text,
        own_mlflow=own_mlflow,
    )


def _tracks_here(options: RunOptions, namespace: str) -> bool:
    from daskcast.k8s.surroundings import tracking_uri_of

    return options.tracking and options.tracking_uri in (None, tracking_uri_of(namespace))


def _given() -> list[str]:
    """Give the options of the command line as ``daskcast k8s submit`` takes them."""
    ctx = click.get_current_context()
    given = {
        name: value
        for name, value in ctx.params.items()
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        and name not in _NOT_PASSED_ON
    }
    return arguments(submit, given)


def _check_what_creates(name: str, options: RunOptions, part: str) -> None:
    from daskcast.k8s.jobs import name_problems, schedule_problems

    problems = [*name_problems(name), *checks.goes_on(options, part=part)]
    if part in _SCHEDULED:
        problems += schedule_problems(options)
    if problems:
        raise ConfigError(*problems)


def _check_around(flags: Mapping[str, Any], options: RunOptions, namespace: str, part: str) -> None:
    own = _tracks_here(options, namespace)
    problems = [
        *checks.names(namespace, flags["operator_namespace"]),
        *checks.of_the_server(flags, options, own_mlflow=own, part=part),
    ]
    if problems:
        raise ConfigError(*problems)


def _all_made(*makers: Callable[[], Any]) -> list[Any]:
    """Make several things; where some are refused, name the problems of all."""
    made: list[Any] = []
    problems: list[str] = []
    for make in makers:
        try:
            made.append(make())
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return made


def _around(flags: dict[str, Any], options: RunOptions, namespace: str) -> Surroundings:
    from daskcast.k8s.surroundings import Surroundings, server_image_of

    given = {name: value for name, value in flags.items() if value not in (None, ())}
    if "server_image" not in given:
        given["server_image"] = server_image_of(options.kubernetes.image or "")
    return Surroundings(namespace=namespace, **given)


def _now() -> str:
    return f"{datetime.now(UTC):%Y%m%dt%H%M%Sz}"


def _say(text: str) -> None:
    click.echo(text, err=True)
