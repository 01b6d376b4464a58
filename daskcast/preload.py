"""What scheduler and workers in pods load before they start: their logs become JSON lines.

Covers being found by name, ``dask worker --preload daskcast.preload``; nothing of daskcast imports
it. Does not cover the lines (``logs``).
"""

from __future__ import annotations

from daskcast.log_output import configure_lines


def dask_setup(_server: object) -> None:
    """Send what this process logs to standard output, one JSON object a line.

    Dask calls this when it starts.
    """
    configure_lines()
