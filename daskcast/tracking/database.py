"""Child runs written into the tables of MLflow's database, hundreds in a transaction.

Covers :class:`DatabaseWay`. Does not cover the rows (``mlflow_plugin.tables``), nor whether a
database is written to like this at all (``choice``).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from daskcast.mlflow_plugin.tables import runs_below, write_runs
from daskcast.tracking.bulk import BulkWay
from daskcast.tracking.courtesy import is_hopeless

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from daskcast.mlflow_plugin.messages import CompleteRun

#: Pauses before a database that is locked or away is tried again.
PAUSES_S = (1.0, 2.0, 4.0)


class DatabaseWay(BulkWay):
    """Write into the tables, a group in a transaction."""

    name = "database"
    requests_per_run = 0.0

    def _put(self, runs: Sequence[CompleteRun]) -> None:
        place = self._place
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
