"""The logs of containers: files that processes write into, and times that lines get.

Covers: the log of a container and of its predecessor, as lines; ``timestamps``, ``sinceTime``,
``tailLines`` and ``limitBytes``.
Does not cover: rotation, and the true time of a line: it is when it was first looked at.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

_SECOND_NS = 10**9


class Line(NamedTuple):
    time_ns: int
    text: bytes


class Logs:
    """The logs of all containers of a cluster; they stay when pods go."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._times: dict[int, list[int]] = {}

    def folder(self, namespace: str, pod: str) -> Path:
        return self._folder / namespace / pod

    def file(self, namespace: str, pod: str, container: str, previous: bool = False) -> Path:
        ending = ".previous.log" if previous else ".log"
        return self.folder(namespace, pod) / f"{container}{ending}"

    def begin(self, namespace: str, pod: str) -> None:
        """Forget the logs of an earlier pod of this name."""
        self.folder(namespace, pod).mkdir(parents=True, exist_ok=True)
        for old in self.folder(namespace, pod).iterdir():
            old.unlink()

    def open(self, namespace: str, pod: str, container: str) -> BinaryIO:
        """Begin a log; what there is becomes that of the predecessor."""
        path = self.file(namespace, pod, container)
        if path.exists():
            path.replace(self.file(namespace, pod, container, previous=True))
        log = path.open("wb")
        self._times.pop(path.stat().st_ino, None)
        return log

    def lines(self, path: Path, is_growing: bool) -> list[Line]:
        """Give the lines of a log, whole ones only while it grows."""
        with path.open("rb") as file:
            identity = path.stat().st_ino
            texts = file.read().splitlines(keepends=True)
        if is_growing and texts and not texts[-1].endswith(b"\n"):
            texts.pop()
        times = self._times.setdefault(identity, [])
        start = max(time.time_ns(), times[-1] + 1 if times else 0)
        times += range(start, start + len(texts) - len(times))
        return [Line(*pair) for pair in zip(times, texts, strict=False)]


def chosen(lines: list[Line], query: Mapping[str, str]) -> list[Line]:
    """Give the lines that a client asks for."""
    since_ns = 0
    if text := query.get("sinceTime"):
        since_ns = int(datetime.datetime.fromisoformat(text).timestamp()) * _SECOND_NS
    found = [line for line in lines if line.time_ns >= since_ns]
    last = query.get("tailLines")
    return found[max(0, len(found) - int(last)) :] if last else found


def written(lines: list[Line], query: Mapping[str, str]) -> bytes:
    """Give lines as a client reads them."""
    with_times = query.get("timestamps") == "true"
    text = b"".join(_stamp(line.time_ns) * with_times + line.text for line in lines)
    limit = query.get("limitBytes")
    return text[: int(limit)] if limit else text


def _stamp(time_ns: int) -> bytes:
    seconds, rest_ns = divmod(time_ns, _SECOND_NS)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z ".encode()
