"""One driver at a time works on a run folder that is not local: a lease, renewed while it works.

Covers taking a lease, holding it from a thread, taking over that of a driver that is gone, and
giving it back. Does not cover local folders (``lock``).

A lease is a small file beside ``run.json`` that names who holds it. It is made in one step that
only one of several can do (S3: ``If-None-Match``), and its holder writes it anew four times in the
time that another has to watch it before taking it over. Clocks of machines are not compared: each
watches with its own. Where a place does not refuse to make a file twice, there is no lease. Where
it cannot replace one version alone (all but S3), two that take over at the same moment are told
apart only when the lease is next written.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daskcast.errors import StoppedError, StoreError
from daskcast.foreign import as_os_error, of_first_answer
from daskcast.redact import printable
from daskcast.store.patience import patiently

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

SECONDS = "DASKCAST_LEASE_S"
"""Names how long a lease that is not renewed is watched before it is taken over."""

_SECONDS, _LONGEST_S = 60.0, 3600.0
_N_BEATS = 4  # in that time
_LOST_AFTER = 0.75  # of that time without a renewal, its holder stops: before another begins
_AGAIN_S = 0.05
_LOOKS = 30  # at the lease of another, in that time
_N_WORDS = 100  # characters about another
_END_S = 5.0  # for a request that is under way when the lease is given back


class Hold:
    """The right to work on a run folder; this one, as that of a local lock, is never lost."""

    lost = ""
    """Why it is lost; empty while it is not."""

    taken = False
    """Whether another has it by now."""

    def check(self) -> None:
        """Raise StoppedError where it is lost."""
        if told := self.lost:
            raise StoppedError(told)


class _File:
    """The file of a lease, by single requests: what fails is tried again at the next beat."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self._fs = filesystem
        self._path = path
        self._limit = of_first_answer(filesystem)
        self._by_version = "s3" in filesystem.protocol

    def create(self, data: bytes) -> bool:
        """Make it; False where there is one."""
        return self._put(data, mode="create")

    def replace(self, data: bytes, version: str) -> bool:
        """Write it in place of one version, where the place can; False where that is gone."""
        return self._put(data, **({"IfMatch": version} if version and self._by_version else {}))

    def _put(self, data: bytes, **options: Any) -> bool:
        try:
            as_os_error(lambda: self._fs.pipe_file(self._path, data, **options, **self._limit))
        except FileExistsError:
            return False
        except OSError as error:
            if _code(error) == "PreconditionFailed":
                return False
            raise
        return True

    def read(self) -> tuple[bytes, str]:
        """Give what it holds and the version of that; nothing where there is none."""
        try:
            self._fs.invalidate_cache()
            about = as_os_error(lambda: self._fs.info(self._path, **self._limit))
            data = as_os_error(lambda: self._fs.cat_file(self._path, **self._limit))
        except FileNotFoundError:
            return b"", ""
        return bytes(data), str(about.get("ETag") or "")

    def remove(self) -> None:
        """Remove it."""
        as_os_error(lambda: self._fs.rm_file(self._path, **self._limit))


def _code(error: OSError) -> str:
    """Give what S3 calls an error."""
    told = getattr(error.__cause__, "response", None) or {}
    return str(told.get("Error", {}).get("Code", ""))


@dataclass(frozen=True, slots=True)
class _Holder:
    """What a lease says: who holds it, and how long it may stay as it is."""

    owner: str
    words: str
    seconds: float

    @classmethod
    def of(cls, data: bytes, seconds: float) -> _Holder:
        """Read a lease; a damaged one is nobody's."""
        try:
            found = json.loads(data)
            told = float(found["seconds"])
            words = printable(f"process {found['pid']} on {found['host']}")[:_N_WORDS]
            return cls(str(found["owner"]), words, told if 0 < told <= _LONGEST_S else seconds)
        except (ValueError, TypeError, KeyError, RecursionError):
            return cls("", "nobody knows which", seconds)


class Lease(Hold):
    """The lease of a run folder.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
    path : str
        Of the file, as that filesystem writes it.
    place : str
        The run folder, for messages.
    seconds : float
        After so long without a renewal, another may take it over.
    """

    def __init__(self, filesystem: Any, path: str, *, place: str, seconds: float) -> None:
        self._file = _File(filesystem, path)
        self._place = place
        self._seconds = seconds
        self._owner = secrets.token_hex(8)
        self._n = 0
        self._renewed = time.monotonic()
        self._taken_by = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="daskcast-lease", daemon=True)

    @property
    def lost(self) -> str:  # type: ignore[override]
        """Why it is lost; empty while it is not."""
        if self._taken_by:
            return f"another driver ({self._taken_by}) has taken over the run folder {self._place}"
        silent = time.monotonic() - self._renewed
        if silent > _LOST_AFTER * self._seconds:
            return (
                f"the lease of the run folder {self._place} could not be renewed for "
                f"{silent:,.0f} s, and another driver may take it over"
            )
        return ""

    @property
    def taken(self) -> bool:  # type: ignore[override]
        """Whether another has it by now."""
        return bool(self._taken_by)

    def check(self) -> None:
        """Raise StoppedError where it is lost; one that was only late is renewed."""
        if self.lost and not self._taken_by:
            with suppress(OSError):
                self._renew()
        super().check()

    # -- taking --

    def take(self) -> bool:
        """Become the one who holds it; False where the place has no leases.

        Raises
        ------
        StoreError
            Another driver works on the run folder.
        OSError
            The place takes no lease.
        """
        what = f"asking for the lease of {self._place}"
        seen, since = b"", time.monotonic()
        while not patiently(what, self._create):
            found, version = patiently(what, self._file.read)
            holder = _Holder.of(found, self._seconds)
            if not found or holder.owner == self._owner:
                self._end.wait(_AGAIN_S)  # just given back; or ours, the answer to that was lost
                continue
            if not seen:
                logger.warning(
                    "another driver (%s) works on the run folder %s, or was lost: looking for "
                    "%.0f s at most", holder.words, self._place, holder.seconds,
                )  # fmt: skip
                seen, since = found, time.monotonic()
            if found != seen:
                raise StoreError(
                    f"another driver works on this run folder {self._place} ({holder.words}); wait "
                    f"until it has ended, or stop it",
                    may_pass=True,
                )
            if time.monotonic() - since > holder.seconds and self._takes_over(version):
                logger.info("took over the run folder %s from %s", self._place, holder.words)
                break
            self._end.wait(holder.seconds / _LOOKS)
        else:
            if not self._is_exclusive():
                return False
        self._renewed = time.monotonic()
        self._thread.start()
        return True

    def _create(self) -> bool:
        """Make the lease; one that is ours already counts."""
        return self._file.create(self._content()) or self._is_ours()

    def _takes_over(self, version: str) -> bool:
        """Put the lease of ours in place of one that stayed as it was."""
        return patiently(
            f"taking over {self._place}", lambda: self._file.replace(self._content(), version)
        )

    def _is_exclusive(self) -> bool:
        """See whether the place refuses to make the file twice; else there is no lease."""
        if not patiently(
            f"asking for the lease of {self._place}", lambda: self._file.create(self._content())
        ):
            return True
        self._file.remove()
        return False

    def _is_ours(self) -> bool:
        return _Holder.of(self._file.read()[0], self._seconds).owner == self._owner

    def _content(self) -> bytes:
        self._n += 1
        about = {"pid": os.getpid(), "host": socket.gethostname(), "seconds": self._seconds}
        return json.dumps({"owner": self._owner, "n": self._n, **about}).encode()

    # -- holding --

    def _keep(self) -> None:
        """Renew it until it is given back or lost."""
        while not self._end.wait(self._seconds / _N_BEATS) and not self._taken_by:
            try:
                self._renew()
            except OSError as error:
                logger.info("the lease of %s was not renewed: %s", self._place, error)

    def _renew(self) -> None:
        began = time.monotonic()
        found, version = self._file.read()
        holder = _Holder.of(found, self._seconds)
        if found and holder.owner != self._owner:
            self._taken_by = holder.words
        elif self._end.is_set():
            return
        elif self._file.replace(self._content(), version) if found else self._create():
            self._renewed = began

    def give_back(self) -> None:
        """Remove the lease where it is ours; another takes over what cannot be removed."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(_END_S)
        try:
            if not self._taken_by and self._is_ours():
                self._file.remove()
        except OSError as error:
            logger.info("the lease of %s was not given back: %s", self._place, error)


@contextmanager
def leased(filesystem: Any, path: str, *, place: str) -> Iterator[Hold]:
    """Hold the lease of a run folder; where the place has none, work goes on without.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
    path : str
        Of the file of the lease.
    place : str
        The run folder, for messages.

    Raises
    ------
    StoreError
        Another driver works on the run folder (``may_pass``), or the place takes no lease.
    """
    lease = Lease(filesystem, path, place=place, seconds=_seconds())
    try:
        held = _taken(lease, place)
        yield lease if held else Hold()
    finally:
        lease.give_back()


def _taken(lease: Lease, place: str) -> bool:
    try:
        if lease.take():
            return True
    except TypeError:  # an older filesystem, which knows no such mode
        pass
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise StoreError(f"cannot lock the run folder {place}: {error}") from error
    logger.info(
        "%s cannot say who makes a file first: nothing keeps a second driver from this run folder",
        place,
    )
    return False


def _seconds() -> float:
    told = os.environ.get(SECONDS, "")
    try:
        found = float(told) if told else _SECONDS
    except ValueError:
        found = 0.0
    if not 0 < found <= _LONGEST_S:
        raise StoreError(f"{SECONDS} must be seconds, up to {_LONGEST_S:.0f}, found {told!r}")
    return found
