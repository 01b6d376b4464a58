"""Where a new run goes: the name of its folder.

Does not cover what is in it (``store``).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from daskcast.errors import ConfigError

if TYPE_CHECKING:
    from daskcast.config import RunOptions

RUN = "{run}"
"""Stands for the name of the run in ``out``."""


def folder_of(options: RunOptions) -> str:
    """Give the folder of a run: ``out``, by default ``runs/{run}``, with the name of the run in it.

    Parameters
    ----------
    options : RunOptions

    Returns
    -------
    str
        A path or an fsspec URL; ``{run}`` is ``EXPERIMENT-UTCTIME``.

    Raises
    ------
    ConfigError
        Where the run to go on with is not named.

    Examples
    --------
    >>> from daskcast.config import RunOptions
    >>> folder_of(RunOptions(experiment="my airports/2026"))[:22]
    'runs/my-airports-2026-'
    >>> folder_of(RunOptions(out="s3://bucket/monthly"))
    's3://bucket/monthly'
    """
    out = options.out or f"runs/{RUN}"
    if RUN not in out:
        return out
    if options.out and (options.resume or options.retry_failed):
        raise ConfigError(
            f"to go on with a run, out must name it; found {out!r}, where {RUN} stands for the "
            f"name of a new one"
        )
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", options.experiment).strip("-.")[:60] or "run"
    return out.replace(RUN, f"{plain}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
