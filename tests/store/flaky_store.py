"""A store that fails now and then, as fsspec reaches it: ``flaky://PATH`` over a local folder.

By chance, of the seed in ``FLAKY_SEED``, each operation may fail before it did anything, a write
or a removal also after it took effect, and half of a write may arrive, with and without an error.
Every fault is one line in the file that ``FLAKY_LOG`` names.
"""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path
from typing import Any, ClassVar

from fsspec import AbstractFileSystem

ERRORS = (
    OSError(5, "Input/output error"),
    ConnectionResetError(104, "Connection reset by peer"),
    TimeoutError("no answer in time"),
    BlockingIOError(11, "Resource temporarily unavailable"),
)


_numbers = itertools.count()


class FlakyFileSystem(AbstractFileSystem):
    """Operations on a local folder, some of which fail."""

    protocol: ClassVar[Any] = "flaky"
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._rng = random.Random(f"{os.environ['FLAKY_SEED']}-{next(_numbers)}")
        self._share = float(os.environ.get("FLAKY_SHARE", "0.06"))

    def _maybe(self, what: str) -> None:
        if self._rng.random() < self._share:
            self._fail(what)

    def _fail(self, what: str) -> None:
        self._note(what)
        raise self._rng.choice(ERRORS)

    def _note(self, what: str) -> None:
        with Path(os.environ["FLAKY_LOG"]).open("a") as file:
            file.write(f"{what}\n")

    def cat_file(self, path: str, start: Any = None, end: Any = None, **_options: Any) -> bytes:
        self._maybe("read")
        return Path(path).read_bytes()[start:end]

    def pipe_file(self, path: str, value: bytes, **_options: Any) -> None:
        self._maybe("write before")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        torn = self._rng.random() < self._share
        Path(path).write_bytes(value[: len(value) // 2] if torn else value)
        if torn and self._rng.random() < 0.5:
            self._note("write torn in silence")
        elif torn:
            self._fail("write torn")
        else:
            self._maybe("write after")

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        self._maybe("info")
        found = Path(path).stat()
        return {
            "name": path,
            "size": found.st_size,
            "type": "directory" if Path(path).is_dir() else "file",
        }

    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:
        self._maybe("list")
        found = [
            {
                "name": str(one),
                "size": one.stat().st_size,
                "type": "directory" if one.is_dir() else "file",
            }
            for one in Path(path).iterdir()
        ]
        return found if detail else [one["name"] for one in found]

    def rm_file(self, path: str) -> None:
        self._maybe("remove before")
        Path(path).unlink()
        self._maybe("remove after")

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        Path(path).mkdir(parents=True, exist_ok=exist_ok)
