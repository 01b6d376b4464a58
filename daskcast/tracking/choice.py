"""Which way child runs take into a store.

Covers :func:`way_to`. Does not cover the ways (``database``, ``endpoint``, ``rest``).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from daskcast.mlflow_plugin.tables import table_problems
from daskcast.tracking.database import DatabaseWay
from daskcast.tracking.endpoint import EndpointWay, takes_many
from daskcast.tracking.rest import RestWay
from daskcast.tracking.server import ServerCalls
from daskcast.tracking.uris import is_database, redact, sqlite_path

if TYPE_CHECKING:
    from daskcast.tracking.place import Place, Way

logger = logging.getLogger(__name__)


def way_to(place: Place, bulk: str = "auto") -> Way:
    """Choose how child runs are sent.

    Parameters
    ----------
    place : Place
    bulk : {"auto", "database", "off"}
        ``auto`` asks a server whether it takes many runs in a request, and writes into the tables
        of a SQLite file, which is the user's own. A database with a server of its own has
        permissions and an audit that this would pass by, so it is written to only where that is
        asked for.

    Returns
    -------
    Way
    """
    if isinstance(place.calls, ServerCalls):
        if bulk != "off" and takes_many(place):
            return EndpointWay(place, place.calls)
        return RestWay(place)
    wanted = bulk == "database" or (bulk == "auto" and sqlite_path(place.uri) is not None)
    if not wanted or not is_database(place.uri):
        return RestWay(place)
    problems = table_problems(place.store)
    if not problems:
        return DatabaseWay(place)
    logger.warning(
        "the tables of the tracking store %s are not those that are known, so runs are sent one "
        "by one, which is slower by far: %s",
        redact(place.uri),
        "; ".join(problems),
    )
    return RestWay(place)
