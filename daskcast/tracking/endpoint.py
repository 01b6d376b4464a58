"""Child runs sent to a server that takes many in a request.

Covers :class:`EndpointWay`, and finding out whether a server has the route
(:func:`takes_many`). Does not cover the server's side (``mlflow_plugin.app``).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from mlflow.utils.rest_utils import http_request

from daskcast.mlflow_plugin.messages import MAX_BYTES, ROUTE, VERSION, body_of
from daskcast.tracking.bulk import BulkWay
from daskcast.tracking.rest import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from daskcast.tracking.bulk import Family
    from daskcast.tracking.place import Place
    from daskcast.tracking.server import ServerCalls


class EndpointWay(BulkWay):
    """Send a group in a request, which the server writes in a transaction.

    Parameters
    ----------
    place : Place
    calls : ServerCalls
    """

    name = "endpoint"
    requests_per_run = 0.01

    def __init__(self, place: Place, calls: ServerCalls) -> None:
        super().__init__(place)
        self._calls = calls

    def _put(self, families: Sequence[Family]) -> None:
        runs = [run for family in families for run in family]
        body = body_of(self._place.experiment_id, runs)
        if len(body) > MAX_BYTES and len(families) > 1:
            half = len(families) // 2
            self._put(families[:half])
            self._put(families[half:])
            return
        self._calls.send(ROUTE, body)

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
