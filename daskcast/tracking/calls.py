"""The few calls of MLflow that write one run, each as one request.

Covers the protocol :class:`Calls`, and :class:`StoreCalls` for databases. Does not cover a server
(``server``), nor what is written (``rest``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from mlflow.entities import Metric, Param, RunTag
from mlflow.entities import RunStatus as MlflowStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.tracking.limits import LogBatch


class Calls(Protocol):
    """What writes a run, step by step.

    Attributes
    ----------
    n_at_once : int
        From how many threads these may be called.
    doubtful : bool
        Whether there may be a run of which nobody was told.
    """

    n_at_once: int
    doubtful: bool

    def create(
        self,
        experiment_id: str,
        user: str,
        start_ms: int,
        tags: Mapping[str, str],
        name: str,
    ) -> str:
        """Make a run; give its id. The tag ``daskcast.run_key`` tells it from all others."""
        ...

    def log(self, run_id: str, batch: LogBatch, start_ms: int) -> None:
        """Log metrics, whose times count from the start, params and tags."""
        ...

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Set one tag."""
        ...

    def set_status(self, run_id: str, status: str, end_ms: int | None = None) -> None:
        """Set the status, and the end."""
        ...


class StoreCalls:
    """The calls of a store that needs no server.

    The client's own calls do more than is wanted here: `create_run` sends telemetry each time,
    `log_batch` adds the user's active model, `set_terminated` reads the run first and prints.

    Parameters
    ----------
    store : mlflow.store.tracking.abstract_store.AbstractStore
    """

    #: Several threads exhaust the pool of connections, or lock SQLite.
    n_at_once = 1
    doubtful = False

    def __init__(self, store: Any) -> None:
        self._store = store

    def create(
        self,
        experiment_id: str,
        user: str,
        start_ms: int,
        tags: Mapping[str, str],
        name: str,
    ) -> str:
        """Make a run."""
        found = [RunTag(key, value) for key, value in tags.items()]
        return str(self._store.create_run(experiment_id, user, start_ms, found, name).info.run_id)

    def log(self, run_id: str, batch: LogBatch, start_ms: int) -> None:
        """Log metrics, params and tags."""
        self._store.log_batch(
            run_id,
            [Metric(m.key, m.value, start_ms + m.after_ms, m.step) for m in batch.metrics],
            [Param(key, value) for key, value in batch.params],
            [RunTag(key, value) for key, value in batch.tags],
        )

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Set one tag."""
        self._store.set_tag(run_id, RunTag(key, value))

    def set_status(self, run_id: str, status: str, end_ms: int | None = None) -> None:
        """Set the status, and the end."""
        self._store.update_run_info(run_id, MlflowStatus.from_string(status), end_ms, None)
