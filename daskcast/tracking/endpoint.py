"""Child runs sent to a server that takes many in a request.

Covers :class:`EndpointWay`, and finding out whether a server has the route
(:func:`takes_many`). Does not cover the server's side (``mlflow_plugin.app``).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from mlflow.utils.rest_utils import http_request, verify_rest_response

from daskcast.mlflow_plugin.messages import MAX_BYTES, ROUTE, VERSION, body_of
from daskcast.tracking.bulk import BulkWay
from daskcast.tracking.rest import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from daskcast.mlflow_plugin.messages import CompleteRun
    from daskcast.tracking.place import Place

_NOT_FOUND = 404
_JSON = {"Content-Type": "application/json"}


class EndpointWay(BulkWay):
    """Send a group in a request, which the server writes in a transaction.

    A request whose answer is lost is sent again by MLflow's client: it changes nothing the second
    time.
    """

    name = "endpoint"
    requests_per_run = 0.01

    def _put(self, runs: Sequence[CompleteRun]) -> None:
        body = body_of(self._place.experiment_id, runs)
        if len(body) > MAX_BYTES and len(runs) > 1:
            half = len(runs) // 2
            self._put(runs[:half])
            self._put(runs[half:])
            return
        answer = http_request(
            self._place.store.get_host_creds(),
            ROUTE,
            "POST",
            raise_on_status=False,
            extra_headers=_JSON,
            data=body,
        )
        verify_rest_response(answer, ROUTE)

    def _listed(self) -> Iterable[tuple[str, str, bool]]:
        return listed(self._place, self._place.parent_id)


def takes_many(place: Place) -> bool:
    """Tell whether the server of a place takes many runs in a request.

    Parameters
    ----------
    place : Place

    Returns
    -------
    bool
        False where the route is not there, or of another version, or may not be used.
    """
    try:
        answer = http_request(
            place.store.get_host_creds(),
            ROUTE,
            "GET",
            raise_on_status=False,
            max_retries=0,
            params={"experiment_id": place.experiment_id},
        )
        told: dict[str, Any] = json.loads(answer.text)
    except (MlflowException, ValueError):
        return False
    return bool(answer.ok and isinstance(told, dict) and told.get("version") == VERSION)
