"""What is around the runs in a namespace: the MLflow server, its stores, a schedule; checked.

Covers :class:`Surroundings`, the options that only ``daskcast k8s render`` has, and reading cron's
five fields as Kubernetes does. Does not cover the pods of a run (``kubernetes_options``) or the
manifests (``mlflow``, ``network``, ``jobs``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from daskcast.errors import ConfigError
from daskcast.k8s.manifests import MLFLOW, MLFLOW_PORT
from daskcast.kubernetes_options import MOST_S
from daskcast.redact import redact_text

if TYPE_CHECKING:
    from collections.abc import Mapping

POSTGRES_IMAGE = "postgres:17"
"""Of a major version: it reads the volume of no other, and of this one patches are welcome."""

STORE_IMAGE = "ghcr.io/versity/versitygw:v1.8.0"
OPERATOR = "dask-operator"
SCHEDULE = "0 6 2 * *"
API_PORTS = (443, 6443)
"""Of the Kubernetes API: of its service, and where that leads."""

_IMAGE = re.compile(r"[a-z0-9][\w./:@-]*", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TIME_ZONE = re.compile(r"[A-Za-z][\w+\-]*(/[\w+\-]+)*")
_SIZE = re.compile(r"[1-9]\d*(Gi|Ti|G|T)")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")
_ENDPOINT = re.compile(r"https?://[^\s/@]+/?")
_HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is around the runs in a namespace.

    Parameters
    ----------
    namespace : str
    server_image : str
        Of the MLflow server: MLflow with ``daskcast``, its login, a driver of PostgreSQL and boto3.
    operator_namespace : str
        Where the operator of dask-kubernetes runs.
    postgres_image, store_image : str
    database_size, artifacts_size : str
        Of the volumes of the two.
    artifacts : str or None
        An ``s3://`` bucket that exists; None makes an object store of its own.
    artifacts_endpoint : str or None
        Where that bucket is, if not at Amazon.
    schedule : str
        Of the CronJob, in cron's five fields.
    time_zone : str
    deadline : int
        Seconds after which a run is given up, with all its retries.
    egress_ports : tuple of int
        On which workers and driver may reach their data, anywhere; of what is behind a service.
    api_ports : tuple of int
        On which driver and submit may reach the Kubernetes API, anywhere.

    Raises
    ------
    ConfigError
        Names every problem at once.
    """

    namespace: str
    server_image: str
    operator_namespace: str = OPERATOR
    postgres_image: str = POSTGRES_IMAGE
    store_image: str = STORE_IMAGE
    database_size: str = "10Gi"
    artifacts_size: str = "50Gi"
    artifacts: str | None = None
    artifacts_endpoint: str | None = None
    schedule: str = SCHEDULE
    time_zone: str = "Etc/UTC"
    deadline: int = 86_400
    egress_ports: tuple[int, ...] = (443,)
    api_ports: tuple[int, ...] = API_PORTS

    def __post_init__(self) -> None:
        problems = [
            *self._matching(_NAME, "a name of a to z, 0 to 9 and -", "namespace"),
            *self._matching(_NAME, "a name of a to z, 0 to 9 and -", "operator_namespace"),
            *self._matching(_IMAGE, "an image, such as HOST/NAME:TAG", "server_image"),
            *self._matching(_IMAGE, "an image, such as HOST/NAME:TAG", "postgres_image"),
            *self._matching(_IMAGE, "an image, such as HOST/NAME:TAG", "store_image"),
            *self._matching(_SIZE, "such as 10Gi", "database_size", "artifacts_size"),
            *self._matching(_BUCKET, "a bucket, s3://NAME or s3://NAME/FOLDER", "artifacts"),
            *([f"schedule {told}"] if (told := schedule_problem(self.schedule)) else []),
            *self._time_zone(),
            *self._endpoint(),
            *self._ports("egress_ports", "api_ports"),
        ]
        if not 1 <= self.deadline <= MOST_S:
            problems.append(
                f"deadline must be a number of seconds above 0 and at most {MOST_S}, found "
                f"{self.deadline}"
            )
        if problems:
            raise ConfigError(*problems)

    def _matching(self, pattern: re.Pattern[str], called: str, *names: str) -> list[str]:
        found = ((name, getattr(self, name)) for name in names)
        return [
            f"{name} must be {called}; found {value!r}"
            for name, value in found
            if value is not None and not pattern.fullmatch(value)
        ]

    def _endpoint(self) -> list[str]:
        found = self.artifacts_endpoint
        if found is None:
            return []
        problems = []
        if not (_ENDPOINT.fullmatch(found) and has_possible_port(found)):
            problems.append(
                "artifacts_endpoint must be http://HOST:PORT, without a user and with a port from "
                f"1 to {_HIGHEST_PORT}; found {redact_text(found)!r}"
            )
        if not self.artifacts:
            problems.append("artifacts_endpoint is where --artifacts s3://BUCKET is: give both")
        return problems

    def _ports(self, *names: str) -> list[str]:
        wrong = {n: [p for p in getattr(self, n) if not 0 < p <= _HIGHEST_PORT] for n in names}
        return [
            f"{name} must be from 1 to {_HIGHEST_PORT}, found {found}"
            for name, found in wrong.items()
            if found
        ]

    def _time_zone(self) -> list[str]:
        """Check it by the names that this machine knows, where it knows any."""
        found, known = self.time_zone, available_timezones()
        if _TIME_ZONE.fullmatch(found) and (found in known or not known):
            return []
        return [
            "time_zone must be a name of the IANA time zones, such as Europe/Vienna; found "
            f"{found!r}"
        ]


def has_possible_port(url: str) -> bool:
    """Tell whether a URL has a host, and no port or one that there is.

    Examples
    --------
    >>> [has_possible_port(url) for url in ("http://a", "http://a:9000", "http://a:99999")]
    [True, True, False]
    """
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


# -- schedules ---------------------------------------------------------------------------------

_MACROS = ("yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONGEST = (31, 29, *(30 if month in (4, 6, 9, 11) else 31 for month in range(3, 13)))
_FIELDS: Mapping[str, tuple[int, int, tuple[str, ...]]] = {
    "minute": (0, 59, ()),
    "hour": (0, 23, ()),
    "day": (1, 31, ()),
    "month": (1, 12, _MONTHS),
    "weekday": (0, 6, _DAYS),  # 7, in other crons a Sunday too, is refused by Kubernetes
}
_PART = re.compile(r"(?:([*?])|(\w+)(?:-(\w+))?)(?:/([0-9]{1,4}))?")
_NUMBER = re.compile(r"[0-9]{1,4}")


def schedule_problem(schedule: str) -> str:
    """Say what Kubernetes would not take of a schedule, or why it never comes; "" if it is sound.

    Parameters
    ----------
    schedule : str
        Cron's five fields, or a word such as ``@monthly``.

    Examples
    --------
    >>> schedule_problem("0 6 2 * *"), schedule_problem("0 6-18/4 * * MON,FRI")
    ('', '')
    >>> schedule_problem("0 0 31 2 *")
    "must be on a day that one of its months has, or it never comes; found '0 0 31 2 *'"
    """
    if schedule in {f"@{word}" for word in _MACROS}:
        return ""
    fields = re.split(" +", schedule)
    if len(fields) != len(_FIELDS):
        return f"must be cron's five fields, such as {SCHEDULE!r}; found {schedule!r}"
    values = {}
    for (name, bounds), field in zip(_FIELDS.items(), fields, strict=True):
        found = _field(field, *bounds)
        if found is None:
            return (
                f"must have {name}s from {_said(*bounds)}, alone, in a list, in a rising range or "
                f"with a step; found {field!r} in {schedule!r}"
            )
        values[name] = found
    anyday = any(part in {"*", "?"} for part in fields[4].split(","))
    if anyday and not any(min(values["day"]) <= _LONGEST[m - 1] for m in values["month"]):
        return f"must be on a day that one of its months has, or it never comes; found {schedule!r}"
    return ""


def _said(low: int, high: int, words: tuple[str, ...]) -> str:
    return f"{low} ({words[0]}) to {high} ({words[-1]})" if words else f"{low} to {high}"


def _field(text: str, low: int, high: int, words: tuple[str, ...]) -> set[int] | None:
    """Read one field of cron; None where it cannot be."""
    found: set[int] = set()
    for part in text.split(","):
        read = _PART.fullmatch(part)
        if read is None:
            return None
        star, first, last, step = read.groups()
        begin = low if star else _value(first, low, words)
        end = high if star or (step and not last) else _value(last or first, low, words)
        if not low <= begin <= end <= high or (step and not int(step)):
            return None
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def _value(text: str, low: int, words: tuple[str, ...]) -> int:
    """Read a number or a name; -1 is neither."""
    if text.upper() in words:
        return words.index(text.upper()) + low
    return int(text) if _NUMBER.fullmatch(text) else -1


# -- what follows from other names --------------------------------------------------------------


def server_image_of(image: str) -> str:
    """Give the image of the server that belongs to an image of workers.

    Examples
    --------
    >>> server_image_of("ghcr.io/me/daskcast:0.1.0")
    'ghcr.io/me/daskcast-server:0.1.0'

    Raises
    ------
    ConfigError
        Where the image is named by its digest.
    """
    if "@" in image:
        raise ConfigError(
            "the image is named by its digest, so the server's cannot follow from it: give "
            "--server-image IMAGE"
        )
    at = image.rfind(":") if ":" in image.rpartition("/")[2] else len(image)
    return f"{image[:at]}-server{image[at:]}"


def tracking_uri_of(namespace: str) -> str:
    """Give the address of the MLflow server of a namespace, for pods.

    Examples
    --------
    >>> tracking_uri_of("forecast")
    'http://daskcast-mlflow.forecast.svc:5000'
    """
    return f"http://{MLFLOW}.{namespace}.svc:{MLFLOW_PORT}"
