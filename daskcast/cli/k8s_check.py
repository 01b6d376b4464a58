"""The command ``daskcast k8s check``: its options, and how it ends.

Does not cover what is looked at (``daskcast.k8s.check``), which is imported by the command, nor
the other commands of the group (``cli.k8s``).
"""

# ruff: noqa: PLC0415 - heavy modules are imported by the command that needs them
from __future__ import annotations

from contextlib import closing

import click

from daskcast.cli.app import terminated_as_interrupted

_UNUSABLE = 2


@click.command()
@click.option("--namespace", help="To look at.  [default: that of the kubeconfig or the pod]")
@click.option("--image", help="Start it, and compare its versions with those here.")
@click.option("--tracking-uri", help="MLflow server.  [default: that of the namespace]")
@click.option(
    "--secret", "names", multiple=True, metavar="NAME", help="Must be there; may be repeated."
)
def check(
    namespace: str | None, image: str | None, tracking_uri: str | None, names: tuple[str, ...]
) -> None:
    """Look at a cluster: what is there, what is missing, and what to do about it.

    Exit code 0 where nothing is missing, else 2.
    """
    from daskcast.k8s.check import findings

    well = True
    looking = findings(namespace, image=image, tracking_uri=tracking_uri, names=names)
    with terminated_as_interrupted(), closing(looking):
        for finding in looking:
            click.echo(finding.line)
            well = well and finding.well
    click.get_current_context().exit(0 if well else _UNUSABLE)
