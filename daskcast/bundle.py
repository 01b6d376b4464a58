"""What a fit leaves of a whole panel: recipes and history.

Covers :class:`Bundle`: taking parts of it, growing it, giving it to a pipeline, as frames. Does not
cover its folder (``store.model``), or who computes (``fitted``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from daskcast.config import ForecastConfig
from daskcast.panel import KnownSource, Rows
from daskcast.panel.rows import join_rows
from daskcast.records import Failure, Kept, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daskcast.records import Columns


@dataclass(frozen=True, slots=True)
class Bundle:
    """A fitted panel.

    Parameters
    ----------
    options : mapping
        What the forecaster was told, by the names of its parameters, without ``h``.
    h : int
        The horizon it was tuned for.
    entities : pyarrow.Table
        As of a run folder, one row for each entity, ascending by id.
    history : Rows
        Of the same entities.
    """

    options: Mapping[str, Any]
    h: int
    entities: pa.Table
    history: Rows

    @property
    def reading(self) -> ForecastConfig:
        """The options that decide how a table is read."""
        return reading(self.options)

    @property
    def columns(self) -> Columns:
        """The user's column names."""
        return self.reading.columns

    @property
    def ids(self) -> tuple[str, ...]:
        """Every entity, ascending."""
        return self.history.ids

    def where_status(self, status: Status) -> list[str]:
        """Give the ids of the entities of some status."""
        chosen = self.entities.filter(pc.equal(self.entities["status"], status.value))
        found: list[str] = chosen["unique_id"].to_pylist()
        return found

    def source(self, *, refit: bool = False) -> KnownSource:
        """Give what a pipeline forecasts without a search.

        Parameters
        ----------
        refit : bool
            Estimate the parameters afresh.
        """
        names = ("unique_id", "status", "params", "error_type", "message")
        told = zip(*(self.entities[name].to_pylist() for name in names), strict=True)
        kept = {
            unique_id: Kept(
                "" if status == Status.FAILED else recipe,
                None if error is None else Failure(error, message or ""),
                refit,
            )
            for unique_id, status, recipe, error, message in told
        }
        return KnownSource(self.history, "model", self.columns, kept)

    # -- other bundles --

    def take(self, ids: Sequence[str]) -> Self:
        """Give the part of some entities."""
        place = {unique_id: i for i, unique_id in enumerate(self.ids)}
        chosen = np.unique(np.array([place[unique_id] for unique_id in ids], np.int64))
        entities = self.entities.take(pa.array(chosen))
        return replace(self, entities=entities, history=self.history.take(chosen))

    def with_history(self, history: Rows) -> Self:
        """Give the same recipes with another history of the same entities."""
        return replace(self, history=history)

    def with_fits(self, found: pa.Table, fresh: Rows) -> Self:
        """Take in what was fitted: new entities with their rows, and known ones anew.

        Parameters
        ----------
        found : pyarrow.Table
            As ``entities``.
        fresh : Rows
            Of those entities that are new.
        """
        old = self.entities.filter(
            pc.invert(pc.is_in(self.entities["unique_id"], found["unique_id"]))
        )
        entities = pa.concat_tables([old, found]).sort_by("unique_id")
        return replace(self, entities=entities, history=join_rows(self.history, fresh))

    def with_params(self, found: pa.Table) -> Self:
        """Take the recipes of ``found``, but of entities that fell back or failed there.

        Parameters
        ----------
        found : pyarrow.Table
            As ``entities``, of the same entities.
        """
        usable = pc.equal(found["status"], Status.OK.value)
        params = pc.if_else(usable, found["params"], self.entities["params"])
        place = self.entities.schema.get_field_index("params")
        return replace(self, entities=self.entities.set_column(place, "params", params))

    # -- frames, with the user's names --

    def entities_frame(self) -> pd.DataFrame:
        """Give the table of the entities."""
        frame: pd.DataFrame = self.entities.to_pandas()
        return frame.rename(columns={"unique_id": self.columns.entity})

    def history_frame(self) -> pd.DataFrame:
        """Give the rows of the history."""
        rows, columns = self.history, self.columns
        ids = np.repeat(np.array(rows.ids, dtype=object), np.diff(rows.offsets))
        frame = {columns.entity: ids, columns.time: rows.times, columns.target: rows.values}  # noqa: PD011
        return pd.DataFrame(frame)

    def cutoffs_frame(self) -> pd.DataFrame:
        """Give the last known time of each entity."""
        last = self.history.times[self.history.offsets[1:] - 1]
        return pd.DataFrame({self.columns.entity: list(self.ids), "cutoff": last})


def reading(options: Mapping[str, Any]) -> ForecastConfig:
    """Give the options that decide how a table is read; the others are checked by the run.

    Parameters
    ----------
    options : mapping
        As of a bundle.
    """
    names = ("id_col", "time_col", "target_col", "duplicates")
    freq = options["freq"]
    return ForecastConfig(
        h=1, freq=None if freq is None else str(freq), **{name: options[name] for name in names}
    )
