"""What ``daskcast k8s render`` and ``submit`` refuse, as no pod could do it, or as it would tell.

Covers places, stores and secrets, and options that contradict each other. Does not cover what is
wrong with an option by itself (``config``, ``kubernetes_options``, ``k8s.surroundings``).
"""

# ruff: noqa: PLC0415 - heavy modules are imported by the command that needs them
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from daskcast.errors import ConfigError
from daskcast.kubernetes_options import secrets_of
from daskcast.out import RUN
from daskcast.redact import lines_with_secrets, redact_text, redacted_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from daskcast.config import RunOptions

MOST_OF_CONFIG = 1_000_000
"""Bytes of a file of options: a ConfigMap takes a mebibyte, names included."""

_OF_ALL = ("default", "kube-system", "kube-public", "kube-node-lease")
_RUNS = ("job", "daskjob")
_WITH_A_HOST = (
    *("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "http", "https"),
    *("ftp", "sftp", "ssh", "smb"),
)
_FEW = 5


def config_text(file: str | None) -> str | None:
    """Read the file of options, which becomes a ConfigMap.

    Raises
    ------
    ConfigError
        Where it is too long for one.
    """
    if file is None:
        return None
    found = Path(file).read_bytes()
    if len(found) > MOST_OF_CONFIG:
        raise ConfigError(
            f"the file of --config must have {MOST_OF_CONFIG:,} bytes at most, as it becomes a "
            f"ConfigMap; found {len(found):,}: leave comments away"
        )
    return found.decode("utf-8").replace("\r\n", "\n")  # so that it is printed line by line


# -- places ------------------------------------------------------------------------------------


def places(data: str, options: RunOptions) -> list[str]:
    """Refuse data and run folders that pods cannot reach, or that go with them."""
    from daskcast.store.files import is_local

    problems = []
    if data.startswith("-"):
        problems.append(
            f"DATA would be an option in the pod: it must not begin with -; found {data!r}"
        )
    elif not is_local(data):
        problems += _url("DATA", data)
    elif not data.startswith("/"):
        problems.append(
            f"pods do not see {data!r} of this folder: give a URL such as s3://BUCKET/{data}, or "
            "the full path that it has in the image"
        )
    if options.out is None or is_local(options.out):
        problems.append(
            "the run folder must outlive the pods: give --out with a URL, such as "
            f"s3://BUCKET/runs/{{run}}; found {options.out!r}"
        )
    else:
        problems += _url("--out", options.out)
    return problems


def _url(what: str, url: str) -> list[str]:
    """Say why a URL is none of a place that pods share."""
    from fsspec import available_protocols

    scheme, _, rest = url.rpartition("::")[2].partition("://")
    shown = redact_text(url)
    if scheme not in available_protocols():
        return [
            f"{what} must be a URL of a kind that fsspec knows, such as s3://BUCKET/NAME; found "
            f"{scheme}:// in {shown!r}"
        ]
    if scheme == "memory":
        return [
            f"{what} must be where all pods see it, and memory:// goes with its pod: give a URL "
            f"such as s3://BUCKET/NAME; found {shown!r}"
        ]
    if not rest.strip("/") or (scheme in _WITH_A_HOST and rest.startswith("/")):
        return [f"{what} must name a bucket or host after {scheme}://; found {shown!r}"]
    return []


def store(options: RunOptions) -> list[str]:
    """Refuse a tracking store that goes with its pod, or that is none."""
    from daskcast.k8s.surroundings import has_possible_port
    from daskcast.tracking.uris import resolve_uri

    uri = options.tracking_uri
    if uri is None or not options.tracking:
        return []
    scheme, found, _ = uri.partition(":")
    of_host = len(scheme) > 1 and scheme.partition("+")[0].lower() not in {"file", "sqlite"}
    if scheme != "databricks" and not (found and of_host and has_possible_port(uri)):
        return [
            "tracking-uri must be a store that outlives the pods, such as http://HOST:PORT, "
            "databricks or postgresql://HOST:PORT/NAME, with a port from 1 to 65535; found "
            f"{redact_text(uri)!r}; without it, the server of the namespace is used"
        ]
    try:
        resolve_uri(uri)
    except ConfigError as error:
        return list(error.problems)
    return []


# -- secrets -----------------------------------------------------------------------------------


def credentials(args: Sequence[str], options: RunOptions, config: str | None) -> list[str]:
    """Refuse what would put a secret into a manifest; say where it is, and not what it is.

    Variables of pods are looked at where they are options (``kubernetes_options``).
    """
    found = [*_secret_tags(options.tags), *_secret_arguments(args)]
    if lines := lines_with_secrets(config or ""):
        shown = ", ".join(map(str, lines[:_FEW])) + (" ..." if len(lines) > _FEW else "")
        found.append(f"line{'s' if len(lines) > 1 else ''} {shown} of the config file")
    if not found:
        return []
    return [
        f"a credential in {', '.join(dict.fromkeys(found))} would stand in the manifest: make a "
        "Secret of it with kubectl create secret, and name that with --secret"
    ]


def _secret_tags(tags: Mapping[str, str]) -> Iterator[str]:
    yield from (f"the tag {name}" for name in secrets_of(tags))


def _secret_arguments(args: Sequence[str]) -> Iterator[str]:
    """Name options of the command line; tags are looked at by themselves."""
    hidden: Iterable[tuple[str, str, str]] = zip(
        ["", *args], args, redacted_args(args), strict=False
    )
    for before, arg, clean in hidden:
        if arg != clean and before != "--tag":
            yield before if before.startswith("--") else "the command line"


# -- what does not go together -----------------------------------------------------------------


def names(namespace: str, operator: str | None) -> list[str]:
    """Refuse namespaces of others, whose pods the rendered policies would cut off.

    Parameters
    ----------
    namespace : str
    operator : str or None
        The operator's namespace, where it is said; who says so knows that it is the same.
    """
    from daskcast.k8s.surroundings import OPERATOR

    if namespace in _OF_ALL or (operator is None and namespace == OPERATOR):
        return [
            "the namespace must be one for runs, as network policies and pod security would cut "
            f"off what else is there; found {namespace}: give another with --namespace"
        ]
    return []


def goes_on(options: RunOptions, *, part: str | None = None, named: bool = False) -> list[str]:
    """Refuse to go on with a run whose name is made anew.

    Parameters
    ----------
    options : RunOptions
    part : str, optional
        Of what is rendered; None submits.
    named : bool
        Whether the run has a name that was given.
    """
    flag = "--retry-failed" if options.retry_failed else "--resume" if options.resume else ""
    if not flag or named or RUN not in (options.out or "") or part not in (None, *_RUNS):
        return []
    way = "give --out with" if part else "give --run-name NAME, or --out with"
    return [
        f"{flag} goes on with a run that is there, and {{run}} in --out stands for a new name: "
        f"{way} the folder of that run"
    ]


def of_the_server(
    given: Mapping[str, object], options: RunOptions, *, own_mlflow: bool, part: str
) -> list[str]:
    """Refuse options of an MLflow server that is not rendered."""
    if own_mlflow or part == "mlflow" or given.get("artifacts") is None:
        return []
    flag = "--tracking-uri" if options.tracking else "--no-tracking"
    return [
        f"--artifacts is of the MLflow server of the namespace, which {flag} leaves out: give one "
        "of them"
    ]
