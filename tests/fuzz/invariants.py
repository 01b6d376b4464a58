"""What must hold of every run, whatever the table.

Covers running a panel and raising AssertionError for the first broken invariant. Does not cover
drawing panels (``panel_strategies``).

1. One row in ``entities`` for each entity of the table; ``h`` rows of forecasts unless it failed.
2. All forecasts and bounds are finite; intervals are nested, with the forecast within.
3. The cutoff is the last time; the dates are those of pandas' offsets.
4. A sound entity does not fail; a failure has a documented type and a message.
5. With ``non_negative``, nothing falls below zero where the data does not.
6. No warning reaches the caller, and the table is left as it was.
7. Rows in another order, fewer neighbours, batches of another size: the same to the bit.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from daskcast import ConfigError, DataError, forecast
from daskcast.config import ForecastConfig
from daskcast.panel import GridRules, open_source, regularise
from daskcast.settings import TaskSettings
from daskcast.task import run_batch

if TYPE_CHECKING:
    from panel_strategies import Panel, Told
    from refused_tables import Refused

    from daskcast import Run

FAILED = {
    "MissingTime", "DuplicateTimes", "InfiniteValue", "NoObservations", "TooShort",
    "IrregularTimes", "GridTooLong", "TimeOutOfReach", "Gap", "MissingValue", "EntityError",
}  # fmt: skip
FALLBACK = {"TooShort", "Constant", "EntityError"}


@dataclass(frozen=True)
class Outcome:
    """What became of a panel: how its entities ended, or why it was refused."""

    statuses: Counter[str]
    reasons: Counter[str]
    refused: str = ""


def check(panel: Panel) -> Outcome:
    """Run a panel, and raise AssertionError where an invariant is broken."""
    before = panel.data.copy(deep=True) if isinstance(panel.data, pd.DataFrame) else None
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            run = forecast(panel.data, cluster="serial", **panel.options)
        except DataError as error:
            if not panel.doubtful:
                raise AssertionError(f"refused: {error}") from error
            return Outcome(Counter(), Counter(), type(error).__name__)
        _check_again(panel, run)
    assert not told, f"warned: {[str(one.message) for one in told]}"
    if before is not None:
        pd.testing.assert_frame_equal(panel.data, before)
    id_col = panel.options.get("id_col", "unique_id")
    entities = run.entities.rename(columns={id_col: "unique_id"}).set_index("unique_id")
    assert entities.index.tolist() == sorted(panel.told), "entities are lost or made up"
    by_entity = dict(list(run.forecasts.groupby(id_col, sort=False)))
    assert set(by_entity) <= set(panel.told), "forecasts of nobody"
    for unique_id, row in entities.iterrows():
        _check_entity(panel, panel.told[unique_id], row, by_entity.get(unique_id))
    assert run.counts.entities == len(entities)
    failures = entities[entities["status"] != "ok"]
    return Outcome(
        Counter(entities["status"]),
        Counter(f"{row.status}: {row.error_type}" for row in failures.itertuples()),
    )


def _check_entity(panel: Panel, told: Told, row: Any, frame: pd.DataFrame | None) -> None:
    name = f"entity {row.name!r}"
    assert row["status"] in ("ok", "fallback", "failed"), name
    json.loads(row["checks"])
    if row["status"] != "ok":
        known = FAILED if row["status"] == "failed" else FALLBACK
        assert row["error_type"] in known, f"{name}: {row['error_type']}: {row['message']}"
        assert row["message"], name
    if row["status"] == "failed":
        assert frame is None, f"{name} failed, with a forecast"
        assert not told.sound, f"{name} should be sound: {row['error_type']}: {row['message']}"
        return
    assert frame is not None, f"{name} has no forecast"
    assert len(frame) == panel.options["h"], f"{name} has {len(frame)} rows"
    _check_times(frame, told, panel.options.get("time_col", "ds"), name)
    _check_values(frame, name)
    if panel.options["non_negative"] and "below zero are" in row["checks"]:
        assert (frame.filter(like="daskcast") >= 0).all(axis=None), f"{name} is below zero"


def _check_times(frame: pd.DataFrame, told: Told, time_col: str, name: str) -> None:
    times, cutoff = frame[time_col].to_numpy(), frame["cutoff"].to_numpy()
    assert (times[1:] > times[:-1]).all(), f"{name}: times {times}"
    assert (cutoff == cutoff[0]).all() and times[0] > cutoff[0], f"{name}: cutoff {cutoff}"  # noqa: PT018
    if told.last is not None:
        assert cutoff[0] == told.last, f"{name}: cutoff {cutoff[0]}, last {told.last}"
    if told.future is not None:
        assert (times == told.future).all(), f"{name}: {times}, expected {told.future}"


def _check_values(frame: pd.DataFrame, name: str) -> None:
    mean = frame["daskcast"].to_numpy()
    assert np.isfinite(frame.filter(like="daskcast").to_numpy()).all(), f"{name}: {frame}"
    levels = sorted(float(x.rpartition("-")[2]) for x in frame if x.startswith("daskcast-lo-"))
    inner_lo = inner_hi = mean
    for level in levels:
        lo, hi = (frame[f"daskcast-{side}-{level:g}"].to_numpy() for side in ("lo", "hi"))
        assert (lo <= inner_lo).all() and (inner_hi <= hi).all(), f"{name}: {frame}"  # noqa: PT018
        inner_lo, inner_hi = lo, hi


def _check_again(panel: Panel, run: Run) -> None:
    """Forecast some of the entities again: rows in another order, other neighbours, one batch."""
    frame = run.forecasts
    names = [panel.options.get("id_col", "unique_id"), panel.options.get("time_col", "ds")]
    columns = [name for name in frame if name.startswith("daskcast")]
    before = dict(list(frame.groupby(names[0], sort=False)))
    config = _config(panel.options)
    source = open_source(_reordered(panel), config)
    positions = np.arange(len(source.ids))[:: 2 if len(source.ids) > 3 else 1]
    rows = source.select(positions).load()
    batch = regularise(rows, GridRules.of(config))
    for result in run_batch(batch, TaskSettings.of(config)):
        made, part = result.forecast, before.get(result.unique_id)
        assert (made is None) == (part is None), f"{result.unique_id!r} differs alone"
        if made is None or part is None:
            continue
        bounds = {name: _bound(made, name, config.level) for name in columns}
        assert (part[names[1]].to_numpy() == made.times).all(), f"{result.unique_id!r}: times"
        for name, values in bounds.items():
            same = part[name].to_numpy().tobytes() == np.ascontiguousarray(values).tobytes()
            assert same, f"{result.unique_id!r}: {name} {part[name].to_numpy()} {values}"


def _config(options: dict[str, Any]) -> ForecastConfig:
    level = options["level"]
    plain = {key: value for key, value in options.items() if key != "batch_size"}
    plain["level"] = level if isinstance(level, tuple) else (level,)
    if "freq" in plain:
        plain["freq"] = str(plain["freq"])
    return ForecastConfig(**plain)


def _bound(made: Any, name: str, levels: tuple[float, ...]) -> Any:
    if name == "daskcast":
        return made.mean
    _, side, level = name.split("-")
    at = [f"{x:g}" for x in levels].index(level)
    return (made.lo if side == "lo" else made.hi)[at]


def _reordered(panel: Panel) -> Any:
    data = panel.data
    if panel.ordered:
        return data
    n = len(data)
    order = np.random.default_rng(n + 1).permutation(n)
    if isinstance(data, pd.DataFrame):
        return data.iloc[order]
    return data[order] if hasattr(data, "with_columns") else data.take(order)


def check_refused(call: Refused) -> None:
    """Make a call that must be refused, and raise AssertionError where it is not, or wordlessly."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            run = forecast(call.data, cluster="serial", **call.options)
        except (ConfigError, DataError) as error:
            found: Exception = error
        else:
            raise AssertionError(f"{call.fault}: not refused, {run.counts}")
    assert type(found) is call.error, f"{call.fault}: {type(found).__name__}: {found}"
    assert call.words in str(found), f"{call.fault}: no {call.words!r} in {found}"
    assert not told, f"{call.fault}: warned: {[str(one.message) for one in told]}"
