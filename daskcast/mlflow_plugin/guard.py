"""Who may write how much: limits of the server's own.

Covers the permission of a request, asked of the server that is wrapped (:func:`may_write`), the
name of who asks (:func:`user_of`), and a rate for each (:class:`Rates`).
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from daskcast.mlflow_plugin.messages import ROUTE

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message

#: Creates a run: who may do that may write runs. An answer that tells of a wrong value comes from
#: behind the permission.
_CREATE = "/api/2.0/mlflow/runs/create"
_PAST_PERMISSION = 400
_MOST_USERS = 10_000


async def may_write(app: ASGIApp, request: Request, experiment_id: str) -> int:
    """Ask the wrapped server whether who sent a request may create runs in an experiment.

    It gets a request to create a run, with the credentials and the workspace of the one that came,
    and with a start that is no time: whatever guards the server answers to it as to any other, and
    nothing is made.

    Parameters
    ----------
    app : ASGI app
        The wrapped server, whole.
    request : Request
    experiment_id : str

    Returns
    -------
    int
        200 where it may, else the status of the refusal.
    """
    body = json.dumps({"experiment_id": experiment_id, "start_time": "no time"}).encode()
    status, answer = await _asked(app, request, _CREATE, body)
    if status == _PAST_PERMISSION and b"INVALID_PARAMETER_VALUE" in answer:
        return 200
    return status if status >= _PAST_PERMISSION else 403


async def _asked(app: ASGIApp, request: Request, path: str, body: bytes) -> tuple[int, bytes]:
    """Send a request through the app with the headers of another."""
    kept = [
        (name, value)
        for name, value in request.scope["headers"]
        if name not in {b"content-length", b"content-type", b"transfer-encoding", b"expect"}
    ]
    headers = [
        *kept,
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    prefix = request.scope["path"].removesuffix(ROUTE)
    scope = {
        **{k: v for k, v in request.scope.items() if k not in {"router", "endpoint", "route"}},
        "method": "POST",
        "path": prefix + path,
        "raw_path": (prefix + path).encode(),
        "query_string": b"",
        "headers": headers,
        "path_params": {},
        "state": {},
    }
    found: dict[str, Any] = {"status": 500, "body": b""}
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            found["status"] = message["status"]
        elif message["type"] == "http.response.body":
            found["body"] += message.get("body", b"")

    await app(scope, receive, send)
    return found["status"], found["body"]


def user_of(request: Request) -> str:
    """Give the name that a request is authenticated by, empty where it is by none."""
    scheme, _, told = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(told, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


class Rates:
    """So many requests a second for each user, with twice as many saved up at most.

    Parameters
    ----------
    per_s : float

    Examples
    --------
    >>> rates = Rates(1.0)
    >>> [rates.wait_s("ann", now=0.0) for _ in range(3)]
    [0.0, 0.0, 1.0]
    >>> rates.wait_s("bob", now=0.0), rates.wait_s("ann", now=1.0)
    (0.0, 0.0)
    """

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, user: str, *, now: float | None = None) -> float:
        """Take one; give the seconds to wait where there is none.

        Parameters
        ----------
        user : str
        now : float, optional
            Seconds of a clock.
        """
        now = time.monotonic() if now is None else now
        most = 2 * max(self._per_s, 0.5)
        left, at = self._left.pop(user, (most, now))
        left = min(most, left + (now - at) * self._per_s)
        wait = 0.0 if left >= 1 else (1 - left) / self._per_s
        self._left[user] = (left - (wait == 0), now)
        if len(self._left) > _MOST_USERS:
            self._left.popitem(last=False)
        return wait
