"""How many threads the linear algebra takes.

Covers holding BLAS at one thread. Does not cover who holds it. Executors do, for as long as they
are open (``cluster``): most BLAS libraries have one limit for the whole process, and a task that
ends must not lift it under the others. And each task does while it works (``task``): a BLAS on
OpenMP has a limit for each thread, and a model of the user may load a library that was not there
yet when the executor was opened.
"""

from __future__ import annotations

from typing import Any

from threadpoolctl import threadpool_limits


def blas_at_one() -> Any:
    """Limit BLAS to one thread: workers already use every core, and sums keep their order.

    Returns
    -------
    threadpoolctl.threadpool_limits
        A context; the limit holds from the call on.
    """
    return threadpool_limits(limits=1, user_api="blas")
