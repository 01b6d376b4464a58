"""Files and folders of data wherever fsspec reaches, near or distant.

Covers what is at a path, opening it, and that all which goes wrong at a distant place comes as an
OSError of one sentence. Does not cover what the files hold (``readers``, ``footers``).
"""

from __future__ import annotations

import io
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import fsspec
from fsspec.implementations.local import LocalFileSystem

from daskcast.foreign import as_os_error, of_first_answer, reach

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What unpacking raises of a damaged file.
_DAMAGED = (EOFError, zlib.error)


def what_is_at(path: str) -> tuple[Literal["folder", "file", ""], str]:
    """Tell what a path leads to, and that path without its protocol.

    What was listed before is forgotten. A place that does not answer is not waited for long.

    Raises
    ------
    OSError
        The place does not answer, or lets nobody in.
    ValueError, ImportError
        As of :func:`daskcast.foreign.reach`.
    """
    fs, inner = reach(path)
    if isinstance(fs, LocalFileSystem):
        return ("folder" if fs.isdir(inner) else "file" if fs.isfile(inner) else ""), inner
    try:
        fs.invalidate_cache()
        about = as_os_error(lambda: fs.info(inner, **of_first_answer(fs)))
        is_folder = about["type"] == "directory" or as_os_error(lambda: fs.isdir(inner))
    except FileNotFoundError:
        return "", inner
    return ("folder" if is_folder else "file"), inner


def found_in(folder: str) -> tuple[Any, str, dict[str, dict[str, Any]]]:
    """Find all files in a folder and its folders: the filesystem, the root, each file by its path.

    Raises
    ------
    OSError, ValueError, ImportError
        As of :func:`what_is_at`.
    """
    fs, root = reach(folder)
    return fs, root, as_os_error(lambda: fs.find(root, detail=True))


def last_bytes(url: str, size: int, n: int) -> bytes:
    """Read the last bytes of a file whose size is known."""
    fs, path = reach(url)
    return bytes(as_os_error(lambda: fs.cat_file(path, start=max(size - n, 0), end=size)))


def path_here(path: str) -> str | None:
    """Give the path of a file of this machine, without a protocol; None where it is distant."""
    fs, inner = reach(path)
    return inner if isinstance(fs, LocalFileSystem) else None


@contextmanager
def opened_bytes(path: str, compression: str | None = None) -> Iterator[Any]:
    """Open a file to read its bytes, unpacked where ``compression`` says so."""
    if path_here(path) is not None:
        with fsspec.open(path, "rb", compression=compression) as file:
            yield file
        return
    distant = fsspec.open(path, "rb", compression=compression)
    file = as_os_error(distant.__enter__)
    try:
        yield _Distant(file)
    finally:
        distant.close()


class _Distant(io.RawIOBase):
    """A file at a distant place, whose errors are OSErrors."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def read(self, size: int = -1) -> bytes:
        return bytes(as_os_error(lambda: self._file.read(size), *_DAMAGED))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(as_os_error(lambda: self._file.seek(offset, whence), *_DAMAGED))

    def tell(self) -> int:
        return int(self._file.tell())
