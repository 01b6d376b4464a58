"""Watches: the changes of a resource, as a client may see them.

Covers: a start from a version, from now or from what is there; selectors that objects come to
match and cease to match; a delay as of a real server.
Does not cover: bookmarks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from .objects import Object
from .resources import Kind
from .store import Change, Store, changes_after


@dataclass(frozen=True)
class Watch:
    """What a client wants to see, and how late it sees it."""

    kind: Kind
    namespace: str
    selects: Callable[[Object], bool]
    since: str = ""
    timeout_s: float = 3600
    delay_s: float = 0

    async def events(self, store: Store) -> AsyncIterator[Object]:
        """Give events until the time is over."""
        queue = store.subscribe(self.kind.resource)
        try:
            for event in self._first(store, queue):
                yield event
            end = time.monotonic() + self.timeout_s
            while (left := end - time.monotonic()) > 0:
                try:
                    async with asyncio.timeout(left):
                        change = await queue.get()
                except TimeoutError:
                    return
                if event := self._event(change):
                    await asyncio.sleep(max(0, change.time + self.delay_s - time.monotonic()))
                    yield event
        finally:
            store.unsubscribe(queue)

    def _first(self, store: Store, queue: asyncio.Queue[Change]) -> list[Object]:
        """Give what is there already, or what happened since the wanted version."""
        if self.since not in ("", "0"):
            for change in changes_after(store, self.kind.resource, int(self.since)):
                queue.put_nowait(change)
            return []
        objects = [o for o in store.list(self.kind.resource, self.namespace) if self.selects(o)]
        return [{"type": "ADDED", "object": obj} for obj in objects]

    def _event(self, change: Change) -> Object | None:
        was, now = self._sees(change.old), self._sees(change.new)
        if not was and not now:
            return None
        kind = "DELETED" if not now else "MODIFIED" if was else "ADDED"
        return {"type": kind, "object": change.last}

    def _sees(self, obj: Object | None) -> bool:
        if obj is None or self.namespace not in ("", obj["metadata"].get("namespace")):
            return False
        return self.selects(obj)
