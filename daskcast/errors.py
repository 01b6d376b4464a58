"""Exceptions that daskcast raises, as one tree.

Covers every exception a caller may meet; each survives pickling, because all arguments go to
``super().__init__``. Messages may quote ids, names of files and what other packages said:
credentials in URIs are removed, and no control character but a line break is left. Does not cover
the failure of one entity: that is a result, see :class:`daskcast.records.Failure`.

::

    DaskcastError
    ├── ConfigError     an option is wrong                          exit code 2
    ├── DataError       the table cannot be used                    exit code 2
    ├── StoreError      the run folder is refused or damaged        exit code 2
    ├── ClusterError    the cluster cannot be used                  exit code 2
    ├── StoppedError    the run stopped before its end, resumable   exit code 3
    ├── EntityError     one entity cannot be modelled as asked      never leaves its task
    └── TrackingError   the tracking server did not take the logs   never stops a run

Where ``may_pass`` is true the exit code is 3 instead of 2: another process works on the run folder,
the cluster does not answer or has no room, or the tracking server does not answer, for now.
"""

from __future__ import annotations

from daskcast.redact import printable, redact_text


class DaskcastError(Exception):
    """Root of all exceptions of daskcast.

    Attributes
    ----------
    may_pass : bool
        Whether the same may succeed later, with nothing changed.
    """

    may_pass = False

    def __init__(self, *args: object) -> None:
        super().__init__(*(_safe(arg) if isinstance(arg, str) else arg for arg in args))


def _safe(text: str) -> str:
    return "\n".join(printable(line) for line in redact_text(text).split("\n"))


class _ProblemsError(DaskcastError, ValueError):
    """Several problems told in one message.

    Parameters
    ----------
    *problems : str
        One sentence each: what was expected, what was found, what to do.
    may_pass : bool
        Whether the same may succeed later, with nothing changed.
    """

    def __init__(self, *problems: str, may_pass: bool = False) -> None:
        super().__init__(*problems)
        self.problems: tuple[str, ...] = self.args
        self.may_pass = may_pass

    def __str__(self) -> str:
        if not self.problems:
            return f"{type(self).__name__}, of which nothing is told"
        if len(self.problems) == 1:
            return self.problems[0]
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        return f"{len(self.problems)} problems:\n{lines}"


class ConfigError(_ProblemsError):
    """One or more options are wrong."""


class DataError(_ProblemsError):
    """The table cannot be used: a column is missing, it has no rows, the target is not numeric."""


class StoreError(_ProblemsError):
    """The run folder is refused: it holds another run, is damaged, or another works on it."""


class ClusterError(_ProblemsError):
    """The cluster cannot be used: it is away, its versions do not fit, a right is lacking."""


class StoppedError(DaskcastError, RuntimeError):
    """The run stopped before its end; what is finished is kept and ``--resume`` goes on."""

    may_pass = True


class EntityError(DaskcastError, ValueError):
    """One entity cannot be modelled as asked; its task turns this into a result."""


class TrackingError(DaskcastError, RuntimeError):
    """The tracking server did not take what was sent.

    Parameters
    ----------
    *args : str
        What was tried, and why it failed.
    may_pass : bool
        Whether the same may succeed later, with nothing changed.
    """

    def __init__(self, *args: object, may_pass: bool = False) -> None:
        super().__init__(*args)
        self.may_pass = may_pass
