"""An S3 server (moto) for tests, on a free port of the loopback, that misbehaves where told to.

Run as a program it is that server; it ends with the one who started it, whose end of a pipe closes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

_START_S = 60
_N_FREE = 3  # requests to make a user with keys before keys are asked for
_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
}


class S3Server:
    """A server in a process of its own, killed at exit; its buckets are gone with it.

    Parameters
    ----------
    folder : Path
        For its log and the file that tells it how to misbehave.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._faults = folder / "faults.json"
        self._requests = folder / "requests.log"

    def __enter__(self) -> Self:
        with (self._folder / "s3.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(self._faults)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(_N_FREE)},
                start_new_session=True,
            )
        try:
            self.uri = f"http://127.0.0.1:{self._port()}"
            self._make_keys()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill it, as a machine that is lost."""
        self._process.kill()
        self._process.wait(30)
        for end in (self._process.stdin, self._process.stdout):
            end.close()

    @property
    def environment(self) -> dict[str, str]:
        """Settings with which s3fs and all that stands on botocore reach it."""
        return {
            "AWS_ENDPOINT_URL": self.uri,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def misbehave(self, *, status: int = 0, share: int = 0, hang_s: float = 0) -> None:
        """Answer one in ``share`` requests with a status, or let it wait; without any, behave."""
        beside = self._faults.with_suffix(".new")
        beside.write_text(json.dumps({"status": status, "share": share, "hang_s": hang_s}))
        beside.replace(self._faults)

    def requests(self) -> list[str]:
        """Give what was asked of it so far, such as ``PUT /bucket/key``, in its order."""
        return self._requests.read_text(encoding="utf-8").splitlines()

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        self._client("s3").create_bucket(Bucket=name)

    def objects(self, bucket: str, prefix: str = "") -> dict[str, Any]:
        """Give all objects of a bucket below a prefix: bytes, and when they were written."""
        s3 = self._client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [each for page in pages for each in page.get("Contents", ())]
        return {
            each["Key"]: (
                s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read(),
                each["LastModified"],
            )
            for each in found
        }

    def buckets(self) -> list[str]:
        """Name all buckets."""
        return [bucket["Name"] for bucket in self._client("s3").list_buckets()["Buckets"]]

    def _make_keys(self) -> None:
        """Make a user with keys; from then on every request needs them."""
        self.key = self.secret = "nobody"
        iam = self._client("iam")
        iam.create_user(UserName="forecaster")
        iam.put_user_policy(
            UserName="forecaster", PolicyName="all", PolicyDocument=json.dumps(_POLICY)
        )
        made = iam.create_access_key(UserName="forecaster")["AccessKey"]
        self.key, self.secret = made["AccessKeyId"], made["SecretAccessKey"]

    def _client(self, service: str) -> Any:
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.uri,
            region_name="us-east-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
        )

    def _port(self) -> int:
        """Read the port that it tells; a server that tells none in time is killed."""
        too_late = threading.Timer(_START_S, self._process.kill)
        too_late.start()
        told = self._process.stdout.readline()
        too_late.cancel()
        if not told.strip().isdigit():
            text = (self._folder / "s3.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"the S3 server did not start in {_START_S} s:\n{text[-3000:]}")
        return int(told)


class _Faulty:
    """Lets requests through, but for those that the file of faults says."""

    def __init__(self, app: Any, faults: Path) -> None:
        self._app = app
        self._faults = faults
        self._requests = faults.with_name("requests.log").open("a", buffering=1, encoding="utf-8")
        self._n = 0

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self._n += 1
        self._requests.write(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}\n")
        fault = json.loads(self._faults.read_text()) if self._faults.exists() else {}
        if not fault.get("share") or self._n % fault["share"]:
            return self._app(environ, start_response)
        time.sleep(fault["hang_s"])
        if not fault["status"]:
            return self._app(environ, start_response)
        code = {503: "SlowDown", 500: "InternalError"}.get(fault["status"], "Strange")
        body = f"<Error><Code>{code}</Code><Message>Please wait</Message></Error>".encode()
        head = environ["REQUEST_METHOD"] == "HEAD"
        start_response(
            f"{fault['status']} {code}",
            [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))],
        )
        return [b"" if head else body]


def _serve(faults: Path) -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    def end_with_parent() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    app = _Faulty(DomainDispatcherApplication(create_backend_app), faults)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
