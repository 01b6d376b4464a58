"""Workers made ready for batches: kernels warm, BLAS at one thread, Ctrl-C left to the driver.

Covers this process, the workers of a Dask cluster, and those that join it later. Does not cover
starting them (``machine``, ``cluster``).
"""

from __future__ import annotations

import functools
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin
from distributed.client import ClosedClientError

from daskcast.blas import blas_at_one

if TYPE_CHECKING:
    from distributed import Client


@functools.cache
def warm_up() -> None:
    """Warm this process up, once."""
    from daskcast import task  # noqa: PLC0415 - heavy: where the work is done

    task.warm_up()


def prepare_workers(client: Client, *, own: bool) -> None:
    """Warm each worker once, one of each machine first; workers that join later warm themselves."""
    firsts = list({_host(address): address for address in client.nthreads()}.values())
    client.run(warm_up, workers=firsts)
    client.register_plugin(_Preparation(own=own))


def forget_workers(client: Client) -> None:
    """Leave the workers as they were; a client that is lost by now has none.

    Nothing is left to do, either, where another run on the same cluster ended before.
    """
    with suppress(OSError, TimeoutError, ClosedClientError, ValueError):
        client.unregister_worker_plugin(_Preparation.name)


def _host(address: str) -> str:
    return address.rpartition(":")[0]


class _Preparation(WorkerPlugin):
    """Warms the kernels and limits BLAS, on each worker there is and each that joins."""

    name = "daskcast-prepare"

    def __init__(self, *, own: bool) -> None:
        self._own = own

    async def setup(self, worker: Any) -> None:
        await worker.loop.run_in_executor(None, warm_up)
        # In a thread that ends: while the one that set a limit is alive, threadpoolctl lets no
        # other set one, and a task could not limit what its model loads.
        setter = threading.Thread(target=self._limit)
        setter.start()
        setter.join()
        if self._own and threading.current_thread() is threading.main_thread():
            # Ctrl-C reaches the whole group: the driver decides, workers go when it closes them.
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _limit(self) -> None:
        self._limits = blas_at_one()

    def teardown(self, worker: Any) -> None:  # noqa: ARG002
        self._limits.restore_original_limits()
