"""Batches are made ready ahead, in order, one at a time."""

from __future__ import annotations

import contextvars
import queue
import subprocess
import sys
import threading
import time

import pytest

from daskcast.tracking.ahead import aside, made_ahead


def queued(*items: str | None) -> queue.SimpleQueue[str | None]:
    found: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for item in items:
        found.put(item)
    return found


def test_the_next_is_made_while_one_is_used() -> None:
    """One ahead, not all: what waits is in memory."""
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    at_use = []
    for item in made_ahead(queued(*"abcdef", None), make):
        if item is not None:
            time.sleep(0.05)
            at_use.append((item.result(), len(made)))
    assert [name for name, _ in at_use] == list("abcdef")
    assert [n for _, n in at_use] == [2, 3, 4, 5, 6, 6]


def test_what_cannot_be_made_is_told_where_it_is_used() -> None:
    """The others are made all the same."""

    def make(name: str) -> str:
        if name == "b":
            raise OSError("it is gone")
        return name

    first, second, third, last = made_ahead(queued("a", "b", "c", None), make)
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.result(), third.result(), last) == ("a", "c", None)
    with pytest.raises(OSError, match="it is gone"):
        second.result()


def test_it_waits_for_what_comes_later() -> None:
    """What is made is given at once, not only when the next one comes."""
    items = queued("a")
    later = threading.Timer(0.3, lambda: [items.put("b"), items.put(None)])
    later.start()
    began = time.monotonic()
    seen = []
    for item in made_ahead(items, str.upper):
        seen.append((item and item.result(), time.monotonic() - began))
    later.join()
    assert [what for what, _ in seen] == ["A", "B", None]
    assert seen[0][1] < 0.25 < seen[1][1]


def test_the_log_of_the_run_is_that_of_its_helper() -> None:
    """Context variables are those of who asks."""
    run = contextvars.ContextVar("run", default="")
    run.set("airports")
    found = [item.result() for item in made_ahead(queued("a", None), lambda _: run.get()) if item]
    assert found == ["airports"]


def test_what_hangs_keeps_no_process_from_ending() -> None:
    """A process with a call that never comes back ends all the same."""
    code = """
import threading
from daskcast.tracking.ahead import aside
aside(threading.Event().wait)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert done.returncode == 0


def test_trouble_of_any_kind_is_that_of_who_waits() -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        aside(leave).result()
