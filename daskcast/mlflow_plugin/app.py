"""The MLflow server, with one route more: it takes many runs in a request.

Covers :func:`create_app`, which ``mlflow server --app-name daskcast`` starts. Does not cover the
rows (``tables``), the body of a request (``messages``), or permissions and rates (``guard``).

Environment, read at the start:

- ``DASKCAST_MLFLOW_APP``: the app that is wrapped, by the name that ``--app-name`` would have,
  such as ``basic-auth``; without it the plain server.
- ``DASKCAST_MLFLOW_BULK``: ``off`` leaves the wrapped app as it is.
- ``DASKCAST_MLFLOW_RATE``: requests a second for each user and process of the server.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from mlflow.exceptions import MlflowException
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

from daskcast.mlflow_plugin import PARENT_TAG
from daskcast.mlflow_plugin.guard import Rates, may_write, user_of
from daskcast.mlflow_plugin.messages import (
    MAX_BYTES,
    MAX_RUNS,
    ROUTE,
    VERSION,
    CompleteRun,
    RefusedError,
    read_body,
)
from daskcast.mlflow_plugin.tables import experiment_of, table_problems, write_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

audit = logging.getLogger("daskcast.mlflow_plugin.audit")

RATE = 20.0
_USER_TAG = "mlflow.user"


class _RefusalError(Exception):
    """Ends a request with a status, and a message that MLflow's client understands."""

    def __init__(self, status: int, code: str, message: str, retry_s: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_s = status, code, retry_s


def create_app() -> Any:
    """Give the server that is wrapped, with the route.

    Returns
    -------
    FastAPI
        Where the wrapped app is none (as under gunicorn and waitress), that app as it is.

    Raises
    ------
    ValueError
        Where the app that is to be wrapped is not there.
    """
    app = _wrapped(os.environ.get("DASKCAST_MLFLOW_APP", ""))
    if os.environ.get("DASKCAST_MLFLOW_BULK", "").lower() in {"off", "0", "false"}:
        return app
    if not isinstance(app, FastAPI):
        audit.warning("the bulk route is not there: it needs a server that uvicorn runs")
        return app
    if not audit.handlers:
        audit.addHandler(logging.StreamHandler(sys.stderr))
        audit.setLevel(logging.INFO)
        audit.propagate = False
    bulk = _Bulk(app, Rates(float(os.environ.get("DASKCAST_MLFLOW_RATE", RATE))))
    prefix = os.environ.get("_MLFLOW_STATIC_PREFIX", "").rstrip("/")
    app.router.routes.insert(0, Route(prefix + ROUTE, bulk.tell, methods=["GET"]))
    app.router.routes.insert(0, Route(prefix + ROUTE, bulk.write, methods=["POST"]))
    return app


def _wrapped(name: str) -> Any:
    if not name:
        return _plain()
    found = {e.name: e for e in metadata.entry_points(group="mlflow.app") if e.name != "daskcast"}
    if name not in found:
        raise ValueError(
            f"DASKCAST_MLFLOW_APP names {name!r}; there are {', '.join(sorted(found)) or 'none'}"
        )
    loaded = found[name].load()
    return loaded if isinstance(loaded, FastAPI) else loaded()


def _plain() -> Any:
    """Give the server as it is."""
    try:
        from mlflow.server.fastapi_app import app  # noqa: PLC0415
    except ImportError:  # an older MLflow, without uvicorn
        from mlflow.server import app  # noqa: PLC0415
    return app


class _Bulk:
    """The route: whether it may be used, and its use."""

    def __init__(self, app: FastAPI, rates: Rates) -> None:
        self._app = app
        self._rates = rates

    async def tell(self, request: Request) -> JSONResponse:
        """Say what is taken, to who may write into the experiment that is named."""
        status = await may_write(self._app, request, request.query_params.get("experiment_id", ""))
        if status != 200:  # noqa: PLR2004
            return _answer(status, {"error_code": _code(status), "message": "not permitted"})
        if await run_in_threadpool(_problems):
            return _answer(501, {"error_code": "NOT_IMPLEMENTED", "message": "unknown tables"})
        limits = {"version": VERSION, "max_runs": MAX_RUNS, "max_bytes": MAX_BYTES}
        return _answer(200, limits)

    async def write(self, request: Request) -> JSONResponse:
        """Write the runs of a request; say how many were written, and how many were there."""
        about: dict[str, Any] = {
            "user": user_of(request),
            "from": request.client.host if request.client else "",
        }
        status, retry_s = 500, 0.0
        try:
            found = await self._write(request, about)
            status = 200
        except _RefusalError as refusal:
            status, retry_s = refusal.status, refusal.retry_s
            found = {"error_code": refusal.code, "message": str(refusal)}
        except MlflowException as error:
            status = error.get_http_status_code()
            found = {"error_code": error.error_code, "message": error.message[:500]}
        finally:
            audit.info("%s", json.dumps({"daskcast": "runs", "status": status, **about}))
        return _answer(status, found, retry_s)

    async def _write(self, request: Request, about: dict[str, Any]) -> dict[str, Any]:
        # Nobody is known yet: who takes another's name uses up a share of his own.
        wait = self._rates.wait_s(f"{about['from']} {about['user']}")
        if wait:
            raise _RefusalError(429, "REQUEST_LIMIT_EXCEEDED", "too many requests", wait)
        body = await _limited(request)
        about["bytes"] = len(body)
        try:
            experiment_id, runs = await run_in_threadpool(read_body, body)
        except RefusedError as error:
            raise _RefusalError(400, "INVALID_PARAMETER_VALUE", str(error)) from None
        about |= {"experiment": experiment_id, "runs": len(runs)}
        status = await may_write(self._app, request, experiment_id)
        if status != 200:  # noqa: PLR2004
            raise _RefusalError(status, _code(status), "not permitted")
        there = await run_in_threadpool(_written, experiment_id, runs, about["user"])
        about["written"] = len(runs) - len(there)
        return {"written": about["written"], "existing": len(there)}


def _written(experiment_id: str, runs: Sequence[CompleteRun], user: str) -> set[str]:
    store = _store()
    if problems := _problems():
        raise _RefusalError(501, "NOT_IMPLEMENTED", "; ".join(problems))
    of_request = {run.run_id for run in runs}
    above = {run.tags[PARENT_TAG] for run in runs if PARENT_TAG in run.tags}
    places = {a: experiment_of(store, a) for a in above}
    if any(found != experiment_id for a, found in places.items() if found or a not in of_request):
        raise _RefusalError(
            400, "INVALID_PARAMETER_VALUE", "a run can only be below a run of its own experiment"
        )
    if user:
        for run in runs:
            run.tags[_USER_TAG] = user
    return write_runs(store, experiment_id, runs, user=user or runs[0].tags.get(_USER_TAG, ""))


@cache
def _problems() -> tuple[str, ...]:
    """Look at the tables once in the life of the server: MLflow reads all its migrations for it."""
    return tuple(table_problems(_store()))


def _store() -> Any:
    from mlflow.server.handlers import _get_tracking_store  # noqa: PLC0415 - made at first use

    return _get_tracking_store()


async def _limited(request: Request) -> bytes:
    """Read a body, and no more than is taken."""
    parts, n = [], 0
    async for part in request.stream():
        n += len(part)
        if n > MAX_BYTES:
            raise _RefusalError(
                413, "INVALID_PARAMETER_VALUE", f"a body may have {MAX_BYTES:,} bytes at most"
            )
        parts.append(part)
    return b"".join(parts)


def _code(status: int) -> str:
    return {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST"}.get(
        status, "BAD_REQUEST"
    )


def _answer(status: int, found: dict[str, Any], retry_s: float = 0.0) -> JSONResponse:
    headers = {"Retry-After": f"{max(1, round(retry_s))}"} if retry_s else None
    return JSONResponse(found, status_code=status, headers=headers)
