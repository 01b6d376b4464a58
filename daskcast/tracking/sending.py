"""Child runs on their way to MLflow.

Covers which trouble stops all of them, and the account of what became of each. Does not cover the
requests of one child (``rest``).
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from daskcast.tracking.base import Delivery
from daskcast.tracking.courtesy import hush, is_hopeless, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daskcast.tracking.base import ChildRun

REFUSALS_IN_A_ROW = 5


class Sending:
    """Some children, taken by a few threads until all are tried or one finds it hopeless.

    Parameters
    ----------
    children : sequence of ChildRun
    send : callable
        Sends one child; called from several threads.
    """

    def __init__(self, children: Sequence[ChildRun], send: Callable[[ChildRun], None]) -> None:
        self._send = send
        self._n_children = len(children)
        self._waiting: queue.SimpleQueue[ChildRun] = queue.SimpleQueue()
        for child in children:
            self._waiting.put(child)
        self._lock = threading.Lock()
        self._uri = ""
        self._sent = 0
        self._refused: list[tuple[str, str]] = []
        self._in_a_row = 0
        self._stopped = ""
        self._cpu_s = 0.0

    def run(self, n_threads: int, *, uri: str = "") -> Delivery:
        """Send with some threads; with one, in the caller's own.

        Parameters
        ----------
        n_threads : int
        uri : str
            Address whose credentials are kept out of reasons.
        """
        self._uri = uri
        n_threads = min(n_threads, self._n_children)
        if n_threads <= 1:
            self._take()
        else:
            self._fan_out(n_threads)
        return Delivery(self._sent, tuple(self._refused), self._stopped, self._cpu_s)

    def _fan_out(self, n_threads: int) -> None:
        # Daemons, not a pool: a pool's threads are waited for when the process ends, and a
        # server that hangs must not keep it from ending.
        threads = [
            threading.Thread(target=self._take_aside, name=f"daskcast-send-{n}", daemon=True)
            for n in range(n_threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _take_aside(self) -> None:
        self._take()
        with self._lock:
            self._cpu_s += time.thread_time()

    def _take(self) -> None:
        with hush():
            while not self._stopped:
                try:
                    child = self._waiting.get_nowait()
                except queue.Empty:
                    break
                self._try(child)

    def _try(self, child: ChildRun) -> None:
        try:
            self._send(child)
        # Whatever a server answers, each child is accounted for.
        except Exception as error:  # noqa: BLE001
            self._failed(child, error)
        else:
            with self._lock:
                self._sent += 1
                self._in_a_row = 0

    def _failed(self, child: ChildRun, error: Exception) -> None:
        why = reason(error, self._uri)
        with self._lock:
            self._in_a_row += 1
            if isinstance(error, MlflowException) and is_hopeless(error):
                self._stopped = why
                return
            self._refused.append((child.name, why))
            if self._in_a_row >= REFUSALS_IN_A_ROW:
                self._stopped = f"{self._in_a_row} runs in a row were refused: {why}"
