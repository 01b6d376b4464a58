"""One thing that a check looked at, and how it is told.

Does not cover looking (``check``, ``check_mlflow``, ``check_image``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from daskcast.redact import printable, redact_text

Level = Literal["ok", "unknown", "warning", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    level : {'ok', 'unknown', 'warning', 'missing'}
    text : str
        What was found, and what to do.
    """

    level: Level
    text: str

    @property
    def line(self) -> str:
        """The finding as it is told."""
        first, *more = redact_text(self.text).split("\n")
        return "\n".join([f"{self.level:<8} {printable(first)}", *map(printable, more)])

    @property
    def well(self) -> bool:
        """Whether nothing is missing."""
        return self.level != "missing"
