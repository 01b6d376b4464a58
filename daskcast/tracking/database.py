"""Child runs written into the tables of MLflow's database, hundreds in a transaction.

Covers :class:`DatabaseWay`. Does not cover the rows (``mlflow_plugin.tables``), nor whether a
database is written to like this at all (``choice``).
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from daskcast.mlflow_plugin.tables import runs_below, write_runs
from daskcast.tracking.ahead import aside
from daskcast.tracking.bulk import BulkWay
from daskcast.tracking.courtesy import is_hopeless
from daskcast.tracking.uris import sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from daskcast.tracking.bulk import Family
    from daskcast.tracking.place import Place

#: Transactions at once, where a database has a server; SQLite takes one.
N_WRITERS = 2
#: Runs that are worth more than one of them.
FEWEST = 50
#: Pauses before a database that is locked or away is tried again.
PAUSES_S = (1.0, 2.0, 4.0)


class DatabaseWay(BulkWay):
    """Write into the tables, a group in a transaction, or in two where that is faster.

    Parameters
    ----------
    place : Place
    """

    name = "database"
    requests_per_run = 0.0

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._n_writers = 1 if sqlite_path(place.uri) is not None else N_WRITERS

    def _put(self, families: Sequence[Family]) -> None:
        if self._n_writers == 1 or sum(map(len, families)) < FEWEST:
            self._put_in_one(families)
            return
        # A database server spends most of this time on what the rows refer to, a core for each
        # connection.
        shares = [families[n :: self._n_writers] for n in range(self._n_writers)]
        for done in [aside(partial(self._put_aside, share)) for share in shares if share]:
            self._helpers_s += done.result()

    def _put_aside(self, families: Sequence[Family]) -> float:
        began = time.thread_time()
        self._put_in_one(families)
        return time.thread_time() - began

    def _put_in_one(self, families: Sequence[Family]) -> None:
        place = self._place
        runs = [run for family in families for run in family]
        for pause in (*PAUSES_S, None):
            try:
                write_runs(place.store, place.experiment_id, runs, user=place.user)
            except MlflowException as error:
                if pause is None or not is_hopeless(error):
                    raise
                time.sleep(pause)
            else:
                return

    def _listed(self) -> Iterable[tuple[str, str, bool]]:
        return runs_below(self._place.store, self._place.parent_id)
