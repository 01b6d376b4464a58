"""The command ``daskcast k8s check``: its options, what of them is wrong, and how it ends.

Does not cover what is looked at (``daskcast.k8s.check``), which is imported by the command, nor
the other commands of the group (``cli.k8s``).
"""

# ruff: noqa: PLC0415 - heavy modules are imported by the command that needs them
from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from daskcast.cli.app import run, terminated_as_interrupted
from daskcast.cli.options import resolve
from daskcast.errors import ConfigError

if TYPE_CHECKING:
    from daskcast.config import RunOptions

_UNUSABLE = 2
_AS_OF_A_RUN = (
    *("pull_secrets", "worker_node_selector", "worker_tolerations", "tracking", "config_file"),
)
_REACHED = ("http", "https")


@click.command()
@click.option("--namespace", help="To look at.  [default: that of the kubeconfig or the pod]")
@click.option("--image", help="Start it, and compare its versions with those here.")
@click.option("--tracking-uri", help="MLflow server.  [default: that of the namespace]")
@click.option(
    "--secret", "worker_secrets", multiple=True, metavar="NAME",
    help="Must be there; may be repeated.",
)  # fmt: skip
def check(config_file: str | None, **flags: Any) -> None:
    """Look at a cluster: what is there, what is missing, and what to do about it.

    The options, and the file of --config, are those of `daskcast run`. Exit code 0 where nothing is
    missing, else 2.
    """
    from daskcast.k8s.check import findings

    options = _resolved(flags, config_file)
    well = True
    looking = findings(
        options.kubernetes,
        tracking_uri=options.tracking_uri,
        tracking=options.tracking,
        say=lambda text: click.echo(text, err=True),
    )
    with terminated_as_interrupted(), closing(looking):
        for finding in looking:
            click.echo(finding.line)
            well = well and finding.well
    click.get_current_context().exit(0 if well else _UNUSABLE)


check.params += [option for option in run.params if option.name in _AS_OF_A_RUN]


def _resolved(flags: dict[str, Any], config_file: str | None) -> RunOptions:
    """Bring file and flags together, and refuse what is wrong in them before anything is asked."""
    # Who computes is no question here, nor how far ahead: of a run, that much would be missing.
    asked = {**flags, "cluster": "local"}
    try:
        _, options = resolve(asked, config_file, h=1)
    except ConfigError as error:
        raise ConfigError(*error.problems, *_problems(flags["tracking_uri"])) from error
    problems = _problems(options.tracking_uri) if options.tracking else []
    if problems:
        raise ConfigError(*problems)
    return options


def _problems(uri: str | None) -> list[str]:
    """Say what is wrong with the address of an MLflow server."""
    from daskcast.k8s.surroundings import has_possible_port

    if uri is None:
        return []
    if "@" in uri:
        return [
            "tracking-uri must not hold a user or a password, which would stand in a manifest: "
            "give them as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, to pods by the "
            "secret daskcast-mlflow"
        ]
    sound = uri.partition("://")[0] in _REACHED and has_possible_port(uri)
    if sound and uri.isprintable() and " " not in uri:
        return []
    return [
        "tracking-uri must be http://HOST:PORT or https://HOST:PORT, a server that pods reach; "
        f"found {uri!r}: mend it, or leave MLflow out with --no-tracking"
    ]
