"""Requests to an MLflow server, at a pace that it bears, and each taking effect once.

Covers :class:`ServerCalls`: a request is repeated where the server is busy or gives no answer; what
was created without an answer is looked for by its key before it is created again. MLflow's own
client repeats requests by itself, and makes two runs where an answer was lost. Does not cover the
pace itself (``pace``), nor what is written (``rest``).
"""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any, TypeVar

from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
)
from mlflow.exceptions import MlflowException
from mlflow.utils.rest_utils import http_request, verify_rest_response
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from daskcast.tracking.base import KEY_TAG
from daskcast.tracking.pace import MOST_IN_FLIGHT, Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daskcast.tracking.limits import LogBatch

_T = TypeVar("_T")
_API = "/api/2.0/mlflow/"
_TOO_MANY = 429
_JSON = {"Content-Type": "application/json"}
_PASSING = frozenset({408, 425, _TOO_MANY, 500, 502, 503, 504})


class _TroubleError(Exception):
    """A request that may be repeated: why, after how long, and whether it may have been done."""

    def __init__(self, error: MlflowException, *, wait_s: float = 0.0, doubtful: bool) -> None:
        super().__init__(str(error))
        self.error, self.wait_s, self.doubtful = error, wait_s, doubtful


class ServerCalls:
    """The calls of a store behind a server.

    Parameters
    ----------
    store : mlflow.store.tracking.rest_store.RestStore
    pace : Pace, optional
    """

    n_at_once = MOST_IN_FLIGHT

    def __init__(self, store: Any, pace: Pace | None = None) -> None:
        self._store = store
        self._pace = pace or Pace()
        self.doubtful = False

    def create(
        self,
        experiment_id: str,
        user: str,
        start_ms: int,
        tags: Mapping[str, str],
        name: str,
    ) -> str:
        """Make a run, or find the one that a request without an answer has made."""
        body = {
            "experiment_id": experiment_id,
            "user_id": user,
            "start_time": start_ms,
            "run_name": name,
            "tags": _pairs(tags.items()),
        }
        key, doubtful = tags.get(KEY_TAG, ""), False

        def made() -> str:
            nonlocal doubtful
            if doubtful and (found := self._with_key(experiment_id, key)):
                return found
            try:
                return _run_id(self._post("runs/create", body).get("run"))
            except _TroubleError as trouble:
                doubtful |= trouble.doubtful
                self.doubtful |= trouble.doubtful
                raise

        return self._insist(made)

    def log(self, run_id: str, batch: LogBatch, start_ms: int) -> None:
        """Log metrics, params and tags; the same once more changes nothing."""
        metrics = [
            {"key": m.key, "value": m.value, "timestamp": start_ms + m.after_ms, "step": m.step}
            for m in batch.metrics
        ]
        body = {
            "run_id": run_id,
            "metrics": metrics,
            "params": _pairs(batch.params),
            "tags": _pairs(batch.tags),
        }
        self._insist(lambda: self._post("runs/log-batch", body))

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Set one tag."""
        body = {"run_id": run_id, "key": key, "value": value}
        self._insist(lambda: self._post("runs/set-tag", body))

    def set_status(self, run_id: str, status: str, end_ms: int | None = None) -> None:
        """Set the status, and the end."""
        body: dict[str, Any] = {"run_id": run_id, "status": status}
        if end_ms is not None:
            body["end_time"] = end_ms
        self._insist(lambda: self._post("runs/update", body))

    def _with_key(self, experiment_id: str, key: str) -> str:
        body = {
            "experiment_ids": [experiment_id],
            "filter": f"tags.`{KEY_TAG}` = '{key}'",
            "max_results": 1,
        }
        found = self._post("runs/search", body).get("runs", []) if key else []
        return _run_id(found[0]) if found else ""

    def _insist(self, ask: Callable[[], _T]) -> _T:
        """Ask until there is an answer, as often as MLflow's own settings say."""
        n_left = MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()
        pause_s = float(MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.get())
        while True:
            try:
                return ask()
            except _TroubleError as trouble:
                failed = trouble
            self._pace.troubled(failed.wait_s)
            if n_left == 0:
                raise failed.error  # here, where it keeps what it came from
            # All who were refused at one moment must not come back at one moment.
            time.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s *= 2
            n_left -= 1

    def send(self, endpoint: str, body: bytes) -> None:
        """Send a body that changes nothing where it comes a second time."""
        self._insist(lambda: self._asked(endpoint, data=body, extra_headers=_JSON))

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._asked(_API + path, json=body)

    def _asked(self, endpoint: str, **content: Any) -> dict[str, Any]:
        with self._pace.turn():
            start = time.monotonic()
            try:
                answer = http_request(
                    self._store.get_host_creds(),
                    endpoint,
                    "POST",
                    max_retries=0,
                    raise_on_status=False,
                    **content,
                )
            except MlflowException as error:
                raise _TroubleError(error, doubtful=True) from error
            seconds = time.monotonic() - start
        try:
            verify_rest_response(answer, endpoint)
        except (MlflowException, TypeError, ValueError) as wrong:  # the latter of odd answers
            refusal = wrong if isinstance(wrong, MlflowException) else MlflowException(str(wrong))
            if answer.status_code not in _PASSING:
                raise refusal from None
            wait_s = _wait_s(answer.headers.get("Retry-After"))
            doubtful = answer.status_code != _TOO_MANY
            raise _TroubleError(refusal, wait_s=wait_s, doubtful=doubtful) from wrong
        self._pace.answered(endpoint, seconds)
        found: dict[str, Any] = json.loads(answer.text)
        return found


def _run_id(run: Any) -> str:
    try:
        return str(run["info"]["run_id"])
    except (TypeError, KeyError):
        raise MlflowException(f"the server's answer names no run: {run!r:.100}") from None


def _pairs(values: Any) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values]


def _wait_s(header: str | None) -> float:
    """Give the seconds that a server asks for, as a number or a date; 0 where it does not."""
    try:
        return Retry().parse_retry_after(header) if header else 0.0
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0
