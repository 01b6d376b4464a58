"""Entities in a process of their own, for those that end it, fill it or never return.

Covers :func:`run_apart`: the same results as :func:`daskcast.task.run_batch`, but an entity whose
process dies, or is stopped for what it takes, has failed with what is known, and the others go on.
Does not cover who is to be run so (``work``, ``engine``).

::

    caller   the worker's side: hands entities over, takes results
    warden   a process beside the worker: starts runners, watches them, tells how they ended
    runner   a fork of the warden: works on one entity after another
    words    what travels between them

A runner is a fork, which takes milliseconds, of a process that has imported everything and has one
thread. Only POSIX systems have forks.
"""

from __future__ import annotations

from daskcast.apart.caller import run_apart
from daskcast.apart.words import Limits

__all__ = ["Limits", "run_apart"]
