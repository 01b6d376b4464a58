"""A small chart of one forecast, as SVG paths.

Covers scales, ticks and path data; the template draws them. Does not cover which entities are
drawn (``page``).

Shapes: T points of history, H steps of the horizon.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: The canvas, and the box in it that the axes enclose, in pixels.
WIDTH, HEIGHT = 420, 170
LEFT, RIGHT, TOP, FLOOR = 52, WIDTH - 8, 8, HEIGHT - 22
BOX = {
    "width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "floor": FLOOR,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plot:
    """A small chart as SVG paths, in pixels of a WIDTH x HEIGHT box.

    Parameters
    ----------
    unique_id : str
    note : str
    history, mean : str
        Path data of the lines; empty where there is nothing to draw.
    bands : tuple of (str, str)
        Label and path data of each interval, the widest first.
    cutoff : float
        Where the history ends.
    x_ticks, y_ticks : tuple of (float, str)
        Position and label.
    """

    unique_id: str
    note: str
    history: str
    mean: str
    bands: tuple[tuple[str, str], ...]
    cutoff: float
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def draw(
    table: pd.DataFrame, history: tuple[NDArray[Any], Floats] | None = None, *, note: str = ""
) -> Plot:
    """Draw the forecast of one entity.

    Parameters
    ----------
    table : DataFrame
        Rows of ``forecasts`` of one entity, in the order of time.
    history : (times [T], values [T]), optional
    note : str

    Returns
    -------
    Plot
    """
    times, mean = _axis(table["ds"].to_numpy()), table["daskcast"].to_numpy(dtype=np.float64)
    names = [str(column) for column in table.columns]
    levels = sorted((c.split("-lo-")[1] for c in names if "-lo-" in c), key=float, reverse=True)
    low = [table[f"daskcast-lo-{level}"].to_numpy(dtype=np.float64) for level in levels]
    high = [table[f"daskcast-hi-{level}"].to_numpy(dtype=np.float64) for level in levels]
    cutoff = float(_axis(table["cutoff"].to_numpy()[:1])[0])
    past, observed = _with_holes(*history) if history is not None else (np.empty(0), np.empty(0))
    start = min(float(times[0]), cutoff, *past[:1].tolist())
    x = _Scale(start, float(times[-1]), LEFT, RIGHT)
    bottom, top = _range(np.concatenate([mean, observed]), np.concatenate([*low, *high, mean]))
    y = _Scale(bottom, top, FLOOR, TOP)
    bands = tuple(
        (f"{level} %", _line(x(times), y(lo)) + _line(x(times)[::-1], y(hi)[::-1], start="L") + "Z")
        for level, lo, hi in zip(levels, low, high, strict=True)
    )
    dated = np.issubdtype(table["ds"].to_numpy().dtype, np.datetime64)
    return Plot(
        unique_id=str(table["unique_id"].iloc[0]),
        note=note,
        history=_line(x(past), y(observed)),
        mean=_line(x(times), y(mean)),
        bands=bands,
        cutoff=float(x(np.array([cutoff]))[0]),
        x_ticks=tuple(_time_ticks(start, float(times[-1]), x, dated=dated)),
        y_ticks=tuple(_value_ticks(bottom, top, y)),
    )


def _axis(times: NDArray[Any]) -> Floats:
    """Give times as numbers: microseconds since 1970, or the user's whole numbers."""
    if np.issubdtype(times.dtype, np.datetime64):
        times = times.astype("datetime64[us]")
    return times.astype(np.int64).astype(np.float64)


def _with_holes(times: NDArray[Any], values: Floats) -> tuple[Floats, Floats]:
    """Put a missing value where times are missing, so that the line is interrupted there."""
    axis = _axis(times)
    steps = np.diff(axis)
    holes = np.flatnonzero(steps > 1.5 * np.median(steps)) + 1 if steps.size else []  # type: ignore[var-annotated]
    between = axis[holes] - 1.0
    return np.insert(axis, holes, between), np.insert(values, holes, np.nan)


def _range(core: Floats, outer: Floats) -> tuple[float, float]:
    """Give the ends of the value axis; wide intervals may leave the box, what matters may not."""
    core, outer = (np.clip(x[np.isfinite(x)], -1e300, 1e300) for x in (core, outer))
    if not core.size:
        return 0.0, 1.0
    low, high = float(core.min()), float(core.max())
    span = (high - low) or abs(high) or 1.0
    low = max(float(outer.min(initial=low)), low - span)
    high = min(float(outer.max(initial=high)), high + span)
    pad = 0.05 * ((high - low) or span)
    return low - pad, high + pad


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps [low, high] to pixels."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, values: Floats) -> Floats:
        span = (self.high - self.low) or 1.0
        share = (np.clip(values, self.low - 9 * span, self.high + 9 * span) - self.low) / span
        pixels: Floats = np.round(self.first + share * (self.last - self.first), 1)
        return pixels


def _line(x: Floats, y: Floats, *, start: str = "M") -> str:
    """Give path data through the points; a missing value interrupts the line."""
    parts, pen = [], start
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(b):
            parts.append(f"{pen}{a:g} {b:g}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def _ticks(low: float, high: float, n: int = 4) -> Iterable[float]:
    raw = (high - low) / n
    if not sys.float_info.min <= raw < math.inf:  # below it, powers of ten are no more
        return []
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((m * power for m in (1, 2, 5) if m * power >= raw), 10 * power)
    first = math.ceil(low / step)
    return [i * step for i in range(first, math.floor(high / step) + 1)]


def _value_ticks(low: float, high: float, y: _Scale) -> Iterable[tuple[float, str]]:
    """Give at least two ticks wherever two fit, with labels that differ."""
    ticks = next((found for n in (4, 6, 9) if len(found := list(_ticks(low, high, n))) > 1), [])
    labels = [_compact(v) for v in ticks]
    for digits in range(4, 16):
        if len(set(labels)) == len(labels):
            break
        labels = [_compact(v, digits) for v in ticks]
    return [(float(y(np.array([v]))[0]), text) for v, text in zip(ticks, labels, strict=True)]


def _compact(value: float, digits: int = 3) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.{digits}g}{unit}"
    return f"{value:.{digits}g}"


def _time_ticks(
    start: float, end: float, x: _Scale, *, dated: bool, n: int = 5
) -> Iterable[tuple[float, str]]:
    if not dated:
        whole = [v for v in _ticks(start, end) if float(v).is_integer()]
        return [(float(x(np.array([v]))[0]), f"{v:.0f}") for v in whole]
    days = (end - start) / 86400e6
    unit = "Y" if days > 1200 else "M" if days > 100 else "D" if days > 4 else "h"  # noqa: PLR2004
    ends = np.array([start, end]).astype("datetime64[us]").astype(f"datetime64[{unit}]")
    times = np.arange(ends[0] + 1, ends[1] + 1)
    times = times[:: math.ceil(max(times.size, 1) / n)]
    places = x(_axis(times))
    return [(float(p), str(t)) for p, t in zip(places, times, strict=True) if p < RIGHT - 14]
