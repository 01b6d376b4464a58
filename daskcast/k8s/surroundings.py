"""What is around the runs in a namespace: the MLflow server, its stores, a schedule; checked.

Covers :class:`Surroundings`, the options that only ``daskcast k8s render`` has. Does not cover the
pods of a run (``kubernetes_options``) or the manifests (``mlflow``, ``network``, ``jobs``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from daskcast.errors import ConfigError
from daskcast.k8s.manifests import MLFLOW, MLFLOW_PORT

POSTGRES_IMAGE = "postgres:17"
STORE_IMAGE = "ghcr.io/versity/versitygw:latest"
SCHEDULE = "0 6 2 * *"
_IMAGE = re.compile(r"[a-z0-9][\w./:@-]*", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_FIELD = r"[\d*/,\-A-Za-z?]+"
_SCHEDULE = re.compile(
    rf"@(yearly|annually|monthly|weekly|daily|midnight|hourly)|{_FIELD}( +{_FIELD}){{4}}"
)
_TIME_ZONE = re.compile(r"[A-Za-z][\w+\-]*(/[\w+\-]+)*")
_SIZE = re.compile(r"[1-9]\d*(Gi|Ti|G|T)")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")
_ENDPOINT = re.compile(r"https?://[^\s/@]+(:\d+)?/?")
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
        On which workers and driver may reach their data, anywhere.

    Raises
    ------
    ConfigError
        Names every problem at once.
    """

    namespace: str
    server_image: str
    operator_namespace: str = "dask-operator"
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

    def __post_init__(self) -> None:
        problems = [
            *self._matching(_NAME, "a name of a to z, 0 to 9 and -", "namespace"),
            *self._matching(_NAME, "a name of a to z, 0 to 9 and -", "operator_namespace"),
            *self._matching(_IMAGE, "an image, such as HOST/NAME:TAG", "server_image"),
            *self._matching(_IMAGE, "an image, such as HOST/NAME:TAG", "postgres_image"),
            *self._matching(_IMAGE, "an image, such as HOST/NAME:TAG", "store_image"),
            *self._matching(_SIZE, "such as 10Gi", "database_size", "artifacts_size"),
            *self._matching(_BUCKET, "a bucket, s3://NAME or s3://NAME/FOLDER", "artifacts"),
            *self._matching(_ENDPOINT, "http://HOST:PORT, without a user", "artifacts_endpoint"),
            *self._matching(_SCHEDULE, f"cron's five fields, such as {SCHEDULE!r}", "schedule"),
            *self._matching(_TIME_ZONE, "a name such as Europe/Vienna", "time_zone"),
        ]
        if self.deadline < 1:
            problems.append(f"deadline must be a number of seconds above 0, found {self.deadline}")
        if self.artifacts_endpoint and not self.artifacts:
            problems.append("artifacts_endpoint is where --artifacts s3://BUCKET is: give both")
        if wrong := [port for port in self.egress_ports if not 0 < port <= _HIGHEST_PORT]:
            problems.append(f"egress_ports must be from 1 to {_HIGHEST_PORT}, found {wrong}")
        if problems:
            raise ConfigError(*problems)

    def _matching(self, pattern: re.Pattern[str], called: str, *names: str) -> list[str]:
        found = ((name, getattr(self, name)) for name in names)
        return [
            f"{name} must be {called}; found {value!r}"
            for name, value in found
            if value is not None and not pattern.fullmatch(value)
        ]


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
