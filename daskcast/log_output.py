"""What is shown of the records that are logged: lines on a terminal, lines of JSON in a pod.

Covers the handlers of the command line. Does not cover what a record holds (``logs``).
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

from daskcast.logs import ROOT, level_number, to_line, to_record
from daskcast.redact import printable


class _ConsoleFormatter(logging.Formatter):
    """One plain line a record (a traceback keeps its lines); no control character of an id."""

    def format(self, record: logging.LogRecord) -> str:
        found = to_record(record)
        about = f" [{found['entity']}]" if found["entity"] else ""
        text = f"{found['level'].lower()}: {found['message']}{about}"
        lines = [text, *found.get("traceback", "").splitlines()]
        return "\n".join(printable(line) for line in lines if line)


class LineFormatter(logging.Formatter):
    """One line of JSON a record: time, level, logger, run, entity, batch, worker, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        return to_line(to_record(record))


class _ConsoleHandler(logging.StreamHandler[Any]):
    """Writes to what ``sys.stderr`` is at the time of the record, not at that of the set-up."""

    def __init__(self, level: int) -> None:
        logging.Handler.__init__(self, level)

    @property
    def stream(self) -> TextIO:
        return sys.stderr


def configure_console(level: str = "WARNING") -> logging.Handler:
    """Send what daskcast logs to stderr, as plain text; for the command line alone.

    Parameters
    ----------
    level : str
        Name of the lowest level that is shown.

    Returns
    -------
    logging.Handler
        Attached to the ``daskcast`` logger, in place of that of an earlier call.
    """
    number = level_number(level)
    root = logging.getLogger(ROOT)
    for old in [h for h in root.handlers if isinstance(h, _ConsoleHandler)]:
        root.removeHandler(old)
    handler = _ConsoleHandler(number)
    handler.setFormatter(_ConsoleFormatter())
    root.addHandler(handler)
    root.setLevel(min(number, logging.INFO))
    return handler


def configure_lines(level: str = "INFO") -> None:
    """Send what this whole process logs to stdout, as lines of JSON: what a pod's log is made of.

    Parameters
    ----------
    level : str
        Lowest level of daskcast's own records; those of others are shown from warnings on.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in ("distributed", "bokeh", "tornado", "tornado.application"):  # Dask gave them theirs
        logger = logging.getLogger(name)
        for old in list(logger.handlers):
            logger.removeHandler(old)
        logger.propagate = True
    logging.getLogger(ROOT).setLevel(level_number(level))
