"""What every task of a run is told.

Covers :class:`TaskSettings`, taken from the options of a run. Does not cover options and their
checks (``config``) or the work (``task``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daskcast.backtest import BacktestRules
from daskcast.config import MODELS
from daskcast.delivery import Delivery
from daskcast.models import family_of
from daskcast.tune import SearchRules

if TYPE_CHECKING:
    from daskcast.config import ForecastConfig
    from daskcast.models import Family


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """What every task of a run is told.

    Parameters
    ----------
    rules : SearchRules
    models : tuple of str or Family
    delivery : Delivery
    cv_windows : int
    step_size : int or None
    select : {"blend", "best"}
    backtest : BacktestRules or None
        None forecasts from the end.
    """

    rules: SearchRules
    models: tuple[str | Family, ...] = ("ets", "theta", "ces")
    delivery: Delivery = Delivery()  # noqa: RUF009 - frozen
    cv_windows: int = 3
    step_size: int | None = None
    select: str = "blend"
    backtest: BacktestRules | None = None

    @classmethod
    def of(cls, config: ForecastConfig) -> TaskSettings:
        """Take what a task needs from the options of a run."""
        rules = SearchRules(
            engine=config.search,
            trials=config.trials,
            seconds=config.search_seconds,
            loss=config.loss,
            seed=config.seed,
        )
        return cls(
            rules=rules,
            models=tuple(m if m in MODELS else family_of(m) for m in config.models),
            delivery=Delivery(config.level, config.non_negative),
            cv_windows=config.cv_windows,
            step_size=config.step_size,
            select=config.select,
            backtest=BacktestRules.of(config),
        )
