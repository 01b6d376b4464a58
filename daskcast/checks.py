"""Validation checks of one entity's forecast.

Covers what is verified and noted of each entity, as JSON-ready values under fixed names. Does not
cover what a failed check leads to (``task``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from daskcast.records import Floats, Scores, Series


def check_entity(
    series: Series,
    scores: Scores,
    *,
    wanted_windows: int,
    needed: int | None,
    scaled: bool,
    stopped_by: str,
) -> dict[str, Any]:
    """Check one entity.

    Parameters
    ----------
    series : Series
    scores : Scores
    wanted_windows : int
    needed : int or None
        Observations before the first window; None where nothing was tuned.
    scaled : bool
        False where the seasonal naive error is zero or unknown before some window.
    stopped_by : str

    Returns
    -------
    dict
        ``beats_seasonal_naive`` (null where not known), ``missing`` (missing observations),
        ``repairs``, ``reproducible``, ``scale_defined``, ``windows``.
    """
    return {
        "beats_seasonal_naive": None if math.isnan(scores.skill) else scores.skill > 0,
        "missing": int(np.count_nonzero(np.isnan(series.y))),
        "repairs": list(series.repairs),
        "reproducible": stopped_by != "time",
        "scale_defined": scaled if scores.n_windows else None,
        "windows": _windows(series, scores, wanted_windows, needed),
    }


def finite(values: Floats) -> bool:
    """Tell whether every value is a finite number."""
    return bool(np.all(np.isfinite(values)))


def _windows(series: Series, scores: Scores, wanted: int, needed: int | None) -> str:
    if scores.n_windows:
        return f"{scores.n_windows} of {wanted}"
    if not wanted:
        return "none wanted"
    if needed is None:
        return "none: nothing was tuned"
    return (
        f"none: the first needs {needed} observations before a horizon of {len(series.future)}, "
        f"the series has {len(series.y)} steps"
    )
