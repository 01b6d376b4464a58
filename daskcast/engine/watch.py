"""A look at a cluster from which nothing comes back.

Covers finding batches that the scheduler believes at work and their worker does not, and starting
those workers again. Does not cover workers that are dead or hang, which Dask itself sees.

The messages between scheduler and worker travel in order on one stream, sent in bundles. Dask times
the bundles by the wall clock: one that is set back by hours holds them for hours, while heartbeats
go on and all seems well. A stream ends with its worker.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from daskcast.engine.graph import is_part
from daskcast.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from distributed import Client

    #: Addresses of workers, with the texts of the keys.
    Held = frozenset[tuple[str, str]]

logger = logging.getLogger(__name__)

#: What a worker says of a task that it has done, or let go.
_OVER = {None, "memory", "error", "released", "forgotten"}
N_LOOKS = 3
"""So often in a row a cluster must have nothing to do before its run is stopped."""


class Watch:
    """Look at the batches on a cluster, from a thread of its own: a worker may not answer.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._thread: threading.Thread | None = None
        self._before: Held = frozenset()
        self._n_idle = 0
        self._error: Exception | None = None

    def look(self) -> None:
        """Begin a look, unless the last one still goes on.

        Raises
        ------
        StoppedError
            The last looks showed what cannot be mended.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        if self._error is not None:
            raise StoppedError(f"the cluster has lost batches: {self._error}") from self._error
        if self._n_idle >= N_LOOKS:
            raise StoppedError("the cluster has none of the batches that were sent to it")
        self._thread = threading.Thread(target=self._guarded, name="daskcast-watch", daemon=True)
        self._thread.start()

    def rest(self) -> None:
        """Forget what was seen: something came back."""
        self._before, self._n_idle = frozenset(), 0

    def _guarded(self) -> None:
        try:
            self._look()
        except (OSError, TimeoutError):  # a worker went meanwhile: the next look sees another
            logger.debug("a look at the cluster was cut short", exc_info=True)
        except ValueError as error:  # workers without a nanny cannot be started again
            self._error = error

    def _look(self) -> None:
        at_work: Mapping[str, Sequence[Any]] = self._client.processing()
        states = self._client.run(_states, on_error="ignore")
        lost = frozenset(
            (address, str(key))
            for address, keys in at_work.items()
            for key in keys
            if is_part(key) and address in states and states[address].get(str(key)) in _OVER
        )
        is_idle = bool(at_work) and not any(at_work.values())  # there are workers
        self._n_idle = self._n_idle + 1 if is_idle else 0
        again, self._before = sorted({address for address, _ in lost & self._before}), lost
        if again:
            logger.warning(
                "%d batches are at work on %s, says the scheduler, but not there: messages between "
                "the two were lost; the workers start again",
                len(lost),
                ", ".join(again),
            )
            self._client.restart_workers(again, raise_for_error=False)


def _states(dask_worker: Any) -> dict[str, str]:
    """Tell the state of each task that a worker knows of; runs there."""
    return {str(key): str(task.state) for key, task in dask_worker.state.tasks.items()}
