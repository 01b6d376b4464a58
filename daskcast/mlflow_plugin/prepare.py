"""Before an MLflow server starts: its bucket, and a user who sends runs to it.

Covers ``python -m daskcast.mlflow_plugin.prepare [s3://BUCKET]``, which is safe to repeat. Does not
cover the server (``app``), nor where its secrets come from: all of them are read from the
environment, by MLflow, boto3 and the driver of the database.

Environment, beside what those read:

- ``MLFLOW_TRACKING_USERNAME``, ``MLFLOW_TRACKING_PASSWORD``: the user that is made, or given this
  password anew; he is no admin.
- ``MLFLOW_S3_ENDPOINT_URL``: where the bucket is, if not at Amazon.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any

logger = logging.getLogger(__name__)

PATIENCE_S = 240.0
"""For database and object store, which start at the same time."""


def main(args: list[str], *, patience_s: float = PATIENCE_S) -> None:
    """Make what is missing.

    Parameters
    ----------
    args : list of str
        The bucket, ``s3://NAME``, where it is to be made.
    patience_s : float
    """
    for bucket in args:
        _patiently(_make_bucket, bucket.removeprefix("s3://").partition("/")[0], patience_s)
    _patiently(_make_user, os.environ["MLFLOW_TRACKING_USERNAME"], patience_s)


def _make_bucket(name: str) -> None:
    import boto3  # noqa: PLC0415 - of the server's image alone

    client = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"))
    if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=name)


def _make_user(name: str) -> None:
    from mlflow.server.auth.config import read_auth_config  # noqa: PLC0415 - slow
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

    password = os.environ["MLFLOW_TRACKING_PASSWORD"]
    store: Any = SqlAlchemyStore()
    store.init_db(read_auth_config().database_uri)
    if not store.has_user(name):
        store.create_user(name, password, is_admin=False)
    elif not store.authenticate_user(name, password):
        store.update_user(name, password=password)


def _patiently(make: Any, what: str, patience_s: float) -> None:
    """Try until it is there; what stands in the way in the end is for the log."""
    until = time.monotonic() + patience_s
    while True:
        try:
            make(what)
        except Exception as error:
            if time.monotonic() > until:
                raise
            logger.warning("waits for what %s is made in: %s", what, type(error).__name__)
            time.sleep(2)
        else:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
