"""The loop of a controller: something changed, so look at all of it again.

Covers: waking up, taking several changes at once, going on after an error.
Does not cover: what there is to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from .events import Recorder
from .registry import Registry

_log = logging.getLogger(__name__)


class Loop:
    """A controller: `sync` is called after each change of `resources`, and once a while."""

    resources: tuple[str, ...] = ()
    every_s = 1.0

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self.registry = registry
        self.store = registry.store
        self.recorder = recorder

    def sync(self) -> None:
        """Bring the world nearer to what is wanted."""
        raise NotImplementedError

    async def run(self) -> None:
        queue = self.store.subscribe(*self.resources)
        while True:
            try:
                self.sync()
            except Exception:  # noqa: BLE001 - it is told, and the loop goes on
                _log.exception("%s failed", type(self).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.every_s):  # wait_for may swallow the end of it
                    await queue.get()
            while not queue.empty():
                queue.get_nowait()
