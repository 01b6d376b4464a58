"""What the processes of a run log: tied to run, batch and entity, as JSON-ready records.

Covers the names that a record carries (:func:`bound`), collecting the records of one batch
(:func:`capture`), and the text of a record as one JSON line. Does not cover where records are kept
or read (``store``), what a terminal or a pod shows of them (``log_output``) or what a credential is
(``redact``).

The names live in context variables, so two batches in two threads of one process do not mix. No
handler is installed at import; the one that collects is there while a batch is captured.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import socket
import threading
from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from daskcast.errors import ConfigError
from daskcast.redact import redact_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextvars import Token
    from types import TracebackType

ROOT = "daskcast"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
N_PER_ENTITY = 50
N_PER_CAPTURE = 5_000
MAX_MESSAGE = 10_000
MAX_TRACEBACK = 20_000


# -- names that a record carries ---------------------------------------------------------------


class Names(NamedTuple):
    """What a record is about; empty text where nothing is bound."""

    run: str = ""
    entity: str = ""
    batch: str = ""
    worker: str = ""


_NOTHING = Names()
_names: ContextVar[Names] = ContextVar("daskcast_names", default=_NOTHING)


class bound:
    """Bind names to all records logged in this context until the block ends.

    Parameters
    ----------
    **names : str
        Any of ``run``, ``entity``, ``batch``, ``worker``; the others stay as they are.

    Examples
    --------
    >>> with bound(batch="b00001"), bound(entity="JFK"):
    ...     current()
    Names(run='', entity='JFK', batch='b00001', worker='')
    """

    __slots__ = ("_names", "_token")

    def __init__(self, **names: str) -> None:
        self._names = names
        self._token: Token[Names] | None = None

    def __enter__(self) -> None:
        """Bind."""
        self._token = _names.set(_names.get()._replace(**self._names))

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Unbind."""
        if self._token is not None:
            _names.reset(self._token)


def current() -> Names:
    """Give the names bound in this context."""
    return _names.get()


# -- collecting the records of a batch ---------------------------------------------------------


@dataclass(slots=True)
class _Sink:
    """Where the records of one captured block go; bounded."""

    records: list[dict[str, Any]]
    level: int
    n_per_entity: int
    n_most: int
    kept: Counter[tuple[str, bool]] = field(default_factory=Counter)
    dropped: Counter[Names] = field(default_factory=Counter)

    def wants(self, names: Names, *, severe: bool) -> bool:
        """Count a record in, or out; errors have room of their own, whatever came before."""
        key = (names.entity, severe)
        full = len(self.records) >= self.n_most and not severe
        if full or self.kept[key] >= self.n_per_entity:
            self.dropped[names] += 1
            return False
        self.kept[key] += 1
        return True

    def close(self) -> None:
        """Say in the records themselves what was dropped."""
        now = datetime.now(UTC).timestamp()
        for names, n in self.dropped.items():
            text = f"{n} more records were not kept: only the first ones of an entity are"
            self.records.append(_record(now, "WARNING", __name__, names, text))


_sink: ContextVar[_Sink | None] = ContextVar("daskcast_sink", default=None)


class _CaptureHandler(logging.Handler):
    """Hands each record to the sink of the context that logged it; lets it go on as before."""

    def __init__(self, go_on_level: int) -> None:
        super().__init__()
        self._go_on_level = go_on_level

    def emit(self, record: logging.LogRecord) -> None:
        sink = _sink.get()
        if sink is not None and record.levelno >= sink.level:
            names = _names.get()
            if sink.wants(names, severe=record.levelno >= logging.ERROR):
                sink.records.append(to_record(record, names))
        above = logging.getLogger(ROOT).parent
        if above is not None and record.levelno >= self._go_on_level and above.hasHandlers():
            above.callHandlers(record)


class _Installation:
    """The capturing handler, on the logger while at least one block is captured.

    While it is there, the logger's level is low enough for the records to be made, and propagation
    goes through the handler: what the user's own handlers see does not change.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n = 0
        self._handler: _CaptureHandler | None = None
        self._before = (logging.NOTSET, True)

    def enter(self, level: int) -> None:
        with self._lock:
            root = logging.getLogger(ROOT)
            if self._n == 0:
                self._before = (root.level, root.propagate)
                go_on = root.getEffectiveLevel() if root.propagate else logging.CRITICAL + 1
                self._handler = _CaptureHandler(go_on)
                root.addHandler(self._handler)
                root.propagate = False
            if root.getEffectiveLevel() > level:
                root.setLevel(level)
            self._n += 1

    def leave(self) -> None:
        with self._lock:
            self._n -= 1
            if self._n == 0 and self._handler is not None:
                root = logging.getLogger(ROOT)
                root.removeHandler(self._handler)
                root.setLevel(self._before[0])
                root.propagate = self._before[1]


_installation = _Installation()


@contextmanager
def capture(
    *,
    level: int = logging.INFO,
    n_per_entity: int = N_PER_ENTITY,
    n_most: int = N_PER_CAPTURE,
) -> Iterator[list[dict[str, Any]]]:
    """Collect what this context logs below the ``daskcast`` logger.

    Parameters
    ----------
    level : int
        Records from this level on.
    n_per_entity : int
        Records kept of one entity (as many again for errors); the number of the others is told in
        one record at the end of the block.
    n_most : int
        Records kept of the block; errors are kept beyond it, so that a storm of warnings hides
        none.

    Yields
    ------
    list of dict
        Fills while the block runs: ``time`` (ISO-8601, UTC), ``level``, ``logger``, ``run``,
        ``entity``, ``batch``, ``worker``, ``message``, and ``traceback`` where an exception was
        logged. Credentials in URIs are removed.

    Examples
    --------
    >>> with capture() as records, bound(entity="JFK"):
    ...     logging.getLogger("daskcast.task").info("tuned")
    >>> records[0]["entity"], records[0]["level"], records[0]["message"]
    ('JFK', 'INFO', 'tuned')
    """
    sink = _Sink([], level, n_per_entity, n_most)
    _installation.enter(level)
    token = _sink.set(sink)
    try:
        yield sink.records
    finally:
        _sink.reset(token)
        _installation.leave()
        sink.close()


def adopt(records: Iterable[Mapping[str, Any]]) -> None:
    """Take records that another process captured into the block of this context, within its bounds.

    Parameters
    ----------
    records : iterable of mapping
        As of :func:`capture`.
    """
    sink = _sink.get()
    if sink is None:
        return
    for record in records:
        names = Names(*(str(record.get(name, "")) for name in Names._fields))
        if sink.wants(names, severe=level_number(str(record["level"])) >= logging.ERROR):
            sink.records.append(dict(record))


def to_record(record: logging.LogRecord, names: Names | None = None) -> dict[str, Any]:
    """Turn a record of :mod:`logging` into a JSON-ready dict; never raises for a bad format."""
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        message = f"{record.msg} % {record.args!r}"
    found = _record(
        record.created, record.levelname, record.name, names or _names.get(), _short(message)
    )
    if record.exc_info and record.exc_info[0] is not None:
        text = logging.Formatter().formatException(record.exc_info)
        found["traceback"] = redact_text(_short(text, MAX_TRACEBACK))
    return found


def _record(created: float, level: str, logger: str, names: Names, text: str) -> dict[str, Any]:
    return {
        "time": datetime.fromtimestamp(created, UTC).isoformat(timespec="microseconds"),
        "level": level,
        "logger": logger,
        "run": names.run,
        "entity": names.entity,
        "batch": names.batch,
        "worker": names.worker or this_worker(),
        "message": redact_text(text),
    }


def _short(text: str, n_most: int = MAX_MESSAGE) -> str:
    """Shorten in the middle: a traceback's last lines matter as much as its first."""
    if len(text) <= n_most:
        return text
    half = n_most // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters left out ... {text[-half:]}"


def this_worker() -> str:
    """Name this process: ``HOST:PID``."""
    return f"{_host()}:{os.getpid()}"


@functools.cache
def _host() -> str:
    return socket.gethostname()


def redacted_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a record without the credentials in its texts; ids stay as they are."""
    found = dict(record)
    for name in ("message", "traceback"):
        if name in found:
            found[name] = redact_text(str(found[name]))
    return found


def to_line(record: Mapping[str, Any]) -> str:
    r"""Write a record as one line of JSON, without its end.

    Whatever an id or a message holds, the line holds no line break and no control character.

    Examples
    --------
    >>> to_line({"entity": "a\nb"})
    '{"entity": "a\\nb"}'
    """
    return json.dumps(record, default=str)


def level_number(name: str) -> int:
    """Give the number of a level's name, in any case.

    Raises
    ------
    ConfigError
        Where there is no such level.

    Examples
    --------
    >>> level_number("warning")
    30
    """
    if name.upper() not in LEVELS:
        raise ConfigError(f"level must be one of {', '.join(LEVELS)}, found {name!r}")
    return logging.getLevelNamesMapping()[name.upper()]
