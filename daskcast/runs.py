"""A run that is there to be read.

Covers :class:`Run`: frames, counts, summary. Does not cover making it (``api``, ``pipeline``).
"""

from __future__ import annotations

import html
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from daskcast.config import ForecastConfig
from daskcast.errors import ConfigError
from daskcast.progress import Counts, closing_facts
from daskcast.records import Status
from daskcast.store import RunFolder, forecast_columns, schema_of

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd

#: Columns of ``Run.failures``, beside the id.
FAILURE_COLUMNS = ("status", "model", "error_type", "message", "traceback", "attempt", "batch")


class Run:
    """A run, read from its folder.

    All frames are sorted by entity, then time or trial, whatever the batches were, and carry the
    user's own names for the columns of entity and time.

    Parameters
    ----------
    folder : RunFolder
        See :meth:`open`.

    Examples
    --------
    >>> run = Run.open("runs/daskcast-20260101T000000Z")  # doctest: +SKIP
    >>> run.failures[["unique_id", "error_type", "message"]]  # doctest: +SKIP
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Self:
        """Open the run in a folder.

        Raises
        ------
        StoreError
            Where there is no run.
        """
        return cls(RunFolder.open(str(path)))

    @property
    def path(self) -> str:
        """The run folder, a path or a URL."""
        return self.folder.url

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What ``run.json`` holds: config, data, versions, counts, seconds, mlflow."""
        return self.folder.manifest

    @property
    def config(self) -> ForecastConfig:
        """The options that decided the forecasts."""
        return ForecastConfig.from_dict(self.manifest["config"])

    @property
    def counts(self) -> Counts:
        """How the entities ended."""
        return Counts(**self.manifest["counts"])

    @cached_property
    def forecasts(self) -> pd.DataFrame:
        """One row for each entity and future time: cutoff, forecast, interval bounds.

        Those of a backtest have one for each cutoff, and the target, which came.
        """
        return self._frame("forecasts", "ds")

    @cached_property
    def entities(self) -> pd.DataFrame:
        """One row for each entity of the input: status, model, scores, checks, failure."""
        return self._frame("entities", "attempt")

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row for each point of a search space that was evaluated."""
        return self._frame("trials", "trial")

    @property
    def failures(self) -> pd.DataFrame:
        """The entities that failed or fell back to a simpler model, with the reason."""
        entities = self.entities
        columns = [self.config.id_col, *FAILURE_COLUMNS]
        found = entities.loc[entities["status"] != Status.OK.value, columns]
        return found.reset_index(drop=True)

    def _frame(self, table: Any, then: str) -> pd.DataFrame:
        columns = self.config.columns
        check_names(self.config)
        found = self.folder.read(table)
        order = [name for name in ("unique_id", "cutoff", then) if name in found.column_names]
        frame: pd.DataFrame = found.sort_by([(name, "ascending") for name in order]).to_pandas()
        return frame.rename(
            columns={"unique_id": columns.entity, "ds": columns.time, "y": columns.target}
        )

    @property
    def summary(self) -> str:
        """What became of the run and where everything is, in a few lines."""
        return "\n".join(f"{name:<10} {text}" for name, text in closing_facts(self.folder))

    def __repr__(self) -> str:
        """Tell the counts and the place, without credentials."""
        counts = self.counts
        return f"<Run of {counts.entities} entities ({counts.told}) at {self.folder.place}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in closing_facts(self.folder)
        )
        return f"<table><caption>daskcast run</caption>{rows}</table>"


def check_names(config: ForecastConfig) -> None:
    """Refuse the user's names where the frames of a run have columns of that name already."""
    columns = config.columns
    taken = {*forecast_columns(config.level)}
    for table in ("entities", "trials"):
        taken |= {*schema_of(table, config.level, "timestamp").names}
    taken -= {"unique_id", "ds"}
    target = {columns.target} if config.n_windows else set()
    wrong = sorted({columns.entity, columns.time, *target} & taken)
    if wrong:
        raise ConfigError(
            f"the columns {', '.join(map(repr, wrong))} have the names of columns of the result; "
            f"rename them"
        )
