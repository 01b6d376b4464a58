"""What was logged in a run, beside what its batches logged: kept in its folder.

Covers this process, and the pods that computed. Does not cover catching it (``logs``) or reading
it from pods (``k8s``).
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daskcast.store import RunFolder

logger = logging.getLogger(__name__)

MOST_OF_POD = 38
"""Characters of a pod's name in that of its log file."""


def keep_logs(folder: RunFolder, records: Sequence[Mapping[str, Any]]) -> None:
    """Keep what this process logged."""
    if records:
        _write(folder, {"driver": records})


def keep_logs_of_pods(
    folder: RunFolder, records: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """Keep what each pod logged, those that died too."""
    _write(folder, {f"pod-{_end_of(pod)}": told for pod, told in records.items()})


def _write(folder: RunFolder, logged: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    try:
        for name, told in logged.items():
            folder.write_logs(f"{name}-{now}", told)
    except OSError as error:  # a full disk; what stopped the run matters more
        logger.warning("logs could not be kept: %s", error)


def _end_of(pod: str) -> str:
    """Give what tells a pod from the others: the end of its name, which may be long."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", pod[-MOST_OF_POD:])
