"""Where the bytes of a run folder go: a local folder, or any place that fsspec reaches.

Covers reading, writing and listing whole files by their names in the folder. Does not cover what
the files hold or mean (``folder``).

A local file is written beside its name, synced to the disk, then renamed: under its name there is
never half a file. An object store has no rename and needs none, as an object appears whole or not
at all; anywhere else its size, and the checksums of the markers, tell. What fails at such a place
and may pass is done again (``patience``), whatever the packages behind fsspec call it
(``foreign``). Nothing is looked up in what was listed before: others write there, too. Local files
go through the functions of the operating system: fsspec's cost several times as much.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fsspec import get_filesystem_class

from daskcast.errors import StoreError
from daskcast.foreign import as_os_error, of_first_answer, reach
from daskcast.redact import redact_uri
from daskcast.store.patience import patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Given = TypeVar("Given")

_LOCAL = ("file://", "local://")
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM}
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")

#: How long a place is asked again for its first answer.
_AGAIN_S = 5.0


class Files(Protocol):
    """Whole files under a root; names are relative, with ``/``."""

    def knock(self) -> None:
        """See soon whether the place answers; OSError where it does not."""

    def read(self, name: str) -> bytes:
        """Give a file's bytes; FileNotFoundError where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Put a whole file, in place of an older one; durable on return where that is local."""

    def create(self, name: str, data: bytes) -> None:
        """Put a whole file; FileExistsError where there is one."""

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""

    def exists(self, name: str) -> bool:
        """Tell whether there is such a file."""

    def names(self, folder: str) -> list[str]:
        """Name the files directly in a subfolder, sorted; empty where there is none."""

    def make_folders(self, folders: Iterable[str]) -> None:
        """Make subfolders where the place has such things."""


def is_temporary(name: str) -> bool:
    """Tell whether a file is what an interrupted write left behind."""
    return _TEMPORARY.fullmatch(name.rpartition("/")[2]) is not None


def is_local(url: str) -> bool:
    """Tell a path of this machine from the URL of another place."""
    return "://" not in url or url.startswith(_LOCAL)


def absolute(url: str | os.PathLike[str]) -> str:
    """Make a local path independent of the current folder; a URL stays."""
    url = os.fspath(url)
    if not is_local(url):
        return url.rstrip("/")
    path = url.split("://", 1)[1] if url.startswith(_LOCAL) else url
    return str(Path(path).expanduser().absolute())


def files_at(url: str) -> Files:
    """Give the files under a root.

    Raises
    ------
    StoreError
        Where the kind of place is unknown or its package is missing.
    """
    if is_local(url):
        return LocalFiles(absolute(url))
    place = redact_uri(url)
    try:
        # some connect here
        filesystem, root = patiently(f"opening {place}", lambda: _reach(url))
    except (ValueError, ImportError) as error:
        raise StoreError(f"cannot use the run folder {place}: {error}") from error
    return RemoteFiles(filesystem, root)


def _reach(url: str) -> tuple[Any, str]:
    """Open a filesystem; one over a network of its own, with no memory of what it listed.

    What it does again by itself, around a client that does so, too, would be minutes each time.
    That of S3 asks for the size before each read, to read what is large in parallel: that doubles
    the requests, and the parts of a batch are small.
    """
    protocol = url.partition("://")[0]
    if "::" in protocol or not get_filesystem_class(protocol).async_impl:
        found = reach(url)
    else:
        found = reach(url, use_listings_cache=False)
        if hasattr(found[0], "retries"):
            found[0].retries = 1
        if "s3" in found[0].protocol:
            found[0].max_concurrency = 1
    return found


class LocalFiles:
    """Files in a folder of this machine.

    Parameters
    ----------
    root : str
        An absolute path.
    """

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def knock(self) -> None:
        """Do nothing: a disk answers."""

    def read(self, name: str) -> bytes:
        """Give a file's bytes."""
        return (self._root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Write beside, sync, rename."""
        path = self._root / name
        beside = self._beside(path, data)
        try:
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    def create(self, name: str, data: bytes) -> None:
        """Write beside, then link: of two that create the same file, one is refused."""
        path = self._root / name
        beside = self._beside(path, data)
        try:
            path.hardlink_to(beside)
        except FileExistsError:
            raise
        except OSError:  # a filesystem without hard links
            if path.exists():
                raise FileExistsError(path) from None
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        _sync_folder(path.parent)

    def _beside(self, path: Path, data: bytes) -> Path:
        beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        number = os.open(beside, flags, 0o666)
        try:
            _write_all(number, data)
            os.fsync(number)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(path)) from error
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        finally:
            os.close(number)
        return beside

    def remove(self, name: str) -> None:
        """Remove a file."""
        (self._root / name).unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        """Tell whether there is such a file."""
        return (self._root / name).is_file()

    def names(self, folder: str) -> list[str]:
        """Name the files in a subfolder."""
        try:
            with os.scandir(self._root / folder) as found:
                return sorted(entry.name for entry in found if entry.is_file())
        except FileNotFoundError:
            return []

    def make_folders(self, folders: Iterable[str]) -> None:
        """Make the root and its subfolders."""
        for folder in folders:
            (self._root / folder).mkdir(parents=True, exist_ok=True)


def _write_all(number: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(number, left) :]


def _sync_folder(path: Path) -> None:
    """Make a rename last, where the system and the filesystem let a folder be synced."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(number)


class RemoteFiles:
    """Files at a place that fsspec reaches; what fails and may pass is done again.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
    root : str
        As that filesystem writes it.
    """

    def __init__(self, filesystem: Any, root: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def reached(self, name: str) -> tuple[Any, str]:
        """Give the filesystem, and a file as that writes it."""
        return self._filesystem, self._path(name)

    def _do(self, what: str, name: str, operation: Callable[[str], Given]) -> Given:
        path = self._path(name)
        told = f"{what} {self._filesystem.unstrip_protocol(path)}"
        return patiently(told, lambda: as_os_error(lambda: operation(path)), place=self._root)

    def knock(self) -> None:
        """List the root once: a wrong address or wrong keys are told soon, and in words."""
        limit = of_first_answer(self._filesystem)
        patiently(
            f"asking {self._filesystem.unstrip_protocol(self._root)}",
            lambda: as_os_error(lambda: self._list(self._root, **limit)),
            place=self._root,
            within_s=_AGAIN_S,
        )

    def read(self, name: str) -> bytes:
        """Give a file's bytes."""
        return self._do("reading", name, self._get)

    def _get(self, path: str) -> bytes:
        self._filesystem.invalidate_cache()
        return bytes(self._filesystem.cat_file(path))

    def write(self, name: str, data: bytes) -> None:
        """Put a whole file, and see that all of it arrived."""
        self._do("writing", name, lambda path: self._put(path, data))

    def _put(self, path: str, data: bytes) -> None:
        """Write once; make the folder only where the place asks for one.

        A path that begins with no slash begins with a bucket, and what was asked for is that: the
        folder of a mistyped URL would be a new bucket.
        """
        try:
            told = self._filesystem.pipe_file(path, data)
        except FileNotFoundError:
            if not path.startswith("/"):
                raise
            self._filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            told = self._filesystem.pipe_file(path, data)
        if isinstance(told, dict) and told.get("ETag"):  # the receipt of S3, for a whole object
            return
        found = self._about(path)
        size = None if found is None else found.get("size")
        if found is None or (size is not None and size != len(data)):
            raise OSError(errno.EIO, f"{size} of {len(data)} bytes arrived", path)

    def create(self, name: str, data: bytes) -> None:
        """Put a whole file that is not there yet; a race of two is not excluded."""
        if self.exists(name):
            raise FileExistsError(self._path(name))
        self.write(name, data)

    def remove(self, name: str) -> None:
        """Remove a file."""
        with suppress(FileNotFoundError):
            if self.exists(name):
                self._do("removing", name, self._filesystem.rm_file)

    def exists(self, name: str) -> bool:
        """Tell whether there is such a file, not trusting what was listed before.

        Not by ``isfile``: to that of fsspec, a file that could not be looked for is none.
        """
        found = self._do("looking for", name, self._about)
        return found is not None and found["type"] == "file"

    def _about(self, path: str) -> dict[str, Any] | None:
        self._filesystem.invalidate_cache()
        try:
            return dict(self._filesystem.info(path))
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Name the files in a subfolder."""
        found = self._do("listing", folder, self._list)
        return sorted(
            entry["name"].rpartition("/")[2] for entry in found if entry["type"] == "file"
        )

    def _list(self, path: str, **options: Any) -> list[dict[str, Any]]:
        self._filesystem.invalidate_cache()
        try:
            return list(self._filesystem.ls(path, detail=True, **options))
        except FileNotFoundError:
            return []

    def make_folders(self, folders: Iterable[str]) -> None:
        """Make nothing: a folder comes with its first file."""
