"""Pictures of a fitted panel: history and forecast of some entities.

Covers choosing entities and handing them to ``utilsforecast``, which draws. Does not cover the
charts of a report (``report``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daskcast import fitted
from daskcast.errors import DataError
from daskcast.panel.columns import shorten
from daskcast.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from matplotlib.figure import Figure

    from daskcast.bundle import Bundle


def draw(
    bundle: Bundle,
    unique_ids: Sequence[str] | None,
    n: int,
    *,
    h: int | None,
    level: float | Sequence[float] | None,
    max_insample_length: int | None,
) -> Figure:
    """Draw some entities; see :meth:`daskcast.Forecaster.plot`."""
    plot_series = _plotter()
    names = _chosen(bundle, unique_ids, n)
    part = bundle.take(names)
    frame = fitted.cook(part, h, level, cluster="serial").forecasts
    columns = part.columns
    figure: Figure = plot_series(
        part.history_frame(),
        frame,
        ids=names,
        max_ids=len(names),
        models=["daskcast"],  # else it takes the cutoff for one
        level=[str(name).partition("-lo-")[2] for name in frame if "-lo-" in str(name)],
        max_insample_length=max_insample_length,
        id_col=columns.entity,
        time_col=columns.time,
        target_col=columns.target,
    )
    return figure


def _chosen(bundle: Bundle, unique_ids: Sequence[str] | None, n: int) -> list[str]:
    if unique_ids is None:
        failed = set(bundle.where_status(Status.FAILED))
        names = [unique_id for unique_id in bundle.ids if unique_id not in failed][:n]
    else:
        names = [unique_ids] if isinstance(unique_ids, str) else list(unique_ids)
    if unknown := sorted(set(names) - set(bundle.ids)):
        raise DataError(f"the model does not know {shorten(unknown)}; give ids that it has")
    if not names:
        raise DataError("there is nothing to draw: no entity is named, or none has a forecast")
    return names


def _plotter() -> Callable[..., Any]:
    try:
        from utilsforecast.plotting import plot_series  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError(
            "plot draws with utilsforecast and matplotlib, which are not installed; "
            "pip install 'daskcast[plot]'"
        ) from error
    draw: Callable[..., Any] = plot_series
    return draw
